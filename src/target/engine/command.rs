//! Engines that are asked through their own commands: `podman`, `ctr`, and `ctr` in the nodes of a kind cluster.

use std::path::Path;

use crate::content::ByteStream;
use crate::error::{Error, Kind, Result};
use crate::oci::{Digest, Platform};
use crate::process::{Child, Output, StartError};
use crate::target::engine::Wanted;

/// A command, and what it is called in errors.
#[derive(Clone, Debug)]
pub(super) struct Command {
    child: Child,
    name: String,
}

impl Command {
    fn new(name: &str, program: &str, dir: &Path) -> Self {
        Command { child: Child::new(Path::new(program), dir), name: name.to_owned() }
    }

    fn args(&self, args: &[&str]) -> Self {
        Command { child: self.child.clone().args(args), name: self.name.clone() }
    }

    /// Runs it; a failure says what the command said.
    async fn run(&self, kind: Kind, what: &str) -> Result<String> {
        let output = self.child.run().await;
        self.checked(output, kind, what)
    }

    async fn run_with(&self, input: ByteStream, kind: Kind, what: &str) -> Result<String> {
        let output = self.child.run_with(Some(input)).await;
        self.checked(output, kind, what)
    }

    fn checked(&self, output: Result<Output, StartError>, kind: Kind, what: &str) -> Result<String> {
        let output = self.started(output, what)?;
        if output.success {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::new(kind, what, last_line(&output)).at(self.shown()))
    }

    fn started(&self, output: Result<Output, StartError>, what: &str) -> Result<Output> {
        output.map_err(|e| match e {
            StartError::NotFound => {
                let program = self.child.program.display();
                Error::new(Kind::Unavailable, what, format!("{program} isn't on PATH"))
                    .hint(format!("install {}", self.name))
            }
            StartError::Other(error) => error,
        })
    }

    /// The program with its first arguments, for people.
    fn shown(&self) -> String {
        let args = self.child.args.iter().take(6).map(|a| a.to_string_lossy().into_owned());
        [self.child.program.display().to_string()].into_iter().chain(args).collect::<Vec<_>>().join(" ")
    }
}

/// The last thing a command said: what it did before is of no use.
fn last_line(output: &Output) -> String {
    let last = output.stderr.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let last = last.map(|line| line.trim_start_matches("Error: ").trim_start_matches("ctr: ").to_owned());
    last.unwrap_or_else(|| output.status.clone())
}

/// The `podman` command, which knows how to reach an engine that has no socket here.
#[derive(Clone, Debug)]
pub(super) struct Podman(Command);

impl Podman {
    pub(super) fn new(dir: &Path) -> Self {
        Podman(Command::new("podman", "podman", dir))
    }

    /// What it runs.
    ///
    /// # Errors
    /// No `podman`, or one that doesn't work.
    pub(super) async fn platform(&self) -> Result<Platform> {
        let info = self.0.args(&["info", "--format", "{{.Host.OS}}/{{.Host.Arch}}"]);
        let said = info.run(Kind::Unavailable, "connect to podman").await?;
        let (os, machine) = said.trim().split_once('/').unwrap_or(("linux", said.trim()));
        Ok(Platform::of_machine(os, machine))
    }

    pub(super) async fn has(&self, config: &Digest) -> Result<bool> {
        let exists = self.0.args(&["image", "exists", &config.hex()]);
        let output = exists.child.run().await;
        Ok(self.0.started(output, "look for the image in podman")?.success)
    }

    pub(super) async fn load(&self, reference: &str, content: ByteStream) -> Result<()> {
        let what = format!("load {reference} into podman");
        self.0.args(&["load", "--quiet"]).run_with(content, Kind::Refused, &what).await.map(drop)
    }

    pub(super) async fn tag(&self, image: &str, name: &str) -> Result<()> {
        let what = format!("tag {name} in podman");
        self.0.args(&["tag", image, name]).run(Kind::Refused, &what).await.map(drop)
    }
}

/// containerd's `ctr`, here or in a node of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Ctr(Command);

impl Ctr {
    /// `ctr` on PATH; CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE are its own business.
    pub(super) fn local(namespace: Option<&str>, dir: &Path) -> Self {
        let command = Command::new("containerd", "ctr", dir);
        Ctr(match namespace {
            Some(namespace) => command.args(&["--namespace", namespace]),
            None => command,
        })
    }

