//! What `gimg outdated` found: data for people and machines.

use serde::Serialize;

use crate::oci::Digest;

/// Images, and what of each is old. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outdated {
    /// The images, in the order of the arguments.
    pub images: Vec<OutdatedImage>,
}

/// An image, and what it holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutdatedImage {
    /// What the user calls it.
    pub image: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Whether something of it is old.
    pub outdated: bool,
    /// Whether the key signed it, if there is a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed: Option<bool>,
    /// What it stands on; nothing if nobody says it.
    pub bases: Vec<OutdatedBase>,
    /// The toolchain of its program, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub go: Option<OutdatedGo>,
    /// What is known to be wrong with it; absent if there is no database, or its modules aren't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vulnerabilities: Option<Vec<Vulnerability>>,
}

/// What an image stands on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutdatedBase {
    /// Its name: a reference, `static@N` or `scratch`.
    pub name: String,
    /// Whether there is another under its name by now.
    pub state: BaseState,
    /// Its digest, if it is an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What its name stands for now, if that is another: a digest or `static@N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}

/// How a base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum BaseState {
    /// It is what its name stands for.
    Current,
    /// Its name stands for another.
    Old,
    /// Its name stands for nothing any more.
    Gone,
    /// It has no name, only a digest.
    Pinned,
    /// Nobody says what it is called.
    Unknown,
}

/// The toolchain of a program.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutdatedGo {
    /// It: `go1.26.7`.
    pub version: String,
    /// A newer one of the same line, or the newest if that gets no fixes any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer: Option<String>,
    /// Whether its line still gets fixes; absent if the releases aren't known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported: Option<bool>,
}

/// An entry of the database that is true of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Vulnerability {
    /// Its name.
    pub id: String,
    /// Other names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What it is about.
    pub summary: String,
    /// The module: `stdlib` is the standard library.
    pub module: String,
    /// The version that is in the image.
    pub version: String,
    /// The first version that is mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed: Option<String>,
    /// The packages that have it; all of the module's if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}
