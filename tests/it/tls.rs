//! TLS: what is wrong with a certificate is said, nothing falls back to http, and client certificates stay with
//! their host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gimg::error::{Error, Kind};
use gimg::event::Event;
use gimg::registry::{Deadlines, Insecure, Options};

use crate::support::Sandbox;
use crate::support::client::{Client, layer, single};
use crate::support::front::{Front, Speaks, Then};
use crate::support::net::{Fixed, PUBLIC, Sink, serve, short};
use crate::support::registry::TestRegistry;
use crate::support::servers::{Server, ca};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls").join(name)
}

fn options() -> Options {
    Options { ca: Some(ca()), names: Fixed::new(&[("registry.test", PUBLIC)]), ..Options::default() }
}

/// What a client that trusts the CA says of a server.
async fn refused(speaks: Speaks) -> (Error, Front) {
    let server = Front::start(speaks, "", |_| Then::Answer(200, Vec::new(), String::new()));
    let client = Client::of(options());
    let error = client.resolve(&format!("registry.test:{}/a:v1", server.port)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    // Another try would not help; that a client certificate is missing shows too late to be sure.
    let sure = !error.to_string().contains("client certificate");
    assert!(!sure || client.heard.count(|e| matches!(e, Event::Retry { .. })) == 0, "{error}");
    (error, server)
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said() {
    for (certificate, words, hint) in [
        (
            "expired.pem",
            "its certificate expired: it was valid until 2001-01-01T00:00:00Z, and the clock here says 20",
            "clock",
        ),
        ("early.pem", "isn't valid yet: only from 2123-01-01T00:00:00Z", "clock"),
        ("elsewhere.pem", "its certificate is for elsewhere.test, not for registry.test", "name"),
        ("selfsigned.pem", "isn't trusted here", "SSL_CERT_FILE"),
    ] {
        let (error, server) = refused(Speaks { certificate: Some(certificate), ..Speaks::default() }).await;
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
        // No request went out, by https or otherwise.
        assert!(server.asked().is_empty());
    }
    // On this machine http is tried first; what TLS says counts nevertheless.
    let speaks = Speaks { certificate: Some("expired.pem"), ..Speaks::default() };
    let server = Front::start(speaks, "", |_| Then::Pass);
    let error = Client::of(options()).resolve(&format!("{}/a:v1", server.host())).await.unwrap_err();
    assert!(error.to_string().contains("its certificate expired"), "{error}");
    let client = Client::of(Options { ca: None, ..options() });
    let server = Front::start(Speaks::default(), "", |_| Then::Pass);
    let error = client.resolve(&format!("registry.test:{}/a:v1", server.port)).await.unwrap_err();
    assert!(error.to_string().contains("unknown issuer"), "{error}");
}

#[tokio::test]
async fn a_wanted_client_certificate_is_named() {
    for tls12 in [false, true] {
        let speaks = Speaks { wants_client: true, tls12, ..Speaks::default() };
        let (error, server) = refused(speaks).await;
        assert!(error.to_string().contains("client certificate"), "{error}");
        let place = format!("certs.d/registry.test:{}/", server.port);
        assert!(error.hint_text().unwrap().contains(&place), "{error:?}");
    }
}

#[tokio::test]
async fn a_failed_handshake_never_leads_to_http() {
    // A server that answers TLS with plain http, and an old one: the alert is that of TLS 1.1 for versions.
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[21, 3, 2, 0, 2, 2, 70][..]] {
        let requests: std::sync::Arc<std::sync::Mutex<Vec<u8>>> = Default::default();
        let first = std::sync::Arc::clone(&requests);
        let port = serve(move |mut stream| {
            use std::io::{Read as _, Write as _};
            let mut buffer = [0; 1024];
            let n = stream.read(&mut buffer).unwrap_or(0);
            first.lock().unwrap().extend(buffer[..n].first());
            let _ = stream.write_all(answer);
        });
        let client = Client::of(options());
        let error = client.resolve(&format!("registry.test:{port}/a:v1")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        let words = if answer.len() > 10 { "doesn't speak TLS" } else { "versions of TLS before 1.2" };
        assert!(error.to_string().contains(words), "{error}");
        // 22 begins a TLS handshake.
        assert_eq!(*requests.lock().unwrap(), [22]);
    }
}

#[tokio::test]
async fn only_registries_that_were_named_are_insecure() {
    let server = Front::start(Speaks { certificate: None, ..Speaks::default() }, "", |_| {
        Then::Answer(404, Vec::new(), String::new())
    });
    let name = format!("registry.test:{}", server.port);
    let insecure =
        |of: &str| Options { insecure: Insecure::Listed([of.parse().unwrap()].into()), ..options() };
    let error = Client::of(insecure("other.test")).resolve(&format!("{name}/a:v1")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(server.asked().is_empty());
    let error = Client::of(insecure(&name)).resolve(&format!("{name}/a:v1")).await.unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
}

#[tokio::test]
async fn a_handshake_that_stands_still_ends() {
    let sink = Sink::start();
    let deadlines = Deadlines { connect: Duration::from_millis(300), ..short() };
    let client = Client::of(Options { deadlines, ..options() });
    let error = client.resolve(&format!("registry.test:{}/a:v1", sink.port())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("no answer in time"), "{error}");
    // A stall may be an accident.
    let (connections, bytes) = sink.seen();
    assert!(connections >= 5 && bytes > 0, "{connections} {bytes}");
}

/// A `certs.d` with these files of tests/support/tls for `host`.
fn certs_d(host: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(host)).unwrap();
    for (from, to) in files {
        std::fs::copy(file(from), dir.path().join(host).join(to)).unwrap();
    }
    dir
}

#[tokio::test]
async fn certs_d_has_authorities_and_client_certificates_for_one_host() {
    let store = TestRegistry::start();
    for tls12 in [false, true] {
        let wants = Speaks { wants_client: true, tls12, ..Speaks::default() };
        let cdn =
            Front::start(Speaks { wants_client: true, ..Speaks::default() }, &store.host(), |_| Then::Pass);
        let at = cdn.port;
        let registry = Front::start(wants, &store.host(), move |asked| {
            if asked.method == "GET" && asked.target.contains("/blobs/") {
                let location = format!("https://registry.test:{at}{}", asked.target);
                return Then::Answer(307, vec![("location", location)], String::new());
            }
            Then::Pass
        });
        let name = format!("registry.test:{}", registry.port);
        let files = [("ca.pem", "ca.crt"), ("client.pem", "me.cert"), ("client.key", "me.key")];
        let dir = certs_d(&name, &files);
        // The CA of certs.d counts for that host only; here the system's don't help.
        let certs_d = vec!["/nowhere".into(), dir.path().to_owned()];
        let client = Client::of(Options { ca: None, certs_d: certs_d.clone(), ..options() });
        let graph = single(&format!("{name}/a"), &["v1"], &[layer(u8::from(tls12), 10_000)]);
        client.push(&graph).await.unwrap();
        assert!(!registry.asked().is_empty());
        // To another port, another name, the client certificate doesn't go.
        let client = Client::of(Options { certs_d, ..options() });
        let descriptor = &graph.blobs[0].descriptor;
        let error = client.read(&format!("{name}/a").parse().unwrap(), descriptor).await.unwrap_err();
        assert!(error.to_string().contains("client certificate"), "{error}");
        assert!(cdn.asked().is_empty());
    }
}

#[tokio::test]
async fn incomplete_and_broken_certificates_are_named() {
    let server = Front::start(Speaks::default(), "", |_| Then::Pass);
    let name = format!("registry.test:{}", server.port);
    for (files, words) in [
        (&[("client.pem", "me.cert")][..], "me.cert"),
        (&[("client.key", "me.key")], "me.key"),
        (&[("make.sh", "ca.crt")], "there is no certificate in it"),
        (&[("client.pem", "me.cert"), ("make.sh", "me.key")], "aren't a certificate and a key"),
        (&[("client.pem", "me.cert"), ("server.key", "me.key")], "don't belong together"),
    ] {
        let dir = certs_d(&name, files);
        let client = Client::of(Options { certs_d: vec![dir.path().to_owned()], ..options() });
        let error = client.resolve(&format!("{name}/a:v1")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
    }
    assert!(server.asked().is_empty());
}

#[test]
fn the_command_line_finds_certificates_by_the_environment() {
    let server = Server::olareg_with_tls();
    let host = server.host();
    let reference = format!("{host}/a:v1");
    let sandbox = Sandbox::new().file("Dockerfile", "");
    let lock = |sandbox: &Sandbox| sandbox.run(&format!("gimg lock --base {reference}"));
    let unknown = lock(&sandbox);
    assert_eq!(unknown.code, 7, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("SSL_CERT_FILE"), "{}", unknown.stderr);
    // The image isn't there, but the server was understood.
    let reached = |sandbox: &Sandbox| {
        let ran = lock(sandbox);
        assert!(ran.stderr.contains("not found"), "{}", ran.stderr);
        ran
    };
    let certs = sandbox.path("certs");
    std::fs::create_dir(&certs).unwrap();
    std::fs::copy(file("ca.pem"), certs.join("ca.pem")).unwrap();
    std::fs::write(certs.join("README"), "not a certificate").unwrap();
    let sandbox = sandbox.env("SSL_CERT_DIR", &format!("{}:/nowhere", certs.display()));
    assert!(reached(&sandbox).stderr.contains("SSL_CERT_DIR: /nowhere"));
    let sandbox = sandbox.without("SSL_CERT_DIR").env("SSL_CERT_FILE", file("ca.pem").to_str().unwrap());
    reached(&sandbox);
    let sandbox = sandbox.without("SSL_CERT_FILE");
    let own = sandbox.path("home/.config/containers/certs.d").join(&host);
    std::fs::create_dir_all(&own).unwrap();
    std::fs::copy(file("ca.pem"), own.join("ca.crt")).unwrap();
    reached(&sandbox);
    std::fs::copy(file("client.key"), own.join("me.key")).unwrap();
    lock(&sandbox)
        .fails(2, &["its certificate is missing", "hint: a client certificate is NAME.cert with NAME.key"]);
}

#[test]
fn the_flag_for_insecure_registries_can_name_them() {
    let server = Server::olareg_with_tls();
    let lock = |flag: &str| Sandbox::new().run(&format!("gimg lock --base {}/a:v1 {flag}", server.host()));
    for flag in
        ["--insecure-registry", "--insecure-registry=true", &format!("--insecure-registry={}", server.host())]
    {
        let ran = lock(flag);
        assert!(ran.stderr.contains("not found"), "{flag}: {}", ran.stderr);
    }
    for flag in ["", "--insecure-registry=false", "--insecure-registry=other.test"] {
        lock(flag).fails(7, &["unknown issuer"]);
    }
    let bad = lock("--insecure-registry=a/b");
    assert!(bad.code == 2 && bad.stderr.contains("invalid registry"), "{}", bad.stderr);
}
