//! A registry client that remembers what it said, and small images to push with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gimg::content::copy::Copier;
use gimg::content::{Blob, Graph, ImageName, Source};
use gimg::error::{Kind, Result};
use gimg::event::{Event, Observer, Put};
use gimg::oci::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType, Reference, Repository};
use gimg::registry::{Keychain, Options, Registry, RegistryTarget, Secret, retry::Policy};

use crate::support::canary::{self, SECRET};
use crate::support::registry::TestRegistry;

/// Keeps what it hears.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<Event>>);

impl Observer for Heard {
    fn on(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Heard {
    /// How the blob got there.
    pub(crate) fn how(&self, digest: Digest) -> Vec<Put> {
        let events = self.0.lock().unwrap();
        let puts = events.iter().filter_map(|e| match e {
            Event::Put { descriptor, how, .. } if descriptor.digest == digest => Some(*how),
            _ => None,
        });
        puts.collect()
    }

    /// The bytes of a blob that were reported.
    pub(crate) fn sent(&self, digest: Digest) -> u64 {
        let events = self.0.lock().unwrap();
        let sent = events.iter().filter_map(|e| match e {
            Event::Sent { digest: d, bytes, .. } if *d == digest => Some(*bytes),
            _ => None,
        });
        sent.sum()
    }

    /// Everything that was said, for those who look for what must not be.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().iter().map(|event| format!("{event:?}\n")).collect()
    }

    /// Everything, in order.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|e| is(e)).count()
    }
}

/// A client with what it said.
pub(crate) struct Client {
    pub(crate) registry: Registry,
    pub(crate) heard: Arc<Heard>,
}

impl Drop for Heard {
    /// No event held a secret.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            canary::check("a client", &self.text());
        }
    }
}

/// `result`, whose error holds no secret.
#[track_caller]
fn clean<T>(result: Result<T>) -> Result<T> {
    if let Err(error) = &result {
        canary::check("an error", &format!("{error} {error:?}"));
    }
    result
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::with(Keychain::empty())
    }

    pub(crate) fn with(keychain: Keychain) -> Self {
        Self::of(Options { keychain, ..Options::default() })
    }

    pub(crate) fn of(options: Options) -> Self {
        let heard = Arc::new(Heard::default());
        let retry = Policy { first: Duration::from_millis(5), ..options.retry };
        let observer = Arc::clone(&heard) as Arc<dyn Observer>;
        let registry = Registry::new(Options { observer, retry, ..options });
        Client { registry, heard }
    }

    /// One who knows olareg's user.
    pub(crate) fn user(host: &str) -> Self {
        Self::with(Keychain::single(&host.parse().unwrap(), "user", Secret::new(SECRET)))
    }

    pub(crate) fn copier(&self) -> Copier {
        let origin = Arc::new(self.registry.clone());
        let target = RegistryTarget::new(self.registry.clone(), origin);
        Copier::new(Arc::new(target), Arc::clone(&self.heard) as Arc<dyn Observer>, 4)
    }

    pub(crate) async fn push(&self, graph: &Graph) -> Result<()> {
        let copier = self.copier();
        clean(copier.content(graph).await)?;
        clean(copier.publish(std::slice::from_ref(graph)).await)
    }

    pub(crate) async fn resolve(&self, reference: &str) -> Result<(Descriptor, Bytes)> {
        clean(self.registry.resolve(&reference.parse::<Reference>().unwrap()).await)
    }

    pub(crate) async fn read(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let mut stream = clean(self.registry.fetch(repository, descriptor).await)?;
        let mut all = Vec::new();
        while let Some(bytes) = stream.next().await {
            all.extend_from_slice(&clean(bytes)?);
        }
        Ok(all)
    }

    /// Everything that `reference` names is there, byte for byte.
    pub(crate) async fn holds(&self, reference: &str, graph: &Graph) {
        let (root, bytes) = self.resolve(reference).await.unwrap();
        assert_eq!(root.digest, graph.root.descriptor.digest);
        assert_eq!(root.media_type, graph.root.descriptor.media_type);
        assert_eq!(Digest::of(&bytes), root.digest);
        let repository = graph.name.repository.clone().unwrap();
        for blob in graph.post_order() {
            let read = self.read(&repository, &blob.descriptor).await.unwrap();
            assert_eq!(Digest::of(&read), blob.descriptor.digest);
        }
    }
}

