//! `gimg lock`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{Common, ConfigArgs};
use crate::cli::network::InsecureArgs;
use crate::cli::{config, context, interruptible, working_directory};
use crate::error::Result;
use crate::event::Event;
use crate::ops;
use crate::settings::env::{Env, KO_GO_PATH};
use crate::settings::lock::{named, todo};
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: gimg lock && git add gimg.lock\n\nAn entry that is there stays as it is without --update. To take one out, delete its line."
)]
pub(super) struct LockArgs {
    /// Resolve anew: everything, or only these bases
    #[arg(long, value_name = "BASE", num_args = 0.., value_delimiter = ',')]
    update: Option<Vec<String>>,
    /// Write nothing; exit 3 if the file would change
    #[arg(long)]
    check: bool,
    /// Also write down what the Go toolchain here is, for --hermetic
    #[arg(long)]
    go: bool,
    /// A base that the configuration doesn't name; repeatable
    #[arg(long, value_name = "BASE")]
    base: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn run(args: LockArgs, env: Env, voice: &Voice) -> Result<()> {
    let cwd = working_directory(&env)?;
    let (file, warnings) = config::read(&args.config, &env, &cwd)?;
    let named = named(&args.base, &env, file, &cwd)?;
    let todo = todo(config::lock(&cwd)?, &named, args.update.as_deref(), args.check)?;
    let program = PathBuf::from(env.first(&[KO_GO_PATH]).unwrap_or("go"));
    let toolchain = args.go.then_some(program.as_path());
    let cx = context(env, voice, args.insecure.choice(), todo.needs_registry())?;
    for warning in warnings {
        cx.observer.on(Event::Warning(warning));
    }
    let locked = interruptible(&cx, ops::lock::lock(&cx, &cwd, &todo, toolchain))?;
    voice.locked(&locked)
}
