//! Whole files: written beside their final name, synced, then renamed, so that nobody sees half of one.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::fs::{File, TryLockError};
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

/// Writes a file that is there anew, as a whole; it keeps its mode, and its owner where that may be.
///
/// # Errors
/// Whatever the system says.
pub fn rewrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e: &std::io::Error| Error::io("write", path, e);
    let there = std::fs::metadata(path).map_err(|e| failed(&e))?;
    let mut file = Atomic::create(path)?;
    file.file().write_all(bytes).map_err(|e| failed(&e))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // Who isn't root can't give files away, and need not.
        let _ = std::os::unix::fs::fchown(file.file(), Some(there.uid()), Some(there.gid()));
    }
    file.file().set_permissions(there.permissions()).map_err(|e| failed(&e))?;
    file.commit()
}

/// Writes a new file that its owner alone may read. One that is there stays as it is.
///
/// # Errors
/// Whatever the system says, also that it is there.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |e: std::io::Error| Error::io("write", path, &e);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)
}

/// Adds to the end of a file, which is made if it isn't there.
///
/// # Errors
/// Whatever the system says.
pub fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |e: std::io::Error| Error::io("write", path, &e);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|e| Error::io("make the directory", dir, &e))?;
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).map_err(io)?;
    file.write_all(bytes).map_err(io)
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
        sweep(dir);
        let temporary = claimed(dir).map_err(|e| Error::io("write in", dir, &e))?;
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
/// How the names of ours end: nobody else's do.
const SUFFIX: &str = ".partial";

/// A new temporary file in `dir`, locked: while it is, [`sweep`] of other processes leaves it alone.
fn claimed(dir: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // The usual mode of a new file; the umask applies.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    // Another process may take it for left behind before it is locked.
    for _ in 0..8 {
        let file = builder.tempfile_in(dir)?;
        // Where files can't be locked nobody can take the lock either.
        let is_taken = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if !is_taken && file.path().exists() {
            return Ok(file);
        }
    }
    Err(std::io::Error::other("other processes remove the temporary file as soon as it is made"))
}

/// Removes the temporary files in `dir` that killed processes left. What can't be removed does no harm.
fn sweep(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        let is_named = name.starts_with(TEMPORARY_PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes());
        if !is_named || !entry.file_type().is_ok_and(|t| t.is_file()) {
            continue;
        }
        let path = entry.path();
        // The lock goes with its process. Others' files can't be opened for writing, and stay.
        let file = File::options().write(true).open(&path);
        if file.is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = std::fs::remove_file(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_written_anew_keeps_its_mode_and_a_link_stays_one() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        for mode in [0o600, 0o755, 0o444] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            rewrite(&link, format!("{mode:o}").as_bytes()).unwrap();
            assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, mode);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{mode:o}"));
        }
        assert!(link.is_symlink());
        assert!(rewrite(&dir.path().join("none"), b"").is_err());
        assert_eq!(names(dir.path()), ["file", "link"]);
    }

    #[test]
    fn what_killed_processes_left_beside_a_file_goes_and_what_others_write_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".gimg-Ab12Cd.partial", ".gimg-config", "x.partial", ".gimg-lock"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let mut other = Atomic::create(&dir.path().join("other")).unwrap();
        assert!(!dir.path().join(".gimg-Ab12Cd.partial").exists());
        write_atomically(&dir.path().join("file"), b"whole").unwrap();
        other.file().write_all(b"too").unwrap();
        other.commit().unwrap();
        assert_eq!(names(dir.path()), [".gimg-config", ".gimg-lock", "file", "other", "x.partial"]);
        assert_eq!(std::fs::read(dir.path().join("other")).unwrap(), b"too");
    }
}
