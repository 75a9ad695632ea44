//! The plan's `go build` runs, each program going on to be packed as soon as it is there. What was packed before from
//! the same inputs is neither compiled nor packed again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::future::{join_all, try_join, try_join_all};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::attest;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::fs::{Moment, Paths};
use crate::git;
use crate::go::{self, Binary, Closure, Go};
use crate::image::Written;
use crate::oci::Digest;
use crate::ops::memo::{Made, Memo, Recalled, Repository, Stamped, known_toolchain, repository};
use crate::ops::publish::{Packed, PackedLayers, Programs, Publisher};
use crate::plan::{CompileGroup, Compiled, Plan};
use crate::settings::{Destination, Settings};

/// What Go stamped into a program of git's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stamp {
    None,
    Clean,
    Dirty,
}

impl Stamp {
    fn of(binary: &Binary) -> Self {
        let Some(info) = &binary.header.build_info else { return Stamp::None };
        match (info.setting("vcs"), info.setting("vcs.modified")) {
            (Some("git"), Some("true")) => Stamp::Dirty,
            (Some("git"), _) => Stamp::Clean,
            _ => Stamp::None,
        }
    }
}

/// An image and one of its platforms, by number.
type Place = (usize, usize);

/// What is remembered of the programs of a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    layer: Written,
    programs: Programs,
    stamps: Vec<Stamp>,
}

/// One run's compiles.
pub(super) struct Compiler<'a> {
    go: &'a Go,
    plan: &'a Plan,
    publisher: &'a Publisher<'a>,
    memo: &'a Memo,
    /// Binaries of images whose other programs still compile.
    waiting: Mutex<BTreeMap<Place, BTreeMap<usize, Binary>>>,
    /// What is known of what is made, until it is complete and remembered.
    open: Mutex<BTreeMap<Place, Open>>,
    /// Directories of stamped programs, and whether the tree was dirty.
    stamped: Mutex<Vec<(PathBuf, Stamp)>>,
    /// What memos say of what is made all the same, to compare.
    expected: Mutex<BTreeMap<Place, Remembered>>,
    /// What places are made from that are made again, where that is as it was but for what sources do.
    same_paths: Mutex<BTreeMap<Place, Paths>>,
}

/// A place, and what its layer is remembered by.
struct Asked {
    place: Place,
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
struct Before {
    begun: Moment,
    around: Paths,
    repository: Repository,
    /// Git's state, if it can be stamped.
    git: Option<Stamped>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(go: &'a Go, plan: &'a Plan, publisher: &'a Publisher<'a>, memo: &'a Memo) -> Self {
        let (waiting, open, stamped) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (expected, same_paths) = (Mutex::default(), Mutex::default());
        Compiler { go, plan, publisher, memo, waiting, open, stamped, expected, same_paths }
    }

    /// Compiles every group and packs its programs, a bounded number of groups at a time, but for what is remembered. All
    /// groups end before a failure is reported, so that it is always that of the first platform asked for, not of the
    /// fastest.
    pub(super) async fn run(&self) -> Result<PackedLayers> {
        let asked: Vec<Asked> = self.places().map(|place| self.question(place)).collect();
        let recalled = try_join_all(asked.iter().map(|asked| self.recall(asked))).await?;
        let mut layers: PackedLayers =
            asked.iter().zip(recalled).filter_map(|(asked, packed)| Some((asked.place, packed?))).collect();
        for (image, number) in layers.keys() {
            let plan = &self.plan.images[*image];
            let (platform, program) = (plan.platforms[*number].clone(), plan.name.program.clone());
            self.publisher.cx.observer.on(Event::Recalled { platform, program });
        }
        let groups = self.plan.groups.iter().map(|group| CompileGroup {
            packages: group.packages.iter().filter(|p| !layers.contains_key(&place(p))).cloned().collect(),
            ..group.clone()
        });
        let groups: Vec<CompileGroup> = groups.filter(|group| !group.packages.is_empty()).collect();
        let limit = Semaphore::new(self.publisher.settings.jobs);
        let results = join_all(groups.iter().map(|group| self.group(group, &asked, &limit))).await;
        for result in results {
            layers.extend(result?);
        }
        Ok(layers)
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let images = self.plan.images.iter().enumerate();
        images.flat_map(|(image, plan)| (0..plan.platforms.len()).map(move |platform| (image, platform)))
    }

    /// What decides a place's layer and isn't in files.
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
        let key = match of_place.iter().all(|(group, _)| go::can_judge(self.go, group)) {
            true => self.memo.key(
                "the layer of programs",
                &(
                    known_toolchain(self.go),
                    go::environment(self.publisher.cx.env.all()),
                    compiles.collect::<Vec<_>>(),
                    (files, &image.programs_dir, image.capabilities.map(|c| c.to_vec()), &platform.os),
                    self.publisher.settings.compression.encoder_id(),
                ),
            ),
            false => None,
        };
        Asked { place, key, what: format!("{} for {platform}", image.name.program) }
    }

