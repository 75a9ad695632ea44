//! Looking at files so that a later look tells whether anything changed.
//!
//! A file's stamp (device, inode, size, times of writing and of change) is cheap to ask for, and the time of change
//! can't be set by anybody: where stamp and name are the same, so are the bytes. There are two doubts, and in both the
//! bytes are read: a file that was changed shortly before it was looked at may have been changed once more within the
//! same tick of the clock; and file systems of other machines keep their own time.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::source::head;
use crate::oci::{Digest, Hasher};

/// How long before a look a change counts as just made, in nanoseconds: more than the coarsest clock of a file system.
pub(super) const RACY: i64 = 2_000_000_000;

/// How often something is looked at that changes while it is read.
const TRIES: usize = 3;

/// What the system keeps about a file: device, inode, size in bytes, times of writing and of change in nanoseconds since
/// 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    /// When the file was last changed, in nanoseconds since 1970.
    pub(super) fn changed(self) -> i64 {
        self.4
    }
}

/// What matters at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ask {
    /// Of a Go source its head: what decides which packages there are.
    #[serde(rename = "h")]
    Head,
    /// What is there, and the bytes of a file.
    #[serde(rename = "b")]
    Bytes,
    /// The same, and of a Go source also its head.
    #[serde(rename = "s")]
    Source,
    /// Of a directory also which files a package of Go could have (go/build, "matchFile"): what else comes and goes in
    /// it means nothing.
    #[serde(rename = "g")]
    Sources,
    /// The same, and the names of its directories.
    #[serde(rename = "t")]
    Tree,
    /// Of a directory also all names, each with its kind.
    #[serde(rename = "n")]
    Names,
}

/// What is at a path, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// Nothing.
    #[serde(rename = "-")]
    Absent,
    /// A file with these bytes, and whether its owner may run it.
    #[serde(rename = "f")]
    File(Digest, bool),
    /// A Go source with these bytes and this head.
    #[serde(rename = "s")]
    Source(Digest, Digest),
    /// A Go source with this head.
    #[serde(rename = "h")]
    Head(Digest),
    /// A directory, whose names don't matter.
    #[serde(rename = "d")]
    Directory,
    /// A directory with these names.
    #[serde(rename = "n")]
    Names(Digest),
    /// Something else, or what can't be read.
    #[serde(rename = "o")]
    Other,
}

/// A look at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The text of a link; what follows is then about what it leads to.
    pub(super) link: Option<String>,
    /// What is there.
    pub(super) kind: Kind,
    /// None where nothing is, or where stamps say nothing.
    pub(super) stamp: Option<Stamp>,
    /// When it was looked at, in nanoseconds since 1970.
    pub(super) at: i64,
}

impl Kind {
    /// Whether what differs from the other kind is at most what a Go source does, not what it is made of.
    pub(super) fn is_as_made(&self, other: &Kind) -> bool {
        match (self, other) {
            (Kind::Source(_, head), Kind::Source(_, other)) => head == other,
            (one, other) => one == other,
        }
    }
}

impl Look {
    /// Whether what is there is what the other look saw, whatever the stamps.
    pub(super) fn same(&self, link: Option<&str>, kind: &Kind) -> bool {
        self.link.as_deref() == link && self.kind == *kind
    }

    /// Whether it may have been changed once more after the look without another stamp.
    pub(super) fn is_racy(&self) -> bool {
        self.stamp.is_some_and(|stamp| stamp.changed() >= self.at - RACY)
    }
}

/// Looks at paths, at each once: everything that was seen is as of its making or later.
#[derive(Debug, Default)]
pub struct Looker {
    /// By the path's text: thousands are compared, and to compare paths part by part takes many times as long.
    seen: Mutex<BTreeMap<OsString, Vec<(Ask, Look)>>>,
    /// Whether stamps of a device can be relied on.
    devices: Mutex<BTreeMap<u64, bool>>,
}

/// A look that reads nothing.
pub(super) struct Glance {
    pub(super) link: Option<String>,
    pub(super) stamp: Option<Stamp>,
    found: Option<std::fs::Metadata>,
}

impl Glance {
    /// Whether nothing is there, or a link leads to nothing.
    pub(super) fn is_absent(&self) -> bool {
        self.found.is_none()
    }
}

impl Looker {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at `path`, if that wasn't done yet.
    pub fn see(&self, path: &Path, ask: Ask) {
        self.look(path, ask);
    }

