//! Finding the toolchain and the settings that reach its output.
//!
//! Go takes settings from the environment, then from its own env file under the user's configuration
//! directory. Both are resolved here once; children then run with GOENV=off and the resolved list, so that a
//! build depends on what was resolved and on nothing else.
#![expect(clippy::disallowed_methods, reason = "edge: Go's env file")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::oci::Digest;
use crate::plan::facts::Toolchain;
use crate::process::{Child, Guardian, Output, StartError};

/// A Go toolchain, ready to run.
#[derive(Clone, Debug)]
pub struct Go {
    program: PathBuf,
    /// Where its children keep their temporary files: one that is killed leaves them.
    temporary: PathBuf,
    /// Who ends its children when gimg is killed.
    guardian: Option<Guardian>,
    /// What is known about it.
    pub toolchain: Toolchain,
}

/// Where Go fetches modules and toolchains from.
const GOPROXY: &str = "GOPROXY";

/// Where Go keeps its temporary files.
const GOTMPDIR: &str = "GOTMPDIR";

/// Settings that change the output but that `go env` doesn't list.
const UNLISTED: &[&str] = &["GODEBUG", "GO_EXTLINK_ENABLED"];

/// Finds `program` and asks it, in `dir`, for its version and settings. `env` is the caller's environment; `temporary`
/// is for the temporary files of this and all later children, `guardian` ends them when gimg is killed.
///
/// # Errors
/// No `go` on PATH, one that fails, or one that prints what isn't `go env` output.
pub async fn find(
    program: &Path,
    dir: &Path,
    env: &BTreeMap<String, String>,
    temporary: PathBuf,
    guardian: Option<Guardian>,
) -> Result<Go> {
    let mut child = Child::new(program, dir).args(["env", "-json"]);
    // It is the child's environment too, but for what whoever calls put over it.
    if let Some(proxy) = env.get(GOPROXY) {
        child = child.env(GOPROXY, proxy);
    }
    child.guardian.clone_from(&guardian);
    child = child.env(GOTMPDIR, &temporary.to_string_lossy());
    child.remove = crate::plan::command::TARGET_VARIABLES.iter().map(|k| (*k).to_owned()).collect();
    let known = told_by(&child, "run go env").await?;
    let settings = settings(&known, env)?;
    let programs = programs(&known).await;
    let toolchain = toolchain(known, settings, programs);
    Ok(Go { program: program.to_owned(), temporary, guardian, toolchain })
}

/// What `go env -json` prints; `what` is done by it.
async fn told_by(child: &Child, what: &str) -> Result<BTreeMap<String, String>> {
    let output = start(child).await?;
    if !output.success {
        return Err(Error::new(Kind::GoBuild, what, output.status).output(output.stderr));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| Error::new(Kind::GoBuild, "read the output of go env", e))
}

/// Settings by which modules are fetched and kept: no output depends on them.
pub(super) const FETCHING: &[&str] = &[
    "GOAUTH",
    "GOCACHE",
    "GOINSECURE",
    "GOMODCACHE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPATH",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GOVCS",
];

/// The toolchain of this `version`, whose children in `dir` have `settings` and none of the user's but those by which
/// modules are fetched. One that isn't the user's own is fetched as a module by `go`, which checks it against the
/// checksum database (go.dev/doc/toolchain).
///
/// # Errors
/// As [`find`]; a version that is no release, or can't be had.
pub async fn of_version(
    program: &Path,
    dir: &Path,
    env: &BTreeMap<String, String>,
    (version, mut settings): (&str, BTreeMap<String, String>),
    temporary: PathBuf,
    guardian: Option<Guardian>,
) -> Result<Go> {
    let mut go = find(program, &temporary, env, temporary.clone(), guardian).await?;
    let wanted = match go.toolchain.version == version {
        true => "local",
        false => release(version).ok_or_else(|| {
            let why = format!("{version:?} is no release of Go, and not the Go that is here");
            Error::new(Kind::Integrity, "find the toolchain", why)
        })?,
    };
    settings.insert("GOTOOLCHAIN".to_owned(), wanted.to_owned());
    let own = go.toolchain.settings.into_iter().filter(|(name, _)| FETCHING.contains(&name.as_str()));
    settings.extend(own);
    go.toolchain.settings = settings;
    let known = told_by(&go.child(dir).args(["env", "-json"]), &format!("find {version}")).await?;
    let programs = programs(&known).await;
    go.toolchain = toolchain(known, go.toolchain.settings, programs);
    match go.toolchain.version == version {
        true => Ok(go),
        false => {
            let why = format!("go says that it is {}", go.toolchain.version);
            Err(Error::new(Kind::GoBuild, format!("find {version}"), why))
        }
    }
}

