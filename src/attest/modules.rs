//! What a Go program is made of, by what the linker recorded in it: its own module, the modules that it was built
//! with, and the standard library.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::attest::Licences;
use crate::binary::{self, BuildInfo};

/// What stands after a revision from which the sources differ.
pub(super) const CHANGED: &str = ", with changes";

/// A module in a program: the one whose code is there, also where go.mod asked for another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Module {
    /// Its path.
    pub path: String,
    /// Its version; `None` for code of a directory, which has none.
    pub version: Option<String>,
    /// Go's hash of its files, as in go.sum: `h1:` and base64.
    pub sum: Option<String>,
    /// Where the code comes from, if path and version don't say it.
    pub source: Option<String>,
    /// Under which licences the texts in its code say it is: an SPDX expression. None where they weren't looked for, or
    /// it isn't sure.
    pub licence: Option<String>,
}

/// The modules of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modules {
    /// The module of the main package.
    pub main: Module,
    /// The modules that it was built with, sorted.
    pub deps: Vec<Module>,
    /// The toolchain, whose standard library is in the program: `go1.26.8`, perhaps with experiments.
    pub go: String,
    /// The state of the sources, if Go stamped it.
    pub stamp: Option<Stamp>,
    /// The packages of which the program has functions, by the paths of their modules as they are in `main` and `deps`,
    /// sorted; the standard library's under [`Modules::STDLIB`]. None where the program doesn't say it.
    pub packages: Option<BTreeMap<String, Vec<String>>>,
}

/// What Go stamps into a program of the version control that its sources are under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Which it is: `git`.
    pub system: String,
    /// The commit.
    pub revision: String,
    /// Whether files were changed, or not under it.
    pub modified: bool,
}

impl Stamp {
    fn of(info: &BuildInfo) -> Option<Self> {
        let setting = |key: &str| info.setting(key).map(str::to_owned);
        let modified = info.setting("vcs.modified") == Some("true");
        Some(Stamp { system: setting("vcs")?, revision: setting("vcs.revision")?, modified })
    }
}

impl Modules {
    /// The modules that `info` names. A program that was built outside of modules is its own main module.
    #[must_use]
    pub fn of(info: &BuildInfo) -> Self {
        Self::with_licences(info, |_| None)
    }

    /// The same with their licences, as `licence` knows them.
    #[must_use]
    pub fn with_licences(
        info: &BuildInfo,
        mut licence: impl FnMut(&binary::Module) -> Option<String>,
    ) -> Self {
        let mut licensed = |module| Module { licence: licence(module), ..resolved(module) };
        let mut main = match &info.main {
            Some(main) => licensed(main),
            None => Module { path: info.path.clone(), version: None, sum: None, source: None, licence: None },
        };
        let stamp = Stamp::of(info);
        if let Some(Stamp { system, revision, modified }) = &stamp {
            let changed = if *modified { CHANGED } else { "" };
            main.source.get_or_insert(format!("{system} revision {revision}{changed}"));
        }
        let mut deps: Vec<Module> = info.deps.iter().map(licensed).collect();
        deps.sort();
        deps.dedup();
        Modules { main, deps, go: info.go_version.clone(), stamp, packages: None }
    }

    /// The same, under the licences that are said of them.
    #[must_use]
    pub fn licensed_by(mut self, licences: &Licences) -> Self {
        for module in self.deps.iter_mut().chain([&mut self.main]) {
            let version = module.version.as_deref().unwrap_or_default();
            module.licence = licences.of(&module.path, version).map(str::to_owned);
        }
        self
    }

    /// What the standard library is called among modules: none can have the name.
    pub const STDLIB: &str = "std";

    /// The same with the packages of which the program that `info` is of has functions. Each is the module's with the
    /// longest path that it is below; what is below none is the standard library's.
    #[must_use]
    pub fn with_packages(self, info: &BuildInfo, packages: impl IntoIterator<Item = String>) -> Self {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in packages {
            let package = if package == "main" { info.path.clone() } else { package };
            let of = match info.module_of(&package) {
                Some(module) => resolved(module).path,
                None if package == info.path => self.main.path.clone(),
                None => Self::STDLIB.to_owned(),
            };
            found.entry(of).or_default().insert(package);
        }
        let sorted = found.into_iter().map(|(module, packages)| (module, packages.into_iter().collect()));
        Modules { packages: Some(sorted.collect()), ..self }
    }

