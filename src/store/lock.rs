//! Locks between the processes of a user, one for each key. The system drops them when a process ends, however it ends.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::content::{BoxFuture, Locks};
use crate::error::{Error, Kind, Result};
use crate::oci::Digest;
use crate::store::dir::{Dir, of_file};
use crate::store::{Shared, Store};

/// How long somebody else's work under a lock may take before we go on without it: a process can be stopped while it
/// holds one.
const PATIENCE: Duration = Duration::from_secs(300);

/// Nobody else has the lock of this key until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Store {
    /// Waits until nobody else, in this process or another that has the same cache, holds the lock of `key` (any text),
    /// and takes it. None, at once, where there is no cache or it can't be written: then nothing keeps others away, and
    /// the caller goes on without. The same after five minutes of waiting. Waiters get it in no particular order. It can
    /// be cancelled.
    pub async fn lock(&self, key: &str) -> Option<Lock> {
        self.lock_within(key, PATIENCE).await
    }

    async fn lock_within(&self, key: &str, patience: Duration) -> Option<Lock> {
        if self.0.unwritable.load(Ordering::Relaxed) {
            return None;
        }
        let name = Digest::of(key.as_bytes()).hex();
        match wait(&self.0, &name, patience).await {
            Ok(Some(file)) => Some(Lock { _file: file }),
            Ok(None) => None,
            Err(error) => {
                self.0.unwritable(&error);
                None
            }
        }
    }
}

impl Locks for Store {
    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<Box<dyn Send>>> {
        Box::pin(async move { self.lock(key).await.map(|lock| Box::new(lock) as Box<dyn Send>) })
    }
}

async fn wait(shared: &Arc<Shared>, name: &str, patience: Duration) -> Result<Option<File>> {
    let begin = Instant::now();
    let mut pause = Duration::from_millis(2);
    loop {
        // A blocking wait could neither be cancelled nor given up.
        let (shared, name) = (Arc::clone(shared), name.to_owned());
        let step = move || {
            let Some(locks) = shared.locks()? else { return Ok(Step::NoCache) };
            take(locks, name.as_ref()).map_err(|e| Error::io("lock", &locks.path().join(&name), &e))
        };
        let step = tokio::task::spawn_blocking(step).await;
        match step.map_err(|e| Error::new(Kind::Internal, "lock", e))?? {
            Step::Taken(file) => return Ok(Some(file)),
            Step::NoCache => return Ok(None),
            Step::Busy if begin.elapsed() >= patience => return Ok(None),
            Step::Busy => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

enum Step {
    Taken(File),
    Busy,
    NoCache,
}

/// Takes the lock `name` if it is free.
fn take(locks: &Dir, name: &OsStr) -> io::Result<Step> {
    loop {
        let file = locks.open_or_create(name)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Step::Busy),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // Locks that nobody holds are removed with what is old: one without a name keeps nobody away.
        if of_file(&file)?.1 > 0 {
            return Ok(Step::Taken(file));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests")]

    use std::path::{Path, PathBuf};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::event::{Event, Observer};

    #[derive(Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl Observer for Warnings {
        fn on(&self, event: Event) {
            if let Event::Warning(text) = event {
                self.0.lock().unwrap().push(text);
            }
        }
    }

    fn store(dir: &Path) -> (Store, Arc<Warnings>) {
        let warnings = Arc::<Warnings>::default();
        (Store::at(dir.to_owned(), u64::MAX, Arc::clone(&warnings) as _), warnings)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_holder_a_key_and_each_key_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, entered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..40).map(|_| {
            // A store of its own, as another process has.
            let (store, inside, entered) = (store(dir.path()).0, Arc::clone(&inside), Arc::clone(&entered));
            tokio::spawn(async move {
                let lock = store.lock("a").await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                tokio::time::sleep(Duration::from_millis(1)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(lock);
                entered.fetch_add(1, Ordering::SeqCst);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(entered.load(Ordering::SeqCst), 40);
        let (store, warnings) = store(dir.path());
        let (_a, _b) = (store.lock("a").await.unwrap(), store.lock("b").await.unwrap());
        assert!(warnings.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_does_not_get_it_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let ((one, _), (other, warnings)) = (store(dir.path()), store(dir.path()));
        let held = one.lock("a").await.unwrap();
        assert!(other.lock_within("a", Duration::from_millis(30)).await.is_none());
        drop(held);
        assert!(other.lock("a").await.is_some());
        assert!(warnings.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_lock_that_is_removed_meanwhile_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = store(dir.path());
        let file = dir.path().join("v1/lock").join(Digest::of(b"a").hex());
        let held = store.lock("a").await.unwrap();
        // As pruning does it: it has the lock, then the name goes; who waited has a file without a name.
        let waiting = File::open(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        drop(held);
        waiting.lock().unwrap();
        assert_eq!(of_file(&waiting).unwrap().1, 0);
        let again = store.lock("a").await.unwrap();
        assert!(file.exists());
        drop(again);
    }

    #[tokio::test]
    async fn without_a_cache_there_is_no_lock_and_at_most_one_warning() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for place in [file.clone(), file.join("below"), PathBuf::from("/proc/none")] {
            let (store, warnings) = store(&place);
            assert!(store.lock("a").await.is_none());
            assert!(store.lock("b").await.is_none());
            let warnings = warnings.0.lock().unwrap();
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].starts_with("going on without the cache: open the cache: "), "{warnings:?}");
        }
        let warnings = Arc::<Warnings>::default();
        assert!(Store::off(Arc::clone(&warnings) as _).lock("a").await.is_none());
        assert!(warnings.0.lock().unwrap().is_empty());
        assert!(Store::unknown(Arc::clone(&warnings) as _).lock("a").await.is_none());
        assert_eq!(warnings.0.lock().unwrap().len(), 1);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_others_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        for (sub, mode) in [("", 0o777), ("", 0o770), ("v1", 0o702), ("v1/lock", 0o722)] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("cache");
            std::fs::create_dir_all(root.join(sub)).unwrap();
            for made in ["", "v1", "v1/lock"].iter().filter(|made| sub.starts_with(**made)) {
                let mode = if *made == sub { mode } else { 0o700 };
                std::fs::set_permissions(root.join(made), std::fs::Permissions::from_mode(mode)).unwrap();
            }
            let (store, warnings) = store(&root);
            assert!(store.lock("a").await.is_none(), "{sub} {mode:o}");
            let warnings = warnings.0.lock().unwrap();
            assert!(warnings[0].contains("others may write to the directory"), "{warnings:?}");
        }
        let planted = tempfile::tempdir().unwrap();
        std::fs::create_dir(planted.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", planted.path().join("v1")).unwrap();
        std::fs::set_permissions(planted.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(store(planted.path()).0.lock("a").await.is_none(), "a link inside");
        assert!(std::fs::read_dir(planted.path().join("elsewhere")).unwrap().next().is_none());
    }
}
