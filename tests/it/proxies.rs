//! Proxies: who goes through one, what they refuse, and that their passwords are shown to nobody.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use gimg::error::{Error, Kind};
use gimg::event::Event;
use gimg::registry::{Insecure, Options, Proxies};

use crate::support::Sandbox;
use crate::support::client::{Client, layer, single};
use crate::support::front::{Front, Speaks, Then};
use crate::support::net::{Fixed, PUBLIC, Proxy, Sink, Through, short};
use crate::support::registry::TestRegistry;
use crate::support::servers::ca;

/// `me` with a password, as a proxy's URL has it and as it is sent.
const USER: &str = "me:hunter%202@";
const BASIC: &str = "Basic bWU6aHVudGVyIDI=";

fn options(env: &[(&str, String)], names: &[(&str, &str)]) -> Options {
    let env: BTreeMap<_, _> = env.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let (proxies, names) = (Proxies::from_env(&env), Fixed::new(names));
    Options { ca: Some(ca()), proxies, names, deadlines: short(), ..Options::default() }
}

fn no_secret(error: &Error, client: &Client) {
    let secret = |text: &str| text.contains("hunter") || text.contains("bWU6");
    assert!(!secret(&format!("{error} {error:?}")), "{error:?}");
    assert_eq!(client.heard.count(|e| secret(&format!("{e:?}"))), 0);
}

#[tokio::test]
async fn a_push_goes_through_the_proxy_and_names_are_its_business() {
    let store = TestRegistry::start();
    let registry = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
    let proxy = Proxy::start(|_| Through::Pass);
    let url = format!("http://{USER}127.0.0.1:{}", proxy.port);
    // The name is not looked up here: nobody knows it.
    let client = Client::of(options(&[("HTTPS_PROXY", url.clone())], &[]));
    let name = format!("registry.test:{}", registry.port);
    let graph = single(&format!("{name}/a"), &["v1"], &[layer(1, 100_000)]);
    client.push(&graph).await.unwrap();
    client.holds(&format!("{name}/a:v1"), &graph).await;
    assert!(proxy.asked().iter().all(|line| *line == format!("CONNECT {name}")), "{:?}", proxy.asked());
    let heads = proxy.heads.lock().unwrap().join("");
    assert!(
        heads.contains(&format!("roxy-authorization: {BASIC}").to_lowercase()) || heads.contains(BASIC),
        "{heads}"
    );
    // Inside the tunnel nothing is said to the registry.
    assert!(registry.asked().iter().all(|a| !a.headers.contains_key("proxy-authorization")));
    // Plain http goes through the other one.
    let port = store.host().rsplit(':').next().unwrap().to_owned();
    let insecure = Insecure::All;
    let plain =
        Client::of(Options { insecure, ..options(&[("http_proxy", url)], &[("registry.test", PUBLIC)]) });
    plain.resolve(&format!("registry.test:{port}/a:v1")).await.unwrap();
    assert!(
        proxy
            .asked()
            .iter()
            .any(|line| line.contains(&format!("GET http://registry.test:{port}/v2/a/manifests/v1")))
    );
}

#[tokio::test]
async fn no_proxy_and_this_machine_are_reached_straight() {
    let store = TestRegistry::start();
    let registry = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
    let proxy = Proxy::start(|_| Through::Refuse("503 Service Unavailable"));
    let url = format!("127.0.0.1:{}", proxy.port);
    let name = format!("registry.test:{}", registry.port);
    for no_proxy in ["registry.test", ".test", &name, "*", "a.io, TEST"] {
        let env = [("ALL_PROXY", url.clone()), ("NO_PROXY", no_proxy.to_owned())];
        let client = Client::of(options(&env, &[("registry.test", PUBLIC)]));
        let error = client.resolve(&format!("{name}/a:v1")).await.unwrap_err();
        assert!(error.to_string().contains("not found"), "{no_proxy}: {error}");
    }
    let here = Client::of(options(&[("ALL_PROXY", url)], &[]));
    let error = here.resolve(&format!("localhost:{}/a:v1", registry.port)).await.unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
    assert!(proxy.asked().is_empty());
}

