//! `gimg key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::Common;
use crate::cli::{context, interruptible, working_directory};
use crate::error::{Error, Kind, Result};
use crate::ops;
use crate::registry::Insecure;
use crate::settings::env::{COSIGN_PASSWORD, Env};
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: COSIGN_PASSWORD=… gimg key generate --output release\n\nThe files are cosign's: either program signs and verifies with the other's."
)]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key: PREFIX.key under the password in COSIGN_PASSWORD, and PREFIX.pub for everybody
    Generate(GenerateArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example: COSIGN_PASSWORD=… gimg key generate --output release")]
struct GenerateArgs {
    /// How the files' names begin
    #[arg(long, value_name = "PREFIX", default_value = "cosign")]
    output: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl KeyArgs {
    /// The flags of every command.
    pub(super) fn common(&self) -> &Common {
        match &self.command {
            KeyCommand::Generate(args) => &args.common,
        }
    }
}

pub(super) fn run(args: KeyArgs, env: Env, voice: &Voice) -> Result<()> {
    let KeyCommand::Generate(args) = args.command;
    let Some(password) = env.all().get(COSIGN_PASSWORD).map(|p| p.clone().into_bytes()) else {
        let why = "the key's password is missing";
        return Err(Error::new(Kind::Usage, "make a key", why)
            .hint("set COSIGN_PASSWORD, to nothing for a key without one"));
    };
    let prefix = working_directory(&env)?.join(&args.output);
    let cx = context(env, voice, Insecure::Loopback, false)?;
    let public = interruptible(&cx, ops::key::generate(&prefix, password))?;
    voice.line(&public.display().to_string())
}
