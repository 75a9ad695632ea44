//! `gimg history`.

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
    after_help = "Example: gimg history ghcr.io/me/app --key cosign.pub --limit 10\n\nWhat an image doesn't say itself is taken from the provenance and the SBOMs that are attached to it."
)]
pub(super) struct HistoryArgs {
    /// The repository, without a tag
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    /// Say which images this public key signed, and count only what it signed of what is attached
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How many images, the newest first; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: &HistoryArgs, env: Env, voice: &Voice) -> Result<()> {
    let repository = ops::history::repository(&args.repository)?;
    let cwd = working_directory(&env)?;
    let key = args.key.as_ref().map(|path| cwd.join(path));
    let cx = context(env, voice, args.insecure.choice(), true)?;
    let looking = ops::history::history(&cx, &repository, key.as_deref(), args.limit);
    voice.history(&interruptible(&cx, looking)?)
}
