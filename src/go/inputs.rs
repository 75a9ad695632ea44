//! What Go reads: the files and directories that a question's answer depends on, those that are absent among them.
//!
//! Too much is harmless, too little is not: whatever could change an answer must be here, or [`can_judge`] must say no.
//! Sources: go.dev/ref/mod ("Workspaces", "Vendoring", "go.mod files"), go.dev/doc/toolchain, `go help environment`,
//! and cmd/go's modload, load and toolchain packages.
#![expect(clippy::disallowed_methods, reason = "edge: looks for modules, workspaces and the toolchain")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::fs::{Ask, Paths};
use crate::go::Go;
use crate::plan::CompileGroup;
use crate::plan::packages::Query;

/// The variables that reach Go's output, or git's where Go asks it: its own, a C compiler's, where programs, settings
/// and caches are.
#[must_use]
pub fn environment(env: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    const NAMES: &[&str] = &[
        "PATH",
        "HOME",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "CC",
        "CXX",
        "AR",
        "FC",
        "PKG_CONFIG",
        "GCCGO",
    ];
    // Ours in part, and never Go's.
    const OTHERS: &[&str] = &["GOTMPDIR"];
    let reaches = |name: &str| {
        NAMES.contains(&name)
            || ["GO", "CGO_", "GIT_"].iter().any(|p| name.starts_with(p)) && !OTHERS.contains(&name)
    };
    env.iter().filter(|(k, _)| reaches(k)).map(|(k, v)| (k.as_str(), v.as_str())).collect()
}

/// What decides which toolchain runs in `dir`, with which settings, and what that toolchain is. None where that can't
/// be said: where `go` on PATH is a program that chooses one by rules of its own.
#[must_use]
pub fn of_toolchain(go: &Go, dir: &Path, env: &BTreeMap<String, String>) -> Option<Paths> {
    let mut paths = Paths::new();
    let get = |key: &str| go.toolchain.env.get(key).filter(|v| !v.is_empty()).map(PathBuf::from);
    let root = get("GOROOT")?;
    let (found, tried) = look_up(go.program(), env.get("PATH").map_or("", String::as_str))?;
    for path in tried {
        paths.add(path, Ask::Bytes);
    }
    let real = found.canonicalize().ok()?;
    let first = real.parent()?.parent()?.to_owned();
    let is_plain =
        real.ends_with("bin/go") && first.join("VERSION").is_file() && first.join("pkg/tool").is_dir();
    if !is_plain {
        return None;
    }
    paths.add(&found, Ask::Bytes);
    let same = root.canonicalize().ok()? == first;
    for root in [&first, &root] {
        for file in ["VERSION", "go.env", "bin/go"] {
            paths.add(root.join(file), Ask::Bytes);
        }
    }
    if !same {
        // A toolchain of that name on PATH would be taken first (go.dev/doc/toolchain, "select").
        for dir in std::env::split_paths(env.get("PATH").map_or("", String::as_str)) {
            paths.add(dir.join(&go.toolchain.version), Ask::Bytes);
        }
    }
    let tools = get("GOTOOLDIR")?;
    for dir in [tools, root.join("pkg").join("include")] {
        paths.add(&dir, Ask::Names);
        for entry in std::fs::read_dir(&dir).ok()? {
            paths.add(entry.ok()?.path(), Ask::Bytes);
        }
    }
    if let Some(file) = get("GOENV").filter(|file| file.as_os_str() != "off") {
        paths.add(file, Ask::Bytes);
    }
    paths.merge(around(go, dir));
    Some(paths)
}

/// Where `program` is found, and what was looked at before on the way.
pub(super) fn look_up(program: &Path, path: &str) -> Option<(PathBuf, Vec<PathBuf>)> {
    if program.components().count() > 1 {
        return program.is_file().then(|| (program.to_owned(), Vec::new()));
    }
    let mut tried = Vec::new();
    for dir in std::env::split_paths(path) {
        let file = dir.join(format!("{}{}", program.display(), std::env::consts::EXE_SUFFIX));
        if dir.is_relative() {
            return None;
        }
        if file.is_file() {
            return Some((file, tried));
        }
        tried.push(file);
    }
    None
}

