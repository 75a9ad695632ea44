//! Where an image is that was made before: its documents are read, its layers left where they are.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::content::{Blob, Content, Source};
use crate::error::{Error, Kind, Result};
use crate::oci::{Descriptor, Reference, Repository, json};
use crate::ops::Context;
use crate::target::oci_archive::OciArchive;
use crate::target::reader::Reader;

/// Where the documents and layers of an image are.
pub(super) enum Home {
    /// A repository, and who reads it.
    Registry(Arc<dyn Source>, Repository),
    /// An OCI layout.
    Layout(Reader),
    /// A tar of one; its layers are unpacked when they are wanted.
    Archive(Arc<OciArchive>),
}

impl Home {
    /// A repository as it is now, whatever the cache has of it.
    pub(super) fn itself(cx: &Context, repository: &Repository) -> Self {
        Home::Registry(Arc::new(cx.registry.clone()), repository.clone())
    }

    /// The verified bytes of a document.
    pub(super) async fn document(&self, descriptor: &Descriptor) -> Result<Bytes> {
        match self {
            Home::Layout(reader) => reader.document(descriptor),
            Home::Archive(archive) => archive.document(descriptor),
            Home::Registry(source, repository) => {
                if descriptor.size > json::MAX_DOCUMENT {
                    let why = format!("{} bytes, more than 4 MiB", descriptor.size);
                    return Err(Error::new(Kind::Integrity, format!("read {}", descriptor.digest), why));
                }
                if descriptor.media_type.is_manifest_or_index() {
                    let reference = Reference {
                        repository: repository.clone(),
                        tag: None,
                        digest: Some(descriptor.digest),
                    };
                    let (found, bytes) = source.resolve(&reference).await?;
                    if found.size != descriptor.size || found.media_type != descriptor.media_type {
                        let why = format!(
                            "it is {} of {} bytes, the index says {} of {} bytes",
                            found.media_type, found.size, descriptor.media_type, descriptor.size
                        );
                        return Err(Error::new(Kind::Integrity, format!("read {}", descriptor.digest), why));
                    }
                    return Ok(bytes);
                }
                let mut stream = source.fetch(repository, descriptor).await?;
                let mut bytes = Vec::new();
                while let Some(piece) = stream.next().await {
                    bytes.extend_from_slice(&piece?);
                }
                Ok(Bytes::from(bytes))
            }
        }
    }

    /// A layer, left where it is.
    pub(super) fn layer(&self, descriptor: &Descriptor) -> Result<Blob> {
        match self {
            Home::Layout(reader) => reader.blob(descriptor),
            Home::Archive(archive) => Ok(archive.blob(descriptor)),
            Home::Registry(_, repository) => {
                let content = Content::Remote(repository.clone());
                Ok(Blob { descriptor: descriptor.clone(), content })
            }
        }
    }

    /// Whether others can find it there.
    pub(super) fn is_registry(&self) -> bool {
        matches!(self, Home::Registry(..))
    }
}
