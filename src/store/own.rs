//! The run's private directory as the system sees it: made, marked as in use, and removed; also those that killed runs
//! left behind.
//!
//! A directory in use has a locked file in it. The system drops the lock when its process ends, however that
//! happens: whoever can take the lock knows that nobody uses the directory, and removes it. The lock's file goes last,
//! so that a removal which is cut short can be taken up again.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// How the names of these directories begin; nobody else's do.
const PREFIX: &str = "gimg-run-";
/// The locked file in each.
const LOCK: &str = ".in-use";
/// How often a directory is made that another run takes for left behind: between making and locking it may.
const TRIES: usize = 8;

/// A private directory in use.
#[derive(Debug)]
pub(super) struct Own {
    path: PathBuf,
    lock: Option<File>,
}

impl Own {
    /// Makes one in the system's temporary directory, readable by the user alone, and removes what killed runs left
    /// beside it.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn new() -> io::Result<Self> {
        let beside = std::env::temp_dir();
        let own = Self::within(&beside)?;
        sweep(&beside);
        Ok(own)
    }

    fn within(beside: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            let mut builder = tempfile::Builder::new();
            builder.prefix(PREFIX);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                builder.permissions(std::fs::Permissions::from_mode(MODE));
            }
            let path = builder.tempdir_in(beside)?.keep();
            match mark(&path) {
                Ok(Some(lock)) => return Ok(Own { path, lock: Some(lock) }),
                Ok(None) => {}
                Err(error) => {
                    let _ = std::fs::remove_dir(&path);
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("other processes remove it as soon as it is made"))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // After an interruption a last writer may still be creating a file: try again for a moment.
        for _ in 0..50 {
            match remove(&self.path, &mut self.lock) {
                Ok(()) => return,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
        }
    }
}

/// Who may do what with the directories.
#[cfg(unix)]
const MODE: u32 = 0o700;

/// Says that a directory is in use; none if it was taken for left behind meanwhile.
fn mark(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join(LOCK);
    let lock = match File::options().write(true).create_new(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        // Where files can't be locked nobody can take the lock either, and nothing is ever removed.
        Err(TryLockError::Error(_)) | Ok(()) => {}
    }
    // Another run can have locked, removed and unlocked it before.
    Ok(path.exists().then_some(lock))
}

/// Removes the directories beside ours that killed runs left. What can't be removed does no harm.
fn sweep(beside: &Path) {
    let Ok(entries) = std::fs::read_dir(beside) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            let _ = remove_if_left(&entry.path());
        }
    }
}

fn remove_if_left(dir: &Path) -> io::Result<()> {
    let found = std::fs::symlink_metadata(dir)?;
    if !found.is_dir() || !is_ours(&found) {
        return Ok(());
    }
    let path = dir.join(LOCK);
    match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() => {}
        // Its run was killed before there was anything in it; or it is about to be marked, and then another is made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return std::fs::remove_dir(dir),
        _ => return Ok(()),
    }
    let lock = File::options().write(true).open(&path)?;
    match lock.try_lock() {
        Ok(()) => remove(dir, &mut Some(lock)),
        Err(_) => Ok(()),
    }
}

#[cfg(unix)]
fn is_ours(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o7777 == MODE
}

#[cfg(not(unix))]
fn is_ours(_found: &std::fs::Metadata) -> bool {
    true
}

/// Removes a directory, the file of its lock last; links in it are removed, not followed.
fn remove(dir: &Path, lock: &mut Option<File>) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        gone(match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path()),
            false => std::fs::remove_file(entry.path()),
        })?;
    }
    // Some systems don't remove what is open. Elsewhere it is held until it has no name: whoever is making just this
    // directory could take it in between, and would believe that the directory is theirs.
    if cfg!(not(unix)) {
        *lock = None;
    }
    gone(std::fs::remove_file(dir.join(LOCK)))?;
    *lock = None;
    gone(std::fs::remove_dir(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// A directory as a killed run leaves it: the lock is gone with its process.
    fn left(beside: &Path) -> PathBuf {
        let mut own = Own::within(beside).unwrap();
        own.lock = None;
        let path = own.path.clone();
        std::mem::forget(own);
        std::fs::create_dir(path.join("d0")).unwrap();
        std::fs::write(path.join("d0/file"), "half").unwrap();
        path
    }

    #[test]
    fn what_killed_runs_left_goes_and_what_is_in_use_stays() {
        let beside = tempfile::tempdir().unwrap();
        let used = Own::within(beside.path()).unwrap();
        std::fs::write(used.path().join("file"), "").unwrap();
        left(beside.path());
        // Killed before it was marked, and in the middle of its removal.
        let bare = Own::within(beside.path()).unwrap();
        std::fs::remove_file(bare.path().join(LOCK)).unwrap();
        sweep(beside.path());
        assert_eq!(names(beside.path()), [used.path().file_name().unwrap().to_str().unwrap()]);
        assert!(used.path().join("file").exists());
        drop(used);
        assert!(names(beside.path()).is_empty());
    }

    #[test]
    fn what_only_looks_like_ours_stays() {
        let (beside, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(theirs.path().join("precious"), "").unwrap();
        // A full directory without the mark, a file, and other names.
        std::fs::create_dir_all(beside.path().join("gimg-run-theirs/precious")).unwrap();
        std::fs::write(beside.path().join("gimg-run-file"), "").unwrap();
        std::fs::create_dir(beside.path().join("gimg-other")).unwrap();
        let mut expected = vec!["gimg-other", "gimg-run-file", "gimg-run-theirs"];
        #[cfg(unix)]
        {
            use std::os::unix::fs::{PermissionsExt as _, symlink};
            // A link in place of a directory, and one in it: neither leads anywhere.
            symlink(theirs.path(), beside.path().join("gimg-run-link")).unwrap();
            symlink(theirs.path(), left(beside.path()).join("link")).unwrap();
            // Even with our mark, but for others to write.
            let open = left(beside.path());
            std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
            std::fs::rename(open, beside.path().join("gimg-run-open")).unwrap();
            expected.extend(["gimg-run-link", "gimg-run-open"]);
            expected.sort_unstable();
        }
        sweep(beside.path());
        assert_eq!(names(beside.path()), expected);
        assert!(theirs.path().join("precious").exists());
    }

    #[test]
    fn many_runs_that_start_and_sweep_at_once_keep_their_directories() {
        let beside = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let own = Own::within(beside.path()).unwrap();
                        sweep(beside.path());
                        std::fs::write(own.path().join("file"), "").unwrap();
                    }
                });
            }
        });
        assert!(names(beside.path()).is_empty());
    }
}
