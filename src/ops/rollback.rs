//! `gimg rollback REPOSITORY:TAG --to REF`: a tag stands for an image that was pushed before, once that is seen to be
//! complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::content::copy::Copier;
use crate::content::{Blob, Content, Graph, ImageName};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::oci::{Descriptor, Digest, Reference, Repository, Tag, document};
use crate::ops::{AT_ONCE, Context, each, signatures};
use crate::registry::RegistryTarget;
use crate::report::RolledBack;
use crate::settings;

/// How many manifests are below an index, and below those.
const MAX_MANIFESTS: usize = document::MAX_ENTRIES;

/// Which tag moves, and where to.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    repository: Repository,
    tag: Tag,
    to: Name,
}

/// What names an image in a repository.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    Tag(Tag),
    Digest(Digest),
}

impl Wish {
    /// Reads `image`, a repository with or without a tag, and `to`: a tag or digest, alone, with its sign, or after the
    /// name of the repository.
    ///
    /// # Errors
    /// What names neither, or another repository (kind `Usage`).
    pub fn read(image: &str, to: &str) -> Result<Self> {
        let usage = |e: Error| e.as_kind(Kind::Usage);
        if image.contains('@') {
            let error = Error::new(Kind::Usage, format!("roll back {image}"), "a digest stands for itself");
            return Err(error.hint("name the tag that moves; --to takes a digest"));
        }
        let (repository, tag) = settings::place(image).map_err(usage)?;
        let to = name(&repository, to).map_err(usage)?;
        Ok(Wish { repository, tag: tag.unwrap_or_else(Tag::latest), to })
    }

