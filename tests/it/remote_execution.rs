//! Go's build cache on a server of the Remote Execution API, over gRPC: what [`remote_cache`](super::remote_cache) says of
//! servers holds for these too.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::remote_cache::{LINE, compiled, empty, hello, watched};
use crate::support::Ran;
use crate::support::build_cache::BuildCache;
use crate::support::canary::SECRET;
use crate::support::reapi::{Answer, Asked, RemoteExecution};
use crate::support::servers::Server;
use crate::support::toxiproxy::Toxiproxy;

/// So that what is large goes in pieces.
const BATCH: i64 = 300_000;

/// Another machine has built it, with all of Go's library compiled before, and filled the server.
fn filled() -> (RemoteExecution, String, Ran) {
    let server = RemoteExecution::start(BATCH);
    let url = format!("grpc://{}/main/ci", server.host());
    let first = hello().run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
    assert_eq!(first.stderr.matches("remote cache").count(), 0, "{}", first.stderr);
    (server, url, first)
}

fn count(seen: &[Asked], method: &str) -> usize {
    seen.iter().filter(|asked| asked.method == method).count()
}

#[test]
fn an_empty_machine_takes_all_from_it_and_compiles_nothing() {
    let (server, url, first) = filled();
    let seen = server.seen();
    assert_eq!(count(&seen, "GetCapabilities"), 2, "the fetching ahead and the program of go: {seen:?}");
    assert!(count(&seen, "BatchUpdateBlobs") > 50 && count(&seen, "Write") > 2, "{}", seen.len());
    assert!(count(&seen, "UpdateActionResult") > 50, "{}", seen.len());
    assert_eq!(
        server.blobs(),
        count(&seen, "BatchUpdateBlobs") + count(&seen, "Write"),
        "nothing is sent twice"
    );
    for Asked { method, name, .. } in &seen {
        match method.as_str() {
            "Write" => assert!(name.starts_with("main/ci/uploads/") && name.contains("/blobs/"), "{name}"),
            _ => assert_eq!(name, "main/ci"),
        }
    }

    let machine = watched();
    let second = machine.run_with(LINE, &["--remote-cache", &url, "-v"]).ok();
    assert_eq!(second.digest(), first.digest());
    assert_eq!(compiled(&machine), Vec::<String>::new());
    assert!(second.stderr.contains("objects fetched ahead"), "{}", second.stderr);
    let seen = server.seen();
    let batches: Vec<usize> =
        seen.iter().filter(|asked| asked.method == "BatchReadBlobs").map(|asked| asked.blobs).collect();
    let together: usize = batches.iter().sum();
    assert!(together > 50 && batches.len() * 3 < together, "small blobs come together: {batches:?}");
    assert!(count(&seen, "Read") > 2, "{seen:?}");
    assert!(seen.iter().all(|asked| asked.method != "Read" || asked.name.starts_with("main/ci/blobs/")));
    // The profile, the linked program, and indexes of the two packages, if their files are old enough.
    assert!((2..=4).contains(&count(&seen, "GetActionResult")), "{seen:?}");
}

#[test]
fn what_is_damaged_or_gone_is_compiled_instead() {
    let (server, url, first) = filled();
    let (batches, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // The profile is whole; some of what is asked for together is gone or wrong, and one of those that come in pieces. Not more:
    // Go's runtime takes long to compile.
    server.plan(move |asked| match asked.method.as_str() {
        "BatchReadBlobs" => match batches.fetch_add(1, Ordering::Relaxed) {
            3 => Answer::Each(5),
            4 => Answer::Damage,
            _ => Answer::Serve,
        },
        "Read" if reads.fetch_add(1, Ordering::Relaxed) == 0 => Answer::Damage,
        _ => Answer::Serve,
    });
    let machine = empty(hello());
    let ran = machine.run_with(LINE, &["--remote-cache", &url]).ok();
    assert_eq!(ran.digest(), first.digest());
    assert!(count(&server.seen(), "BatchReadBlobs") > 4);
}

/// A wrong server: what it does, and what is said of it.
type Wrong = (&'static str, fn(&Asked) -> Answer, &'static str);

#[test]
fn no_server_of_grpc_fails_a_build() {
    let wrong: [Wrong; 4] = [
        ("is busy", |_| Answer::Status(14), "it answers Unavailable"),
        ("refuses", |_| Answer::Status(16), "it answers Unauthenticated"),
        ("is none", |_| Answer::Status(12), "it answers Unimplemented"),
        ("resets", |_| Answer::Reset, "the build goes on without it"),
    ];
    for (name, plan, words) in wrong {
        let server = RemoteExecution::start(BATCH);
        server.plan(plan);
        let url = format!("grpc://{}", server.host());
        let ran = hello().run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
        assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("remote cache").count(), 1, "{name}: said once: {}", ran.stderr);
        let seen = server.seen();
        assert!(seen.len() <= 4, "{name}: {seen:?}");
    }
    // Nobody listens, and somebody does who speaks HTTP/1.1.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = BuildCache::start();
    for host in [port.to_string(), http.host().to_owned()] {
        let ran = hello().run_with(LINE, &["--remote-cache", &format!("grpc://{host}")]).ok();
        assert!(ran.stderr.contains("goes on without it"), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("remote cache grpc://{host}/: ")), "{}", ran.stderr);
    }
}

