//! `gimg init` and `gimg schema`.

use clap::Args;

use crate::cli::args::Common;
use crate::cli::working_directory;
use crate::error::Result;
use crate::event::Event;
use crate::ops;
use crate::settings::config;
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg init && gimg build ./cmd/app")]
pub(super) struct InitArgs {
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg schema > gimg.schema.json")]
pub(super) struct SchemaArgs {
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn init(args: &InitArgs, env: &Env, voice: &Voice) -> Result<()> {
    let written = ops::init::init(&working_directory(env)?, args.force)?;
    let observer = voice.observer();
    for note in written.notes {
        observer.on(Event::Warning(note));
    }
    voice.line(&written.name)
}

pub(super) fn schema(voice: &Voice) -> Result<()> {
    voice.document(&config::schema())
}
