//! `--debug`: which platforms have the debugger, and the command that starts the program under it. Pure.

use crate::error::{Error, Kind, Result};
use crate::oci::Platform;

/// The debugger's file, beside the programs.
pub const PROGRAM: &str = "dlv";
/// Its module.
pub const MODULE: &str = "github.com/go-delve/delve";
/// The version of the module. A new one comes with new sums (`go mod download -json MODULE@VERSION` prints them) and
/// changes digests.
pub const VERSION: &str = "v1.27.2";
/// The sum of the module's files, as in a go.sum.
pub const SUM: &str = "h1:dhcjFjiVoQI53uwsG7EqYiMhdvFuywsBZx4KDOK+sYE=";
/// The sum of its go.mod.
pub const GO_MOD_SUM: &str = "h1:nkFriKZ7rywF+tspcCgJeouzq6b0krJlJiGp15T81hA=";
/// Its package; `go` builds it.
pub const PACKAGE: &str = "github.com/go-delve/delve/cmd/dlv";
/// What it must be able to debug, as in ko.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// The command before the program, as in ko: a server that waits for a client at port 40000.
#[must_use]
pub fn command() -> Vec<String> {
    let path = format!("/ko-app/{PROGRAM}");
    let arguments =
        ["exec", "--listen=:40000", "--headless", "--log", "--accept-multiclient", "--api-version=2", "--"];
    [path.as_str()].into_iter().chain(arguments).map(str::to_owned).collect()
}

/// Whether all `platforms` have the debugger.
///
/// # Errors
/// One that hasn't; ko would leave the debugger out and say so in its log only.
pub fn check(platforms: &[Platform]) -> Result<()> {
    let lacks = |p: &&Platform| p.os != "linux" || !ARCHITECTURES.contains(&p.architecture.as_str());
    match platforms.iter().find(lacks) {
        Some(platform) => {
            let why = format!("Delve is built for linux/amd64 and linux/arm64, not {platform}");
            Err(Error::new(Kind::Usage, "use --debug", why).hint("name the platforms with --platform"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_platforms_with_a_debugger_are_taken() {
        let list = |text: &str| text.split(',').map(|p| p.parse().unwrap()).collect::<Vec<Platform>>();
        check(&list("linux/amd64,linux/arm64,linux/amd64/v3")).unwrap();
        for text in ["linux/amd64,linux/s390x", "windows/amd64", "freebsd/arm64"] {
            let error = check(&list(text)).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            let bad = text.rsplit(',').next().unwrap();
            assert!(error.to_string().ends_with(&format!("not {bad}")), "{error}");
        }
    }
}
