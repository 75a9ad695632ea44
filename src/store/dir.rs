//! Edge: directories of the cache, held open. Every file is reached from the open directory, by one name, and no link
//! is followed: a directory that is swapped later, or a link that is planted, leads nowhere.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use imp::Dir;

/// Which file it is, whatever it is called: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

/// What is known of a name without opening it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Whether it is a regular file.
    pub(super) is_file: bool,
    /// Its size in bytes.
    pub(super) size: u64,
    /// When it was last written or used, in nanoseconds since 1970.
    pub(super) used: i128,
    /// Which file it is.
    pub(super) identity: Identity,
}

#[cfg(unix)]
mod imp {
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStringExt as _;

    use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
    use rustix::io::Errno;

    use super::{Entry, File, Identity, OsStr, OsString, Path, PathBuf, io};

    /// No link is followed, no terminal becomes ours, no pipe makes us wait.
    const FLAGS: OFlags =
        OFlags::CLOEXEC.union(OFlags::NOFOLLOW).union(OFlags::NOCTTY).union(OFlags::NONBLOCK);

    /// An open directory that nobody else can write to.
    #[derive(Debug)]
    pub(in crate::store) struct Dir {
        fd: OwnedFd,
        path: PathBuf,
    }

    impl Dir {
        /// The directory `path`, made (mode 0700) if it isn't there and `make`; none if it isn't there. The path itself
        /// may be a link: what it leads to is what is checked.
        ///
        /// # Errors
        /// Whatever the system says; a directory of another user, or one that others may write to.
        pub(in crate::store) fn root(path: &Path, make: bool) -> io::Result<Option<Self>> {
            if make {
                use std::os::unix::fs::DirBuilderExt as _;
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            }
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
            Self::checked(rustix::fs::open(path, flags, Mode::empty()), path.to_owned())
        }

        /// The directory `name` in this one, likewise. It may not be a link.
        pub(in crate::store) fn sub(&self, name: &str, make: bool) -> io::Result<Option<Self>> {
            if make {
                match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            let flags = FLAGS | OFlags::RDONLY | OFlags::DIRECTORY;
            Self::checked(rustix::fs::openat(&self.fd, name, flags, Mode::empty()), self.path.join(name))
        }

        fn checked(opened: Result<OwnedFd, Errno>, path: PathBuf) -> io::Result<Option<Self>> {
            let fd = match opened {
                Ok(fd) => fd,
                Err(Errno::NOENT) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
            let stat = rustix::fs::fstat(&fd)?;
            if stat.st_uid != rustix::process::geteuid().as_raw() {
                return Err(io::Error::other("the directory belongs to another user"));
            }
            if stat.st_mode & 0o022 != 0 {
                return Err(io::Error::other("others may write to the directory"));
            }
            Ok(Some(Dir { fd, path }))
        }

        /// Where it was when it was opened.
        pub(in crate::store) fn path(&self) -> &Path {
            &self.path
        }

        /// Makes a new file (mode 0600) to write and read.
        pub(in crate::store) fn create(&self, name: &OsStr) -> io::Result<File> {
            let flags = FLAGS | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            Ok(File::from(rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?))
        }

        /// Opens the file for reading and writing, made (mode 0600) if it isn't there.
        pub(in crate::store) fn open_or_create(&self, name: &OsStr) -> io::Result<File> {
            let flags = FLAGS | OFlags::RDWR | OFlags::CREATE;
            Ok(File::from(rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?))
        }

        /// Opens the file for reading.
        pub(in crate::store) fn open(&self, name: &OsStr) -> io::Result<File> {
            Ok(File::from(rustix::fs::openat(&self.fd, name, FLAGS | OFlags::RDONLY, Mode::empty())?))
        }

        /// Gives the file `name` of this directory the name `new` in `to`, in place of what has it.
        pub(in crate::store) fn rename(&self, name: &OsStr, to: &Dir, new: &OsStr) -> io::Result<()> {
            Ok(rustix::fs::renameat(&self.fd, name, &to.fd, new)?)
        }

        /// Takes the name of a file away.
        pub(in crate::store) fn remove(&self, name: &OsStr) -> io::Result<()> {
            Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
        }

        /// What `name` is.
        pub(in crate::store) fn look(&self, name: &OsStr) -> io::Result<Entry> {
            Ok(entry(&rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?))
        }

        /// The names in it, sorted.
        pub(in crate::store) fn names(&self) -> io::Result<Vec<OsString>> {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.fd)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if name != b"." && name != b".." {
                    names.push(OsString::from_vec(name.to_owned()));
                }
            }
            names.sort();
            Ok(names)
        }

        /// Makes the names in it last.
        pub(in crate::store) fn sync(&self) -> io::Result<()> {
            match rustix::fs::fsync(&self.fd) {
                // Some file systems have nothing to do here.
                Ok(()) | Err(Errno::INVAL) => Ok(()),
                Err(e) => Err(e.into()),
            }
        }
    }

