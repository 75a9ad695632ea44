//! The provenance of a run's images: the recipe of each, what went in and what came out, attached to its root.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use crate::attest::{self, Isolation, Made, PROVENANCE, Statement, Subject};
use crate::content::{Blob, Content, Referrer};
use crate::error::{Error, Kind, Result};
use crate::go::{Fetched, Go, Sandbox};
use crate::image::assemble::Image;
use crate::oci::{Descriptor, Digest, ImageConfig, MediaType, Platform, Reference, annotation, json};
use crate::ops::base::{Bases, Root};
use crate::ops::bills::Contents;
use crate::ops::signer::Signer;
use crate::ops::{Context, sources};
use crate::plan::Plan;
use crate::plan::recipe::{BaseRecipe, Recipe};
use crate::plan::secrets::Secrets;
use crate::settings::{Base, Settings};

/// How the images of a run are made.
pub(super) struct Recipes<'a> {
    go: &'a Go,
    sandbox: Option<&'a Sandbox>,
    settings: &'a Settings,
    recipes: Vec<Recipe>,
}

/// What a statement about an image holds: the image's root comes first.
pub(super) struct Provenance {
    /// What it says, as JSON.
    pub(super) statement: Bytes,
    to: Descriptor,
    created: String,
}

impl<'a> Recipes<'a> {
    /// The recipes of all images of a plan.
    pub(super) async fn of(
        cx: &Context,
        settings: &'a Settings,
        (go, module, sandbox): (&'a Go, Option<&Fetched>, Option<&'a Sandbox>),
        plan: &Plan,
        bases: &[Bases],
    ) -> Self {
        let (known, version) = (&go.toolchain.settings, go.toolchain.version.as_str());
        let secrets = Secrets::of_run(cx.env.all(), known, settings);
        let sources = sources::lookup((go, module), plan).await;
        let recipes = sources.into_iter().enumerate().map(|(index, sources)| {
            let of = plan.images.get(index).and_then(|image| bases.get(image.base));
            let bases: Vec<BaseRecipe> = of.iter().flat_map(|b| &b.of).map(base).collect();
            Recipe::of((plan, index), settings, (known, version), &sources, &bases, &secrets)
        });
        Recipes { go, sandbox, settings, recipes: recipes.collect() }
    }

    /// A recipe that was read.
    pub(super) fn known(go: &'a Go, settings: &'a Settings, recipe: Recipe) -> Self {
        Recipes { go, sandbox: None, settings, recipes: vec![recipe] }
    }

