//! The files of two layers, and what follows from them.

use std::collections::BTreeMap;

use crate::explain::{Cause, Change, Sort};
use crate::image::diff::{Difference, Entry, Sort as Kind};
use crate::oci::{annotation, rfc3339};

/// What differs in two layers, but for the content of Go programs, which `is_program` names: that is told by what is in
/// them.
#[must_use]
pub fn told(differences: &[Difference], is_program: &dyn Fn(&str) -> bool) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut alike: BTreeMap<String, Vec<&Difference>> = BTreeMap::new();
    for difference in differences {
        let path = path(&difference.name);
        match Change::of(difference.was.as_ref(), difference.now.as_ref()) {
            Some(Change::Changed) => {
                let aspects = aspects(difference);
                if difference.is_of_content() && !is_program(&difference.name) {
                    let mut cause = Cause::new(Sort::File, path, Change::Changed);
                    cause.notes.push(content(difference));
                    cause.notes.extend(aspects);
                    causes.push(cause);
                } else if !aspects.is_empty() {
                    alike.entry(aspects.join(", ")).or_default().push(difference);
                }
            }
            Some(change) if !is_way_to_others(difference, differences) => {
                let sort = if is_program(&difference.name) { Sort::Program } else { Sort::File };
                let is_file = |entry: &Entry| entry.sort == Kind::File;
                let entry = difference.was.as_ref().or(difference.now.as_ref());
                let cause = Cause::new(sort, path, change);
                causes.push(match entry.filter(|entry| !is_file(entry)) {
                    Some(entry) => cause.note(format!("a {}", entry.sort.word())),
                    None => cause,
                });
            }
            _ => {}
        }
    }
    causes.extend(alike.into_iter().map(|(aspects, same)| match same.as_slice() {
        [one] => Cause::new(Sort::File, path(&one.name), Change::Changed).note(aspects),
        many => {
            let below = common(many.iter().map(|d| d.name.as_str()));
            let cause = Cause::new(Sort::Files, format!("of /{below}"), Change::Changed);
            cause.note(format!("{aspects}, {} of them", many.len()))
        }
    }));
    causes
}

/// A directory that came or went with what is in it.
fn is_way_to_others(directory: &Difference, all: &[Difference]) -> bool {
    let entry = directory.was.as_ref().or(directory.now.as_ref());
    if !entry.is_some_and(|entry| entry.sort == Kind::Directory) {
        return false;
    }
    let below = format!("{}/", directory.name);
    let from = all.partition_point(|other| other.name.as_str() < below.as_str());
    let inside = all[from..].iter().take_while(|other| other.name.starts_with(&below));
    let mut with = inside
        .filter(|o| (o.was.is_some(), o.now.is_some()) == (directory.was.is_some(), directory.now.is_some()));
    with.next().is_some()
}

fn path(name: &str) -> String {
    format!("/{name}")
}

fn aspects(difference: &Difference) -> Vec<String> {
    let time = |text: &str| text.parse().map_or_else(|_| text.to_owned(), rfc3339);
    let aspects = difference.aspects().into_iter();
    let text = aspects.map(|(word, was, now)| match word.as_str() {
        "time" => format!("time {} -> {}", time(&was), time(&now)),
        _ => format!("{word} {} -> {}", or_none(&was), or_none(&now)),
    });
    text.collect()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

/// How the content of a file differs.
fn content(difference: &Difference) -> String {
    let size = |entry: &Option<Entry>| entry.as_ref().and_then(|e| e.content.as_ref()).map_or(0, |c| c.size);
    let (was, now) = (size(&difference.was), size(&difference.now));
    let from = difference.first.map(|first| format!(" from byte {first}")).unwrap_or_default();
    match was == now {
        true => format!("changed{from}"),
        false => format!("changed{from}, {was} -> {now} bytes"),
    }
}

/// The directory that all are in.
fn common<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut common: Option<Vec<&str>> = None;
    for name in names {
        let parts: Vec<&str> = name.split('/').collect();
        common = Some(match common {
            None => parts,
            Some(before) => {
                let same = before.iter().zip(&parts).take_while(|(a, b)| a == b).count();
                before[..same].to_vec()
            }
        });
    }
    common.unwrap_or_default().join("/")
}

