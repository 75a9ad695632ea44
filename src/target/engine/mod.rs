//! Container engines as destinations: Docker, podman, containerd, the nodes of a kind cluster.
//!
//! An engine takes one image, for the platform that it runs, as a whole. It is loaded under a name that ends in its
//! manifest's digest, as ko does, so that a load that breaks off moves no name; then the tags follow. What is there
//! already isn't sent again. Docker knows only the format of `docker load`; the others are sent an OCI layout, in
//! which the manifest, and with it its digest, is the registry's.

mod api;
mod command;
mod find;
mod save;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use tokio::io::AsyncWriteExt as _;

use crate::content::{Blob, BoxFuture, ByteStream, Graph, ImageName, Source, Target};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer, Put};
use crate::image::Compression;
use crate::oci::{Digest, ImageIndex, Platform, Tag, annotation, json};
use crate::store::Scratch;
use crate::target::archive::Format;
use crate::target::pack::{self, Kept};

use api::Api;
use command::{Ctr, Podman};
pub use save::Saved;

/// Which engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// containerd, in this namespace or ctr's own.
    Containerd(Option<String>),
    /// The nodes of this kind cluster.
    Kind(String),
}

/// An engine that has answered: what it runs is known.
#[derive(Clone, Debug)]
pub struct Engine {
    which: Which,
    name: String,
    platform: Platform,
    places: Vec<Place>,
}

/// Something that holds images.
#[derive(Clone, Debug)]
enum Place {
    /// An engine's API, and the format that is sent to it.
    Api(Api, Format),
    Podman(Podman),
    Ctr(Ctr),
}

/// An image for an engine.
struct Wanted {
    repository: String,
    /// `repository:<the manifest's digest in hex>`.
    reference: String,
    config: Digest,
    manifest: Digest,
}

impl Engine {
    /// Finds the engine by the environment `env` and asks what it runs. Commands run in `dir`.
    ///
    /// # Errors
    /// An engine that isn't there, isn't running or can't be reached.
    pub async fn connect(which: &Which, env: &BTreeMap<String, String>, dir: &Path) -> Result<Self> {
        let (name, platform, places) = match which {
            Which::Docker => {
                let api = Api::new("docker", &find::docker(env)?)?;
                ("docker".to_owned(), api.platform().await?, vec![Place::Api(api, Format::Docker)])
            }
            Which::Podman => {
                let (platform, place) = podman(env, dir).await?;
                ("podman".to_owned(), platform, vec![place])
            }
            Which::Containerd(namespace) => {
                let ctr = Ctr::local(namespace.as_deref(), dir);
                ("containerd".to_owned(), ctr.platform().await?, vec![Place::Ctr(ctr)])
            }
            Which::Kind(cluster) => {
                let provider = env.get("KIND_EXPERIMENTAL_PROVIDER").map(String::as_str);
                let provider = provider.filter(|name| !name.is_empty());
                let (nodes, platform) = command::kind_nodes(cluster, provider, dir).await?;
                (format!("kind cluster {cluster}"), platform, nodes.into_iter().map(Place::Ctr).collect())
            }
        };
        Ok(Engine { which: which.clone(), name, platform, places })
    }

    /// The image called `name` in the Docker that `env` leads to; its layers come to lie in `scratch`, compressed
    /// as `compression` says by `threads` threads.
    ///
    /// # Errors
    /// No such engine or image, or one that isn't what its config says.
    pub async fn image(
        name: &str,
        env: &BTreeMap<String, String>,
        scratch: &Arc<Scratch>,
        compression: Compression,
        threads: usize,
    ) -> Result<Saved> {
        let api = Api::new("docker", &find::docker(env)?)?;
        let Some(mut content) = api.save(name).await? else {
            return Err(Error::new(Kind::Base, "read the image", "docker has no image of this name"));
        };
        let (file, path) = scratch.file()?;
        let io = |e: &std::io::Error| Error::io("write", &path, e);
        let mut file = tokio::fs::File::from_std(file);
        while let Some(piece) = content.next().await {
            file.write_all(&piece?).await.map_err(|e| io(&e))?;
        }
        file.flush().await.map_err(|e| io(&e))?;
        drop(file);
        let (scratch, tar) = (Arc::clone(scratch), path.clone());
        let work = move || {
            let saved = save::read(&tar, compression, threads, &scratch);
            scratch.remove(&tar);
            saved
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::new(Kind::Internal, "read the image", e))?
    }

