//! Content that is pulled: what breaks, what is damaged, and what is neither.

use std::time::Duration;

use gimg::content::{Blob, Content, Graph};
use gimg::error::Kind;
use gimg::oci::{Descriptor, Digest};

use super::case::{Case, all, impatient, no_secret, of_layers};
use crate::support::client::{Client, layer, single};
use crate::support::registry::{Fault, TestRegistry, When};

/// An image at a registry of its own.
async fn stored() -> (TestRegistry, Graph) {
    let registry = TestRegistry::start();
    let graph = single(&format!("{}/base", registry.host()), &["v1"], &[layer(7, 90_000)]);
    Client::new().push(&graph).await.unwrap();
    (registry, graph)
}

/// What may happen once.
fn once() -> Vec<Fault> {
    let ms = Duration::from_millis;
    vec![
        Fault::ResetConnects(2),
        Fault::Reset,
        Fault::Hang(ms(60_000)),
        Fault::SlowHead(ms(20)),
        Fault::SlowBody(ms(20)),
        Fault::Truncate(0),
        Fault::Truncate(100),
        Fault::EndEarly(0),
        Fault::EndEarly(100),
        Fault::Flip(0),
        Fault::Flip(50),
        Fault::Gzip,
        Fault::busy("0"),
        Fault::status(500),
        Fault::status(503),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_that_break_or_are_damaged_once_are_asked_for_again() {
    for fault in once() {
        let (registry, graph) = stored().await;
        registry.fail(When::once("GET", "/manifests/"), fault.clone());
        let client = impatient("127.0.0.1");
        let read = client.resolve(&format!("{}/base:v1", registry.host())).await;
        let (root, _) = read.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(root.digest, graph.root.descriptor.digest, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_that_break_go_on_where_they_stopped() {
    for fault in once() {
        // What was read of a damaged blob has been handed on already: the whole is read again by who asked.
        if matches!(fault, Fault::Flip(_) | Fault::Gzip) {
            continue;
        }
        let (registry, graph) = stored().await;
        registry.fail(When::once("GET", "/blobs/"), fault.clone());
        let read = impatient("127.0.0.1")
            .read(graph.name.repository.as_ref().unwrap(), &graph.blobs[0].descriptor)
            .await;
        let read = read.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
        assert_eq!(Digest::of(&read), graph.blobs[0].descriptor.digest, "{fault:?}");
        // What came before the end isn't sent again.
        if let Fault::Truncate(100) = fault {
            let last = registry.log().pop().unwrap();
            assert_eq!(last.headers["range"], "bytes=100-");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_stays_damaged_is_refused() {
    let (registry, graph) = stored().await;
    let repository = graph.name.repository.clone().unwrap();
    let client = Client::new();
    registry.fail(When::always("GET", "/base/"), Fault::Flip(60));
    let error = client.resolve(&format!("{repository}:v1")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity, "{error}");
    for blob in graph.post_order() {
        let asked = registry.log().len();
        let error = client.read(&repository, &blob.descriptor).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
        assert!(error.to_string().contains(&blob.descriptor.digest.to_string()), "{error}");
        // Once more from the start, and no more: it won't get better.
        assert!(registry.log().len() - asked <= 2, "{}", registry.log().len() - asked);
    }
    registry.heal();
    client.holds(&format!("{repository}:v1"), &graph).await;
    no_secret(&client.heard.text());
}

/// The base layer of a push, at another registry.
fn far(registry: &TestRegistry, descriptor: &Descriptor) -> Blob {
    let from = format!("{}/base", registry.host()).parse().unwrap();
    Blob { descriptor: descriptor.clone(), content: Content::Remote(from) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn base_layers_that_break_on_their_way_to_another_registry_arrive_whole() {
    let mut origins = Vec::new();
    let mut cases = Vec::new();
    for fault in once() {
        let (registry, graph) = stored().await;
        registry.fail(When::once("GET", "/blobs/"), fault.clone());
        let layer = far(&registry, &graph.blobs[0].descriptor);
        let case = Case::new(format!("{fault:?} of a base layer"), |_| {}).by(impatient);
        cases.push(case.of(move |repository| of_layers(repository, &["v1"], std::slice::from_ref(&layer))));
        origins.push(registry);
    }
    let (registry, graph) = stored().await;
    registry.fail(When::times(4, "GET", "/blobs/"), Fault::Flip(89_999));
    let layer = far(&registry, &graph.blobs[0].descriptor);
    let case = Case::new("a base layer that stays damaged", |_| {});
    let case = case.of(move |repository| of_layers(repository, &["v1"], std::slice::from_ref(&layer)));
    let host = registry.host();
    let healed = registry.clone();
    cases.push(case.fails(Kind::Integrity, &[&host]).then(move |_, _| healed.heal()));
    origins.push(registry);
    all(cases).await;
    drop(origins);
}
