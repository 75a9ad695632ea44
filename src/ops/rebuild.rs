//! An image made again by its recipe. The recipe may be anybody's: only what a plan allows is run, and nothing is
//! published.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokio::sync::{Semaphore, SetOnce};

use crate::content::ImageName;
use crate::error::{Error, Kind, Result};
use crate::go;
use crate::oci::{Tag, json};
use crate::ops::Context;
use crate::ops::base::{self, Bases};
use crate::ops::compile::Compiler;
use crate::ops::debug;
use crate::ops::memo::Memo;
use crate::ops::provenance::Recipes;
use crate::ops::publish::{Assembled, Publisher};
use crate::ops::remember::Layers;
use crate::ops::trust;
use crate::plan::Plan;
use crate::plan::platforms::Requested;
use crate::plan::recipe::{BaseRecipe, Recipe};
use crate::settings::config::Config;
use crate::settings::env::Env;
use crate::settings::lock::{self, Lock, Pin};
use crate::settings::{self, Base, Reuse, Settings, Stand, Words};

/// An image that was made again.
pub(super) struct Rebuilt {
    /// What it is.
    pub(super) image: Assembled,
    /// How many layers of each platform are the base's.
    pub(super) inherited: Vec<usize>,
    /// The statement of how it was made.
    pub(super) statement: Value,
}

/// Makes an image by `recipe` from the sources at `root`, in directories of `place`, with the user's `program`.
///
/// # Errors
/// A recipe that says what none says, or asks for what isn't run (kind `Integrity`); as a build.
pub(super) async fn rebuild(
    cx: &Context,
    recipe: &Recipe,
    (root, place): (&Path, &Path),
    program: &Path,
) -> Result<Rebuilt> {
    let stand = stand(recipe)?;
    let settings = settings(recipe, root, program, &stand)?;
    let temporary = cx.scratch.directory()?;
    let asked = (recipe.go.version.as_str(), recipe.settings(root)?);
    let go = go::of_version(program, place, cx.env.all(), asked, temporary, cx.guardian.clone()).await?;
    let program = recipe.programs.first().map(|program| program.name.clone());
    let name = ImageName { program: program.unwrap_or_default(), repository: None };
    let plan = recipe.plan((root, place), name, Tag::latest())?;
    check(&go.toolchain.settings, &plan)?;
    let bases = [base::lookup(cx, &settings, None, &stand).await?];
    let platforms = plan.images.iter().map(|image| &image.platforms);
    if bases.iter().map(Bases::platforms).collect::<Vec<_>>() != platforms.cloned().collect::<Vec<_>>() {
        return Err(wrong("its platforms aren't those of its bases".to_owned()));
    }
    let certificates = trust::certificates(&settings).await?;
    trust::check(&settings, &bases)?;
    let publisher = Publisher {
        cx,
        settings: &settings,
        images: &plan.images,
        bases: &bases,
        copiers: &[],
        certificates: &certificates,
        memo: None,
        // Nothing is attached.
        places: None,
        signer: None,
        between: SetOnce::new(),
        writing: Semaphore::new(settings.jobs),
    };
    let memo = Memo::new(cx, settings.reuse);
    let layers = Layers::new(&go, &plan, &publisher, &memo, None);
    // What is to be proved is compiled here, whatever servers have.
    let compiler = Compiler::new(&go, &plan, &publisher, layers, (None, None));
    let (packed, ()) =
        tokio::try_join!(compiler.run(), publisher.prepare(debug::debuggers(&go, &publisher)))?;
    let recipes = Recipes::known(&go, &settings, recipe.clone());
    let image = publisher.assembled(&packed, Some(&recipes)).await?.pop();
    let image = image.ok_or_else(|| wrong("it makes no image".to_owned()))?;
    let statement = image.provenance.as_ref().map(|p| p.statement.as_ref()).unwrap_or_default();
    let statement = json::from_bytes(statement, "a statement")?;
    let inherited = bases.iter().flat_map(|b| &b.list).map(|(_, i)| i.layers.len()).collect();
    Ok(Rebuilt { image, inherited, statement })
}

