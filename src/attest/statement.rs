//! in-toto statements, version 1 (in-toto/attestation, "spec/v1/statement.md"): something that is said of what has a digest.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::oci::Digest;

/// What cosign says of an image that it signs (cosign, "pkg/types"): nothing but that.
pub const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Subject; 1],
    predicate_type: &'a str,
    predicate: &'a Value,
}

#[derive(Serialize)]
struct Subject {
    digest: Digests,
}

#[derive(Serialize)]
struct Digests {
    sha256: String,
}

/// The statement that `predicate`, of type `predicate_type`, is true of `subject`, as JSON.
///
/// # Errors
/// None that the types allow.
pub fn statement(subject: &Digest, predicate_type: &str, predicate: &Value) -> Result<Vec<u8>> {
    let statement = Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: [Subject { digest: Digests { sha256: subject.hex() } }],
        predicate_type,
        predicate,
    };
    serde_json::to_vec(&statement).map_err(|e| Error::new(Kind::Internal, "write a statement", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_as_cosign_writes_it() {
        let digest = Digest::of(b"image");
        let expected = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"{SIGNED}","predicate":{{}}}}"#,
            digest.hex()
        );
        assert_eq!(statement(&digest, SIGNED, &serde_json::json!({})).unwrap(), expected.as_bytes());
    }
}
