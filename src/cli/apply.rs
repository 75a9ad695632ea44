//! `gimg apply` and `gimg create`.

use std::ffi::OsString;

use clap::Args;

use crate::cli::args::{BuildFlags, Common, FileFlags};
use crate::cli::build::prepare;
use crate::cli::interruptible;
use crate::error::Result;
use crate::ops;
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg apply -f config/ --repo ghcr.io/me -- --context staging")]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    flags: BuildFlags,
    #[command(flatten)]
    pub(super) common: Common,
    /// Arguments of kubectl
    #[arg(last = true, value_name = "KUBECTL_ARGS")]
    kubectl: Vec<OsString>,
}

/// Resolves, then feeds `kubectl VERB`.
pub(super) fn run(verb: &str, args: ApplyArgs, env: Env, voice: &Voice) -> Result<()> {
    let (settings, cx) = prepare(args.flags, Vec::new(), env, voice)?;
    let files = args.files.into();
    let kubectl = interruptible(&cx, ops::kubectl::feed(&cx, &settings, &files, verb, args.kubectl))?;
    // Its private directory goes before kubectl takes over.
    drop(cx);
    Err(kubectl.take_over())
}
