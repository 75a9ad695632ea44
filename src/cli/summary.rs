//! What is written of a run beside standard output: `build` and `pack`.

use std::path::PathBuf;

use clap::Args;

use crate::error::Result;
use crate::ops;
use crate::ops::summary::Told;
use crate::settings::{Settings, Words};
use crate::ui::{self, Voice};

/// Where it is written. Not in `--help`, which has no room: docs/ci.md.
#[derive(Debug, Default, Args)]
pub(super) struct SummaryArgs {
    /// Write what --format json says to a file
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "dry_run")]
    report: Option<PathBuf>,
    /// Add a summary in Markdown to a file: sizes, and what changed against what the tags stood for
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "dry_run")]
    summary: Option<PathBuf>,
    /// Compare in the summary with this image instead
    #[arg(long, value_name = "IMAGE", hide = true, requires = "summary")]
    against: Option<String>,
}

/// Tells of a run in all the ways that the user wants: files, and standard output.
pub(super) fn tell(settings: &Settings, voice: &Voice, told: &Told) -> Result<()> {
    let summary = told.summary.as_ref().map(ui::summary::markdown);
    ops::summary::write(settings, &ui::document(&told.report)?, summary)?;
    voice.report(&told.report)
}

impl SummaryArgs {
    /// Adds what the command line said.
    pub(super) fn words(self, words: Words) -> Words {
        Words { report: self.report, summary: self.summary, against: self.against, ..words }
    }
}
