//! Pushing where registries and connections misbehave: what is sent, how often, and in what order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gimg::content::{Blob, Content, Graph, ImageName, Target as _};
use gimg::error::{Kind, Result};
use gimg::event::{Event, Put};
use gimg::oci::Digest;
use gimg::registry::{Options, RegistryTarget, retry::Policy};

use crate::support::client::{Client, layer, multi, own, single};
use crate::support::registry::{Config, Fault, Logged, TestRegistry, When};

const MIB: usize = 1024 * 1024;

/// Puts one blob into `team/app`.
async fn put(client: &Client, registry: &TestRegistry, blob: &Blob) -> Result<Put> {
    let target = RegistryTarget::new(client.registry.clone(), Arc::new(client.registry.clone()));
    let name = ImageName { program: "app".to_owned(), repository: Some(own(registry).parse().unwrap()) };
    target.put(&name, blob).await
}

/// Puts one blob, which must arrive; gives how many bytes of bodies the registry got for it.
async fn arrives(registry: &TestRegistry, blob: &Blob) -> (Client, usize) {
    let client = Client::new();
    put(&client, registry, blob).await.unwrap_or_else(|e| panic!("{e}\n{}", lines(registry)));
    let digest = blob.descriptor.digest.to_string();
    assert_eq!(Digest::of(&registry.bytes("team/app", &digest)), blob.descriptor.digest);
    assert_eq!(client.heard.sent(blob.descriptor.digest), blob.descriptor.size, "{}", lines(registry));
    (client, registry.received())
}

/// Method, status and the end of the path of every request.
fn lines(registry: &TestRegistry) -> String {
    let line = |l: &Logged| format!("{} {} {} ({})\n", l.method, l.status, l.target, l.body);
    registry.log().iter().map(line).collect()
}

fn methods(registry: &TestRegistry) -> Vec<String> {
    let log = registry.log();
    log.iter().filter(|l| l.target.contains("/blobs/")).map(|l| l.method.clone()).collect()
}

fn retries(client: &Client) -> usize {
    client.heard.count(|e| matches!(e, Event::Retry { .. }))
}

fn busy(headers: &[(&'static str, &str)], body: &str) -> Fault {
    Fault::Status(429, headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(), body.to_owned())
}

#[tokio::test]
async fn a_registry_says_how_long_to_wait_in_three_forms() {
    let date = [("date", "Thu, 31 Dec 2026 23:59:59 GMT"), ("retry-after", "Fri, 01 Jan 2027 00:00:00 GMT")];
    let words = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"retry-after: 250ms, allowed: 1/s"}]}"#;
    for (fault, expected) in [
        (busy(&[("retry-after", "1")], ""), Duration::from_secs(1)),
        (busy(&date, ""), Duration::from_secs(1)),
        (busy(&[("retry-after", "20ms")], ""), Duration::from_millis(20)),
        (busy(&[], words), Duration::from_millis(250)),
        (
            Fault::Status(503, vec![("retry-after", "30ms".to_owned())], String::new()),
            Duration::from_millis(30),
        ),
    ] {
        let registry = TestRegistry::start();
        registry.fail(When::once("PUT", "/uploads/"), fault.clone());
        let (client, _) = arrives(&registry, &layer(1, 1000)).await;
        let waited = |e: &Event| matches!(e, Event::Retry { delay, .. } if *delay == expected);
        assert_eq!(client.heard.count(waited), 1, "{fault:?}");
    }
    // Nobody can wait for garbage: our own pauses are used.
    let registry = TestRegistry::start();
    registry.fail(When::times(2, "PUT", "/uploads/"), busy(&[("retry-after", "tomorrow")], ""));
    let (client, _) = arrives(&registry, &layer(1, 1000)).await;
    let short = |e: &Event| matches!(e, Event::Retry { delay, .. } if *delay < Duration::from_millis(50));
    assert_eq!(client.heard.count(short), 2);
}

#[tokio::test]
async fn a_registry_that_wants_too_long_a_pause_ends_the_push_at_once() {
    let registry = TestRegistry::start();
    registry.fail(When::always("POST", "/uploads/"), busy(&[("retry-after", "3600")], ""));
    let client = Client::new();
    let error = put(&client, &registry, &layer(1, 1000)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("asks for a pause of 3600s; gimg waits for 120s at most"), "{error}");
    assert_eq!((registry.asked("POST", ""), retries(&client)), (1, 0));
}

