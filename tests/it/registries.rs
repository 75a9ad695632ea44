//! Every real registry there is here, in every way it is run: push, push again, move a tag, build on what is there,
//! and read it all back with other clients; then the same through networks and proxies that misbehave.

mod journey;
mod networks;
mod others;
mod proxies;

use std::fmt::Write as _;

use crate::registries::journey::{Program, journey};
use crate::support::registry::{Config, TestRegistry};
use crate::support::setups::{Asks, Make, Setup};
use crate::support::{Sandbox, root};

#[test]
fn a_program_goes_to_registries_and_comes_back() {
    let program = Program::sample();
    journey(Setup { make: Make::Olareg, tls: true, asks: Asks::Basic }, &program, false);
    journey(Setup { make: Make::Distribution, tls: true, asks: Asks::Token }, &program, false);
}

#[test]
fn layers_in_files_go_in_pieces_where_bodies_are_capped() {
    let program = Program::sample();
    for (max_body, max_chunk) in [(100_000, usize::MAX), (400_000, 150_000)] {
        let registry = TestRegistry::with(Config { max_body, max_chunk, ..Config::default() });
        let sandbox = Sandbox::new();
        let ran = sandbox.run(&program.push(&format!("{}/team/app", registry.host()))).ok();
        assert_eq!(ran.digest(), program.digest);
        assert_eq!(registry.incomplete(), Vec::<String>::new());
        assert!(registry.log().iter().filter(|asked| asked.method == "PATCH").count() > 2);
    }
}

#[test]
#[ignore = "integration: compiles for a minute, and asks every registry"]
fn integration_a_real_program_goes_to_every_registry_and_comes_back() {
    let Some(program) = Program::real() else { return };
    let mut table = String::new();
    let mut failed = 0;
    for setup in Setup::all() {
        let row = std::panic::catch_unwind(|| journey(setup, &program, true));
        let row = row.unwrap_or_else(|panic| {
            failed += 1;
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            format!("FAILED: {text}")
        });
        writeln!(table, "{setup}: {row}").unwrap();
    }
    println!("{table}");
    assert_eq!(failed, 0, "{table}");
}

#[test]
#[ignore = "integration: builds five images"]
fn integration_make_live_says_what_a_registry_can_do() {
    let setup = Setup { make: Make::Distribution, tls: true, asks: Asks::Basic };
    let registry = setup.start();
    let host = registry.host();
    let live = |sandbox: &Sandbox| {
        let mut command = sandbox.command("bash");
        command.arg(root().join("tests/live.sh")).env("REPO", format!("{host}/me/live"));
        let output = command.env("GIMG", env!("CARGO_BIN_EXE_gimg")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let sandbox = setup.sandbox(&host);
    let (code, said) = live(&sandbox);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("| registry | push | again | referrer | pull | move | crane |"), "{said}");
    let row = said.lines().find(|l| l.starts_with(&format!("| {host} |"))).unwrap();
    assert_eq!(row.matches("yes, ").count(), 6, "{row}");
    assert!(row.contains(" requests: 0 put, 0 mounted, "), "nothing in the second push: {row}");
    let tags = sandbox.run(&format!("crane ls {host}/me/live")).ok();
    // It has no API for what refers to an image: that is a list under a tag, for each of two indexes and their images.
    let (lists, tags): (Vec<&str>, Vec<&str>) =
        tags.lines().into_iter().partition(|t| t.starts_with("sha256-"));
    assert_eq!((lists.len(), &tags[..]), (6, &["gimg-live", "gimg-live-2", "gimg-live-derived"][..]));
    // Without credentials: the row says so, and so does the exit code.
    let stranger = Setup { asks: Asks::Nobody, ..setup }.sandbox(&host);
    let (code, said) = live(&stranger);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("| {host} | no |")), "{said}");
}
