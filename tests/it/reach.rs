//! Where the registry client connects, and where it doesn't: names, inner addresses, redirects.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gimg::content::Content;
use gimg::error::Kind;
use gimg::event::Event;
use gimg::oci::Digest;
use gimg::registry::{Keychain, Options, Secret, Unresolved};

use crate::support::canary::SECRET;
use crate::support::client::{Client, layer, single};
use crate::support::front::{Front, Speaks, Then};
use crate::support::net::{Fixed, PRIVATE, PUBLIC, Sink, serve, short};
use crate::support::registry::TestRegistry;
use crate::support::servers::ca;

/// A client that trusts the test CA and knows these names.
fn client(names: &Arc<Fixed>) -> Client {
    Client::of(Options { ca: Some(ca()), names: Arc::clone(names) as _, ..Options::default() })
}

fn to(location: String) -> Then {
    Then::Answer(307, vec![("location", location)], String::new())
}

fn challenge(realm: String) -> Then {
    let header = format!("Bearer realm=\"{realm}\",service=\"x\"");
    Then::Answer(401, vec![("www-authenticate", header)], String::new())
}

/// Every way to name 127.0.0.1, or something as private, at this port.
fn inward(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.1",
        "localhost",
        "sink.test",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
    ];
    let more =
        ["169.254.169.254", "10.0.0.1", "192.168.0.1", "100.64.0.1", "[fd00::1]", "[fe80::1]", "2130706433"];
    hosts.iter().chain(&more).map(|host| format!("{host}:{port}")).collect()
}

#[tokio::test]
async fn a_public_registry_can_not_name_a_token_server_inside() {
    let names = Fixed::new(&[("registry.test", PUBLIC), ("sink.test", "127.0.0.1 ::1")]);
    let sink = Sink::start();
    for host in inward(sink.port()) {
        let realm = format!("https://{host}/token");
        let registry = Front::start(Speaks::default(), "", move |_| challenge(realm.clone()));
        let name = format!("registry.test:{}", registry.port);
        let keychain = Keychain::single(&name.parse().unwrap(), "user", Secret::new(SECRET));
        let ca = Some(ca());
        let client =
            Client::of(Options { ca, keychain, names: Arc::clone(&names) as _, ..Options::default() });
        let error = client.resolve(&format!("{name}/a:v1")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Auth, "{host}: {error}");
        assert!(error.to_string().contains("internal address"), "{error}");
        assert_eq!(client.heard.count(|e| matches!(e, Event::Retry { .. })), 0, "{error}");
    }
    assert_eq!(sink.seen(), (0, 0));
    let error = client(&names);
    let registry = Front::start(Speaks::default(), "", {
        let port = sink.port();
        move |_| challenge(format!("https://sink.test:{port}/token"))
    });
    let error = error.resolve(&format!("registry.test:{}/a:v1", registry.port)).await.unwrap_err();
    assert!(error.to_string().contains("sink.test"), "{error}");
    assert!(error.to_string().contains("internal address 127.0.0.1"), "{error}");
    assert_eq!(sink.seen(), (0, 0));
}

#[tokio::test]
async fn a_public_registry_can_not_send_bytes_inside() {
    let names = Fixed::new(&[("registry.test", PUBLIC), ("sink.test", "127.0.0.1 ::1")]);
    let sink = Sink::start();
    for host in inward(sink.port()) {
        for (method, status) in [("GET", 307), ("POST", 202), ("PUT", 307)] {
            let store = TestRegistry::start();
            let location = format!("https://{host}/somewhere?secret=1");
            let registry = Front::start(Speaks::default(), &store.host(), move |asked| {
                if asked.method == method && asked.target != "/v2/" {
                    return Then::Answer(status, vec![("location", location.clone())], String::new());
                }
                Then::Pass
            });
            let name = format!("registry.test:{}/a", registry.port);
            let client = client(&names);
            let error = if method == "GET" {
                client.resolve(&format!("{name}:v1")).await.unwrap_err()
            } else {
                client.push(&single(&name, &["v1"], &[layer(1, 100)])).await.unwrap_err()
            };
            assert_eq!(error.kind(), Kind::Refused, "{method} {host}: {error}");
            assert!(error.to_string().contains("internal address"), "{error}");
            assert!(!error.to_string().contains(SECRET), "{error}");
        }
    }
    assert_eq!(sink.seen(), (0, 0));
}