    /// For people.
    fn place(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

fn name(repository: &Repository, text: &str) -> Result<Name> {
    let (tag, digest) = (text.strip_prefix(':').unwrap_or(text), text.strip_prefix('@').unwrap_or(text));
    if digest.starts_with("sha256:") {
        return digest.parse().map(Name::Digest);
    }
    if text.starts_with(':') || !tag.contains(['/', ':', '@']) {
        return tag.parse().map(Name::Tag);
    }
    let reference: Reference = text.parse()?;
    if reference.repository != *repository {
        let why = format!("{} is another repository", reference.repository);
        let error = Error::new(Kind::Usage, format!("roll back to {text}"), why);
        return Err(error.hint(format!("gimg push brings an image there: gimg push LAYOUT {repository}")));
    }
    Ok(match reference.digest {
        Some(digest) => Name::Digest(digest),
        None => Name::Tag(reference.tag.unwrap_or_else(Tag::latest)),
    })
}

/// Moves the tag, unless it stands for the image already, or this is a `dry` run. With the file of a public `key` only
/// to an image that it signed.
///
/// # Errors
/// A key that can't be read; a tag or image that isn't there; an image that is incomplete (kind `Integrity`) or not
/// signed (kind `Attestation`); whatever the registry says to the new tag.
pub async fn rollback(cx: &Context, wish: &Wish, key: Option<&Path>, dry: bool) -> Result<RolledBack> {
    let Wish { repository, tag, to } = wish;
    let what = if dry { "look at" } else { "roll back" };
    let within = |e: Error| e.within(format!("{what} {}", wish.place()));
    let key = signatures::key_of(key).await?;
    let there = |found: Option<(Descriptor, Bytes)>, name: String| {
        let missing = || Error::new(Kind::Refused, format!("look for {name}"), "there is no such image");
        found.ok_or_else(missing)
    };
    let (was, _) = there(cx.registry.tagged(repository, tag).await?, wish.place())?;
    let (root, bytes) = match to {
        Name::Tag(tag) => there(cx.registry.tagged(repository, tag).await?, format!("{repository}:{tag}"))?,
        Name::Digest(digest) => {
            there(cx.registry.held(repository, digest).await?, format!("{repository}@{digest}"))?
        }
    };
    complete(cx, repository, &root, &bytes).await.map_err(within)?;
    if let Some(key) = &key {
        signatures::require(cx, repository, &root, key).await.map_err(within)?;
    }
    let moved = !dry && was.digest != root.digest;
    let note = if moved {
        move_tag(cx, wish, &root, bytes).await.map_err(within)?;
        format!("the way back: gimg rollback {} --to {}", wish.place(), was.digest)
    } else if was.digest == root.digest {
        format!("{} stands for it already: nothing was moved", wish.place())
    } else {
        format!("{} would move away from {}; nothing was moved", wish.place(), was.digest)
    };
    cx.observer.on(Event::Note(note));
    Ok(RolledBack {
        reference: format!("{repository}@{}", root.digest),
        tag: tag.to_string(),
        digest: root.digest,
        media_type: root.media_type,
        was: was.digest,
        moved,
    })
}

/// Moves the tag as every push does.
async fn move_tag(cx: &Context, wish: &Wish, root: &Descriptor, bytes: Bytes) -> Result<()> {
    let name = ImageName { program: String::new(), repository: Some(wish.repository.clone()) };
    let root = Blob { descriptor: root.clone(), content: Content::Bytes(bytes) };
    let graph = Graph::new(name, Vec::new(), Vec::new(), root, vec![wish.tag.clone()]);
    let target = RegistryTarget::new(cx.registry.clone(), cx.origin());
    let copier = Copier::new(Arc::new(target), Arc::clone(&cx.observer), AT_ONCE).until(cx.stop.clone());
    copier.publish(&[graph]).await
}

/// Fails unless the repository has all that belongs to the image `root`: manifests, configs and layers.
async fn complete(cx: &Context, repository: &Repository, root: &Descriptor, bytes: &Bytes) -> Result<()> {
    let name = || format!("{repository}@{}", root.digest);
    let mut blobs: BTreeMap<Digest, Descriptor> = BTreeMap::new();
    let mut seen = BTreeSet::from([root.digest]);
    let mut missing: BTreeSet<Digest> = BTreeSet::new();
    let mut open = vec![(root.clone(), bytes.clone())];
    while let Some((descriptor, bytes)) = open.pop() {
        if descriptor.media_type.is_index() {
            let mut below = document::index(&bytes, &descriptor.media_type)?.manifests;
            below.retain(|d| seen.insert(d.digest));
            if seen.len() > MAX_MANIFESTS {
                let why = format!("it holds more than {MAX_MANIFESTS} manifests");
                return Err(Error::new(Kind::Integrity, format!("read {}", name()), why));
            }
            for (child, found) in held(cx, repository, below).await? {
                match found {
                    Some(found) => open.push(found),
                    None => drop(missing.insert(child)),
                }
            }
        } else {
            let manifest = document::manifest(&bytes, &descriptor.media_type)?;
            let all = manifest.layers.into_iter().chain([manifest.config]);
            let own = all.filter(|d| !d.media_type.is_foreign());
            blobs.extend(own.map(|d| (d.digest, d)));
        }
    }
    let looks = blobs.into_values().map(|blob| async move {
        let there = cx.registry.has_blob(repository, &blob).await?;
        Ok((blob.digest, there))
    });
    let found: Vec<(Digest, bool)> = each(looks).await?;
    missing.extend(found.into_iter().filter(|(_, there)| !there).map(|(digest, _)| digest));
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let why = format!("the repository lacks {}", missing.join(", "));
    Err(Error::new(Kind::Integrity, format!("read {}", name()), why))
}

/// A manifest that an index names, if it is there.
type Child = (Digest, Option<(Descriptor, Bytes)>);

/// The manifests that an index names, as the repository has them.
async fn held(cx: &Context, repository: &Repository, named: Vec<Descriptor>) -> Result<Vec<Child>> {
    let looks = named.into_iter().map(|named| async move {
        let found = cx.registry.held(repository, &named.digest).await?;
        let fits = |found: &Descriptor| (found.size, &found.media_type) == (named.size, &named.media_type);
        match found {
            Some((found, _)) if !fits(&found) => {
                let why =
                    format!("it is {} of {} bytes, the index says otherwise", found.media_type, found.size);
                Err(Error::new(Kind::Integrity, format!("read {}", named.digest), why))
            }
            found => Ok((named.digest, found)),
        }
    });
    each(looks).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_tag_or_digest_of_the_same_repository() {
        let digest = Digest::of(b"image");
        let to = |text: &str| Wish::read("r.io/me/app:prod", text).map(|wish| wish.to);
        let tag = |text: &str| Name::Tag(text.parse().unwrap());
        for text in ["v1", ":v1", "r.io/me/app:v1"] {
            assert_eq!(to(text).unwrap(), tag("v1"), "{text}");
        }
        assert_eq!(to("r.io/me/app").unwrap(), tag("latest"));
        for start in ["", "@", "r.io/me/app@", "r.io/me/app:v1@"] {
            assert_eq!(to(&format!("{start}{digest}")).unwrap(), Name::Digest(digest), "{start}");
        }
        for (text, why) in [
            ("r.io/me/other:v1", "r.io/me/other is another repository"),
            ("app:v1", "docker.io/library/app is another repository"),
            ("sha256:00", "64 lower-case hex digits"),
            ("@v1", "no algorithm"),
            ("", "allowed is"),
        ] {
            let error = to(text).unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert_eq!(error.kind(), Kind::Usage, "{text}");
        }
        let hint = to("r.io/me/other:v1").unwrap_err();
        assert!(hint.hint_text().unwrap().contains("gimg push LAYOUT r.io/me/app"));
    }

    #[test]
    fn a_tag_moves_latest_unless_another_is_named() {
        let read = |image: &str| Wish::read(image, "v1").map(|wish| wish.place());
        assert_eq!(read("r.io/me/app").unwrap(), "r.io/me/app:latest");
        assert_eq!(read("localhost:5000/app:prod").unwrap(), "localhost:5000/app:prod");
        let error = read(&format!("r.io/me/app@{}", Digest::of(b""))).unwrap_err();
        assert_eq!((error.kind(), error.hint_text().is_some()), (Kind::Usage, true));
    }
}
