//! One build's use of a remote cache: Go's directory first, then the server; what the profile says is fetched ahead.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::sync::{OnceCell, Semaphore, SetOnce, mpsc};
use tokio::task::JoinSet;

use crate::cache::local::{Found, Local};
use crate::cache::packs::Packs;
use crate::cache::record::{Entry, Item, Profile, SMALL};
use crate::cache::remote::Remote;
use crate::cache::{Action, object};
use crate::oci::{Descriptor, Digest};

/// How many objects are fetched at a time: what the latency of a server is divided by.
const FETCHES: usize = 64;
/// How many packs are read at a time.
const PACKS: usize = 4;
/// How many are sent at a time.
const UPLOADS: usize = 32;
/// How many bytes of objects are in memory at a time, in KiB.
const MEMORY: u32 = 128 << 10;
/// An entry that so many builds in a row did not use is left out of the profile.
const GENERATIONS: u32 = 3;
/// When nothing was sent for so long at the end, the rest isn't.
const STANDSTILL: Duration = Duration::from_secs(20);

/// Where what others compiled comes from.
#[derive(Clone)]
pub enum Server {
    /// Objects that can be asked for one by one.
    Objects(Arc<Remote>),
    /// Packs of objects.
    Packs(Arc<Packs>),
}

impl Server {
    /// Whether there is any use in asking it for more than what was fetched ahead, or in sending it something.
    #[must_use]
    pub fn is_of_use(&self, writes: bool) -> bool {
        match self {
            Server::Objects(remote) => remote.answers(),
            Server::Packs(_) => writes,
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Questions of Go that this machine's directory could answer, without what was fetched ahead.
    pub local: u64,
    /// Questions that the server could answer.
    pub remote: u64,
    /// Questions without an answer.
    pub missed: u64,
    /// Objects that were fetched.
    pub fetched: u64,
    /// Their size in bytes, compressed.
    pub fetched_bytes: u64,
    /// Objects that were sent.
    pub sent: u64,
    /// Their size in bytes, compressed.
    pub sent_bytes: u64,
    /// Requests to the server.
    pub requests: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "go asked {} times: {} were here, {} on the server, {} nowhere; {} objects fetched ({} bytes), {} sent ({} \
             bytes), {} requests",
            self.local + self.remote + self.missed,
            self.local,
            self.remote,
            self.missed,
            self.fetched,
            self.fetched_bytes,
            self.sent,
            self.sent_bytes,
            self.requests
        )
    }
}

#[derive(Default)]
struct Counts {
    local: AtomicU64,
    remote: AtomicU64,
    missed: AtomicU64,
    fetched: AtomicU64,
    fetched_bytes: AtomicU64,
    sent: AtomicU64,
    sent_bytes: AtomicU64,
}

/// A session. Cheap to clone: all clones are one.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    local: Local,
    server: Option<Server>,
    /// Whether the server gets what it lacks.
    writes: bool,
    /// Of what build, if anybody says.
    name: Option<String>,
    /// What the profile says, once it was read.
    known: SetOnce<Known>,
    /// The packs that it speaks of.
    packs: SetOnce<Vec<Descriptor>>,
    /// Whether an object came out of a pack, by its digest.
    arrived: Mutex<BTreeMap<Digest, Arc<SetOnce<bool>>>>,
    /// Whether an output could be had, by its digest: whoever wants it first fetches it.
    outputs: Mutex<BTreeMap<Digest, Arc<OnceCell<bool>>>>,
    /// Where outputs are kept on the server, once they were sent.
    kept: Mutex<BTreeMap<Digest, Arc<OnceCell<Option<Kept>>>>>,
    used: Mutex<Used>,
    uploads: Mutex<JoinSet<()>>,
    sending: Semaphore,
    memory: Semaphore,
    counts: Counts,
}

/// The profile, by action.
#[derive(Default)]
struct Known {
    profile: Profile,
    by_action: BTreeMap<Action, usize>,
}

/// An object that is on the server.
#[derive(Clone)]
struct Kept {
    object: Digest,
    compressed: u64,
    /// The object, if it is small.
    bytes: Bytes,
}

/// What the build used, in order.
#[derive(Default)]
struct Used {
    order: Vec<(Action, Digest, u64)>,
    seen: BTreeSet<Action>,
    /// What the server is known to have.
    entries: BTreeMap<Action, Entry>,
}