#[tokio::test]
async fn a_registry_may_send_us_where_it_is_itself() {
    let store = TestRegistry::start();
    let graph = single(&format!("{}/a", store.host()), &["v1"], &[layer(1, 100)]);
    Client::new().push(&graph).await.unwrap();
    let names =
        Fixed::new(&[("registry.test", PRIVATE), ("mirror.test", PRIVATE), ("sink.test", "127.0.0.1")]);
    let cdn = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
    let at = cdn.port;
    let registry = Front::start(Speaks::default(), "", move |asked| {
        if asked.target == "/v2/" {
            return Then::Answer(200, Vec::new(), String::new());
        }
        to(format!("https://mirror.test:{at}{}", asked.target))
    });
    let name = format!("registry.test:{}/a:v1", registry.port);
    let (descriptor, _) = client(&names).resolve(&name).await.unwrap();
    assert_eq!(descriptor.digest, graph.root.descriptor.digest);
    // Not from one machine of the network to this one.
    let sink = Sink::start();
    let (at, asked) = (sink.port(), graph.root.descriptor.digest);
    let registry = Front::start(Speaks::default(), "", move |asked| {
        if asked.target == "/v2/" {
            return Then::Answer(200, Vec::new(), String::new());
        }
        to(format!("https://sink.test:{at}/"))
    });
    let name = format!("registry.test:{}/a@{asked}", registry.port);
    assert_eq!(client(&names).resolve(&name).await.unwrap_err().kind(), Kind::Refused);
    assert_eq!(sink.seen(), (0, 0));
}

#[tokio::test]
async fn redirects_resend_the_body_and_leave_credentials_behind() {
    let store = TestRegistry::start();
    let names = Fixed::new(&[("registry.test", PUBLIC), ("mirror.test", PUBLIC)]);
    let cdn = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
    let at = cdn.port;
    let registry = Front::start(Speaks::default(), &store.host(), move |asked| {
        if !asked.headers.contains_key("authorization") {
            let header = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            return Then::Answer(401, header, String::new());
        }
        match asked.method.as_str() {
            "PUT" => to(format!("https://mirror.test:{at}{}", asked.target)),
            _ => Then::Pass,
        }
    });
    let name = format!("registry.test:{}", registry.port);
    let keychain = Keychain::single(&name.parse().unwrap(), "user", Secret::new(SECRET));
    let client = Client::of(Options { ca: Some(ca()), keychain, names, ..Options::default() });
    let graph = single(&format!("{name}/team/app"), &["v1"], &[layer(1, 300_000)]);
    client.push(&graph).await.unwrap();
    client.holds(&format!("{name}/team/app:v1"), &graph).await;
    let put = cdn.asked();
    assert!(put.len() >= 4 && put.iter().all(|a| a.method == "PUT"), "{put:?}");
    for header in ["authorization", "cookie", "referer"] {
        assert!(put.iter().all(|a| !a.headers.contains_key(header)), "{put:?}");
    }
    assert!(put.iter().any(|a| a.headers["content-length"] == "300000"), "{put:?}");
}