/// The version if it is one that `go` can be told to use: `go1.26.8`, `go1.27rc1`.
pub(super) fn release(version: &str) -> Option<&str> {
    let rest = version.strip_prefix("go1.")?;
    let plain = rest.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b.is_ascii_lowercase());
    (plain && rest.starts_with(|c: char| c.is_ascii_digit())).then_some(version)
}

/// The digests of the programs of a toolchain that says `known` of itself. What isn't where Go has it is left out.
async fn programs(known: &BTreeMap<String, String>) -> BTreeMap<String, Digest> {
    let get = |key: &str| known.get(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut paths = Vec::new();
    if let (Some(root), Some(tools)) = (get("GOROOT"), get("GOTOOLDIR")) {
        paths.push(root.join("bin").join("go"));
        paths.extend(["asm", "compile", "link"].map(|tool| tools.join(tool)));
    }
    let hash = move || {
        let digest = |path: PathBuf| {
            let file = std::fs::File::open(path.with_extension(std::env::consts::EXE_EXTENSION)).ok()?;
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, Digest::of_reader(file).ok()?.0))
        };
        paths.into_iter().filter_map(digest).collect()
    };
    tokio::task::spawn_blocking(hash).await.unwrap_or_default()
}

/// The toolchain that says `known` of itself under the user's `settings`.
fn toolchain(
    mut known: BTreeMap<String, String>,
    settings: BTreeMap<String, String>,
    programs: BTreeMap<String, Digest>,
) -> Toolchain {
    // Ours was only lent to it.
    known.insert(GOTMPDIR.to_owned(), settings.get(GOTMPDIR).cloned().unwrap_or_default());
    let version = known.get("GOVERSION").cloned().unwrap_or_default();
    Toolchain { version, settings, env: known, programs }
}

/// The user's settings: the environment's over those of Go's env file.
fn settings(
    known: &BTreeMap<String, String>,
    env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let file = known.get("GOENV").map_or("", String::as_str);
    let mut settings =
        if file.is_empty() || file == "off" { BTreeMap::new() } else { read_env_file(Path::new(file))? };
    for (key, value) in env {
        let is_gos = known.contains_key(key) || UNLISTED.contains(&key.as_str());
        // An empty variable means unset to Go: its env file then still counts.
        if is_gos && !value.is_empty() {
            settings.insert(key.clone(), value.clone());
        }
    }
    settings.retain(|key, _| !crate::plan::command::TARGET_VARIABLES.contains(&key.as_str()));
    Ok(settings)
}

/// What a toolchain said of itself, without what the user's settings say: those can hold secrets, and are looked up again
/// whenever this is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    env: BTreeMap<String, String>,
    /// The names of what is left out.
    set: BTreeSet<String>,
    #[serde(default)]
    programs: BTreeMap<String, Digest>,
}

