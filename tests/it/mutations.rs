//! `gimg verify` against images that aren't what they were: one byte is another, anywhere.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use serde_json::Value;

use crate::support::Sandbox;
use crate::support::registry::{Asked, Fault, TestRegistry};

const STATEMENT: &str = "application/vnd.in-toto+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn sha256(bytes: &[u8]) -> String {
    gimg::oci::Digest::of(bytes).to_string()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// An image of two platforms in a registry, by what each of its blobs is.
struct Subject {
    registry: TestRegistry,
    sandbox: Sandbox,
    image: String,
    index: String,
    /// The digests of everything that belongs to the image, by what they are.
    blobs: BTreeMap<String, String>,
}

impl Subject {
    fn new() -> Self {
        let registry = TestRegistry::start();
        let sandbox = Sandbox::go("hello");
        let image = format!("{}/org", registry.host());
        let line = format!("gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --repo {image}");
        let index = sandbox.run(&line).ok().digest();
        let mut subject = Subject { registry, sandbox, image, index, blobs: BTreeMap::new() };
        subject.blobs = subject.find();
        subject
    }

    fn bytes(&self, digest: &str) -> Vec<u8> {
        self.registry.bytes("org", digest).to_vec()
    }

    fn find(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([("the index".to_owned(), self.index.clone())]);
        for (number, child) in
            json(&self.bytes(&self.index))["manifests"].as_array().unwrap().iter().enumerate()
        {
            let digest = child["digest"].as_str().unwrap();
            let manifest = json(&self.bytes(digest));
            all.insert(format!("manifest {number}"), digest.to_owned());
            all.insert(format!("config {number}"), manifest["config"]["digest"].as_str().unwrap().to_owned());
            for (at, layer) in manifest["layers"].as_array().unwrap().iter().enumerate() {
                all.insert(format!("layer {at} of {number}"), layer["digest"].as_str().unwrap().to_owned());
            }
        }
        let artifact = self.registry.artifacts("org", STATEMENT).pop().unwrap();
        let layer = json(&self.bytes(&artifact))["layers"][0]["digest"].as_str().unwrap().to_owned();
        all.insert("the artifact".to_owned(), artifact);
        all.insert("the statement".to_owned(), layer);
        all
    }

    /// The same image with another blob in place of the one that is called `what`, and everything above it as it must be
    /// then; the statement is about the new index. Gives its digest; none if the registry refuses a document of it.
    fn with(&self, what: &str, new: &[u8]) -> Option<String> {
        let put = |bytes: &[u8]| self.registry.put_blob("org", bytes.to_vec());
        let blobs = &self.blobs;
        let mut replaced: BTreeMap<String, (String, usize)> = BTreeMap::new();
        let mut statement = self.bytes(&blobs["the statement"]);
        let mut index = self.bytes(&self.index);
        if what == "the statement" {
            statement = new.to_vec();
        } else if what == "the index" {
            index = new.to_vec();
        } else if !what.starts_with("manifest") {
            replaced.insert(blobs[what].clone(), (put(new), new.len()));
        }
        for number in 0..2 {
            let name = format!("manifest {number}");
            let old = self.bytes(&blobs[&name]);
            let bytes = if what == name { new.to_vec() } else { reseal(&old, &replaced) };
            if bytes != old {
                let digest = sha256(&bytes);
                self.registry.takes_manifest("org", &digest, MANIFEST, bytes.clone()).ok()?;
                replaced.insert(blobs[&name].clone(), (digest, bytes.len()));
            }
        }
        let index = reseal(&index, &replaced);
        let digest = sha256(&index);
        self.registry.takes_manifest("org", &digest, INDEX, index.clone()).ok()?;
        let hex = |digest: &str| digest.strip_prefix("sha256:").unwrap().to_owned();
        let mut text = String::from_utf8_lossy(&statement).into_owned();
        if what != "the statement" {
            text = text.replace(&hex(&self.index), &hex(&digest));
            for (old, (new, _)) in &replaced {
                text = text.replace(&hex(old), &hex(new));
            }
            statement = text.into_bytes();
        }
        if digest != self.index || what == "the statement" {
            self.attach(&digest, index.len(), &statement);
        }
        Some(digest)
    }

    /// Attaches a statement to an index; nothing else is attached to it then.
    fn attach(&self, index: &str, size: usize, statement: &[u8]) {
        for artifact in self.registry.artifacts("org", STATEMENT) {
            let subject = json(&self.bytes(&artifact))["subject"]["digest"].clone();
            if subject == index && index == self.index {
                self.registry.remove_manifest("org", &artifact);
            }
        }
        let layer = self.registry.put_blob("org", statement.to_vec());
        let empty = self.registry.put_blob("org", b"{}".to_vec());
        let artifact = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": STATEMENT,
            "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
            "layers": [{ "mediaType": STATEMENT, "digest": layer, "size": statement.len() }],
            "subject": { "mediaType": INDEX, "digest": index, "size": size },
            "annotations": { "in-toto.io/predicate-type": "https://slsa.dev/provenance/v1" },
        });
        let bytes = serde_json::to_vec(&artifact).unwrap();
        let digest = sha256(&bytes);
        self.registry.put_manifest("org", &digest, MANIFEST, bytes);
    }

    /// Verify must find it, unless the registry did.
    #[track_caller]
    fn is_found(&self, what: &str, new: &[u8], words: &[&str]) -> bool {
        let Some(digest) = self.with(what, new) else { return false };
        self.sandbox.run(&format!("gimg verify {}@{digest}", self.image)).fails(8, words);
        true
    }
}

