//! `gimg build`: the product on one page.

use std::time::Instant;

use tokio::sync::SetOnce;

use crate::error::Result;
use crate::event::Event;
use crate::ops::Context;
use crate::ops::compile::Compiler;
use crate::ops::debug;
use crate::ops::lookup::{Found, lookup};
use crate::ops::publish::Publisher;
use crate::ops::targets;
use crate::plan;
use crate::plan::facts::Package;
use crate::report::Report;
use crate::settings::Settings;

/// Compiles, packs and publishes.
///
/// # Errors
/// Whatever a stage says; nothing is tagged then.
pub async fn build(cx: &Context, settings: &Settings) -> Result<Report> {
    let start = Instant::now();
    for warning in &settings.warnings {
        cx.observer.on(Event::Warning(warning.clone()));
    }
    let Found { facts, go, bases, engines, certificates } = lookup(cx, settings).await?;
    let plan = plan::plan(settings, &facts)?;
    let copiers = targets::copiers(cx, settings, &engines)?;
    let (images, bases, copiers, certificates) = (&plan.images, &bases, &copiers, &certificates);
    let publisher = Publisher { cx, settings, images, bases, copiers, certificates, between: SetOnce::new() };
    let compiler = Compiler::new(&go, &plan, &publisher);
    let debuggers = debug::debuggers(&go, &publisher);
    let (packed, ()) = tokio::try_join!(compiler.run(), publisher.prepare(debuggers))?;
    let images = publisher.publish(&packed).await?;
    compiler.warn_about_stamps().await;
    let of = |p: &Package| images.iter().position(|i| i.import_path == p.import_path);
    let named = facts.packages.iter().map(|argument| argument.iter().filter_map(of).collect()).collect();
    Ok(Report { images, named, elapsed: start.elapsed() })
}
