//! The one copy: every destination is fed here. Leaves first, manifests by digest, tags last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::sync::{OnceCell, Semaphore};

use crate::content::{Blob, Graph, ImageName, Naming, Stop, Target};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer, Put};
use crate::oci::Digest;

type Done = Arc<OnceCell<()>>;

/// Puts blobs to one destination, each once however often it is asked for, a bounded number at a time.
pub struct Copier {
    target: Arc<dyn Target>,
    observer: Arc<dyn Observer>,
    limit: Semaphore,
    stop: Stop,
    done: Mutex<BTreeMap<(ImageName, Digest), Done>>,
}

impl Copier {
    /// A copier to `target` with at most `jobs` transfers at a time.
    #[must_use]
    pub fn new(target: Arc<dyn Target>, observer: Arc<dyn Observer>, jobs: usize) -> Self {
        let limit = Semaphore::new(jobs.max(1));
        Copier { target, observer, limit, stop: Stop::default(), done: Mutex::default() }
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
        let cell = {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(done.entry((name.clone(), blob.descriptor.digest)).or_default())
        };
        cell.get_or_try_init(|| async {
            let _permit =
                self.limit.acquire().await.map_err(|e| Error::new(Kind::Internal, "transfer", e))?;
            let how = self.target.put(name, blob).await?;
            if how == Put::Later {
                return Ok(());
            }
            self.observer.on(Event::Put {
                descriptor: blob.descriptor.clone(),
                how,
                destination: self.target.describe(name),
            });
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Puts all of a graph but its tags: blobs in parallel, then child manifests, then the root.
    ///
    /// # Errors
    /// Whatever the destination says.
    pub async fn content(&self, graph: &Graph) -> Result<()> {
        try_join_all(graph.blobs.iter().map(|b| self.put(&graph.name, b))).await?;
        try_join_all(graph.children.iter().map(|b| self.put(&graph.name, b))).await?;
        self.put(&graph.name, &graph.root).await?;
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