/// What a build of the recipe has for settings.
fn settings(recipe: &Recipe, root: &Path, program: &Path, stand: &Stand) -> Result<Settings> {
    let words = Words {
        packages: vec![".".to_owned()],
        push: false,
        sbom: Some("none".to_owned()),
        ..Words::default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let nothing = Env::new(BTreeMap::new());
    let mut settings =
        settings::resolve(words, &nothing, Config::default(), root.to_owned(), cores).map_err(as_wrong)?;
    follow(&mut settings, recipe, stand)?;
    settings.lock = Some(locked(recipe.platforms.iter().map(|p| &p.base))?);
    settings.destinations.clear();
    settings.go = program.to_owned();
    settings.ca_certs = recipe.certificates(root)?;
    settings.reuse = Reuse::Never;
    Ok(settings)
}

/// Makes the settings say what `recipe` says of layers and times, on the bases of `stand`.
///
/// # Errors
/// What no recipe says (kind `Integrity`).
pub(super) fn follow(settings: &mut Settings, recipe: &Recipe, stand: &Stand) -> Result<()> {
    let platforms = recipe.platforms.iter().map(|p| p.platform.parse().map_err(as_wrong));
    settings.platforms = Requested::List(platforms.collect::<Result<_>>()?);
    settings.base.fixed = Some(stand.base.clone());
    settings.compression = recipe.compression.parse().map_err(as_wrong)?;
    settings.debug = recipe.debug;
    settings.epoch = recipe.epoch;
    settings.kodata_epoch = recipe.kodata_epoch;
    // It was allowed when the image was made, and nothing is moved.
    settings.allow_nondistributable = true;
    Ok(())
}

/// What the platforms stand on.
///
/// # Errors
/// What no recipe says, or isn't for all the world to have (kind `Integrity`).
pub(super) fn stand(recipe: &Recipe) -> Result<Stand> {
    let mut bases = Vec::new();
    for platform in &recipe.platforms {
        let name = platform.base.name.as_deref();
        let name =
            name.ok_or_else(|| wrong("its base is an image of the machine that built it".to_owned()))?;
        let base = Base::parse(name).map_err(|e| match e.kind() {
            Kind::Base => e,
            _ => as_wrong(e),
        })?;
        if !matches!(base, Base::Static(_) | Base::Scratch | Base::Registry(_)) {
            return Err(wrong(format!("its base {name} is of the machine that built it")));
        }
        bases.push((platform.platform.parse().map_err(as_wrong)?, base));
    }
    let Some((_, base)) = bases.first().cloned() else {
        return Err(wrong("it has no platform".to_owned()));
    };
    let platforms = bases.into_iter().filter(|(_, other)| *other != base).collect();
    Ok(Stand { base, platforms, asked: None })
}

/// What the bases stood for.
fn locked<'r>(bases: impl Iterator<Item = &'r BaseRecipe>) -> Result<Lock> {
    let mut lock = Lock::default();
    for BaseRecipe { name, digest } in bases {
        let base = Base::parse(name.as_deref().unwrap_or_default()).map_err(as_wrong)?;
        match (lock::name(&base), digest) {
            (Some(name), Some(digest)) => drop(lock.entries.insert(name, Pin::Digest(*digest))),
            (Some(name), None) => return Err(wrong(format!("it doesn't say which image {name} was"))),
            (None, _) => {}
        }
    }
    Ok(lock)
}

/// Only flags and settings that make `go build` read the sources, and run nothing but its own programs.
///
/// # Errors
/// Any other (kind `Integrity`).
pub(super) fn check(settings: &BTreeMap<String, String>, plan: &Plan) -> Result<()> {
    match plan.groups.iter().find(|group| !go::can_judge(settings, group)) {
        None => Ok(()),
        Some(group) => {
            let why = format!(
                "it builds for {} with cgo, or with flags or settings that could read other files or run other \
                 programs: {}",
                group.target.platform,
                group.flags.join(" ")
            );
            Err(wrong(why))
        }
    }
}

fn wrong(why: String) -> Error {
    Error::new(Kind::Integrity, "use the recipe", why)
}

fn as_wrong(error: Error) -> Error {
    error.as_kind(Kind::Integrity).within("use the recipe")
}
