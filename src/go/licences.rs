//! Where the code of modules is on this machine, and the texts of licences in it.
//!
//! Nothing is fetched, and no link is followed. What is found depends on what a build read alone: in a build that vendors,
//! the copies; else the module cache, in which Go has put every module that it compiled (go.dev/ref/mod, "Module cache").
#![expect(clippy::disallowed_methods, reason = "edge: reads licences of modules")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::binary::Module;
use crate::fs::{Ask, Paths};
use crate::go::Go;
use crate::go::inputs::directories_of;
use crate::go::list::module_path;
use crate::go::portable::workspace;
use crate::plan::Plan;

/// A larger file is no licence, in bytes.
const MAX: u64 = 64 * 1024;
/// How many files with licences a module may have.
const MAX_FILES: usize = 16;
/// What these files are called in directories of the user's. A build looks at each of them, whether it is there or not:
/// that a licence came or went is noticed.
const NAMES: &[&str] = &[
    "COPYING",
    "COPYING.LESSER",
    "COPYING.md",
    "COPYING.txt",
    "LICENCE",
    "LICENCE.md",
    "LICENCE.txt",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "LICENSE.md",
    "LICENSE.txt",
    "License",
    "License.txt",
    "UNLICENSE",
    "license",
];
/// How their names begin, and what they don't end in: code and data about licences.
const BEGINNINGS: &[&str] = &["COPYING", "LICENCE", "LICENSE", "UNLICENSE"];
const NO_TEXTS: &[&str] = &[
    "CSV", "GO", "HTML", "JSON", "MK", "PDF", "PNG", "PY", "SH", "SVG", "TMPL", "TOML", "TPL", "YAML", "YML",
];

/// Where the code of modules is.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The module cache, if something is taken from it.
    cache: Option<PathBuf>,
    /// Directories with copies of modules.
    vendored: Vec<PathBuf>,
    /// Directories of modules of the user's.
    locals: Vec<PathBuf>,
}

impl Places {
    /// Where the programs of a plan have their modules.
    #[must_use]
    pub fn of_build(go: &Go, plan: &Plan) -> Self {
        let mut places = Places::default();
        let cache = go.toolchain.env.get("GOMODCACHE").filter(|dir| !dir.is_empty());
        let goflags = go.toolchain.settings.get("GOFLAGS").map_or("", String::as_str);
        let flags = plan.groups.iter().flat_map(|group| group.flags.iter().map(String::as_str));
        let mut modes = goflags.split_whitespace().chain(flags).filter_map(|flag| {
            let flag = flag.strip_prefix("--").or(flag.strip_prefix('-'))?;
            flag.strip_prefix("mod=")
        });
        let mode = modes.next_back();
        let programs = plan.images.iter().flat_map(|i| i.programs.iter().map(|p| p.module_dir.as_path()));
        let mut dirs: Vec<&Path> = plan.images.iter().map(|i| i.dir.as_path()).chain(programs).collect();
        dirs.sort_unstable();
        dirs.dedup();
        for dir in dirs {
            let module = crate::fs::nearest_module(dir);
            let workspace = workspace(go, dir);
            let root = workspace.as_deref().and_then(Path::parent).or(module.as_deref());
            let vendor = root.map(|root| root.join("vendor"));
            places.vendored.extend(vendor.filter(|vendor| match mode {
                Some(mode) => mode == "vendor",
                None => vendor.join("modules.txt").is_file(),
            }));
            places.locals.extend(workspace.iter().flat_map(|file| directories_of(file)));
            places.locals.extend(module);
        }
        places.locals.dedup();
        places.vendored.dedup();
        places.cache = cache.filter(|_| places.vendored.is_empty()).map(PathBuf::from);
        places
    }

    /// The module cache alone.
    #[must_use]
    pub fn of_cache(go: &Go) -> Self {
        let cache = go.toolchain.env.get("GOMODCACHE").filter(|dir| !dir.is_empty());
        Places { cache: cache.map(PathBuf::from), ..Places::default() }
    }

    /// The module cache that Go has by default, by what the environment says of it (`go help environment`).
    #[must_use]
    pub fn of_environment(env: &BTreeMap<String, String>) -> Self {
        let get = |key: &str| env.get(key).filter(|value| !value.is_empty());
        let of_path = || Some(std::env::split_paths(get("GOPATH")?).next()?.join("pkg/mod"));
        let of_home = || Some(Path::new(get("HOME").or_else(|| get("USERPROFILE"))?).join("go/pkg/mod"));
        let cache = get("GOMODCACHE").map(PathBuf::from).or_else(of_path).or_else(of_home);
        Places { cache: cache.filter(|dir| dir.is_absolute()), ..Places::default() }
    }

