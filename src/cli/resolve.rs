//! `gimg resolve`.

use clap::Args;

use crate::cli::args::{BuildFlags, Common, FileFlags, Format};
use crate::cli::build::prepare;
use crate::cli::interruptible;
use crate::error::{Error, Kind, Result};
use crate::ops;
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg resolve -f config/ --repo ghcr.io/me > release.yaml\n\n\
    Nothing but the references changes in a file. As in ko, each is followed by a line with ---.")]
pub(super) struct ResolveArgs {
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    flags: BuildFlags,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: ResolveArgs, env: Env, voice: Voice) -> Result<()> {
    if matches!(args.common.format, Format::Json) {
        return Err(Error::new(Kind::Usage, "read --format json", "resolve writes YAML, as it was written"));
    }
    let (settings, cx) = prepare(args.flags, Vec::new(), env, voice)?;
    let yaml = interruptible(&cx, ops::resolve::resolve(&cx, &settings, &args.files.into()))?;
    voice.resolved(&yaml)
}
