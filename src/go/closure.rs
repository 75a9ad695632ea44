//! Everything that goes into programs: `go list -deps`, and what its answer says about files.
#![expect(clippy::disallowed_methods, reason = "edge: directories of embedded files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::fs::{Ask, Paths};
use crate::go::Go;
use crate::go::inputs::module;
use crate::go::toolchain::start;
use crate::plan::CompileGroup;
use crate::plan::command;

/// What is read of each package.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    import_path: String,
    dir: PathBuf,
    standard: bool,
    module: Option<Module>,
    imports: Vec<String>,
    embed_patterns: Vec<String>,
    embed_files: Vec<String>,
    go_files: Vec<String>,
    cgo_files: Vec<String>,
    ignored_go_files: Vec<String>,
    ignored_other_files: Vec<String>,
    c_files: Vec<String>,
    #[serde(rename = "CXXFiles")]
    cxx_files: Vec<String>,
    m_files: Vec<String>,
    h_files: Vec<String>,
    f_files: Vec<String>,
    s_files: Vec<String>,
    swig_files: Vec<String>,
    #[serde(rename = "SwigCXXFiles")]
    swig_cxx_files: Vec<String>,
    syso_files: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Module {
    path: String,
    version: String,
    dir: PathBuf,
    main: bool,
    replace: Option<Box<Module>>,
}

impl Module {
    /// Whether its code is in a directory of the user's, not of the module cache.
    fn is_local(&self) -> bool {
        match &self.replace {
            Some(other) => other.version.is_empty(),
            None => self.main || self.version.is_empty(),
        }
    }
}

/// The fields of [`Listed`].
const FIELDS: &str = "-json=ImportPath,Dir,Standard,Module,Imports,EmbedPatterns,EmbedFiles,GoFiles,CgoFiles,\
                      IgnoredGoFiles,IgnoredOtherFiles,CFiles,CXXFiles,MFiles,HFiles,FFiles,SFiles,SwigFiles,\
                      SwigCXXFiles,SysoFiles";

/// The packages that go into the programs of a compile group.
#[derive(Debug)]
pub struct Closure {
    packages: BTreeMap<String, Listed>,
}

/// Asks what goes into `programs` of `group`.
///
/// # Errors
/// A failing `go list`, or one that prints what can't be read.
pub async fn closure(go: &Go, group: &CompileGroup, programs: &[String]) -> Result<Closure> {
    let mut child = go.child(&group.dir).args(["list", "-deps", FIELDS]);
    child = child.args(command::list_flags(&group.flags)).arg("--").args(programs);
    child.set.extend(group.target.environment.iter().cloned());
    let output = start(&child).await?;
    if !output.success {
        return Err(Error::new(Kind::GoBuild, "run go list", output.status).output(output.stderr));
    }
    let mut packages = BTreeMap::new();
    for package in serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Listed>() {
        let package = package.map_err(|e| Error::new(Kind::GoBuild, "read the output of go list", e))?;
        packages.insert(package.import_path.clone(), package);
    }
    Ok(Closure { packages })
}

impl Closure {
    /// What decides the bytes of `program`, beside what is around it and the toolchain. None where that can't be told.
    #[must_use]
    pub fn inputs(&self, program: &str) -> Option<Paths> {
        let mut paths = Paths::new();
        let reached = self.reached(program)?;
        let locals: BTreeMap<&str, &Module> = reached
            .iter()
            // Of a vendored module nothing but the copy is read: it has no directory.
            .filter_map(|p| p.module.as_ref().filter(|m| m.is_local() && m.dir.is_absolute()))
            .map(|m| (m.path.as_str(), m))
            .collect();
        for local in locals.values() {
            module(&local.dir, &mut paths);
        }
        for package in reached {
            package.inputs(&mut paths)?;
            let own = package.module.as_ref().map(|m| m.path.as_str());
            for (path, local) in &locals {
                // A directory of this name would make the import ambiguous.
                let below = package.import_path.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
                if let Some(below) = below.filter(|_| !package.standard && own != Some(path)) {
                    paths.add(local.dir.join(below), Ask::Sources);
                }
            }
        }
        let main = self.packages.get(program)?;
        paths.add(main.dir.join("default.pgo"), Ask::Bytes);
        Some(paths)
    }

