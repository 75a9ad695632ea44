//! What the command line said about a build, word for word.

use std::path::PathBuf;

use crate::plan::naming::Naming;

/// What the command line said, before the environment and the file are asked.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// The packages.
    pub packages: Vec<String>,
    /// `--platform`.
    pub platforms: Vec<String>,
    /// `--base`.
    pub base: Option<String>,
    /// `--output`.
    pub outputs: Vec<String>,
    /// `--local`.
    pub local: bool,
    /// `--push`.
    pub push: bool,
    /// `--oci-layout-path`: a layout beside the registry, as in ko.
    pub oci_layout_path: Option<String>,
    /// `--tarball`: a docker-archive beside the registry, as in ko.
    pub tarball: Option<String>,
    /// `--repo`.
    pub repo: Vec<String>,
    /// The naming flags, if one was given.
    pub naming: Option<Naming>,
    /// `--tags`.
    pub tags: Vec<String>,
    /// `--tag-only`.
    pub tag_only: bool,
    /// `--image-refs`.
    pub image_refs: Option<PathBuf>,
    /// `--report`.
    pub report: Option<PathBuf>,
    /// `--summary`.
    pub summary: Option<PathBuf>,
    /// `--against`.
    pub against: Option<String>,
    /// `--digest-file`.
    pub digest_file: Option<PathBuf>,
    /// `--sbom`.
    pub sbom: Option<String>,
    /// `--sbom-dir`.
    pub sbom_dir: Option<PathBuf>,
    /// `--sbom-tag`.
    pub sbom_tag: bool,
    /// `--provenance`.
    pub provenance: Option<bool>,
    /// `--attest`.
    pub attest: Option<String>,
    /// `--sign-key`.
    pub sign_key: Option<PathBuf>,
    /// `--sign-tag`.
    pub sign_tag: bool,
    /// `--ldflags`.
    pub ldflags: Vec<String>,
    /// `--go-flag`.
    pub go_flags: Vec<String>,
    /// `--buildvcs`.
    pub buildvcs: Option<bool>,
    /// `--annotate-vcs`.
    pub annotate_vcs: bool,
    /// `--all`: the programs of the file's entries.
    pub all: bool,
    /// `--jobs`; 0 means as many as there are cores.
    pub jobs: usize,
    /// `--compression`.
    pub compression: Option<String>,
    /// `--image-label`.
    pub labels: Vec<String>,
    /// `--image-annotation`.
    pub annotations: Vec<String>,
    /// `--image-user`.
    pub user: Option<String>,
    /// `--debug`.
    pub debug: bool,
    /// `--disable-optimizations`.
    pub disable_optimizations: bool,
    /// `--allow-nondistributable`.
    pub allow_nondistributable: bool,
    /// `--binary`.
    pub binary: Option<String>,
    /// `--ca-cert`.
    pub ca_certs: Vec<PathBuf>,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--verify-cache`.
    pub verify_cache: bool,
    /// `--cache-from`.
    pub cache_from: Option<String>,
    /// `--cache-key`.
    pub cache_key: Option<PathBuf>,
    /// `--hermetic`.
    pub hermetic: bool,
    /// `--offline`.
    pub offline: bool,
    /// `--remote-cache`.
    pub remote_cache: Option<String>,
    /// `--remote-cache-write`.
    pub remote_cache_write: bool,
}
