//! Images as trees of files: what archives hold, and what is loaded into engines; and such a tree as a stream.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OnceCell, mpsc};

use crate::content::{Blob, ByteStream, Content, Graph, Source};
use crate::error::{Error, Kind, Result};
use crate::image::{Data, FileTree, Meta, tar};
use crate::oci::{Digest, json};
use crate::store::Scratch;
use crate::target::{layout, save};

/// How large the pieces of a stream are, and how many of them wait to be read.
const PIECE: usize = 256 * 1024;
const AHEAD: usize = 4;

/// Blobs on this machine: those that lie in a repository are fetched once and kept until the run ends.
pub(super) struct Kept {
    origin: Arc<dyn Source>,
    scratch: Arc<Scratch>,
    fetched: Mutex<BTreeMap<Digest, Arc<OnceCell<PathBuf>>>>,
}

impl Kept {
    /// None so far. `origin` has what is in registries.
    pub(super) fn new(origin: Arc<dyn Source>, scratch: Arc<Scratch>) -> Self {
        Kept { origin, scratch, fetched: Mutex::default() }
    }

    /// Makes sure that the blob is on this machine, verified if it comes from elsewhere.
    pub(super) async fn keep(&self, blob: &Blob) -> Result<()> {
        if !matches!(blob.content, Content::Remote(_)) {
            return Ok(());
        }
        let cell = {
            let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(fetched.entry(blob.descriptor.digest).or_default())
        };
        let fetch = || async {
            let path = self.scratch.directory()?.join("blob");
            save(blob, &*self.origin, &path).await?;
            Ok::<_, Error>(path)
        };
        cell.get_or_try_init(fetch).await?;
        Ok(())
    }

    /// Where the bytes of a blob are, for the tar writer.
    fn data(&self, blob: &Blob) -> Result<Data> {
        let size = blob.descriptor.size;
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let path = fetched.get(&blob.descriptor.digest).and_then(|cell| cell.get());
        match (&blob.content, path) {
            (Content::Bytes(bytes), _) => Ok(Data::Bytes(bytes.clone())),
            (_, Some(path)) => Ok(Data::File { path: path.clone(), size }),
            (Content::File(path), None) => Ok(Data::File { path: path.to_path_buf(), size }),
            (Content::Remote(_), None) => {
                Err(Error::new(Kind::Internal, "pack the image", "a blob was never put"))
            }
        }
    }
}

/// An OCI layout of `graphs` whose `index.json` is `index`.
pub(super) fn oci(graphs: &[Graph], index: Bytes, kept: &Kept) -> Result<FileTree> {
    let mut tree = FileTree::new();
    let file = Meta::new(0o644);
    tree.add_dir("blobs", Meta::dir())?;
    tree.add_dir("blobs/sha256", Meta::dir())?;
    let mut seen = BTreeSet::new();
    for blob in graphs.iter().flat_map(Graph::post_order) {
        if seen.insert(blob.descriptor.digest) {
            let name = format!("blobs/sha256/{}", blob.descriptor.digest.hex());
            tree.add_file(&name, kept.data(blob)?, file.clone())?;
        }
    }
    tree.add_file("index.json", Data::Bytes(index), file.clone())?;
    tree.add_file("oci-layout", Data::Bytes(Bytes::from_static(layout::MARKER)), file)?;
    Ok(tree)
}

/// What `docker load` takes: `manifest.json`, configs and layers (moby, image/tarexport). Each of `graphs` is an
/// image; `names` are its full names with tags.
pub(super) fn docker(
    graphs: &[Graph],
    names: impl Fn(&Graph) -> Vec<String>,
    kept: &Kept,
) -> Result<FileTree> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Item {
        config: String,
        repo_tags: Vec<String>,
        layers: Vec<String>,
    }
    let mut tree = FileTree::new();
    let mut items = Vec::new();
    let mut seen = BTreeSet::new();
    for graph in graphs {
        let manifest = graph.image_manifest()?;
        if let Some(foreign) = manifest.layers.iter().find(|l| l.media_type.is_foreign()) {
            let why = format!("layer {} is kept elsewhere, docker load would miss it", foreign.digest);
            return Err(Error::new(Kind::Usage, "pack the image for docker", why)
                .hint("use --output oci-archive:FILE, or push it"));
        }
        let config = format!("{}.json", manifest.config.digest.hex());
        let layer = |d: &Digest| format!("{}.tar.gz", d.hex());
        for blob in &graph.blobs {
            if seen.insert(blob.descriptor.digest) {
                let is_config = blob.descriptor.digest == manifest.config.digest;
                let name = if is_config { config.clone() } else { layer(&blob.descriptor.digest) };
                tree.add_file(&name, kept.data(blob)?, Meta::new(0o644))?;
            }
        }
        items.push(Item {
            config,
            repo_tags: names(graph),
            layers: manifest.layers.iter().map(|l| layer(&l.digest)).collect(),
        });
    }
    tree.add_file("manifest.json", Data::Bytes(json::to_bytes(&items)?), Meta::new(0o644))?;
    Ok(tree)
}

/// The tar of `tree` as a stream: written on a thread of its own, a few pieces ahead of whoever reads. It ends in an
/// error if a file can't be read; whoever got it knows then that it isn't whole.
pub(super) fn stream(tree: FileTree) -> ByteStream {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        let mut out = Pieces { sender, buffer: BytesMut::with_capacity(PIECE) };
        tar::write(&tree, &crate::fs::open, &mut out)?;
        out.flush().map_err(|e| Error::new(Kind::LocalIo, "pack the image", e))
    });
    Box::pin(stream::unfold(Some((receiver, writer)), |state| async {
        let (mut receiver, writer) = state?;
        if let Some(piece) = receiver.recv().await {
            return Some((Ok(piece), Some((receiver, writer))));
        }
        // The writer has ended: well, or not.
        match writer.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some((Err(error), None)),
            Err(error) => Some((Err(Error::new(Kind::Internal, "pack the image", error)), None)),
        }
    }))
}

/// A writer whose pieces go into a channel.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    buffer: BytesMut,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(PIECE)).freeze();
        // Nobody reads any more: stop.
        self.sender.blocking_send(piece).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    #[tokio::test]
    async fn a_stream_is_the_tar_and_says_when_it_is_not_whole() {
        let big = Bytes::from(vec![7; 5 * PIECE / 2]);
        let mut tree = FileTree::new();
        tree.add_file("a", Data::Bytes(big), Meta::new(0o644)).unwrap();
        tree.add_file("b", Data::Bytes(Bytes::from_static(b"b")), Meta::new(0o644)).unwrap();
        let mut expected = Vec::new();
        tar::write(&tree, &crate::fs::open, &mut expected).unwrap();
        let mut pieces = stream(tree.clone());
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        assert!(all == expected);

        let gone = Data::File { path: PathBuf::from("/nonexistent/blob"), size: 1 };
        tree.add_file("c", gone, Meta::new(0o644)).unwrap();
        let last = stream(tree).fold(None, |_, piece| async { Some(piece) }).await.unwrap();
        assert_eq!(last.unwrap_err().kind(), Kind::LocalIo);
    }
}
