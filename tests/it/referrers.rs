//! Referrers: attached where the registry lists them and where it doesn't, listed again, lost by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use gimg::content::{Blob, Graph, Referrer};
use gimg::error::Kind;
use gimg::event::Event;
use gimg::oci::{Descriptor, Digest, ImageIndex, ImageManifest, MediaType, Repository, Tag};
use gimg::registry::Options;
use gimg::store::Store;

use crate::support::client::{Client, Heard, layer, multi, own, single};
use crate::support::registry::{Config, Fault, TestRegistry, When};
use crate::support::servers::Server;

const SBOM: &str = "application/spdx+json";

/// An artifact of type `kind` about `subject`, unlike any of another number.
pub(crate) fn about(subject: &Descriptor, kind: &str, number: usize) -> Referrer {
    let config = Blob::of(MediaType::from("application/vnd.oci.empty.v1+json".to_owned()), "{}".into());
    let content = Blob::of(MediaType::from(kind.to_owned()), format!("document {number}").into());
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::MANIFEST),
        artifact_type: Some(MediaType::from(kind.to_owned())),
        config: config.descriptor.clone(),
        layers: vec![content.descriptor.clone()],
        subject: Some(Descriptor::new(subject.media_type.clone(), subject.digest, subject.size)),
        annotations: BTreeMap::from([("org.example.number".to_owned(), number.to_string())]),
    };
    let bytes = gimg::oci::json::to_bytes(&manifest).unwrap();
    Referrer::read(MediaType::MANIFEST, bytes, vec![config, content]).unwrap().unwrap()
}

/// Without the referrers API.
fn without_api() -> TestRegistry {
    TestRegistry::with(Config { referrers: false, ..Config::default() })
}

fn repository(graph: &Graph) -> Repository {
    graph.name.repository.clone().unwrap()
}

/// What the client finds about `subject`.
async fn found(client: &Client, graph: &Graph, subject: &Descriptor) -> BTreeSet<Digest> {
    let list = client.registry.referrers(&repository(graph), &subject.digest, None).await.unwrap();
    let digests: BTreeSet<Digest> = list.iter().map(|d| d.digest).collect();
    assert_eq!(digests.len(), list.len(), "an entry twice");
    digests
}

fn digests<'a>(referrers: impl IntoIterator<Item = &'a Referrer>) -> BTreeSet<Digest> {
    referrers.into_iter().map(|r| r.manifest.descriptor.digest).collect()
}

fn warnings(heard: &Heard) -> usize {
    heard.count(|e| matches!(e, Event::Warning(_)))
}

/// Attaches to every part of an image, reads it back in every way, and does it again.
async fn attached(host: &str) {
    let client = Client::new();
    let graph = multi(&format!("{host}/team/app"), &["v1"]);
    let (root, child) = (&graph.root.descriptor, &graph.children[0].descriptor);
    let (sbom, other) = (about(root, SBOM, 1), about(root, "text/x", 2));
    let of_child = about(child, SBOM, 3);
    let signature = about(&sbom.manifest.descriptor, "sig/x", 4);
    let all = vec![signature.clone(), sbom.clone(), other.clone(), of_child.clone()];
    let graph = graph.clone().with_referrers(all);
    for _ in 0..2 {
        client.push(&graph).await.unwrap();
        assert_eq!(found(&client, &graph, root).await, digests([&sbom, &other]));
        assert_eq!(found(&client, &graph, child).await, digests([&of_child]));
        assert_eq!(found(&client, &graph, &sbom.manifest.descriptor).await, digests([&signature]));
    }
    let list = |kind: &str| {
        let kind = MediaType::from(kind.to_owned());
        let (registry, repository) = (client.registry.clone(), repository(&graph));
        async move { registry.referrers(&repository, &root.digest, Some(&kind)).await.unwrap() }
    };
    let listed = list(SBOM).await;
    assert_eq!(
        listed.as_slice(),
        std::slice::from_ref(&sbom.manifest.descriptor),
        "with artifact type and annotations"
    );
    assert!(list("a/b").await.is_empty());
    let nobody = Digest::of(b"nobody");
    assert!(client.registry.referrers(&repository(&graph), &nobody, None).await.unwrap().is_empty());
    client.holds(&format!("{host}/team/app:v1"), &graph).await;
    for blob in sbom.blobs.iter().chain([&sbom.manifest]) {
        client.read(&repository(&graph), &blob.descriptor).await.unwrap();
    }
    assert_eq!(warnings(&client.heard), 0);
}

