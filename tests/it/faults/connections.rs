//! Connections that break, at every request of a push.

use gimg::error::Kind;

use super::case::{Case, all, everywhere, of_layers};
use crate::support::client::layer;
use crate::support::registry::{Fault, Handle, When};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_when_connecting_are_survived_everywhere() {
    let case = |at| Case::new("", move |r| r.fail(When::Nth(at), Fault::ResetConnects(2)));
    all(everywhere("two connections reset", case).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_in_a_body_are_survived_everywhere() {
    for percent in [1, 50, 99] {
        let case = |at| Case::new("", move |r| r.fail(When::Nth(at), Fault::ResetAfter(percent)));
        all(everywhere(&format!("reset after {percent} %"), case).await).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_are_survived_everywhere_and_nothing_is_sent_twice() {
    let size = 60_000;
    let lost = move |at| {
        let case = Case::new("", move |r| r.fail(When::Nth(at), Fault::Lost));
        // The blob that was stored is found by HEAD and not sent again.
        case.then(move |r, _| assert!(layers(r, size) == 1, "sent {} times", layers(r, size)))
    };
    let dropped = |at| Case::new("", move |r| r.fail(When::Nth(at), Fault::Dropped));
    all(everywhere("answer lost", lost).await).await;
    all(everywhere("reset instead of an answer", dropped).await).await;
}

/// How many requests brought a body of this size.
fn layers(registry: &Handle, size: usize) -> usize {
    registry.log().iter().filter(|l| l.body == size).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_gone_is_unavailable() {
    let gone = Case::new("all connections reset", |r| r.reset_connects(1000));
    let host = Case::new("all requests reset", |r| {
        r.hook(|asked, _| (asked.number > 3).then_some(Fault::Reset));
    });
    all(vec![gone.fails(Kind::Unavailable, &["127.0.0.1"]), host.fails(Kind::Unavailable, &["127.0.0.1"])])
        .await;
}

/// A layer of three chunks, where whole blobs are refused.
fn chunked(name: String, plan: impl Fn(&Handle) + Send + 'static) -> Case {
    let case = Case::new(name, plan).at(|c| c.max_chunk = CHUNK);
    case.of(|repository| of_layers(repository, &["v1"], &[layer(1, 2 * CHUNK + 5)]))
}

/// The largest chunk that the registry takes.
const CHUNK: usize = 512 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_chunks_go_on_where_they_stopped() {
    let mut cases = Vec::new();
    for kept in [false, true] {
        for fault in [Fault::ResetAfter(50), Fault::Dropped, Fault::Lost] {
            for chunk in 0..3 {
                let name = format!("{fault:?} in chunk {chunk}, what came is kept: {kept}");
                let fault = fault.clone();
                let case = chunked(name, move |r| {
                    let (fault, mut left) = (fault.clone(), chunk);
                    r.hook(move |asked, _| {
                        let hit = asked.method == "PATCH" && left == 0;
                        left = if asked.method == "PATCH" && left < usize::MAX {
                            left.wrapping_sub(1)
                        } else {
                            left
                        };
                        hit.then(|| fault.clone())
                    });
                });
                cases.push(case.at(|c| c.keeps_partial = kept).then(move |r, _| {
                    let patched: usize = r.log().iter().filter(|l| l.method == "PATCH").map(|l| l.body).sum();
                    assert!(patched <= 2 * CHUNK + 5 + CHUNK, "{patched} bytes in chunks");
                    assert!(r.asked("GET", "/uploads/") > 0, "never asked how far the upload is");
                }));
            }
        }
    }
    all(cases).await;
}