#[tokio::test]
async fn what_goes_past_the_proxy_is_still_guarded() {
    let sink = Sink::start();
    let at = sink.port();
    let registry = Front::start(Speaks::default(), "", move |asked| match asked.target.as_str() {
        "/v2/" => Then::Answer(200, Vec::new(), String::new()),
        target => {
            let host = if target.contains("/a/") { "sink.test" } else { "10.0.0.1" };
            Then::Answer(307, vec![("location", format!("https://{host}:{at}/"))], String::new())
        }
    });
    let proxy = Proxy::start(|_| Through::Pass);
    let env = [("HTTPS_PROXY", format!("127.0.0.1:{}", proxy.port)), ("NO_PROXY", "sink.test".to_owned())];
    for repository in ["a", "b"] {
        let client = Client::of(options(&env, &[("sink.test", "127.0.0.1")]));
        let error =
            client.resolve(&format!("registry.test:{}/{repository}:v1", registry.port)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains("internal address"), "{error}");
    }
    assert_eq!(sink.seen(), (0, 0));
    assert!(proxy.asked().iter().all(|line| line.contains("registry.test")));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let store = TestRegistry::start();
    let registry = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
    let name = format!("registry.test:{}", registry.port);
    for (status, user, words, hint, again) in [
        (
            "407 Proxy Authentication Required",
            "",
            "wants a user name and password",
            Some("HTTPS_PROXY: http://USER"),
            false,
        ),
        (
            "407 Proxy Authentication Required",
            USER,
            "refuses its user name and password",
            Some("HTTPS_PROXY"),
            false,
        ),
        ("503 Service Unavailable", USER, "doesn't connect to registry.test", None, true),
    ] {
        let proxy = Proxy::start(move |_| Through::Refuse(status));
        let env = [("HTTPS_PROXY", format!("http://{user}127.0.0.1:{}", proxy.port))];
        let client = Client::of(options(&env, &[]));
        let error = client.resolve(&format!("{name}/a:v1")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{} (HTTPS_PROXY)", proxy.port)), "{error}");
        assert_eq!(error.hint_text().is_some(), hint.is_some());
        assert!(hint.is_none_or(|hint| error.hint_text().unwrap().contains(hint)), "{error:?}");
        assert_eq!(proxy.asked().len() > 1, again);
        no_secret(&error, &client);
        // By plain http the proxy's answer takes the place of the registry's.
        let env = [("HTTP_PROXY", format!("http://{user}127.0.0.1:{}", proxy.port))];
        let names = [("registry.test", PUBLIC)];
        let client = Client::of(Options { insecure: Insecure::All, ..options(&env, &names) });
        let error =
            client.resolve(&format!("registry.test:{}/a:v1", Sink::start().port())).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        no_secret(&error, &client);
    }
    // One that isn't there.
    let env = [("https_proxy", format!("http://{USER}127.0.0.1:1"))];
    let client = Client::of(options(&env, &[]));
    let error = client.resolve(&format!("{name}/a:v1")).await.unwrap_err();
    assert!(
        error.to_string().contains("can't connect through the proxy 127.0.0.1:1 (https_proxy)"),
        "{error}"
    );
    no_secret(&error, &client);
}

#[tokio::test]
async fn a_proxy_that_dies_during_an_upload_is_asked_again() {
    for bytes in [40_000, 150_000, 290_000] {
        let store = TestRegistry::start();
        let registry = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
        let once = AtomicBool::new(false);
        let proxy =
            Proxy::start(
                move |_| {
                    if once.swap(true, Ordering::SeqCst) { Through::Pass } else { Through::Die(bytes) }
                },
            );
        let env = [("HTTPS_PROXY", format!("http://127.0.0.1:{}", proxy.port))];
        let client = Client::of(options(&env, &[]));
        let graph = single(&format!("registry.test:{}/a", registry.port), &["v1"], &[layer(1, 300_000)]);
        client.push(&graph).await.unwrap();
        client.holds(&format!("registry.test:{}/a:v1", registry.port), &graph).await;
        assert!(proxy.asked().len() >= 2, "{bytes}");
        assert!(client.heard.count(|e| matches!(e, Event::Retry { .. })) >= 1, "{bytes}");
    }
}

#[test]
fn the_command_line_takes_proxies_from_its_environment() {
    let proxy = Proxy::start(|_| Through::Refuse("407 Proxy Authentication Required"));
    let sandbox = Sandbox::new()
        .without("NO_PROXY")
        .env("HTTPS_PROXY", &format!("http://{USER}127.0.0.1:{}", proxy.port));
    let ran = sandbox.run("gimg lock --base registry.test/a:v1 -v");
    assert_eq!(ran.code, 7, "{}", ran.stderr);
    assert!(ran.stderr.contains("refuses its user name and password"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("hunter") && !ran.stderr.contains("bWU6"), "{}", ran.stderr);
    assert_eq!(proxy.asked(), ["CONNECT registry.test:443"]);
    let sandbox = sandbox.env("HTTPS_PROXY", "socks5://me:hunter2@127.0.0.1:1");
    let ran =
        sandbox.run("gimg lock --base registry.test/a:v1").fails(2, &["read HTTPS_PROXY: SOCKS proxies"]);
    assert!(!ran.stderr.contains("hunter"), "{}", ran.stderr);
}
