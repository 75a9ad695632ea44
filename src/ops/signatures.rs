//! Signatures by a key, read back: what the key says about an image in a registry.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::attest::Statement;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::oci::{Descriptor, Digest, MediaType, Repository, Tag, annotation, document};
use crate::ops::home::Home;
use crate::ops::signer::pem;
use crate::ops::{Context, blocking, each};
use crate::sign::{Bundle, PublicKey};

/// How many bundles are read of one image: the newest of each sort, and in all.
const MAX_EACH: usize = 16;
const MAX_BUNDLES: usize = 64;

/// What is said about an image.
#[derive(Debug, Default)]
pub struct Signatures {
    /// What the key says.
    pub statements: Vec<Statement>,
    /// Whether somebody else says that they signed it.
    foreign: bool,
}

/// Something that is said.
struct Said {
    statement: Statement,
    /// Whether it is the key that says it.
    by_key: bool,
}

/// The key in the user's file: `PUBLIC KEY` in PEM, for ECDSA with P-256.
///
/// # Errors
/// A file that can't be read, or another kind of key (kind `Attestation`).
pub async fn public_key(path: &Path) -> Result<PublicKey> {
    let path = path.to_owned();
    blocking(move || {
        let pem = pem(&path, "read the public key")?;
        PublicKey::read(&pem).map_err(|e| e.at(path.display()))
    })
    .await
}

/// The same of a file that the user may have named.
///
/// # Errors
/// As [`public_key`].
pub async fn key_of(path: Option<&Path>) -> Result<Option<PublicKey>> {
    match path {
        Some(path) => public_key(path).await.map(Some),
        None => Ok(None),
    }
}

/// The statements about `subject` that the key signed, wherever cosign puts such. Fails unless it signed `subject`
/// itself; to have signed something that is said about it isn't enough.
///
/// # Errors
/// As [`read()`], and no signature, or one by another key (kind `Attestation`).
pub async fn require(
    cx: &Context,
    repository: &Repository,
    subject: &Descriptor,
    key: &PublicKey,
) -> Result<Vec<Statement>> {
    let found = read(cx, repository, subject, key).await?;
    let why = match (found.is_signed(), found.foreign, found.statements.is_empty()) {
        (true, _, _) => return Ok(found.statements),
        (false, true, _) => "it is signed by another key",
        (false, false, true) => "it has no signature",
        (false, false, false) => "the key signed what is said about it, but not the image",
    };
    let what = format!("check the signature of {repository}@{}", subject.digest);
    Err(Error::new(Kind::Attestation, what, why))
}

/// What is said about `subject`: in bundles that refer to it, and if it isn't signed there, in cosign's old layout.
///
/// # Errors
/// A registry that gives no answer. What it has that is no signature, or none about `subject`, is passed over.
pub async fn read(
    cx: &Context,
    repository: &Repository,
    subject: &Descriptor,
    key: &PublicKey,
) -> Result<Signatures> {
    let home = Home::Registry(cx.origin(), repository.clone());
    let mut found = Signatures::default();
    let listed = cx.registry.referrers(repository, &subject.digest, Some(&MediaType::BUNDLE)).await?;
    let bundles = chosen(listed).into_iter().map(|artifact| {
        let home = &home;
        async move { passing(cx, artifact.digest, bundled(home, &artifact, key).await) }
    });
    for said in each(bundles).await? {
        found.add(said, &subject.digest);
    }
    if found.is_signed() {
        return Ok(found);
    }
    let tag = Tag::of_signatures(&subject.digest);
    let Some((descriptor, bytes)) = cx.registry.tagged_to_read(repository, &tag).await? else {
        return Ok(found);
    };
    let manifest = document::manifest(&bytes, &descriptor.media_type);
    let layers = passing(cx, descriptor.digest, manifest)?.map(|m| m.layers).unwrap_or_default();
    for layer in layers.iter().filter(|layer| layer.media_type == MediaType::SIMPLE_SIGNING) {
        let said = simple(&home, layer, key).await;
        found.add(passing(cx, layer.digest, said)?, &subject.digest);
    }
    Ok(found)
}

