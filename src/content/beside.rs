//! Images that only a tag beside another one leads to, as cosign had them before there were referrers (cosign,
//! "specs/SIGNATURE_SPEC.md", "specs/SBOM_SPEC.md").

use std::collections::BTreeMap;

use serde_json::json;

use crate::content::Blob;
use crate::error::Result;
use crate::oci::{Descriptor, ImageManifest, MediaType, Tag, annotation};

/// What Go writes for no time: the year one.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Such an image.
#[derive(Clone, Debug)]
pub struct Beside {
    /// The tag, which is made of the digest of what it is beside.
    pub tag: Tag,
    /// Its manifest.
    pub manifest: Blob,
    /// Its config and layers.
    pub blobs: Vec<Blob>,
    /// Whether layers that others put there stay.
    pub adds: bool,
}

impl Beside {
    /// The image of these layers, each of which is its own tar, as it were. With `adds` those of others stay.
    ///
    /// # Errors
    /// As [`Blob::json`].
    pub fn of(tag: Tag, layers: Vec<Blob>, adds: bool) -> Result<Self> {
        let (manifest, config) = image(layers.iter().map(|layer| layer.descriptor.clone()).collect())?;
        let mut blobs = vec![config];
        blobs.extend(layers);
        Ok(Beside { tag, manifest, blobs, adds })
    }

    /// Manifest and config with those of `there` as well, which is under the tag; none if nothing is missing there.
    ///
    /// # Errors
    /// As [`Blob::json`].
    pub fn added_to(&self, there: &ImageManifest) -> Result<Option<(Blob, Blob)>> {
        // Two keys sign the same bytes: what tells them apart stands beside these.
        let same = |a: &Descriptor, b: &Descriptor| {
            let signature = |d: &Descriptor| d.annotations.get(annotation::COSIGN_SIGNATURE).cloned();
            a.digest == b.digest && signature(a) == signature(b)
        };
        let own =
            self.blobs.iter().map(|blob| &blob.descriptor).filter(|d| d.media_type != MediaType::CONFIG);
        let missing: Vec<&Descriptor> =
            own.filter(|own| !there.layers.iter().any(|layer| same(layer, own))).collect();
        if missing.is_empty() {
            return Ok(None);
        }
        image(there.layers.iter().chain(missing).cloned().collect()).map(Some)
    }
}

/// Manifest and config: of no platform and no time, as cosign and ko write them.
fn image(layers: Vec<Descriptor>) -> Result<(Blob, Blob)> {
    let ids: Vec<_> = layers.iter().map(|layer| layer.digest).collect();
    let history: Vec<_> = ids.iter().map(|_| json!({ "created": NO_TIME })).collect();
    let config = json!({
        "architecture": "", "os": "", "created": NO_TIME, "history": history, "config": {},
        "rootfs": { "type": "layers", "diff_ids": ids },
    });
    let config = Blob::json(MediaType::CONFIG, &config)?;
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::MANIFEST),
        artifact_type: None,
        config: config.descriptor.clone(),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    };
    Ok((Blob::json(MediaType::MANIFEST, &manifest)?, config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use crate::oci::Digest;

    fn signed(by: &str) -> Beside {
        let mut layer = Blob::of(MediaType::SIMPLE_SIGNING, "payload".into());
        layer.descriptor.annotations.insert(annotation::COSIGN_SIGNATURE.to_owned(), by.to_owned());
        Beside::of(Tag::of_signatures(&Digest::of(b"image")), vec![layer], true).unwrap()
    }

    fn manifest(blob: &Blob) -> ImageManifest {
        let Content::Bytes(bytes) = &blob.content else { panic!("bytes") };
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn what_others_put_there_stays_and_nothing_is_added_twice() {
        let (one, two) = (signed("one"), signed("two"));
        assert!(one.added_to(&manifest(&one.manifest)).unwrap().is_none());
        let (both, config) = one.added_to(&manifest(&two.manifest)).unwrap().unwrap();
        let both = manifest(&both);
        assert_eq!((both.layers.len(), &both.config), (2, &config.descriptor));
        assert_eq!(both.layers[0].annotations[annotation::COSIGN_SIGNATURE], "two");
        for beside in [one, two] {
            assert!(beside.added_to(&both).unwrap().is_none());
        }
    }
}