    /// The layer of a place, if it was made before from the same; compiles that are to be compared are noted.
    async fn recall(&self, asked: &Asked) -> Result<Option<Packed>> {
        let known = match self.memo.recall::<Remembered>(asked.key, &asked.what).await {
            Recalled::Same(known) => known,
            Recalled::Paths(paths) => {
                lock(&self.same_paths).insert(asked.place, paths);
                return Ok(None);
            }
            Recalled::Nothing => return Ok(None),
        };
        if self.memo.audits() {
            lock(&self.expected).insert(asked.place, known);
            return Ok(None);
        }
        let cx = self.publisher.cx;
        let (image, number) = asked.place;
        // These check what they read.
        let check = self.publisher.settings.destinations.iter().any(|d| {
            !matches!(d, Destination::Registry | Destination::Layout(_) | Destination::LayoutPerProgram(_))
        });
        let Some(file) = self.memo.lend(&cx.scratch, known.layer.descriptor(), check).await? else {
            return Ok(None);
        };
        self.note_stamps(image, &known.stamps);
        self.publisher.packed(image, number, (known.layer, file), known.programs).map(Some)
    }

    async fn group(&self, group: &CompileGroup, asked: &[Asked], limit: &Semaphore) -> Result<PackedLayers> {
        let permit = limit.acquire().await.map_err(|e| Error::new(Kind::Internal, "compile", e))?;
        let cx = self.publisher.cx;
        let (platform, scratch) = (&group.target.platform, &cx.scratch);
        let packages: Vec<String> = group.packages.iter().map(|p| p.import_path.clone()).collect();
        cx.observer.on(Event::CompileStarted { platform: platform.clone(), packages: packages.clone() });
        let start = Instant::now();
        let out = scratch.directory()?;
        let of_group = |a: &&Asked| group.packages.iter().any(|p| place(p) == a.place);
        let is_remembered = asked.iter().filter(of_group).any(|a| a.key.is_some());
        let before = if is_remembered { self.before(group).await } else { None };
        let sources = async {
            if let Some(before) = before {
                self.sources(group, &packages, asked, before).await;
            }
            Ok(())
        };
        let work = async {
            let binaries = go::build(self.go, group, &out).await?;
            let elapsed = start.elapsed();
            let packages = packages.clone();
            cx.observer.on(Event::Compiled { platform: platform.clone(), packages, elapsed });
            drop(permit);
            let complete = group.packages.iter().zip(binaries).filter_map(|(p, b)| self.arrived(p, b));
            try_join_all(complete.map(|(place, binaries)| self.pack(place, binaries, asked))).await
        };
        let (packed, ()) = try_join(work, sources).await?;
        Ok(packed.into_iter().collect())
    }

    /// Packs and sends the programs of a place.
    async fn pack(&self, place: Place, binaries: Vec<Binary>, asked: &[Asked]) -> Result<(Place, Packed)> {
        let (image, platform) = place;
        let (packed, (layer, file)) = self.publisher.pack(image, platform, &binaries).await?;
        binaries.iter().for_each(|b| self.publisher.cx.scratch.remove(&b.path));
        let stamps = binaries.iter().map(Stamp::of).collect();
        let made = Remembered { layer, programs: packed.programs.clone(), stamps };
        let what = asked.iter().find(|a| a.place == place).map_or("", |a| a.what.as_str());
        self.memo.audit(what, lock(&self.expected).get(&place), &made)?;
        if asked.iter().any(|a| a.place == place && a.key.is_some()) {
            self.memo.keep(&file, &made.layer.descriptor());
            lock(&self.open).entry(place).or_default().made = Some(made);
            self.remember_if_complete(place, asked).await;
        }
        self.publisher.send_early(image, platform, &packed).await?;
        Ok((place, packed))
    }

    /// Looks around before a group is compiled. None where it can't be told what its programs are made from.
    async fn before(&self, group: &CompileGroup) -> Option<Before> {
        let begun = Moment::now();
        let repository = match go::may_stamp(self.go, group) {
            true => repository(&group.dir)?,
            false => Repository::default(),
        };
        // Directories change whenever something is written into them: only now is it clear what is absent.
        let env = self.publisher.cx.env.all();
        let mut around = go::around(self.go, &group.dir);
        around.merge(repository.paths.clone());
        self.memo.look(around.clone()).await;
        self.memo.look(go::above(&group.dir, env)).await;
        let git = match &repository.root {
            Some(_) => Some(Stamped { dir: group.dir.clone(), state: git::fingerprint(&group.dir).await? }),
            None => None,
        };
        around.merge(go::of_toolchain(self.go, &group.dir, env)?);
        Some(Before { begun, around, repository, git })
    }

