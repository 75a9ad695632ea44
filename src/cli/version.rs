//! `gimg version`.

use clap::Args;

use crate::cli::args::Common;
use crate::error::Result;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg version -v")]
pub(super) struct VersionArgs {
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(voice: &Voice) -> Result<()> {
    let built_in = crate::base::VERSION.to_string();
    let level = crate::image::LEVEL.to_string();
    let mut data = vec![("layout", level.as_str()), ("static", built_in.as_str())];
    data.extend(crate::base::data_versions());
    data.push(("delve", crate::plan::debug::VERSION));
    voice.version(env!("CARGO_PKG_VERSION"), &data)
}
