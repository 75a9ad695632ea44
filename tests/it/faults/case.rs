//! One push to a registry that fails as planned, and what must hold whatever happens.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use gimg::content::{Blob, Graph, ImageName};
use gimg::error::Kind;
use gimg::oci::{ImageIndex, MediaType};
use gimg::registry::{Deadlines, Keychain, Options, Secret, retry::Policy};

use crate::support::client::{Client, image, layer};
use crate::support::registry::{Auth, Config, Handle, TestRegistry};

/// The password of every registry here: no output may hold it.
pub(super) const CANARY: &str = crate::support::canary::SECRET;
/// How long a push may take, however it ends: far more than it does.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many cases run at a time: most of the time is waiting.
const AT_ONCE: usize = 16;
/// Longer than any deadline of an impatient client.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// The repository of every case.
pub(super) const REPO: &str = "team/app";

type Plan = Box<dyn Fn(&Handle) + Send>;
type Check = Box<dyn FnOnce(&Handle, &Client) + Send>;

/// How a push must end.
enum End {
    Pushed,
    /// With an error of this kind that has these words.
    Fails(Kind, Vec<String>),
}

/// A push under a plan of faults.
pub(super) struct Case {
    name: String,
    config: Config,
    plan: Plan,
    graph: Box<dyn Fn(&str) -> Graph + Send>,
    client: Box<dyn Fn(&str) -> Client + Send>,
    end: End,
    check: Check,
}

impl Case {
    /// A push of an index of two images with two tags that must succeed, to a registry that does everything
    /// and wants tokens.
    pub(super) fn new(name: impl Into<String>, plan: impl Fn(&Handle) + Send + 'static) -> Self {
        Case {
            name: name.into(),
            config: with_tokens(),
            plan: Box::new(plan),
            graph: Box::new(|host| pair(&format!("{host}/{REPO}"), &["v1", "v2"])),
            client: Box::new(|host| Client::of(Options { keychain: keychain(host), ..Options::default() })),
            end: End::Pushed,
            check: Box::new(|_, _| {}),
        }
    }

