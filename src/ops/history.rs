//! `gimg history REPOSITORY`: the images that tags name, and what they and what is attached to them say of their making.
//! No layer is read.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::attest::{Claims, utc};
use crate::content::Source;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::image::assemble::EPOCH;
use crate::oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, MediaType, Reference, Repository, Tag, annotation,
    document, json,
};
use crate::ops::home::Home;
use crate::ops::signatures::{self, passing};
use crate::ops::{Context, claimed, each};
use crate::report::{History, HistoryImage};
use crate::settings;
use crate::sign::PublicKey;

/// An image that tags name.
struct Found {
    image: HistoryImage,
    /// Its root, and if that is an index one of its images, which stands for the others.
    root: Option<Descriptor>,
    child: Option<Descriptor>,
}

/// Who is asked for what.
struct Asked<'a> {
    cx: &'a Context,
    repository: &'a Repository,
    source: Arc<dyn Source>,
    home: Home,
    key: Option<PublicKey>,
}

/// The repository that is meant.
///
/// # Errors
/// What is none, or an image in one (kind `Usage`).
pub fn repository(text: &str) -> Result<Repository> {
    let usage = |why: &str| Error::new(Kind::Usage, format!("read {text}"), why.to_owned());
    if text.contains('@') {
        return Err(usage("it names an image, not a repository"));
    }
    match settings::place(text).map_err(|e| e.as_kind(Kind::Usage))? {
        (repository, None) => Ok(repository),
        (_, Some(_)) => Err(usage("it names a tag, not a repository")),
    }
}

/// The images of a repository, the newest first: `limit` of them, or all if it is 0. With the file of a public `key` also
/// whether it signed them, and of what is attached only what it signed counts.
///
/// # Errors
/// A key that can't be read, no such repository, or a registry that gives no answer.
pub async fn history(
    cx: &Context,
    repository: &Repository,
    key: Option<&Path>,
    limit: usize,
) -> Result<History> {
    let key = signatures::key_of(key).await?;
    let source = cx.origin();
    let home = Home::Registry(Arc::clone(&source), repository.clone());
    let asked = &Asked { cx, repository, source, home, key };
    let mut found =
        each(names(cx, repository).await?.into_iter().map(|(digest, tags)| asked.image(digest, tags)))
            .await?;
    found.sort_by(|a, b| newest_first(&a.image, &b.image));
    let shown = if limit == 0 { found.len() } else { limit.min(found.len()) };
    let more = found.split_off(shown).len();
    if more > 0 {
        cx.observer.on(Event::Note(format!("{more} more: --limit 0 shows all")));
    }
    let images = each(found.into_iter().map(|found| asked.with_claims(found))).await?;
    Ok(History { repository: repository.to_string(), images, more })
}

/// The tags of a repository that name images, by what they stand for.
///
/// # Errors
/// No such repository, or a registry that gives no answer.
pub(super) async fn names(cx: &Context, repository: &Repository) -> Result<BTreeMap<Digest, Vec<Tag>>> {
    let tags = cx.registry.tags(repository).await?;
    let looks = tags.into_iter().filter(|tag| !tag.is_beside()).map(|tag| async move {
        let digest = cx.registry.digest_of(repository, &tag).await?;
        Ok((digest, tag))
    });
    let mut names: BTreeMap<Digest, Vec<Tag>> = BTreeMap::new();
    for (digest, tag) in each(looks).await? {
        // One that was removed since stands for nothing.
        let Some(digest) = digest else { continue };
        names.entry(digest).or_default().push(tag);
    }
    Ok(names)
}

