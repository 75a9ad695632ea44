//! A source with the cache before it: what is named by its digest is taken from there if it is there, and kept if it
//! isn't. What a tag stands for is always asked.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::content::{BoxFuture, ByteStream, Source, bytes_stream, verified};
use crate::error::{Error, Result};
use crate::oci::{Descriptor, Digest, MediaType, Reference, Repository};
use crate::store::blobs::{Kept, Writer};
use crate::store::{Place, Shared, Store};

/// How many pieces of a blob may wait to be written.
const AHEAD: usize = 16;

impl Store {
    /// `origin` with this cache before it.
    #[must_use]
    pub fn before(&self, origin: Arc<dyn Source>) -> Arc<dyn Source> {
        match self.0.place {
            Place::Off => origin,
            _ => Arc::new(Cached { shared: Arc::clone(&self.0), origin }),
        }
    }
}

struct Cached {
    shared: Arc<Shared>,
    origin: Arc<dyn Source>,
}

impl Source for Cached {
    fn resolve<'a>(&'a self, reference: &'a Reference) -> BoxFuture<'a, Result<(Descriptor, Bytes)>> {
        Box::pin(async move {
            if let Some(digest) = reference.digest
                && let Some(Kept::Bytes(bytes)) = self.find(digest, None).await
                && let Some(media_type) = media_type(&bytes)
            {
                return Ok((Descriptor::new(media_type, digest, bytes.len() as u64), bytes));
            }
            let (descriptor, bytes) = self.origin.resolve(reference).await?;
            if media_type(&bytes).is_some() {
                let (shared, digest, bytes) = (Arc::clone(&self.shared), descriptor.digest, bytes.clone());
                self.shared.will_end(tokio::task::spawn_blocking(move || shared.keep(digest, &bytes)));
            }
            Ok((descriptor, bytes))
        })
    }

    fn fetch<'a>(
        &'a self,
        repository: &'a Repository,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<ByteStream>> {
        Box::pin(async move {
            match self.find(descriptor.digest, Some(descriptor.size)).await {
                Some(Kept::Bytes(bytes)) => return Ok(bytes_stream(bytes)),
                Some(Kept::File(file)) => return Ok(verified(read(file, descriptor.digest), descriptor)),
                None => {}
            }
            let stream = self.origin.fetch(repository, descriptor).await?;
            // Nothing is not worth a file.
            match descriptor.size > 0 && self.shared.wants(descriptor.size) {
                true => Ok(tee(stream, descriptor, &self.shared)),
                false => Ok(stream),
            }
        })
    }
}

impl Cached {
    async fn find(&self, digest: Digest, size: Option<u64>) -> Option<Kept> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.find(&digest, size)).await.ok().flatten()
    }
}

impl Shared {
    /// Notes a task that ends by itself, and that the end of the run waits for.
    pub(super) fn will_end(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}

/// The bytes of an open file.
fn read(file: std::fs::File, digest: Digest) -> ByteStream {
    let file = tokio::fs::File::from_std(file);
    let pieces = tokio_util::io::ReaderStream::with_capacity(file, 256 * 1024);
    Box::pin(pieces.map(move |piece| {
        piece.map_err(|e| Error::new(crate::error::Kind::LocalIo, format!("read {digest} in the cache"), e))
    }))
}

/// What a manifest says itself that it is. None where a registry's word is needed, or where anything is odd: a registry's
/// answer is looked at more closely.
fn media_type(body: &[u8]) -> Option<MediaType> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Says {
        schema_version: u32,
        media_type: MediaType,
        manifests: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
    }
    let says: Says = serde_json::from_slice(body).ok()?;
    let is_so = match (says.schema_version, says.manifests, says.layers) {
        (2, Some(_), None) => says.media_type.is_index(),
        (2, None, Some(_)) => says.media_type.is_manifest(),
        _ => false,
    };
    is_so.then_some(says.media_type)
}

/// A message to the thread that writes a blob.
enum Piece {
    Bytes(Bytes),
    /// That was all.
    End,
}

/// `inner`, whose bytes are also written to the cache, by a thread of their own. They get their name once all of them
/// were written; whoever stops reading before leaves nothing.
fn tee(inner: ByteStream, descriptor: &Descriptor, shared: &Arc<Shared>) -> ByteStream {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (writing, digest) = (Arc::clone(shared), descriptor.digest);
    let thread = tokio::task::spawn_blocking(move || {
        if let Err(error) = write(&writing, receiver, &digest) {
            writing.unwritable(&error);
        }
    });
    let left = descriptor.size;
    let shared = Arc::clone(shared);
    let state = (inner, Some((sender, thread)), left);
    Box::pin(stream::unfold(state, move |(mut inner, mut copy, mut left)| {
        let shared = Arc::clone(&shared);
        async move {
            let piece = inner.next().await?;
            match &piece {
                Ok(bytes) => {
                    left = left.saturating_sub(bytes.len() as u64);
                    if let Some((sender, thread)) = copy.take() {
                        let goes_on = sender.send(Piece::Bytes(bytes.clone())).await.is_ok();
                        // Not every reader waits for the end: the last byte is it. A writer that gave up is gone.
                        match (goes_on, left) {
                            (false, _) => {}
                            (true, 0) => {
                                let _ = sender.send(Piece::End).await;
                                shared.will_end(thread);
                            }
                            (true, _) => copy = Some((sender, thread)),
                        }
                    }
                }
                Err(_) => copy = None,
            }
            Some((piece, (inner, copy, left)))
        }
    }))
}

fn write(shared: &Arc<Shared>, mut pieces: mpsc::Receiver<Piece>, digest: &Digest) -> Result<()> {
    let Some(mut writer) = Writer::begin(shared)? else { return Ok(()) };
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Bytes(bytes) => writer.write(&bytes)?,
            // Content that isn't what its digest says gets no name; the reader of the stream hears of it.
            Piece::End => return writer.commit(digest).map(drop),
        }
    }
    Ok(())
}
