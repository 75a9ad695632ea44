//! `gimg cache`.

use clap::{Args, Subcommand};

use crate::cli::args::Common;
use crate::cli::store;
use crate::error::Result;
use crate::ops;
use crate::settings::cache::{not_a_size, size};
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg cache prune --max-size 2GiB\n\nGIMG_CACHE says where it is (off: nowhere), GIMG_CACHE_MAX how large it may become (10GiB):\na run that adds something ends below that."
)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Say where it is, how much is in it and how large it may become
    Info(PlainArgs),
    /// Read all of it and remove what is wrong; exit 8 if something was
    Verify(PlainArgs),
    /// Remove what was not used for the longest time, down to the limit
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct PlainArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg cache prune --all")]
struct PruneArgs {
    /// Remove everything
    #[arg(long, conflicts_with = "max_size")]
    all: bool,
    /// How much may stay, such as 500M or 2GiB [default: GIMG_CACHE_MAX, else 10GiB]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_size: Option<u64>,
    #[command(flatten)]
    common: Common,
}

fn bytes(text: &str) -> Result<u64, String> {
    size(text).ok_or_else(|| not_a_size(text))
}

impl CacheArgs {
    /// The flags of every command.
    pub(super) fn common(&self) -> &Common {
        match &self.command {
            CacheCommand::Info(args) | CacheCommand::Verify(args) => &args.common,
            CacheCommand::Prune(args) => &args.common,
        }
    }
}

pub(super) fn run(args: CacheArgs, env: &Env, voice: &Voice) -> Result<()> {
    let store = store(env, &voice.observer())?;
    match args.command {
        CacheCommand::Info(_) => voice.cache(&ops::cache::info(&store)?),
        CacheCommand::Verify(_) => {
            let verified = ops::cache::verify(&store)?;
            voice.cache_verified(&verified)?;
            ops::cache::right(&verified)
        }
        CacheCommand::Prune(args) => {
            let max = if args.all { Some(0) } else { args.max_size };
            voice.cache_pruned(&ops::cache::prune(&store, max)?)
        }
    }
}
