//! What refers to a manifest, and tags: lists that come in pages; and the list of referrers under a tag, for registries
//! that keep none themselves (distribution-spec, "Listing Referrers", "Referrers Tag Schema", "Listing Tags").

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::content::Locks;
use crate::error::{Error, Kind, Result};
use crate::event::Put;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{Descriptor, Digest, ImageIndex, MediaType, Reference, Repository, Tag, json};
use crate::registry::endpoint::same_origin;
use crate::registry::failure::{Again, Failure, Refusal, shown};
use crate::registry::pull::accept;
use crate::registry::transport::{Answer, Body};
use crate::registry::{Call, Registry, To, link, refusal};

/// How many pages of a list are read.
const MAX_PAGES: usize = 10_000;
/// How many entries of a list are read.
const MAX_ENTRIES: usize = 1_000_000;
/// How many tags are asked for at once: the most that ECR gives.
const PAGE: usize = 1000;
/// How often a list is written again that somebody else wrote meanwhile.
const ROUNDS: u32 = 5;
/// How long after writing a list we look at it once more. Who reads it, and takes longer than this to write it, can
/// still take our entry away.
const SETTLE: Duration = Duration::from_millis(300);

/// Who writes which list: one at a time in this process, and among those that share the locks.
pub(super) struct Turns {
    own: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    shared: Option<Arc<dyn Locks>>,
}

/// A turn, until it is dropped.
pub(super) struct Turn {
    _shared: Option<Box<dyn Send>>,
    _own: tokio::sync::OwnedMutexGuard<()>,
}

impl Turns {
    /// `shared` are the locks of all processes.
    pub(super) fn new(shared: Option<Arc<dyn Locks>>) -> Self {
        Turns { own: Mutex::default(), shared }
    }

    /// Waits for the turn of `key`: in this process, and with shared locks among all of this machine.
    pub(super) async fn take(&self, key: &str) -> Turn {
        let own = {
            let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(own.entry(key.to_owned()).or_default())
        };
        // First among ourselves: one of this process at a time asks the others.
        let own = own.lock_owned().await;
        let shared = match &self.shared {
            Some(shared) => shared.lock(key).await,
            None => None,
        };
        Turn { _shared: shared, _own: own }
    }
}

/// The list of what refers to a manifest, under the tag of its digest.
pub(super) struct List<'a> {
    pub(super) registry: &'a Registry,
    pub(super) repository: &'a Repository,
    pub(super) subject: Digest,
    /// What the subject itself names, if it is an index.
    pub(super) children: BTreeSet<Digest>,
}

/// What is under the tag.
enum Found {
    /// Nothing, or the subject itself: some registries take the tag for a way to name a digest.
    Nothing,
    /// A list, with its `ETag` if it is a strong one.
    List(ImageIndex, Option<HeaderValue>),
    /// Something that isn't a list.
    Other(MediaType),
}

