//! `gimg rebase`: a published image on what its base is now. Its own layers stay as they are, nothing is compiled, and
//! what comes out is what a build on the new base gives: it is put together by the recipe that is attached to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::sync::{Semaphore, SetOnce};

use crate::attest::{CameOut, Licences, Statement};
use crate::content::ImageName;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::image::assemble::Layer;
use crate::oci::{Digest, History, Reference, Repository, Tag};
use crate::ops::base::{self, Bases};
use crate::ops::bills::Contents;
use crate::ops::engines::Engines;
use crate::ops::home::Home;
use crate::ops::opened::{self, Opened};
use crate::ops::provenance;
use crate::ops::publish::{Packed, PackedProgram, Programs, Publisher};
use crate::ops::signer::Signer;
use crate::ops::{
    Context, blocking, claimed, contained, modules, proofs, rebuild, signatures, targets, verify,
};
use crate::plan::ImagePlan;
use crate::plan::recipe::{BaseRecipe, Recipe};
use crate::report::{Rebased, RebasedPlatform};
use crate::settings::subject::Subject;
use crate::settings::{Base, Destination, Settings, Stand};
use crate::sign::PublicKey;

/// What the user wants.
#[derive(Clone, Debug)]
pub struct Rebase {
    /// The image.
    pub image: Reference,
    /// What it is to stand on; else what it stands on, as that is now.
    pub base: Option<Base>,
    /// The tags that it gets; else the one that names it.
    pub tags: Vec<Tag>,
    /// The file of a public key that must have signed it, and how it was built; else that of the key that signs.
    pub key: Option<PathBuf>,
    /// Whether nothing is pushed.
    pub dry: bool,
}

/// Puts the image on its new base, and pushes it to where it is unless this is a dry run.
///
/// # Errors
/// An image without a recipe, or that isn't what its recipe says (kind `Integrity`); one that can't do with another base,
/// such as a program that asks for a C library (kind `Input`); a key that didn't sign it (kind `Attestation`); as a push.
pub async fn rebase(cx: &Context, settings: &Settings, asked: &Rebase) -> Result<Rebased> {
    attempt(cx, settings, asked).await.map_err(|e| e.within(format!("rebase {}", asked.image)))
}

async fn attempt(cx: &Context, settings: &Settings, asked: &Rebase) -> Result<Rebased> {
    let signer = Signer::new(cx, settings).await?;
    let root = opened::root(cx, &Subject::Registry(asked.image.clone())).await?;
    let (was, repository) = (&root.descriptor, &asked.image.repository);
    // What is signed anew was signed before: a key vouches for nothing that anybody may have attached.
    let key = match &asked.key {
        Some(path) => Some(signatures::public_key(path).await?),
        None => signer.as_ref().map(Signer::public),
    };
    let signed = match &key {
        Some(key) => Some(signatures::require(cx, repository, was, key).await?),
        None => None,
    };
    let said = proofs::provenance(cx, repository, was, signed).await?;
    let (statement, recipe) = usable(&said)?;
    let images = images(&root, &recipe).await?;
    let stand = stand(&recipe, asked.base.as_ref())?;
    let mut settings = Settings { destinations: vec![Destination::Registry], ..settings.clone() };
    rebuild::follow(&mut settings, &recipe, &stand)?;
    let bases = [base::lookup(cx, &settings, None, &stand).await?];
    let before = recipe.clone();
    let recipe = on(recipe, &bases[0])?;
    let mut rebased = Rebased {
        reference: format!("{repository}@{}", was.digest),
        digest: was.digest,
        media_type: was.media_type.clone(),
        was: was.digest,
        tags: Vec::new(),
        pushed: false,
        platforms: platforms(&before, &recipe),
    };
    if rebased.platforms.iter().all(|p| p.base == p.was) {
        cx.observer.on(Event::Note(format!("{} is on its newest base: nothing was moved", asked.image)));
        return Ok(rebased);
    }
    let steps = rebased.platforms.iter().filter(|p| p.base != p.was).map(|p| (&p.was, &p.base));
    for (was, base) in steps.collect::<BTreeSet<_>>() {
        cx.observer.on(Event::Note(format!("from {was} to {base}")));
    }
    let plan = plan(&recipe, repository, asked)?;
    let copiers = targets::copiers(cx, &settings, &Engines::default())?;
    let publisher = Publisher {
        cx,
        settings: &settings,
        images: std::slice::from_ref(&plan),
        bases: &bases,
        copiers: &copiers,
        certificates: &[],
        memo: None,
        places: None,
        signer,
        between: SetOnce::new(),
        writing: Semaphore::new(settings.jobs),
    };
    let (mut made, mut packed) = (Vec::new(), Vec::new());
    for (number, (image, platform)) in images.into_iter().zip(&recipe.platforms).enumerate() {
        let came_out = CameOut::read(&statement.predicate, &platform.platform);
        let layers = own_layers(&image, &came_out)?;
        made.push(publisher.on_base(0, number, &layers)?);
        let licences = licences(cx, repository, &image, key.as_ref()).await?;
        packed.push(programs(cx, image, layers, &came_out, &licences).await?);
    }
    let contents = packed.iter().map(|packed| Contents { packed, debugger: None }).collect();
    let assembled = publisher.together(0, made, contents, |images, root, _| {
        provenance::rebased(statement, &recipe, &bases[0], (images, root)).map(Some)
    })?;
    let new = assembled.graph.root.descriptor.clone();
    rebased.reference = format!("{repository}@{}", new.digest);
    (rebased.digest, rebased.media_type) = (new.digest, new.media_type);
    if asked.dry {
        cx.observer.on(Event::Note("nothing was pushed".to_owned()));
        return Ok(rebased);
    }
    publisher.deliver(vec![assembled], None).await?;
    rebased.tags = plan.tags.iter().map(ToString::to_string).collect();
    rebased.pushed = true;
    if let Some(tag) = asked.moved().filter(|tag| plan.tags.contains(tag)) {
        let back = format!("the way back: gimg rollback {repository}:{tag} --to {}", was.digest);
        cx.observer.on(Event::Note(back));
    }
    Ok(rebased)
}