impl Session {
    /// A session over Go's directory and perhaps a server, which gets what it lacks if `writes`. `name` says which
    /// profile is fetched ahead and written.
    #[must_use]
    pub fn new(local: Local, server: Option<Server>, writes: bool, name: Option<String>) -> Self {
        Session(Arc::new(Inner {
            local,
            server,
            writes,
            name,
            known: SetOnce::new(),
            packs: SetOnce::new(),
            arrived: Mutex::default(),
            outputs: Mutex::default(),
            kept: Mutex::default(),
            used: Mutex::default(),
            uploads: Mutex::default(),
            sending: Semaphore::new(UPLOADS),
            memory: Semaphore::new(MEMORY as usize),
            counts: Counts::default(),
        }))
    }

    /// Fetches all that the profile names and that isn't here. Must be called once, beside all else: questions wait until
    /// the profile was read.
    pub async fn prefetch(&self) {
        let inner = &*self.0;
        let profile = match (&inner.server, &inner.name) {
            (Some(Server::Objects(remote)), Some(name)) => remote.profile(name).await.unwrap_or_default(),
            (Some(Server::Packs(packs)), Some(name)) => {
                let kept = packs.read(name).await;
                let _ = inner.packs.set(kept.packs);
                kept.profile
            }
            _ => Profile::default(),
        };
        let by_action = profile.items.iter().enumerate().map(|(i, item)| (item.entry.action, i)).collect();
        let _ = inner.known.set(Known { profile, by_action });
        if let Some(Server::Packs(packs)) = &inner.server {
            inner.unpack(packs).await;
        }
        let items = inner.known.wait().await.profile.items.iter();
        stream::iter(items)
            .for_each_concurrent(FETCHES, |item| async move {
                inner.fetch(item).await;
            })
            .await;
    }

    /// Writes for all that the profile names, and whose output is here, that it is: then Go finds it by itself.
    pub fn link(&self) {
        let inner = &*self.0;
        for Item { entry, .. } in inner.known.get().iter().flat_map(|known| &known.profile.items) {
            let there = inner.local.output(&entry.output, entry.size).is_some();
            if there && inner.local.find(entry.action).is_none() {
                // What isn't written is compiled.
                let _ = inner.local.link(entry.action, &entry.output, entry.size);
            }
        }
    }

