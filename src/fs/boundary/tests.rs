//! Trees with links, pipes and odd names; files that change between listing and reading.
#![cfg(unix)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// A module in a temporary directory, with `files` (a name that ends in `/` is a directory).
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[&str]) -> Self {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.write("m/go.mod", "module m\n");
        std::fs::create_dir(tree.at("m/kodata")).unwrap();
        for file in files {
            match file.strip_suffix('/') {
                Some(dir) => std::fs::create_dir_all(tree.at(dir)).unwrap(),
                None => tree.write(file, file),
            }
        }
        tree
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.at(name).parent().unwrap()).unwrap();
        std::fs::write(self.at(name), text).unwrap();
    }

    fn link(self, name: &str, target: &str) -> Self {
        let target = target.replace("$", self.at("").to_str().unwrap().trim_end_matches('/'));
        symlink(target, self.at(name)).unwrap();
        self
    }

    fn boundary(&self) -> Boundary {
        Boundary::around(&self.at("m"), None).unwrap()
    }

    fn list(&self) -> Result<Listing> {
        self.boundary().list(&self.at("m/kodata"), "kodata").map(Option::unwrap)
    }

    /// The error of listing, and its hint.
    fn refused(&self) -> (Kind, String) {
        let error = self.list().unwrap_err();
        (error.kind(), format!("{error} {}", error.hint_text().unwrap_or_default()))
    }
}

fn names(listing: &Listing) -> Vec<&str> {
    let files = listing.files.iter().map(|f| f.name.as_str());
    listing.directories.iter().map(String::as_str).chain(files).collect()
}

