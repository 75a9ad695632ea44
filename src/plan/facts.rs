//! What was looked up before planning: data only.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Platform};
use crate::plan::recipe::Source;
use crate::settings::Stand;

/// Everything looked up.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The toolchain.
    pub toolchain: Toolchain,
    /// The main packages of each argument, in order.
    pub packages: Vec<Vec<Package>>,
    /// For each entry of the file the import path of its program, if its directory is in a module.
    pub rules: Vec<Option<String>>,
    /// The further programs of an entry's image.
    pub with: BTreeMap<usize, Vec<Package>>,
    /// What programs stand on, each with the platforms to build for, in order, each once.
    pub bases: Vec<(Stand, Vec<Platform>)>,
    /// What templates are evaluated with.
    pub templates: TemplateFacts,
}

/// What templates are evaluated with (ko, `createTemplateData`). Empty where no template asks.
#[derive(Clone, Debug, Default)]
pub struct TemplateFacts {
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What `go env` says.
    pub go_env: BTreeMap<String, String>,
    /// SOURCE_DATE_EPOCH, else now: seconds since 1970.
    pub time: u64,
    /// Git's state where the user is, if a template asks for it and there is a repository.
    pub git: Option<GitState>,
    /// The URL of the repository's origin, if annotations ask for it.
    pub source: Option<String>,
    /// What templates of GoReleaser's file ask for besides, if the file is one.
    pub release: Option<ReleaseFacts>,
}

/// What templates of GoReleaser's file are evaluated with besides.
#[derive(Clone, Debug, Default)]
pub struct ReleaseFacts {
    /// The project's name.
    pub project: Option<String>,
    /// The module's path.
    pub module: Option<String>,
    /// Where each template stands, by its text.
    pub places: BTreeMap<String, String>,
    /// The variables of the file, evaluated.
    pub variables: Vec<(String, String)>,
    /// What git says of the release, if a template asks for it.
    pub git: Option<ReleaseGit>,
}

/// What git says of a release, besides [`GitState`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseGit {
    /// The highest tag of the commit, else the last that it descends from.
    pub tag: Option<String>,
    /// Whether the tag is of this commit.
    pub exact: bool,
    /// The tag before.
    pub previous: String,
    /// What `git describe` says.
    pub summary: String,
    /// Where the repository comes from, without credentials.
    pub url: String,
    /// The first paragraph of the tag's message, or of the commit's.
    pub subject: String,
    /// The message.
    pub contents: String,
    /// The message without its first paragraph.
    pub body: String,
}

/// The Go toolchain.
#[derive(Clone, Debug, Default)]
pub struct Toolchain {
    /// Such as `go1.26.8`.
    pub version: String,
    /// Go's settings as the user has them: environment over Go's env file. GOOS and GOARCH are never here.
    pub settings: BTreeMap<String, String>,
    /// All that `go env` says where the user is.
    pub env: BTreeMap<String, String>,
    /// The digests of the programs that compile, by name, as far as they are where Go has them.
    pub programs: BTreeMap<String, Digest>,
}

/// A main package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// The sources of an image.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The directory that holds them all: the repository's, the workspace's or the module's.
    pub root: PathBuf,
    /// Where they come from.
    pub source: Source,
    /// Whether there is kodata among them.
    pub has_kodata: bool,
}
