//! Stopping gimg, kindly or not, leaves no process, no half image and no temporary file.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::kills::nothing_runs;
use crate::support::registry::{Fault, TestRegistry, When};
use crate::support::{Layout, Ran, Sandbox};

/// A sandbox with a `go` that compiles for ever for arm64, with a child of its own, as `go` has compilers.
/// Both write their ids to `pids`.
pub(crate) fn endless() -> Sandbox {
    endless_at("buildarm64")
}

/// The same, where the first argument and GOARCH together are `at`.
pub(crate) fn endless_at(at: &str) -> Sandbox {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::go("hello");
    let bin = sandbox.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let (pids, path) = (sandbox.path("pids"), std::env::var("PATH").unwrap());
    let script = format!(
        "#!/bin/sh\nif [ \"$1$GOARCH\" = {at} ]; then\n\
         echo half > \"$GOTMPDIR/half\"\nsleep 1000 & echo $$ $! >> {}\nwait\nfi\n\
         PATH={path} exec go \"$@\"\n",
        pids.display()
    );
    std::fs::write(bin.join("go"), script).unwrap();
    std::fs::set_permissions(bin.join("go"), std::fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.env("PATH", &format!("{}:{path}", bin.display()))
}

pub(crate) fn start(sandbox: &Sandbox, line: &str) -> Child {
    sandbox.command(line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

pub(crate) fn wait(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran::of("gimg", output)
}

#[track_caller]
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn pids(sandbox: &Sandbox) -> Vec<u32> {
    let text = std::fs::read_to_string(sandbox.path("pids")).unwrap_or_default();
    text.split_whitespace().map(|p| p.parse().unwrap()).collect()
}

/// Whether a process still runs; one that nobody has waited for yet doesn't.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn interrupted(signal: Signal, code: i32, at: &str) {
    let sandbox = endless_at(at);
    let child = start(&sandbox, "gimg build ./cmd/hello --platform linux/arm64");
    until("the compiler", || pids(&sandbox).len() == 2);
    stopped(&sandbox, child, signal, code);
    assert!(!sandbox.path("src/gimg-out").exists(), "nothing is written before all is compiled");
}

/// Sends the signal, and looks for what may be left.
#[track_caller]
fn stopped(sandbox: &Sandbox, child: Child, signal: Signal, code: i32) {
    stopped_with(sandbox, child, signal, code, "nothing was tagged\n");
}

/// The same, with the end of what is said.
#[track_caller]
fn stopped_with(sandbox: &Sandbox, child: Child, signal: Signal, code: i32, words: &str) {
    let asked = Instant::now();
    send(&child, signal);
    let ran = wait(child).fails(code, &["gimg: stopped: interrupted, "]);
    assert!(ran.stderr.ends_with(words), "{}", ran.stderr);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    for pid in pids(sandbox) {
        until("the compilers' end", || !runs(pid));
    }
    nothing_runs(sandbox);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn ctrl_c_stops_the_compilers_and_cleans_up() {
    interrupted(Signal::INT, 130, "buildarm64");
}

#[test]
fn sigterm_stops_the_compilers_and_cleans_up() {
    interrupted(Signal::TERM, 143, "buildarm64");
}

#[test]
fn sighup_stops_the_compilers_and_cleans_up() {
    interrupted(Signal::HUP, 129, "buildarm64");
}

#[test]
fn ctrl_c_stops_go_list_and_go_env() {
    interrupted(Signal::INT, 130, "listarm64");
    interrupted(Signal::INT, 130, "env");
}

#[test]
fn ctrl_c_stops_packing() {
    let sandbox = Sandbox::go("hello").file("cmd/hello/kodata/large", "");
    let large =
        std::fs::File::options().write(true).open(sandbox.path("src/cmd/hello/kodata/large")).unwrap();
    large.set_len(1 << 36).unwrap();
    let child = start(&sandbox, "gimg build ./cmd/hello");
    let is_packing = || {
        let dirs = sandbox.leftovers().into_iter().map(|name| sandbox.path("tmp").join(name));
        let files = dirs.flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
        files.flat_map(|f| f.metadata()).any(|m| m.is_file() && m.len() > 10_000)
    };
    until("the layer", is_packing);
    stopped(&sandbox, child, Signal::INT, 130);
}

/// Says when the first request with this method and this part of its target has come, and lets it go wrong.
pub(crate) fn at(
    registry: &TestRegistry,
    method: &'static str,
    part: &'static str,
    fault: Fault,
) -> Receiver<()> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut planned = Some(fault);
    registry.hook(move |asked, _| {
        if asked.method != method || !asked.target.contains(part) {
            return None;
        }
        let fault = planned.take()?;
        sender.send(()).unwrap();
        Some(fault)
    });
    receiver
}

/// A push to this registry, with three tags, stopped in the first request with this method and part of its target.
#[track_caller]
fn stopped_in(registry: &TestRegistry, method: &'static str, part: &'static str, fault: Fault, words: &str) {
    let sandbox = Sandbox::go("hello");
    let host = registry.host();
    let there = at(registry, method, part, fault);
    let child = start(&sandbox, &format!("gimg build ./cmd/hello --repo {host}/x --bare -t v1 -t v2 -t v3"));
    there.recv_timeout(Duration::from_secs(60)).unwrap();
    stopped_with(&sandbox, child, Signal::INT, 130, &words.replace("HOST", &host));
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    registry.heal();
}

const LONG: Fault = Fault::Hang(Duration::from_secs(600));

#[test]
fn ctrl_c_before_the_tags_moves_none() {
    let registry = TestRegistry::start();
    for (method, part) in [("PUT", "/blobs/uploads/"), ("PUT", "/manifests/sha256:"), ("HEAD", "/blobs/")] {
        stopped_in(&registry, method, part, LONG, "nothing was tagged\n");
        assert!(registry.tags("x").is_empty(), "{method} {part}");
        assert_eq!(registry.sessions(), 0, "uploads are given up at the registry too: {method} {part}");
    }
}

#[test]
fn ctrl_c_between_tags_lets_the_one_that_moves_arrive_and_says_which_moved() {
    let registry = TestRegistry::start();
    let late = Fault::Delay(Duration::from_millis(300));
    let words = "interrupted, but HOST/x:v1, HOST/x:v2 is published\n";
    stopped_in(&registry, "PUT", "/manifests/v2", late, words);
    assert_eq!(registry.tags("x").keys().collect::<Vec<_>>(), ["v1", "v2"]);
}

#[test]
fn ctrl_c_with_a_tag_whose_fate_is_unknown_says_perhaps() {
    let registry = TestRegistry::start();
    let words = "interrupted, but HOST/x:v1 is published, perhaps also HOST/x:v2\n";
    stopped_in(&registry, "PUT", "/manifests/v2", LONG, words);
    assert_eq!(registry.tags("x").keys().collect::<Vec<_>>(), ["v1"]);
}

#[test]
fn ctrl_c_in_the_last_tag_is_no_success() {
    let registry = TestRegistry::start();
    let late = Fault::Delay(Duration::from_millis(300));
    let words = "interrupted, but HOST/x:v1, HOST/x:v2, HOST/x:v3 is published\n";
    stopped_in(&registry, "PUT", "/manifests/v3", late, words);
    assert_eq!(registry.tags("x").len(), 3);
}

#[test]
fn a_second_signal_ends_at_once() {
    let (registry, sandbox) = (TestRegistry::start(), Sandbox::go("hello"));
    let there = at(&registry, "PUT", "/manifests/v1", LONG);
    let child = start(&sandbox, &format!("gimg build ./cmd/hello --repo {}/x --bare -t v1", registry.host()));
    there.recv_timeout(Duration::from_secs(60)).unwrap();
    // The first one alone would wait for the tag, and then say what became of it.
    send(&child, Signal::INT);
    send(&child, Signal::TERM);
    let ran = wait(child);
    // Two that are there at the same time have no order.
    assert!([130, 143].contains(&ran.code), "{}: {}", ran.code, ran.stderr);
    assert!(!ran.stderr.contains("gimg: "), "{}", ran.stderr);
    nothing_runs(&sandbox);
}

#[test]
fn a_signal_that_is_to_be_ignored_is() {
    let (registry, sandbox) = (TestRegistry::start(), Sandbox::go("hello"));
    let there = at(&registry, "PUT", "/blobs/uploads/", Fault::Delay(Duration::from_millis(300)));
    let gimg = env!("CARGO_BIN_EXE_gimg");
    let script = format!("trap '' HUP INT; exec {gimg} build ./cmd/hello --repo {}/x", registry.host());
    let mut command = sandbox.command("sh -c");
    let child = command.arg(script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    there.recv_timeout(Duration::from_secs(60)).unwrap();
    send(&child, Signal::HUP);
    send(&child, Signal::INT);
    wait(child).ok();
}

#[test]
fn a_terminal_that_is_closed_stops_the_run() {
    let sandbox = endless();
    let gimg = env!("CARGO_BIN_EXE_gimg");
    let build = format!("{gimg} build ./cmd/hello --platform linux/amd64,linux/arm64");
    // The leader of the session dies of it; the system then tells everybody in the foreground. The inner shell lives
    // to see how gimg ends.
    sandbox.write("inner", &format!("trap : HUP\n{build}\necho $? > {}\n", sandbox.path("code").display()));
    let mut command = sandbox.command("script --quiet --return --log-out /dev/null --command");
    let mut terminal =
        command.arg("sh inner; true").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the compiler", || pids(&sandbox).len() == 2);
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    until("the end of gimg", || sandbox.path("code").exists());
    nothing_runs(&sandbox);
    assert_eq!(std::fs::read_to_string(sandbox.path("code")).unwrap(), "129\n");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    assert!(!sandbox.path("src/gimg-out").exists());
}

#[test]
fn results_that_nobody_reads_are_an_error_after_the_push() {
    let (registry, sandbox) = (TestRegistry::start(), Sandbox::go("hello"));
    for format in ["text", "json"] {
        let line = format!("gimg build ./cmd/hello --repo {}/x --bare --format {format}", registry.host());
        let mut child = start(&sandbox, &line);
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(9), "{said}");
        assert!(
            said.contains("gimg: write to standard output: ") && said.contains("but the run is complete")
        );
        let digest = registry.tags("x").remove("latest").unwrap();
        assert!(said.contains(&digest), "{said}");
    }
    // What is made for reading by eye may be cut off.
    let mut child = start(&sandbox, "gimg schema");
    drop(child.stdout.take());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_sleep_in_the_middle_of_an_upload_is_survived() {
    let (registry, sandbox) = (TestRegistry::start(), Sandbox::go("hello"));
    let there = at(&registry, "PUT", "/blobs/uploads/", Fault::Delay(Duration::from_millis(500)));
    let child = start(&sandbox, &format!("gimg build ./cmd/hello --repo {}/x --bare", registry.host()));
    there.recv_timeout(Duration::from_secs(60)).unwrap();
    send(&child, Signal::STOP);
    std::thread::sleep(Duration::from_secs(2));
    send(&child, Signal::CONT);
    wait(child).ok();
    assert_eq!(registry.incomplete(), Vec::<String>::new());
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

#[test]
fn a_changed_layer_is_sent_while_others_are_compiled_also_if_the_tag_exists() {
    let registry = TestRegistry::start();
    let sandbox = endless();
    let line = format!("gimg build ./cmd/hello -B --repo {}/x", registry.host());
    sandbox.run(&line).ok();
    let (before, tags) = (registry.asked("PUT", "/blobs/uploads/"), registry.tags("x/hello"));
    let child = start(&sandbox, &format!("{line} --platform linux/amd64,linux/arm64 --ldflags -s"));
    until("the compiler", || pids(&sandbox).len() == 2);
    until("the first platform's layer", || registry.asked("PUT", "/blobs/uploads/") > before);
    stopped(&sandbox, child, Signal::INT, 130);
    assert_eq!(registry.tags("x/hello"), tags);
}

#[test]
fn ctrl_c_ends_the_uploads_that_were_under_way() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").env("GIMG_REPO", &format!("{}/x", registry.host()));
    registry.fail(When::always("PUT", "/blobs/uploads/"), Fault::Hang(Duration::from_secs(100)));
    let child = start(&sandbox, "gimg build ./cmd/hello");
    until("the upload", || registry.sessions() > 0 && registry.received() > 1000);
    send(&child, Signal::INT);
    wait(child).fails(130, &["interrupted, nothing was tagged"]);
    assert_eq!(registry.sessions(), 0);
    assert!(registry.asked("DELETE", "/blobs/uploads/") > 0);
}

/// The digest of the image in a layout of which every blob is there and right; none without `index.json`.
pub(crate) fn complete(dir: &Path) -> Option<String> {
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