    /// The texts of the licences of a module, each as it is in its file; none for a file that can't be one. Empty if the
    /// module isn't here, or has none.
    #[must_use]
    pub fn texts(&self, module: &Module) -> Vec<Option<Vec<u8>>> {
        let resolved = module.replace.as_deref().unwrap_or(module);
        let is_local = resolved.version.is_empty() || resolved.sum.is_empty();
        if let Some(dir) = is_local.then(|| self.local(module)).flatten() {
            let there = NAMES.iter().map(|name| dir.join(name)).filter(|path| crate::fs::exists(path));
            return read(there.collect());
        }
        let Some(dir) = self.copy(module).or_else(|| self.cached(resolved)) else { return Vec::new() };
        let names = crate::fs::names(&dir).unwrap_or_default();
        let texts: Vec<PathBuf> = names
            .iter()
            .filter(|name| name.to_str().is_some_and(is_licence))
            .map(|name| dir.join(name))
            // A directory of that name is none; a link may be one, and is not followed.
            .filter(|path| !std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()))
            .collect();
        read(texts)
    }

    /// The directory of the user's that a module is.
    fn local(&self, module: &Module) -> Option<PathBuf> {
        match module.replace.as_deref() {
            Some(other) => {
                let dirs = self.locals.iter().map(|root| root.join(&other.path));
                dirs.into_iter().find(|dir| dir.join("go.mod").is_file())
            }
            None => self.locals.iter().find(|dir| module_path(dir).as_ref() == Some(&module.path)).cloned(),
        }
    }

    /// The copy of a module in a build that vendors: under the path by which it is imported.
    fn copy(&self, module: &Module) -> Option<PathBuf> {
        escaped(&module.path)?;
        self.vendored.iter().map(|dir| dir.join(&module.path)).find(|dir| dir.is_dir())
    }

    /// A module's directory in the cache, if the cache doesn't say that it is another's (go.dev/ref/mod, "Module cache").
    fn cached(&self, module: &Module) -> Option<PathBuf> {
        let cache = self.cache.as_ref()?;
        let (path, version) = (escaped(&module.path)?, escaped(&module.version)?);
        if version.contains('/') {
            return None;
        }
        let sum = cache.join("cache/download").join(&path).join("@v").join(format!("{version}.ziphash"));
        let is_other = crate::fs::read_small(&sum, 1024)
            .is_ok_and(|known| !module.sum.is_empty() && known.trim_ascii() != module.sum.as_bytes());
        let dir = cache.join(format!("{path}@{version}"));
        (!is_other && dir.is_dir()).then_some(dir)
    }
}

/// All that says under which licences the user's own modules are that a build in `dir` may take: the module's or the
/// workspace's, and those in directories that stand in for others.
#[must_use]
pub fn licences(go: &Go, dir: &Path) -> Paths {
    let workspace = workspace(go, dir).map(|file| directories_of(&file)).unwrap_or_default();
    let modules = workspace.into_iter().chain(crate::fs::nearest_module(dir));
    let mut paths = Paths::new();
    for module in modules {
        let others = directories_of(&module.join("go.mod"));
        for dir in others.into_iter().chain([module]) {
            NAMES.iter().for_each(|name| paths.add(dir.join(name), Ask::Bytes));
        }
    }
    paths
}

/// Whether a file of this name has a licence.
fn is_licence(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let Some(rest) = BEGINNINGS.iter().find_map(|beginning| name.strip_prefix(beginning)) else {
        return false;
    };
    let extension = rest.rsplit_once('.').map_or("", |(_, extension)| extension);
    (rest.is_empty() || rest.starts_with(['.', '-', '_'])) && !NO_TEXTS.contains(&extension)
}

fn read(paths: Vec<PathBuf>) -> Vec<Option<Vec<u8>>> {
    if paths.len() > MAX_FILES {
        return vec![None];
    }
    let is_file = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    paths.iter().map(|path| crate::fs::read_small(path, MAX).ok().filter(|_| is_file(path))).collect()
}

/// A path or version as the module cache has it (golang.org/x/mod/module, "EscapePath"); none for what can be neither.
fn escaped(text: &str) -> Option<String> {
    let is_fine = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.');
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    if !text.split('/').all(is_fine) || !text.chars().all(is_legal) {
        return None;
    }
    let mut escaped = String::new();
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(c.to_ascii_lowercase());
    }
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_as_go_does_and_lead_nowhere_else() {
        for (text, expected) in [
            ("github.com/BurntSushi/toml", Some("github.com/!burnt!sushi/toml")),
            ("v2.0.0+incompatible", Some("v2.0.0+incompatible")),
            ("git.sr.ht/~sbinet/gg", Some("git.sr.ht/~sbinet/gg")),
            ("a/../../etc", None),
            ("/etc", None),
            ("a//b", None),
            ("a\\b", None),
            ("", None),
            ("a/.git", None),
            ("ä.org/b", None),
        ] {
            assert_eq!(escaped(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn licences_are_known_by_their_names() {
        for name in
            ["LICENSE", "license.md", "LICENCE.txt", "COPYING", "LICENSE-MIT", "LICENSE.libyaml", "Unlicense"]
        {
            assert!(is_licence(name), "{name}");
        }
        for name in
            ["licenses.go", "LICENSES", "license_test.go", "LICENSE.csv", "NOTICE", "licensecheck", "README"]
        {
            assert!(!is_licence(name), "{name}");
        }
        assert!(NAMES.iter().all(|name| is_licence(name)));
    }
}
