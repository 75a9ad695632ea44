//! What `gimg history` found: data for people and machines.

use serde::Serialize;

use crate::oci::{Digest, MediaType};

/// The images of a repository. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// The repository.
    pub repository: String,
    /// The images, the newest first.
    pub images: Vec<HistoryImage>,
    /// How many there are besides these.
    pub more: usize,
}

/// An image that tags name.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryImage {
    /// What to call it.
    pub reference: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Its type, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// When it was made, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The version of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The revision of its sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether the sources differ from that revision.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub modified: bool,
    /// The Go toolchain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub go: Option<String>,
    /// Whether the key signed it, if there is a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
}

impl HistoryImage {
    /// An image of which nothing else is known.
    #[must_use]
    pub fn new(repository: &str, digest: Digest, tags: Vec<String>) -> Self {
        HistoryImage {
            reference: format!("{repository}@{digest}"),
            tags,
            digest,
            media_type: None,
            created: None,
            version: None,
            revision: None,
            modified: false,
            go: None,
            signed: None,
        }
    }
}
