//! `gimg why`.

use clap::Args;

use crate::cli::args::Common;
use crate::cli::network::InsecureArgs;
use crate::cli::{context, interruptible, working_directory};
use crate::error::Result;
use crate::oci::Platform;
use crate::ops;
use crate::settings::env::Env;
use crate::settings::subject::Subject;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg why ghcr.io/me/app:v1 ghcr.io/me/app:v2\n\nImages and programs that gimg didn't make are compared too. No layer of a base is downloaded.\nThe exit code is 0 whether they differ or not."
)]
pub(super) struct WhyArgs {
    /// An image, oci:DIR, oci-archive:FILE, or the file of a program
    #[arg(value_name = "A")]
    was: String,
    /// Another one, or a later one
    #[arg(value_name = "B")]
    now: String,
    /// Of images for several: os/arch[/variant] [default: all that both have]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: WhyArgs, env: Env, voice: &Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let was = ops::sbom::subject(&cwd, &args.was)?;
    let now = ops::sbom::subject(&cwd, &args.now)?;
    let is_remote = [&was, &now].iter().any(|subject| matches!(subject, Subject::Registry(_)));
    let cx = context(env, voice, args.insecure.choice(), is_remote)?;
    let explanation = interruptible(&cx, ops::why::why(&cx, &was, &now, args.platform.as_ref()))?;
    voice.explained(&explanation)
}
