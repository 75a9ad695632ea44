//! Words in: flags and arguments, the environment, signals. No decisions.
#![expect(clippy::disallowed_methods, reason = "edge: argv, environment, working directory")]

mod apply;
mod args;
mod build;
mod cache;
mod cacheprog;
mod config;
mod delete;
mod documents;
mod history;
mod init;
mod inspect;
mod key;
mod layer;
mod lock;
mod login;
mod network;
mod outdated;
mod pack;
mod params;
mod push;
mod rebase;
mod resolve;
mod rollback;
mod run;
mod sbom;
mod signals;
mod summary;
mod telemetry;
mod verify;
mod version;
mod why;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::content::Stop;
use crate::error::{Error, Kind, Result};
use crate::event::Observer;
use crate::ops::{Context, Names};
use crate::process::{self, Guardian};
use crate::registry::{Insecure, Keychain, Options, Registry};
use crate::settings::cache as cached;
use crate::settings::env::Env;
use crate::store::{Scratch, Store};
use crate::ui::{self, Voice};

use args::{Common, plain_voice};
use signals::interruptible;
use telemetry::{TelemetryArgs, Watched};

/// Put a Go program into a container image. No daemon, the same digest everywhere.
#[derive(Debug, Parser)]
#[command(name = "gimg", version, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile, pack and publish Go programs
    #[command(visible_alias = "publish")]
    Build(Box<build::BuildArgs>),
    /// Make the same image from programs that something else compiled
    Pack(Box<pack::PackArgs>),
    /// Write one layer of that image, for other tools that put images together
    Layer(layer::LayerArgs),
    /// Replace ko:// references in Kubernetes YAML by images that are built and pushed
    Resolve(Box<resolve::ResolveArgs>),
    /// Resolve, then kubectl apply
    Apply(Box<apply::ApplyArgs>),
    /// Resolve, then kubectl create
    Create(Box<apply::ApplyArgs>),
    /// kubectl delete
    Delete(delete::DeleteArgs),
    /// Build and push one program, then kubectl run
    Run(Box<run::RunArgs>),
    /// Push an image from an OCI layout to a registry
    Push(push::PushArgs),
    /// List the images of a repository: tags, versions, revisions, signatures
    History(history::HistoryArgs),
    /// Show what is in an image or a program: layers, config, modules, sizes; also as a page
    Inspect(inspect::InspectArgs),
    /// Let a tag stand for an image that was pushed before
    Rollback(rollback::RollbackArgs),
    /// Say which images have an old base, an old Go, or modules with known faults
    Outdated(outdated::OutdatedArgs),
    /// Put a published image on what its base is now, without compiling
    Rebase(rebase::RebaseArgs),
    /// Say what a program or an image is made of: SPDX, CycloneDX, or as Go does
    Sbom(sbom::SbomArgs),
    /// Build an image again from its sources, and compare byte for byte
    Verify(verify::VerifyArgs),
    /// Say why two images, or two programs, have different digests
    Why(why::WhyArgs),
    /// Write a configuration file from what is there
    Init(init::InitArgs),
    /// Write down what the tags of bases stand for, for every later build
    Lock(lock::LockArgs),
    /// Print the JSON Schema of the configuration file
    Schema(init::SchemaArgs),
    /// Check a user name and password with a registry and save them where docker does
    Login(login::LoginArgs),
    /// Forget the user name and password for a registry
    Logout(login::LogoutArgs),
    /// Make a key that signs images
    Key(key::KeyArgs),
    /// Show, check or shrink the cache
    Cache(cache::CacheArgs),
    /// Keep Go's build cache on a server, for go itself (GOCACHEPROG)
    Cacheprog(cacheprog::CacheprogArgs),
    /// Print a completion script for a shell
    Completion(documents::CompletionArgs),
    /// Write the manual pages
    #[command(hide = true)]
    Man(documents::ManArgs),
    /// Print the version (with -v also of the built-in data)
    Version(version::VersionArgs),
}

