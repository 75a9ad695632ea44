//! `gimg.lock`: what the names of bases stand for, and what toolchains are. Text in, entries out, and back. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::{Error, Kind, Result};
use crate::oci::{Digest, Reference};
use crate::settings::base::Base;
use crate::settings::config::Config;
use crate::settings::env::Env;
use crate::settings::program::{self, Flags};

/// The file's name. It lies where the configuration file does: in the working directory.
pub const FILE: &str = "gimg.lock";

/// What the file says of itself. Another number is another gimg's.
const VERSION: &str = "1";

const HEAD: &str = "# What the names of base images stand for. `gimg lock` writes this file, builds use it: commit it.\n\
                    # `gimg lock --update` asks the registries anew.\n";

/// What a base's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The digest of an image or index of a registry.
    Digest(Digest),
    /// The version of the built-in base's data.
    Static(u32),
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pin::Digest(digest) => digest.fmt(f),
            Pin::Static(version) => write!(f, "static@{version}"),
        }
    }
}

/// What a lock file says: names of bases, and what they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// By name: `static`, or a whole reference `registry/repository:tag`.
    pub entries: BTreeMap<String, Pin>,
    /// What toolchains are, by version and machine: `go1.26.8 linux/amd64`.
    pub toolchains: BTreeMap<String, Digest>,
}

/// The name that `base` has in a lock file. None if it can't stand for something else tomorrow, or isn't a registry's:
/// a digest, a version of `static`, `scratch`, a layout, an image of the local Docker.
#[must_use]
pub fn name(base: &Base) -> Option<String> {
    match base {
        Base::Static(None) => Some("static".to_owned()),
        Base::Registry(reference) if reference.digest.is_none() => Some(reference.to_string()),
        _ => None,
    }
}

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// What isn't TOML, or not as this gimg writes it: with file and line.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |offset: usize, why: String| {
            let line = text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
            Error::new(Kind::Input, "read the lock file", why).at(format!("{FILE}:{line}"))
        };
        let table = DeTable::parse(text)
            .map_err(|e| bad(e.span().map_or(0, |s| s.start), e.message().replace('\n', ", ")))?;
        let mut lock = Lock::default();
        let mut version = None;
        for (key, value) in table.get_ref() {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("version", DeValue::Integer(number)) => {
                    version = Some((value.span().start, number.as_str()))
                }
                ("bases", DeValue::Table(bases)) => {
                    for (name, pin) in bases {
                        let at = name.span().start;
                        let DeValue::String(text) = pin.get_ref() else {
                            return Err(bad(at, format!("{} isn't a text", name.get_ref())));
                        };
                        let pin = entry(name.get_ref(), text).map_err(|why| bad(at, why))?;
                        lock.entries.insert(name.get_ref().to_string(), pin);
                    }
                }
                ("go", DeValue::Table(toolchains)) => {
                    for (name, digest) in toolchains {
                        let at = name.span().start;
                        let DeValue::String(text) = digest.get_ref() else {
                            return Err(bad(at, format!("{} isn't a text", name.get_ref())));
                        };
                        let digest = toolchain(name.get_ref(), text).map_err(|why| bad(at, why))?;
                        lock.toolchains.insert(name.get_ref().to_string(), digest);
                    }
                }
                ("go", _) => return Err(bad(value.span().start, "go isn't a table".to_owned())),
                ("version", _) => return Err(bad(value.span().start, "version isn't a number".to_owned())),
                ("bases", _) => return Err(bad(value.span().start, "bases isn't a table".to_owned())),
                (other, _) => return Err(bad(key.span().start, format!("unknown key \"{other}\""))),
            }
        }
        match version {
            Some((_, VERSION)) => Ok(lock),
            Some((at, other)) => Err(bad(at, format!("its version is {other}, this gimg reads {VERSION}"))),
            None => Err(bad(0, "it has no version".to_owned()).hint("gimg lock writes it")),
        }
    }

    /// The file. The same entries are the same bytes.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}version = {VERSION}\n\n[bases]\n");
        // Neither a reference nor a pin has a character that TOML would have to escape.
        text.extend(self.entries.iter().map(|(name, pin)| format!("\"{name}\" = \"{pin}\"\n")));
        if !self.toolchains.is_empty() {
            text.push_str("\n# What `--hermetic` compiles with.\n[go]\n");
        }
        text.extend(self.toolchains.iter().map(|(name, digest)| format!("\"{name}\" = \"{digest}\"\n")));
        text
    }

    /// The digest that `reference` is locked to. One that says its digest is locked by itself.
    #[must_use]
    pub fn digest(&self, reference: &Reference) -> Option<Digest> {
        match self.entries.get(&name(&Base::Registry(reference.clone()))?)? {
            Pin::Digest(digest) => Some(*digest),
            Pin::Static(_) => None,
        }
    }

    /// The name of `base` if it should have an entry and has none.
    #[must_use]
    pub fn lacks(&self, base: &Base) -> Option<String> {
        name(base).filter(|name| !self.entries.contains_key(name))
    }

    /// Checks that this gimg has the data that `static` is locked to.
    ///
    /// # Errors
    /// It has other data.
    pub fn check_static(&self) -> Result<()> {
        match self.entries.get("static") {
            Some(Pin::Static(version)) if *version != crate::base::VERSION => {
                let why = format!(
                    "it is locked to static@{version}, this gimg has static@{}",
                    crate::base::VERSION
                );
                Err(Error::new(Kind::Base, "use the base static", why)
                    .at(FILE)
                    .hint("use the gimg that wrote the file, or run gimg lock --update static"))
            }
            _ => Ok(()),
        }
    }
}

