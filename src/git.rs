//! Edge: what git knows that Go doesn't say.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::oci::LATEST_TIME;
use crate::plan::facts::{GitState, ReleaseGit};
use crate::process::{Child, Output, StartError};

/// Whether the repository around `dir` is a shallow clone: it may lack the tags that Go makes versions from.
/// No git, or no repository, is no.
pub async fn is_shallow(dir: &Path) -> bool {
    let child = Child::new(Path::new("git"), dir).args(["rev-parse", "--is-shallow-repository"]);
    child.run().await.is_ok_and(|out| out.success && out.stdout.starts_with(b"true"))
}

/// Whether git would show `path`, a file in a repository around `dir`, as untracked.
pub async fn shows_untracked(dir: &Path, path: &Path) -> bool {
    is_inside(dir, path).await && !is_tracked(dir, path).await && !is_ignored(dir, path).await
}

/// Whether a change of the file `path` is one of the repository around `dir`: it isn't ignored.
pub async fn shows_changes(dir: &Path, path: &Path) -> bool {
    is_inside(dir, path).await && (is_tracked(dir, path).await || !is_ignored(dir, path).await)
}

async fn is_inside(dir: &Path, path: &Path) -> bool {
    let top = Child::new(Path::new("git"), dir).args(["rev-parse", "--show-toplevel"]).run().await;
    let Ok(top) = top else { return false };
    let top = PathBuf::from(String::from_utf8_lossy(&top.stdout).trim_end());
    !top.as_os_str().is_empty() && path.starts_with(&top)
}

async fn is_tracked(dir: &Path, path: &Path) -> bool {
    says_yes(dir, &["ls-files", "--error-unmatch", "--"], path).await
}

async fn is_ignored(dir: &Path, path: &Path) -> bool {
    says_yes(dir, &["check-ignore", "--quiet", "--"], path).await
}

async fn says_yes(dir: &Path, question: &[&str], path: &Path) -> bool {
    let child = Child::new(Path::new("git"), dir).args(question.iter().copied()).arg(path);
    child.run().await.is_ok_and(|out| out.success)
}

/// All of git's state that Go stamps into programs, around `dir`: the commit, whether there are changes, the tags that
/// versions are made from, and whether history is missing. None where git can't say.
pub async fn fingerprint(dir: &Path) -> Option<String> {
    let git = Path::new("git");
    let (place, status, tags) = tokio::join!(
        run(git, dir, &["rev-parse", "HEAD", "--is-inside-work-tree", "--is-shallow-repository"]),
        run(git, dir, &["--no-optional-locks", "status", "--porcelain"]),
        run(git, dir, &["for-each-ref", "--format=%(refname) %(objectname)", "refs/tags"]),
    );
    let (place, status, tags) = (place.ok()??, status.ok()??, tags.ok()??);
    if !(place.success && status.success && tags.success) {
        return None;
    }
    let place = String::from_utf8(place.stdout).ok()?;
    let dirty = if status.stdout.trim_ascii().is_empty() { "clean" } else { "dirty" };
    let tags = String::from_utf8(tags.stdout).ok()?;
    Some(format!(
        "{} {dirty} {}",
        place.split_whitespace().collect::<Vec<_>>().join(" "),
        tags.replace('\n', ";")
    ))
}

/// What git says about the commit checked out in `dir`, as ko's templates have it: the nearest tag or `v0.0.0`, and
/// dirty if `git status` has anything to say. `None` without git, outside a work tree, and before the first commit.
///
/// # Errors
/// Only if git is there and can't be started, or `dir` isn't there.
pub async fn state(dir: &Path) -> Result<Option<GitState>> {
    state_by(Path::new("git"), dir).await
}

async fn state_by(git: &Path, dir: &Path) -> Result<Option<GitState>> {
    // Three children at a time instead of ko's eight one after the other.
    let (place, commit, status) = tokio::join!(
        run(git, dir, &["rev-parse", "--is-inside-work-tree", "--abbrev-ref", "HEAD"]),
        run(git, dir, &["-c", "log.showSignature=false", "log", "-1", COMMIT_FORMAT, "HEAD", "--"]),
        // Other processes may be using the index: it is only read.
        run(git, dir, &["--no-optional-locks", "status", "--porcelain"]),
    );
    let (Some(place), Some(commit), Some(status)) = (place?, commit?, status?) else { return Ok(None) };
    if !place.success || !commit.success {
        return Ok(None);
    }
    let (place, commit) = (lines(&place), lines(&commit));
    let ([inside, branch], [full, short, time, tag, ..]) = (place.as_slice(), commit.as_slice()) else {
        return Ok(None);
    };
    if inside != "true" {
        return Ok(None);
    }
    let tag = if tag.starts_with("%(") { describe(git, dir, "HEAD").await? } else { Some(tag.clone()) };
    Ok(Some(GitState {
        branch: branch.clone(),
        tag: tag.filter(|t| !t.is_empty()).unwrap_or_else(|| "v0.0.0".to_owned()),
        short_commit: short.clone(),
        full_commit: full.clone(),
        commit_time: time.parse().unwrap_or(0).min(LATEST_TIME),
        dirty: !status.success || !status.stdout.trim_ascii().is_empty(),
    }))
}

