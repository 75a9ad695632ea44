//! A graph: everything that one image's root needs, in the order in which it must be put.

use std::collections::BTreeSet;

use crate::content::{Beside, Blob, Content, Referrer};
use crate::error::{Error, Kind, Result};
use crate::oci::{Digest, ImageIndex, ImageManifest, Platform, Repository, Tag, json};

/// What an image is called at a destination.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName {
    /// The program's name: the last part of `/ko-app/<name>`.
    pub program: String,
    /// The repository, if one is set.
    pub repository: Option<Repository>,
}

impl ImageName {
    /// The repository, or the program's name where none is set.
    #[must_use]
    pub fn shown(&self) -> String {
        self.repository.as_ref().map_or_else(|| self.program.clone(), ToString::to_string)
    }
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
    /// What refers to the root, to a child, or to another of these.
    pub referrers: Vec<Referrer>,
    /// What lies beside the root and the children, in destinations that keep referrers.
    pub beside: Vec<Beside>,
    /// Whether all of both were attached before, as far as is known: where the image is, they are too.
    pub settled: bool,
    /// The tags that will name the root.
    pub tags: Vec<Tag>,
}

impl Graph {
    /// How a registry's image is written that is called `name`: with its tag only if that says something, as in ko.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        let digest = self.root.descriptor.digest;
        match self.tags.as_slice() {
            [tag] if *tag != Tag::latest() => format!("{name}:{tag}@{digest}"),
            _ => format!("{name}@{digest}"),
        }
    }

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
        Graph { name, blobs, children, root, referrers: Vec::new(), beside: Vec::new(), settled: false, tags }
    }

    /// The same with `referrers` as well, each digest once.
    #[must_use]
    pub fn with_referrers(mut self, referrers: Vec<Referrer>) -> Self {
        let mut seen = BTreeSet::new();
        self.referrers.extend(referrers);
        self.referrers.retain(|r| seen.insert(r.manifest.descriptor.digest));
        self
    }

    /// Everything of [`Graph::post_order`], then the referrers, each after what it needs. A digest may come twice.
    pub fn everything(&self) -> impl Iterator<Item = &Blob> {
        let referrers = self.referrers.iter();
        self.post_order().chain(referrers.flat_map(|r| r.blobs.iter().chain(std::iter::once(&r.manifest))))
    }

    /// What refers to `digest`, and what refers to that.
    fn referrers_of(&self, digest: Digest) -> Vec<Referrer> {
        let mut known = BTreeSet::from([digest]);
        let mut found = Vec::new();
        loop {
            let before = found.len();
            for referrer in &self.referrers {
                let own = referrer.manifest.descriptor.digest;
                if known.contains(&referrer.subject.digest) && known.insert(own) {
                    found.push(referrer.clone());
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }

    /// Every blob, leaves first, the root last.
    pub fn post_order(&self) -> impl Iterator<Item = &Blob> {
        self.blobs.iter().chain(&self.children).chain(std::iter::once(&self.root))
    }

    /// The manifest of a root that is an image.
    ///
    /// # Errors
    /// A root that is an index, or isn't in memory.
    pub fn image_manifest(&self) -> Result<ImageManifest> {
        match &self.root.content {
            Content::Bytes(bytes) if self.children.is_empty() => json::from_bytes(bytes, "the manifest"),
            _ => Err(Error::new(Kind::Usage, "write the image", "it has several platforms")),
        }
    }

    /// The image of this graph that runs on `platform`: of an index the child for it, of an image itself.
    ///
    /// # Errors
    /// No child for the platform, or a document that can't be read.
    pub fn for_platform(&self, platform: &Platform) -> Result<Graph> {
        let internal = |why: &str| Error::new(Kind::Internal, "choose a platform", why.to_owned());
        if self.children.is_empty() {
            return Ok(self.clone());
        }
        let Content::Bytes(bytes) = &self.root.content else {
            return Err(internal("the index isn't in memory"));
        };
        let index: ImageIndex = json::from_bytes(bytes, "the index")?;
        let (places, available): (Vec<usize>, Vec<&Platform>) = index
            .manifests
            .iter()
            .enumerate()
            .filter(|(_, d)| !d.is_attestation())
            .filter_map(|(place, d)| Some((place, d.platform.as_ref()?)))
            .unzip();
        let Some(chosen) = platform.best_of(available).and_then(|found| places.get(found)) else {
            return Err(Error::new(
                Kind::Usage,
                "choose a platform",
                format!("the image has none for {platform}"),
            ));
        };
        let digest = index.manifests.get(*chosen).map(|d| d.digest);
        let child = self.children.iter().find(|c| Some(c.descriptor.digest) == digest);
        let root = child.ok_or_else(|| internal("the index names a child that isn't there"))?.clone();
        let mut image = Graph { blobs: Vec::new(), children: Vec::new(), root, ..self.clone() };
        image.referrers = self.referrers_of(image.root.descriptor.digest);
        image.beside.clear();
        let manifest = image.image_manifest()?;
        let needed: BTreeSet<Digest> =
            manifest.layers.iter().chain([&manifest.config]).map(|d| d.digest).collect();
        image.blobs = self.blobs.iter().filter(|b| needed.contains(&b.descriptor.digest)).cloned().collect();
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Descriptor, MediaType};
    use bytes::Bytes;
    use std::collections::BTreeMap;

    fn blob(text: &'static str) -> Blob {
        Blob::of(MediaType::LAYER, Bytes::from_static(text.as_bytes()))
    }

    /// An image of one layer of its own above a common one.
    fn image(platform: &str, own: &'static str) -> (Vec<Blob>, Blob) {
        let (config, layers) = (blob(own), vec![blob("common"), blob(own)]);
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::MANIFEST),
            artifact_type: None,
            config: config.descriptor.clone(),
            layers: layers.iter().map(|l| l.descriptor.clone()).collect(),
            subject: None,
            annotations: BTreeMap::new(),
        };
        let mut root = Blob::json(MediaType::MANIFEST, &manifest).unwrap();
        root.descriptor.platform = Some(platform.parse().unwrap());
        (layers.into_iter().chain([config]).collect(), root)
    }

    #[test]
    fn a_platform_of_an_index_is_an_image_with_just_its_blobs() {
        let name = ImageName { program: "app".into(), repository: None };
        let (mut blobs, amd) = image("linux/amd64", "amd");
        let (more, arm) = image("linux/arm64", "arm");
        blobs.extend(more);
        let entries: Vec<Descriptor> = vec![amd.descriptor.clone(), arm.descriptor.clone()];
        let index = Blob::json(MediaType::INDEX, &ImageIndex::new(entries, BTreeMap::new())).unwrap();
        let graph = Graph::new(name, blobs, vec![amd, arm.clone()], index, vec![Tag::latest()]);
        assert!(graph.image_manifest().is_err());
        let chosen = graph.for_platform(&"linux/arm64".parse().unwrap()).unwrap();
        assert_eq!(chosen.root.descriptor.digest, arm.descriptor.digest);
        let digests: Vec<Digest> = chosen.blobs.iter().map(|b| b.descriptor.digest).collect();
        assert_eq!(digests, [Digest::of(b"common"), Digest::of(b"arm")]);
        assert_eq!(chosen.tags, graph.tags);
        // An image is what it is, whoever asks.
        let again = chosen.for_platform(&"linux/s390x".parse().unwrap()).unwrap();
        assert_eq!(again.root.descriptor.digest, arm.descriptor.digest);
        let error = graph.for_platform(&"linux/s390x".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("none for linux/s390x"), "{error}");
    }
}
