//! Tests of this module.

#![expect(clippy::disallowed_methods, reason = "tests run tar and look at what it extracted")]

use std::io::{self, Cursor};
use std::path::PathBuf;
use std::process::Command;
use std::{fs, str};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::oci::Digest;

fn nothing_on_disk(_: &Path) -> io::Result<Box<dyn Read>> {
    Err(io::ErrorKind::NotFound.into())
}

fn bytes(content: &str) -> Data {
    Data::Bytes(Bytes::copy_from_slice(content.as_bytes()))
}

fn tar_of(tree: &FileTree) -> Vec<u8> {
    let mut out = Vec::new();
    write(tree, &nothing_on_disk, &mut out).unwrap();
    out
}

/// Names that a writer gets wrong first. None is below another.
fn odd_names() -> Vec<String> {
    let part = "p".repeat(60);
    vec![
        " leading and trailing ".to_owned(),
        "-rf".to_owned(),
        "*?[a]".to_owned(),
        "back\\slash".to_owned(),
        "line\nfeed".to_owned(),
        "tab\t\"quotes\"'".to_owned(),
        "é/日本語/😀".to_owned(),
        "a".repeat(100),
        "b".repeat(101),
        "c".repeat(255),
        format!("{}/{}", "d".repeat(155), "e".repeat(100)),
        format!("{}/{}", "f".repeat(156), "g".repeat(50)),
        format!("{part}/{part}/{part}/{part}/{part}/{part}"),
        format!("x/{}", "é".repeat(70)),
        format!("y/{}=1\n27 path=evil", "k".repeat(90)),
    ]
}

fn odd_tree() -> FileTree {
    let mut tree = FileTree::new();
    for (i, name) in odd_names().iter().enumerate() {
        tree.add_file(name, bytes(&"x".repeat(i * 100)), Meta::new(0o640).modified(i as u64)).unwrap();
    }
    tree.add_dir("dir with space", Meta::new(0o1777)).unwrap();
    tree.add_dir(&"h".repeat(100), Meta::dir()).unwrap();
    tree.add_dir(&format!("i/{}", "j".repeat(98)), Meta::dir()).unwrap();
    tree.add_symlink("link", "../-rf", Meta::symlink()).unwrap();
    tree.add_symlink("long link", &"t/".repeat(60), Meta::symlink()).unwrap();
    tree.add_symlink("link é", "ü", Meta::symlink()).unwrap();
    tree.add_hard_link("z", &"c".repeat(255)).unwrap();
    tree
}

#[test]
fn plain_entries_are_byte_for_byte_as_go_writes_them() {
    let mut tree = FileTree::new();
    tree.add_dir("ko-app", Meta::dir()).unwrap();
    tree.add_file("ko-app/hello", bytes("hello"), Meta::binary()).unwrap();
    tree.add_hard_link("ko-app/link", "ko-app/hello").unwrap();
    let split = format!("{}/{}", "d".repeat(155), "e".repeat(100));
    tree.add_file(&split, bytes("x"), Meta::data(false).owned_by(65532, 65532)).unwrap();
    tree.add_dir(&format!("i/{}", "j".repeat(98)), Meta::dir()).unwrap();
    tree.add_symlink("var/run", "../run", Meta::symlink()).unwrap();
    let mut entries: Vec<_> = tree.iter().collect();
    // The order in which the Go program wrote them.
    entries.sort_by_key(|(name, _)| {
        ["ko-app/", "ko-app/hello", "ko-app/link"].iter().position(|n| n == name).unwrap_or(9)
    });
    let mut out = Vec::new();
    for (name, entry) in entries {
        header(name, entry, &mut out).unwrap();
        if let Node::File(Data::Bytes(bytes)) = &entry.node {
            out.extend_from_slice(bytes);
            pad(&mut out, bytes.len() as u64).unwrap();
        }
    }
    out.extend_from_slice(&[0; 1024]);
    // Go 1.26's archive/tar, the same entries with these fields and Unix(0, 0).
    let go = "ddc7d08a7a92bfd002201eebfa5ace0b3e9e02f6ac220c1e9a265654acb92c19";
    assert_eq!((out.len(), Digest::of(&out).hex().as_str()), (5120, go));
    assert_eq!(tar_of(&tree).len(), out.len());
}

