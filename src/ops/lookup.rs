//! Settings become facts: the toolchain, the packages and the base, each asked once.

use std::path::PathBuf;

use crate::error::Result;
use crate::event::Event;
use crate::go::{self, Go};
use crate::ops::Context;
use crate::ops::base::{self, Bases};
use crate::plan::command;
use crate::plan::facts::{Facts, Package};
use crate::plan::packages::{self, Modules, Query};
use crate::settings::Settings;

/// What was looked up: facts for the plan, and what later stages take from the base.
pub(super) struct Found {
    pub(super) facts: Facts,
    pub(super) go: Go,
    pub(super) bases: Bases,
}

/// Looks everything up, toolchain and base side by side.
pub(super) async fn lookup(cx: &Context, settings: &Settings) -> Result<Found> {
    let (go, bases) = tokio::try_join!(
        go::find(&settings.go.program, &settings.cwd, cx.env.all()),
        base::lookup(cx, settings)
    )?;
    let packages = find_packages(&go, settings, &bases).await?;
    let platforms = bases.platforms();
    cx.observer.on(Event::Detail(format!("{} builds {} platforms", go.toolchain.version, platforms.len())));
    let facts = Facts { toolchain: go.toolchain.clone(), packages, platforms };
    Ok(Found { facts, go, bases })
}

/// The main packages of every argument.
async fn find_packages(go: &Go, settings: &Settings, bases: &Bases) -> Result<Vec<Vec<Package>>> {
    let main = go::main_modules(go, &settings.cwd).await?;
    let modules = Modules { nearest: &crate::fs::nearest_module, main: &main };
    let queries = packages::queries(&settings.packages, &settings.cwd, &modules);
    let Some(first) = bases.platforms().into_iter().next() else { return Ok(Vec::new()) };
    let target = command::target(&first, &go.toolchain)?;
    let mut found = vec![Vec::new(); settings.packages.len()];
    for query in &queries {
        check_module(query, &main)?;
        let lists = go::list(go, query, &settings.go.flags, &target).await?;
        for (argument, packages) in query.arguments.iter().zip(lists) {
            let packages = packages.map_err(|e| match settings.places.get(*argument) {
                Some(place) => e.at(place),
                None => e,
            })?;
            if let Some(slot) = found.get_mut(*argument) {
                *slot = packages;
            }
        }
    }
    Ok(found)
}

/// Without a module or workspace `go` would speak of GOPATH; say it plainly.
fn check_module(query: &Query, main: &[PathBuf]) -> Result<()> {
    if main.is_empty() && crate::fs::nearest_module(&query.dir).is_none() {
        return Err(go::no_module(&query.dir));
    }
    Ok(())
}
