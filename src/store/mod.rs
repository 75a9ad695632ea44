//! Edge: one private temporary directory a run, for compiled programs and finished layers. It is removed on
//! every way out, and nothing in it outlives the run.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::content::{Blob, Content};
use crate::error::{Error, Kind, Result};
use crate::oci::Descriptor;

/// The run's private directory.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
    next: AtomicU64,
}

impl Scratch {
    /// Makes the directory, readable by the user alone.
    ///
    /// # Errors
    /// No room or no permission in the system's temporary directory.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("gimg-").tempdir().map_err(|e| {
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

    /// A file of this directory as a blob: the descriptor is what its writer computed.
    #[must_use]
    pub fn blob(path: &Path, descriptor: Descriptor) -> Blob {
        Blob { descriptor, content: Content::File(Arc::from(path)) }
    }

    /// Removes what isn't needed any more, such as a compiled program whose layer is written.
    pub fn remove(path: &Path) {
        // The directory goes as a whole in the end; failing here costs room, nothing else.
        let _ = std::fs::remove_file(path);
    }

    fn name(&self, kind: &str) -> PathBuf {
        self.dir.path().join(format!("{kind}{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After an interruption a last writer may still be creating a file: try again for a moment.
        for _ in 0..50 {
            match std::fs::remove_dir_all(self.dir.path()) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                _ => return,
            }
        }
    }
}
