//! Kubernetes YAML as it lies in files and directories, and a file without a name for whoever reads on.

use std::fs::File;
use std::io::{Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// The largest file of YAML that is read: far more than an API server takes.
const MAX_MANIFEST: u64 = 256 << 20;

/// The bytes of a file of YAML or JSON, or of `-` standard input.
///
/// # Errors
/// A name that isn't there (bad input), or whatever the system says; more than 256 MiB.
pub fn read_manifest(path: &Path) -> Result<Vec<u8>> {
    let what = "read the YAML";
    let failed = |e: std::io::Error| unreadable_manifest(path, &e);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_MANIFEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(MAX_MANIFEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(Error::new(Kind::Input, what, "it has more than 256 MiB").at(path.display()));
    }
    Ok(bytes)
}

/// The files that a name given by the user means: of a directory its .yaml, .yml and .json files in the order of
/// their names, with those of its directories if `recursive`; of anything else itself. Links to files count, links
/// to directories are not followed, as in ko and kubectl.
///
/// # Errors
/// A name that isn't there (bad input), or whatever the system says.
pub fn list_manifests(path: &Path, recursive: bool) -> Result<Vec<PathBuf>> {
    let metadata = std::fs::metadata(path).map_err(|e| unreadable_manifest(path, &e))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let depth = if recursive { usize::MAX } else { 1 };
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(path).min_depth(1).max_depth(depth).sort_by_file_name() {
        let entry = entry.map_err(|e| {
            let failed = e.io_error().map(|io| unreadable_manifest(e.path().unwrap_or(path), io));
            failed.unwrap_or_else(|| Error::new(Kind::LocalIo, "list the YAML", &e).at(path.display()))
        })?;
        let named = entry.path().extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        if named && !entry.path().is_dir() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// What a kustomization may be called.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Whether a file is called as a kustomization is.
#[must_use]
pub fn is_kustomization(path: &Path) -> bool {
    path.file_name().is_some_and(|name| KUSTOMIZATIONS.iter().any(|k| name == *k))
}

/// The kustomization in a directory, or the file itself.
///
/// # Errors
/// A directory that isn't there, or has none or several (bad input).
pub fn kustomization(dir: &Path) -> Result<PathBuf> {
    let metadata = std::fs::metadata(dir).map_err(|e| unreadable_manifest(dir, &e))?;
    if !metadata.is_dir() {
        return Ok(dir.to_owned());
    }
    let names = KUSTOMIZATIONS;
    let mut found: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).filter(|p| p.is_file()).collect();
    let bad = |why: String| Error::new(Kind::Input, "look for the kustomization", why).at(dir.display());
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (None, _) => Err(bad(format!("the directory has none of {}", names.join(", ")))),
        (Some(_), _) => Err(bad("the directory has several".to_owned())),
    }
}

/// What tells a file from others, whatever it is called.
#[must_use]
pub fn same_file(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn unreadable_manifest(path: &Path, error: &std::io::Error) -> Error {
    let found = Error::io("read the YAML", path, error);
    if error.kind() == std::io::ErrorKind::NotFound { found.as_kind(Kind::Input) } else { found }
}

/// A file without a name that holds these bytes, to be read from its start.
///
/// # Errors
/// No room or no permission in the system's temporary directory.
pub fn unnamed(bytes: &[u8]) -> Result<File> {
    let write = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    };
    write().map_err(|e: std::io::Error| {
        Error::new(Kind::LocalIo, "write a temporary file", e).hint("TMPDIR names another place")
    })
}
