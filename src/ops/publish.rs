//! Binaries become layers, images and graphs, and go where they shall: what `build` and `pack` share.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SetOnce};

use crate::attest::Modules;
use crate::content::copy::Copier;
use crate::content::{Beside, Blob, Content, Graph, ImageName, Referrer};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Step, Timing};
use crate::go::{Binary, Places};
use crate::image::assemble::{self, EPOCH, Image, Layer, Spec};
use crate::image::certificates::Certificate;
use crate::image::contents::{self, ProgramFile};
use crate::image::{FileTree, Filesystem, Written, layer};
use crate::oci::{Descriptor, Digest, History, Repository, rfc3339};
use crate::ops::attached;
use crate::ops::base::Bases;
use crate::ops::bills::{self, Files};
use crate::ops::data::{self, DataLayers};
use crate::ops::debug::Debuggers;
use crate::ops::hashes::Hashes;
use crate::ops::memo::Memo;
use crate::ops::modules;
use crate::ops::provenance::{Provenance, Recipes};
use crate::ops::shared::Shared;
use crate::ops::signer::Signer;
use crate::ops::trust::{self, Bundles};
use crate::ops::{Context, blocking, image_refs, summary};
use crate::plan::{ImagePlan, debug};
use crate::report::{Before, Published, PublishedPlatform};
use crate::settings::{Attest, Destination, Sboms, Settings};

/// How many registries are told of an image at a time.
const AT_ONCE: usize = 4;

/// What the stages after compiling work with.
pub(super) struct Publisher<'a> {
    pub(super) cx: &'a Context,
    pub(super) settings: &'a Settings,
    pub(super) images: &'a [ImagePlan],
    /// As the facts' bases.
    pub(super) bases: &'a [Bases],
    pub(super) copiers: &'a [Copier],
    /// What is added to the CA bundles.
    pub(super) certificates: &'a [Certificate],
    /// What was made before, where a layer of it that turns out wrong can be made again.
    pub(super) memo: Option<&'a Memo>,
    /// Where the code of the programs' modules is, if they are compiled here. What is only packed has no licences in its
    /// SBOM: which of its modules are here would change what is attached.
    pub(super) places: Option<Places>,
    /// Set by [`Publisher::prepare`].
    pub(super) between: SetOnce<Between>,
    /// Who signs what is published, if somebody does.
    pub(super) signer: Option<Signer>,
    /// Bounds how many layers are written at a time, and with them the memory.
    pub(super) writing: Semaphore,
}

/// What lies between the bases and the programs.
pub(super) struct Between {
    /// By image.
    data: Vec<DataLayers>,
    bundles: Bundles,
    debuggers: Debuggers,
}

/// The layer of an image's programs for one platform.
pub(super) struct Packed {
    pub(super) layer: Layer,
    /// What is in it.
    pub(super) programs: Programs,
}

/// An image's programs for one platform, as far as they matter once they are packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Programs {
    /// All of them in bytes, before compression.
    pub(super) size: u64,
    /// Each of them.
    pub(super) contents: Vec<PackedProgram>,
    /// The loader that each asks for.
    pub(super) loaders: Vec<Option<String>>,
}

/// A program that was packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackedProgram {
    /// Where it is in the image: an absolute path.
    pub(super) path: String,
    /// The digest of its file.
    pub(super) digest: Digest,
    /// What it is made of.
    pub(super) modules: Option<Modules>,
}

/// Layers of programs by image and platform.
pub(super) type PackedLayers = BTreeMap<(usize, usize), Packed>;

