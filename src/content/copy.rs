//! The one copy: every destination is fed here. Leaves first, manifests by digest, referrers, tags last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::sync::{OnceCell, Semaphore};

use crate::content::{Beside, Blob, Graph, ImageName, Naming, Referrer, Stop, Target};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer, Put};
use crate::oci::{Descriptor, Digest, Tag};

type Done = Arc<OnceCell<()>>;

/// Whether a blob is in a place where it is sent only once. Held while the first sends it.
type First = Arc<tokio::sync::Mutex<bool>>;

/// Puts blobs to one destination, each once however often it is asked for, a bounded number at a time.
pub struct Copier {
    target: Arc<dyn Target>,
    observer: Arc<dyn Observer>,
    limit: Semaphore,
    stop: Stop,
    /// Whether a referrer that the destination refuses is an error.
    required: bool,
    done: Mutex<BTreeMap<(ImageName, Digest), Done>>,
    first: Mutex<BTreeMap<(String, Digest), First>>,
}

impl Copier {
    /// A copier to `target` with at most `jobs` transfers at a time.
    #[must_use]
    pub fn new(target: Arc<dyn Target>, observer: Arc<dyn Observer>, jobs: usize) -> Self {
        Copier {
            target,
            observer,
            limit: Semaphore::new(jobs.max(1)),
            stop: Stop::default(),
            required: false,
            done: Mutex::default(),
            first: Mutex::default(),
        }
    }

