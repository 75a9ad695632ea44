//! Two Go programs: what Go recorded in them, and where that is the same, what differs of their code.

use std::collections::BTreeMap;

use crate::binary::diff::{self, Comparison};
use crate::binary::{BuildInfo, Module};
use crate::explain::{Cause, Change, Sort};

/// How many functions of a package are named.
const MAX_NAMED: usize = 5;

/// What is known of the inputs of two programs besides what Go recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// Nothing, or not of both.
    Unknown,
    /// They are the same, but for the sources, of which nothing exact is known.
    Equal,
    /// They are the same.
    EqualWithSource,
}

/// What differs in what Go recorded in two programs.
#[must_use]
pub fn recorded(was: &BuildInfo, now: &BuildInfo) -> Vec<Cause> {
    let mut causes = Vec::new();
    causes.extend(Cause::between(Sort::Go, "", Some(&was.go_version), Some(&now.go_version)));
    causes.extend(Cause::between(Sort::Package, "", Some(&was.path), Some(&now.path)));
    let mut stamps = vcs(was, now);
    let main = main_module(was, now);
    match stamps.first_mut() {
        // Go makes the main module's version of what it stamps.
        Some(first) => first.changes.extend(main.iter().map(ToString::to_string)),
        None => causes.extend(main),
    }
    causes.extend(modules(was, now));
    causes.extend(settings(was, now));
    causes.extend(stamps);
    causes
}

fn main_module(was: &BuildInfo, now: &BuildInfo) -> Option<Cause> {
    let none = Module::default();
    let (was, now) = (was.main.as_ref().unwrap_or(&none), now.main.as_ref().unwrap_or(&none));
    if was.path != now.path {
        return Cause::between(Sort::Module, "of the program", Some(&was.path), Some(&now.path));
    }
    version(&now.path, Some(was), Some(now))
}

fn modules(was: &BuildInfo, now: &BuildInfo) -> Vec<Cause> {
    let mut pairs: BTreeMap<&str, (Option<&Module>, Option<&Module>)> = BTreeMap::new();
    was.deps.iter().for_each(|module| pairs.entry(&module.path).or_default().0 = Some(module));
    now.deps.iter().for_each(|module| pairs.entry(&module.path).or_default().1 = Some(module));
    pairs.into_iter().filter_map(|(path, (was, now))| version(path, was, now)).collect()
}

fn version(path: &str, was: Option<&Module>, now: Option<&Module>) -> Option<Cause> {
    let text = |module: &Module| match &module.replace {
        Some(other) => format!("{} => {} {}", module.version, other.path, other.version).trim().to_owned(),
        None => module.version.clone(),
    };
    let sum = |module: &Module| match &module.replace {
        Some(other) => other.sum.clone(),
        None => module.sum.clone(),
    };
    let (old, new) = (was.map(text), now.map(text));
    let found = Cause::between(Sort::Module, path, old.as_ref(), new.as_ref());
    found.or_else(|| {
        let with = |text: &Option<String>, module: Option<&Module>| {
            Some(format!("{} {}", text.as_ref()?, sum(module?)).trim().to_owned())
        };
        let (old, new) = (with(&old, was), with(&new, now));
        Cause::between(Sort::Module, path, old.as_ref(), new.as_ref())
    })
}

fn settings(was: &BuildInfo, now: &BuildInfo) -> Vec<Cause> {
    let map = |info: &BuildInfo| -> BTreeMap<String, String> {
        let own = info.settings.iter().filter(|(key, _)| key != "vcs" && !key.starts_with("vcs."));
        own.cloned().collect()
    };
    let (was, now) = (map(was), map(now));
    let cgo_changes = was.get("CGO_ENABLED") != now.get("CGO_ENABLED");
    let mut causes = Vec::new();
    let keys: std::collections::BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    for key in keys {
        let (old, new) = (was.get(key), now.get(key));
        // Go writes them down where cgo is on.
        let is_empty = old.or(new).is_some_and(String::is_empty) && (old.is_none() || new.is_none());
        if cgo_changes && is_empty && key.starts_with("CGO_") {
            continue;
        }
        let sort = if key.starts_with('-') { Sort::Flag } else { Sort::Setting };
        causes.extend(Cause::between(sort, key, old, new));
    }
    causes
}

