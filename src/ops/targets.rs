//! Destinations become targets, each with its copier.

use std::path::Path;
use std::sync::Arc;

use crate::content::Target;
use crate::content::copy::Copier;
use crate::error::{Error, Kind, Result};
use crate::ops::Context;
use crate::ops::engines::Engines;
use crate::registry::RegistryTarget;
use crate::settings::{Attest, Destination, Settings};
use crate::target::archive::{Archive, Format};
use crate::target::engine::EngineTarget;
use crate::target::layout::{Layout, Place};
use crate::target::nowhere::Nowhere;

/// A copier for each destination, in their order.
///
/// # Errors
/// A local destination that can't be one; better said before anything is compiled.
pub(super) fn copiers(cx: &Context, settings: &Settings, engines: &Engines) -> Result<Vec<Copier>> {
    if let Some(dir) = &settings.sboms.dir {
        // Whatever their names: this one is nobody's.
        crate::fs::replaceable(&dir.join(crate::fs::TEMPORARY_PREFIX))?;
    }
    for path in settings.image_refs.iter().chain(&settings.digest_file) {
        crate::fs::replaceable(&settings.cwd.join(path))?;
    }
    for path in settings.report.iter().chain(settings.summary.iter().map(|wanted| &wanted.file)) {
        crate::fs::replaceable(path)?;
    }
    let layout = |place| -> Result<Arc<dyn Target>> {
        let layout = Layout::new(place, cx.origin());
        layout.check()?;
        Ok(Arc::new(layout))
    };
    let archive = |format, path: &Path| -> Result<Arc<dyn Target>> {
        let archive = Archive::new(format, path.to_owned(), cx.origin(), Arc::clone(&cx.scratch));
        archive.check()?;
        Ok(Arc::new(archive))
    };
    let engine = |destination| -> Result<Arc<dyn Target>> {
        let engine = engines.of(destination);
        let engine =
            engine.ok_or_else(|| Error::new(Kind::Internal, "publish", "an engine was never asked"))?;
        let (scratch, observer) = (Arc::clone(&cx.scratch), Arc::clone(&cx.observer));
        Ok(Arc::new(EngineTarget::new(engine, cx.origin(), scratch, observer)))
    };
    let mut copiers = Vec::new();
    for destination in &settings.destinations {
        let target = match destination {
            Destination::Registry => Ok(Arc::new(RegistryTarget::new(cx.registry.clone(), cx.origin())) as _),
            Destination::Layout(dir) => layout(Place::One(dir.clone())),
            Destination::LayoutPerProgram(dir) => layout(Place::PerProgram(dir.clone())),
            Destination::OciArchive(path) => archive(Format::Oci, path),
            Destination::DockerArchive(path) => archive(Format::Docker, path),
            Destination::Nowhere => Ok(Arc::new(Nowhere) as _),
            Destination::Engine(_) => engine(destination),
        }?;
        let copier = Copier::new(target, Arc::clone(&cx.observer), settings.jobs).until(cx.stop.clone());
        // Whoever signs doesn't want the image without its signature.
        copiers.push(match settings.attest == Attest::Required || settings.sign_key.is_some() {
            true => copier.require_referrers(),
            false => copier,
        });
    }
    Ok(copiers)
}
