//! What a container sees: computed from the layers, or read from a directory that a tool unpacked.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Entry, Layout, Sandbox, sha256};

/// Paths without a slash at either end, and what is there.
pub(crate) type Files = BTreeMap<String, Entry>;

/// Whether owners can be set here. Otherwise they aren't compared, and programs run in a user namespace.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// The layers of `manifest` one over the other; links are followed as runtimes do.
pub(crate) fn applied(layout: &Layout, manifest: &Value) -> Files {
    let mut files = Files::new();
    for layer in manifest["layers"].as_array().unwrap() {
        for (name, entry) in layout.entries(layer) {
            assert!(!name.contains(".wh."), "no test has whiteouts: {name}");
            let path = followed(&files, name.trim_end_matches('/'));
            let entry = match entry.kind {
                'h' => files[&entry.link].clone(),
                _ => entry,
            };
            files.insert(path, entry);
        }
    }
    files.into_iter().map(|(name, entry)| (name, comparable(entry))).collect()
}

/// The path with every link among its parents replaced by what it names.
fn followed(files: &Files, path: &str) -> String {
    let Some((parent, name)) = path.rsplit_once('/') else { return path.to_owned() };
    let mut parent = followed(files, parent);
    while let Some(link) = files.get(&parent).filter(|e| e.kind == 'l') {
        let mut parts: Vec<&str> = parent.split('/').collect();
        parts.pop();
        for part in link.link.split('/') {
            match part {
                ".." => drop(parts.pop()),
                _ => parts.push(part),
            }
        }
        parent = parts.join("/");
    }
    format!("{parent}/{name}")
}

/// What is below `root` on disk.
pub(crate) fn on_disk(root: &Path) -> Files {
    let mut files = Files::new();
    walk(root, "", &mut files);
    files
}

fn walk(dir: &Path, prefix: &str, files: &mut Files) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let (mut size, mut link, mut content) = (0, String::new(), Vec::new());
        let kind = if meta.is_dir() {
            walk(&path, &format!("{name}/"), files);
            'd'
        } else if meta.is_symlink() {
            link = std::fs::read_link(&path).unwrap().to_str().unwrap().to_owned();
            'l'
        } else {
            (size, content) = (meta.len(), std::fs::read(&path).unwrap());
            '-'
        };
        let entry = Entry {
            kind,
            mode: meta.mode() & 0o7777,
            uid: meta.uid().into(),
            gid: meta.gid().into(),
            mtime: u64::try_from(meta.mtime()).unwrap(),
            size,
            link,
            sha256: sha256(&content),
        };
        files.insert(name, comparable(entry));
    }
}

/// Without owners where only root can give them.
fn comparable(entry: Entry) -> Entry {
    if is_root() { entry } else { Entry { uid: 0, gid: 0, ..entry } }
}

/// Fails with the names and both sides of whatever differs.
#[track_caller]
pub(crate) fn assert_same(found: &Files, expected: &Files) {
    let names = found.keys().chain(expected.keys());
    let differ: BTreeMap<_, _> = names
        .filter(|name| found.get(*name) != expected.get(*name))
        .map(|name| (name, (found.get(name), expected.get(name))))
        .collect();
    assert!(differ.is_empty(), "found, expected: {differ:?}");
}

/// `umoci unpack` of the only image of a layout, and its root directory.
pub(crate) fn unpack(sandbox: &Sandbox, layout: &str) -> PathBuf {
    let rootless = if is_root() { "" } else { "--rootless" };
    sandbox.run(&format!("umoci unpack {rootless} --image {layout}:latest {layout}-bundle")).ok();
    sandbox.cwd().join(format!("{layout}-bundle/rootfs"))
}

/// Extracts a layer with GNU tar, which follows links to directories as container runtimes do.
pub(crate) fn extract(sandbox: &Sandbox, layout: &str, layer: &Value, root: &str) {
    let digest = layer["digest"].as_str().unwrap().replace(':', "/");
    let owner = if is_root() { "--same-owner" } else { "--no-same-owner" };
    let tar = "tar -x -p --numeric-owner --keep-directory-symlink";
    sandbox.run(&format!("{tar} {owner} -f {layout}/blobs/{digest} -C {root}")).ok();
}

/// A command in `root` with the variables and the user of the image's config.
pub(crate) fn chroot(root: &Path, config: &Value, program: &str) -> Command {
    let mut command = if is_root() {
        let user = config["User"].as_str().unwrap();
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={user}:{user}"));
        command
    } else {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "chroot"]);
        command
    };
    command.arg(root).arg(program).env_clear();
    for variable in config["Env"].as_array().unwrap() {
        let (key, value) = variable.as_str().unwrap().split_once('=').unwrap();
        command.env(key, value);
    }
    command
}