#[test]
fn pax_records_count_themselves() {
    for (value, length) in [(1, "9 "), (2, "11 "), (89, "98 "), (90, "99 "), (91, "101 "), (92, "102 ")] {
        let record = record("path", &vec![b'v'; value]);
        assert!(record.starts_with(length.as_bytes()), "{value}: {}", str::from_utf8(&record).unwrap());
        assert_eq!(record.len(), length.trim().parse::<usize>().unwrap());
    }
}

#[test]
fn pax_comes_only_where_it_is_needed() {
    let kinds = |tree: &FileTree| -> Vec<u8> {
        let tar = tar_of(tree);
        let mut archive = ::tar::Archive::new(Cursor::new(tar));
        let raw = archive.entries().unwrap().raw(true);
        raw.map(|e| e.unwrap().header().entry_type().as_byte()).collect()
    };
    let one = |name: &str, meta: Meta| {
        let mut tree = FileTree::new();
        tree.add_file(name, bytes(""), meta).unwrap();
        kinds(&tree)
    };
    let plain = Meta::data(false);
    assert_eq!(one(&"a".repeat(100), plain.clone()), b"0");
    assert_eq!(one(&format!("{}/{}", "d".repeat(155), "e".repeat(100)), plain.clone()), b"0");
    assert_eq!(one(&"a".repeat(101), plain.clone()), b"x0");
    assert_eq!(one("é", plain.clone()), b"x0");
    assert_eq!(one("a", plain.clone().owned_by(MAX_7, MAX_7).modified(MAX_11)), b"0");
    assert_eq!(one("a", plain.clone().owned_by(MAX_7 + 1, 0)), b"x0");
    assert_eq!(one("a", plain.clone().modified(MAX_11 + 1)), b"x0");
    assert_eq!(one("a", plain.with_xattr("security.capability", [1, 0, 0, 2])), b"x0");
}

#[test]
fn numbers_beyond_ustar_and_xattrs_are_read_back() {
    let meta =
        Meta::dir().owned_by(3_000_000_000, 4_000_000_000).with_xattr("user.x", b"a\0=\xff".as_slice());
    let big = Data::File { path: PathBuf::from("big"), size: MAX_11 + 1 };
    let entry = Entry { node: Node::File(big), meta: meta.clone() };
    let mut out = Vec::new();
    header("big", &entry, &mut out).unwrap();
    let mut archive = ::tar::Archive::new(Cursor::new(out));
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.size(), 8 * 1024 * 1024 * 1024);
    let records: Vec<(String, Vec<u8>)> = entry
        .pax_extensions()
        .unwrap()
        .unwrap()
        .map(|r| r.map(|r| (r.key().unwrap().to_owned(), r.value_bytes().to_vec())).unwrap())
        .collect();
    let text = |key: &str, value: &[u8]| (key.to_owned(), value.to_vec());
    assert_eq!(
        records,
        [
            text("SCHILY.xattr.user.x", b"a\0=\xff"),
            text("gid", b"4000000000"),
            text("size", b"8589934592"),
            text("uid", b"3000000000"),
        ]
    );
}

#[test]
fn a_file_that_changes_is_an_error_with_its_path() {
    let attempt = |size: u64, found: &'static [u8]| {
        let mut tree = FileTree::new();
        let data = Data::File { path: PathBuf::from("/src/app"), size };
        tree.add_file("app", data, Meta::binary()).unwrap();
        let open = |_: &Path| -> io::Result<Box<dyn Read>> { Ok(Box::new(found)) };
        write(&tree, &open, &mut Vec::new())
    };
    attempt(5, b"hello").unwrap();
    attempt(0, b"").unwrap();
    for (size, found) in [(6, &b"hello"[..]), (4, b"hello"), (0, b"hello"), (1, b"")] {
        let error = attempt(size, found).unwrap_err();
        assert_eq!(error.kind(), Kind::LocalIo);
        let text = error.to_string();
        assert!(text.contains("changed while it was read") && text.contains("[/src/app]"), "{text}");
    }
    let mut tree = FileTree::new();
    tree.add_file("a", Data::File { path: "/gone".into(), size: 1 }, Meta::binary()).unwrap();
    let text = write(&tree, &nothing_on_disk, &mut Vec::new()).unwrap_err().to_string();
    assert!(text.starts_with("open: ") && text.contains("[/gone]"), "{text}");
}

