//! SIGKILL at any point: no process outlives gimg, no name is left on half a thing, and the next run cleans up.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::interrupt::{at, complete, endless, endless_at, pids, runs, send, start, until};
use crate::support::registry::{Fault, TestRegistry};
use crate::support::{Layout, Sandbox, read_tar_bytes};

/// Every process that has the sandbox in its environment, by its command line, but for Go's own helper: once a day (in
/// a sandbox: once) the `go` command starts one that counts its uses, in a session of its own, and doesn't wait for it.
pub(crate) fn alive(sandbox: &Sandbox) -> Vec<String> {
    let marker = sandbox.path("tmp").to_str().unwrap().to_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let has = |file: &str, what: &str| {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            bytes.windows(what.len()).any(|w| w == what.as_bytes())
        };
        if has("environ", &marker) && !has("environ", "GO_TELEMETRY_CHILD=") && runs(pid) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

/// Nothing that the sandbox's runs started is there any more, soon.
#[track_caller]
pub(crate) fn nothing_runs(sandbox: &Sandbox) {
    let end = Instant::now() + Duration::from_secs(20);
    while !alive(sandbox).is_empty() {
        assert!(Instant::now() < end, "still there: {:#?}", alive(sandbox));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A field of `/proc/PID/stat` after the name, counted from 0: 1 is the parent, 2 the group.
fn stat(pid: u32, field: usize) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(field).unwrap().parse().unwrap()
}

fn ends_with(signal: Signal) {
    let sandbox = endless();
    let mut child = start(&sandbox, "gimg build ./cmd/hello --platform linux/arm64");
    until("the compiler", || pids(&sandbox).len() == 2);
    let (go, gimg) = (pids(&sandbox)[0], child.id());
    let guardian = stat(go, 2);
    assert_eq!((stat(go, 1), stat(guardian, 1)), (gimg, gimg), "both are gimg's own");
    assert_eq!(std::fs::read_link(format!("/proc/{guardian}/fd/1")).unwrap(), Path::new("/dev/null"));
    assert_eq!(std::fs::read(format!("/proc/{guardian}/environ")).unwrap(), b"", "it has no secret of ours");
    send(&child, signal);
    child.wait().unwrap();
    let killed = Instant::now();
    for pid in [go, pids(&sandbox)[1], guardian] {
        until("the end of all", || !runs(pid));
    }
    nothing_runs(&sandbox);
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    assert_eq!(sandbox.leftovers().len(), 1, "nobody could remove it");
    assert!(!sandbox.path("src/gimg-out").exists());
    // The next run does, even one that makes nothing itself.
    sandbox.run("gimg build ./cmd/hello --dry-run").ok();
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn no_compiler_outlives_a_killed_gimg() {
    ends_with(Signal::KILL);
}

#[test]
fn no_compiler_outlives_a_gimg_that_dumps_core() {
    ends_with(Signal::QUIT);
}

#[test]
fn no_go_outlives_a_gimg_that_is_killed_while_it_lists() {
    for at in ["env", "listarm64"] {
        let sandbox = endless_at(at);
        let mut child = start(&sandbox, "gimg build ./cmd/hello --platform linux/arm64");
        until("go", || pids(&sandbox).len() == 2);
        child.kill().unwrap();
        child.wait().unwrap();
        nothing_runs(&sandbox);
    }
}

/// Everything that a run can write, each with a name of its own.
pub(crate) const EVERYTHING: &str = "-o registry -o oci:layout -o oci-archive:oci.tar -o docker-archive:docker.tar \
                          --image-refs refs --sbom-dir sboms";

/// No name is on half a thing.
#[track_caller]
pub(crate) fn nothing_is_half(sandbox: &Sandbox, registry: &TestRegistry) {
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    let path = |name: &str| sandbox.path("src").join(name);
    complete(&path("layout"));
    for archive in ["oci.tar", "docker.tar"].map(path).iter().filter(|p| p.exists()) {
        // A tar that is cut off can't be read to its end.
        let files = read_tar_bytes(&std::fs::read(archive).unwrap());
        assert!(files.contains_key("index.json") || files.contains_key("manifest.json"), "{archive:?}");
    }
    if let Ok(refs) = std::fs::read_to_string(path("refs")) {
        assert!(refs.ends_with('\n') && refs.lines().all(|l| l.len() > 64), "{refs}");
    }
    for sbom in std::fs::read_dir(path("sboms")).into_iter().flatten().flatten() {
        let name = sbom.file_name().into_string().unwrap();
        if !name.starts_with('.') {
            let text = std::fs::read(sbom.path()).unwrap();
            serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}

/// No file but those that a whole run leaves.
#[track_caller]
pub(crate) fn nothing_is_left(sandbox: &Sandbox) {
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    let listed = sandbox.run("find . -name .gimg-*").ok().stdout;
    assert_eq!(listed, "");
}

#[test]
fn a_push_that_is_killed_at_any_request_leaves_whole_images_and_the_next_run_ends_it() {
    let (registry, sandbox) = (TestRegistry::start(), Sandbox::go("hello"));
    let line = format!("gimg build ./cmd/hello --repo {}/x --bare -t v1 -t v2 {EVERYTHING}", registry.host());
    let digest = {
        let other = Sandbox::go("hello");
        other.run("gimg build ./cmd/hello").ok().digest()
    };
    let long = Fault::Hang(Duration::from_secs(600));
    for (method, part) in [
        ("HEAD", "/blobs/"),
        ("POST", "/blobs/uploads/"),
        ("PUT", "/blobs/uploads/"),
        ("PUT", "/manifests/sha256:"),
        ("PUT", "/manifests/v1"),
        ("PUT", "/manifests/v2"),
    ] {
        let there = at(&registry, method, part, long.clone());
        let mut child = start(&sandbox, &line);
        there.recv_timeout(Duration::from_secs(60)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        registry.heal();
        nothing_runs(&sandbox);
        nothing_is_half(&sandbox, &registry);
        assert!(part.ends_with("v2") || registry.tags("x").is_empty(), "{method} {part}");
    }
    assert_eq!(sandbox.run(&line).ok().digest(), digest);
    nothing_is_half(&sandbox, &registry);
    nothing_is_left(&sandbox);
    assert_eq!(registry.tags("x").into_values().collect::<Vec<_>>(), [digest.clone(), digest.clone()]);
    assert_eq!(Layout::at(sandbox.path("src/layout")).index()["manifests"][0]["digest"], *digest);
}

#[test]
fn no_guardian_is_left_when_go_has_ended() {
    let sandbox = endless();
    let child = start(&sandbox, "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --jobs 1");
    // The children before this one (go env, go list, go build for amd64) had guardians too.
    until("the compiler", || pids(&sandbox).len() == 2);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let mut all = children.split_whitespace().count();
    for task in std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap() {
        let path = task.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap() != child.id().to_string() {
            all += std::fs::read_to_string(path.join("children")).unwrap().split_whitespace().count();
        }
    }
    assert_eq!(all, 2, "go and its guardian");
    send(&child, Signal::TERM);
    assert_eq!(super::interrupt::wait(child).code, 143);
}

#[test]
fn the_hidden_mode_is_no_command() {
    let sandbox = Sandbox::new();
    // Not as the leader of a group of its own, and not with more words: then it is an unknown command.
    let gimg = env!("CARGO_BIN_EXE_gimg");
    for line in [format!("{gimg} :guardian"), format!("setsid --wait {gimg} :guardian more")] {
        let ran = sandbox.run(&line);
        assert_eq!(ran.code, 2, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains("unrecognized subcommand ':guardian'"), "{}", ran.stderr);
    }
    let help = sandbox.run("gimg --help").ok().stdout;
    assert!(!help.contains("guardian"), "{help}");
}