/// Takes what follows from a program's new path, or from what is stamped, out of the causes. `paths` are the old and new
/// ones of programs that have another.
pub fn settle(causes: &mut Vec<Cause>, paths: &[(String, String)]) {
    moved(causes);
    paths.iter().for_each(|(was, now)| renamed(causes, was, now));
    let is_said_of = |cause: &Cause| {
        matches!(cause.sort, Sort::Annotation | Sort::Created) && cause.was.is_some() && cause.now.is_some()
    };
    let (said, mut rest): (Vec<_>, Vec<_>) = std::mem::take(causes).into_iter().partition(is_said_of);
    for cause in said {
        let values = |text: String| text.split_once(": ").map(|(_, values)| values.to_owned());
        let same = values(cause.to_string());
        // Annotations can say the revision, its time or the version, perhaps with more.
        let is_named = cause.sort == Sort::Annotation
            && [annotation::REVISION, annotation::VERSION, annotation::CREATED]
                .contains(&cause.name.as_str());
        let is_why = |vcs: &&mut Cause| {
            let own = vcs.changes.iter().cloned().chain([vcs.to_string()]);
            vcs.sort == Sort::Vcs && (is_named || own.map(values).any(|found| found == same))
        };
        match rest.iter_mut().find(is_why) {
            Some(vcs) => vcs.changes.push(cause.to_string()),
            None => rest.push(cause),
        }
    }
    *causes = rest;
}

/// What went out of one layer and came in another is where it was.
fn moved(causes: &mut Vec<Cause>) {
    let gone: Vec<Cause> = causes.iter().filter(|c| c.change == Change::Removed).cloned().collect();
    for cause in gone.iter().filter(|c| [Sort::File, Sort::Program].contains(&c.sort)) {
        let is_same = |c: &Cause| c.name == cause.name && c.change == Change::Added && c.sort == cause.sort;
        if let Some(at) = causes.iter().position(is_same) {
            causes[at] = Cause::new(cause.sort, &cause.name, Change::Changed).note("in another layer");
            causes.retain(|c| c != cause);
        }
    }
}

