//! in-toto statements, version 1 (in-toto/attestation, "spec/v1/statement.md"): something that is said of what has a digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::oci::{Digest, Repository, json};

/// What cosign says of an image that it signs (cosign, "pkg/types"): nothing but that.
pub const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// The type of a statement.
const TYPE: &str = "https://in-toto.io/Statement/v1";
/// What cosign says in its old layout that it signs (cosign, "specs/SIGNATURE_SPEC.md").
const SIMPLE: &str = "cosign container image signature";
/// How many subjects are read.
const MAX_SUBJECTS: usize = 1000;

/// A statement that was read; who made it is another question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The digests of what it is about.
    pub subjects: Vec<Digest>,
    /// What sort of thing it says.
    pub predicate_type: String,
    /// What it says.
    pub predicate: Value,
    /// All of it.
    pub whole: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<ReadSubject>,
    predicate_type: String,
    #[serde(default)]
    predicate: Value,
}

#[derive(Deserialize)]
struct ReadSubject {
    digest: BTreeMap<String, String>,
}

/// The payload of a signature in cosign's old layout.
#[derive(Deserialize)]
struct Simple {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

impl Statement {
    /// Reads a statement.
    ///
    /// # Errors
    /// What isn't one of this version, is larger than 4 MiB, could be read in two ways, or is about nothing that has a
    /// SHA-256 (kind `Attestation`).
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let whole: Value = json::from_bytes(bytes, "the statement").map_err(attestation)?;
        let read = Read::deserialize(&whole).map_err(|e| bad(e.to_string()))?;
        if read.kind != TYPE {
            return Err(bad(format!("it is {}, not {TYPE}", read.kind)));
        }
        if read.subject.len() > MAX_SUBJECTS {
            return Err(bad(format!("it has {} subjects, limit {MAX_SUBJECTS}", read.subject.len())));
        }
        let digests = read.subject.iter().filter_map(|subject| subject.digest.get("sha256"));
        let subjects = digests.map(|hex| format!("sha256:{hex}").parse().map_err(attestation));
        let subjects = subjects.collect::<Result<Vec<Digest>>>()?;
        if subjects.is_empty() {
            return Err(bad("it is about nothing that has a SHA-256".to_owned()));
        }
        Ok(Statement { subjects, predicate_type: read.predicate_type, predicate: read.predicate, whole })
    }

    /// Reads what cosign signed in its old layout: the same as the statement [`SIGNED`].
    ///
    /// # Errors
    /// As [`Statement::read`].
    pub fn read_simple(bytes: &[u8]) -> Result<Self> {
        let Simple { critical } = json::from_bytes(bytes, "the statement").map_err(attestation)?;
        if critical.kind != SIMPLE {
            return Err(bad(format!("it is a {}, not a {SIMPLE}", critical.kind)));
        }
        let whole = json::from_bytes(bytes, "the statement").map_err(attestation)?;
        let (predicate_type, predicate) = (SIGNED.to_owned(), Value::Object(Map::new()));
        Ok(Statement { subjects: vec![critical.image.digest], predicate_type, predicate, whole })
    }

    /// Whether it is about what has this digest.
    #[must_use]
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subjects.contains(digest)
    }

    /// Whether it says that the subject is signed, and nothing else.
    #[must_use]
    pub fn is_signature(&self) -> bool {
        self.predicate_type == SIGNED
    }
}

fn attestation(error: Error) -> Error {
    error.as_kind(Kind::Attestation)
}

fn bad(why: String) -> Error {
    Error::new(Kind::Attestation, "read the statement", why)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<WrittenSubject<'a>>,
    predicate_type: &'a str,
    predicate: &'a Value,
}

#[derive(Serialize)]
struct WrittenSubject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    digest: Digests,
}

#[derive(Serialize)]
struct Digests {
    sha256: String,
}

/// What a statement is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What it is called, if that says something.
    pub name: Option<String>,
    /// Its digest.
    pub digest: Digest,
}

/// What cosign signs in its old layout to say that the image `digest` of `repository` is signed, as JSON.
///
/// # Errors
/// None that the types allow.
pub fn simple(repository: &Repository, digest: &Digest) -> Result<Vec<u8>> {
    let payload = serde_json::json!({
        "critical": {
            "identity": { "docker-reference": repository.to_string() },
            "image": { "docker-manifest-digest": digest },
            "type": SIMPLE,
        },
        "optional": null,
    });
    serde_json::to_vec(&payload).map_err(|e| Error::new(Kind::Internal, "write a statement", e))
}