/// What a toolchain is, or why that can't be said so. The name must be one that stands in quotes as it is.
fn toolchain(name: &str, value: &str) -> Result<Digest, String> {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
    if !name.starts_with("go") || !name.contains('/') || !name.chars().all(plain) {
        return Err(format!("{name:?} isn't a toolchain such as \"go1.26.8 linux/amd64\""));
    }
    value.parse().map_err(|e: Error| format!("{name}: {e}"))
}

/// One entry, or why it is none.
fn entry(key: &str, value: &str) -> Result<Pin, String> {
    if key == "static" {
        let version = value.strip_prefix("static@").and_then(|v| v.parse().ok());
        return version.map(Pin::Static).ok_or_else(|| format!("\"{value}\" isn't static@N"));
    }
    let reference: Reference = key.parse().map_err(|e: Error| e.to_string())?;
    if reference.digest.is_some() {
        return Err(format!("\"{key}\" has a digest, which needs no entry"));
    }
    if reference.to_string() != key {
        return Err(format!("\"{key}\" isn't the whole name, which is {reference}"));
    }
    value.parse().map(Pin::Digest).map_err(|e: Error| format!("{key}: {e}"))
}

/// The bases that the configuration of a user in `cwd` names, and `flags` besides, each once.
///
/// # Errors
/// Words that are no bases; a configuration that can't be read.
pub fn named(flags: &[String], env: &Env, file: Config, cwd: &Path) -> Result<Vec<Base>> {
    let file = super::under_environment(file, env)?;
    let mut all = Vec::new();
    for text in flags {
        all.push(Base::parse(text).map_err(|e| e.within("read --base"))?);
    }
    let choice = super::bases(None, &file)?;
    let (_, rules) = program::programs(&file, &Flags::default(), cwd)?;
    all.extend(choice.all(&rules).into_iter().cloned());
    let mut once: Vec<Base> = Vec::new();
    for base in all {
        if !once.contains(&base) {
            once.push(base);
        }
    }
    Ok(once)
}

/// What `gimg lock` is to do.
#[derive(Clone, Debug, Default)]
pub struct Todo {
    /// What is in the file; None if there is no file.
    pub found: Option<Lock>,
    /// The bases to resolve, by name.
    pub resolve: BTreeMap<String, Base>,
    /// Whether the file is only checked.
    pub check: bool,
}

impl Todo {
    /// Whether a registry must be asked.
    #[must_use]
    pub fn needs_registry(&self) -> bool {
        // What only lacks its entry need not be resolved to say so.
        self.resolve.iter().any(|(name, base)| matches!(base, Base::Registry(_)) && !self.only_lacks(name))
    }

