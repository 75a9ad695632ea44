//! `gimg cacheprog`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::args::Manner;
use crate::cli::network::InsecureArgs;
use crate::cli::{context_with, interruptible, keychain, working_directory};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::ops::cacheprog::{self, Wish};
use crate::settings::RemoteCache;
use crate::settings::env::Env;
use crate::ui::Voice;

#[derive(Debug, Args)]
#[command(
    after_help = "Example: GOCACHEPROG='gimg cacheprog --remote-cache http://cache:8080' go build ./...\n\n\
    Only go starts it. What is fetched and compiled lies in GOCACHE, as without it. A server that fails is\n\
    left out: it never fails a build."
)]
pub(super) struct CacheprogArgs {
    /// The server: http(s)://…, grpc(s)://… or oci://REPO [env: GIMG_REMOTE_CACHE]
    #[arg(long, value_name = "URL")]
    remote_cache: Option<String>,
    /// Also send it what it lacks [env: GIMG_REMOTE_CACHE_WRITE]
    #[arg(long)]
    remote_cache_write: bool,
    /// What is built, in any words: builds with the same fetch ahead what the last one used (-: nothing)
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Go's build cache [env: GOCACHE, which go sets]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    pub(super) manner: Manner,
}

pub(super) fn run(args: CacheprogArgs, env: Env, voice: &Voice) -> Result<()> {
    let remote = RemoteCache::resolve(args.remote_cache, args.remote_cache_write, &env)?;
    let cwd = working_directory(&env)?;
    let dir = args.dir.or_else(|| env.first(&["GOCACHE"]).map(PathBuf::from));
    let dir = dir.filter(|dir| dir != Path::new("off")).ok_or_else(|| {
        Error::new(Kind::Usage, "keep Go's build cache", "neither --dir nor GOCACHE says where")
            .hint("go starts it: GOCACHEPROG='gimg cacheprog …' go build")
    })?;
    let keychain = keychain(&env, RemoteCache::is_registry(remote.as_ref())?)?;
    let cx = context_with(env, voice, args.insecure.choice(), remote.is_some(), keychain)?;
    let wish = Wish { remote: remote.as_ref(), dir: &cwd.join(dir), profile: args.profile, cwd: &cwd };
    let tally = interruptible(&cx, cacheprog::serve(&cx, wish, std::io::stdin(), std::io::stdout()))?;
    cx.observer.on(Event::Detail(format!("gimg cacheprog: {tally}")));
    Ok(())
}
