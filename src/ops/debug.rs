//! `--debug`: the debugger's layer for each platform.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::attest::Modules;
use crate::error::Result;
use crate::event::{Event, Step, Timing};
use crate::go::{self, Go, Places};
use crate::image::Written;
use crate::image::contents::{self, ProgramFile};
use crate::oci::Platform;
use crate::ops::modules;
use crate::ops::publish::Publisher;
use crate::plan::{PROGRAMS_DIR, command, debug};

/// The debugger for one platform.
#[derive(Clone)]
pub(super) struct Debugger {
    /// Its layer.
    pub(super) layer: (Written, Arc<Path>),
    /// What it is made of.
    pub(super) modules: Option<Modules>,
}

/// The debuggers by platform; empty without `--debug`.
pub(super) type Debuggers = BTreeMap<Platform, Debugger>;

/// Builds and packs the debugger once for each platform, whatever the number of images.
pub(super) async fn debuggers(go: &Go, publisher: &Publisher<'_>) -> Result<Debuggers> {
    let mut layers = Debuggers::new();
    let platforms = publisher.images.iter().flat_map(|i| &i.platforms);
    // One at a time, beside the programs: there are few.
    for platform in platforms.filter(|_| publisher.settings.debug) {
        if !layers.contains_key(platform) {
            layers.insert(platform.clone(), debugger(go, publisher, platform).await?);
        }
    }
    Ok(layers)
}

async fn debugger(go: &Go, publisher: &Publisher<'_>, platform: &Platform) -> Result<Debugger> {
    let (observer, scratch) = (&publisher.cx.observer, &publisher.cx.scratch);
    let packages = vec![debug::PACKAGE.to_owned()];
    observer.on(Event::CompileStarted { platform: platform.clone(), packages: packages.clone() });
    let start = Instant::now();
    let target = command::target(platform, &go.toolchain, &[])?;
    let (module, out, temporary) = (scratch.directory()?, scratch.directory()?, scratch.directory()?);
    let step = Step::Compile { platform: platform.clone(), packages: packages.clone() };
    let timing = Timing::of(observer, step);
    let binary = timing.end(go::delve(go, &target, &module, &out, &temporary).await)?;
    let elapsed = start.elapsed();
    observer.on(Event::Compiled { platform: platform.clone(), packages, elapsed });
    let name = debug::PROGRAM.to_owned();
    let file = ProgramFile { name, path: binary.path.clone(), size: binary.size, capabilities: None };
    let tree = contents::programs(PROGRAMS_DIR, &[file])?;
    let layer = publisher.write(tree, crate::fs::open).await?;
    let modules = match &binary.header.build_info {
        Some(info) => Some(modules::of(publisher.cx, Some(&Places::of_cache(go)), info, &binary.path).await?),
        None => None,
    };
    scratch.remove(&binary.path);
    Ok(Debugger { layer, modules })
}