#[tokio::test]
async fn other_words_for_too_many_requests_are_understood_and_locks_left_alone() {
    let secondary = r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes"}"#;
    let hidden =
        r#"{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":"toomanyrequests: slow"}]}"#;
    for (status, body) in [(403, secondary), (500, hidden)] {
        let registry = TestRegistry::start();
        registry.fail(When::times(2, "PUT", "/uploads/"), Fault::Status(status, Vec::new(), body.to_owned()));
        let (client, _) = arrives(&registry, &layer(1, 1000)).await;
        let all = |e: &Event| matches!(e, Event::Retry { what, .. } if what.starts_with("all requests to"));
        assert_eq!(client.heard.count(all), 2, "{status}");
    }
    let locked = "toomanyrequests: too many failed login attempts for username or IP address";
    let registry = TestRegistry::start();
    registry.fail(When::always("POST", "/uploads/"), busy(&[("retry-after", "1")], locked));
    let client = Client::new();
    let error = put(&client, &registry, &layer(1, 1000)).await.unwrap_err();
    assert_eq!((error.kind(), registry.asked("POST", "")), (Kind::Auth, 1), "{error}");
    // Whatever the code says, what isn't there isn't there.
    let registry = TestRegistry::start();
    registry.fail(When::always("POST", "/uploads/"), Fault::error(404, "UNKNOWN", "repository not found"));
    let client = Client::new();
    let error = put(&client, &registry, &layer(1, 1000)).await.unwrap_err();
    assert_eq!((error.kind(), registry.asked("POST", "")), (Kind::Refused, 1), "{error}");
    assert!(error.hint_text().unwrap().contains("team/app exist?"), "{error:?}");
}

#[tokio::test]
async fn one_refusal_stops_every_request_to_the_registry_and_is_said_once() {
    let registry = TestRegistry::start();
    registry.fail(When::once("PUT", "/uploads/"), Fault::busy("1"));
    let client = Client::new();
    let layers: Vec<Blob> = (1..=12).map(|seed| layer(seed, 20_000)).collect();
    client.push(&single(&own(&registry), &["v1"], &layers)).await.unwrap();
    let log = registry.log();
    let refused = log.iter().find(|l| l.status == 429).unwrap();
    let quiet = |l: &&Logged| {
        l.at > refused.at && l.at < refused.at + Duration::from_millis(900) && l.number != refused.number
    };
    // Those that were under way can't be called back: four go at a time.
    let under_way = log.iter().filter(quiet).count();
    assert!(under_way <= 3, "{under_way}: {}", lines(&registry));
    let later = log.iter().filter(|l| l.at >= refused.at + Duration::from_millis(900)).count();
    assert!(later > 12, "{later}");
    assert_eq!(retries(&client), 1);
}

#[tokio::test]
async fn a_busy_registry_is_asked_less_at_a_time_and_more_again_later() {
    let registry = TestRegistry::start();
    // Every request is slow enough to overlap with others; one is refused.
    registry.fail(When::once("HEAD", "/blobs/"), Fault::busy("20ms"));
    registry.fail(When::always("", ""), Fault::Delay(Duration::from_millis(3)));
    let client = Client::new();
    let layers: Vec<Blob> = (1..=40).map(|seed| layer(seed, 100)).collect();
    client.push(&single(&own(&registry), &["v1"], &layers)).await.unwrap();
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    assert!(registry.peak() <= 4);
}

#[tokio::test]
async fn a_lost_answer_is_no_second_upload() {
    let registry = TestRegistry::start();
    registry.fail(When::once("PUT", "/uploads/"), Fault::Lost);
    let blob = layer(1, 500_000);
    let (_, received) = arrives(&registry, &blob).await;
    assert_eq!(received, 500_000);
    assert_eq!(methods(&registry), ["HEAD", "POST", "PUT", "HEAD"]);
    // GHCR takes its time, then knows nothing of the session, but has the blob.
    for code in ["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"] {
        let registry = TestRegistry::start();
        registry.fail(When::once("PUT", "/uploads/"), Fault::error(404, code, "upload unknown").done());
        let (_, received) = arrives(&registry, &blob).await;
        assert_eq!((received, registry.asked("PUT", "/uploads/")), (500_000, 1));
    }
}

