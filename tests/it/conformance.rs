//! The test registry is worth trusting: it passes the distribution-spec's conformance suite.

use std::process::Command;

use crate::support::registry::TestRegistry;
use crate::support::servers::tool;

#[test]
fn the_test_registry_passes_the_conformance_suite() {
    let registry = TestRegistry::start();
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(tool("conformance"))
        .current_dir(dir.path())
        .env("OCI_REGISTRY", registry.host())
        .env("OCI_TLS", "disabled")
        .env("OCI_REPO1", "a/a")
        .env("OCI_REPO2", "a/b")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}
