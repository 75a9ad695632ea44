//! A server with a cache, and what is thought of it: one that doesn't answer is not asked for long. Nothing here ever
//! fails a build.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::cache::backend::{Backend, Failure, Space};
use crate::cache::record::{self, Entry, MAX_OBJECT, MAX_RESULT, Profile};
use crate::cache::{Action, profile_key};
use crate::event::{Event, Observer, Step, Timing};
use crate::oci::Digest;

/// After so many failures in a row a server counts as dead that never answered.
const FAILURES: u32 = 2;
/// The same for one that did: many requests are under way at a time, and one gust can take them all.
const LATER_FAILURES: u32 = 100;
/// After so many questions in a row about single actions, to which there was no answer, none is asked any more: whoever
/// filled the cache built something else, and every question takes a round trip.
const IN_VAIN: u32 = 64;
/// Before a request is made again; each further time twice as long.
const PAUSE: Duration = Duration::from_millis(250);
/// How often a request is made that fails by chance.
const TRIES: u32 = 2;
/// The same where the server only has too much to do.
const BUSY_TRIES: u32 = 5;

/// A request that can be made again.
enum Request<'a> {
    /// For at most so many bytes.
    Get(Space, &'a Digest, usize),
    Put(Space, &'a Digest, Bytes),
}

/// A server with a cache.
pub struct Remote {
    backend: Backend,
    observer: Arc<dyn Observer>,
    failures: AtomicU32,
    in_vain: AtomicU32,
    answered: AtomicBool,
    dead: AtomicBool,
    /// Reading goes well, writing is refused.
    read_only: AtomicBool,
    requests: AtomicU64,
    said: AtomicBool,
}

impl Remote {
    /// The cache behind `backend`. What is wrong with it goes to `observer`, once.
    #[must_use]
    pub fn new(backend: Backend, observer: Arc<dyn Observer>) -> Self {
        Remote {
            backend,
            observer,
            failures: AtomicU32::default(),
            in_vain: AtomicU32::default(),
            answered: AtomicBool::default(),
            dead: AtomicBool::default(),
            read_only: AtomicBool::default(),
            requests: AtomicU64::default(),
            said: AtomicBool::default(),
        }
    }

    /// Whether it is still asked.
    #[must_use]
    pub fn answers(&self) -> bool {
        !self.dead.load(Ordering::Relaxed)
    }

    /// Whether it takes something, as far as is known.
    pub(super) fn takes(&self) -> bool {
        self.answers() && !self.read_only.load(Ordering::Relaxed)
    }

    /// How many requests were sent.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The profile of this name.
    pub(super) async fn profile(&self, name: &str) -> Option<Profile> {
        let result = self.get(Space::Results, &profile_key(name), MAX_RESULT).await?;
        let (digest, size) = record::named_blob(&result)?;
        let bytes = self.blob(&digest, size).await?;
        let decoded = tokio::task::spawn_blocking(move || Profile::decode(&bytes)).await;
        decoded.ok().flatten()
    }

    /// Keeps a profile under this name. Gives whether it is kept.
    pub(super) async fn set_profile(&self, name: &str, profile: Vec<u8>) -> bool {
        let (digest, size) = (Digest::of(&profile), profile.len() as u64);
        let result = record::name_blob(&digest, size);
        self.put(Space::Blobs, &digest, profile.into()).await
            && self.put(Space::Results, &profile_key(name), result.into()).await
    }

    /// The entry of an action, and the object if it came with it.
    pub(super) async fn find(&self, action: Action) -> Option<(Entry, Option<Vec<u8>>)> {
        if self.in_vain.load(Ordering::Relaxed) >= IN_VAIN {
            return None;
        }
        let result = self.get(Space::Results, &action.key(), MAX_RESULT).await;
        match result.and_then(|bytes| Entry::from_result(action, &bytes)) {
            Some(found) => {
                self.was_of_use();
                Some(found)
            }
            None => {
                self.in_vain.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    /// It answered a question, though nobody asked it: what its profile said was right.
    pub(super) fn was_of_use(&self) {
        self.in_vain.store(0, Ordering::Relaxed);
    }

    /// An object; its digest was checked.
    pub(super) async fn object(&self, entry: &Entry) -> Option<Bytes> {
        self.blob(&entry.object, entry.compressed).await
    }

    /// Keeps an object. Gives whether it is kept.
    pub(super) async fn set_object(&self, digest: &Digest, object: Bytes) -> bool {
        self.put(Space::Blobs, digest, object).await
    }

    /// Keeps an entry, whose object is kept; that is written with it if it is small. Gives whether it is kept.
    pub(super) async fn set_entry(&self, entry: &Entry, object: &[u8]) -> bool {
        self.put(Space::Results, &entry.action.key(), entry.to_result(object).into()).await
    }

    async fn blob(&self, digest: &Digest, size: u64) -> Option<Bytes> {
        let limit = usize::try_from(size).ok().filter(|_| size <= MAX_OBJECT)?;
        let bytes = self.get(Space::Blobs, digest, limit).await?;
        // Hashing is quick beside what fetching took, and the pieces are small.
        (bytes.len() == limit && Digest::of(&bytes) == *digest).then_some(bytes)
    }

    async fn get(&self, space: Space, key: &Digest, limit: usize) -> Option<Bytes> {
        self.ask(Request::Get(space, key, limit), &self.dead).await.flatten()
    }

    async fn put(&self, space: Space, key: &Digest, bytes: Bytes) -> bool {
        if !self.takes() {
            return false;
        }
        self.ask(Request::Put(space, key, bytes), &self.read_only).await.is_some()
    }

    /// Makes a request, and again if it failed by chance. `refused` is set if it will always be refused.
    async fn ask(&self, request: Request<'_>, refused: &AtomicBool) -> Option<Option<Bytes>> {
        let mut tries = 0;
        while self.answers() {
            tries += 1;
            self.requests.fetch_add(1, Ordering::Relaxed);
            let (url, status) = (self.backend.name().to_owned(), None);
            let method = if matches!(request, Request::Get(..)) { "GET" } else { "PUT" }.to_owned();
            let timing = Timing::of(&self.observer, Step::Request { method, url, status });
            let answer = match &request {
                Request::Get(space, key, limit) => self.backend.get(*space, key, *limit).await,
                Request::Put(space, key, bytes) => {
                    self.backend.put(*space, key, bytes.clone()).await.map(|()| None)
                }
            };
            let (why, most_tries) = match timing.end(answer) {
                Ok(answer) => {
                    self.failures.store(0, Ordering::Relaxed);
                    self.answered.store(true, Ordering::Relaxed);
                    return Some(answer);
                }
                Err(Failure::Refused(why)) => {
                    refused.store(true, Ordering::Relaxed);
                    self.say(&why, refused);
                    return None;
                }
                Err(Failure::Unreachable(why)) => (why, TRIES),
                Err(Failure::Busy(why)) => (why, BUSY_TRIES),
            };
            let most = if self.answered.load(Ordering::Relaxed) { LATER_FAILURES } else { FAILURES };
            if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= most {
                self.dead.store(true, Ordering::Relaxed);
                self.say(&why, &self.dead);
                return None;
            }
            if tries >= most_tries {
                self.observer.on(Event::Detail(format!("{}: {why}", self.backend.name())));
                return None;
            }
            tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
        }
        None
    }

    /// Says once why it isn't used any more.
    fn say(&self, why: &str, what: &AtomicBool) {
        if !self.said.swap(true, Ordering::Relaxed) {
            let goes_on = match std::ptr::eq(what, &raw const self.read_only) {
                true => "nothing more is written there",
                false => "the build goes on without it",
            };
            let name = self.backend.name();
            self.observer.on(Event::Warning(format!("remote cache {name}: {why}; {goes_on}")));
        }
    }
}
