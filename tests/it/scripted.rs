//! The scripted registry fails as it says: each fault as a client sees it, and what is counted.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::canary::SECRET;
use crate::support::registry::{Auth, Config, Fault, Form, TestRegistry, When};
use crate::support::{Sandbox, bases, sha256};

/// Sends a request on a connection of its own; everything that comes back, or why nothing does.
fn exchange(registry: &TestRegistry, head: &str, body: &[u8]) -> Result<String, ErrorKind> {
    let mut stream = TcpStream::connect(registry.host()).map_err(|e| e.kind())?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head =
        format!("{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(b"\r\n"));
    sent.and_then(|()| stream.write_all(body)).map_err(|e| e.kind())?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).map_err(|e| e.kind())?;
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// Opens an upload; its location.
fn open(registry: &TestRegistry) -> String {
    let answer = exchange(registry, "POST /v2/a/blobs/uploads/", b"").unwrap();
    header(&answer, "location").unwrap()
}

fn header(answer: &str, name: &str) -> Option<String> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().find_map(|l| Some(l.split_once(": ").filter(|(n, _)| *n == name)?.1.to_owned()))
}

#[test]
fn connections_are_reset_before_in_and_after_a_body() {
    let registry = TestRegistry::start();
    let body = vec![7_u8; 3_000_000];
    let faults = [Fault::Reset, Fault::ResetConnects(2), Fault::ResetAfter(50), Fault::Dropped, Fault::Lost];
    for fault in faults {
        let connects = if matches!(fault, Fault::ResetConnects(_)) { 2 } else { 0 };
        let location = format!("{}&digest=sha256:{}", open(&registry), sha256(&body));
        registry.fail(When::once("PUT", "/uploads/"), fault.clone());
        let before = registry.received();
        let end = exchange(&registry, &format!("PUT {location}"), &body).unwrap_err();
        assert!(matches!(end, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{fault:?}: {end:?}");
        for _ in 0..connects {
            exchange(&registry, "GET /v2/", b"").unwrap_err();
        }
        let logged = registry.log().pop().unwrap();
        assert_eq!((logged.status, registry.received() - before), (0, logged.body), "{fault:?}");
        let came = match fault {
            Fault::ResetAfter(_) => 1_500_000..3_000_000,
            Fault::Dropped | Fault::Lost => 3_000_000..3_000_001,
            _ => 0..1,
        };
        assert!(came.contains(&logged.body), "{fault:?}: {}", logged.body);
        let there = exchange(&registry, &format!("HEAD /v2/a/blobs/sha256:{}", sha256(&body)), b"").unwrap();
        assert_eq!(there.starts_with("HTTP/1.1 200"), matches!(fault, Fault::Lost), "{there}");
    }
}

#[test]
fn answers_are_late_slow_cut_or_changed() {
    let registry = TestRegistry::start();
    let digest = registry.put_blob("a", "0123456789");
    let get = |fault| {
        registry.fail(When::once("GET", "/blobs/"), fault);
        let begin = Instant::now();
        let answer = exchange(&registry, &format!("GET /v2/a/blobs/{digest}"), b"");
        (answer.unwrap_or_else(|e| format!("{e:?}")), begin.elapsed())
    };
    let ms = Duration::from_millis;
    let (answer, took) = get(Fault::Delay(ms(60)));
    assert!(answer.ends_with("\r\n\r\n0123456789") && took >= ms(60), "{answer}");
    let (answer, took) = get(Fault::SlowHead(ms(1)));
    assert!(answer.ends_with("\r\n\r\n0123456789") && took >= ms(100), "{answer} in {took:?}");
    let (answer, took) = get(Fault::SlowBody(ms(10)));
    assert!(answer.ends_with("0123456789") && took >= ms(100), "{answer} in {took:?}");
    let (answer, took) = get(Fault::Hang(ms(60)));
    assert!(answer.is_empty() && took >= ms(60), "{answer} in {took:?}");
    let (answer, took) = get(Fault::Unread(ms(60)));
    assert!(answer == "ConnectionReset" && took >= ms(60), "{answer} in {took:?}");
    let (answer, _) = get(Fault::Truncate(4));
    assert!(
        answer.ends_with("\r\n\r\n0123") && header(&answer, "content-length").unwrap() == "10",
        "{answer}"
    );
    let (answer, _) = get(Fault::EndEarly(4));
    assert!(header(&answer, "transfer-encoding").is_some() && answer.contains("0123"), "{answer}");
    assert!(!answer.contains("\r\n0\r\n"), "{answer}");
    assert!(get(Fault::Flip(3)).0.ends_with("\r\n\r\n0122456789"));
    assert_eq!(header(&get(Fault::Gzip).0, "content-encoding").unwrap(), "gzip");
    assert!(get(Fault::As(203)).0.starts_with("HTTP/1.1 203"));
    let (answer, _) = get(Fault::Header("docker-content-digest", None));
    assert_eq!(header(&answer, "docker-content-digest"), None);
    let (answer, _) = get(Fault::Header("docker-content-digest", Some("x".to_owned())));
    assert_eq!(header(&answer, "docker-content-digest").unwrap(), "x");
}

#[test]
fn an_early_answer_does_not_read_the_body() {
    let registry = TestRegistry::start();
    let location = open(&registry);
    registry.fail(When::once("PUT", "/uploads/"), Fault::Early(413, Vec::new(), "no".to_owned()));
    // Whether the client sees the answer before its own writing fails is up to chance.
    let _ = exchange(&registry, &format!("PUT {location}"), &vec![0; 5_000_000]);
    let logged = registry.log().pop().unwrap();
    assert_eq!((logged.status, logged.body), (413, 0));
}

#[test]
fn locations_are_written_in_every_way() {
    let registry = TestRegistry::with(Config { state: "a%2Bb==", ..Config::default() });
    let host = registry.host();
    for (form, expected) in [
        (Form::Relative, Some("upload-".to_owned())),
        (Form::Absolute, Some(format!("http://{host}/v2/a/blobs/uploads/upload-"))),
        (Form::NetworkPath, Some(format!("//{host}/v2/a/blobs/uploads/upload-"))),
        (Form::SchemeLess, Some(format!("{host}/v2/a/blobs/uploads/upload-"))),
        (
            Form::At("http://10.0.0.1".to_owned()),
            Some("http://10.0.0.1/v2/a/blobs/uploads/upload-".to_owned()),
        ),
        (Form::Missing, None),
    ] {
        registry.fail(When::once("POST", "/uploads/"), Fault::Location(form));
        let answer = exchange(&registry, "POST /v2/a/blobs/uploads/", b"").unwrap();
        let location = header(&answer, "location");
        assert_eq!(location.is_some(), expected.is_some());
        if let (Some(found), Some(expected)) = (location, expected) {
            assert!(found.starts_with(&expected) && found.ends_with("?_state=a%2Bb==0"), "{found}");
        }
    }
}

#[test]
fn hooks_see_every_request_and_act_between_them() {
    let registry = TestRegistry::start();
    registry.hook(|asked, handle| {
        if asked.number == 1 {
            handle.put_blob("other", "by somebody else");
        }
        (asked.target == "/v2/" && asked.number > 1)
            .then(|| Fault::Status(429, vec![("retry-after", "1".to_owned())], String::new()))
    });
    for expected in ["200", "200", "429"] {
        assert_eq!(&exchange(&registry, "GET /v2/", b"").unwrap()[9..12], expected);
    }
    assert_eq!(registry.repositories(), ["other"]);
    registry.heal();
    registry.fail(When::Until(Instant::now() + Duration::from_secs(60)), Fault::Reset);
    exchange(&registry, "GET /v2/", b"").unwrap_err();
    registry.heal();
    registry.reset_connects(1);
    exchange(&registry, "GET /v2/", b"").unwrap_err();
    exchange(&registry, "GET /v2/", b"").unwrap();
    assert_eq!((registry.log().len(), registry.connections(), registry.peak()), (5, 6, 1));
}

#[test]
fn content_can_be_late_and_lost() {
    let registry = TestRegistry::with(Config { late_blobs: 2, ..Config::default() });
    let digest = format!("sha256:{}", sha256(b"x"));
    let head = || exchange(&registry, &format!("HEAD /v2/a/blobs/{digest}"), b"").unwrap()[9..12].to_owned();
    let put = format!("PUT {}&digest={digest}", open(&registry));
    assert!(exchange(&registry, &put, b"x").unwrap().starts_with("HTTP/1.1 201"));
    assert_eq!([head(), head(), head()], ["404", "404", "200"]);
    registry.lose_blob("a", &digest);
    assert_eq!(head(), "200");
    assert!(
        exchange(&registry, &format!("GET /v2/a/blobs/{digest}"), b"").unwrap().starts_with("HTTP/1.1 404")
    );
}

#[test]
fn other_clients_can_use_it() {
    let auth = Auth::Bearer("user".to_owned(), SECRET.to_owned());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let sandbox = Sandbox::new();
    let host = registry.host();
    sandbox.run(&format!("crane auth login {host} -u user -p {SECRET}")).ok();
    sandbox.write("layer.txt", "x");
    sandbox.run("tar cf layer.tar layer.txt").ok();
    registry.fail(When::once("HEAD", "/blobs/"), Fault::Status(503, Vec::new(), String::new()));
    let pushed = sandbox.run(&format!("crane append -f layer.tar -t {host}/team/app:v1")).ok();
    assert_eq!(registry.tags("team/app")["v1"], pushed.digest());
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    sandbox.run(&format!("crane validate --remote {host}/team/app:v1")).ok();
    bases::publish(&registry);
    let sandbox = Sandbox::go("hello").env("KO_DOCKER_REPO", &format!("{host}/ko"));
    let sandbox = sandbox.env("KO_DEFAULTBASEIMAGE", &format!("{host}/base/two:v1"));
    sandbox.run(&format!("crane auth login {host} -u user -p {SECRET}")).ok();
    registry.fail(When::once("PUT", "/ko/blobs/"), Fault::Dropped);
    let built =
        sandbox.run("ko build ./cmd/hello --bare -t v1 --sbom none --platform linux/amd64,linux/arm64").ok();
    assert_eq!(registry.tags("ko")["v1"], built.digest());
    assert_eq!(registry.incomplete(), Vec::<String>::new());
}
