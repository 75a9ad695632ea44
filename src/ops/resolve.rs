//! `gimg resolve`: YAML with `ko://` references in, the same YAML with the references of published images out.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::kube::{Draft, Image};
use crate::ops::in_place::{self, Wish};
use crate::ops::manifests::read;
use crate::ops::{Context, blocking, build};
use crate::report::Published;
use crate::settings::{Destination, Settings};

pub use crate::ops::manifests::Files;

/// What stands after each file, as in ko. Within a file no byte changes but the references.
const AFTER_EACH: &[u8] = b"\n---\n";

/// Reads the files, builds and publishes every program that they refer to, all in one run, and gives the files with
/// the references replaced, one after the other. `wishes` put further images at places of the files.
///
/// # Errors
/// Whatever reading, building or publishing says; a package that can't be built is an error at the place of its
/// first reference; a place that no file has, or where no image can be put.
pub async fn resolve(cx: &Context, settings: &Settings, files: &Files, wishes: &[Wish]) -> Result<Vec<u8>> {
    if !wishes.is_empty() {
        return placed(cx, settings, files, wishes).await;
    }
    let files = files.clone();
    let manifests = blocking(move || read(&files)).await?;
    for warning in &manifests.warnings {
        cx.observer.on(Event::Warning(warning.clone()));
    }
    let wanted = manifests.list.iter().flat_map(|manifest| {
        let found = manifest.scan.found.iter();
        found.map(|f| (f.import_path.clone(), format!("{}:{}:{}", manifest.name, f.line, f.column)))
    });
    let images: BTreeMap<String, Published> = publish(cx, settings, wanted).await?.into_iter().collect();
    let mut out = Vec::new();
    for manifest in &manifests.list {
        let found = manifest.scan.found.iter();
        let references: Vec<&str> =
            found.map(|f| images.get(&f.import_path).map_or("", |i| i.reference.as_str())).collect();
        out.extend(manifest.scan.splice(&manifest.bytes, &references));
        out.extend(AFTER_EACH);
    }
    Ok(out)
}

/// The same with images at places.
async fn placed(cx: &Context, settings: &Settings, files: &Files, wishes: &[Wish]) -> Result<Vec<u8>> {
    in_place::check(settings)?;
    if files.selector.as_ref().is_some_and(|s| !s.is_empty()) {
        let why = "with --selector there are no places: what it leaves out is cut from the file";
        return Err(Error::new(Kind::Usage, "read --set-image", why));
    }
    let (files, wishes) = (files.clone(), wishes.to_vec());
    let work = blocking(move || {
        let manifests = read(&files)?;
        let drafts = manifests.list.iter().map(|m| Draft::read(&m.name, &m.bytes, false));
        let mut drafts: Vec<Draft> = drafts.collect::<Result<_>>()?;
        let names = manifests.list.iter().map(|m| m.name.as_str());
        in_place::want(names.zip(&mut drafts), &wishes)?;
        Ok((manifests, drafts))
    });
    let (manifests, drafts) = work.await?;
    for warning in &manifests.warnings {
        cx.observer.on(Event::Warning(warning.clone()));
    }
    in_place::rehearse(drafts.iter())?;
    let names = manifests.list.iter().map(|m| m.name.as_str());
    let images = publish(cx, settings, in_place::wanted(names.zip(&drafts))).await?;
    let images = images.into_iter().map(|(package, image)| Ok((package, in_place::by_digest(&image)?)));
    let images: BTreeMap<String, Image> = images.collect::<Result<_>>()?;
    let mut out = Vec::new();
    for (manifest, draft) in manifests.list.iter().zip(&drafts) {
        match draft.sites.is_empty() {
            true => out.extend_from_slice(&manifest.bytes),
            false => out.extend(draft.with(&images)?.into_bytes()),
        }
        out.extend(AFTER_EACH);
    }
    Ok(out)
}

/// Builds the programs that are `wanted`, each with the place that wants it, each program once; gives the programs in
/// the order in which they are wanted first, with what was published.
pub(super) async fn publish(
    cx: &Context,
    settings: &Settings,
    wanted: impl Iterator<Item = (String, String)>,
) -> Result<Vec<(String, Published)>> {
    let mut settings = settings.clone();
    (settings.packages, settings.places) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (package, place) in wanted {
        if seen.insert(package.clone()) {
            settings.packages.push(package);
            settings.places.push(place);
        }
    }
    if settings.packages.is_empty() {
        return Ok(Vec::new());
    }
    check_destinations(&settings)?;
    let report = build::build(cx, &settings).await?;
    let mut images = Vec::new();
    for (package, named) in settings.packages.iter().zip(&report.named) {
        let image = named.first().and_then(|i| report.images.get(*i));
        let image = image
            .ok_or_else(|| Error::new(Kind::Internal, format!("resolve {package}"), "no image was made"))?;
        images.push((package.clone(), image.clone()));
    }
    Ok(images)
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
