//! Bases of given layers, as files: an OCI layout, and what goes into one.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::sha256;

/// What a layer has: a name, its kind (`-` file, `d`, `l`, `h`), and content or target.
pub(crate) type Item<'a> = (&'a str, char, &'a str);

/// A layer as it is stored.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: &'static str,
    pub(crate) diff_id: String,
}

impl Stored {
    /// The digest of the stored bytes.
    pub(crate) fn digest(&self) -> String {
        format!("sha256:{}", sha256(&self.bytes))
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len()})
    }
}

/// A tar of files of mode 0640, owned by 3:4.
pub(crate) fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, kind, text) in items {
        let mut header = tar::Header::new_gnu();
        header.set_mode(if *kind == 'd' { 0o755 } else { 0o640 });
        header.set_uid(3);
        header.set_gid(4);
        header.set_entry_type(match kind {
            'd' => tar::EntryType::Directory,
            'l' => tar::EntryType::Symlink,
            'h' => tar::EntryType::Link,
            _ => tar::EntryType::Regular,
        });
        header.set_size(0);
        if matches!(kind, 'l' | 'h') {
            out.append_link(&mut header, name, text).unwrap();
        } else {
            header.set_size(text.len() as u64);
            out.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
    }
    out.into_inner().unwrap()
}

/// A layer with this tar, compressed by `method`: gzip, zstd or none.
pub(crate) fn stored(tar: &[u8], method: &str) -> Stored {
    let (bytes, media_type) = match method {
        "gzip" => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(tar).unwrap();
            (out.finish().unwrap(), "application/vnd.oci.image.layer.v1.tar+gzip")
        }
        "zstd" => (zstd::encode_all(tar, 3).unwrap(), "application/vnd.oci.image.layer.v1.tar+zstd"),
        _ => (tar.to_vec(), "application/vnd.oci.image.layer.v1.tar"),
    };
    Stored { bytes, media_type, diff_id: format!("sha256:{}", sha256(tar)) }
}

/// The documents of an image for `platform` of these layers, from the lowest up: config and manifest.
pub(crate) fn documents(platform: &str, env: &[&str], layers: &[Stored]) -> (String, String) {
    let (os, architecture) = platform.split_once('/').unwrap();
    let ids: Vec<&str> = layers.iter().map(|l| l.diff_id.as_str()).collect();
    let config = json!({
        "os": os, "architecture": architecture,
        "config": {"Env": env, "User": "65532"},
        "rootfs": {"type": "layers", "diff_ids": ids},
    })
    .to_string();
    let digest = format!("sha256:{}", sha256(config.as_bytes()));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": config.len()},
        "layers": layers.iter().map(Stored::descriptor).collect::<Vec<_>>(),
    })
    .to_string();
    (config, manifest)
}

/// Writes a layout of one image.
pub(crate) fn layout(dir: &Path, platform: &str, env: &[&str], layers: &[Stored]) {
    let (config, manifest) = documents(platform, env, layers);
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8]| std::fs::write(blobs.join(sha256(bytes)), bytes).unwrap();
    blob(config.as_bytes());
    blob(manifest.as_bytes());
    layers.iter().for_each(|l| blob(&l.bytes));
    let digest = format!("sha256:{}", sha256(manifest.as_bytes()));
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": manifest.len(),
        }],
    });
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
