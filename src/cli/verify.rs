//! `gimg verify`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::Common;
use crate::cli::network::InsecureArgs;
use crate::cli::{context, interruptible, working_directory};
use crate::error::Result;
use crate::oci::Reference;
use crate::ops;
use crate::ops::verify::Verify;
use crate::settings::env::{self, Env};
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg verify ghcr.io/me/app:v1 --key release.pub\n\nThe sources are a module's, those of the repository around here if it has the commit, or of the recorded one.\nNothing that a record says is run but go build, without cgo. The exit code is 8 if anything differs."
)]
pub(super) struct VerifyArgs {
    /// An image in a registry
    #[arg(value_name = "IMAGE")]
    image: Reference,
    /// The public key that must have signed it, and the record of how it was built
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where the sources are: a directory, taken as it is, or the URL of a repository with the commit
    #[arg(long, value_name = "DIR|URL")]
    source: Option<String>,
    /// Print a shell script of go build and sha256sum lines that do it without gimg
    #[arg(long)]
    script: bool,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: VerifyArgs, env: Env, voice: &Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let asked = Verify {
        image: args.image,
        key: args.key.map(|path| cwd.join(path)),
        source: args.source,
        cwd,
        go: PathBuf::from(env.first(&[env::KO_GO_PATH]).unwrap_or("go")),
    };
    let cx = context(env, voice, args.insecure.choice(), true)?;
    if args.script {
        let script = interruptible(&cx, ops::verify::script(&cx, &asked))?;
        return voice.bytes(script.as_bytes());
    }
    voice.verified(&interruptible(&cx, ops::verify::verify(&cx, &asked))?)
}
