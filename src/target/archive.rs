//! Archives: an OCI layout in one tar file, and the tar that `docker load` takes.
//!
//! The file is written once, at the end, beside its final name, and renamed: whoever looks sees a whole archive
//! or the old one. Equal images give equal archives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;

use crate::content::{Blob, BoxFuture, Content, Graph, ImageName, Source, Target};
use crate::error::{Error, Kind, Result};
use crate::event::Put;
use crate::fs::Atomic;
use crate::image::{Data, FileTree, Meta, tar};
use crate::oci::{Digest, ImageManifest, Tag, json};
use crate::store::Scratch;
use crate::target::{layout, save};

/// Which archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An OCI layout.
    Oci,
    /// Docker's image archive.
    Docker,
}

/// An archive as destination.
pub struct Archive {
    format: Format,
    path: PathBuf,
    origin: Arc<dyn Source>,
    scratch: Arc<Scratch>,
    fetched: Mutex<BTreeMap<Digest, PathBuf>>,
}

impl Archive {
    /// An archive at `path`. `origin` has what is in registries; it is kept in `scratch` until the end.
    #[must_use]
    pub fn new(format: Format, path: PathBuf, origin: Arc<dyn Source>, scratch: Arc<Scratch>) -> Self {
        Archive { format, path, origin, scratch, fetched: Mutex::default() }
    }

    fn scheme(&self) -> &'static str {
        match self.format {
            Format::Oci => "oci-archive",
            Format::Docker => "docker-archive",
        }
    }

    /// Where the bytes of a blob are, for the tar writer.
    fn data(&self, blob: &Blob) -> Result<Data> {
        let size = blob.descriptor.size;
        let fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        match (&blob.content, fetched.get(&blob.descriptor.digest)) {
            (Content::Bytes(bytes), _) => Ok(Data::Bytes(bytes.clone())),
            (_, Some(path)) => Ok(Data::File { path: path.clone(), size }),
            (Content::File(path), None) => Ok(Data::File { path: path.to_path_buf(), size }),
            (Content::Remote(_), None) => {
                Err(Error::new(Kind::Internal, "write the archive", "a blob was never put"))
            }
        }
    }

    fn oci(&self, graphs: &[Graph]) -> Result<FileTree> {
        let mut tree = FileTree::new();
        let file = Meta::new(0o644);
        tree.add_dir("blobs", Meta::dir())?;
        tree.add_dir("blobs/sha256", Meta::dir())?;
        let mut seen = BTreeSet::new();
        for blob in graphs.iter().flat_map(Graph::post_order) {
            if seen.insert(blob.descriptor.digest) {
                let name = format!("blobs/sha256/{}", blob.descriptor.digest.hex());
                tree.add_file(&name, self.data(blob)?, file.clone())?;
            }
        }
        let graphs: Vec<&Graph> = graphs.iter().collect();
        tree.add_file("index.json", Data::Bytes(layout::index_json(&graphs)?), file.clone())?;
        tree.add_file("oci-layout", Data::Bytes(Bytes::from_static(layout::MARKER)), file)?;
        Ok(tree)
    }

    /// `manifest.json`, configs and layers (moby, image/tarexport).
    fn docker(&self, graphs: &[Graph]) -> Result<FileTree> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Item {
            config: String,
            repo_tags: Vec<String>,
            layers: Vec<String>,
        }
        let mut tree = FileTree::new();
        let mut items = Vec::new();
        let mut seen = BTreeSet::new();
        for graph in graphs {
            let manifest = manifest(graph)?;
            if let Some(foreign) = manifest.layers.iter().find(|l| l.media_type.is_foreign()) {
                let why = format!("layer {} is kept elsewhere, docker load would miss it", foreign.digest);
                return Err(Error::new(Kind::Usage, "write the docker-archive", why)
                    .hint("use --output oci-archive:FILE, or push it"));
            }
            let config = format!("{}.json", manifest.config.digest.hex());
            let layer = |d: &Digest| format!("{}.tar.gz", d.hex());
            for blob in &graph.blobs {
                if seen.insert(blob.descriptor.digest) {
                    let is_config = blob.descriptor.digest == manifest.config.digest;
                    let name = if is_config { config.clone() } else { layer(&blob.descriptor.digest) };
                    tree.add_file(&name, self.data(blob)?, Meta::new(0o644))?;
                }
            }
            let name = docker_name(&graph.name);
            items.push(Item {
                config,
                repo_tags: graph.tags.iter().map(|t| format!("{name}:{t}")).collect(),
                layers: manifest.layers.iter().map(|l| layer(&l.digest)).collect(),
            });
        }
        tree.add_file("manifest.json", Data::Bytes(json::to_bytes(&items)?), Meta::new(0o644))?;
        Ok(tree)
    }
}

/// What a daemon will call the image.
fn docker_name(name: &ImageName) -> String {
    match &name.repository {
        Some(repository) => repository.to_string(),
        None => format!("gimg.local/{}", name.program.to_lowercase()),
    }
}

fn manifest(graph: &Graph) -> Result<ImageManifest> {
    match &graph.root.content {
        Content::Bytes(bytes) if graph.children.is_empty() => json::from_bytes(bytes, "the manifest"),
        _ => Err(Error::new(Kind::Usage, "write the docker-archive", "it holds one platform")),
    }
}

impl Target for Archive {
    fn describe(&self, _name: &ImageName) -> String {
        format!("{}:{}", self.scheme(), self.path.display())
    }

    fn put<'a>(&'a self, _name: &'a ImageName, blob: &'a Blob) -> BoxFuture<'a, Result<Put>> {
        Box::pin(async move {
            if matches!(blob.content, Content::Remote(_)) {
                let path = self.scratch.directory()?.join("blob");
                save(blob, &*self.origin, &path).await?;
                let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
                fetched.insert(blob.descriptor.digest, path);
            }
            Ok(Put::Sent)
        })
    }

    fn tag<'a>(&'a self, _name: &'a ImageName, _root: &'a Blob, _tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn finish<'a>(&'a self, graphs: &'a [Graph]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let tree = match self.format {
                Format::Oci => self.oci(graphs)?,
                Format::Docker => self.docker(graphs)?,
            };
            let path = self.path.clone();
            tokio::task::spawn_blocking(move || write(&tree, &path))
                .await
                .map_err(|e| Error::new(Kind::Internal, "write the archive", e))?
        })
    }

    fn reference(&self, graph: &Graph) -> String {
        // A docker archive holds no manifest: the config's digest is the image's id there.
        let digest = match (self.format, manifest(graph)) {
            (Format::Docker, Ok(manifest)) => manifest.config.digest,
            _ => graph.root.descriptor.digest,
        };
        format!("{}@{digest}", self.describe(&graph.name))
    }
}

fn write(tree: &FileTree, path: &Path) -> Result<()> {
    let mut file = Atomic::create(path)?;
    let mut out = std::io::BufWriter::with_capacity(256 * 1024, file.file());
    tar::write(tree, &crate::fs::open, &mut out)?;
    std::io::Write::flush(&mut out).map_err(|e| Error::io("write", path, &e))?;
    drop(out);
    file.commit()
}