    /// The same, moving no further name once `stop` is wanted.
    #[must_use]
    pub fn until(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// The same, but a referrer that the destination refuses is an error of kind `Attestation` before any tag moves.
    /// Otherwise it is a warning: the image is more than what is said about it.
    #[must_use]
    pub fn require_referrers(mut self) -> Self {
        self.required = true;
        self
    }

    /// Puts one blob. Blobs are nameless, so a layer may go as soon as it exists.
    ///
    /// # Errors
    /// Whatever the destination says.
    pub async fn put(&self, name: &ImageName, blob: &Blob) -> Result<()> {
        self.once(name, &blob.descriptor, self.put_once(name, blob)).await
    }

    /// Lets `work` put what `descriptor` says, unless that was done.
    async fn once(
        &self,
        name: &ImageName,
        descriptor: &Descriptor,
        work: impl Future<Output = Result<Put>>,
    ) -> Result<()> {
        let cell = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(done.entry((name.clone(), descriptor.digest)).or_default())
        };
        cell.get_or_try_init(|| async {
            let how = work.await?;
            if how == Put::Later {
                return Ok(());
            }
            self.observer.on(Event::Put {
                descriptor: descriptor.clone(),
                how,
                destination: self.target.describe(name),
            });
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Puts one blob, where it is sent only once after whoever sends it. Who waits takes no transfer's place.
    async fn put_once(&self, name: &ImageName, blob: &Blob) -> Result<Put> {
        let first = self.target.moves_once(name, blob).map(|place| {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(first.entry((place, blob.descriptor.digest)).or_default())
        });
        let mut held = match &first {
            Some(first) => Some(first.lock().await).filter(|there| !**there),
            None => None,
        };
        let _permit = self.permit().await?;
        let how = self.target.put(name, blob).await?;
        if let Some(there) = &mut held {
            **there = true;
        }
        Ok(how)
    }

    async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.limit.acquire().await.map_err(|e| Error::new(Kind::Internal, "transfer", e))
    }

    /// Attaches what refers to the images of a graph, and puts what lies beside them. A referrer of a referrer waits for
    /// that: some registries want the subject first, though the specification doesn't. Whether all are there.
    async fn referrers(&self, graph: &Graph) -> Result<bool> {
        if !self.target.keeps_referrers() {
            return Ok(graph.referrers.is_empty() && graph.beside.is_empty());
        }
        let mut all = true;
        let mut rest: Vec<&Referrer> = graph.referrers.iter().collect();
        while !rest.is_empty() {
            let open: BTreeSet<Digest> = rest.iter().map(|r| r.manifest.descriptor.digest).collect();
            let waits = |r: &&Referrer| open.contains(&r.subject.digest);
            let (later, now): (Vec<_>, Vec<_>) = rest.iter().copied().partition(waits);
            let attached = try_join_all(now.iter().map(|r| self.referrer(graph, r))).await?;
            all &= attached.into_iter().all(|attached| attached);
            // A document can't name one that names it: there is always one that waits for none.
            rest = if now.is_empty() { Vec::new() } else { later };
        }
        let beside = graph.beside.iter().map(|b| async { self.unless_refused(self.beside(graph, b).await) });
        let beside = try_join_all(beside).await?;
        Ok(all && beside.into_iter().all(|there| there))
    }

    async fn referrer(&self, graph: &Graph, referrer: &Referrer) -> Result<bool> {
        self.unless_refused(self.attach(graph, referrer).await)
    }

    /// Whether what is said about an image is there. One that a destination refuses counts only if it is required.
    fn unless_refused(&self, attached: Result<()>) -> Result<bool> {
        let Err(error) = attached else { return Ok(true) };
        match error.kind() {
            Kind::Refused if self.required => Err(error.as_kind(Kind::Attestation)),
            Kind::Refused | Kind::Auth | Kind::Unavailable if !self.required => {
                self.observer.on(Event::Warning(format!("{error}; the image goes on without it")));
                Ok(false)
            }
            _ => Err(error),
        }
    }

    async fn attach(&self, graph: &Graph, referrer: &Referrer) -> Result<()> {
        let of_manifest = |b: &&Blob| b.descriptor.media_type.is_manifest_or_index();
        let (manifests, blobs): (Vec<_>, Vec<_>) = referrer.blobs.iter().partition(of_manifest);
        try_join_all(blobs.into_iter().map(|b| self.put(&graph.name, b))).await?;
        try_join_all(manifests.into_iter().map(|b| self.put(&graph.name, b))).await?;
        let attaching = async {
            let _permit = self.permit().await?;
            self.target.attach(graph, referrer).await
        };
        self.once(&graph.name, &referrer.manifest.descriptor, attaching).await
    }

    /// Puts what lies beside the images of a graph. Its tag moves at once: no image is found by it.
    async fn beside(&self, graph: &Graph, beside: &Beside) -> Result<()> {
        try_join_all(beside.blobs.iter().map(|b| self.put(&graph.name, b))).await?;
        let _permit = self.permit().await?;
        self.go_on()?;
        self.target.beside(&graph.name, beside).await
    }

    /// Puts all of a graph but its tags: blobs in parallel, then child manifests, the root, and what refers to them.
    /// Whether all of the latter is there: a destination may refuse it, or keep none.
    ///
    /// # Errors
    /// Whatever the destination says.
    pub async fn content(&self, graph: &Graph) -> Result<bool> {
        let there = {
            let _permit = self.permit().await?;
            self.target.has(graph).await?
        };
        if there {
            self.observer.on(Event::Put {
                descriptor: graph.root.descriptor.clone(),
                how: Put::Present,
                destination: self.target.describe(&graph.name),
            });
        } else {
            try_join_all(graph.blobs.iter().map(|b| self.put(&graph.name, b))).await?;
            try_join_all(graph.children.iter().map(|b| self.put(&graph.name, b))).await?;
            self.put(&graph.name, &graph.root).await?;
        }
        let attached = if there && graph.settled { true } else { self.referrers(graph).await? };
        let _permit = self.permit().await?;
        self.target.complete(graph).await?;
        Ok(attached)
    }

    /// Moves the tags, when the content of every graph is there, and ends the run. A tag that can't be moved doesn't keep
    /// the others from moving.
    ///
    /// # Errors
    /// Whatever the destination says of its tags, with the reference under which the image is there; what it says at
    /// the end of the run. So it is when the run is to stop: tags moved before stay.
    pub async fn publish(&self, graphs: &[Graph]) -> Result<()> {
        let naming = self.target.naming();
        let mut failures = Vec::new();
        for graph in graphs {
            let mut failed = Vec::new();
            for tag in &graph.tags {
                self.go_on()?;
                let name = format!("{}:{tag}", self.target.describe(&graph.name));
                self.moving(naming == Naming::ByTag, &name);
                match self.target.tag(&graph.name, &graph.root, tag).await {
                    Ok(()) => self.moved(naming == Naming::ByTag, &name),
                    Err(error) => failed.push((tag, error)),
                }
            }
            failures.extend(self.tags_failed(graph, failed));
        }
        let mut failures = failures.into_iter();
        if let Some(first) = failures.next() {
            return Err(failures.fold(first, |all, next| all.and(next)));
        }
        self.go_on()?;
        let names: BTreeSet<String> = graphs.iter().map(|g| self.target.describe(&g.name)).collect();
        names.iter().for_each(|name| self.moving(naming == Naming::AtEnd, name));
        self.target.finish(graphs).await?;
        names.iter().for_each(|name| self.moved(naming == Naming::AtEnd, name));
        Ok(())
    }

    /// Fails if the run is to stop. What was begun comes to its end; whoever stops the run knows why.
    fn go_on(&self) -> Result<()> {
        match self.stop.is_wanted() {
            true => Err(Error::new(Kind::Interrupted, "publish", "the run is to stop")),
            false => Ok(()),
        }
    }

    /// A name that `really` moves is about to.
    fn moving(&self, really: bool, name: &str) {
        if really {
            self.observer.on(Event::Publishing { name: name.to_owned() });
        }
    }

    /// A name that `really` moves has.
    fn moved(&self, really: bool, name: &str) {
        if really {
            self.observer.on(Event::Published { name: name.to_owned() });
        }
    }

    /// The error of the tags of an image that couldn't be moved.
    fn tags_failed(&self, graph: &Graph, failed: Vec<(&Tag, Error)>) -> Option<Error> {
        let there = format!("{}@{}", self.target.describe(&graph.name), graph.root.descriptor.digest);
        let count = failed.len();
        let mut failed = failed.into_iter();
        let (tag, first) = failed.next()?;
        if count == 1 && graph.tags.len() == 1 {
            return Some(first.and(format!("but the image is there: {there}")));
        }
        let kind = first.kind();
        let mut kinds = vec![kind];
        let mut why = format!("{tag}: {}", first.why());
        for (tag, error) in failed {
            kinds.push(error.kind());
            why = format!("{why}; {tag}: {}", error.why());
        }
        let kind = if kinds.iter().all(|k| *k == kind) { kind } else { Kind::Refused };
        let what =
            format!("tag {} ({count} of {} tags)", self.target.describe(&graph.name), graph.tags.len());
        let error = Error::new(kind, what, format!("{why}; but the image is there: {there}"));
        Some(match first.hint_text() {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }

    /// The destination.
    #[must_use]
    pub fn target(&self) -> &dyn Target {
        &*self.target
    }
}