    /// Which one it is.
    #[must_use]
    pub fn which(&self) -> &Which {
        &self.which
    }

    /// Its name in words.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it runs.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }
}

/// Podman by its socket, or else by its command. A socket that nobody answers may be left over: only if the user
/// named it that is an error.
async fn podman(env: &BTreeMap<String, String>, dir: &Path) -> Result<(Platform, Place)> {
    let address = find::podman(env)?;
    let named = env.get("CONTAINER_HOST").is_some_and(|host| !host.is_empty());
    if let Some(address) = address {
        let api = Api::new("podman", &address)?;
        match api.platform().await {
            Ok(platform) => return Ok((platform, Place::Api(api, Format::Oci))),
            Err(error) if named => return Err(error),
            Err(_) => {}
        }
    }
    let command = Podman::new(dir);
    Ok((command.platform().await?, Place::Podman(command)))
}

impl Place {
    fn format(&self) -> Format {
        match self {
            Place::Api(_, format) => *format,
            Place::Podman(_) | Place::Ctr(_) => Format::Oci,
        }
    }

    /// Whether the image is there; if it is, it gets its name.
    async fn has(&self, wanted: &Wanted) -> Result<bool> {
        let hex = wanted.manifest.hex();
        match self {
            Place::Api(api, _) if api.has(&wanted.config).await? => {
                api.tag(&wanted.config.to_string(), &wanted.repository, &hex).await?;
                Ok(true)
            }
            Place::Podman(podman) if podman.has(&wanted.config).await? => {
                podman.tag(&wanted.config.hex(), &wanted.reference).await?;
                Ok(true)
            }
            Place::Ctr(ctr) => ctr.has(wanted).await,
            Place::Api(..) | Place::Podman(_) => Ok(false),
        }
    }

    async fn load(&self, wanted: &Wanted, content: ByteStream) -> Result<()> {
        match self {
            Place::Api(api, _) => api.load(&wanted.reference, content).await,
            Place::Podman(podman) => podman.load(&wanted.reference, content).await,
            Place::Ctr(ctr) => ctr.load(&wanted.reference, content).await,
        }
    }

    async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<()> {
        match self {
            Place::Api(api, _) => api.tag(image, repository, tag).await,
            Place::Podman(podman) => podman.tag(image, &format!("{repository}:{tag}")).await,
            Place::Ctr(ctr) => ctr.tag(image, &format!("{repository}:{tag}")).await,
        }
    }
}

/// An engine as destination.
pub struct EngineTarget {
    engine: Arc<Engine>,
    kept: Kept,
    observer: Arc<dyn Observer>,
    /// What was loaded for a root, by which tags find it.
    loaded: Mutex<BTreeMap<(ImageName, Digest), String>>,
}

