//! The base: resolved once to a digest, its manifests verified, its layers left where they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::image::assemble::{EPOCH, Inherited};
use crate::oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, MediaType, Platform, Reference, Repository, document,
    json,
};
use crate::ops::built_in::built_in_layer;
use crate::ops::home::Home;
use crate::ops::memo::Memo;
use crate::ops::{Context, base_engine, blocking, signatures};
use crate::plan::platforms::{self, Requested};
use crate::settings::{Base, BaseKeys, Settings, Stand, lock};
use crate::target::oci_archive::OciArchive;
use crate::target::reader::Reader;

/// What each platform's image stands on.
pub(super) struct Bases {
    /// In the order of the platforms.
    pub(super) list: Vec<(Platform, Inherited)>,
    /// Which base each of them is of.
    pub(super) of: Vec<Root>,
}

/// A base that was found.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Root {
    /// Which it is.
    pub(super) base: Base,
    /// The digest of its manifest or index, if it is an image.
    pub(super) digest: Option<Digest>,
}

impl Bases {
    /// The base of every platform, if it is one.
    pub(super) fn one(&self) -> Option<&Root> {
        let first = self.of.first()?;
        self.of.iter().all(|root| root == first).then_some(first)
    }

    /// The base's reference and the digest of its root, if every platform has the same and it comes from a registry: a
    /// layout has no name that others know.
    pub(super) fn origin(&self) -> Option<(String, Digest)> {
        let root = self.one()?;
        match &root.base {
            Base::Registry(reference) => root.digest.map(|digest| (reference.to_string(), digest)),
            _ => None,
        }
    }

    /// The platforms, in order.
    pub(super) fn platforms(&self) -> Vec<Platform> {
        self.list.iter().map(|(p, _)| p.clone()).collect()
    }
}

/// Finds what images stand on for every platform: each base is asked once, for all its platforms.
pub(super) async fn lookup(
    cx: &Context,
    settings: &Settings,
    memo: Option<&Memo>,
    stand: &Stand,
) -> Result<Bases> {
    let wanted = stand.asked.as_ref().unwrap_or(&settings.platforms);
    let (rest, own) = platforms::apart(wanted, &stand.platforms);
    let mut asked: Vec<(&Base, Requested)> = rest.into_iter().map(|rest| (&stand.base, rest)).collect();
    let shared = asked.len();
    for (platform, base) in &own {
        let one = asked.iter_mut().skip(shared).find(|(b, _)| b == base);
        match one {
            Some((_, Requested::List(list))) => list.push(platform.clone()),
            _ => asked.push((*base, Requested::List(vec![platform.clone()]))),
        }
    }
    let answers = try_join_all(asked.iter().map(|(base, platforms)| async move {
        let settings = Settings { platforms: platforms.clone(), ..settings.clone() };
        found(cx, &settings, memo, base).await
    }))
    .await?;
    let mut found = Vec::new();
    let mut of_all: Vec<Platform> = Vec::new();
    for (number, ((base, _), (list, digest))) in asked.iter().zip(answers).enumerate() {
        let root = Root { base: (*base).clone(), digest };
        if number < shared {
            of_all = list.iter().map(|(p, _)| p.clone()).collect();
        }
        // What another base is for is not taken from the one for all.
        let is_taken = |p: &Platform| number < shared && own.iter().any(|(o, _)| platforms::stands_for(o, p));
        found.extend(list.into_iter().filter(|(p, _)| !is_taken(p)).map(|item| (item, root.clone())));
    }
    // Stable: the order that a base gives its platforms of one kind stays.
    found.sort_by_key(|((platform, _), _)| platforms::position(wanted, &of_all, platform));
    let (list, of) = found.into_iter().unzip();
    Ok(Bases { list, of })
}

/// For each platform what it inherits, and the digest of the whole.
type Inheritance = (Vec<(Platform, Inherited)>, Option<Digest>);

