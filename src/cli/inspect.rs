//! `gimg inspect`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{Common, Format};
use crate::cli::network::InsecureArgs;
use crate::cli::{context, interruptible, working_directory};
use crate::error::Result;
use crate::oci::Platform;
use crate::ops;
use crate::ops::inspect::Wanted;
use crate::settings::env::Env;
use crate::settings::subject::Subject;
use crate::ui::{self, Voice};

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg inspect ghcr.io/me/app:v2 --against ghcr.io/me/app:v1 --html app.html\n\nImages and programs that gimg didn't make are shown too. No layer of a base is downloaded that is known as such."
)]
pub(super) struct InspectArgs {
    /// An image, oci:DIR, oci-archive:FILE, or the file of a program
    #[arg(value_name = "IMAGE|FILE")]
    subject: String,
    /// Only the image for this platform, os/arch[/variant] [default: all, and as text the programs of one]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Show also what differs from this one
    #[arg(long, value_name = "IMAGE|FILE")]
    against: Option<String>,
    /// Write also a page that shows it, with all in one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: InspectArgs, env: Env, voice: &Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let subject = ops::sbom::subject(&cwd, &args.subject)?;
    let against = args.against.as_ref().map(|text| ops::sbom::subject(&cwd, text)).transpose()?;
    let subjects = [Some(&subject), against.as_ref()];
    let is_remote = subjects.into_iter().flatten().any(|subject| matches!(subject, Subject::Registry(_)));
    let html = args.html.map(|path| cwd.join(path));
    html.as_deref().map_or(Ok(()), ops::inspect::writable)?;
    let cx = context(env, voice, args.insecure.choice(), is_remote)?;
    let all = html.is_some() || matches!(args.common.format, Format::Json);
    let wanted = Wanted { platform: args.platform.as_ref(), all };
    let inspected = interruptible(&cx, ops::inspect::inspect(&cx, &subject, against.as_ref(), wanted))?;
    if let Some(path) = html {
        ops::inspect::write(&path, &ui::html::page(&inspected))?;
    }
    voice.inspected(&inspected)
}
