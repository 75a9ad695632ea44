//! A registry in this process that follows the distribution-spec, writes down what it is asked, and fails
//! on request. It passes the specification's conformance suite, and speaks plain HTTP/1.1 on 127.0.0.1, so that
//! every client can use it.
//!
//! What can go wrong, and how a test says so:
//!
//! | fault | how |
//! |---|---|
//! | RST when connecting | [`Handle::reset_connects`], [`Fault::ResetConnects`] |
//! | RST before, in or after a request's body; answer lost | [`Fault::Reset`], `ResetAfter`, `Dropped`, `Lost` |
//! | body never read; answer late, never, or byte by byte | `Unread`, `Delay`, `Hang`, `SlowHead`, `SlowBody` |
//! | any status with any headers, n times or until a moment | `Status`, `Early`, with [`When`] |
//! | answers cut, changed or compressed | `Truncate`, `EndEarly`, `Flip`, `Gzip` |
//! | done, but said otherwise (201 on PATCH, 200 on PUT) | `Instead`, `As`, `Header` |
//! | every way to write `Location` | `Location` with a [`Form`] |
//! | tokens that end after some uses, in a body, or at once | [`Config::token_uses`], `Expired`, [`Handle::revoke`] |
//! | signed URLs at another host name | [`Config::signed`], with a redirect to `localhost` |
//! | tokens without a life, or under the other name | [`Config::token_life`], [`Config::token_field`] |
//! | limits of bodies, manifests and chunks (GHCR's 416 too) | `Config::{max_body, max_manifest, max_chunk, min_chunk}` |
//! | no mounts, no chunks, ECR's 201 on PATCH, fixed tags | `Config::{mounts, patches, patch_stores, mutable_tags}` |
//! | content that is seen only some requests later | `Config::{late_blobs, late_manifests}` |
//! | HEAD that says a lost blob is there | [`Handle::lose_blob`] |
//! | no referrers API, or one that answers nonsense | [`Config::referrers`] with a `Status` |
//! | somebody else moving a tag, or anything else between two requests | [`Handle::hook`] |
//!
//! What it counts: every request with its headers and the bytes of its body that came ([`Logged`], also if it
//! was cut), connections, and how many requests were worked on at once.

mod auth;
mod message;
mod plan;
mod routes;
mod serve;
mod store;
mod uploads;
mod wire;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::net::TcpListener;

pub(crate) use plan::{Asked, Fault, Form, Logged, When};
pub(crate) use store::Config;

use plan::Hook;
use store::State;

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub(crate) enum Auth {
    /// Everyone everything.
    #[default]
    Open,
    /// Basic of this user and password.
    Basic(String, String),
    /// A token from `/token`, which wants Basic of this user and password, or the password as refresh token.
    Bearer(String, String),
}

