//! What was made before from just these inputs: asked before work, told after it.
//!
//! A memo holds what something was made from ([`Snapshot`]) beside what came out. It counts only if a look at all of it
//! finds nothing changed; whatever is in doubt is made again. A memo is never needed: without it, or without a cache,
//! everything is made, and is the same.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer};
use crate::fs::{Ask, Check, Doubt, Looker, Moment, Paths, Snapshot};
use crate::git;
use crate::go::Go;
use crate::oci::{Descriptor, Digest};
use crate::ops::{Context, blocking};
use crate::settings::Reuse;
use crate::store::{Scratch, Store};

/// The memos of a run.
#[derive(Clone)]
pub(super) struct Memo {
    store: Store,
    observer: Arc<dyn Observer>,
    reuse: Reuse,
    /// Whether anything is recalled; what is made is remembered all the same.
    recalls: bool,
    /// What was seen before anything was made.
    before: Arc<Looker>,
    /// Which gimg this is: another one may make other bytes.
    maker: String,
    /// Files of layers that were used without a look at their bytes.
    lent: Arc<Mutex<Vec<Lent>>>,
}

/// A file of a layer, and what it should be.
type Lent = (Arc<Path>, Descriptor);

/// What is kept under a key.
#[derive(Serialize, Deserialize)]
struct Record<T> {
    from: From,
    /// Git's state, where it was stamped into what was made.
    git: Option<Stamped>,
    /// None where it isn't known what it was made from.
    value: Option<T>,
}

#[derive(Serialize, Deserialize)]
enum From {
    Snapshot(Snapshot),
    /// Where to look before the next time, so that more is known then.
    Paths(Paths),
}

/// What git said of the repository around a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamped {
    pub(super) dir: PathBuf,
    pub(super) state: String,
}

/// What a memo says.
pub(super) enum Recalled<T> {
    /// What was made, which is what would be made now, and from what.
    Same(T, Box<Source>),
    /// Something else would be made now, but of the same paths.
    Paths(Paths),
    /// Nothing.
    Nothing,
}

/// What something was made from.
pub(super) struct Source {
    pub(super) snapshot: Snapshot,
    /// Git's state, where it was stamped.
    pub(super) git: Option<Stamped>,
}

impl<T> Recalled<T> {
    /// What was made, if it would be the same now.
    pub(super) fn same(self) -> Option<T> {
        match self {
            Recalled::Same(value, _) => Some(value),
            Recalled::Paths(_) | Recalled::Nothing => None,
        }
    }
}

/// Something that is about to be made, and from what.
pub(super) struct Made {
    pub(super) key: Digest,
    pub(super) what: String,
    pub(super) begun: Moment,
    pub(super) paths: Paths,
    pub(super) git: Option<Stamped>,
}

impl Memo {
    pub(super) fn new(cx: &Context, reuse: Reuse) -> Self {
        Memo {
            store: cx.store.clone(),
            observer: Arc::clone(&cx.observer),
            reuse,
            recalls: true,
            before: Arc::new(Looker::new()),
            maker: maker(),
            lent: Arc::default(),
        }
    }

    /// The memos of a run that makes everything, for the runs after it.
    pub(super) fn afresh(cx: &Context, reuse: Reuse) -> Self {
        Memo { recalls: false, ..Self::new(cx, reuse) }
    }

    /// Whether anything is recalled.
    pub(super) fn recalls(&self) -> bool {
        self.recalls
    }

    /// The key of a question; `of` holds all of it that isn't in files. None if the user wants no memos, or some of
    /// it is no text.
    pub(super) fn key(&self, what: &str, of: &impl Serialize) -> Option<Digest> {
        if self.reuse == Reuse::Never {
            return None;
        }
        let question = serde_json::to_vec(&(&self.maker, what, of)).ok()?;
        Some(Digest::of(&question))
    }

    /// Looks at `paths` now, so that what becomes of them is known later.
    pub(super) async fn look(&self, paths: Paths) {
        if self.reuse == Reuse::Never {
            return;
        }
        let before = Arc::clone(&self.before);
        let looking = move || {
            paths.see(&before);
            Ok(())
        };
        // Whoever can't look knows less later, that is all.
        let _ = blocking(looking).await;
    }

