//! `gimg push LAYOUT REPOSITORY`: an image from an OCI layout to a registry, with the same digest.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::content::ImageName;
use crate::content::copy::Copier;
use crate::error::{Error, Result};
use crate::oci::{Repository, Tag};
use crate::ops::Context;
use crate::registry::RegistryTarget;
use crate::report::{Before, Published, Report};
use crate::target::reader::Reader;

/// Pushes the image called `name` in the layout at `dir`, or the only one there, to `repository`. It gets
/// `tags`, or if there are none the tags that it has in the layout.
///
/// # Errors
/// A layout that can't be read or is incomplete, or whatever the registry says.
pub async fn push(
    cx: &Context,
    dir: &Path,
    name: Option<&str>,
    repository: &Repository,
    tags: Vec<Tag>,
    jobs: usize,
) -> Result<Report> {
    let start = Instant::now();
    let reader = Reader::open(dir)?;
    let (root, names) = reader.root(name)?;
    // In a layout of several programs an entry is called `program:tag`.
    let own = names.iter().map(|n| n.rsplit(':').next().unwrap_or(n)).filter_map(|t| t.parse().ok());
    let mut tags = if tags.is_empty() { own.collect::<Vec<Tag>>() } else { tags };
    if tags.is_empty() {
        tags.push(Tag::latest());
    }
    let program = repository.path().rsplit('/').next().unwrap_or_default().to_owned();
    let image = ImageName { program, repository: Some(repository.clone()) };
    let graph = reader.graph(&root, image, tags)?;
    let target = Arc::new(RegistryTarget::new(cx.registry.clone(), cx.origin()));
    let copier = Copier::new(target, Arc::clone(&cx.observer), jobs).until(cx.stop.clone());
    let failed = |e: Error| e.within(format!("push {}", dir.display()));
    copier.content(&graph).await.map_err(failed)?;
    let graphs = [graph];
    copier.publish(&graphs).await.map_err(failed)?;
    let [graph] = graphs;
    let published = Published {
        reference: copier.target().reference(&graph),
        also: Vec::new(),
        import_path: String::new(),
        digest: root.digest,
        media_type: root.media_type,
        tags: graph.tags.iter().map(ToString::to_string).collect(),
        before: Before::NotAsked,
        pushed: None,
        platforms: Vec::new(),
    };
    Ok(Report { images: vec![published], named: Vec::new(), elapsed: start.elapsed() })
}
