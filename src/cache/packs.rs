//! A registry as the server: what Go compiled lies in a repository as an artifact of packs, one for each profile, under a
//! tag. CI needs no other server than the registry that it has.
//!
//! The artifact's first layer is the profile, which says what is where in the others. A pack is compressed outputs, one
//! after the other, so that it can be used as it comes. What is new goes into a further pack; when there are many, or most
//! of one isn't used any more, they are packed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::cache::local::Local;
use crate::cache::record::{Item, MAX_OBJECT, Profile};
use crate::cache::{object, profile_key};
use crate::content::{Blob, Content, ImageName, Source as _, Target as _};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer};
use crate::oci::{Descriptor, Digest, Hasher, ImageManifest, MediaType, Repository, Tag, json};
use crate::registry::{Registry, RegistryTarget};

/// More packs than this are made one.
const MAX_PACKS: usize = 6;
/// A registry that hasn't said anything of the profile after so long is as good as none.
const PATIENCE: Duration = Duration::from_secs(20);
/// No profile is larger.
const MAX_PROFILE: u64 = 128 << 20;

/// A repository with packs.
pub struct Packs {
    registry: Registry,
    repository: Repository,
    observer: Arc<dyn Observer>,
}

/// What a repository has under a profile's name.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) profile: Profile,
    /// The packs that it speaks of.
    pub(super) packs: Vec<Descriptor>,
}

impl Packs {
    /// The packs in `repository`. What is wrong with it goes to `observer`.
    #[must_use]
    pub fn new(registry: Registry, repository: Repository, observer: Arc<dyn Observer>) -> Self {
        Packs { registry, repository, observer }
    }

    fn warn(&self, error: &Error) {
        let text = format!("remote cache {}: {error}; the build goes on without it", self.repository);
        self.observer.on(Event::Warning(text));
    }

    /// What is kept under this name; nothing if there is nothing, or it can't be had.
    pub(super) async fn read(&self, name: &str) -> Kept {
        match tokio::time::timeout(PATIENCE, self.try_read(name)).await {
            Ok(Ok(kept)) => kept.unwrap_or_default(),
            Ok(Err(error)) => {
                self.warn(&error);
                Kept::default()
            }
            Err(_) => {
                let why = format!("it said nothing for {} s", PATIENCE.as_secs());
                self.warn(&Error::new(Kind::Unavailable, "read the profile", why));
                Kept::default()
            }
        }
    }

    async fn try_read(&self, name: &str) -> Result<Option<Kept>> {
        let found = self.registry.tagged_to_read(&self.repository, &tag(name)?).await?;
        let Some((_, bytes)) = found else { return Ok(None) };
        let manifest: ImageManifest = json::from_bytes(&bytes, "the manifest of the build cache")?;
        let mut layers = manifest.layers.into_iter();
        let profile = layers.next().filter(|layer| layer.media_type == MediaType::BUILD_CACHE_PROFILE);
        let Some(profile) = profile.filter(|layer| layer.size <= MAX_PROFILE) else { return Ok(None) };
        let mut bytes = BytesMut::new();
        let mut stream = self.registry.fetch(&self.repository, &profile).await?;
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece?);
        }
        let bytes = bytes.freeze();
        let profile = tokio::task::spawn_blocking(move || Profile::decode(&bytes)).await.ok().flatten();
        let packs = layers.filter(|layer| layer.media_type == MediaType::BUILD_CACHE_PACK).collect();
        Ok(profile.map(|profile| Kept { profile, packs }))
    }

    /// Reads a pack as it comes, and hands each of the objects in it to `taker` that `wanted` names: where one begins, how long
    /// it is, which it is. What comes after the first wrong object isn't read.
    pub(super) async fn unpack(
        &self,
        pack: &Descriptor,
        wanted: &BTreeMap<u64, (u64, Digest)>,
        taker: &mpsc::Sender<(Digest, Bytes)>,
    ) {
        if let Err(error) = self.try_unpack(pack, wanted, taker).await {
            self.warn(&error);
        }
    }

    async fn try_unpack(
        &self,
        pack: &Descriptor,
        wanted: &BTreeMap<u64, (u64, Digest)>,
        taker: &mpsc::Sender<(Digest, Bytes)>,
    ) -> Result<()> {
        let mut stream = self.registry.fetch(&self.repository, pack).await?;
        let mut wanted = wanted.iter();
        let (mut buffer, mut at) = (BytesMut::new(), 0_u64);
        let Some(mut next) = wanted.next() else { return Ok(()) };
        while let Some(piece) = stream.next().await {
            buffer.extend_from_slice(&piece?);
            loop {
                let (start, (length, object)) = next;
                if *start < at {
                    return Err(Error::new(Kind::Integrity, "read a pack", "its objects overlap"));
                }
                // What lies between objects is of those that nobody wants any more.
                let skip = usize::try_from(start - at).unwrap_or(usize::MAX).min(buffer.len());
                drop(buffer.split_to(skip));
                at += skip as u64;
                let length =
                    usize::try_from(*length).ok().filter(|_| *length <= MAX_OBJECT).ok_or_else(|| {
                        Error::new(Kind::Integrity, "read a pack", "an object is larger than any")
                    })?;
                if at < *start || buffer.len() < length {
                    break;
                }
                at += length as u64;
                let bytes = buffer.split_to(length).freeze();
                if Digest::of(&bytes) != *object {
                    return Err(Error::new(
                        Kind::Integrity,
                        "read a pack",
                        "an object isn't what it should be",
                    ));
                }
                // Whoever takes them is there as long as we are.
                let _ = taker.send((*object, bytes)).await;
                match wanted.next() {
                    Some(following) => next = following,
                    None => return Ok(()),
                }
            }
        }
        Err(Error::new(Kind::Integrity, "read a pack", "it ends too early"))
    }

    /// Keeps a profile under this name, with what it speaks of: packs that are there already stay as far as they are used, the
    /// rest is packed from `local`. Gives how many bytes were packed.
    pub(super) async fn write(&self, name: &str, profile: Profile, old: &[Descriptor], local: Local) -> u64 {
        match self.try_write(name, profile, old, local).await {
            Ok(bytes) => bytes,
            Err(error) => {
                let text = format!("remote cache {}: {error}; nothing is written there", self.repository);
                self.observer.on(Event::Warning(text));
                0
            }
        }
    }

    async fn try_write(
        &self,
        name: &str,
        mut profile: Profile,
        old: &[Descriptor],
        local: Local,
    ) -> Result<u64> {
        let tag = tag(name)?;
        let kept = kept(&profile, old);
        let packing = move || -> io::Result<_> {
            let stays: BTreeSet<Digest> = kept.iter().map(|pack| pack.digest).collect();
            let pack = pack(&mut profile, &stays, &local)?;
            Ok((profile.encode()?, pack, kept))
        };
        let internal = |e: &dyn std::fmt::Display| Error::new(Kind::LocalIo, "make a pack", e);
        let packed = tokio::task::spawn_blocking(packing).await.map_err(|e| internal(&e))?;
        let (profile, pack, kept) = packed.map_err(|e| internal(&e))?;
        let mut layers = vec![Blob::of(MediaType::BUILD_CACHE_PROFILE, profile.into())];
        layers.extend(
            kept.into_iter()
                .map(|descriptor| Blob { descriptor, content: Content::Remote(self.repository.clone()) }),
        );
        let mut bytes = 0;
        // The file is there as long as it is sent.
        let _file = pack.map(|Packed { file, digest, size }| {
            let descriptor = Descriptor::new(MediaType::BUILD_CACHE_PACK, digest, size);
            layers.push(Blob { descriptor, content: Content::File(Arc::<Path>::from(file.path())) });
            bytes = size;
            file
        });
        let config = Blob::of(MediaType::EMPTY, Bytes::from_static(b"{}"));
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::MANIFEST),
            artifact_type: Some(MediaType::BUILD_CACHE),
            config: config.descriptor.clone(),
            layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        let manifest = Blob::json(MediaType::MANIFEST, &manifest)?;
        let target = RegistryTarget::new(self.registry.clone(), Arc::new(self.registry.clone()));
        let image =
            ImageName { program: "build-cache".to_owned(), repository: Some(self.repository.clone()) };
        for blob in layers.iter().chain([&config, &manifest]) {
            target.put(&image, blob).await?;
        }
        target.tag(&image, &manifest, &tag).await?;
        Ok(bytes)
    }
}

