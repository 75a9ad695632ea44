//! `go list`: which main packages the arguments name.
#![expect(clippy::disallowed_methods, reason = "edge: reads go.mod")]

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::go::Go;
use crate::go::toolchain::start;
use crate::plan::command::{self, Target};
use crate::plan::facts::Package;
use crate::plan::packages::Query;

/// What is read of each package that `go list -json` prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    import_path: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    dir: PathBuf,
    #[serde(default)]
    r#match: Vec<String>,
    error: Option<ListError>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListError {
    #[serde(default)]
    err: String,
}

/// What one pattern of a query names.
///
/// # Errors
/// No package, one that isn't `main`, or one that can't be loaded.
pub type Matched = Result<Vec<Package>>;

/// Lists the packages that `query` names, as `target` sees them, in the order of the query's patterns.
///
/// # Errors
/// No module, or a failing `go list`; a pattern's own errors are its own.
pub async fn list(go: &Go, query: &Query, flags: &[String], target: &Target) -> Result<Vec<Matched>> {
    let mut child = go
        .child(&query.dir)
        .args(["list", "-e", "-json=ImportPath,Name,Dir,Match,Error"])
        .args(command::list_flags(flags))
        .arg("--")
        .args(&query.patterns);
    child.set.extend(target.environment.iter().cloned());
    let output = start(&child).await?;
    if !output.success {
        return Err(refused(&output.stderr, &query.dir));
    }
    let mut listed = Vec::new();
    for package in serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Listed>() {
        listed.push(package.map_err(|e| Error::new(Kind::GoBuild, "read the output of go list", e))?);
    }
    Ok(query.patterns.iter().map(|pattern| matching(pattern, &listed, query, target)).collect())
}

/// The main packages that one pattern names.
fn matching(pattern: &str, listed: &[Listed], query: &Query, target: &Target) -> Matched {
    let wild = pattern.contains("...");
    if !wild && pattern.ends_with(".go") {
        return Err(Error::new(Kind::Input, format!("can't build {pattern}"), "it is a file, not a package")
            .hint("name its directory"));
    }
    let found: Vec<&Listed> = listed.iter().filter(|p| p.r#match.iter().any(|m| m == pattern)).collect();
    let mut packages = Vec::new();
    for package in &found {
        let broken = package.error.as_ref().map(|e| e.err.trim());
        if let Some(why) = broken {
            // In a wide pattern a package without files for this platform is simply not there.
            if wild && why.contains("build constraints exclude all Go files") {
                continue;
            }
            if package.name != "main" || !wild {
                return Err(broken_package(pattern, why, target));
            }
        }
        if package.name == "main" {
            packages.push(Package {
                import_path: package.import_path.clone(),
                dir: package.dir.clone(),
                module_dir: query.dir.clone(),
            });
        } else if !wild {
            let why = format!("it is package \"{}\", not main", package.name);
            return Err(Error::new(Kind::Input, format!("can't build {pattern}"), why)
                .at(&package.import_path)
                .hint("name a directory with package main, such as ./cmd/app"));
        }
    }
    if packages.is_empty() {
        let why = if wild { "no package main matches" } else { "no such package" };
        return Err(Error::new(Kind::Input, format!("can't build {pattern}"), why).at(query.dir.display()));
    }
    Ok(packages)
}

/// A package that `go list` could not load.
fn broken_package(pattern: &str, why: &str, target: &Target) -> Error {
    let error = Error::new(Kind::Input, format!("can't load package {pattern}"), why);
    match why {
        w if w.contains("build constraints exclude all Go files") => {
            error.at(&target.platform).hint("its files are for other platforms, or need cgo (CGO_ENABLED=1)")
        }
        w if w.contains("missing go.sum entry") => error.hint("run: go mod tidy"),
        w if w.contains("no required module provides") => {
            error.hint("run: go mod tidy, or go get the module")
        }
        w if w.contains("no Go files in") => {
            error.hint("name a directory with package main, such as ./cmd/app")
        }
        _ => error,
    }
}

/// The directories of the modules that `go` sees as main in `dir`: one, or those of the workspace. Empty
/// where there is no module.
///
/// # Errors
/// A workspace or go.mod that `go` can't read.
pub async fn main_modules(go: &Go, dir: &Path) -> Result<Vec<PathBuf>> {
    let output = start(&go.child(dir).args(["list", "-m", "-f", "{{.Dir}}"])).await?;
    if !output.success {
        let error = refused(&output.stderr, dir);
        let nowhere =
            output.stderr.contains("go.mod file not found") || output.stderr.contains("main module");
        return if nowhere { Ok(Vec::new()) } else { Err(error) };
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter(|l| !l.is_empty()).map(PathBuf::from).collect())
}

/// `go list` itself failed: sort out the reasons that users meet.
fn refused(stderr: &str, dir: &Path) -> Error {
    let text = stderr.trim();
    if text.contains("go.mod file not found") || text.contains("cannot find main module") {
        return no_module(dir);
    }
    let error = Error::new(Kind::Input, "list packages", text).at(dir.display());
    if text.contains("toolchain not available") || text.contains("requires go >=") {
        return error
            .as_kind(Kind::GoBuild)
            .hint("install that Go, or set GOTOOLCHAIN=auto to let go fetch it");
    }
    error
}

/// The path that the go.mod in `dir` says its module has (go.dev/ref/mod, "go.mod files").
#[must_use]
pub fn module_path(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("go.mod")).ok()?;
    let line =
        text.lines().find_map(|l| l.trim().strip_prefix("module").filter(|r| r.starts_with([' ', '\t'])))?;
    let path = line.split("//").next().unwrap_or(line).trim().trim_matches(['"', '`']);
    (!path.is_empty()).then(|| path.to_owned())
}

/// The nearest module at or above `dir`: its directory, and the path that its go.mod says.
#[must_use]
pub fn module_around(dir: &Path) -> Option<(PathBuf, String)> {
    let module = crate::fs::nearest_module(dir)?;
    let path = module_path(&module)?;
    Some((module, path))
}

/// The error of a directory with no go.mod in it or above.
#[must_use]
pub fn no_module(dir: &Path) -> Error {
    Error::new(Kind::Input, "find the Go module", "no go.mod in this directory or above")
        .at(dir.display())
        .hint("run gimg inside a module, or make one with: go mod init")
}
