//! `gimg layer`: one layer of the image that `gimg build` makes, to the byte, for whatever else puts images together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fs::{Atomic, Boundary};
use crate::image::assemble::EPOCH;
use crate::image::contents::{self, ProgramFile};
use crate::image::{Data, FileTree, Filesystem, Node, layer};
use crate::oci::{History, json, rfc3339};
use crate::ops::{Context, blocking, pack};
use crate::plan::{ImageProgram, PROGRAMS_DIR, naming};
use crate::report::WrittenLayer;
use crate::settings::layer::Layer;

/// Reads what goes in, and writes the layer and what it is.
///
/// # Errors
/// A program that can't be read or is for another platform, files that can't be in a layer, a name that two things
/// have, no room.
pub async fn layer(cx: &Context, wish: &Layer) -> Result<WrittenLayer> {
    for path in wish.metadata.iter().chain([&wish.out]) {
        crate::fs::replaceable(path)?;
    }
    let mut parts = Parts::default();
    let mut filesystem = Filesystem::Unix;
    if let Some(program) = &wish.program {
        filesystem = Filesystem::of(&program.platform);
        parts.program(cx, wish, filesystem).await?;
    }
    for files in &wish.files {
        let (from, root) = (files.from.clone(), wish.root.clone());
        let (listing, boundary) = blocking(move || crate::fs::files(&from, root.as_deref())).await?;
        parts.add(contents::files(&listing, &files.destination)?, Some(boundary))?;
        parts.comments.push(format!("files, at /{}", files.destination.to));
    }
    let Parts { tree, of, boundaries, comments, import_path } = parts;
    let tree = filesystem.arrange(tree)?;
    let open = move |path: &Path| match of.get(path) {
        Some(number) => boundaries[*number].open(path),
        None => crate::fs::open(path),
    };
    let (out, compression, threads) = (wish.out.clone(), wish.compression, wish.jobs);
    let written = blocking(move || {
        let mut file = Atomic::create(&out)?;
        let written = layer::write(&tree, compression, threads, &open, file.file())?;
        file.commit()?;
        Ok(written)
    })
    .await?;
    let by = import_path.map_or_else(|| "gimg layer".to_owned(), |path| format!("gimg build ko://{path}"));
    let report = WrittenLayer {
        diff_id: written.diff_id,
        media_type: written.media_type,
        digest: written.digest,
        size: written.size,
        annotations: wish.annotations.clone(),
        history: vec![History {
            created: Some(wish.epoch.map_or_else(|| EPOCH.to_owned(), rfc3339)),
            created_by: Some(by),
            author: Some("gimg".to_owned()),
            comment: Some(comments.join("; ")),
            empty_layer: None,
        }],
    };
    if let Some(path) = &wish.metadata {
        let mut bytes = json::to_bytes(&report)?.to_vec();
        bytes.push(b'\n');
        crate::fs::write_atomically(path, &bytes)?;
    }
    Ok(report)
}

/// What goes into a layer, put together.
#[derive(Default)]
struct Parts {
    tree: FileTree,
    /// The boundary that each of the user's files is read through.
    of: BTreeMap<PathBuf, usize>,
    boundaries: Vec<Boundary>,
    comments: Vec<String>,
    import_path: Option<String>,
}

impl Parts {
    /// The program, where `gimg pack` puts it.
    async fn program(&mut self, cx: &Context, wish: &Layer, filesystem: Filesystem) -> Result<()> {
        let Some(program) = &wish.program else { return Ok(()) };
        let binary = pack::read(cx, program).await?;
        let found = pack::import_path(std::slice::from_ref(program), std::slice::from_ref(&binary));
        self.import_path = found.as_ref().ok().cloned();
        let name = match &wish.place.name {
            Some(name) => name.clone(),
            None => {
                naming::program(&found.map_err(|e: Error| e.hint("say what it is called with --program"))?)
            }
        };
        let import_path = self.import_path.clone().unwrap_or_default();
        let name = ImageProgram { import_path, module_dir: PathBuf::new(), name }.file(&program.platform.os);
        let dir = wish.place.dir.as_deref().unwrap_or(PROGRAMS_DIR);
        let path = filesystem.path(&format!("{dir}/{name}"));
        self.comments.push(format!("go build output, at {path}"));
        let file = ProgramFile { name, path: binary.path, size: binary.size, capabilities: None };
        self.add(contents::programs(dir, &[file])?, None)
    }

    /// Adds a tree whose files are read through `boundary`.
    fn add(&mut self, tree: FileTree, boundary: Option<Boundary>) -> Result<()> {
        if let Some(boundary) = boundary {
            let number = self.boundaries.len();
            self.boundaries.push(boundary);
            let files = tree.iter().filter_map(|(_, entry)| match &entry.node {
                Node::File(Data::File { path, .. }) => Some((path.clone(), number)),
                _ => None,
            });
            self.of.extend(files);
        }
        self.tree.merge(tree)
    }
}
