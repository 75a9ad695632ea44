//! What `gimg inspect` found: data for people and machines.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::explain::Explanation;
use crate::oci::{Digest, MediaType};

/// An image, or a program's file. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspected {
    /// What the user calls it.
    pub name: String,
    /// The digest of its manifest or index; of a program's file that of its content.
    pub digest: Digest,
    /// Its type; none of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The annotations of the index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What refers to it in its registry; none where that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<Vec<Attached>>,
    /// The images, in the order of the index; none of a file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<InspectedImage>,
    /// Which of them stands for all where one is enough: that for linux/amd64, or the first.
    #[serde(skip)]
    pub usual: usize,
    /// The program, of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<InspectedProgram>,
    /// What differs from another one, if there is one to compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

impl Inspected {
    /// Every program, with the platform that it is for; of a file there is none.
    pub fn programs(&self) -> impl Iterator<Item = (Option<&str>, &InspectedProgram)> {
        let images = self.platforms.iter().flat_map(|image| {
            image.programs.iter().flatten().map(move |program| (Some(image.platform.as_str()), program))
        });
        images.chain(self.program.iter().map(|program| (None, program)))
    }
}

/// The image for one platform.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedImage {
    /// `os/arch[/variant]`.
    pub platform: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its type.
    pub media_type: MediaType,
    /// Manifest, config and layers in bytes.
    pub size: u64,
    /// What it stands on, with the digest of that, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The annotations of its manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What refers to it in its registry; none where that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached: Option<Vec<Attached>>,
    /// What its config says.
    pub config: InspectedConfig,
    /// The layers, from the lowest up.
    pub layers: Vec<InspectedLayer>,
    /// The Go programs in the layers that aren't the base's, by path; none if they weren't looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<Vec<InspectedProgram>>,
}

/// Something that refers to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// What it is.
    pub kind: AttachedKind,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its type, if the list says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// What sort of thing it says, if the list says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicate_type: Option<String>,
}

/// What something is that refers to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AttachedKind {
    /// What it is made of.
    Sbom,
    /// How it was built.
    Provenance,
    /// Who stands for it.
    Signature,
    /// What its programs were made from (docs/cache.md).
    Inputs,
    /// Something else.
    Other,
}

/// What an image's config says; what is absent it doesn't say.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedConfig {
    /// When it was made, as it says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The user to run as.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Where the program starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The program and its first arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Further arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// `KEY=value`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Further fields, as they stand in the config.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

/// A layer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedLayer {
    /// The digest of the stored bytes.
    pub digest: Digest,
    /// The type.
    pub media_type: MediaType,
    /// The stored bytes.
    pub size: u64,
    /// The digest of the uncompressed tar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
    /// Whether it is the base's, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<bool>,
    /// When it was made, as its history says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What made it, as its history says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// What for, as its history says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A Go program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedProgram {
    /// Where it is in the image, or the file.
    pub path: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its format and CPU, in words.
    pub format: String,
    /// Its bytes.
    pub size: u64,
    /// The toolchain, such as `go1.26.8`.
    pub go: String,
    /// The import path of its main package, if Go recorded it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub package: String,
    /// The module of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<InspectedModule>,
    /// The modules that it was built with.
    pub modules: Vec<InspectedModule>,
    /// What Go recorded of its build, such as `GOARCH` or `vcs.revision`.
    pub settings: BTreeMap<String, String>,
    /// The code of each package, the largest first; none if the table of functions can't be read.
    pub packages: Vec<PackageSize>,
    /// Everything else in the file; with the code it is all of it.
    pub sections: Vec<SectionSize>,
}

impl InspectedProgram {
    /// What isn't packages' code by what it is for, without what there is nothing of.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<SectionKind, u64> {
        let mut kinds = BTreeMap::new();
        for section in &self.sections {
            *kinds.entry(section.kind).or_default() += section.size;
        }
        kinds
    }
}

/// A module.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InspectedModule {
    /// Its path.
    pub path: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Go's hash of its files, as in go.sum.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sum: String,
    /// The module or directory that stands in for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace: Option<Box<InspectedModule>>,
    /// Its licence, as an SBOM that is attached to the image says, else as its code in the module cache does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// The code of its packages, in bytes.
    pub size: u64,
}

/// The code of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageSize {
    /// Its import path; empty for code that is no package's.
    pub package: String,
    /// Its module: a path, or `std`; none where that isn't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// In bytes.
    pub size: u64,
}

/// A part of a program's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SectionSize {
    /// As the file calls it.
    pub name: String,
    /// What it is for: `code`, `data`, `functions`, `symbols`, `debug`, `other`.
    pub kind: SectionKind,
    /// In bytes.
    pub size: u64,
}

/// What a part of a program's file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SectionKind {
    /// Machine code that is no Go package's.
    Code,
    /// Data that the program reads or writes.
    Data,
    /// Go's table of functions.
    Functions,
    /// Symbols.
    Symbols,
    /// What debuggers need.
    Debug,
    /// Headers, notes, what fills up.
    Other,
}

impl SectionKind {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            SectionKind::Code => "other code",
            SectionKind::Data => "data",
            SectionKind::Functions => "table of functions",
            SectionKind::Symbols => "symbols",
            SectionKind::Debug => "debugging information",
            SectionKind::Other => "headers and the like",
        }
    }
}

/// What differs from another image or program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Against {
    /// Why they differ: the other one first.
    #[serde(flatten)]
    pub why: Explanation,
    /// How much larger or smaller programs are that both have.
    pub growth: Vec<Growth>,
}

/// How much larger or smaller a program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Growth {
    /// What it is for; none of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Where it is.
    pub path: String,
    /// What it had, in bytes.
    pub was: u64,
    /// What it has.
    pub now: u64,
    /// Which packages' code differs in size, the largest difference first.
    pub packages: Vec<GrowthOf>,
    /// Which other parts differ in size: sections by their kind, the largest difference first.
    pub parts: Vec<GrowthOf>,
}

/// How much larger or smaller a part of a program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GrowthOf {
    /// A package, or a kind of section.
    pub name: String,
    /// What it had, in bytes; 0 if it wasn't there.
    pub was: u64,
    /// What it has; 0 if it is gone.
    pub now: u64,
}
