//! Referrers in layouts and archives: kept, carried along, and never taken for images. Other clients read what gimg
//! attached, and gimg what they did.

use std::path::Path;
use std::sync::Arc;

use gimg::content::copy::Copier;
use gimg::content::{Content, Graph, Referrer, Target};
use gimg::event::Silent;
use gimg::oci::{Descriptor, Digest, MediaType, Repository};
use gimg::store::Scratch;
use gimg::target::archive::{Archive, Format};
use gimg::target::layout::{Layout, Place};
use gimg::target::reader::Reader;
use serde_json::{Value, json};

use crate::referrers::about;
use crate::support::Sandbox;
use crate::support::client::{Client, multi};
use crate::support::registry::{Config, TestRegistry};
use crate::support::servers::Server;

/// A layout `src/gimg-out/m` of one image, and its root.
fn built() -> (Sandbox, Descriptor) {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n");
    sandbox.run("gimg build").ok();
    let (root, _) = Reader::open(&sandbox.path("src/gimg-out/m")).unwrap().root(None).unwrap();
    (sandbox, root)
}

fn write_blob(layout: &Path, bytes: &[u8]) -> Descriptor {
    let descriptor = Descriptor::of(MediaType::INDEX, bytes);
    std::fs::write(layout.join("blobs/sha256").join(descriptor.digest.hex()), bytes).unwrap();
    descriptor
}

/// Puts a referrer's files into a layout, but names it nowhere.
fn store(layout: &Path, referrer: &Referrer) {
    for blob in referrer.blobs.iter().chain([&referrer.manifest]) {
        let Content::Bytes(bytes) = &blob.content else { panic!("not in memory") };
        write_blob(layout, bytes);
    }
}

fn change_index(layout: &Path, change: impl FnOnce(&mut Vec<Value>)) {
    let path = layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(index["manifests"].as_array_mut().unwrap());
    std::fs::write(&path, index.to_string()).unwrap();
}

/// The digests that a registry lists, in order of their bytes.
fn listed(host: &str, subject: &Descriptor) -> Vec<Digest> {
    let repository: Repository = format!("{host}/team/app").parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new();
    let list = runtime.block_on(client.registry.referrers(&repository, &subject.digest, None)).unwrap();
    let mut digests: Vec<Digest> = list.iter().map(|d| d.digest).collect();
    digests.sort();
    digests
}

fn sorted<'a>(referrers: impl IntoIterator<Item = &'a Referrer>) -> Vec<Digest> {
    let mut digests: Vec<Digest> = referrers.into_iter().map(|r| r.manifest.descriptor.digest).collect();
    digests.sort();
    digests
}

#[test]
fn push_carries_what_a_layout_holds_about_its_image() {
    let (sandbox, root) = built();
    let layout = sandbox.path("src/gimg-out/m");
    let (entry, listed_one) = (about(&root, "sbom/x", 1), about(&root, "sbom/x", 2));
    let signature = about(&entry.manifest.descriptor, "sig/x", 3);
    let strangers = about(&Descriptor::of(MediaType::MANIFEST, b"stranger"), "sbom/x", 4);
    for referrer in [&entry, &listed_one, &signature, &strangers] {
        store(&layout, referrer);
    }
    let list = json!({"schemaVersion": 2, "mediaType": MediaType::INDEX.to_string(),
        "manifests": [listed_one.manifest.descriptor]});
    let list = write_blob(&layout, list.to_string().as_bytes());
    change_index(&layout, |entries| {
        for referrer in [&signature, &entry, &strangers] {
            entries.push(json!(referrer.manifest.descriptor));
        }
        let mut list = json!(list);
        let name = format!("sha256-{}", root.digest.hex());
        list["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        entries.push(list);
    });
    for api in [true, false] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let host = registry.host();
        let ran = sandbox.run(&format!("gimg push gimg-out/m {host}/team/app -t v1")).ok();
        assert!(ran.stdout.contains(&root.digest.to_string()), "{}", ran.stdout);
        assert_eq!(listed(&host, &root), sorted([&entry, &listed_one]));
        assert_eq!(listed(&host, &entry.manifest.descriptor), sorted([&signature]));
        assert_eq!(registry.incomplete(), Vec::<String>::new());
        let digest = strangers.manifest.descriptor.digest.to_string();
        assert_eq!(registry.asked("PUT", &digest), 0, "what is about another image stays");
    }
    // As a base the layout is its image.
    let base = sandbox.run("gimg build --base oci:gimg-out/m --output oci:out").ok();
    assert!(base.stdout.starts_with("oci:"), "{}", base.stdout);
    sandbox.run("tar -C gimg-out/m -cf base.tar oci-layout index.json blobs").ok();
    let same = sandbox.run("gimg build --base oci-archive:base.tar --output oci:out").ok();
    assert_eq!(same.digest(), base.digest());
}

#[test]
fn a_referrer_that_is_not_whole_stops_a_push_before_it_begins() {
    let (sandbox, root) = built();
    let layout = sandbox.path("src/gimg-out/m");
    let referrer = about(&root, "sbom/x", 1);
    store(&layout, &referrer);
    change_index(&layout, |entries| entries.push(json!(referrer.manifest.descriptor)));
    let blob = layout.join("blobs/sha256").join(referrer.blobs[1].descriptor.digest.hex());
    let registry = TestRegistry::start();
    let line = format!("gimg push gimg-out/m {}/team/app", registry.host());
    std::fs::write(&blob, "other").unwrap();
    sandbox.run(&line).fails(8, &["it has 5 bytes, its descriptor says 10", "blobs/sha256/"]);
    std::fs::remove_file(&blob).unwrap();
    sandbox.run(&line).fails(9, &["No such file", "blobs/sha256/"]);
    assert_eq!(registry.repositories(), Vec::<String>::new());
}

