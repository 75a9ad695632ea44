//! The digests of files, taken while a layer is made of them: they are read once.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::oci::{Digest, Hasher};
use crate::ops::remember::lock;

/// The digests of what was read to its end, by path.
#[derive(Clone, Default)]
pub(super) struct Hashes(Arc<Mutex<BTreeMap<PathBuf, Digest>>>);

impl Hashes {
    /// Opens files as `open` does, and takes note of what is in them.
    pub(super) fn opener(
        &self,
        open: impl Fn(&Path) -> io::Result<Box<dyn Read>> + Send + 'static,
    ) -> impl Fn(&Path) -> io::Result<Box<dyn Read>> + Send + 'static {
        let hashes = self.clone();
        move |path| {
            let (file, path, hasher) = (open(path)?, path.to_owned(), Some(Hasher::new()));
            Ok(Box::new(Hashing { file, path, hasher, hashes: hashes.clone() }))
        }
    }

    /// The digest of a file that was read.
    ///
    /// # Errors
    /// It was not read to its end.
    pub(super) fn of(&self, path: &Path) -> Result<Digest> {
        let unread = || Error::new(Kind::Internal, "hash a file", "it was not read").at(path.display());
        lock(&self.0).get(path).copied().ok_or_else(unread)
    }
}

/// Hashes what is read of a file.
struct Hashing {
    file: Box<dyn Read>,
    path: PathBuf,
    /// None once the end was met.
    hasher: Option<Hasher>,
    hashes: Hashes,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        match n {
            0 if !buffer.is_empty() => {
                if let Some(hasher) = self.hasher.take() {
                    lock(&self.hashes.0).insert(self.path.clone(), hasher.finish().0);
                }
            }
            n => self.hasher.iter_mut().for_each(|hasher| hasher.update(&buffer[..n])),
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_to_its_end_has_a_digest() {
        let hashes = Hashes::default();
        let open = hashes.opener(|_| Ok(Box::new(&b"some text"[..])));
        let (whole, half) = (Path::new("/whole"), Path::new("/half"));
        io::copy(&mut open(whole).unwrap(), &mut io::sink()).unwrap();
        open(half).unwrap().read_exact(&mut [0; 4]).unwrap();
        assert_eq!(hashes.of(whole).unwrap(), Digest::of(b"some text"));
        assert!(hashes.of(half).is_err());
    }
}
