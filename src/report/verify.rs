//! What `gimg verify` found out.

use serde::Serialize;

use crate::oci::Digest;

/// An image that is what its sources give. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The image, by digest.
    pub reference: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Its platforms.
    pub platforms: Vec<String>,
    /// Where the sources came from.
    pub source: String,
    /// The toolchain.
    pub go: String,
    /// Whether a key was asked for, and signed it.
    pub signed: bool,
}
