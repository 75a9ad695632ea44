//! A base out of Docker: `--base ko.local/NAME`, as in ko.

use crate::content::{Blob, Content};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::image::assemble::Inherited;
use crate::oci::{Platform, Reference};
use crate::ops::Context;
use crate::plan::platforms;
use crate::settings::Settings;
use crate::target::engine::Engine;

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
    let mut platform = Platform::new(&saved.config.os, &saved.config.architecture);
    platform.variant.clone_from(&saved.config.variant);
    let layers = saved.layers.into_iter().map(|(path, written)| Blob {
        descriptor: written.descriptor(),
        content: Content::File(path.into()),
    });
    let inherited = Inherited { config: saved.config, layers: layers.collect(), ..Inherited::default() };
    let chosen = platforms::for_base(&settings.platforms, &[platform], &name)?;
    Ok(chosen.into_iter().map(|(platform, _)| (platform, inherited.clone())).collect())
}
