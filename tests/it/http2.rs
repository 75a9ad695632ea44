//! HTTP/2 and what ends its streams and connections: pushes survive, at last by HTTP/1.1.

use gimg::event::Event;
use gimg::registry::Options;

use crate::support::client::{Client, layer, single};
use crate::support::front::{Asked, Front, Speaks, Then};
use crate::support::net::short;
use crate::support::registry::TestRegistry;
use crate::support::servers::ca;

fn client() -> Client {
    Client::of(Options { ca: Some(ca()), deadlines: short(), ..Options::default() })
}

fn retries(client: &Client) -> usize {
    client.heard.count(|e| matches!(e, Event::Retry { .. }))
}

/// Pushes an image through a server that does `plan`, and reads it back.
async fn pushed(plan: impl Fn(&Asked) -> Then + Send + Sync + 'static) -> (Client, Vec<Asked>) {
    let store = TestRegistry::start();
    let server = Front::start(Speaks::default(), &store.host(), plan);
    let name = format!("{}/a", server.host());
    let graph = single(&name, &["v1"], &[layer(1, 300_000), layer(2, 1000)]);
    let client = client();
    client.push(&graph).await.unwrap();
    client.holds(&format!("{name}:v1"), &graph).await;
    let asked = server.asked();
    (client, asked)
}

#[tokio::test]
async fn a_push_goes_over_one_connection() {
    let (client, asked) = pushed(|_| Then::Pass).await;
    assert!(asked.iter().all(|a| a.http2));
    assert!(asked.windows(2).all(|pair| pair[0].connection == pair[1].connection));
    assert_eq!(retries(&client), 0);
}

#[tokio::test]
async fn streams_that_are_reset_are_opened_again() {
    for reason in [h2::Reason::REFUSED_STREAM, h2::Reason::INTERNAL_ERROR, h2::Reason::ENHANCE_YOUR_CALM] {
        for method in ["HEAD", "POST", "PUT"] {
            let once = std::sync::atomic::AtomicBool::new(false);
            let (_, asked) = pushed(move |asked| {
                let first = asked.method == method && !once.swap(true, std::sync::atomic::Ordering::SeqCst);
                if first { Then::Reset(reason) } else { Then::Pass }
            })
            .await;
            assert!(asked.iter().all(|a| a.http2), "{reason:?} {method}");
        }
    }
}

#[tokio::test]
async fn connections_that_say_goodbye_are_replaced() {
    // After every request, and in the middle of it.
    let (_, asked) = pushed(|_| Then::GoAway).await;
    assert!(asked.iter().map(|a| a.connection).max().unwrap() > 3, "{asked:?}");
    for reason in [h2::Reason::NO_ERROR, h2::Reason::PROTOCOL_ERROR] {
        let once = std::sync::atomic::AtomicBool::new(false);
        pushed(move |asked| {
            let first = asked.method == "PUT" && !once.swap(true, std::sync::atomic::Ordering::SeqCst);
            if first { Then::Abort(reason) } else { Then::Pass }
        })
        .await;
    }
}

#[tokio::test]
async fn a_host_whose_http2_keeps_failing_is_spoken_to_in_http1() {
    let (client, asked) = pushed(|asked| {
        if asked.http2 && asked.method == "PUT" {
            Then::Reset(h2::Reason::INTERNAL_ERROR)
        } else {
            Then::Pass
        }
    })
    .await;
    let puts: Vec<_> = asked.iter().filter(|a| a.method == "PUT").collect();
    let (failed, done): (Vec<_>, Vec<_>) = puts.into_iter().partition(|a| a.http2);
    // Two blobs and a config go at once; each may fail once more before the host is known.
    assert!((2..=6).contains(&failed.len()) && done.len() >= 5, "{failed:?}");
    assert!(retries(&client) >= 2);
}

#[tokio::test]
async fn a_misdirected_request_goes_over_another_connection() {
    let (client, asked) = pushed(|asked| {
        if asked.http2 && asked.method != "GET" {
            Then::Answer(421, Vec::new(), String::new())
        } else {
            Then::Pass
        }
    })
    .await;
    assert!(asked.iter().any(|a| a.http2) && asked.iter().any(|a| !a.http2));
    assert_eq!(retries(&client), 0);
    // If that doesn't help, it is an answer like others.
    let server = Front::start(Speaks::default(), "", |_| Then::Answer(421, Vec::new(), String::new()));
    let error = self::client().resolve(&format!("{}/a:v1", server.host())).await.unwrap_err();
    assert!(error.to_string().contains("421"), "{error}");
    assert!(server.asked().len() <= 4, "{:?}", server.asked());
}
