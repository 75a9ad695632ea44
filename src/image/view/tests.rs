//! Layers over layers, as runtimes unpack them.

use super::*;

fn all(tar: &[u8]) -> Result<Names> {
    let mut room = usize::MAX;
    names(tar, &mut room)
}

/// What a test's layer has: a name, its kind (`f`, `d`, `l`, `h`), and content or target.
type Item<'a> = (&'a str, char, &'a str);

fn tar(items: &[Item<'_>]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for (name, kind, text) in items {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o640);
        header.set_uid(3);
        header.set_gid(4);
        header.set_entry_type(match kind {
            'd' => tar::EntryType::Directory,
            'l' => tar::EntryType::Symlink,
            'h' => tar::EntryType::Link,
            'p' => tar::EntryType::Fifo,
            _ => tar::EntryType::Regular,
        });
        header.set_size(0);
        if name.starts_with("..") {
            // The library refuses to write such a name.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            out.append(&header, text.as_bytes()).unwrap();
        } else if matches!(kind, 'l' | 'h') {
            out.append_link(&mut header, name, text).unwrap();
        } else {
            header.set_size(text.len() as u64);
            out.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
    }
    out.into_inner().unwrap()
}

/// A view of layers, the topmost first.
fn view(layers: &[&[Item<'_>]]) -> View {
    let mut view = View::default();
    for layer in layers {
        view.add(Arc::new(all(&tar(layer)[..]).unwrap()));
    }
    view.complete();
    view
}

/// Where a file is: its real path, layer and name; else a word.
fn at(view: &View, path: &str) -> String {
    match view.at(path) {
        Seen::File { path, layer, name, .. } if path == name => format!("{path} in {layer}"),
        Seen::File { path, layer, name, .. } => format!("{path} in {layer} as {name}"),
        Seen::Nothing(path) => format!("nothing at {path}"),
        Seen::Other => "other".to_owned(),
        Seen::Below => "below".to_owned(),
    }
}

#[test]
fn upper_layers_cover_lower_ones_and_take_away() {
    let upper: &[Item<'_>] = &[
        ("./a/x", 'f', "upper"),
        ("a/.wh.y", 'f', ""),
        ("b/.wh..wh..opq", 'f', ""),
        ("b/new", 'f', ""),
        (".wh.c", 'f', ""),
        ("c/again", 'f', ""),
        ("d", 'f', "a file now"),
    ];
    let lower: &[Item<'_>] = &[
        ("a/", 'd', ""),
        ("a/x", 'f', "lower"),
        ("a/y", 'f', ""),
        ("a/z", 'f', ""),
        ("b/", 'd', ""),
        ("b/old", 'f', ""),
        ("c/old", 'f', ""),
        ("d/old", 'f', ""),
        ("e", 'p', ""),
    ];
    let view = view(&[upper, lower]);
    for (path, found) in [
        ("/a/x", "a/x in 0"),
        ("/a/y", "nothing at a/y"),
        ("/a/z", "a/z in 1"),
        ("//a/./b/../z", "nothing at a/z"),
        ("/b/new", "b/new in 0"),
        ("/b/old", "nothing at b/old"),
        ("/c/old", "nothing at c/old"),
        ("/c/again", "c/again in 0"),
        ("/d", "d in 0"),
        ("/d/old", "other"),
        ("/e", "other"),
        ("/a", "other"),
        ("/", "other"),
        ("/none/at/all", "nothing at none/at/all"),
    ] {
        assert_eq!(at(&view, path), found, "{path}");
    }
}

#[test]
fn links_are_followed_within_the_image_and_across_layers() {
    let upper: &[Item<'_>] =
        &[("etc/", 'd', ""), ("etc/pem", 'l', "../../../usr/pem"), ("usr/real", 'f', "")];
    let lower: &[Item<'_>] = &[
        ("etc/certs", 'l', "/usr/share/./certs"),
        ("usr/pem", 'l', "real"),
        ("usr/share/certs/b", 'h', "usr/share/certs/a"),
        ("usr/share/certs/a", 'f', ""),
        ("loop", 'l', "loop"),
        ("to-gone", 'l', "gone/file"),
        ("file", 'l', "usr/real"),
        ("lost", 'h', "not-there"),
    ];
    let view = view(&[upper, lower]);
    for (path, found) in [
        ("/etc/pem", "usr/real in 0"),
        ("/etc/certs/a", "usr/share/certs/a in 1"),
        ("/etc/certs/b", "usr/share/certs/b in 1 as usr/share/certs/a"),
        ("/etc/certs/new", "nothing at usr/share/certs/new"),
        ("/loop", "other"),
        ("/to-gone", "nothing at gone/file"),
        ("/file/x", "other"),
        ("/lost", "other"),
    ] {
        assert_eq!(at(&view, path), found, "{path}");
    }
}

#[test]
fn what_upper_layers_have_below_a_link_is_where_it_leads() {
    let upper: &[Item<'_>] = &[("etc/certs/a", 'f', ""), ("etc/certs/c", 'f', ""), ("self/x", 'f', "")];
    let middle: &[Item<'_>] = &[("usr/certs/c", 'f', ""), ("etc/certs/a", 'f', "")];
    let lower: &[Item<'_>] = &[
        ("etc/certs", 'l', "../usr/certs"),
        ("usr/certs/a", 'f', ""),
        ("usr/certs/b", 'f', ""),
        ("self", 'l', "self"),
    ];
    let view = view(&[upper, middle, lower]);
    for (path, found) in [
        ("/etc/certs/a", "usr/certs/a in 0 as etc/certs/a"),
        ("/etc/certs/b", "usr/certs/b in 2"),
        ("/etc/certs/c", "usr/certs/c in 0 as etc/certs/c"),
        ("/etc/certs/d", "nothing at usr/certs/d"),
        ("/self/x", "other"),
    ] {
        assert_eq!(at(&view, path), found, "{path}");
    }
}

#[test]
fn lower_layers_are_asked_for_only_if_the_answer_depends_on_them() {
    let mut view = View::default();
    assert_eq!(at(&view, "/etc/x"), "below");
    let layer = |items: &[Item<'_>]| Arc::new(all(&tar(items)[..]).unwrap());
    view.add(layer(&[
        ("a/", 'd', ""),
        ("a/x", 'f', ""),
        ("b/y", 'f', ""),
        ("c/", 'd', ""),
        ("c/.wh.z", 'f', ""),
    ]));
    assert_eq!(at(&view, "/a/x"), "a/x in 0");
    // Its directory could be a link below.
    assert_eq!(at(&view, "/b/y"), "below");
    assert_eq!(at(&view, "/c/z"), "nothing at c/z");
    assert_eq!(at(&view, "/c/other"), "below");
    view.complete();
    assert_eq!(at(&view, "/b/y"), "b/y in 0");
    assert_eq!(at(&view, "/c/other"), "nothing at c/other");
}

#[test]
fn files_are_read_by_their_last_entry_and_within_a_limit() {
    let long = format!("{}/file", "d".repeat(120));
    let tar = tar(&[("./a", 'f', "one"), ("a", 'f', "two"), (&long, 'f', "long"), ("../out", 'f', "")]);
    assert_eq!(read(&tar[..], "a", 3).unwrap(), b"two");
    assert_eq!(read(&tar[..], &long, 10).unwrap(), b"long");
    assert_eq!(read(&tar[..], "a", 2).unwrap_err().kind(), Kind::Integrity);
    assert_eq!(read(&tar[..], "out", 9).unwrap_err().kind(), Kind::Base);
    let found = all(&tar[..]).unwrap();
    assert_eq!(found.entries.keys().map(String::as_str).collect::<Vec<_>>(), ["a", &long]);
    assert_eq!(found.entries["a"], Entry::File(Access { mode: 0o640, uid: 3, gid: 4 }));
}

#[test]
fn names_and_owners_come_from_pax_records_too() {
    let mut out = tar::Builder::new(Vec::new());
    let records: [(&str, &[u8]); 3] = [("path", b"pax/name"), ("uid", b"5000000"), ("gid", b"6000000")];
    out.append_pax_extensions(records).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o4755);
    header.set_size(1);
    out.append_data(&mut header, "short", &b"x"[..]).unwrap();
    // What one entry has isn't the next one's.
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o600);
    header.set_size(0);
    header.set_uid(1);
    header.set_gid(1);
    out.append_data(&mut header, "next", &b""[..]).unwrap();
    let found = all(&out.into_inner().unwrap()[..]).unwrap();
    assert_eq!(
        found.entries["pax/name"],
        Entry::File(Access { mode: 0o4755, uid: 5_000_000, gid: 6_000_000 })
    );
    assert_eq!(found.entries["next"], Entry::File(Access { mode: 0o600, uid: 1, gid: 1 }));
}

#[test]
fn names_take_no_more_room_than_there_is() {
    let tar = tar(&[("abc", 'l', "de"), ("f", 'f', "content")]);
    let mut room = 300;
    names(&tar[..], &mut room).unwrap();
    assert_eq!(room, 300 - 105 - 101);
    let error = names(&tar[..], &mut room).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
}

#[test]
fn what_is_no_tar_or_lies_is_an_error() {
    assert_eq!(all(&b"not a tar".repeat(100)[..]).unwrap_err().kind(), Kind::Base);
    let whole = tar(&[("a", 'f', &"x".repeat(2000))]);
    assert_eq!(all(&whole[..1500]).unwrap_err().kind(), Kind::Base);
    let mut out = tar::Builder::new(Vec::new());
    let huge = vec![b'x'; (1 << 20) + 1];
    out.append_pax_extensions([("comment", huge.as_slice())]).unwrap();
    let error = all(&out.into_inner().unwrap()[..]).unwrap_err();
    assert!(error.to_string().contains("more than 1 MiB"), "{error}");
    let mut out = tar::Builder::new(Vec::new());
    out.append_pax_extensions([("size", &b"99999999999"[..])]).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    out.append_data(&mut header, "big", &b""[..]).unwrap();
    let error = all(&out.into_inner().unwrap()[..]).unwrap_err();
    assert!(error.to_string().contains("more than 8 GiB"), "{error}");
}
