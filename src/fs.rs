//! Edge: local files. Walking kodata within its boundary, opening what a layer takes, writing whole files.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::image::contents::{ListedFile, Listing};

/// Opens a file for reading.
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

/// The directory of the nearest go.mod at or above `dir`.
#[must_use]
pub fn nearest_module(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|d| d.join("go.mod").is_file()).map(Path::to_owned)
}

/// Whether `path` is a directory.
#[must_use]
pub fn is_directory(path: &Path) -> bool {
    path.is_dir()
}

/// The directory below which kodata's links may point: the repository, else the module, else `dir`'s parent.
fn boundary(dir: &Path) -> PathBuf {
    let repository = dir.ancestors().find(|d| d.join(".git").exists());
    let module = dir.ancestors().find(|d| d.join("go.mod").is_file());
    repository.or(module).or(dir.parent()).unwrap_or(dir).to_owned()
}

/// Lists `dir` (a package's `kodata`), following links as ko does, but never out of the repository or module.
/// `None` if there is no such directory, or nothing in it.
///
/// # Errors
/// A link that leaves the boundary, dangles or loops; something that is neither file nor directory.
pub fn list_kodata(dir: &Path) -> Result<Option<Listing>> {
    let what = "read kodata";
    let root = match std::fs::canonicalize(dir) {
        Ok(root) if root.is_dir() => root,
        Ok(_) => return Err(Error::new(Kind::Input, what, "not a directory").at(dir.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !dir.is_symlink() => return Ok(None),
        Err(e) => return Err(Error::io(what, dir, &e)),
    };
    let package = dir.parent().unwrap_or(dir);
    let package = std::fs::canonicalize(package).map_err(|e| Error::io(what, package, &e))?;
    let fence = boundary(&package);
    if !root.starts_with(&fence) {
        return Err(leaves(dir, &root, &fence));
    }
    let mut listing = Listing::default();
    for entry in walkdir::WalkDir::new(dir).follow_links(true).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|e| unreadable(&e, dir))?;
        let path = entry.path();
        let Some(name) = path.strip_prefix(dir).ok().and_then(slashed) else {
            return Err(Error::new(Kind::Input, what, "the name isn't UTF-8").at(path.display()));
        };
        let real = std::fs::canonicalize(path).map_err(|e| Error::io(what, path, &e))?;
        if !real.starts_with(&fence) {
            return Err(leaves(path, &real, &fence));
        }
        let metadata = std::fs::metadata(&real).map_err(|e| Error::io(what, path, &e))?;
        if metadata.is_dir() {
            listing.directories.push(name);
        } else if metadata.is_file() {
            let executable = is_executable(&metadata);
            listing.files.push(ListedFile { name, path: real, size: metadata.len(), executable });
        } else {
            return Err(Error::new(Kind::Input, what, "not a regular file").at(path.display()));
        }
    }
    Ok((!listing.files.is_empty() || !listing.directories.is_empty()).then_some(listing))
}

fn leaves(path: &Path, real: &Path, fence: &Path) -> Error {
    Error::new(Kind::Input, "read kodata", format!("the link points to {}", real.display()))
        .at(path.display())
        .hint(format!("links must stay below {}", fence.display()))
}

fn unreadable(error: &walkdir::Error, dir: &Path) -> Error {
    let path = error.path().unwrap_or(dir);
    if let Some(ancestor) = error.loop_ancestor() {
        let why = format!("the link loops back to {}", ancestor.display());
        return Error::new(Kind::Input, "read kodata", why).at(path.display());
    }
    let target = std::fs::read_link(path);
    match (error.io_error(), target) {
        (Some(e), Ok(target)) if e.kind() == std::io::ErrorKind::NotFound => {
            let why = format!("the link points to {}, which isn't there", target.display());
            Error::new(Kind::Input, "read kodata", why).at(path.display())
        }
        (Some(e), _) => Error::io("read kodata", path, e),
        (None, _) => Error::new(Kind::Input, "read kodata", error).at(path.display()),
    }
}

/// The path with `/` between its parts.
fn slashed(path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> = path.components().map(|c| c.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_metadata: &std::fs::Metadata) -> bool {
    false
}

/// Writes a whole file: to a temporary name beside it, synced, then renamed, so that nobody sees half of it.
///
/// # Errors
/// Whatever the system says.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = Atomic::create(path)?;
    file.file().write_all(bytes).map_err(|e| Error::io("write", path, &e))?;
    file.commit()
}

/// A file being written beside its final name. Dropped without [`Atomic::commit`] it leaves nothing.
#[derive(Debug)]
pub struct Atomic {
    temporary: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Atomic {
    /// Starts a file that will be `path`.
    ///
    /// # Errors
    /// A directory that can't be written, or `path` being a directory.
    pub fn create(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::new(Kind::LocalIo, "write", "it is a directory").at(path.display()));
        }
        let dir = match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(dir).map_err(|e| Error::io("make the directory", dir, &e))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // The usual mode of a new file; the umask applies.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temporary = builder.tempfile_in(dir).map_err(|e| Error::io("write in", dir, &e))?;
        Ok(Atomic { temporary, path: path.to_owned() })
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Syncs it and gives it its name.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn commit(self) -> Result<()> {
        let io = |e: &std::io::Error| Error::io("write", &self.path, e);
        self.temporary.as_file().sync_all().map_err(|e| io(&e))?;
        self.temporary.persist(&self.path).map_err(|e| io(&e.error))?;
        Ok(())
    }
}

/// How names of files begin that a killed process may have left behind.
pub const TEMPORARY_PREFIX: &str = ".gimg-";
