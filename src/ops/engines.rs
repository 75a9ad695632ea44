//! The engines among the destinations: asked what they run before anything is built.

use std::sync::Arc;

use futures_util::future::try_join_all;

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::oci::Platform;
use crate::ops::Context;
use crate::plan::engines::{self, EngineFact};
use crate::plan::platforms::Requested;
use crate::settings::{self, Destination, Settings};
use crate::target::engine::{Engine, Which};

/// The engines that images are loaded into, all of which have answered.
#[derive(Default)]
pub(super) struct Engines {
    list: Vec<Arc<Engine>>,
    /// Whether images go nowhere else.
    alone: bool,
    /// Whether one also goes to an archive that holds one platform.
    beside_docker_archive: bool,
}

impl Engines {
    /// Asks every engine among the destinations.
    ///
    /// # Errors
    /// One that isn't there, isn't running or can't be reached.
    pub(super) async fn connect(cx: &Context, settings: &Settings) -> Result<Self> {
        let wanted: Vec<Which> = settings.destinations.iter().filter_map(which).collect();
        let asked = wanted.iter().map(|which| Engine::connect(which, cx.env.all(), &settings.cwd));
        let list: Vec<Arc<Engine>> = try_join_all(asked).await?.into_iter().map(Arc::new).collect();
        for engine in &list {
            cx.observer.on(Event::Detail(format!("{} runs {}", engine.name(), engine.platform())));
        }
        let alone = list.len() == settings.destinations.len();
        let is_archive = |d: &Destination| matches!(d, Destination::DockerArchive(_));
        let beside_docker_archive = !list.is_empty() && settings.destinations.iter().any(is_archive);
        Ok(Engines { list, alone, beside_docker_archive })
    }

    /// What is built for them if `requested` is asked for.
    pub(super) fn requested(&self, requested: &Requested) -> Requested {
        engines::requested(requested, &self.facts(), self.alone)
    }

    /// Checks that each of them gets what it runs, now that the platforms are known.
    ///
    /// # Errors
    /// As [`engines::check`]; engines of several platforms beside an archive that holds one.
    pub(super) fn check(&self, cx: &Context, platforms: &[Platform]) -> Result<()> {
        if self.beside_docker_archive && platforms.len() > 1 {
            let why = "a docker-archive holds one platform, the engines run several";
            return Err(Error::new(Kind::Usage, "read --output", why).hint("name one with --platform"));
        }
        for warning in engines::check(platforms, &self.facts())? {
            cx.observer.on(Event::Warning(warning));
        }
        Ok(())
    }

    /// The engine of a destination.
    pub(super) fn of(&self, destination: &Destination) -> Option<Arc<Engine>> {
        let which = which(destination)?;
        self.list.iter().find(|engine| *engine.which() == which).cloned()
    }

    fn facts(&self) -> Vec<EngineFact> {
        let fact = |e: &Arc<Engine>| EngineFact { name: e.name().to_owned(), platform: e.platform().clone() };
        self.list.iter().map(fact).collect()
    }
}

/// The engine that a destination is, if it is one.
fn which(destination: &Destination) -> Option<Which> {
    let Destination::Engine(engine) = destination else { return None };
    Some(match engine {
        settings::Engine::Docker => Which::Docker,
        settings::Engine::Podman => Which::Podman,
        settings::Engine::Containerd(namespace) => Which::Containerd(namespace.clone()),
        settings::Engine::Kind(cluster) => Which::Kind(cluster.clone()),
    })
}
