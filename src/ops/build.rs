//! `gimg build`: the product on one page.

use std::time::Instant;

use tokio::sync::{Semaphore, SetOnce};

use crate::error::Result;
use crate::event::Event;
use crate::go::Places;
use crate::ops::Context;
use crate::ops::compile::Compiler;
use crate::ops::debug;
use crate::ops::hermetic;
use crate::ops::lookup::{Found, lookup};
use crate::ops::memo::Memo;
use crate::ops::provenance::Recipes;
use crate::ops::publish::Publisher;
use crate::ops::remember::Layers;
use crate::ops::remote::Ahead;
use crate::ops::shared::Shared;
use crate::ops::signer::Signer;
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
    for warning in &settings.warnings {
        cx.observer.on(Event::Warning(warning.clone()));
    }
    let memo = Memo::new(cx, settings.reuse);
    match attempt(cx, settings, &memo).await {
        Err(error) if memo.misled().await => {
            let again = format!("a layer in the cache was damaged ({error}): everything is built again");
            cx.observer.on(Event::Warning(again));
            attempt(cx, settings, &Memo::afresh(cx, settings.reuse)).await
        }
        result => result,
    }
}

async fn attempt(cx: &Context, settings: &Settings, memo: &Memo) -> Result<Report> {
    let start = Instant::now();
    let ahead = Ahead::new(cx, settings)?;
    let ahead = ahead.as_ref();
    let found = lookup(cx, settings, memo, ahead).await?;
    let Found { facts, go, bases, engines, certificates, module } = found;
    let plan = plan::plan(settings, &facts)?;
    let copiers = targets::copiers(cx, settings, &engines)?;
    let sandbox = hermetic::sandbox(cx, settings, &go, &plan).await?;
    let signer = Signer::new(cx, settings).await?;
    let (images, bases, copiers, certificates) = (&plan.images, &bases, &copiers, &certificates);
    let publisher = Publisher {
        cx,
        settings,
        images,
        bases,
        copiers,
        certificates,
        memo: Some(memo),
        places: Some(Places::of_build(&go, &plan)),
        signer,
        between: SetOnce::new(),
        writing: Semaphore::new(settings.jobs),
    };
    let shared = match settings.shares && memo.recalls() {
        true => Some(Shared::new(&go, &plan, &publisher, memo).await?),
        false => None,
    };
    let layers = Layers::new(&go, &plan, &publisher, memo, shared.as_ref());
    let compiler = Compiler::new(&go, &plan, &publisher, layers, (ahead, sandbox.as_ref()));
    let debuggers = debug::debuggers(&go, &publisher);
    let recipes = async {
        match settings.provenance && publisher.attaches() {
            true => Ok(Some(
                Recipes::of(cx, settings, (&go, module.as_ref(), sandbox.as_ref()), &plan, bases).await,
            )),
            false => Ok(None),
        }
    };
    let (packed, (), recipes) = tokio::try_join!(compiler.run(), publisher.prepare(debuggers), recipes)?;
    let images = publisher.publish(&packed, shared.as_ref(), recipes.as_ref()).await?;
    compiler.warn_about_stamps().await;
    let of = |p: &Package| images.iter().position(|i| i.import_path == p.import_path);
    let named = facts.packages.iter().map(|argument| argument.iter().filter_map(of).collect()).collect();
    Ok(Report { images, named, elapsed: start.elapsed() })
}
