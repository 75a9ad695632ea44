//! What a run made: data for people and machines.

mod cache;
mod dry_run;
mod edited;
mod history;
mod inspect;
mod layer;
mod lock;
mod outdated;
mod rebase;
mod rollback;
mod summary;
mod verify;

use std::time::Duration;

use serde::Serialize;

use crate::oci::{Descriptor, Digest, MediaType, Reference};

pub use cache::{CacheAmount, CacheInfo, CachePruned, CacheVerified, CacheWrong};
pub use dry_run::{
    DryRun, LayerKind, PlannedBase, PlannedCompile, PlannedConfig, PlannedImage, PlannedLayer,
    PlannedPlatform,
};
pub use edited::{Edited, EditedFile, EditedImage};
pub use history::{History, HistoryImage};
pub use inspect::{
    Against, Attached, AttachedKind, Growth, GrowthOf, Inspected, InspectedConfig, InspectedImage,
    InspectedLayer, InspectedModule, InspectedProgram, PackageSize, SectionKind, SectionSize,
};
pub use layer::WrittenLayer;
pub use lock::{LockChange, Locked};
pub use outdated::{BaseState, Outdated, OutdatedBase, OutdatedGo, OutdatedImage, Vulnerability};
pub use rebase::{Rebased, RebasedPlatform};
pub use rollback::RolledBack;
pub use summary::{Before, Comparison, Summarized, Summary};
pub use verify::Verified;

/// What a run made, for people and machines. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The images, in the order of the arguments.
    pub images: Vec<Published>,
    /// For each package argument, which of the images it named.
    #[serde(skip)]
    pub named: Vec<Vec<usize>>,
    /// The whole run, in seconds.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
}

/// One published image or index.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// What to call it.
    pub reference: String,
    /// The same image at further destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The program.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub import_path: String,
    /// The digest of the manifest or index.
    pub digest: Digest,
    /// Its type.
    pub media_type: MediaType,
    /// Its tags.
    pub tags: Vec<String>,
    /// What they stood for before, if somebody asked.
    #[serde(skip_serializing_if = "is_no_image")]
    pub before: Before,
    /// Its place in the registry, by digest, if it was pushed.
    #[serde(skip)]
    pub pushed: Option<Reference>,
    /// What it holds for each platform, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<PublishedPlatform>,
}

/// An image of one platform.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedPlatform {
    /// `os/arch[/variant]`.
    pub platform: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Manifest, config and layers in bytes.
    pub size: u64,
    /// The program in bytes, before compression.
    pub binary_size: u64,
    /// The layers, from the lowest up.
    pub layers: Vec<Descriptor>,
}

fn is_no_image(before: &Before) -> bool {
    !before.is_image()
}

fn seconds<S: serde::Serializer>(elapsed: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((elapsed.as_secs_f64() * 1000.0).round() / 1000.0)
}