#[tokio::test]
async fn credentials_do_not_come_back_with_a_redirect() {
    let names = Fixed::new(&[("registry.test", PUBLIC), ("mirror.test", PUBLIC)]);
    let back: Arc<std::sync::OnceLock<u16>> = Arc::default();
    let port = Arc::clone(&back);
    let cdn = Front::start(Speaks::default(), "", move |_| {
        to(format!("https://user:pw@registry.test:{}/v2/b/manifests/v1", port.get().unwrap()))
    });
    let at = cdn.port;
    let registry = Front::start(Speaks::default(), "", move |asked| match asked.target.as_str() {
        "/v2/" => challenge_basic(),
        "/v2/a/manifests/v1" => to(format!("https://mirror.test:{at}/x")),
        _ => Then::Answer(404, Vec::new(), String::new()),
    });
    back.set(registry.port).unwrap();
    let name = format!("registry.test:{}", registry.port);
    let keychain = Keychain::single(&name.parse().unwrap(), "user", Secret::new(SECRET));
    let client = Client::of(Options { ca: Some(ca()), keychain, names, ..Options::default() });
    client.resolve(&format!("{name}/a:v1")).await.unwrap_err();
    let asked = registry.asked();
    let with = |target: &str| {
        asked
            .iter()
            .filter(|a| a.target == target)
            .map(|a| a.headers.contains_key("authorization"))
            .collect::<Vec<_>>()
    };
    assert_eq!(with("/v2/a/manifests/v1"), [true]);
    assert_eq!(with("/v2/b/manifests/v1"), [false]);
}

fn challenge_basic() -> Then {
    Then::Answer(401, vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], String::new())
}