/// An image with two things said about it, and one about its child.
fn graph(repository: &str) -> Graph {
    let graph = multi(repository, &["v1"]);
    let (root, child) = (graph.root.descriptor.clone(), graph.children[0].descriptor.clone());
    let sbom = about(&root, "sbom/x", 1);
    let signature = about(&sbom.manifest.descriptor, "sig/x", 2);
    graph.with_referrers(vec![signature, sbom, about(&child, "sbom/x", 3)])
}

async fn copied(target: Arc<dyn Target>, graph: &Graph) {
    let copier = Copier::new(target, Arc::new(Silent), 2);
    copier.content(graph).await.unwrap();
    copier.publish(std::slice::from_ref(graph)).await.unwrap();
}

#[tokio::test]
async fn layouts_and_archives_keep_referrers() {
    let dir = tempfile::tempdir().unwrap();
    let origin = || Arc::new(Client::new().registry);
    let graph = graph("127.0.0.1:1/team/app");
    let layout = dir.path().join("layout");
    for _ in 0..2 {
        copied(Arc::new(Layout::new(Place::One(layout.clone()), origin())), &graph).await;
    }
    let file = dir.path().join("image.tar");
    let scratch = Arc::new(Scratch::new().unwrap());
    copied(Arc::new(Archive::new(Format::Oci, file.clone(), origin(), scratch)), &graph).await;
    let unpacked = dir.path().join("unpacked");
    tar::Archive::new(std::fs::File::open(&file).unwrap()).unpack(&unpacked).unwrap();
    for dir in [&layout, &unpacked] {
        let reader = Reader::open(dir).unwrap();
        assert_eq!(reader.entries().len(), 1 + 3);
        let (root, names) = reader.root(None).unwrap();
        assert_eq!((root.digest, names), (graph.root.descriptor.digest, vec!["v1".to_owned()]));
        let read = reader.graph(&root, graph.name.clone(), graph.tags.clone()).unwrap();
        assert_eq!(sorted(&read.referrers), sorted(&graph.referrers));
        let blobs = |g: &Graph| {
            let mut all: Vec<Digest> = g.everything().map(|b| b.descriptor.digest).collect();
            all.sort();
            all.dedup();
            all
        };
        assert_eq!(blobs(&read), blobs(&graph));
    }
    // Engines take images, and nothing that is said about them.
    let scratch = Arc::new(Scratch::new().unwrap());
    let docker = Archive::new(Format::Docker, dir.path().join("docker.tar"), origin(), scratch);
    assert!(!docker.keeps_referrers());
}

#[test]
#[ignore = "integration: needs oras"]
fn oras_reads_what_gimg_attached_and_gimg_what_oras_did() {
    let sandbox = Sandbox::new().file("sbom.json", "{}").file("sig", "x");
    // olareg says 405 where it has no API, which oras must be told and gimg needn't.
    let told = "--distribution-spec v1.1-referrers-tag";
    let servers =
        [(Server::olareg(), ""), (Server::olareg_without_referrers(), told), (Server::distribution(), "")];
    for (server, spec) in servers {
        let image = format!("{}/team/app", server.host());
        let graph = graph(&image);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(Client::new().push(&graph)).unwrap();
        let discover = |name: &str| {
            let line = format!("oras discover {spec} --plain-http --format json --depth 1 {image}{name}");
            let ran = sandbox.run(&line).ok();
            let found: Value = serde_json::from_str(&ran.stdout).unwrap();
            let list = found["referrers"].as_array().cloned().unwrap_or_default();
            list.iter().map(|r| r["digest"].as_str().unwrap().parse().unwrap()).collect::<Vec<Digest>>()
        };
        let sbom = &graph.referrers[1].manifest.descriptor.digest;
        assert_eq!(discover(":v1"), [*sbom]);
        assert_eq!(discover(&format!("@{sbom}")), [graph.referrers[0].manifest.descriptor.digest]);
        let child = &graph.children[0].descriptor;
        assert_eq!(discover(&format!("@{}", child.digest)).len(), 1);
        let line = format!("oras attach {spec} --plain-http --artifact-type text/oras {image}:v1 sig:text/x");
        sandbox.run(&line).ok();
        let mut both = discover(":v1");
        assert_eq!(both.len(), 2, "oras keeps ours beside its own");
        both.sort();
        assert_eq!(listed(&server.host(), &graph.root.descriptor), both);
        let from = spec.replace("--dist", "--from-dist");
        // From a registry to a layout and back: oras writes entries without names.
        let line = format!(
            "oras copy -r {from} --from-plain-http --to-oci-layout {image}:v1 layout-{}:v1",
            server.host().replace(':', "-")
        );
        sandbox.run(&line).ok();
        let other = TestRegistry::with(Config { referrers: false, ..Config::default() });
        sandbox
            .run(&format!("gimg push layout-{} {}/team/app", server.host().replace(':', "-"), other.host()))
            .ok();
        assert_eq!(listed(&other.host(), &graph.root.descriptor), both);
        assert_eq!(listed(&other.host(), child).len(), 1);
    }
}
