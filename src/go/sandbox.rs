//! Hermetic compiles: a toolchain that is what it was, an environment of what is written down, and no network.
#![expect(clippy::disallowed_methods, reason = "edge: the toolchain's files")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::error::{Error, Kind, Result};
use crate::go::Go;
use crate::go::build::unfetched;
use crate::go::toolchain::{FETCHING, start};
use crate::oci::Digest;
use crate::plan::CompileGroup;
use crate::plan::command::list_flags;
use crate::process::{Alone, Child};

/// What of a toolchain reaches programs: files and directories, relative to GOROOT. The tools are those of the host.
const PARTS: &[&str] = &["VERSION", "go.env", "bin/go", "lib/fips140", "pkg/include", "src"];

/// A toolchain as a lock file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Its version and the machine it runs on: `go1.26.8 linux/amd64`.
    pub name: String,
    /// The digest of a list of all its files that reach programs.
    pub digest: Digest,
}

/// What the toolchain here is. Every file is read: the same for a toolchain that was unpacked and one that is a module.
///
/// # Errors
/// A toolchain that doesn't say where it is, or can't be read.
pub async fn pinned(go: &Go) -> Result<Pinned> {
    let env = |key: &str| go.toolchain.env.get(key).map_or("", String::as_str).to_owned();
    let (root, host) = (PathBuf::from(env("GOROOT")), (env("GOHOSTOS"), env("GOHOSTARCH")));
    if root.as_os_str().is_empty() {
        return Err(Error::new(Kind::Input, "read the toolchain", "it doesn't say where it is"));
    }
    let name = format!("{} {}/{}", go.toolchain.version, host.0, host.1);
    let list = move || list(&root, &format!("pkg/tool/{}_{}", host.0, host.1));
    let list = tokio::task::spawn_blocking(list);
    let list = list.await.map_err(|e| Error::new(Kind::Internal, "read the toolchain", e))??;
    Ok(Pinned { name, digest: Digest::of(list.as_bytes()) })
}

/// A line for each file: its digest and name.
fn list(root: &Path, tools: &str) -> Result<String> {
    let mut files = BTreeMap::new();
    for part in PARTS.iter().copied().chain([tools]) {
        let program = root.join(part).with_extension(std::env::consts::EXE_EXTENSION);
        let part = if part == "bin/go" { program } else { root.join(part) };
        if !part.exists() {
            continue;
        }
        for entry in WalkDir::new(part).into_iter().filter_entry(reaches_programs) {
            let io = |e: walkdir::Error| Error::new(Kind::Input, "read the toolchain", e);
            let entry = entry.map_err(io)?;
            if entry.file_type().is_dir() {
                continue;
            }
            let path = entry.path();
            let io = |e: std::io::Error| Error::io("read the toolchain", path, &e);
            let below = path.strip_prefix(root).unwrap_or(path);
            let digest = match below == Path::new("go.env") {
                true => Digest::of(defaults(&std::fs::read_to_string(path).map_err(io)?).as_bytes()),
                false => Digest::of_reader(std::fs::File::open(path).map_err(io)?).map_err(io)?.0,
            };
            files.insert(below.to_string_lossy().replace('\\', "/"), digest);
        }
    }
    let mut text = String::new();
    for (name, digest) in files {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{} {name}", digest.hex());
    }
    Ok(text)
}

/// What a toolchain's own defaults say, but for where things come from, which whoever installs Go likes to change, and which
/// has no say in a compile.
fn defaults(text: &str) -> String {
    let says = |line: &&str| {
        let key = line.split('=').next().unwrap_or(line).trim();
        !(key.is_empty() || key.starts_with('#') || ["GOPROXY", "GOSUMDB", "GOTOOLCHAIN"].contains(&key))
    };
    text.lines().filter(says).map(|line| format!("{line}\n")).collect()
}

/// Not tests and what they read, and not go.mod files, which toolchains that are modules have under another name (cmd/distpack).
fn reaches_programs(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    let is_dir = entry.file_type().is_dir();
    !(is_dir && name == "testdata" || !is_dir && (name.ends_with("_test.go") || name.ends_with("go.mod")))
}

/// Where a hermetic compile runs.
#[derive(Clone, Debug)]
pub struct Sandbox {
    program: PathBuf,
    /// PATH and HOME among them.
    env: Vec<(String, String)>,
    alone: Option<Alone>,
    /// The toolchain.
    pub toolchain: Pinned,
}

/// Why a flag of Go's has no place in a hermetic compile.
fn refused(flag: &str) -> Option<&'static str> {
    match flag.trim_matches(['"', '\'']).trim_start_matches('-') {
        "mod=mod" => Some("-mod=mod lets go change go.mod"),
        other if other.starts_with("toolexec") => Some("-toolexec runs other programs"),
        _ => None,
    }
}

