//! `gimg resolve`.

use clap::Args;

use crate::cli::args::{BuildFlags, Common, FileFlags, Format};
use crate::cli::build::prepare;
use crate::cli::interruptible;
use crate::error::{Error, Kind, Result};
use crate::ops;
use crate::ops::in_place::{Subjects, Wish};
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg resolve -f config/ --repo ghcr.io/me > release.yaml",
    // Its help fits a screen; that of gimg build tells of these.
    mut_arg("debug", |a| a.hide(true)),
    mut_arg("image_annotation", |a| a.hide(true)),
    mut_arg("lenient", |a| a.hide(true)),
)]
pub(super) struct ResolveArgs {
    #[command(flatten)]
    files: FileFlags,
    /// Edit the files where they are
    #[arg(long)]
    in_place: bool,
    /// Edit the images of the kustomization there; repeatable
    #[arg(long, value_name = "DIR", conflicts_with_all = ["filename", "recursive", "selector"])]
    kustomize: Vec<String>,
    /// Put an image at services.web.image, or name; repeatable
    #[arg(long, value_name = "PLACE=PACKAGE")]
    set_image: Vec<String>,
    #[command(flatten)]
    flags: BuildFlags,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: ResolveArgs, env: Env, voice: &Voice) -> Result<()> {
    let in_place = args.in_place || !args.kustomize.is_empty();
    if matches!(args.common.format, Format::Json) && !in_place {
        return Err(Error::new(Kind::Usage, "read --format json", "resolve writes YAML, as it was written"));
    }
    let wishes = Wish::read(&args.set_image)?;
    let (settings, cx) = prepare(args.flags, Vec::new(), env, voice)?;
    if in_place {
        let subjects = match args.kustomize {
            dirs if dirs.is_empty() => Subjects::Files(args.files.into()),
            dirs => Subjects::Kustomizations(dirs),
        };
        let edited = interruptible(&cx, ops::in_place::edit(&cx, &settings, &subjects, &wishes))?;
        return voice.edited(&edited);
    }
    let yaml = interruptible(&cx, ops::resolve::resolve(&cx, &settings, &args.files.into(), &wishes))?;
    voice.resolved(&yaml)
}
