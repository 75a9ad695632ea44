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
