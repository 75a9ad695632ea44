//! Paths that try to leave, opened both ways.
#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "tests: disk")]

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::*;

/// Both ways of opening agree: the one of new kernels, and the one in steps.
#[test]
fn neither_way_follows_links_or_leaves() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    std::fs::write(dir.path().join("d/f"), "text").unwrap();
    symlink("d", dir.path().join("l")).unwrap();
    symlink("/etc/passwd", dir.path().join("d/out")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let plain = OwnedFd::from(File::open(dir.path()).unwrap());
    for (path, fine) in [
        ("d/f", true),
        ("d/none", false),
        ("l/f", false),
        ("d/out", false),
        ("../x", false),
        ("d/../../x", false),
        ("/etc/passwd", false),
    ] {
        assert_eq!(root.file(Path::new(path)).is_ok(), fine, "{path}");
        assert_eq!(imp::walk(&plain, Path::new(path), OFlags::RDONLY).is_ok(), fine, "{path} in steps");
    }
    let error = imp::walk(&plain, Path::new("../x"), OFlags::RDONLY).unwrap_err();
    assert_eq!(error, Errno::XDEV);
    assert_eq!(root.directory(Path::new("")).unwrap().names().unwrap(), ["d", "l"]);
}
