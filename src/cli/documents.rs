//! `gimg completion` and `gimg man`: what the command line says about itself, for shells and for `man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use crate::cli::Cli;
use crate::cli::args::Common;
use crate::error::{Error, Kind, Result};
use crate::ops;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg completion bash > /etc/bash_completion.d/gimg")]
pub(super) struct CompletionArgs {
    /// bash, zsh, fish, powershell or elvish
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    shell: clap_complete::Shell,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg man /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Where to; made if it isn't there
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn completion(args: &CompletionArgs, voice: &Voice) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gimg", &mut script);
    voice.bytes(&script)
}

pub(super) fn man(args: &ManArgs) -> Result<()> {
    let mut root = Cli::command().disable_help_subcommand(true);
    // Now every command knows its full name, such as `gimg-build`.
    root.build();
    let mut pages = Vec::new();
    let commands = root.get_subcommands().filter(|c| !c.is_hide_set());
    for command in std::iter::once(&root).chain(commands) {
        let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
        let mut text = Vec::new();
        clap_mangen::Man::new(command.clone())
            .render(&mut text)
            .map_err(|e| Error::new(Kind::Internal, format!("write the manual page of {name}"), e))?;
        pages.push((format!("{name}.1"), text));
    }
    ops::man::write(&args.dir, &pages)
}
