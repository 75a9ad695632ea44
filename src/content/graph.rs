//! A graph: everything that one image's root needs, in the order in which it must be put.

use std::collections::BTreeSet;

use crate::content::Blob;
use crate::oci::{Digest, Repository, Tag};

/// What an image is called at a destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    /// The program's name: the last part of `/ko-app/<name>`.
    pub program: String,
    /// The repository, if one is set.
    pub repository: Option<Repository>,
}

/// One image or index with all it refers to.
#[derive(Clone, Debug)]
pub struct Graph {
    /// What it is called.
    pub name: ImageName,
    /// Configs and layers, each digest once.
    pub blobs: Vec<Blob>,
    /// Image manifests below an index; empty if the root is an image.
    pub children: Vec<Blob>,
    /// The image manifest or index.
    pub root: Blob,
    /// The tags that will name the root.
    pub tags: Vec<Tag>,
}

impl Graph {
    /// A graph of `root` over `children` and `blobs`; repeated digests are dropped, and layers that are kept elsewhere:
    /// they are named, never moved.
    #[must_use]
    pub fn new(name: ImageName, blobs: Vec<Blob>, children: Vec<Blob>, root: Blob, tags: Vec<Tag>) -> Self {
        let mut seen = BTreeSet::<Digest>::new();
        let mut once = |list: Vec<Blob>| -> Vec<Blob> {
            list.into_iter().filter(|b| seen.insert(b.descriptor.digest)).collect()
        };
        let blobs = once(blobs.into_iter().filter(|b| !b.descriptor.media_type.is_foreign()).collect());
        let children = once(children);
        Graph { name, blobs, children, root, tags }
    }

    /// Every blob, leaves first, the root last.
    pub fn post_order(&self) -> impl Iterator<Item = &Blob> {
        self.blobs.iter().chain(&self.children).chain(std::iter::once(&self.root))
    }
}
