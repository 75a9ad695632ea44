//! The Go programs in an image, wherever they are in it: what a container would see of its layers.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::binary::{self, Header};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::image::view::{self, Names, Seen, View};
use crate::oci::Digest;
use crate::ops::opened::{Opened, plain};
use crate::ops::{Context, blocking};
use crate::store::Scratch;
use crate::target;

/// How much memory the names in all layers may take.
const MAX_NAMES: usize = 1 << 30;
/// What is read of a file at a time.
const PIECE: usize = 256 * 1024;

/// A Go program.
pub(super) struct Contained {
    /// Where it is in the image: an absolute path.
    pub(super) path: String,
    pub(super) header: Header,
    /// A copy in the run's private directory.
    pub(super) file: PathBuf,
}

/// The programs in an image, by path.
///
/// # Errors
/// A layer that can't be read, or isn't what its digest says.
pub(super) async fn programs(cx: &Context, image: &Opened) -> Result<Vec<Contained>> {
    over(cx, image, 0).await
}

/// The same, but for those in the `below` lowest layers, which aren't read.
///
/// # Errors
/// As [`programs`].
pub(super) async fn over(cx: &Context, image: &Opened, below: usize) -> Result<Vec<Contained>> {
    let (mut view, mut room) = (View::default(), MAX_NAMES);
    let mut found: Vec<(usize, Contained)> = Vec::new();
    for (number, layer) in image.layers.iter().skip(below).rev().enumerate() {
        let digest = layer.descriptor.digest;
        let within = |e: Error| e.within(format!("look for programs in layer {digest} of {}", image.name));
        cx.observer.on(Event::Detail(format!("looking for programs in layer {digest}")));
        let path = cx.scratch.vacant();
        target::save(layer, &*cx.origin(), &path).await.map_err(within)?;
        let (scratch, file) = (Arc::clone(&cx.scratch), path.clone());
        let scanned = blocking(move || scan(&file, &scratch, room)).await.map_err(within)?;
        cx.scratch.remove(&path);
        room = scanned.room;
        view.add(Arc::new(scanned.names));
        found.extend(scanned.programs.into_values().map(|program| (number, program)));
    }
    view.complete();
    let is_seen = |(number, program): &(usize, Contained)| match view.at(&program.path) {
        Seen::File { layer, name, .. } => layer == *number && program.path.strip_prefix('/') == Some(&name),
        Seen::Nothing(_) | Seen::Other | Seen::Below => false,
    };
    let (seen, covered): (Vec<_>, Vec<_>) = found.into_iter().partition(is_seen);
    covered.iter().for_each(|(_, program)| cx.scratch.remove(&program.file));
    let mut seen: Vec<Contained> = seen.into_iter().map(|(_, program)| program).collect();
    seen.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(seen)
}

/// The program in a file of the user's, and the digest of that.
///
/// # Errors
/// A file that can't be read, or isn't a Go program (kind `Input`).
pub(super) async fn program(cx: &Context, path: &Path) -> Result<(Contained, Digest)> {
    let (scratch, from) = (Arc::clone(&cx.scratch), path.to_owned());
    let shown = path.display().to_string();
    blocking(move || {
        let (file, _) = scratch.copy_of(&from)?;
        let io = |e: io::Error| Error::io("read the binary", &from, &e);
        let (digest, _) = Digest::of_reader(crate::fs::open(&file).map_err(io)?).map_err(io)?;
        let header =
            binary::inspect(crate::fs::open_to_seek(&file).map_err(io)?).map_err(|e| e.at(&shown))?;
        if header.build_info.is_none() {
            let why = format!("it is {}, without a record of Go modules", header.describe());
            return Err(Error::new(Kind::Input, "read the binary", why).at(&shown));
        }
        Ok((Contained { path: shown.clone(), header, file }, digest))
    })
    .await
}

/// What is in a layer.
struct Scanned {
    names: Names,
    programs: BTreeMap<String, Contained>,
    /// What is left for names.
    room: usize,
}

fn scan(layer: &Path, scratch: &Scratch, mut room: usize) -> Result<Scanned> {
    let mut programs = BTreeMap::new();
    let names = view::names_and(plain(layer)?, &mut room, |name, content| {
        // Of several of one name the last counts, as for whoever unpacks it.
        let before = programs.remove(name);
        before.iter().for_each(|before: &Contained| scratch.remove(&before.file));
        programs.extend(take(name, content, scratch)?.map(|program| (name.to_owned(), program)));
        Ok(())
    })?;
    Ok(Scanned { names, programs, room })
}

/// The Go program that a file of a layer is, if it is one.
pub(super) fn take(name: &str, content: &mut dyn Read, scratch: &Scratch) -> Result<Option<Contained>> {
    let unreadable = |e: io::Error| Error::new(Kind::Input, "read a layer", e).at(format!("/{name}"));
    let mut start = Vec::new();
    (&mut *content).take(4).read_to_end(&mut start).map_err(unreadable)?;
    if !binary::begins_as_program(&start) {
        return Ok(None);
    }
    let (mut file, path) = scratch.file()?;
    let mut piece = vec![0; PIECE];
    let mut n = start.len();
    piece[..n].copy_from_slice(&start);
    while n > 0 {
        file.write_all(&piece[..n]).map_err(|e| Error::io("write", &path, &e))?;
        n = content.read(&mut piece).map_err(unreadable)?;
    }
    drop(file);
    let io = |e: io::Error| Error::io("read", &path, &e);
    // Headers that contradict themselves are no program of Go's.
    let header = binary::inspect(crate::fs::open_to_seek(&path).map_err(io)?).ok();
    let Some(header) = header.filter(|header| header.build_info.is_some()) else {
        scratch.remove(&path);
        return Ok(None);
    };
    Ok(Some(Contained { path: format!("/{name}"), header, file: path }))
}
