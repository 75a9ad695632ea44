//! A base out of Docker: `--base ko.local/NAME`, as in ko; and out of a file, `--base docker-archive:FILE`.

use std::path::Path;
use std::sync::Arc;

use crate::content::{Blob, Content};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::image::assemble::Inherited;
use crate::oci::{Platform, Reference};
use crate::ops::{Context, blocking};
use crate::plan::platforms;
use crate::settings::Settings;
use crate::target::engine::{Engine, Saved};

/// What images stand on that have the image `reference` of the local Docker as their base: one platform.
///
/// # Errors
/// No such engine or image, or a platform that it isn't for.
pub(super) async fn lookup(
    cx: &Context,
    settings: &Settings,
    reference: &Reference,
) -> Result<Vec<(Platform, Inherited)>> {
    let name = reference.to_string();
    let within = |e: Error| e.within(format!("use the base {name}"));
    let (compression, jobs) = (settings.compression, settings.jobs);
    let saved = Engine::image(&name, cx.env.all(), &cx.scratch, compression, jobs).await.map_err(within)?;
    cx.observer.on(Event::Base { reference: format!("{name} in docker") });
    inherit(saved, settings, &name)
}

/// The same of a file that `docker save` wrote.
///
/// # Errors
/// A file that isn't there or holds something else, or a platform that it isn't for.
pub(super) async fn archive(
    cx: &Context,
    settings: &Settings,
    path: &Path,
) -> Result<Vec<(Platform, Inherited)>> {
    let name = format!("docker-archive:{}", path.display());
    let (compression, jobs) = (settings.compression, settings.jobs);
    let (scratch, path) = (Arc::clone(&cx.scratch), path.to_owned());
    let saved = blocking(move || Saved::read(&path, compression, jobs, &scratch)).await;
    inherit(saved.map_err(|e| e.within(format!("use the base {name}")))?, settings, &name)
}

fn inherit(saved: Saved, settings: &Settings, name: &str) -> Result<Vec<(Platform, Inherited)>> {
    let mut platform = Platform::new(&saved.config.os, &saved.config.architecture);
    platform.variant.clone_from(&saved.config.variant);
    let layers = saved.layers.into_iter().map(|(path, written)| Blob {
        descriptor: written.descriptor(),
        content: Content::File(path.into()),
    });
    let inherited = Inherited { config: saved.config, layers: layers.collect(), ..Inherited::default() };
    let chosen = platforms::for_base(&settings.platforms, &[platform], name)?;
    Ok(chosen.into_iter().map(|(platform, _)| (platform, inherited.clone())).collect())
}