async fn found(cx: &Context, settings: &Settings, memo: Option<&Memo>, base: &Base) -> Result<Inheritance> {
    match base {
        Base::Static(version) => {
            if let (None, Some(lock)) = (version, &settings.lock) {
                lock.check_static()?;
            }
            let list = platforms::for_static(&settings.platforms)?;
            let layer = built_in_layer(cx, settings, memo).await?;
            let inherited = |p: &Platform| Inherited {
                config: crate::base::config(p, layer.1),
                layers: vec![layer.0.clone()],
                ..Inherited::default()
            };
            let list = list.into_iter().map(|p| (p.clone(), inherited(&p))).collect();
            Ok((list, None))
        }
        Base::Scratch => {
            let list = platforms::for_scratch(&settings.platforms)?;
            let config = ImageConfig { created: Some(EPOCH.to_owned()), ..ImageConfig::default() };
            let scratch = Inherited { config, ..Inherited::default() };
            Ok((list.into_iter().map(|p| (p, scratch.clone())).collect(), None))
        }
        Base::Registry(reference) => from_registry(cx, settings, reference).await,
        Base::Docker(reference) => Ok((base_engine::lookup(cx, settings, reference).await?, None)),
        Base::Layout(dir, name) => {
            let shown = format!("oci:{}", dir.display());
            let within = |e: Error| base_error(e, &shown);
            let reader = Reader::open(dir).map_err(within)?;
            let (root, _) = reader.root(name.as_deref()).map_err(within)?;
            let bytes = reader.document(&root).map_err(within)?;
            inherit(settings, &Home::Layout(reader), root, bytes, &shown).await
        }
        Base::OciArchive(file, name) => from_archive(cx, settings, file, name.as_deref()).await,
        Base::DockerArchive(file) => Ok((base_engine::archive(cx, settings, file).await?, None)),
    }
}

async fn from_registry(cx: &Context, settings: &Settings, reference: &Reference) -> Result<Inheritance> {
    let name = reference.to_string();
    let locked = settings.lock.as_ref().and_then(|lock| lock.digest(reference));
    let (root, bytes) = root_of(cx, reference, locked).await?;
    let keys = BaseKeys::of(&settings.base_keys, &reference.repository);
    signed(cx, &reference.repository, &root, keys).await.map_err(|e| base_error(e, &name))?;
    cx.observer.on(Event::Base { reference: format!("{}@{}", reference.repository, root.digest) });
    let home = Home::Registry(cx.origin(), reference.repository.clone());
    inherit(settings, &home, root, bytes, &name).await
}

/// Checks that one of `keys` signed a base, if there are any.
async fn signed(cx: &Context, repository: &Repository, root: &Descriptor, keys: &[PathBuf]) -> Result<()> {
    let mut first = None;
    for path in keys {
        let key = signatures::public_key(path).await?;
        match signatures::require(cx, repository, root, &key).await {
            Ok(_) => return Ok(()),
            // Another may have.
            Err(error) if error.kind() == Kind::Attestation => drop(first.get_or_insert(error)),
            Err(error) => return Err(error),
        }
    }
    first.map_or(Ok(()), |error| Err(error.hint("baseVerification wants it signed")))
}

/// The root that `reference` names now, or that it is `locked` to; verified.
pub(super) async fn root_of(
    cx: &Context,
    reference: &Reference,
    locked: Option<Digest>,
) -> Result<(Descriptor, Bytes)> {
    let name = reference.to_string();
    let wanted = match locked {
        Some(digest) => Reference { tag: None, digest: Some(digest), ..reference.clone() },
        None => reference.clone(),
    };
    cx.origin().resolve(&wanted).await.map_err(|e| {
        let gone = e.kind() == Kind::Refused;
        let error = base_error(e, &name);
        match locked {
            Some(_) if gone => error.hint(format!(
                "{} names this digest; gimg lock --update {name} takes what the tag stands for now",
                lock::FILE
            )),
            _ => error,
        }
    })
}

/// Only what is needed is unpacked: the documents, and the layers of the platforms.
async fn from_archive(
    cx: &Context,
    settings: &Settings,
    file: &Path,
    entry: Option<&str>,
) -> Result<Inheritance> {
    let name = format!("oci-archive:{}", file.display());
    let within = |e: Error| e.within(format!("use the base {name}"));
    let (dir, path) = (cx.scratch.directory()?, file.to_owned());
    let archive = blocking(move || OciArchive::open(&path, dir)).await.map_err(within)?;
    let (root, _) = archive.root(entry).map_err(within)?;
    let bytes = archive.document(&root).map_err(within)?;
    let archive = Arc::new(archive);
    let home = Home::Archive(Arc::clone(&archive));
    let (list, digest) = inherit(settings, &home, root, bytes, &name).await?;
    let layers: Vec<Descriptor> =
        list.iter().flat_map(|(_, i)| &i.layers).map(|l| l.descriptor.clone()).collect();
    blocking(move || archive.unpack(&layers)).await.map_err(within)?;
    Ok((list, digest))
}

/// A failure that isn't about credentials, the network or integrity is the base's.
fn base_error(error: Error, name: &str) -> Error {
    let error = error.within(format!("use the base {name}"));
    match error.kind() {
        Kind::Refused | Kind::Input => error.as_kind(Kind::Base),
        _ => error,
    }
}