/// Reads Go's env file: `KEY=value` lines and `#` comments (cmd/go, "go env -w").
fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(Error::io("read Go's env file", path, &e)),
    };
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let settings = lines.filter(|(key, _)| key.starts_with(|c: char| c.is_ascii_uppercase()));
    Ok(settings.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

impl Go {
    /// A toolchain that told this of itself before: what [`find`] would give, if it would still say so.
    ///
    /// # Errors
    /// Go's env file can't be read.
    pub fn known(
        program: &Path,
        env: &BTreeMap<String, String>,
        temporary: PathBuf,
        guardian: Option<Guardian>,
        told: Told,
    ) -> Result<Self> {
        let mut known = told.env;
        known.extend(told.set.into_iter().map(|name| (name, String::new())));
        let settings = settings(&known, env)?;
        known.extend(settings.iter().map(|(k, v)| (k.clone(), v.clone())));
        let toolchain = toolchain(known, settings, told.programs);
        Ok(Go { program: program.to_owned(), temporary, guardian, toolchain })
    }

    /// What the toolchain says of itself.
    #[must_use]
    pub fn told(&self) -> Told {
        let (mut env, mut set) = (BTreeMap::new(), BTreeSet::new());
        for (name, value) in &self.toolchain.env {
            // GOGCCFLAGS repeats CGO_CFLAGS, and names a new directory every time.
            match self.toolchain.settings.contains_key(name) || name == "GOGCCFLAGS" {
                true => drop(set.insert(name.clone())),
                false => drop(env.insert(name.clone(), value.clone())),
            }
        }
        Told { env, set, programs: self.toolchain.programs.clone() }
    }

    /// The same, but it fetches no module.
    #[must_use]
    pub fn offline(&self) -> Self {
        let mut offline = self.clone();
        offline.toolchain.settings.insert(GOPROXY.to_owned(), "off".to_owned());
        offline
    }

    /// The only flag among the user's GOFLAGS that is about the module cache, not about the build; else nothing.
    pub(super) fn cache_flag(&self) -> &str {
        let goflags = self.toolchain.settings.get("GOFLAGS").map_or("", String::as_str);
        let mut flags = goflags.split_whitespace();
        flags.find(|f| f.trim_start_matches('-').starts_with("modcacherw")).unwrap_or_default()
    }

    /// The same, but no workspace counts.
    #[must_use]
    pub fn without_workspace(mut self) -> Self {
        self.toolchain.settings.insert("GOWORK".to_owned(), "off".to_owned());
        self
    }

    /// The program that is run: a path, or a name looked up in PATH.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The same, with its children's temporary files in `temporary`.
    #[must_use]
    pub fn with_temporary(mut self, temporary: &Path) -> Self {
        temporary.clone_into(&mut self.temporary);
        self
    }

    /// A `go` child in `dir` with the resolved settings and nothing else of Go's.
    #[must_use]
    pub fn child(&self, dir: &Path) -> Child {
        let mut child = Child::new(&self.program, dir);
        child.guardian.clone_from(&self.guardian);
        // Whatever of Go's isn't among the settings is nobody's wish.
        let known = self.toolchain.env.keys().map(String::as_str).chain(UNLISTED.iter().copied());
        let targets = crate::plan::command::TARGET_VARIABLES.iter().copied();
        child.remove = known.chain(targets).map(str::to_owned).collect();
        child.set = self.toolchain.settings.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        child.env("GOENV", "off").env(GOTMPDIR, &self.temporary.to_string_lossy())
    }
}

/// Runs a `go` child; a missing program is an error of its own. What its C compiler leaves behind when it is stopped lies
/// beside Go's own temporary files.
pub(super) async fn start(child: &Child) -> Result<Output> {
    let temporary = child.set.iter().rev().find(|(key, _)| key == GOTMPDIR);
    let child = match temporary {
        Some((_, dir)) => child.clone().env("TMPDIR", dir),
        None => child.clone(),
    };
    child.run().await.map_err(|e| match e {
        StartError::NotFound => {
            let is_path = child.program.components().count() > 1;
            let why = if is_path { "no such program" } else { "not found on PATH" };
            Error::new(Kind::Input, format!("run {}", child.program.display()), why)
                .hint("install Go, or name it with KO_GO_PATH")
        }
        StartError::Other(error) => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_releases_of_go_can_be_asked_for() {
        for (version, fine) in [
            ("go1.26.8", true),
            ("go1.27rc1", true),
            ("go1.25", true),
            ("devel go1.27-abcdef", false),
            ("go1.26.8 X:nocoverageredesign", false),
            ("go1.26.8-vendor", false),
            ("", false),
        ] {
            assert_eq!(release(version).is_some(), fine, "{version}");
        }
    }
}
