//! Edge: one private temporary directory a run, for compiled programs and finished layers. It is removed on
//! every way out, after SIGKILL by the next run.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::content::{Blob, Content};
use crate::error::{Error, Kind, Result};
use crate::oci::Descriptor;
use crate::store::own::Own;

/// The run's private directory.
#[derive(Debug)]
pub struct Scratch {
    dir: Own,
    next: AtomicU64,
}

impl Scratch {
    /// Makes the directory, readable by the user alone.
    ///
    /// # Errors
    /// No room or no permission in the system's temporary directory.
    pub fn new() -> Result<Self> {
        let dir = Own::new().map_err(|e| {
            Error::new(Kind::LocalIo, "make a temporary directory", e).hint("TMPDIR names another place")
        })?;
        Ok(Scratch { dir, next: AtomicU64::new(0) })
    }

    /// A new empty directory in it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn directory(&self) -> Result<PathBuf> {
        let path = self.name("d");
        std::fs::create_dir(&path).map_err(|e| Error::io("make a temporary directory", &path, &e))?;
        Ok(path)
    }

    /// A new empty file in it, and its path.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn file(&self) -> Result<(File, PathBuf)> {
        let path = self.name("f");
        let file = File::create_new(&path).map_err(|e| Error::io("make a temporary file", &path, &e))?;
        Ok((file, path))
    }

    /// A name in it that nothing has yet.
    #[must_use]
    pub fn vacant(&self) -> PathBuf {
        self.name("v")
    }

    /// A file of this directory as a blob: the descriptor is what its writer computed.
    #[must_use]
    pub fn blob(path: &Path, descriptor: Descriptor) -> Blob {
        Blob { descriptor, content: Content::File(Arc::from(path)) }
    }

    /// A copy in it of a file of the user's, and its size. The file is read once: what is checked and what is packed
    /// are the same bytes, whatever happens to the file meanwhile.
    ///
    /// # Errors
    /// No such file, one that can't be read or isn't a regular file, or one that changes while it is read (kind
    /// `Input`); no room for the copy.
    pub fn copy_of(&self, path: &Path) -> Result<(PathBuf, u64)> {
        self.copy(path, || {})
    }

    fn copy(&self, path: &Path, then: impl FnOnce()) -> Result<(PathBuf, u64)> {
        let bad =
            |why: &dyn std::fmt::Display| Error::new(Kind::Input, "read the binary", why).at(path.display());
        let unreadable = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => bad(&"no such file"),
            _ => bad(&e),
        };
        // A pipe would make us wait for its writer: look before opening.
        let found = std::fs::metadata(path).map_err(unreadable)?;
        if !found.is_file() {
            return Err(bad(if found.is_dir() { &"it is a directory" } else { &"it is not a regular file" }));
        }
        let mut from = File::open(path).map_err(unreadable)?;
        let before = from.metadata().map_err(unreadable)?;
        let (mut to, copy) = self.file()?;
        let copied = std::io::copy(&mut from, &mut to).map_err(|e| Error::io("copy the binary", path, &e));
        then();
        let after = from.metadata().map_err(unreadable)?;
        let size = copied?;
        if size != before.len() || changed(&before, &after) {
            return Err(bad(&"it changed while it was read"));
        }
        Ok((copy, size))
    }

    /// Removes one of its files that isn't needed any more, such as a program whose layer is written. What isn't in
    /// it stays.
    pub fn remove(&self, path: &Path) {
        if path.starts_with(self.dir.path()) {
            // The directory goes as a whole in the end; failing here costs room, nothing else.
            let _ = std::fs::remove_file(path);
        }
    }

    fn name(&self, kind: &str) -> PathBuf {
        self.dir.path().join(format!("{kind}{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Whether a file was written between two looks at it.
fn changed(before: &std::fs::Metadata, after: &std::fs::Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // The time of modification can be set back, this one can't.
        let change = |m: &std::fs::Metadata| (m.ctime(), m.ctime_nsec());
        if change(before) != change(after) {
            return true;
        }
    }
    before.len() != after.len() || before.modified().ok() != after.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_copied_whole_and_a_change_meanwhile_is_an_error() {
        let (scratch, theirs) = (Scratch::new().unwrap(), tempfile::tempdir().unwrap());
        let path = theirs.path().join("program");
        std::fs::write(&path, "bytes").unwrap();
        let (copy, size) = scratch.copy_of(&path).unwrap();
        assert_eq!((std::fs::read(&copy).unwrap(), size), (b"bytes".to_vec(), 5));
        // The clock of a file system can be coarse: wait until a change must show.
        std::thread::sleep(std::time::Duration::from_millis(50));
        for other in ["other", "longer", ""] {
            std::fs::write(&path, "bytes").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
            let error = scratch.copy(&path, || std::fs::write(&path, other).unwrap()).unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.to_string().contains("changed while it was read"), "{error}");
        }
        // A new file under the name is not a change of the one that is read.
        let replaced = scratch.copy(&path, || {
            std::fs::write(theirs.path().join("new"), "new").unwrap();
        });
        assert!(replaced.is_ok());
    }

    #[test]
    fn only_its_own_files_are_removed() {
        let (scratch, theirs) = (Scratch::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let (_, own) = scratch.file().unwrap();
        scratch.remove(&own);
        scratch.remove(theirs.path());
        assert!(!own.exists() && theirs.path().exists());
    }
}
