//! `gimg push`.

use clap::Args;

use crate::cli::args::Common;
use crate::cli::network::InsecureArgs;
use crate::cli::{context, cores, interruptible};
use crate::error::Result;
use crate::ops;
use crate::settings;
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg push gimg-out/app ghcr.io/me/app -t v1")]
pub(super) struct PushArgs {
    /// The layout's directory; DIR:NAME picks one of several images
    #[arg(value_name = "LAYOUT")]
    layout: String,
    /// Where to: the full repository of this image, perhaps with a tag
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    /// Tags, comma lists or repeated [default: those in the layout]
    #[arg(short, long, value_name = "TAG")]
    tags: Vec<String>,
    /// Transfers at a time [default: cores]
    #[arg(short, long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: PushArgs, env: Env, voice: &Voice) -> Result<()> {
    let layout = args.layout.strip_prefix("oci:").unwrap_or(&args.layout);
    let (dir, name) = settings::split_layout(layout);
    let (repository, tag) = settings::place(&args.repository)?;
    let mut tags = settings::tags(&args.tags)?;
    if let Some(tag) = tag.filter(|t| !tags.contains(t)) {
        tags.insert(0, tag);
    }
    let jobs = if args.jobs == 0 { cores() } else { args.jobs };
    let cx = context(env, voice, args.insecure.choice(), true)?;
    let pushing = ops::push::push(&cx, &dir, name.as_deref(), &repository, tags, jobs);
    let report = interruptible(&cx, pushing)?;
    voice.report(&report)
}