impl Publisher<'_> {
    /// Packs an image's programs; also gives the layer's file.
    pub(super) async fn pack(
        &self,
        index: usize,
        number: usize,
        binaries: &[Binary],
    ) -> Result<(Packed, (Written, Arc<Path>))> {
        let image = &self.images[index];
        let loaders: Vec<Option<String>> = binaries.iter().map(|b| b.header.interpreter.clone()).collect();
        self.check_loaders(image, number, &loaders)?;
        let (platform, _) = &self.bases[image.base].list[number];
        let program = image.name.program.clone();
        self.cx.observer.on(Event::Packing { program: program.clone(), platform: platform.clone() });
        let step = Step::Pack { program: program.clone(), platform: platform.clone() };
        let timing = Timing::of(&self.cx.observer, step);
        let filesystem = Filesystem::of(platform);
        let capabilities = image.capabilities.filter(|_| platform.os == "linux");
        let files = image.programs.iter().zip(binaries).enumerate().map(|(number, (p, b))| ProgramFile {
            name: p.file(&platform.os),
            path: b.path.clone(),
            size: b.size,
            // They are the main program's.
            capabilities: capabilities.filter(|_| number == 0),
        });
        let files: Vec<ProgramFile> = files.collect();
        let tree = filesystem.arrange(contents::programs(&image.programs_dir, &files)?)?;
        let hashes = Hashes::default();
        let modules = try_join_all(binaries.iter().map(|binary| self.modules(binary)));
        let written = self.write(tree, hashes.opener(crate::fs::open));
        let (written, modules) = timing.end(tokio::try_join!(written, modules))?;
        let descriptor = written.0.descriptor();
        self.cx.observer.on(Event::LayerReady { program, platform: platform.clone(), descriptor });
        let contents = files.iter().zip(modules).map(|(file, modules)| {
            Ok(PackedProgram {
                path: filesystem.path(&format!("{}/{}", image.programs_dir, file.name)),
                digest: hashes.of(&file.path)?,
                modules,
            })
        });
        let contents = contents.collect::<Result<_>>()?;
        let programs = Programs { size: binaries.iter().map(|b| b.size).sum(), contents, loaders };
        Ok((self.packed(index, number, written.clone(), programs)?, written))
    }

    /// What a program is made of.
    async fn modules(&self, binary: &Binary) -> Result<Option<Modules>> {
        let Some(info) = &binary.header.build_info else { return Ok(None) };
        modules::of(self.cx, self.places.as_ref(), info, &binary.path).await.map(Some)
    }

    /// An image's programs that are in a layer.
    pub(super) fn packed(
        &self,
        index: usize,
        number: usize,
        written: (Written, impl Into<Content>),
        programs: Programs,
    ) -> Result<Packed> {
        let image = &self.images[index];
        self.check_loaders(image, number, &programs.loaders)?;
        let places: Vec<&str> = programs.contents.iter().map(|p| p.path.as_str()).collect();
        let comment = format!("go build output, at {}", places.join(", "));
        Ok(Packed { layer: self.layer(written, image, &comment, None), programs })
    }

    /// A program that asks for a loader can't start on a base that surely has none.
    fn check_loaders(&self, image: &ImagePlan, platform: usize, loaders: &[Option<String>]) -> Result<()> {
        let root = &self.bases[image.base].of[platform];
        for (program, loader) in image.programs.iter().zip(loaders) {
            if let Some(loader) = loader
                && root.base.has_no_loader()
            {
                let why = format!("it asks for the loader {loader}, which the base lacks");
                return Err(Error::new(Kind::Input, format!("use {}", program.import_path), why)
                    .hint("build it with CGO_ENABLED=0, or name a base with a C library by --base"));
            }
        }
        Ok(())
    }

    /// Sends the layer of a platform's programs to registries while others are still compiled: a layer has no name there,
    /// so early is safe. A platform that is in the image which the tag names already waits: most likely nothing of the
    /// image changed, and then nothing needs to be asked for. Local destinations wait too: a new file in the tree would
    /// be seen by the git stamp of a program still compiling.
    pub(super) async fn send_early(&self, index: usize, platform: usize, packed: &Packed) -> Result<()> {
        let plan = &self.images[index];
        let mut registries = self.registries().peekable();
        if registries.peek().is_none() {
            return Ok(());
        }
        let image = self.image(index, platform, packed, self.between.wait().await)?;
        try_join_all(registries.map(|copier| async {
            let manifest = image.manifest.descriptor.digest;
            if copier.target().names(&plan.name, plan.tags.first(), manifest).await? {
                return Ok(());
            }
            copier.put(&plan.name, &packed.layer.blob).await
        }))
        .await?;
        Ok(())
    }

    /// Tells registries that `images` will come, while their programs are compiled.
    ///
    /// # Errors
    /// One that takes nothing from us.
    pub(super) async fn announce(&self, images: impl Iterator<Item = usize>) -> Result<()> {
        let coming = images.map(|index| &self.images[index]).filter_map(|i| Some((&i.name, i.tags.first()?)));
        let told = coming
            .flat_map(|(name, tag)| self.registries().map(move |copier| copier.target().announce(name, tag)));
        stream::iter(told.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect().await
    }

    fn registries(&self) -> impl Iterator<Item = &Copier> {
        let all = self.copiers.iter().zip(&self.settings.destinations);
        all.filter(|(_, d)| **d == Destination::Registry).map(|(copier, _)| copier)
    }

    /// Makes what lies between the bases and the programs of each image, the `debuggers` among it.
    pub(super) async fn prepare(&self, debuggers: impl Future<Output = Result<Debuggers>>) -> Result<()> {
        let files = async {
            let data = data::layers(self).await?;
            let bundles = trust::bundles(self, &data).await?;
            Ok((data, bundles))
        };
        let ((data, bundles), debuggers) = tokio::try_join!(files, debuggers)?;
        let set = self.between.set(Between { data, bundles, debuggers });
        set.map_err(|_| Error::new(Kind::Internal, "prepare", "it was done before"))
    }

    /// Whether some destination takes what it is given: whatever is lent to it must be checked before.
    pub(super) fn has_trusting_destination(&self) -> bool {
        let checks = |d: &Destination| {
            matches!(d, Destination::Registry | Destination::Layout(_) | Destination::LayoutPerProgram(_))
        };
        !self.settings.destinations.iter().all(checks)
    }

    /// Writes a tree, whose files `open` opens, as a layer into the private directory.
    pub(super) async fn write(
        &self,
        tree: FileTree,
        open: impl Fn(&Path) -> std::io::Result<Box<dyn Read>> + Send + 'static,
    ) -> Result<(Written, Arc<Path>)> {
        let _turn =
            self.writing.acquire().await.map_err(|e| Error::new(Kind::Internal, "write a layer", e))?;
        let (file, path) = self.cx.scratch.file()?;
        let (compression, threads) = (self.settings.compression, self.settings.jobs);
        let written = blocking(move || layer::write(&tree, compression, threads, &open, file)).await?;
        Ok((written, Arc::from(path)))
    }

    pub(super) fn layer(
        &self,
        written: (Written, impl Into<Content>),
        image: &ImagePlan,
        comment: &str,
        epoch: Option<u64>,
    ) -> Layer {
        let (written, content) = written;
        let created = epoch.or(image.epoch).map_or_else(|| EPOCH.to_owned(), rfc3339);
        Layer {
            blob: Blob { descriptor: written.descriptor(), content: content.into() },
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

    /// Makes the images, copies them everywhere, and moves the names when everything is everywhere. Registries are also
    /// told what is to be `shared`.
    pub(super) async fn publish(
        &self,
        packed: &PackedLayers,
        shared: Option<&Shared<'_>>,
        recipes: Option<&Recipes<'_>>,
    ) -> Result<Vec<Published>> {
        self.deliver(self.assembled(packed, recipes).await?, shared).await
    }

    /// Copies images everywhere, and moves the names when everything is everywhere.
    pub(super) async fn deliver(
        &self,
        assembled: Vec<Assembled>,
        shared: Option<&Shared<'_>>,
    ) -> Result<Vec<Published>> {
        let timing = Timing::of(&self.cx.observer, Step::Publish);
        timing.end(self.put(assembled, shared).await)
    }

    async fn put(
        &self,
        mut assembled: Vec<Assembled>,
        shared: Option<&Shared<'_>>,
    ) -> Result<Vec<Published>> {
        let graphs: Vec<Graph> = assembled.iter().map(|i| i.graph.clone()).collect();
        let attached = assembled.iter().map(|i| self.attached(i)).collect::<Result<Vec<Graph>>>()?;
        let sboms = match &self.settings.sboms.dir {
            Some(dir) => Some(Files::new(dir, assembled.iter_mut().flat_map(|i| i.sboms.drain(..)))?),
            None => None,
        };
        let mut all = match shared {
            Some(shared) => {
                let signer = self.signer.as_ref();
                let told = attached.iter().enumerate();
                let told = told.map(|(image, graph)| shared.with_inputs(image, graph, signer));
                try_join_all(told).await?
            }
            None => attached,
        };
        all.extend(self.further(&all));
        if let Some(signer) = self.signer.as_ref().filter(|_| self.settings.sign_tag) {
            for graph in &mut all {
                graph.beside.extend(signer.sign_beside(graph)?);
            }
        }
        let recalled = all.into_iter().map(|graph| attached::recall(self.cx, self.memo, graph));
        let all = try_join_all(recalled).await?;
        // Registries have further names for the same, and what is attached; other destinations don't.
        let sent = |d: &Destination| if *d == Destination::Registry { &all } else { &graphs };
        let each = || self.copiers.iter().zip(&self.settings.destinations).map(|(c, d)| (c, sent(d)));
        let content = each().flat_map(|(copier, graphs)| graphs.iter().map(move |graph| (copier, graph)));
        try_join_all(content.map(|(copier, graph)| async move {
            match copier.content(graph).await? {
                true => attached::remember(self.cx, self.memo, graph).await,
                false => Ok(()),
            }
        }))
        .await?;
        let before = summary::before(self).await;
        // Every destination has everything: only now do names move.
        for (copier, graphs) in each() {
            copier.publish(graphs).await?;
        }
        self.say_where(&graphs);
        if let Some(sboms) = sboms {
            blocking(move || sboms.write()).await?;
        }
        let images = assembled.into_iter().zip(before);
        let published: Vec<Published> = images.map(|(image, before)| image.published(self, before)).collect();
        image_refs::write(self.settings, &published)?;
        Ok(published)
    }

    /// Makes the images, and what is said about them.
    pub(super) async fn assembled(
        &self,
        packed: &PackedLayers,
        recipes: Option<&Recipes<'_>>,
    ) -> Result<Vec<Assembled>> {
        let between = self.between.wait().await;
        (0..self.images.len()).map(|index| self.assemble(index, packed, between, recipes)).collect()
    }

    /// The graph of an image with what is to be attached to it in registries.
    fn attached(&self, image: &Assembled) -> Result<Graph> {
        if !self.attaches() {
            return Ok(image.graph.clone());
        }
        let (mut referrers, mut beside): (Vec<Referrer>, Vec<Beside>) = Default::default();
        if let Some(format) = self.settings.sboms.format {
            for sbom in &image.sboms {
                referrers.extend(sbom.referrer(format, self.signer.as_ref())?);
                if self.settings.sboms.tag {
                    beside.push(sbom.beside(format)?);
                }
            }
        }
        if let Some(provenance) = &image.provenance {
            referrers.push(provenance.referrer(self.signer.as_ref())?);
        }
        if let Some(signer) = &self.signer {
            referrers.extend(signer.sign(&image.graph, &image.created)?);
        }
        Ok(Graph { beside, ..image.graph.clone().with_referrers(referrers) })
    }

    /// Whether anything is attached to images.
    pub(super) fn attaches(&self) -> bool {
        self.settings.attest != Attest::None && self.registries().next().is_some()
    }

    /// The SBOMs of an image, as far as somebody wants them. Unless they were asked for, an image can do without.
    fn sboms(
        &self,
        plan: &ImagePlan,
        images: &[Image],
        root: &Blob,
        programs: Vec<bills::Contents<'_>>,
    ) -> Result<Vec<bills::Document>> {
        let Sboms { format: Some(format), asked, dir, .. } = &self.settings.sboms else {
            return Ok(Vec::new());
        };
        if dir.is_none() && !self.attaches() {
            return Ok(Vec::new());
        }
        match bills::documents(*format, plan, &self.bases[plan.base], images, root, programs) {
            Err(error) if !asked && self.settings.attest == Attest::Auto => {
                let text = format!("{error}; the image goes on without it");
                self.cx.observer.on(Event::Warning(text));
                Ok(Vec::new())
            }
            other => other,
        }
    }

    /// One image of the plan from its layers: an image for one platform, an index for several.
    fn assemble(
        &self,
        index: usize,
        packed: &PackedLayers,
        between: &Between,
        recipes: Option<&Recipes<'_>>,
    ) -> Result<Assembled> {
        let plan = &self.images[index];
        let bases = &self.bases[plan.base];
        let mut images: Vec<Image> = Vec::new();
        let mut programs = Vec::new();
        for (number, (platform, _)) in bases.list.iter().enumerate() {
            let program = packed
                .get(&(index, number))
                .ok_or_else(|| Error::new(Kind::Internal, "assemble", "a program was never packed"))?;
            programs.push(bills::Contents { packed: program, debugger: between.debuggers.get(platform) });
            images.push(self.image(index, number, program, between)?);
        }
        self.together(index, images, programs, |images, root, programs| match recipes {
            Some(recipes) => recipes.provenance(index, bases, (images, root), programs),
            None => Ok(None),
        })
    }

    /// The `images` of one image of the plan, in the order of its platforms, which hold these `programs`. What is `said`
    /// of how they were made follows from them and their root.
    pub(super) fn together(
        &self,
        index: usize,
        images: Vec<Image>,
        programs: Vec<bills::Contents<'_>>,
        said: impl FnOnce(&[Image], &Blob, &[bills::Contents<'_>]) -> Result<Option<Provenance>>,
    ) -> Result<Assembled> {
        let plan = &self.images[index];
        let bases = &self.bases[plan.base];
        let platforms = images.iter().zip(&bases.list).zip(&programs);
        let platforms = platforms.map(|((image, (platform, _)), contents)| {
            published_platform(image, platform.to_string(), contents.packed.programs.size)
        });
        let platforms = platforms.collect();
        let blobs = images.iter().flat_map(|i| i.layers.iter().cloned().chain([i.config.clone()])).collect();
        let (root, children) = if let [image] = images.as_slice() {
            (image.manifest.clone(), Vec::new())
        } else {
            let root = assemble::index(&images, bases.origin().as_ref(), &plan.annotations)?;
            (root, images.iter().map(|i| i.manifest.clone()).collect())
        };
        let provenance = said(&images, &root, &programs)?;
        let sboms = self.sboms(plan, &images, &root, programs)?;
        let created = images.iter().map(|i| i.created.clone()).max().unwrap_or_else(|| EPOCH.to_owned());
        let graph = Graph::new(plan.name.clone(), blobs, children, root, plan.tags.clone());
        let (also, import_path) = (plan.also.clone(), plan.import_path.clone());
        Ok(Assembled { graph, images, also, import_path, platforms, created, sboms, provenance })
    }

    /// The image of one platform.
    fn image(&self, index: usize, number: usize, program: &Packed, between: &Between) -> Result<Image> {
        let plan = &self.images[index];
        let (platform, _) = &self.bases[plan.base].list[number];
        let data = between.data.get(index).and_then(|d| d.get(&Filesystem::of(platform)));
        let mut layers: Vec<Layer> = data.cloned().unwrap_or_default();
        layers.extend(between.bundles.get(&(index, number)).cloned());
        if let Some(debugger) = between.debuggers.get(platform) {
            layers.push(self.layer(debugger.layer.clone(), plan, "Delve debugger, at /ko-app/dlv", None));
        }
        layers.push(program.layer.clone());
        self.on_base(index, number, &layers)
    }

    /// The image of one platform that has these `layers` above its base.
    pub(super) fn on_base(&self, index: usize, number: usize, layers: &[Layer]) -> Result<Image> {
        let plan = &self.images[index];
        let (platform, base) = &self.bases[plan.base].list[number];
        let config = &plan.config;
        let mut wrapper = config.entrypoint.clone();
        if self.settings.debug {
            wrapper.extend(debug::command());
        }
        let file = plan.programs.first().map(|p| p.file(&platform.os)).unwrap_or_default();
        let spec = Spec {
            platform,
            dir: &plan.programs_dir,
            program: &file,
            created: plan.epoch.map(rfc3339),
            wrapper: &wrapper,
            cmd: config.cmd.as_deref(),
            env: &config.env,
            working_dir: config.working_dir.as_deref(),
            extra: &config.extra,
            labels: &config.labels,
            annotations: &plan.annotations,
            user: config.user.as_deref(),
        };
        assemble::image(base, layers, &spec)
    }

    /// The same images under the names of their further repositories.
    fn further(&self, graphs: &[Graph]) -> Vec<Graph> {
        let images = self.images.iter().zip(graphs);
        let names = images.flat_map(|(image, graph)| image.also.iter().map(move |r| (graph, r)));
        let renamed = names.map(|(graph, repository)| {
            let name = ImageName { repository: Some(repository.clone()), ..graph.name.clone() };
            Graph { name, ..graph.clone() }
        });
        renamed.collect()
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
pub(super) struct Assembled {
    pub(super) graph: Graph,
    /// In the order of its platforms.
    pub(super) images: Vec<Image>,
    /// Further repositories that it is pushed to.
    also: Vec<Repository>,
    import_path: String,
    platforms: Vec<PublishedPlatform>,
    /// When the last of its images was made: RFC 3339.
    created: String,
    /// What says what is in it.
    sboms: Vec<bills::Document>,
    /// What says how it was made.
    pub(super) provenance: Option<Provenance>,
}

impl Assembled {
    /// What to tell about it. The registry's reference comes first if there is one.
    fn published(self, publisher: &Publisher<'_>, before: Before) -> Published {
        let root = &self.graph.root.descriptor;
        let mut references: Vec<String> =
            publisher.copiers.iter().map(|c| c.target().reference(&self.graph)).collect();
        references.sort_by_key(|r| r.starts_with("oci") || r.starts_with("docker-archive:"));
        references.extend(self.also.iter().map(|r| self.graph.reference(&r.to_string())));
        let mut references = references.into_iter();
        let mut reference = references.next().unwrap_or_default();
        if let (true, [tag]) = (publisher.settings.tag_only, self.graph.tags.as_slice())
            && let Some(name) = &self.graph.name.repository
        {
            reference = format!("{name}:{tag}");
        }
        Published {
            reference,
            also: references.collect(),
            import_path: self.import_path,
            digest: root.digest,
            media_type: root.media_type.clone(),
            tags: self.graph.tags.iter().map(ToString::to_string).collect(),
            before,
            pushed: summary::pushed(publisher, &self.graph),
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
