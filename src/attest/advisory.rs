//! What is known to be wrong with versions of Go modules: entries of a vulnerability database in the Open Source
//! Vulnerability format (ossf.github.io/osv-schema, with Go's `ecosystem_specific`, go.dev/doc/security/vuln/database).

use std::collections::BTreeSet;

use semver::{BuildMetadata, Prerelease, Version};
use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// What the database calls the standard library.
pub const STDLIB: &str = "stdlib";

/// An entry of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advisory {
    /// Its name: `GO-2024-2687`.
    pub id: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// What it is about, in one line.
    pub summary: String,
    affected: Vec<Affected>,
}

/// Versions of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Affected {
    /// In lower case, as package URLs have it.
    module: String,
    ranges: Vec<Vec<Event>>,
    /// Only these; all of them if there are none.
    packages: Vec<Import>,
}

/// What is known of a program besides the versions of its modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// The packages of which it has functions, if that is known.
    pub packages: Option<BTreeSet<String>>,
    /// The operating systems that it is for, as Go calls them, if that is known.
    pub systems: Option<BTreeSet<String>>,
}

/// A version where something begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    at: Version,
    /// Whether the fault is there from it on.
    begins: bool,
}

/// A version that has the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The first version after it that hasn't.
    pub fixed: Option<String>,
    /// The packages that have it; all of the module's if there are none.
    pub packages: Vec<String>,
}

#[derive(Deserialize)]
struct Read {
    id: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    withdrawn: Option<String>,
    #[serde(default)]
    affected: Vec<ReadAffected>,
}

#[derive(Deserialize)]
struct ReadAffected {
    package: ReadPackage,
    #[serde(default)]
    ranges: Vec<ReadRange>,
    #[serde(default)]
    ecosystem_specific: Option<Specific>,
}

#[derive(Deserialize)]
struct ReadPackage {
    name: String,
    ecosystem: String,
}

#[derive(Deserialize)]
struct ReadRange {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    events: Vec<ReadEvent>,
}

#[derive(Deserialize)]
struct ReadEvent {
    introduced: Option<String>,
    fixed: Option<String>,
}

#[derive(Default, Deserialize)]
struct Specific {
    #[serde(default)]
    imports: Vec<Import>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Import {
    path: String,
    /// Only on these systems; on all if there are none.
    #[serde(default)]
    goos: Vec<String>,
}

impl Holds {
    /// Whether it may have something of a package.
    fn may_have(&self, import: &Import) -> bool {
        let there = self.packages.as_ref().is_none_or(|packages| packages.contains(&import.path));
        let runs = |systems: &BTreeSet<String>| import.goos.iter().any(|system| systems.contains(system));
        there && (import.goos.is_empty() || self.systems.as_ref().is_none_or(runs))
    }
}

impl Advisory {
    /// Reads an entry; none of one that was withdrawn, or is about nothing of Go's.
    ///
    /// # Errors
    /// What isn't an entry (kind `Input`).
    pub fn read(bytes: &[u8]) -> Result<Option<Self>> {
        let bad = |why: String| Error::new(Kind::Input, "read an entry of the vulnerability database", why);
        let read: Read = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if read.withdrawn.is_some() {
            return Ok(None);
        }
        let of_go = read.affected.into_iter().filter(|a| a.package.ecosystem == "Go");
        let affected = of_go.map(|affected| {
            let ranges = affected.ranges.into_iter().filter(|range| range.kind == "SEMVER");
            let ranges = ranges.map(|range| events(range.events).map_err(&bad));
            Ok(Affected {
                module: affected.package.name.to_lowercase(),
                ranges: ranges.collect::<Result<_>>()?,
                packages: affected.ecosystem_specific.unwrap_or_default().imports,
            })
        });
        let affected: Vec<Affected> = affected.collect::<Result<_>>()?;
        let Read { id, aliases, summary, .. } = read;
        Ok((!affected.is_empty()).then_some(Advisory { id, aliases, summary, affected }))
    }

