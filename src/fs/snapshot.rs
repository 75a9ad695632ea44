//! What a result was made from: paths, and what was there. A later look says whether anything that matters changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::look::{Ask, Kind, Look, Looker, Moment, RACY, Stamp, now};

/// Paths, and what matters at each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths(BTreeMap<PathBuf, Ask>);

impl Paths {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a path; of two questions about one the wider stays.
    pub fn add(&mut self, path: impl Into<PathBuf>, ask: Ask) {
        let entry = self.0.entry(path.into()).or_insert(ask);
        *entry = (*entry).max(ask);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: Paths) {
        if self.0.is_empty() {
            *self = other;
            return;
        }
        other.0.into_iter().for_each(|(path, ask)| self.add(path, ask));
    }

    /// Those that are `wanted`.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Path) -> bool) -> Paths {
        Paths(
            self.0.iter().filter(|(path, _)| wanted(path)).map(|(path, ask)| (path.clone(), *ask)).collect(),
        )
    }

    /// Has `looker` look at all that it hasn't seen yet.
    pub fn see(&self, looker: &Looker) {
        let list: Vec<(&Path, Ask)> = self.iter().collect();
        side_by_side(&list, |(path, ask)| looker.see(path, *ask));
    }

    /// Each path and what matters there, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, Ask)> {
        self.0.iter().map(|(path, ask)| (path.as_path(), *ask))
    }
}

/// What was at some paths when something was made from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    folders: Vec<Folder>,
}

/// Paths in one directory: their names, which take less room than paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Folder {
    dir: String,
    entries: Vec<Entry>,
}

/// What was at one path. `racy`: it may have been changed once more without another stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "a")]
    ask: Ask,
    #[serde(rename = "k")]
    kind: Kind,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    stamp: Option<Stamp>,
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
    racy: bool,
}

/// A path that keeps a snapshot from being taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The path.
    pub path: PathBuf,
    /// Why.
    pub why: &'static str,
}

/// What a look at all paths of a snapshot found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing that matters changed. The snapshot with newer stamps, if some are.
    Same(Option<Snapshot>),
    /// The first path where something did.
    Changed {
        /// It.
        path: PathBuf,
        /// Whether all changes are within Go sources, and their heads are as they were: what is made of them is another
        /// thing, of the same paths.
        same_paths: bool,
    },
}

/// What a path is called on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Away {
    /// This, with `/`.
    As(String),
    /// What is there follows from the rest.
    Implied,
    /// That nothing is there follows from the rest.
    Absent,
    /// Nothing that means the same.
    Unknown,
}

/// Fewer paths than this are not worth a thread.
const SHARE: usize = 256;

impl Snapshot {
    /// What is at `paths`, if that is surely what was there when something was made from them, which began at `begun`:
    /// nothing may have been changed since shortly before, unless `before`, which looked before it began, saw the same.
    ///
    /// # Errors
    /// A path whose content then isn't known.
    pub fn take(paths: &Paths, begun: Moment, before: &Looker) -> Result<Self, Doubt> {
        let list: Vec<(&Path, Ask)> = paths.iter().collect();
        let taken = side_by_side(&list, |(path, ask)| entry(path, *ask, begun.0, before));
        let mut folders: Vec<Folder> = Vec::new();
        for ((path, _), entry) in list.iter().zip(taken) {
            let (dir, entry) = (folder(path)?, entry?);
            match folders.last_mut() {
                Some(last) if last.dir == dir => last.entries.push(entry),
                _ => folders.push(Folder { dir: dir.to_owned(), entries: vec![entry] }),
            }
        }
        Ok(Snapshot { folders })
    }

