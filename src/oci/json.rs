//! The one serialiser for documents that get hashed, and the size-capped reader.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Kind, Result};

/// The largest manifest, index or config gimg reads: 4 MiB, what registries accept (distribution-spec, "Push").
pub const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

/// What errors say first of a size that is none.
const INVALID_SIZE: &str = "invalid size";

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
/// A document that is too large, has a key twice or an impossible size (kind `Integrity`: others would read it as
/// something else), or isn't what `T` says (kind `Input`; so is what is nested deeper than 127 levels).
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    let bad = |kind, why: &dyn fmt::Display| Error::new(kind, format!("read {what}"), why);
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(bad(Kind::Integrity, &"larger than 4 MiB"));
    }
    if let Err(error) = serde_json::from_slice::<Unambiguous>(bytes) {
        let kind = if error.is_data() { Kind::Integrity } else { Kind::Input };
        return Err(bad(kind, &error));
    }
    serde_json::from_slice(bytes).map_err(|e| {
        let kind = if e.to_string().starts_with(INVALID_SIZE) { Kind::Integrity } else { Kind::Input };
        bad(kind, &e)
    })
}

/// A number of bytes: whole, not negative, and no more than Go's readers take, 2^63 - 1.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let size = value.as_u64().filter(|size| i64::try_from(*size).is_ok());
    size.ok_or_else(|| match value.as_number() {
        Some(number) => serde::de::Error::custom(format!("{INVALID_SIZE} {number}")),
        None => serde::de::Error::custom(format!("{INVALID_SIZE}, it is no number")),
    })
}

/// A document without a key that stands twice in one object, at any depth: which of the two counts is up to the reader.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Unambiguous)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Unambiguous;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<Unambiguous>()?;
            if seen.contains(&key) {
                return Err(serde::de::Error::custom(format!("duplicate key {key:?}")));
            }
            seen.insert(key);
        }
        Ok(Unambiguous)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Unambiguous>()?.is_some() {}
        Ok(Unambiguous)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(Unambiguous)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(Unambiguous)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(Unambiguous)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(Unambiguous)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(Unambiguous)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Unambiguous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Descriptor;

    fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
        from_bytes(text.as_bytes(), "it")
    }

    #[test]
    fn a_key_twice_is_an_error_at_any_depth() {
        for text in [
            r#"{"digest":1,"digest":1}"#,
            r#"[{"a":[{"b":{"digest":"x","c":null,"digest":"y"}}]}]"#,
            r#"{"digest":1,"d\u0069gest":2}"#,
        ] {
            let error = read::<serde_json::Value>(text).unwrap_err();
            assert_eq!(error.kind(), Kind::Integrity);
            assert!(error.to_string().contains("read it: duplicate key \"digest\" at line 1"), "{error}");
        }
        read::<serde_json::Value>(r#"{"a":{"a":[1.5,-1,true,null,"x",{"a":{}}]},"A":1}"#).unwrap();
    }

    #[test]
    fn sizes_are_numbers_of_bytes() {
        let digest = crate::oci::Digest::of(b"");
        let sized = |size: &str| {
            read::<Descriptor>(&format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":{size},"x":1}}"#))
        };
        assert_eq!(sized("0").unwrap().size, 0);
        assert_eq!(sized("9223372036854775807").unwrap().size, (1 << 63) - 1);
        for bad in ["-1", "9223372036854775808", "18446744073709551616", "1.5", "1e3", "\"1\"", "null", "[]"]
        {
            let error = sized(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::Integrity, "{bad}: {error}");
            assert!(error.to_string().contains("read it: invalid size"), "{error}");
        }
    }

    #[test]
    fn depth_and_size_have_limits() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let error = read::<serde_json::Value>(&deep).unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains("recursion limit exceeded"), "{error}");
        let large = format!("[\"{}\"]", "x".repeat(4 << 20));
        assert_eq!(read::<serde_json::Value>(&large).unwrap_err().kind(), Kind::Integrity);
    }
}
