//! Reading the user's files without ever leaving a directory. Links are followed, as in ko, but what they lead to must
//! be inside; what was listed is what is read, else it is an error.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::beneath::{Found, Identity, Node, Root, identity};
use crate::error::{Error, Kind, Result};
use crate::image::contents::{ListedFile, Listing};

/// How many links one name may pass through, as in Linux.
const MAX_LINKS: usize = 40;
/// How many files and directories one listing may have: directories of links to directories of links grow fast.
const MAX_ENTRIES: usize = if cfg!(test) { 10_000 } else { 1_000_000 };

/// A directory that nothing is read outside of, and what was listed below it: only that can be opened.
#[derive(Debug)]
pub struct Boundary {
    dir: PathBuf,
    root: Root,
    listed: BTreeMap<PathBuf, (Identity, u64)>,
}

/// What `dir`, a package's `kodata`, holds, and the boundary to read it through: the repository or module around the
/// package, or `allowed`, the user's word for it. `None` if there is no such directory, or nothing in it.
///
/// # Errors
/// As [`Boundary::list`], or a `kodata` that is a file.
pub fn kodata(dir: &Path, allowed: Option<&Path>) -> Result<Option<(Listing, Boundary)>> {
    let mut boundary = Boundary::around(dir.parent().unwrap_or(dir), allowed)?;
    let Some(listing) = boundary.list(dir, "kodata")? else { return Ok(None) };
    if listing.files.iter().any(|f| f.name.is_empty()) {
        return Err(Error::new(Kind::Input, "read kodata", "not a directory").at(dir.display()));
    }
    let is_empty = listing.files.is_empty() && listing.directories.is_empty();
    Ok((!is_empty).then_some((listing, boundary)))
}

/// What the file or directory `from` holds, which goes into an image by the user's word, and the boundary to read it
/// through: the repository or module around it, or `allowed`, the user's word for it.
///
/// # Errors
/// As [`Boundary::list`], or nothing called `from`.
pub fn files(from: &Path, allowed: Option<&Path>) -> Result<(Listing, Boundary)> {
    let missing =
        || Error::new(Kind::Input, "read files", "there is no such file or directory").at(from.display());
    let around = if from.is_dir() { from } else { from.parent().unwrap_or(from) };
    if !around.is_dir() {
        return Err(missing());
    }
    let mut boundary = Boundary::around(around, allowed)?;
    let listing = boundary.list(from, "files")?.ok_or_else(missing)?;
    Ok((listing, boundary))
}

impl Boundary {
    /// The boundary of what belongs to `dir`: `allowed`, if that is around it (else `dir` itself, as in ko); without
    /// it the repository around `dir`, else the module, else its parent.
    ///
    /// # Errors
    /// A directory that can't be opened.
    pub fn around(dir: &Path, allowed: Option<&Path>) -> Result<Self> {
        let io = |path: &Path, e: &io::Error| Error::io("open the directory", path, e);
        let inner = std::fs::canonicalize(dir).map_err(|e| io(dir, &e))?;
        let outer = match allowed {
            Some(allowed) => {
                let allowed = std::fs::canonicalize(allowed).ok();
                allowed.filter(|a| inner.starts_with(a)).unwrap_or_else(|| inner.clone())
            }
            None => {
                let repository = inner.ancestors().find(|d| d.join(".git").exists()).map(Path::to_owned);
                let parent = || inner.parent().map(Path::to_owned);
                repository.or_else(|| super::nearest_module(&inner)).or_else(parent).unwrap_or(inner)
            }
        };
        let root = Root::open(&outer).map_err(|e| io(&outer, &e))?;
        Ok(Boundary { dir: outer, root, listed: BTreeMap::new() })
    }

