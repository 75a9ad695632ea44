//! Programs that people use, from the Go module proxy.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Sandbox, copy_tree, go_log};

/// A sandbox with a copy of a module in `src`; none, and a line that says so, where the proxy can't be reached.
pub(crate) fn module(name: &str) -> Option<Sandbox> {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&format!("go mod download -json {name}"));
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
    let Some(dir) = report["Dir"].as_str().map(PathBuf::from) else {
        let offline = ["dial tcp", "lookup ", "i/o timeout", "connection refused", "GOPROXY=off"];
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(offline.iter().any(|w| said.contains(w)), "go mod download {name}: {said}");
        println!("skipped: {name} can't be had without the network: {said}");
        return None;
    };
    copy_tree(&dir, sandbox.cwd());
    sandbox.run("chmod -R u+w .").ok();
    Some(sandbox)
}

pub(crate) const GO_CONTAINERREGISTRY: &str = "github.com/google/go-containerregistry@v0.22.1";

/// Builds every program of the module with a `go` that writes down its calls.
fn compiled_once(platforms: &[&str]) {
    let Some(sandbox) = module(GO_CONTAINERREGISTRY) else { return };
    let log = go_log(&sandbox);
    let sandbox = log.sandbox(sandbox);
    let ran = sandbox.run(&format!("gimg build ./cmd/... --platform {}", platforms.join(","))).ok();
    let names: Vec<&str> = ran.lines().iter().map(|l| l.split('@').next().unwrap()).collect();
    let mains = ["crane", "help", "gcrane", "registry"].map(|n| format!("oci:gimg-out/{n}"));
    assert_eq!(names, mains, "in the order of their import paths");
    assert_eq!(log.count("build"), platforms.len(), "{}", log.text());
}

#[test]
fn go_containerregistry_is_compiled_once_per_platform() {
    compiled_once(&["linux/amd64"]);
}

#[test]
#[ignore = "integration: compiles for a minute"]
fn integration_go_containerregistry_is_compiled_once_per_platform() {
    compiled_once(&["linux/amd64", "linux/arm64"]);
}

#[test]
#[ignore = "integration: compiles for minutes"]
fn integration_caddy_under_100_mb() {
    let Some(sandbox) = module("github.com/caddyserver/caddy/v2@v2.11.9") else { return };
    let line = "gimg build ./cmd/caddy --platform linux/amd64,linux/arm64 --output oci:out --quiet";
    let mut gimg = sandbox.command(line).spawn().unwrap();
    // The kernel keeps the highest value of the process alone, without its children.
    let status = format!("/proc/{}/status", gimg.id());
    let mut peak = 0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        if let Some(line) = text.lines().find(|l| l.starts_with("VmHWM:")) {
            peak = line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
        }
        if let Some(ended) = gimg.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(ended.success());
    println!("gimg's own peak: {:.1} MB", peak as f64 * 1024.0 / 1e6);
    assert!((1..100_000_000 / 1024).contains(&peak), "{peak} KiB");
}
