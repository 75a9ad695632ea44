//! OCI image layouts (image-spec, image-layout.md): a directory as destination.
//!
//! A layout holds exactly what the last run put there: `index.json` is replaced as a whole once everything it
//! names is complete, then blobs that nothing names are removed. Two runs into one directory wait for each other.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::content::{Blob, BoxFuture, Graph, ImageName, Naming, Source, Target};
use crate::error::{Error, Kind, Result};
use crate::event::Put;
use crate::fs::{TEMPORARY_PREFIX, write_atomically};
use crate::oci::{Digest, ImageIndex, Tag, annotation, json};
use crate::target::save;

/// What every layout's `oci-layout` file says.
pub(super) const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The layout directory as a destination.
pub struct Layout {
    place: Place,
    origin: Arc<dyn Source>,
    open: Mutex<BTreeMap<PathBuf, Arc<tokio::sync::OnceCell<Opened>>>>,
    /// Numbers temporary files.
    next: AtomicU64,
}

/// Which directory an image goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One directory for all.
    One(PathBuf),
    /// A directory for each program, below this one.
    PerProgram(PathBuf),
}

/// A layout that this run writes; its lock is held until it is dropped.
struct Opened {
    _lock: Option<std::fs::File>,
}

impl Layout {
    /// A destination. `origin` has what is in registries.
    #[must_use]
    pub fn new(place: Place, origin: Arc<dyn Source>) -> Self {
        Layout { place, origin, open: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Checks, without writing, that the directory can be a layout.
    ///
    /// # Errors
    /// A layout of an unknown version, or a directory that holds something else.
    pub fn check(&self) -> Result<()> {
        match &self.place {
            Place::One(dir) => check_place(dir),
            // Below it each program's directory is checked when it is written.
            Place::PerProgram(_) => Ok(()),
        }
    }

    fn dir(&self, name: &ImageName) -> PathBuf {
        match &self.place {
            Place::One(dir) => dir.clone(),
            Place::PerProgram(dir) => dir.join(&name.program),
        }
    }

    /// Makes the directory ready, once.
    async fn ready(&self, dir: &Path) -> Result<()> {
        let cell = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(open.entry(dir.to_owned()).or_default())
        };
        let top = match &self.place {
            Place::One(dir) | Place::PerProgram(dir) => dir.clone(),
        };
        cell.get_or_try_init(|| async {
            let dir = dir.to_owned();
            let work = move || prepare(&dir, &top);
            tokio::task::spawn_blocking(work)
                .await
                .map_err(|e| Error::new(Kind::Internal, "open the layout", e))?
        })
        .await?;
        Ok(())
    }
}

impl Target for Layout {
    fn describe(&self, name: &ImageName) -> String {
        format!("oci:{}", self.dir(name).display())
    }

    fn put<'a>(&'a self, name: &'a ImageName, blob: &'a Blob) -> BoxFuture<'a, Result<Put>> {
        Box::pin(async move {
            let dir = self.dir(name);
            self.ready(&dir).await?;
            let path = blob_path(&dir, &blob.descriptor.digest);
            let (check, digest) = (path.clone(), blob.descriptor.digest);
            // A blob that is there is only trusted after a look at its bytes.
            let present = tokio::task::spawn_blocking(move || holds(&check, &digest)).await.unwrap_or(false);
            if present {
                return Ok(Put::Present);
            }
            // A name of its own: programs that share a layer put it side by side. It is removed when dropped, by an
            // error or by an interruption in the middle.
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let temporary =
                path.with_file_name(format!("{TEMPORARY_PREFIX}{digest}-{number}", digest = digest.hex()));
            let _ = std::fs::remove_file(&temporary);
            let temporary =
                tempfile::TempPath::try_from_path(temporary).map_err(|e| Error::io("write", &path, &e))?;
            save(blob, &*self.origin, &temporary).await?;
            temporary.persist(&path).map_err(|e| Error::io("write", &path, &e.error))?;
            Ok(Put::Sent)
        })
    }

    fn naming(&self) -> Naming {
        Naming::AtEnd
    }

    fn keeps_referrers(&self) -> bool {
        true
    }

    fn tag<'a>(&'a self, _name: &'a ImageName, _root: &'a Blob, _tag: &'a Tag) -> BoxFuture<'a, Result<()>> {
        // Names live in index.json, which is written once, at the end.
        Box::pin(async { Ok(()) })
    }

    fn finish<'a>(&'a self, graphs: &'a [Graph]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut places: BTreeMap<PathBuf, Vec<&Graph>> = BTreeMap::new();
            for graph in graphs {
                places.entry(self.dir(&graph.name)).or_default().push(graph);
            }
            for (dir, graphs) in &places {
                self.ready(dir).await?;
                write_atomically(&dir.join("index.json"), &index_json(graphs, |_, _| None)?)?;
                let keep: BTreeSet<String> =
                    graphs.iter().flat_map(|g| g.everything()).map(|b| b.descriptor.digest.hex()).collect();
                sweep(dir, &keep);
            }
            self.open.lock().unwrap_or_else(PoisonError::into_inner).clear();
            Ok(())
        })
    }

    fn reference(&self, graph: &Graph) -> String {
        format!("{}@{}", self.describe(&graph.name), graph.root.descriptor.digest)
    }
}

