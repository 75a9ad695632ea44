//! What means the same on another machine: files by where they are in the module, workspace or toolchain, settings
//! without those that only say where things are.
//!
//! The standard library and the compilers are the toolchain's files; modules are those whose hashes are in go.sum, which
//! Go checks (go.dev/ref/mod, "Authenticating modules"); programs are compiled with -trimpath, so that no place reaches
//! their bytes. Whatever is neither is not portable.
#![expect(clippy::disallowed_methods, reason = "edge: looks for modules, workspaces and the toolchain")]

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use crate::fs::Away;
use crate::go::Go;
use crate::go::inputs::{environment, look_up, may_stamp, named_directories};
use crate::plan::CompileGroup;
use crate::plan::packages::normalise;

/// Settings that say where things are, or how they come there, and never reach a program's bytes.
const PLACES: &[&str] = &[
    "GOAUTH",
    "GOBIN",
    "GOCACHE",
    "GOENV",
    "GOGCCFLAGS",
    "GOINSECURE",
    "GOMOD",
    "GOMODCACHE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPATH",
    "GOPRIVATE",
    "GOPROXY",
    "GOROOT",
    "GOSUMDB",
    "GOTELEMETRY",
    "GOTELEMETRYDIR",
    "GOTMPDIR",
    "GOTOOLDIR",
    "GOVCS",
    "GOWORK",
];

/// Begins the name of a path in the tree.
const TREE: &str = "tree:";
/// Begins the name of a path in the toolchain.
const TOOLCHAIN: &str = "go:";

/// Where a group's compile finds what it reads on this machine.
#[derive(Clone, Debug)]
pub struct Portable {
    /// Where `go` runs: names of paths in the tree are relative to it.
    base: PathBuf,
    /// The module, or the workspace with its modules, and the directories that stand in for modules.
    locals: Vec<PathBuf>,
    goroot: PathBuf,
    modules: PathBuf,
    /// The toolchain that chose this one, if it is another.
    first: Option<PathBuf>,
    /// Go's env file; its settings count, it doesn't.
    env_file: Option<PathBuf>,
    /// Where `go` was looked for.
    programs: Vec<PathBuf>,
    settings: Settings,
}

/// What decides a program's bytes and isn't in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Settings {
    version: String,
    env: BTreeMap<String, String>,
    settings: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    target: Vec<(String, String)>,
    flags: Vec<String>,
    go_mod: String,
    go_work: Option<String>,
}

impl Portable {
    /// Looks for what the compile of `group` finds. `env` is the caller's environment. None where something of it means
    /// nothing elsewhere: a directory that is named by an absolute path, programs that hold paths of this machine.
    #[must_use]
    pub fn of(go: &Go, group: &CompileGroup, env: &BTreeMap<String, String>) -> Option<Self> {
        let get = |key: &str| go.toolchain.env.get(key).filter(|v| !v.is_empty()).map(PathBuf::from);
        let (base, goroot) = (group.dir.clone(), get("GOROOT")?);
        let trimmed = group.flags.iter().rfind(|f| f.trim_start_matches('-').starts_with("trimpath"))?;
        if !matches!(trimmed.as_str(), "-trimpath" | "--trimpath" | "-trimpath=true") {
            return None;
        }
        let path = env.get("PATH").map_or("", String::as_str);
        let found = look_up(go.program(), path)?.0.canonicalize().ok()?;
        let first = found.parent().and_then(Path::parent).map(Path::to_owned);
        let module = base.ancestors().find(|dir| dir.join("go.mod").is_file())?.to_owned();
        let workspace = workspace(go, &base);
        let mut locals = Locals::default();
        if let Some(file) = &workspace {
            locals.workspace(file)?;
        }
        locals.module(&module)?;
        let name = |path: &Path| relative(&base, path);
        let kept = |map: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            let kept = map.iter().filter(|(key, _)| !PLACES.contains(&key.as_str()));
            kept.map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        // Git is only asked for stamps, and CI has variables of that name that are other every time.
        let stamps = may_stamp(go, group);
        let reaches = |key: &str| {
            key.starts_with("GO") || key.starts_with("CGO_") || (stamps && key.starts_with("GIT_"))
        };
        let environment =
            environment(env).into_iter().filter(|(key, _)| reaches(key) && !PLACES.contains(key));
        let settings = Settings {
            version: go.toolchain.version.clone(),
            // It says whether there is a C compiler, and none is used.
            env: {
                let mut env = kept(&go.toolchain.env);
                env.remove("CGO_ENABLED");
                env
            },
            settings: kept(&go.toolchain.settings),
            environment: environment.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            target: group.target.environment.clone(),
            flags: group.flags.clone(),
            go_mod: name(&module)?,
            go_work: match &workspace {
                Some(file) => Some(name(file)?),
                None => None,
            },
        };
        Some(Portable {
            first: first.filter(|first| goroot.canonicalize().is_ok_and(|root| root != *first)),
            env_file: get("GOENV"),
            modules: get("GOMODCACHE")?,
            programs: std::env::split_paths(path).collect(),
            locals: locals.0,
            base,
            goroot,
            settings,
        })
    }

