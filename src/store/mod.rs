//! Edge: what gimg keeps on disk for itself: the run's private directory ([`Scratch`]) and the cache ([`Store`]).
//!
//! The cache is content-addressed and shared by all runs of a user:
//!
//! ```text
//! v1/blobs/sha256/<hex>   content; the name is its digest, the time of modification is that of its last use
//! v1/tmp/<random>         being written, or being removed; locked by whoever does it
//! v1/lock/<hex>           locks between processes, one for each key
//! ```
//!
//! Files are written under `tmp`, checked, synced, renamed; they are checked again whenever they are read, and one
//! that is wrong is removed. So no lock is needed for correctness: any number of processes may write the same file,
//! and one that finds a file gone does what it would have done without a cache. That is also what happens after any
//! failure to read or write here: one warning, then the run goes on without.

mod dir;
mod lock;
mod scratch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

pub use lock::Lock;
pub use scratch::Scratch;

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer};
use dir::Dir;

/// The cache of a user, or that there is none.
///
/// Nothing is touched before it is used for the first time. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

/// Where the cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The user wants none.
    Off,
    /// There should be one, but nothing says where.
    Unknown,
    /// In this directory.
    At(PathBuf),
}

/// What all users of a cache in this process share.
struct Shared {
    place: Place,
    observer: Arc<dyn Observer>,
    root: OnceLock<Dir>,
    locks: OnceLock<Dir>,
    /// Whether the one warning was given.
    warned: AtomicBool,
    /// Writing failed once; it isn't tried again.
    unwritable: AtomicBool,
}

impl Store {
    /// The cache in `dir`, which needn't be there; what goes wrong with it is told to `observer`.
    #[must_use]
    pub fn at(dir: PathBuf, observer: Arc<dyn Observer>) -> Self {
        Self::new(Place::At(dir), observer)
    }

    /// No cache, as the user wishes.
    #[must_use]
    pub fn off(observer: Arc<dyn Observer>) -> Self {
        Self::new(Place::Off, observer)
    }

    /// No cache, because no variable says where it would be.
    #[must_use]
    pub fn unknown(observer: Arc<dyn Observer>) -> Self {
        Self::new(Place::Unknown, observer)
    }

    fn new(place: Place, observer: Arc<dyn Observer>) -> Self {
        Store(Arc::new(Shared {
            place,
            observer,
            root: OnceLock::new(),
            locks: OnceLock::new(),
            warned: AtomicBool::new(false),
            unwritable: AtomicBool::new(false),
        }))
    }
}

impl Shared {
    /// The directory `v1`; none if there is no cache, or `make` is false and it isn't there.
    fn root(&self, make: bool) -> Result<Option<&Dir>> {
        let place = match &self.place {
            Place::Off => return Ok(None),
            Place::Unknown => {
                let why = "neither GIMG_CACHE nor XDG_CACHE_HOME nor HOME is set";
                return Err(Error::new(Kind::LocalIo, "find the cache", why));
            }
            Place::At(place) => place,
        };
        once(&self.root, &place.join(VERSION), || {
            let Some(outer) = Dir::root(place, make)? else { return Ok(None) };
            let Some(root) = outer.sub(VERSION, make)? else { return Ok(None) };
            if make {
                hide(&root)?;
            }
            Ok(Some(root))
        })
    }

    /// The directory of locks.
    fn locks(&self) -> Result<Option<&Dir>> {
        let Some(root) = self.root(true)? else { return Ok(None) };
        once(&self.locks, &root.path().join("lock"), || root.sub("lock", true))
    }

    /// Says once that the run goes on without the cache, and why.
    fn warn(&self, error: &Error) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            self.observer.on(Event::Warning(format!(
                "going on without the cache: {error} (GIMG_CACHE names another directory)"
            )));
        }
    }

    /// Notes that writing failed: it isn't tried again.
    fn unwritable(&self, error: &Error) {
        self.unwritable.store(true, Ordering::Relaxed);
        self.warn(error);
    }
}

/// The version of the layout.
const VERSION: &str = "v1";

/// The directory in `cell`, opened at most once.
fn once<'a>(
    cell: &'a OnceLock<Dir>,
    path: &Path,
    open: impl FnOnce() -> std::io::Result<Option<Dir>>,
) -> Result<Option<&'a Dir>> {
    if let Some(dir) = cell.get() {
        return Ok(Some(dir));
    }
    let opened = open().map_err(|e| Error::io("open the cache", path, &e))?;
    Ok(opened.map(|dir| cell.get_or_init(|| dir)))
}

/// Hides the cache from git: in a working tree one untracked file would make the next build's version stamp dirty.
fn hide(root: &Dir) -> std::io::Result<()> {
    use std::io::Write as _;
    match root.create(".gitignore".as_ref()) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}
