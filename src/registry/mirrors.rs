//! Pulling from mirrors first. What they send is checked before anyone sees it; upstream has the last word.

use std::collections::BTreeSet;
use std::io::SeekFrom;
use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

use crate::content::{ByteStream, bytes_stream, verified};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::oci::{Descriptor, Reference, Repository};
use crate::registry::Registry;

/// Blobs up to this size are checked in memory, larger ones in a temporary file.
const IN_MEMORY: u64 = 1024 * 1024;
/// How much of a file is read at a time.
const PIECE: usize = 256 * 1024;

/// Mirrors that failed: they are not asked again.
#[derive(Default)]
pub(super) struct Failed(Mutex<BTreeSet<String>>);

impl Failed {
    fn has(&self, mirror: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(mirror)
    }

    /// Whether this is news.
    fn add(&self, mirror: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(mirror.to_owned())
    }
}

impl Registry {
    /// A manifest, from the first place that has it.
    pub(super) async fn manifest_somewhere(&self, reference: &Reference) -> Result<(Descriptor, Bytes)> {
        for place in self.0.rules.places(reference)? {
            let there = Reference { repository: place.repository, ..reference.clone() };
            let Some(mirror) = place.mirror else { return self.manifest(&there, true).await };
            if self.0.failed_mirrors.has(&mirror) {
                continue;
            }
            match self.manifest(&there, false).await {
                Ok(found) => return Ok(found),
                Err(error) => self.mirror_failed(&mirror, &error),
            }
        }
        // The last place is no mirror.
        Err(Error::new(Kind::Internal, format!("get {reference}"), "there is no place to get it from"))
    }

    /// A blob, from the first place that has it.
    pub(super) async fn blob_somewhere(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<ByteStream> {
        let digest = Some(descriptor.digest);
        let reference = Reference { repository: repository.clone(), tag: None, digest };
        for place in self.0.rules.places(&reference)? {
            let Some(mirror) = place.mirror else { return self.blob(&place.repository, descriptor).await };
            if self.0.failed_mirrors.has(&mirror) {
                continue;
            }
            match self.checked(&place.repository, descriptor).await {
                Ok(found) => return Ok(found),
                Err(error) => self.mirror_failed(&mirror, &error),
            }
        }
        // The last place is no mirror.
        Err(Error::new(
            Kind::Internal,
            format!("get blob {}", descriptor.digest),
            "there is no place to get it from",
        ))
    }

    /// The whole blob of a mirror, its digest checked: what was handed on can't be taken back.
    async fn checked(&self, repository: &Repository, descriptor: &Descriptor) -> Result<ByteStream> {
        let mut stream = verified(self.blob_once(repository, descriptor).await?, descriptor);
        if descriptor.size <= IN_MEMORY {
            let mut all = BytesMut::new();
            while let Some(bytes) = stream.next().await {
                all.extend_from_slice(&bytes?);
            }
            return Ok(bytes_stream(all.freeze()));
        }
        let local = |e: std::io::Error| Error::new(Kind::LocalIo, "keep a blob in a temporary file", e);
        let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
        let file = file.map_err(|e| Error::new(Kind::Internal, "keep a blob", e))?.map_err(local)?;
        let mut file = tokio::fs::File::from_std(file);
        while let Some(bytes) = stream.next().await {
            file.write_all(&bytes?).await.map_err(local)?;
        }
        file.flush().await.map_err(local)?;
        file.seek(SeekFrom::Start(0)).await.map_err(local)?;
        let pieces = ReaderStream::with_capacity(file, PIECE);
        Ok(verified(Box::pin(pieces.map(move |piece| piece.map_err(local))), descriptor))
    }

    /// Notes that a mirror failed, and says so once. That it hasn't got something is no failure.
    fn mirror_failed(&self, mirror: &str, error: &Error) {
        if error.to_string().contains("not found") && error.kind() == Kind::Refused {
            self.0.observer.on(Event::Detail(format!("not on the mirror {mirror}: {error}")));
        } else if self.0.failed_mirrors.add(mirror) {
            let text =
                format!("the mirror {mirror} is not used any more, what it has comes from upstream: {error}");
            self.0.observer.on(Event::Warning(text));
        }
    }
}