#[tokio::test]
async fn a_dead_session_is_followed_by_a_new_one() {
    for fault in [
        Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload"),
        Fault::error(400, "BLOB_UPLOAD_INVALID", "first byte of the layer part is 0 instead of 11304960"),
        Fault::error(416, "BLOB_UPLOAD_INVALID", "first byte of the layer part is 0"),
        Fault::error(400, "DIGEST_INVALID", "the content has another digest"),
    ] {
        let registry = TestRegistry::start();
        registry.fail(When::once("PUT", "/uploads/"), fault);
        arrives(&registry, &layer(1, 1000)).await;
        assert_eq!(methods(&registry), ["HEAD", "POST", "PUT", "HEAD", "POST", "PUT"]);
    }
    // Twice damaged is damaged.
    let registry = TestRegistry::start();
    registry.fail(When::times(2, "PUT", "/uploads/"), Fault::error(400, "DIGEST_INVALID", "another digest"));
    let error = put(&Client::new(), &registry, &layer(1, 1000)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity, "{error}");
}

#[tokio::test]
async fn what_a_registry_kept_of_a_broken_upload_is_not_sent_again() {
    let size = 6 * MIB;
    let blob = layer(1, size);
    for percent in [1, 50, 99] {
        for keeps_partial in [true, false] {
            let registry = TestRegistry::with(Config { keeps_partial, ..Config::default() });
            registry.fail(When::once("PUT", "/uploads/"), Fault::ResetAfter(percent));
            let (_, received) = arrives(&registry, &blob).await;
            let first = registry.log().iter().find(|l| l.method == "PUT").unwrap().body;
            let again = received - size;
            assert_eq!(again, if keeps_partial { 0 } else { first }, "{percent} %: {}", lines(&registry));
        }
    }
    // A registry that kept something else says so in the end, and gets everything again.
    let registry = TestRegistry::with(Config { keeps_partial: true, ..Config::default() });
    registry.fail(When::once("PUT", "/uploads/"), Fault::ResetAfter(50));
    let lie = Fault::Header("range", Some("0-2999999".to_owned()));
    registry.fail(When::once("GET", "/uploads/"), lie);
    arrives(&registry, &blob).await;
}

#[tokio::test]
async fn a_broken_chunk_costs_one_chunk_at_most() {
    let (chunk, size) = (MIB / 4, 5 * MIB / 4 - 7);
    let blob = layer(1, size);
    for number in 0..5 {
        for fault in [
            Fault::Reset,
            Fault::ResetAfter(50),
            Fault::Dropped,
            Fault::Lost,
            Fault::status(502),
            Fault::error(416, "RANGE_INVALID", "out of order"),
        ] {
            for keeps_partial in [true, false] {
                let limits = Config { max_body: MIB, max_chunk: chunk, keeps_partial, ..Config::default() };
                let registry = TestRegistry::with(limits);
                let (mut seen, planned) = (0, fault.clone());
                registry.hook(move |asked, _| {
                    // The first chunks only teach how large they may be.
                    let length =
                        asked.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(usize::MAX);
                    let counts = asked.method == "PATCH" && length <= chunk;
                    seen += usize::from(counts);
                    (counts && seen == number + 1).then(|| planned.clone())
                });
                arrives(&registry, &blob).await;
                let log = registry.log();
                let chunks = log.iter().filter(|l| l.method == "PATCH" && l.body <= chunk).map(|l| l.body);
                let again = chunks.sum::<usize>() - size;
                assert!(again <= chunk, "{fault:?} at {number}: {again}\n{}", lines(&registry));
                assert_eq!(registry.asked("POST", "/uploads/"), 2, "{fault:?} at {number}");
            }
        }
    }
}