    /// Whether `version` of `module` has the fault, in a program of which this is known. Paths of modules are compared without
    /// case. A version that isn't one of Go's has none: nobody knows.
    #[must_use]
    pub fn hits(&self, module: &str, version: &str, program: &Holds) -> Option<Hit> {
        let (module, at) = (module.to_lowercase(), of_module(version)?);
        let of_module = self.affected.iter().filter(|affected| affected.module == module);
        let holds = |affected: &&Affected| {
            affected.packages.is_empty() || affected.packages.iter().any(|import| program.may_have(import))
        };
        of_module.filter(holds).find_map(|affected| {
            let range = affected.ranges.iter().find(|range| is_in(range, &at))?;
            let fixed = range.iter().find(|e| !e.begins && e.at.cmp_precedence(&at).is_gt());
            // As Go writes it: the library's version is that of Go.
            let letter = if module == STDLIB { "" } else { "v" };
            let fixed = fixed.map(|e| format!("{letter}{}", e.at));
            let packages = affected.packages.iter().map(|import| import.path.clone()).collect();
            Some(Hit { fixed, packages })
        })
    }
}

/// The events of a range, in the order of their versions.
fn events(read: Vec<ReadEvent>) -> std::result::Result<Vec<Event>, String> {
    let mut events = Vec::new();
    for event in read {
        for (text, begins) in [(event.introduced, true), (event.fixed, false)] {
            let Some(text) = text else { continue };
            let at = match text.as_str() {
                "0" => Version { pre: lowest(), ..Version::new(0, 0, 0) },
                text => of_module(text).ok_or_else(|| format!("{text:?} is no version"))?,
            };
            events.push(Event { at, begins });
        }
    }
    events.sort_by(|a, b| a.at.cmp_precedence(&b.at));
    Ok(events)
}

/// Before all that a version can be.
fn lowest() -> Prerelease {
    // `0` is a pre-release.
    Prerelease::new("0").unwrap_or(Prerelease::EMPTY)
}

fn is_in(range: &[Event], version: &Version) -> bool {
    let before = range.iter().take_while(|event| event.at.cmp_precedence(version).is_le());
    before.last().is_some_and(|event| event.begins)
}

/// A version of a module: `v1.2.3`, `v1.2.3-0.20240101000000-0123456789ab`, with or without the letter.
fn of_module(text: &str) -> Option<Version> {
    let version = Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()?;
    // Go's `+incompatible` says nothing of order.
    Some(Version { build: BuildMetadata::EMPTY, ..version })
}

/// A version of Go as one of the standard library: `go1.27rc1` is `1.27.0-rc.1`. None of what is no release.
#[must_use]
pub fn of_go(version: &str) -> Option<String> {
    // What follows says how it was built: `go1.26.8 X:nogreenteagc`, `go1.26.8-custom`.
    let plain = version.split([' ', '-']).next()?.strip_prefix("go")?;
    let start = plain.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(plain.len());
    let (numbers, stage) = plain.split_at(start);
    let mut numbers: Vec<u64> = numbers.split('.').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    if !(2..=3).contains(&numbers.len()) {
        return None;
    }
    numbers.resize(3, 0);
    let stage = match stage.split_at(stage.find(|c: char| c.is_ascii_digit()).unwrap_or(stage.len())) {
        ("", _) => String::new(),
        (name, number) => format!("-{name}.{number}"),
    };
    let text = format!("{}.{}.{}{stage}", numbers[0], numbers[1], numbers[2]);
    of_module(&text).map(|_| text)
}

/// What is newer than this version of Go, of all `releases`: the newest of its own line, or of all where its line is no longer
/// looked after (go.dev/doc/devel/release: the two newest are). None if it is the newest, or no release.
#[must_use]
pub fn newer_go(version: &str, releases: &[String]) -> Option<NewerGo> {
    let own = of_module(&of_go(version)?)?;
    let known = releases.iter().filter_map(|text| of_module(text));
    let mut known: Vec<Version> = known.filter(|v| v.pre.is_empty()).collect();
    known.sort();
    let newest = known.last()?;
    let looked_after = own.minor + 1 >= newest.minor || own.major != newest.major;
    let of_line = known.iter().rfind(|v| (v.major, v.minor) == (own.major, own.minor));
    let target = match of_line {
        Some(of_line) if looked_after => of_line,
        _ if looked_after => return None,
        _ => newest,
    };
    let newer = target.cmp_precedence(&own).is_gt();
    newer.then(|| NewerGo { version: format!("go{target}"), looked_after })
}

/// A newer version of Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewerGo {
    /// It: `go1.26.9`.
    pub version: String,
    /// Whether the line of the older one still gets fixes.
    pub looked_after: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisory(events: &str, imports: &str) -> Advisory {
        let text = format!(
            r#"{{"id":"GO-1","summary":"s","affected":[{{"package":{{"name":"example.com/Mod","ecosystem":"Go"}},
            "ranges":[{{"type":"SEMVER","events":[{events}]}}],"ecosystem_specific":{{"imports":[{imports}]}}}}]}}"#
        );
        Advisory::read(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn versions_are_hit_from_where_a_fault_begins_to_where_it_is_fixed() {
        let events = r#"{"introduced":"0"},{"fixed":"1.2.3"},{"introduced":"1.3.0-0"},{"fixed":"1.3.1"},
            {"introduced":"2.0.0"}"#;
        let advisory = advisory(events, "");
        for (version, fixed) in [
            ("v0.0.0-20200101000000-0123456789ab", Some(Some("v1.2.3"))),
            ("v1.2.2", Some(Some("v1.2.3"))),
            ("v1.2.3-rc.1", Some(Some("v1.2.3"))),
            ("v1.2.3", None),
            ("v1.2.9", None),
            ("v1.3.0-rc.1", Some(Some("v1.3.1"))),
            ("1.3.0", Some(Some("v1.3.1"))),
            ("v1.3.1", None),
            ("v2.0.0+incompatible", Some(None)),
            ("v9.0.0", Some(None)),
            ("(devel)", None),
            ("", None),
        ] {
            let hit = advisory.hits("example.com/mod", version, &Holds::default());
            assert_eq!(hit.as_ref().map(|h| h.fixed.as_deref()), fixed, "{version}");
        }
        assert_eq!(advisory.hits("example.com/other", "v1.0.0", &Holds::default()), None);
    }

    #[test]
    fn only_packages_and_systems_that_are_there_count() {
        let imports =
            r#"{"path":"example.com/Mod/a"},{"path":"example.com/Mod/w","goos":["windows","plan9"]}"#;
        let advisory = advisory(r#"{"introduced":"0"}"#, imports);
        let set = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        for (packages, systems, is_hit) in [
            (None, None, true),
            (set(&["example.com/Mod/a"]), set(&["linux"]), true),
            (set(&["example.com/Mod/b", "fmt"]), None, false),
            (set(&["example.com/Mod/w"]), None, true),
            (set(&["example.com/Mod/w"]), set(&["linux"]), false),
            (set(&["example.com/Mod/w"]), set(&["linux", "windows"]), true),
            (None, set(&["linux"]), true),
        ] {
            let program = Holds { packages, systems };
            assert_eq!(advisory.hits("example.com/Mod", "v1.0.0", &program).is_some(), is_hit, "{program:?}");
        }
    }

    #[test]
    fn what_is_no_entry_is_an_error_and_what_is_withdrawn_none() {
        for bad in ["", "[]", "{}", r#"{"id":1}"#] {
            assert_eq!(Advisory::read(bad.as_bytes()).unwrap_err().kind(), Kind::Input, "{bad}");
        }
        let withdrawn = r#"{"id":"GO-1","withdrawn":"2024-01-01T00:00:00Z"}"#;
        assert_eq!(Advisory::read(withdrawn.as_bytes()).unwrap(), None);
        let other = r#"{"id":"X","affected":[{"package":{"name":"a","ecosystem":"npm"}}]}"#;
        assert_eq!(Advisory::read(other.as_bytes()).unwrap(), None);
        let wrong = r#"{"id":"X","affected":[{"package":{"name":"a","ecosystem":"Go"},
            "ranges":[{"type":"SEMVER","events":[{"introduced":"one"}]}]}]}"#;
        assert!(Advisory::read(wrong.as_bytes()).is_err());
    }

    #[test]
    fn versions_of_go_are_those_of_its_library() {
        for (go, version) in [
            ("go1.26.8", Some("1.26.8")),
            ("go1.26", Some("1.26.0")),
            ("go1.27rc1", Some("1.27.0-rc.1")),
            ("go1.21beta2", Some("1.21.0-beta.2")),
            ("go1.26.8 X:nogreenteagc", Some("1.26.8")),
            ("go1.26.8-custom", Some("1.26.8")),
            ("devel", None),
            ("go", None),
            ("gone", None),
        ] {
            assert_eq!(of_go(go).as_deref(), version, "{go}");
        }
    }

    #[test]
    fn old_lines_are_left_and_new_ones_kept_up() {
        let releases = ["1.25.9", "1.26.0", "1.26.8", "1.27rc1", "1.27.0", "1.27.1"].map(str::to_owned);
        let newer = |version| newer_go(version, &releases).map(|n| (n.version, n.looked_after));
        assert_eq!(newer("go1.26.7"), Some(("go1.26.8".to_owned(), true)));
        assert_eq!(newer("go1.26.8"), None);
        assert_eq!(newer("go1.27rc1"), Some(("go1.27.1".to_owned(), true)));
        assert_eq!(newer("go1.25.9"), Some(("go1.27.1".to_owned(), false)));
        assert_eq!(newer("go1.28.0"), None);
        assert_eq!(newer("devel"), None);
        assert_eq!(newer_go("go1.1.1", &[]), None);
    }
}
