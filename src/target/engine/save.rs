//! Images out of an engine. What `docker save` writes (moby, image/tarexport) becomes config and layers.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::image::{Compression, Written, layer};
use crate::oci::{ImageConfig, json};
use crate::store::Scratch;
use crate::target::tarball::Tar;

/// What is told about a failure.
const WHAT: &str = "read the saved image";

/// An image that an engine saved.
pub struct Saved {
    /// Its config, as the engine has it.
    pub config: ImageConfig,
    /// Its layers from the lowest up, compressed anew, each in a file of its own.
    pub layers: Vec<(PathBuf, Written)>,
}

impl Saved {
    /// The single image in the file `path`, which `docker save` wrote, or something like it. Its layers come to lie in
    /// `scratch`, compressed as `compression` says by `threads` threads.
    ///
    /// # Errors
    /// A file that isn't there or isn't such a tar (kind `Base`), or a layer that isn't what the config says.
    pub fn read(path: &Path, compression: Compression, threads: usize, scratch: &Scratch) -> Result<Self> {
        read(path, compression, threads, scratch)
    }
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
    let tar = Tar::open(path, WHAT)?;
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
            // What the decoders say is the image's fault, all else the disk's.
            let kind = |e: &std::io::Error| match e.kind() {
                ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => Kind::Base,
                _ => Kind::LocalIo,
            };
            copied.map(drop).map_err(|e| Error::new(kind(&e), WHAT, e).at(name))
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

#[cfg(test)]
mod tests {
    use std::fs::File;

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