/// A document with other digests and sizes in its descriptors; every other byte stays.
fn reseal(bytes: &[u8], replaced: &BTreeMap<String, (String, usize)>) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for (old, (new, size)) in replaced {
        if let Some(at) = text.find(&format!("\"digest\":\"{old}\"")) {
            let rest = text[at..].find("\"size\":").map(|found| at + found + 7).unwrap();
            let end = text[rest..].find(|c: char| !c.is_ascii_digit()).map(|found| rest + found).unwrap();
            text.replace_range(rest..end, &size.to_string());
            text = text.replace(old, new);
        }
    }
    if text.as_bytes() == bytes { bytes.to_vec() } else { text.into_bytes() }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// So many places in so many bytes, the first and the last among them.
fn places(length: usize, count: usize) -> Vec<usize> {
    (0..count).map(|n| n * (length - 1) / (count - 1)).collect()
}

#[test]
fn a_byte_that_is_damaged_in_any_blob_is_found_and_named() {
    let subject = Subject::new();
    for digest in subject.blobs.values() {
        let length = subject.bytes(digest).len();
        for at in places(length, 3) {
            let part = digest.clone();
            let hit = move |asked: &Asked<'_>, _: &_| {
                (asked.method == "GET" && asked.target.contains(&part)).then_some(Fault::Flip(at))
            };
            subject.registry.hook(hit);
            let ran = subject.sandbox.run(&format!("gimg verify {}@{}", subject.image, subject.index));
            ran.fails(8, &[digest]);
            subject.registry.heal();
        }
    }
}

#[test]
fn a_byte_that_somebody_changed_in_a_layer_is_found_and_named() {
    let subject = Subject::new();
    let blobs = &subject.blobs;
    let plain = |digest: &str| {
        let mut tar = Vec::new();
        flate2::read::MultiGzDecoder::new(&subject.bytes(digest)[..]).read_to_end(&mut tar).unwrap();
        tar
    };
    let gzip = |tar: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(tar).unwrap();
        out.finish().unwrap()
    };
    // The base's layer, kodata, the program.
    for (layer, words) in [
        ("layer 0 of 0", &["isn't the base's"][..]),
        ("layer 1 of 0", &["/var/run/ko/", "in layer sha256:"]),
        ("layer 2 of 1", &["/ko-app/hello", "in layer sha256:"]),
    ] {
        let tar = plain(&blobs[layer]);
        // In the content of the last file.
        let inside = tar.iter().rposition(|b| *b != 0).unwrap();
        assert!(subject.is_found(layer, &gzip(&flipped(&tar, inside)), words));
        // The same content, compressed otherwise.
        let words = match layer {
            "layer 0 of 0" => words,
            _ => &["only the compression of layer sha256:", "[byte "],
        };
        assert!(subject.is_found(layer, &gzip(&tar), words));
    }
    let tar = plain(&blobs["layer 2 of 0"]);
    for at in places(tar.len() - 2048, 6) {
        assert!(subject.is_found("layer 2 of 0", &gzip(&flipped(&tar, at)), &["layer sha256:"]));
    }
}

#[test]
fn a_byte_that_somebody_changed_in_a_document_is_found_and_named() {
    let subject = Subject::new();
    let blobs = &subject.blobs;
    for (what, count) in [("config 1", 8), ("manifest 0", 14), ("the index", 14), ("the statement", 12)] {
        let bytes = subject.bytes(&blobs[what]);
        let mut found = 0;
        for at in places(bytes.len(), count) {
            let new = flipped(&bytes, at);
            // Who made it may be somebody else, with a toolchain for another system: that is said, and no more.
            if what == "the statement" && is_about_the_maker(&bytes, at) {
                let digest = subject.with(what, &new).unwrap();
                let ran = subject.sandbox.run(&format!("gimg verify {}@{digest}", subject.image));
                let named = ran.stderr.contains("its provenance names other ") || ran.code == 8;
                assert!(named, "{at}: {}", ran.stderr);
                continue;
            }
            found += usize::from(subject.is_found(what, &new, &["verify "]));
        }
        assert!(found >= 2, "{what}: {found}");
    }
}

/// Whether the byte is in what a statement says of gimg, or of the toolchain's programs.
fn is_about_the_maker(statement: &[u8], at: usize) -> bool {
    let text = std::str::from_utf8(statement).unwrap();
    let tools = ["asm", "compile", "go", "link"].map(|tool| format!(" {tool}\""));
    let tools = tools.iter().filter_map(|tool| {
        let name = text.find(tool.as_str())?;
        Some(text[..name].rfind('{')?..name + text[name..].find("}}")? + 2)
    });
    let others = ["\"builder\":", "\"encoder\":"].iter().filter_map(|key| text.find(key));
    tools.chain(others.map(|found| found..found + 120)).any(|range| range.contains(&at))
}
