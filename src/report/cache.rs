//! What `gimg cache` found: data for people and machines.

use serde::Serialize;

/// Some files of the cache.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CacheAmount {
    /// How many.
    pub files: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What the cache is. The JSON forms are documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheInfo {
    /// Where; none if it is off.
    pub dir: Option<String>,
    /// How much is in it.
    #[serde(flatten)]
    pub amount: CacheAmount,
    /// How many bytes there may be.
    pub max_bytes: u64,
}

/// What pruning did.
#[derive(Clone, Debug, Serialize)]
pub struct CachePruned {
    /// What was removed.
    pub removed: CacheAmount,
    /// What stays.
    pub kept: CacheAmount,
}

/// What reading everything showed.
#[derive(Clone, Debug, Serialize)]
pub struct CacheVerified {
    /// What is right.
    pub right: CacheAmount,
    /// What was wrong.
    pub removed: Vec<CacheWrong>,
}

/// A file that was wrong.
#[derive(Clone, Debug, Serialize)]
pub struct CacheWrong {
    /// Its name: the hex digits of the digest that it should have had.
    pub name: String,
    /// What was wrong with it.
    pub why: String,
}