#[tokio::test]
async fn our_own_registry_lists_what_was_attached() {
    let registry = TestRegistry::start();
    attached(&registry.host()).await;
    assert_eq!(registry.tags("team/app").keys().collect::<Vec<_>>(), ["v1"], "no tags of lists");
}

#[tokio::test]
async fn without_the_api_there_is_a_list_under_a_tag() {
    for etags in [false, true] {
        let registry = TestRegistry::with(Config { referrers: false, etags, ..Config::default() });
        attached(&registry.host()).await;
        assert_eq!(registry.tags("team/app").len(), 1 + 3, "an image, and the lists of three subjects");
        assert_eq!(registry.incomplete(), Vec::<String>::new());
        let conditional = |l: &crate::support::registry::Logged| l.headers.contains_key("if-match");
        assert_eq!(registry.log().iter().any(conditional), etags);
    }
}

#[tokio::test]
async fn olareg_lists_what_was_attached() {
    attached(&Server::olareg().host()).await;
}

#[tokio::test]
async fn olareg_without_the_api_has_lists_under_tags() {
    attached(&Server::olareg_without_referrers().host()).await;
}

#[tokio::test]
async fn distribution_has_lists_under_tags() {
    attached(&Server::distribution().host()).await;
}

#[tokio::test]
async fn referrers_follow_their_subjects_and_tags_follow_all() {
    for api in [true, false] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
        let sbom = about(&graph.root.descriptor, SBOM, 1);
        let signature = about(&sbom.manifest.descriptor, "sig/x", 2);
        let graph = graph.with_referrers(vec![signature.clone(), sbom.clone()]);
        Client::new().push(&graph).await.unwrap();
        let log = registry.log();
        let puts: Vec<&str> = log.iter().filter(|l| l.method == "PUT").map(|l| l.target.as_str()).collect();
        let at =
            |digest: &Digest| puts.iter().position(|t| t.ends_with(&format!("manifests/{digest}"))).unwrap();
        let order = [&graph.root, &sbom.manifest, &signature.manifest].map(|b| at(&b.descriptor.digest));
        assert!(order.is_sorted(), "{puts:?}");
        assert!(puts.last().unwrap().ends_with("/manifests/v1"), "{puts:?}");
        assert_eq!(puts.iter().filter(|t| t.contains("/manifests/sha256-")).count(), if api { 0 } else { 2 });
    }
}

#[tokio::test]
async fn a_refused_referrer_is_a_warning_or_an_error_before_any_tag() {
    let refused = || Fault::Status(400, Vec::new(), r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#.to_owned());
    for api in [true, false] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
        let (bad, good) = (about(&graph.root.descriptor, "bad/x", 1), about(&graph.root.descriptor, SBOM, 2));
        let graph = graph.with_referrers(vec![bad.clone(), good.clone()]);
        let digest = bad.manifest.descriptor.digest.to_string();
        let refuse = |registry: &TestRegistry| {
            let digest = digest.clone();
            let is = move |m: &str, t: &str| m == "PUT" && t.contains(&digest);
            registry.fail(When::Next(usize::MAX, Box::new(is)), refused());
        };
        refuse(&registry);
        let client = Client::new();
        let copier = client.copier().require_referrers();
        let error = copier.content(&graph).await.unwrap_err();
        assert_eq!((error.kind(), error.kind().exit_code()), (Kind::Attestation, 11), "{error}");
        assert!(error.to_string().contains("MANIFEST_INVALID"), "{error}");
        assert!(!registry.tags("team/app").contains_key("v1"));
        client.push(&graph).await.unwrap();
        assert_eq!(warnings(&client.heard), 1);
        assert!(registry.tags("team/app").contains_key("v1"));
        assert_eq!(found(&client, &graph, &graph.root.descriptor).await, digests([&good]));
    }
}