/// What the platforms inherit from a root that is an index or an image.
async fn inherit(
    settings: &Settings,
    home: &Home,
    root: Descriptor,
    bytes: Bytes,
    name: &str,
) -> Result<Inheritance> {
    let bad = |why: String| Error::new(Kind::Base, format!("use the base {name}"), why);
    let chosen: Vec<(Platform, Descriptor, Option<Bytes>)> = if root.media_type.is_index() {
        let index = document::index(&bytes, &root.media_type).map_err(|e| base_error(e, name))?;
        let entries: Vec<&Descriptor> = index.manifests.iter().filter(|d| !d.is_attestation()).collect();
        let mut available = Vec::new();
        for entry in &entries {
            if entry.media_type.is_index() {
                let why = format!("index nested too deep: its entry {} is an index itself", entry.digest);
                return Err(Error::new(Kind::Integrity, format!("use the base {name}"), why));
            }
            match &entry.platform {
                Some(platform) => available.push(platform.clone()),
                None => return Err(bad(format!("its entry {} names no platform", entry.digest))),
            }
        }
        let matched = platforms::for_base(&settings.platforms, &available, name)?;
        matched.into_iter().map(|(p, i)| (p, entries[i].clone(), None)).collect()
    } else if root.media_type.is_manifest() {
        let (_, config) = image(settings, home, &root, &bytes, name).await?;
        let mut platform = Platform::new(&config.os, &config.architecture);
        platform.variant.clone_from(&config.variant);
        platform.os_version.clone_from(&config.os_version);
        platform.os_features.clone_from(&config.os_features);
        let matched = platforms::for_base(&settings.platforms, &[platform], name)?;
        matched.into_iter().map(|(p, _)| (p, root.clone(), Some(bytes.clone()))).collect()
    } else {
        return Err(bad(format!("it is {}, not an image", root.media_type)));
    };
    if chosen.is_empty() {
        return Err(bad("it has no platform that gimg builds for".to_owned()));
    }
    let list = try_join_all(chosen.into_iter().map(|(mut platform, descriptor, bytes)| async move {
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => home.document(&descriptor).await.map_err(|e| base_error(e, name))?,
        };
        if !descriptor.media_type.is_manifest() {
            return Err(bad(format!(
                "its entry {} is {}, not an image",
                descriptor.digest, descriptor.media_type
            )));
        }
        let (manifest, config) = image(settings, home, &descriptor, &bytes, name).await?;
        if config.os != platform.os || config.architecture != platform.architecture {
            let says = format!("{}/{}", config.os, config.architecture);
            return Err(bad(format!("its config says {says}, its index {platform}")));
        }
        if platform.os_version.is_none() {
            platform.os_version.clone_from(&config.os_version);
        }
        let inherited = Inherited {
            layers: manifest
                .layers
                .iter()
                .map(|l| home.layer(l))
                .collect::<Result<_>>()
                .map_err(|e| base_error(e, name))?,
            annotations: manifest.annotations,
            origin: home.is_registry().then(|| (name.to_owned(), descriptor.digest)),
            config,
        };
        Ok((platform, inherited))
    }))
    .await?;
    Ok((list, Some(root.digest)))
}

/// A manifest and its config, checked against each other.
async fn image(
    settings: &Settings,
    home: &Home,
    descriptor: &Descriptor,
    bytes: &Bytes,
    name: &str,
) -> Result<(ImageManifest, ImageConfig)> {
    let within = |e: Error| base_error(e, name);
    let bad = |kind: Kind, why: String| Error::new(kind, format!("use the base {name}"), why);
    let manifest = document::manifest(bytes, &descriptor.media_type).map_err(within)?;
    let config_type = manifest.config.media_type.to_oci();
    if config_type != MediaType::CONFIG {
        let kind = manifest.artifact_type.as_ref().unwrap_or(&manifest.config.media_type);
        return Err(bad(
            Kind::Base,
            format!("{} is an artifact of type {kind}, not an image", descriptor.digest),
        ));
    }
    let is_foreign = |l: &&Descriptor| l.media_type.is_foreign() || l.extra.contains_key("urls");
    if let Some(foreign) =
        manifest.layers.iter().find(is_foreign).filter(|_| !settings.allow_nondistributable)
    {
        let why = format!("layer {} is kept elsewhere (foreign layers are not allowed)", foreign.digest);
        return Err(
            bad(Kind::Base, why).hint("--allow-nondistributable names such layers without moving them")
        );
    }
    let config = home.document(&manifest.config).await.map_err(within)?;
    let config: ImageConfig = json::from_bytes(&config, "its config").map_err(within)?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        let (ids, layers) = (config.rootfs.diff_ids.len(), manifest.layers.len());
        return Err(bad(
            Kind::Integrity,
            format!("its config lists {ids} diff_ids, its manifest {layers} layers"),
        ));
    }
    Ok((manifest, config))
}