    /// What containerd runs: every plugin that depends on it says so.
    ///
    /// # Errors
    /// No `ctr`, or no containerd behind it.
    pub(super) async fn platform(&self) -> Result<Platform> {
        let what = "connect to containerd";
        let said = self.0.args(&["plugins", "ls"]).run(Kind::Unavailable, what).await.map_err(|e| match e
            .hint_text()
        {
            Some(_) => e,
            None => e.hint("start containerd, or let CONTAINERD_ADDRESS name its socket"),
        })?;
        plugins_platform(&said).ok_or_else(|| {
            Error::new(Kind::Unavailable, what, "ctr plugins ls says no platform").at(self.0.shown())
        })
    }

    pub(super) async fn has(&self, wanted: &Wanted) -> Result<bool> {
        let what = format!("look for {} in {}", wanted.reference, self.0.name);
        let list = self.0.args(&["images", "ls", &format!("name=={}", wanted.reference)]);
        let said = list.run(Kind::Refused, &what).await?;
        let digest = wanted.manifest.to_string();
        Ok(said.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(&*wanted.reference) && words.any(|word| word == digest)
        }))
    }

    pub(super) async fn load(&self, reference: &str, content: ByteStream) -> Result<()> {
        let what = format!("load {reference} into {}", self.0.name);
        // Without that flag an image of another platform than the machine's is silently left out.
        let import = self.0.args(&["images", "import", "--all-platforms", "-"]);
        import.run_with(content, Kind::Refused, &what).await.map(drop)
    }

    pub(super) async fn tag(&self, image: &str, name: &str) -> Result<()> {
        let what = format!("tag {name} in {}", self.0.name);
        self.0.args(&["images", "tag", "--force", image, name]).run(Kind::Refused, &what).await.map(drop)
    }
}

/// The platform in the table of `ctr plugins ls`: TYPE, ID, PLATFORMS, STATUS.
fn plugins_platform(table: &str) -> Option<Platform> {
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, _, platforms, "ok"] => platforms.split(',').next()?.parse().ok(),
            _ => None,
        }
    })
}

/// The nodes of the kind cluster `cluster` and what they run (kind, pkg/cluster/internal/providers).
///
/// # Errors
/// No container engine, no such cluster, or nodes that don't answer.
pub(super) async fn kind_nodes(
    cluster: &str,
    provider: Option<&str>,
    dir: &Path,
) -> Result<(Vec<Ctr>, Platform)> {
    let what = format!("find the nodes of the kind cluster {cluster}");
    let label = format!("label=io.x-k8s.kind.cluster={cluster}");
    let list = ["ps", "--filter", &label, "--format", "{{.Names}}\t{{.Labels}}"];
    let engine = Command::new(provider.unwrap_or("docker"), provider.unwrap_or("docker"), dir);
    let said = engine.args(&list).run(Kind::Unavailable, &what).await?;
    let mut nodes = Vec::new();
    for line in said.lines() {
        let (name, labels) = line.split_once('\t').unwrap_or((line, ""));
        // A load balancer before several control planes is no node that runs images.
        if name.is_empty() || labels.contains("external-load-balancer") {
            continue;
        }
        let mut node = engine.args(&["exec", "--privileged", "-i", name]);
        node.name = format!("node {name}");
        nodes.push(node);
    }
    let Some(first) = nodes.first() else {
        return Err(Error::new(Kind::Unavailable, what, "there is none that runs").hint(format!(
            "kind create cluster --name {cluster}, or let KIND_CLUSTER_NAME name another cluster"
        )));
    };
    let machine = first.args(&["uname", "-m"]).run(Kind::Unavailable, &what).await?;
    let platform = Platform::of_machine("linux", machine.trim());
    let nodes = nodes.iter().map(|node| Ctr(node.args(&["ctr", "--namespace=k8s.io"]))).collect();
    Ok((nodes, platform))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containerds_platform_stands_in_its_plugins() {
        let table = "TYPE                            ID           PLATFORMS      STATUS    \n\
                     io.containerd.content.v1        content      -              ok        \n\
                     io.containerd.snapshotter.v1    aufs         linux/arm64    skip      \n\
                     io.containerd.snapshotter.v1    overlayfs    linux/arm/v7   ok        \n";
        assert_eq!(plugins_platform(table).unwrap().to_string(), "linux/arm/v7");
        assert_eq!(plugins_platform("TYPE ID PLATFORMS STATUS\nx y - ok\n"), None);
    }

    #[test]
    fn the_last_line_of_a_command_is_its_reason() {
        let output = |stderr: &str| Output {
            success: false,
            status: "exit status: 1".into(),
            stdout: Vec::new(),
            stderr: stderr.into(),
        };
        assert_eq!(last_line(&output("unpacking\nctr: no such file\n\n")), "no such file");
        assert_eq!(last_line(&output("")), "exit status: 1");
    }
}
