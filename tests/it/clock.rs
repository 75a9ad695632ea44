//! The clock: no input of an image, and a wrong one is named where it does harm.

use crate::support::servers::Server;
use crate::support::{Sandbox, root};

/// Who reads the wall clock: `cli`, once, for templates that ask for the time. (Times of files are compared with each
/// other only.) Deadlines and the life of tokens are counted by a clock that never jumps.
#[test]
fn only_cli_reads_the_clock() {
    let mut readers = Vec::new();
    for path in super::house::sources("src") {
        let text = super::house::production(&path);
        let code: Vec<&str> = text.lines().map(|l| l.split("//").next().unwrap()).collect();
        if code.iter().any(|l| l.contains("SystemTime::now") || l.contains("UNIX_EPOCH.elapsed")) {
            readers.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
    assert_eq!(readers, ["src/cli/mod.rs"]);
    let tokens = std::fs::read_to_string(root().join("src/registry/token.rs")).unwrap();
    assert!(tokens.contains("use tokio::time::Instant;") && tokens.contains("until: Instant"));
}

#[test]
#[ignore = "integration: needs faketime"]
fn integration_a_clock_ten_years_off_gives_the_same_digest_and_is_named_by_tls() {
    let sandbox = Sandbox::go("hello");
    let gimg = env!("CARGO_BIN_EXE_gimg");
    let digest = sandbox.run("gimg build ./cmd/hello -o oci:now").ok().digest();
    let server = Server::olareg_with_tls();
    let ca = root().join("tests/support/tls/ca.pem");
    let sandbox = sandbox.env("SSL_CERT_FILE", ca.to_str().unwrap());
    for (clock, why) in [("+10y", "expired"), ("-10y", "isn't valid yet")] {
        let run = |rest: &str| sandbox.run(&format!("faketime -f {clock} {gimg} build ./cmd/hello {rest}"));
        assert_eq!(run("-o oci:then").ok().digest(), digest, "{clock}");
        let ran = run(&format!("--repo {}/x", server.host()));
        assert_eq!(ran.code, 7, "{}", ran.stderr);
        assert!(ran.stderr.contains(why) && ran.stderr.contains("clock"), "{}", ran.stderr);
    }
}
