//! Content descriptors (OCI image-spec, descriptor.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, MediaType, Platform, annotation, json};

/// What some content is: type, digest and size in bytes. Fields gimg doesn't know are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The digest of the stored bytes.
    pub digest: Digest,
    /// The number of stored bytes.
    #[serde(deserialize_with = "json::size")]
    pub size: u64,
    /// What an index entry runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of artifact an entry points to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Fields this type doesn't name (`urls`, `data`, vendors').
    #[serde(flatten)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

impl Descriptor {
    /// A plain descriptor.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Descriptor {
            media_type,
            digest,
            size,
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
            extra: serde_json::Map::new(),
        }
    }

    /// The descriptor of `bytes`.
    #[must_use]
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// What sort of thing an artifact says, where an entry of a list of referrers names it: in cosign's annotation, or in
    /// in-toto's.
    #[must_use]
    pub fn predicate_type(&self) -> Option<&str> {
        let keys = [annotation::BUNDLE_PREDICATE_TYPE, annotation::PREDICATE_TYPE];
        keys.into_iter().find_map(|key| self.annotations.get(key)).map(String::as_str)
    }

    /// Whether an entry of a list of referrers doesn't say what sort of artifact it points to: some registries say the type of
    /// its config instead (go-containerregistry's), which most artifacts share.
    #[must_use]
    pub fn is_untyped(&self) -> bool {
        self.artifact_type.as_ref().is_none_or(|kind| *kind == MediaType::EMPTY)
    }

    /// Whether an entry of an index is a BuildKit attestation, not an image.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(|p| p.os == "unknown" || p.architecture == "unknown")
    }
}
