//! Pushing and pulling with the registry client, against our own registry and real ones.

use std::sync::Arc;
use std::time::Duration;

use gimg::content::{Blob, Content, ImageName, Target};
use gimg::error::Kind;
use gimg::event::{Event, Put};
use gimg::oci::{Digest, MediaType};
use gimg::registry::{Options, Registry, RegistryTarget};

use crate::support::canary::SECRET;
use crate::support::client::{Client, layer, multi, own, round_trip, single};
use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::servers::Server;

#[tokio::test]
async fn olareg_takes_an_image_and_gives_it_back() {
    let server = Server::olareg();
    round_trip(&server.host(), &Client::new()).await;
}

#[tokio::test]
async fn distribution_takes_an_image_and_gives_it_back() {
    let server = Server::distribution();
    round_trip(&server.host(), &Client::new()).await;
}

#[tokio::test]
async fn our_own_registry_takes_an_image_and_gives_it_back() {
    let registry = TestRegistry::start();
    round_trip(&registry.host(), &Client::new()).await;
    assert_eq!(registry.incomplete(), Vec::<String>::new());
}

#[tokio::test]
async fn tags_come_last_and_only_once_each() {
    let registry = TestRegistry::start();
    Client::new().push(&multi(&own(&registry), &["v1", "v2"])).await.unwrap();
    let puts: Vec<_> = registry.log().into_iter().filter(|l| l.method == "PUT").map(|l| l.target).collect();
    let at = |part: &str| puts.iter().position(|t| t.contains(part)).unwrap();
    let last_digest = puts.iter().rposition(|t| t.contains("sha256:")).unwrap();
    assert!(last_digest < at("/manifests/v1") && at("/manifests/v1") < at("/manifests/v2"), "{puts:?}");
    assert_eq!(puts.len(), 5 + 3 + 2);
}

#[tokio::test]
async fn a_tag_that_is_right_is_left_alone() {
    let registry = TestRegistry::with(Config { mutable_tags: false, ..Config::default() });
    let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
    Client::new().push(&graph).await.unwrap();
    Client::new().push(&graph).await.unwrap();
    assert_eq!(registry.asked("PUT", "/manifests/v1"), 1);
    let other = single(&own(&registry), &["v1"], &[layer(2, 10)]);
    let error = Client::new().push(&other).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("TAG_INVALID: the tag exists and is immutable"), "{error}");
}

#[tokio::test]
async fn one_failure_anywhere_does_no_harm() {
    sweep(Auth::Open).await;
}

#[tokio::test]
async fn one_failure_anywhere_does_no_harm_where_tokens_are_wanted() {
    sweep(Auth::Bearer("user".to_owned(), SECRET.to_owned())).await;
}

/// Pushes to a registry again and again, with each kind of failure at each request.
async fn sweep(auth: Auth) {
    let start = || TestRegistry::with(Config { auth: auth.clone(), ..Config::default() });
    let graph = |registry: &TestRegistry| single(&own(registry), &["v1"], &[layer(1, 70_000)]);
    let registry = start();
    Client::user(&registry.host()).push(&graph(&registry)).await.unwrap();
    let requests = registry.log().len();
    assert!(requests > 8);
    let busy = Fault::Status(503, vec![("retry-after", "0".to_owned())], String::new());
    for fault in [busy, Fault::Reset, Fault::Lost] {
        for at in 0..requests {
            let registry = start();
            registry.fail(When::Nth(at), fault.clone());
            let graph = graph(&registry);
            let client = Client::user(&registry.host());
            client.push(&graph).await.unwrap_or_else(|e| panic!("{fault:?} at {at}: {e}"));
            assert_eq!(registry.incomplete(), Vec::<String>::new());
            client.holds(&format!("{}:v1", own(&registry)), &graph).await;
            let blob = &graph.blobs[0].descriptor;
            assert!(client.heard.sent(blob.digest) <= blob.size, "{fault:?} at {at}");
        }
    }
}

#[tokio::test]
async fn a_registry_that_stays_broken_is_unavailable() {
    let registry = TestRegistry::start();
    registry.fail(When::times(99, "POST", "/uploads/"), Fault::Status(500, Vec::new(), "<html>".to_owned()));
    let client = Client::new();
    let error = client.push(&single(&own(&registry), &["v1"], &[layer(1, 10)])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("500 Internal Server Error"), "{error}");
    assert!(error.to_string().contains("6 times in a row"), "{error}");
    // Two blobs are under way; the first to fail ends both.
    assert!((5..=10).contains(&client.heard.count(|e| matches!(e, Event::Retry { .. }))));
    assert!(registry.tags("team/app").is_empty());
    // Nobody listens there.
    let error = Client::new().resolve("127.0.0.1:1/a:b").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("can't connect: Connection refused"), "{error}");
}

