//! What comes from outside, each reader as one function of bytes: called by the fuzz targets (`fuzz/`) and, with their
//! corpus, by the tests below. No build of gimg contains it.
//!
//! A function returns if the input was read or refused; it panics if something that must always hold doesn't.

use std::collections::BTreeMap;
use std::io::Cursor;

use serde::{Serialize, de::DeserializeOwned};

use crate::attest::{self, Advisory, CameOut, Claims, Holds, STDLIB, Statement};
use crate::error::{Error, Kind};
use crate::image::{decompress, diff, view};
use crate::oci::{ImageConfig, ImageIndex, ImageManifest, Reference, json};
use crate::settings::config;
use crate::settings::lock::Lock;
use crate::settings::template;
use crate::sign::{Bundle, PrivateKey, Randomness};
use crate::{binary, kube, registry};

/// A reader of bytes from outside.
pub type Target = fn(&[u8]);

/// Every reader by its name; `fuzz/fuzz_targets/` and `fuzz/corpus/` have one file and one directory of it each.
pub const TARGETS: &[(&str, Target)] = &[
    ("advisory", advisory),
    ("binary", binary),
    ("challenge", registry::fuzzing::challenge),
    ("config_file", config_file),
    ("docker_config", registry::fuzzing::docker_config),
    ("document", document),
    ("link", registry::fuzzing::link),
    ("location", registry::fuzzing::location),
    ("lock_file", lock_file),
    ("pclntab", pclntab),
    ("range", registry::fuzzing::range),
    ("reference", reference),
    ("retry_after", registry::fuzzing::retry_after),
    ("signature", signature),
    ("tar", tar),
    ("template", template),
    ("yaml", yaml),
    ("yaml_edits", yaml_edits),
];

/// Calls the target `name`.
pub fn call(name: &str, data: &[u8]) {
    if let Some((_, target)) = TARGETS.iter().find(|(n, _)| *n == name) {
        target(data);
    }
}

/// An entry of a vulnerability database: what is known to be mended is mended from there on.
pub fn advisory(data: &[u8]) {
    let Ok(Some(advisory)) = Advisory::read(data) else { return };
    let program = Holds::default();
    for (module, version) in [("example.com/app", "v1.2.3"), (STDLIB, "1.26.8")] {
        let Some(hit) = advisory.hits(module, version, &program) else { continue };
        // Ranges may overlap: it can still be in another one there.
        if let Some(again) = hit.fixed.as_deref().and_then(|fixed| advisory.hits(module, fixed, &program)) {
            assert_ne!(again.fixed, hit.fixed, "mended, and not mended by the same version");
        }
    }
}

/// A compiled program: its headers and what Go recorded in it.
pub fn binary(data: &[u8]) {
    if let Ok(sizes) = binary::sizes::sizes(Cursor::new(data)) {
        let sections = sizes.sections.iter().map(|section| section.size);
        assert_eq!(sizes.packages.values().copied().chain(sections).sum::<u64>(), data.len() as u64);
    }
    if let Ok(header) = binary::inspect(Cursor::new(data)) {
        // What an error would say of it.
        assert!(!header.describe().is_empty());
    }
    // A program doesn't differ from itself.
    if let Some(found) = binary::diff::compare(data, data) {
        assert!(found.sections.is_empty() && found.functions.is_empty() && found.lines.is_empty());
    }
}

/// `.ko.yaml`, `.gimg.toml` and GoReleaser's file. With `lenient` no less is understood than without.
pub fn config_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in [".ko.yaml", ".gimg.toml"] {
        let source = config::Source { name: name.to_owned(), text: text.clone().into_owned() };
        if config::read(&source, false).is_ok() {
            assert!(config::read(&source, true).is_ok(), "lenient refuses what is right");
        }
    }
    let source = config::Source { name: ".goreleaser.yaml".to_owned(), text: text.into_owned() };
    let around = config::Around { env: &BTreeMap::new(), module: None, ids: &[] };
    if config::read_goreleasers(&source, false, &around).is_ok() {
        assert!(config::read_goreleasers(&source, true, &around).is_ok(), "lenient refuses what is right");
    }
}

