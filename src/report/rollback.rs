//! What `gimg rollback` did: data for people and machines.

use serde::Serialize;

use crate::oci::{Digest, MediaType};

/// A tag, and what it stands for. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolledBack {
    /// The image by digest.
    pub reference: String,
    /// The tag.
    pub tag: String,
    /// The digest of the image's manifest or index.
    pub digest: Digest,
    /// Its type.
    pub media_type: MediaType,
    /// What the tag stood for before.
    pub was: Digest,
    /// Whether the tag was moved.
    pub moved: bool,
}