/// A program that went, and the one that came in its place, are one.
fn renamed(causes: &mut Vec<Cause>, was: &str, now: &str) {
    let is_it = |c: &Cause| match c.change {
        Change::Removed => c.name == was,
        Change::Added => c.name == now,
        Change::Changed | Change::Renamed => false,
    };
    causes.retain(|c| c.sort != Sort::Program || !is_it(c));
    let dir = |path: &str| path.rsplit_once('/').map(|(dir, _)| dir.to_owned()).unwrap_or_default();
    // Without the directories that programs are found in because of it.
    let dirs = [dir(was), dir(now)];
    let without = |list: &str| {
        list.split(':').filter(|part| !dirs.iter().any(|d| d == part)).map(str::to_owned).collect::<Vec<_>>()
    };
    let follows = |cause: &Cause| {
        let (Some(old), Some(new)) = (&cause.was, &cause.now) else { return false };
        match cause.sort {
            Sort::Entrypoint => old.replace(was, now) == *new,
            Sort::Env => cause.name == "PATH" && without(old) == without(new),
            _ => false,
        }
    };
    let (following, rest): (Vec<Cause>, Vec<Cause>) = std::mem::take(causes).into_iter().partition(follows);
    *causes = rest;
    let following = following.iter().map(ToString::to_string);
    let mut cause = Cause::new(Sort::Program, was, Change::Renamed);
    cause.now = Some(now.to_owned());
    let line = cause.to_string();
    // Another package has another name for its program.
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let package = causes.iter_mut().find(|c| {
        let named = |package: &Option<String>, path: &str| package.as_deref().map(last) == Some(last(path));
        c.sort == Sort::Package && named(&c.was, was) && named(&c.now, now)
    });
    match package {
        Some(package) => package.changes.extend(std::iter::once(line).chain(following)),
        None => {
            cause.changes.extend(following);
            causes.push(cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn entry(sort: Kind, mode: u32, mtime: &str) -> Entry {
        Entry {
            sort,
            mode,
            owner: (0, 0),
            owner_names: [String::new(), String::new()],
            mtime: mtime.to_owned(),
            link: String::new(),
            device: None,
            pax: BTreeMap::new(),
            content: None,
        }
    }

    fn lines(found: &[(&str, Option<Entry>, Option<Entry>)]) -> Vec<String> {
        let difference = |(name, was, now): &(&str, Option<Entry>, Option<Entry>)| Difference {
            name: (*name).to_owned(),
            was: was.clone(),
            now: now.clone(),
            first: None,
        };
        let differences: Vec<Difference> = found.iter().map(difference).collect();
        told(&differences, &|name| name == "app").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_differs_alike_is_said_once_and_directories_with_what_is_in_them_are_not() {
        let file = |mode, mtime| Some(entry(Kind::File, mode, mtime));
        let dir = || Some(entry(Kind::Directory, 0o755, "0"));
        assert_eq!(
            lines(&[
                ("app", None, file(0o555, "0")),
                ("d", None, dir()),
                ("d/e", None, dir()),
                ("d/e/f", None, file(0o444, "0")),
                ("empty", dir(), None),
                ("t/1", file(0o444, "0"), file(0o444, "9")),
                ("t/2", file(0o444, "0"), file(0o444, "9")),
                ("t/3", file(0o444, "0"), file(0o555, "0")),
                ("w", file(0o444, "0"), Some(entry(Kind::Symlink, 0o444, "0"))),
            ]),
            [
                "program /app: added",
                "file /d/e/f: added",
                "file /empty: removed, a directory",
                "file /w: kind file -> symbolic link",
                "file /t/3: mode 0444 -> 0555",
                "files of /t: time 1970-01-01T00:00:00Z -> 1970-01-01T00:00:09Z, 2 of them",
            ]
        );
    }

    #[test]
    fn what_follows_from_a_path_or_a_revision_is_no_cause() {
        let between = |sort, name: &str, was: &str, now: &str| {
            Cause::between(sort, name, Some(&was.to_owned()), Some(&now.to_owned())).unwrap()
        };
        let mut causes = vec![
            Cause::new(Sort::Program, "/bin/a", Change::Removed),
            Cause::new(Sort::Program, "/opt/b", Change::Added),
            Cause::new(Sort::Program, "/opt/c", Change::Added),
            between(Sort::Entrypoint, "", "[\"/bin/a\"]", "[\"/opt/b\"]"),
            between(Sort::Env, "PATH", "/x:/bin", "/x:/opt"),
            between(Sort::Vcs, "revision", "1", "2"),
            between(Sort::Annotation, annotation::REVISION, "1", "2"),
            between(Sort::Annotation, "mine", "1", "3"),
            Cause::new(Sort::File, "/f", Change::Removed),
            Cause::new(Sort::File, "/f", Change::Added),
        ];
        settle(&mut causes, &[("/bin/a".to_owned(), "/opt/b".to_owned())]);
        let said: Vec<(String, usize)> = causes.iter().map(|c| (c.to_string(), c.changes.len())).collect();
        let said: Vec<(&str, usize)> = said.iter().map(|(line, n)| (line.as_str(), *n)).collect();
        assert_eq!(
            said,
            [
                ("program /opt/c: added", 0),
                ("vcs revision: 1 -> 2", 1),
                ("file /f: in another layer", 0),
                ("program /bin/a: renamed to /opt/b", 2),
                ("annotation mine: 1 -> 3", 0),
            ]
        );
    }
}
