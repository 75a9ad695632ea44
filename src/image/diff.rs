//! Two layers compared: which of their files differ, in what, and from which byte on. In memory are names, digests and
//! one block of a file at a time, never a file.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::error::{Error, Kind, Result};
use crate::image::walk::{Member, WHAT, unreadable, walk};
use crate::oci::{Digest, Hasher};

/// A file's content is compared block by block.
const BLOCK: usize = 64 * 1024;
/// Of how many files the first byte that differs is looked for: each takes a block of memory.
const MAX_LOOKED: usize = 256;
/// How much memory the names in two layers may take.
const MAX_NAMES: usize = 1 << 30;
/// How much room an entry takes besides its names, roughly.
const ENTRY_ROOM: usize = 300;
/// How many of a file's first bytes are kept: those by which a program is known.
const START: usize = 4;

/// What an entry of a layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    HardLink,
    /// A device, a pipe, or something else.
    Special,
}

impl Sort {
    /// In words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Sort::File => "file",
            Sort::Directory => "directory",
            Sort::Symlink => "symbolic link",
            Sort::HardLink => "hard link",
            Sort::Special => "special file",
        }
    }
}

/// The content of a regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Its first bytes.
    start: Vec<u8>,
    /// A sum of each block, by which the first one that differs is found.
    blocks: Vec<u32>,
}

impl Content {
    /// Its first bytes, by which a program is known.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }
}

/// Everything that a layer says of one name, but for the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub sort: Sort,
    /// Permission bits.
    pub mode: u32,
    /// The numbers of owner and group.
    pub owner: (u64, u64),
    /// The names of owner and group, where there are some.
    pub owner_names: [String; 2],
    /// Modification time in seconds since 1970, perhaps with a fraction.
    pub mtime: String,
    /// Where a link leads.
    pub link: String,
    /// The numbers of a device.
    pub device: Option<(u32, u32)>,
    /// Further PAX records, such as extended attributes.
    pub pax: BTreeMap<String, Vec<u8>>,
    /// A regular file's content.
    pub content: Option<Content>,
}

/// One name of which two layers say different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The name: relative, without a slash at the end.
    pub name: String,
    /// What the first layer has.
    pub was: Option<Entry>,
    /// What the second layer has.
    pub now: Option<Entry>,
    /// The first byte of the content that differs, counted from 0. None where it isn't known.
    pub first: Option<u64>,
}

impl Difference {
    /// Whether both have a file by the name, and the contents differ.
    #[must_use]
    pub fn is_of_content(&self) -> bool {
        let content = |entry: &Option<Entry>| entry.as_ref()?.content.as_ref().map(|c| c.digest);
        matches!((content(&self.was), content(&self.now)), (Some(was), Some(now)) if was != now)
    }

    /// What else differs of an entry that both have: the word for it, and both values.
    #[must_use]
    pub fn aspects(&self) -> Vec<(String, String, String)> {
        let (Some(was), Some(now)) = (&self.was, &self.now) else { return Vec::new() };
        let mut found = Vec::new();
        let mut add = |word: &str, was: String, now: String| {
            if was != now {
                found.push((word.to_owned(), was, now));
            }
        };
        add("kind", was.sort.word().to_owned(), now.sort.word().to_owned());
        let owner = |e: &Entry| format!("{}:{}", e.owner.0, e.owner.1);
        add("mode", format!("{:04o}", was.mode), format!("{:04o}", now.mode));
        add("owner", owner(was), owner(now));
        add("owner's name", was.owner_names.join(":"), now.owner_names.join(":"));
        add("time", was.mtime.clone(), now.mtime.clone());
        add("link", was.link.clone(), now.link.clone());
        let device = |e: &Entry| e.device.map(|(a, b)| format!("{a}:{b}")).unwrap_or_default();
        add("device", device(was), device(now));
        let value = |e: &Entry, key: &str| e.pax.get(key).map(|v| v.escape_ascii().to_string());
        let keys: std::collections::BTreeSet<&String> = was.pax.keys().chain(now.pax.keys()).collect();
        for key in keys {
            let (was, now) = (value(was, key), value(now, key));
            add(key.strip_prefix("SCHILY.").unwrap_or(key), was.unwrap_or_default(), now.unwrap_or_default());
        }
        found
    }
}