#[tokio::test]
async fn redirects_end() {
    let names = Fixed::new(&[("registry.test", PUBLIC)]);
    for (circle, words, most) in [(true, "in a circle", 3), (false, "more than 10", 12)] {
        let registry = Front::start(Speaks::default(), "", move |asked| match asked.target.as_str() {
            "/v2/" => Then::Answer(200, Vec::new(), String::new()),
            target if circle => {
                to(if target.ends_with("/x") { "/v2/a/manifests/v1" } else { "/v2/x" }.to_owned())
            }
            _ => to(format!("/v2/hop/{}", asked.number)),
        });
        let client = client(&names);
        let error = client.resolve(&format!("registry.test:{}/a:v1", registry.port)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(error.to_string().contains("too many redirects"), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(registry.asked().len(), most);
        assert_eq!(client.heard.count(|e| matches!(e, Event::Retry { .. })), 0);
    }
    // Down to http only on the same host, and then by https after all.
    let registry = Front::start(Speaks::default(), "", |asked| match asked.target.as_str() {
        "/v2/" => Then::Answer(200, Vec::new(), String::new()),
        "/v2/a/manifests/v1" => to("http://registry.test/v2/here".to_owned()),
        "/v2/here" => to("http://mirror.test/".to_owned()),
        _ => Then::Answer(500, Vec::new(), String::new()),
    });
    let error = client(&names).resolve(&format!("registry.test:{}/a:v1", registry.port)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("from https to http://mirror.test/"), "{error}");
}

#[tokio::test]
async fn names_that_do_not_exist_fail_at_once_and_others_are_asked_again() {
    let store = TestRegistry::start();
    let registry = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
    let name = format!("registry.test:{}", registry.port);
    let temporary = || Unresolved::Temporary("registry.test".to_owned());
    let names = Fixed::failing(&[("registry.test", PUBLIC)], vec![temporary(), temporary()]);
    let patient = client(&names);
    let error = patient.resolve(&format!("{name}/a:v1")).await.unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
    assert_eq!(
        (names.asked("registry.test"), patient.heard.count(|e| matches!(e, Event::Retry { .. }))),
        (3, 2)
    );
    let other = client(&names);
    let error = other.resolve("nowhere.test/a:v1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("there is no host nowhere.test"), "{error}");
    assert_eq!(
        (names.asked("nowhere.test"), other.heard.count(|e| matches!(e, Event::Retry { .. }))),
        (1, 0)
    );
    let dead = Fixed::failing(&[], std::iter::repeat_with(temporary).take(100).collect());
    let error = client(&dead).resolve(&format!("{name}/a:v1")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("can't be looked up now"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_not_reached_is_followed_by_the_next() {
    let store = TestRegistry::start();
    let registry = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
    // 2001:db8::/32 is nobody's.
    let names = Fixed::new(&[("registry.test", &format!("2001:db8::7 {PUBLIC}"))]);
    let client = client(&names);
    let graph = single(&format!("registry.test:{}/a", registry.port), &["v1"], &[layer(1, 100)]);
    client.push(&graph).await.unwrap();
    assert_eq!(client.heard.count(|e| matches!(e, Event::Retry { .. })), 0);
}

#[tokio::test]
async fn only_addresses_that_may_be_reached_are() {
    // A name with an inner address beside an outer one: the inner one is left out.
    let store = TestRegistry::start();
    let graph = single(&format!("{}/a", store.host()), &["v1"], &[layer(1, 100)]);
    Client::new().push(&graph).await.unwrap();
    let cdn = Front::start(Speaks::default(), &store.host(), |_| Then::Pass);
    let at = cdn.port;
    let registry = Front::start(Speaks::default(), "", move |asked| match asked.target.as_str() {
        "/v2/" => Then::Answer(200, Vec::new(), String::new()),
        target => to(format!("https://mirror.test:{at}{target}")),
    });
    let both = format!("127.0.0.99 {PUBLIC}");
    let names = Fixed::new(&[("registry.test", PUBLIC), ("mirror.test", &both)]);
    let name = format!("registry.test:{}/a:v1", registry.port);
    client(&names).resolve(&name).await.unwrap();
}

#[tokio::test]
async fn servers_that_stand_still_are_left_and_asked_again() {
    let http1 = || Speaks { alpn: &["http/1.1"], ..Speaks::default() };
    // More than the sockets' buffers hold: a server that doesn't read it is noticed before all is sent.
    let cases = [("GET", Speaks::default(), 10), ("PUT", Speaks::default(), 1 << 20), ("POST", http1(), 10)];
    let cases =
        cases.into_iter().chain([("PUT", http1(), 12 << 20)]).map(|(method, speaks, size)| async move {
            let store = TestRegistry::start();
            let once = AtomicBool::new(false);
            let registry = Front::start(speaks, &store.host(), move |asked| {
                let hang =
                    asked.method == method && asked.target != "/v2/" && !once.swap(true, Ordering::SeqCst);
                if hang { Then::Hang } else { Then::Pass }
            });
            let client = Client::of(Options { ca: Some(ca()), deadlines: short(), ..Options::default() });
            let graph = single(&format!("{}/a", registry.host()), &["v1"], &[layer(1, size)]);
            client.push(&graph).await.unwrap();
            client.holds(&format!("{}/a:v1", registry.host()), &graph).await;
            let stood =
                |e: &Event| matches!(e, Event::Retry { why, .. } if why.contains("no answer for 900ms"));
            assert_eq!(client.heard.count(stood), 1, "{method} {size}");
        });
    futures_util::future::join_all(cases).await;
}

#[tokio::test]
async fn a_body_that_drips_is_one_that_stands_still() {
    let body = layer(1, 100_000);
    let Content::Bytes(bytes) = body.content.clone() else { panic!() };
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let port = serve(move |mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            let head = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if !head.contains("/blobs/") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                continue;
            }
            let start =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
            let start =
                start.map_or(0, |s| s.trim_end_matches('-').split('-').next().unwrap().parse().unwrap());
            let (rest, number) = (&bytes[start..], count.fetch_add(1, Ordering::SeqCst));
            let status = if start == 0 { "200 OK" } else { "206 Partial Content" };
            let range = format!("content-range: bytes {start}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            let head = format!("HTTP/1.1 {status}\r\n{range}content-length: {}\r\n\r\n", rest.len());
            let _ = stream.write_all(head.as_bytes());
            if number > 0 {
                let _ = stream.write_all(rest);
                continue;
            }
            let _ = stream.write_all(&rest[..50_000]);
            for byte in &rest[50_000..] {
                std::thread::sleep(Duration::from_millis(20));
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
            }
        }
    });
    let client = Client::of(Options { deadlines: short(), ..Options::default() });
    let repository = format!("127.0.0.1:{port}/a").parse().unwrap();
    let read = client.read(&repository, &body.descriptor).await.unwrap();
    assert_eq!(Digest::of(&read), body.descriptor.digest);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
