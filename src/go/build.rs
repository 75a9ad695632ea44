//! `go build`: one run for a compile group, into a private directory that is empty before.
//!
//! Go's own output file is never reused: `go build -o X` trusts the build id in X's header and leaves a
//! corrupt X as it is. What comes out is hashed here.
#![expect(clippy::disallowed_methods, reason = "edge: reads what go build wrote")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::binary;
use crate::error::{Error, Kind, Result};
use crate::go::Go;
use crate::go::toolchain::start;
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

/// Compiles `group` into `out`, which must exist and be empty. Go's build cache is kept by `cache`, or by Go itself.
/// Returns the binaries in the order of the group's packages.
///
/// # Errors
/// A failing `go build` with its output, or a binary that doesn't fit the group's platform.
pub async fn build(
    go: &Go,
    group: &CompileGroup,
    out: &Path,
    cache: Option<&CacheProgram>,
) -> Result<Vec<Binary>> {
    let child = command(go, group, out);
    let output = start(&cache.map_or(child.clone(), |cache| cache.for_child(child))).await?;
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

/// The error of a failed compile: the toolchain's own words, the platform, and a hint where one is known.
async fn failed(go: &Go, group: &CompileGroup, status: &str, stderr: String) -> Error {
    let hint = if stderr.contains("missing go.sum entry") || stderr.contains("updates to go.mod needed") {
        Some("run: go mod tidy".to_owned())
    } else if stderr.contains("inconsistent vendoring") {
        Some("run: go mod vendor".to_owned())
    } else if stderr.contains("toolchain not available") || stderr.contains("requires go >=") {
        Some("install that Go, or set GOTOOLCHAIN=auto to let go fetch it".to_owned())
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