#[test]
fn gnu_tar_extracts_odd_names() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("odd.tar");
    let tree = odd_tree();
    fs::write(&file, tar_of(&tree)).unwrap();
    let run = Command::new("tar").arg("-xvf").arg(&file).arg("-C").arg(dir.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(String::from_utf8_lossy(&run.stderr), "");
    for (i, name) in odd_names().iter().enumerate() {
        assert_eq!(fs::read(dir.path().join(name)).unwrap().len(), i * 100, "{name:?}");
    }
    let link = fs::read_link(dir.path().join("long link")).unwrap();
    assert_eq!(link.to_str().unwrap(), "t/".repeat(60));
    assert_eq!(fs::read_link(dir.path().join("link é")).unwrap().to_str().unwrap(), "ü");
    assert_eq!(fs::read(dir.path().join("z")).unwrap(), fs::read(dir.path().join("c".repeat(255))).unwrap());
    // The listing is in byte order, and tar sees what we meant.
    let list =
        Command::new("tar").args(["--quoting-style=literal", "--null", "-tf"]).arg(&file).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<_> = tree.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(list, names.join("\n") + "\n");
    let long = Command::new("tar").args(["--full-time", "--utc", "-tvf"]).arg(&file).output().unwrap();
    let long = String::from_utf8(long.stdout).unwrap();
    assert!(long.contains("drwxrwxrwt 0/0               0 1970-01-01 00:00:00 dir with space/"), "{long}");
}

fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z]{1,12}",
        "[a-z]{90,130}",
        // Anything but a line feed, at which the tar crate cuts PAX records; GNU tar has its own test.
        "\\PC{1,20}",
        "[ -~\\t]{1,40}",
    ];
    proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

proptest! {
    #[test]
    fn fuzz_the_tar_crate_reads_what_was_written(
        entries in proptest::collection::vec(
            (name(), 0_u8..4, 0_u32..0o10000, (0_u64..u64::from(u32::MAX), 0_u64..5_000_000),
             prop_oneof![0_u64..10, 1_600_000_000_u64..1_700_000_000], 0_usize..1500, name()),
            0..12,
        ),
    ) {
        let mut tree = FileTree::new();
        for (name, kind, mode, (uid, gid), mtime, size, target) in entries {
            let meta = Meta::new(mode).owned_by(uid, gid).modified(mtime);
            // Names that clash or aren't valid are refused; the others must come back.
            let _ = match kind {
                0 => tree.add_dir(&name, meta),
                1 => tree.add_symlink(&name, &target, meta),
                2 => {
                    let first = tree.iter().find(|(_, e)| matches!(e.node, Node::File(_)));
                    match first.map(|(name, _)| name.to_owned()) {
                        Some(first) => tree.add_hard_link(&name, &first),
                        None => Ok(()),
                    }
                }
                _ => tree.add_file(&name, bytes(&"c".repeat(size)), meta),
            };
        }
        let tar = tar_of(&tree);
        prop_assert_eq!(tar.len() % 512, 0);
        let mut archive = ::tar::Archive::new(Cursor::new(tar));
        let mut read = archive.entries().unwrap();
        for (name, entry) in tree.iter() {
            let mut found = read.next().unwrap().unwrap();
            let found_name = String::from_utf8(found.path_bytes().into_owned()).unwrap();
            prop_assert_eq!(found_name, name);
            let link = match &entry.node {
                Node::Symlink(to) | Node::HardLink(to) => Some(to.clone()),
                _ => None,
            };
            let found_link = found.link_name_bytes().map(|l| String::from_utf8(l.into_owned()).unwrap());
            prop_assert_eq!(found_link, link);
            let header = found.header();
            prop_assert_eq!(header.mode().unwrap(), entry.meta.mode);
            prop_assert_eq!(header.mtime().unwrap(), entry.meta.mtime);
            prop_assert_eq!(header.username_bytes(), Some(&b""[..]));
            if entry.meta.uid <= MAX_7 {
                prop_assert_eq!(header.uid().unwrap(), entry.meta.uid);
            }
            let mut content = String::new();
            found.read_to_string(&mut content).unwrap();
            if let Node::File(Data::Bytes(bytes)) = &entry.node {
                prop_assert_eq!(content.as_bytes(), &bytes[..]);
            }
        }
        prop_assert!(read.next().is_none());
    }
}
