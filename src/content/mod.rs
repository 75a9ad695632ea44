//! Blobs, and moving them: the two ports [`Source`] and [`Target`], and the one copy.

mod beside;
mod blob;
pub mod copy;
mod graph;
mod referrer;
mod stop;
mod verify;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;

pub use beside::Beside;
pub use blob::{Blob, Content};
pub use graph::{Graph, ImageName};
pub use referrer::Referrer;
pub use stop::Stop;
pub use verify::{bytes_stream, verified};

use crate::error::Result;
use crate::event::Put;
use crate::oci::{Descriptor, Digest, Reference, Repository, Tag};

/// A boxed future: the ports are used as trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Bytes as they arrive. Readers of a [`Source`] end in an error if size or digest are wrong.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Where content comes from: a registry, or an OCI layout.
pub trait Source: Send + Sync {
    /// The descriptor that `reference` names now, and the bytes of its manifest or index, verified.
    fn resolve<'a>(&'a self, reference: &'a Reference) -> BoxFuture<'a, Result<(Descriptor, Bytes)>>;

    /// The bytes of `descriptor`, verified as they are read.
    fn fetch<'a>(
        &'a self,
        repository: &'a Repository,
        descriptor: &'a Descriptor,
    ) -> BoxFuture<'a, Result<ByteStream>>;
}

/// When the names of a destination begin to mean an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Each by [`Target::tag`].
    ByTag,
    /// All at once, by [`Target::finish`].
    AtEnd,
    /// Never: nothing is kept.
    Never,
}

/// Locks that the processes of this machine share.
pub trait Locks: Send + Sync {
    /// Waits until nobody else holds the lock of `key`, and takes it until what is given is dropped. None where there is
    /// no lock to be had: the caller goes on without.
    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<Box<dyn Send>>>;
}

/// Where images go: a registry, a layout, an archive. Every destination is fed by [`copy`].
pub trait Target: Send + Sync {
    /// The destination in words, for progress and errors.
    fn describe(&self, name: &ImageName) -> String;

    /// Told that an image will come for `tag`, while it is still being made: a destination that is far away says hello,
    /// and whoever may not come in learns of it before the work is done.
    fn announce<'a>(&'a self, _name: &'a ImageName, _tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Whether `tag` named `manifest`, or an index with it, when it was first asked for: then its blobs needn't be put
    /// ahead of the rest.
    fn names<'a>(
        &'a self,
        _name: &'a ImageName,
        _tag: Option<&'a Tag>,
        _manifest: Digest,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async { Ok(false) })
    }

    /// Whether everything of `graph` but its tags is surely there already: then nothing of it is put. Asked before
    /// anything of the graph is put.
    fn has<'a>(&'a self, _graph: &'a Graph) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async { Ok(false) })
    }

    /// Names the place in which `blob` needs to be sent only once, whatever the image: the first image that has it
    /// goes ahead alone, and the others follow when it is there. None where each image needs its own.
    fn moves_once(&self, _name: &ImageName, _blob: &Blob) -> Option<String> {
        None
    }

    /// Makes sure that `blob` is there. Everything that a manifest names is put before the manifest.
    fn put<'a>(&'a self, name: &'a ImageName, blob: &'a Blob) -> BoxFuture<'a, Result<Put>>;

    /// Whether it keeps referrers. One that doesn't isn't given any.
    fn keeps_referrers(&self) -> bool {
        false
    }

    /// Makes sure that `referrer` is there and found by its subject. Its blobs and its subject, a manifest of `graph`
    /// or another of its referrers, were put before.
    fn attach<'a>(&'a self, graph: &'a Graph, referrer: &'a Referrer) -> BoxFuture<'a, Result<Put>> {
        self.put(&graph.name, &referrer.manifest)
    }

    /// Puts `beside`, whose config and layers were put before, under its tag, which moves at once.
    fn beside<'a>(&'a self, name: &'a ImageName, beside: &'a Beside) -> BoxFuture<'a, Result<()>> {
        self.tag(name, &beside.manifest, &beside.tag)
    }

    /// Told once everything of `graph` was put, before any tag moves: a destination that takes whole images takes
    /// this one now.
    fn complete<'a>(&'a self, _graph: &'a Graph) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// When its names move.
    fn naming(&self) -> Naming {
        Naming::ByTag
    }

    /// Lets `tag` name `root`, which was put before.
    fn tag<'a>(&'a self, name: &'a ImageName, root: &'a Blob, tag: &'a Tag) -> BoxFuture<'a, Result<()>>;

    /// Ends the run: whatever was put becomes visible under its final name. Called once, after all tags.
    fn finish<'a>(&'a self, graphs: &'a [Graph]) -> BoxFuture<'a, Result<()>>;

    /// The reference to print for an image of this run.
    fn reference(&self, graph: &Graph) -> String;
}
