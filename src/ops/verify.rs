//! `gimg verify`: an image is made again by the recipe that is attached to it, and compared byte for byte.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::attest::{BUILD_TYPE, CameOut, Statement};
use crate::content::ImageName;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::oci::{Digest, Reference, Tag};
use crate::ops::checkout::{self, Checkout};
use crate::ops::difference::{self, Wrong};
use crate::ops::published::{self, Published};
use crate::ops::{Context, proofs, rebuild, signatures};
use crate::plan;
use crate::plan::recipe::Recipe;
use crate::report::Verified;

/// How many records of one image are tried.
const MAX_TRIED: usize = 3;

/// What the user wants to know.
#[derive(Clone, Debug)]
pub struct Verify {
    /// The image.
    pub image: Reference,
    /// The file of a public key that must have signed it, and how it was built.
    pub key: Option<PathBuf>,
    /// Where the sources are: a directory, or the URL of a repository.
    pub source: Option<String>,
    /// Where the user is.
    pub cwd: PathBuf,
    /// The go command.
    pub go: PathBuf,
}

/// Makes the image again and compares.
///
/// # Errors
/// A difference, of which the first is named, or what can't be made again (kind `Integrity`); no signature (kind
/// `Attestation`); as a build.
pub async fn verify(cx: &Context, asked: &Verify) -> Result<Verified> {
    let (published, statements) = read(cx, asked).await?;
    let within = |e: Error| e.within(format!("verify {}", published.name));
    published::whole(cx, &published).await.map_err(published::broken).map_err(within)?;
    let mut first = None;
    for statement in statements.iter().take(MAX_TRIED) {
        match attempt(cx, asked, &published, statement).await {
            Ok(verified) => return Ok(verified),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    let none = || Error::new(Kind::Internal, "verify", "there was no record");
    Err(within(first.unwrap_or_else(none)))
}

/// A shell script that builds the programs of the image without gimg, and compares their digests.
///
/// # Errors
/// As [`verify`], before anything is made.
pub async fn script(cx: &Context, asked: &Verify) -> Result<String> {
    let (published, statements) = read(cx, asked).await?;
    let within = |e: Error| e.within(format!("read the recipe of {}", published.name));
    let none = || Error::new(Kind::Internal, "read its provenance", "there is none");
    let statement = statements.first().ok_or_else(none)?;
    let recipe = recipe(&statement.predicate).map_err(within)?;
    // Where that is decides the script, which knows only its own directories.
    let root = Path::new("/");
    let name = ImageName { program: String::new(), repository: None };
    let plan = recipe.plan((root, root), name, Tag::latest()).map_err(within)?;
    rebuild::check(&recipe.settings(root).map_err(within)?, &plan).map_err(within)?;
    Ok(plan::script::script(&published.name, &recipe, &plan.groups, &digests(&recipe, &statement.predicate)))
}

/// The digests of the programs, as the record has them: platform, package, digest.
fn digests(recipe: &Recipe, predicate: &Value) -> Vec<(String, String, Digest)> {
    let mut found = Vec::new();
    for platform in recipe.platforms.iter().map(|p| &p.platform) {
        let programs = CameOut::read(predicate, platform).programs;
        let of_recipe = recipe.programs.iter().zip(programs);
        found.extend(of_recipe.map(|(p, (_, digest))| (platform.clone(), p.package.clone(), digest)));
    }
    found
}

/// The image, and what counts of what is said about how it was built.
async fn read(cx: &Context, asked: &Verify) -> Result<(Published, Vec<Statement>)> {
    let repository = &asked.image.repository;
    let key = signatures::key_of(asked.key.as_deref()).await?;
    let within = |e: Error| e.within(format!("verify {}", asked.image));
    let published = published::read(cx, &asked.image).await.map_err(within)?;
    let signed = match &key {
        Some(key) => Some(signatures::require(cx, repository, &published.root, key).await?),
        None => None,
    };
    let statements = proofs::provenance(cx, repository, &published.root, signed).await;
    Ok((published, statements.map_err(within)?))
}

async fn attempt(
    cx: &Context,
    asked: &Verify,
    published: &Published,
    statement: &Statement,
) -> Result<Verified> {
    let recipe = recipe(&statement.predicate)?;
    // Before anything is made: who wrote it may want much of it.
    if recipe.platforms.len() != published.images.len() {
        let (theirs, ours) = (published.images.len(), recipe.platforms.len());
        let why = format!("it has images for {theirs} platforms, its recipe makes {ours}");
        return Err(Wrong::new(why).error(None));
    }
    let places = (asked.cwd.as_path(), asked.go.as_path());
    let Checkout { root, go, from } = checkout::sources(cx, &recipe, asked.source.as_deref(), places).await?;
    cx.observer.on(Event::Note(format!("building from {from}, with {}", recipe.go.version)));
    let rebuilt = rebuild::rebuild(cx, &recipe, (&root, &go), &asked.go).await?;
    difference::compare(cx, published, &rebuilt).await?;
    difference::said(cx, &statement.whole, &rebuilt.statement)?;
    Ok(Verified {
        reference: format!("{}@{}", published.repository, published.root.digest),
        digest: published.root.digest,
        platforms: recipe.platforms.iter().map(|p| p.platform.clone()).collect(),
        source: from,
        go: recipe.go.version,
        signed: asked.key.is_some(),
    })
}

/// The recipe in the predicate of a statement.
///
/// # Errors
/// What isn't one of gimg's (kind `Integrity`).
pub(super) fn recipe(predicate: &Value) -> Result<Recipe> {
    let wrong = |why: String| Error::new(Kind::Integrity, "read its provenance", why);
    let build = &predicate["buildDefinition"];
    if build["buildType"] != BUILD_TYPE {
        return Err(wrong(format!("it was built by something else: {}", build["buildType"])));
    }
    serde_json::from_value(build["externalParameters"].clone()).map_err(|e| wrong(e.to_string()))
}