    /// The version of the standard library: `1.26.8` of `go1.26.8 X:rangefunc`. One that is no release stays as it is.
    #[must_use]
    pub fn stdlib_version(&self) -> &str {
        let release = self.go.split(' ').find_map(|word| word.strip_prefix("go"));
        release.filter(|r| r.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(&self.go)
    }
}

/// The module whose code was taken. What stands in for a module is another one, or a directory with its code.
fn resolved(module: &binary::Module) -> Module {
    let version = |m: &binary::Module| Some(m.version.clone()).filter(|v| !v.is_empty() && v != "(devel)");
    let sum = |m: &binary::Module| Some(m.sum.clone()).filter(|s| !s.is_empty());
    let Some(other) = &module.replace else {
        let path = module.path.clone();
        return Module { path, version: version(module), sum: sum(module), source: None, licence: None };
    };
    let asked = version(module).map(|v| format!(" {v}")).unwrap_or_default();
    match version(other) {
        // The directory's name says nothing to others, and may be a path on the machine of who built it.
        None => Module {
            path: module.path.clone(),
            version: None,
            sum: None,
            source: Some(format!(
                "a directory, in place of{} by a replace directive",
                match asked.as_str() {
                    "" => " a version",
                    asked => asked,
                }
            )),
            licence: None,
        },
        version => Module {
            path: other.path.clone(),
            version,
            sum: sum(other),
            source: Some(format!("in place of {}{asked} by a replace directive", module.path)),
            licence: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, version: &str, sum: &str) -> binary::Module {
        binary::Module { path: path.into(), version: version.into(), sum: sum.into(), replace: None }
    }

    fn replaced(module: binary::Module, by: binary::Module) -> binary::Module {
        binary::Module { replace: Some(Box::new(by)), ..module }
    }

    #[test]
    fn what_stands_in_for_a_module_is_what_is_there() {
        let info = BuildInfo {
            go_version: "go1.26.8 X:rangefunc".into(),
            path: "example.com/app/cmd".into(),
            main: Some(module("example.com/app", "(devel)", "")),
            deps: vec![
                replaced(module("z.org/z", "v1.0.0", ""), module("fork.org/z", "v1.0.1", "h1:fork=")),
                replaced(module("b.org/b", "v2.0.0+incompatible", ""), module("/home/me/b", "(devel)", "")),
                module("a.org/a", "v0.1.0", "h1:a="),
                module("workspace.org/w", "(devel)", ""),
            ],
            settings: vec![
                ("vcs".into(), "git".into()),
                ("vcs.revision".into(), "abc".into()),
                ("vcs.modified".into(), "true".into()),
            ],
        };
        let found = Modules::of(&info);
        assert_eq!(found.main.source.as_deref(), Some("git revision abc, with changes"));
        let rows: Vec<_> = found
            .deps
            .iter()
            .map(|m| (m.path.as_str(), m.version.as_deref(), m.sum.as_deref(), m.source.as_deref()))
            .collect();
        assert_eq!(
            rows,
            [
                ("a.org/a", Some("v0.1.0"), Some("h1:a="), None),
                (
                    "b.org/b",
                    None,
                    None,
                    Some("a directory, in place of v2.0.0+incompatible by a replace directive")
                ),
                (
                    "fork.org/z",
                    Some("v1.0.1"),
                    Some("h1:fork="),
                    Some("in place of z.org/z v1.0.0 by a replace directive")
                ),
                ("workspace.org/w", None, None, None),
            ]
        );
        assert!(!format!("{found:?}").contains("/home/me"), "a path of the machine");
    }

    #[test]
    fn the_standard_library_has_the_version_of_the_toolchain() {
        let version = |go: &str| {
            let info = BuildInfo { go_version: go.into(), path: "x".into(), ..BuildInfo::default() };
            let modules = Modules::of(&info);
            assert_eq!((modules.main.path.as_str(), modules.main.version.as_deref()), ("x", None));
            modules.stdlib_version().to_owned()
        };
        for (go, stdlib) in [
            ("go1.26.8", "1.26.8"),
            ("go1.26.8 X:rangefunc", "1.26.8"),
            ("go1.27rc1", "1.27rc1"),
            ("devel go1.27-0123abc Tue Feb 3", "1.27-0123abc"),
            ("weird", "weird"),
        ] {
            assert_eq!(version(go), stdlib);
        }
    }

    #[test]
    fn packages_are_their_modules_with_the_longest_path() {
        let info = BuildInfo {
            path: "a.com/app/cmd/x".into(),
            main: Some(module("a.com/app", "(devel)", "")),
            deps: vec![
                module("a.com/app/sub", "v1.0.0", "h1:a="),
                replaced(module("b.org/b", "v1.0.0", ""), module("c.org/fork", "v2.0.0", "h1:b=")),
                module("d.org/d", "v1.0.0", "h1:c="),
            ],
            ..BuildInfo::default()
        };
        let linked =
            ["main", "a.com/app", "a.com/app/sub/y", "a.com/apple", "b.org/b/z", "fmt", "vendor/g.org/x"];
        let found = Modules::of(&info).with_packages(&info, linked.map(str::to_owned)).packages.unwrap();
        let found: Vec<String> = found.iter().map(|(of, all)| format!("{of}: {}", all.join(" "))).collect();
        assert_eq!(
            found,
            [
                "a.com/app: a.com/app a.com/app/cmd/x",
                "a.com/app/sub: a.com/app/sub/y",
                "c.org/fork: b.org/b/z",
                "std: a.com/apple fmt vendor/g.org/x",
            ]
        );
    }
}
