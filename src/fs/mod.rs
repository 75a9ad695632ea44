//! Edge: local files. What layers take is read within a boundary; what gimg writes appears whole.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

mod atomic;
mod beneath;
mod boundary;
mod look;
mod manifests;
mod snapshot;
mod source;

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::oci::Digest;

pub use atomic::{
    Atomic, TEMPORARY_PREFIX, append, make_hidden, replaceable, rewrite, write_atomically, write_private,
};
pub use boundary::{Boundary, files, kodata};
pub use look::{Ask, Looker, Moment};
pub use manifests::{is_kustomization, kustomization, list_manifests, read_manifest, same_file, unnamed};
pub use snapshot::{Away, Check, Doubt, Paths, Snapshot};

/// Opens a file of the run's private directory for reading.
///
/// # Errors
/// Whatever the system says.
pub fn open(path: &Path) -> std::io::Result<Box<dyn Read>> {
    Ok(Box::new(File::open(path)?))
}

/// Opens a file of which only parts are read.
///
/// # Errors
/// Whatever the system says.
pub fn open_to_seek(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

/// The bytes of a small file of the user's.
///
/// # Errors
/// Whatever the system says; something that isn't a regular file, or has more than `limit` bytes.
pub fn read_small(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    // A pipe would make us wait for its writer: look before opening.
    let found = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => std::io::Error::new(e.kind(), "no such file"),
        _ => e,
    })?;
    if !found.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!("it has more than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}

/// The names in a directory that aren't hidden, sorted.
///
/// # Errors
/// Whatever the system says.
pub fn names(dir: &Path) -> std::io::Result<Vec<OsString>> {
    let names = std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names: Vec<OsString> = names.collect::<std::io::Result<_>>()?;
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    Ok(names)
}

/// The directory of the nearest go.mod at or above `dir`.
#[must_use]
pub fn nearest_module(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|d| d.join("go.mod").is_file()).map(Path::to_owned)
}

/// Whether something is at `path`, be it a link that leads nowhere.
#[must_use]
pub fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// What tells the file of the running program from others: its size and when it was written.
#[must_use]
pub fn own_program() -> Option<String> {
    let found = std::fs::metadata(std::env::current_exe().ok()?).ok()?;
    let written = found.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(format!("{}@{}", found.len(), written.as_nanos()))
}

/// The digest of the running program's file.
///
/// # Errors
/// Whatever the system says.
pub fn own_digest() -> std::io::Result<Digest> {
    Ok(Digest::of_reader(File::open(std::env::current_exe()?)?)?.0)
}

/// Whether `path` is a directory.
#[must_use]
pub fn is_directory(path: &Path) -> bool {
    path.is_dir()
}
