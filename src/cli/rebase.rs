//! `gimg rebase`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{Common, ConfigArgs};
use crate::cli::network::InsecureArgs;
use crate::cli::{config, context, cores, interruptible, working_directory};
use crate::error::Result;
use crate::oci::Reference;
use crate::ops;
use crate::ops::rebase::Rebase;
use crate::settings::env::Env;
use crate::settings::{self, Base, Words};
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg rebase ghcr.io/me/app:v1\n\nIt takes what is attached to the image for its recipe, compiles nothing, and gives the digest of a build on the new\nbase. The tag that names the image moves; standard error says how to get back."
)]
pub(super) struct RebaseArgs {
    /// An image in a registry, built by gimg with its provenance
    #[arg(value_name = "IMAGE")]
    image: Reference,
    /// Another base [default: what its base stands for now]
    #[arg(long, value_name = "BASE", value_parser = Base::parse)]
    base: Option<Base>,
    /// Tags for what comes out, comma lists or repeated [default: the one that names the image]
    #[arg(short, long, value_name = "TAG")]
    tags: Vec<String>,
    /// Only if this public key signed the image and its provenance; else exit 11
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign what comes out; the image must be signed by this key, or by that of --key
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Sign also in cosign's old layout, under tags beside the images
    #[arg(long)]
    sign_tag: bool,
    /// The SBOM that is attached: spdx, cyclonedx or none [default: spdx]
    #[arg(long, value_name = "KIND")]
    sbom: Option<String>,
    /// Make everything, push nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: RebaseArgs, env: Env, voice: &Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let asked = Rebase {
        image: args.image,
        base: args.base,
        tags: settings::tags(&args.tags)?,
        key: args.key.map(|path| cwd.join(path)),
        dry: args.dry_run,
    };
    let words = Words {
        packages: vec![".".to_owned()],
        repo: vec![asked.image.repository.to_string()],
        sbom: args.sbom,
        sign_key: args.sign_key,
        sign_tag: args.sign_tag,
        push: true,
        ..Words::default()
    };
    // For what it says of bases and their keys: the rest is in the recipe.
    let (file, _) = config::read(&args.config, &env, &cwd)?;
    let settings = settings::resolve(words, &env, file, cwd, cores())?;
    let cx = context(env, voice, args.insecure.choice(), true)?;
    voice.rebased(&interruptible(&cx, ops::rebase::rebase(&cx, &settings, &asked))?)
}