    /// What is known for an action: here, on the server, or not at all.
    pub async fn get(&self, action: Action) -> Option<Found> {
        let found = self.0.get(action).await;
        if let Some(found) = &found {
            self.0.use_of(action, &found.output, found.size);
        } else {
            self.0.counts.missed.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Writes an output that `write` gives and checks to Go's directory; from there it is sent to the server, while the
    /// build goes on. Blocks.
    ///
    /// # Errors
    /// Those of `write`, and whatever the system says.
    pub fn put(
        &self,
        (action, output, size): (Action, Digest, u64),
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<PathBuf> {
        let inner = &self.0;
        let path = inner.local.add(&output, write)?;
        inner.local.link(action, &output, size)?;
        inner.use_of(action, &output, size);
        if inner.writes && matches!(inner.server, Some(Server::Objects(_))) {
            self.upload(action, output, size);
        }
        Ok(path)
    }

    fn upload(&self, action: Action, output: Digest, size: u64) {
        let session = self.clone();
        let work = async move { session.0.send(action, output, size).await };
        let mut uploads = self.0.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        // What is done leaves no trace; otherwise the set would grow with the build.
        while uploads.try_join_next().is_some() {}
        uploads.spawn(work);
    }

    /// Sends the rest, and what the build used as the new profile, if the server is to get something.
    pub async fn finish(&self) -> Tally {
        let inner = &*self.0;
        match inner.server.as_ref().filter(|_| inner.writes) {
            Some(Server::Objects(remote)) if remote.takes() => {
                self.send_what_is_missing();
                let mut uploads =
                    std::mem::take(&mut *inner.uploads.lock().unwrap_or_else(PoisonError::into_inner));
                while let Ok(Some(_)) = tokio::time::timeout(STANDSTILL, uploads.join_next()).await {}
                let complete = uploads.is_empty();
                uploads.shutdown().await;
                if complete && let Some((name, profile)) = inner.next_profile() {
                    let encoded = tokio::task::spawn_blocking(move || profile.encode()).await;
                    if let Ok(Ok(bytes)) = encoded {
                        remote.set_profile(name, bytes).await;
                    }
                }
            }
            Some(Server::Packs(packs)) => {
                if let Some((name, profile)) = inner.next_profile() {
                    let old = inner.packs.get().map_or(&[][..], Vec::as_slice);
                    let sent = packs.write(name, profile, old, inner.local.clone()).await;
                    inner.counts.sent_bytes.fetch_add(sent, Ordering::Relaxed);
                }
            }
            _ => {}
        }
        inner.tally()
    }

    /// What was found here without the server's help may be what the server lacks.
    fn send_what_is_missing(&self) {
        let inner = &*self.0;
        let missing: Vec<_> = {
            let used = inner.used.lock().unwrap_or_else(PoisonError::into_inner);
            let known = inner.known.get();
            let is_known = |action: &Action| known.is_some_and(|known| known.by_action.contains_key(action));
            used.order.iter().filter(|(action, ..)| !is_known(action)).copied().collect()
        };
        for (action, output, size) in missing {
            self.upload(action, output, size);
        }
    }
}

impl Inner {
    fn use_of(&self, action: Action, output: &Digest, size: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.seen.insert(action) {
            used.order.push((action, *output, size));
        }
    }

    async fn get(&self, action: Action) -> Option<Found> {
        if let Some(found) = self.local.find(action) {
            self.counts.local.fetch_add(1, Ordering::Relaxed);
            return Some(found);
        }
        let server = self.server.as_ref()?;
        let known = self.known.wait().await;
        let item = known.by_action.get(&action).and_then(|i| known.profile.items.get(*i));
        let entry = match (item, server) {
            (Some(item), server) => {
                let entry = self.fetch(item).await.then(|| item.entry.clone())?;
                if let Server::Objects(remote) = server {
                    remote.was_of_use();
                }
                entry
            }
            (None, Server::Objects(remote)) => {
                let (entry, object) = remote.find(action).await?;
                let there = match object {
                    Some(object) => self.expand(&entry, object.into()).await,
                    None => {
                        let item = Item { entry: entry.clone(), unused: 0, contents: None, place: None };
                        self.fetch(&item).await
                    }
                };
                there.then_some(entry)?
            }
            (None, Server::Packs(_)) => return None,
        };
        let path = self.local.output(&entry.output, entry.size)?;
        let time = self.local.link(action, &entry.output, entry.size).ok()?;
        self.counts.remote.fetch_add(1, Ordering::Relaxed);
        let found = Found { output: entry.output, size: entry.size, time, path };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.entries.insert(action, entry);
        Some(found)
    }

    /// Sees to it that an entry's output is here, whoever asks first. Gives whether it is.
    async fn fetch(&self, item: &Item) -> bool {
        let entry = &item.entry;
        let cell = {
            let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(outputs.entry(entry.output).or_default())
        };
        *cell
            .get_or_init(|| async {
                if self.local.output(&entry.output, entry.size).is_some() {
                    return true;
                }
                match (&item.contents, &self.server) {
                    (Some(contents), _) => self.write(entry, contents),
                    (None, Some(Server::Objects(remote))) => {
                        let Ok(_permit) = self.memory.acquire_many(kib(entry.compressed)).await else {
                            return false;
                        };
                        match remote.object(entry).await {
                            Some(object) => {
                                self.fetched(entry.compressed);
                                self.expand(entry, object).await
                            }
                            None => false,
                        }
                    }
                    (None, Some(Server::Packs(_))) => *self.arrival(entry.object).wait().await,
                    (None, None) => false,
                }
            })
            .await
    }

    fn fetched(&self, bytes: u64) {
        self.counts.fetched.fetch_add(1, Ordering::Relaxed);
        self.counts.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn arrival(&self, object: Digest) -> Arc<SetOnce<bool>> {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(arrived.entry(object).or_default())
    }

    /// Reads all packs that have something that isn't here, and says of each object whether it came.
    async fn unpack(&self, packs: &Packs) {
        let (known, there) = (self.known.wait().await, self.packs.wait().await);
        let mut wanted: BTreeMap<Digest, BTreeMap<u64, (u64, Digest)>> = BTreeMap::new();
        let mut entries: BTreeMap<Digest, &Entry> = BTreeMap::new();
        for Item { entry, place, .. } in &known.profile.items {
            if let Some((pack, offset)) = place
                && self.local.output(&entry.output, entry.size).is_none()
            {
                wanted.entry(*pack).or_default().insert(*offset, (entry.compressed, entry.object));
                entries.insert(entry.object, entry);
            }
        }
        let (taker, mut taken) = mpsc::channel(PACKS);
        let (wanted, entries) = (&wanted, &entries);
        let reading = async move {
            let taker = &taker;
            stream::iter(there)
                .for_each_concurrent(PACKS, |pack| async move {
                    if let Some(objects) = wanted.get(&pack.digest) {
                        packs.unpack(pack, objects, taker).await;
                    }
                })
                .await;
        };
        let writing = async {
            while let Some((object, bytes)) = taken.recv().await {
                if let Some(entry) = entries.get(&object) {
                    self.fetched(entry.compressed);
                    let came = self.expand(entry, bytes).await;
                    let _ = self.arrival(object).set(came);
                }
            }
        };
        tokio::join!(reading, writing);
        // What did not come never will.
        for item in known.profile.items.iter().filter(|item| item.contents.is_none()) {
            let _ = self.arrival(item.entry.object).set(false);
        }
    }

    fn write(&self, entry: &Entry, contents: &[u8]) -> bool {
        let fits = contents.len() as u64 == entry.size && Digest::of(contents) == entry.output;
        fits && self.local.add(&entry.output, |file| file.write_all(contents)).is_ok()
    }

    /// Writes the output that an object holds. Gives whether it was the right one.
    async fn expand(&self, entry: &Entry, object: Bytes) -> bool {
        let (local, output, size) = (self.local.clone(), entry.output, entry.size);
        let work = move || local.add(&output, |file| object::expand(&object, &output, size, file)).is_ok();
        tokio::task::spawn_blocking(work).await.unwrap_or_default()
    }

    /// Sends an output that is here, and its entry.
    async fn send(&self, action: Action, output: Digest, size: u64) {
        let Some(Server::Objects(remote)) = &self.server else { return };
        let Ok(_turn) = self.sending.acquire().await else { return };
        let known = {
            let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.entries.contains_key(&action)
        };
        if known || !remote.takes() {
            return;
        }
        let cell = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(kept.entry(output).or_default())
        };
        let kept = cell.get_or_init(|| self.send_object(remote, output, size)).await;
        let Some(Kept { object, compressed, bytes }) = kept.clone() else { return };
        let entry = Entry { action, output, size, object, compressed };
        if remote.set_entry(&entry, &bytes).await {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.entries.insert(action, entry);
        }
    }

    async fn send_object(&self, remote: &Remote, output: Digest, size: u64) -> Option<Kept> {
        let _permit = self.memory.acquire_many(kib(size)).await.ok()?;
        let local = self.local.clone();
        let work = move || object::compress(local.open(&output)?, size);
        let object: Bytes = tokio::task::spawn_blocking(work).await.ok()?.ok()?.into();
        let (digest, compressed) = (Digest::of(&object), object.len() as u64);
        if !remote.set_object(&digest, object.clone()).await {
            return None;
        }
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.counts.sent_bytes.fetch_add(compressed, Ordering::Relaxed);
        let bytes = if compressed <= SMALL { object } else { Bytes::new() };
        Some(Kept { object: digest, compressed, bytes })
    }

    /// The profile to write, and its name: what was used now, then what others used lately. None if nothing is new.
    fn next_profile(&self) -> Option<(&str, Profile)> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let packed = matches!(self.server, Some(Server::Packs(_)));
        Some((self.name.as_deref()?, self.known.get()?.after(&used, &self.local, packed)?))
    }

    fn tally(&self) -> Tally {
        let counts = &self.counts;
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            local: get(&counts.local),
            remote: get(&counts.remote),
            missed: get(&counts.missed),
            fetched: get(&counts.fetched),
            fetched_bytes: get(&counts.fetched_bytes),
            sent: get(&counts.sent),
            sent_bytes: get(&counts.sent_bytes),
            requests: match &self.server {
                Some(Server::Objects(remote)) => remote.requests(),
                _ => 0,
            },
        }
    }
}

impl Known {
    /// The profile after a build that used this; none if it says nothing new. If objects are `packed`, those that no pack
    /// has yet have no place in it.
    fn after(&self, used: &Used, local: &Local, packed: bool) -> Option<Profile> {
        if !used.order.iter().any(|(action, ..)| !self.by_action.contains_key(action)) {
            return None;
        }
        let fresh = used.order.iter().filter_map(|(action, output, size)| {
            let old = self.by_action.get(action).and_then(|i| self.profile.items.get(*i));
            let old = old.filter(|item| item.entry.output == *output);
            let known = used.entries.get(action).or(old.map(|item| &item.entry)).cloned();
            let entry = match packed {
                true => known.unwrap_or(Entry {
                    action: *action,
                    output: *output,
                    size: *size,
                    object: *output,
                    compressed: 0,
                }),
                false => known?,
            };
            let contents = (entry.size <= SMALL).then(|| local.bytes(&entry.output, entry.size));
            let place = old.and_then(|item| item.place);
            Some(Item { contents: contents.flatten(), entry, unused: 0, place })
        });
        let old = self.profile.items.iter().filter(|item| !used.seen.contains(&item.entry.action));
        let old = old.filter(|item| item.unused < GENERATIONS);
        let old = old.map(|item| Item { unused: item.unused + 1, ..item.clone() });
        Some(Profile { items: fresh.chain(old).collect() })
    }
}

/// A size as permits of the memory: never more than there are, so that what is larger than all of it has its turn alone.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(MEMORY).clamp(1, MEMORY)
}
