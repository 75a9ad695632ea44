//! The licences that an SBOM beside an image says its modules have. Whoever attached it says so: they are shown, and nothing
//! is decided by them.

use crate::attest::{Format, Licences, Statement};
use crate::error::Result;
use crate::oci::{Descriptor, Digest, MediaType, Repository, annotation, json};
use crate::ops::Context;
use crate::ops::home::Home;
use crate::ops::signatures::{only_layer, passing};
use crate::sign::Bundle;

/// How many SBOMs are read.
const MAX: usize = 4;

/// What the SBOMs say that are among `listed`, which refers to `image`: the first that says anything.
///
/// # Errors
/// A registry that gives no answer.
pub(super) async fn licences(
    cx: &Context,
    repository: &Repository,
    image: &Digest,
    listed: &[Descriptor],
) -> Result<Licences> {
    for artifact in listed.iter().filter(|d| format(d).is_some()).take(MAX) {
        let read = read(cx, repository, image, artifact).await;
        if let Some(found) = passing(cx, artifact.digest, read)?.filter(|found| !found.is_empty()) {
            return Ok(found);
        }
    }
    Ok(Licences::default())
}

/// The format of the SBOM that an artifact is, by what the list says of it.
fn format(artifact: &Descriptor) -> Option<Format> {
    let said = [annotation::BUNDLE_PREDICATE_TYPE, annotation::PREDICATE_TYPE];
    let said = said.iter().find_map(|key| artifact.annotations.get(*key));
    let by_predicate = |said: &String| Format::ALL.into_iter().find(|f| f.predicate_type() == said);
    artifact.artifact_type.as_ref().and_then(Format::of).or_else(|| said.and_then(by_predicate))
}

async fn read(
    cx: &Context,
    repository: &Repository,
    image: &Digest,
    artifact: &Descriptor,
) -> Result<Licences> {
    let (layer, bytes) = only_layer(&Home::Registry(cx.origin(), repository.clone()), artifact).await?;
    if let Some(format) = Format::of(&layer.media_type) {
        return Ok(Licences::read(format, &json::from_bytes(&bytes, "the SBOM")?));
    }
    let statement = match &layer.media_type {
        t if *t == MediaType::BUNDLE => Bundle::read(&bytes)?.statement(),
        t if *t == MediaType::STATEMENT => Some(bytes.to_vec()),
        _ => None,
    };
    let statement = statement.map(|statement| Statement::read(&statement)).transpose()?;
    let about = statement.filter(|statement| statement.is_about(image));
    let of = |s: &Statement| {
        let format = Format::ALL.into_iter().find(|f| f.predicate_type() == s.predicate_type)?;
        Some(Licences::read(format, &s.predicate))
    };
    Ok(about.as_ref().and_then(of).unwrap_or_default())
}