struct Shared {
    /// `127.0.0.1:port`.
    host: String,
    state: Mutex<State>,
    faults: Mutex<Vec<(When, Fault)>>,
    hooks: Mutex<Vec<Hook>>,
    log: Mutex<Vec<Logged>>,
    count: AtomicUsize,
    /// How many of the next connections get RST.
    resets: Mutex<usize>,
    connections: AtomicUsize,
    received: AtomicUsize,
    working: AtomicUsize,
    peak: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What tests and hooks can do to a registry while it runs.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

/// A running registry; it is stopped when dropped.
pub(crate) struct TestRegistry {
    handle: Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Deref for TestRegistry {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl TestRegistry {
    /// An open registry that can do everything.
    pub(crate) fn start() -> Self {
        Self::with(Config::default())
    }

    /// A registry with these properties.
    pub(crate) fn with(config: Config) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let handle = Handle(Arc::new(Shared {
            state: Mutex::new(State::new(config, host.clone())),
            host,
            faults: Mutex::default(),
            hooks: Mutex::default(),
            log: Mutex::default(),
            count: AtomicUsize::default(),
            resets: Mutex::default(),
            connections: AtomicUsize::default(),
            received: AtomicUsize::default(),
            working: AtomicUsize::default(),
            peak: AtomicUsize::default(),
        }));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = handle.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve::serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        TestRegistry { handle, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Handle {
    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> String {
        self.0.host.clone()
    }

    /// Lets requests fail. Of several faults for one request the first planned is taken.
    pub(crate) fn fail(&self, when: When, fault: Fault) {
        locked(&self.0.faults).push((when, fault));
    }

    /// The next `count` connections get RST when they are made.
    pub(crate) fn reset_connects(&self, count: usize) {
        *locked(&self.0.resets) = count;
    }

    /// Lets `hook` see every request as soon as its head has come; its fault goes before planned ones.
    pub(crate) fn hook(&self, hook: impl FnMut(&Asked<'_>, &Handle) -> Option<Fault> + Send + 'static) {
        locked(&self.0.hooks).push(Box::new(hook));
    }

    /// Lets request `at` and the next ones of its sort fail, `times` together: what is tried again fails again.
    pub(crate) fn fail_from(&self, at: usize, times: usize, fault: Fault) {
        let mut hit = None;
        let mut left = times;
        self.hook(move |asked, _| {
            if asked.number == at {
                hit = Some(asked.sort());
            }
            let hits = left > 0 && hit.as_ref() == Some(&asked.sort());
            left -= usize::from(hits);
            hits.then(|| fault.clone())
        });
    }

    /// From now on there is nothing planned any more.
    pub(crate) fn heal(&self) {
        locked(&self.0.faults).clear();
        locked(&self.0.hooks).clear();
        *locked(&self.0.resets) = 0;
    }

    /// What was asked, in the order of the answers.
    pub(crate) fn log(&self) -> Vec<Logged> {
        locked(&self.0.log).clone()
    }

    /// How many requests with this method had `part` in their target.
    pub(crate) fn asked(&self, method: &str, part: &str) -> usize {
        locked(&self.0.log).iter().filter(|l| l.method == method && l.target.contains(part)).count()
    }

    /// How many connections there were, those with RST at once included.
    pub(crate) fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of bodies came, those of requests that were cut included.
    pub(crate) fn received(&self) -> usize {
        self.0.received.load(Ordering::SeqCst)
    }

    /// The most requests that were worked on at once.
    pub(crate) fn peak(&self) -> usize {
        self.0.peak.load(Ordering::SeqCst)
    }

    /// Changes the properties.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut locked(&self.0.state).config);
    }

    /// Makes every token worthless.
    pub(crate) fn revoke(&self) {
        locked(&self.0.state).revoke();
    }

    /// Every tag of a repository with its digest.
    pub(crate) fn tags(&self, repo: &str) -> BTreeMap<String, String> {
        locked(&self.0.state).tags(repo)
    }

    /// Every repository that has something.
    pub(crate) fn repositories(&self) -> Vec<String> {
        locked(&self.0.state).repos.keys().cloned().collect()
    }

    /// How many uploads are neither finished nor given up.
    pub(crate) fn sessions(&self) -> usize {
        locked(&self.0.state).sessions.len()
    }

    /// Stores a blob past the protocol; gives its digest.
    pub(crate) fn put_blob(&self, repo: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = store::sha256(&bytes);
        let mut state = locked(&self.0.state);
        state.repos.entry(repo.to_owned()).or_default().blobs.insert(digest.clone(), bytes);
        digest
    }

    /// Stores a manifest under a tag or its digest past the protocol; what it names must be there.
    #[track_caller]
    pub(crate) fn put_manifest(&self, repo: &str, name: &str, media_type: &str, bytes: impl Into<Bytes>) {
        assert_eq!(self.takes_manifest(repo, name, media_type, bytes), Ok(()), "{repo}:{name}");
    }

    /// The same; says why the registry doesn't take it.
    pub(crate) fn takes_manifest(
        &self,
        repo: &str,
        name: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Result<(), Bytes> {
        let reply = locked(&self.0.state).put_manifest(repo, name, media_type, &bytes.into());
        if reply.status == 201 { Ok(()) } else { Err(reply.body) }
    }

    /// Loses a blob, as storage that was cleaned up by somebody else does: HEAD still says that it is there.
    pub(crate) fn lose_blob(&self, repo: &str, digest: &str) {
        locked(&self.0.state).lose_blob(repo, digest);
    }

    /// Removes a tag or, by digest, a manifest.
    pub(crate) fn remove_manifest(&self, repo: &str, name: &str) {
        locked(&self.0.state).remove_manifest(repo, name);
    }

    /// The bytes of a blob or manifest of a repository.
    #[track_caller]
    pub(crate) fn bytes(&self, repo: &str, digest: &str) -> Bytes {
        let state = locked(&self.0.state);
        let repo = state.repos.get(repo).unwrap_or_else(|| panic!("no repository {repo}"));
        let manifest = repo.manifests.get(digest).map(|m| &m.bytes);
        manifest.or(repo.blobs.get(digest)).unwrap_or_else(|| panic!("no {digest}")).clone()
    }

    /// The digests of the manifests of this artifact type in a repository.
    pub(crate) fn artifacts(&self, repo: &str, artifact_type: &str) -> Vec<String> {
        let state = locked(&self.0.state);
        let is_one = |bytes: &Bytes| {
            let document: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
            document["artifactType"] == artifact_type
        };
        let manifests = state.repos.get(repo).into_iter().flat_map(|repo| &repo.manifests);
        manifests.filter(|(_, manifest)| is_one(&manifest.bytes)).map(|(digest, _)| digest.clone()).collect()
    }

    /// What a tag needs but the repository hasn't got: empty if every tag names a complete image.
    pub(crate) fn incomplete(&self) -> Vec<String> {
        locked(&self.0.state).incomplete()
    }
}
