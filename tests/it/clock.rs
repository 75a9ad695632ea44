//! The clock: no input of an image.

use crate::support::{Sandbox, root};

/// Who reads the wall clock: `cli`, once, for templates that ask for the time. (Times of files are compared with each
/// other, and in `fs::look` with the clock that made them; what is written to Go's build cache has the time that Go would
/// give it.) Deadlines and the life of tokens are counted by a clock that never jumps.
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
    assert_eq!(readers, ["src/cache/local.rs", "src/cli/mod.rs", "src/fs/look.rs"]);
    let tokens = std::fs::read_to_string(root().join("src/registry/token.rs")).unwrap();
    assert!(tokens.contains("use tokio::time::Instant;") && tokens.contains("until: Instant"));
}

#[test]
#[ignore = "integration: needs faketime"]
fn integration_a_clock_ten_years_off_gives_the_same_digest() {
    let sandbox = Sandbox::go("hello");
    // A cache of its own: ten years later go throws away what the other tests compiled.
    let cache = sandbox.path("gocache");
    let sandbox = sandbox.env("GOCACHE", cache.to_str().unwrap());
    let gimg = env!("CARGO_BIN_EXE_gimg");
    let digest = sandbox.run("gimg build ./cmd/hello -o oci:now").ok().digest();
    // What TLS says of a wrong clock is tested beside the code, in `registry::tls`.
    for clock in ["+10y", "-10y"] {
        let ran = sandbox.run(&format!("faketime -f {clock} {gimg} build ./cmd/hello -o oci:then"));
        assert_eq!(ran.ok().digest(), digest, "{clock}");
    }
}
