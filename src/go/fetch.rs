//! A module's version built as `go install package@version` does it: outside of any other module. Here that is a module
//! of its own in a private directory, which requires that version and nothing else, so that every other command of Go
//! works there too.
#![expect(clippy::disallowed_methods, reason = "edge: writes the private module that go builds in")]

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::go::Go;
use crate::go::toolchain::start;
use crate::process::Child;

/// A module that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Fetched {
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
    /// Its directory in the module cache.
    pub dir: PathBuf,
    #[serde(default)]
    go_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    module: Option<Fetched>,
}

/// Fetches the module that has `packages` at `version`, and makes `into`, a private directory that is empty, a module
/// where they can be built.
///
/// # Errors
/// A version or package that isn't there, packages of several modules, or a module whose go.mod can't be another's
/// (`go help install`): kind `Input`.
pub async fn fetch(go: &Go, packages: &[String], version: &str, into: &Path) -> Result<Fetched> {
    let what = format!("fetch {}@{version}", packages.first().map_or("", String::as_str));
    // `go get` raises it as far as is needed. Below 1.17 it would ask for every module that others might need
    // (go.dev/ref/mod, "Module graph pruning"), which `go install` doesn't.
    let file = into.join("go.mod");
    std::fs::write(&file, "module gimg.invalid/module\n\ngo 1.21\n")
        .map_err(|e| Error::io("write a module", &file, &e))?;
    let get = packages.iter().map(|package| format!("{package}@{version}"));
    run(go, into, &what, child(go, into).args(["get", "--"]).args(get)).await?;
    let list = child(go, into).args(["list", "-json=Module", "--"]).args(packages);
    let listed = run(go, into, &what, list).await?;
    let mut module: Option<Fetched> = None;
    for package in serde_json::Deserializer::from_slice(&listed).into_iter::<Listed>() {
        let package = package.map_err(|e| Error::new(Kind::GoBuild, "read the output of go list", e))?;
        match (package.module, &module) {
            (None, _) => return Err(Error::new(Kind::Input, what, "it is in the standard library")),
            (Some(found), Some(first)) if found != *first => {
                let why = format!("{} and {} are two modules", first.path, found.path);
                return Err(Error::new(Kind::Input, what, why).hint("build them one by one"));
            }
            (Some(found), _) => module = Some(found),
        }
    }
    let module = module.ok_or_else(|| Error::new(Kind::Input, &what, "there is no such package"))?;
    check(&module, &what)?;
    // Defaults of GODEBUG follow the go line of whoever builds: here the module's own, as `go install` has it.
    let line = if module.go_version.is_empty() { "1.16" } else { &module.go_version };
    let line = format!("-go={line}");
    run(go, into, &what, child(go, into).args(["mod", "edit", &line, "-toolchain=none"])).await?;
    Ok(module)
}

/// The releases of Go that the module proxy knows, without the `go` before them (go.dev/ref/mod, "Go toolchains").
///
/// # Errors
/// A proxy that gives no answer.
pub async fn releases(go: &Go, dir: &Path) -> Result<Vec<String>> {
    let list = child(go, dir).args(["list", "-m", "-versions", "go"]);
    let listed = run(go, dir, "look for the releases of Go", list).await?;
    Ok(String::from_utf8_lossy(&listed).split_whitespace().skip(1).map(str::to_owned).collect())
}

/// A go.mod that means something else where it isn't the main module's (`go help install`).
fn check(module: &Fetched, what: &str) -> Result<()> {
    let file = module.dir.join("go.mod");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let directive = ["replace", "exclude"].into_iter().find(|word| {
        text.lines()
            .any(|line| line.trim_start().strip_prefix(word).is_some_and(|r| r.starts_with([' ', '\t', '('])))
    });
    match directive {
        None => Ok(()),
        Some(word) => {
            let why = format!(
                "the go.mod of {} has {word} directives, which only count where it is built itself",
                module.path
            );
            Err(Error::new(Kind::Input, what, why).hint("build it in a checkout of its repository"))
        }
    }
}

fn child(go: &Go, dir: &Path) -> Child {
    let flags = format!("-mod=mod {}", go.cache_flag());
    go.child(dir).env("GOFLAGS", flags.trim_end()).env("GOWORK", "off").env("GO111MODULE", "on")
}

async fn run(go: &Go, dir: &Path, what: &str, child: Child) -> Result<Vec<u8>> {
    let output = start(&child).await?;
    if output.success {
        return Ok(output.stdout);
    }
    let said = output.stderr.trim();
    let error = Error::new(Kind::Input, what, output.status).output(said.to_owned());
    Err(match said {
        _ if said.contains("SECURITY ERROR") || said.contains("checksum mismatch") => {
            error.as_kind(Kind::Integrity)
        }
        _ if said.contains("requires go >=") || said.contains("toolchain not available") => {
            error.as_kind(Kind::GoBuild).hint("install that Go, or set GOTOOLCHAIN=auto to let go fetch it")
        }
        _ => error.at(format!("{} in {}", go.program().display(), dir.display())),
    })
}
