//! Edge: a tar of an OCI layout as a source. What is asked for is unpacked, verified, to a directory of the run's own,
//! under the name of its digest.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::content::Blob;
use crate::error::{Error, Kind, Result};
use crate::oci::{Descriptor, Hasher, json};
use crate::target::reader::Reader;
use crate::target::tarball::Tar;

/// What is told about a failure.
const WHAT: &str = "read the archive";

/// A tar of an OCI layout.
#[derive(Debug)]
pub struct OciArchive {
    tar: Tar,
    path: PathBuf,
    dir: PathBuf,
    reader: Reader,
}

impl OciArchive {
    /// Opens the file `path`; `dir` is an empty directory to unpack to.
    ///
    /// # Errors
    /// A file that isn't there, or isn't a tar of a layout (kind `Base`).
    pub fn open(path: &Path, dir: PathBuf) -> Result<Self> {
        let at = |e: Error| base(e, path);
        let tar = Tar::open(path, WHAT).map_err(at)?;
        for name in ["oci-layout", "index.json"] {
            let bytes = tar.document(name).map_err(at)?;
            let to = dir.join(name);
            std::fs::write(&to, bytes).map_err(|e| Error::io("write", &to, &e))?;
        }
        let blobs = dir.join("blobs").join("sha256");
        std::fs::create_dir_all(&blobs).map_err(|e| Error::io("make a directory", &blobs, &e))?;
        let reader = Reader::open(&dir).map_err(at)?;
        let archive = OciArchive { tar, path: path.to_owned(), dir, reader };
        if archive.reader.entries().len() > 1 {
            // What isn't there or isn't right is said when it is asked for: here it only tells images from what is
            // about them.
            let documents = archive.reader.entries().iter().filter(|e| e.size <= json::MAX_DOCUMENT);
            documents.for_each(|e| drop(archive.unpack(std::slice::from_ref(e))));
        }
        Ok(archive)
    }

    /// The entry called `name`, or the only one, with the tags that name it.
    ///
    /// # Errors
    /// No such entry, or several when no name is given.
    pub fn root(&self, name: Option<&str>) -> Result<(Descriptor, Vec<String>)> {
        self.reader.root(name).map_err(|e| base(e, &self.path))
    }

    /// The verified bytes of a manifest, index or config.
    ///
    /// # Errors
    /// A blob that isn't there, is too large, or isn't what its descriptor says.
    pub fn document(&self, descriptor: &Descriptor) -> Result<Bytes> {
        if descriptor.size > json::MAX_DOCUMENT {
            return Err(Error::new(Kind::Integrity, WHAT, "larger than 4 MiB").at(descriptor.digest));
        }
        self.unpack(std::slice::from_ref(descriptor))?;
        self.reader.document(descriptor).map_err(|e| base(e, &self.path))
    }

    /// A blob where [`OciArchive::unpack`] puts it.
    #[must_use]
    pub fn blob(&self, descriptor: &Descriptor) -> Blob {
        self.reader.place(descriptor)
    }

    /// Unpacks blobs that aren't yet.
    ///
    /// # Errors
    /// A blob that isn't there, or isn't what its descriptor says.
    pub fn unpack(&self, blobs: &[Descriptor]) -> Result<()> {
        for descriptor in blobs.iter().filter(|d| !d.media_type.is_foreign()) {
            let to = self.dir.join("blobs").join("sha256").join(descriptor.digest.hex());
            if !to.exists() {
                self.one(descriptor, &to)?;
            }
        }
        Ok(())
    }

    fn one(&self, descriptor: &Descriptor, to: &Path) -> Result<()> {
        let digest = descriptor.digest;
        let bad =
            |why: String| Error::new(Kind::Integrity, format!("read {digest}"), why).at(self.path.display());
        let mut from =
            self.tar.bytes(&format!("blobs/sha256/{}", digest.hex())).map_err(|e| base(e, &self.path))?;
        if from.limit() != descriptor.size {
            return Err(bad(format!("{} bytes, its descriptor says {}", from.limit(), descriptor.size)));
        }
        let io = |e: std::io::Error| Error::io("write", to, &e);
        let mut file = File::create_new(to).map_err(io)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let n = from.read(&mut buffer).map_err(|e| Error::io(WHAT, &self.path, &e))?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            file.write_all(&buffer[..n]).map_err(io)?;
        }
        match hasher.finish() {
            (_, size) if size < descriptor.size => Err(bad(format!("it ends after {size} bytes"))),
            (found, _) if found != digest => Err(bad(format!("the content is {found}"))),
            _ => Ok(()),
        }
    }
}

/// The place of a failure is the archive, not where it is unpacked to; what it says wrong is the base's fault.
fn base(error: Error, path: &Path) -> Error {
    let error = error.at(path.display());
    match error.kind() {
        Kind::Input => error.as_kind(Kind::Base),
        _ => error,
    }
}
