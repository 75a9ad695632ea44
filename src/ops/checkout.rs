//! The sources that a recipe names: a commit checked out of a repository, or a directory as it is.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::git;
use crate::ops::Context;
use crate::plan::recipe::Source;

/// What a recipe's URL may be fetched by: whoever wrote it is perhaps nobody's friend.
const RECORDED: &str = "https";
/// And the user's.
const GIVEN: &str = "file:git:http:https:ssh";

/// The sources.
pub(super) struct Checkout {
    /// Their root.
    pub(super) root: PathBuf,
    /// Where they come from, for people.
    pub(super) from: String,
}

/// Gets the sources: from `given`, a directory that is taken as it is or the URL of a repository; else from the
/// repository around `cwd` if it has the commit, or from the recipe's own URL. Sources that no commit holds are those
/// around `cwd`, as they are.
///
/// # Errors
/// Nowhere to get them from; whatever git says.
pub(super) async fn sources(
    cx: &Context,
    source: &Source,
    given: Option<&str>,
    cwd: &Path,
) -> Result<Checkout> {
    let revision = source.revision.as_deref().filter(|_| !source.modified);
    let revision = match revision {
        Some(revision) if !is_commit(revision) => {
            return Err(nowhere(format!("{revision:?} is no commit")));
        }
        revision => revision,
    };
    if let Some(given) = given {
        let dir = cwd.join(given);
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

async fn as_it_is(root: PathBuf) -> Result<Checkout> {
    let from = root.display().to_string();
    Ok(Checkout { root, from })
}

async fn clone(cx: &Context, from: &str, revision: &str, protocols: &str) -> Result<Checkout> {
    let root = cx.scratch.directory()?.join("sources");
    cx.observer.on(Event::Detail(format!("taking {revision} from {from}")));
    git::clone(from, revision, &root, protocols).await?;
    Ok(Checkout { root, from: format!("{from} at {revision}") })
}

/// Whether it is the full name of a commit, and not something else that git takes: a flag, say.
fn is_commit(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64)
        && revision.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn nowhere(why: String) -> Error {
    Error::new(Kind::Input, "find the sources", why)
}
