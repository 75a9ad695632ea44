//! The layers of programs that earlier runs made: asked for before anything is compiled, and told what they were made
//! from when something was.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::content::Content;
use crate::error::Result;
use crate::fs::{Moment, Paths};
use crate::git;
use crate::go::{self, Binary, Closure, Go};
use crate::image::Written;
use crate::oci::Digest;
use crate::ops::memo::{Made, Memo, Recalled, Repository, Stamped, known_toolchain, repository};
use crate::ops::publish::{Programs, Publisher};
use crate::ops::shared::Shared;
use crate::plan::{CompileGroup, Compiled, Plan};

/// What Go stamped into a program of git's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stamp {
    None,
    Clean,
    Dirty,
}

impl Stamp {
    pub(super) fn of(binary: &Binary) -> Self {
        let Some(info) = &binary.header.build_info else { return Stamp::None };
        match (info.setting("vcs"), info.setting("vcs.modified")) {
            (Some("git"), Some("true")) => Stamp::Dirty,
            (Some("git"), _) => Stamp::Clean,
            _ => Stamp::None,
        }
    }
}

/// An image and one of its platforms, by number.
pub(super) type Place = (usize, usize);

/// The place of a program.
pub(super) fn place(compiled: &Compiled) -> Place {
    (compiled.image, compiled.platform)
}

/// What is remembered of the programs of a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) layer: Written,
    pub(super) programs: Programs,
    pub(super) stamps: Vec<Stamp>,
}

/// What the layer of a [`Place`] is remembered by.
struct Asked {
    /// None where it can't be.
    key: Option<Digest>,
    /// The program and platform, for people.
    what: String,
}

/// What is known of a [`Place`] that is being made.
#[derive(Default)]
struct Open {
    /// When the first of its compiles began.
    begun: Option<Moment>,
    /// What each program is made from.
    sources: BTreeMap<usize, Sources>,
    /// What came out.
    made: Option<Remembered>,
}

/// What a program is made from.
#[derive(Default)]
struct Sources {
    paths: Paths,
    /// Git's state before the compile, if it could be stamped.
    git: Option<Stamped>,
}

/// What was around before a compile.
pub(super) struct Before {
    begun: Moment,
    around: Paths,
    repository: Repository,
    /// Git's state, if it can be stamped.
    git: Option<Stamped>,
    /// What the programs are made of, if that was asked already.
    closure: Option<Closure>,
}

