//! Files and directories below an open one, reached without following any link: whoever swaps a directory for a link
//! after it was looked at gets an error, not another file.
#![cfg_attr(not(unix), expect(clippy::disallowed_methods, reason = "edge: disk"))]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::Path;

/// Which file it is, whatever it is called: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Directory,
    File,
    Link,
    /// A pipe, socket or device.
    Special,
}

/// What is known of an entry without opening it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) identity: Identity,
    pub(super) size: u64,
    /// Whether its owner may execute it.
    pub(super) executable: bool,
}

pub(super) use imp::{Root, identity};

#[cfg(unix)]
mod imp {
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::os::unix::fs::MetadataExt as _;

    use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
    use rustix::io::Errno;

    use super::{File, Found, Identity, Node, OsStr, OsString, Path, io};

    /// No link is followed, no terminal becomes ours, no pipe makes us wait.
    const FLAGS: OFlags =
        OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

    /// The directory that everything is below.
    #[derive(Debug)]
    pub(in crate::fs) struct Root(OwnedFd);

    /// A directory at or below the root.
    pub(in crate::fs) struct Directory(OwnedFd);

    impl Root {
        pub(in crate::fs) fn open(dir: &Path) -> io::Result<Self> {
            let flags = OFlags::CLOEXEC | OFlags::DIRECTORY;
            Ok(Root(rustix::fs::open(dir, flags, Mode::empty())?))
        }

        /// Opens the file at `path` for reading.
        pub(in crate::fs) fn file(&self, path: &Path) -> io::Result<File> {
            Ok(File::from(self.beneath(path, OFlags::RDONLY)?))
        }

        /// Opens the directory at `path`; an empty path is the root.
        pub(in crate::fs) fn directory(&self, path: &Path) -> io::Result<Directory> {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            Ok(Directory(self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY)?))
        }

        #[cfg(target_os = "linux")]
        fn beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
            use rustix::fs::ResolveFlags;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
            loop {
                match rustix::fs::openat2(&self.0, path, FLAGS | flags, Mode::empty(), resolve) {
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    // Kernels before 5.6, and sandboxes that don't know the call.
                    Err(Errno::NOSYS | Errno::PERM) => return walk(&self.0, path, flags),
                    other => return other,
                }
            }
        }

        #[cfg(not(target_os = "linux"))]
        fn beneath(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
            walk(&self.0, path, flags)
        }
    }

    /// The same in steps: each part is opened from the one before, and none may be a link.
    pub(super) fn walk(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut current: Option<OwnedFd> = None;
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            if !matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir) {
                return Err(Errno::XDEV);
            }
            let flags = if parts.peek().is_some() { OFlags::RDONLY | OFlags::DIRECTORY } else { flags };
            let from = current.as_ref().unwrap_or(root);
            current = Some(rustix::fs::openat(from, part.as_os_str(), FLAGS | flags, Mode::empty())?);
        }
        current.ok_or(Errno::NOENT)
    }

    impl Directory {
        /// The names in it, sorted.
        pub(in crate::fs) fn names(&self) -> io::Result<Vec<OsString>> {
            let mut names = Vec::new();
            for entry in Dir::read_from(&self.0)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.push(OsString::from_vec(name.to_owned()));
                }
            }
            names.sort();
            Ok(names)
        }

        /// What the entry `name` is; a link is not followed.
        pub(in crate::fs) fn look(&self, name: &OsStr) -> io::Result<Found> {
            let stat = rustix::fs::statat(&self.0, name.as_bytes(), AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(found(&stat))
        }

        /// What the directory itself is.
        pub(in crate::fs) fn itself(&self) -> io::Result<Found> {
            Ok(found(&rustix::fs::fstat(&self.0)?))
        }
    }

    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the types differ between systems"
    )]
    fn found(stat: &Stat) -> Found {
        let node = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Node::Directory,
            FileType::RegularFile => Node::File,
            FileType::Symlink => Node::Link,
            _ => Node::Special,
        };
        Found {
            node,
            identity: Identity(stat.st_dev as u64, stat.st_ino as u64),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            executable: stat.st_mode & 0o100 != 0,
        }
    }

    /// Which file it is that was opened.
    pub(in crate::fs) fn identity(metadata: &std::fs::Metadata) -> Identity {
        Identity(metadata.dev(), metadata.ino())
    }
}

/// Where there is no open relative to a directory: paths are resolved before and after, and must be what they were.
#[cfg(not(unix))]
mod imp {
    use std::path::PathBuf;

    use super::{File, Found, Identity, Node, OsStr, OsString, Path, io};

    /// The directory that everything is below.
    #[derive(Debug)]
    pub(in crate::fs) struct Root(PathBuf);

    /// A directory at or below the root.
    pub(in crate::fs) struct Directory(PathBuf);

    impl Root {
        pub(in crate::fs) fn open(dir: &Path) -> io::Result<Self> {
            Ok(Root(std::fs::canonicalize(dir)?))
        }

        /// Opens the file at `path` for reading.
        pub(in crate::fs) fn file(&self, path: &Path) -> io::Result<File> {
            let path = self.0.join(path);
            let file = File::open(&path)?;
            unmoved(&path)?;
            Ok(file)
        }

        /// Opens the directory at `path`; an empty path is the root.
        pub(in crate::fs) fn directory(&self, path: &Path) -> io::Result<Directory> {
            let path = if path.as_os_str().is_empty() { self.0.clone() } else { self.0.join(path) };
            unmoved(&path)?;
            Ok(Directory(path))
        }
    }

    fn unmoved(path: &Path) -> io::Result<()> {
        if std::fs::canonicalize(path)? == path {
            return Ok(());
        }
        Err(io::Error::other("it became a link"))
    }

    impl Directory {
        /// The names in it, sorted.
        pub(in crate::fs) fn names(&self) -> io::Result<Vec<OsString>> {
            let names = std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name()));
            let mut names = names.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            Ok(names)
        }

        /// What the entry `name` is; a link is not followed.
        pub(in crate::fs) fn look(&self, name: &OsStr) -> io::Result<Found> {
            Ok(found(&std::fs::symlink_metadata(self.0.join(name))?))
        }

        /// What the directory itself is.
        pub(in crate::fs) fn itself(&self) -> io::Result<Found> {
            Ok(found(&std::fs::metadata(&self.0)?))
        }
    }

    fn found(metadata: &std::fs::Metadata) -> Found {
        let node = match metadata.file_type() {
            t if t.is_dir() => Node::Directory,
            t if t.is_symlink() => Node::Link,
            t if t.is_file() => Node::File,
            _ => Node::Special,
        };
        Found { node, identity: identity(metadata), size: metadata.len(), executable: false }
    }

    /// Which file it is: nothing portable says so, the time of its making comes near.
    pub(in crate::fs) fn identity(metadata: &std::fs::Metadata) -> Identity {
        let made = metadata.created().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        made.map_or(Identity(0, 0), |t| Identity(t.as_secs(), u64::from(t.subsec_nanos())))
    }
}

#[cfg(test)]
mod tests;
