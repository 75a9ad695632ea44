//! `gimg build`: the product on one page.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::Semaphore;

use crate::content::Graph;
use crate::content::copy::Copier;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::git;
use crate::go::{self, Binary, Go};
use crate::image::assemble::{self, APP_DIR, EPOCH, Image, Layer, Spec, rfc3339};
use crate::image::{FileTree, Filesystem, Written, contents, layer};
use crate::oci::{Descriptor, History};
use crate::ops::Context;
use crate::ops::base::Bases;
use crate::ops::lookup::{Found, lookup};
use crate::ops::targets;
use crate::plan::{self, CompileGroup, Compiled, ImagePlan, Plan};
use crate::report::{Published, PublishedPlatform, Report};
use crate::settings::{Destination, Settings};
use crate::store::Scratch;

/// Compiles, packs and publishes.
///
/// # Errors
/// Whatever a stage says; nothing is tagged then.
pub async fn build(cx: &Context, settings: &Settings) -> Result<Report> {
    let start = Instant::now();
    for warning in &settings.warnings {
        cx.observer.on(Event::Warning(warning.clone()));
    }
    let Found { facts, go, bases } = lookup(cx, settings).await?;
    let plan = plan::plan(settings, &facts)?;
    let copiers = targets::copiers(cx, settings)?;
    let run = Run { cx, settings, plan: &plan, go: &go, bases: &bases, copiers: &copiers };

    let (layers, kodata, debuggers) = tokio::try_join!(run.programs(), run.kodata(), run.debuggers())?;
    let mut images = Vec::new();
    for (index, image) in plan.images.iter().enumerate() {
        images.push(run.assemble(index, image, &layers, &kodata[index], &debuggers)?);
    }
    let graphs: Vec<Graph> = images.iter().map(|i| i.graph.clone()).collect();
    try_join_all(copiers.iter().flat_map(|c| graphs.iter().map(move |g| c.content(g)))).await?;
    // Every destination has everything: only now do names move.
    for copier in &copiers {
        copier.publish(&graphs).await?;
    }
    run.warn_about_stamps(&layers).await;
    run.say_where(&graphs);
    let images = images.into_iter().map(|i| i.published(&copiers)).collect();
    Ok(Report { images, elapsed: start.elapsed() })
}

/// One run's values, for the stages below.
struct Run<'a> {
    cx: &'a Context,
    settings: &'a Settings,
    plan: &'a Plan,
    go: &'a Go,
    bases: &'a Bases,
    copiers: &'a [Copier],
}

/// The layer of one program for one platform.
struct ProgramLayer {
    layer: Layer,
    binary_size: u64,
    stamp: Stamp,
}

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

/// Layers by image and platform.
type ProgramLayers = BTreeMap<(usize, usize), ProgramLayer>;

