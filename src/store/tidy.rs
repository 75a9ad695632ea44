//! Looking after the cache as a whole: how much is in it, what of it is wrong, and keeping it below its limit.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::error::{Error, Result};
use crate::oci::Digest;
use crate::store::blobs::{Checked, check};
use crate::store::dir::{Dir, discard_tree, of_file};
use crate::store::memo::{Found, read};
use crate::store::{Place, Shared, Store};

/// The lock of whoever prunes. No key has this name: theirs are digests.
const PRUNING: &str = "prune";

/// Some files of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// What [`Store::prune`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What was removed.
    pub removed: Amount,
    /// What stays.
    pub kept: Amount,
}

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// What is right.
    pub right: Amount,
    /// Names of what was wrong, each with why. It is removed.
    pub wrong: Vec<(String, String)>,
}

impl Store {
    /// Where the cache is; none if the user wants none.
    ///
    /// # Errors
    /// No variable that says where (kind `LocalIo`).
    pub fn dir(&self) -> Result<Option<&Path>> {
        self.0.dir()
    }

    /// How large it may become, in bytes.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.max
    }

    /// How much is in it.
    ///
    /// # Errors
    /// A cache that can't be read, or that others may write to (kind `LocalIo`).
    pub fn amount(&self) -> Result<Amount> {
        let mut amount = Amount::default();
        for dir in self.0.directories()? {
            entries(dir)?.iter().for_each(|entry| amount.add(entry.size));
        }
        Ok(amount)
    }

    /// Removes what was not used for the longest time until at most `max` bytes are left, and what killed processes left.
    /// Runs that read what is removed read it to its end; others fetch it again. Waits for another process that prunes.
    ///
    /// # Errors
    /// A cache that can't be read or written, or that others may write to (kind `LocalIo`).
    pub fn prune(&self, max: u64) -> Result<Pruned> {
        self.0.prune(max, true).map(Option::unwrap_or_default)
    }

    /// Reads everything, and removes what is wrong.
    ///
    /// # Errors
    /// A cache that can't be read or written, or that others may write to (kind `LocalIo`).
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        if let Some(memos) = self.0.memo(false)? {
            self.verify_memos(memos, &mut verified)?;
        }
        let Some(blobs) = self.0.blobs(false)? else { return Ok(verified) };
        for name in names(blobs)? {
            let text = name.to_string_lossy().into_owned();
            let digest = format!("sha256:{text}").parse::<Digest>();
            let (why, identity) = match digest {
                Err(_) => ("is not the name of a blob".to_owned(), None),
                Ok(digest) => {
                    match check(blobs, &name, &digest, |_| false).map_err(|e| io(blobs, &name, &e))? {
                        Checked::Absent => continue,
                        Checked::Right { entry, .. } => {
                            verified.right.add(entry.size);
                            continue;
                        }
                        Checked::Wrong(wrong) => (wrong.why, wrong.identity),
                    }
                }
            };
            if self.0.discard(blobs, &name, identity)? {
                verified.wrong.push((text, why));
            }
        }
        Ok(verified)
    }

    fn verify_memos(&self, memos: &Dir, verified: &mut Verified) -> Result<()> {
        for name in names(memos)? {
            let found = read(memos, &name).map_err(|e| io(memos, &name, &e))?;
            let (identity, why) = match found {
                Found::Absent => continue,
                Found::Whole { entry, .. } => {
                    verified.right.add(entry.size);
                    continue;
                }
                Found::Wrong(identity) => (identity, "is no whole memo"),
            };
            if self.0.discard(memos, &name, identity)? {
                verified.wrong.push((name.to_string_lossy().into_owned(), why.to_owned()));
            }
        }
        Ok(())
    }

    /// Ends a run: waits until what was fetched is stored, then prunes if something was. Never fails.
    pub async fn finish(&self) {
        loop {
            let tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            if tasks.is_empty() {
                break;
            }
            for task in tasks {
                // A thread that failed has said so.
                let _ = task.await;
            }
        }
        if self.0.wrote.swap(false, Ordering::Relaxed) {
            let shared = Arc::clone(&self.0);
            let tidy = move || {
                if let Err(error) = shared.prune(shared.max, false) {
                    shared.warn(&error);
                }
            };
            let _ = tokio::task::spawn_blocking(tidy).await;
        }
    }
}

