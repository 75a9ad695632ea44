//! What a run would do: data for people and machines. No secret is in it any more.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::oci::{Digest, MediaType};

/// What a run would do. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRun {
    /// The images, in the order of the arguments.
    pub images: Vec<PlannedImage>,
    /// The `go build` runs.
    pub compiles: Vec<PlannedCompile>,
    /// The toolchain, such as `go1.26.8`, if one is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub go_version: Option<String>,
}

/// An image or index to be made.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedImage {
    /// The program.
    pub import_path: String,
    /// Its repository, or what the program is called where none is set.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where it goes.
    pub destinations: Vec<String>,
    /// What it stands on; where platforms differ, the first one's.
    pub base: PlannedBase,
    /// Its platforms, in order.
    pub platforms: Vec<PlannedPlatform>,
    /// The layers over the base, from the lowest up; each is made for every platform.
    pub layers: Vec<PlannedLayer>,
    /// What the config says besides what follows from base and programs.
    pub config: PlannedConfig,
    /// Annotations to add to manifests and index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What an image stands on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedBase {
    /// In the words of `--base`.
    pub name: String,
    /// The digest that the name stands for now, if it names an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// One platform of an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedPlatform {
    /// `os/arch[/variant]`.
    pub platform: String,
    /// Its base, where the platforms of the image have several; in the words of `--base`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The digest of the base's manifest for it, if the base comes from a registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_digest: Option<Digest>,
    /// Where its programs lie in the image; the first is the one that runs.
    pub programs: Vec<String>,
}

/// What a layer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LayerKind {
    /// The program's data.
    Kodata,
    /// Files of the configuration.
    Files,
    /// The CA bundle, with certificates added.
    Certificates,
    /// The programs.
    Programs,
    /// The debugger.
    Debugger,
}

/// A layer to be made.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedLayer {
    /// What it is for.
    pub kind: LayerKind,
    /// What goes into it: files or directories, or the import paths of what is compiled.
    pub from: Vec<String>,
    /// Where it goes in the image.
    pub to: String,
    /// Its type.
    pub media_type: MediaType,
}

/// What an image's config says; what is absent is the base's.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedConfig {
    /// The user to run as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where the program starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Environment of the program.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// A command before the program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments that the program gets if none are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Further fields, as they will stand in the config.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// A `go build` run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedCompile {
    /// What it compiles for.
    pub platform: String,
    /// The import paths.
    pub packages: Vec<String>,
    /// Where it runs.
    pub dir: String,
    /// The program and its arguments; `TMP` stands for the run's private directory.
    pub argv: Vec<String>,
    /// The variables that are set for it; it has all others as gimg has them, but for GOOS and GOARCH.
    pub env: BTreeMap<String, String>,
}