impl Command {
    /// Whether it is done in no time, or is a part of what `go` does: a collector hears nothing of it.
    fn is_small(&self) -> bool {
        matches!(
            self,
            Command::Delete(_)
                | Command::Version(_)
                | Command::Init(_)
                | Command::Schema(_)
                | Command::Login(_)
                | Command::Logout(_)
                | Command::Key(_)
                | Command::Cache(_)
                | Command::Cacheprog(_)
                | Command::Completion(_)
                | Command::Man(_)
        )
    }

    /// How to speak to the user, and who else is told.
    fn voice(&self, env: &Env) -> (Voice, TelemetryArgs) {
        let common: &Common = match self {
            Command::Build(args) => &args.common,
            Command::Resolve(args) => &args.common,
            Command::Apply(args) | Command::Create(args) => &args.common,
            // It passes all its flags on.
            Command::Delete(_) => return (plain_voice(env), TelemetryArgs::default()),
            Command::Sbom(args) => return (args.manner.voice(env), TelemetryArgs::default()),
            Command::Cacheprog(args) => return (args.manner.voice(env), TelemetryArgs::default()),
            Command::Verify(args) => &args.common,
            Command::Why(args) => &args.common,
            Command::Run(args) => &args.common,
            Command::Push(args) => &args.common,
            Command::History(args) => &args.common,
            Command::Inspect(args) => &args.common,
            Command::Rollback(args) => &args.common,
            Command::Outdated(args) => &args.common,
            Command::Rebase(args) => &args.common,
            Command::Version(args) => &args.common,
            Command::Init(args) => &args.common,
            Command::Lock(args) => &args.common,
            Command::Schema(args) => &args.common,
            Command::Login(args) => &args.common,
            Command::Logout(args) => &args.common,
            Command::Key(args) => args.common(),
            Command::Cache(args) => args.common(),
            Command::Completion(args) => &args.common,
            Command::Man(args) => &args.common,
            Command::Pack(args) => &args.common,
            Command::Layer(args) => &args.common,
        };
        (common.voice(env), common.telemetry.clone())
    }
}