/// Where a workspace or module around `dir` could begin, and Go's env file could be: all that can be absent and matters
/// to the first question.
#[must_use]
pub fn above(dir: &Path, env: &BTreeMap<String, String>) -> Paths {
    let names = ["go.work", "go.mod"];
    let around = dir.ancestors().flat_map(|above| names.map(|name| above.join(name)));
    let at =
        |key: &str, below: &str| env.get(key).filter(|v| !v.is_empty()).map(|v| Path::new(v).join(below));
    // os.UserConfigDir.
    let settings = [
        at("GOENV", ""),
        at("XDG_CONFIG_HOME", "go/env"),
        at("HOME", ".config/go/env"),
        at("HOME", "Library/Application Support/go/env"),
        at("APPDATA", "go/env"),
    ];
    let mut paths = Paths::new();
    around.chain(settings.into_iter().flatten()).for_each(|path| paths.add(path, Ask::Bytes));
    paths
}

/// The workspace and the module around `dir`: the files that are there, and those that would count if they were.
#[must_use]
pub fn around(go: &Go, dir: &Path) -> Paths {
    let mut found = Paths::new();
    let paths = &mut found;
    match go.toolchain.settings.get("GOWORK").map(String::as_str) {
        Some("off") => {}
        Some(file) if !file.is_empty() => workspace(Path::new(file), paths),
        _ => {
            for above in dir.ancestors() {
                let file = above.join("go.work");
                paths.add(&file, Ask::Bytes);
                if file.is_file() {
                    workspace(&file, paths);
                    break;
                }
            }
        }
    }
    for above in dir.ancestors() {
        paths.add(above.join("go.mod"), Ask::Bytes);
        if above.join("go.mod").is_file() {
            module(above, paths);
            break;
        }
    }
    found
}

fn workspace(file: &Path, paths: &mut Paths) {
    paths.add(file, Ask::Bytes);
    paths.add(file.with_extension("work.sum"), Ask::Bytes);
    if let Some(dir) = file.parent() {
        vendored(dir, paths);
    }
    directories_of(file).iter().for_each(|dir| module(dir, paths));
}

/// The files of a main module's root, and of the modules that stand in for others: their requirements count even if
/// none of their packages is used.
pub(super) fn module(dir: &Path, paths: &mut Paths) {
    paths.add(dir.join("go.mod"), Ask::Bytes);
    paths.add(dir.join("go.sum"), Ask::Bytes);
    vendored(dir, paths);
    for other in directories_of(&dir.join("go.mod")) {
        paths.add(other.join("go.mod"), Ask::Bytes);
    }
}

/// The directories that a go.work or go.mod names: those that it uses, and those that replace modules
/// (go.dev/ref/mod, "Lexical elements").
pub(super) fn directories_of(file: &Path) -> Vec<PathBuf> {
    let (Ok(text), Some(dir)) = (std::fs::read_to_string(file), file.parent()) else { return Vec::new() };
    named_directories(&text).map(|name| crate::plan::packages::normalise(&dir.join(name))).collect()
}

pub(super) fn named_directories(text: &str) -> impl Iterator<Item = &str> {
    let mut block = "";
    text.lines().filter_map(move |line| {
        let line = line.split("//").next().unwrap_or_default().trim();
        let (verb, rest) = match block {
            "" => line.split_once([' ', '\t', '(']).unwrap_or((line, "")),
            verb => (verb, line),
        };
        if line == ")" {
            block = "";
            return None;
        }
        if block.is_empty() && line.ends_with('(') {
            block = verb;
            return None;
        }
        let name = match verb {
            "use" => rest,
            "replace" => rest.split_once("=>")?.1,
            _ => return None,
        };
        let name = name.trim().trim_matches(['"', '`']);
        // What stands in for a module is a directory if it begins so; else a module with a version.
        let is_directory = verb == "use"
            || ["./", "../", "/"].iter().any(|p| name.starts_with(p))
            || matches!(name, "." | "..");
        (is_directory && !name.is_empty()).then_some(name)
    })
}

fn vendored(dir: &Path, paths: &mut Paths) {
    paths.add(dir.join("vendor"), Ask::Bytes);
    paths.add(dir.join("vendor").join("modules.txt"), Ask::Bytes);
}

/// What decides which packages the patterns of `query` name, where they are in `found`. None for patterns whose places
/// aren't known.
#[must_use]
pub fn of_query(go: &Go, query: &Query, main: &[PathBuf], found: &[PathBuf]) -> Option<Paths> {
    let mut paths = around(go, &query.dir);
    main.iter().for_each(|dir| module(dir, &mut paths));
    for pattern in &query.patterns {
        let Some(at) = pattern.find("...") else {
            let path = query.dir.join(pattern);
            if crate::plan::packages::is_local(pattern) {
                package(&crate::plan::packages::normalise(&path), &mut paths)?;
            }
            continue;
        };
        let root = pattern[..at].trim_end_matches('/');
        if !crate::plan::packages::is_local(pattern) || &pattern[at..] != "..." {
            return None;
        }
        tree(&crate::plan::packages::normalise(&query.dir.join(root)), &mut paths)?;
    }
    for dir in found {
        package(dir, &mut paths)?;
    }
    Some(paths)
}

