//! `gimg resolve`: YAML with `ko://` references in, the same YAML with the references of published images out.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::ops::manifests::{Manifests, read};
use crate::ops::{Context, blocking, build};
use crate::settings::{Destination, Settings};

pub use crate::ops::manifests::Files;

/// What stands after each file, as in ko. Within a file no byte changes but the references.
const AFTER_EACH: &[u8] = b"\n---\n";

/// Reads the files, builds and publishes every program that they refer to, all in one run, and gives the files with
/// the references replaced, one after the other.
///
/// # Errors
/// Whatever reading, building or publishing says; a package that can't be built is an error at the place of its
/// first reference.
pub async fn resolve(cx: &Context, settings: &Settings, files: &Files) -> Result<Vec<u8>> {
    let files = files.clone();
    let manifests = blocking(move || read(&files)).await?;
    for warning in &manifests.warnings {
        cx.observer.on(Event::Warning(warning.clone()));
    }
    let references = publish(cx, settings, &manifests).await?;
    let mut out = Vec::new();
    for manifest in &manifests.list {
        let found = manifest.scan.found.iter();
        let references: Vec<&str> =
            found.map(|f| references.get(&f.import_path).map_or("", String::as_str)).collect();
        out.extend(manifest.scan.splice(&manifest.bytes, &references));
        out.extend(AFTER_EACH);
    }
    Ok(out)
}

/// Builds what the files refer to, each program once; gives import path to published reference.
async fn publish(
    cx: &Context,
    settings: &Settings,
    manifests: &Manifests,
) -> Result<BTreeMap<String, String>> {
    let mut settings = settings.clone();
    (settings.packages, settings.places) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for manifest in &manifests.list {
        for found in &manifest.scan.found {
            if seen.insert(&found.import_path) {
                settings.packages.push(found.import_path.clone());
                settings.places.push(format!("{}:{}:{}", manifest.name, found.line, found.column));
            }
        }
    }
    if settings.packages.is_empty() {
        return Ok(BTreeMap::new());
    }
    check_destinations(&settings)?;
    let report = build::build(cx, &settings).await?;
    let mut references = BTreeMap::new();
    for (package, named) in settings.packages.iter().zip(&report.named) {
        let image = named.first().and_then(|i| report.images.get(*i));
        let image = image
            .ok_or_else(|| Error::new(Kind::Internal, format!("resolve {package}"), "no image was made"))?;
        references.insert(package.clone(), image.reference.clone());
    }
    Ok(references)
}

/// What goes into YAML must be something that a cluster can pull.
pub(super) fn check_destinations(settings: &Settings) -> Result<()> {
    let is_file = |d: &Destination| {
        matches!(
            d,
            Destination::Layout(_)
                | Destination::LayoutPerProgram(_)
                | Destination::OciArchive(_)
                | Destination::DockerArchive(_)
        )
    };
    if settings.destinations.iter().all(is_file) {
        let why = "no repository is set, and a cluster can't pull images from local files";
        return Err(Error::new(Kind::Usage, "name the images", why)
            .hint("set --repo, GIMG_REPO or KO_DOCKER_REPO (with --output also --output registry)"));
    }
    Ok(())
}
