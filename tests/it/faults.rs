//! The 44 faults that a registry, a network or a machine can do to a push, and what must hold after each: the
//! table of docs/faults.md. Most are shown by the modules below; some by the tests of the area that they hit.

mod answers;
mod case;
mod command;
mod connections;
mod elsewhere;
mod pulls;
mod rivals;
mod stalls;
mod table;
mod tokens;

use crate::support::root;
use table::FAULTS;

/// The exit codes of a row, as people write them.
fn codes(exit: &[u8]) -> String {
    exit.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

#[test]
fn the_table_of_faults_is_whole_and_its_document_fresh() {
    let mut text = std::fs::read_to_string(root().join("tests/it/faults/head.md")).unwrap();
    for (number, fault) in FAULTS.iter().enumerate() {
        let tests: Vec<_> = fault.tests.iter().map(|test| format!("`{test}`")).collect();
        assert!(!tests.is_empty(), "{}", fault.what);
        let (codes, tests) = (codes(fault.exit), tests.join(", "));
        text.push_str(&format!("| {} | {} | {} | {codes} | {tests} |\n", number + 1, fault.what, fault.then));
    }
    assert_eq!(FAULTS.len(), 44);
    crate::house::fresh("docs/faults.md", &text);
}

#[test]
fn every_test_that_the_table_names_exists() {
    let tests = FAULTS.iter().flat_map(|fault| fault.tests);
    let lost: Vec<_> = tests.filter(|test| !crate::house::is_test(test)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
