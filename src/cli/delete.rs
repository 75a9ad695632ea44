//! `gimg delete`.

use std::ffi::OsString;

use clap::Args;

use crate::error::Result;
use crate::ops::kubectl::Kubectl;
use crate::settings::env::Env;

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg delete -f config/ --ignore-not-found")]
pub(super) struct DeleteArgs {
    /// Arguments of kubectl delete, all passed on; YAML need not be resolved for it
    #[arg(value_name = "KUBECTL_ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    kubectl: Vec<OsString>,
}

pub(super) fn run(args: DeleteArgs, env: &Env) -> Result<()> {
    Err(Kubectl::find(env)?.args(["delete"]).args(args.kubectl).take_over())
}