    /// Looks at every path: after a change at all, so that `looker` knows what was there.
    #[must_use]
    pub fn check(&self, looker: &Looker) -> Check {
        let list: Vec<(&Folder, &Entry)> =
            self.folders.iter().flat_map(|f| f.entries.iter().map(move |e| (f, e))).collect();
        let is_as_recorded =
            side_by_side(&list, |(folder, entry)| entry.is_as_recorded(&folder.path(entry), looker));
        if is_as_recorded.iter().all(|same| *same) {
            return Check::Same(None);
        }
        let list = list.iter().zip(&is_as_recorded);
        let at = now();
        for ((folder, entry), _) in list.clone().filter(|(_, same)| **same) {
            looker.note(&folder.path(entry), entry.ask, || entry.as_seen(at));
        }
        let open: Vec<(PathBuf, &Entry)> =
            list.filter(|(_, same)| !**same).map(|((f, e), _)| (f.path(e), *e)).collect();
        let looks = side_by_side(&open, |(path, entry)| looker.look(path, entry.ask));
        let (mut changed, mut same_paths) = (None, true);
        for ((path, recorded), look) in open.iter().zip(&looks) {
            if !look.same(recorded.link.as_deref(), &recorded.kind) {
                same_paths &= look.link == recorded.link && look.kind.is_as_made(&recorded.kind);
                changed.get_or_insert(path);
            }
        }
        if let Some(path) = changed {
            return Check::Changed { path: path.clone(), same_paths };
        }
        let mut fresh = self.clone();
        let entries = fresh.folders.iter_mut().flat_map(|f| &mut f.entries).zip(&is_as_recorded);
        for ((entry, _), look) in entries.filter(|(_, same)| !**same).zip(looks) {
            entry.racy = look.is_racy();
            entry.stamp = look.stamp;
        }
        Check::Same((fresh != *self).then_some(fresh))
    }

    /// The same for another machine: without stamps, and each path by its `name`.
    ///
    /// # Errors
    /// The first path that has no name, or is a link to an absolute one.
    pub fn away(&self, name: impl Fn(&Path) -> Away) -> Result<Self, PathBuf> {
        let mut folders: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for (path, entry) in self.entries() {
            // What a link says is told as it is.
            if entry.link.as_ref().is_some_and(|text| Path::new(text).is_absolute()) {
                return Err(path);
            }
            let full = match name(&path) {
                Away::As(name) => name,
                Away::Implied => continue,
                Away::Absent if entry.kind == Kind::Absent => continue,
                Away::Absent | Away::Unknown => return Err(path),
            };
            let (dir, name) = full.rsplit_once('/').unwrap_or(("", &full));
            let entry = Entry { name: name.to_owned(), stamp: None, racy: false, ..entry.clone() };
            folders.entry(dir.to_owned()).or_default().push(entry);
        }
        let folders = folders.into_iter().map(|(dir, entries)| Folder { dir, entries });
        Ok(Snapshot { folders: folders.collect() })
    }

    /// One of another machine with the `path` here of each name. None where a name has no path, or one that isn't text.
    #[must_use]
    pub fn home(&self, path: impl Fn(&str) -> Option<PathBuf>) -> Option<Self> {
        let mut folders: Vec<Folder> = Vec::new();
        for (folder, entry) in self.folders.iter().flat_map(|f| f.entries.iter().map(move |e| (f, e))) {
            let name = if folder.dir.is_empty() {
                entry.name.clone()
            } else {
                format!("{}/{}", folder.dir, entry.name)
            };
            let path = path(&name)?;
            let (dir, name) = (path.parent()?.to_str()?, path.file_name()?.to_str()?);
            let entry = Entry { name: name.to_owned(), stamp: None, racy: false, ..entry.clone() };
            match folders.last_mut() {
                Some(last) if last.dir == dir => last.entries.push(entry),
                _ => folders.push(Folder { dir: dir.to_owned(), entries: vec![entry] }),
            }
        }
        Some(Snapshot { folders })
    }

    fn entries(&self) -> impl Iterator<Item = (PathBuf, &Entry)> {
        self.folders.iter().flat_map(|f| f.entries.iter().map(move |e| (f.path(e), e)))
    }