#[tokio::test]
async fn nonsense_for_an_answer_means_that_there_is_no_api() {
    let registry = without_api();
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
    let sbom = about(&graph.root.descriptor, SBOM, 1);
    let graph = graph.with_referrers(vec![sbom.clone()]);
    client.push(&graph).await.unwrap();
    let html = || vec![("content-type", "text/html".to_owned())];
    let index = || vec![("content-type", MediaType::INDEX.to_string())];
    let page = "<html>log in</html>".to_owned();
    let elsewhere = TestRegistry::start();
    elsewhere.fail(When::always("GET", "/login"), Fault::Status(200, html(), page.clone()));
    let login = format!("http://{}/login", elsewhere.host());
    for (status, headers, body) in [
        (404, html(), String::new()),
        (401, Vec::new(), String::new()),
        (403, Vec::new(), String::new()),
        (400, Vec::new(), String::new()),
        (405, Vec::new(), String::new()),
        (501, Vec::new(), String::new()),
        (204, Vec::new(), String::new()),
        (200, html(), page.clone()),
        (200, index(), page),
        (200, index(), "[]".to_owned()),
        (200, vec![("content-type", "application/json".to_owned())], "{}".to_owned()),
        (302, vec![("location", login)], String::new()),
    ] {
        let shown = format!("{status} {headers:?} {body}");
        registry.fail(When::once("GET", "/referrers/"), Fault::Status(status, headers, body));
        assert_eq!(found(&client, &graph, &graph.root.descriptor).await, digests([&sbom]), "{shown}");
    }
    assert_eq!(elsewhere.asked("GET", "/login"), 1);
    // An API that is broken for long: what is under the tag counts, nothing there does not.
    registry.fail(When::always("GET", "/referrers/"), Fault::Status(500, Vec::new(), String::new()));
    assert_eq!(found(&client, &graph, &graph.root.descriptor).await, digests([&sbom]));
    let nobody = Digest::of(b"nobody");
    let error = client.registry.referrers(&repository(&graph), &nobody, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
}

#[tokio::test]
async fn what_is_under_the_tag_is_a_list_or_nothing() {
    let registry = without_api();
    let client = Client::new();
    let graph = multi(&own(&registry), &["v1"]);
    client.push(&graph).await.unwrap();
    let root = &graph.root.descriptor;
    let tag = Tag::of_referrers(&root.digest);
    let bytes = |digest: &Digest| registry.bytes("team/app", &digest.to_string());
    let put = |media_type: &MediaType, bytes: bytes::Bytes| {
        registry.put_manifest("team/app", tag.as_str(), media_type.as_str(), bytes);
    };
    // The subject itself, one of its children, and its children in another index.
    let twin = ImageIndex::new(
        graph.children.iter().map(|c| c.descriptor.clone()).collect(),
        BTreeMap::from([("a".to_owned(), "b".to_owned())]),
    );
    let twin = gimg::oci::json::to_bytes(&twin).unwrap();
    let sbom = about(root, SBOM, 1);
    let graph = graph.clone().with_referrers(vec![sbom.clone()]);
    let child = &graph.children[0].descriptor;
    for (media_type, bytes) in [
        (&MediaType::INDEX, bytes(&root.digest)),
        (&MediaType::MANIFEST, bytes(&child.digest)),
        (&MediaType::INDEX, twin),
    ] {
        put(media_type, bytes);
        assert!(found(&client, &graph, root).await.is_empty());
        let client = Client::new();
        client.push(&graph).await.unwrap();
        assert_eq!(warnings(&client.heard), 0);
        assert_eq!(found(&client, &graph, root).await, digests([&sbom]));
    }
    // Another image has that name: it stays.
    let other = single(&own(&registry), &["other"], &[layer(9, 10)]);
    client.push(&other).await.unwrap();
    put(&MediaType::MANIFEST, bytes(&other.root.descriptor.digest));
    assert!(found(&client, &graph, root).await.is_empty());
    let strict = Client::new();
    let error = strict.copier().require_referrers().content(&graph).await.unwrap_err();
    assert!(error.to_string().contains("not a list of referrers"), "{error}");
    assert_eq!(registry.tags("team/app")[tag.as_str()], other.root.descriptor.digest.to_string());
}

/// The list under the tag of `subject`, with `add` or without ours, as somebody else writes it.
fn write_list(registry: &crate::support::registry::Handle, subject: &Digest, entries: Vec<Descriptor>) {
    let list = gimg::oci::json::to_bytes(&ImageIndex::new(entries, BTreeMap::new())).unwrap();
    let tag = Tag::of_referrers(subject);
    registry.put_manifest("team/app", tag.as_str(), MediaType::INDEX.as_str(), list);
}

#[tokio::test]
async fn a_list_that_others_overwrite_is_healed_and_theirs_stays() {
    // Somebody read the list before we wrote it, and writes it: before our n-th look at it.
    for (etags, look) in [(false, 1), (false, 2), (true, 1), (true, 0)] {
        let registry = TestRegistry::with(Config { referrers: false, etags, ..Config::default() });
        let client = Client::new();
        let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
        let root = graph.root.descriptor.clone();
        client.push(&graph).await.unwrap();
        let (ours, theirs) = (about(&root, SBOM, 1), about(&root, SBOM, 2));
        client.push(&graph.clone().with_referrers(vec![theirs.clone()])).await.unwrap();
        let (old, newer) = (theirs.manifest.descriptor.clone(), about(&root, SBOM, 3));
        client.read(&repository(&graph), &old).await.unwrap();
        for blob in newer.blobs.iter().chain([&newer.manifest]) {
            client.copier().put(&graph.name, blob).await.unwrap();
        }
        let (mut looks, mut puts) = (0, 0);
        let entries = vec![old, newer.manifest.descriptor.clone()];
        registry.hook(move |asked, handle| {
            if !asked.target.contains("/manifests/sha256-") {
                return None;
            }
            let now = match asked.method {
                // Between our first look and our writing: only a condition keeps theirs.
                "PUT" => {
                    puts += 1;
                    look == 0 && puts == 1
                }
                _ => {
                    looks += 1;
                    look > 0 && looks == look + 1
                }
            };
            if now {
                write_list(handle, &root.digest, entries.clone());
            }
            None
        });
        let graph = graph.with_referrers(vec![ours.clone()]);
        client.push(&graph).await.unwrap();
        assert_eq!(warnings(&client.heard), 0);
        let expected = digests([&ours, &theirs, &newer]);
        assert_eq!(found(&client, &graph, &graph.root.descriptor).await, expected, "{etags} {look}");
    }
}

#[tokio::test]
async fn a_list_that_is_never_ours_is_given_up() {
    let registry = without_api();
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
    client.push(&graph).await.unwrap();
    let root = graph.root.descriptor.clone();
    registry.hook(move |asked, handle| {
        if asked.method == "GET" && asked.target.contains("/manifests/sha256-") {
            write_list(handle, &root.digest, Vec::new());
        }
        None
    });
    let graph = graph.clone().with_referrers(vec![about(&graph.root.descriptor, SBOM, 1)]);
    let error = client.copier().require_referrers().content(&graph).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("others wrote the list 6 times"), "{error}");
    client.push(&graph).await.unwrap();
    assert_eq!(warnings(&client.heard), 1);
}

