//! `gimg why`: the reasons for which two images, or two programs' files, have different digests.

use crate::error::{Error, Kind, Result};
use crate::explain::recipe::Recorded;
use crate::explain::{Cause, Change, Explanation, Sort, Subject as Named, documents, in_order, merged};
use crate::oci::{Descriptor, Platform};
use crate::ops::Context;
use crate::ops::compared;
use crate::ops::opened::{self, Opened, Root};
use crate::ops::recorded::recorded;
use crate::settings::subject::Subject;

/// What provenance says of both, if it does.
type Said<'a> = Option<(&'a Recorded, &'a Recorded)>;

/// What is told about a failure.
const WHAT: &str = "compare";

/// Why `was` and `now` differ; of images for several platforms on all that both have, or on `platform`.
///
/// # Errors
/// What can't be read, and what can't be compared: a file with an image, or a package (kind `Usage`).
pub async fn why(
    cx: &Context,
    was: &Subject,
    now: &Subject,
    platform: Option<&Platform>,
) -> Result<Explanation> {
    if let (Subject::File(was), Subject::File(now)) = (was, now) {
        return compared::files(cx, was, now).await;
    }
    for subject in [was, now] {
        let (why, hint) = match subject {
            Subject::File(_) => ("one is a file, the other an image", "compare two images or two files"),
            Subject::Package(_) => ("a package has no digest", "build it, and name its image or program"),
            _ => continue,
        };
        return Err(Error::new(Kind::Usage, WHAT, why).hint(hint));
    }
    let (was, now) = tokio::try_join!(opened::root(cx, was), opened::root(cx, now))?;
    let is_same = was.descriptor.digest == now.descriptor.digest;
    let said = if is_same { (None, None) } else { tokio::join!(recorded(cx, &was), recorded(cx, &now)) };
    let said = said.0.as_ref().zip(said.1.as_ref());
    match platform {
        Some(platform) => one(cx, (&was, &now), said, platform).await,
        None => all(cx, &was, &now, said).await,
    }
}

fn named(root: &Root, descriptor: &Descriptor) -> Named {
    Named { name: root.name.clone(), digest: descriptor.digest }
}

/// The images for one platform.
async fn one(
    cx: &Context,
    (was, now): (&Root, &Root),
    said: Said<'_>,
    platform: &Platform,
) -> Result<Explanation> {
    let (old, new) = tokio::try_join!(was.open(Some(platform)), now.open(Some(platform)))?;
    let same = old.descriptor.digest == new.descriptor.digest;
    let causes = if same { Vec::new() } else { compared::images(cx, &old, &new, said).await? };
    let subjects = [named(was, &old.descriptor), named(now, &new.descriptor)];
    Ok(Explanation { subjects, same, causes: in_order(causes) })
}

/// Everything.
async fn all(cx: &Context, was: &Root, now: &Root, said: Said<'_>) -> Result<Explanation> {
    let subjects = [named(was, &was.descriptor), named(now, &now.descriptor)];
    if was.descriptor.digest == now.descriptor.digest {
        return Ok(Explanation { subjects, same: true, causes: Vec::new() });
    }
    let (mut old, mut new) = tokio::try_join!(entries(was), entries(now))?;
    let order = |entries: &[Listed]| entries.iter().map(|e| e.platform.to_string()).collect::<Vec<_>>();
    let orders = (order(&old), order(&new));
    let mut found = Vec::new();
    let mut shape = Vec::new();
    while !old.is_empty() {
        let one = old.remove(0);
        let Some(at) = new.iter().position(|other| other.platform == one.platform) else {
            shape.push(Cause::new(Sort::Platform, one.platform.to_string(), Change::Removed));
            continue;
        };
        let other = new.remove(at);
        let platform = one.platform.clone();
        let causes = match one.descriptor.digest == other.descriptor.digest {
            true => Vec::new(),
            false => {
                let (one, other) = tokio::try_join!(one.open(was), other.open(now))?;
                compared::images(cx, &one, &other, said).await?
            }
        };
        found.push((platform, causes));
    }
    let added = new.into_iter();
    shape.extend(added.map(|one| Cause::new(Sort::Platform, one.platform.to_string(), Change::Added)));
    if shape.is_empty() {
        shape.extend(shapes(was, now, orders));
    }
    let mut causes = merged(found);
    causes.extend(shape);
    if let (Some(old), Some(new)) = (&was.index, &now.index) {
        let annotated = documents::annotated(&old.annotations, &new.annotations);
        // An annotation of the index is on its images too, and so are the reasons for it.
        let is_new = |cause: &Cause| !causes.iter().any(|known| known.tells(cause));
        causes.extend(annotated.into_iter().filter(is_new).collect::<Vec<_>>());
        let attestations = |index: &crate::oci::ImageIndex| {
            index.manifests.iter().filter(|d| d.is_attestation()).map(|d| d.digest).collect::<Vec<_>>()
        };
        if attestations(old) != attestations(new) {
            causes.push(Cause::new(Sort::Index, "attestations", Change::Changed));
        }
    }
    if causes.is_empty() {
        let cause = Cause::new(Sort::Form, "the index", Change::Changed);
        causes.push(cause.note("it says the same in other words"));
    }
    Ok(Explanation { subjects, same: false, causes: in_order(causes) })
}

/// What differs of two indexes with images for the same platforms.
fn shapes(was: &Root, now: &Root, orders: (Vec<String>, Vec<String>)) -> Option<Cause> {
    let (old, new) = (orders.0.join(", "), orders.1.join(", "));
    match (&was.index, &now.index) {
        (None, Some(_)) => Some(Cause::new(Sort::Index, "", Change::Added)),
        (Some(_), None) => Some(Cause::new(Sort::Index, "", Change::Removed)),
        _ => Cause::between(Sort::Platforms, "", Some(&old), Some(&new)),
    }
}

/// An image, and the platform that it is for.
struct Listed {
    descriptor: Descriptor,
    platform: Platform,
    opened: Option<Opened>,
}

impl Listed {
    async fn open(self, root: &Root) -> Result<Opened> {
        match self.opened {
            Some(opened) => Ok(opened),
            None => root.image(self.descriptor, Some(self.platform)).await,
        }
    }
}

/// The images of a root, by platform.
async fn entries(root: &Root) -> Result<Vec<Listed>> {
    if root.index.is_some() {
        let images = root.images().into_iter();
        return Ok(images.map(|(descriptor, p)| Listed { descriptor, platform: p, opened: None }).collect());
    }
    let image = root.image(root.descriptor.clone(), None).await?;
    let (descriptor, platform) = (image.descriptor.clone(), image.platform.clone());
    Ok(vec![Listed { descriptor, platform, opened: Some(image) }])
}