    /// Lists the directory `root` with all that is below it, or the file `root`, which then has an empty name.
    /// `label` says in errors what it is for. `None` if there is nothing called `root`.
    ///
    /// # Errors
    /// A link that leaves the boundary, dangles or loops; something that is neither file nor directory; a name that
    /// isn't UTF-8.
    pub fn list(&mut self, root: &Path, label: &str) -> Result<Option<Listing>> {
        let what = format!("read {label}");
        match std::fs::symlink_metadata(root) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(what, root, &e)),
        }
        let mut walk = Walk { boundary: self, what, listing: Listing::default(), open: Vec::new() };
        let real = walk.follow(root, root)?;
        walk.add(Entry { shown: root.to_owned(), name: String::new(), real, found: None, links: 0 })?;
        Ok(Some(walk.listing))
    }

    /// Opens a file that was listed.
    ///
    /// # Errors
    /// Whatever the system says; a file that was not listed, or isn't any more what it was then.
    pub fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let below = path.strip_prefix(&self.dir).ok().filter(|below| self.listed.contains_key(*below));
        let Some((below, (listed, size))) = below.and_then(|b| Some((b, *self.listed.get(b)?))) else {
            return Err(io::Error::other("it was not listed"));
        };
        let file = self.root.file(below).map_err(replaced)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || identity(&metadata) != listed {
            return Err(io::Error::other("it was replaced since it was listed"));
        }
        if metadata.len() != size {
            let why = format!("it changed since it was listed: from {size} to {} bytes", metadata.len());
            return Err(io::Error::other(why));
        }
        Ok(Box::new(file))
    }

    /// What is at `real`, a path below the boundary without links.
    fn look(&self, real: &Path) -> io::Result<Found> {
        match (real.parent(), real.file_name()) {
            (Some(parent), Some(name)) => self.root.directory(parent)?.look(name),
            _ => self.root.directory(Path::new(""))?.itself(),
        }
    }
}

/// Where a link stands now that was none before, the system speaks of too many.
fn replaced(error: io::Error) -> io::Error {
    if is_loop(&error) {
        io::Error::other("a part of its path became a link since it was listed")
    } else {
        error
    }
}

#[cfg(unix)]
fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

#[cfg(not(unix))]
fn is_loop(_error: &io::Error) -> bool {
    false
}

/// A listing in the making.
struct Walk<'a> {
    boundary: &'a mut Boundary,
    what: String,
    listing: Listing,
    /// The directories that the walk is in, from the outermost: a deep tree needs no deep stack.
    open: Vec<Opened>,
}

/// A directory that the walk is in.
struct Opened {
    entry: Entry,
    identity: Identity,
    /// What is still to be added.
    rest: std::vec::IntoIter<(OsString, Found)>,
}

/// Something to add to a listing.
struct Entry {
    /// Its path as the user sees it.
    shown: PathBuf,
    /// Its name below what is listed.
    name: String,
    /// Where it is below the boundary; no part is a link.
    real: PathBuf,
    /// What it is, if that is known.
    found: Option<Found>,
    /// How many links led here.
    links: usize,
}