#[tokio::test]
async fn one_failure_anywhere_loses_no_referrer() {
    for api in [true, false] {
        let make = || TestRegistry::with(Config { referrers: api, ..Config::default() });
        let graph = |registry: &TestRegistry| {
            let graph = single(&own(registry), &["v1"], &[layer(1, 10)]);
            let referrers = [1, 2].map(|n| about(&graph.root.descriptor, SBOM, n)).to_vec();
            graph.with_referrers(referrers)
        };
        let registry = make();
        Client::new().push(&graph(&registry)).await.unwrap();
        let requests = registry.log().len();
        let faults = [Fault::Reset, Fault::Lost, Fault::Status(503, Vec::new(), String::new())];
        let cases = (0..requests).flat_map(|number| faults.iter().map(move |fault| (number, fault.clone())));
        let one = |(number, fault): (usize, Fault)| async move {
            let registry = make();
            let graph = graph(&registry);
            registry.fail(When::Nth(number), fault.clone());
            let client = Client::new();
            client.push(&graph).await.unwrap();
            let found = found(&client, &graph, &graph.root.descriptor).await;
            assert_eq!(found, digests(&graph.referrers), "{api} {number} {fault:?}");
            assert_eq!(warnings(&client.heard), 0, "{api} {number} {fault:?}");
            assert_eq!(registry.incomplete(), Vec::<String>::new());
        };
        // A client waits longer than it works.
        futures_util::stream::iter(cases).for_each_concurrent(16, one).await;
    }
}