#[tokio::test]
async fn what_the_registry_wants_to_wait_is_waited() {
    let registry = TestRegistry::start();
    let busy = Fault::Status(429, vec![("retry-after", "1".to_owned())], String::new());
    registry.fail(When::once("PUT", "/manifests/v1"), busy);
    let client = Client::new();
    client.push(&single(&own(&registry), &["v1"], &[layer(1, 10)])).await.unwrap();
    let second = |e: &Event| matches!(e, Event::Retry { delay, .. } if *delay == Duration::from_secs(1));
    assert_eq!(client.heard.count(second), 1);
}

#[tokio::test]
async fn a_mount_that_fails_becomes_an_upload() {
    let base = layer(9, 3000);
    for fault in [None, Some(Fault::Status(403, Vec::new(), String::new())), Some(Fault::Reset)] {
        let registry = TestRegistry::start();
        let from = format!("{}/base", registry.host());
        let client = Client::new();
        client.push(&single(&from, &["v1"], std::slice::from_ref(&base))).await.unwrap();
        let refused = fault.is_none();
        if let Some(fault) = fault {
            registry.fail(When::once("POST", "mount="), fault);
        } else {
            registry.configure(|c| c.mounts = false);
        }
        let remote = Content::Remote(from.parse().unwrap());
        let there = Blob { descriptor: base.descriptor.clone(), content: remote };
        let graph = single(&own(&registry), &["v1"], &[there]);
        client.push(&graph).await.unwrap();
        assert_eq!(client.heard.how(base.descriptor.digest), [Put::Sent, Put::Sent]);
        client.holds(&format!("{}:v1", own(&registry)), &graph).await;
        // An answer of 202 is a session; no second one is opened.
        let opened = registry.log().iter().filter(|l| l.method == "POST").count();
        assert_eq!(opened, if refused { 4 } else { 5 });
    }
}

#[tokio::test]
async fn base_layers_are_mounted_or_come_from_the_other_registry() {
    let (far, near) = (TestRegistry::start(), TestRegistry::start());
    let client = Client::new();
    let base = layer(9, 300_000);
    let blob = |host: &str| {
        let remote = Content::Remote(format!("{host}/base").parse().unwrap());
        Blob { descriptor: base.descriptor.clone(), content: remote }
    };
    for registry in [&far, &near] {
        let graph = single(&format!("{}/base", registry.host()), &["v1"], std::slice::from_ref(&base));
        client.push(&graph).await.unwrap();
    }
    let client = Client::new();
    client.push(&single(&own(&near), &["v1"], &[blob(&near.host())])).await.unwrap();
    assert_eq!(client.heard.how(base.descriptor.digest), [Put::Mounted]);
    let other = TestRegistry::start();
    // The source breaks in the middle; so does the first upload.
    far.fail(When::once("GET", "/blobs/"), Fault::Truncate(100_000));
    other.fail(When::once("PUT", "/uploads/"), Fault::Reset);
    let graph = single(&own(&other), &["v1"], &[blob(&far.host())]);
    client.push(&graph).await.unwrap();
    client.holds(&format!("{}:v1", own(&other)), &graph).await;
    assert_eq!(client.heard.sent(base.descriptor.digest), 300_000);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    for ranges in [true, false] {
        let registry = TestRegistry::with(Config { ranges, ..Config::default() });
        let client = Client::new();
        let graph = single(&own(&registry), &["v1"], &[layer(1, 500_000)]);
        client.push(&graph).await.unwrap();
        registry.fail(When::once("GET", "/blobs/"), Fault::Truncate(200_000));
        registry.fail(When::once("GET", "/blobs/"), Fault::Status(502, Vec::new(), String::new()));
        registry.fail(When::once("GET", "/blobs/"), Fault::Truncate(100_000));
        let repository = own(&registry).parse().unwrap();
        let read = client.read(&repository, &graph.blobs[0].descriptor).await.unwrap();
        assert_eq!(Digest::of(&read), graph.blobs[0].descriptor.digest);
    }
}

