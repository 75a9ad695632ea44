//! The sources that a recipe names: a commit checked out of a repository, or a directory as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::git;
use crate::go;
use crate::ops::Context;
use crate::plan::packages::normalise;
use crate::plan::recipe::Recipe;

/// What a recipe's URL may be fetched by: whoever wrote it is perhaps nobody's friend.
const RECORDED: &str = "https";
/// And the user's.
const GIVEN: &str = "file:git:http:https:ssh";

/// The sources.
pub(super) struct Checkout {
    /// Their root.
    pub(super) root: PathBuf,
    /// Where they are built: the same, unless they are a module that was fetched.
    pub(super) go: PathBuf,
    /// Where they come from, for people.
    pub(super) from: String,
}

/// Gets the sources: a module's version, fetched; else from `given`, a directory that is taken as it is or the URL of a
/// repository; else from the repository around `cwd` if it has the commit, or from the recipe's own URL. Sources that no
/// commit holds are those around `cwd`, as they are.
///
/// # Errors
/// Nowhere to get them from; whatever git says.
pub(super) async fn sources(
    cx: &Context,
    recipe: &Recipe,
    given: Option<&str>,
    (cwd, program): (&Path, &Path),
) -> Result<Checkout> {
    let source = &recipe.source;
    if let Some(module) = &source.module {
        return match given {
            None => fetched(cx, recipe, module, program).await,
            Some(_) => {
                let why = format!("it was built from the module {module}, which is fetched");
                Err(Error::new(Kind::Usage, "read --source", why))
            }
        };
    }
    let revision = source.revision.as_deref().filter(|_| !source.modified);
    let revision = match revision {
        Some(revision) if !is_commit(revision) => {
            return Err(nowhere(format!("{revision:?} is no commit")));
        }
        revision => revision,
    };
    if let Some(given) = given {
        let dir = normalise(&cwd.join(given));
        return match revision {
            _ if crate::fs::is_directory(&dir) => as_it_is(dir).await,
            Some(revision) if given.contains(':') => clone(cx, given, revision, GIVEN).await,
            _ => {
                let error = Error::new(Kind::Input, "read --source", "there is no such directory");
                Err(error.at(dir.display()))
            }
        };
    }
    let here = git::checkout(cwd).await;
    let Some(revision) = revision else {
        let why = match source.modified {
            true => "they were built with changes that no commit holds",
            false => "no commit is recorded",
        };
        cx.observer.on(Event::Note(format!("the sources are those of this directory: {why}")));
        let workspace = cwd.ancestors().find(|dir| crate::fs::exists(&dir.join("go.work")));
        let root = here.map(|here| here.root).or(workspace.map(Path::to_owned));
        return match root.or_else(|| crate::fs::nearest_module(cwd)) {
            Some(root) => as_it_is(root).await,
            None => Err(nowhere(why.to_owned()).hint("--source names the directory that holds them")),
        };
    };
    if let Some(here) = here
        && git::has(&here.root, revision).await
    {
        let from = here.root.to_string_lossy().into_owned();
        return clone(cx, &from, revision, GIVEN).await;
    }
    match &source.repository {
        Some(url) if url.starts_with("https://") => clone(cx, url, revision, RECORDED).await,
        _ => {
            let why = format!("no repository with the commit {revision} is here, and none is recorded");
            Err(nowhere(why).hint("run it in a clone of the repository, or name one with --source"))
        }
    }
}

/// Fetches a module that is checked against the checksum database, as `go` does it for the user.
async fn fetched(cx: &Context, recipe: &Recipe, module: &str, program: &Path) -> Result<Checkout> {
    let wrong = |why: String| Error::new(Kind::Integrity, "use the recipe", why);
    let (_, version) = module.split_once('@').ok_or_else(|| wrong(format!("{module:?} names no version")))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-.+".contains(c);
    if !version.starts_with('v') || !version.chars().all(is_plain) {
        return Err(wrong(format!("{version:?} is no version")));
    }
    let (dir, temporary) = (cx.scratch.directory()?, cx.scratch.directory()?);
    let asked = (recipe.go.version.as_str(), BTreeMap::new());
    let go = go::of_version(program, &dir, cx.env.all(), asked, temporary, cx.guardian.clone()).await?;
    let packages = recipe.packages()?;
    let found = go::fetch(&go, &packages, version, &dir).await?;
    let name = format!("{}@{}", found.path, found.version);
    if name != module {
        return Err(wrong(format!("{} is of {name}, not of {module}", packages.join(" "))));
    }
    Ok(Checkout { root: found.dir, go: dir, from: format!("the module {name}") })
}

async fn as_it_is(root: PathBuf) -> Result<Checkout> {
    let from = root.display().to_string();
    Ok(Checkout { go: root.clone(), root, from })
}

async fn clone(cx: &Context, from: &str, revision: &str, protocols: &str) -> Result<Checkout> {
    let root = cx.scratch.directory()?.join("sources");
    cx.observer.on(Event::Detail(format!("taking {revision} from {from}")));
    git::clone(from, revision, &root, protocols).await?;
    Ok(Checkout { go: root.clone(), root, from: format!("{from} at {revision}") })
}

/// Whether it is the full name of a commit, and not something else that git takes: a flag, say.
fn is_commit(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64)
        && revision.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn nowhere(why: String) -> Error {
    Error::new(Kind::Input, "find the sources", why)
}
