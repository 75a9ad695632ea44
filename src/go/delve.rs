//! The debugger Delve, through Go modules: one version, whose source is pinned here by Go's own checksums. What it
//! depends on is pinned by the go.sum that comes with it.
//!
//! The build is a module of its own in the run's private directory: the user's module, workspace and flags don't reach
//! it, and nothing of it reaches theirs.
#![expect(clippy::disallowed_methods, reason = "edge: writes the private module that go builds")]

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::go::Go;
use crate::go::build::{Binary, inspect};
use crate::go::toolchain::{release, start};
use crate::plan::command::Target;
use crate::plan::debug::{self, GO_MOD_SUM, MODULE, SUM, VERSION};
use crate::process::Child;

/// What the private module is called.
const PRIVATE: &str = "gimg.invalid/debug";

/// What is read of what `go mod download -json` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    #[serde(default)]
    dir: PathBuf,
    #[serde(default)]
    sum: String,
    error: Option<String>,
}

/// Builds the debugger for `target`. `module`, `out` and `temporary` are private directories that are empty.
///
/// # Errors
/// A module that can't be had or isn't the one that is pinned, or a failing `go build`.
pub async fn delve(go: &Go, target: &Target, module: &Path, out: &Path, temporary: &Path) -> Result<Binary> {
    let source = download(go, target, module).await?;
    write(module, "go.mod", &go_mod(&read(&source, "go.mod")?))?;
    write(module, "go.sum", &format!("{}{}", go_sum(), read(&source, "go.sum")?))?;
    let mut output = std::ffi::OsString::from("-o=");
    output.push(out);
    output.push(std::path::MAIN_SEPARATOR_STR);
    let flags = ["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags=-s -w"];
    let mut child = child(go, target, module).args(flags).arg(output).arg("--").arg(debug::PACKAGE);
    if let Some(temporary) = temporary.to_str() {
        child = child.env("GOTMPDIR", temporary);
    }
    let ran = start(&child).await?;
    if !ran.success {
        return Err(hinted(failed(target, ran.status), &ran.stderr).output(ran.stderr));
    }
    inspect(out.join(debug::PROGRAM), &target.platform)
}

/// Fetches the module; its directory in the module cache.
async fn download(go: &Go, target: &Target, module: &Path) -> Result<PathBuf> {
    // With this go.sum `go` itself refuses other bytes, whatever the checksum database says or is told.
    write(module, "go.mod", &format!("module {PRIVATE}\n"))?;
    write(module, "go.sum", &go_sum())?;
    let child = child(go, target, module).args(["mod", "download", "-json"]);
    let ran = start(&child.arg(format!("{MODULE}@{VERSION}"))).await?;
    let downloaded: Option<Downloaded> = serde_json::from_slice(&ran.stdout).ok();
    match downloaded {
        Some(Downloaded { dir, sum, error: None }) if ran.success => {
            if sum == SUM {
                return Ok(dir);
            }
            let why = format!("{MODULE}@{VERSION} has the sum {sum}, not {SUM}");
            Err(Error::new(Kind::Integrity, "fetch Delve", why))
        }
        downloaded => {
            let why = downloaded.and_then(|d| d.error).unwrap_or(ran.status);
            let error = Error::new(Kind::GoBuild, "fetch Delve", why.trim());
            Err(hinted(error, &format!("{why}{}", ran.stderr)).output(ran.stderr))
        }
    }
}

/// A `go` child in the private module, without what the user's flags and workspace say.
fn child(go: &Go, target: &Target, module: &Path) -> Child {
    let settings = &go.toolchain.settings;
    let mut child = go.child(module);
    child.set.extend(target.environment.iter().cloned());
    child = child.env("GOFLAGS", go.cache_flag()).env("GOWORK", "off").env("GO111MODULE", "on");
    let pinned = settings.get("GOTOOLCHAIN").is_some_and(|t| t == "local");
    if let Some(version) = release(&go.toolchain.version).filter(|_| !pinned) {
        // That of the program; a newer one only if Delve needs it.
        child = child.env("GOTOOLCHAIN", &format!("{version}+auto"));
    }
    child.env("CGO_ENABLED", "0")
}

/// The lines of the two sums.
fn go_sum() -> String {
    format!("{MODULE} {VERSION} {SUM}\n{MODULE} {VERSION}/go.mod {GO_MOD_SUM}\n")
}

/// Delve's go.mod as that of a module that requires Delve: the same versions are selected as where Delve is built.
fn go_mod(theirs: &str) -> String {
    let rest = theirs.lines().filter(|line| !line.starts_with("module "));
    let mut text = format!("module {PRIVATE}\n\nrequire {MODULE} {VERSION}\n");
    for line in rest {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn read(dir: &Path, name: &str) -> Result<String> {
    let path = dir.join(name);
    std::fs::read_to_string(&path).map_err(|e| Error::io("read Delve's module", &path, &e))
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    std::fs::write(&path, text).map_err(|e| Error::io("write a module for Delve", &path, &e))
}

fn failed(target: &Target, why: String) -> Error {
    Error::new(Kind::GoBuild, format!("go build of Delve for {}", target.platform), why)
}

fn hinted(error: Error, said: &str) -> Error {
    if said.contains("SECURITY ERROR") || said.contains("checksum mismatch") {
        return error.as_kind(Kind::Integrity);
    }
    if said.contains("toolchain not available") || said.contains("requires go >=") {
        return error.hint("install that Go, or set GOTOOLCHAIN=auto to let go fetch it");
    }
    error.hint(format!(
        "Delve comes as a Go module; see whether this works: go mod download {MODULE}@{VERSION}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_module_requires_delve_and_what_delve_requires() {
        let theirs = "module github.com/go-delve/delve\n\ngo 1.25.0\n\nrequire (\n\ta.example/b v1.0.0\n)\n";
        assert_eq!(
            go_mod(theirs),
            format!(
                "module gimg.invalid/debug\n\nrequire {MODULE} {VERSION}\n\ngo 1.25.0\n\nrequire (\n\ta.example/b v1.0.0\n)\n"
            )
        );
    }
}
