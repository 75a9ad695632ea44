//! Credentials, tokens and certificates of the registry client.

use std::collections::BTreeMap;
use std::time::Duration;

use gimg::content::{Blob, Content};
use gimg::error::Kind;
use gimg::event::{Event, Put};
use gimg::oci::Digest;
use gimg::registry::{Insecure, Keychain, Options, Secret};

use crate::support::canary::{PAIR, SECRET};
use crate::support::client::{Client, layer, multi, own, round_trip, single};
use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::servers::{Server, ca};

#[tokio::test]
async fn tokens_are_fetched_for_what_is_pushed() {
    let server = Server::olareg_with_tokens();
    round_trip(&server.host(), &Client::user(&server.host())).await;
    let error = Client::new().push(&multi(&format!("{}/a", server.host()), &["v1"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert_eq!(error.hint_text(), Some(&*format!("gimg login {}", server.host())));
}

#[tokio::test]
async fn basic_credentials_are_sent_as_they_are() {
    let server = Server::olareg_with_basic();
    round_trip(&server.host(), &Client::user(&server.host())).await;
    let wrong = Keychain::single(&server.host().parse().unwrap(), "user", Secret::new("hunter2"));
    let error = Client::with(wrong).push(&multi(&format!("{}/a", server.host()), &["v1"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn tokens_that_end_are_fetched_again() {
    let auth = Auth::Bearer("user".to_owned(), SECRET.to_owned());
    // Fewer uses than there are requests, and more than come after the first token's end: no upload meets two ends.
    let registry = TestRegistry::with(Config { auth, token_uses: 16, ..Config::default() });
    let client = Client::user(&registry.host());
    let graph = multi(&own(&registry), &["v1"]);
    client.push(&graph).await.unwrap();
    client.holds(&format!("{}:v1", own(&registry)), &graph).await;
    let scopes: Vec<_> = registry.log().into_iter().filter(|l| l.target.starts_with("/token")).collect();
    assert!(scopes[0].target.contains("scope=repository%3Ateam%2Fapp%3Apull%2Cpush"), "{scopes:?}");
    assert!(scopes.len() > 1, "{scopes:?}");
}

#[tokio::test]
async fn our_own_registry_asks_who_it_is() {
    let (user, secret) = ("user".to_owned(), SECRET.to_owned());
    for auth in [Auth::Basic(user.clone(), secret.clone()), Auth::Bearer(user, secret)] {
        let registry = TestRegistry::with(Config { auth, ..Config::default() });
        round_trip(&registry.host(), &Client::user(&registry.host())).await;
        let error = Client::new().push(&multi(&own(&registry), &["v1"])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Auth, "{error}");
    }
}

#[tokio::test]
async fn one_token_serves_many_requests_and_mounts_ask_for_the_source() {
    let auth = Auth::Bearer("user".to_owned(), SECRET.to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let client = Client::user(&registry.host());
    registry.fail(When::once("GET", "/token"), Fault::Delay(Duration::from_millis(50)));
    client.push(&multi(&own(&registry), &["v1", "v2", "v3"])).await.unwrap();
    assert_eq!(registry.asked("GET", "/token"), 1);
    assert_eq!(registry.log().iter().filter(|l| l.status == 401).count(), 1);
    let remote = Content::Remote(own(&registry).parse().unwrap());
    let there = Blob { descriptor: layer(1, 100_000).descriptor, content: remote };
    let digest = there.descriptor.digest;
    client.push(&single(&format!("{}/other", registry.host()), &["v1"], &[there])).await.unwrap();
    assert_eq!(client.heard.how(digest), [Put::Sent, Put::Mounted]);
    assert_eq!(registry.asked("GET", "scope=repository%3Ateam%2Fapp%3Apull&"), 0);
    assert_eq!(
        registry.asked("GET", "scope=repository%3Aother%3Apull%2Cpush&scope=repository%3Ateam%2Fapp"),
        1
    );
}

#[tokio::test]
async fn refresh_tokens_are_traded_by_post() {
    let auth = Auth::Bearer("user".to_owned(), SECRET.to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let entry = format!(r#"{{"auth": "{PAIR}", "identitytoken": "{SECRET}"}}"#);
    let config = format!(r#"{{"auths": {{"{}": {entry}}}}}"#, registry.host());
    let env = BTreeMap::from([("DOCKER_AUTH_CONFIG".to_owned(), config)]);
    let client = Client::with(Keychain::load(&env).unwrap());
    client.push(&single(&own(&registry), &["v1"], &[layer(1, 10)])).await.unwrap();
    assert_eq!((registry.asked("POST", "/token"), registry.asked("GET", "/token")), (1, 0));
    // Where the endpoint knows no POST, GET does.
    registry.fail(When::once("POST", "/token"), Fault::Status(404, Vec::new(), String::new()));
    let client = Client::with(Keychain::load(&env).unwrap());
    client.push(&single(&own(&registry), &["v2"], &[layer(2, 10)])).await.unwrap();
    assert_eq!((registry.asked("POST", "/token"), registry.asked("GET", "/token")), (2, 1));
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_server() {
    let store = TestRegistry::start();
    let auth = Auth::Basic("user".to_owned(), SECRET.to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let graph = single(&own(&store), &["v1"], &[layer(1, 1000)]);
    Client::new().push(&graph).await.unwrap();
    let client = Client::user(&registry.host());
    let descriptor = &graph.blobs[0].descriptor;
    let location = format!("http://{}/v2/team/app/blobs/{}", store.host(), descriptor.digest);
    let redirect = Fault::Status(307, vec![("location", location)], String::new());
    registry.fail(When::once("GET", "/blobs/"), redirect);
    let read = client.read(&own(&registry).parse().unwrap(), descriptor).await.unwrap();
    assert_eq!(Digest::of(&read), descriptor.digest);
    let basic = |r: &TestRegistry| r.log().iter().filter(|l| l.authorization.is_some()).count();
    assert_eq!((basic(&registry), basic(&store)), (1, 0));
}

#[tokio::test]
async fn certificates_are_checked_unless_that_was_waived() {
    let server = Server::olareg_with_tls();
    let trusting = Client::of(Options { ca: Some(ca()), ..Options::default() });
    round_trip(&server.host(), &trusting).await;
    let host = server.host().parse().unwrap();
    let insecure = Insecure::Listed([host].into());
    let waived = Client::of(Options { insecure, ..Options::default() });
    waived.push(&multi(&format!("{}/b", server.host()), &["v1"])).await.unwrap();
    for insecure in [Insecure::Loopback, Insecure::Listed(["r.io".parse().unwrap()].into())] {
        let client = Client::of(Options { insecure, ..Options::default() });
        let error = client.resolve(&format!("{}/b:v1", server.host())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("unknown issuer"), "{error}");
        assert!(error.hint_text().unwrap().contains("SSL_CERT_FILE"));
        // Another try would not help.
        assert_eq!(client.heard.count(|e| matches!(e, Event::Retry { .. })), 0);
    }
    let broken =
        Client::of(Options { ca: Some(b"-----BEGIN CERTIFICATE-----\n!".to_vec()), ..Options::default() });
    let error = broken.resolve(&format!("{}/b:v1", server.host())).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Input | Kind::Unavailable), "{error}");
}
