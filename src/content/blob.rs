//! A blob: what it is and where its bytes are.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::oci::{Descriptor, MediaType, Repository, json};

/// Where the bytes of a blob are.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a file that nobody changes.
    File(Arc<Path>),
    /// In a repository; a registry can take them from there without moving them.
    Remote(Repository),
}

impl From<Arc<Path>> for Content {
    fn from(file: Arc<Path>) -> Self {
        Content::File(file)
    }
}

/// Some content with its descriptor. Cheap to clone; the digest is always known.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What it is.
    pub descriptor: Descriptor,
    /// Where the bytes are.
    pub content: Content,
}

impl Blob {
    /// A blob of bytes in memory.
    #[must_use]
    pub fn of(media_type: MediaType, bytes: Bytes) -> Self {
        Blob { descriptor: Descriptor::of(media_type, &bytes), content: Content::Bytes(bytes) }
    }

    /// A document as a blob.
    ///
    /// # Errors
    /// As [`json::to_bytes`].
    pub fn json<T: serde::Serialize>(media_type: MediaType, value: &T) -> Result<Self> {
        Ok(Self::of(media_type, json::to_bytes(value)?))
    }
}