/// A directory with a package, and its sources: each can say which package this is, and for which platforms.
fn package(dir: &Path, paths: &mut Paths) -> Option<()> {
    paths.add(dir, Ask::Sources);
    for above in dir.ancestors().skip(1) {
        paths.add(above.join("go.mod"), Ask::Bytes);
        if above.join("go.mod").is_file() {
            break;
        }
    }
    paths.add(dir.join("go.mod"), Ask::Bytes);
    sources(dir, paths)
}

fn sources(dir: &Path, paths: &mut Paths) -> Option<()> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Some(()) };
    for entry in entries {
        let path = entry.ok()?.path();
        if path.extension().is_some_and(|e| e == "go") {
            paths.add(path, Ask::Head);
        }
    }
    Some(())
}

/// The directories that `...` goes through, with their sources (cmd/go, "search.MatchPackages").
fn tree(dir: &Path, paths: &mut Paths) -> Option<()> {
    paths.add(dir, Ask::Tree);
    sources(dir, paths)?;
    let Ok(entries) = std::fs::read_dir(dir) else { return Some(()) };
    for entry in entries {
        let entry = entry.ok()?;
        let name = entry.file_name();
        let name = name.to_str()?;
        if !entry.file_type().ok()?.is_dir() || name.starts_with(['.', '_']) || name == "testdata" {
            continue;
        }
        paths.add(entry.path().join("go.mod"), Ask::Bytes);
        if !entry.path().join("go.mod").exists() {
            tree(&entry.path(), paths)?;
        }
    }
    Some(())
}

/// Variables that choose where Go looks. In a program's own environment they would move what was looked for elsewhere.
const PLACES: &[&str] =
    &["GOCACHEPROG", "GOENV", "GOMODCACHE", "GOPATH", "GOROOT", "GOTOOLCHAIN", "GOTOOLDIR", "GOWORK"];

/// Whether what `go build` of `group` reads can be told: no C compiler, no flag that names a file or is unknown here, no
/// place of its own for a workspace or toolchain. `settings` are those of all groups.
#[must_use]
pub fn can_judge(settings: &BTreeMap<String, String>, group: &CompileGroup) -> bool {
    let own = |key: &str| group.target.environment.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v);
    let setting = |key: &str| own(key).or_else(|| settings.get(key)).map_or("", String::as_str);
    let goflags = setting("GOFLAGS");
    setting("CGO_ENABLED") == "0"
        && matches!(setting("GO111MODULE"), "" | "on" | "auto")
        && matches!(setting("GOFIPS140"), "" | "off")
        && setting("GO_EXTLINK_ENABLED").is_empty()
        && !group.target.environment.iter().any(|(key, _)| PLACES.contains(&key.as_str()))
        // Quoted words of GOFLAGS are left to Go.
        && !goflags.contains(['"', '\''])
        && flags_are_known(goflags.split_whitespace())
        && flags_are_known(group.flags.iter().map(String::as_str))
}

/// Whether git's state may be stamped into programs of this group: what the flags say, the last one counting.
#[must_use]
pub fn may_stamp(go: &Go, group: &CompileGroup) -> bool {
    let own = group.target.environment.iter().rev().find(|(k, _)| k == "GOFLAGS").map(|(_, v)| v.as_str());
    let goflags =
        own.or_else(|| go.toolchain.settings.get("GOFLAGS").map(String::as_str)).unwrap_or_default();
    let all = goflags.split_whitespace().chain(group.flags.iter().map(String::as_str));
    let mut said = all.filter_map(|flag| {
        let flag = flag.trim_start_matches('-');
        if flag == "buildvcs" { Some("true") } else { flag.strip_prefix("buildvcs=") }
    });
    said.next_back().is_none_or(|value| !matches!(value, "false" | "0" | "f" | "F" | "False" | "FALSE"))
}

