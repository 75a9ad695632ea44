//! `gimg build`.

use std::sync::Arc;

use clap::Args;

use crate::cli::args::{BuildFlags, Common};
use crate::cli::summary::{SummaryArgs, tell};
use crate::cli::{config, context_with, cores, interruptible, keychain, working_directory};
use crate::error::Result;
use crate::ops::{self, Context};
use crate::registry::Registry;
use crate::settings::env::Env;
use crate::settings::{self, RemoteCache, Settings};
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg build ./cmd/app --platform linux/amd64,linux/arm64 --repo ghcr.io/me")]
pub(super) struct BuildArgs {
    /// Paths, patterns, import paths (also ko://PATH or PATH@VERSION) [default: .]
    #[arg(value_name = "PACKAGE")]
    packages: Vec<String>,
    /// Build every program with an entry in the configuration file
    #[arg(long, conflicts_with = "packages")]
    all: bool,
    #[command(flatten)]
    flags: BuildFlags,
    #[command(flatten)]
    summary: SummaryArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

/// What every command that builds `packages` needs: its flags, the environment and the configuration file settled.
pub(super) fn prepare(
    flags: BuildFlags,
    packages: Vec<String>,
    env: Env,
    voice: &Voice,
) -> Result<(Settings, Context)> {
    let cwd = working_directory(&env)?;
    let insecure = flags.insecure_registry();
    let (file, warnings) = config::read(flags.config(), &env, &cwd)?;
    let mut settings: Settings = settings::resolve(flags.words(packages), &env, file, cwd, cores())?;
    settings.warnings.splice(0..0, warnings);
    settings.lock = config::lock(&settings.cwd)?;
    let registry = settings.needs_registry();
    let remote = settings.remote_cache.as_ref();
    let keychain = keychain(&env, registry || RemoteCache::is_registry(remote)?)?;
    let connects = registry || remote.is_some();
    let mut cx = context_with(env, voice, insecure, connects, keychain)?;
    if settings.offline {
        cx.env = cx.env.with("GOPROXY", "off");
        cx.registry = Registry::offline(Arc::clone(&cx.observer));
    }
    Ok((settings, cx))
}

pub(super) fn run(mut args: BuildArgs, env: Env, voice: &Voice) -> Result<()> {
    args.flags.all = args.all;
    args.flags.summary = args.summary;
    let (settings, cx) = prepare(args.flags, args.packages, env, voice)?;
    if args.dry_run {
        return voice.dry_run(&interruptible(&cx, ops::dry_run::build(&cx, &settings))?);
    }
    let work = ops::summary::of(&cx, &settings, ops::build::build(&cx, &settings));
    tell(&settings, voice, &interruptible(&cx, work)?)
}
