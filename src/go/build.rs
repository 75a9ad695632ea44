//! `go build`: one run for a compile group, into a private directory that is empty before.
//!
//! Go's own output file is never reused: `go build -o X` trusts the build id in X's header and leaves a
//! corrupt X as it is. What comes out is hashed here.
#![expect(clippy::disallowed_methods, reason = "edge: reads what go build wrote")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::binary;
use crate::error::{Error, Kind, Result};
use crate::go::toolchain::start;
use crate::go::{Go, Sandbox};
use crate::oci::Platform;
use crate::plan::CompileGroup;
use crate::process::Child;

/// A compiled program.
#[derive(Clone, Debug)]
pub struct Binary {
    /// Where it is: in the run's private directory.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// What its header and build info say.
    pub header: binary::Header,
}

/// A program that keeps Go's build cache (GOCACHEPROG): gimg itself, as `gimg cacheprog`.
#[derive(Clone, Debug)]
pub struct CacheProgram {
    /// Its file.
    pub program: PathBuf,
    /// What it is told: arguments without blanks or quotes.
    pub args: Vec<String>,
    /// The variables that it reads.
    pub env: Vec<(String, String)>,
}

impl CacheProgram {
    /// A `go` child that uses it. Plain if the program's name can't be said in the variable, which knows quotes but no
    /// way to write one.
    fn for_child(&self, mut child: Child) -> Child {
        let program = self.program.to_string_lossy();
        let Some(quote) = ['\'', '"'].into_iter().find(|quote| !program.contains(*quote)) else {
            return child;
        };
        child.set.extend(self.env.iter().cloned());
        child.env("GOCACHEPROG", &format!("{quote}{program}{quote} {}", self.args.join(" ")))
    }
}

/// How a group is compiled.
#[derive(Clone, Copy, Debug, Default)]
pub struct How<'a> {
    /// Who keeps Go's build cache, if not Go itself. Not in a sandbox, where nobody could be asked.
    pub cache: Option<&'a CacheProgram>,
    /// Where it is compiled hermetically.
    pub sandbox: Option<&'a Sandbox>,
}

/// Compiles `group` into `out`, which must exist and be empty.
/// Returns the binaries in the order of the group's packages.
///
/// # Errors
/// A failing `go build` with its output, or a binary that doesn't fit the group's platform.
pub async fn build(go: &Go, group: &CompileGroup, out: &Path, how: How<'_>) -> Result<Vec<Binary>> {
    let child = command(go, group, out);
    let child = match (how.sandbox, how.cache) {
        (Some(sandbox), _) => sandbox.confine(group, child)?,
        (None, Some(cache)) => cache.for_child(child),
        (None, None) => child,
    };
    let output = start(&child).await?;
    if !output.success {
        return Err(failed(go, group, &output.status, output.stderr).await);
    }
    let mut binaries = Vec::new();
    for package in &group.packages {
        let path = out.join(&package.file);
        binaries.push(inspect(path, &group.target.platform)?);
    }
    Ok(binaries)
}

/// The child that compiles `group` into `out`.
#[must_use]
pub fn command(go: &Go, group: &CompileGroup, out: &Path) -> Child {
    let mut child = go.child(&group.dir).arg("build").args(&group.flags);
    let mut output_flag = OsString::from("-o=");
    output_flag.push(out);
    output_flag.push(std::path::MAIN_SEPARATOR_STR);
    child = child.arg(output_flag).arg("--").args(group.packages.iter().map(|p| &p.import_path));
    child.set.extend(group.target.environment.iter().cloned());
    child
}

/// Reads a binary's header and checks it against the platform.
pub(super) fn inspect(path: PathBuf, platform: &Platform) -> Result<Binary> {
    let io = |e: &std::io::Error| Error::io("read the compiled program", &path, e);
    let file = std::fs::File::open(&path).map_err(|e| io(&e))?;
    let size = file.metadata().map_err(|e| io(&e))?.len();
    let header = binary::inspect(file).map_err(|e| e.at(path.display()))?;
    binary::check(&header, platform)?;
    Ok(Binary { path, size, header })
}

/// What go and other programs say where there is no network.
const OFFLINE: &[&str] =
    &["GOPROXY=off", "etwork is unreachable", "dial tcp", "emporary failure in name resolution"];

/// What is missing where `go` or its compilers reached for a network that isn't there, if that is why they failed.
pub(super) fn unfetched(stderr: &str) -> Option<String> {
    if !OFFLINE.iter().any(|words| stderr.contains(words)) {
        return None;
    }
    // go says which module it would fetch, and in the error only where that is imported.
    let fetched = stderr.lines().filter_map(|line| line.strip_prefix("go: downloading "));
    let modules: Vec<String> = fetched.map(|module| module.trim().replacen(' ', "@", 1)).collect();
    Some(match modules.first() {
        Some(module) => format!("{module} was not fetched before: go mod download, where there is a network"),
        None => {
            "nothing can be fetched here: what is compiled must be declared, and be there before".to_owned()
        }
    })
}

/// The error of a failed compile: the toolchain's own words, the platform, and a hint where one is known.
async fn failed(go: &Go, group: &CompileGroup, status: &str, stderr: String) -> Error {
    let hint = if stderr.contains("missing go.sum entry") || stderr.contains("updates to go.mod needed") {
        Some("run: go mod tidy".to_owned())
    } else if stderr.contains("inconsistent vendoring") {
        Some("run: go mod vendor".to_owned())
    } else if stderr.contains("toolchain not available") || stderr.contains("requires go >=") {
        Some("install that Go, or set GOTOOLCHAIN=auto to let go fetch it".to_owned())
    } else if let Some(hint) = unfetched(&stderr) {
        Some(hint)
    } else {
        cgo_needed(go, group).await.map(|package| {
            format!("{package} needs cgo: set CGO_ENABLED=1 and a C compiler for {}", group.target.platform)
        })
    };
    let error =
        Error::new(Kind::GoBuild, format!("go build for {}", group.target.platform), status).output(stderr);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// The first package outside the standard library that uses cgo, if cgo is off. Asked only after a failure.
async fn cgo_needed(go: &Go, group: &CompileGroup) -> Option<String> {
    let environment = &group.target.environment;
    if environment.iter().any(|(k, v)| k == "CGO_ENABLED" && v != "0") {
        return None;
    }
    let template = "{{if and .CgoFiles (not .Standard)}}{{.ImportPath}}{{end}}";
    let mut child = go.child(&group.dir).args(["list", "-e", "-deps", "-f", template, "--"]);
    child = child.args(group.packages.iter().map(|p| &p.import_path));
    child.set.extend(environment.iter().cloned());
    let output = child.env("CGO_ENABLED", "1").run().await.ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::trim).find(|l| !l.is_empty()).map(str::to_owned)
}
