//! A referrer: a manifest about another one, its subject (OCI image-spec, manifest.md, "subject").

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

use crate::content::Blob;
use crate::error::Result;
use crate::oci::{Descriptor, MediaType, json};

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
    use crate::oci::Digest;

    fn read(more: &str) -> Option<Referrer> {
        let text = format!(r#"{{"schemaVersion":2{more}}}"#);
        Referrer::read(MediaType::MANIFEST, text.into(), Vec::new()).unwrap()
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
