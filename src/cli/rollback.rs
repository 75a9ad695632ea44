//! `gimg rollback`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::Common;
use crate::cli::network::InsecureArgs;
use crate::cli::{context, interruptible, working_directory};
use crate::error::Result;
use crate::ops;
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg rollback ghcr.io/me/app --to v1.4.2 --key cosign.pub\n\nThe tag moves only to an image of which nothing is missing. Standard error says how to get back."
)]
pub(super) struct RollbackArgs {
    /// The tag that moves [default: latest]
    #[arg(value_name = "REPOSITORY[:TAG]")]
    image: String,
    /// What it is to stand for: a tag or digest of the same repository
    #[arg(long, value_name = "TAG|DIGEST")]
    to: String,
    /// Only if the image is signed by this public key; else exit 11
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Look at everything, move nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: &RollbackArgs, env: Env, voice: &Voice) -> Result<()> {
    let wish = ops::rollback::Wish::read(&args.image, &args.to)?;
    let cwd = working_directory(&env)?;
    let key = args.key.as_ref().map(|path| cwd.join(path));
    let cx = context(env, voice, args.insecure.choice(), true)?;
    let rolling = ops::rollback::rollback(&cx, &wish, key.as_deref(), args.dry_run);
    voice.rolled_back(&interruptible(&cx, rolling)?)
}
