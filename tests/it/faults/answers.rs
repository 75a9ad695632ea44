//! Answers that mean trouble: overload, limits, storage that is late or wrong, tags that don't move.

use std::time::{Duration, Instant};

use gimg::error::Kind;
use gimg::event::Event;
use gimg::oci::Digest;

use super::case::{Case, REPO, all, everywhere, of_layers, pair};
use crate::support::client::layer;
use crate::support::registry::{Fault, Handle, When};

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_server_errors_are_survived_everywhere() {
    let statuses = [500, 502, 503, 504];
    let case = |at| Case::new("", move |r| r.fail_from(at, 3, Fault::status(statuses[at % 4])));
    all(everywhere("three times 5xx", case).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_errors_without_end_are_unavailable() {
    let mut cases = Vec::new();
    for (method, part) in [
        ("GET", "/token"),
        ("POST", "/uploads/"),
        ("PUT", "/uploads/"),
        ("PUT", "/manifests/sha256:"),
        ("PUT", "/manifests/v1"),
    ] {
        for status in [502, 503, 504] {
            let plan = move |r: &Handle| r.fail(When::always(method, part), Fault::status(status));
            let case = Case::new(format!("{status} to every {method} {part}"), plan);
            let says = status.to_string();
            cases.push(case.fails(Kind::Unavailable, &["127.0.0.1:", &says, "6 times in a row"]));
        }
    }
    // These only save work: a registry that doesn't answer them gets the image all the same.
    for (method, part) in [("GET", "/v2/"), ("HEAD", "/blobs/"), ("HEAD", "/manifests/sha256:")] {
        let plan = move |r: &Handle| r.fail(When::always(method, part), Fault::status(503));
        cases.push(Case::new(format!("503 to every {method} {part}"), plan));
    }
    all(cases).await;
}

/// No request came in the time after the first answer of this status.
fn quiet(registry: &Handle, status: u16, least: Duration) {
    let log = registry.log();
    let busy = log.iter().find(|l| l.status == status).expect("the fault was used");
    // What was on its way before the answer was read doesn't count.
    let (begin, end) = (busy.at + Duration::from_millis(500), busy.at + least);
    let early: Vec<_> = log.iter().filter(|l| l.at > begin && l.at < end).map(|l| &l.target).collect();
    assert!(early.is_empty(), "while the registry wanted rest: {early:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_wants_rest_gets_it_from_all_requests() {
    let mut cases = Vec::new();
    for (method, part) in
        [("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/")]
    {
        let plan = move |r: &Handle| r.fail(When::once(method, part), Fault::busy("2"));
        let case = Case::new(format!("429 to {method} {part}"), plan);
        cases.push(case.then(|r, _| quiet(r, 429, Duration::from_millis(1990))));
    }
    let limited =
        Fault::error(403, "DENIED", "You have exceeded a secondary rate limit. Please wait a while.");
    let plan = move |r: &Handle| r.fail(When::once("POST", "/uploads/"), limited.clone());
    cases.push(Case::new("403 that means 429", plan));
    let until =
        |r: &Handle| r.fail(When::Until(Instant::now() + Duration::from_millis(1500)), Fault::busy("1"));
    cases.push(Case::new("429 to everything for 1.5 s", until));
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limits_are_survived_everywhere() {
    let limited = || Fault::error(403, "DENIED", "You have exceeded a secondary rate limit.");
    let case = |at| {
        Case::new("", move |r| r.fail(When::Nth(at), if at % 2 == 0 { limited() } else { Fault::busy("0") }))
    };
    all(everywhere("a rate limit", case).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_to_wait_is_read_in_every_form() {
    let date = |wait: &str| {
        let now = ("date", "Thu, 31 Dec 2026 23:59:59 GMT".to_owned());
        Fault::Status(429, vec![now, ("retry-after", wait.to_owned())], String::new())
    };
    let go = Fault::error(429, "TOOMANYREQUESTS", "retry-after: 880.092µs, allowed: 44000/minute");
    let mut cases = Vec::new();
    let delays = [
        ("a date", date("Fri, 01 Jan 2027 00:00:01 GMT"), 2000..2001),
        ("a date that is over", date("Thu, 31 Dec 2026 23:00:00 GMT"), 0..2000),
        ("a Go duration", Fault::busy("880.092µs"), 0..1000),
        ("a Go duration in seconds", Fault::busy("1.5s"), 1500..1501),
        ("a Go duration in the message", go, 0..1000),
        ("nonsense", Fault::busy("soon"), 0..1000),
        ("a negative number", Fault::busy("-5"), 0..1000),
    ];
    for (name, fault, millis) in delays {
        let plan = move |r: &Handle| r.fail(When::once("PUT", "/manifests/v1"), fault.clone());
        cases.push(Case::new(name, plan).then(move |_, client| {
            let fits =
                |e: &Event| matches!(e, Event::Retry { delay, .. } if millis.contains(&delay.as_millis()));
            assert_eq!(client.heard.count(fits), 1, "{}", client.heard.text());
        }));
    }
    let hour = |r: &Handle| r.fail(When::always("PUT", "/manifests/v1"), Fault::busy("3600"));
    let case = Case::new("an hour", hour).fails(Kind::Unavailable, &["3600"]);
    cases.push(case.then(|r, _| assert_eq!(r.asked("PUT", "/manifests/v1"), 1)));
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_answer_to_a_blob_says_is_looked_at() {
    let mut cases = Vec::new();
    for status in [200, 202, 204] {
        let plan = move |r: &Handle| r.fail(When::always("PUT", "/uploads/"), Fault::As(status));
        cases.push(Case::new(format!("{status} instead of 201"), plan));
    }
    for digest in [None, Some("nonsense".to_owned())] {
        let fault = Fault::Header("docker-content-digest", digest);
        let plan = move |r: &Handle| r.fail(When::always("PUT", "/uploads/"), fault.clone());
        cases.push(Case::new("no digest in the answer", plan));
    }
    let other = Digest::of(b"other").to_string();
    let words = [other.as_str(), "stored"];
    for part in ["/uploads/", "/manifests/sha256:"] {
        let fault = Fault::Header("docker-content-digest", Some(other.clone()));
        let plan = move |r: &Handle| r.fail(When::always("PUT", part), fault.clone());
        cases.push(Case::new(format!("another digest from {part}"), plan).fails(Kind::Integrity, &words));
    }
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_sessions_are_opened_again() {
    let deaths = [
        (416, "BLOB_UPLOAD_INVALID", "first byte of the layer part is 0 instead of 11304960"),
        (404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
        (400, "BLOB_UPLOAD_INVALID", "blob upload invalid"),
        (404, "BLOB_UNKNOWN", "blob unknown to registry"),
    ];
    let mut cases = Vec::new();
    for (status, code, message) in deaths {
        for stored in [false, true] {
            for nth in 0..3 {
                let fault = Fault::error(status, code, message);
                let fault = if stored { fault.done() } else { fault };
                let plan = move |r: &Handle| {
                    let (fault, mut left) = (fault.clone(), nth);
                    r.hook(move |asked, _| {
                        let put = asked.method == "PUT" && asked.target.contains("/uploads/");
                        let hit = put && left == 0;
                        left -= i32::from(put);
                        hit.then(|| fault.clone())
                    });
                };
                let name = format!("{status} {code} to upload {nth}, which was stored: {stored}");
                cases.push(Case::new(name, plan).then(move |r, _| {
                    let puts = r.asked("PUT", "/uploads/");
                    assert_eq!(
                        puts,
                        if stored { 3 } else { 4 },
                        "what is stored is found, the rest sent again"
                    );
                }));
            }
        }
    }
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_bodies_and_chunks_are_kept() {
    let large = |size: usize| move |repository: &str| of_layers(repository, &["v1"], &[layer(1, size)]);
    let none = |_: &Handle| {};
    let early =
        |r: &Handle| r.fail(When::once("PUT", "/uploads/"), Fault::Early(413, Vec::new(), String::new()));
    let chunks = |count: usize| {
        move |r: &Handle, _: &crate::support::client::Client| {
            let patches = r.log().iter().filter(|l| l.method == "PATCH" && l.status == 202).count();
            assert_eq!(patches, count, "chunks");
        }
    };
    let cases = vec![
        Case::new("413 for more than 4 MiB", none)
            .at(|c| c.max_body = 4 * MIB)
            .of(large(9 * MIB))
            .then(chunks(3)),
        Case::new("413 before the body is read", early).of(large(9 * MIB)),
        Case::new("GHCR's limit of chunks", none)
            .at(|c| (c.max_body, c.max_chunk) = (5 * MIB, 4 * MIB))
            .of(large(9 * MIB)),
        Case::new("at least 10 MiB a chunk", none)
            .at(|c| (c.max_body, c.min_chunk) = (12 * MIB, Some(10 * MIB)))
            .of(large(21 * MIB)),
        Case::new("at least 10 MiB, at most 4", none)
            .at(|c| (c.max_body, c.max_chunk, c.min_chunk) = (11 * MIB, 4 * MIB, Some(10 * MIB)))
            .of(large(21 * MIB))
            .fails(Kind::Refused, &["chunk"]),
        Case::new("201 to chunks", none)
            .at(|c| (c.max_body, c.patch_stores) = (4 * MIB, true))
            .of(large(9 * MIB)),
        Case::new("no chunks and no large bodies", none)
            .at(|c| (c.max_body, c.patches) = (4 * MIB, false))
            .of(large(9 * MIB))
            .fails(Kind::Refused, &["405"]),
        Case::new("small manifests only", none).at(|c| c.max_manifest = 100).fails(Kind::Refused, &["limit"]),
    ];
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_that_are_not_there_after_all_are_sent_again() {
    let blobs = pair("r.io/a", &[]).blobs;
    let bytes = |i: usize| match &blobs[i].content {
        gimg::content::Content::Bytes(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    let all_bytes = [bytes(0), bytes(1), bytes(2)];
    let mut cases = Vec::new();
    for lost in [&all_bytes[..1], &all_bytes[1..2], &all_bytes[..]] {
        let (count, lost) = (lost.len(), lost.to_vec());
        let plan = move |r: &Handle| {
            for bytes in &lost {
                let digest = r.put_blob(REPO, bytes.clone());
                r.lose_blob(REPO, &digest);
            }
        };
        let case = Case::new(format!("HEAD lies about {count} blobs"), plan);
        cases.push(case.then(|r, _| {
            // Both images need the layer and may each send it.
            let puts = r.asked("PUT", "/uploads/");
            assert!(
                (3..=4).contains(&puts),
                "{puts} uploads: {:#?}",
                r.log().iter().map(|l| format!("{} {} {}", l.method, l.target, l.status)).collect::<Vec<_>>()
            );
        }));
    }
    // An upload that was confirmed, but isn't there.
    let lie = |r: &Handle| r.fail(When::once("PUT", "/uploads/"), Fault::status(201));
    cases.push(Case::new("201 for a blob that wasn't stored", lie));
    let lie = |r: &Handle| r.fail(When::once("PUT", "/manifests/sha256:"), Fault::status(201));
    cases.push(
        Case::new("201 for a manifest that wasn't stored", lie).fails(Kind::Refused, &["doesn't have it"]),
    );
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_is_seen_late_is_waited_for() {
    let none = |_: &Handle| {};
    let mut cases = Vec::new();
    for late in 1..8 {
        cases.push(
            Case::new(format!("manifests after {late} requests"), none).at(|c| c.late_manifests = late),
        );
        cases.push(Case::new(format!("blobs after {late} requests"), none).at(|c| c.late_blobs = late));
    }
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_may_not_move_leaves_the_image_reachable_by_digest() {
    let root = pair("r.io/a", &[]).root.descriptor.digest.to_string();
    let mut cases = vec![Case::new("immutable tags", |_| {}).at(|c| c.mutable_tags = false)];
    for status in [400, 403, 405, 409] {
        let plan = move |r: &Handle| {
            r.fail(
                When::always("PUT", "/manifests/v1"),
                Fault::error(status, "DENIED", "the tag is immutable"),
            );
        };
        cases.push(Case::new(format!("{status} to the tag"), plan));
    }
    let cases = cases.into_iter().map(|case| {
        let digest = root.clone();
        case.fails(Kind::Refused, &["v1", "immutable", &root]).then(move |r, _| {
            assert_ne!(r.tags(REPO)["v1"], digest);
            r.bytes(REPO, &digest);
        })
    });
    all(cases.collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tag_that_fails_does_not_stop_the_others() {
    let root = pair("r.io/a", &[]).root.descriptor.digest.to_string();
    let mut cases = Vec::new();
    for (nth, bad) in ["v1", "v2", "v3"].into_iter().enumerate() {
        let plan = move |r: &Handle| {
            let path = ["/manifests/v1", "/manifests/v2", "/manifests/v3"][nth];
            r.fail(When::always("PUT", path), Fault::error(400, "TAG_INVALID", "no"));
        };
        let root = root.clone();
        let case = Case::new(format!("tag {bad} fails"), plan)
            .of(|repository| pair(repository, &["v1", "v2", "v3"]));
        cases.push(case.fails(Kind::Refused, &[bad]).then(move |r, _| {
            let tags = r.tags(REPO);
            for tag in ["v1", "v2", "v3"] {
                assert_eq!(tags.get(tag) == Some(&root), tag != bad, "{tag}");
            }
        }));
    }
    all(cases).await;
}
