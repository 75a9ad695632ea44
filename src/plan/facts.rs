//! What was looked up before planning: data only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::oci::Platform;

/// Everything looked up.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The toolchain.
    pub toolchain: Toolchain,
    /// The main packages of each argument, in order.
    pub packages: Vec<Vec<Package>>,
    /// The platforms to build for, in order, each once.
    pub platforms: Vec<Platform>,
}

/// The Go toolchain.
#[derive(Clone, Debug, Default)]
pub struct Toolchain {
    /// Such as `go1.26.8`.
    pub version: String,
    /// Go's settings as the user has them: environment over Go's env file. GOOS and GOARCH are never here.
    pub settings: BTreeMap<String, String>,
}

/// A main package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its import path.
    pub import_path: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Where `go` runs to build it.
    pub module_dir: PathBuf,
}

/// What git says about the sources: ko's `.Git`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitState {
    /// The branch; `HEAD` if none is checked out.
    pub branch: String,
    /// The last tag that the commit descends from; `v0.0.0` if there is none.
    pub tag: String,
    /// The commit, as short as git shows it.
    pub short_commit: String,
    /// The commit.
    pub full_commit: String,
    /// When it was committed, in seconds since 1970.
    pub commit_time: u64,
    /// Whether there are changes or untracked files.
    pub dirty: bool,
}
