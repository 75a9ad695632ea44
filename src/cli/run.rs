//! `gimg run`.

use std::ffi::OsString;

use clap::Args;

use crate::cli::args::{BuildFlags, Common};
use crate::cli::build::prepare;
use crate::cli::interruptible;
use crate::error::Result;
use crate::ops;
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg run ./cmd/app --repo ghcr.io/me -- --context staging -- arguments of app"
)]
pub(super) struct RunArgs {
    /// A local path or import path, with or without ko://
    #[arg(value_name = "PACKAGE")]
    package: String,
    #[command(flatten)]
    flags: BuildFlags,
    #[command(flatten)]
    pub(super) common: Common,
    /// Arguments of kubectl run; after another -- those of the program
    #[arg(last = true, value_name = "KUBECTL_ARGS")]
    kubectl: Vec<OsString>,
}

pub(super) fn run(args: RunArgs, env: Env, voice: &Voice) -> Result<()> {
    let (settings, cx) = prepare(args.flags, vec![args.package], env, voice)?;
    let kubectl = interruptible(&cx, ops::kubectl::run(&cx, &settings, args.kubectl))?;
    // Its private directory goes before kubectl takes over.
    drop(cx);
    Err(kubectl.take_over())
}
