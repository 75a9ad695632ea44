//! Edge: what gimg keeps on disk for itself: the run's private directory ([`Scratch`]) and the cache ([`Store`]).
//!
//! The cache is content-addressed and shared by all runs of a user:
//!
//! ```text
//! v1/blobs/sha256/<hex>   content; the name is its digest, the time of modification is that of its last use
//! v1/memo/<hex>           what was made before, and from what; the name is the digest of the question
//! v1/tmp/<random>         being written, or being removed; locked by whoever does it
//! v1/lock/<hex>           locks between processes, one for each key
//! ```
//!
//! Files are written under `tmp`, checked, synced, renamed; they are checked again whenever they are read, and one
//! that is wrong is removed. So no lock is needed for correctness: any number of processes may write the same file,
//! and one that finds a file gone does what it would have done without a cache. That is also what happens after any
//! failure to read or write here: one warning, then the run goes on without.

mod blobs;
mod dir;
mod kept;
mod lock;
mod memo;
mod own;
mod scratch;
mod source;
#[cfg(test)]
mod tests;
mod tidy;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::task::JoinHandle;

pub use lock::Lock;
pub use scratch::Scratch;
pub use tidy::{Amount, Pruned, Verified};

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
    /// How many bytes there may be at the end of a run.
    max: u64,
    observer: Arc<dyn Observer>,
    root: OnceLock<Dir>,
    blobs: OnceLock<Dir>,
    memo: OnceLock<Dir>,
    tmp: OnceLock<Dir>,
    locks: OnceLock<Dir>,
    /// Whether the one warning was given.
    warned: AtomicBool,
    /// Nothing is written, or removed, any more: it failed once, or isn't wanted.
    unwritable: AtomicBool,
    /// Whether something was stored.
    wrote: AtomicBool,
    /// Files being written.
    writers: AtomicUsize,
    /// What the end of the run waits for.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// The cache in `dir`, which needn't be there, with at most `max` bytes at the end of a run; what goes wrong with it
    /// is told to `observer`.
    #[must_use]
    pub fn at(dir: PathBuf, max: u64, observer: Arc<dyn Observer>) -> Self {
        Self::new(Place::At(dir), max, observer)
    }

    /// No cache, as the user wishes.
    #[must_use]
    pub fn off(observer: Arc<dyn Observer>) -> Self {
        Self::new(Place::Off, 0, observer)
    }

    /// No cache, because no variable says where it would be.
    #[must_use]
    pub fn unknown(observer: Arc<dyn Observer>) -> Self {
        Self::new(Place::Unknown, 0, observer)
    }

    /// Notes a task that ends by itself, and that the end of the run waits for.
    pub fn will_end(&self, task: JoinHandle<()>) {
        self.0.will_end(task);
    }

    /// From now on this process only reads.
    pub fn freeze(&self) {
        self.0.unwritable.store(true, Ordering::Relaxed);
    }

    fn new(place: Place, max: u64, observer: Arc<dyn Observer>) -> Self {
        Store(Arc::new(Shared {
            place,
            max,
            observer,
            root: OnceLock::new(),
            blobs: OnceLock::new(),
            memo: OnceLock::new(),
            tmp: OnceLock::new(),
            locks: OnceLock::new(),
            warned: AtomicBool::new(false),
            unwritable: AtomicBool::new(false),
            wrote: AtomicBool::new(false),
            writers: AtomicUsize::new(0),
            tasks: Mutex::default(),
        }))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // After an interruption a last writer may still be removing its file: give it a moment.
        for _ in 0..50 {
            if self.0.writers.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Shared {
    /// The directory `v1`; none if there is no cache, or `make` is false and it isn't there.
    fn root(&self, make: bool) -> Result<Option<&Dir>> {
        let Some(place) = self.dir()? else { return Ok(None) };
        once(&self.root, &place.join(VERSION), || {
            let Some(outer) = Dir::root(place, make)? else { return Ok(None) };
            outer.sub(VERSION, make)
        })
    }

    /// The directory of blobs; none if there is no cache, or `make` is false and it isn't there.
    fn blobs(&self, make: bool) -> Result<Option<&Dir>> {
        let Some(root) = self.root(make)? else { return Ok(None) };
        once(&self.blobs, &root.path().join("blobs"), || match root.sub("blobs", make)? {
            Some(outer) => outer.sub("sha256", make),
            None => Ok(None),
        })
    }

    /// The directory of memos; none if there is no cache, or `make` is false and it isn't there.
    fn memo(&self, make: bool) -> Result<Option<&Dir>> {
        let Some(root) = self.root(make)? else { return Ok(None) };
        once(&self.memo, &root.path().join("memo"), || root.sub("memo", make))
    }

    /// The directory of what is being written; none if there is no cache.
    fn tmp(&self) -> Result<Option<&Dir>> {
        let Some(root) = self.root(true)? else { return Ok(None) };
        once(&self.tmp, &root.path().join("tmp"), || {
            hide(root)?;
            root.sub("tmp", true)
        })
    }

    /// The directory of locks; none if there is no cache.
    fn locks(&self) -> Result<Option<&Dir>> {
        let Some(root) = self.root(true)? else { return Ok(None) };
        once(&self.locks, &root.path().join("lock"), || {
            hide(root)?;
            root.sub("lock", true)
        })
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

/// There should be a cache, but nothing says where.
fn unknown() -> Error {
    let why = "neither GIMG_CACHE nor XDG_CACHE_HOME nor HOME says where it is";
    Error::new(Kind::LocalIo, "find the cache", why)
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

/// Hides the cache from git, before anything is written: in a working tree one untracked file would make the next build's
/// version stamp dirty.
fn hide(root: &Dir) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut file = root.open_or_create(".gitignore".as_ref())?;
    // An empty one is of a run that had no room for more.
    if dir::of_file(&file)?.0.size == 0 {
        file.write_all(b"*\n")?;
    }
    Ok(())
}
