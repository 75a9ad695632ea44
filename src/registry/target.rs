//! Registries as a destination: blobs by upload or mount, manifests by digest, tags last.
#![expect(clippy::disallowed_methods, reason = "edge: reads blobs from disk")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio_util::io::ReaderStream;

use crate::content::{Blob, BoxFuture, Content, Graph, ImageName, Source, Target, bytes_stream, verified};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Put};
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{self, Digest, Repository, Tag};
use crate::registry::failure::{Failure, Refusal};
use crate::registry::pull::accept;
use crate::registry::transport::{Body, Opener, Upload};
use crate::registry::upload::Job;
use crate::registry::{Again, Call, Registry, refusal};

/// How many bytes of a file are read at a time.
const PIECE: usize = 256 * 1024;
/// How many other repositories are asked for a blob before it is sent.
const MAX_MOUNTS: usize = 2;

/// Puts images into the repositories of their names.
pub struct RegistryTarget {
    registry: Registry,
    /// Where content that lies in a repository is read from, if it can't be mounted.
    origin: Arc<dyn Source>,
    /// Which repositories got a blob in this run: others can mount it from there.
    placed: Mutex<BTreeMap<(oci::Registry, Digest), BTreeSet<Repository>>>,
}

impl RegistryTarget {
    /// A target that pushes with `registry`; `origin` reads [`Content::Remote`].
    #[must_use]
    pub fn new(registry: Registry, origin: Arc<dyn Source>) -> Self {
        RegistryTarget { registry, origin, placed: Mutex::default() }
    }

    async fn blob(&self, to: &Repository, blob: &Blob) -> Result<Put> {
        let digest = blob.descriptor.digest;
        let mounts = self.mounts(to, blob);
        let opener = self.opener(blob);
        let observer = Arc::clone(&self.registry.0.observer);
        let upload = Upload::new(digest, blob.descriptor.size, opener, observer);
        let job = Job { registry: &self.registry, to, digest, upload, mounts: &mounts };
        let how = job.run().await?;
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        placed.entry((to.registry().clone(), digest)).or_default().insert(to.clone());
        Ok(how)
    }

    /// Repositories of the same registry that should have the blob, the likeliest first.
    fn mounts(&self, to: &Repository, blob: &Blob) -> Vec<Repository> {
        let mut all = Vec::new();
        if let Content::Remote(from) = &blob.content
            && from.registry() == to.registry()
        {
            all.push(from.clone());
        }
        let placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(
            placed
                .get(&(to.registry().clone(), blob.descriptor.digest))
                .into_iter()
                .flatten()
                .filter(|from| !all.contains(from))
                .cloned()
                .collect::<Vec<_>>(),
        );
        all.retain(|from| from != to);
        all.truncate(MAX_MOUNTS);
        all
    }

    /// What opens the blob's content from its start.
    fn opener(&self, blob: &Blob) -> Opener {
        let descriptor = blob.descriptor.clone();
        match blob.content.clone() {
            Content::Bytes(bytes) => Arc::new(move || {
                let bytes = bytes.clone();
                Box::pin(async move { Ok(bytes_stream(bytes)) })
            }),
            Content::File(path) => Arc::new(move || {
                let (path, descriptor) = (Arc::clone(&path), descriptor.clone());
                Box::pin(async move {
                    let file = tokio::fs::File::open(&path).await;
                    let file = file.map_err(|e| Error::io("read a layer", &path, &e))?;
                    let stream = ReaderStream::with_capacity(file, PIECE);
                    let stream = stream.map(move |r| r.map_err(|e| Error::io("read a layer", &path, &e)));
                    Ok(verified(Box::pin(stream), &descriptor))
                })
            }),
            Content::Remote(from) => {
                let origin = Arc::clone(&self.origin);
                Arc::new(move || {
                    let (origin, from, descriptor) = (Arc::clone(&origin), from.clone(), descriptor.clone());
                    Box::pin(async move { origin.fetch(&from, &descriptor).await })
                })
            }
        }
    }

    /// The whole content of a manifest, checked: it is small, and named by its digest.
    async fn document(&self, blob: &Blob) -> Result<Bytes> {
        let what = || format!("read manifest {}", blob.descriptor.digest);
        let bytes = if let Content::Bytes(bytes) = &blob.content {
            bytes.clone()
        } else {
            let mut all = BytesMut::new();
            let mut stream = (self.opener(blob))().await?;
            while let Some(bytes) = stream.next().await {
                all.extend_from_slice(&bytes?);
                if all.len() as u64 > MAX_DOCUMENT {
                    return Err(Error::new(Kind::Integrity, what(), "larger than 4 MiB"));
                }
            }
            all.freeze()
        };
        match Digest::of(&bytes) {
            found if found == blob.descriptor.digest => Ok(bytes),
            found => Err(Error::new(Kind::Integrity, what(), format!("the content is {found}"))),
        }
    }

