//! The plan's `go build` runs, each program going on to be packed as soon as it is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::Semaphore;

use crate::attest;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::git;
use crate::go::{self, Binary, Go};
use crate::ops::publish::{PackedLayers, Publisher};
use crate::plan::{CompileGroup, Compiled, Plan};
use crate::settings::{Destination, Settings};

/// What Go stamped into a program of git's state.
#[derive(Clone, Copy, PartialEq, Eq)]
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

/// One run's compiles.
pub(super) struct Compiler<'a> {
    pub(super) go: &'a Go,
    pub(super) plan: &'a Plan,
    pub(super) publisher: &'a Publisher<'a>,
    /// Binaries of images whose other programs still compile, by image and platform.
    waiting: Mutex<BTreeMap<(usize, usize), BTreeMap<usize, Binary>>>,
    /// Directories of stamped programs, and whether the tree was dirty.
    stamped: Mutex<Vec<(PathBuf, Stamp)>>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(go: &'a Go, plan: &'a Plan, publisher: &'a Publisher<'a>) -> Self {
        Compiler { go, plan, publisher, waiting: Mutex::default(), stamped: Mutex::default() }
    }

    /// Compiles every group and packs its programs, a bounded number of groups at a time. All groups end before a
    /// failure is reported, so that it is always that of the first platform asked for, not of the fastest.
    pub(super) async fn run(&self) -> Result<PackedLayers> {
        let limit = Semaphore::new(self.publisher.settings.jobs);
        let results = join_all(self.plan.groups.iter().map(|group| self.group(group, &limit))).await;
        let mut layers = PackedLayers::new();
        for result in results {
            layers.extend(result?);
        }
        Ok(layers)
    }

    async fn group(&self, group: &CompileGroup, limit: &Semaphore) -> Result<PackedLayers> {
        let permit = limit.acquire().await.map_err(|e| Error::new(Kind::Internal, "compile", e))?;
        let cx = self.publisher.cx;
        let (platform, scratch) = (&group.target.platform, &cx.scratch);
        let packages: Vec<String> = group.packages.iter().map(|p| p.import_path.clone()).collect();
        cx.observer.on(Event::CompileStarted { platform: platform.clone(), packages: packages.clone() });
        let start = Instant::now();
        let out = scratch.directory()?;
        let binaries = go::build(self.go, group, &out).await?;
        let elapsed = start.elapsed();
        cx.observer.on(Event::Compiled { platform: platform.clone(), packages, elapsed });
        drop(permit);
        let complete = group.packages.iter().zip(binaries).filter_map(|(p, b)| self.arrived(p, b));
        let packed = complete.map(|((image, platform), binaries)| async move {
            let packed = self.publisher.pack(image, platform, &binaries).await?;
            binaries.iter().for_each(|b| cx.scratch.remove(&b.path));
            self.publisher.send_early(image, platform, &packed).await?;
            Ok::<_, Error>(((image, platform), packed))
        });
        Ok(try_join_all(packed).await?.into_iter().collect())
    }

    /// Notes a binary; gives all of its image and platform when it was the last.
    fn arrived(&self, compiled: &Compiled, binary: Binary) -> Option<((usize, usize), Vec<Binary>)> {
        let image = &self.plan.images[compiled.image];
        self.stamped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((image.dir.clone(), Stamp::of(&binary)));
        let key = (compiled.image, compiled.platform);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let there = waiting.entry(key).or_default();
        there.insert(compiled.program, binary);
        if there.len() < image.programs.len() {
            return None;
        }
        waiting.remove(&key).map(|all| (key, all.into_values().collect()))
    }

    /// Git's state that Go stamped into a program reaches the digest: say what will make it differ elsewhere.
    pub(super) async fn warn_about_stamps(&self) {
        let warn = |text: String| self.publisher.cx.observer.on(Event::Warning(text));
        let stamped = std::mem::take(&mut *self.stamped.lock().unwrap_or_else(PoisonError::into_inner));
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
