//! The document beside an image in a registry that says what its programs were made from: names of files that mean the
//! same everywhere, what was in them, and which layer came out.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::attest::{self, Statement, Subject};
use crate::content::{Blob, Referrer};
use crate::error::{Error, Kind, Result};
use crate::fs::Snapshot;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{Descriptor, Digest, ImageManifest, MediaType, annotation, rfc3339};
use crate::ops::remember::Remembered;
use crate::ops::signer::Signer;
use crate::sign::{Bundle, PublicKey};

/// Registries are asked for no more than this, compressed, in bytes.
const MAX: u64 = MAX_DOCUMENT;
/// And for no more than this after that.
const MAX_PLAIN: u64 = 64 * 1024 * 1024;
/// A bundle with a statement that says nothing but a digest is smaller, in bytes.
const MAX_BUNDLE: u64 = 64 * 1024;
/// What is signed: a statement of this type about the document's digest.
const PREDICATE_TYPE: &str = "https://gimg.dev/inputs/v1";
/// zstd's, for some hundred kilobytes of names and digests.
const LEVEL: i32 = 9;

/// What an image's programs were made from, by platform.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inputs {
    pub(super) platforms: BTreeMap<String, Entry>,
}

/// What the programs for one platform were made from, and what came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The digest of all that isn't in files.
    pub(super) key: Digest,
    /// The digest of git's state, where that was stamped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) git: Option<Digest>,
    /// What was in the files, by their names.
    pub(super) files: Snapshot,
    /// What came out.
    pub(super) made: Remembered,
}

impl Inputs {
    /// The artifact that says this about `subject`, made at `now` in seconds since 1970, signed if somebody signs. None if
    /// it is larger than registries take, or readers.
    ///
    /// # Errors
    /// Only a value that can't be written, which none is.
    pub(super) fn referrer(
        &self,
        subject: &Descriptor,
        now: u64,
        signer: Option<&Signer>,
    ) -> Result<Option<Referrer>> {
        let internal = |e: &dyn std::fmt::Display| Error::new(Kind::Internal, "write what was read", e);
        let plain = serde_json::to_vec(self).map_err(|e| internal(&e))?;
        let bytes = zstd::bulk::compress(&plain, LEVEL).map_err(|e| internal(&e))?;
        if plain.len() as u64 > MAX_PLAIN || bytes.len() as u64 > MAX {
            return Ok(None);
        }
        let mut layers = vec![Blob::of(MediaType::INPUTS_LAYER, bytes.into())];
        if let Some(signer) = signer {
            let about = Subject { name: None, digest: layers[0].descriptor.digest };
            let nothing = Value::Object(Map::new());
            layers.push(signer.bundle(&attest::statement(&[about], PREDICATE_TYPE, &nothing)?)?);
        }
        let annotations = BTreeMap::from([(annotation::CREATED.to_owned(), rfc3339(now))]);
        Referrer::artifact(MediaType::INPUTS, layers, annotations, subject).map(Some)
    }

    /// The artifacts of a registry's list, the newest first.
    pub(super) fn newest(mut artifacts: Vec<Descriptor>) -> Vec<Descriptor> {
        artifacts.sort_by(|a, b| {
            b.annotations.get(annotation::CREATED).cmp(&a.annotations.get(annotation::CREATED))
        });
        artifacts
    }

    /// Where the document is that the artifact `manifest` is about, and who vouches for it. None if it is another artifact,
    /// or too large.
    pub(super) fn layers(manifest: &ImageManifest) -> Option<(&Descriptor, Option<&Descriptor>)> {
        let (document, bundle) = match manifest.layers.as_slice() {
            [document] => (document, None),
            [document, bundle] if bundle.media_type == MediaType::BUNDLE && bundle.size <= MAX_BUNDLE => {
                (document, Some(bundle))
            }
            _ => return None,
        };
        let is_ours = manifest.artifact_type.as_ref() == Some(&MediaType::INPUTS)
            && document.media_type == MediaType::INPUTS_LAYER
            && document.size <= MAX;
        is_ours.then_some((document, bundle))
    }

    /// Whether in this bundle the key vouches for the document of this digest. What it signed for another purpose doesn't
    /// count.
    pub(super) fn is_vouched(bundle: &[u8], document: &Digest, key: &PublicKey) -> bool {
        let signed = Bundle::read(bundle).ok().and_then(|bundle| bundle.verified(key));
        let statement = signed.and_then(|statement| Statement::read(&statement).ok());
        statement.is_some_and(|s| s.predicate_type == PREDICATE_TYPE && s.is_about(document))
    }

    /// Reads the document.
    ///
    /// # Errors
    /// Bytes that are no such document, or too many.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        let bad = |why: &dyn std::fmt::Display| Error::new(Kind::Integrity, "read what was read before", why);
        let decoder = zstd::stream::read::Decoder::new(bytes).map_err(|e| bad(&e))?;
        let mut plain = Vec::new();
        decoder.take(MAX_PLAIN + 1).read_to_end(&mut plain).map_err(|e| bad(&e))?;
        if plain.len() as u64 > MAX_PLAIN {
            return Err(bad(&"it is larger than 64 MiB"));
        }
        serde_json::from_slice(&plain).map_err(|e| bad(&e))
    }
}