    /// What was seen before, if anything was.
    pub(super) fn before(&self, path: &Path, ask: Ask) -> Option<Look> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = seen.get(path.as_os_str())?;
        looks.iter().find(|(other, _)| *other == ask).map(|(_, look)| look.clone())
    }

    /// Notes what is known without reading, unless it was seen before.
    pub(super) fn note(&self, path: &Path, ask: Ask, look: impl FnOnce() -> Look) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = seen.entry(path.as_os_str().to_owned()).or_default();
        if looks.iter().all(|(other, _)| *other != ask) {
            looks.push((ask, look()));
        }
    }

    /// What is at `path`; looked at once.
    pub(super) fn look(&self, path: &Path, ask: Ask) -> Look {
        if let Some(look) = self.before(path, ask) {
            return look;
        }
        let look = self.look_again(path, ask);
        self.note(path, ask, || look.clone());
        look
    }

    /// The same, whatever was seen before, and without noting it. What keeps changing while it is read is of kind `Other`.
    pub(super) fn look_again(&self, path: &Path, ask: Ask) -> Look {
        for _ in 0..TRIES {
            let look = self.look_once(path, ask);
            // The stamp must be that of the bytes that were read.
            let is_still = self.glance(path).is_ok_and(|g| g.stamp == look.stamp && g.link == look.link);
            if is_still || look.kind == Kind::Other {
                return look;
            }
        }
        Look { link: None, kind: Kind::Other, stamp: None, at: now() }
    }

    fn look_once(&self, path: &Path, ask: Ask) -> Look {
        let at = now();
        let Ok(Glance { link, stamp, found }) = self.glance(path) else {
            return Look { link: None, kind: Kind::Other, stamp: None, at };
        };
        let kind = match found {
            None => Kind::Absent,
            Some(found) if found.is_file() => file(path, ask, &found).unwrap_or(Kind::Other),
            Some(found) if found.is_dir() && ask <= Ask::Source => Kind::Directory,
            Some(found) if found.is_dir() => names(path, ask).map_or(Kind::Other, Kind::Names),
            Some(_) => Kind::Other,
        };
        Look { link, kind, stamp, at }
    }

    /// Asks for the stamp only.
    ///
    /// # Errors
    /// Anything but that there is nothing.
    pub(super) fn glance(&self, path: &Path) -> io::Result<Glance> {
        let nothing = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(e),
        };
        let own = std::fs::symlink_metadata(path).map(Some).or_else(nothing)?;
        let is_link = own.as_ref().is_some_and(|m| m.file_type().is_symlink());
        let (link, found) = if is_link {
            let text = std::fs::read_link(path)?;
            let text = text.to_str().ok_or(io::ErrorKind::InvalidData)?.to_owned();
            (Some(text), std::fs::metadata(path).map(Some).or_else(nothing)?)
        } else {
            (None, own)
        };
        let stamp = found.as_ref().and_then(|found| self.stamp(path, found));
        Ok(Glance { link, stamp, found })
    }

    #[cfg(unix)]
    fn stamp(&self, path: &Path, found: &std::fs::Metadata) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt as _;
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.checked_mul(1_000_000_000).and_then(|n| n.checked_add(rest));
        let reliable = {
            let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
            *devices.entry(found.dev()).or_insert_with(|| keeps_our_time(path))
        };
        let written = nanoseconds(found.mtime(), found.mtime_nsec())?;
        let changed = nanoseconds(found.ctime(), found.ctime_nsec())?;
        reliable.then(|| Stamp(found.dev(), found.ino(), found.len(), written, changed))
    }

    /// There is no time of change that nobody can set: everything is read.
    #[cfg(not(unix))]
    fn stamp(&self, _path: &Path, _found: &std::fs::Metadata) -> Option<Stamp> {
        let _ = &self.devices;
        None
    }
}

/// Whether the file system of `path` is of this machine: others have clocks of their own, or make their stamps up.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn keeps_our_time(path: &Path) -> bool {
    // statfs(2): ext2 to 4, xfs, btrfs, f2fs, tmpfs, ramfs, overlayfs, zfs, bcachefs, jfs, reiserfs.
    const LOCAL: &[u32] = &[
        0xEF53,
        0x5846_5342,
        0x9123_683E,
        0xF2F5_2010,
        0x0102_1994,
        0x8584_58F6,
        0x794C_7630,
        0x2FC1_2FC1,
        0xCA45_1A4E,
        0x3153_464A,
        0x5265_4973,
    ];
    let Ok(found) = rustix::fs::statfs(path) else { return false };
    u32::try_from(found.f_type).is_ok_and(|kind| LOCAL.contains(&kind))
}

/// Elsewhere this isn't known: everything is read.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
fn keeps_our_time(_path: &Path) -> bool {
    false
}

/// A moment by the clock that stamps files, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub(super) i64);

impl Moment {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Moment(now())
    }
}

/// Now, in nanoseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

fn file(path: &Path, ask: Ask, found: &std::fs::Metadata) -> io::Result<Kind> {
    if !matches!(ask, Ask::Head | Ask::Source) {
        let (digest, _) = Digest::of_reader(std::fs::File::open(path)?)?;
        return Ok(Kind::File(digest, is_program(found)));
    }
    let text = std::fs::read(path)?;
    let head = Digest::of(&head(&text));
    Ok(if ask == Ask::Head { Kind::Head(head) } else { Kind::Source(Digest::of(&text), head) })
}

#[cfg(unix)]
fn is_program(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_program(_found: &std::fs::Metadata) -> bool {
    false
}

/// The digest of a directory's names that are asked for, sorted, each with its kind.
fn names(path: &Path, ask: Ask) -> io::Result<Digest> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let letter = match (kind.is_file(), kind.is_dir()) {
            (true, _) => b'f',
            (_, true) => b'd',
            _ => b'o',
        };
        let name = entry.file_name();
        let matters = match (ask, letter) {
            (Ask::Names, _) | (Ask::Tree, b'd') => true,
            (_, b'd') => false,
            _ => may_be_source(&name),
        };
        if !matters {
            continue;
        }
        let mut name = name.into_encoded_bytes();
        name.extend([0, letter, 0]);
        names.push(name);
    }
    names.sort();
    let mut hasher = Hasher::new();
    names.iter().for_each(|name| hasher.update(name));
    Ok(hasher.finish().0)
}

/// Whether Go would look at a file of this name in a package's directory: sources of all its languages, prepared
/// objects, profiles, and the files that begin a module.
fn may_be_source(name: &std::ffi::OsStr) -> bool {
    const ENDINGS: &[&str] = &[
        "go", "s", "S", "sx", "h", "hh", "hpp", "hxx", "c", "cc", "cpp", "cxx", "m", "f", "F", "for", "f90",
        "swig", "swigcxx", "syso", "pgo", "mod", "work",
    ];
    let path = Path::new(name);
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|e| ending == *e))
}
