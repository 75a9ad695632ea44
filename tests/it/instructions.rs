//! What a build costs that finds nothing to do: the instructions it executes, counted by callgrind, against a bound. Other
//! than times they don't depend on the machine's speed and load.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::time::Duration;

use crate::support::registry::TestRegistry;
use crate::support::{Ran, Sandbox, tool};

/// Millions of instructions of the debug build. Ten runs are within 0.1 % of each other; toolchains differ by what Go's
/// library has of files, C libraries by a little. More than a quarter above is a regression; where it is meant, or where the
/// number fell by a third, this one is set to what the test prints.
const TO_A_REGISTRY: u64 = 177;
const TO_A_LAYOUT: u64 = 245;

/// A program of 40 packages of 20 files each.
fn project() -> Sandbox {
    let sandbox = Sandbox::new().file("go.mod", "module example.com/app\n\ngo 1.24\n");
    let mut imports = String::new();
    for package in 0..40 {
        for n in 0..20 {
            let text = format!("package p{package}\n\nconst C{n} = {n}\n");
            sandbox.write(&format!("internal/p{package}/file{n}.go"), &text);
        }
        imports.push_str(&format!("\t_ \"example.com/app/internal/p{package}\"\n"));
    }
    let main = format!("package main\n\nimport (\n{imports})\n\nfunc main() {{}}\n");
    sandbox.file("cmd/app/main.go", &main)
}

/// Runs a build for the second time under callgrind; it must find nothing to do.
#[track_caller]
fn compare(what: &str, args: &[&str], bound: u64) {
    let sandbox = project();
    // What was written is old enough to be judged by its times.
    std::thread::sleep(Duration::from_millis(2100));
    let first = sandbox.run_with("gimg build ./cmd/app --platform linux/amd64", args).ok();
    let counted = sandbox.path("counted");
    let mut command = sandbox.command("valgrind --tool=callgrind");
    command.arg(format!("--callgrind-out-file={}", counted.display())).arg(env!("CARGO_BIN_EXE_gimg"));
    command.args(["build", "./cmd/app", "--platform", "linux/amd64"]).args(args);
    assert!(tool("valgrind").exists());
    let again = Ran::of("valgrind", command.output().unwrap()).ok();
    assert!(again.stderr.contains("unchanged app for linux/amd64"), "{}", again.stderr);
    assert_eq!(again.digest(), first.digest());
    let millions = total(&counted) / 1_000_000;
    println!("{what}: {millions} million instructions, the bound says {bound}");
    let profile = "callgrind_annotate shows where they go: benches/README.md";
    assert!(millions <= bound + bound / 4, "{what}: {millions} million, not about {bound}: {profile}");
    assert!(millions >= bound - bound / 3, "{what}: only {millions} million: lower the bound of {bound}");
}

/// The instructions of the whole run: what callgrind's file ends with.
fn total(file: &Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    line.expect("the totals").trim().parse().unwrap()
}

#[test]
fn a_push_of_what_is_there_executes_few_instructions() {
    let registry = TestRegistry::start();
    compare(
        "nothing changed, to a registry",
        &["--repo", &format!("{}/team", registry.host())],
        TO_A_REGISTRY,
    );
}

#[test]
fn a_layout_of_what_is_there_executes_few_instructions() {
    compare("nothing changed, to a layout", &["--output", "oci:layout"], TO_A_LAYOUT);
}
