//! `gimg run`.

use std::ffi::OsString;

use clap::Args;

use crate::cli::args::{BuildFlags, Common};
use crate::cli::{context, cores, interruptible, working_directory};
use crate::error::Result;
use crate::ops;
use crate::settings;
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

pub(super) fn run(args: RunArgs, env: Env, voice: Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let insecure = args.flags.insecure_registry();
    let settings = settings::resolve(args.flags.words(vec![args.package]), &env, cwd, cores())?;
    let cx = context(env, voice, insecure, settings.needs_registry())?;
    let kubectl = interruptible(ops::kubectl::run(&cx, &settings, args.kubectl))?;
    // Its private directory goes before kubectl takes over.
    drop(cx);
    Err(kubectl.take_over())
}