    /// Finds out what the programs of a group are made from, while they are compiled.
    async fn sources(&self, group: &CompileGroup, packages: &[String], asked: &[Asked], before: Before) {
        let Before { begun, around, repository, git } = before;
        let known = |compiled: &Compiled| lock(&self.same_paths).get(&place(compiled)).cloned();
        let closure = match group.packages.iter().all(|p| known(p).is_some()) {
            true => None,
            false => match go::closure(self.go, group, packages).await {
                Ok(closure) => Some(closure),
                // That is for `go build` to say.
                Err(_) => return,
            },
        };
        for compiled in &group.packages {
            let asked_now = || {
                let mut paths = self.paths(closure.as_ref()?, group, compiled, &repository)?;
                paths.merge(around.clone());
                Some(paths)
            };
            let Some(paths) = known(compiled).or_else(asked_now) else { continue };
            {
                let mut open = lock(&self.open);
                let entry = open.entry(place(compiled)).or_default();
                entry.begun = Some(entry.begun.map_or(begun, |other| other.min(begun)));
                entry.sources.insert(compiled.program, Sources { paths, git: git.clone() });
            }
            self.remember_if_complete(place(compiled), asked).await;
        }
    }

    /// What decides the bytes of a program. None where that isn't known.
    fn paths(
        &self,
        closure: &Closure,
        group: &CompileGroup,
        compiled: &Compiled,
        around: &Repository,
    ) -> Option<Paths> {
        let mut paths = closure.inputs(&compiled.import_path)?;
        if go::may_stamp(self.go, group) {
            // Go looks from the package's directory.
            let own = repository(closure.dir(&compiled.import_path)?)?;
            if own.root != around.root {
                return None;
            }
            paths.merge(own.paths);
        }
        Some(paths)
    }

    /// Remembers a place once it is known what was made, and from what.
    async fn remember_if_complete(&self, place: Place, asked: &[Asked]) {
        let count = self.plan.images[place.0].programs.len();
        let complete = {
            let mut open = lock(&self.open);
            let is_complete = |o: &Open| o.made.is_some() && o.sources.len() == count;
            match open.get(&place).is_some_and(is_complete) {
                true => open.remove(&place),
                false => None,
            }
        };
        let asked = asked.iter().find(|a| a.place == place);
        let (
            Some(Open { begun: Some(begun), sources, made: Some(made) }),
            Some(Asked { key: Some(key), what, .. }),
        ) = (complete, asked)
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
        let (key, what) = (*key, what.clone());
        self.memo.remember(Made { key, what, begun, paths, git }, made);
    }

    /// Notes a binary; gives all of its image and platform when it was the last.
    fn arrived(&self, compiled: &Compiled, binary: Binary) -> Option<(Place, Vec<Binary>)> {
        let image = &self.plan.images[compiled.image];
        self.note_stamps(compiled.image, &[Stamp::of(&binary)]);
        let mut waiting = lock(&self.waiting);
        let there = waiting.entry(place(compiled)).or_default();
        there.insert(compiled.program, binary);
        if there.len() < image.programs.len() {
            return None;
        }
        waiting.remove(&place(compiled)).map(|all| (place(compiled), all.into_values().collect()))
    }

    fn note_stamps(&self, image: usize, stamps: &[Stamp]) {
        let dir = &self.plan.images[image].dir;
        let mut stamped = lock(&self.stamped);
        stamped.extend(stamps.iter().map(|stamp| (dir.clone(), *stamp)));
    }

    /// Git's state that Go stamped into a program reaches the digest: say what will make it differ elsewhere.
    pub(super) async fn warn_about_stamps(&self) {
        let warn = |text: String| self.publisher.cx.observer.on(Event::Warning(text));
        let stamped = std::mem::take(&mut *lock(&self.stamped));
        let Some((dir, _)) = stamped.iter().find(|(_, s)| *s != Stamp::None) else { return };
        if stamped.iter().any(|(_, s)| *s == Stamp::Dirty) {
            warn(
                "the git tree has changes or untracked files, and Go stamps that into the program: the digest will \
                 differ elsewhere (--buildvcs=false makes it depend on the source alone)"
                    .to_owned(),
            );
        }
        if git::is_shallow(dir).await {
            warn(
                "the git clone is shallow, and Go makes the program's version from tags that may be missing: the \
                 digest may differ elsewhere (fetch the history, or use --buildvcs=false)"
                    .to_owned(),
            );
        }
        for path in written_files(self.publisher.settings, self.plan) {
            if git::shows_untracked(dir, &path).await {
                let path = path.display();
                warn(format!("{path} is not ignored by git: the next build will be stamped as dirty"));
            }
        }
    }
}

/// What is behind a lock; no panic leaves it half changed.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(compiled: &Compiled) -> Place {
    (compiled.image, compiled.platform)
}

/// The single files that a run writes; of SBOMs the first.
fn written_files(settings: &Settings, plan: &Plan) -> Vec<PathBuf> {
    let first = plan.images.iter().flat_map(|i| attest::file_names(&i.name.program, &i.platforms)).next();
    let sboms = settings.sbom_dir.iter().zip(first).map(|(dir, name)| dir.join(name));
    let archives = settings.destinations.iter().filter_map(|d| match d {
        Destination::OciArchive(path) | Destination::DockerArchive(path) => Some(path),
        _ => None,
    });
    archives.chain(&settings.image_refs).map(|p| settings.cwd.join(p)).chain(sboms).collect()
}
