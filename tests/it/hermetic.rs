//! Hermetic compiles and runs without a network: the same digests, and an error that names what would be fetched.

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;

use crate::provenance::statement;
use crate::support::goroot::with_tool;
use crate::support::registry::TestRegistry;
use crate::support::{Ran, Sandbox};

const LINE: &str = "gimg build ./cmd/hello --output oci:out --no-cache";

/// A project whose gimg.lock says what the toolchain is.
fn locked(sandbox: Sandbox) -> Sandbox {
    sandbox.run("gimg lock --go").ok();
    sandbox
}

/// Whether this system lets users make network namespaces.
fn has_namespaces() -> bool {
    Command::new("unshare").args(["-rn", "true"]).status().is_ok_and(|s| s.success())
        || Command::new("unshare").args(["-n", "true"]).status().is_ok_and(|s| s.success())
}

#[test]
fn a_hermetic_build_has_the_digest_of_any_other() {
    let sandbox = locked(Sandbox::go("hello"));
    let platforms = "--platform linux/amd64,linux/arm64,linux/s390x";
    let normal = sandbox.run(&format!("{LINE} {platforms}")).ok().digest();
    let hermetic = sandbox.run(&format!("{LINE} {platforms} --hermetic -v")).ok();
    assert_eq!(hermetic.digest(), normal);
    let by = if has_namespaces() { "namespace" } else { "GOPROXY=off" };
    assert!(hermetic.stderr.contains(&format!("network kept away by {by}")), "{}", hermetic.stderr);
    // What is around has no say.
    let odd = locked(Sandbox::go("hello"))
        .env("GOSSAFUNC", "main")
        .env("CC", "false")
        .env("GODEBUG", "")
        .env("GOPROXY", "https://proxy.invalid")
        .env("GOTOOLCHAIN", "auto")
        .env("LD_PRELOAD", "/nowhere.so");
    assert_eq!(odd.run(&format!("{LINE} {platforms} --hermetic")).ok().digest(), normal);
    // Offline, all of it.
    let offline = sandbox.run(&format!("{LINE} {platforms} --hermetic --offline")).ok();
    assert_eq!(offline.digest(), normal);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn stamps_of_git_are_the_same() {
    let sandbox = locked(Sandbox::go("hello"));
    sandbox.write(".gitignore", "out\nout2\n");
    sandbox.git("init -q");
    sandbox.git("add .");
    sandbox.git("commit -qm one");
    let line = format!("{LINE} --buildvcs");
    let normal = sandbox.run(&line).ok().digest();
    assert_eq!(sandbox.run(&format!("{line} --hermetic")).ok().digest(), normal);
    let plain = sandbox.run(&format!("{LINE} --buildvcs=false")).ok().digest();
    assert_ne!(plain, normal);
}

#[test]
fn provenance_says_how_and_verify_proves_it() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    sandbox.write(".gitignore", "out\n");
    sandbox.run("gimg lock --go").ok();
    let repo = format!("{}/app", registry.host());
    let built = sandbox.run(&format!("gimg build ./cmd/hello --hermetic --bare --repo {repo}")).ok();
    let (said, _) = statement(&registry, "app", "latest");
    let hermetic = &said["predicate"]["buildDefinition"]["internalParameters"]["hermetic"];
    let by = if has_namespaces() { "namespace" } else { "GOPROXY=off" };
    assert_eq!(hermetic["network"], by);
    assert_eq!(hermetic["environment"], "cleared");
    let lock = std::fs::read_to_string(sandbox.path("src/gimg.lock")).unwrap();
    let (name, digest) = hermetic["toolchain"].as_object().unwrap().iter().next().unwrap();
    assert!(lock.contains(&format!("\"{name}\" = {digest}")), "{lock} {hermetic}");
    sandbox.run(&format!("gimg verify {}", built.stdout.trim())).ok();
    // A build that isn't hermetic makes no use of what a hermetic one says, nor the other way round.
    let other = sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {repo} --tags other")).ok();
    assert_eq!(other.digest(), built.digest());
}

#[test]
fn what_is_not_declared_is_named() {
    // A module that go.mod requires and go.sum doesn't have.
    let sandbox = locked(Sandbox::new().file("go.mod", "module example.com/app\n\ngo 1.24\n"));
    let main = "package main\n\nimport \"golang.org/x/text/language\"\n\nfunc main() { println(language.English.String()) }\n";
    sandbox.write("main.go", main);
    sandbox.write("go.mod", "module example.com/app\n\ngo 1.24\n\nrequire golang.org/x/text v0.21.0\n");
    let line = "gimg build . --output oci:out --hermetic";
    sandbox.run(line).fails(4, &["golang.org/x/text", "go.sum"]);
    // All is declared, but nobody fetched it, and nothing may.
    let modules = sandbox.path("modules");
    let sandbox = sandbox.env("GOMODCACHE", modules.to_str().unwrap());
    sandbox.run("go mod tidy").ok();
    sandbox.run("go clean -modcache").ok();
    let ran = sandbox.run(&format!("{line} --offline"));
    ran.fails(4, &["golang.org/x/text@v0.21.0", "GOPROXY=off"]);
    // With a network it is fetched before the compile, which has none.
    let fetched = sandbox.run(line).ok();
    assert_eq!(sandbox.run(&format!("{line} --offline")).ok().digest(), fetched.digest());
}