/// What git says about the release that is checked out in `dir`, as GoReleaser asks it: `current` and `previous` are
/// the tags that its variables name. `None` without git, outside a work tree, and before the first commit.
///
/// # Errors
/// As [`state`].
pub async fn release(
    dir: &Path,
    current: Option<&str>,
    previous: Option<&str>,
) -> Result<Option<ReleaseGit>> {
    let git = Path::new("git");
    let (here, last, summary, url) = tokio::join!(
        run(git, dir, &["tag", "--points-at", "HEAD", "--sort", TAG_ORDER]),
        describe(git, dir, "HEAD"),
        run(git, dir, &["describe", "--always", "--dirty", "--tags"]),
        run(git, dir, &["ls-remote", "--get-url"]),
    );
    let Some(here) = here?.filter(|output| output.success) else { return Ok(None) };
    let tags = lines(&here);
    let tag = current.map(str::to_owned).or_else(|| tags.first().cloned()).or(last?);
    let text = |output: Option<Output>| output.map_or_else(String::new, |o| first_line(&o));
    let mut found = ReleaseGit {
        exact: tag.as_ref().is_some_and(|tag| tags.contains(tag)),
        previous: previous.unwrap_or_default().to_owned(),
        summary: text(summary?),
        url: without_credentials(&text(url?)),
        ..ReleaseGit::default()
    };
    if let Some(tag) = &tag {
        let part = async |format: &str| -> Result<String> {
            let format = format!("--format=%({format})");
            let output = run(git, dir, &["tag", "-l", &format, "--", tag]).await?;
            Ok(output.map_or_else(String::new, |o| String::from_utf8_lossy(&o.stdout).trim().to_owned()))
        };
        found.subject = part("contents:subject").await?;
        found.contents = part("contents").await?;
        found.body = part("contents:body").await?;
        if previous.is_none()
            && let Some(before) = describe(git, dir, &format!("tags/{tag}^")).await?
        {
            let same = run(git, dir, &["tag", "--points-at", &before, "--sort", TAG_ORDER]).await?;
            found.previous = same.and_then(|o| lines(&o).into_iter().next()).unwrap_or(before);
        }
    }
    found.tag = tag;
    Ok(Some(found))
}

/// GoReleaser's order of tags, unless its file says another.
const TAG_ORDER: &str = "-version:refname";

fn first_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned()
}

/// A URL without user and password.
fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme @ ("https" | "http"), rest)) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", host.rsplit('@').next().unwrap_or(host))
        }
        _ => url.to_owned(),
    }
}

/// A repository's work tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its directory, by the name that the directory has which it was asked for: links stay links.
    pub root: PathBuf,
    /// The commit that is checked out.
    pub revision: String,
    /// Where the repository comes from, as a URL for people (see `web_address`).
    pub origin: Option<String>,
}

/// The work tree around `dir`. None without git, outside a work tree, and before the first commit.
pub async fn checkout(dir: &Path) -> Option<Checkout> {
    let git = Path::new("git");
    let question = run(git, dir, &["rev-parse", "--show-toplevel", "--show-prefix", "HEAD"]);
    let (place, origin) = tokio::join!(question, source(dir));
    let place = place.ok()?.filter(|place| place.success)?;
    let text = String::from_utf8(place.stdout).ok()?;
    let mut lines = text.lines();
    let (root, prefix, revision) = (lines.next()?, lines.next()?, lines.next()?);
    Some(Checkout { root: named_root(dir, root, prefix), revision: revision.to_owned(), origin })
}

/// The work tree's `root` by the name of `dir`, which is `prefix` in it; its real name where that can't be.
fn named_root(dir: &Path, root: &str, prefix: &str) -> PathBuf {
    let depth = Path::new(prefix).components().count();
    match dir.ends_with(prefix) {
        true => dir.ancestors().nth(depth).map_or_else(|| PathBuf::from(root), Path::to_owned),
        false => PathBuf::from(root),
    }
}

