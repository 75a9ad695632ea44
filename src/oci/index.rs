//! Image indexes (OCI image-spec, image-index.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Descriptor, MediaType};

/// An index: one manifest per platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// The type; always written, optional when read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The entries, in the order asked for.
    pub manifests: Vec<Descriptor>,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl ImageIndex {
    /// An index of `manifests`.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        ImageIndex { schema_version: 2, media_type: Some(MediaType::INDEX), manifests, annotations }
    }
}
