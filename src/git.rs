//! Edge: what git knows that Go doesn't say.

use std::path::{Path, PathBuf};

use crate::process::Child;

/// Whether the repository around `dir` is a shallow clone: it may lack the tags that Go makes versions from.
/// No git, or no repository, is no.
pub async fn is_shallow(dir: &Path) -> bool {
    let child = Child::new(Path::new("git"), dir).args(["rev-parse", "--is-shallow-repository"]);
    child.run().await.is_ok_and(|out| out.success && out.stdout.starts_with(b"true"))
}

/// Whether git would show `path`, a file in a repository around `dir`, as untracked.
pub async fn shows_untracked(dir: &Path, path: &Path) -> bool {
    let top = Child::new(Path::new("git"), dir).args(["rev-parse", "--show-toplevel"]).run().await;
    let Ok(top) = top else { return false };
    let top = PathBuf::from(String::from_utf8_lossy(&top.stdout).trim_end());
    if top.as_os_str().is_empty() || !path.starts_with(&top) {
        return false;
    }
    // Tracked, or ignored?
    for question in [&["ls-files", "--error-unmatch", "--"], &["check-ignore", "--quiet", "--"]] {
        let child = Child::new(Path::new("git"), dir).args(question.iter().copied()).arg(path);
        if child.run().await.is_ok_and(|out| out.success) {
            return false;
        }
    }
    true
}