    /// What was made under `key`, if nothing that it was made from changed.
    pub(super) async fn recall<T>(&self, key: Option<Digest>, what: &str) -> Recalled<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        let Some(key) = key.filter(|_| self.recalls) else { return Recalled::Nothing };
        let (store, before) = (self.store.clone(), Arc::clone(&self.before));
        let (observer, what) = (Arc::clone(&self.observer), what.to_owned());
        let looked = blocking(move || Ok(look(&store, &before, &key, &*observer, &what)));
        let (record, same) = match looked.await {
            Ok(Some(found)) => found,
            _ => return Recalled::Nothing,
        };
        let Record::<T> { from, git, value } = record;
        let git_is_same = match &git {
            Some(stamped) => git::fingerprint(&stamped.dir).await.as_ref() == Some(&stamped.state),
            None => true,
        };
        match (value.filter(|_| same && git_is_same), from) {
            (Some(value), From::Snapshot(snapshot)) => {
                Recalled::Same(value, Box::new(Source { snapshot, git }))
            }
            (None, From::Snapshot(snapshot)) => Recalled::Paths(snapshot.paths()),
            (_, From::Paths(_)) => Recalled::Nothing,
        }
    }

    /// Whether everything is as a snapshot says; where not, `what` was made from something else.
    pub(super) async fn holds(&self, snapshot: Snapshot, what: &str) -> Result<bool> {
        let before = Arc::clone(&self.before);
        match blocking(move || Ok(snapshot.check(&before))).await? {
            Check::Same(_) => Ok(true),
            Check::Changed { path, .. } => {
                self.observer.on(Event::Detail(format!("{what}: {} is another", path.display())));
                Ok(false)
            }
        }
    }

    /// What is at `paths`, if it surely was there when something was made from it, which began at `begun`.
    pub(super) async fn take(&self, paths: Paths, begun: Moment) -> Result<Result<Snapshot, Doubt>> {
        let before = Arc::clone(&self.before);
        blocking(move || Ok(Snapshot::take(&paths, begun, &before))).await
    }

    /// Whether what is recalled is to be made again all the same, and compared.
    pub(super) fn audits(&self) -> bool {
        self.reuse == Reuse::Audit
    }

    /// Compares what a memo says with what was made, if both are there.
    ///
    /// # Errors
    /// They differ (kind `Integrity`).
    pub(super) fn audit<T: PartialEq>(&self, what: &str, recalled: Option<&T>, made: &T) -> Result<()> {
        match recalled {
            Some(recalled) if recalled != made => {
                let why = "a memo of the cache says something else than what was made now";
                Err(Error::new(Kind::Integrity, format!("verify the cache of {what}"), why)
                    .hint("report this as a defect; --no-cache builds without memos"))
            }
            Some(_) => {
                self.observer.on(Event::Detail(format!("the cache of {what} is right")));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Remembers what was made, in the background: the end of the run waits for it.
    pub(super) fn remember<T: Serialize + Send + 'static>(&self, made: Made, value: T) {
        let (store, before) = (self.store.clone(), Arc::clone(&self.before));
        let observer = Arc::clone(&self.observer);
        let work = move || {
            let Made { key, what, begun, paths, git } = made;
            let (from, value) = match Snapshot::take(&paths, begun, &before) {
                Ok(snapshot) => (From::Snapshot(snapshot), Some(value)),
                Err(doubt) => {
                    let (path, why) = (doubt.path.display(), doubt.why);
                    observer.on(Event::Detail(format!("{what} is not remembered: {path}: {why}")));
                    (From::Paths(paths), None)
                }
            };
            if let Ok(record) = serde_json::to_vec(&Record { from, git, value }) {
                store.remember(&key, &record);
            }
        };
        self.store.will_end(tokio::task::spawn_blocking(work));
    }

    /// A file in the run's private directory with the bytes of `descriptor`, if the cache has them. Unless they are to be
    /// checked at once, whoever reads them must check them, and [`Memo::misled`] tells after a failure.
    pub(super) async fn lend(
        &self,
        scratch: &Scratch,
        descriptor: Descriptor,
        check: bool,
    ) -> Result<Option<Arc<Path>>> {
        let file: Arc<Path> = Arc::from(scratch.vacant());
        let (store, to, layer) = (self.store.clone(), Arc::clone(&file), descriptor.clone());
        if !blocking(move || store.lend(&layer, &to, check)).await? {
            return Ok(None);
        }
        self.lent.lock().unwrap_or_else(PoisonError::into_inner).push((Arc::clone(&file), descriptor));
        Ok(Some(file))
    }

    /// Whether some file that was lent is not what it should be. The cache then forgets it.
    pub(super) async fn misled(&self) -> bool {
        let lent = std::mem::take(&mut *self.lent.lock().unwrap_or_else(PoisonError::into_inner));
        let store = self.store.clone();
        let wrong = blocking(move || Ok(lent.iter().filter(|(f, d)| !store.is_right(f, d)).count()));
        wrong.await.is_ok_and(|count| count > 0)
    }

    /// Keeps a layer for later runs, in the background.
    pub(super) fn keep(&self, file: &Arc<Path>, descriptor: &Descriptor) {
        let (store, file, descriptor) = (self.store.clone(), Arc::clone(file), descriptor.clone());
        self.store.will_end(tokio::task::spawn_blocking(move || store.keep_file(&file, &descriptor)));
    }
}

/// The record under `key`, if what it says is still so (true), or at least of the same paths. Otherwise what it names was
/// looked at.
fn look<T: Serialize + DeserializeOwned>(
    store: &Store,
    before: &Looker,
    key: &Digest,
    observer: &dyn Observer,
    what: &str,
) -> Option<(Record<T>, bool)> {
    let bytes = store.recall(key)?;
    let mut record: Record<T> = serde_json::from_slice(&bytes).ok()?;
    match &record.from {
        From::Paths(paths) => {
            paths.see(before);
            None
        }
        From::Snapshot(snapshot) => match snapshot.check(before) {
            Check::Changed { path, same_paths } => {
                observer.on(Event::Detail(format!("{what}: {} changed", path.display())));
                same_paths.then_some((record, false))
            }
            Check::Same(None) => Some((record, true)),
            Check::Same(Some(fresh)) => {
                record.from = From::Snapshot(fresh);
                if let Ok(bytes) = serde_json::to_vec(&record) {
                    store.remember(key, &bytes);
                }
                Some((record, true))
            }
        },
    }
}

/// Names this program: its version, and the file that it is.
fn maker() -> String {
    let file = crate::fs::own_program().unwrap_or_default();
    format!("gimg {} {file}", env!("CARGO_PKG_VERSION"))
}

/// All of a toolchain that isn't in files. GOGCCFLAGS names a new directory every time, and is for C.
pub(super) fn known_toolchain(go: &Go) -> impl Serialize {
    let mut env = go.toolchain.env.clone();
    env.remove("GOGCCFLAGS");
    (go.program().to_owned(), go.toolchain.version.clone(), go.toolchain.settings.clone(), env)
}

/// The repository around a directory, as Go looks for it (cmd/go, "vcs.FromDir").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Repository {
    /// Where one would begin, if something were there.
    pub(super) paths: Paths,
    /// Where git's begins; none if there is none.
    pub(super) root: Option<PathBuf>,
}

/// The repository around `dir`. None if it is another system's than git.
pub(super) fn repository(dir: &Path) -> Option<Repository> {
    const OTHERS: &[&str] = &[".hg", ".svn", ".bzr", ".fslckout", "_FOSSIL_"];
    let mut found = Repository::default();
    for above in dir.ancestors() {
        for name in OTHERS {
            let path = above.join(name);
            if crate::fs::exists(&path) {
                return None;
            }
            found.paths.add(path, Ask::Bytes);
        }
        let git = above.join(".git");
        if crate::fs::exists(&git) {
            found.root = Some(above.to_owned());
            return Some(found);
        }
        found.paths.add(git, Ask::Bytes);
    }
    Some(found)
}
