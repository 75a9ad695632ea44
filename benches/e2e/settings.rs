//! What the user wants, from the environment; and the environment that every command gets.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::choose::unknown;
use crate::jobs::Part;
use crate::report::CONTENDERS;
use crate::trees::output;

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// How to measure.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Rounds of every row, if not its own number.
    pub(crate) runs: Option<usize>,
    /// Which rows, as [`crate::choose`] understands it.
    pub(crate) only: String,
    /// Who takes part.
    pub(crate) contenders: Vec<String>,
    pub(crate) gimg: PathBuf,
    pub(crate) ko: PathBuf,
    /// The run's name.
    pub(crate) name: String,
    /// Where its results go.
    pub(crate) results: PathBuf,
    /// Where everything else goes; empty at the start.
    pub(crate) work: PathBuf,
}

impl Settings {
    /// Reads the environment, for a run of `part`.
    pub(crate) fn read(part: Part) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let runs = match variable("RUNS") {
            None => None,
            Some(runs) => Some(runs.parse().map_err(|_| format!("RUNS={runs} is no number"))?),
        };
        let only = variable("ONLY").unwrap_or_default();
        if let Some(sign) = unknown(&only) {
            return Err(format!("ONLY={only}: `{sign}` means nothing here, only . * ^ $ and | do"));
        }
        let contenders: Vec<String> = match variable("CONTENDERS") {
            None => CONTENDERS.map(str::to_owned).to_vec(),
            Some(names) => names.split_whitespace().map(str::to_owned).collect(),
        };
        if let Some(name) = contenders.iter().find(|name| !CONTENDERS.contains(&name.as_str())) {
            return Err(format!("CONTENDERS: `{name}` is none of {}", CONTENDERS.join(", ")));
        }
        let work = root().join("target/bench");
        // Only a whole run goes into the repository.
        let whole = runs.is_none() && only.is_empty() && contenders.len() == CONTENDERS.len();
        let runs_dir = if whole { folder(part) } else { root().join("target/bench-runs") };
        let name = match variable("NAME") {
            Some(name) => name,
            None => free_name(&runs_dir)?,
        };
        let path = |name: &str, default: PathBuf| variable(name).map_or(default, PathBuf::from);
        Ok(Settings {
            runs,
            only,
            contenders,
            gimg: absolute(path("GIMG", PathBuf::from(env!("CARGO_BIN_EXE_gimg"))))?,
            ko: absolute(path("KO", tool("ko")))?,
            results: runs_dir.join(&name),
            name,
            work,
        })
    }

    /// Whether this is a whole run, which the summary may be written from.
    pub(crate) fn is_whole(&self) -> bool {
        self.results.starts_with(root().join("benches"))
    }
}

/// A program that `tests/tools/install bench` makes.
pub(crate) fn tool(name: &str) -> PathBuf {
    root().join(".tools/bin").join(name)
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path)
        .ok()
        .filter(|path| path.is_file())
        .ok_or_else(|| format!("{} is missing: make bench", path.display()))
}

/// `date-machine`, with a number if there is a run of that name.
fn free_name(runs: &Path) -> Result<String> {
    let date = output(Command::new("date").arg("+%Y-%m-%d"))?;
    let machine = output(Command::new("uname").arg("-n"))?;
    let machine = machine.trim().split('.').next().unwrap_or_default();
    let name = format!("{}-{machine}", date.trim());
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    Ok(names.find(|name| !runs.join(name).exists()).unwrap_or(name))
}

/// Where whole runs of `part` go.
pub(crate) fn folder(part: Part) -> PathBuf {
    root().join("benches/e2e").join(part.folder())
}

/// A command with the same environment for all: nothing of the user's settings of gimg, ko, git or Docker counts.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["GIMG_", "KO_", "KOCACHE", "GIT_", "CARGO", "GOOS", "GOARCH"]
            .iter()
            .any(|own| text.starts_with(own))
        {
            command.env_remove(&name);
        }
    }
    let target = root().join("target");
    command
        // Without git's stamp: the copies would be taken for a part of this repository.
        .env("GOFLAGS", "-mod=mod -buildvcs=false")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .env("GIT_CEILING_DIRECTORIES", &target)
        .env("DOCKER_CONFIG", target.join("bench/no-credentials"))
        .stdin(std::process::Stdio::null());
    command
}