/// What Go stamped of the version control. The time is the revision's.
fn vcs(was: &BuildInfo, now: &BuildInfo) -> Vec<Cause> {
    let owned = |info: &BuildInfo, key: &str| info.setting(key).map(str::to_owned);
    let stamp = |info: &BuildInfo| owned(info, "vcs.revision").or(owned(info, "vcs"));
    match (stamp(was), stamp(now)) {
        (None, None) => return Vec::new(),
        (Some(_), Some(_)) => {}
        (old, new) => {
            return Cause::between(Sort::Vcs, "stamp", old.as_ref(), new.as_ref()).into_iter().collect();
        }
    }
    let between = |name: &str, key: &str| {
        Cause::between(Sort::Vcs, name, owned(was, key).as_ref(), owned(now, key).as_ref())
    };
    let tree = |info: &BuildInfo| {
        let word = match info.setting("vcs.modified") {
            Some("true") => "modified",
            _ => "clean",
        };
        word.to_owned()
    };
    let mut found: Vec<Cause> = between("system", "vcs").into_iter().collect();
    found.extend(between("revision", "vcs.revision"));
    found.extend(Cause::between(Sort::Vcs, "tree", Some(&tree(was)), Some(&tree(now))));
    let time = between("time", "vcs.time");
    match found.iter_mut().find(|cause| cause.name == "revision") {
        Some(revision) => revision.changes.extend(time.iter().map(ToString::to_string)),
        None => found.extend(time),
    }
    found
}

/// What differs in the program at `path` where Go recorded the same in both: by packages and functions, else by
/// sections. `info` is what Go recorded, `comparison` is none where the file can't be looked into, `first` is the first
/// byte that differs.
#[must_use]
pub fn code(
    path: &str,
    info: Option<&BuildInfo>,
    comparison: Option<&Comparison>,
    first: usize,
    inputs: Inputs,
) -> Vec<Cause> {
    let same = match inputs {
        Inputs::Unknown => "though Go recorded the same",
        Inputs::Equal | Inputs::EqualWithSource => "though what is recorded of its making is the same",
    };
    let unexplained = Cause::new(Sort::Program, path, Change::Changed);
    let Some(comparison) = comparison else {
        let cause = unexplained.note(format!("changed from byte {first}"));
        return vec![if info.is_some() { cause.note(same) } else { cause }];
    };
    let named = |package: &str| match info {
        Some(info) if package == "main" && !info.path.is_empty() => info.path.clone(),
        _ => package.to_owned(),
    };
    let mut causes = Vec::new();
    for (package, functions) in &comparison.functions {
        let list: Vec<String> =
            functions.iter().map(|(name, change)| function(package, name, *change)).collect();
        causes.push(Cause::new(Sort::Code, named(package), Change::Changed).note(shortened(&list)));
    }
    // Whatever else moved the lines of others moved these too.
    for package in &comparison.lines {
        causes
            .push(Cause::new(Sort::Code, named(package), Change::Changed).note("only the numbers of lines"));
    }
    if causes.is_empty() {
        let (mut cause, sections) = (unexplained, sections(comparison));
        if comparison.is_only_symbols() {
            cause = cause.note(format!("symbols for debuggers ({sections}): linker flags such as -s and -w"));
        } else if comparison.sections.is_empty() {
            cause = cause.note("outside of its sections");
        } else {
            cause = cause.note(format!("in {sections}"));
            if info.is_some() {
                cause = cause.note(same);
                if inputs == Inputs::Unknown {
                    cause = cause.note("-trimpath leaves out linker flags such as -X");
                }
            }
        }
        return vec![cause];
    }
    if inputs == Inputs::EqualWithSource {
        causes = causes.into_iter().map(|cause| cause.note(same)).collect();
    }
    let sections = sections(comparison);
    let place = format!("{path} in {sections}");
    causes.into_iter().map(|cause| cause.changing(place.trim_start())).collect()
}

