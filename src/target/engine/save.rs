//! Edge: images out of an engine. What `docker save` writes (moby, image/tarexport) becomes config and layers.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::image::{Compression, Written, layer};
use crate::oci::{ImageConfig, json};
use crate::store::Scratch;

/// What is told about a failure.
const WHAT: &str = "read the saved image";
/// How many links are followed from one name.
const MAX_LINKS: usize = 8;

/// An image that an engine saved.
pub struct Saved {
    /// Its config, as the engine has it.
    pub config: ImageConfig,
    /// Its layers from the lowest up, compressed anew, each in a file of its own.
    pub layers: Vec<(PathBuf, Written)>,
}

/// The single image in a saved tar. Its layers are checked against the config's `diff_ids` and written into
/// `scratch`, compressed as ours are: an engine keeps no compressed ones.
///
/// # Errors
/// A tar that isn't what engines save, or a layer that isn't what the config says.
pub(super) fn read(
    path: &Path,
    compression: Compression,
    threads: usize,
    scratch: &Scratch,
) -> Result<Saved> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Item {
        config: String,
        layers: Vec<String>,
    }
    let bad = |why: String| Error::new(Kind::Base, WHAT, why);
    let tar = Tar::open(path)?;
    let base = |e: Error| e.as_kind(Kind::Base);
    let items: Vec<Item> =
        json::from_bytes(&tar.document("manifest.json")?, "its manifest.json").map_err(base)?;
    let [item] = items.as_slice() else {
        return Err(bad(format!("it holds {} images, not one", items.len())));
    };
    let config: ImageConfig = json::from_bytes(&tar.document(&item.config)?, "its config").map_err(base)?;
    let ids = &config.rootfs.diff_ids;
    if ids.len() != item.layers.len() {
        return Err(bad(format!(
            "its config lists {} diff_ids, it has {} layers",
            ids.len(),
            item.layers.len()
        )));
    }
    let mut layers = Vec::new();
    for (name, id) in item.layers.iter().zip(ids) {
        let (out, path) = scratch.file()?;
        let copy = |plain: &mut dyn Write| {
            let copied = std::io::copy(&mut tar.layer(name)?, plain);
            copied.map(drop).map_err(|e| Error::new(Kind::LocalIo, WHAT, e).at(name))
        };
        let written = layer::from(copy, compression, threads, out)?;
        if written.diff_id != *id {
            let why = format!("its layer is {}, its config says {id}", written.diff_id);
            return Err(Error::new(Kind::Integrity, WHAT, why).at(name));
        }
        layers.push((path, written));
    }
    Ok(Saved { config, layers })
}

/// A tar whose files are read in any order.
struct Tar {
    file: File,
    entries: BTreeMap<PathBuf, Entry>,
}

enum Entry {
    /// Where in the tar its bytes are, and how many.
    Bytes { at: u64, size: u64 },
    /// Docker before 25 writes a repeated layer as a link to the first.
    Link(PathBuf),
}

impl Tar {
    fn open(path: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| Error::new(Kind::LocalIo, WHAT, e);
        let file = File::open(path).map_err(failed)?;
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
        Ok(Tar { file: archive.into_inner().into_inner(), entries })
    }

    /// The bytes of a file.
    fn bytes(&self, name: &str) -> Result<std::io::Take<File>> {
        let mut path = plain(Path::new(name));
        for _ in 0..MAX_LINKS {
            match self.entries.get(&path) {
                Some(Entry::Link(target)) => path = plain(target),
                Some(Entry::Bytes { at, size }) => {
                    let failed = |e: std::io::Error| Error::new(Kind::LocalIo, WHAT, e).at(name);
                    // Clones share their place: one file is read at a time.
                    let mut file = self.file.try_clone().map_err(failed)?;
                    file.seek(SeekFrom::Start(*at)).map_err(failed)?;
                    return Ok(file.take(*size));
                }
                None => break,
            }
        }
        Err(Error::new(Kind::Base, WHAT, format!("it has no {name}")))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = self.bytes(name)?.take(json::MAX_DOCUMENT + 1);
        file.read_to_end(&mut bytes).map_err(|e| Error::new(Kind::LocalIo, WHAT, e).at(name))?;
        if bytes.len() as u64 > json::MAX_DOCUMENT {
            return Err(Error::new(Kind::Integrity, WHAT, "larger than 4 MiB").at(name));
        }
        Ok(bytes)
    }

    /// A layer's tar, without the compression that Docker's containerd store keeps.
    fn layer(&self, name: &str) -> Result<Box<dyn Read>> {
        let mut start = [0; 4];
        let failed = |e: std::io::Error| Error::new(Kind::LocalIo, WHAT, e).at(name);
        let count = self.bytes(name)?.read(&mut start).map_err(failed)?;
        let bytes = BufReader::with_capacity(128 * 1024, self.bytes(name)?);
        Ok(match &start[..count] {
            [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                Box::new(zstd::stream::read::Decoder::with_buffer(bytes).map_err(failed)?)
            }
            _ => Box::new(bytes),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn entry(out: &mut tar::Builder<File>, name: &str, bytes: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        out.append_data(&mut header, name, bytes).unwrap();
    }

    fn saved(layers: &[&str], ids: &[Digest], write: impl Fn(&mut tar::Builder<File>)) -> Result<Saved> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut out = tar::Builder::new(file.reopen().unwrap());
        write(&mut out);
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let config = serde_json::json!({"os": "linux", "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": ids}});
        entry(&mut out, "c.json", config.to_string().as_bytes());
        let manifest = serde_json::json!([{"Config": "c.json", "RepoTags": null, "Layers": layers}]);
        entry(&mut out, "manifest.json", manifest.to_string().as_bytes());
        out.finish().unwrap();
        read(file.path(), Compression::None, 1, &Scratch::new().unwrap())
    }

    #[test]
    fn layers_are_found_by_links_and_through_compression() {
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let image = saved(&["a/layer.tar", "b/layer.tar", "z", "g"], &[one, one, two, two], |out| {
            entry(out, "a/layer.tar", b"one");
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Symlink);
            link.set_size(0);
            out.append_link(&mut link, "b/layer.tar", "../a/layer.tar").unwrap();
            entry(out, "z", &zstd::encode_all(&b"two"[..], 1).unwrap());
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(b"two").unwrap();
            entry(out, "g", &gzip.finish().unwrap());
        })
        .unwrap();
        let found: Vec<Digest> = image.layers.iter().map(|(_, w)| w.digest).collect();
        assert_eq!(found, [one, one, two, two], "without compression the layer is its tar");
    }

    #[test]
    fn what_is_not_as_its_config_says_is_refused() {
        let one = Digest::of(b"one");
        let write = |out: &mut tar::Builder<File>| entry(out, "l", b"other");
        assert_eq!(saved(&["l"], &[one], write).err().unwrap().kind(), Kind::Integrity);
        assert_eq!(saved(&["l", "l"], &[one], write).err().unwrap().kind(), Kind::Base);
        assert_eq!(saved(&["gone"], &[one], write).err().unwrap().kind(), Kind::Base);
        let loops = |out: &mut tar::Builder<File>| {
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Symlink);
            link.set_size(0);
            out.append_link(&mut link, "l", "l").unwrap();
        };
        assert_eq!(saved(&["l"], &[one], loops).err().unwrap().kind(), Kind::Base);
    }
}