impl Walk<'_> {
    fn bad(&self, path: &Path, why: impl std::fmt::Display) -> Error {
        Error::new(Kind::Input, self.what.clone(), why).at(path.display())
    }

    fn io(&self, path: &Path, error: io::Error) -> Error {
        Error::io(self.what.clone(), path, &replaced(error))
    }

    /// Adds `entry` and all that is below it.
    fn add(&mut self, entry: Entry) -> Result<()> {
        self.one(entry)?;
        while let Some(directory) = self.open.last_mut() {
            let Some((name, found)) = directory.rest.next() else {
                self.open.pop();
                continue;
            };
            let parent = &directory.entry;
            let (links, shown, real) = (parent.links, parent.shown.join(&name), parent.real.join(&name));
            let Some(text) = name.to_str() else { return Err(self.bad(&shown, "the name isn't UTF-8")) };
            let name =
                if parent.name.is_empty() { text.to_owned() } else { format!("{}/{text}", parent.name) };
            if found.node != Node::Link {
                self.one(Entry { shown, name, real, found: Some(found), links })?;
                continue;
            }
            if links == MAX_LINKS {
                return Err(self.bad(&shown, format!("its name passes through more than {MAX_LINKS} links")));
            }
            let real = self.follow(&shown, &self.boundary.dir.join(&real))?;
            self.one(Entry { shown, name, real, found: None, links: links + 1 })?;
        }
        Ok(())
    }

    /// Adds `entry` alone; a directory is opened for what is in it.
    fn one(&mut self, entry: Entry) -> Result<()> {
        let found = match entry.found {
            Some(found) => found,
            None => self.boundary.look(&entry.real).map_err(|e| self.io(&entry.shown, e))?,
        };
        if self.listing.files.len() + self.listing.directories.len() == MAX_ENTRIES {
            return Err(self.bad(&entry.shown, format!("more than {MAX_ENTRIES} files and directories")));
        }
        match found.node {
            Node::File => self.file(entry, found),
            Node::Directory => self.directory(entry, found.identity),
            Node::Link => Err(self.bad(&entry.shown, "it became a link while it was listed")),
            Node::Special => Err(self.bad(&entry.shown, "not a regular file")),
        }
    }

    fn file(&mut self, entry: Entry, found: Found) -> Result<()> {
        let now = (found.identity, found.size);
        let path = self.boundary.dir.join(&entry.real);
        if *self.boundary.listed.entry(entry.real).or_insert(now) != now {
            return Err(self.bad(&entry.shown, "it changed while it was listed"));
        }
        let Found { size, executable, .. } = found;
        self.listing.files.push(ListedFile { name: entry.name, path, size, executable });
        Ok(())
    }

    fn directory(&mut self, entry: Entry, identity: Identity) -> Result<()> {
        if let Some(above) = self.open.iter().find(|o| o.identity == identity) {
            let above = above.entry.shown.display();
            return Err(self.bad(&entry.shown, format!("the link loops back to {above}")));
        }
        if !entry.name.is_empty() {
            self.listing.directories.push(entry.name.clone());
        }
        let look = || {
            let directory = self.boundary.root.directory(&entry.real)?;
            let names = directory.names()?.into_iter();
            names.map(|name| directory.look(&name).map(|found| (name, found))).collect::<io::Result<Vec<_>>>()
        };
        let rest = look().map_err(|e| self.io(&entry.shown, e))?.into_iter();
        self.open.push(Opened { entry, identity, rest });
        Ok(())
    }

    /// Where `path` is, with all links resolved, below the boundary.
    fn follow(&self, shown: &Path, path: &Path) -> Result<PathBuf> {
        let target = std::fs::read_link(path);
        match (std::fs::canonicalize(path), target) {
            (Ok(real), target) => match real.strip_prefix(&self.boundary.dir) {
                Ok(below) => Ok(below.to_owned()),
                Err(_) => {
                    let mut why = format!("it leads to {}", real.display());
                    if let Ok(target) = target {
                        why = format!("the link points to {}", target.display());
                        if target != real {
                            why = format!("{why}, which is {}", real.display());
                        }
                    }
                    let fence = self.boundary.dir.display();
                    let hint =
                        format!("links must stay below {fence}; KO_DATA_PATH_ALLOWED_ROOT widens that");
                    Err(self.bad(shown, why).hint(hint))
                }
            },
            (Err(e), Ok(target)) if e.kind() == io::ErrorKind::NotFound => {
                Err(self.bad(shown, format!("the link points to {}, which isn't there", target.display())))
            }
            (Err(e), Ok(target)) if is_loop(&e) => {
                Err(self.bad(shown, format!("the link points to {}: a loop of links", target.display())))
            }
            (Err(e), _) => Err(self.io(shown, e)),
        }
    }
}

#[cfg(test)]
mod tests;