    /// The directory of a program's package.
    #[must_use]
    pub fn dir(&self, program: &str) -> Option<&Path> {
        self.packages.get(program).map(|p| p.dir.as_path())
    }

    /// The packages that `program` is made of; the standard library's all, because the linker adds some.
    fn reached(&self, program: &str) -> Option<Vec<&Listed>> {
        let mut seen = BTreeSet::from([program]);
        let mut open = vec![program];
        let mut found: Vec<&Listed> = self.packages.values().filter(|p| p.standard).collect();
        while let Some(path) = open.pop() {
            let package = self.packages.get(path)?;
            if !package.standard {
                found.push(package);
            }
            for import in package.imports.iter().filter(|i| *i != "C") {
                if seen.insert(import) {
                    open.push(import);
                }
            }
        }
        Some(found)
    }
}

impl Listed {
    fn inputs(&self, paths: &mut Paths) -> Option<()> {
        if !self.cgo_files.is_empty() && !self.standard {
            return None;
        }
        if self.import_path == "unsafe" {
            return Some(());
        }
        if !self.dir.is_absolute() {
            return None;
        }
        paths.add(&self.dir, Ask::Sources);
        let files = [
            &self.go_files,
            &self.cgo_files,
            &self.ignored_go_files,
            &self.ignored_other_files,
            &self.c_files,
            &self.cxx_files,
            &self.m_files,
            &self.h_files,
            &self.f_files,
            &self.s_files,
            &self.swig_files,
            &self.swig_cxx_files,
            &self.syso_files,
            &self.embed_files,
        ];
        let is_local = self.module.as_ref().is_some_and(Module::is_local);
        for file in files.into_iter().flatten() {
            let ask = if is_local && file.ends_with(".go") { Ask::Source } else { Ask::Bytes };
            paths.add(self.dir.join(file), ask);
        }
        for pattern in &self.embed_patterns {
            let pattern = pattern.strip_prefix("all:").unwrap_or(pattern);
            let elements: Vec<&str> = pattern.split('/').filter(|e| !e.is_empty() && *e != ".").collect();
            self.embedded(&self.dir, &elements, paths)?;
        }
        // A go.mod on the way would make the package another module's.
        if let Some(module) = self.module.as_ref().filter(|m| m.is_local()) {
            let on_the_way =
                self.dir.ancestors().take_while(|dir| *dir != module.dir && dir.starts_with(&module.dir));
            on_the_way.for_each(|dir| paths.add(dir.join("go.mod"), Ask::Bytes));
        }
        Some(())
    }

    /// What decides which files the rest of an embed pattern names below `dir` (go.dev/pkg/embed, "Directives").
    fn embedded(&self, dir: &Path, elements: &[&str], paths: &mut Paths) -> Option<()> {
        let Some((first, rest)) = elements.split_first() else { return self.whole(dir, paths) };
        if !first.contains(['*', '?', '[', '\\']) {
            let path = dir.join(first);
            paths.add(&path, Ask::Bytes);
            return self.embedded(&path, rest, paths);
        }
        paths.add(dir, Ask::Names);
        for below in directories(dir)? {
            // Of the last element's matches only those with files count, and those are known.
            let matters = !rest.is_empty() || self.has_files_in(&below);
            if matters {
                self.embedded(&below, rest, paths)?;
            }
        }
        Some(())
    }

    fn has_files_in(&self, dir: &Path) -> bool {
        self.embed_files.iter().any(|file| self.dir.join(file).starts_with(dir))
    }

    /// A path that is embedded with all that is below it.
    fn whole(&self, path: &Path, paths: &mut Paths) -> Option<()> {
        if !path.is_dir() {
            return Some(());
        }
        paths.add(path, Ask::Names);
        for below in directories(path)? {
            self.whole(&below, paths)?;
        }
        Some(())
    }
}

/// The directories in `dir`, links not followed. Nothing if it can't be read.
fn directories(dir: &Path) -> Option<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Some(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.ok()?;
        if entry.file_type().ok()?.is_dir() {
            found.push(entry.path());
        }
    }
    Some(found)
}