#[test]
fn a_compile_that_reaches_for_the_network_finds_none_and_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let sandbox = Sandbox::go("hello");
    let go = with_tool(&sandbox, "link", &format!("exec 3<>/dev/tcp/127.0.0.1/{port} || exit 1"));
    let sandbox = locked(sandbox.env("KO_GO_PATH", go.to_str().unwrap()));
    // The linker is as the file says, and does what it does: with a network it gets through.
    sandbox.run(LINE).ok();
    assert!(listener.accept().is_ok());
    while listener.accept().is_ok() {}
    if !has_namespaces() {
        return;
    }
    sandbox.run(&format!("{LINE} --hermetic")).fails(
        4,
        &[
            "go build for linux/amd64",
            "unreachable",
            &format!("127.0.0.1/{port}"),
            "nothing can be fetched here",
        ],
    );
    assert!(listener.accept().is_err());
}

#[test]
fn the_toolchain_is_what_the_lock_file_says_or_nothing_is_compiled() {
    let sandbox = Sandbox::go("hello");
    let line = format!("{LINE} --hermetic");
    sandbox.run(&line).fails(3, &["no gimg.lock", "gimg lock --go"]);
    sandbox.run("gimg lock").ok();
    sandbox.run(&line).fails(3, &["no entry for go1.", "gimg lock --go"]);
    let lock = sandbox.run("gimg lock --go --format json").ok();
    let said: Value = serde_json::from_str(&lock.stdout).unwrap();
    assert_eq!(said["toolchains"].as_object().unwrap().len(), 1);
    sandbox.run("gimg lock --go --check").ok();
    sandbox.run(&line).ok();
    // Somebody changed the compiler, or a file of the library.
    let other = locked(Sandbox::go("hello"));
    let go = with_tool(&other, "link", "true");
    let other = other.env("KO_GO_PATH", go.to_str().unwrap());
    other.run(&line).fails(8, &["is not what gimg.lock says", "gimg lock --go"]);
    other.run("gimg lock --go --check").fails(3, &["go1.", "gimg lock --go writes it"]);
}

#[test]
fn what_would_not_be_hermetic_is_refused() {
    let sandbox = locked(Sandbox::go("hello"));
    let line = "gimg build ./cmd/hello --output oci:out --hermetic";
    for (flags, code, words) in [
        ("--debug", 2, "--debug"),
        ("--cache-from registry --repo localhost:1/a --output registry", 2, "--cache-from"),
        ("--remote-cache http://localhost:1", 2, "--remote-cache off"),
        ("--offline --output registry --repo localhost:1/a", 2, "gimg push DIR REPO"),
    ] {
        sandbox.run(&format!("{line} {flags}")).fails(code, &[words]);
    }
    let run = |key: &str, value: &str| -> Ran { locked(Sandbox::go("hello")).env(key, value).run(line) };
    run("CGO_ENABLED", "1").fails(3, &["cgo", "CGO_ENABLED=0"]);
    run("GOFLAGS", "-mod=mod").fails(3, &["-mod=mod"]);
    for config in
        ["defaultFlags: [-mod, mod]\n", "defaultFlags: [-mod=mod]\n", "defaultEnv: [GOFLAGS=-mod=mod]\n"]
    {
        let sandbox = locked(Sandbox::go("hello"));
        sandbox.write(".gimg.yaml", config);
        sandbox.run(line).fails(3, &["-mod=mod"]);
    }
    // A workspace above counts only if somebody names it.
    let sandbox = locked(Sandbox::go("hello"));
    sandbox.write("../go.work", "go 1.24\n\nuse ./src\n");
    let work = sandbox.path("go.work");
    sandbox.run(line).fails(3, &[work.to_str().unwrap(), "GOWORK"]);
    let named = sandbox.env("GOWORK", work.to_str().unwrap());
    named.run(line).ok();
    named.env("GOWORK", "off").run(line).ok();
}

#[test]
fn offline_asks_nobody() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let base = format!("{}/base:1", registry.host());
    sandbox.run_with(LINE, &["--offline", "--base", &base]).fails(7, &[&base, "--offline"]);
    assert_eq!(registry.log().len(), 0);
    sandbox.run(&format!("{LINE} --offline")).ok();
    sandbox
        .run(&format!("{LINE} --offline --output registry --repo {}/x", registry.host()))
        .fails(2, &["without a network"]);
    sandbox
        .run("gimg build example.com/none@v1.0.0 --offline --output oci:out")
        .fails(3, &["example.com/none"]);
    assert_eq!(registry.log().len(), 0);
}