impl Signatures {
    /// Whether the key signed the image itself.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.statements.iter().any(Statement::is_signature)
    }

    fn add(&mut self, said: Option<Said>, about: &Digest) {
        match said.filter(|said| said.statement.is_about(about)) {
            Some(Said { statement, by_key: true }) => self.statements.push(statement),
            Some(Said { statement, by_key: false }) => self.foreign |= statement.is_signature(),
            None => {}
        }
    }
}

/// The artifacts of a list that are read: no sort of statement keeps others from being read, however many there are.
fn chosen(mut listed: Vec<Descriptor>) -> Vec<Descriptor> {
    let said = |d: &Descriptor, key: &str| d.annotations.get(key).cloned();
    listed.sort_by_key(|d| std::cmp::Reverse(said(d, annotation::CREATED)));
    let mut sorts: BTreeMap<Option<String>, usize> = BTreeMap::new();
    listed.retain(|d| {
        let count = sorts.entry(said(d, annotation::BUNDLE_PREDICATE_TYPE)).or_default();
        *count += 1;
        *count <= MAX_EACH
    });
    listed.truncate(MAX_BUNDLES);
    listed
}

/// The only layer of an artifact.
///
/// # Errors
/// An artifact that has another number of them, or what can't be read.
pub(super) async fn only_layer(home: &Home, artifact: &Descriptor) -> Result<(Descriptor, Bytes)> {
    let bytes = home.document(artifact).await?;
    let manifest = document::manifest(&bytes, &artifact.media_type)?;
    let [layer] = manifest.layers.as_slice() else {
        return Err(bad(&format!("it has {} layers, not one", manifest.layers.len())));
    };
    Ok((layer.clone(), home.document(layer).await?))
}

/// What a bundle says that is an artifact's only layer.
async fn bundled(home: &Home, artifact: &Descriptor, key: &PublicKey) -> Result<Said> {
    let (layer, bytes) = only_layer(home, artifact).await?;
    if layer.media_type != MediaType::BUNDLE {
        return Err(bad(&format!("its layer is {}", layer.media_type)));
    }
    let bundle = Bundle::read(&bytes)?;
    let signed = bundle.verified(key);
    let by_key = signed.is_some();
    let statement = signed.or_else(|| bundle.statement()).ok_or_else(|| bad("it holds no statement"))?;
    Ok(Said { statement: Statement::read(&statement)?, by_key })
}

/// What a layer of cosign's old layout says.
async fn simple(home: &Home, layer: &Descriptor, key: &PublicKey) -> Result<Said> {
    let signature = layer.annotations.get(annotation::COSIGN_SIGNATURE);
    let signature = signature.and_then(|text| STANDARD.decode(text).ok());
    let signature = signature.ok_or_else(|| bad("no signature stands beside it"))?;
    let payload = home.document(layer).await?;
    Ok(Said { statement: Statement::read_simple(&payload)?, by_key: key.verifies(&payload, &signature) })
}

fn bad(why: &str) -> Error {
    Error::new(Kind::Attestation, "read what is attached", why)
}

/// What was read; none of what isn't as it must be, which only the curious hear about.
pub(super) fn passing<T>(cx: &Context, digest: Digest, read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) => match error.kind() {
            Kind::Attestation | Kind::Integrity | Kind::Input | Kind::Refused => {
                cx.observer.on(Event::Detail(format!("{digest} is passed over: {error}")));
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sort_of_statement_keeps_others_from_being_read() {
        let artifact = |number: usize, sort: &str| {
            let mut descriptor = Descriptor::of(MediaType::MANIFEST, format!("{sort}{number}").as_bytes());
            let created = format!("2024-01-01T00:{number:02}:00Z");
            descriptor.annotations = [
                (annotation::CREATED.to_owned(), created),
                (annotation::BUNDLE_PREDICATE_TYPE.to_owned(), sort.to_owned()),
            ]
            .into();
            descriptor
        };
        let mut listed: Vec<Descriptor> = (1..60).map(|number| artifact(number, "scan")).collect();
        listed.insert(30, artifact(0, "signature"));
        let found = chosen(listed);
        assert_eq!((found.len(), &found[0]), (MAX_EACH + 1, &artifact(59, "scan")));
        assert_eq!(found.last(), Some(&artifact(0, "signature")));
        let many = (0..50).flat_map(|sort| [artifact(1, &sort.to_string()), artifact(2, &sort.to_string())]);
        assert_eq!(chosen(many.collect()).len(), MAX_BUNDLES);
    }
}