impl Rebase {
    /// The tag that names the image.
    fn moved(&self) -> Option<&Tag> {
        self.image.tag.as_ref().filter(|_| self.image.digest.is_none())
    }
}

/// The newest record that has a recipe by the rules of today.
fn usable(said: &[Statement]) -> Result<(&Statement, Recipe)> {
    let mut first = None;
    for statement in said {
        let level = &statement.predicate["buildDefinition"]["internalParameters"]["layoutLevel"];
        let recipe = match *level == crate::image::LEVEL {
            true => verify::recipe(&statement.predicate),
            false => Err(anew(format!("it was made by other rules, those of level {level}"))),
        };
        match recipe {
            Ok(recipe) => return Ok((statement, recipe)),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    Err(first.unwrap_or_else(|| Error::new(Kind::Internal, "read its provenance", "there is none")))
}

/// The images of the platforms, which must be as many as in the recipe.
async fn images(root: &opened::Root, recipe: &Recipe) -> Result<Vec<Opened>> {
    let images = root.all().await?;
    match images.len() == recipe.platforms.len() {
        true => Ok(images),
        false => {
            let (theirs, ours) = (images.len(), recipe.platforms.len());
            let why = format!("it has images for {theirs} platforms, its recipe makes {ours}");
            Err(Error::new(Kind::Integrity, "use the recipe", why))
        }
    }
}

/// What the image is to stand on: another `base`, or what the recipe's stand for now.
fn stand(recipe: &Recipe, base: Option<&Base>) -> Result<Stand> {
    if let Some(base) = base {
        return Ok(Stand { base: base.clone(), platforms: Vec::new(), asked: None });
    }
    let now = |base: Base| match base {
        Base::Static(_) => Ok(Base::Static(None)),
        Base::Registry(reference) if reference.digest.is_some() => {
            let why = format!("its base is always the same: {reference}");
            Err(Error::new(Kind::Input, "look for its base", why).hint("name another with --base"))
        }
        other => Ok(other),
    };
    // The data that an older gimg had needn't be here.
    let mut recipe = recipe.clone();
    let names = recipe.platforms.iter_mut().filter_map(|p| p.base.name.as_mut());
    names.filter(|name| name.starts_with("static@")).for_each(|name| "static".clone_into(name));
    let Stand { base, platforms, .. } = rebuild::stand(&recipe)?;
    let platforms = platforms.into_iter().map(|(platform, base)| Ok((platform, now(base)?)));
    Ok(Stand { base: now(base)?, platforms: platforms.collect::<Result<_>>()?, asked: None })
}

/// The recipe on other bases.
fn on(mut recipe: Recipe, bases: &Bases) -> Result<Recipe> {
    let names: Vec<String> = bases.platforms().iter().map(ToString::to_string).collect();
    if !names.iter().eq(recipe.platforms.iter().map(|p| &p.platform)) {
        let why = format!("the new base makes other platforms of it: {}", names.join(", "));
        return Err(anew(why));
    }
    if !recipe.certificates.is_empty() {
        return Err(anew("its CA certificates are in a file with those of its base".to_owned()));
    }
    if recipe.debug {
        return Err(anew("it is a debug image".to_owned()));
    }
    for (platform, root) in recipe.platforms.iter_mut().zip(&bases.of) {
        platform.base = provenance::base(root);
    }
    Ok(recipe)
}

/// The plan of the image, whose files are in its layers.
fn plan(recipe: &Recipe, repository: &Repository, asked: &Rebase) -> Result<ImagePlan> {
    let recipe = Recipe { kodata: None, files: Vec::new(), ..recipe.clone() };
    let program = recipe.programs.first().map(|program| program.name.clone()).unwrap_or_default();
    let name = ImageName { program, repository: Some(repository.clone()) };
    let (nowhere, tags) =
        (Path::new("/"), asked.tags.iter().chain(asked.moved().filter(|_| asked.tags.is_empty())));
    let none = || Error::new(Kind::Internal, "plan", "there is no image");
    let plan = recipe.plan((nowhere, nowhere), name, Tag::latest())?.images.pop().ok_or_else(none)?;
    Ok(ImagePlan { tags: tags.cloned().collect(), ..plan })
}

/// The layers of an image above its base, by what is recorded of them.
fn own_layers(image: &Opened, came_out: &CameOut) -> Result<Vec<Layer>> {
    let wrong =
        |why: String| Err(Error::new(Kind::Integrity, format!("read the image for {}", image.platform), why));
    let (ids, recorded) = (&image.config.rootfs.diff_ids, &came_out.layers);
    let history: Vec<&History> =
        image.config.history.iter().filter(|h| h.empty_layer != Some(true)).collect();
    let base = ids.len().checked_sub(recorded.len());
    let Some(base) = base.filter(|base| ids[*base..].iter().eq(recorded.iter().map(|(_, digest)| digest)))
    else {
        return wrong("its upper layers aren't those that its provenance names".to_owned());
    };
    if recorded.is_empty() || history.len() != ids.len() || image.manifest.layers.len() != ids.len() {
        let (all, lines) = (image.manifest.layers.len(), history.len());
        return wrong(format!(
            "it has {all} layers, {} digests of them and {lines} lines of history",
            ids.len()
        ));
    }
    let own = image.manifest.layers.iter().zip(ids).zip(history).skip(base);
    let layers = own.map(|((descriptor, diff_id), history)| {
        // As an own layer always is: the registry has it.
        let blob = image.layers.iter().find(|blob| blob.descriptor == *descriptor).cloned();
        blob.map(|blob| Layer { blob, diff_id: *diff_id, history: history.clone() })
    });
    match layers.collect::<Option<_>>() {
        Some(layers) => Ok(layers),
        None => wrong("one of its own layers is kept elsewhere".to_owned()),
    }
}

/// Under which licences the image's SBOM says that modules are: their code isn't here.
async fn licences(
    cx: &Context,
    repository: &Repository,
    image: &Opened,
    key: Option<&PublicKey>,
) -> Result<Licences> {
    let home = Home::Registry(cx.origin(), repository.clone());
    let mut licences = Licences::default();
    let hear = |kind: &str, document: &Value| {
        licences.add(Licences::said(kind, document));
        !licences.is_empty()
    };
    claimed::documents(cx, (repository, &home), &image.descriptor, key, hear).await?;
    Ok(licences)
}

/// The image's programs, read from its layers: they must be those that are recorded, and need nothing of a base.
async fn programs(
    cx: &Context,
    mut image: Opened,
    layers: Vec<Layer>,
    came_out: &CameOut,
    licences: &Licences,
) -> Result<Packed> {
    image.layers = layers.iter().map(|layer| layer.blob.clone()).collect();
    let none = || Error::new(Kind::Internal, "read its layers", "there is none");
    let layer = layers.into_iter().next_back().ok_or_else(none)?;
    let mut there = BTreeMap::new();
    for program in contained::programs(cx, &image).await? {
        let file = program.file.clone();
        let io = move |e| Error::io("read", &file, &e);
        let file = program.file.clone();
        let read = move || crate::fs::open(&file).and_then(Digest::of_reader);
        let (digest, size) = blocking(move || read().map_err(io)).await?;
        there.insert(digest, (program, size));
    }
    let mut programs = Programs { size: 0, contents: Vec::new(), loaders: Vec::new() };
    for (path, digest) in &came_out.programs {
        let Some((program, size)) = there.get(digest) else {
            let why = format!("{path} isn't the program that its provenance names");
            return Err(Error::new(Kind::Integrity, format!("read the image for {}", image.platform), why));
        };
        if let Some(loader) = &program.header.interpreter {
            return Err(anew(format!("{path} asks for {loader}, and for what else its base had")));
        }
        programs.size += size;
        let modules = match &program.header.build_info {
            Some(info) => Some(modules::of(cx, None, info, &program.file).await?.licensed_by(licences)),
            None => None,
        };
        programs.contents.push(PackedProgram { path: path.clone(), digest: *digest, modules });
        programs.loaders.push(None);
    }
    Ok(Packed { layer, programs })
}

/// What the platforms stand on now, and stood on.
fn platforms(was: &Recipe, now: &Recipe) -> Vec<RebasedPlatform> {
    let name = |base: &BaseRecipe| {
        let name = base.name.as_deref().unwrap_or_default();
        base.digest.map_or_else(|| name.to_owned(), |digest| format!("{name}@{digest}"))
    };
    let platforms = was.platforms.iter().zip(&now.platforms);
    let platforms = platforms.map(|(was, now)| RebasedPlatform {
        platform: now.platform.clone(),
        base: name(&now.base),
        was: name(&was.base),
    });
    platforms.collect()
}

fn anew(why: String) -> Error {
    Error::new(Kind::Input, "put it on another base", why).hint("build it anew: gimg build")
}
