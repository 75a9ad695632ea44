//! The layers of the user's files: kodata, and the file's groups of files. One that was made before from the same files
//! is used again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::try_join_all;
use serde::Serialize;

use crate::error::Result;
use crate::fs::{Ask, Boundary, Paths};
use crate::image::assemble::Layer;
use crate::image::contents::{self, Listing};
use crate::image::{Data, FileTree, Filesystem, Node};
use crate::oci::Digest;
use crate::ops::memo::Memo;
use crate::ops::publish::Publisher;
use crate::ops::{blocking, kept};
use crate::plan::ImagePlan;
use crate::settings::Settings;

/// What is smaller, in bytes, is sooner packed than remembered.
const WORTH: u64 = 1 << 20;

/// Layers of an image's data, by how its platforms name files.
pub(super) type DataLayers = BTreeMap<Filesystem, Vec<Layer>>;

/// The layers of each image that are the same for all its platforms that name files alike.
///
/// # Errors
/// Files that can't be read, or be in an image.
pub(super) async fn layers(publisher: &Publisher<'_>) -> Result<Vec<DataLayers>> {
    try_join_all(publisher.images.iter().map(|image| async move {
        let epoch = image.kodata_epoch;
        let mut layers = DataLayers::new();
        if let Some((listing, boundary)) = kodata(publisher.settings, image).await? {
            let tree = contents::kodata(&listing, epoch.unwrap_or(0))?;
            let comment = "kodata contents, at $KO_DATA_PATH";
            add(publisher, &mut layers, image, tree, boundary, comment, epoch).await?;
        }
        for files in &image.files {
            let (from, root) = (files.from.clone(), publisher.settings.kodata_root.clone());
            let (listing, boundary) = blocking(move || crate::fs::files(&from, root.as_deref())).await?;
            let comment = format!("files, at /{}", files.destination.to);
            let tree = contents::files(&listing, &files.destination)?;
            add(publisher, &mut layers, image, tree, boundary, &comment, None).await?;
        }
        Ok(layers)
    }))
    .await
}

/// What an image's kodata holds, if there is something.
///
/// # Errors
/// Files that can't be read, or lead where they may not.
pub(super) async fn kodata(settings: &Settings, image: &ImagePlan) -> Result<Option<(Listing, Boundary)>> {
    let (Some(dir), root) = (image.kodata.clone(), settings.kodata_root.clone()) else { return Ok(None) };
    blocking(move || crate::fs::kodata(&dir, root.as_deref())).await
}

/// Adds a tree of the user's files, once for each way that the image's platforms name files.
async fn add(
    publisher: &Publisher<'_>,
    layers: &mut DataLayers,
    image: &ImagePlan,
    tree: FileTree,
    boundary: Boundary,
    comment: &str,
    epoch: Option<u64>,
) -> Result<()> {
    let filesystems: BTreeSet<Filesystem> = image.platforms.iter().map(Filesystem::of).collect();
    let boundary = Arc::new(boundary);
    for filesystem in filesystems {
        let (tree, boundary) = (filesystem.arrange(tree.clone())?, Arc::clone(&boundary));
        let size: u64 = tree.iter().filter_map(|(_, entry)| file(&entry.node)).map(|(_, size)| size).sum();
        let written = match publisher.memo.filter(|_| size >= WORTH) {
            Some(memo) => remembered(publisher, memo, tree, boundary, &image.name.program).await?,
            None => publisher.write(tree, move |path| boundary.open(path)).await?,
        };
        layers.entry(filesystem).or_default().push(publisher.layer(written, image, comment, epoch));
    }
    Ok(())
}

/// The layer of a tree: from before, if it was made of the same.
async fn remembered(
    publisher: &Publisher<'_>,
    memo: &Memo,
    tree: FileTree,
    boundary: Arc<Boundary>,
    program: &str,
) -> Result<kept::Layer> {
    let what = format!("files of {program}");
    let mut paths = Paths::new();
    tree.iter().filter_map(|(_, entry)| file(&entry.node)).for_each(|(file, _)| paths.add(file, Ask::Bytes));
    let question = Question { tree: listed(&tree), encoder: publisher.settings.compression.encoder_id() };
    let key = memo.key("a layer of files", &question);
    let check = publisher.has_trusting_destination();
    let work = publisher.write(tree, move |path| boundary.open(path));
    kept::layer(publisher.cx, memo, (key, &what), paths, check, work).await
}

/// What decides a layer of files, beside what is in them.
#[derive(Serialize)]
struct Question {
    tree: Vec<Listed>,
    encoder: String,
}

/// An entry of a tree.
#[derive(Serialize)]
struct Listed {
    name: String,
    what: What,
    mode: u32,
    owner: (u64, u64),
    mtime: u64,
    pax: BTreeMap<String, Vec<u8>>,
}

#[derive(Serialize)]
enum What {
    Dir,
    File(PathBuf, u64),
    Bytes(Digest),
    Symlink(String),
    HardLink(String),
}

fn listed(tree: &FileTree) -> Vec<Listed> {
    let all = tree.iter().map(|(name, entry)| Listed {
        name: name.to_owned(),
        what: match &entry.node {
            Node::Dir => What::Dir,
            Node::File(Data::File { path, size }) => What::File(path.clone(), *size),
            Node::File(Data::Bytes(bytes)) => What::Bytes(Digest::of(bytes)),
            Node::Symlink(target) => What::Symlink(target.clone()),
            Node::HardLink(target) => What::HardLink(target.clone()),
        },
        mode: entry.meta.mode,
        owner: (entry.meta.uid, entry.meta.gid),
        mtime: entry.meta.mtime,
        pax: entry.meta.pax.clone(),
    });
    all.collect()
}

/// The file that an entry's bytes are in.
fn file(node: &Node) -> Option<(&PathBuf, u64)> {
    match node {
        Node::File(Data::File { path, size }) => Some((path, *size)),
        _ => None,
    }
}
