//! One reason why two things have different digests.

use std::fmt;

use serde::Serialize;

use crate::error::printable;
use crate::oci::Platform;

/// What a cause is about, the most fundamental first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Sort {
    /// The index around the images, or something else in it.
    Index,
    /// A platform.
    Platform,
    /// The order of the platforms.
    Platforms,
    /// What an image stands on.
    Base,
    /// The Go toolchain.
    Go,
    /// The main package of a program.
    Package,
    /// A module in a program.
    Module,
    /// A setting of Go's, such as `CGO_ENABLED`.
    Setting,
    /// A flag of `go build`.
    Flag,
    /// What the version control says of the source.
    Vcs,
    /// Which program made the image.
    Tool,
    /// A program in an image.
    Program,
    /// The code of a package.
    Code,
    /// A file in an image.
    File,
    /// Several files that differ in the same way.
    Files,
    /// When the image was made.
    Created,
    /// Who runs the program.
    User,
    /// The program that runs.
    Entrypoint,
    /// Its arguments.
    Cmd,
    /// Where it starts.
    WorkingDir,
    /// A variable.
    Env,
    /// A label.
    Label,
    /// Another field of the config.
    Config,
    /// An annotation.
    Annotation,
    /// How layers are compressed.
    Compression,
    /// How something is written that says the same.
    Form,
}

impl Sort {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Sort::Index => "index",
            Sort::Platform => "platform",
            Sort::Platforms => "order of platforms",
            Sort::Base => "base",
            Sort::Go => "go",
            Sort::Package => "main package",
            Sort::Module => "module",
            Sort::Setting => "setting",
            Sort::Flag => "flag",
            Sort::Vcs => "vcs",
            Sort::Tool => "made by",
            Sort::Program => "program",
            Sort::Code => "code of",
            Sort::File => "file",
            Sort::Files => "files",
            Sort::Created => "created",
            Sort::User => "user",
            Sort::Entrypoint => "entrypoint",
            Sort::Cmd => "cmd",
            Sort::WorkingDir => "working directory",
            Sort::Env => "env",
            Sort::Label => "label",
            Sort::Config => "config",
            Sort::Annotation => "annotation",
            Sort::Compression => "compression",
            Sort::Form => "form of",
        }
    }
}

/// How it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Both have it.
    Changed,
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// The second has it under another name.
    Renamed,
}

impl Change {
    /// That of something that may be there or not; none if it is the same.
    #[must_use]
    pub fn of<T: PartialEq>(was: Option<&T>, now: Option<&T>) -> Option<Self> {
        match (was, now) {
            (Some(was), Some(now)) if was != now => Some(Change::Changed),
            (None, Some(_)) => Some(Change::Added),
            (Some(_), None) => Some(Change::Removed),
            _ => None,
        }
    }
}

/// One reason why two things differ. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// What it is about.
    #[serde(rename = "kind")]
    pub sort: Sort,
    /// Which of that sort; empty where there is only one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How it differs.
    pub change: Change,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// More, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What differs because of it, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// On which platforms; none where it is the same on all that were compared.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "shown")]
    pub platforms: Vec<Platform>,
}

fn shown<S: serde::Serializer>(platforms: &[Platform], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(platforms.iter().map(ToString::to_string))
}

impl Cause {
    /// A cause of a sort and name.
    #[must_use]
    pub fn new(sort: Sort, name: impl Into<String>, change: Change) -> Self {
        let name = name.into();
        let (notes, changes, platforms) = (Vec::new(), Vec::new(), Vec::new());
        Cause { sort, name, change, was: None, now: None, notes, changes, platforms }
    }

    /// What the values of something tell; none if they are the same.
    #[must_use]
    pub fn between(sort: Sort, name: &str, was: Option<&String>, now: Option<&String>) -> Option<Self> {
        let change = Change::of(was, now)?;
        Some(Cause { was: was.cloned(), now: now.cloned(), ..Cause::new(sort, name, change) })
    }

    /// The same, with more words.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The same, as the reason for something.
    #[must_use]
    pub fn changing(mut self, what: impl Into<String>) -> Self {
        self.changes.push(what.into());
        self
    }

    /// Whether it is about the same thing.
    #[must_use]
    pub fn is_about(&self, other: &Cause) -> bool {
        (self.sort, &self.name) == (other.sort, &other.name)
    }

    /// Whether it is the same cause, wherever it shows.
    #[must_use]
    pub fn is_as(&self, other: &Cause) -> bool {
        let same = |c: &Cause| (c.sort, c.name.clone(), c.change, c.was.clone(), c.now.clone());
        same(self) == same(other) && self.notes == other.notes
    }
}