impl Sandbox {
    /// For a toolchain that is what `pin` says. `home` is a private directory, empty before.
    ///
    /// # Errors
    /// Another toolchain (kind `Integrity`); a workspace that nobody named (kind `Input`); a directory that can't be
    /// written.
    pub async fn new(go: &Go, pins: &BTreeMap<String, Digest>, home: &Path, path: &str) -> Result<Self> {
        let toolchain = pinned(go).await?;
        let what = "compile hermetically";
        match pins.get(&toolchain.name) {
            Some(pin) if *pin == toolchain.digest => {}
            Some(pin) => {
                let why =
                    format!("{} is not what gimg.lock says: {}, not {pin}", toolchain.name, toolchain.digest);
                return Err(Error::new(Kind::Integrity, what, why).hint("if that is meant: gimg lock --go"));
            }
            None => {
                let why = format!("gimg.lock has no entry for {}", toolchain.name);
                return Err(Error::new(Kind::Input, what, why).hint("run: gimg lock --go"));
            }
        }
        let known = |key: &str| go.toolchain.env.get(key).map(String::as_str).filter(|v| !v.is_empty());
        let workspace = match (go.toolchain.settings.get("GOWORK"), known("GOWORK")) {
            (Some(said), _) => said.clone(),
            (None, Some(found)) if found != "off" => {
                let why = format!("nobody named the workspace {found}, but go would use it");
                return Err(Error::new(Kind::Input, what, why).hint("set GOWORK to it, or to off"));
            }
            _ => "off".to_owned(),
        };
        let root = PathBuf::from(known("GOROOT").unwrap_or_default());
        let mut paths = vec![root.join("bin")];
        // Go stamps programs by it; what stands in anybody's configuration has no say.
        if let Some(git) = crate::process::find("git", path) {
            let bin = home.join("bin");
            link(&git, &bin).map_err(|e| Error::io("write", &bin, &e))?;
            paths.push(bin);
        }
        let paths = std::env::join_paths(paths).unwrap_or_else(|_| OsString::from(root.join("bin")));
        let mut env: Vec<(String, String)> = [
            ("PATH", paths.to_string_lossy().as_ref()),
            ("HOME", &home.to_string_lossy()),
            ("GOTOOLCHAIN", "local"),
            ("GOPROXY", "off"),
            ("GOSUMDB", "off"),
            ("GOVCS", "*:off"),
            ("GOWORK", &workspace),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            // Who owns the sources is not part of them.
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        for place in ["GOCACHE", "GOMODCACHE", "GOPATH"] {
            env.extend(known(place).map(|value| (place.to_owned(), value.to_owned())));
        }
        let program = root.join("bin").join("go").with_extension(std::env::consts::EXE_EXTENSION);
        Ok(Sandbox { program, env, alone: Alone::possible(), toolchain })
    }

    /// What keeps compiles from the network: a namespace of their own, or only that Go is told to fetch nothing.
    #[must_use]
    pub fn network(&self) -> &'static str {
        match self.alone {
            Some(_) => "namespace",
            None => "GOPROXY=off",
        }
    }

    /// The child that compiles `group`, in here.
    ///
    /// # Errors
    /// A group that needs cgo, or flags that let go reach for more (kind `Input`).
    pub(super) fn confine(&self, group: &CompileGroup, mut child: Child) -> Result<Child> {
        let refuse = |why: &str| {
            let what = format!("compile hermetically for {}", group.target.platform);
            Err(Error::new(Kind::Input, what, why))
        };
        let said =
            |name: &str| child.set.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if said("CGO_ENABLED").is_some_and(|value| value != "0") {
            return refuse("it would use cgo: a C compiler and its libraries are no inputs that gimg knows")
                .map_err(|e| e.hint("set CGO_ENABLED=0"));
        }
        let goflags = said("GOFLAGS").unwrap_or_default().split_whitespace().map(str::to_owned);
        // `-mod mod` is two words.
        let pairs = group.flags.windows(2).map(|pair| pair.join("="));
        if let Some(why) = goflags.chain(group.flags.iter().cloned()).chain(pairs).find_map(|f| refused(&f)) {
            return refuse(why);
        }
        let named = said("GOWORK").map(|place| ("GOWORK".to_owned(), place.to_owned()));
        child.set.retain(|(key, _)| !FETCHING.contains(&key.as_str()));
        child.set.extend(self.env.iter().cloned());
        child.set.extend(named);
        child.program.clone_from(&self.program);
        child.cleared = true;
        child.alone.clone_from(&self.alone);
        Ok(child)
    }
}

#[cfg(unix)]
fn link(git: &Path, bin: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(bin)?;
    std::os::unix::fs::symlink(git, bin.join("git"))
}

#[cfg(not(unix))]
fn link(_git: &Path, bin: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(bin)
}

/// Fetches the modules of all that a group's programs import, as far as go.mod and go.sum declare them.
///
/// # Errors
/// What isn't declared, or can't be had: go's own words, which name it.
pub async fn fetch_modules(go: &Go, group: &CompileGroup) -> Result<()> {
    let mut child = go.child(&group.dir).args(["list", "-deps", "-f", ""]).args(list_flags(&group.flags));
    child = child.arg("--").args(group.packages.iter().map(|p| &p.import_path));
    child.set.extend(group.target.environment.iter().cloned());
    let output = start(&child).await?;
    if output.success {
        return Ok(());
    }
    let what = format!("fetch what is compiled for {}", group.target.platform);
    let stderr = output.stderr;
    let error = Error::new(Kind::GoBuild, what, output.status).output(stderr.clone());
    let hint = unfetched(&stderr);
    Err(error.hint(
        hint.unwrap_or(
            "whatever a hermetic build needs must be in go.mod and go.sum: go mod tidy".to_owned(),
        ),
    ))
}
