//! What `gimg rebase` did: data for people and machines.

use serde::Serialize;

use crate::oci::{Digest, MediaType};

/// An image on newer bases. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebased {
    /// The image by digest.
    pub reference: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Its type.
    pub media_type: MediaType,
    /// What it was before.
    pub was: Digest,
    /// The tags that stand for it now.
    pub tags: Vec<String>,
    /// Whether it was pushed.
    pub pushed: bool,
    /// What each platform stands on, in order.
    pub platforms: Vec<RebasedPlatform>,
}

/// What the image for a platform stands on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RebasedPlatform {
    /// The platform.
    pub platform: String,
    /// The base, by digest if it is of a registry.
    pub base: String,
    /// What it was before.
    pub was: String,
}
