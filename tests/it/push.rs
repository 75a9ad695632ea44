//! Pushing and pulling with the registry client, against our own registry and real ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gimg::content::copy::Copier;
use gimg::content::{Blob, Content, Graph, ImageName, Source, Target};
use gimg::error::{Kind, Result};
use gimg::event::{Event, Observer, Put};
use gimg::oci::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType, Reference, Repository};
use gimg::registry::{Insecure, Keychain, Options, Registry, RegistryTarget, Secret, retry::Policy};

use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::servers::{Server, ca};

/// Keeps what it hears.
#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Observer for Heard {
    fn on(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Heard {
    /// How the blob got there.
    fn how(&self, digest: Digest) -> Vec<Put> {
        let events = self.0.lock().unwrap();
        let puts = events.iter().filter_map(|e| match e {
            Event::Put { descriptor, how, .. } if descriptor.digest == digest => Some(*how),
            _ => None,
        });
        puts.collect()
    }

    /// The bytes of a blob that were reported.
    fn sent(&self, digest: Digest) -> u64 {
        let events = self.0.lock().unwrap();
        let sent = events.iter().filter_map(|e| match e {
            Event::Sent { digest: d, bytes, .. } if *d == digest => Some(*bytes),
            _ => None,
        });
        sent.sum()
    }

    fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|e| is(e)).count()
    }
}

/// A client with what it said.
struct Client {
    registry: Registry,
    heard: Arc<Heard>,
}

impl Client {
    fn new() -> Self {
        Self::with(Keychain::empty())
    }

    fn with(keychain: Keychain) -> Self {
        Self::of(Options { keychain, ..Options::default() })
    }

    fn of(options: Options) -> Self {
        let heard = Arc::new(Heard::default());
        let retry = Policy { first: Duration::from_millis(5), ..Policy::default() };
        let observer = Arc::clone(&heard) as Arc<dyn Observer>;
        let registry = Registry::new(Options { observer, retry, ..options });
        Client { registry, heard }
    }

    /// One who knows olareg's user.
    fn user(host: &str) -> Self {
        Self::with(Keychain::single(&host.parse().unwrap(), "user", Secret::new("secret")))
    }

    fn copier(&self) -> Copier {
        let origin = Arc::new(self.registry.clone());
        let target = RegistryTarget::new(self.registry.clone(), origin);
        Copier::new(Arc::new(target), Arc::clone(&self.heard) as Arc<dyn Observer>, 4)
    }

    async fn push(&self, graph: &Graph) -> Result<()> {
        let copier = self.copier();
        copier.content(graph).await?;
        copier.publish(std::slice::from_ref(graph)).await
    }

    async fn resolve(&self, reference: &str) -> Result<(Descriptor, Bytes)> {
        self.registry.resolve(&reference.parse::<Reference>().unwrap()).await
    }

    async fn read(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let mut stream = self.registry.fetch(repository, descriptor).await?;
        let mut all = Vec::new();
        while let Some(bytes) = stream.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok(all)
    }