/// A blob of `size` bytes that depend on `seed`.
pub(crate) fn layer(seed: u8, size: usize) -> Blob {
    let bytes: Vec<u8> = (0..size).map(|i| (i.wrapping_mul(31) >> 3) as u8 ^ seed).collect();
    Blob::of(MediaType::LAYER_GZIP, bytes.into())
}

/// The manifest of an image over `layers`, and its config.
pub(crate) fn image(seed: u8, layers: &[Blob]) -> (Blob, Blob) {
    let config = Blob::of(MediaType::CONFIG, format!("{{\"seed\":{seed}}}").into());
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::MANIFEST),
        artifact_type: None,
        config: config.descriptor.clone(),
        layers: layers.iter().map(|l| l.descriptor.clone()).collect(),
        subject: None,
        annotations: BTreeMap::new(),
    };
    (Blob::json(MediaType::MANIFEST, &manifest).unwrap(), config)
}

/// An image of these layers for `repository`.
pub(crate) fn single(repository: &str, tags: &[&str], layers: &[Blob]) -> Graph {
    let (root, config) = image(0, layers);
    let blobs = layers.iter().cloned().chain([config]).collect();
    let name = ImageName { program: "app".to_owned(), repository: Some(repository.parse().unwrap()) };
    Graph::new(name, blobs, Vec::new(), root, tags.iter().map(|t| t.parse().unwrap()).collect())
}

/// An index of two images that share a layer.
pub(crate) fn multi(repository: &str, tags: &[&str]) -> Graph {
    let shared = layer(1, 100_000);
    let mut blobs = vec![shared.clone()];
    let mut children = Vec::new();
    for seed in [2, 3] {
        let own = layer(seed, 5000);
        let (manifest, config) = image(seed, &[shared.clone(), own.clone()]);
        blobs.extend([own, config]);
        children.push(manifest);
    }
    let entries = children.iter().map(|c| c.descriptor.clone()).collect();
    let root = Blob::json(MediaType::INDEX, &ImageIndex::new(entries, BTreeMap::new())).unwrap();
    let name = ImageName { program: "app".to_owned(), repository: Some(repository.parse().unwrap()) };
    Graph::new(name, blobs, children, root, tags.iter().map(|t| t.parse().unwrap()).collect())
}

/// Pushes an image to a registry, reads it back, pushes it again and mounts it.
pub(crate) async fn round_trip(host: &str, client: &Client) {
    let repository = format!("{host}/team/app");
    let graph = multi(&repository, &["v1", "v1.2"]);
    client.push(&graph).await.unwrap();
    for reference in ["v1", "v1.2"] {
        client.holds(&format!("{repository}:{reference}"), &graph).await;
    }
    client.holds(&format!("{repository}@{}", graph.root.descriptor.digest), &graph).await;
    for blob in graph.post_order() {
        assert_eq!(client.heard.how(blob.descriptor.digest), [Put::Sent]);
    }
    assert_eq!(client.heard.sent(graph.blobs[0].descriptor.digest), 100_000);
    // A second run finds the image there, and asks for no more.
    let again = Client { registry: client.registry.clone(), heard: Arc::clone(&client.heard) };
    again.push(&graph).await.unwrap();
    assert_eq!(again.heard.how(graph.root.descriptor.digest), [Put::Sent, Put::Present]);
    for blob in graph.blobs.iter().chain(&graph.children) {
        assert_eq!(again.heard.how(blob.descriptor.digest), [Put::Sent]);
    }
    // Another image has some of it.
    let mut less = single(&repository, &["v2"], &graph.blobs[..2]);
    less.blobs.rotate_left(2);
    again.push(&less).await.unwrap();
    assert_eq!(again.heard.how(graph.blobs[0].descriptor.digest), [Put::Sent, Put::Present]);
    // Another repository of the registry mounts what this run has.
    let copier = client.copier();
    let other = multi(&format!("{host}/team/other"), &["v1"]);
    copier.content(&graph).await.unwrap();
    copier.content(&other).await.unwrap();
    copier.publish(std::slice::from_ref(&other)).await.unwrap();
    let how = client.heard.how(graph.blobs[0].descriptor.digest);
    assert_eq!(how, [Put::Sent, Put::Present, Put::Mounted]);
    client.holds(&format!("{host}/team/other:v1"), &other).await;
    let error = client.resolve(&format!("{repository}:none")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("not found"), "{error}");
}

/// A repository of our own registry.
pub(crate) fn own(registry: &TestRegistry) -> String {
    format!("{}/team/app", registry.host())
}