/// A manifest, an index or a config: what is read and written is read as the same.
pub fn document(data: &[u8]) {
    round_trip::<ImageManifest>(data);
    round_trip::<ImageIndex>(data);
    round_trip::<ImageConfig>(data);
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq>(data: &[u8]) {
    let Ok(read) = json::from_bytes::<T>(data, "the document") else { return };
    let Ok(written) = json::to_bytes(&read) else { return };
    if let Ok(again) = json::from_bytes::<T>(&written, "the document") {
        assert!(again == read, "reads as something else than was written");
    } else {
        assert!(written.len() as u64 > json::MAX_DOCUMENT, "can't read what it wrote");
    }
}

/// `gimg.lock`.
pub fn lock_file(data: &[u8]) {
    if let Ok(lock) = Lock::parse(&String::from_utf8_lossy(data)) {
        assert!(Lock::parse(&lock.text()).is_ok_and(|again| again == lock), "can't read what it wrote");
    }
}

/// The functions of a Go program: however they share what is in the table, it isn't read without measure.
pub fn pclntab(data: &[u8]) {
    assert!(binary::diff::read_of(data) <= 16 * data.len());
}

/// The name of an image: what is shown is read as the same.
pub fn reference(data: &[u8]) {
    let Ok(read) = String::from_utf8_lossy(data).parse::<Reference>() else { return };
    let shown = read.to_string();
    assert!(shown.parse::<Reference>().is_ok_and(|again| again.to_string() == shown), "{shown}");
}

/// What is attached to an image as a signature: a bundle, a statement alone, cosign's old payload. Nobody signed it, so no
/// key did.
pub fn signature(data: &[u8]) {
    let bundle = Bundle::read(data).ok();
    let key = Randomness { key: [1; 32], salt: [0; 32], nonce: [0; 24] };
    if let (Some(bundle), Some(key)) = (&bundle, PrivateKey::new(&key)) {
        assert!(bundle.verified(&key.public()).is_none(), "signed by a key that never did");
    }
    let payload = bundle.and_then(|bundle| bundle.statement()).unwrap_or_else(|| data.to_vec());
    for statement in [Statement::read(&payload), Statement::read_simple(&payload)].into_iter().flatten() {
        assert!(statement.subjects.iter().all(|digest| statement.is_about(digest)));
        let _ = Claims::read(&statement.predicate_type, &statement.predicate);
        let _ = CameOut::read(&statement.predicate, "linux/amd64");
        assert!(attest::linked(&statement.predicate).iter().all(|(path, _)| *path == path.to_lowercase()));
    }
}

/// A layer: decompressed, its names, one file of it, and whether it differs from itself.
pub fn tar(data: &[u8]) {
    const ROOM: usize = 1 << 20;
    let size = data.len() as u64;
    let mut room = ROOM;
    let plain = || decompress::plain(data, size);
    if let Ok(tar) = plain()
        && view::names(tar, &mut room).is_ok()
    {
        assert!(room <= ROOM);
    }
    if let Ok(tar) = plain()
        && let Ok(bytes) = view::read(tar, "etc/ssl/certs/ca-certificates.crt", 1000)
    {
        assert!(bytes.len() <= 1000);
    }
    let open = || match decompress::plain(Cursor::new(data.to_vec()), size) {
        Ok(tar) => Ok(tar),
        Err(e) => Err(Error::new(Kind::Input, "read a layer", e)),
    };
    if let Ok(found) = diff::differences(Some(&open), Some(&open), &mut |_, _, _, _| Ok(())) {
        assert!(found.is_empty());
    }
}

/// A template of the configuration file.
pub fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for functions in [template::Functions::Gos, template::Functions::GoReleasers] {
        let _ = template::roots(&text, functions);
        let _ = template::render(&text, &template::Value::Nil, functions);
    }
}

/// Kubernetes YAML: nothing outside of the references changes.
pub fn yaml(data: &[u8]) {
    for selector in [None, "app=a".parse().ok()] {
        let Ok(scan) = kube::scan("f", data, selector.as_ref()) else { continue };
        if selector.is_some() {
            continue;
        }
        // Each reference by itself: the text must come back.
        let same: Vec<String> =
            scan.found.iter().map(|f| format!("{}{}", kube::SCHEME, f.import_path)).collect();
        let same: Vec<&str> = same.iter().map(String::as_str).collect();
        let out = scan.splice(data, &same);
        let again = kube::scan("f", &out, None);
        let kept = again.map(|a| a.found.iter().map(|f| f.import_path.clone()).collect::<Vec<_>>());
        let had: Vec<_> = scan.found.iter().map(|f| f.import_path.clone()).collect();
        assert!(kept.is_ok_and(|kept| kept == had), "other references than before");
    }
}

