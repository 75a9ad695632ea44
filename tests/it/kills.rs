//! SIGKILL at any point: no process outlives gimg, no name is left on half a thing, and the next run cleans up.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::interrupt::{endless, pids, runs, send, start, until};
use crate::support::Sandbox;

/// Every process that has the sandbox in its environment, by its command line.
pub(crate) fn alive(sandbox: &Sandbox) -> Vec<String> {
    let marker = sandbox.path("tmp").to_str().unwrap().to_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        let has = |file: &str, what: &str| {
            let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
            bytes.windows(what.len()).any(|w| w == what.as_bytes())
        };
        if has("environ", &marker) && runs(pid) {
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
