//! Destinations become targets, each with its copier.

use std::path::Path;
use std::sync::Arc;

use crate::content::Target;
use crate::content::copy::Copier;
use crate::error::Result;
use crate::ops::Context;
use crate::registry::RegistryTarget;
use crate::settings::{Destination, Settings};
use crate::target::archive::{Archive, Format};
use crate::target::layout::{Layout, Place};
use crate::target::nowhere::Nowhere;

/// A copier for each destination, in their order.
///
/// # Errors
/// A local destination that can't be one; better said before anything is compiled.
pub(super) fn copiers(cx: &Context, settings: &Settings) -> Result<Vec<Copier>> {
    let layout = |place| -> Result<Arc<dyn Target>> {
        let layout = Layout::new(place, cx.origin());
        layout.check()?;
        Ok(Arc::new(layout))
    };
    let archive = |format, path: &Path| -> Result<Arc<dyn Target>> {
        Ok(Arc::new(Archive::new(format, path.to_owned(), cx.origin(), Arc::clone(&cx.scratch))))
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
        }?;
        copiers.push(Copier::new(target, Arc::clone(&cx.observer), settings.jobs));
    }
    Ok(copiers)
}