    /// Everything that `reference` names is there, byte for byte.
    async fn holds(&self, reference: &str, graph: &Graph) {
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
fn layer(seed: u8, size: usize) -> Blob {
    let bytes: Vec<u8> = (0..size).map(|i| (i.wrapping_mul(31) >> 3) as u8 ^ seed).collect();
    Blob::of(MediaType::LAYER_GZIP, bytes.into())
}

/// The manifest of an image over `layers`, and its config.
fn image(seed: u8, layers: &[Blob]) -> (Blob, Blob) {
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
fn single(repository: &str, tags: &[&str], layers: &[Blob]) -> Graph {
    let (root, config) = image(0, layers);
    let blobs = layers.iter().cloned().chain([config]).collect();
    let name = ImageName { program: "app".to_owned(), repository: Some(repository.parse().unwrap()) };
    Graph::new(name, blobs, Vec::new(), root, tags.iter().map(|t| t.parse().unwrap()).collect())
}

/// An index of two images that share a layer.
fn multi(repository: &str, tags: &[&str]) -> Graph {
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

async fn round_trip(host: &str, client: &Client) {
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
    // A second run finds everything there.
    let again = Client { registry: client.registry.clone(), heard: Arc::clone(&client.heard) };
    again.push(&graph).await.unwrap();
    for blob in graph.post_order() {
        assert_eq!(again.heard.how(blob.descriptor.digest), [Put::Sent, Put::Present]);
    }
    // Another repository of the registry mounts what this run has.
    let copier = client.copier();
    let other = multi(&format!("{host}/team/other"), &["v1"]);
    copier.content(&graph).await.unwrap();
    copier.content(&other).await.unwrap();
    copier.publish(std::slice::from_ref(&other)).await.unwrap();
    let how = client.heard.how(graph.blobs[0].descriptor.digest);
    assert_eq!(how, [Put::Sent, Put::Present, Put::Present, Put::Mounted]);
    client.holds(&format!("{host}/team/other:v1"), &other).await;
    let error = client.resolve(&format!("{repository}:none")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("not found"), "{error}");
}

#[tokio::test]
async fn olareg_takes_an_image_and_gives_it_back() {
    let server = Server::olareg();
    round_trip(&server.host(), &Client::new()).await;
}

#[tokio::test]
async fn distribution_takes_an_image_and_gives_it_back() {
    let server = Server::distribution();
    round_trip(&server.host(), &Client::new()).await;
}

#[tokio::test]
async fn tokens_are_fetched_for_what_is_pushed() {
    let server = Server::olareg_with_tokens();
    round_trip(&server.host(), &Client::user(&server.host())).await;
    let error = Client::new().push(&multi(&format!("{}/a", server.host()), &["v1"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert_eq!(error.hint_text(), Some(&*format!("docker login {}", server.host())));
}

#[tokio::test]
async fn basic_credentials_are_sent_as_they_are() {
    let server = Server::olareg_with_basic();
    round_trip(&server.host(), &Client::user(&server.host())).await;
    let wrong = Keychain::single(&server.host().parse().unwrap(), "user", Secret::new("hunter2"));
    let error = Client::with(wrong).push(&multi(&format!("{}/a", server.host()), &["v1"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

fn own(registry: &TestRegistry) -> String {
    format!("{}/team/app", registry.host())
}

#[tokio::test]
async fn our_own_registry_takes_an_image_and_gives_it_back() {
    let registry = TestRegistry::start();
    round_trip(&registry.host(), &Client::new()).await;
    assert_eq!(registry.incomplete(), Vec::<String>::new());
}

#[tokio::test]
async fn tags_come_last_and_only_once_each() {
    let registry = TestRegistry::start();
    Client::new().push(&multi(&own(&registry), &["v1", "v2"])).await.unwrap();
    let puts: Vec<_> = registry.log().into_iter().filter(|l| l.method == "PUT").map(|l| l.target).collect();
    let at = |part: &str| puts.iter().position(|t| t.contains(part)).unwrap();
    let last_digest = puts.iter().rposition(|t| t.contains("sha256:")).unwrap();
    assert!(last_digest < at("/manifests/v1") && at("/manifests/v1") < at("/manifests/v2"), "{puts:?}");
    assert_eq!(puts.len(), 5 + 3 + 2);
}

#[tokio::test]
async fn a_tag_that_is_right_is_left_alone() {
    let registry = TestRegistry::with(Config { mutable_tags: false, ..Config::default() });
    let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
    Client::new().push(&graph).await.unwrap();
    Client::new().push(&graph).await.unwrap();
    assert_eq!(registry.asked("PUT", "/manifests/v1"), 1);
    let other = single(&own(&registry), &["v1"], &[layer(2, 10)]);
    let error = Client::new().push(&other).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("TAG_INVALID: the tag exists and is immutable"), "{error}");
}

#[tokio::test]
async fn one_failure_anywhere_does_no_harm() {
    sweep(Auth::Open).await;
}

#[tokio::test]
async fn one_failure_anywhere_does_no_harm_where_tokens_are_wanted() {
    sweep(Auth::Bearer("user".to_owned(), "secret".to_owned())).await;
}

/// Pushes to a registry again and again, with each kind of failure at each request.
async fn sweep(auth: Auth) {
    let start = || TestRegistry::with(Config { auth: auth.clone(), ..Config::default() });
    let graph = |registry: &TestRegistry| single(&own(registry), &["v1"], &[layer(1, 70_000)]);
    let registry = start();
    Client::user(&registry.host()).push(&graph(&registry)).await.unwrap();
    let requests = registry.log().len();
    assert!(requests > 8);
    let busy = Fault::Status(503, vec![("retry-after", "0".to_owned())], String::new());
    for fault in [busy, Fault::Reset, Fault::Lost] {
        for at in 0..requests {
            let registry = start();
            registry.fail(When::Nth(at), fault.clone());
            let graph = graph(&registry);
            let client = Client::user(&registry.host());
            client.push(&graph).await.unwrap_or_else(|e| panic!("{fault:?} at {at}: {e}"));
            assert_eq!(registry.incomplete(), Vec::<String>::new());
            client.holds(&format!("{}:v1", own(&registry)), &graph).await;
            let blob = &graph.blobs[0].descriptor;
            assert!(client.heard.sent(blob.digest) <= blob.size, "{fault:?} at {at}");
        }
    }
}

#[tokio::test]
async fn a_registry_that_stays_broken_is_unavailable() {
    let registry = TestRegistry::start();
    registry.fail(When::times(99, "POST", "/uploads/"), Fault::Status(500, Vec::new(), "<html>".to_owned()));
    let client = Client::new();
    let error = client.push(&single(&own(&registry), &["v1"], &[layer(1, 10)])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("500 Internal Server Error"), "{error}");
    assert_eq!(client.heard.count(|e| matches!(e, Event::Retry { .. })) % 4, 0);
    assert!(registry.tags("team/app").is_empty());
    // Nobody listens there.
    let error = Client::new().resolve("127.0.0.1:1/a:b").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("can't connect: Connection refused"), "{error}");
}

#[tokio::test]
async fn what_the_registry_wants_to_wait_is_waited() {
    let registry = TestRegistry::start();
    let busy = Fault::Status(429, vec![("retry-after", "1".to_owned())], String::new());
    registry.fail(When::once("PUT", "/manifests/v1"), busy);
    let client = Client::new();
    client.push(&single(&own(&registry), &["v1"], &[layer(1, 10)])).await.unwrap();
    let second = |e: &Event| matches!(e, Event::Retry { delay, .. } if *delay == Duration::from_secs(1));
    assert_eq!(client.heard.count(second), 1);
}

#[tokio::test]
async fn a_mount_that_fails_becomes_an_upload() {
    let base = layer(9, 3000);
    for fault in [None, Some(Fault::Status(403, Vec::new(), String::new())), Some(Fault::Reset)] {
        let registry = TestRegistry::start();
        let from = format!("{}/base", registry.host());
        let client = Client::new();
        client.push(&single(&from, &["v1"], std::slice::from_ref(&base))).await.unwrap();
        let refused = fault.is_none();
        if let Some(fault) = fault {
            registry.fail(When::once("POST", "mount="), fault);
        } else {
            registry.configure(|c| c.mounts = false);
        }
        let remote = Content::Remote(from.parse().unwrap());
        let there = Blob { descriptor: base.descriptor.clone(), content: remote };
        let graph = single(&own(&registry), &["v1"], &[there]);
        client.push(&graph).await.unwrap();
        assert_eq!(client.heard.how(base.descriptor.digest), [Put::Sent, Put::Sent]);
        client.holds(&format!("{}:v1", own(&registry)), &graph).await;
        // An answer of 202 is a session; no second one is opened.
        let opened = registry.log().iter().filter(|l| l.method == "POST").count();
        assert_eq!(opened, if refused { 4 } else { 5 });
    }
}

#[tokio::test]
async fn base_layers_are_mounted_or_come_from_the_other_registry() {
    let (far, near) = (TestRegistry::start(), TestRegistry::start());
    let client = Client::new();
    let base = layer(9, 300_000);
    let blob = |host: &str| {
        let remote = Content::Remote(format!("{host}/base").parse().unwrap());
        Blob { descriptor: base.descriptor.clone(), content: remote }
    };
    for registry in [&far, &near] {
        let graph = single(&format!("{}/base", registry.host()), &["v1"], std::slice::from_ref(&base));
        client.push(&graph).await.unwrap();
    }
    let client = Client::new();
    client.push(&single(&own(&near), &["v1"], &[blob(&near.host())])).await.unwrap();
    assert_eq!(client.heard.how(base.descriptor.digest), [Put::Mounted]);
    let other = TestRegistry::start();
    // The source breaks in the middle; so does the first upload.
    far.fail(When::once("GET", "/blobs/"), Fault::Truncate(100_000));
    other.fail(When::once("PUT", "/uploads/"), Fault::Reset);
    let graph = single(&own(&other), &["v1"], &[blob(&far.host())]);
    client.push(&graph).await.unwrap();
    client.holds(&format!("{}:v1", own(&other)), &graph).await;
    assert_eq!(client.heard.sent(base.descriptor.digest), 300_000);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    for ranges in [true, false] {
        let registry = TestRegistry::with(Config { ranges, ..Config::default() });
        let client = Client::new();
        let graph = single(&own(&registry), &["v1"], &[layer(1, 500_000)]);
        client.push(&graph).await.unwrap();
        registry.fail(When::once("GET", "/blobs/"), Fault::Truncate(200_000));
        registry.fail(When::once("GET", "/blobs/"), Fault::Status(502, Vec::new(), String::new()));
        registry.fail(When::once("GET", "/blobs/"), Fault::Truncate(100_000));
        let repository = own(&registry).parse().unwrap();
        let read = client.read(&repository, &graph.blobs[0].descriptor).await.unwrap();
        assert_eq!(Digest::of(&read), graph.blobs[0].descriptor.digest);
    }
}

#[tokio::test]
async fn other_content_than_asked_for_is_noticed() {
    let registry = TestRegistry::start();
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
    client.push(&graph).await.unwrap();
    let other = graph.blobs[1].clone();
    let manifest = MediaType::MANIFEST.to_string();
    let body = format!(r#"{{"schemaVersion":2,"mediaType":"{manifest}","layers":[]}}"#);
    let digest = other.descriptor.digest.to_string();
    let lies = [
        vec![("content-type", manifest.clone()), ("docker-content-digest", digest)],
        vec![("content-type", MediaType::INDEX.to_string())],
    ];
    for headers in lies {
        registry.fail(When::once("GET", "/manifests/v1"), Fault::Status(200, headers, body.clone()));
        let error = client.resolve(&format!("{}:v1", own(&registry))).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
    }
    let by_digest = format!("{}@{}", own(&registry), graph.root.descriptor.digest);
    let lie = Fault::Status(200, vec![("content-type", manifest)], body);
    registry.fail(When::once("GET", "/manifests/sha256:"), lie);
    assert_eq!(client.resolve(&by_digest).await.unwrap_err().kind(), Kind::Integrity);
    registry.fail(When::once("GET", "/blobs/"), Fault::Status(200, Vec::new(), "0123456789".to_owned()));
    let repository = own(&registry).parse().unwrap();
    let error = client.read(&repository, &graph.blobs[0].descriptor).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    // A server that says yes to everything has not stored anything.
    for digest in ["/manifests/sha256:", "/manifests/v2"] {
        let graph = single(&own(&registry), &["v2"], &[layer(5, 10)]);
        registry.fail(When::once("PUT", digest), Fault::Status(201, Vec::new(), String::new()));
        let error = client.push(&graph).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
}

#[tokio::test]
async fn large_blobs_go_in_chunks_where_one_request_is_refused() {
    let limit = 4 * 1024 * 1024;
    let registry = TestRegistry::with(Config { max_body: limit, ..Config::default() });
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 2 * limit + 5)]);
    client.push(&graph).await.unwrap();
    assert_eq!(registry.asked("PATCH", "/uploads/"), 3);
    client.holds(&format!("{}:v1", own(&registry)), &graph).await;
}

#[tokio::test]
async fn tokens_that_end_are_fetched_again() {
    let auth = Auth::Bearer("user".to_owned(), "secret".to_owned());
    let registry = TestRegistry::with(Config { auth, token_uses: 9, ..Config::default() });
    let client = Client::user(&registry.host());
    let graph = multi(&own(&registry), &["v1"]);
    client.push(&graph).await.unwrap();
    client.holds(&format!("{}:v1", own(&registry)), &graph).await;
    let scopes: Vec<_> = registry.log().into_iter().filter(|l| l.target.starts_with("/token")).collect();
    assert!(scopes[0].target.contains("scope=repository%3Ateam%2Fapp%3Apull%2Cpush"), "{scopes:?}");
}

#[tokio::test]
async fn our_own_registry_asks_who_it_is() {
    let (user, secret) = ("user".to_owned(), "secret".to_owned());
    for auth in [Auth::Basic(user.clone(), secret.clone()), Auth::Bearer(user, secret)] {
        let registry = TestRegistry::with(Config { auth, ..Config::default() });
        round_trip(&registry.host(), &Client::user(&registry.host())).await;
        let error = Client::new().push(&multi(&own(&registry), &["v1"])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Auth, "{error}");
    }
}

#[tokio::test]
async fn one_token_serves_many_requests_and_mounts_ask_for_the_source() {
    let auth = Auth::Bearer("user".to_owned(), "secret".to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let client = Client::user(&registry.host());
    registry.fail(When::once("GET", "/token"), Fault::Delay(Duration::from_millis(50)));
    client.push(&multi(&own(&registry), &["v1", "v2", "v3"])).await.unwrap();
    assert_eq!(registry.asked("GET", "/token"), 1);
    assert_eq!(registry.log().iter().filter(|l| l.status == 401).count(), 1);
    let remote = Content::Remote(own(&registry).parse().unwrap());
    let there = Blob { descriptor: layer(1, 100_000).descriptor, content: remote };
    let digest = there.descriptor.digest;
    client.push(&single(&format!("{}/other", registry.host()), &["v1"], &[there])).await.unwrap();
    assert_eq!(client.heard.how(digest), [Put::Sent, Put::Mounted]);
    assert_eq!(registry.asked("GET", "scope=repository%3Ateam%2Fapp%3Apull&"), 0);
    assert_eq!(
        registry.asked("GET", "scope=repository%3Aother%3Apull%2Cpush&scope=repository%3Ateam%2Fapp"),
        1
    );
}

#[tokio::test]
async fn refresh_tokens_are_traded_by_post() {
    let auth = Auth::Bearer("user".to_owned(), "secret".to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    // base64 of user:secret
    let entry = r#"{"auth": "dXNlcjpzZWNyZXQ=", "identitytoken": "secret"}"#;
    let config = format!(r#"{{"auths": {{"{}": {entry}}}}}"#, registry.host());
    let env = BTreeMap::from([("DOCKER_AUTH_CONFIG".to_owned(), config)]);
    let client = Client::with(Keychain::load(&env).unwrap());
    client.push(&single(&own(&registry), &["v1"], &[layer(1, 10)])).await.unwrap();
    assert_eq!((registry.asked("POST", "/token"), registry.asked("GET", "/token")), (1, 0));
    // Where the endpoint knows no POST, GET does.
    registry.fail(When::once("POST", "/token"), Fault::Status(404, Vec::new(), String::new()));
    let client = Client::with(Keychain::load(&env).unwrap());
    client.push(&single(&own(&registry), &["v2"], &[layer(2, 10)])).await.unwrap();
    assert_eq!((registry.asked("POST", "/token"), registry.asked("GET", "/token")), (2, 1));
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_server() {
    let store = TestRegistry::start();
    let auth = Auth::Basic("user".to_owned(), "secret".to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let graph = single(&own(&store), &["v1"], &[layer(1, 1000)]);
    Client::new().push(&graph).await.unwrap();
    let client = Client::user(&registry.host());
    let descriptor = &graph.blobs[0].descriptor;
    let location = format!("http://{}/v2/team/app/blobs/{}", store.host(), descriptor.digest);
    let redirect = Fault::Status(307, vec![("location", location)], String::new());
    registry.fail(When::once("GET", "/blobs/"), redirect);
    let read = client.read(&own(&registry).parse().unwrap(), descriptor).await.unwrap();
    assert_eq!(Digest::of(&read), descriptor.digest);
    let basic = |r: &TestRegistry| r.log().iter().filter(|l| l.authorization.is_some()).count();
    assert_eq!((basic(&registry), basic(&store)), (1, 0));
}

#[tokio::test]
async fn uploads_follow_a_redirect_with_their_body() {
    let (registry, store) = (TestRegistry::start(), TestRegistry::start());
    let blob = layer(1, 300_000);
    // The other server has a session open, as if the registry had made it.
    let url = format!("http://{}/v2/team/app/blobs/uploads/", store.host());
    let opened = reqwest::Client::new().post(url).send().await.unwrap();
    let location = opened.headers()["location"].to_str().unwrap();
    let location = format!("http://{}{location}&digest={}", store.host(), blob.descriptor.digest);
    let redirect = Fault::Status(307, vec![("location", location)], String::new());
    registry.fail(When::once("PUT", "/uploads/"), redirect);
    let target = RegistryTarget::new(Client::new().registry, Arc::new(Client::new().registry));
    let name = ImageName { program: "app".to_owned(), repository: Some(own(&registry).parse().unwrap()) };
    assert_eq!(target.put(&name, &blob).await.unwrap(), Put::Sent);
    let read = Client::new().read(&own(&store).parse().unwrap(), &blob.descriptor).await.unwrap();
    assert_eq!(Digest::of(&read), blob.descriptor.digest);
}

#[tokio::test]
async fn files_are_streamed_and_missing_digest_headers_are_made_up_for() {
    let registry = TestRegistry::with(Config { digest_header: false, ..Config::default() });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer");
    let mut blob = layer(1, 3_000_000);
    let Content::Bytes(bytes) = &blob.content else { panic!("not in memory") };
    std::fs::write(&path, bytes).unwrap();
    blob.content = Content::File(path.into());
    let graph = single(&own(&registry), &["v1"], std::slice::from_ref(&blob));
    let client = Client::new();
    client.push(&graph).await.unwrap();
    client.push(&graph).await.unwrap();
    client.holds(&format!("{}:v1", own(&registry)), &graph).await;
    assert!(client.heard.count(|e| matches!(e, Event::Sent { .. })) > 3);
    assert_eq!(client.heard.sent(blob.descriptor.digest), 3_000_000);
    let other = single(&format!("{}/b", registry.host()), &["v1"], &[blob]);
    for content in [vec![1; 3_000_000], vec![1; 10], vec![1; 4_000_000]] {
        std::fs::write(dir.path().join("layer"), content).unwrap();
        let error = client.push(&other).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
    }
    std::fs::remove_file(dir.path().join("layer")).unwrap();
    assert_eq!(client.push(&other).await.unwrap_err().kind(), Kind::LocalIo);
}

#[test]
fn printed_references_are_kos() {
    let registry = Registry::new(Options::default());
    let target = RegistryTarget::new(registry.clone(), Arc::new(registry));
    let digest = single("r.io/a", &[], &[]).root.descriptor.digest;
    for (tags, expected) in [
        (&[][..], format!("r.io/a@{digest}")),
        (&["latest"], format!("r.io/a@{digest}")),
        (&["v1"], format!("r.io/a:v1@{digest}")),
        (&["v1", "v2"], format!("r.io/a@{digest}")),
    ] {
        assert_eq!(target.reference(&single("r.io/a", tags, &[])), expected);
    }
}

#[tokio::test]
async fn certificates_are_checked_unless_that_was_waived() {
    let server = Server::olareg_with_tls();
    let trusting = Client::of(Options { ca: Some(ca()), ..Options::default() });
    round_trip(&server.host(), &trusting).await;
    let host = server.host().parse().unwrap();
    let insecure = Insecure::Listed([host].into());
    let waived = Client::of(Options { insecure, ..Options::default() });
    waived.push(&multi(&format!("{}/b", server.host()), &["v1"])).await.unwrap();
    for insecure in [Insecure::Loopback, Insecure::Listed(["r.io".parse().unwrap()].into())] {
        let client = Client::of(Options { insecure, ..Options::default() });
        let error = client.resolve(&format!("{}/b:v1", server.host())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("invalid peer certificate: UnknownIssuer"), "{error}");
        assert!(error.hint_text().unwrap().contains("SSL_CERT_FILE"));
        // Another try would not help.
        assert_eq!(client.heard.count(|e| matches!(e, Event::Retry { .. })), 0);
    }
    let broken =
        Client::of(Options { ca: Some(b"-----BEGIN CERTIFICATE-----\n!".to_vec()), ..Options::default() });
    let error = broken.resolve(&format!("{}/b:v1", server.host())).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Input | Kind::Unavailable), "{error}");
}
