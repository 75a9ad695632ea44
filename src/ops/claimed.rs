//! What documents that are attached to an image say of its program: provenance first, then SBOMs, then what may be
//! anything.

use serde_json::Value;

use crate::attest::{Format, Licences, PROVENANCE, Statement};
use crate::error::Result;
use crate::oci::{Descriptor, Digest, MediaType, Repository, annotation, json};
use crate::ops::Context;
use crate::ops::home::Home;
use crate::ops::signatures::{self, only_layer, passing};
use crate::sign::{Bundle, PublicKey};

/// How many documents about an image are read: the likeliest first.
const MAX_DOCUMENTS: usize = 4;

/// Gives `hear` the type and the predicate of what is said about `subject`, until that has heard enough. With a `key` only
/// what it signed, and whether it signed the image.
///
/// # Errors
/// A registry that gives no answer. What it has that can't be read is passed over.
pub(super) async fn documents(
    cx: &Context,
    (repository, home): (&Repository, &Home),
    subject: &Descriptor,
    key: Option<&PublicKey>,
    mut hear: impl FnMut(&str, &Value) -> bool,
) -> Result<Option<bool>> {
    if let Some(key) = key {
        let found = signatures::read(cx, repository, subject, key).await?;
        let mut statements: Vec<&Statement> = found.statements.iter().collect();
        statements.sort_by_key(|statement| statement.predicate_type != PROVENANCE);
        let _ = statements.iter().any(|s| hear(&s.predicate_type, &s.predicate));
        return Ok(Some(found.is_signed()));
    }
    let listed = cx.registry.referrers(repository, &subject.digest, None).await?;
    among(cx, home, &subject.digest, listed, hear).await?;
    Ok(None)
}

/// The same of the artifacts in a list that refer to `subject`.
async fn among(
    cx: &Context,
    home: &Home,
    subject: &Digest,
    listed: Vec<Descriptor>,
    mut hear: impl FnMut(&str, &Value) -> bool,
) -> Result<()> {
    for artifact in likeliest(listed) {
        let read = document(home, &artifact, subject).await;
        if let Some((predicate_type, predicate)) = passing(cx, artifact.digest, read)?.flatten()
            && hear(&predicate_type, &predicate)
        {
            break;
        }
    }
    Ok(())
}

/// The licences of modules that SBOMs say which are among `listed`, and about `image`: of the first that says any. Whoever
/// attached them says so.
///
/// # Errors
/// As [`documents`].
pub(super) async fn licences(
    cx: &Context,
    home: &Home,
    image: &Digest,
    listed: &[Descriptor],
) -> Result<Licences> {
    // Provenance names none: it needn't be read.
    let listed = listed.iter().filter(|d| d.predicate_type() != Some(PROVENANCE)).cloned().collect();
    let mut found = Licences::default();
    let hear = |kind: &str, document: &Value| {
        found = Licences::said(kind, document);
        !found.is_empty()
    };
    among(cx, home, image, listed, hear).await?;
    Ok(found)
}

/// What an artifact says of the image `about`, whoever made it.
async fn document(home: &Home, artifact: &Descriptor, about: &Digest) -> Result<Option<(String, Value)>> {
    let (layer, bytes) = only_layer(home, artifact).await?;
    if let Some(format) = Format::of(&layer.media_type) {
        return Ok(Some((format.predicate_type().to_owned(), json::from_bytes(&bytes, "the SBOM")?)));
    }
    let statement = match &layer.media_type {
        t if *t == MediaType::BUNDLE => Bundle::read(&bytes)?.statement(),
        t if *t == MediaType::STATEMENT => Some(bytes.to_vec()),
        _ => None,
    };
    let statement = statement.map(|statement| Statement::read(&statement)).transpose()?;
    Ok(statement.filter(|s| s.is_about(about)).map(|s| (s.predicate_type, s.predicate)))
}

/// The artifacts of a list that claim something of a program: provenance, SBOMs, then what may be anything; of each the
/// newest first.
fn likeliest(listed: Vec<Descriptor>) -> Vec<Descriptor> {
    let rank = |d: &Descriptor| {
        let format = d.artifact_type.as_ref().and_then(Format::of);
        match d.predicate_type().or(format.map(Format::predicate_type)) {
            Some(PROVENANCE) => Some(0),
            Some(t) if Format::ALL.iter().any(|format| format.predicate_type() == t) => Some(1),
            None if d.is_untyped() => Some(2),
            _ => None,
        }
    };
    let mut ranked: Vec<(i32, Descriptor)> =
        listed.into_iter().filter_map(|d| Some((rank(&d)?, d))).collect();
    ranked.sort_by(|(a, x), (b, y)| {
        let created = |d: &Descriptor| d.annotations.get(annotation::CREATED).cloned();
        a.cmp(b).then_with(|| created(y).cmp(&created(x)))
    });
    ranked.into_iter().map(|(_, artifact)| artifact).take(MAX_DOCUMENTS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provenance_is_read_before_sboms_and_nothing_else_is() {
        let artifact = |sort: &str, number: usize| {
            let mut artifact = Descriptor::of(MediaType::MANIFEST, format!("{sort}{number}").as_bytes());
            let created = (annotation::CREATED.to_owned(), format!("2024-01-0{number}T00:00:00Z"));
            artifact.annotations.extend([created]);
            match sort.starts_with("application/") {
                true => artifact.artifact_type = Some(MediaType::from_header(sort)),
                false => {
                    let key = annotation::BUNDLE_PREDICATE_TYPE.to_owned();
                    artifact.annotations.extend([(key, sort.to_owned())]);
                }
            }
            artifact
        };
        let sbom = |number| artifact("application/spdx+json", number);
        let (cyclone, other) = (artifact("https://cyclonedx.org/bom", 4), artifact("x/y", 9));
        let (old, new) = (artifact(PROVENANCE, 1), artifact(PROVENANCE, 2));
        let listed = vec![sbom(1), sbom(3), other, old.clone(), cyclone.clone(), new.clone()];
        assert_eq!(likeliest(listed), [new, old, cyclone, sbom(3)]);
    }
}
