//! `gimg layer`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::Common;
use crate::cli::{context, cores, interruptible, working_directory};
use crate::error::Result;
use crate::ops;
use crate::registry::Insecure;
use crate::settings::env::Env;
use crate::settings::layer::{self, LayerWords};
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg layer --binary linux/amd64=dist/app --out app.tar.zst --metadata app.json\n\nThe layer is the one that gimg build and gimg pack make of the same. Its digest goes to standard output."
)]
pub(super) struct LayerArgs {
    /// A program: what it is for and its file
    #[arg(long, value_name = "PLATFORM=FILE")]
    binary: Option<String>,
    /// The program's name, or with a slash its path in the image
    #[arg(long, value_name = "NAME|PATH", requires = "binary")]
    program: Option<String>,
    /// A file or directory, and where it goes; with a slash at its end, into that directory; repeatable
    #[arg(long, value_name = "FILE=/PATH")]
    file: Vec<String>,
    /// The layer's file: .tar.gz, .tar.zst or .tar
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Write digests, size and type of the layer to a file, as rules_img reads them
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// gzip[:1-9], zstd[:1-19] or none [default: what the name says]
    #[arg(long, value_name = "METHOD")]
    compression: Option<String>,
    /// An annotation of the layer's descriptor: key=value; repeatable
    #[arg(long, value_name = "ANNOTATION")]
    layer_annotation: Vec<String>,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: LayerArgs, env: Env, voice: &Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let words = LayerWords {
        binary: args.binary,
        program: args.program,
        files: args.file,
        out: args.out,
        metadata: args.metadata,
        compression: args.compression,
        annotations: args.layer_annotation,
    };
    let layer = layer::resolve(words, &env, &cwd, cores())?;
    let cx = context(env, voice, Insecure::Loopback, false)?;
    voice.layer(&interruptible(&cx, ops::layer::layer(&cx, &layer))?)
}
