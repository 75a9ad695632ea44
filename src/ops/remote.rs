//! The remote cache of Go's compiles within a build: what the last one used is fetched while packages are listed and
//! modules come; `go build` then finds it in its own directory, and asks for the rest through `gimg cacheprog`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use crate::cache::{Backend, Local, Packs, Remote, Server, Session};
use crate::error::Result;
use crate::event::{Event, Step, Timing};
use crate::go::{self, CacheProgram, Go};
use crate::ops::Context;
use crate::process;
use crate::settings::{RemoteCache, Settings};

/// The server that `wish` names.
///
/// # Errors
/// A URL that is none, a name that no repository has, or certificates or proxies that can't be read.
pub(super) fn open(cx: &Context, wish: &RemoteCache) -> Result<Server> {
    let observer = Arc::clone(&cx.observer);
    if let Some(repository) = wish.repository()? {
        return Ok(Server::Packs(Arc::new(Packs::new(cx.registry.clone(), repository, observer))));
    }
    let backend = Backend::new(&wish.url, wish.token.as_deref(), &cx.registry)?;
    Ok(Server::Objects(Arc::new(Remote::new(backend, observer))))
}

/// What is fetched ahead in a run.
pub(super) struct Ahead<'a> {
    cx: &'a Context,
    settings: &'a Settings,
    wish: &'a RemoteCache,
    server: Server,
    /// By platform.
    running: Mutex<BTreeMap<String, JoinHandle<Session>>>,
}

impl<'a> Ahead<'a> {
    /// For a run; none if it has no remote cache.
    ///
    /// # Errors
    /// As [`open`].
    pub(super) fn new(cx: &'a Context, settings: &'a Settings) -> Result<Option<Self>> {
        let Some(wish) = &settings.remote_cache else { return Ok(None) };
        Ok(Some(Ahead { cx, settings, wish, server: open(cx, wish)?, running: Mutex::default() }))
    }

    /// Begins to fetch for the platforms that were asked for by name.
    pub(super) fn begin(&self, go: &Go) {
        for platform in self.settings.platforms.named().unwrap_or_default() {
            self.start(go, &platform.to_string());
        }
    }

    fn start(&self, go: &Go, platform: &str) {
        let Some(dir) = go.toolchain.env.get("GOCACHE").filter(|dir| *dir != "off") else { return };
        let name = self.name(go, platform);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.entry(platform.to_owned()).or_insert_with(|| {
            let server = Some(self.server.clone());
            let session = Session::new(Local::new(Path::new(dir)), server, false, Some(name));
            tokio::spawn(async move {
                session.prefetch().await;
                let linking = session.clone();
                let _ = tokio::task::spawn_blocking(move || linking.link()).await;
                session
            })
        });
    }

    /// Waits until all is here that is fetched ahead for a platform, and gives the program by which `go build` asks for
    /// the rest; none if there is no use in asking.
    pub(super) async fn ready(&self, go: &Go, platform: &str) -> Option<CacheProgram> {
        let step = |objects, bytes| Step::Fetch { platform: platform.to_owned(), objects, bytes };
        let timing = Timing::of(&self.cx.observer, step(0, 0));
        self.start(go, platform);
        let session = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(platform)?;
        let tally = session.await.ok()?.finish().await;
        let text = format!(
            "remote cache for {platform}: {} objects fetched ahead, {} bytes",
            tally.fetched, tally.fetched_bytes
        );
        self.cx.observer.on(Event::Detail(text));
        timing.end_as(step(tally.fetched, tally.fetched_bytes));
        let program = process::this_program().filter(|_| self.server.is_of_use(self.wish.writes))?;
        let mut args = vec!["cacheprog".to_owned()];
        // What it names is here already; whoever writes a new one must know it.
        let name = if self.wish.writes { self.name(go, platform) } else { "-".to_owned() };
        args.push(format!("--profile={name}"));
        Some(CacheProgram { program, args, env: self.wish.variables() })
    }

    /// Whose profile it is. Not the flags: most change a part of what is used only, and a linker flag nothing.
    fn name(&self, go: &Go, platform: &str) -> String {
        profile(&self.settings.cwd, &self.settings.packages, &[&go.toolchain.version, platform])
    }
}

/// The name of a profile: a digest of the module around `cwd`, what is built of it, and `rest`.
pub(super) fn profile(cwd: &Path, packages: &[String], rest: &[&str]) -> String {
    let around = go::module_around(cwd);
    let below = around.as_ref().and_then(|(dir, _)| cwd.strip_prefix(dir).ok()).unwrap_or(Path::new(""));
    let module = around.as_ref().map_or("", |(_, path)| path);
    let mut packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    packages.sort_unstable();
    let text = format!("{module}\n{}\n{packages:?}\n{rest:?}", below.display());
    crate::oci::Digest::of(text.as_bytes()).hex()
}
