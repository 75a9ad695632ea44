//! Sigstore bundles of version 0.3 with a DSSE envelope, verified by a key (sigstore/protobuf-specs,
//! "sigstore_bundle.proto"; cosign, "specs/BUNDLE_SPEC.md").

use serde::{Deserialize, Serialize};

use super::dsse::Envelope;
use crate::error::{Error, Kind, Result};
use crate::sign::{PrivateKey, PublicKey};

/// The media type of a bundle, in it and of the blob that it is.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The type of what is signed: an in-toto statement.
const STATEMENT: &str = "application/vnd.in-toto+json";

/// A bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle {
    media_type: String,
    verification_material: serde_json::Value,
    dsse_envelope: Envelope,
}

/// The bundle of an in-toto `statement`, signed by `key`, as JSON.
///
/// # Errors
/// None that the types allow.
pub fn bundle(statement: &[u8], key: &PrivateKey) -> Result<Vec<u8>> {
    let bundle = Bundle {
        media_type: MEDIA_TYPE.to_owned(),
        verification_material: serde_json::json!({ "publicKey": { "hint": key.public().hint()? } }),
        dsse_envelope: Envelope::new(STATEMENT, statement, key),
    };
    serde_json::to_vec(&bundle).map_err(|e| Error::new(Kind::Internal, "write a signature", e))
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// What isn't one of this version with an envelope (kind `Attestation`).
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let what = "read a signature";
        let bundle: Bundle =
            serde_json::from_slice(bytes).map_err(|e| Error::new(Kind::Attestation, what, e))?;
        if bundle.media_type != MEDIA_TYPE {
            let why = format!("it is {}, not {MEDIA_TYPE}", bundle.media_type);
            return Err(Error::new(Kind::Attestation, what, why));
        }
        Ok(bundle)
    }

    /// The statement in it, if the key signed it.
    #[must_use]
    pub fn verified(&self, key: &PublicKey) -> Option<Vec<u8>> {
        self.dsse_envelope.verified(STATEMENT, key)
    }

    /// The statement in it, whoever signed it.
    #[must_use]
    pub fn statement(&self) -> Option<Vec<u8>> {
        self.dsse_envelope.payload(STATEMENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Randomness;

    fn key(of: u8) -> PrivateKey {
        PrivateKey::new(&Randomness { key: [of; 32], salt: [0; 32], nonce: [0; 24] }).unwrap()
    }

    #[test]
    fn a_bundle_holds_what_its_key_signed_and_nothing_else() {
        let bytes = bundle(br#"{"_type":"x"}"#, &key(1)).unwrap();
        assert_eq!(bytes, bundle(br#"{"_type":"x"}"#, &key(1)).unwrap(), "the same each time");
        let read = Bundle::read(&bytes).unwrap();
        assert_eq!(read.verified(&key(1).public()).unwrap(), br#"{"_type":"x"}"#);
        assert_eq!(read.verified(&key(2).public()), None);
        assert_eq!(read.statement().unwrap(), br#"{"_type":"x"}"#);
        let text = String::from_utf8(bytes).unwrap();
        let hint = key(1).public().hint().unwrap();
        assert_eq!(text.matches(&hint).count(), 1, "{text}");
        for (from, to) in
            [("vnd.in-toto+json", "vnd.in-toto+JSON"), ("eyJf", "eyJe"), (hint.as_str(), "other")]
        {
            let changed = Bundle::read(text.replace(from, to).as_bytes()).unwrap();
            let verified = changed.verified(&key(1).public());
            // What an envelope says of keys decides nothing.
            assert_eq!(verified.is_some(), to == "other", "{from}");
        }
        assert!(Bundle::read(text.replace("v0.3", "v0.4").as_bytes()).is_err());
        assert!(Bundle::read(b"{}").is_err() && Bundle::read(b"").is_err());
    }
}
