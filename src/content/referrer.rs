//! A referrer: a manifest about another one, its subject (OCI image-spec, manifest.md, "subject").

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

use crate::content::Blob;
use crate::error::Result;
use crate::oci::{Descriptor, ImageManifest, MediaType, json};

/// A manifest or index that refers to another one, with all that it needs itself.
#[derive(Clone, Debug)]
pub struct Referrer {
    /// The manifest. Its descriptor is the one that lists of referrers hold: with artifact type and annotations
    /// (distribution-spec, "Listing Referrers").
    pub manifest: Blob,
    /// What it refers to.
    pub subject: Descriptor,
    /// What it names, leaves first.
    pub blobs: Vec<Blob>,
}

/// What of a manifest is said in lists of referrers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    artifact_type: Option<MediaType>,
    config: Option<Typed>,
    subject: Option<Descriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed {
    media_type: MediaType,
}

impl Referrer {
    /// An artifact of this type about `subject`, with `layers`, `annotations` and no config of its own (image-spec,
    /// manifest.md, "Guidelines for Artifact Usage").
    ///
    /// # Errors
    /// As [`Blob::json`].
    pub fn artifact(
        artifact_type: MediaType,
        layers: Vec<Blob>,
        annotations: BTreeMap<String, String>,
        subject: &Descriptor,
    ) -> Result<Self> {
        let config = Blob::of(MediaType::EMPTY, Bytes::from_static(b"{}"));
        let subject = Descriptor::new(subject.media_type.clone(), subject.digest, subject.size);
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::MANIFEST),
            artifact_type: Some(artifact_type.clone()),
            config: config.descriptor.clone(),
            layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
            subject: Some(subject.clone()),
            annotations: annotations.clone(),
        };
        let mut manifest = Blob::json(MediaType::MANIFEST, &manifest)?;
        manifest.descriptor.artifact_type = Some(artifact_type);
        manifest.descriptor.annotations = annotations;
        Ok(Referrer { manifest, subject, blobs: std::iter::once(config).chain(layers).collect() })
    }

    /// Reads a manifest or index of the type `media_type`, which names `blobs`. None if it has no subject.
    ///
    /// # Errors
    /// Bytes that aren't such a document.
    pub fn read(media_type: MediaType, manifest: Bytes, blobs: Vec<Blob>) -> Result<Option<Self>> {
        let about: About = json::from_bytes(&manifest, "the referrer")?;
        let Some(subject) = about.subject else { return Ok(None) };
        let mut manifest = Blob::of(media_type, manifest);
        let own = about.artifact_type.filter(|t| !t.as_str().is_empty());
        manifest.descriptor.artifact_type = own.or(about.config.map(|c| c.media_type));
        manifest.descriptor.annotations = about.annotations.unwrap_or_default();
        Ok(Some(Referrer { manifest, subject, blobs }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;
    use crate::oci::Digest;

    fn read(more: &str) -> Option<Referrer> {
        let text = format!(r#"{{"schemaVersion":2{more}}}"#);
        Referrer::read(MediaType::MANIFEST, text.into(), Vec::new()).unwrap()
    }

    #[test]
    fn an_artifact_reads_as_it_was_made() {
        let subject = Descriptor::of(MediaType::INDEX, b"image");
        let layer = Blob::of(MediaType::from_header("a/b"), Bytes::from_static(b"text"));
        let annotations = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let kind = MediaType::from_header("c/d");
        let made = Referrer::artifact(kind, vec![layer], annotations, &subject).unwrap();
        let Content::Bytes(bytes) = made.manifest.content.clone() else { panic!("it is in memory") };
        let read = Referrer::read(MediaType::MANIFEST, bytes, made.blobs.clone()).unwrap().unwrap();
        assert_eq!(read.manifest.descriptor, made.manifest.descriptor);
        assert_eq!((read.subject, made.blobs.len()), (subject, 2));
    }

    #[test]
    fn lists_say_the_artifact_type_and_all_annotations() {
        let digest = Digest::of(b"image");
        let subject = format!(r#","subject":{{"mediaType":"x/y","digest":"{digest}","size":5}}"#);
        let config = r#","config":{"mediaType":"c/d","digest":"x","size":1}"#;
        let referrer = read(&format!(r#"{subject}{config},"annotations":{{"a":"1","b":"2"}}"#)).unwrap();
        assert_eq!(referrer.subject.digest, digest);
        let said = |r: &Referrer| r.manifest.descriptor.artifact_type.as_ref().map(ToString::to_string);
        assert_eq!(said(&referrer).as_deref(), Some("c/d"));
        assert_eq!(referrer.manifest.descriptor.annotations.len(), 2);
        let typed = read(&format!(r#"{subject}{config},"artifactType":"a/b""#)).unwrap();
        assert_eq!(said(&typed).as_deref(), Some("a/b"));
        let empty = read(&format!(r#"{subject}{config},"artifactType":"""#)).unwrap();
        assert_eq!(said(&empty).as_deref(), Some("c/d"));
        assert_eq!(said(&read(&subject).unwrap()), None);
        assert!(read(config).is_none());
    }
}
