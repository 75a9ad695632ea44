//! `gimg outdated`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::Common;
use crate::cli::network::InsecureArgs;
use crate::cli::{context, interruptible, working_directory};
use crate::error::{Error, Kind, Result};
use crate::oci::Reference;
use crate::ops;
use crate::ops::outdated::Asked;
use crate::settings::env::{self, Env};
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg outdated ghcr.io/me/app:v1 ghcr.io/me/other --check\n\nWhat is attached to an image says what it is made of; where nothing is, its program does. An image of which nothing is\nold is left out; --format json has all."
)]
pub(super) struct OutdatedArgs {
    /// Images in registries
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<Reference>,
    /// All tags of their repositories
    #[arg(long)]
    all_tags: bool,
    /// Also look for known faults of modules: a directory of OSV files, such as data/osv of golang.org/x/vulndb
    #[arg(long, value_name = "DIR")]
    vuln_db: Option<PathBuf>,
    /// Count only what this public key signed of what is attached
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Exit 3 if anything is old
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: OutdatedArgs, env: Env, voice: &Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let asked = Asked {
        images: args.images,
        all_tags: args.all_tags,
        key: args.key.map(|path| cwd.join(path)),
        database: args.vuln_db.map(|path| cwd.join(path)),
        go: PathBuf::from(env.first(&[env::KO_GO_PATH]).unwrap_or("go")),
        cwd,
    };
    let cx = context(env, voice, args.insecure.choice(), true)?;
    let found = interruptible(&cx, ops::outdated::outdated(&cx, &asked))?;
    voice.outdated(&found)?;
    let (old, all) = (found.images.iter().filter(|image| image.outdated).count(), found.images.len());
    match args.check && old > 0 {
        true => Err(Error::new(Kind::Input, "check the images", format!("{old} of {all} are outdated"))),
        false => Ok(()),
    }
}