impl Cause {
    /// Whether it says all that another does, or names that among what differs because of it.
    #[must_use]
    pub fn tells(&self, other: &Cause) -> bool {
        self.is_as(other) || self.changes.contains(&other.to_string())
    }
}

impl fmt::Display for Cause {
    /// One line, without what differs because of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        match (self.change, &self.was, &self.now) {
            (Change::Renamed, _, Some(now)) => words.push(format!("renamed to {now}")),
            (_, Some(was), Some(now)) => words.push(format!("{} -> {}", value(was), value(now))),
            (Change::Added, _, now) => {
                words.push("added".to_owned());
                words.extend(now.as_ref().map(|now| value(now)));
            }
            (Change::Removed, was, _) => {
                words.push("removed".to_owned());
                words.extend(was.as_ref().map(|was| format!("was {}", value(was))));
            }
            _ if self.notes.is_empty() => words.push("changed".to_owned()),
            _ => {}
        }
        words.extend(self.notes.iter().cloned());
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        let mut line = format!("{}{name}: {}", self.sort.label(), words.join(", "));
        if !self.platforms.is_empty() {
            let platforms: Vec<String> = self.platforms.iter().map(ToString::to_string).collect();
            line.push_str(&format!(" ({})", platforms.join(", ")));
        }
        f.write_str(&printable(line))
    }
}

/// A value as it is, in quotes where it could be taken for something else.
fn value(text: &str) -> String {
    let is_odd = text.is_empty() || text.contains(char::is_whitespace) || text.contains("->");
    if is_odd && !text.starts_with(['[', '{']) { format!("\"{text}\"") } else { text.to_owned() }
}

/// Causes that were found on single platforms become those of all, in order; of `compared` platforms one or more.
#[must_use]
pub fn merged(found: Vec<(Platform, Vec<Cause>)>) -> Vec<Cause> {
    let all = found.len();
    let mut merged: Vec<Cause> = Vec::new();
    for (platform, causes) in found {
        for cause in causes {
            let known = match merged.iter_mut().find(|known| known.is_as(&cause)) {
                Some(known) => known,
                None => {
                    merged.push(Cause { platforms: Vec::new(), changes: Vec::new(), ..cause.clone() });
                    // It was just put there.
                    let last = merged.len() - 1;
                    &mut merged[last]
                }
            };
            if !known.platforms.contains(&platform) {
                known.platforms.push(platform.clone());
            }
            for change in cause.changes {
                if !known.changes.contains(&change) {
                    known.changes.push(change);
                }
            }
        }
    }
    for cause in &mut merged {
        if cause.platforms.len() == all {
            cause.platforms.clear();
        }
    }
    in_order(merged)
}

/// The most fundamental first, then by name.
#[must_use]
pub fn in_order(mut causes: Vec<Cause>) -> Vec<Cause> {
    causes.sort_by(|a, b| (a.sort, &a.name).cmp(&(b.sort, &b.name)));
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_one_line() {
        let text = |was: Option<&str>, now: Option<&str>| {
            let (was, now) = (was.map(str::to_owned), now.map(str::to_owned));
            Cause::between(Sort::Label, "a", was.as_ref(), now.as_ref()).map(|cause| cause.to_string())
        };
        assert_eq!(text(Some("1"), Some("1")), None);
        assert_eq!(text(Some("1"), Some("")).unwrap(), "label a: 1 -> \"\"");
        assert_eq!(text(None, Some("x y")).unwrap(), "label a: added, \"x y\"");
        assert_eq!(text(Some("x"), None).unwrap(), "label a: removed, was x");
        assert_eq!(text(Some("\u{1b}[2J"), Some("\n")).unwrap(), "label a: \\u{1b}[2J -> \"\\u{a}\"");
        let cause = Cause::new(Sort::File, "/a", Change::Changed).note("time 1 -> 2");
        assert_eq!(cause.to_string(), "file /a: time 1 -> 2");
    }

    #[test]
    fn what_is_on_all_platforms_is_said_once() {
        let platform = |arch| Platform::new("linux", arch);
        let go = |to: &str| {
            let cause = Cause::between(Sort::Go, "", Some(&"1".to_owned()), Some(&to.to_owned()));
            cause.unwrap().changing(format!("/{to}"))
        };
        let user = Cause::new(Sort::User, "", Change::Changed);
        let found = merged(vec![
            (platform("amd64"), vec![user, go("2"), go("2")]),
            (platform("arm64"), vec![go("2").changing("/b")]),
        ]);
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["go: 1 -> 2", "user: changed (linux/amd64)"]);
        assert_eq!(found[0].changes, ["/2", "/b"]);
    }
}
