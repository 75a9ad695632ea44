//! `gimg pack`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{Common, ImageFlags};
use crate::cli::summary::{SummaryArgs, tell};
use crate::cli::{config, context, cores, interruptible, working_directory};
use crate::error::Result;
use crate::ops;
use crate::settings::Words;
use crate::settings::env::Env;
use crate::settings::pack::{self, PackWords};
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg pack --binary linux/amd64=dist/app --repo ghcr.io/me")]
pub(super) struct PackArgs {
    /// What a program is for and its file: linux/amd64=FILE; repeatable, in order
    #[arg(long, value_name = "PLATFORM=FILE", required = true)]
    binary: Vec<String>,
    /// The program's name, or with a slash its path in the image
    #[arg(long, value_name = "NAME|PATH")]
    program: Option<String>,
    /// What names are made of [default: what the program says]
    #[arg(long, value_name = "PATH")]
    import_path: Option<String>,
    /// The directory that becomes kodata
    #[arg(long, value_name = "DIR")]
    kodata: Option<PathBuf>,
    #[command(flatten)]
    flags: ImageFlags,
    #[command(flatten)]
    summary: SummaryArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: PackArgs, env: Env, voice: &Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let insecure = args.flags.insecure_registry();
    let (file, warnings) = config::read(args.flags.config(), &env, &cwd)?;
    let words = Words { binary: args.program, ..args.summary.words(args.flags.words()) };
    let own = PackWords { binaries: args.binary, import_path: args.import_path, kodata: args.kodata };
    let mut pack = pack::resolve(words, own, &env, file, cwd, cores())?;
    pack.settings.warnings.splice(0..0, warnings);
    pack.settings.lock = config::lock(&pack.settings.cwd)?;
    let cx = context(env, voice, insecure, pack.settings.needs_registry())?;
    if args.dry_run {
        return voice.dry_run(&interruptible(&cx, ops::dry_run::pack(&cx, &pack))?);
    }
    let work = ops::summary::of(&cx, &pack.settings, ops::pack::pack(&cx, &pack));
    tell(&pack.settings, voice, &interruptible(&cx, work)?)
}
