//! The commands of each contender: the same work, with the same flags.

use std::path::PathBuf;
use std::process::Command;

use crate::jobs::{Destination, Job};
use crate::settings::{Settings, command};
use crate::trees::Tree;

/// One build.
#[derive(Clone, Debug)]
pub(crate) struct Build<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) tree: &'a Tree,
    pub(crate) platforms: &'a str,
    pub(crate) destination: Destination,
    pub(crate) job: Job,
    /// Which round: an image of a job that begins with nothing is pushed to where none is yet.
    pub(crate) round: usize,
    /// `host:port` of the registry, or of what is before it.
    pub(crate) registry: &'a str,
    /// A folder for all caches and outputs, instead of the warm ones.
    pub(crate) fresh: Option<PathBuf>,
    /// The URL of the remote cache, and whether it gets something.
    pub(crate) remote: Option<(&'a str, bool)>,
}

impl Build<'_> {
    /// What `contender` runs, one after the other.
    pub(crate) fn commands(&self, contender: &str) -> Vec<Command> {
        let mut commands = match contender {
            "gimg" => vec![self.gimg()],
            "go" => self.platforms.split(',').map(|platform| self.go(platform)).collect(),
            other => vec![self.ko(other)],
        };
        for command in &mut commands {
            command.current_dir(&self.tree.dir);
            if self.fresh.is_some() {
                command.env("GOCACHE", self.at("go-build"));
            }
            if let Job::Fresh { stamped: true, .. } = self.job {
                command.env("GOFLAGS", "-mod=mod -buildvcs=true");
            }
        }
        commands
    }

    fn gimg(&self) -> Command {
        let mut command = command(&self.settings.gimg);
        command.env("GIMG_CACHE", self.at("gimg-cache")).arg("build").args(&self.tree.packages);
        command.args(["--base", &format!("{}/base:latest", self.registry), "--platform", self.platforms]);
        command.args(["--sbom", "none"]);
        match self.destination {
            Destination::Layout => command.args(["--output", &format!("oci:{}", self.layout("gimg"))]),
            _ => command.args(["--repo", &self.repository("gimg")]),
        };
        command.arg(self.naming());
        if let Job::Fresh { .. } = self.job {
            command.args(["--cache-from", "registry"]);
        }
        if let Some((url, writes)) = self.remote {
            command.args(["--remote-cache", url]);
            if writes {
                command.args(["--remote-cache-write", "--no-cache"]);
            }
        }
        command
    }

    fn ko(&self, contender: &str) -> Command {
        let mut command = command(&self.settings.ko);
        command
            .env("KO_DOCKER_REPO", self.repository(contender))
            .env("KO_DEFAULTBASEIMAGE", format!("{}/base:latest", self.registry));
        // As it comes it has no cache of its own; with KOCACHE it keeps binaries and what it knows of layers.
        if contender == "ko-kocache" {
            command.env("KOCACHE", self.at("kocache"));
        }
        command.arg("build").args(&self.tree.packages).args(["--sbom=none", "--platform", self.platforms]);
        if self.destination == Destination::Layout {
            command.args(["--push=false", "--oci-layout-path", &self.layout(contender)]);
        }
        command.arg(self.naming());
        command
    }

    /// Compiles as the others do and makes no image. Its output stays, so `go build` may find it current.
    fn go(&self, platform: &str) -> Command {
        let mut command = command("go");
        let mut parts = platform.split('/');
        for name in ["GOOS", "GOARCH"] {
            command.env(name, parts.next().unwrap_or_default());
        }
        if let Some(variant) = parts.next() {
            command.env("GOARM", variant.trim_start_matches('v'));
        }
        let out = self.at("bin").join(self.tree.subject.name).join(platform.replace('/', "-"));
        // A folder: go names the programs.
        command.args(["build", "-trimpath", "-o", &format!("{}/", out.display())]).args(&self.tree.packages);
        command
    }

    /// One program is named as the repository, several below it.
    fn naming(&self) -> &'static str {
        if self.tree.packages.len() == 1 { "--bare" } else { "--base-import-paths" }
    }

    fn repository(&self, contender: &str) -> String {
        let last = match self.job {
            job if job.is_warm() => "warm".to_owned(),
            job => format!("{}-{}", job.name().replace('+', "-"), self.round),
        };
        format!("{}/{contender}/{}/{last}", self.registry, self.tree.subject.name)
    }

    fn layout(&self, contender: &str) -> String {
        self.at("layouts").join(contender).join(self.tree.subject.name).display().to_string()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.fresh.as_ref().unwrap_or(&self.settings.work).join(name)
    }
}
