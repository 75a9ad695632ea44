//! Archives: an OCI layout in one tar file, and the tar that `docker load` takes.
//!
//! The file is written once, at the end, beside its final name, and renamed: whoever looks sees a whole archive
//! or the old one. Equal images give equal archives.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::content::{Blob, BoxFuture, Graph, ImageName, Naming, Source, Target};
use crate::error::{Error, Kind, Result};
use crate::event::Put;
use crate::fs::Atomic;
use crate::oci::Tag;
use crate::store::Scratch;
use crate::target::layout;
use crate::target::pack::{self, Kept, Packed};

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
    kept: Kept,
}

impl Archive {
    /// An archive at `path`. `origin` has what is in registries; it is kept in `scratch` until the end.
    #[must_use]
    pub fn new(format: Format, path: PathBuf, origin: Arc<dyn Source>, scratch: Arc<Scratch>) -> Self {
        Archive { format, path, kept: Kept::new(origin, scratch) }
    }

    /// Checks, without writing, that the path can be an archive.
    ///
    /// # Errors
    /// A directory, a device, or a file in place of a directory.
    pub fn check(&self) -> Result<()> {
        crate::fs::replaceable(&self.path)
    }

    fn scheme(&self) -> &'static str {
        match self.format {
            Format::Oci => "oci-archive",
            Format::Docker => "docker-archive",
        }
    }

    fn pack(&self, graphs: &[Graph]) -> Result<Packed> {
        match self.format {
            Format::Oci => {
                let named: Vec<&Graph> = graphs.iter().collect();
                let index = layout::index_json(&named, |graph, tag| Some(imported_name(graph, tag)))?;
                pack::oci(graphs, index, &self.kept)
            }
            Format::Docker => {
                let names = |graph: &Graph| graph.tags.iter().map(|t| imported_name(graph, t)).collect();
                pack::docker(graphs, names, &self.kept)
            }
        }
    }
}

/// What an engine will call the image of a tag: containerd (`ctr images import`, K3s' folder of images), podman, Docker.
fn imported_name(graph: &Graph, tag: &Tag) -> String {
    match &graph.name.repository {
        Some(repository) => format!("{repository}:{tag}"),
        None => format!("gimg.local/{}:{tag}", graph.name.program.to_lowercase()),
    }
}

impl Target for Archive {
    fn describe(&self, _name: &ImageName) -> String {
        format!("{}:{}", self.scheme(), self.path.display())
    }

    fn put<'a>(&'a self, _name: &'a ImageName, blob: &'a Blob) -> BoxFuture<'a, Result<Put>> {
        Box::pin(async move {
            self.kept.keep(blob).await?;
            Ok(Put::Sent)
        })
    }

    fn naming(&self) -> Naming {
        Naming::AtEnd
    }

    fn keeps_referrers(&self) -> bool {
        self.format == Format::Oci
    }

    fn tag<'a>(&'a self, _name: &'a ImageName, _root: &'a Blob, _tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn finish<'a>(&'a self, graphs: &'a [Graph]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let packed = self.pack(graphs)?;
            let path = self.path.clone();
            tokio::task::spawn_blocking(move || write(&packed, &path))
                .await
                .map_err(|e| Error::new(Kind::Internal, "write the archive", e))?
        })
    }

    fn reference(&self, graph: &Graph) -> String {
        // A docker archive holds no manifest: the config's digest is the image's id there.
        let digest = match (self.format, graph.image_manifest()) {
            (Format::Docker, Ok(manifest)) => manifest.config.digest,
            _ => graph.root.descriptor.digest,
        };
        format!("{}@{digest}", self.describe(&graph.name))
    }
}

fn write(packed: &Packed, path: &Path) -> Result<()> {
    let mut file = Atomic::create(path)?;
    let mut out = std::io::BufWriter::with_capacity(256 * 1024, file.file());
    packed.write(&mut out)?;
    std::io::Write::flush(&mut out).map_err(|e| Error::io("write", path, &e))?;
    drop(out);
    file.commit()
}
