//! What a program sees of the files in several layers, the upper ones over the lower, with what they take away
//! (OCI image-spec, layer.md, "Whiteouts"). Layers are added from the topmost down, and no more than an answer needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::image::walk::{Member, WHAT, inside, unreadable, walk};

/// How many links are followed from one path, as in Linux.
const MAX_LINKS: usize = 40;
/// How much room an entry takes besides its name, roughly.
const ENTRY_ROOM: usize = 100;

/// Who may read a file, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Directory,
    File(Access),
    Link(String),
    /// A hard link: another name of this file.
    Same(String),
    Other,
}

/// The names in one layer.
#[derive(Clone, Debug, Default)]
pub struct Names {
    entries: BTreeMap<String, Entry>,
    /// What is taken away of lower layers, with all below it.
    removed: BTreeSet<String>,
    /// Directories of which only what is in this layer and above counts.
    emptied: BTreeSet<String>,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A file.
    File {
        /// Where it really is: relative, without links.
        path: String,
        /// Its layer, counted from the topmost.
        layer: usize,
        /// Its name in that layer, by which [`read`] finds it.
        name: String,
        /// Its mode and owner.
        access: Access,
    },
    /// Nothing; a file at this relative path would be it.
    Nothing(String),
    /// Something else, or a file in place of a directory on the way.
    Other,
    /// It depends on a lower layer, which wasn't added.
    Below,
}

/// Several layers, one over the other.
#[derive(Clone, Debug, Default)]
pub struct View {
    layers: Vec<Arc<Names>>,
    complete: bool,
}

impl View {
    /// Adds the next lower layer.
    pub fn add(&mut self, layer: Arc<Names>) {
        self.layers.push(layer);
    }

    /// Says that there are no more layers.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// What is at `path`, an absolute one, with every link followed within the image.
    #[must_use]
    pub fn at(&self, path: &str) -> Seen {
        let mut links = MAX_LINKS;
        self.look(path, &mut links)
    }

    fn look(&self, path: &str, links: &mut usize) -> Seen {
        // What is still to go, the next part last.
        let mut ahead: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let mut at: Vec<String> = Vec::new();
        let mut is_gone = false;
        while let Some(part) = ahead.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    at.pop();
                    continue;
                }
                _ => at.push(part),
            }
            if is_gone {
                continue;
            }
            let path = at.join("/");
            match self.entry(0, &path) {
                Answer::Below => return Seen::Below,
                Answer::Nothing => is_gone = true,
                Answer::Here { entry: Entry::Directory, .. } => {}
                Answer::Here { layer, entry: Entry::Link(target), is_covered } => {
                    let Some(left) = links.checked_sub(1) else { return Seen::Other };
                    *links = left;
                    let rest: Vec<&str> = ahead.iter().rev().map(String::as_str).collect();
                    let rest = rest.join("/");
                    at.pop();
                    let from = if target.starts_with('/') { String::new() } else { at.join("/") };
                    let seen = self.look(&format!("{from}/{target}/{rest}"), links);
                    return if is_covered {
                        self.through(layer, &format!("{path}/{rest}"), seen)
                    } else {
                        seen
                    };
                }
                Answer::Here { layer, entry: entry @ (Entry::File(_) | Entry::Same(_)), .. } => {
                    let is_last = ahead.iter().all(|part| part.is_empty() || part == ".");
                    return if is_last { self.file(path, layer, entry) } else { Seen::Other };
                }
                Answer::Here { entry: Entry::Other, .. } => return Seen::Other,
            }
        }
        if is_gone { Seen::Nothing(at.join("/")) } else { Seen::Other }
    }

    /// What was `seen` through a link of layer number `layer`, if layers above it have no file by the name `name`,
    /// which goes through the link: whoever unpacks them writes where the link leads.
    fn through(&self, layer: usize, name: &str, seen: Seen) -> Seen {
        let name = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect::<Vec<_>>().join("/");
        let above = self.layers.iter().take(layer).position(|l| l.entries.contains_key(&name));
        let found = above.and_then(|number| Some((number, self.layers.get(number)?.entries.get(&name)?)));
        let Some((above, entry)) = found else { return seen };
        let path = match &seen {
            Seen::Nothing(path) => path.clone(),
            Seen::File { path, layer, .. } if above < *layer => path.clone(),
            _ => return seen,
        };
        match self.file(name, above, entry) {
            Seen::File { layer, name, access, .. } => Seen::File { path, layer, name, access },
            _ => seen,
        }
    }

    /// A file by one of its names.
    fn file<'a>(&'a self, path: String, mut layer: usize, mut entry: &'a Entry) -> Seen {
        let mut name = path.clone();
        for _ in 0..MAX_LINKS {
            match entry {
                Entry::File(access) => return Seen::File { path, layer, name, access: *access },
                Entry::Same(other) => {
                    name.clone_from(other);
                    match self.entry(layer, &name) {
                        Answer::Below => return Seen::Below,
                        Answer::Here { layer: there, entry: found, .. } => (layer, entry) = (there, found),
                        Answer::Nothing => return Seen::Other,
                    }
                }
                _ => return Seen::Other,
            }
        }
        Seen::Other
    }

    /// What the layers from number `from` down have at `path`, which has no links in it.
    fn entry(&self, from: usize, path: &str) -> Answer<'_> {
        let below = format!("{path}/");
        // A directory without an entry of its own: there is only what is in it.
        let mut is_covered = false;
        let implied = |layer, is_covered| match is_covered {
            true => Answer::Here { layer, entry: &Entry::Directory, is_covered },
            false => Answer::Nothing,
        };
        for (number, layer) in self.layers.iter().enumerate().skip(from) {
            if let Some(entry) = layer.entries.get(path) {
                // In place of a file there is a directory now; a link leads to one.
                let is_file = !matches!(entry, Entry::Directory | Entry::Link(_));
                let entry = if is_covered && is_file { &Entry::Directory } else { entry };
                return Answer::Here { layer: number, entry, is_covered };
            }
            let mut inside = layer.entries.range(below.clone()..);
            is_covered |= inside.next().is_some_and(|(name, _)| name.starts_with(&below));
            if layer.hides(path) {
                return implied(number, is_covered);
            }
        }
        if self.complete { implied(from, is_covered) } else { Answer::Below }
    }
}