    #[allow(
        clippy::unnecessary_cast,
        clippy::useless_conversion,
        reason = "the types differ between systems"
    )]
    fn entry(stat: &Stat) -> Entry {
        Entry {
            is_file: FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            used: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec as i64),
            identity: Identity(stat.st_dev as u64, stat.st_ino as u64),
        }
    }

    /// What an open file is, and by how many names it can be found.
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    pub(in crate::store) fn of_file(file: &File) -> io::Result<(Entry, u64)> {
        let stat = rustix::fs::fstat(file)?;
        Ok((entry(&stat), stat.st_nlink as u64))
    }

    /// Notes that the file is used now. What can't be noted costs at most a download later.
    pub(in crate::store) fn touch(file: &File) {
        let at = |nsec| Timespec { tv_sec: 0, tv_nsec: nsec };
        let times = Timestamps {
            last_access: at(rustix::fs::UTIME_OMIT),
            last_modification: at(rustix::fs::UTIME_NOW),
        };
        let _ = rustix::fs::futimens(file, &times);
    }

    /// Lets nobody write to the file any more.
    pub(in crate::store) fn seal(file: &File) -> io::Result<()> {
        Ok(rustix::fs::fchmod(file, Mode::RUSR)?)
    }

    /// Whether opening failed because of what stands under the name: a link, or a file that may not be read.
    pub(in crate::store) fn is_wrong_entry(error: &io::Error) -> bool {
        matches!(Errno::from_io_error(error), Some(Errno::LOOP | Errno::MLINK | Errno::ACCESS | Errno::NXIO))
    }
}

/// Where nothing opens relative to a directory, names are joined to its path; the user's profile is private there.
#[cfg(not(unix))]
mod imp {
    use super::{Entry, File, Identity, OsStr, OsString, Path, PathBuf, io};

    /// A directory.
    #[derive(Debug)]
    pub(in crate::store) struct Dir(PathBuf);

    impl Dir {
        /// The directory `path`, made if it isn't there and `make`; none if it isn't there.
        pub(in crate::store) fn root(path: &Path, make: bool) -> io::Result<Option<Self>> {
            if make {
                std::fs::create_dir_all(path)?;
            }
            match std::fs::metadata(path) {
                Ok(found) if found.is_dir() => Ok(Some(Dir(path.to_owned()))),
                Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e),
            }
        }

        /// The directory `name` in this one, likewise.
        pub(in crate::store) fn sub(&self, name: &str, make: bool) -> io::Result<Option<Self>> {
            Self::root(&self.0.join(name), make)
        }

        /// Where it is.
        pub(in crate::store) fn path(&self) -> &Path {
            &self.0
        }

        /// Makes a new file to write and read.
        pub(in crate::store) fn create(&self, name: &OsStr) -> io::Result<File> {
            File::options().read(true).write(true).create_new(true).open(self.0.join(name))
        }

        /// Opens the file for reading and writing, made if it isn't there.
        pub(in crate::store) fn open_or_create(&self, name: &OsStr) -> io::Result<File> {
            File::options().read(true).write(true).create(true).truncate(false).open(self.0.join(name))
        }

        /// Opens the file for reading.
        pub(in crate::store) fn open(&self, name: &OsStr) -> io::Result<File> {
            File::open(self.0.join(name))
        }

        /// Gives the file `name` of this directory the name `new` in `to`, in place of what has it.
        pub(in crate::store) fn rename(&self, name: &OsStr, to: &Dir, new: &OsStr) -> io::Result<()> {
            std::fs::rename(self.0.join(name), to.0.join(new))
        }

        /// Takes the name of a file away.
        pub(in crate::store) fn remove(&self, name: &OsStr) -> io::Result<()> {
            std::fs::remove_file(self.0.join(name))
        }

        /// What `name` is.
        pub(in crate::store) fn look(&self, name: &OsStr) -> io::Result<Entry> {
            Ok(entry(&std::fs::symlink_metadata(self.0.join(name))?))
        }

        /// The names in it, sorted.
        pub(in crate::store) fn names(&self) -> io::Result<Vec<OsString>> {
            let names = std::fs::read_dir(&self.0)?.map(|entry| Ok(entry?.file_name()));
            let mut names = names.collect::<io::Result<Vec<_>>>()?;
            names.sort();
            Ok(names)
        }

        /// Directories can't be synced here.
        #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as on other systems")]
        pub(in crate::store) fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn entry(metadata: &std::fs::Metadata) -> Entry {
        let since = |time: io::Result<std::time::SystemTime>| {
            time.ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default()
        };
        let made = since(metadata.created());
        Entry {
            is_file: metadata.is_file(),
            size: metadata.len(),
            used: i128::try_from(since(metadata.modified()).as_nanos()).unwrap_or(0),
            // Nothing portable says which file it is; the time of its making comes near.
            identity: Identity(made.as_secs(), u64::from(made.subsec_nanos())),
        }
    }

    /// What an open file is; an open file can't lose its name here.
    pub(in crate::store) fn of_file(file: &File) -> io::Result<(Entry, u64)> {
        Ok((entry(&file.metadata()?), 1))
    }

    /// The time of writing decides here.
    pub(in crate::store) fn touch(_file: &File) {}

    /// A file without write permission couldn't be removed here.
    #[expect(clippy::unnecessary_wraps, reason = "as on other systems")]
    pub(in crate::store) fn seal(_file: &File) -> io::Result<()> {
        Ok(())
    }

    /// Whether opening failed because of what stands under the name.
    pub(in crate::store) fn is_wrong_entry(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::PermissionDenied
    }
}

/// Removes `name`, and if it is a directory everything below it.
pub(super) fn discard_tree(dir: &Dir, name: &OsStr) -> io::Result<()> {
    match dir.remove(name) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => std::fs::remove_dir_all(dir.path().join(name)),
        other => other,
    }
}

pub(super) use imp::{is_wrong_entry, of_file, seal, touch};