    /// What decides the bytes of the group's programs, beside files.
    #[must_use]
    pub fn settings(&self) -> impl Serialize {
        &self.settings
    }

    /// What a path is called relative to where `go` runs. None if it isn't text.
    #[must_use]
    pub fn relative(&self, path: &Path) -> Option<String> {
        relative(&self.base, path)
    }

    /// What a path is called on every machine.
    #[must_use]
    pub fn name(&self, path: &Path) -> Away {
        if self.env_file.as_deref() == Some(path) {
            return Away::Implied;
        }
        let locals: Vec<&PathBuf> = self.locals.iter().filter(|dir| path.starts_with(dir)).collect();
        // The caches can lie in the tree, and the tree in them.
        let closer =
            |other: &PathBuf| path.starts_with(other) && !locals.iter().any(|dir| dir.starts_with(other));
        if closer(&self.goroot) {
            return named_in(TOOLCHAIN, &self.goroot, path);
        }
        // What go.sum says of modules is in the tree; the settings say which toolchain was chosen.
        if closer(&self.modules) || self.first.as_ref().is_some_and(closer) {
            return Away::Implied;
        }
        if !locals.is_empty() {
            return named_in(TREE, &self.base, path);
        }
        if path.parent().is_some_and(|dir| self.programs.iter().any(|program| program == dir)) {
            return Away::Implied;
        }
        // That nothing begins above the tree is said by where its own files are.
        let is_above = |dir: &Path| self.locals.iter().any(|local| local.starts_with(dir));
        if path.parent().is_some_and(is_above) { Away::Absent } else { Away::Unknown }
    }

    /// The path of a name on this machine. None for a name that can't be one.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        if let Some(name) = name.strip_prefix(TREE) {
            let path = normalise(&self.base.join(name));
            return self.locals.iter().any(|dir| path.starts_with(dir)).then_some(path);
        }
        let name = Path::new(name.strip_prefix(TOOLCHAIN)?);
        let is_below = name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        is_below.then(|| normalise(&self.goroot.join(name)))
    }
}

fn named_in(place: &str, base: &Path, path: &Path) -> Away {
    relative(base, path).map_or(Away::Unknown, |name| Away::As(format!("{place}{name}")))
}

/// The workspace around `dir`, as Go finds it (go.dev/ref/mod, "Workspaces").
pub(super) fn workspace(go: &Go, dir: &Path) -> Option<PathBuf> {
    match go.toolchain.settings.get("GOWORK").map(String::as_str) {
        Some("off") => None,
        Some(file) if !file.is_empty() => Some(PathBuf::from(file)),
        _ => dir.ancestors().map(|above| above.join("go.work")).find(|file| file.is_file()),
    }
}

/// The directories of modules whose code is the user's.
#[derive(Default)]
struct Locals(Vec<PathBuf>);

impl Locals {
    /// Adds a workspace and its modules. None if a directory is named by an absolute path.
    fn workspace(&mut self, file: &Path) -> Option<()> {
        self.0.push(file.parent()?.to_owned());
        for dir in named(file)? {
            self.module(&dir)?;
        }
        Some(())
    }

    /// Adds a module, and what stands in for others in its go.mod.
    fn module(&mut self, dir: &Path) -> Option<()> {
        for dir in std::iter::once(dir.to_owned()).chain(named(&dir.join("go.mod"))?) {
            if !self.0.contains(&dir) {
                self.0.push(dir);
            }
        }
        Some(())
    }
}

