//! The bytes of a blob, wherever they are.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::path::Path;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use crate::content::{Blob, ByteStream, Content, Source, bytes_stream, verified};
use crate::error::{Error, Kind, Result};

/// A verified stream of the blob's bytes. `origin` has what is in registries.
///
/// # Errors
/// A file that can't be opened, or whatever `origin` says.
pub async fn open(blob: &Blob, origin: &dyn Source) -> Result<ByteStream> {
    match &blob.content {
        Content::Bytes(bytes) => Ok(verified(bytes_stream(bytes.clone()), &blob.descriptor)),
        Content::File(path) => {
            let file = tokio::fs::File::open(path).await.map_err(|e| Error::io("read", path, &e))?;
            let path = path.clone();
            let stream = tokio_util::io::ReaderStream::with_capacity(file, 256 * 1024)
                .map(move |piece| piece.map_err(|e| Error::io("read", &path, &e)));
            Ok(verified(Box::pin(stream), &blob.descriptor))
        }
        Content::Remote(repository) => origin.fetch(repository, &blob.descriptor).await,
    }
}

/// Writes the blob's bytes to `path`, which must not exist, and syncs them.
///
/// # Errors
/// As [`open`], or a file that can't be written; half a file may then be left at `path`.
pub async fn save(blob: &Blob, origin: &dyn Source, path: &Path) -> Result<()> {
    let io = |e: &std::io::Error| Error::io("write", path, e);
    let mut stream = open(blob, origin).await?;
    let file = std::fs::File::create_new(path).map_err(|e| io(&e))?;
    let mut file = tokio::fs::File::from_std(file);
    while let Some(piece) = stream.next().await {
        file.write_all(&piece?).await.map_err(|e| io(&e))?;
    }
    file.flush().await.map_err(|e| io(&e))?;
    file.sync_all().await.map_err(|e| io(&e))?;
    let size = file.metadata().await.map_err(|e| io(&e))?.len();
    if size != blob.descriptor.size {
        let why = format!("{size} bytes were written, {} were meant", blob.descriptor.size);
        return Err(Error::new(Kind::LocalIo, "write", why).at(path.display()));
    }
    Ok(())
}