fn function(package: &str, name: &str, change: diff::Change) -> String {
    let short = name.strip_prefix(package).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
    match change {
        diff::Change::Changed => short.to_owned(),
        diff::Change::Added => format!("{short} (new)"),
        diff::Change::Removed => format!("{short} (gone)"),
    }
}

fn shortened(list: &[String]) -> String {
    let shown = &list[..list.len().min(MAX_NAMED)];
    match list.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The sections that differ; the many for debuggers as one.
fn sections(comparison: &Comparison) -> String {
    let mut names: Vec<String> = Vec::new();
    for (name, change) in &comparison.sections {
        let name = if name.starts_with(".debug_") { ".debug_*" } else { name };
        let name = match change {
            diff::Change::Changed => name.to_owned(),
            diff::Change::Added => format!("{name} (new)"),
            diff::Change::Removed => format!("{name} (gone)"),
        };
        if names.last() != Some(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(settings: &[(&str, &str)]) -> BuildInfo {
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let main = Module { path: "a.com/m".into(), version: "(devel)".into(), ..Module::default() };
        BuildInfo { go_version: "go1.26.7".into(), main: Some(main), settings, ..BuildInfo::default() }
    }

    fn lines(was: &BuildInfo, now: &BuildInfo) -> Vec<String> {
        recorded(was, now).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_field_is_named_and_what_follows_is_not() {
        let was = info(&[("CGO_ENABLED", "0"), ("-tags", "a"), ("GOAMD64", "v1")]);
        assert_eq!(lines(&was, &was), [""; 0]);
        let mut now = info(&[("CGO_ENABLED", "1"), ("CGO_CFLAGS", ""), ("GOAMD64", "v1")]);
        now.go_version = "go1.26.8".into();
        assert_eq!(
            lines(&was, &now),
            ["go: go1.26.7 -> go1.26.8", "flag -tags: removed, was a", "setting CGO_ENABLED: 0 -> 1"]
        );
        let stamped = |revision: &str, time: &str, modified: &str, version: &str| {
            let mut info = info(&[
                ("vcs", "git"),
                ("vcs.revision", revision),
                ("vcs.time", time),
                ("vcs.modified", modified),
            ]);
            info.main.as_mut().unwrap().version = version.into();
            info
        };
        let was = stamped("r1", "t1", "false", "v1");
        let found = recorded(&was, &stamped("r2", "t2", "false", "v2"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].to_string(), "vcs revision: r1 -> r2");
        assert_eq!(found[0].changes, ["vcs time: t1 -> t2", "module a.com/m: v1 -> v2"]);
        assert_eq!(lines(&was, &stamped("r1", "t1", "true", "v1+dirty")), ["vcs tree: clean -> modified"]);
        let mut none = info(&[]);
        none.main.as_mut().unwrap().version = "v1".into();
        assert_eq!(lines(&none, &was), ["vcs stamp: added, r1"]);
    }

    #[test]
    fn modules_with_what_stands_in_for_them() {
        let with = |version: &str, sum: &str, replace: Option<(&str, &str)>| {
            let replace = replace.map(|(path, version)| {
                Box::new(Module { path: path.into(), version: version.into(), ..Module::default() })
            });
            let module = Module { path: "b.org/b".into(), version: version.into(), sum: sum.into(), replace };
            BuildInfo { deps: vec![module], ..info(&[]) }
        };
        let was = with("v1", "h1:x", None);
        assert_eq!(lines(&was, &with("v2", "h1:y", None)), ["module b.org/b: v1 -> v2"]);
        assert_eq!(lines(&was, &with("v1", "h1:y", None)), ["module b.org/b: \"v1 h1:x\" -> \"v1 h1:y\""]);
        assert_eq!(
            lines(&was, &with("v1", "", Some(("../b", "")))),
            ["module b.org/b: v1 -> \"v1 => ../b\""]
        );
        assert_eq!(lines(&was, &info(&[])), ["module b.org/b: removed, was v1"]);
    }
}
