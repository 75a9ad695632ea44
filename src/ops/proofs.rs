//! What is said about how an image was built, read back: by a key's owner, or by nobody in particular.

use crate::attest::{PROVENANCE, Statement};
use crate::error::{Error, Kind, Result};
use crate::oci::{Descriptor, MediaType, Repository, annotation};
use crate::ops::Context;
use crate::ops::home::Home;
use crate::ops::signatures::{only_layer, passing};
use crate::sign::Bundle;

/// How many artifacts are read of each sort: the newest.
const MAX: usize = 16;

/// The provenance of `root`, the newest first. Where a key has its say only what it `signed` counts.
///
/// # Errors
/// A registry that gives no answer; nothing that counts (kind `Integrity`, with a key `Attestation`).
pub(super) async fn provenance(
    cx: &Context,
    repository: &Repository,
    root: &Descriptor,
    signed: Option<Vec<Statement>>,
) -> Result<Vec<Statement>> {
    let by_key = signed.is_some();
    let said = match signed {
        Some(signed) => signed,
        None => anybodys(cx, repository, root).await?,
    };
    let is_it = |s: &Statement| s.predicate_type == PROVENANCE && s.is_about(&root.digest);
    let said: Vec<Statement> = said.into_iter().filter(is_it).collect();
    if said.is_empty() {
        let (kind, why) = match by_key {
            true => (Kind::Attestation, "the key signed no record of how it was built"),
            false => (Kind::Integrity, "no record of how it was built is attached to it"),
        };
        return Err(Error::new(kind, "read its provenance", why));
    }
    Ok(said)
}

/// What is said about `root`, whoever says it.
async fn anybodys(cx: &Context, repository: &Repository, root: &Descriptor) -> Result<Vec<Statement>> {
    let mut listed = cx.registry.referrers(repository, &root.digest, None).await?;
    let said = |d: &Descriptor, key: &str| d.annotations.get(key).cloned();
    listed.sort_by_key(|d| std::cmp::Reverse(said(d, annotation::CREATED)));
    let is_it = |d: &Descriptor| match d.artifact_type.as_ref() {
        Some(kind) if *kind == MediaType::STATEMENT => {
            said(d, annotation::PREDICATE_TYPE).is_none_or(|kind| kind == PROVENANCE)
        }
        Some(kind) if *kind == MediaType::BUNDLE => {
            said(d, annotation::BUNDLE_PREDICATE_TYPE).is_none_or(|kind| kind == PROVENANCE)
        }
        _ => false,
    };
    let (mut found, mut damaged) = (Vec::new(), None);
    for artifact in listed.iter().filter(|d| d.is_untyped() || is_it(d)).take(MAX) {
        match statement(cx, repository, artifact).await {
            // Others attach what they like, but it may be the very record that is damaged.
            Err(error) if error.kind() == Kind::Integrity => drop(damaged.get_or_insert(error)),
            read => found.extend(passing(cx, artifact.digest, read)?),
        }
    }
    match damaged {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// The statement that an artifact holds.
async fn statement(cx: &Context, repository: &Repository, artifact: &Descriptor) -> Result<Statement> {
    let (layer, bytes) = only_layer(&Home::itself(cx, repository), artifact).await?;
    if layer.media_type == MediaType::STATEMENT {
        return Statement::read(&bytes);
    }
    let none = || Error::new(Kind::Attestation, "read what is attached", "it holds no statement");
    Statement::read(&Bundle::read(&bytes)?.statement().ok_or_else(none)?)
}