/// The `index.json` of a layout of `graphs`: an entry for each tag. Of one image the entry's name is the tag;
/// of several it is `program:tag`. What refers to them has entries without a name, which is where others look for it.
/// `imported` is what containerd is to call the image of a tag, if anything: by the short name it would be just `latest`.
pub(super) fn index_json(
    graphs: &[&Graph],
    imported: impl Fn(&Graph, &Tag) -> Option<String>,
) -> Result<Bytes> {
    let mut entries = Vec::new();
    for graph in graphs {
        for tag in &graph.tags {
            let name =
                if graphs.len() == 1 { tag.to_string() } else { format!("{}:{tag}", graph.name.program) };
            let mut entry = graph.root.descriptor.clone();
            entry.annotations.insert(annotation::REF_NAME.to_owned(), name);
            if let Some(full) = imported(graph, tag) {
                entry.annotations.insert(annotation::CONTAINERD_NAME.to_owned(), full);
            }
            entries.push(entry);
        }
    }
    let mut seen = BTreeSet::new();
    for referrer in graphs.iter().flat_map(|g| &g.referrers) {
        let mut entry = referrer.manifest.descriptor.clone();
        // Its manifest's annotations are none of this layout's names.
        entry.annotations.remove(annotation::REF_NAME);
        if seen.insert(entry.digest) {
            entries.push(entry);
        }
    }
    json::to_bytes(&ImageIndex::new(entries, BTreeMap::new()))
}

pub(super) fn blob_path(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("blobs").join("sha256").join(digest.hex())
}

/// Whether the file holds just the bytes of this digest.
fn holds(path: &Path, digest: &Digest) -> bool {
    // A pipe would make us wait for its writer.
    if !path.is_file() {
        return false;
    }
    let found = std::fs::File::open(path).and_then(Digest::of_reader);
    found.is_ok_and(|(found, _)| found == *digest)
}

/// Makes `dir` a layout, or finds that it is one, and locks it. A directory that was not there or empty is hidden
/// from git, because one untracked file would make the next build's version stamp dirty.
fn prepare(dir: &Path, top: &Path) -> Result<Opened> {
    let io = |what: &str, e: &std::io::Error| Error::io(what, dir, e);
    check_place(dir)?;
    let is_new = std::fs::read_dir(top).map_or(true, |mut entries| entries.next().is_none());
    std::fs::create_dir_all(dir).map_err(|e| io("make the layout", &e))?;
    if is_new {
        write_atomically(&top.join(".gitignore"), b"*\n")?;
    }
    let lock = lock(dir)?;
    std::fs::create_dir_all(dir.join("blobs").join("sha256")).map_err(|e| io("make the layout", &e))?;
    let marker = dir.join("oci-layout");
    if !marker.exists() {
        write_atomically(&marker, MARKER)?;
    }
    Ok(Opened { _lock: lock })
}

/// Waits until nobody else writes the layout; nobody does until the file is dropped.
#[cfg(unix)]
fn lock(dir: &Path) -> Result<Option<std::fs::File>> {
    let io = |e: &std::io::Error| Error::io("lock the layout", dir, e);
    let file = std::fs::File::open(dir).map_err(|e| io(&e))?;
    file.lock().map_err(|e| io(&e))?;
    Ok(Some(file))
}

/// Directories can't be locked here; two runs into one directory are the user's to avoid.
#[cfg(not(unix))]
fn lock(_dir: &Path) -> Result<Option<std::fs::File>> {
    Ok(None)
}

/// A directory can be a layout if it is one, or is absent or empty but for what gimg puts there first.
fn check_place(dir: &Path) -> Result<()> {
    if dir.join("oci-layout").exists() {
        return check_marker(dir);
    }
    let foreign = |name: &std::ffi::OsStr| {
        name != ".gitignore" && name != "blobs" && !name.to_string_lossy().starts_with(TEMPORARY_PREFIX)
    };
    let refuse = |why: &str| {
        Err(Error::new(Kind::LocalIo, "write the layout", why.to_owned())
            .at(dir.display())
            .hint("name a new or empty directory"))
    };
    match std::fs::read_dir(dir) {
        Ok(mut entries) => match entries.any(|e| e.is_ok_and(|e| foreign(&e.file_name()))) {
            true => refuse("the directory holds other files"),
            false => Ok(()),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => refuse("it is a file"),
        Err(e) => Err(Error::io("read the layout", dir, &e)),
    }
}

pub(super) fn check_marker(dir: &Path) -> Result<()> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let path = dir.join("oci-layout");
    let text = crate::fs::read_small(&path, json::MAX_DOCUMENT);
    let text = text.map_err(|e| Error::io("read the layout", &path, &e))?;
    let bad = |why: String| Error::new(Kind::Input, "read the layout", why).at(path.display());
    let marker: Marker = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    if marker.image_layout_version.starts_with("1.") {
        Ok(())
    } else {
        Err(bad(format!("unsupported layout version {}", marker.image_layout_version)))
    }
}

/// Removes blobs that nothing names, and what killed runs left. The lock is held, so nobody else is writing.
fn sweep(dir: &Path, keep: &BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(dir.join("blobs").join("sha256")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_blob = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
        if (is_blob && !keep.contains(&name)) || name.starts_with(TEMPORARY_PREFIX) {
            // What can't be removed does no harm: index.json decides what the layout holds.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