/// YAML whose images are replaced in place: what comes out is YAML, with the images where they were asked for, all bytes
/// outside of them as they were, and a second run changes nothing.
pub fn yaml_edits(data: &[u8]) {
    let place: Option<kube::Place> = "image".parse().ok();
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let image = |program: &str| kube::Image {
        reference: format!("r.io/x:1.2@{digest}"),
        registry: "r.io".to_owned(),
        path: format!("x{}", program.len()),
        digest: digest.clone(),
        tag: "1.2".to_owned(),
    };
    let wishes = [("app".to_owned(), "app".to_owned())];
    let draft = |data: &[u8], how: u8| match how {
        0 => kube::Draft::kustomization("f", data, &wishes).ok(),
        _ => {
            let mut draft = kube::Draft::read("f", data, how == 1).ok()?;
            if how == 2 {
                draft.want(place.as_ref()?, "app").ok()?;
            }
            Some(draft)
        }
    };
    for how in 0..3 {
        let Some(first) = draft(data, how) else { continue };
        let images = first.sites.iter().map(|s| (s.program.clone(), image(&s.program))).collect();
        let Ok(text) = first.with(&images) else { continue };
        let untouched = first.sites.is_empty();
        let same = text.as_bytes() == data || std::str::from_utf8(data).is_err();
        assert!(!untouched || same, "nothing was asked for, and something changed");
        assert!(text.matches(&digest).count() >= first.sites.len(), "an image is missing: {text:?}");
        if first.only_references() {
            // Without what came in, what is left is a part of what was there, in its order.
            let mut rest = text.replace(&image("").reference, "");
            for site in &first.sites {
                rest = rest.replace(&format!(" # ko://{}", site.program), "");
            }
            let old = String::from_utf8_lossy(data).into_owned();
            let mut old = old.chars();
            let kept = rest.chars().filter(|c| *c != ' ').all(|c| old.any(|o| o == c));
            assert!(kept, "bytes outside changed: {text:?}");
        }
        // Without marks a reference is gone once it is replaced.
        let again = draft(text.as_bytes(), how);
        let sites = again.as_ref().map_or(0, |again| again.sites.len());
        assert!(how == 2 || sites == first.sites.len(), "other images than before: {text:?}");
        let twice = again.and_then(|again| again.with(&images).ok());
        assert!(twice.as_ref() == Some(&text), "a second run changes something: {text:?}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::*;

    fn corpus(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
    }

    fn inputs(name: &str) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(corpus(name)).unwrap_or_else(|e| panic!("corpus of {name}: {e}"));
        let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// Numbers that are the same in every run (Knuth's MMIX generator).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % end.max(1)
        }
    }

    /// One of `inputs` with a few bytes or pieces changed.
    fn changed(inputs: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
        let mut bytes = inputs[numbers.below(inputs.len())].clone();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len() + 1);
            match numbers.below(5) {
                0 => bytes.insert(at, numbers.below(256) as u8),
                1 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
                2 => bytes.truncate(at),
                3 => {
                    let other = &inputs[numbers.below(inputs.len())];
                    let from = numbers.below(other.len() + 1);
                    let to = from + numbers.below((other.len() - from).min(64) + 1);
                    let piece = other[from..to].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let end = (at + numbers.below(16)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
        bytes
    }

    #[test]
    fn every_target_has_its_file_and_its_corpus() {
        for (name, _) in TARGETS {
            assert!(!inputs(name).is_empty(), "{name}");
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fuzz/fuzz_targets/{name}.rs"));
            let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert!(text.contains(&format!("gimg::fuzzing::call(\"{name}\"")), "{name}");
        }
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    }

    #[test]
    fn fuzz_the_corpus_and_its_neighbours_hold() {
        let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(256);
        let mut numbers = Numbers(2026);
        for (name, _) in TARGETS {
            let inputs = inputs(name);
            for input in &inputs {
                call(name, input);
            }
            for _ in 0..cases {
                let input = changed(&inputs, &mut numbers);
                let held = std::panic::catch_unwind(|| call(name, &input));
                assert!(held.is_ok(), "{name}: {:?}", String::from_utf8_lossy(&input));
            }
        }
    }

    /// A piece of YAML that is edited, most of it well-formed together with others.
    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "image: ",
            "images:",
            "\n",
            "  ",
            "- ",
            "name: app",
            "newTag: v1",
            "newName: x",
            "digest: ",
            "repository: ",
            "tag: 1",
            "ko://x/y",
            "'ko://x/y'",
            " # ko://z",
            " # c",
            "&a ",
            "*a",
            "{",
            "}",
            "[",
            "]",
            ", ",
            ": ",
            "|\n",
            ">-\n",
            "\r\n",
            "---\n",
            "...\n",
            "? ",
            "~",
            "\"",
            "'",
            "\t",
            "\u{feff}",
            "é",
            "!!str ",
            "<<: ",
            "a@sha256:",
            "%YAML 1.2\n",
        ])
    }

    proptest! {
        #[test]
        fn fuzz_every_edit_is_what_it_is_meant_to_be(pieces in prop::collection::vec(piece(), 0..40)) {
            let text = pieces.concat();
            yaml_edits(text.as_bytes());
        }
    }
}