    /// Whether the check fails whatever `name` stands for.
    #[must_use]
    pub fn only_lacks(&self, name: &str) -> bool {
        self.check && !self.found.as_ref().is_some_and(|lock| lock.entries.contains_key(name))
    }
}

/// Decides what to do for the bases `named`: those without entry are resolved, with `update` also those that have one
/// (all in the file if it is empty, else the bases in it).
///
/// # Errors
/// A base to update that nothing names or that can't be locked; `static` kept at a version that this gimg doesn't have.
pub fn todo(found: Option<Lock>, named: &[Base], update: Option<&[String]>, check: bool) -> Result<Todo> {
    let kept = found.clone().unwrap_or_default();
    let by_name = named.iter().filter_map(|b| Some((name(b)?, b.clone())));
    let mut known: BTreeMap<String, Base> = by_name.collect();
    for key in kept.entries.keys() {
        known.insert(key.clone(), Base::parse(key)?);
    }
    let usage = |why: String| Error::new(Kind::Usage, "read --update", why);
    let resolve = match update {
        Some([]) => known.clone(),
        _ => known.clone().into_iter().filter(|(name, _)| !kept.entries.contains_key(name)).collect(),
    };
    let mut todo = Todo { found, resolve, check };
    for text in update.unwrap_or_default() {
        let base = Base::parse(text).map_err(|e| e.within("read --update").as_kind(Kind::Usage))?;
        let name = name(&base).ok_or_else(|| usage(format!("{text} has no tag to resolve")))?;
        if !known.contains_key(&name) {
            let why = format!("neither the configuration nor {FILE} names {name}");
            return Err(usage(why).hint(format!("gimg lock --base {text} adds it")));
        }
        todo.resolve.insert(name, base);
    }
    if !todo.resolve.contains_key("static") && named.contains(&Base::Static(None)) {
        kept.check_static()?;
    }
    Ok(todo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> Digest {
        Digest::of(&[n])
    }

    fn lock() -> Lock {
        let entries = [
            ("static".to_owned(), Pin::Static(crate::base::VERSION)),
            ("r.io/b:v1".to_owned(), Pin::Digest(digest(1))),
            ("docker.io/library/a:latest".to_owned(), Pin::Digest(digest(2))),
        ];
        Lock { entries: entries.into(), toolchains: [("go1.26.8 linux/amd64".to_owned(), digest(3))].into() }
    }

    fn bases(texts: &[&str]) -> Vec<Base> {
        texts.iter().map(|t| Base::parse(t).unwrap()).collect()
    }

    #[test]
    fn the_file_is_sorted_and_reads_back() {
        let text = lock().text();
        let lines: Vec<&str> = text.lines().filter(|l| l.starts_with('"')).collect();
        let (one, two, three) = (digest(1), digest(2), digest(3));
        assert_eq!(
            lines,
            [
                format!("\"docker.io/library/a:latest\" = \"{two}\""),
                format!("\"r.io/b:v1\" = \"{one}\""),
                "\"static\" = \"static@1\"".to_owned(),
                format!("\"go1.26.8 linux/amd64\" = \"{three}\""),
            ]
        );
        assert_eq!(Lock::parse(&text).unwrap(), lock());
        assert_eq!(Lock::parse(&text.replace('\n', "\r\n")).unwrap(), lock());
        assert_eq!(Lock::parse(&Lock::default().text()).unwrap(), Lock::default());
    }

    #[test]
    fn mistakes_have_a_line() {
        let one = digest(1);
        let long = format!("version = 1\n[bases]\n\"b\" = \"{one}\"\n");
        let pinned = format!("version = 1\n[bases]\n\"r.io/b@{one}\" = \"{one}\"\n");
        let twice = format!("version = 1\n[bases]\n\"r.io/b:v1\" = \"{one}\"\n\"r.io/b:v1\" = \"{one}\"\n");
        for (text, line, words) in [
            ("", 1, "no version"),
            ("version = 2\n", 1, "version is 2"),
            ("version = \"1\"\n", 1, "isn't a number"),
            ("version = 1\nbases = 3\n", 2, "isn't a table"),
            ("version = 1\n\nbase = {}\n", 3, "unknown key \"base\""),
            ("version = 1\n[bases]\n<<<<<<< HEAD\n", 3, ""),
            ("version = 1\n[bases]\nstatic = \"static\"\n", 3, "\"static\" isn't static@N"),
            ("version = 1\n[bases]\nstatic = 1\n", 3, "isn't a text"),
            ("version = 1\n[bases]\n\"r.io/b:v1\" = \"sha256:12\"\n", 3, "64 lower-case hex digits"),
            ("version = 1\n[bases]\n\"r.io/B:v1\" = \"sha256:12\"\n", 3, "lower case"),
            (&long, 3, "docker.io/library/b:latest"),
            (&pinned, 3, "needs no entry"),
            (&twice, 4, ""),
            ("version = 1\n[go]\n\"go1.26.8\" = \"a\"\n", 3, "isn't a toolchain"),
            ("version = 1\n[go]\n\"go1.26.8 linux/amd64\" = \"a\"\n", 3, "invalid digest"),
            ("version = 1\ngo = 1\n", 2, "isn't a table"),
        ] {
            let error = Lock::parse(text).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(words) && message.ends_with(&format!("[gimg.lock:{line}]")),
                "{message}"
            );
            assert_eq!((error.kind(), message.lines().count()), (Kind::Input, 1), "{message}");
        }
    }

    #[test]
    fn what_has_a_tag_has_an_entry() {
        let one = digest(1);
        for text in [
            &format!("r.io/b@{one}"),
            &format!("r.io/b:v1@{one}"),
            "static@1",
            "scratch",
            "oci:x",
            "ko.local/x",
        ] {
            assert_eq!(lock().lacks(&Base::parse(text).unwrap()), None, "{text}");
        }
        assert_eq!(lock().lacks(&Base::parse("r.io/b:v2").unwrap()).unwrap(), "r.io/b:v2");
        assert_eq!(lock().lacks(&Base::parse("a").unwrap()), None);
        assert_eq!(lock().digest(&"a:latest".parse().unwrap()), Some(digest(2)));
        assert_eq!(lock().digest(&format!("a@{one}").parse().unwrap()), None);
    }

    #[test]
    fn what_is_missing_is_resolved_and_more_on_request() {
        let named = bases(&["static", "r.io/b:v1", "r.io/new", "scratch"]);
        let names = |update: Option<&[&str]>| -> Result<Vec<String>> {
            let update: Option<Vec<String>> = update.map(|u| u.iter().map(|t| (*t).to_owned()).collect());
            Ok(todo(Some(lock()), &named, update.as_deref(), false)?.resolve.into_keys().collect())
        };
        assert_eq!(names(None).unwrap(), ["r.io/new:latest"]);
        let all = ["docker.io/library/a:latest", "r.io/b:v1", "r.io/new:latest", "static"];
        assert_eq!(names(Some(&[])).unwrap(), all);
        assert_eq!(names(Some(&["a"])).unwrap(), [all[0], all[2]]);
        for (update, words) in
            [("r.io/other", "names r.io/other:latest"), ("scratch", "no tag"), ("static@1", "no tag")]
        {
            let error = names(Some(&[update])).unwrap_err();
            assert!(error.kind() == Kind::Usage && error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn static_is_kept_only_at_a_version_that_is_there() {
        let old = Lock { entries: [("static".to_owned(), Pin::Static(999))].into(), ..Lock::default() };
        let named = bases(&["static"]);
        let error = todo(Some(old.clone()), &named, None, false).unwrap_err();
        assert!(error.kind() == Kind::Base && error.to_string().contains("locked to static@999"), "{error}");
        assert!(todo(Some(old.clone()), &named, Some(&[]), false).is_ok());
        assert!(todo(Some(old), &bases(&["scratch"]), None, false).is_ok());
    }

    #[test]
    fn a_registry_is_asked_only_for_what_a_tag_stands_for() {
        let needs = |named: &[&str], update: Option<&[String]>, check| {
            todo(Some(lock()), &bases(named), update, check).unwrap().needs_registry()
        };
        assert!(!needs(&["static", "scratch"], None, false));
        assert!(!needs(&["r.io/b:v1"], None, false));
        assert!(needs(&["r.io/new"], None, false));
        assert!(!needs(&["r.io/new"], None, true), "that it is missing is known");
        assert!(needs(&["r.io/new"], Some(&[]), true));
    }
}
