//! Manifests and tags on their way into a registry: found, put, healed, checked (distribution-spec, "Pushing manifests").

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;

use crate::content::{Blob, BoxFuture, Content};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Put};
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{Descriptor, Digest, Repository, Tag};
use crate::registry::failure::{Again, Refusal};
use crate::registry::pull::accept;
use crate::registry::target::RegistryTarget;
use crate::registry::transport::Body;
use crate::registry::{Call, refusal};

/// How often a registry that doesn't know what was put is given another chance.
const ROUNDS: u32 = 5;
/// How many tags are checked at a time.
const CHECKS: usize = 8;

/// What a tag or digest stands for in a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A manifest with this digest.
    Digest(Digest),
    /// Nothing.
    Nothing,
    /// The registry gave no answer to go by.
    Unclear,
}

/// What was found, until it is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    found: Found,
    /// Whether that was before the image was made, which may be long ago.
    early: bool,
}

/// What a manifest or index refers to.
#[derive(Deserialize)]
struct References {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

impl References {
    /// All that must be in the repository.
    fn all(self) -> impl Iterator<Item = Descriptor> {
        let all = self.config.into_iter().chain(self.layers).chain(self.manifests);
        all.filter(|d| !d.media_type.is_foreign())
    }
}

impl RegistryTarget {
    /// Whether the image `root` is in a repository with all that belongs to it: a registry takes a manifest only after what
    /// it names. The tag is asked first: if it is right, that was the only question.
    pub(super) async fn whole(&self, to: &Repository, root: Digest, tag: Option<&Tag>) -> Result<bool> {
        let names = tag.map(Tag::to_string).into_iter().chain([root.to_string()]);
        for name in names {
            let found = self.look(to, &name, root, &format!("look for {to}@{root}")).await?;
            self.see(to, name, Seen { found, early: false });
            if found == Found::Digest(root) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The digests of the manifest that a tag names and of those below it, asked once. None if the registry doesn't say:
    /// whatever is asked next will.
    pub(super) async fn named(&self, to: &Repository, tag: &Tag) -> Result<Vec<Digest>> {
        let cell = {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(named.entry((to.clone(), tag.clone())).or_default())
        };
        let ask = || async {
            let what = format!("look for {to}:{tag}");
            let mut call = Call::new(Method::GET, to, format!("manifests/{tag}"), what);
            (call.push, call.headers) = (true, accept());
            let answer = match self.registry.try_once(&call).await {
                Ok(answer) => answer,
                Err(failure) if failure.again == Again::No => return Err(failure.error),
                Err(_) => return Ok(Vec::new()),
            };
            match answer.status() {
                200 => {}
                404 => {
                    self.see(to, tag.to_string(), Seen { found: Found::Nothing, early: true });
                    return Ok(Vec::new());
                }
                _ => return Ok(Vec::new()),
            }
            let Ok(bytes) = answer.read(&call.what, MAX_DOCUMENT).await else {
                return Ok(Vec::new());
            };
            let digest = Digest::of(&bytes);
            self.see(to, tag.to_string(), Seen { found: Found::Digest(digest), early: true });
            let below = serde_json::from_slice::<References>(&bytes).map(|r| r.manifests).unwrap_or_default();
            Ok(std::iter::once(digest).chain(below.into_iter().map(|d| d.digest)).collect())
        };
        cell.get_or_try_init(ask).await.cloned()
    }

    /// Notes what was found.
    fn see(&self, to: &Repository, name: String, seen: Seen) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert((to.clone(), name), seen);
    }

    /// What `name`, a tag or digest that should stand for `ours`, stands for: what was found a moment ago, or else is now.
    /// That it is right already must not be long ago: somebody may have moved it since.
    async fn look(&self, to: &Repository, name: &str, ours: Digest, what: &str) -> Result<Found> {
        let seen =
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&(to.clone(), name.to_owned()));
        match seen {
            Some(Seen { found, early }) if !early || found != Found::Digest(ours) => Ok(found),
            _ => self.find(to, name, what, false).await,
        }
    }