impl Shared {
    pub(super) fn dir(&self) -> Result<Option<&Path>> {
        match &self.place {
            Place::Off => Ok(None),
            Place::At(dir) => Ok(Some(dir)),
            Place::Unknown => Err(super::unknown()),
        }
    }

    /// The directories of what is kept that are there.
    fn directories(&self) -> Result<Vec<&Dir>> {
        Ok([self.blobs(false)?, self.memo(false)?].into_iter().flatten().collect())
    }

    /// See [`Store::prune`]. If another process prunes, this one waits, or is content.
    fn prune(&self, max: u64, wait: bool) -> Result<Option<Pruned>> {
        let mut pruned = Pruned::default();
        let directories = self.directories()?;
        if directories.is_empty() {
            return Ok(Some(pruned));
        }
        let Some(locks) = self.locks()? else { return Ok(Some(pruned)) };
        let lock = locks.open_or_create(PRUNING.as_ref()).map_err(|e| io(locks, PRUNING.as_ref(), &e))?;
        // Where files can't be locked, several prune side by side: no harm.
        if wait {
            let _ = lock.lock();
        } else if matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)) {
            return Ok(None);
        }
        let mut all = Vec::new();
        for dir in directories {
            all.extend(entries(dir)?.into_iter().map(|entry| (dir, entry)));
        }
        all.iter().for_each(|(_, entry)| pruned.kept.add(entry.size));
        all.sort_by_key(|(_, entry)| entry.used);
        for (dir, entry) in &all {
            if pruned.kept.bytes <= max && (max > 0 || pruned.kept.files == 0) {
                break;
            }
            match dir.remove(&entry.name) {
                Ok(()) => pruned.removed.add(entry.size),
                // Somebody else removed it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) if self.discard(dir, &entry.name, None)? => pruned.removed.add(entry.size),
                Err(e) => return Err(io(dir, &entry.name, &e)),
            }
            pruned.kept.files -= 1;
            pruned.kept.bytes -= entry.size;
        }
        if let Some(tmp) = self.tmp()? {
            sweep(tmp, |_| true);
        }
        sweep(locks, |name| name != PRUNING);
        Ok(Some(pruned))
    }
}

/// Removes the files that nobody has locked: the rest of processes that were killed, and locks that nobody holds.
fn sweep(dir: &Dir, is_swept: impl Fn(&OsStr) -> bool) {
    for name in dir.names().unwrap_or_default() {
        if !is_swept(&name) {
            continue;
        }
        let Ok(entry) = dir.look(&name) else { continue };
        if entry.is_file {
            let Ok(file) = dir.open(&name) else { continue };
            // Only who has the lock takes the name away; a file without one says nothing about who has it now.
            if file.try_lock().is_err() || of_file(&file).map_or(true, |(_, names)| names == 0) {
                continue;
            }
            let _ = dir.remove(&name);
        } else {
            // Only what was wrong and set aside.
            let _ = discard_tree(dir, &name);
        }
    }
}

/// A file of what is kept.
struct Item {
    name: OsString,
    size: u64,
    used: i128,
}

/// Everything in one of the directories.
fn entries(blobs: &Dir) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for name in names(blobs)? {
        match blobs.look(&name) {
            Ok(entry) => items.push(Item { name, size: entry.size, used: entry.used }),
            // Removed by somebody else just now.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io(blobs, &name, &e)),
        }
    }
    Ok(items)
}

fn names(blobs: &Dir) -> Result<Vec<OsString>> {
    blobs.names().map_err(|e| Error::io("read the cache", blobs.path(), &e))
}

fn io(dir: &Dir, name: &OsStr, error: &io::Error) -> Error {
    Error::io("look after the cache", &dir.path().join(name), error)
}
