//! DSSE envelopes (secure-systems-lab/dsse, "protocol.md" and "envelope.md", v1.0.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::sign::{PrivateKey, PublicKey};

/// A payload, its type, and who signed both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    /// In base64.
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Signature {
    /// ASN.1 DER in base64.
    sig: String,
    /// Left out: sigstore-go 1.2 passes over a signature whose id isn't OpenSSH's fingerprint of the key, whatever
    /// the bundle's hint is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyid: String,
}

impl Envelope {
    /// `payload` of type `payload_type`, signed.
    pub(super) fn new(payload_type: &str, payload: &[u8], key: &PrivateKey) -> Self {
        let sig = STANDARD.encode(key.sign(&signed(payload_type, payload)));
        Envelope {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![Signature { sig, keyid: String::new() }],
        }
    }

    /// The payload, if it is of type `payload_type` and signed by the key. Whatever the envelope says of keys, only the
    /// signature counts.
    pub(super) fn verified(&self, payload_type: &str, key: &PublicKey) -> Option<Vec<u8>> {
        let payload = STANDARD.decode(&self.payload).ok()?;
        let message = signed(&self.payload_type, &payload);
        let is_by_key = |s: &Signature| STANDARD.decode(&s.sig).is_ok_and(|sig| key.verifies(&message, &sig));
        (self.payload_type == payload_type && self.signatures.iter().any(is_by_key)).then_some(payload)
    }

    /// The payload, whoever signed it, if it is of type `payload_type`.
    pub(super) fn payload(&self, payload_type: &str) -> Option<Vec<u8>> {
        STANDARD.decode(&self.payload).ok().filter(|_| self.payload_type == payload_type)
    }
}

/// What is signed: the pre-authentication encoding.
fn signed(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_as_the_specification_shows() {
        let encoded = signed("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
        assert_eq!(signed("", b""), b"DSSEv1 0  0 ");
    }
}
