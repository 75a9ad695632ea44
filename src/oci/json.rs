//! The one serialiser for documents that get hashed, and the size-capped reader.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Kind, Result};

/// The largest manifest, index or config gimg reads: 4 MiB, what registries accept (distribution-spec, "Push").
pub const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

/// `value` as compact JSON, fields in declaration order, maps in key order.
///
/// # Errors
/// Only a value that JSON can't hold, which no type of `oci` is.
pub fn to_bytes<T: Serialize>(value: &T) -> Result<Bytes> {
    let bytes = serde_json::to_vec(value).map_err(|e| Error::new(Kind::Internal, "write JSON", e))?;
    Ok(Bytes::from(bytes))
}

/// Reads a document of at most [`MAX_DOCUMENT`] bytes; `what` names it in errors.
///
/// # Errors
/// A document that is too large or isn't what `T` says.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(Error::new(Kind::Integrity, format!("read {what}"), "larger than 4 MiB"));
    }
    serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::Input, format!("read {what}"), e))
}