/// The tag of a profile.
fn tag(name: &str) -> Result<Tag> {
    format!("gimg-build-cache-{}", &profile_key(name).hex()[..16]).parse()
}

/// The packs of which most is used, if they aren't too many.
fn kept(profile: &Profile, old: &[Descriptor]) -> Vec<Descriptor> {
    let mut used: BTreeMap<Digest, BTreeMap<u64, u64>> = BTreeMap::new();
    for item in &profile.items {
        if let Some((pack, offset)) = item.place {
            used.entry(pack).or_default().insert(offset, item.entry.compressed);
        }
    }
    let lively = |pack: &&Descriptor| {
        used.get(&pack.digest).is_some_and(|objects| objects.values().sum::<u64>() * 2 >= pack.size)
    };
    let kept: Vec<Descriptor> = old.iter().filter(lively).cloned().collect();
    if kept.len() < MAX_PACKS { kept } else { Vec::new() }
}

struct Packed {
    file: tempfile::NamedTempFile,
    digest: Digest,
    size: u64,
}

/// Packs what is neither small nor in a pack that stays, and writes into the profile where it is. What isn't here any
/// more is left out of it. None if there is nothing to pack.
fn pack(profile: &mut Profile, stays: &BTreeSet<Digest>, local: &Local) -> io::Result<Option<Packed>> {
    let mut file = tempfile::NamedTempFile::new()?;
    let (mut hasher, mut at) = (Hasher::new(), 0_u64);
    let mut places: BTreeMap<Digest, (Digest, u64, u64)> = BTreeMap::new();
    let fine =
        |item: &Item| item.contents.is_some() || item.place.is_some_and(|(pack, _)| stays.contains(&pack));
    for item in &profile.items {
        let entry = &item.entry;
        if fine(item) || places.contains_key(&entry.output) {
            continue;
        }
        let Some(reader) =
            local.output(&entry.output, entry.size).and_then(|_| local.open(&entry.output).ok())
        else {
            continue;
        };
        let object = object::compress(reader, entry.size)?;
        file.write_all(&object)?;
        hasher.update(&object);
        places.insert(entry.output, (Digest::of(&object), object.len() as u64, at));
        at += object.len() as u64;
    }
    let (digest, size) = hasher.finish();
    profile.items.retain_mut(|item| {
        if fine(item) {
            return true;
        }
        let Some((object, compressed, offset)) = places.get(&item.entry.output) else { return false };
        (item.entry.object, item.entry.compressed) = (*object, *compressed);
        item.place = Some((digest, *offset));
        true
    });
    Ok((size > 0).then_some(Packed { file, digest, size }))
}
