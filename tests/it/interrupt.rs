//! Stopping gimg, kindly or not, leaves no process, no half image and no temporary file.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::registry::TestRegistry;
use crate::support::{Layout, Ran, Sandbox};

/// A sandbox with a `go` that compiles for ever for arm64, with a child of its own, as `go` has compilers.
/// Both write their ids to `pids`.
fn endless() -> Sandbox {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::go("hello");
    let bin = sandbox.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let (pids, path) = (sandbox.path("pids"), std::env::var("PATH").unwrap());
    let script = format!(
        "#!/bin/sh\nif [ \"$1$GOARCH\" = buildarm64 ]; then\n\
         echo half > \"$GOTMPDIR/half\"\nsleep 1000 & echo $$ $! >> {}\nwait\nfi\n\
         PATH={path} exec go \"$@\"\n",
        pids.display()
    );
    std::fs::write(bin.join("go"), script).unwrap();
    std::fs::set_permissions(bin.join("go"), std::fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.env("PATH", &format!("{}:{path}", bin.display()))
}

fn start(sandbox: &Sandbox, line: &str) -> Child {
    sandbox.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn wait(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran::of("gimg", output)
}

#[track_caller]
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn pids(sandbox: &Sandbox) -> Vec<u32> {
    let text = std::fs::read_to_string(sandbox.path("pids")).unwrap_or_default();
    text.split_whitespace().map(|p| p.parse().unwrap()).collect()
}

/// Whether a process still runs; one that nobody has waited for yet doesn't.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn interrupted(signal: Signal, code: i32) {
    let sandbox = endless();
    let child = start(&sandbox, "gimg build ./cmd/hello --platform linux/arm64");
    until("the compiler", || pids(&sandbox).len() == 2);
    stopped(&sandbox, child, signal, code);
    assert!(!sandbox.path("src/gimg-out").exists(), "nothing is written before all is compiled");
}

/// Sends the signal, and looks for what may be left.
fn stopped(sandbox: &Sandbox, child: Child, signal: Signal, code: i32) {
    let asked = Instant::now();
    send(&child, signal);
    wait(child).fails(code, &["gimg: stopped: interrupted, nothing was tagged"]);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    for pid in pids(sandbox) {
        until("the compilers' end", || !runs(pid));
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn ctrl_c_stops_the_compilers_and_cleans_up() {
    interrupted(Signal::INT, 130);
}

#[test]
fn sigterm_stops_the_compilers_and_cleans_up() {
    interrupted(Signal::TERM, 143);
}

#[test]
fn ctrl_c_between_two_platforms_leaves_no_image() {
    let registry = TestRegistry::start();
    let sandbox = endless();
    let line = "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 -o registry -o oci:out --repo";
    let child = start(&sandbox, &format!("{line} {}/x", registry.host()));
    until("the compiler", || pids(&sandbox).len() == 2);
    until("the first platform's layer", || registry.asked("PUT", "/blobs/uploads/") > 0);
    stopped(&sandbox, child, Signal::INT, 130);
    assert!(registry.asked("PUT", "/manifests/") == 0 && !sandbox.path("src/out").exists());
}

/// The digest of the image in a layout of which every blob is there and right; none without `index.json`.
fn complete(dir: &Path) -> Option<String> {
    if !dir.join("index.json").exists() {
        return None;
    }
    let layout = Layout::at(dir);
    for manifest in layout.images().values() {
        layout.document(&manifest["config"]);
        for layer in manifest["layers"].as_array().unwrap() {
            layout.blob(layer["digest"].as_str().unwrap());
        }
    }
    Some(layout.index()["manifests"][0]["digest"].as_str().unwrap().to_owned())
}

#[test]
#[ignore = "soak: kills gimg thirty times"]
fn soak_killed_runs_leave_whole_layouts_or_none() {
    let sandbox = Sandbox::go("hello");
    let line = |label: usize, out: &str| {
        format!(
            "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 -o oci:{out} --image-label n={label}"
        )
    };
    let begin = Instant::now();
    let digests = [0, 1].map(|label| sandbox.run(&line(label, &format!("whole{label}"))).ok().digest());
    let run = u64::try_from(begin.elapsed().as_millis()).unwrap() / 2;
    // Moments from a fixed sequence (Knuth's MMIX generator); the machine adds chance enough.
    let mut seed: u64 = 2026;
    let (mut none, mut old, mut new) = (0, 0, 0);
    for round in 0..30 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if round % 3 == 0 {
            sandbox.run("rm -rf out").ok();
        }
        let mut child = start(&sandbox, &line(round % 2, "out"));
        std::thread::sleep(Duration::from_millis((seed >> 33) % run));
        let _ = child.kill();
        child.wait().unwrap();
        match complete(&sandbox.path("src/out")) {
            None => none += 1,
            Some(digest) if digest == digests[round % 2] => new += 1,
            Some(digest) => {
                assert_eq!(digest, digests[1 - round % 2]);
                old += 1;
            }
        }
        assert_eq!(sandbox.run(&line(round % 2, "out")).ok().digest(), digests[round % 2]);
        assert_eq!(complete(&sandbox.path("src/out")).as_ref(), Some(&digests[round % 2]));
        let blobs = |dir: &str| Layout::at(sandbox.path(dir)).blobs();
        assert_eq!(blobs("src/out"), blobs(&format!("src/whole{}", round % 2)), "nothing else is left");
    }
    println!("of 30 killed runs {none} left no image, {old} the one before, {new} theirs");
}
