//! What `gimg lock` found: data for people and machines.

use std::collections::BTreeMap;

use serde::Serialize;

/// The lock file after a run. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Locked {
    /// The file.
    pub file: &'static str,
    /// All its entries: names of bases, and what they stand for.
    pub bases: BTreeMap<String, String>,
    /// What toolchains are, by version and machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub toolchains: BTreeMap<String, String>,
    /// What this run changed, by name.
    pub changed: Vec<LockChange>,
}

/// An entry that is new or another.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LockChange {
    /// The name of the base, or of the toolchain.
    pub base: String,
    /// What it stands for: a digest, or `static@N`.
    pub pin: String,
    /// What it stood for, if it had an entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}