/// The directories that a go.work or go.mod names, if all are relative.
fn named(file: &Path) -> Option<Vec<PathBuf>> {
    let dir = file.parent()?;
    let Ok(text) = std::fs::read_to_string(file) else { return Some(Vec::new()) };
    named_directories(&text)
        .map(|name| Path::new(name).is_relative().then(|| normalise(&dir.join(name))))
        .collect()
}

/// `path` relative to `base`, both absolute and clean, with `/`. None if it isn't text.
fn relative(base: &Path, path: &Path) -> Option<String> {
    let (base, path) = (normalise(base), normalise(path));
    let shared = base.components().zip(path.components()).take_while(|(a, b)| a == b).count();
    let up = base.components().skip(shared).map(|_| Some(".."));
    let down = path.components().skip(shared).map(|part| part.as_os_str().to_str());
    let parts = up.chain(down).collect::<Option<Vec<&str>>>()?;
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Platform;
    use crate::plan::command::Target;

    #[test]
    fn paths_are_relative_to_where_go_runs() {
        let of = |path: &str| relative(Path::new("/src/app"), Path::new(path)).unwrap();
        assert_eq!(of("/src/app"), ".");
        assert_eq!(of("/src/app/cmd/x.go"), "cmd/x.go");
        assert_eq!(of("/src/local/x.go"), "../local/x.go");
        assert_eq!(of("/"), "../..");
    }

    /// A tree with a replacement, on a "machine" of its own.
    fn portable(root: &Path, more: &str) -> Option<Portable> {
        let write = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("src/app/go.mod", &format!("module x.org/app\n\nreplace x.org/lib => ../lib\n{more}"));
        write("src/lib/go.mod", "module x.org/lib\n");
        write("go/bin/go", "");
        let at = |name: &str| root.join(name).display().to_string();
        let env = [("GOROOT", at("go")), ("GOMODCACHE", at("src/app/.mod")), ("GOENV", at("home/env"))];
        let env: BTreeMap<String, String> = env.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let told = serde_json::json!({ "env": env, "set": [] });
        let path = BTreeMap::from([("PATH".to_owned(), at("go/bin"))]);
        let told = serde_json::from_value(told).unwrap();
        let go = Go::known(Path::new("go"), &BTreeMap::new(), root.join("tmp"), None, told).unwrap();
        let group = CompileGroup {
            dir: root.join("src/app"),
            target: Target { platform: Platform::new("linux", "amd64"), environment: Vec::new() },
            flags: vec!["-trimpath".to_owned(), "-buildvcs=false".to_owned()],
            packages: Vec::new(),
        };
        Portable::of(&go, &group, &path)
    }

    #[test]
    fn files_have_the_same_name_on_every_machine() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (here, there) = (portable(one.path(), "").unwrap(), portable(other.path(), "").unwrap());
        for (path, name) in [
            ("src/app/cmd/main.go", "tree:cmd/main.go"),
            ("src/app", "tree:."),
            ("src/lib/lib.go", "tree:../lib/lib.go"),
            ("go/src/fmt/print.go", "go:src/fmt/print.go"),
        ] {
            assert_eq!(here.name(&one.path().join(path)), Away::As(name.to_owned()));
            assert_eq!(there.path(name).unwrap(), other.path().join(path));
        }
        for (path, away) in [
            ("src/app/.mod/x.org/y@v1.0.0/y.go", Away::Implied),
            ("home/env", Away::Implied),
            ("src/go.work", Away::Absent),
            (".git", Away::Absent),
            ("elsewhere/x.go", Away::Unknown),
        ] {
            assert_eq!(here.name(&one.path().join(path)), away, "{path}");
        }
        let settings = |p: &Portable| serde_json::to_string(&p.settings).unwrap();
        assert_eq!(settings(&here), settings(&there));
        for name in ["tree:../other/x.go", "tree:../../go/x", "go:../x", "x", "go:/etc/passwd"] {
            assert_eq!(here.path(name), None, "{name}");
        }
        assert!(portable(other.path(), "replace x.org/abs => /opt/abs\n").is_none());
    }
}