    /// The provenance of the image `index`, whose `images` and `contents` are in the order of its platforms.
    ///
    /// # Errors
    /// None that the types allow.
    pub(super) fn provenance(
        &self,
        index: usize,
        bases: &Bases,
        (images, root): (&[Image], &Blob),
        contents: &[Contents<'_>],
    ) -> Result<Option<Provenance>> {
        let Some(mut recipe) = self.recipes.get(index).cloned() else { return Ok(None) };
        let programs = contents.iter().flat_map(|c| &c.packed.programs.contents);
        let stamps = programs.filter_map(|p| p.modules.as_ref()?.stamp.as_ref());
        recipe.source.modified |= stamps.into_iter().any(|stamp| stamp.modified);
        let mut configs = Vec::new();
        for image in images {
            configs.push(config(image)?);
        }
        let stands = bases.list.iter().zip(&bases.of).zip(images.iter().zip(&configs)).zip(contents);
        let platforms = stands.map(|((((platform, inherited), root), (_, config)), contents)| Made {
            platform,
            base: of_registry(root),
            programs: contents
                .packed
                .programs
                .contents
                .iter()
                .map(|p| (p.path.as_str(), p.digest, p.modules.as_ref()))
                .collect(),
            layers: layers(config, inherited.layers.len()),
        });
        let platforms: Vec<Made<'_>> = platforms.collect();
        let source = &recipe.source;
        let build = attest::Build {
            recipe: value(&recipe)?,
            level: crate::image::LEVEL,
            encoder: self.settings.compression.encoder_id(),
            version: env!("CARGO_PKG_VERSION"),
            source: source.revision.clone().map(|revision| (revision, source.repository.clone())),
            toolchain: (&self.go.toolchain.version, &self.go.toolchain.programs),
            isolation: self.sandbox.map(|sandbox| Isolation {
                network: sandbox.network(),
                toolchain: (&sandbox.toolchain.name, sandbox.toolchain.digest),
            }),
            platforms,
        };
        of(&attest::predicate(&build), bases, (images, root)).map(Some)
    }
}

/// The provenance of an image that was put on other `bases`, by a `recipe` that names these, where `statement` says how it
/// was built: what a build says.
///
/// # Errors
/// None that the types allow.
pub(super) fn rebased(
    statement: &Statement,
    recipe: &Recipe,
    bases: &Bases,
    made: (&[Image], &Blob),
) -> Result<Provenance> {
    let of_registries = bases.of.iter().filter_map(of_registry);
    let new: Vec<(&Reference, Digest)> = of_registries.collect();
    let predicate = attest::rebased(&statement.predicate, value(recipe)?, &new, env!("CARGO_PKG_VERSION"));
    of(&predicate, bases, made)
}

/// The statement that `predicate` is true of an image.
fn of(predicate: &Value, bases: &Bases, (images, root): (&[Image], &Blob)) -> Result<Provenance> {
    let subject =
        |name: Option<&Platform>, digest: Digest| Subject { name: name.map(ToString::to_string), digest };
    let mut subjects = vec![subject(None, root.descriptor.digest)];
    if root.descriptor.media_type.is_index() {
        let children = images.iter().zip(&bases.list);
        subjects.extend(children.map(|(i, (p, _))| subject(Some(p), i.manifest.descriptor.digest)));
    }
    let statement = attest::statement(&subjects, PROVENANCE, predicate)?.into();
    let created = images.iter().map(|i| i.created.clone()).max().unwrap_or_default();
    Ok(Provenance { statement, to: root.descriptor.clone(), created })
}

/// Where a base comes from that is an image of a registry, and the digest of its root.
fn of_registry(root: &Root) -> Option<(&Reference, Digest)> {
    match (&root.base, root.digest) {
        (Base::Registry(reference), Some(digest)) => Some((reference, digest)),
        _ => None,
    }
}

impl Provenance {
    /// The artifact that says it, signed if somebody signs.
    ///
    /// # Errors
    /// None that the types allow.
    pub(super) fn referrer(&self, signer: Option<&Signer>) -> Result<Referrer> {
        if let Some(signer) = signer {
            return signer.attest(&self.to, PROVENANCE, &self.statement, &self.created);
        }
        let said = (annotation::PREDICATE_TYPE.to_owned(), PROVENANCE.to_owned());
        let mut layer = Blob::of(MediaType::STATEMENT, self.statement.clone());
        layer.descriptor.annotations.extend([said.clone()]);
        let created = (annotation::CREATED.to_owned(), self.created.clone());
        let annotations = BTreeMap::from([said, created]);
        Referrer::artifact(MediaType::STATEMENT, vec![layer], annotations, &self.to)
    }
}

/// A base in a recipe.
pub(super) fn base(root: &Root) -> BaseRecipe {
    let name = match &root.base {
        Base::Static(_) => Some(format!("static@{}", crate::base::VERSION)),
        Base::Scratch => Some("scratch".to_owned()),
        Base::Registry(reference) => Some(reference.to_string()),
        Base::Docker(_) | Base::Layout(..) | Base::OciArchive(..) | Base::DockerArchive(_) => None,
    };
    BaseRecipe { name, digest: root.digest }
}

/// The config of an image that was just made.
fn config(image: &Image) -> Result<ImageConfig> {
    match &image.config.content {
        Content::Bytes(bytes) => json::from_bytes(bytes, "a config"),
        _ => Err(Error::new(Kind::Internal, "read a config", "it isn't in memory")),
    }
}

/// The layers above the `inherited` lowest: what they are, and the digests of their tars.
fn layers(config: &ImageConfig, inherited: usize) -> Vec<(&str, Digest)> {
    let comments = config.history.iter().filter(|h| h.empty_layer != Some(true)).map(|h| &h.comment);
    let comments: Vec<&str> = comments.map(|c| c.as_deref().unwrap_or_default()).collect();
    let own = config.rootfs.diff_ids.iter().skip(inherited);
    let said = comments.iter().skip(comments.len().saturating_sub(own.len()));
    own.zip(said).map(|(digest, comment)| (*comment, *digest)).collect()
}

fn value(recipe: &Recipe) -> Result<Value> {
    serde_json::to_value(recipe).map_err(|e| Error::new(Kind::Internal, "write a recipe", e))
}