    /// The paths, and what matters at each.
    #[must_use]
    pub fn paths(&self) -> Paths {
        Paths(self.entries().map(|(path, entry)| (path, entry.ask)).collect())
    }
}

impl Folder {
    fn path(&self, entry: &Entry) -> PathBuf {
        Path::new(&self.dir).join(&entry.name)
    }
}

impl Entry {
    /// Whether its stamp alone says that nothing changed. Reads nothing.
    fn is_as_recorded(&self, path: &Path, looker: &Looker) -> bool {
        let Ok(now) = looker.glance(path) else { return false };
        let same = match self.stamp {
            Some(stamp) => !self.racy && now.stamp == Some(stamp),
            None => self.kind == Kind::Absent && now.is_absent(),
        };
        same && now.link == self.link
    }

    /// The same as a look `at` a time: what its stamp alone says.
    fn as_seen(&self, at: i64) -> Look {
        Look { link: self.link.clone(), kind: self.kind.clone(), stamp: self.stamp, at }
    }
}

/// What is at a path, if it surely was there at `begun`.
fn entry(path: &Path, ask: Ask, begun: i64, before: &Looker) -> Result<Entry, Doubt> {
    let doubt = |why| Doubt { path: path.to_owned(), why };
    let look = match before.before(path, ask) {
        Some(seen) => {
            // Bytes are not read again where the stamp says that they are the same.
            let is_known = seen.stamp.is_some()
                && !seen.is_racy()
                && before.glance(path).is_ok_and(|g| g.stamp == seen.stamp && g.link == seen.link);
            let look = if is_known { seen.clone() } else { before.look_again(path, ask) };
            if !look.same(seen.link.as_deref(), &seen.kind) || look.stamp != seen.stamp {
                return Err(doubt("it changed meanwhile"));
            }
            look
        }
        None => {
            let look = before.look_again(path, ask);
            let changed = match (&look.stamp, &look.kind) {
                (Some(stamp), _) => Some(stamp.changed()),
                (None, Kind::Absent) => parent_changed(path, before),
                (None, _) => None,
            };
            if changed.is_none_or(|changed| changed >= begun - RACY) {
                return Err(doubt("it was changed shortly before or meanwhile"));
            }
            look
        }
    };
    if look.kind == Kind::Other {
        return Err(doubt("it can't be read"));
    }
    let name = path.file_name().and_then(|n| n.to_str()).ok_or_else(|| doubt("its name is not text"))?;
    Ok(Entry {
        name: name.to_owned(),
        ask,
        racy: look.is_racy(),
        kind: look.kind,
        stamp: look.stamp,
        link: look.link,
    })
}

/// When names last changed in the nearest directory above `path` that is there.
fn parent_changed(path: &Path, looker: &Looker) -> Option<i64> {
    let mut above = path.ancestors().skip(1).map(|dir| looker.glance(dir).ok().and_then(|g| g.stamp));
    above.find_map(|stamp| stamp).map(Stamp::changed)
}

fn folder(path: &Path) -> Result<&str, Doubt> {
    let doubt = || Doubt { path: path.to_owned(), why: "its name is not text" };
    path.parent().and_then(Path::to_str).ok_or_else(doubt)
}

/// Does `work` for every item, on several threads if there are many; results are in the items' order.
fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(8).min(items.len().div_ceil(SHARE)).max(1);
    if threads == 1 {
        return items.iter().map(work).collect();
    }
    let share = items.len().div_ceil(threads);
    let work = &work;
    std::thread::scope(|scope| {
        let parts = items.chunks(share).map(|part| scope.spawn(move || part.iter().map(work).collect()));
        let parts: Vec<std::thread::ScopedJoinHandle<'_, Vec<R>>> = parts.collect();
        let joined = parts.into_iter().map(|part| match part.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    })
}

#[cfg(test)]
mod tests;
