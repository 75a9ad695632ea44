//! Nowhere: what `--push=false` publishes to. Everything is made and named, nothing is kept.

use crate::content::{Blob, BoxFuture, Graph, ImageName, Naming, Target};
use crate::error::Result;
use crate::event::Put;
use crate::oci::Tag;

/// No destination.
pub struct Nowhere;

impl Target for Nowhere {
    fn describe(&self, name: &ImageName) -> String {
        name.shown()
    }

    fn put<'a>(&'a self, _name: &'a ImageName, _blob: &'a Blob) -> BoxFuture<'a, Result<Put>> {
        Box::pin(async { Ok(Put::Present) })
    }

    fn naming(&self) -> Naming {
        Naming::Never
    }

    fn tag<'a>(&'a self, _name: &'a ImageName, _root: &'a Blob, _tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn finish<'a>(&'a self, _graphs: &'a [Graph]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn reference(&self, graph: &Graph) -> String {
        graph.reference(&self.describe(&graph.name))
    }
}
