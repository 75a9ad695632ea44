//! Tokens that end, and servers of tokens that fail.

use std::collections::BTreeMap;

use gimg::error::Kind;
use gimg::registry::{Keychain, Options};

use super::case::{CANARY, Case, all, everywhere};
use crate::support::client::Client;
use crate::support::registry::{Fault, Handle, When};

/// How many tokens were asked for.
fn tokens(registry: &Handle) -> usize {
    registry.asked("GET", "/token") + registry.asked("POST", "/token")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_between_requests_is_fetched_again_once() {
    let case = |at| {
        let plan = move |r: &Handle| {
            r.hook(move |asked, handle| {
                if asked.number == at {
                    handle.revoke();
                }
                None
            });
        };
        Case::new("", plan).then(|r, _| assert!(tokens(r) <= 2, "{} tokens", tokens(r)))
    };
    all(everywhere("the token ends", case).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_in_a_body_costs_one_more_upload() {
    let case = |at| {
        Case::new("", move |r| r.fail(When::Nth(at), Fault::Expired)).then(|r, _| {
            let layers = r.log().iter().filter(|l| l.body == 60_000).count();
            assert!(layers <= 2 && tokens(r) <= 2, "{layers} uploads, {} tokens", tokens(r));
        })
    };
    all(everywhere("the token ends in the request", case).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_tokens_that_fails_is_asked_again_unless_it_says_no() {
    let twice = |r: &Handle| r.fail(When::times(2, "GET", "/token"), Fault::status(500));
    let no = |r: &Handle| {
        r.fail(When::times(2, "GET", "/token"), Fault::status(500));
        r.fail(When::always("GET", "/token"), Fault::error(401, "UNAUTHORIZED", "wrong password"));
    };
    let no = Case::new("500, 500, 401", no).fails(Kind::Auth, &["wrong password"]);
    // Failed logins lock accounts: a no is never asked for again.
    let no = no.then(|r, _| assert_eq!(tokens(r), 3));
    all(vec![Case::new("500, 500, a token", twice), no]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_refresh_tokens_are_not_taken_by_post_get_does() {
    let mut cases = Vec::new();
    for status in [400, 401, 404, 405] {
        let plan = move |r: &Handle| r.fail(When::always("POST", "/token"), Fault::status(status));
        let case = Case::new(format!("{status} to POST"), plan).by(|host| {
            // base64 of user:canary-5f1c9
            let entry = format!(r#"{{"auth": "dXNlcjpjYW5hcnktNWYxYzk=", "identitytoken": "{CANARY}"}}"#);
            let config = format!(r#"{{"auths": {{"{host}": {entry}}}}}"#);
            let env = BTreeMap::from([("DOCKER_AUTH_CONFIG".to_owned(), config)]);
            Client::of(Options { keychain: Keychain::load(&env).unwrap(), ..Options::default() })
        });
        cases.push(
            case.then(|r, _| assert_eq!((r.asked("POST", "/token"), r.asked("GET", "/token")), (1, 1))),
        );
    }
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_of_tokens_answers_is_bounded_and_checked() {
    let none = |_: &Handle| {};
    let says = |body: String| {
        move |r: &Handle| r.fail(When::always("GET", "/token"), Fault::Status(200, Vec::new(), body.clone()))
    };
    let large = format!(r#"{{"token": "{}"}}"#, "x".repeat(1 << 20));
    let cases = vec![
        Case::new("no life", none).at(|c| c.token_life = None),
        Case::new("no life and the other name", none)
            .at(|c| (c.token_life, c.token_field) = (None, "access_token")),
        Case::new("a life of no time", none).at(|c| c.token_life = Some(0)),
        Case::new("1 MB", says(large)).fails(Kind::Integrity, &["token", "larger than"]),
        Case::new("a page", says("<html>canary-5f1c9".to_owned())).fails(Kind::Auth, &["token"]),
        Case::new("an empty token", says(r#"{"token": ""}"#.to_owned())).fails(Kind::Auth, &["no token"]),
        Case::new("no text", says(r#"{"token": "a\nb"}"#.to_owned())).fails(Kind::Auth, &["token"]),
    ];
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_tokens_at_a_private_address_is_refused() {
    let mut cases = Vec::new();
    for realm in ["http://169.254.11.7/token", "ftp://127.0.0.1/token"] {
        let case = Case::new(realm, |_| {}).at(move |c| c.realm = Some(realm.to_owned()));
        cases.push(case.fails(Kind::Auth, &["token server"]));
    }
    all(cases).await;
}