fn flags_are_known<'a>(flags: impl Iterator<Item = &'a str>) -> bool {
    let mut flags = flags.peekable();
    while let Some(flag) = flags.next() {
        let name = flag.trim_start_matches('-');
        let (name, mut value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        if matches!(name, "tags" | "mod" | "p" | "ldflags" | "gcflags" | "buildmode" | "pgo")
            && value.is_none()
        {
            value = flags.next();
        }
        let known = match (name, value) {
            ("trimpath" | "v" | "x" | "buildvcs" | "tags" | "mod" | "p" | "modcacherw", _) => true,
            ("ldflags", Some(value)) => ldflags_are_known(value),
            ("gcflags", Some(value)) => words_are(value, &["-N", "-l", "-e", "-B", "all=-N", "all=-l"]),
            ("buildmode", Some(value)) => matches!(value, "default" | "exe" | "pie"),
            ("pgo", Some(value)) => matches!(value, "auto" | "off"),
            _ => false,
        };
        if !known {
            return false;
        }
    }
    true
}

fn words_are(text: &str, known: &[&str]) -> bool {
    text.split_whitespace().all(|word| known.contains(&word))
}

/// The words of `-ldflags` as Go splits them (cmd/internal/quoted): at blanks, but for a word that begins with a quote and
/// goes on to the next one of its kind. None where that is missing.
fn quoted_words(text: &str) -> Option<Vec<&str>> {
    const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];
    let (mut words, mut rest) = (Vec::new(), text.trim_start_matches(BLANKS));
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' | '\'' => rest[1..].split_once(first)?,
            _ => rest.split_at(rest.find(BLANKS).unwrap_or(rest.len())),
        };
        words.push(word);
        rest = after.trim_start_matches(BLANKS);
    }
    Some(words)
}

/// Whether no linker flag reads a file or runs a program.
fn ldflags_are_known(text: &str) -> bool {
    // What doesn't begin as a flag begins with packages that the rest is for (`go help build`).
    let begins = text.trim_start().chars().next().is_none_or(|first| first == '-');
    let Some(words) = quoted_words(text).filter(|_| begins) else { return false };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let plain = matches!(
            word,
            "-s" | "-w"
                | "-s=true"
                | "-w=true"
                | "-s=false"
                | "-w=false"
                | "-compressdwarf=false"
                | "-compressdwarf=true"
                | "-checklinkname=0"
        );
        let valued = word.starts_with("-X=") || word.starts_with("-buildid=");
        if word == "-X" {
            words.next();
        } else if !plain && !valued {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_could_read_files_are_not_judged() {
        for (flags, known) in [
            (&["-trimpath", "-ldflags=-s -w -X main.version=1", "-tags", "a,b"][..], true),
            (&["-trimpath", "-buildvcs=false", "-gcflags=all=-N -l", "-mod=vendor", "-pgo=off"], true),
            (&["-overlay=o.json"], false),
            (&["-pgo=cpu.pprof"], false),
            (&["-modfile=other.mod"], false),
            (&["-ldflags=-extld=/bin/cc"], false),
            (&["-ldflags=-linkmode=external"], false),
            (&["-ldflags=-X main.a='b c'"], false),
            (&["-ldflags=-s -X 'main.a=b c' \"-X=main.d=it's\" -w"], true),
            (&["-ldflags=-X 'main.a=b c' -extld=x"], false),
            (&["-ldflags=-X 'main.a=b' '-extld=x'"], false),
            (&["-ldflags=-X main.a=b'-extld=x'"], true),
            (&["-ldflags='-X=main.a -extld=x'"], false),
            (&["-ldflags=all=-s"], false),
            (&["-ldflags="], true),
            (&["-ldflags=-X 'main.a=b -extld=x"], false),
            (&["-ldflags='-s'-extld=x"], false),
            (&["-gcflags=-pgoprofile=x"], false),
            (&["-race"], false),
            (&["-buildmode=plugin"], false),
            (&["-a"], false),
        ] {
            assert_eq!(flags_are_known(flags.iter().copied()), known, "{flags:?}");
        }
    }

    #[test]
    fn directories_are_found_in_all_spellings() {
        let text = "go 1.24\nuse ./a // one\nuse (\n\t./b\n\t\"./c\"\n)\nreplace x.org/x => ../x\n\
                    replace (\n\ty.org/y v1.0.0 => /abs/y\n\tz.org/z => z.org/fork v1.2.3\n)\nuse .\nrequire(\n\tq v1 // ./no\n)\n";
        let found: Vec<&str> = named_directories(text).collect();
        assert_eq!(found, ["./a", "./b", "./c", "../x", "/abs/y", "."]);
    }

    #[test]
    fn only_variables_that_reach_go_count() {
        let env = ["PATH", "GOFLAGS", "GIT_DIR", "CGO_CFLAGS", "GOTMPDIR", "TERM", "GITHUB_RUN_ID", "EDITOR"];
        let env: BTreeMap<String, String> = env.iter().map(|k| ((*k).to_owned(), String::new())).collect();
        let names: Vec<&str> = environment(&env).into_keys().collect();
        assert_eq!(names, ["CGO_CFLAGS", "GIT_DIR", "GOFLAGS", "PATH"]);
    }
}
