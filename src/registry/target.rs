//! Registries as a destination: blobs by upload or mount, manifests by digest, tags last.
#![expect(clippy::disallowed_methods, reason = "edge: reads blobs from disk")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use tokio::sync::OnceCell;
use tokio_util::io::ReaderStream;

use crate::content::{
    Beside, Blob, BoxFuture, Content, Graph, ImageName, Referrer, Source, Target, bytes_stream, verified,
};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Put};
use crate::oci::{self, Descriptor, Digest, Repository, Tag};
use crate::registry::Registry;
use crate::registry::manifests::Seen;
use crate::registry::referrers::List;
use crate::registry::transport::{Opener, Upload};
use crate::registry::upload::Job;

/// How many bytes of a file are read at a time.
const PIECE: usize = 256 * 1024;
/// How many other repositories are asked for a blob before it is sent.
const MAX_MOUNTS: usize = 2;

/// The manifests that a tag names, once that is known.
type Named = Arc<OnceCell<Vec<Digest>>>;

/// Puts images into the repositories of their names.
pub struct RegistryTarget {
    pub(super) registry: Registry,
    /// Where content that lies in a repository is read from, if it can't be mounted.
    origin: Arc<dyn Source>,
    /// Which repositories got a blob in this run: others can mount it from there.
    placed: Mutex<BTreeMap<(oci::Registry, Digest), BTreeSet<Repository>>>,
    /// Everything that is put: what a registry turns out to have lost is sent again.
    known: Mutex<BTreeMap<(Repository, Digest), Blob>>,
    /// What tags and digests were found to stand for, until it is used.
    pub(super) seen: Mutex<BTreeMap<(Repository, String), Seen>>,
    /// The manifests that tags named before anything was put.
    pub(super) named: Mutex<BTreeMap<(Repository, Tag), Named>>,
    /// The tags that were moved, each with what it should stand for.
    pub(super) moved: Mutex<Vec<(Repository, Tag, Digest)>>,
    /// What was added to lists of referrers in this run, by their subjects.
    added: Mutex<BTreeMap<(Repository, Digest), Vec<Descriptor>>>,
}

impl RegistryTarget {
    /// A target that pushes with `registry`; `origin` reads [`Content::Remote`].
    #[must_use]
    pub fn new(registry: Registry, origin: Arc<dyn Source>) -> Self {
        RegistryTarget {
            registry,
            origin,
            placed: Mutex::default(),
            known: Mutex::default(),
            seen: Mutex::default(),
            named: Mutex::default(),
            moved: Mutex::default(),
            added: Mutex::default(),
        }
    }

    /// The list of what refers to `subject`, a manifest of `graph`, where the registry keeps none itself.
    fn list<'a>(&'a self, graph: &Graph, to: &'a Repository, subject: Digest) -> List<'a> {
        let children = graph.children.iter().map(|c| c.descriptor.digest);
        let children =
            if subject == graph.root.descriptor.digest { children.collect() } else { BTreeSet::new() };
        List { registry: &self.registry, repository: to, subject, children }
    }

    /// Remembers what is put.
    fn remember(&self, to: &Repository, blob: &Blob) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((to.clone(), blob.descriptor.digest)).or_insert_with(|| blob.clone());
    }

    /// What was put, or shall be, under a digest.
    pub(super) fn known(&self, to: &Repository, digest: Digest) -> Option<Blob> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(to.clone(), digest)).cloned()
    }

    /// Makes sure that a blob is there. `force` sends it even if the registry says that it has it.
    pub(super) async fn blob(&self, to: &Repository, blob: &Blob, force: bool) -> Result<Put> {
        let digest = blob.descriptor.digest;
        let mounts = self.mounts(to, blob);
        let opener = self.opener(blob);
        let observer = Arc::clone(&self.registry.0.observer);
        let local = !matches!(blob.content, Content::Remote(_));
        let upload = Upload::new(digest, blob.descriptor.size, opener, observer).local(local);
        let job = Job { registry: &self.registry, to, digest, upload, mounts: &mounts, force };
        let how = job.run().await?;
        self.place(to, digest);
        Ok(how)
    }

    /// Notes that a repository has a blob.
    fn place(&self, to: &Repository, digest: Digest) {
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        placed.entry((to.registry().clone(), digest)).or_default().insert(to.clone());
    }

    /// Repositories of the same registry that should have the blob, the likeliest first.
    fn mounts(&self, to: &Repository, blob: &Blob) -> Vec<Repository> {
        let mut all = Vec::new();
        if let Content::Remote(from) = &blob.content
            && from.registry() == to.registry()
        {
            all.push(from.clone());
        }
        let placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(
            placed
                .get(&(to.registry().clone(), blob.descriptor.digest))
                .into_iter()
                .flatten()
                .filter(|from| !all.contains(from))
                .cloned()
                .collect::<Vec<_>>(),
        );
        all.retain(|from| from != to);
        all.truncate(MAX_MOUNTS);
        all
    }

    /// What opens the blob's content from its start.
    pub(super) fn opener(&self, blob: &Blob) -> Opener {
        let descriptor = blob.descriptor.clone();
        match blob.content.clone() {
            Content::Bytes(bytes) => Arc::new(move || {
                let bytes = bytes.clone();
                Box::pin(async move { Ok(bytes_stream(bytes)) })
            }),
            Content::File(path) => Arc::new(move || {
                let (path, descriptor) = (Arc::clone(&path), descriptor.clone());
                Box::pin(async move {
                    let file = tokio::fs::File::open(&path).await;
                    let file = file.map_err(|e| Error::io("read a layer", &path, &e))?;
                    let stream = ReaderStream::with_capacity(file, PIECE);
                    let stream = stream.map(move |r| r.map_err(|e| Error::io("read a layer", &path, &e)));
                    Ok(verified(Box::pin(stream), &descriptor))
                })
            }),
            Content::Remote(from) => {
                let origin = Arc::clone(&self.origin);
                Arc::new(move || {
                    let (origin, from, descriptor) = (Arc::clone(&origin), from.clone(), descriptor.clone());
                    Box::pin(async move { origin.fetch(&from, &descriptor).await })
                })
            }
        }
    }
}

