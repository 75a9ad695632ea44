//! Blobs, and moving them: the two ports [`Source`] and [`Target`], and the one copy.

mod blob;
pub mod copy;
mod graph;
mod stop;
mod verify;

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;

pub use blob::{Blob, Content};
pub use graph::{Graph, ImageName};
pub use stop::Stop;
pub use verify::{bytes_stream, verified};

use crate::error::Result;
use crate::event::Put;
use crate::oci::{Descriptor, Reference, Repository, Tag};

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

/// Where images go: a registry, a layout, an archive. Every destination is fed by [`copy`].
pub trait Target: Send + Sync {
    /// The destination in words, for progress and errors.
    fn describe(&self, name: &ImageName) -> String;

    /// Makes sure that `blob` is there. Everything that a manifest names is put before the manifest.
    fn put<'a>(&'a self, name: &'a ImageName, blob: &'a Blob) -> BoxFuture<'a, Result<Put>>;

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