#[tokio::test]
async fn other_content_than_asked_for_is_noticed() {
    let registry = TestRegistry::start();
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
    client.push(&graph).await.unwrap();
    let other = graph.blobs[1].clone();
    let manifest = MediaType::MANIFEST.to_string();
    let body = format!(r#"{{"schemaVersion":2,"mediaType":"{manifest}","layers":[]}}"#);
    let digest = other.descriptor.digest.to_string();
    let lies = [
        vec![("content-type", manifest.clone()), ("docker-content-digest", digest)],
        vec![("content-type", MediaType::INDEX.to_string())],
    ];
    for headers in lies {
        registry.fail(When::times(2, "GET", "/manifests/v1"), Fault::Status(200, headers, body.clone()));
        let error = client.resolve(&format!("{}:v1", own(&registry))).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
    }
    let by_digest = format!("{}@{}", own(&registry), graph.root.descriptor.digest);
    let lie = Fault::Status(200, vec![("content-type", manifest)], body);
    registry.fail(When::times(2, "GET", "/manifests/sha256:"), lie);
    assert_eq!(client.resolve(&by_digest).await.unwrap_err().kind(), Kind::Integrity);
    registry.fail(When::times(2, "GET", "/blobs/"), Fault::Status(200, Vec::new(), "0123456789".to_owned()));
    let repository = own(&registry).parse().unwrap();
    let error = client.read(&repository, &graph.blobs[0].descriptor).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    // A server that says yes to everything has not stored anything.
    for digest in ["/manifests/sha256:", "/manifests/v2"] {
        let graph = single(&own(&registry), &["v2"], &[layer(5, 10)]);
        registry.fail(When::once("PUT", digest), Fault::Status(201, Vec::new(), String::new()));
        let error = client.push(&graph).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
}

#[tokio::test]
async fn large_blobs_go_in_chunks_where_one_request_is_refused() {
    let limit = 4 * 1024 * 1024;
    let registry = TestRegistry::with(Config { max_body: limit, ..Config::default() });
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 2 * limit + 5)]);
    client.push(&graph).await.unwrap();
    assert_eq!(registry.asked("PATCH", "/uploads/"), 3);
    client.holds(&format!("{}:v1", own(&registry)), &graph).await;
}

#[tokio::test]
async fn uploads_follow_a_redirect_with_their_body() {
    let (registry, store) = (TestRegistry::start(), TestRegistry::start());
    let blob = layer(1, 300_000);
    // The other server has a session open, as if the registry had made it.
    let url = format!("http://{}/v2/team/app/blobs/uploads/", store.host());
    let opened = reqwest::Client::new().post(url).send().await.unwrap();
    let location = opened.headers()["location"].to_str().unwrap();
    let location = format!("http://{}{location}&digest={}", store.host(), blob.descriptor.digest);
    let redirect = Fault::Status(307, vec![("location", location)], String::new());
    registry.fail(When::once("PUT", "/uploads/"), redirect);
    let target = RegistryTarget::new(Client::new().registry, Arc::new(Client::new().registry));
    let name = ImageName { program: "app".to_owned(), repository: Some(own(&registry).parse().unwrap()) };
    assert_eq!(target.put(&name, &blob).await.unwrap(), Put::Sent);
    let read = Client::new().read(&own(&store).parse().unwrap(), &blob.descriptor).await.unwrap();
    assert_eq!(Digest::of(&read), blob.descriptor.digest);
}

#[tokio::test]
async fn files_are_streamed_and_missing_digest_headers_are_made_up_for() {
    let registry = TestRegistry::with(Config { digest_header: false, ..Config::default() });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer");
    let mut blob = layer(1, 3_000_000);
    let Content::Bytes(bytes) = &blob.content else { panic!("not in memory") };
    std::fs::write(&path, bytes).unwrap();
    blob.content = Content::File(path.into());
    let graph = single(&own(&registry), &["v1"], std::slice::from_ref(&blob));
    let client = Client::new();
    client.push(&graph).await.unwrap();
    client.push(&graph).await.unwrap();
    client.holds(&format!("{}:v1", own(&registry)), &graph).await;
    assert!(client.heard.count(|e| matches!(e, Event::Sent { .. })) > 3);
    assert_eq!(client.heard.sent(blob.descriptor.digest), 3_000_000);
    let other = single(&format!("{}/b", registry.host()), &["v1"], &[blob]);
    for content in [vec![1; 3_000_000], vec![1; 10], vec![1; 4_000_000]] {
        std::fs::write(dir.path().join("layer"), content).unwrap();
        let error = client.push(&other).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
    }
    std::fs::remove_file(dir.path().join("layer")).unwrap();
    assert_eq!(client.push(&other).await.unwrap_err().kind(), Kind::LocalIo);
}

#[test]
fn printed_references_are_kos() {
    let registry = Registry::new(Options::default());
    let target = RegistryTarget::new(registry.clone(), Arc::new(registry));
    let digest = single("r.io/a", &[], &[]).root.descriptor.digest;
    for (tags, expected) in [
        (&[][..], format!("r.io/a@{digest}")),
        (&["latest"], format!("r.io/a@{digest}")),
        (&["v1"], format!("r.io/a:v1@{digest}")),
        (&["v1", "v2"], format!("r.io/a@{digest}")),
    ] {
        assert_eq!(target.reference(&single("r.io/a", tags, &[])), expected);
    }
}