fn read(boundary: &Boundary, file: &ListedFile) -> io::Result<String> {
    let mut text = String::new();
    boundary.open(&file.path)?.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn links_are_followed_within_the_boundary() {
    let tree = Tree::new(&["m/kodata/sub/a", "m/shared/b", "m/shared/deep/c"])
        .link("m/kodata/relative", "../shared/b")
        .link("m/kodata/absolute", "$/m/shared/b")
        .link("m/kodata/dir", "../shared")
        .link("m/shared/twice", "../kodata/relative");
    let mut boundary = tree.boundary();
    let listing = boundary.list(&tree.at("m/kodata"), "kodata").unwrap().unwrap();
    assert_eq!(
        names(&listing),
        ["dir", "dir/deep", "sub", "absolute", "dir/b", "dir/deep/c", "dir/twice", "relative", "sub/a"]
    );
    for file in &listing.files {
        let at = if file.name.ends_with('c') { "m/shared/deep/c" } else { "m/shared/b" };
        let expected = if file.name == "sub/a" { "m/kodata/sub/a" } else { at };
        assert_eq!(read(&boundary, file).unwrap(), expected, "{}", file.name);
        assert_eq!(file.size, expected.len() as u64);
    }
}

#[test]
fn what_leads_out_dangles_or_loops_is_refused() {
    let secret = Tree::new(&["m/kodata/a", "secret/key"]);
    for (link, target, words) in [
        ("m/kodata/x", "/etc/passwd", &["m/kodata/x", "points to /etc/passwd", "must stay below"][..]),
        ("m/kodata/x", "../../secret", &["points to ../../secret, which is ", "/secret"]),
        ("m/kodata/x", "/proc/self/root/etc/passwd", &["points to /proc/self/root/etc/passwd"]),
        ("m/kodata/x", "missing", &["m/kodata/x", "points to missing, which isn't there"]),
        ("m/kodata/x", "x", &["m/kodata/x", "a loop of links"]),
        ("m/kodata/x", ".", &["m/kodata/x", "loops back to", "m/kodata"]),
        ("m/kodata/x", "..", &["m/kodata/x/kodata", "loops back to"]),
    ] {
        symlink(target, secret.at(link)).unwrap();
        let (kind, text) = secret.refused();
        assert_eq!(kind, Kind::Input, "{text}");
        for word in words {
            assert!(text.contains(word), "{target}: no {word:?} in {text}");
        }
        std::fs::remove_file(secret.at(link)).unwrap();
    }
    secret.list().unwrap();
}

#[test]
fn kodata_itself_may_be_a_link_but_not_out() {
    let tree = Tree::new(&["m/data/a", "elsewhere/b"]);
    std::fs::remove_dir(tree.at("m/kodata")).unwrap();
    let tree = tree.link("m/kodata", "data");
    assert_eq!(names(&tree.list().unwrap()), ["a"]);
    std::fs::remove_file(tree.at("m/kodata")).unwrap();
    let tree = tree.link("m/kodata", "../elsewhere");
    assert!(tree.refused().1.contains("points to ../elsewhere"));
    // The user's word widens the boundary; a word that is not around the package narrows it, as in ko.
    let mut wide = Boundary::around(&tree.at("m"), Some(&tree.at(""))).unwrap();
    assert_eq!(names(&wide.list(&tree.at("m/kodata"), "kodata").unwrap().unwrap()), ["b"]);
    let mut narrow = Boundary::around(&tree.at("m"), Some(&tree.at("elsewhere"))).unwrap();
    assert!(narrow.list(&tree.at("m/kodata"), "kodata").is_err());
    std::fs::create_dir(tree.at(".git")).unwrap();
    assert_eq!(names(&tree.list().unwrap()), ["b"], "the repository is wider than the module");
}

#[test]
fn only_directories_and_regular_files_are_taken() {
    let tree = Tree::new(&["m/kodata/a"]);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.at("m/kodata/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o600),
        0,
    )
    .unwrap();
    let (kind, text) = tree.refused();
    assert_eq!(kind, Kind::Input);
    assert!(text.contains("not a regular file") && text.contains("kodata/pipe"), "{text}");
    std::fs::remove_file(tree.at("m/kodata/pipe")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.at("m/kodata/socket")).unwrap();
    assert!(tree.refused().1.contains("not a regular file"));
}

#[test]
fn names_may_hold_anything_that_is_text() {
    let tree = Tree::new(&["m/kodata/line\nfeed", "m/kodata/A", "m/kodata/a", "m/kodata/naïve"]);
    assert_eq!(names(&tree.list().unwrap()), ["A", "a", "line\nfeed", "naïve"]);
    let latin = tree.at("m/kodata").join(OsStr::from_bytes(b"na\xefve"));
    std::fs::write(latin, "").unwrap();
    let (kind, text) = tree.refused();
    assert_eq!((kind, text.contains("isn't UTF-8")), (Kind::Input, true), "{text}");
}

#[test]
fn a_single_file_has_no_name_and_nothing_is_none() {
    let tree = Tree::new(&["m/conf/a.txt"]).link("m/link", "conf/a.txt");
    let mut boundary = tree.boundary();
    let listing = boundary.list(&tree.at("m/conf/a.txt"), "files").unwrap().unwrap();
    assert_eq!(
        (names(&listing), read(&boundary, &listing.files[0]).unwrap()),
        (vec![""], "m/conf/a.txt".into())
    );
    assert_eq!(
        boundary.list(&tree.at("m/link"), "files").unwrap().unwrap().files[0].path,
        listing.files[0].path
    );
    assert!(boundary.list(&tree.at("m/none"), "files").unwrap().is_none());
    let empty = boundary.list(&tree.at("m/kodata"), "files").unwrap().unwrap();
    assert!(empty.files.is_empty() && empty.directories.is_empty());
    assert!(kodata(&tree.at("m/kodata"), None).unwrap().is_none());
    std::fs::remove_dir(tree.at("m/kodata")).unwrap();
    tree.write("m/kodata", "a file");
    assert!(kodata(&tree.at("m/kodata"), None).unwrap_err().to_string().contains("not a directory"));
}

#[test]
fn what_was_listed_is_what_is_read() {
    let listed = || {
        let tree = Tree::new(&["m/kodata/sub/a", "m/other", "secret/a"]);
        let mut boundary = tree.boundary();
        let listing = boundary.list(&tree.at("m/kodata"), "kodata").unwrap().unwrap();
        (tree, boundary, listing.files.into_iter().next().unwrap())
    };
    let refused = |change: &dyn Fn(&Tree), why: &str| {
        let (tree, boundary, file) = listed();
        assert_eq!(read(&boundary, &file).unwrap(), "m/kodata/sub/a");
        change(&tree);
        let error = read(&boundary, &file).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    let sub = "m/kodata/sub";
    refused(
        &|t| t.write("m/kodata/sub/a", "longer than it was"),
        "it changed since it was listed: from 14 to 18",
    );
    let swap = |t: &Tree| std::fs::rename(t.at("m/kodata/sub/a"), t.at("m/old")).unwrap();
    refused(
        &|t| {
            swap(t);
            t.write("m/kodata/sub/a", "m/kodata/sub/a");
        },
        "replaced since it was listed",
    );
    refused(
        &|t| {
            swap(t);
            symlink(t.at("secret/a"), t.at("m/kodata/sub/a")).unwrap();
        },
        "became a link",
    );
    // A directory on the way that becomes a link leads nowhere either, not even to the same file.
    refused(
        &|t| {
            std::fs::rename(t.at(sub), t.at("m/moved")).unwrap();
            symlink(t.at("m/moved"), t.at(sub)).unwrap();
        },
        "became a link",
    );
    refused(
        &|t| {
            swap(t);
            let fifo = rustix::fs::FileType::Fifo;
            let mode = rustix::fs::Mode::from(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, t.at("m/kodata/sub/a"), fifo, mode, 0).unwrap();
        },
        "replaced since it was listed",
    );
    let (tree, boundary, _) = listed();
    assert!(boundary.open(&tree.at("m/other")).err().unwrap().to_string().contains("not listed"));
    assert!(boundary.open(Path::new("/etc/passwd")).is_err());
}

#[test]
fn a_bomb_of_links_ends() {
    // Each directory links to the next one twice: a power of two names, if nobody counted.
    for (depth, why) in [(60, "more than 40 links"), (30, "more than 10000 files")] {
        let tree = Tree::new(&[&format!("m/d{depth}/end")]).link("m/kodata/in", "../d0");
        for number in 0..depth {
            std::fs::create_dir(tree.at(&format!("m/d{number}"))).unwrap();
            for name in ["a", "b"] {
                symlink(format!("../d{}", number + 1), tree.at(&format!("m/d{number}/{name}"))).unwrap();
            }
        }
        let (_, text) = tree.refused();
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_deep_tree_needs_few_open_files() {
    let tree = Tree::new(&[]);
    let deep = format!("m/kodata/{}", "d/".repeat(1500));
    std::fs::create_dir_all(tree.at(&deep)).unwrap();
    assert_eq!(tree.list().unwrap().directories.len(), 1500);
}

#[test]
fn modes_are_reduced_to_the_owners_x_bit() {
    let tree = Tree::new(&["m/kodata/plain", "m/kodata/tool"]);
    std::fs::set_permissions(tree.at("m/kodata/tool"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    let listing = tree.list().unwrap();
    assert_eq!(listing.files.iter().map(|f| f.executable).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_directory_that_keeps_turning_into_a_link_never_lets_anything_in() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let tree = Tree::new(&["m/kodata/sub/a", "secret/a"]);
    std::fs::write(tree.at("secret/a"), "no one may see this").unwrap();
    let stop = AtomicBool::new(false);
    let (sub, aside, secret) = (tree.at("m/kodata/sub"), tree.at("m/aside"), tree.at("secret"));
    let (mut read_some, mut refused_some, mut wrong) = (false, false, None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::fs::rename(&sub, &aside).unwrap();
                symlink(&secret, &sub).unwrap();
                std::fs::remove_file(&sub).unwrap();
                std::fs::rename(&aside, &sub).unwrap();
            }
        });
        let start = std::time::Instant::now();
        while start.elapsed().as_secs() < 2
            && !(read_some && refused_some && start.elapsed().as_millis() > 500)
        {
            let mut boundary = tree.boundary();
            let Ok(Some(listing)) = boundary.list(&tree.at("m/kodata"), "kodata") else {
                refused_some = true;
                continue;
            };
            // Many times: it must turn between listing and reading.
            for file in listing.files.iter().cycle().take(50) {
                match read(&boundary, file) {
                    Ok(text) if text == "m/kodata/sub/a" => read_some = true,
                    // Asserted below, when the other thread has ended.
                    Ok(text) => wrong = Some(text),
                    Err(_) => refused_some = true,
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(wrong, None);
    assert!(read_some && refused_some, "the race was never run: {read_some} {refused_some}");
}
