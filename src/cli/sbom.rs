//! `gimg sbom`.

use clap::{Args, FromArgMatches as _, ValueEnum};

use crate::attest::Format;
use crate::cli::args::{BuildFlags, Manner};
use crate::cli::network::InsecureArgs;
use crate::cli::{build, context, interruptible, working_directory};
use crate::error::{Error, Kind, Result};
use crate::oci::Platform;
use crate::ops;
use crate::settings::env::Env;
use crate::settings::subject::Subject;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg sbom ghcr.io/me/app:v1 --platform linux/arm64 --format cyclonedx\n\nIt says what the programs say of themselves, also of images and programs that gimg didn't make."
)]
pub(super) struct SbomArgs {
    /// An image, oci:DIR, oci-archive:FILE, the file of a program, or a package to build
    #[arg(value_name = "IMAGE|FILE|PACKAGE")]
    subject: String,
    /// Of an image for several: os/arch[/variant] [default: linux/amd64]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// SPDX 2.3, CycloneDX 1.6, or what `go version -m` prints
    #[arg(long, value_name = "FORMAT", default_value = "spdx")]
    format: Written,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) manner: Manner,
}

/// How it is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Written {
    Spdx,
    Cyclonedx,
    Go,
}

impl Written {
    fn format(self) -> Option<Format> {
        match self {
            Written::Spdx => Some(Format::Spdx),
            Written::Cyclonedx => Some(Format::CycloneDx),
            Written::Go => None,
        }
    }
}

pub(super) fn run(args: SbomArgs, env: Env, voice: &Voice) -> Result<()> {
    let format = args.format.format();
    let subject = ops::sbom::subject(&working_directory(&env)?, &args.subject)?;
    let document = if let Subject::Package(package) = subject {
        let (settings, cx) = build::prepare(flags(args.platform.as_ref())?, vec![package], env, voice)?;
        interruptible(&cx, ops::sbom::of_package(&cx, settings, format))?
    } else {
        let is_remote = matches!(subject, Subject::Registry(_));
        let cx = context(env, voice, args.insecure.choice(), is_remote)?;
        interruptible(&cx, ops::sbom::sbom(&cx, &subject, args.platform.as_ref(), format))?
    };
    voice.bytes(&document)
}

/// The flags of a build for one platform.
fn flags(platform: Option<&Platform>) -> Result<BuildFlags> {
    let platform = platform.map_or_else(|| "linux/amd64".to_owned(), ToString::to_string);
    let command = BuildFlags::augment_args(clap::Command::new("gimg"));
    let matches = command.try_get_matches_from(["gimg", "--platform", &platform]);
    let flags = matches.and_then(|matches| BuildFlags::from_arg_matches(&matches));
    flags.map_err(|e| Error::new(Kind::Internal, "read the flags of a build", e))
}