impl Run<'_> {
    /// Compiles every group and packs its programs, a bounded number of groups at a time. All groups end before a
    /// failure is reported, so that it is always that of the first platform asked for, not of the fastest.
    async fn programs(&self) -> Result<ProgramLayers> {
        let limit = Semaphore::new(self.settings.jobs);
        let results = join_all(self.plan.groups.iter().map(|group| self.group(group, &limit))).await;
        let mut layers = BTreeMap::new();
        for result in results {
            layers.extend(result?);
        }
        Ok(layers)
    }

    async fn group(&self, group: &CompileGroup, limit: &Semaphore) -> Result<ProgramLayers> {
        let permit = limit.acquire().await.map_err(|e| Error::new(Kind::Internal, "compile", e))?;
        let (platform, scratch) = (&group.target.platform, &self.cx.scratch);
        let packages: Vec<String> = group.packages.iter().map(|p| p.import_path.clone()).collect();
        self.cx.observer.on(Event::CompileStarted { platform: platform.clone(), packages: packages.clone() });
        let start = Instant::now();
        let (out, temporary) = (scratch.directory()?, scratch.directory()?);
        let binaries = go::build(self.go, group, &out, &temporary).await?;
        let elapsed = start.elapsed();
        self.cx.observer.on(Event::Compiled { platform: platform.clone(), packages, elapsed });
        drop(permit);
        let packed = group.packages.iter().zip(binaries).map(|(p, b)| self.program(group, p, b));
        Ok(try_join_all(packed).await?.into_iter().collect())
    }

    /// Packs one program, and sends its layer to a registry: a layer has no name there, so early is safe. Local
    /// destinations wait: a new file in the tree would be seen by the git stamp of a program still compiling.
    async fn program(
        &self,
        group: &CompileGroup,
        compiled: &Compiled,
        binary: Binary,
    ) -> Result<((usize, usize), ProgramLayer)> {
        let image = &self.plan.images[compiled.image];
        let platform = &group.target.platform;
        if let Some(loader) = &binary.header.interpreter
            && self.settings.base.has_no_loader()
        {
            let why = format!("it asks for the loader {loader}, which the base lacks");
            return Err(Error::new(Kind::Input, format!("use {} for {platform}", image.import_path), why)
                .hint("build it with CGO_ENABLED=0, or name a base with a C library by --base"));
        }
        let program = image.name.program.clone();
        self.cx.observer.on(Event::Packing { program: program.clone(), platform: platform.clone() });
        let filesystem = Filesystem::of(platform);
        let tree = contents::program(&compiled.file, &binary.path, binary.size, None)?;
        let tree = filesystem.arrange(tree)?;
        let written = self.write(tree, crate::fs::open).await?;
        Scratch::remove(&binary.path);
        let place = filesystem.path(&format!("{APP_DIR}/{}", compiled.file));
        let layer = self.layer(written, image, &format!("go build output, at {place}"), None);
        let descriptor = layer.blob.descriptor.clone();
        self.cx.observer.on(Event::LayerReady { program, platform: platform.clone(), descriptor });
        let registries = self.copiers.iter().zip(&self.settings.destinations);
        let registries = registries.filter(|(_, d)| **d == Destination::Registry);
        try_join_all(registries.map(|(c, _)| c.put(&image.name, &layer.blob))).await?;
        Ok((
            (compiled.image, compiled.platform),
            ProgramLayer { layer, binary_size: binary.size, stamp: Stamp::of(&binary) },
        ))
    }

    /// The kodata layers of each image that has kodata, one for each way of naming files that its platforms have.
    async fn kodata(&self) -> Result<Vec<BTreeMap<Filesystem, Layer>>> {
        let filesystems: BTreeSet<Filesystem> =
            self.bases.list.iter().map(|(p, _)| Filesystem::of(p)).collect();
        let filesystems = &filesystems;
        let epoch = self.settings.kodata_epoch;
        try_join_all(self.plan.images.iter().map(|image| async move {
            let (dir, root) = (image.dir.clone(), self.settings.kodata_root.clone());
            let found = blocking(move || crate::fs::kodata(&dir, root.as_deref())).await?;
            let mut layers = BTreeMap::new();
            let Some((listing, boundary)) = found else { return Ok(layers) };
            let tree = contents::kodata(&listing, epoch.unwrap_or(0))?;
            let boundary = Arc::new(boundary);
            for filesystem in filesystems {
                let (tree, boundary) = (filesystem.arrange(tree.clone())?, Arc::clone(&boundary));
                let written = self.write(tree, move |path| boundary.open(path)).await?;
                let layer = self.layer(written, image, "kodata contents, at $KO_DATA_PATH", epoch);
                layers.insert(*filesystem, layer);
            }
            Ok(layers)
        }))
        .await
    }

    /// With `--debug` the debugger's layer for each platform, the same for all images.
    async fn debuggers(&self) -> Result<Vec<(Written, Arc<Path>)>> {
        let mut layers = Vec::new();
        let platforms = self.bases.list.iter().map(|(p, _)| p).filter(|_| self.settings.debug);
        // One at a time, beside the programs: there are at most a few.
        for platform in platforms {
            let target = plan::command::target(platform, &self.go.toolchain)?;
            let packages = vec![plan::debug::PACKAGE.to_owned()];
            let started = Event::CompileStarted { platform: platform.clone(), packages: packages.clone() };
            self.cx.observer.on(started);
            let start = Instant::now();
            let scratch = &self.cx.scratch;
            let (module, out, temporary) = (scratch.directory()?, scratch.directory()?, scratch.directory()?);
            let binary = go::delve(self.go, &target, &module, &out, &temporary).await?;
            let elapsed = start.elapsed();
            self.cx.observer.on(Event::Compiled { platform: platform.clone(), packages, elapsed });
            let tree = contents::program(plan::debug::PROGRAM, &binary.path, binary.size, None)?;
            layers.push(self.write(tree, crate::fs::open).await?);
            Scratch::remove(&binary.path);
        }
        Ok(layers)
    }

    /// Writes a tree, whose files `open` opens, as a layer into the private directory.
    async fn write(
        &self,
        tree: FileTree,
        open: impl Fn(&Path) -> std::io::Result<Box<dyn Read>> + Send + 'static,
    ) -> Result<(Written, Arc<Path>)> {
        let (file, path) = self.cx.scratch.file()?;
        let (compression, threads) = (self.settings.compression, self.settings.jobs);
        let written = blocking(move || layer::write(&tree, compression, threads, &open, file)).await?;
        Ok((written, Arc::from(path)))
    }

    fn layer(
        &self,
        written: (Written, Arc<Path>),
        image: &ImagePlan,
        comment: &str,
        epoch: Option<u64>,
    ) -> Layer {
        let (written, path) = written;
        let created = epoch.or(self.settings.epoch).map_or_else(|| EPOCH.to_owned(), rfc3339);
        Layer {
            blob: Scratch::blob(&path, written.descriptor()),
            diff_id: written.diff_id,
            history: History {
                created: Some(created),
                created_by: Some(format!("gimg build ko://{}", image.import_path)),
                author: Some("gimg".to_owned()),
                comment: Some(comment.to_owned()),
                empty_layer: None,
            },
        }
    }

    /// One image of the plan from its layers: an image for one platform, an index for several.
    fn assemble(
        &self,
        index: usize,
        plan: &ImagePlan,
        programs: &ProgramLayers,
        kodata: &BTreeMap<Filesystem, Layer>,
        debuggers: &[(Written, Arc<Path>)],
    ) -> Result<Assembled> {
        let settings = self.settings;
        let mut images: Vec<Image> = Vec::new();
        let mut platforms = Vec::new();
        for (number, (platform, base)) in self.bases.list.iter().enumerate() {
            let program = programs
                .get(&(index, number))
                .ok_or_else(|| Error::new(Kind::Internal, "assemble", "a program was never packed"))?;
            let mut layers: Vec<Layer> = kodata.get(&Filesystem::of(platform)).cloned().into_iter().collect();
            let mut wrapper = Vec::new();
            if let Some(debugger) = debuggers.get(number) {
                layers.push(self.layer(debugger.clone(), plan, "Delve debugger, at /ko-app/dlv", None));
                wrapper = plan::debug::command();
            }
            layers.push(program.layer.clone());
            let spec = Spec {
                platform,
                program: &plan::naming::file(&plan.import_path, &platform.os),
                wrapper: &wrapper,
                created: settings.epoch.map(rfc3339),
                labels: &settings.labels,
                annotations: &settings.annotations,
                user: settings.user.as_deref(),
            };
            let image = assemble::image(base, &layers, &spec)?;
            platforms.push(published_platform(&image, platform.to_string(), program.binary_size));
            images.push(image);
        }
        let blobs = images.iter().flat_map(|i| i.layers.iter().cloned().chain([i.config.clone()])).collect();
        let (root, children) = if let [image] = images.as_slice() {
            (image.manifest.clone(), Vec::new())
        } else {
            let root = assemble::index(&images, self.bases.origin.as_ref(), &settings.annotations)?;
            (root, images.iter().map(|i| i.manifest.clone()).collect())
        };
        let graph = Graph::new(plan.name.clone(), blobs, children, root, plan.tags.clone());
        Ok(Assembled { graph, import_path: plan.import_path.clone(), platforms })
    }

    /// Git's state that Go stamped into a program reaches the digest: say what will make it differ elsewhere.
    async fn warn_about_stamps(&self, layers: &ProgramLayers) {
        let warn = |text: String| self.cx.observer.on(Event::Warning(text));
        let Some((&(image, _), _)) = layers.iter().find(|(_, l)| l.stamp != Stamp::None) else { return };
        let dir = &self.plan.images[image].dir;
        if layers.values().any(|l| l.stamp == Stamp::Dirty) {
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
        for destination in &self.settings.destinations {
            let (Destination::OciArchive(path) | Destination::DockerArchive(path)) = destination else {
                continue;
            };
            let path = self.settings.cwd.join(path);
            if git::shows_untracked(dir, &path).await {
                let path = path.display();
                warn(format!("{path} is not ignored by git: the next build will be stamped as dirty"));
            }
        }
    }

    /// With no destination set, people must be told where the image is and what to do with it.
    fn say_where(&self, graphs: &[Graph]) {
        for destination in &self.settings.destinations {
            let Destination::LayoutPerProgram(dir) = destination else { continue };
            for graph in graphs {
                let path = dir.join(&graph.name.program);
                self.cx.observer.on(Event::Note(format!(
                    "wrote {0} (no repository is set); push it with: gimg push {0} REPOSITORY",
                    path.display()
                )));
            }
        }
    }
}