/// The layers of a run's programs.
pub(super) struct Layers<'a> {
    go: &'a Go,
    plan: &'a Plan,
    publisher: &'a Publisher<'a>,
    memo: &'a Memo,
    /// What other machines made, if they are asked.
    shared: Option<&'a Shared<'a>>,
    asked: BTreeMap<Place, Asked>,
    /// What is known of what is made, until it is complete and remembered.
    open: Mutex<BTreeMap<Place, Open>>,
    /// What memos say of what is made all the same, to compare.
    expected: Mutex<BTreeMap<Place, Vec<Remembered>>>,
    /// What places are made from that are made again, where that is as it was but for what sources do.
    same_paths: Mutex<BTreeMap<Place, Paths>>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        go: &'a Go,
        plan: &'a Plan,
        publisher: &'a Publisher<'a>,
        memo: &'a Memo,
        shared: Option<&'a Shared<'a>>,
    ) -> Self {
        let (open, expected, same_paths) = (Mutex::default(), Mutex::default(), Mutex::default());
        let asked = BTreeMap::new();
        let mut layers = Layers { go, plan, publisher, memo, shared, asked, open, expected, same_paths };
        let images = plan.images.iter().enumerate();
        let places = images.flat_map(|(i, image)| (0..image.platforms.len()).map(move |number| (i, number)));
        layers.asked = places.map(|place| (place, layers.question(place))).collect();
        layers
    }

    /// The images and platforms of the plan.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.asked.keys().copied()
    }

    /// The question of a place: what decides its layer and isn't in files.
    fn question(&self, place: Place) -> Asked {
        let image = &self.plan.images[place.0];
        let platform = &image.platforms[place.1];
        let of_place = self.plan.groups.iter().flat_map(|g| g.packages.iter().map(move |p| (g, p)));
        let mut of_place: Vec<_> = of_place.filter(|(_, p)| self::place(p) == place).collect();
        of_place.sort_by_key(|(_, p)| p.program);
        let compiles = of_place
            .iter()
            .map(|(group, p)| (&group.dir, &group.target.environment, &group.flags, &p.import_path));
        let files: Vec<String> = image.programs.iter().map(|p| p.file(&platform.os)).collect();
        let key = match of_place.iter().all(|(group, _)| go::can_judge(&self.go.toolchain.settings, group)) {
            true => self.memo.key(
                "the layer of programs",
                &(
                    known_toolchain(self.go),
                    go::environment(self.publisher.cx.env.all()),
                    compiles.collect::<Vec<_>>(),
                    (files, &image.programs_dir, image.capabilities.map(|c| c.to_vec()), &platform.os),
                    (self.publisher.settings.compression.encoder_id(), self.publisher.settings.hermetic),
                ),
            ),
            false => None,
        };
        Asked { key, what: format!("{} for {platform}", image.name.program) }
    }

    /// The layer of a place and where it is, if it was made before from the same; one that is to be compared is noted.
    pub(super) async fn recall(&self, place: Place) -> Result<Option<(Remembered, Content)>> {
        if let Some((known, file)) = self.recall_here(place).await? {
            return Ok(Some((known, Content::File(file))));
        }
        let Some(shared) = self.shared else { return Ok(None) };
        let Some((known, repository)) = shared.recall(place).await else { return Ok(None) };
        if self.memo.audits() {
            lock(&self.expected).entry(place).or_default().push(known);
            return Ok(None);
        }
        Ok(Some((known, Content::Remote(repository))))
    }

    /// The same, if it was made on this machine.
    async fn recall_here(&self, place: Place) -> Result<Option<(Remembered, Arc<Path>)>> {
        let Some(Asked { key, what }) = self.asked.get(&place) else { return Ok(None) };
        let known = match self.memo.recall::<Remembered>(*key, what).await {
            Recalled::Same(known, source) => {
                if let Some(shared) = self.shared {
                    shared.known(place, &source, &known);
                }
                known
            }
            Recalled::Paths(paths) => {
                lock(&self.same_paths).insert(place, paths);
                return Ok(None);
            }
            Recalled::Nothing => return Ok(None),
        };
        if self.memo.audits() {
            lock(&self.expected).entry(place).or_default().push(known);
            return Ok(None);
        }
        let check = self.publisher.has_trusting_destination();
        let lent = self.memo.lend(&self.publisher.cx.scratch, known.layer.descriptor(), check).await?;
        Ok(lent.map(|file| (known, file)))
    }

    /// Takes note of what was made for a place.
    ///
    /// # Errors
    /// A memo that is to be compared says something else (kind `Integrity`).
    pub(super) async fn made(&self, place: Place, made: Remembered, file: &Arc<Path>) -> Result<()> {
        let Some(Asked { key, what }) = self.asked.get(&place) else { return Ok(()) };
        for expected in lock(&self.expected).remove(&place).unwrap_or_default() {
            self.memo.audit(what, Some(&expected), &made)?;
        }
        if key.is_some() {
            self.memo.keep(file, &made.layer.descriptor());
            lock(&self.open).entry(place).or_default().made = Some(made);
            self.remember_if_complete(place).await;
        }
        Ok(())
    }

    /// Looks around before `programs` of a group are compiled. None where it can't be told what they are made from, or
    /// nobody wants to know.
    pub(super) async fn before(&self, group: &CompileGroup, programs: &[String]) -> Option<Before> {
        let wanted = |p: &Compiled| self.asked.get(&place(p)).is_some_and(|asked| asked.key.is_some());
        if !group.packages.iter().any(wanted) {
            return None;
        }
        let begun = Moment::now();
        let repository = match go::may_stamp(self.go, group) {
            true => repository(&group.dir)?,
            false => Repository::default(),
        };
        // Directories change whenever something is written into them: only now is it clear what is absent.
        let env = self.publisher.cx.env.all();
        let mut around = go::around(self.go, &group.dir);
        around.merge(repository.paths.clone());
        around.merge(go::licences(self.go, &group.dir));
        self.memo.look(around.clone()).await;
        self.memo.look(go::above(&group.dir, env)).await;
        let git = match &repository.root {
            Some(_) => Some(Stamped { dir: group.dir.clone(), state: git::fingerprint(&group.dir).await? }),
            None => None,
        };
        around.merge(go::of_toolchain(self.go, &group.dir, env)?);
        let mut before = Before { begun, around, repository, git, closure: None };
        if let Some(shared) = self.shared {
            // A fresh machine's files were all written a moment ago: only who looked before the compile knows that they
            // are what it read.
            before.closure = self.closure(group, programs).await.ok()?;
            for compiled in &group.packages {
                let paths = self.paths(before.closure.as_ref(), group, compiled, &before);
                let portable = paths.and_then(|paths| shared.paths(place(compiled), &paths));
                self.memo.look(portable.unwrap_or_default()).await;
            }
        }
        Some(before)
    }

    /// What `programs` of a group are made of, unless all their paths are known.
    async fn closure(&self, group: &CompileGroup, programs: &[String]) -> Result<Option<Closure>> {
        if group.packages.iter().all(|p| lock(&self.same_paths).contains_key(&place(p))) {
            return Ok(None);
        }
        go::closure(self.go, group, programs).await.map(Some)
    }

    /// Finds out what the programs of a group are made from, while they are compiled.
    pub(super) async fn sources(&self, group: &CompileGroup, packages: &[String], mut before: Before) {
        let closure = match before.closure.take() {
            Some(closure) => Some(closure),
            None => match self.closure(group, packages).await {
                Ok(closure) => closure,
                // That is for `go build` to say.
                Err(_) => return,
            },
        };
        for compiled in &group.packages {
            let Some(paths) = self.paths(closure.as_ref(), group, compiled, &before) else { continue };
            {
                let mut open = lock(&self.open);
                let entry = open.entry(place(compiled)).or_default();
                entry.begun = Some(entry.begun.map_or(before.begun, |other| other.min(before.begun)));
                entry.sources.insert(compiled.program, Sources { paths, git: before.git.clone() });
            }
            self.remember_if_complete(place(compiled)).await;
        }
    }

    /// What decides the bytes of a program: known from before, or what `closure` says. None where that isn't known.
    fn paths(
        &self,
        closure: Option<&Closure>,
        group: &CompileGroup,
        compiled: &Compiled,
        before: &Before,
    ) -> Option<Paths> {
        if let Some(paths) = lock(&self.same_paths).get(&place(compiled)) {
            return Some(paths.clone());
        }
        let closure = closure?;
        let mut paths = closure.inputs(&compiled.import_path)?;
        if go::may_stamp(self.go, group) {
            // Go looks from the package's directory.
            let own = repository(closure.dir(&compiled.import_path)?)?;
            if own.root != before.repository.root {
                return None;
            }
            paths.merge(own.paths);
        }
        paths.merge(before.around.clone());
        Some(paths)
    }

    /// Remembers a place once it is known what was made, and from what.
    async fn remember_if_complete(&self, place: Place) {
        let count = self.plan.images[place.0].programs.len();
        let complete = {
            let mut open = lock(&self.open);
            let is_complete = |o: &Open| o.made.is_some() && o.sources.len() == count;
            match open.get(&place).is_some_and(is_complete) {
                true => open.remove(&place),
                false => None,
            }
        };
        let (
            Some(Open { begun: Some(begun), sources, made: Some(made) }),
            Some(Asked { key: Some(key), what, .. }),
        ) = (complete, self.asked.get(&place))
        else {
            return;
        };
        let mut git = None;
        let mut paths = Paths::new();
        for (source, stamp) in sources.into_values().zip(&made.stamps) {
            // Where git has a say it must be in the program; where it has none it can't be.
            if source.git.is_some() != (*stamp != Stamp::None) {
                return;
            }
            if let Some(before) = source.git {
                if git::fingerprint(&before.dir).await.as_ref() != Some(&before.state) {
                    return;
                }
                git = Some(before);
            }
            paths.merge(source.paths);
        }
        if let Some(shared) = self.shared {
            shared.made(place, &paths, begun, git.as_ref(), &made).await;
        }
        let (key, what) = (*key, what.clone());
        self.memo.remember(Made { key, what, begun, paths, git }, made);
    }
}

/// What is behind a lock; no panic leaves it half changed.
pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