/// Which of two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first.
    Was,
    /// The second.
    Now,
}

/// Gives a layer's tar, from its beginning, as often as it is asked. None stands for a layer that isn't there.
pub type Tar<'a> = Option<&'a dyn Fn() -> Result<Box<dyn Read>>>;

/// What is said of a file's content that only one layer has, or that differs: its layer, name, and bytes.
pub type Look<'a> = &'a mut dyn FnMut(Side, &str, &Content, &mut dyn Read) -> Result<()>;

/// The names of which two layers say different things, in order. `look` may look at the contents that differ.
///
/// # Errors
/// What isn't a tar, one with too many names, and those of `look`.
pub fn differences(was: Tar<'_>, now: Tar<'_>, look: Look<'_>) -> Result<Vec<Difference>> {
    let mut room = MAX_NAMES;
    let mut list = |tar: Tar<'_>| match tar {
        Some(open) => listing(open()?, &mut room),
        None => Ok(BTreeMap::new()),
    };
    let (mut before, after) = (list(was)?, list(now)?);
    let mut found = Vec::new();
    for (name, now) in after {
        match before.remove(&name) {
            Some(was) if was == now => {}
            was => found.push(Difference { name, was, now: Some(now), first: None }),
        }
    }
    let gone = before.into_iter();
    found.extend(gone.map(|(name, was)| Difference { name, was: Some(was), now: None, first: None }));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    contents(was, now, &mut found, look)?;
    Ok(found)
}