/// An image that is ready to be published.
struct Assembled {
    graph: Graph,
    import_path: String,
    platforms: Vec<PublishedPlatform>,
}

impl Assembled {
    /// What to tell about it. The registry's reference comes first if there is one.
    fn published(self, copiers: &[Copier]) -> Published {
        let root = &self.graph.root.descriptor;
        let mut references: Vec<String> = copiers.iter().map(|c| c.target().reference(&self.graph)).collect();
        references.sort_by_key(|r| r.starts_with("oci") || r.starts_with("docker-archive:"));
        let mut references = references.into_iter();
        Published {
            reference: references.next().unwrap_or_default(),
            also: references.collect(),
            import_path: self.import_path,
            digest: root.digest,
            media_type: root.media_type.clone(),
            tags: self.graph.tags.iter().map(ToString::to_string).collect(),
            platforms: self.platforms,
        }
    }
}

fn published_platform(image: &Image, platform: String, binary_size: u64) -> PublishedPlatform {
    let layers: Vec<Descriptor> = image.layers.iter().map(|l| l.descriptor.clone()).collect();
    let manifest = &image.manifest.descriptor;
    let size = manifest.size + image.config.descriptor.size + layers.iter().map(|l| l.size).sum::<u64>();
    PublishedPlatform { platform, digest: manifest.digest, size, binary_size, layers }
}

/// Runs work that blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::new(Kind::Internal, "run a task", e))?
}