impl EngineTarget {
    /// A target that loads into `engine`. `origin` has what is in registries; it is kept in `scratch`.
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        origin: Arc<dyn Source>,
        scratch: Arc<Scratch>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        EngineTarget { engine, kept: Kept::new(origin, scratch), observer, loaded: Mutex::default() }
    }

    /// The image as a stream for `place`; what goes by is reported as of `total` bytes.
    fn stream(&self, image: &Graph, wanted: &Wanted, place: &Place, total: u64) -> Result<ByteStream> {
        let images = std::slice::from_ref(image);
        let packed = match place.format() {
            Format::Docker => pack::docker(images, |_| vec![wanted.reference.clone()], &self.kept)?,
            Format::Oci => pack::oci(images, index_json(image, wanted)?, &self.kept)?,
        };
        let (observer, digest) = (Arc::clone(&self.observer), wanted.manifest);
        Ok(Box::pin(pack::stream(packed).inspect(move |piece| {
            if let Ok(bytes) = piece {
                observer.on(Event::Sent { digest, bytes: bytes.len() as u64, total });
            }
        })))
    }

    async fn load(&self, graph: &Graph) -> Result<()> {
        let image = graph.for_platform(&self.engine.platform)?;
        let wanted = wanted(&image)?;
        let places = &self.engine.places;
        let present = try_join_all(places.iter().map(|place| place.has(&wanted))).await?;
        let missing: Vec<&Place> =
            places.iter().zip(present).filter(|(_, has)| !has).map(|(place, _)| place).collect();
        if !missing.is_empty() {
            try_join_all(image.blobs.iter().map(|blob| self.kept.keep(blob))).await?;
            let size = image.blobs.iter().map(|blob| blob.descriptor.size).sum::<u64>();
            let total = size * missing.len() as u64;
            let loads = missing.iter().map(|place| async {
                place.load(&wanted, self.stream(&image, &wanted, place, total)?).await
            });
            try_join_all(loads).await?;
        }
        let (name, config) = (&self.engine.name, wanted.config);
        self.observer.on(Event::Detail(format!("{name}: {} is image {config}", wanted.reference)));
        self.observer.on(Event::Put {
            descriptor: image.root.descriptor.clone(),
            how: if missing.is_empty() { Put::Present } else { Put::Sent },
            destination: self.describe(&image.name),
        });
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.insert((image.name, graph.root.descriptor.digest), wanted.reference);
        Ok(())
    }
}

/// What the engine must have for `image`.
fn wanted(image: &Graph) -> Result<Wanted> {
    let (repository, manifest) = (repository(&image.name), image.root.descriptor.digest);
    let reference = format!("{repository}:{}", manifest.hex());
    Ok(Wanted { repository, reference, config: image.image_manifest()?.config.digest, manifest })
}

/// What images are called before the colon.
fn repository(name: &ImageName) -> String {
    match &name.repository {
        Some(repository) => repository.to_string(),
        // Settings always give one when an engine is a destination.
        None => format!("ko.local/{}", name.program.to_lowercase()),
    }
}

/// The `index.json` that gives the image its full name, for podman by the one annotation, for containerd by the other.
fn index_json(image: &Graph, wanted: &Wanted) -> Result<Bytes> {
    let mut entry = image.root.descriptor.clone();
    for key in [annotation::REF_NAME, annotation::CONTAINERD_NAME] {
        entry.annotations.insert(key.to_owned(), wanted.reference.clone());
    }
    json::to_bytes(&ImageIndex::new(vec![entry], BTreeMap::new()))
}

impl Target for EngineTarget {
    fn describe(&self, name: &ImageName) -> String {
        format!("{} {}", self.engine.name, repository(name))
    }

    fn put<'a>(&'a self, _name: &'a ImageName, _blob: &'a Blob) -> BoxFuture<'a, Result<Put>> {
        // Engines take images whole: see `complete`.
        Box::pin(async { Ok(Put::Later) })
    }

    fn complete<'a>(&'a self, graph: &'a Graph) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.load(graph))
    }

    fn tag<'a>(&'a self, name: &'a ImageName, root: &'a Blob, tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let image = {
                let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
                loaded.get(&(name.clone(), root.descriptor.digest)).cloned()
            };
            let Some(image) = image else {
                return Err(Error::new(Kind::Internal, format!("tag {tag}"), "the image was never loaded"));
            };
            let repository = repository(name);
            let places = self.engine.places.iter();
            try_join_all(places.map(|place| place.tag(&image, &repository, tag.as_str()))).await?;
            self.observer.on(Event::Tagged { name: format!("{repository}:{tag} in {}", self.engine.name) });
            Ok(())
        })
    }

    fn finish<'a>(&'a self, _graphs: &'a [Graph]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn reference(&self, graph: &Graph) -> String {
        let image = graph.for_platform(&self.engine.platform).ok();
        let digest = image.as_ref().unwrap_or(graph).root.descriptor.digest;
        let repository = repository(&graph.name);
        // As engines, and ko, print a name without registry and user, such as `ko.local` itself.
        let repository = repository.strip_prefix("docker.io/library/").unwrap_or(&repository);
        format!("{repository}:{}", digest.hex())
    }
}
