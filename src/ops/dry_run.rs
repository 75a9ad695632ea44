//! `--dry-run`: everything up to the plan, which is then told instead of carried out. Nothing is compiled, written or
//! pushed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::content::copy::Copier;
use crate::error::Result;
use crate::event::Event;
use crate::go::{self, Go};
use crate::image::assemble::DATA_DIR;
use crate::image::{Filesystem, certificates};
use crate::ops::base::Bases;
use crate::ops::lookup::{Found, lookup};
use crate::ops::memo::Memo;
use crate::ops::{Context, data, pack, targets};
use crate::plan::secrets::Secrets;
use crate::plan::{self, CompileGroup, ImagePlan, debug};
use crate::report::{
    DryRun, LayerKind, PlannedBase, PlannedCompile, PlannedConfig, PlannedImage, PlannedLayer,
    PlannedPlatform,
};
use crate::settings::pack::Pack;
use crate::settings::{Base, Destination, Settings};

/// What stands for the run's private directory.
const PRIVATE: &str = "TMP";

/// What `gimg build` would do.
///
/// # Errors
/// Whatever a stage up to the plan says; a destination that can't be one.
pub async fn build(cx: &Context, settings: &Settings) -> Result<DryRun> {
    cx.store.freeze();
    for warning in &settings.warnings {
        cx.observer.on(Event::Warning(warning.clone()));
    }
    let Found { facts, go, bases, engines, .. } =
        lookup(cx, settings, &Memo::new(cx, settings.reuse), None).await?;
    let plan = plan::plan(settings, &facts)?;
    let copiers = targets::copiers(cx, settings, &engines)?;
    let secrets = Secrets::of_run(cx.env.all(), &go.toolchain.settings, settings);
    let teller = Teller { settings, secrets: &secrets, bases: &bases, copiers: &copiers };
    let mut images = Vec::new();
    for image in &plan.images {
        let programs = image.programs.iter().map(|p| p.import_path.clone()).collect();
        images.push(teller.image(image, programs).await?);
    }
    let compiles = plan.groups.iter().map(|group| compile(&go, group, &secrets)).collect();
    Ok(DryRun { images, compiles, go_version: Some(go.toolchain.version.clone()) })
}

/// What `gimg pack` would do.
///
/// # Errors
/// As [`build`]; programs that can't be packed.
pub async fn pack(cx: &Context, pack: &Pack) -> Result<DryRun> {
    cx.store.freeze();
    let settings = &pack.settings;
    let pack::Ready { image, bases, engines, .. } = pack::ready(cx, pack).await?;
    let copiers = targets::copiers(cx, settings, &engines)?;
    let secrets = Secrets::of_run(cx.env.all(), &BTreeMap::new(), settings);
    let teller = Teller { settings, secrets: &secrets, bases: &bases, copiers: &copiers };
    let programs = pack.programs.iter().map(|p| p.path.display().to_string()).collect();
    let images = vec![teller.image(&image, programs).await?];
    Ok(DryRun { images, compiles: Vec::new(), go_version: None })
}

/// Tells of images.
struct Teller<'a> {
    settings: &'a Settings,
    secrets: &'a Secrets,
    bases: &'a [Bases],
    copiers: &'a [Copier],
}