    /// What `name`, a tag or digest, stands for now. HEAD tells; where it can't or doesn't say the digest, GET does.
    /// Whoever `insist`s asks again when the registry is busy or broken for a moment.
    async fn find(&self, to: &Repository, name: &str, what: &str, insist: bool) -> Result<Found> {
        let mut tries = self.registry.manifest_tries(to.registry());
        let mut method = Method::HEAD;
        loop {
            let call = question(method.clone(), to, name, what);
            let answer = match self.registry.try_once(&call).await {
                Ok(answer) => answer,
                // The request that follows will say more. A server of tokens that says no isn't asked again: logins
                // that fail lock accounts.
                Err(failure) if failure.answered() && failure.again != Again::No && !insist => {
                    return Ok(Found::Unclear);
                }
                Err(failure) => {
                    self.registry.pause(&mut tries, failure, what).await?;
                    continue;
                }
            };
            match answer.status() {
                200 if method == Method::HEAD => match (answer.digest(), name.parse::<Digest>()) {
                    // A digest stands for itself.
                    (Some(digest), _) | (None, Ok(digest)) => return Ok(Found::Digest(digest)),
                    (None, Err(_)) => method = Method::GET,
                },
                200 => {
                    let read = answer.read(what, MAX_DOCUMENT).await;
                    match read {
                        Ok(bytes) => return Ok(Found::Digest(Digest::of(&bytes))),
                        Err(failure) => self.registry.pause(&mut tries, failure, what).await?,
                    }
                }
                404 => return Ok(Found::Nothing),
                // ECR answers HEAD with 400, others know only GET.
                400 | 405 if method == Method::HEAD => method = Method::GET,
                _ => return Ok(Found::Unclear),
            }
        }
    }

    /// Makes sure that a manifest is there under its digest.
    pub(super) async fn manifest(&self, to: &Repository, blob: &Blob) -> Result<Put> {
        let digest = blob.descriptor.digest;
        let what = format!("push manifest {digest} to {to}");
        if self.look(to, &digest.to_string(), digest, &what).await? == Found::Digest(digest) {
            return Ok(Put::Present);
        }
        self.put_manifest(to, blob, &digest.to_string(), &what).await?;
        Ok(Put::Sent)
    }

    /// Lets `tag` stand for `root`. A tag that is right is left alone: one that can't be moved refuses even the same image.
    pub(super) async fn move_tag(&self, to: &Repository, root: &Blob, tag: &Tag) -> Result<()> {
        let what = format!("tag {to}:{tag}");
        let ours = root.descriptor.digest;
        if self.look(to, tag.as_str(), ours, &what).await? == Found::Digest(ours) {
            return Ok(());
        }
        if let Err(error) = self.put_manifest(to, root, tag.as_str(), &what).await {
            // An answer that was lost, or a HEAD that knew nothing, and now it can't be moved: it may be right.
            let refused = matches!(error.kind(), Kind::Refused | Kind::Auth);
            if refused && self.by_get(to, tag.as_str(), &what).await == Some(ours) {
                return Ok(());
            }
            // The content was taken from us: it isn't us whom the registry refuses, but this tag.
            let forbidden = error.kind() == Kind::Auth && error.why().contains("answered 403");
            return Err(if forbidden { error.as_kind(Kind::Refused).without_hint() } else { error });
        }
        let moved = (to.clone(), tag.clone(), ours);
        self.moved.lock().unwrap_or_else(PoisonError::into_inner).push(moved);
        Ok(())
    }