/// Clones the repository at `from`, a path or URL, into `to`, and checks `revision` out. What git is configured to run
/// on the way isn't run, and only by `protocols` (git, "GIT_ALLOW_PROTOCOL") is anything fetched.
///
/// # Errors
/// Whatever git says (kind `Unavailable`), or no git.
pub async fn clone(from: &str, revision: &str, to: &Path, protocols: &str) -> Result<()> {
    let what = format!("get the sources from {}", web_address(from).as_deref().unwrap_or(from));
    let (dir, git) = (to.parent().unwrap_or(to), Path::new("git"));
    let place = to.to_string_lossy();
    let quiet =
        ["-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-c", "advice.detachedHead=false"];
    let steps: [(&Path, Vec<&str>); 2] = [
        (dir, vec!["clone", "--quiet", "--no-checkout", "--", from, &place]),
        (to, vec!["checkout", "--quiet", "--detach", revision, "--"]),
    ];
    for (dir, step) in steps {
        let mut child = Child::new(git, dir).args(quiet).args(step);
        child.remove = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"].map(str::to_owned).to_vec();
        child = child.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ALLOW_PROTOCOL", protocols);
        let failed = |why: String| Error::new(Kind::Unavailable, &what, why);
        match child.run().await {
            Ok(output) if output.success => {}
            Ok(output) => return Err(failed(output.status).output(output.stderr)),
            Err(StartError::NotFound) => return Err(failed("there is no git".to_owned())),
            Err(StartError::Other(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the repository around `dir` has the commit `revision`.
pub async fn has(dir: &Path, revision: &str) -> bool {
    let commit = format!("{revision}^{{commit}}");
    let found = run(Path::new("git"), dir, &["cat-file", "-e", &commit]).await;
    matches!(found, Ok(Some(output)) if output.success)
}

/// Whether the work tree around `dir` has changes, or files that aren't git's.
pub async fn is_modified(dir: &Path) -> bool {
    let status = run(Path::new("git"), dir, &["--no-optional-locks", "status", "--porcelain"]).await;
    matches!(status, Ok(Some(status)) if !status.stdout.trim_ascii().is_empty())
}

/// Where the repository around `dir` says that it comes from, as a URL for people (see `web_address`).
pub async fn source(dir: &Path) -> Option<String> {
    let output = run(Path::new("git"), dir, &["config", "--get", "remote.origin.url"]).await.ok()??;
    let address = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.success { web_address(&address) } else { None }
}

/// The https URL of a remote, without user, password and `.git`; of what ssh takes too. A path is none.
fn web_address(remote: &str) -> Option<String> {
    let rest = match remote.split_once("://") {
        Some(("https" | "http" | "ssh" | "git", rest)) => rest.to_owned(),
        Some(_) => return None,
        // git@host:path, but not C:\path or /path:x.
        None => {
            let (host, path) = remote.split_once(':')?;
            if host.contains('/') || host.len() < 2 || path.starts_with('\\') {
                return None;
            }
            format!("{host}/{path}")
        }
    };
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let host = if remote.starts_with("ssh") { host.split(':').next().unwrap_or(host) } else { host };
    let path = path.trim_matches('/');
    Some(format!("https://{host}/{}", path.strip_suffix(".git").unwrap_or(path)))
}

/// Hash, short hash, time and nearest tag, a line each.
const COMMIT_FORMAT: &str = "--format=%H%n%h%n%ct%n%(describe:tags,abbrev=0)";

/// The last tag that a commit descends from. For `HEAD` it is also a format of `git log`, since git 2.35.
async fn describe(git: &Path, dir: &Path, of: &str) -> Result<Option<String>> {
    let output = run(git, dir, &["describe", "--tags", "--abbrev=0", of]).await?;
    Ok(output.filter(|o| o.success).and_then(|o| lines(&o).into_iter().next()))
}

/// What git did; `None` if there is no git.
async fn run(git: &Path, dir: &Path, args: &[&str]) -> Result<Option<Output>> {
    match Child::new(git, dir).args(args.iter().copied()).run().await {
        Ok(output) => Ok(Some(output)),
        Err(StartError::NotFound) => Ok(None),
        Err(StartError::Other(error)) => Err(error),
    }
}

/// The lines of standard output. ko drops single quotes, which names of branches and tags may have.
fn lines(output: &Output) -> Vec<String> {
    String::from_utf8_lossy(&output.stdout).lines().map(|l| l.replace('\'', "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn remotes_become_addresses_without_secrets() {
        for (remote, address) in [
            ("https://github.com/me/app.git", Some("https://github.com/me/app")),
            ("https://me:token@github.com/me/app", Some("https://github.com/me/app")),
            ("git@github.com:me/app.git", Some("https://github.com/me/app")),
            ("ssh://git@example.com:2222/me/app.git", Some("https://example.com/me/app")),
            ("http://example.com:8080/app/", Some("https://example.com:8080/app")),
            ("/srv/git/app.git", None),
            ("../app", None),
            ("C:\\src\\app", None),
            ("file:///srv/app", None),
        ] {
            assert_eq!(web_address(remote).as_deref(), address, "{remote}");
        }
    }

    #[test]
    fn a_work_tree_is_called_as_the_directory_in_it() {
        for (dir, root, prefix, named) in [
            ("/w/app", "/w/app", "", "/w/app"),
            ("/link/app/cmd/x", "/w/app", "cmd/x/", "/link/app"),
            ("/link", "/w/app", "", "/link"),
            ("/link", "/w/app", "cmd/", "/w/app"),
        ] {
            assert_eq!(named_root(Path::new(dir), root, prefix), Path::new(named), "{dir}");
        }
    }

    #[test]
    fn without_git_there_is_no_state() {
        let dir = tempfile::tempdir().unwrap();
        assert!(block(state_by(Path::new("no-such-git"), dir.path())).unwrap().is_none());
        assert!(block(state(&dir.path().join("missing"))).is_err());
    }
}