impl List<'_> {
    fn tag(&self) -> Tag {
        Tag::of_referrers(&self.subject)
    }

    fn what(&self) -> String {
        format!("list the referrers of {}@{}", self.repository, self.subject)
    }

    /// The entries, empty if there is no list.
    async fn entries(&self) -> Result<Vec<Descriptor>> {
        match self.read(false).await? {
            Found::List(list, _) => Ok(list.manifests),
            Found::Nothing | Found::Other(_) => Ok(Vec::new()),
        }
    }

    async fn read(&self, push: bool) -> Result<Found> {
        let mut call =
            Call::new(Method::GET, self.repository, format!("manifests/{}", self.tag()), self.what());
        call.headers = accept();
        call.push = push;
        let answer = self.registry.send(&call).await?;
        match answer.status() {
            200 => {}
            404 => return Ok(Found::Nothing),
            _ => return Err(refusal(&call, answer).await),
        }
        let media_type = answer.header(CONTENT_TYPE.as_str()).map(MediaType::from_header);
        let etag = answer.header(ETAG.as_str()).filter(|tag| tag.starts_with('"'));
        let etag = etag.and_then(|tag| HeaderValue::from_str(tag).ok());
        let bytes = answer.read(&call.what, MAX_DOCUMENT).await.map_err(|f| f.error)?;
        let digest = Digest::of(&bytes);
        if digest == self.subject || self.children.contains(&digest) {
            return Ok(Found::Nothing);
        }
        match media_type {
            Some(media_type) if media_type != MediaType::INDEX => Ok(Found::Other(media_type)),
            _ => {
                let list: ImageIndex =
                    json::from_bytes(&bytes, "the list").map_err(|e| e.within(&call.what))?;
                let own = |d: &Descriptor| d.digest == self.subject || self.children.contains(&d.digest);
                if list.manifests.iter().any(own) {
                    return Ok(Found::Nothing);
                }
                Ok(Found::List(list, etag))
            }
        }
    }

    /// Makes sure that the list has `entries`. Whoever else writes it is waited for, as far as they can be; after
    /// writing it is read, and written again if somebody else's has no place for ours.
    pub(super) async fn add(&self, entries: &[Descriptor]) -> Result<Put> {
        let key = format!("referrers {}@{}", self.repository, self.subject);
        let _turn = self.registry.0.lists.take(&key).await;
        let mut rounds = 0;
        let mut tries = self.registry.manifest_tries(self.repository.registry());
        loop {
            let found = self.read(true).await?;
            let (mut list, etag) = match found {
                Found::List(list, etag) => (list, etag),
                Found::Nothing => (ImageIndex::new(Vec::new(), BTreeMap::new()), None),
                Found::Other(media_type) => {
                    let why = format!("{} is {media_type}, not a list of referrers", self.tag());
                    return Err(Error::new(Kind::Refused, self.what(), why));
                }
            };
            let have: BTreeSet<Digest> = list.manifests.iter().map(|d| d.digest).collect();
            let missing = entries.iter().filter(|e| !have.contains(&e.digest)).cloned();
            let before = list.manifests.len();
            list.manifests.extend(missing);
            if list.manifests.len() == before {
                return Ok(if rounds == 0 { Put::Present } else { Put::Sent });
            }
            if rounds > ROUNDS {
                let why = format!("others wrote the list {rounds} times without what is added");
                return Err(Error::new(Kind::Unavailable, self.what(), why).hint("try again"));
            }
            // A registry that never finds its own tag's content the same must not keep us from writing.
            let etag = etag.filter(|_| rounds < 3);
            match self.write(&list, etag).await {
                Ok(()) => rounds += 1,
                Err(failure) => self.registry.pause(&mut tries, failure, &self.what()).await?,
            }
            if rounds > 1 {
                tokio::time::sleep(jitter(rounds)).await;
            }
        }
    }

    /// Looks after a pause whether the list still has `entries`, which were added, and adds them again if not.
    pub(super) async fn keep(&self, entries: &[Descriptor]) -> Result<()> {
        for _ in 0..ROUNDS {
            tokio::time::sleep(SETTLE + jitter(1)).await;
            if self.add(entries).await? == Put::Present {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes the list once. That somebody else was faster counts as written: it is read next in any case.
    async fn write(&self, list: &ImageIndex, etag: Option<HeaderValue>) -> Result<(), Failure> {
        let bytes = json::to_bytes(list)?;
        let what = self.what();
        if bytes.len() as u64 > MAX_DOCUMENT {
            let why = "there are so many that the list would be larger than 4 MiB";
            return Err(Error::new(Kind::Refused, what, why).into());
        }
        let path = format!("manifests/{}", self.tag());
        let mut call = Call::new(Method::PUT, self.repository, path, what);
        call.push = true;
        call.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
        if let Some(etag) = etag {
            call.headers.insert(IF_MATCH, etag);
        }
        call.body = Body::Bytes(bytes);
        let answer = self.registry.try_once(&call).await?;
        if answer.is_success() || answer.status() == 412 {
            return Ok(());
        }
        let refusal = Refusal::read(answer).await;
        // Storage behind a registry can be late: what was put a moment ago isn't seen yet.
        let late = ["MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"].iter().any(|code| refusal.has_code(code));
        let mut failure = refusal.failure(&call.what, self.repository.registry());
        if late {
            failure.again = Again::Yes(None);
        }
        Err(failure)
    }
}

/// Some time, twice as long with every round, and never the same for two who collided.
fn jitter(round: u32) -> Duration {
    let random = std::hash::RandomState::new().build_hasher().finish();
    let most = 50 << round.min(ROUNDS);
    Duration::from_millis(most / 2 + random % (most / 2))
}

/// A page of tags. Nexus 3.58 has `null` for none, Artifactory lists digests among them.
#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<serde_json::Value>>,
}

impl Registry {
    /// The descriptors of what refers to `subject`, of `artifact_type` only if one is given, or of none that the list says: from
    /// the referrers API, or where there is none from the list under the tag of the digest.
    ///
    /// # Errors
    /// No answer, an answer that is neither a list nor says that there is none, or more than a million entries.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> Result<Vec<Descriptor>> {
        self.guarded(self.list(repository, subject, artifact_type)).await
    }

    async fn list(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> Result<Vec<Descriptor>> {
        let mut found = match self.api(repository, subject, artifact_type).await {
            Ok(Some(found)) => found,
            Ok(None) => self.under_tag(repository, subject).await?,
            // Some answer 500 to what they don't know. Nothing under the tag then says nothing.
            Err(error) => match self.under_tag(repository, subject).await {
                Ok(found) if !found.is_empty() => found,
                _ => return Err(error),
            },
        };
        let mut seen = BTreeSet::new();
        found.retain(|d| seen.insert(d.digest));
        // Also if the registry says that it did: an entry more or less is no reason to believe it.
        found.retain(|d| {
            artifact_type.is_none() || d.is_untyped() || d.artifact_type.as_ref() == artifact_type
        });
        Ok(found)
    }

    async fn under_tag(&self, repository: &Repository, subject: &Digest) -> Result<Vec<Descriptor>> {
        let list = |children| List { registry: self, repository, subject: *subject, children };
        let found = list(BTreeSet::new()).entries().await?;
        // A list says of every entry what it is; one that doesn't could be the subject's own children.
        if found.iter().all(|d| d.artifact_type.is_some()) {
            return Ok(found);
        }
        let name = Reference { repository: repository.clone(), tag: None, digest: Some(*subject) };
        let (descriptor, bytes) = self.manifest(&name, true).await?;
        if !descriptor.media_type.is_index() {
            return Ok(found);
        }
        let index: ImageIndex = json::from_bytes(&bytes, "the subject")?;
        let children: BTreeSet<Digest> = index.manifests.iter().map(|d| d.digest).collect();
        Ok(if found.iter().any(|d| children.contains(&d.digest)) { Vec::new() } else { found })
    }

    /// What the referrers API says; none if there is no such thing, which registries say in many ways: 404, 401 without
    /// more, a page to log in.
    async fn api(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
    ) -> Result<Option<Vec<Descriptor>>> {
        let what = format!("list the referrers of {repository}@{subject}");
        let mut call = Call::new(Method::GET, repository, format!("referrers/{subject}"), what);
        if let Some(artifact_type) = artifact_type {
            call.to =
                To::Path(format!("referrers/{subject}?{}", query("artifactType", artifact_type.as_str())));
        }
        call.headers.insert(ACCEPT, HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
        let mut pages = Pages::of(self, call);
        let mut all = Vec::new();
        while let Some(answer) = pages.next().await? {
            let media_type = answer.header(CONTENT_TYPE.as_str()).map(MediaType::from_header);
            let is_list = answer.status() == 200 && media_type == Some(MediaType::INDEX);
            match (is_list, pages.number) {
                (true, _) => {}
                (false, 1) => return Ok(None),
                (false, _) => return Err(refusal(&pages.call, answer).await),
            }
            let bytes = answer.read(&pages.call.what, MAX_DOCUMENT).await.map_err(|f| f.error)?;
            let list: ImageIndex = match json::from_bytes(&bytes, "the list") {
                Ok(list) => list,
                Err(_) if pages.number == 1 => return Ok(None),
                Err(error) => return Err(error.within(&pages.call.what)),
            };
            all.extend(list.manifests);
            pages.bounded(all.len())?;
        }
        Ok(Some(all))
    }

    /// The tags of a repository, in the registry's order. What can't be a tag is left out.
    ///
    /// # Errors
    /// No answer, one that isn't a list (also where there is no such repository), or more than a million tags.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>> {
        let what = format!("list the tags of {repository}");
        let call = Call::new(Method::GET, repository, format!("tags/list?n={PAGE}"), what);
        let mut pages = Pages::of(self, call);
        let mut all = Vec::new();
        while let Some(answer) = pages.next().await? {
            if answer.status() != 200 {
                return Err(refusal(&pages.call, answer).await);
            }
            let bytes = answer.read(&pages.call.what, MAX_DOCUMENT).await.map_err(|f| f.error)?;
            let page: Tags = serde_json::from_slice(&bytes).map_err(|e| {
                Error::new(Kind::Refused, &pages.call.what, format!("the answer isn't a list of tags: {e}"))
            })?;
            let names = page.tags.into_iter().flatten();
            all.extend(names.filter_map(|name| name.as_str()?.parse::<Tag>().ok()));
            pages.bounded(all.len())?;
        }
        Ok(all)
    }
}

/// `name=value` for a query.
fn query(name: &str, value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{name}={text}")
}

/// A list that comes in pages.
struct Pages<'a> {
    registry: &'a Registry,
    /// What asks for the next page.
    call: Call<'a>,
    /// How many pages were asked for.
    number: usize,
    /// The links that were followed.
    seen: BTreeSet<Url>,
    ended: bool,
}