impl Asked<'_> {
    /// What an image says itself. Of one that can't be read, that it is there.
    async fn image(&self, digest: Digest, mut tags: Vec<Tag>) -> Result<Found> {
        tags.sort_by_cached_key(|tag| counted(tag.as_str()));
        let tags = tags.iter().map(ToString::to_string).collect();
        let mut image = HistoryImage::new(&self.repository.to_string(), digest, tags);
        let Some((root, child)) = passing(self.cx, digest, self.read(&mut image).await)? else {
            return Ok(Found { image, root: None, child: None });
        };
        image.media_type = Some(root.media_type.clone());
        Ok(Found { image, root: Some(root), child })
    }

    /// Reads an image's documents; gives its root, and of an index its first image.
    async fn read(&self, image: &mut HistoryImage) -> Result<(Descriptor, Option<Descriptor>)> {
        let reference =
            Reference { repository: self.repository.clone(), tag: None, digest: Some(image.digest) };
        let (root, bytes) = self.source.resolve(&reference).await?;
        let (mut annotations, child, manifest) = if root.media_type.is_index() {
            let index = document::index(&bytes, &root.media_type)?;
            let is_image = |d: &Descriptor| d.media_type.is_manifest() && !d.is_attestation();
            let child = index.manifests.into_iter().find(is_image);
            let manifest = match &child {
                Some(child) => {
                    Some(document::manifest(&self.home.document(child).await?, &child.media_type)?)
                }
                None => None,
            };
            (index.annotations, child, manifest)
        } else {
            (BTreeMap::new(), None, Some(document::manifest(&bytes, &root.media_type)?))
        };
        let config = match &manifest {
            Some(manifest) => self.config(manifest).await?,
            None => None,
        };
        for (key, value) in manifest.map(|m| m.annotations).unwrap_or_default() {
            annotations.entry(key).or_insert(value);
        }
        let created = annotations.remove(annotation::CREATED).or(config.and_then(|c| c.created));
        // The time that stands for none is no time.
        image.created = created.map(|time| utc(&time)).filter(|time| time != EPOCH);
        image.version = annotations.remove(annotation::VERSION);
        image.revision = annotations.remove(annotation::REVISION);
        Ok((root, child))
    }

    /// The config of an image; none of what is another artifact.
    async fn config(&self, manifest: &ImageManifest) -> Result<Option<ImageConfig>> {
        if manifest.config.media_type.to_oci() != MediaType::CONFIG {
            return Ok(None);
        }
        json::from_bytes(&self.home.document(&manifest.config).await?, "its config").map(Some)
    }

    /// The image with what is claimed of it where it says nothing itself.
    async fn with_claims(&self, found: Found) -> Result<HistoryImage> {
        let Found { mut image, root, child } = found;
        let Some(root) = root else { return Ok(image) };
        let (mut claims, signed) = self.claims(&root).await?;
        // SBOMs are beside the images of an index, provenance beside the index.
        if let Some(child) = child.filter(|_| claims.go.is_none()) {
            claims = claims.or(self.claims(&child).await?.0);
        }
        image.signed = signed;
        image.go = claims.go;
        image.version = image.version.or(claims.version);
        if let Some(claimed) = claims.revision {
            let commit = image.revision.get_or_insert_with(|| claimed.commit.clone());
            image.modified = claimed.modified && *commit == claimed.commit;
        }
        Ok(image)
    }

    /// What is claimed of `subject` in what is attached to it; with a key by that, and whether it signed the image.
    async fn claims(&self, subject: &Descriptor) -> Result<(Claims, Option<bool>)> {
        let mut claims = Claims::default();
        let place = (self.repository, &self.home);
        let hear = |predicate_type: &str, predicate: &serde_json::Value| {
            claims = std::mem::take(&mut claims).or(Claims::read(predicate_type, predicate));
            claims.go.is_some()
        };
        let signed = claimed::documents(self.cx, place, subject, self.key.as_ref(), hear).await?;
        Ok((claims, signed))
    }
}

/// By time; what has the same or none by the highest of the tags.
fn newest_first(a: &HistoryImage, b: &HistoryImage) -> Ordering {
    let highest = |image: &HistoryImage| image.tags.last().map(|tag| counted(tag));
    b.created.cmp(&a.created).then_with(|| highest(b).cmp(&highest(a)))
}

/// A part of a tag; what is counted comes after what is spelled.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Word(String),
    /// How many digits, and which.
    Number(usize, String),
}

/// A tag as people sort it: `v1.9` before `v1.10`.
pub(super) fn counted(tag: &str) -> Vec<Part> {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut parts = Vec::new();
    let mut rest = tag;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_digit(c) != is_digit(first)).unwrap_or(rest.len());
        let (part, more) = rest.split_at(end);
        let digits = part.trim_start_matches('0');
        parts.push(match is_digit(first) {
            true => Part::Number(digits.len(), digits.to_owned()),
            false => Part::Word(part.to_owned()),
        });
        rest = more;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_come_first_and_without_times_the_highest_tags() {
        let image = |created: Option<&str>, tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let created = created.map(str::to_owned);
            HistoryImage { created, ..HistoryImage::new("r.io/a", Digest::of(b""), tags) }
        };
        let mut images = [
            image(None, &["v1.9.0"]),
            image(Some("2023-01-01T00:00:00Z"), &["a"]),
            image(None, &["latest", "v1.10.0"]),
            image(Some("2024-01-01T00:00:00Z"), &["b"]),
            image(None, &["v1.009.1"]),
            image(None, &["main"]),
        ];
        images.sort_by(newest_first);
        let order: Vec<&str> = images.iter().map(|i| i.tags[0].as_str()).collect();
        assert_eq!(order, ["b", "a", "latest", "v1.009.1", "v1.9.0", "main"]);
        let mut tags = ["v10", "v9", "latest", "v9-rc1", "9", "v99999999999999999999999", "v"];
        tags.sort_by_cached_key(|tag| counted(tag));
        assert_eq!(tags, ["latest", "v", "v9", "v9-rc1", "v10", "v99999999999999999999999", "9"]);
    }

    #[test]
    fn a_repository_is_named_without_a_tag() {
        assert_eq!(repository("localhost:5000/me/app").unwrap().to_string(), "localhost:5000/me/app");
        for text in ["r.io/app:v1", &format!("r.io/app@{}", Digest::of(b"")), "r.io/App"] {
            assert_eq!(repository(text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
    }
}
