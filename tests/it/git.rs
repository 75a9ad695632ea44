//! What git says about the sources, beside the eight commands that ko runs for it.

use std::path::Path;
use std::process::Command;

use gimg::plan::facts::GitState;

use crate::support::Sandbox;

fn state(dir: &Path) -> Option<GitState> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(gimg::git::state(dir)).unwrap()
}

/// A new repository on branch `main`.
fn repository() -> Sandbox {
    let sandbox = Sandbox::new();
    git(&sandbox, "init -q -b main");
    sandbox
}

#[track_caller]
fn git(sandbox: &Sandbox, args: &str) {
    sandbox
        .run(&format!("git -c user.name=a -c user.email=a@example.com -c commit.gpgsign=false {args}"))
        .ok();
}

fn commit(sandbox: &Sandbox) {
    git(sandbox, "commit -q --allow-empty -m change");
}

/// The state, found the way ko finds it.
fn as_ko(dir: &Path) -> Option<GitState> {
    let run = |args: &[&str]| {
        let output = Command::new("git").current_dir(dir).args(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(text)
    };
    let first = |args: &[&str]| run(args).map(|t| t.lines().next().unwrap_or("").replace('\'', ""));
    if run(&["rev-parse", "--is-inside-work-tree"])?.trim() != "true" {
        return None;
    }
    Some(GitState {
        branch: first(&["rev-parse", "--abbrev-ref", "HEAD", "--quiet"])?,
        short_commit: first(&["show", "--format=%h", "HEAD", "--quiet"])?,
        full_commit: first(&["show", "--format=%H", "HEAD", "--quiet"])?,
        commit_time: first(&["show", "--format='%ct'", "HEAD", "--quiet"])?.parse().unwrap(),
        dirty: run(&["status", "--porcelain"]).is_none_or(|t| !t.trim().is_empty()),
        tag: first(&["describe", "--tags", "--abbrev=0", "HEAD"]).unwrap_or_else(|| "v0.0.0".to_owned()),
    })
}

/// The state, if ko finds the same.
#[track_caller]
fn same(dir: &Path) -> Option<GitState> {
    let state = state(dir);
    assert_eq!(state, as_ko(dir));
    state
}

#[track_caller]
fn found(sandbox: &Sandbox) -> (String, String, bool) {
    let state = same(sandbox.cwd()).unwrap();
    assert!(state.full_commit.starts_with(&state.short_commit) && !state.short_commit.is_empty());
    assert!(state.commit_time > 1_700_000_000);
    (state.branch, state.tag, state.dirty)
}

fn is(branch: &str, tag: &str, dirty: bool) -> (String, String, bool) {
    (branch.to_owned(), tag.to_owned(), dirty)
}

#[test]
fn what_is_no_repository_has_no_state() {
    assert_eq!(same(Sandbox::new().cwd()), None);
    // Not before the first commit either, nor where there is no work tree.
    let sandbox = repository();
    assert_eq!(same(sandbox.cwd()), None);
    commit(&sandbox);
    assert_eq!(same(&sandbox.path("src/.git")), None);
    git(&sandbox, "clone -q --bare . ../bare");
    assert_eq!(same(&sandbox.path("bare")), None);
}

#[test]
fn one_commit_with_a_tag() {
    let sandbox = repository();
    commit(&sandbox);
    assert_eq!(found(&sandbox), is("main", "v0.0.0", false));
    git(&sandbox, "tag v0.0.1");
    assert_eq!(found(&sandbox), is("main", "v0.0.1", false));
    git(&sandbox, "checkout -q -b feature/x");
    assert_eq!(found(&sandbox), is("feature/x", "v0.0.1", false));
    git(&sandbox, "checkout -q --detach");
    assert_eq!(found(&sandbox), is("HEAD", "v0.0.1", false));
}

#[test]
fn the_nearest_tag_counts() {
    let sandbox = repository();
    commit(&sandbox);
    git(&sandbox, "tag v0.0.1");
    git(&sandbox, "tag -a -m note v0.0.2");
    commit(&sandbox);
    assert_eq!(found(&sandbox), is("main", "v0.0.2", false));
    git(&sandbox, "tag v0.0.3");
    assert_eq!(found(&sandbox), is("main", "v0.0.3", false));
    commit(&sandbox);
    assert_eq!(found(&sandbox), is("main", "v0.0.3", false));
}

#[test]
fn any_change_makes_the_tree_dirty() {
    let sandbox = repository().file(".gitignore", "ignored\n").file("sub/file", "one");
    git(&sandbox, "add .");
    commit(&sandbox);
    git(&sandbox, "tag v1.0.0");
    sandbox.write("ignored", "");
    assert_eq!(found(&sandbox), is("main", "v1.0.0", false));
    sandbox.write("sub/file", "two");
    assert_eq!(found(&sandbox), is("main", "v1.0.0", true));
    git(&sandbox, "add .");
    assert_eq!(found(&sandbox), is("main", "v1.0.0", true));
    commit(&sandbox);
    assert_eq!(found(&sandbox), is("main", "v1.0.0", false));
    sandbox.write("untracked", "");
    assert_eq!(found(&sandbox), is("main", "v1.0.0", true));
    // Seen from below it is the same tree.
    assert!(same(&sandbox.path("src/sub")).unwrap().dirty);
}

#[test]
fn odd_names_and_settings() {
    let sandbox = repository();
    commit(&sandbox);
    // A tag of the branch's name makes the branch's short name ambiguous.
    git(&sandbox, "tag main");
    assert_eq!(found(&sandbox), is("heads/main", "main", false));
    git(&sandbox, "checkout -q -b it's");
    commit(&sandbox);
    git(&sandbox, "tag v'1");
    assert_eq!(found(&sandbox), is("its", "v1", false));
    git(&sandbox, "config log.showSignature true");
    git(&sandbox, "config log.decorate full");
    git(&sandbox, "config status.branch true");
    git(&sandbox, "config status.short true");
    git(&sandbox, "config core.abbrev 12");
    assert_eq!(found(&sandbox), is("its", "v1", false));
    // A second work tree of the same repository has a branch of its own.
    git(&sandbox, "worktree add -q -b other ../second");
    assert_eq!(same(&sandbox.path("second")).unwrap().branch, "other");
}