#[test]
fn a_server_with_too_much_to_do_is_asked_again_until_nothing_is_lost() {
    let server = RemoteExecution::start(BATCH);
    // As those answer that have a thread for each request, and none left.
    let exhausted = |server: &RemoteExecution| {
        let asked = AtomicUsize::new(0);
        server.plan(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            10..=49 => Answer::Status(8),
            _ => Answer::Serve,
        });
    };
    let url = format!("grpc://{}/main", server.host());
    exhausted(&server);
    let first = hello().run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
    assert_eq!(first.stderr.matches("remote cache").count(), 0, "{}", first.stderr);
    exhausted(&server);
    let machine = watched();
    let ran = machine.run_with(LINE, &["--remote-cache", &url]).ok();
    assert_eq!(ran.digest(), first.digest());
    assert_eq!(compiled(&machine), Vec::<String>::new());
}

#[test]
fn it_is_read_though_it_takes_nothing() {
    let (server, url, first) = filled();
    server.plan(|asked| match asked.method.as_str() {
        "BatchUpdateBlobs" => Answer::Each(7),
        "Write" | "UpdateActionResult" => Answer::Status(7),
        _ => Answer::Serve,
    });
    server.seen();
    let machine = empty(hello());
    machine.write("cmd/hello/more.go", "package main\n\nfunc init() { println(\"more\") }\n");
    let ran = machine.run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
    assert_ne!(ran.digest(), first.digest());
    let seen = server.seen();
    assert!(count(&seen, "BatchReadBlobs") > 2, "{}", seen.len());
    assert_eq!(count(&seen, "UpdateActionResult"), 0, "{}", seen.len());
}

#[test]
fn credentials_go_with_every_request_and_nowhere_else() {
    let server = RemoteExecution::start(BATCH);
    let url = format!("grpc://me:{SECRET}@{}/main", server.host());
    for (sandbox, scheme) in
        [(hello(), "Basic "), (hello().env("GIMG_REMOTE_CACHE_TOKEN", SECRET), "Bearer ")]
    {
        // What is said and left is looked through for the secret by the sandbox.
        sandbox.env("GIMG_REMOTE_CACHE", &url).run(&format!("{LINE} -v --remote-cache-write")).ok();
        let seen = server.seen();
        assert!(seen.len() > 1);
        for request in seen {
            assert!(request.authorization.is_some_and(|value| value.starts_with(scheme)));
        }
    }
    let refused = |args: &[&str], words: &str| {
        hello().run_with(LINE, args).fails(2, &[words]);
    };
    refused(&["--remote-cache", "grpc://"], "its URL is none");
    refused(&["--remote-cache", "grpcs://a/b?c"], "its URL must be grpc:// or grpcs://");
    refused(&["--remote-cache", "grpc://a/b%20c"], "the name of an instance");
}

#[test]
#[ignore = "integration: BuildGrid, toxiproxy"]
fn integration_buildgrid_keeps_it_also_far_away() {
    let server = Server::buildgrid();
    let url = format!("grpc://{}/main", server.host());
    let first = hello().run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
    assert_eq!(first.stderr.matches("remote cache").count(), 0, "{}", first.stderr);
    let proxy = Toxiproxy::before(&server.host());
    let far = format!("grpc://{}/main", proxy.host());
    for latency in [0, 5, 30] {
        proxy.heal();
        proxy.toxic("latency", "downstream", &json!({"latency": latency}));
        let machine = watched();
        let ran = machine.run_with(LINE, &["--remote-cache", &far, "-v"]).ok();
        assert_eq!(ran.digest(), first.digest());
        assert_eq!(compiled(&machine), Vec::<String>::new());
        assert!(ran.stderr.contains("objects fetched ahead"), "{}", ran.stderr);
    }
    // It goes away in the middle.
    proxy.heal();
    proxy.toxic("limit_data", "downstream", &json!({"bytes": 200_000}));
    let ran = empty(hello()).run_with(LINE, &["--remote-cache", &far]).ok();
    assert_eq!(ran.digest(), first.digest());
}
