//! Whole files: written beside their final name, synced, then renamed, so that nobody sees half of one.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Writes a whole file: to a temporary name beside it, synced, then renamed, so that nobody sees half of it.
///
/// # Errors
/// Whatever the system says.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = Atomic::create(path)?;
    file.file().write_all(bytes).map_err(|e| Error::io("write", path, &e))?;
    file.commit()
}

/// Checks, without writing, that a file can get this name. What is there and isn't a file (a directory, a device such
/// as /dev/null, a pipe) is never replaced.
///
/// # Errors
/// Something that isn't a file, at `path` or in place of one of its directories.
pub fn replaceable(path: &Path) -> Result<()> {
    let refuse = |why: &str, at: &Path| Err(Error::new(Kind::LocalIo, "write", why).at(at.display()));
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => refuse("it is a directory", path),
        Ok(there) if !there.is_file() => refuse("it is there and not a file", path),
        _ => match path.ancestors().skip(1).find(|dir| dir.exists()) {
            Some(dir) if !dir.is_dir() => refuse("it is not a directory", dir),
            _ => Ok(()),
        },
    }
}

/// Makes a directory, if it isn't there, that git doesn't see: one untracked file would make the next build's version
/// stamp dirty.
///
/// # Errors
/// Whatever the system says.
pub fn make_hidden(dir: &Path) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    write_atomically(&dir.join(".gitignore"), b"*\n")
}

/// A file being written beside its final name. Dropped without [`Atomic::commit`] it leaves nothing.
#[derive(Debug)]
pub struct Atomic {
    temporary: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Atomic {
    /// Starts a file that will be `path`.
    ///
    /// # Errors
    /// A directory that can't be written, or `path` being there as something else than a file.
    pub fn create(path: &Path) -> Result<Self> {
        replaceable(path)?;
        // A link to a file stays a link: the file is replaced.
        let real = if path.is_symlink() { std::fs::canonicalize(path).ok() } else { None };
        let path = real.as_deref().unwrap_or(path);
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(dir).map_err(|e| Error::io("make the directory", dir, &e))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // The usual mode of a new file; the umask applies.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(dir).map_err(|e| Error::io("write in", dir, &e))?;
        Ok(Atomic { temporary, path: path.to_owned() })
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Syncs it and gives it its name.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn commit(self) -> Result<()> {
        let io = |e: &std::io::Error| Error::io("write", &self.path, e);
        self.temporary.as_file().sync_all().map_err(|e| io(&e))?;
        self.temporary.persist(&self.path).map_err(|e| io(&e.error))?;
        Ok(())
    }
}

/// How names of files begin that a killed process may have left behind.
pub const TEMPORARY_PREFIX: &str = ".gimg-";
