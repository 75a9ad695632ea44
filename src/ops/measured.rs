//! A Go program, measured: what Go recorded in it, and which package's code takes how much of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::attest::{Licences, Modules};
use crate::binary::{BuildInfo, Module, Sort, sizes};
use crate::error::{Error, Result};
use crate::oci::Digest;
use crate::ops::contained::Contained;
use crate::ops::{Context, blocking, modules};
use crate::report::{InspectedModule, InspectedProgram, PackageSize, SectionKind, SectionSize};

/// Measures programs, whose copies go. Licences that nobody says are looked for in the user's module cache.
///
/// # Errors
/// A copy that can't be read.
pub(super) async fn measured(
    cx: &Context,
    programs: Vec<Contained>,
    licences: &Licences,
) -> Result<Vec<InspectedProgram>> {
    let mut found = Vec::new();
    for program in programs {
        let mut licences = licences.clone();
        if let Some(info) = program.header.build_info.as_ref().filter(|_| licences.is_empty()) {
            licences = modules::licences(cx, info).await?;
        }
        // One after the other: of each the whole table of functions is in memory.
        let scratch = std::sync::Arc::clone(&cx.scratch);
        let measured = blocking(move || {
            let measured = measure(&program, &licences);
            scratch.remove(&program.file);
            measured
        });
        found.push(measured.await?);
    }
    Ok(found)
}

fn measure(program: &Contained, licences: &Licences) -> Result<InspectedProgram> {
    let io = |e: std::io::Error| Error::io("read the binary", &program.file, &e);
    let (digest, size) = Digest::of_reader(crate::fs::open(&program.file).map_err(io)?).map_err(io)?;
    let sizes = sizes::sizes(crate::fs::open_to_seek(&program.file).map_err(io)?)?;
    let info = program.header.build_info.clone().unwrap_or_default();
    let packages = packages(&info, sizes.packages);
    let mut by_module: BTreeMap<&str, u64> = BTreeMap::new();
    for package in &packages {
        *by_module.entry(package.module.as_deref().unwrap_or_default()).or_default() += package.size;
    }
    let module = |module: &Module| {
        let mut shown = shown(module, licences);
        shown.size = by_module.get(shown.path.as_str()).copied().unwrap_or_default();
        shown
    };
    Ok(InspectedProgram {
        path: program.path.clone(),
        digest,
        format: program.header.describe(),
        size,
        go: info.go_version.clone(),
        package: info.path.clone(),
        module: info.main.as_ref().map(&module),
        modules: info.deps.iter().map(&module).collect(),
        settings: info.settings.iter().cloned().collect(),
        packages,
        sections: sizes.sections.into_iter().map(section).collect(),
    })
}

/// The packages by size, with their modules.
fn packages(info: &BuildInfo, sizes: BTreeMap<String, u64>) -> Vec<PackageSize> {
    let mut packages: Vec<PackageSize> = sizes
        .into_iter()
        .map(|(package, size)| {
            let is_main = package == "main" && !info.path.is_empty();
            let package = if is_main { info.path.clone() } else { package };
            PackageSize { module: module_of(info, &package), package, size }
        })
        .collect();
    packages.sort_by(|a, b| (Reverse(a.size), &a.package).cmp(&(Reverse(b.size), &b.package)));
    packages
}

/// The module that a package is in: the one with the longest path that the package's begins with. What has no dot in its
/// first part is the standard library's (`cmd/go`, "Import path syntax").
fn module_of(info: &BuildInfo, package: &str) -> Option<String> {
    if let Some(module) = info.module_of(package) {
        return Some(module.path.clone());
    }
    let first = package.split('/').next().unwrap_or_default();
    let is_standard = !package.is_empty() && !first.contains('.') && package != info.path;
    is_standard.then(|| Modules::STDLIB.to_owned())
}

fn shown(module: &Module, licences: &Licences) -> InspectedModule {
    let replace = module.replace.as_ref().map(|other| Box::new(shown(other, licences)));
    let own = || licences.of(&module.path, version(module)).map(str::to_owned);
    // The licence is that of the code which is there.
    let licence = replace.as_ref().map_or_else(own, |other| other.licence.clone());
    InspectedModule {
        path: module.path.clone(),
        version: module.version.clone(),
        sum: module.sum.clone(),
        replace,
        licence,
        size: 0,
    }
}

/// As SBOMs have it.
fn version(module: &Module) -> &str {
    if module.version == "(devel)" { "" } else { &module.version }
}

fn section(section: sizes::Section) -> SectionSize {
    let kind = match section.sort {
        Sort::Code => SectionKind::Code,
        Sort::Data => SectionKind::Data,
        Sort::Functions => SectionKind::Functions,
        Sort::Symbols => SectionKind::Symbols,
        Sort::Debug => SectionKind::Debug,
        Sort::Other => SectionKind::Other,
    };
    SectionSize { name: section.name, kind, size: section.size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_in_the_module_with_the_longest_path() {
        let module = |path: &str| Module { path: path.into(), version: "v1".into(), ..Module::default() };
        let info = BuildInfo {
            path: "a.com/m/cmd/app".into(),
            main: Some(module("a.com/m")),
            deps: vec![module("b.org/b"), module("b.org/b/v2"), module("local")],
            ..BuildInfo::default()
        };
        for (package, of) in [
            ("net/http", Some("std")),
            ("vendor/golang.org/x/text", Some("std")),
            ("a.com/m", Some("a.com/m")),
            ("a.com/m/x", Some("a.com/m")),
            ("a.com/mx", None),
            ("b.org/b/x", Some("b.org/b")),
            ("b.org/b/v2/x", Some("b.org/b/v2")),
            ("local/x", Some("local")),
            ("", None),
        ] {
            assert_eq!(module_of(&info, package).as_deref(), of, "{package}");
        }
        let sizes = [("main", 5), ("net/http", 7), ("a.com/m/x", 5)];
        let sizes = sizes.map(|(package, size)| (package.to_owned(), size)).into();
        let order: Vec<String> = packages(&info, sizes).into_iter().map(|p| p.package).collect();
        assert_eq!(order, ["net/http", "a.com/m/cmd/app", "a.com/m/x"]);
    }

    #[test]
    fn a_licence_is_that_of_the_code_that_is_there() {
        let spdx = serde_json::json!({"packages": [
            {"name": "a.com/a", "versionInfo": "v1", "licenseConcluded": "MIT"},
            {"name": "a.com/fork", "versionInfo": "v2", "licenseConcluded": "Apache-2.0"},
        ]});
        let licences = Licences::read(crate::attest::Format::Spdx, &spdx);
        let mut module = Module { path: "a.com/a".into(), version: "v1".into(), ..Module::default() };
        assert_eq!(shown(&module, &licences).licence.as_deref(), Some("MIT"));
        let other = Module { path: "a.com/fork".into(), version: "v2".into(), ..Module::default() };
        module.replace = Some(Box::new(other));
        assert_eq!(shown(&module, &licences).licence.as_deref(), Some("Apache-2.0"));
        module.replace = Some(Box::new(Module { path: "../a".into(), ..Module::default() }));
        assert_eq!(shown(&module, &licences).licence, None);
    }
}
