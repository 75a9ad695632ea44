//! Images as tars: what archives hold, and what is loaded into engines; to a writer or as a stream.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OnceCell, mpsc};

use crate::content::{Blob, ByteStream, Content, Graph, Source};
use crate::error::{Error, Kind, Result};
use crate::image::{Data, FileTree, Meta, tar};
use crate::oci::{Digest, Hasher, json};
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

/// The files of a tar that is ready to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    tree: FileTree,
    /// What the files on disk must be: they are read only when the tar is written.
    digests: BTreeMap<PathBuf, Digest>,
}

impl Packed {
    fn add_blob(&mut self, name: &str, blob: &Blob, kept: &Kept) -> Result<()> {
        let data = kept.data(blob)?;
        if let Data::File { path, .. } = &data {
            self.digests.insert(path.clone(), blob.descriptor.digest);
        }
        self.tree.add_file(name, data, Meta::new(0o644))
    }

    fn add_bytes(&mut self, name: &str, bytes: Bytes) -> Result<()> {
        self.tree.add_file(name, Data::Bytes(bytes), Meta::new(0o644))
    }

    /// Writes the tar; every blob is verified on the way.
    ///
    /// # Errors
    /// A file that can't be read or isn't what its digest says, or `out` failing.
    pub(super) fn write(&self, out: &mut dyn Write) -> Result<()> {
        let wrong: Arc<Mutex<Option<Error>>> = Arc::default();
        let open = |path: &Path| -> std::io::Result<Box<dyn Read>> {
            let inner = crate::fs::open(path)?;
            let Some(digest) = self.digests.get(path) else { return Ok(inner) };
            let (path, wrong) = (path.to_owned(), Arc::clone(&wrong));
            Ok(Box::new(Checked { inner, hasher: Hasher::new(), digest: *digest, path, wrong }))
        };
        let result = tar::write(&self.tree, &open, out);
        match wrong.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => result,
        }
    }
}

/// A file whose end is an error if its content was wrong.
struct Checked {
    inner: Box<dyn Read>,
    hasher: Hasher,
    digest: Digest,
    path: PathBuf,
    wrong: Arc<Mutex<Option<Error>>>,
}

impl Read for Checked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            self.hasher.update(&buffer[..read]);
            return Ok(read);
        }
        let found = std::mem::take(&mut self.hasher).finish().0;
        if found == self.digest {
            return Ok(0);
        }
        let what = format!("read {}", self.digest);
        let error =
            Error::new(Kind::Integrity, what, format!("the content is {found}")).at(self.path.display());
        *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Err(std::io::Error::other("wrong content"))
    }
}

/// An OCI layout of `graphs` whose `index.json` is `index`.
pub(super) fn oci(graphs: &[Graph], index: Bytes, kept: &Kept) -> Result<Packed> {
    let mut packed = Packed::default();
    packed.tree.add_dir("blobs", Meta::dir())?;
    packed.tree.add_dir("blobs/sha256", Meta::dir())?;
    let mut seen = BTreeSet::new();
    for blob in graphs.iter().flat_map(Graph::everything) {
        if seen.insert(blob.descriptor.digest) {
            packed.add_blob(&format!("blobs/sha256/{}", blob.descriptor.digest.hex()), blob, kept)?;
        }
    }
    packed.add_bytes("index.json", index)?;
    packed.add_bytes("oci-layout", Bytes::from_static(layout::MARKER))?;
    Ok(packed)
}

/// What `docker load` takes: `manifest.json`, configs and layers (moby, image/tarexport). Each of `graphs` is an
/// image; `names` are its full names with tags.
pub(super) fn docker(graphs: &[Graph], names: impl Fn(&Graph) -> Vec<String>, kept: &Kept) -> Result<Packed> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Item {
        config: String,
        repo_tags: Vec<String>,
        layers: Vec<String>,
    }
    let mut packed = Packed::default();
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
                packed.add_blob(&name, blob, kept)?;
            }
        }
        items.push(Item {
            config,
            repo_tags: names(graph),
            layers: manifest.layers.iter().map(|l| layer(&l.digest)).collect(),
        });
    }
    packed.add_bytes("manifest.json", json::to_bytes(&items)?)?;
    Ok(packed)
}

/// The tar as a stream: written on a thread of its own, a few pieces ahead of whoever reads. It ends in an
/// error if a file can't be read; whoever got it knows then that it isn't whole.
pub(super) fn stream(packed: Packed) -> ByteStream {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let writer = tokio::task::spawn_blocking(move || {
        let mut out = Pieces { sender, buffer: BytesMut::with_capacity(PIECE) };
        packed.write(&mut out)?;
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
        let mut packed = Packed::default();
        packed.add_bytes("a", Bytes::from(vec![7; 5 * PIECE / 2])).unwrap();
        packed.add_bytes("b", Bytes::from_static(b"b")).unwrap();
        let mut expected = Vec::new();
        packed.write(&mut expected).unwrap();
        let mut pieces = stream(packed.clone());
        let mut all = Vec::new();
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        assert!(all == expected);

        let gone = Data::File { path: PathBuf::from("/nonexistent/blob"), size: 1 };
        packed.tree.add_file("c", gone, Meta::new(0o644)).unwrap();
        let last = stream(packed).fold(None, |_, piece| async { Some(piece) }).await.unwrap();
        assert_eq!(last.unwrap_err().kind(), Kind::LocalIo);
    }

    #[test]
    fn blobs_are_verified_as_they_are_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(b"abc").unwrap();
        for (content, right) in [(b"abc", true), (b"abd", false)] {
            let data = Data::File { path: file.path().to_owned(), size: 3 };
            let mut packed = Packed::default();
            packed.tree.add_file("blob", data, Meta::new(0o644)).unwrap();
            packed.digests.insert(file.path().to_owned(), Digest::of(content));
            let written = packed.write(&mut Vec::new());
            assert_eq!(written.is_ok(), right);
            assert!(right || written.unwrap_err().kind() == Kind::Integrity);
        }
    }
}
