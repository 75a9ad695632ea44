//! Servers that are slow to answer, don't read, or send byte by byte.

use std::time::Duration;

use gimg::error::Kind;

use super::case::{Case, LONG, all, everywhere, impatient, of_layers};
use crate::support::client::layer;
use crate::support::registry::{Fault, Handle, When};

/// A head of an answer takes some seconds like this.
const BYTE: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_do_not_come_are_asked_for_again_everywhere() {
    let case = |at| {
        let fault = match at % 3 {
            0 => Fault::Hang(LONG),
            1 => Fault::SlowHead(BYTE),
            // Where the answer has no body, nothing is slow about it.
            _ => Fault::SlowBody(BYTE),
        };
        Case::new("", move |r| r.fail(When::Nth(at), fault.clone())).by(impatient)
    };
    all(everywhere("no answer in time", case).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registries_that_stay_slow_are_unavailable() {
    let mut cases = Vec::new();
    for (name, fault) in [("silent", Fault::Hang(LONG)), ("slow", Fault::SlowHead(BYTE))] {
        for (method, part) in
            [("POST", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/"), ("GET", "/token")]
        {
            let fault = fault.clone();
            let plan = move |r: &Handle| r.fail(When::always(method, part), fault.clone());
            let case = Case::new(format!("{name} {method} {part}"), plan).by(impatient);
            // A blob whose answer was too slow is there nevertheless, and HEAD finds it.
            let stored = name == "slow" && part == "/uploads/" && method == "PUT";
            cases.push(if stored { case } else { case.fails(Kind::Unavailable, &["127.0.0.1:"]) });
        }
    }
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_nobody_reads_are_given_up() {
    // Larger than what the kernel keeps for both sides.
    let large = |repository: &str| of_layers(repository, &["v1"], &[layer(1, 24 * 1024 * 1024)]);
    let unread = |r: &Handle| r.fail(When::once("PUT", "/uploads/"), Fault::Unread(LONG));
    let never = |r: &Handle| r.fail(When::always("PUT", "/uploads/"), Fault::Unread(LONG));
    let cases = vec![
        Case::new("one body is not read", unread).by(impatient).of(large),
        Case::new("no body is read", never).by(impatient).of(large).fails(Kind::Unavailable, &["127.0.0.1:"]),
    ];
    all(cases).await;
}
