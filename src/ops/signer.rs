//! Who signs what is published, and how that is attached.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::attest::{self, Subject};
use crate::content::{Beside, Blob, Graph, Referrer};
use crate::error::{Error, Kind, Result};
use crate::oci::{Descriptor, MediaType, Tag, annotation};
use crate::ops::{Context, blocking};
use crate::settings::Settings;
use crate::settings::env::COSIGN_PASSWORD;
use crate::sign::{self, PrivateKey, PublicKey};

/// The largest key file that is read, in bytes.
const MAX_KEY: u64 = 64 << 10;

/// Signs with a key.
pub(super) struct Signer(PrivateKey);

/// The text of a key's file; `what` is done with it.
///
/// # Errors
/// A file that can't be read, or isn't text (kind `Attestation`).
pub(super) fn pem(path: &Path, what: &str) -> Result<String> {
    let bad = |why: &dyn std::fmt::Display| Error::new(Kind::Attestation, what, why).at(path.display());
    let pem = crate::fs::read_small(path, MAX_KEY).map_err(|e| bad(&e))?;
    String::from_utf8(pem).map_err(|_| bad(&"it is no PEM file"))
}

impl Signer {
    /// The one with the user's key, if there is one.
    ///
    /// # Errors
    /// A key that can't be read (kind `Attestation`).
    pub(super) async fn new(cx: &Context, settings: &Settings) -> Result<Option<Self>> {
        let Some(path) = settings.sign_key.clone() else { return Ok(None) };
        let password = cx.env.first(&[COSIGN_PASSWORD]).unwrap_or_default().to_owned();
        let read = move || {
            let pem = pem(&path, "read the private key")?;
            PrivateKey::read(&pem, password.as_bytes()).map_err(|e| e.at(path.display()))
        };
        blocking(read).await.map(|key| Some(Signer(key)))
    }

    /// The key that others verify with.
    pub(super) fn public(&self) -> PublicKey {
        self.0.public()
    }

    /// A signed `statement` alone: a bundle.
    ///
    /// # Errors
    /// None that the types allow.
    pub(super) fn bundle(&self, statement: &[u8]) -> Result<Blob> {
        let bundle = Bytes::from(sign::bundle(statement, &self.0)?);
        Ok(Blob::of(MediaType::BUNDLE, bundle))
    }

    /// A signature of each manifest of `graph`, made at `created`.
    ///
    /// # Errors
    /// None that the types allow.
    pub(super) fn sign(&self, graph: &Graph, created: &str) -> Result<Vec<Referrer>> {
        let manifests = graph.children.iter().chain([&graph.root]);
        let nothing = Value::Object(serde_json::Map::new());
        let signed = manifests.map(|m| {
            let subject = Subject { name: None, digest: m.descriptor.digest };
            let statement = attest::statement(&[subject], attest::SIGNED, &nothing)?;
            self.attest(&m.descriptor, attest::SIGNED, &statement, created)
        });
        signed.collect()
    }

    /// The same in cosign's old layout, for a registry; nothing for what goes elsewhere.
    ///
    /// # Errors
    /// None that the types allow.
    pub(super) fn sign_beside(&self, graph: &Graph) -> Result<Vec<Beside>> {
        let Some(repository) = &graph.name.repository else { return Ok(Vec::new()) };
        let manifests = graph.children.iter().chain([&graph.root]);
        let signed = manifests.map(|m| {
            let digest = &m.descriptor.digest;
            let payload = attest::simple(repository, digest)?;
            let signature = (annotation::COSIGN_SIGNATURE.to_owned(), STANDARD.encode(self.0.sign(&payload)));
            let mut layer = Blob::of(MediaType::SIMPLE_SIGNING, payload.into());
            layer.descriptor.annotations.extend([signature]);
            Beside::of(Tag::of_signatures(digest), vec![layer], true)
        });
        signed.collect()
    }

    /// A signed `statement`, whose predicate is of type `predicate_type`, attached to `to`, made at `created`.
    ///
    /// # Errors
    /// None that the types allow.
    pub(super) fn attest(
        &self,
        to: &Descriptor,
        predicate_type: &str,
        statement: &[u8],
        created: &str,
    ) -> Result<Referrer> {
        let layer = self.bundle(statement)?;
        let annotations = [
            (annotation::CREATED, created),
            (annotation::BUNDLE_CONTENT, "dsse-envelope"),
            (annotation::BUNDLE_PREDICATE_TYPE, predicate_type),
        ];
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Referrer::artifact(MediaType::BUNDLE, vec![layer], annotations, to)
    }
}