impl Teller<'_> {
    /// An image whose programs come from `programs`.
    async fn image(&self, image: &ImagePlan, programs: Vec<String>) -> Result<PlannedImage> {
        let text = |text: &str| self.secrets.text(text);
        let texts = |map: &BTreeMap<String, String>| map.iter().map(|(k, v)| (text(k), text(v))).collect();
        let bases = &self.bases[image.base];
        let destinations = self.copiers.iter().zip(&self.settings.destinations);
        let destinations = destinations.filter(|(_, d)| **d != Destination::Nowhere);
        let config = &image.config;
        let debugger = if self.settings.debug { debug::command() } else { Vec::new() };
        let name = &image.name;
        Ok(PlannedImage {
            import_path: image.import_path.clone(),
            name: text(&name.shown()),
            tags: image.tags.iter().map(|t| text(&t.to_string())).collect(),
            destinations: destinations.map(|(copier, _)| text(&copier.target().describe(name))).collect(),
            base: PlannedBase {
                name: bases.of.first().map(|root| base(&root.base)).unwrap_or_default(),
                digest: bases.of.first().and_then(|root| root.digest),
            },
            platforms: self.platforms(image),
            layers: self.layers(image, programs).await?,
            config: PlannedConfig {
                user: config.user.as_deref().map(text),
                working_dir: config.working_dir.as_deref().map(text),
                env: config.env.iter().map(|(k, v)| (k.clone(), self.secrets.variable(k, v))).collect(),
                entrypoint: config.entrypoint.iter().chain(&debugger).map(|a| text(a)).collect(),
                cmd: config.cmd.as_ref().map(|cmd| cmd.iter().map(|a| text(a)).collect()),
                labels: texts(&config.labels),
                fields: config.extra.iter().map(|(k, v)| (k.clone(), self.secrets.json(v))).collect(),
            },
            annotations: texts(&image.annotations),
        })
    }

    fn platforms(&self, image: &ImagePlan) -> Vec<PlannedPlatform> {
        let bases = &self.bases[image.base];
        let several = bases.one().is_none();
        let found = bases.list.iter().zip(&bases.of);
        let platforms = found.map(|((platform, inherited), root)| PlannedPlatform {
            platform: platform.to_string(),
            base: several.then(|| base(&root.base)),
            base_digest: inherited.origin.as_ref().map(|(_, digest)| *digest),
            programs: image
                .programs
                .iter()
                .map(|p| format!("{}/{}", image.programs_dir.trim_end_matches('/'), p.file(&platform.os)))
                .map(|path| Filesystem::of(platform).path(&path))
                .collect(),
        });
        platforms.collect()
    }

    async fn layers(&self, image: &ImagePlan, programs: Vec<String>) -> Result<Vec<PlannedLayer>> {
        let media_type = self.settings.compression.media_type();
        let layer = |kind, from, to: &str| {
            let to = self.secrets.text(to);
            PlannedLayer { kind, from, to, media_type: media_type.clone() }
        };
        let path = |path: &Path| self.secrets.text(&path.display().to_string());
        let mut layers = Vec::new();
        if data::kodata(self.settings, image).await?.is_some() {
            let from = image.kodata.iter().map(|dir| path(dir)).collect();
            layers.push(layer(LayerKind::Kodata, from, DATA_DIR));
        }
        for files in &image.files {
            let to = &files.destination;
            let name = to.file_name.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
            layers.push(layer(LayerKind::Files, vec![path(&files.from)], &format!("/{}{name}", to.to)));
        }
        if !self.settings.ca_certs.is_empty() {
            let from = self.settings.ca_certs.iter().map(|file| path(file)).collect();
            layers.push(layer(LayerKind::Certificates, from, certificates::PLACES[0]));
        }
        if self.settings.debug {
            let from = vec![format!("{}@{}", debug::PACKAGE, debug::VERSION)];
            layers.push(layer(
                LayerKind::Debugger,
                from,
                &format!("{}/{}", plan::PROGRAMS_DIR, debug::PROGRAM),
            ));
        }
        layers.push(layer(LayerKind::Programs, programs, &image.programs_dir));
        Ok(layers)
    }
}

/// A base in the words of `--base`.
fn base(base: &Base) -> String {
    match base {
        Base::Static(_) => format!("static@{}", crate::base::VERSION),
        Base::Scratch => "scratch".to_owned(),
        Base::Registry(reference) | Base::Docker(reference) => reference.to_string(),
        Base::Layout(dir, None) => format!("oci:{}", dir.display()),
        Base::Layout(dir, Some(name)) => format!("oci:{}:{name}", dir.display()),
        Base::OciArchive(file, None) => format!("oci-archive:{}", file.display()),
        Base::OciArchive(file, Some(name)) => format!("oci-archive:{}:{name}", file.display()),
        Base::DockerArchive(file) => format!("docker-archive:{}", file.display()),
    }
}

/// A `go build`, as it would be run.
fn compile(go: &Go, group: &CompileGroup, secrets: &Secrets) -> PlannedCompile {
    let private = Path::new(PRIVATE);
    let go = go.clone().with_temporary(&private.join("tmp"));
    let child = go::command(&go, group, &private.join("out"));
    let program = child.program.to_string_lossy();
    let argv = std::iter::once(program).chain(child.args.iter().map(|a| a.to_string_lossy()));
    PlannedCompile {
        platform: group.target.platform.to_string(),
        packages: group.packages.iter().map(|p| p.import_path.clone()).collect(),
        dir: child.dir.display().to_string(),
        argv: argv.map(|a| secrets.text(&a)).collect(),
        // Of a variable that is set twice the last value counts, as it does for a child.
        env: child.set.iter().map(|(k, v)| (k.clone(), secrets.variable(k, v))).collect(),
    }
}