impl<'a> Pages<'a> {
    fn of(registry: &'a Registry, call: Call<'a>) -> Self {
        Pages { registry, call, number: 0, seen: BTreeSet::new(), ended: false }
    }

    /// The answer with the next page, of whatever status; none after the last.
    ///
    /// # Errors
    /// No answer, or a page that links to another server, to one that was read already, or to no end.
    async fn next(&mut self) -> Result<Option<Answer>> {
        if self.ended {
            return Ok(None);
        }
        self.number += 1;
        let answer = self.registry.send(&self.call).await?;
        let links = answer.headers("link");
        let next = link::next(links.iter().map(String::as_str)).filter(|_| answer.status() == 200);
        let Some(next) = next else {
            self.ended = true;
            return Ok(Some(answer));
        };
        let wrong = |why: String| Err(Error::new(Kind::Refused, &self.call.what, why));
        let next = answer.follow(&next).map_err(|e| e.within(&self.call.what))?;
        if !same_origin(&next, answer.url()) {
            return wrong(format!("the next page is at another server, {}", shown(&next)));
        }
        if self.number >= MAX_PAGES {
            return wrong(format!("the list has more than {MAX_PAGES} pages"));
        }
        if !self.seen.insert(next.clone()) {
            return wrong("its pages lead back to where they were".to_owned());
        }
        self.call.to = To::Url(next);
        Ok(Some(answer))
    }

    fn bounded(&self, entries: usize) -> Result<()> {
        if entries <= MAX_ENTRIES {
            return Ok(());
        }
        let why = format!("the list has more than {MAX_ENTRIES} entries");
        Err(Error::new(Kind::Integrity, &self.call.what, why))
    }
}