/// The statement that `predicate`, of type `predicate_type`, is true of each of `subjects`, as JSON.
///
/// # Errors
/// None that the types allow.
pub fn statement(subjects: &[Subject], predicate_type: &str, predicate: &Value) -> Result<Vec<u8>> {
    let subject = subjects.iter().map(|Subject { name, digest }| WrittenSubject {
        name: name.as_deref(),
        digest: Digests { sha256: digest.hex() },
    });
    let statement = Written { kind: TYPE, subject: subject.collect(), predicate_type, predicate };
    serde_json::to_vec(&statement).map_err(|e| Error::new(Kind::Internal, "write a statement", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_in_the_old_layout_is_read_as_a_signature() {
        let digest = Digest::of(b"image");
        let payload = simple(&"r.io/app".parse().unwrap(), &digest).unwrap();
        let expected = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.io/app"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
        );
        assert_eq!(String::from_utf8(payload.clone()).unwrap(), expected);
        let read = Statement::read_simple(&payload).unwrap();
        assert!(read.is_about(&digest) && read.is_signature());
    }

    fn of(digest: Digest) -> [Subject; 1] {
        [Subject { name: None, digest }]
    }

    #[test]
    fn a_statement_is_as_cosign_writes_it() {
        let digest = Digest::of(b"image");
        let expected = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"{SIGNED}","predicate":{{}}}}"#,
            digest.hex()
        );
        assert_eq!(statement(&of(digest), SIGNED, &serde_json::json!({})).unwrap(), expected.as_bytes());
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let digest = Digest::of(b"image");
        let predicate = serde_json::json!({ "a": [1, "two"] });
        let read = Statement::read(&statement(&of(digest), "x/y", &predicate).unwrap()).unwrap();
        assert!(read.is_about(&digest) && !read.is_about(&Digest::of(b"other")) && !read.is_signature());
        let expected = Statement {
            subjects: vec![digest],
            predicate_type: "x/y".to_owned(),
            predicate: predicate.clone(),
            whole: serde_json::from_slice(&statement(&of(digest), "x/y", &predicate).unwrap()).unwrap(),
        };
        assert_eq!(read, expected);
        let signed = Statement::read(&statement(&of(digest), SIGNED, &Value::Null).unwrap()).unwrap();
        assert!(signed.is_signature());
    }

    #[test]
    fn what_is_no_statement_is_refused() {
        let hex = Digest::of(b"image").hex();
        let right = format!(
            r#"{{"_type":"{TYPE}","subject":[{{"name":"x","digest":{{"gitCommit":"1"}}}},{{"digest":{{"sha256":"{hex}"}}}}],"predicateType":"x/y","more":1}}"#
        );
        let read = Statement::read(right.as_bytes()).unwrap();
        assert_eq!((read.subjects, read.predicate), (vec![Digest::of(b"image")], Value::Null));
        let many = vec![format!(r#"{{"digest":{{"sha256":"{hex}"}}}}"#); MAX_SUBJECTS + 1].join(",");
        let upper = hex.to_uppercase();
        for (from, to, why) in [
            (TYPE, "https://in-toto.io/Statement/v0.1", "it is https://in-toto.io/Statement/v0.1, not"),
            (TYPE, "https://in-toto.io/Statement/v10", "it is"),
            ("_type", "type", "missing field `_type`"),
            ("sha256", "sha512", "nothing that has a SHA-256"),
            (&hex, &hex[1..], "64 lower-case hex digits"),
            (&hex, &upper, "64 lower-case hex digits"),
            (r#""more":1"#, r#""predicateType":"z""#, "duplicate key"),
            (r#"{"name":"x","digest":{"gitCommit":"1"}}"#, &many, "it has 1002 subjects"),
            (r#"{"gitCommit":"1"}"#, "[]", "invalid type"),
            (r#""more":1}"#, "", "EOF"),
        ] {
            let error = Statement::read(right.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(why), "{to}: {error}");
            assert_eq!(error.kind(), Kind::Attestation, "{error}");
        }
        assert!(Statement::read(&vec![b' '; 5 << 20]).unwrap_err().to_string().contains("larger than 4 MiB"));
    }

    #[test]
    fn the_old_layout_says_that_an_image_is_signed() {
        let digest = Digest::of(b"image");
        let right = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.io/a"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{SIMPLE}"}},"optional":null}}"#
        );
        let read = Statement::read_simple(right.as_bytes()).unwrap();
        assert!(read.is_signature() && read.subjects == [digest]);
        for (from, to) in [
            (SIMPLE, "atomic container signature"),
            ("docker-manifest-digest", "digest"),
            ("sha256:", "sha256"),
            (r#""optional":null"#, r#""critical":{}"#),
        ] {
            let error = Statement::read_simple(right.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(error.kind(), Kind::Attestation, "{error}");
        }
        assert!(Statement::read(right.as_bytes()).is_err());
    }
}