#[tokio::test]
async fn chunks_are_as_large_as_the_registry_wants() {
    let blob = layer(1, 21 * MIB);
    let sizes = |registry: &TestRegistry| -> Vec<usize> {
        registry.log().iter().filter(|l| l.method == "PATCH").map(|l| l.body).collect()
    };
    let registry =
        TestRegistry::with(Config { max_body: 16 * MIB, min_chunk: Some(10 * MIB), ..Config::default() });
    arrives(&registry, &blob).await;
    assert_eq!(sizes(&registry), [10 * MIB, 10 * MIB, MIB]);
    // GHCR says its limit; a proxy only that it has one.
    let limits = Config { max_body: 16 * MIB, max_chunk: 3 * MIB, ..Config::default() };
    let registry = TestRegistry::with(limits);
    arrives(&registry, &blob).await;
    assert_eq!(sizes(&registry)[1..], [3 * MIB; 7]);
    let registry = TestRegistry::with(Config { max_body: MIB, ..Config::default() });
    arrives(&registry, &blob).await;
    assert_eq!(sizes(&registry)[..2], [4 * MIB, 2 * MIB]);
    assert_eq!(sizes(&registry)[2..], [MIB; 21]);
    // No chunk is both.
    let conflict =
        Config { max_body: 16 * MIB, max_chunk: 4 * MIB, min_chunk: Some(10 * MIB), ..Config::default() };
    let registry = TestRegistry::with(conflict);
    let error = put(&Client::new(), &registry, &blob).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let expected = "chunks of at least 10485760 bytes, but none of more than 4194304";
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn registries_that_refuse_one_request_get_chunks() {
    let blob = layer(1, 5 * MIB);
    for fault in [Fault::status(405), Fault::status(413), Fault::error(404, "NOT_FOUND", "no such method")] {
        let registry = TestRegistry::start();
        registry.fail(When::once("PUT", "/uploads/"), fault);
        arrives(&registry, &blob).await;
        assert_eq!(methods(&registry), ["HEAD", "POST", "PUT", "POST", "PATCH", "PATCH", "PUT"]);
    }
    // Neither one request nor chunks.
    let registry = TestRegistry::with(Config { max_body: 4 * MIB, patches: false, ..Config::default() });
    let error = put(&Client::new(), &registry, &blob).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
}

#[tokio::test]
async fn ecrs_chunks_are_stored_early_and_its_sessions_end_with_a_part() {
    let blob = layer(1, 5 * MIB);
    let registry = TestRegistry::with(Config { max_body: 4 * MIB, patch_stores: true, ..Config::default() });
    arrives(&registry, &blob).await;
    assert_eq!(methods(&registry), ["HEAD", "POST", "PUT", "POST", "PATCH", "PATCH", "HEAD"]);
    for fault in [Fault::status(500), Fault::error(400, "INVALID", "it does not have any parts")] {
        let registry = TestRegistry::with(Config { max_body: 4 * MIB, ..Config::default() });
        let mut first = true;
        registry.hook(move |asked, _| {
            let empty = asked.headers.get("content-length").is_some_and(|l| l == "0");
            (asked.method == "PUT" && empty && std::mem::take(&mut first)).then(|| fault.clone())
        });
        arrives(&registry, &blob).await;
        let log = registry.log();
        let last = log.iter().rfind(|l| l.method == "PUT").unwrap();
        assert_eq!((last.body, last.headers["content-range"].to_str().unwrap()), (MIB, "4194304-5242879"));
    }
}

#[tokio::test]
async fn whatever_a_mount_comes_to_the_blob_arrives() {
    let blob = layer(9, 3000);
    let slow = Fault::Hang(Duration::from_secs(30));
    let mut faults: Vec<Fault> = [400, 401, 403, 404, 405, 429, 500].map(Fault::status).into();
    faults.extend([Fault::Reset, Fault::Lost, slow, Fault::error(202, "", "no location")]);
    for fault in faults {
        let registry = TestRegistry::start();
        registry.put_blob(
            "base",
            match &blob.content {
                Content::Bytes(bytes) => bytes.clone(),
                _ => unreachable!(),
            },
        );
        registry.fail(When::once("POST", "mount="), fault.clone());
        let retry = Policy {
            first: Duration::from_millis(5),
            mount: Duration::from_millis(300),
            ..Policy::default()
        };
        let client = Client::of(Options { retry, ..Options::default() });
        let from = Content::Remote(format!("{}/base", registry.host()).parse().unwrap());
        let there = Blob { descriptor: blob.descriptor.clone(), content: from };
        put(&client, &registry, &there).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(registry.bytes("team/app", &blob.descriptor.digest.to_string()).len(), 3000);
        let hangs = matches!(fault, Fault::Hang(_));
        assert!(hangs || registry.asked("POST", "mount=") == 1, "{fault:?}");
    }
}

#[tokio::test]
async fn the_answer_to_an_upload_may_vary_but_not_what_is_stored() {
    for status in [200, 202, 204] {
        let registry = TestRegistry::start();
        registry.fail(When::once("PUT", "/uploads/"), Fault::As(status));
        arrives(&registry, &layer(1, 1000)).await;
    }
    let registry = TestRegistry::start();
    let other = Digest::of(b"other");
    registry.fail(
        When::once("PUT", "/uploads/"),
        Fault::Header("docker-content-digest", Some(other.to_string())),
    );
    let blob = layer(1, 1000);
    let error = put(&Client::new(), &registry, &blob).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    let expected = format!("the registry stored {other}, expected {}", blob.descriptor.digest);
    assert!(error.to_string().contains(&expected), "{error}");
}

#[tokio::test]
async fn a_registry_that_hangs_up_may_want_the_repository_made_first() {
    let registry = TestRegistry::start();
    registry.fail(When::always("POST", "/uploads/"), Fault::Reset);
    let error = put(&Client::new(), &registry, &layer(1, 1000)).await.unwrap_err();
    assert_eq!((error.kind(), registry.asked("POST", "")), (Kind::Unavailable, 6));
    assert!(error.hint_text().unwrap().contains("exist?"), "{error:?}");
}

#[tokio::test]
async fn abandoned_sessions_are_ended() {
    let registry = TestRegistry::start();
    registry.fail(When::always("PUT", "/uploads/"), Fault::error(400, "SIZE_INVALID", "no"));
    let client = Client::new();
    put(&client, &registry, &layer(1, 1000)).await.unwrap_err();
    assert_eq!(registry.sessions(), 1);
    client.registry.clean_up().await;
    assert_eq!((registry.sessions(), registry.asked("DELETE", "/uploads/")), (0, 1));
    client.registry.clean_up().await;
    assert_eq!(registry.asked("DELETE", "/uploads/"), 1);
    // A registry that doesn't answer keeps nobody.
    put(&client, &registry, &layer(1, 1000)).await.unwrap_err();
    registry.fail(When::always("DELETE", ""), Fault::Hang(Duration::from_secs(30)));
    let start = Instant::now();
    client.registry.clean_up().await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_blob_of_several_repositories_is_sent_once() {
    let registry = TestRegistry::start();
    // Long enough for the others to come.
    registry.fail(When::once("PUT", "/uploads/"), Fault::Delay(Duration::from_millis(50)));
    let client = Client::new();
    let blob = layer(1, 400_000);
    let graphs: Vec<Graph> = (0..6)
        .map(|n| single(&format!("{}/app{n}", registry.host()), &["v1"], std::slice::from_ref(&blob)))
        .collect();
    let copier = client.copier();
    futures_util::future::try_join_all(graphs.iter().map(|g| copier.content(g))).await.unwrap();
    copier.publish(&graphs).await.unwrap();
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    let mut how = client.heard.how(blob.descriptor.digest);
    how.sort_by_key(|how| *how != Put::Sent);
    assert_eq!(how, [&[Put::Sent][..], &[Put::Mounted; 5]].concat());
}

#[tokio::test]
async fn who_sends_a_blob_first_and_fails_leaves_it_to_the_next() {
    let registry = TestRegistry::start();
    let client = Client::new();
    let blob = layer(1, 1000);
    let graph =
        |n: usize| single(&format!("{}/app{n}", registry.host()), &["v1"], std::slice::from_ref(&blob));
    registry.fail(When::always("POST", "/app0/blobs/uploads/"), Fault::status(400));
    let copier = client.copier();
    let (zero, one) = (graph(0), graph(1));
    let (first, second) = tokio::join!(copier.content(&zero), copier.content(&one));
    assert_eq!(first.unwrap_err().kind(), Kind::Refused);
    second.unwrap();
}

#[tokio::test]
async fn a_blob_that_head_lied_about_is_sent_by_force() {
    let registry = TestRegistry::start();
    let graph = multi(&own(&registry), &["v1"]);
    Client::new().push(&graph).await.unwrap();
    let lost = graph.blobs[1].descriptor.digest.to_string();
    registry.lose_blob("team/app", &lost);
    for child in &graph.children {
        registry.remove_manifest("team/app", &child.descriptor.digest.to_string());
    }
    registry.remove_manifest("team/app", &graph.root.descriptor.digest.to_string());
    let client = Client::new();
    client.push(&graph).await.unwrap_or_else(|e| panic!("{e}\n{}", lines(&registry)));
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    assert_eq!(client.heard.sent(graph.blobs[1].descriptor.digest), 5000);
}

#[tokio::test]
async fn storage_that_is_late_gets_time() {
    for late in [2, 5] {
        for (late_blobs, late_manifests) in [(late, 0), (0, late)] {
            let registry = TestRegistry::with(Config { late_blobs, late_manifests, ..Config::default() });
            let client = Client::new();
            client
                .push(&multi(&own(&registry), &["v1", "v2"]))
                .await
                .unwrap_or_else(|e| panic!("{late_blobs} {late_manifests}: {e}\n{}", lines(&registry)));
            assert_eq!(registry.incomplete(), Vec::<String>::new());
        }
    }
    // One that never gets it is believed in the end.
    let registry = TestRegistry::start();
    let never = Fault::error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry");
    registry.fail(When::always("PUT", "/manifests/"), never);
    let error = Client::new().push(&single(&own(&registry), &["v1"], &[layer(1, 10)])).await.unwrap_err();
    assert!(error.to_string().contains("MANIFEST_BLOB_UNKNOWN"), "{error}");
    assert_eq!(registry.asked("PUT", "/manifests/"), 6);
}

#[tokio::test]
async fn a_manifest_above_the_limit_is_said_to_be_that() {
    let registry = TestRegistry::with(Config { max_manifest: 100, ..Config::default() });
    let error = Client::new().push(&single(&own(&registry), &["v1"], &[layer(1, 10)])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("bytes are above the registry's limit for manifests"), "{error}");
}

#[tokio::test]
async fn one_tag_that_fails_keeps_no_other() {
    let registry = TestRegistry::start();
    let graph = single(&own(&registry), &["v1", "v2", "v3"], &[layer(1, 10)]);
    registry.fail(When::always("PUT", "/manifests/v2"), Fault::error(403, "DENIED", "the tag is immutable"));
    let error = Client::new().push(&graph).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let there = format!("but the image is there: {}@{}", own(&registry), graph.root.descriptor.digest);
    let text = error.to_string();
    assert!(text.contains("(1 of 3 tags): v2: the registry answered 403") && text.contains(&there), "{text}");
    let tags: Vec<String> = registry.tags("team/app").into_keys().collect();
    assert_eq!(tags, ["v1", "v3"]);
    registry.fail(When::always("PUT", "/manifests/v3"), Fault::status(400));
    let graph = single(&own(&registry), &["v1", "v2", "v3"], &[layer(2, 10)]);
    let text = Client::new().push(&graph).await.unwrap_err().to_string();
    assert!(
        text.contains("(2 of 3 tags): v2: ") && text.contains("; v3: the registry answered 400"),
        "{text}"
    );
}

#[tokio::test]
async fn a_tag_that_cannot_move_but_is_right_is_right() {
    // The answer to the first try was lost, and the second is refused.
    let registry = TestRegistry::with(Config { mutable_tags: false, ..Config::default() });
    registry.fail(When::once("PUT", "/manifests/v1"), Fault::Lost);
    let graph = single(&own(&registry), &["v1"], &[layer(1, 10)]);
    Client::new().push(&graph).await.unwrap();
    // HEAD knows nothing of what GET finds, as at Nexus.
    registry.fail(When::always("HEAD", "/manifests/v1"), Fault::status(404));
    let error = Client::new().push(&graph).await;
    assert!(error.is_ok(), "{error:?}");
}

#[tokio::test]
async fn a_tag_that_somebody_else_moves_meanwhile_is_a_warning() {
    let registry = TestRegistry::start();
    let theirs = single(&own(&registry), &["v1"], &[layer(7, 10)]);
    Client::new().push(&theirs).await.unwrap();
    let other = theirs.root.clone();
    let ours = single(&own(&registry), &["v1", "v2"], &[layer(1, 10)]);
    registry.hook(move |asked, registry| {
        if asked.method == "PUT" && asked.target.ends_with("/manifests/v2") {
            let Content::Bytes(bytes) = &other.content else { panic!("not in memory") };
            registry.put_manifest("team/app", "v1", other.descriptor.media_type.as_str(), bytes.clone());
        }
        None
    });
    let client = Client::new();
    client.push(&ours).await.unwrap();
    let (found, set) = (theirs.root.descriptor.digest, ours.root.descriptor.digest);
    let named = |e: &Event| {
        matches!(e, Event::Warning(text) if text.contains(&found.to_string())
            && text.contains(&set.to_string()) && text.contains("somebody else moved it"))
    };
    assert_eq!(client.heard.count(named), 1);
}

#[tokio::test]
async fn a_push_of_what_is_there_is_one_request() {
    let registry = TestRegistry::start();
    let graph = multi(&own(&registry), &["v1"]);
    Client::new().push(&graph).await.unwrap();
    let before = registry.log().len();
    Client::new().push(&graph).await.unwrap();
    let log = registry.log();
    let targets: Vec<_> = log[before..].iter().map(|l| format!("{} {}", l.method, l.target)).collect();
    assert_eq!(targets, ["GET /v2/", "HEAD /v2/team/app/manifests/v1"]);
    // Another tag of the same image: the image is found by its digest, and checked after.
    let before = registry.log().len();
    Client::new().push(&multi(&own(&registry), &["v2"])).await.unwrap();
    let methods: Vec<_> = registry.log()[before..].iter().map(|l| l.method.clone()).collect();
    assert_eq!(methods, ["GET", "HEAD", "HEAD", "PUT", "HEAD"]);
}

#[tokio::test]
async fn damaged_downloads_are_tried_once_more() {
    let registry = TestRegistry::start();
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 50_000)]);
    client.push(&graph).await.unwrap();
    let (repository, blob) = (own(&registry).parse().unwrap(), &graph.blobs[0].descriptor);
    let tag = format!("{}:v1", own(&registry));
    let by_digest = format!("{}@{}", own(&registry), graph.root.descriptor.digest);
    for fault in [Fault::Flip(3), Fault::Gzip, Fault::Truncate(20), Fault::EndEarly(20)] {
        registry.fail(When::once("GET", "/blobs/"), fault.clone());
        let read = client.read(&repository, blob).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(Digest::of(&read), blob.digest, "{fault:?}");
        for reference in [&tag, &by_digest] {
            registry.fail(When::once("GET", "/manifests/"), fault.clone());
            let found = client.resolve(reference).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
            assert_eq!(found.0.digest, graph.root.descriptor.digest);
        }
    }
    registry.fail(When::times(2, "GET", "/blobs/"), Fault::Flip(3));
    assert_eq!(client.read(&repository, blob).await.unwrap_err().kind(), Kind::Integrity);
    registry.fail(When::times(2, "GET", "/manifests/"), Fault::Flip(3));
    assert_eq!(client.resolve(&by_digest).await.unwrap_err().kind(), Kind::Integrity);
    // A layer from elsewhere that is damaged on its way through is fetched again.
    let far = Blob { descriptor: blob.clone(), content: Content::Remote(own(&registry).parse().unwrap()) };
    let near = TestRegistry::start();
    registry.fail(When::once("GET", "/blobs/"), Fault::Flip(3));
    put(&Client::new(), &near, &far).await.unwrap();
}

#[tokio::test]
async fn a_registry_without_ranges_sends_all_again() {
    let registry = TestRegistry::start();
    let client = Client::new();
    let graph = single(&own(&registry), &["v1"], &[layer(1, 5 * MIB)]);
    client.push(&graph).await.unwrap();
    registry.fail(When::once("GET", "/blobs/"), Fault::Truncate(2 * MIB));
    registry.fail(When::once("GET", "/blobs/"), Fault::status(416));
    let (repository, blob) = (own(&registry).parse().unwrap(), &graph.blobs[0].descriptor);
    let read = client.read(&repository, blob).await.unwrap();
    assert_eq!(Digest::of(&read), blob.digest);
    // Progress forgives: more breaks than tries, each after some bytes.
    for _ in 0..10 {
        registry.fail(When::once("GET", "/blobs/"), Fault::Truncate(300_000));
    }
    let read = client.read(&repository, blob).await.unwrap();
    assert_eq!(Digest::of(&read), blob.digest);
}