/// The repository of an image that goes to a registry.
fn repository(name: &ImageName) -> Result<&Repository> {
    name.repository.as_ref().ok_or_else(|| {
        Error::new(Kind::Internal, format!("push {}", name.program), "the image has no repository")
    })
}

impl Target for RegistryTarget {
    fn describe(&self, name: &ImageName) -> String {
        name.shown()
    }

    /// Connects, logs in, and asks what the tag stands for: what [`Target::names`] goes by.
    fn announce<'a>(&'a self, name: &'a ImageName, tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        self.registry.guarded(async move { self.named(repository(name)?, tag).await.map(drop) })
    }

    fn names<'a>(
        &'a self,
        name: &'a ImageName,
        tag: Option<&'a Tag>,
        manifest: Digest,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let (to, Some(tag)) = (repository(name)?, tag) else { return Ok(false) };
            Ok(self.named(to, tag).await?.contains(&manifest))
        })
    }

    fn has<'a>(&'a self, graph: &'a Graph) -> BoxFuture<'a, Result<bool>> {
        self.registry.guarded(async move {
            let to = repository(&graph.name)?;
            for blob in graph.post_order() {
                self.remember(to, blob);
            }
            let there = self.whole(to, graph.root.descriptor.digest, graph.tags.first()).await?;
            if there {
                graph.blobs.iter().for_each(|blob| self.place(to, blob.descriptor.digest));
            }
            Ok(there)
        })
    }

    fn moves_once(&self, name: &ImageName, blob: &Blob) -> Option<String> {
        let registry = name.repository.as_ref()?.registry();
        match &blob.content {
            // It is mounted from there.
            Content::Remote(from) if from.registry() == registry => None,
            _ if blob.descriptor.media_type.is_manifest_or_index() => None,
            _ => Some(registry.to_string()),
        }
    }

    fn put<'a>(&'a self, name: &'a ImageName, blob: &'a Blob) -> BoxFuture<'a, Result<Put>> {
        self.registry.guarded(async move {
            let to = repository(name)?;
            self.remember(to, blob);
            if blob.descriptor.media_type.is_manifest_or_index() {
                return self.manifest(to, blob).await;
            }
            self.blob(to, blob, false).await
        })
    }

    fn keeps_referrers(&self) -> bool {
        true
    }

    fn attach<'a>(&'a self, graph: &'a Graph, referrer: &'a Referrer) -> BoxFuture<'a, Result<Put>> {
        self.registry.guarded(async move {
            let to = repository(&graph.name)?;
            let (digest, subject) = (referrer.manifest.descriptor.digest, referrer.subject.digest);
            let what = format!("attach {digest} to {to}@{subject}");
            // A registry that keeps the list itself can lose one of two that come at once: olareg 0.2.2 does.
            let _turn = self.registry.0.lists.take(&format!("put {to}@{subject}")).await;
            // Also if it is there: only the answer says whether the registry lists it.
            let listed = self.put_manifest(to, &referrer.manifest, &digest.to_string(), &what).await?;
            if listed == Some(subject) {
                return Ok(Put::Sent);
            }
            let list = self.list(graph, to, subject);
            let how = list.add(std::slice::from_ref(&referrer.manifest.descriptor)).await?;
            if how == Put::Sent {
                let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
                added.entry((to.clone(), subject)).or_default().push(referrer.manifest.descriptor.clone());
            }
            Ok(how)
        })
    }

    fn beside<'a>(&'a self, name: &'a ImageName, beside: &'a Beside) -> BoxFuture<'a, Result<()>> {
        match beside.adds {
            true => self.registry.guarded(async move { self.add_beside(repository(name)?, beside).await }),
            false => self.tag(name, &beside.manifest, &beside.tag),
        }
    }

    /// Looks once more at the lists of referrers that were written: somebody on another machine, who read one before we
    /// wrote it, may have written it since.
    fn complete<'a>(&'a self, graph: &'a Graph) -> BoxFuture<'a, Result<()>> {
        self.registry.guarded(async move {
            let to = repository(&graph.name)?;
            let subjects: BTreeSet<Digest> = graph.referrers.iter().map(|r| r.subject.digest).collect();
            try_join_all(subjects.into_iter().map(|subject| async move {
                let added = {
                    let mut added = self.added.lock().unwrap_or_else(PoisonError::into_inner);
                    added.remove(&(to.clone(), subject)).unwrap_or_default()
                };
                if added.is_empty() { Ok(()) } else { self.list(graph, to, subject).keep(&added).await }
            }))
            .await?;
            Ok(())
        })
    }

    fn tag<'a>(&'a self, name: &'a ImageName, root: &'a Blob, tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        self.registry.guarded(async move {
            let to = repository(name)?;
            self.move_tag(to, root, tag).await?;
            self.registry.0.observer.on(Event::Tagged { name: format!("{to}:{tag}") });
            Ok(())
        })
    }

    fn finish<'a>(&'a self, _graphs: &'a [Graph]) -> BoxFuture<'a, Result<()>> {
        self.registry.guarded(self.check_tags())
    }

    fn reference(&self, graph: &Graph) -> String {
        graph.reference(&self.describe(&graph.name))
    }
}