    /// Asks what the tags that were moved stand for, now that all were. Another pusher may have moved one since: its image
    /// is as whole as ours, so that is worth a warning.
    pub(super) async fn check_tags(&self) -> Result<()> {
        let moved = std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner));
        let check = |(to, tag, digest)| async move { self.check_tag(&to, &tag, digest).await };
        let checked: Vec<Result<()>> =
            stream::iter(moved.into_iter().map(check)).buffered(CHECKS).collect().await;
        checked.into_iter().collect()
    }

    async fn check_tag(&self, to: &Repository, tag: &Tag, digest: Digest) -> Result<()> {
        let what = format!("check {to}:{tag}");
        let mut round = 0;
        loop {
            match self.find(to, tag.as_str(), &what, true).await? {
                Found::Digest(found) if found == digest => return Ok(()),
                Found::Digest(found) => {
                    self.registry.0.observer.on(Event::Warning(format!(
                        "{to}:{tag} stands for {found} now: somebody else moved it after it was set to {digest}"
                    )));
                    return Ok(());
                }
                Found::Unclear => {
                    let text = format!("whether {to}:{tag} stands for {digest} can't be found out");
                    self.registry.0.observer.on(Event::Warning(text));
                    return Ok(());
                }
                Found::Nothing if round < ROUNDS => {
                    round += 1;
                    self.rest(round, &what, "the registry doesn't show the tag yet").await;
                }
                Found::Nothing => {
                    return Err(Error::new(
                        Kind::Refused,
                        what,
                        "the registry took the tag but doesn't have it",
                    ));
                }
            }
        }
    }

    /// Waits for storage that is late.
    async fn rest(&self, round: u32, what: &str, why: &str) {
        let inner = &self.registry.0;
        let delay = inner.policy.backoff(round, inner.chance.next());
        inner.observer.on(Event::Retry { what: what.to_owned(), why: why.to_owned(), delay });
        tokio::time::sleep(delay).await;
    }

    /// The digest of what GET finds under `name`, if it finds something.
    async fn by_get(&self, to: &Repository, name: &str, what: &str) -> Option<Digest> {
        let call = question(Method::GET, to, name, what);
        let answer = self.registry.try_once(&call).await.ok().filter(|a| a.status() == 200)?;
        Some(Digest::of(&answer.read(what, MAX_DOCUMENT).await.ok()?))
    }

    /// Puts a manifest under a digest or tag, and makes sure that it is there. A registry that doesn't know what the manifest
    /// refers to gets that again. Gives the `OCI-Subject` of the answer: whose referrer the registry took it for.
    pub(super) async fn put_manifest(
        &self,
        to: &Repository,
        blob: &Blob,
        name: &str,
        what: &str,
    ) -> Result<Option<Digest>> {
        let digest = blob.descriptor.digest;
        let mut call = Call::new(Method::PUT, to, format!("manifests/{name}"), what.to_owned());
        call.push = true;
        let media_type = HeaderValue::from_str(blob.descriptor.media_type.as_str())
            .map_err(|e| Error::new(Kind::Internal, what, e))?;
        call.headers.insert(CONTENT_TYPE, media_type);
        let document = self.document(blob).await?;
        call.body = Body::Bytes(document.clone());
        let mut tries = self.registry.manifest_tries(to.registry());
        let mut healing = Healing { round: 0, sent: BTreeSet::new() };
        let answer = loop {
            let failure = match self.registry.try_once(&call).await {
                Ok(answer) if answer.is_success() => break answer,
                Ok(answer) => {
                    let refusal = Refusal::read(answer).await;
                    let unknown = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
                    if unknown.iter().any(|code| refusal.has_code(code)) && healing.round < ROUNDS {
                        self.heal(to, &document, &refusal, what, &mut healing).await?;
                        continue;
                    }
                    if refusal.status == 413 {
                        let size = document.len();
                        let why = format!("its {size} bytes are above the registry's limit for manifests");
                        return Err(Error::new(Kind::Refused, what, why));
                    }
                    refusal.failure(what, to.registry())
                }
                Err(failure) => failure,
            };
            self.registry.pause(&mut tries, failure, what).await?;
        };
        let stored = match answer.digest() {
            Some(stored) => Found::Digest(stored),
            None => self.stored(to, name, what).await?,
        };
        match stored {
            Found::Digest(stored) if stored == digest => {
                Ok(answer.header("oci-subject").and_then(|v| v.parse().ok()))
            }
            Found::Digest(stored) => Err(Error::new(
                Kind::Integrity,
                what,
                format!("the registry stored {stored}, expected {digest}"),
            )),
            Found::Nothing | Found::Unclear => {
                let why = format!("the registry answered {} but doesn't have it", answer.status());
                Err(Error::new(Kind::Refused, what, why))
            }
        }
    }

    /// [`Self::put_manifest`] for its own healing.
    fn boxed_put<'a>(
        &'a self,
        to: &'a Repository,
        blob: &'a Blob,
        name: &'a str,
        what: &'a str,
    ) -> BoxFuture<'a, Result<Option<Digest>>> {
        Box::pin(self.put_manifest(to, blob, name, what))
    }

    /// What a registry has stored that didn't say so: read back, since one that says yes to everything says it to HEAD too.
    async fn stored(&self, to: &Repository, name: &str, what: &str) -> Result<Found> {
        let call = question(Method::GET, to, name, what);
        let answer = self.registry.send(&call).await?;
        match answer.status() {
            200 => {
                let bytes = answer.read(what, MAX_DOCUMENT).await.map_err(|f| f.error)?;
                Ok(Found::Digest(Digest::of(&bytes)))
            }
            404 => Ok(Found::Nothing),
            _ => Err(refusal(&call, answer).await),
        }
    }

    /// Gives the registry what it says it doesn't know of `document`. What it hasn't got is sent again. If it says that all is
    /// there, its storage is late, or what it says is wrong: it gets time first, and the second time what it named.
    async fn heal(
        &self,
        to: &Repository,
        document: &Bytes,
        refusal: &Refusal,
        what: &str,
        healing: &mut Healing,
    ) -> Result<()> {
        let references: References =
            serde_json::from_slice(document).map_err(|e| Error::new(Kind::Internal, what, e))?;
        let all: Vec<Descriptor> = references.all().collect();
        let there = join_all(all.iter().map(|d| self.is_there(to, d))).await;
        let mut lost: Vec<&Descriptor> =
            all.iter().zip(there).filter(|(_, there)| !there).map(|(d, _)| d).collect();
        let missing = !lost.is_empty();
        if !missing && healing.round > 0 {
            let named = refusal.digests();
            let all_named = all.iter().all(|d| !named.contains(&d.digest));
            // Once each: sending it twice won't help a registry that is merely late.
            let wanted = |d: &&Descriptor| all_named || named.contains(&d.digest);
            lost = all.iter().filter(wanted).filter(|d| healing.sent.insert(d.digest)).collect();
        }
        for descriptor in lost {
            let Some(blob) = self.known(to, descriptor.digest) else { continue };
            let digest = descriptor.digest;
            self.registry
                .0
                .observer
                .on(Event::Detail(format!("{to} doesn't know {digest}: it is sent again")));
            if descriptor.media_type.is_manifest_or_index() {
                let what = format!("push manifest {digest} to {to}");
                let name = digest.to_string();
                let again: BoxFuture<'_, Result<Option<Digest>>> = self.boxed_put(to, &blob, &name, &what);
                again.await?;
            } else {
                self.blob(to, &blob, true).await?;
            }
        }
        healing.round += 1;
        // What was missing and was sent is there now, unless the storage is late.
        if !missing || healing.round > 1 {
            self.rest(healing.round, what, "the registry doesn't know yet what was put").await;
        }
        Ok(())
    }

    /// Whether HEAD finds what a manifest refers to. No clear answer counts as yes.
    async fn is_there(&self, to: &Repository, descriptor: &Descriptor) -> bool {
        let digest = descriptor.digest;
        let kind = if descriptor.media_type.is_manifest_or_index() { "manifests" } else { "blobs" };
        let mut call =
            Call::new(Method::HEAD, to, format!("{kind}/{digest}"), format!("look for {digest} in {to}"));
        (call.push, call.headers) = (true, accept());
        !self.registry.try_once(&call).await.is_ok_and(|answer| answer.status() == 404)
    }

    /// The whole content of a manifest, checked: it is small, and named by its digest.
    async fn document(&self, blob: &Blob) -> Result<Bytes> {
        let what = || format!("read manifest {}", blob.descriptor.digest);
        let bytes = if let Content::Bytes(bytes) = &blob.content {
            bytes.clone()
        } else {
            let mut all = BytesMut::new();
            let mut stream = (self.opener(blob))().await?;
            while let Some(bytes) = stream.next().await {
                all.extend_from_slice(&bytes?);
                if all.len() as u64 > MAX_DOCUMENT {
                    return Err(Error::new(Kind::Integrity, what(), "larger than 4 MiB"));
                }
            }
            all.freeze()
        };
        match Digest::of(&bytes) {
            found if found == blob.descriptor.digest => Ok(bytes),
            found => Err(Error::new(Kind::Integrity, what(), format!("the content is {found}"))),
        }
    }
}

/// The question what `name`, a tag or digest, stands for; asked with the right to push, whose token there is already.
fn question<'a>(method: Method, to: &'a Repository, name: &str, what: &str) -> Call<'a> {
    let mut call = Call::new(method, to, format!("manifests/{name}"), what.to_owned());
    (call.push, call.headers) = (true, accept());
    call
}

/// How far the healing of a manifest is.
struct Healing {
    round: u32,
    /// What was sent again though the registry said that it is there.
    sent: BTreeSet<Digest>,
}