/// What the layers have at a path.
enum Answer<'a> {
    /// It depends on a lower layer, which wasn't added.
    Below,
    /// Nothing.
    Nothing,
    /// This, in the layer of this number; `is_covered` says whether layers above have something in it.
    Here { layer: usize, entry: &'a Entry, is_covered: bool },
}

impl Names {
    /// Whether lower layers' `path` is covered by this one.
    fn hides(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        let covers = |parent: &str| {
            let entry = self.entries.get(parent);
            self.removed.contains(parent)
                || self.emptied.contains(parent)
                || entry.is_some_and(|e| *e != Entry::Directory)
        };
        self.removed.contains(path) || self.emptied.contains("") || parents.into_iter().any(covers)
    }
}

/// The names in a layer's tar. What they take is taken from `room`, in bytes.
///
/// # Errors
/// What isn't a tar, or one whose names take more than the room.
pub fn names(tar: impl Read, room: &mut usize) -> Result<Names> {
    names_and(tar, room, |_, _| Ok(()))
}

/// The same, and has `look` look at every file: its name, and its content as far as it wants that.
///
/// # Errors
/// As [`names`], and those of `look`.
pub fn names_and(
    tar: impl Read,
    room: &mut usize,
    mut look: impl FnMut(&str, &mut dyn Read) -> Result<()>,
) -> Result<Names> {
    let mut names = Names::default();
    walk(tar, |member, content| {
        let Some(entry) = entry(&member)? else { return Ok(()) };
        let name = member.name;
        let target = match &entry {
            Entry::Link(target) | Entry::Same(target) => target.len(),
            _ => 0,
        };
        let left = room.checked_sub(name.len() + target + ENTRY_ROOM);
        *room = left.ok_or_else(|| Error::new(Kind::Integrity, WHAT, "it has too many names"))?;
        let (parent, last) = name.rsplit_once('/').unwrap_or(("", &name));
        if last == ".wh..wh..opq" {
            names.emptied.insert(parent.to_owned());
        } else if let Some(gone) = last.strip_prefix(".wh.") {
            names.removed.insert(if parent.is_empty() {
                gone.to_owned()
            } else {
                format!("{parent}/{gone}")
            });
        } else {
            if matches!(entry, Entry::File(_)) {
                look(&name, content)?;
            }
            names.entries.insert(name, entry);
        }
        Ok(())
    })?;
    Ok(names)
}

/// The bytes of the file `name` in a layer's tar, at most `limit` of them. Of several the last counts, as for whoever
/// unpacks it.
///
/// # Errors
/// What isn't a tar, a file that isn't there or is larger.
pub fn read(tar: impl Read, name: &str, limit: u64) -> Result<Vec<u8>> {
    let mut found = None;
    walk(tar, |member, content| {
        if member.name == name && member.kind.is_file() {
            let mut bytes = Vec::new();
            content.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.len() as u64 > limit {
                let why = format!("larger than {} MiB", limit >> 20);
                return Err(Error::new(Kind::Integrity, WHAT, why).at(format!("/{name}")));
            }
            found = Some(bytes);
        }
        Ok(())
    })?;
    found.ok_or_else(|| Error::new(Kind::Base, WHAT, "its file is gone").at(format!("/{name}")))
}

/// What a member of a tar is; none if it is a hard link out of the image.
fn entry(member: &Member<'_>) -> Result<Option<Entry>> {
    let kind = member.kind;
    Ok(match kind {
        _ if kind.is_dir() => Some(Entry::Directory),
        _ if kind.is_symlink() => Some(Entry::Link(String::from_utf8_lossy(&member.link).into_owned())),
        _ if kind.is_hard_link() => inside(&member.link).map(Entry::Same),
        _ if kind.is_file() => {
            let (mode, uid, gid) = (member.mode()?, member.uid()?, member.gid()?);
            Some(Entry::File(Access { mode, uid, gid }))
        }
        _ => Some(Entry::Other),
    })
}

#[cfg(test)]
mod tests;
