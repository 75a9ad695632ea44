//! The one copy: every destination is fed here. Leaves first, manifests by digest, tags last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio::sync::{OnceCell, Semaphore};

use crate::content::{Blob, Graph, ImageName, Target};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer, Put};
use crate::oci::{Digest, Tag};

type Done = Arc<OnceCell<()>>;

/// Whether a blob is in a place where it is sent only once. Held while the first sends it.
type First = Arc<tokio::sync::Mutex<bool>>;

/// Puts blobs to one destination, each once however often it is asked for, a bounded number at a time.
pub struct Copier {
    target: Arc<dyn Target>,
    observer: Arc<dyn Observer>,
    limit: Semaphore,
    done: Mutex<BTreeMap<(ImageName, Digest), Done>>,
    first: Mutex<BTreeMap<(String, Digest), First>>,
}

impl Copier {
    /// A copier to `target` with at most `jobs` transfers at a time.
    #[must_use]
    pub fn new(target: Arc<dyn Target>, observer: Arc<dyn Observer>, jobs: usize) -> Self {
        Copier { target, observer, limit: Semaphore::new(jobs.max(1)), done: Mutex::default(), first: Mutex::default() }
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
            let how = self.put_once(name, blob).await?;
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

    /// Puts all of a graph but its tags: blobs in parallel, then child manifests, then the root.
    ///
    /// # Errors
    /// Whatever the destination says.
    pub async fn content(&self, graph: &Graph) -> Result<()> {
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
        let _permit = self.permit().await?;
        self.target.complete(graph).await
    }

    /// Moves the tags, when the content of every graph is there, and ends the run. A tag that can't be moved doesn't keep
    /// the others from moving.
    ///
    /// # Errors
    /// Whatever the destination says of its tags, with the reference under which the image is there; what it says at
    /// the end of the run.
    pub async fn publish(&self, graphs: &[Graph]) -> Result<()> {
        let mut failures = Vec::new();
        for graph in graphs {
            let mut failed = Vec::new();
            for tag in &graph.tags {
                if let Err(error) = self.target.tag(&graph.name, &graph.root, tag).await {
                    failed.push((tag, error));
                }
            }
            failures.extend(self.tags_failed(graph, failed));
        }
        let mut failures = failures.into_iter();
        let Some(first) = failures.next() else { return self.target.finish(graphs).await };
        Err(failures.fold(first, |all, next| all.and(next)))
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
        let what = format!("tag {} ({count} of {} tags)", self.target.describe(&graph.name), graph.tags.len());
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
