//! The one copy: every destination is fed here. Leaves first, manifests by digest, tags last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::sync::{OnceCell, Semaphore};

use crate::content::{Blob, Graph, ImageName, Target};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer, Put};
use crate::oci::Digest;

type Done = Arc<OnceCell<()>>;

/// Puts blobs to one destination, each once however often it is asked for, a bounded number at a time.
pub struct Copier {
    target: Arc<dyn Target>,
    observer: Arc<dyn Observer>,
    limit: Semaphore,
    done: Mutex<BTreeMap<(ImageName, Digest), Done>>,
}

impl Copier {
    /// A copier to `target` with at most `jobs` transfers at a time.
    #[must_use]
    pub fn new(target: Arc<dyn Target>, observer: Arc<dyn Observer>, jobs: usize) -> Self {
        Copier { target, observer, limit: Semaphore::new(jobs.max(1)), done: Mutex::default() }
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
    /// Whatever the destination says; tags moved before the failing one stay.
    pub async fn publish(&self, graphs: &[Graph]) -> Result<()> {
        for graph in graphs {
            for tag in &graph.tags {
                self.target.tag(&graph.name, &graph.root, tag).await?;
            }
        }
        self.target.finish(graphs).await
    }

    /// The destination.
    #[must_use]
    pub fn target(&self) -> &dyn Target {
        &*self.target
    }
}