    /// To a registry with these properties.
    pub(super) fn at(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Of another image; it is given the repository.
    pub(super) fn of(mut self, graph: impl Fn(&str) -> Graph + Send + 'static) -> Self {
        self.graph = Box::new(move |host| graph(&format!("{host}/{REPO}")));
        self
    }

    /// By another client; it is given the registry's host.
    pub(super) fn by(mut self, client: impl Fn(&str) -> Client + Send + 'static) -> Self {
        self.client = Box::new(client);
        self
    }

    /// That must fail.
    pub(super) fn fails(mut self, kind: Kind, words: &[&str]) -> Self {
        self.end = End::Fails(kind, words.iter().map(|w| (*w).to_owned()).collect());
        self
    }

    /// After which this must hold besides.
    pub(super) fn then(mut self, check: impl FnOnce(&Handle, &Client) + Send + 'static) -> Self {
        self.check = Box::new(check);
        self
    }

    async fn run(self) {
        let registry = TestRegistry::with(self.config);
        let host = registry.host();
        let graph = (self.graph)(&host);
        old_image(&registry);
        let before = registry.tags(REPO);
        (self.plan)(&registry);
        let client = (self.client)(&host);
        let pushed = tokio::time::timeout(PATIENCE, client.push(&graph)).await;
        let pushed = pushed.expect("the push ends");
        let mut said = client.heard.text();
        match (&pushed, &self.end) {
            (Ok(()), End::Pushed) => holds(&registry, &graph),
            (Err(error), End::Fails(kind, words)) => {
                let _ = write!(said, "{error}\n{error:?}\n{:?}", error.hint_text());
                assert_eq!(error.kind(), *kind, "{error}");
                for word in words {
                    assert!(error.to_string().contains(word), "no {word:?} in {error}");
                }
            }
            (Ok(()), End::Fails(..)) => panic!("pushed, but must fail"),
            (Err(error), End::Pushed) => panic!("{error}"),
        }
        no_secret(&said);
        tags_are_whole(&registry, &before, &graph);
        (self.check)(&registry, &client);
        // The same push once more, without faults.
        registry.heal();
        registry.configure(|config| *config = with_tokens());
        let again = Client::of(Options { keychain: keychain(&host), ..Options::default() });
        again.push(&graph).await.unwrap_or_else(|e| panic!("the next push fails: {e}"));
        holds(&registry, &graph);
        tags_are_whole(&registry, &before, &graph);
    }
}

fn with_tokens() -> Config {
    Config { auth: Auth::Bearer("user".to_owned(), CANARY.to_owned()), ..Config::default() }
}

/// Knows the password of the registry at `host`.
pub(super) fn keychain(host: &str) -> Keychain {
    Keychain::single(&host.parse().unwrap(), "user", Secret::new(CANARY))
}

/// A client that soon loses its patience.
pub(super) fn impatient(host: &str) -> Client {
    let second = Duration::from_secs(1);
    let deadlines = Deadlines { connect: second * 5, head: second, stall: second, commit: second };
    let retry = Policy { tries: 4, ..Policy::default() };
    Client::of(Options { keychain: keychain(host), deadlines, retry, ..Options::default() })
}

/// An image that is there before, under tags that a push moves and one that it doesn't.
fn old_image(registry: &Handle) {
    let graph = pair(&format!("{}/{REPO}", registry.host()), &[]);
    let (manifest, config) = image(99, &graph.blobs[..0]);
    for blob in [&config, &manifest] {
        let gimg::content::Content::Bytes(bytes) = &blob.content else { panic!("not in memory") };
        if blob.descriptor.media_type.is_manifest_or_index() {
            for tag in ["v1", "old"] {
                registry.put_manifest(REPO, tag, MediaType::MANIFEST.as_str(), bytes.clone());
            }
        } else {
            registry.put_blob(REPO, bytes.clone());
        }
    }
}

/// An index of two images that share a layer.
pub(super) fn pair(repository: &str, tags: &[&str]) -> Graph {
    of_layers(repository, tags, &[layer(1, 60_000)])
}

/// An index of two images over the same layers.
pub(super) fn of_layers(repository: &str, tags: &[&str], layers: &[Blob]) -> Graph {
    let mut blobs = layers.to_vec();
    let mut children = Vec::new();
    for seed in [2, 3] {
        let (manifest, config) = image(seed, layers);
        blobs.push(config);
        children.push(manifest);
    }
    let entries = children.iter().map(|c| c.descriptor.clone()).collect();
    let root = Blob::json(MediaType::INDEX, &ImageIndex::new(entries, BTreeMap::new())).unwrap();
    let name = ImageName { program: "app".to_owned(), repository: Some(repository.parse().unwrap()) };
    Graph::new(name, blobs, children, root, tags.iter().map(|t| t.parse().unwrap()).collect())
}

/// Every tag of the graph names its root.
fn holds(registry: &Handle, graph: &Graph) {
    let tags = registry.tags(REPO);
    for tag in &graph.tags {
        assert_eq!(tags.get(tag.as_str()), Some(&graph.root.descriptor.digest.to_string()), "tag {tag}");
    }
}

/// Whatever happened: every tag names a complete image, the one that it named before or the new one.
pub(super) fn tags_are_whole(registry: &Handle, before: &BTreeMap<String, String>, graph: &Graph) {
    assert_eq!(registry.incomplete(), Vec::<String>::new(), "tags point to incomplete images");
    let new = graph.root.descriptor.digest.to_string();
    let moved: Vec<_> = graph.tags.iter().map(|t| t.as_str().to_owned()).collect();
    for (tag, digest) in registry.tags(REPO) {
        let kept = before.get(&tag) == Some(&digest);
        assert!(kept || digest == new && moved.contains(&tag), "{tag} is {digest}");
    }
    assert!(before.keys().all(|tag| registry.tags(REPO).contains_key(tag)), "a tag is gone");
}

/// Whatever happened: nothing that was said has a password or token.
pub(super) fn no_secret(said: &str) {
    let basic = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("user:{CANARY}"));
    for secret in [CANARY, &basic, "token-1", "Bearer "] {
        assert!(!said.contains(secret), "{secret} in: {said}");
    }
}

/// Runs the cases; all that fail are named.
pub(super) async fn all(cases: Vec<Case>) {
    let count = cases.len();
    assert!(count > 0);
    let ends = stream::iter(cases).map(|case| async {
        let name = case.name.clone();
        tokio::spawn(case.run()).await.map_err(|e| format!("{name}: {}", reason(e)))
    });
    let failed: Vec<_> = ends.buffer_unordered(AT_ONCE).filter_map(|end| async { end.err() }).collect().await;
    assert!(failed.is_empty(), "{} of {count} cases:\n{}", failed.len(), failed.join("\n"));
}

fn reason(error: tokio::task::JoinError) -> String {
    let panic = match error.try_into_panic() {
        Ok(panic) => panic,
        Err(error) => return error.to_string(),
    };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

/// How many requests a push without faults needs.
pub(super) async fn requests() -> usize {
    let registry = TestRegistry::with(with_tokens());
    let client = Client::of(Options { keychain: keychain(&registry.host()), ..Options::default() });
    client.push(&pair(&format!("{}/{REPO}", registry.host()), &["v1", "v2"])).await.unwrap();
    registry.log().len()
}

/// One case for every request of a push.
pub(super) async fn everywhere(name: &str, case: impl Fn(usize) -> Case) -> Vec<Case> {
    let cases = (0..requests().await).map(|at| {
        let mut case = case(at);
        case.name = format!("{name} at request {at}");
        case
    });
    cases.collect()
}