    /// The digest that a tag or digest has in the registry now, if HEAD tells.
    async fn head(&self, to: &Repository, name: &str, what: String) -> Result<Option<Head>> {
        let mut call = Call::new(Method::HEAD, to, format!("manifests/{name}"), what);
        call.push = true;
        call.headers = accept();
        match self.registry.try_once(&call).await {
            Ok(answer) if answer.status() == 200 => Ok(Some(Head { digest: answer.digest() })),
            Ok(_) => Ok(None),
            Err(failure) if failure.answered => Ok(None),
            // Without an answer the request that follows will say more.
            Err(Failure { again: Again::Yes(_), .. }) => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }

    /// Puts a manifest under a digest or tag, and makes sure that it is there.
    async fn put_manifest(&self, to: &Repository, blob: &Blob, name: &str, what: &str) -> Result<()> {
        let digest = blob.descriptor.digest;
        let mut call = Call::new(Method::PUT, to, format!("manifests/{name}"), what.to_owned());
        call.push = true;
        let media_type = HeaderValue::from_str(blob.descriptor.media_type.as_str())
            .map_err(|e| Error::new(Kind::Internal, what, e))?;
        call.headers.insert(CONTENT_TYPE, media_type);
        call.body = Body::Bytes(self.document(blob).await?);
        let mut failed = 0;
        let answer = loop {
            let failure = match self.registry.try_once(&call).await {
                Ok(answer) if answer.is_success() => break answer,
                Ok(answer) => {
                    let refusal = Refusal::read(answer).await;
                    // Storage behind a registry can be late: what was put a moment ago isn't seen yet.
                    let late = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
                    let late = late.iter().any(|code| refusal.has_code(code));
                    let mut failure = refusal.failure(what, to.registry());
                    if late && failed < 3 {
                        failure.again = Again::Yes(None);
                    }
                    failure
                }
                Err(failure) => failure,
            };
            self.registry.pause(&mut failed, failure, what).await?;
        };
        let stored = match answer.digest() {
            Some(stored) => Some(stored),
            None => self.stored(to, name, what).await?,
        };
        match stored {
            Some(stored) if stored == digest => Ok(()),
            Some(stored) => {
                Err(Error::new(Kind::Integrity, what, format!("the registry stored {stored}, not {digest}")))
            }
            None => {
                let why = format!("the registry answered {} but doesn't have it", answer.status());
                Err(Error::new(Kind::Refused, what, why))
            }
        }
    }

    /// The digest of what a registry has stored that didn't say so: read back.
    async fn stored(&self, to: &Repository, name: &str, what: &str) -> Result<Option<Digest>> {
        if let Some(Head { digest: Some(digest) }) = self.head(to, name, what.to_owned()).await? {
            return Ok(Some(digest));
        }
        let mut call = Call::new(Method::GET, to, format!("manifests/{name}"), what.to_owned());
        call.push = true;
        call.headers = accept();
        let answer = self.registry.send(&call).await?;
        match answer.status() {
            200 => {
                let bytes = answer.read(what, MAX_DOCUMENT).await.map_err(|f| f.error)?;
                Ok(Some(Digest::of(&bytes)))
            }
            404 => Ok(None),
            _ => Err(refusal(&call, answer).await),
        }
    }
}

/// What HEAD says of a manifest that exists.
struct Head {
    digest: Option<Digest>,
}

/// The repository of an image that goes to a registry.
fn repository(name: &ImageName) -> Result<&Repository> {
    name.repository.as_ref().ok_or_else(|| {
        Error::new(Kind::Internal, format!("push {}", name.program), "the image has no repository")
    })
}

impl Target for RegistryTarget {
    fn describe(&self, name: &ImageName) -> String {
        name.shown()
    }

    fn put<'a>(&'a self, name: &'a ImageName, blob: &'a Blob) -> BoxFuture<'a, Result<Put>> {
        let put = async move {
            let to = repository(name)?;
            if !blob.descriptor.media_type.is_manifest_or_index() {
                return self.blob(to, blob).await;
            }
            let digest = blob.descriptor.digest;
            let what = format!("push manifest {digest} to {to}");
            let head = self.head(to, &digest.to_string(), what.clone()).await?;
            if head.is_some_and(|head| head.digest.is_none_or(|found| found == digest)) {
                return Ok(Put::Present);
            }
            self.put_manifest(to, blob, &digest.to_string(), &what).await?;
            Ok(Put::Sent)
        };
        Box::pin(async { put.await.map_err(|e| self.registry.clean(e)) })
    }

    fn tag<'a>(&'a self, name: &'a ImageName, root: &'a Blob, tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        let tag = async move {
            let to = repository(name)?;
            let what = format!("tag {to}:{tag}");
            // A tag that can't be moved refuses even the same image: leave it alone if it is right.
            let head = self.head(to, tag.as_str(), what.clone()).await?;
            if head.and_then(|head| head.digest) != Some(root.descriptor.digest) {
                self.put_manifest(to, root, tag.as_str(), &what).await?;
            }
            self.registry.0.observer.on(Event::Tagged { name: format!("{to}:{tag}") });
            Ok(())
        };
        Box::pin(async { tag.await.map_err(|e| self.registry.clean(e)) })
    }

    fn finish<'a>(&'a self, _graphs: &'a [Graph]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn reference(&self, graph: &Graph) -> String {
        graph.reference(&self.describe(&graph.name))
    }
}
