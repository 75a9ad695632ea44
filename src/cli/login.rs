//! `gimg login` and `gimg logout`.

use std::convert::Infallible;
use std::io::Read as _;

use clap::{ArgGroup, Args};

use crate::cli::args::Common;
use crate::cli::network::InsecureArgs;
use crate::cli::{context, context_with, interruptible};
use crate::error::{Error, Kind, Result};
use crate::oci::Registry;
use crate::ops;
use crate::registry::{Insecure, Keychain, Secret};
use crate::settings::env::Env;
use crate::ui::Voice;

/// No password is longer; tokens are a few kilobytes.
const MAX_PASSWORD: u64 = 64 * 1024;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("secret").required(true).args(["password", "password_stdin"]),
    after_help = "Example: echo $TOKEN | gimg login ghcr.io -u me --password-stdin"
)]
pub(super) struct LoginArgs {
    /// The registry; docker.io is Docker Hub
    #[arg(value_name = "SERVER")]
    server: String,
    /// The user name
    #[arg(short, long, value_name = "USER")]
    username: String,
    /// The password or access token; others on this machine can see it
    #[arg(short, long, value_name = "PASS", value_parser = secret, allow_hyphen_values = true)]
    password: Option<Secret>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg logout ghcr.io")]
pub(super) struct LogoutArgs {
    /// The registry; docker.io is Docker Hub
    #[arg(value_name = "SERVER")]
    server: String,
    #[command(flatten)]
    pub(super) common: Common,
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants a Result")]
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

pub(super) fn login(args: LoginArgs, env: Env, voice: &Voice) -> Result<()> {
    let usage = |why: &str| Error::new(Kind::Usage, "log in", why);
    let registry = server(&args.server)?;
    if args.username.is_empty() {
        return Err(usage("the user name is empty"));
    }
    if args.username.contains(':') {
        return Err(usage("a user name can't have a colon"));
    }
    let exposed = args.password.is_some();
    let password = match args.password {
        Some(password) => password,
        None => from_stdin()?,
    };
    if password.expose().is_empty() {
        return Err(usage("the password is empty"));
    }
    // What is saved already is not asked for; if it is broken, this may be the way to mend it.
    let cx = context_with(env, voice, args.insecure.choice(), true, Keychain::empty())?;
    let login = ops::login::Login { registry, username: args.username, password, exposed };
    interruptible(&cx, ops::login::login(&cx, &login))
}

pub(super) fn logout(args: LogoutArgs, env: Env, voice: &Voice) -> Result<()> {
    let registry = server(&args.server)?;
    let cx = context(env, voice, Insecure::Loopback, false)?;
    interruptible(&cx, ops::login::logout(&cx, &registry))
}

/// The registry of an argument, which may be written as a URL.
fn server(text: &str) -> Result<Registry> {
    let name = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
    let name = name.strip_suffix("/v1").or(name.strip_suffix("/v2")).unwrap_or(name);
    if name.contains('/') {
        return Err(Error::new(Kind::Usage, format!("read the server \"{text}\""), "a registry has no path"));
    }
    name.parse::<Registry>().map_err(|e| e.as_kind(Kind::Usage))
}

/// All of standard input, without the line's end that `echo` adds.
fn from_stdin() -> Result<Secret> {
    let fail = |why: String| Error::new(Kind::Usage, "read the password from standard input", why);
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(MAX_PASSWORD + 1);
    input.read_to_string(&mut text).map_err(|e| fail(e.to_string()))?;
    if text.len() as u64 > MAX_PASSWORD {
        return Err(fail("it is too long".to_owned()));
    }
    let line = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    Ok(Secret::new(line))
}