/// Reads the contents that differ.
fn contents(was: Tar<'_>, now: Tar<'_>, found: &mut [Difference], look: Look<'_>) -> Result<()> {
    // Where the first block that differs begins, and that block of the first layer.
    let mut blocks: BTreeMap<String, (u64, Vec<u8>)> = BTreeMap::new();
    for difference in found.iter().filter(|d| d.is_of_content()).take(MAX_LOOKED) {
        let content = |entry: &Option<Entry>| entry.as_ref().and_then(|e| e.content.clone());
        if let (Some(was), Some(now)) = (content(&difference.was), content(&difference.now)) {
            let shorter = was.blocks.len().min(now.blocks.len());
            let same = was.blocks.iter().zip(&now.blocks).position(|(a, b)| a != b).unwrap_or(shorter);
            blocks.insert(difference.name.clone(), ((same * BLOCK) as u64, Vec::new()));
        }
    }
    let wanted: BTreeMap<String, usize> =
        found.iter().enumerate().map(|(number, d)| (d.name.clone(), number)).collect();
    for (side, tar) in [(Side::Was, was), (Side::Now, now)] {
        let Some(open) = tar else { continue };
        walk(open()?, |member, bytes| {
            let Some(difference) = wanted.get(&member.name).and_then(|number| found.get_mut(*number)) else {
                return Ok(());
            };
            let entry = if side == Side::Was { &difference.was } else { &difference.now };
            let Some(content) = entry.as_ref().and_then(|e| e.content.as_ref()) else { return Ok(()) };
            // One that has the same content on both sides differs in something else.
            let is_same = difference.was.is_some() && difference.now.is_some() && !difference.is_of_content();
            if !member.kind.is_file() || is_same {
                return Ok(());
            }
            let block = blocks.get_mut(&member.name);
            let from = block.as_ref().map_or(u64::MAX, |(from, _)| *from);
            let mut watched = Watched { inner: bytes, at: 0, from, block: Vec::new() };
            look(side, &member.name, content, &mut watched)?;
            let Some((_, before)) = block else { return Ok(()) };
            io::copy(&mut watched, &mut io::sink()).map_err(unreadable)?;
            match side {
                Side::Was => *before = watched.block,
                Side::Now => {
                    let same = before.iter().zip(&watched.block).take_while(|(a, b)| a == b).count();
                    let is_end = same == BLOCK;
                    difference.first = (!is_end).then_some(from + same as u64);
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A reader that keeps the block at `from`.
struct Watched<'a> {
    inner: &'a mut dyn Read,
    at: u64,
    from: u64,
    block: Vec<u8>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let end = self.at + n as u64;
        if end > self.from {
            let skipped = usize::try_from(self.from.saturating_sub(self.at)).unwrap_or(n).min(n);
            let wanted = (BLOCK - self.block.len()).min(n - skipped);
            self.block.extend_from_slice(&buffer[skipped..skipped + wanted]);
        }
        self.at = end;
        Ok(n)
    }
}

/// What a layer says of each name. Of several of one name the last counts, as for whoever unpacks it.
fn listing(tar: impl Read, room: &mut usize) -> Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    let mut block = Vec::with_capacity(BLOCK);
    walk(tar, |member, bytes| {
        let entry = entry(&member, bytes, &mut block)?;
        let pax: usize = entry.pax.iter().map(|(k, v)| k.len() + v.len()).sum();
        let blocks = entry.content.as_ref().map_or(0, |c| c.blocks.len() * 4);
        let takes = member.name.len() + entry.link.len() + pax + blocks + ENTRY_ROOM;
        let left = room.checked_sub(takes);
        *room = left.ok_or_else(|| Error::new(Kind::Integrity, WHAT, "it has too many names"))?;
        entries.insert(member.name, entry);
        Ok(())
    })?;
    Ok(entries)
}

fn entry(member: &Member<'_>, bytes: &mut dyn Read, block: &mut Vec<u8>) -> Result<Entry> {
    let kind = member.kind;
    let sort = match kind {
        _ if kind.is_file() => Sort::File,
        _ if kind.is_dir() => Sort::Directory,
        _ if kind.is_symlink() => Sort::Symlink,
        _ if kind.is_hard_link() => Sort::HardLink,
        _ => Sort::Special,
    };
    Ok(Entry {
        sort,
        mode: member.mode()?,
        owner: (member.uid()?, member.gid()?),
        owner_names: member.names(),
        mtime: member.mtime()?,
        link: String::from_utf8_lossy(&member.link).into_owned(),
        device: member.device(),
        pax: member.further().map(|(key, value)| (key, value.to_vec())).collect(),
        content: match sort {
            Sort::File => Some(content(bytes, block).map_err(unreadable)?),
            _ => None,
        },
    })
}

fn content(bytes: &mut dyn Read, block: &mut Vec<u8>) -> io::Result<Content> {
    let (mut hasher, mut blocks, mut start) = (Hasher::new(), Vec::new(), Vec::new());
    loop {
        block.clear();
        let n = (&mut *bytes).take(BLOCK as u64).read_to_end(block)?;
        if n == 0 {
            break;
        }
        if blocks.is_empty() {
            start.extend_from_slice(&block[..n.min(START)]);
        }
        hasher.update(block);
        blocks.push(crc32fast::hash(block));
    }
    let (digest, size) = hasher.finish();
    Ok(Content { digest, size, start, blocks })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct File<'a>(&'a str, u32, u64, Vec<u8>);

    fn tar(files: &[File<'_>]) -> Vec<u8> {
        let mut out = tar::Builder::new(Vec::new());
        for File(name, mode, mtime, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_mode(*mode);
            header.set_mtime(*mtime);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(bytes.len() as u64);
            if let Some(dir) = name.strip_suffix('/') {
                header.set_entry_type(tar::EntryType::Directory);
                out.append_data(&mut header, dir, &bytes[..]).unwrap();
            } else {
                out.append_data(&mut header, name, &bytes[..]).unwrap();
            }
        }
        out.into_inner().unwrap()
    }

    fn found(was: &[File<'_>], now: &[File<'_>]) -> (Vec<Difference>, Vec<String>) {
        let (was, now) = (tar(was), tar(now));
        let open = |bytes: &Vec<u8>| {
            let bytes = bytes.clone();
            move || Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read>)
        };
        let (was, now) = (open(&was), open(&now));
        let mut looked = Vec::new();
        let found = differences(Some(&was), Some(&now), &mut |side, name, _, _| {
            looked.push(format!("{side:?} {name}"));
            Ok(())
        });
        (found.unwrap(), looked)
    }

    #[test]
    fn what_differs_is_found_whatever_the_order() {
        let long = |at: usize| {
            let mut bytes = vec![7; 3 * BLOCK + 5];
            bytes[at] = 8;
            bytes
        };
        let was = [
            File("d/", 0o755, 0, vec![]),
            File("d/gone", 0o444, 0, b"x".to_vec()),
            File("d/long", 0o444, 0, long(0)),
            File("d/mode", 0o444, 0, b"same".to_vec()),
            File("d/same", 0o444, 0, b"same".to_vec()),
            File("d/shorter", 0o444, 0, vec![1; BLOCK]),
        ];
        let now = [
            File("d/shorter", 0o444, 0, vec![1; BLOCK + 1]),
            File("d/same", 0o444, 0, b"same".to_vec()),
            File("d/new", 0o444, 0, b"y".to_vec()),
            File("d/mode", 0o555, 9, b"same".to_vec()),
            File("d/long", 0o444, 0, long(2 * BLOCK + 3)),
            File("d/", 0o755, 0, vec![]),
        ];
        let (found, looked) = found(&was, &now);
        let names: Vec<_> = found.iter().map(|d| (d.name.as_str(), d.is_of_content(), d.first)).collect();
        assert_eq!(
            names,
            [
                ("d/gone", false, None),
                ("d/long", true, Some(0)),
                ("d/mode", false, None),
                ("d/new", false, None),
                ("d/shorter", true, Some(BLOCK as u64)),
            ]
        );
        let aspects = found[2].aspects();
        let aspects: Vec<_> = aspects.iter().map(|(w, a, b)| (w.as_str(), a.as_str(), b.as_str())).collect();
        assert_eq!(aspects, [("mode", "0444", "0555"), ("time", "0", "9")]);
        assert_eq!(
            looked,
            ["Was d/gone", "Was d/long", "Was d/shorter", "Now d/shorter", "Now d/new", "Now d/long"]
        );
    }

    #[test]
    fn the_first_byte_is_exact() {
        for at in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK + 9] {
            let was = vec![1; 2 * BLOCK + 10];
            let mut now = was.clone();
            now[at] = 2;
            let (found, _) = found(&[File("f", 0, 0, was)], &[File("f", 0, 0, now)]);
            assert_eq!(found[0].first, Some(at as u64));
        }
        let (found, _) = found(&[File("f", 0, 0, vec![])], &[File("f", 0, 0, vec![1])]);
        assert_eq!(found[0].first, Some(0));
    }

    #[test]
    fn a_layer_that_is_not_there_has_nothing() {
        let one = tar(&[File("f", 0, 0, b"1".to_vec())]);
        let open = move || Ok(Box::new(io::Cursor::new(one.clone())) as Box<dyn Read>);
        let found = differences(None, Some(&open), &mut |_, _, _, _| Ok(())).unwrap();
        assert_eq!((found.len(), &found[0].was, found[0].now.is_some()), (1, &None, true));
        let broken = || Ok(Box::new(&b"no tar"[..]) as Box<dyn Read>);
        assert!(differences(Some(&broken), None, &mut |_, _, _, _| Ok(())).is_err());
    }
}