/// Attaches the referrers of these numbers to the image, each by a copier of its own.
async fn attach_all(client: &Client, graph: &Graph, numbers: std::ops::Range<usize>) {
    let jobs = numbers.map(|number| {
        let referrer = about(&graph.root.descriptor, SBOM, number);
        let graph = graph.clone().with_referrers(vec![referrer]);
        async move { client.copier().require_referrers().content(&graph).await }
    });
    futures_util::future::try_join_all(jobs).await.unwrap();
}

fn numbered(graph: &Graph, numbers: std::ops::Range<usize>) -> BTreeSet<Digest> {
    let all: Vec<Referrer> = numbers.map(|n| about(&graph.root.descriptor, SBOM, n)).collect();
    digests(&all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_from_one_process_lose_none() {
    // olareg has the API, and by itself loses some that come at once.
    let (distribution, olareg) = (Server::distribution(), Server::olareg());
    let ours = without_api();
    for host in [ours.host(), distribution.host(), olareg.host()] {
        let client = Client::new();
        let graph = single(&format!("{host}/team/app"), &["v1"], &[layer(1, 10)]);
        client.push(&graph).await.unwrap();
        attach_all(&client, &graph, 0..50).await;
        assert_eq!(found(&client, &graph, &graph.root.descriptor).await, numbered(&graph, 0..50));
    }
    // Each in turn: every list is written once.
    assert_eq!(ours.asked("PUT", "/manifests/sha256-"), 50);
}

/// What a child of the next test attaches: `host store from to`.
const CHILD: &str = "GIMG_TEST_ATTACH";

/// Attaches what the parent says, as a process of its own: one that shares `store` with others, if it isn't `-`.
#[test]
#[ignore = "a part of other tests, which run it as a process of its own"]
fn attaches_for_another_test() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = order.split(' ').collect();
    let [host, store, from, to] = words.as_slice() else { panic!("{order}") };
    let locks = (*store != "-").then(|| {
        let observer = Arc::new(gimg::event::Silent);
        Arc::new(Store::at(Path::new(store).to_owned(), 1 << 30, observer)) as Arc<dyn gimg::content::Locks>
    });
    let client = Client::of(Options { locks, ..Options::default() });
    let graph = single(&format!("{host}/team/app"), &["v1"], &[layer(1, 10)]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(attach_all(&client, &graph, from.parse().unwrap()..to.parse().unwrap()));
}

/// Runs processes that attach `each` referrers, one process for each of `stores`.
fn processes(host: &str, stores: &[String], each: usize) {
    let children: Vec<_> = stores
        .iter()
        .enumerate()
        .map(|(number, store)| {
            let order = format!("{host} {store} {} {}", number * each, (number + 1) * each);
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "referrers::attaches_for_another_test", "--ignored"])
                .env(CHILD, order)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the child did nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_at_once_from_eight_processes_with_one_store_lose_none() {
    let (registry, store) = (without_api(), tempfile::tempdir().unwrap());
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
    client.push(&graph).await.unwrap();
    let stores = vec![store.path().join("cache").to_str().unwrap().to_owned(); 8];
    let host = registry.host();
    tokio::task::spawn_blocking(move || processes(&host, &stores, 7)).await.unwrap();
    assert_eq!(found(&client, &graph, &graph.root.descriptor).await, numbered(&graph, 0..56));
    assert_eq!(registry.asked("PUT", "/manifests/sha256-"), 56, "each in turn: every list is written once");
}

/// Machines share no store. How many rounds, and how many of the referrers were lost, is printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak: two machines attach at the same time"]
async fn soak_two_machines_attach_at_the_same_time() {
    let rounds = 20;
    let mut lost = 0;
    for _ in 0..rounds {
        let registry = without_api();
        let client = Client::new();
        let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
        client.push(&graph).await.unwrap();
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stores: Vec<String> =
            [&one, &two].map(|d| d.path().join("cache").to_str().unwrap().to_owned()).to_vec();
        let host = registry.host();
        tokio::task::spawn_blocking(move || processes(&host, &stores, 25)).await.unwrap();
        let found = found(&client, &graph, &graph.root.descriptor).await;
        lost += numbered(&graph, 0..50).difference(&found).count();
    }
    println!("{lost} of {} referrers lost", rounds * 50);
    assert_eq!(lost, 0);
}
