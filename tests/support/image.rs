//! Reading a layout as a stranger would: JSON, digests, the entries of layers.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::Digest as _;

/// A layout directory.
pub(crate) struct Layout(PathBuf);

/// One entry of a layer: everything that a tar says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: char,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
    pub(crate) size: u64,
    pub(crate) link: String,
    pub sha256: String,
}

/// The entries of a tar, by name.
pub(crate) fn read_tar(tar: &[u8]) -> BTreeMap<String, Entry> {
    let mut archive = tar::Archive::new(tar);
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => 'l',
            tar::EntryType::Link => 'h',
            _ => '-',
        };
        let link = entry.link_name().unwrap();
        let found = Entry {
            kind,
            mode: header.mode().unwrap(),
            uid: header.uid().unwrap(),
            gid: header.gid().unwrap(),
            mtime: header.mtime().unwrap(),
            size: entry.size(),
            link: link.map(|l| l.to_string_lossy().into_owned()).unwrap_or_default(),
            sha256: String::new(),
        };
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert!(!entries.contains_key(&name), "{name} twice");
        entries.insert(name, Entry { sha256: sha256(&content), ..found });
    }
    entries
}

/// The content of every file in a tar.
pub(crate) fn read_tar_bytes(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(name, content);
    }
    files
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl Layout {
    /// The layout at `dir`.
    pub(crate) fn at(dir: impl AsRef<Path>) -> Self {
        Layout(dir.as_ref().to_owned())
    }

    /// `index.json`.
    pub(crate) fn index(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.join("index.json")).unwrap()).unwrap()
    }

    /// The bytes of a blob, checked against the digest.
    pub(crate) fn blob(&self, digest: &str) -> Vec<u8> {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let bytes = std::fs::read(self.0.join("blobs/sha256").join(hex)).unwrap();
        assert_eq!(sha256(&bytes), hex);
        bytes
    }

    /// A document by its descriptor, checked against the size.
    pub(crate) fn document(&self, descriptor: &Value) -> Value {
        let bytes = self.blob(descriptor["digest"].as_str().unwrap());
        assert_eq!(bytes.len() as u64, descriptor["size"].as_u64().unwrap());
        serde_json::from_slice(&bytes).unwrap()
    }

    /// The root document of the first entry.
    pub(crate) fn root(&self) -> Value {
        self.document(&self.index()["manifests"][0])
    }

    /// `platform` → manifest of the first entry, be it image or index.
    pub(crate) fn images(&self) -> BTreeMap<String, Value> {
        let root = self.root();
        let name = |p: &Value| {
            let mut name = format!("{}/{}", p["os"].as_str().unwrap(), p["architecture"].as_str().unwrap());
            if let Some(variant) = p["variant"].as_str() {
                name = format!("{name}/{variant}");
            }
            name
        };
        match root["manifests"].as_array() {
            Some(children) => children.iter().map(|d| (name(&d["platform"]), self.document(d))).collect(),
            None => {
                let config = self.document(&root["config"]);
                BTreeMap::from([(name(&config), root)])
            }
        }
    }

    /// The entries of one layer, by name.
    pub(crate) fn entries(&self, layer: &Value) -> BTreeMap<String, Entry> {
        let bytes = self.blob(layer["digest"].as_str().unwrap());
        let tar = match layer["mediaType"].as_str().unwrap() {
            t if t.ends_with("gzip") => {
                let mut tar = Vec::new();
                flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut tar).unwrap();
                tar
            }
            t if t.ends_with("zstd") => zstd::decode_all(&bytes[..]).unwrap(),
            _ => bytes,
        };
        read_tar(&tar)
    }

    /// All blobs in the directory.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join("blobs/sha256")).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}
