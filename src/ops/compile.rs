//! The plan's `go build` runs, each program going on to be packed as soon as it is there. What was packed before from
//! the same inputs is neither compiled nor packed again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use futures_util::future::{join_all, try_join, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

use crate::attest;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Step, Timing};
use crate::git;
use crate::go::{self, Binary, Go, How, Sandbox};
use crate::ops::publish::{Packed, PackedLayers, Publisher};
use crate::ops::remember::{Layers, Place, Remembered, Stamp, lock, place};
use crate::ops::remote::Ahead;
use crate::plan::{CompileGroup, Compiled, Plan};
use crate::settings::{Destination, Settings};

/// How many memos are looked at a time.
const AT_ONCE: usize = 4;

/// One run's compiles.
pub(super) struct Compiler<'a> {
    go: &'a Go,
    plan: &'a Plan,
    publisher: &'a Publisher<'a>,
    layers: Layers<'a>,
    ahead: Option<&'a Ahead<'a>>,
    sandbox: Option<&'a Sandbox>,
    /// Binaries of images whose other programs still compile.
    waiting: Mutex<BTreeMap<Place, BTreeMap<usize, Binary>>>,
    /// Directories of stamped programs, and whether the tree was dirty.
    stamped: Mutex<Vec<(PathBuf, Stamp)>>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        go: &'a Go,
        plan: &'a Plan,
        publisher: &'a Publisher<'a>,
        layers: Layers<'a>,
        (ahead, sandbox): (Option<&'a Ahead<'a>>, Option<&'a Sandbox>),
    ) -> Self {
        Compiler {
            go,
            plan,
            publisher,
            layers,
            ahead,
            sandbox,
            waiting: Mutex::default(),
            stamped: Mutex::default(),
        }
    }

    /// Compiles every group and packs its programs, a bounded number of groups at a time, but for what is remembered. All
    /// groups end before a failure is reported, so that it is always that of the first platform asked for, not of the
    /// fastest. A registry that takes nothing from us ends all at once.
    pub(super) async fn run(&self) -> Result<PackedLayers> {
        // A memo is large while it is looked at: a few at a time.
        let recalled = stream::iter(self.layers.places()).map(|place| self.recall(place)).buffered(AT_ONCE);
        let recalled: Vec<Option<(Place, Packed)>> = recalled.try_collect().await?;
        let mut layers: PackedLayers = recalled.into_iter().flatten().collect();
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
        let coming: BTreeSet<usize> = groups.iter().flat_map(|g| &g.packages).map(|p| p.image).collect();
        let compiles = join_all(groups.iter().map(|group| self.group(group, &limit)));
        let announced = self.publisher.announce(coming.into_iter());
        let ((), results) = try_join(announced, async { Ok(compiles.await) }).await?;
        for result in results {
            layers.extend(result?);
        }
        Ok(layers)
    }

    /// The layer of a place, if it was made before from the same.
    async fn recall(&self, place: Place) -> Result<Option<(Place, Packed)>> {
        let Some((known, content)) = self.layers.recall(place).await? else { return Ok(None) };
        self.note_stamps(place.0, &known.stamps);
        let packed = self.publisher.packed(place.0, place.1, (known.layer, content), known.programs)?;
        Ok(Some((place, packed)))
    }

    async fn group(&self, group: &CompileGroup, limit: &Semaphore) -> Result<PackedLayers> {
        let permit = limit.acquire().await.map_err(|e| Error::new(Kind::Internal, "compile", e))?;
        let cx = self.publisher.cx;
        let (platform, scratch) = (&group.target.platform, &cx.scratch);
        let packages: Vec<String> = group.packages.iter().map(|p| p.import_path.clone()).collect();
        cx.observer.on(Event::CompileStarted { platform: platform.clone(), packages: packages.clone() });
        let start = Instant::now();
        let out = scratch.directory()?;
        let before = self.layers.before(group, &packages).await;
        let sources = async {
            if let Some(before) = before {
                self.layers.sources(group, &packages, before).await;
            }
            Ok(())
        };
        let work = async {
            let step = Step::Compile { platform: platform.clone(), packages: packages.clone() };
            let timing = Timing::of(&cx.observer, step);
            let binaries = timing.end(self.compile(group, &out).await)?;
            let elapsed = start.elapsed();
            let packages = packages.clone();
            cx.observer.on(Event::Compiled { platform: platform.clone(), packages, elapsed });
            drop(permit);
            let complete = group.packages.iter().zip(binaries).filter_map(|(p, b)| self.arrived(p, b));
            try_join_all(complete.map(|(place, binaries)| self.pack(place, binaries))).await
        };
        let (packed, ()) = try_join(work, sources).await?;
        Ok(packed.into_iter().collect())
    }

    /// Compiles a group. Whatever ails the program that fetches what was compiled elsewhere, the build goes on without.
    async fn compile(&self, group: &CompileGroup, out: &Path) -> Result<Vec<Binary>> {
        let cache = match self.ahead {
            Some(ahead) => ahead.ready(self.go, &group.target.platform.to_string()).await,
            None => None,
        };
        let how = How { cache: cache.as_ref(), sandbox: self.sandbox };
        match go::build(self.go, group, out, how).await {
            Err(error)
                if cache.is_some() && error.output_text().is_some_and(|o| o.contains("GOCACHEPROG")) =>
            {
                let text = "the program that asks the remote cache failed: the build goes on without it";
                self.publisher.cx.observer.on(Event::Warning(text.to_owned()));
                go::build(self.go, group, out, How::default()).await
            }
            result => result,
        }
    }

    /// Packs and sends the programs of a place.
    async fn pack(&self, place: Place, binaries: Vec<Binary>) -> Result<(Place, Packed)> {
        let (image, platform) = place;
        let (packed, (layer, file)) = self.publisher.pack(image, platform, &binaries).await?;
        binaries.iter().for_each(|b| self.publisher.cx.scratch.remove(&b.path));
        let stamps = binaries.iter().map(Stamp::of).collect();
        let made = Remembered { layer, programs: packed.programs.clone(), stamps };
        self.layers.made(place, made, &file).await?;
        self.publisher.send_early(image, platform, &packed).await?;
        Ok((place, packed))
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
        for path in &self.publisher.settings.edits {
            if git::shows_changes(dir, path).await {
                warn(format!(
                    "{} is in the repository whose state Go stamps into the program: once it is edited, the next build has \
                     another digest, and so on (--buildvcs=false, or keep it in a repository of its own)",
                    path.display()
                ));
                break;
            }
        }
    }
}

/// The single files that a run writes; of SBOMs the first.
fn written_files(settings: &Settings, plan: &Plan) -> Vec<PathBuf> {
    let sboms = settings.sboms.dir.as_ref().zip(settings.sboms.format).and_then(|(dir, format)| {
        let image = plan.images.first()?;
        let names = attest::file_names(format, &image.name.program, &image.platforms);
        Some(dir.join(names.first()?))
    });
    let archives = settings.destinations.iter().filter_map(|d| match d {
        Destination::OciArchive(path) | Destination::DockerArchive(path) => Some(path),
        _ => None,
    });
    let told = settings.report.iter().chain(settings.summary.iter().map(|wanted| &wanted.file));
    let files = archives.chain(&settings.image_refs).chain(&settings.digest_file).chain(told);
    files.map(|path| settings.cwd.join(path)).chain(sboms).collect()
}
