//! What `gimg layer` wrote: data for people and machines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::oci::{Digest, History, MediaType};

/// A layer. The JSON form is what rules_img reads of a layer (its `img_tool/pkg/api`, `Descriptor`), which takes no
/// other key; docs/json.md has it.
#[derive(Clone, Debug, Serialize)]
pub struct WrittenLayer {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The layer's media type.
    #[serde(rename = "mediaType")]
    pub media_type: MediaType,
    /// The digest of its file.
    pub digest: Digest,
    /// The size of its file in bytes.
    pub size: u64,
    /// Annotations of its descriptor.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What a config says of it.
    pub history: Vec<History>,
}
