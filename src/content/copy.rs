//! The one copy: every destination is fed here. Leaves first, manifests by digest, referrers, tags last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::sync::{OnceCell, Semaphore};

use crate::content::{Blob, Graph, ImageName, Naming, Referrer, Stop, Target};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer, Put};
use crate::oci::{Descriptor, Digest};

type Done = Arc<OnceCell<()>>;

/// Puts blobs to one destination, each once however often it is asked for, a bounded number at a time.
pub struct Copier {
    target: Arc<dyn Target>,
    observer: Arc<dyn Observer>,
    limit: Semaphore,
    /// Whether a referrer that the destination refuses is an error.
    required: bool,
    stop: Stop,
    done: Mutex<BTreeMap<(ImageName, Digest), Done>>,
}

impl Copier {
    /// A copier to `target` with at most `jobs` transfers at a time.
    #[must_use]
    pub fn new(target: Arc<dyn Target>, observer: Arc<dyn Observer>, jobs: usize) -> Self {
        let limit = Semaphore::new(jobs.max(1));
        Copier { target, observer, limit, required: false, stop: Stop::default(), done: Mutex::default() }
    }

    /// The same, but a referrer that the destination refuses is an error of kind `Attestation` before any tag moves.
    /// Otherwise it is a warning: the image is more than what is said about it.
    #[must_use]
    pub fn require_referrers(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same, moving no further name once `stop` is wanted.
    #[must_use]
    pub fn until(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Puts one blob. Blobs are nameless, so a layer may go as soon as it exists.
    ///
    /// # Errors
    /// Whatever the destination says.
    pub async fn put(&self, name: &ImageName, blob: &Blob) -> Result<()> {
        self.once(name, &blob.descriptor, self.target.put(name, blob)).await
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
            let _permit =
                self.limit.acquire().await.map_err(|e| Error::new(Kind::Internal, "transfer", e))?;
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

    /// Attaches what refers to the images of a graph. A referrer of a referrer waits for that: some registries want the
    /// subject first, though the specification doesn't.
    async fn referrers(&self, graph: &Graph) -> Result<()> {
        if !self.target.keeps_referrers() {
            return Ok(());
        }
        let mut rest: Vec<&Referrer> = graph.referrers.iter().collect();
        while !rest.is_empty() {
            let open: BTreeSet<Digest> = rest.iter().map(|r| r.manifest.descriptor.digest).collect();
            let waits = |r: &&Referrer| open.contains(&r.subject.digest);
            let (later, now): (Vec<_>, Vec<_>) = rest.iter().copied().partition(waits);
            try_join_all(now.iter().map(|r| self.referrer(graph, r))).await?;
            // A document can't name one that names it: there is always one that waits for none.
            rest = if now.is_empty() { Vec::new() } else { later };
        }
        Ok(())
    }

    async fn referrer(&self, graph: &Graph, referrer: &Referrer) -> Result<()> {
        let Err(error) = self.attach(graph, referrer).await else { return Ok(()) };
        match error.kind() {
            Kind::Refused if self.required => Err(error.as_kind(Kind::Attestation)),
            Kind::Refused | Kind::Auth | Kind::Unavailable if !self.required => {
                self.observer.on(Event::Warning(format!("{error}; the image goes on without it")));
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn attach(&self, graph: &Graph, referrer: &Referrer) -> Result<()> {
        let of_manifest = |b: &&Blob| b.descriptor.media_type.is_manifest_or_index();
        let (manifests, blobs): (Vec<_>, Vec<_>) = referrer.blobs.iter().partition(of_manifest);
        try_join_all(blobs.into_iter().map(|b| self.put(&graph.name, b))).await?;
        try_join_all(manifests.into_iter().map(|b| self.put(&graph.name, b))).await?;
        let attaching = self.target.attach(graph, referrer);
        self.once(&graph.name, &referrer.manifest.descriptor, attaching).await
    }

    /// Puts all of a graph but its tags: blobs in parallel, then child manifests, the root, and what refers to them.
    ///
    /// # Errors
    /// Whatever the destination says.
    pub async fn content(&self, graph: &Graph) -> Result<()> {
        try_join_all(graph.blobs.iter().map(|b| self.put(&graph.name, b))).await?;
        try_join_all(graph.children.iter().map(|b| self.put(&graph.name, b))).await?;
        self.put(&graph.name, &graph.root).await?;
        self.referrers(graph).await?;
        let _permit = self.limit.acquire().await.map_err(|e| Error::new(Kind::Internal, "transfer", e))?;
        self.target.complete(graph).await
    }

    /// Moves the tags, when the content of every graph is there, and ends the run.
    ///
    /// # Errors
    /// Whatever the destination says; tags moved before the failing one stay. So it is when the run is to stop.
    pub async fn publish(&self, graphs: &[Graph]) -> Result<()> {
        let naming = self.target.naming();
        for graph in graphs {
            for tag in &graph.tags {
                self.go_on()?;
                let name = format!("{}:{tag}", self.target.describe(&graph.name));
                self.moving(naming == Naming::ByTag, &name);
                self.target.tag(&graph.name, &graph.root, tag).await?;
                self.moved(naming == Naming::ByTag, &name);
            }
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

    /// The destination.
    #[must_use]
    pub fn target(&self) -> &dyn Target {
        &*self.target
    }
}
