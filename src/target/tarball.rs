//! Edge: a tar of the user's or of an engine, whose files are read in any order. Nothing is unpacked by the names in
//! it, and its links lead to its own files only.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::image::decompress;
use crate::oci::json;

/// How many links are followed from one name.
const MAX_LINKS: usize = 8;
/// How many entries an archive may have: an image has some hundreds of blobs.
const MAX_ENTRIES: usize = 100_000;
/// How long a name may be, in a header of its own: far more than any file system takes.
const MAX_NAME: u64 = 1 << 20;

/// A tar whose files are read in any order.
#[derive(Debug)]
pub(super) struct Tar {
    what: &'static str,
    file: File,
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug)]
enum Entry {
    /// Where in the tar its bytes are, and how many.
    Bytes { at: u64, size: u64 },
    /// Docker before 25 writes a repeated layer as a link to the first.
    Link(PathBuf),
}

impl Tar {
    /// Finds the files of a tar. `what` says in errors what is done.
    ///
    /// # Errors
    /// A file that isn't there, or is no tar (kind `Base`).
    pub(super) fn open(path: &Path, what: &'static str) -> Result<Self> {
        let bad = |why: &str| Error::new(Kind::Base, what, why.to_owned());
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => bad("no such file"),
            _ => bad(&format!("it is no tar: {e}")),
        };
        // A pipe would make us wait for its writer: look before opening.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(bad("it is not a regular file"));
        }
        let mut file = File::open(path).map_err(failed)?;
        let mut start = Vec::new();
        (&mut file).take(4).read_to_end(&mut start).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            return Err(bad("it is compressed").hint("decompress it first, with gunzip or unzstd"));
        }
        if let Some(why) = excess(&file) {
            return Err(Error::new(Kind::Integrity, what, why));
        }
        file.rewind().map_err(failed)?;
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut entries = BTreeMap::new();
        for entry in archive.entries_with_seek().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path().map_err(failed)?.into_owned();
            let link = entry.link_name().map_err(failed)?;
            let kind = entry.header().entry_type();
            let found = match link {
                Some(target) if kind.is_symlink() => {
                    Entry::Link(path.parent().unwrap_or(Path::new("")).join(target))
                }
                Some(target) if kind.is_hard_link() => Entry::Link(target.into_owned()),
                _ if kind.is_file() => Entry::Bytes { at: entry.raw_file_position(), size: entry.size() },
                _ => continue,
            };
            entries.insert(plain(&path), found);
        }
        if entries.is_empty() {
            return Err(bad("it holds no files"));
        }
        Ok(Tar { what, file: archive.into_inner().into_inner(), entries })
    }

    /// The bytes of a file, of which the size is the limit.
    ///
    /// # Errors
    /// No file of this name.
    pub(super) fn bytes(&self, name: &str) -> Result<std::io::Take<File>> {
        let mut path = plain(Path::new(name));
        for _ in 0..MAX_LINKS {
            match self.entries.get(&path) {
                Some(Entry::Link(target)) => path = plain(target),
                Some(Entry::Bytes { at, size }) => {
                    let failed = |e: std::io::Error| Error::new(Kind::LocalIo, self.what, e).at(name);
                    // Clones share their place: one file is read at a time.
                    let mut file = self.file.try_clone().map_err(failed)?;
                    file.seek(SeekFrom::Start(*at)).map_err(failed)?;
                    return Ok(file.take(*size));
                }
                None => break,
            }
        }
        Err(Error::new(Kind::Base, self.what, format!("it has no {name}")))
    }

    /// The bytes of a document: at most [`json::MAX_DOCUMENT`].
    ///
    /// # Errors
    /// No file of this name, or a larger one.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = self.bytes(name)?.take(json::MAX_DOCUMENT + 1);
        file.read_to_end(&mut bytes).map_err(|e| Error::new(Kind::LocalIo, self.what, e).at(name))?;
        if bytes.len() as u64 > json::MAX_DOCUMENT {
            return Err(Error::new(Kind::Integrity, self.what, "larger than 4 MiB").at(name));
        }
        Ok(bytes)
    }

    /// A layer's tar, without the compression that Docker's containerd store keeps.
    ///
    /// # Errors
    /// No file of this name.
    pub(super) fn layer(&self, name: &str) -> Result<Box<dyn Read>> {
        let bytes = self.bytes(name)?;
        let size = bytes.limit();
        let bytes = BufReader::with_capacity(128 * 1024, bytes);
        decompress::plain(bytes, size).map_err(|e| Error::new(Kind::LocalIo, self.what, e).at(name))
    }
}

/// What a tar has more of than any honest one: entries, or bytes in a header, which the library would keep in memory.
/// What can't be read isn't looked at: the library says why.
fn excess(file: &File) -> Option<String> {
    let mut file = BufReader::new(file);
    let mut block = [0; 512];
    let (mut count, mut next_size) = (0, None);
    while file.read_exact(&mut block).is_ok() && block != [0; 512] {
        let header = tar::Header::from_byte_slice(&block);
        let kind = header.entry_type();
        let mut size = header.entry_size().ok()?;
        if kind.is_gnu_longname() || kind.is_gnu_longlink() || kind.is_pax_local_extensions() {
            if size > MAX_NAME {
                return Some("it has a header of more than 1 MiB".to_owned());
            }
            if kind.is_pax_local_extensions() {
                let mut records = Vec::new();
                (&mut file).take(size).read_to_end(&mut records).ok()?;
                let records = tar::PaxExtensions::new(&records).filter_map(std::result::Result::ok);
                let sizes = records.filter(|r| r.key_bytes() == b"size").filter_map(|r| r.value().ok());
                next_size = sizes.last().and_then(|s| s.parse().ok());
                file.seek_relative(i64::try_from(size.next_multiple_of(512) - size).ok()?).ok()?;
                size = 0;
            }
        } else {
            count += 1;
            if count > MAX_ENTRIES {
                return Some(format!("it has more than {MAX_ENTRIES} files"));
            }
            size = next_size.take().unwrap_or(size);
        }
        // A sparse file has more headers.
        let mut is_more = header.as_gnu().is_some_and(tar::GnuHeader::is_extended) && kind.is_gnu_sparse();
        while is_more {
            file.read_exact(&mut block).ok()?;
            is_more = block[504] != 0;
        }
        file.seek_relative(i64::try_from(size.checked_next_multiple_of(512)?).ok()?).ok()?;
    }
    None
}

/// The path without `.`, and with `..` taken back.
fn plain(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part),
            Component::ParentDir => drop(parts.pop()),
            _ => {}
        }
    }
    parts
}