/// Runs the command line `argv` and gives the exit code.
pub fn run(argv: impl Iterator<Item = std::ffi::OsString> + Clone) -> ExitCode {
    if let Some(code) = process::become_if_asked(argv.clone()) {
        return ExitCode::from(code);
    }
    if process::serve_if_asked(argv.clone()) {
        return ExitCode::SUCCESS;
    }
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let env = Env::new(variables);
    let argv = match params::expand(argv) {
        Ok(argv) => argv,
        Err(error) => {
            plain_voice(&env).failure(&error);
            return ExitCode::from(error.kind().exit_code());
        }
    };
    let parsed = Cli::command().try_get_matches_from(argv).and_then(|m| {
        let name = m.subcommand_name().unwrap_or_default().to_owned();
        Ok((Cli::from_arg_matches(&m)?, name))
    });
    let (cli, name) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            ui::clap(&error);
            return ExitCode::from(if error.use_stderr() { Kind::Usage.exit_code() } else { 0 });
        }
    };
    let (voice, telemetry) = cli.command.voice(&env);
    let nothing = Env::default();
    let told = if cli.command.is_small() { &nothing } else { &env };
    let done = Watched::begin(telemetry, &name, told, since_1970()).and_then(|watched| {
        let Some(watched) = watched else { return command(cli.command, env, &voice) };
        let watching = Voice { also: Some(watched.observer()), ..voice.clone() };
        watched.end(command(cli.command, env, &watching), &voice)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            voice.failure(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn command(command: Command, env: Env, voice: &Voice) -> Result<()> {
    match command {
        Command::Build(args) => build::run(*args, env, voice),
        Command::Pack(args) => pack::run(*args, env, voice),
        Command::Layer(args) => layer::run(args, env, voice),
        Command::Resolve(args) => resolve::run(*args, env, voice),
        Command::Apply(args) => apply::run("apply", *args, env, voice),
        Command::Create(args) => apply::run("create", *args, env, voice),
        Command::Delete(args) => delete::run(args, &env),
        Command::Run(args) => run::run(*args, env, voice),
        Command::Push(args) => push::run(args, env, voice),
        Command::History(args) => history::run(&args, env, voice),
        Command::Inspect(args) => inspect::run(args, env, voice),
        Command::Rollback(args) => rollback::run(&args, env, voice),
        Command::Outdated(args) => outdated::run(args, env, voice),
        Command::Rebase(args) => rebase::run(args, env, voice),
        Command::Sbom(args) => sbom::run(args, env, voice),
        Command::Verify(args) => verify::run(args, env, voice),
        Command::Why(args) => why::run(args, env, voice),
        Command::Init(args) => init::init(&args, &env, voice),
        Command::Lock(args) => lock::run(args, env, voice),
        Command::Schema(_) => init::schema(voice),
        Command::Login(args) => login::login(args, env, voice),
        Command::Logout(args) => login::logout(args, env, voice),
        Command::Key(args) => key::run(args, env, voice),
        Command::Cache(args) => cache::run(args, &env, voice),
        Command::Cacheprog(args) => cacheprog::run(args, env, voice),
        Command::Completion(args) => documents::completion(&args, voice),
        Command::Man(args) => documents::man(&args),
        Command::Version(_) => version::run(voice),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where the user is, by the name that the shell knows: links stay links, as in `go`.
fn working_directory(env: &Env) -> Result<PathBuf> {
    let real =
        std::env::current_dir().map_err(|e| Error::new(Kind::LocalIo, "find the working directory", e))?;
    let named = env.first(&["PWD"]).map(PathBuf::from);
    let same =
        |p: &PathBuf| p.is_absolute() && std::fs::canonicalize(p).ok() == std::fs::canonicalize(&real).ok();
    Ok(named.filter(same).unwrap_or(real))
}

/// What every verb is given. Credentials are read only if a registry will be asked: a broken file elsewhere is no
/// reason not to write a local layout.
fn context(env: Env, voice: &Voice, insecure: Insecure, registry: bool) -> Result<Context> {
    let keychain = keychain(&env, registry)?;
    context_with(env, voice, insecure, registry, keychain)
}

/// The user's credentials, if a registry is asked that may want them.
fn keychain(env: &Env, asked: bool) -> Result<Keychain> {
    if asked { Keychain::load(env.all()) } else { Ok(Keychain::empty()) }
}

fn context_with(
    env: Env,
    voice: &Voice,
    insecure: Insecure,
    registry: bool,
    keychain: Keychain,
) -> Result<Context> {
    let names = Arc::new(Names::before(voice.observer()));
    let observer = Arc::clone(&names) as Arc<dyn Observer>;
    let store = store(&env, &observer)?;
    let options = Options {
        locks: Some(Arc::new(store.clone())),
        ..network::options(&env, &observer, insecure, registry, keychain)?
    };
    Ok(Context {
        env,
        registry: Registry::new(options),
        scratch: Arc::new(Scratch::new()?),
        guardian: Guardian::this_program(),
        store,
        now: since_1970().as_secs(),
        observer,
        names,
        stop: Stop::default(),
    })
}

/// The user's cache.
fn store(env: &Env, observer: &Arc<dyn Observer>) -> Result<Store> {
    let cached::Cache { place, max } = cached::resolve(env)?;
    let observer = Arc::clone(observer);
    Ok(match place {
        cached::Place::Off => Store::off(observer),
        cached::Place::Unknown => Store::unknown(observer),
        cached::Place::At(dir) => Store::at(dir, max, observer),
    })
}

/// What the clock says.
fn since_1970() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
