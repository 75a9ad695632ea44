//! Every environment variable that gimg reads.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::oci;

/// The repository that images go to.
pub const GIMG_REPO: &str = "GIMG_REPO";
/// ko's name for it.
pub const KO_DOCKER_REPO: &str = "KO_DOCKER_REPO";
/// The go command, as in ko.
pub const KO_GO_PATH: &str = "KO_GO_PATH";
/// A configuration file, or a directory with a `.ko.yaml`, as in ko.
pub const KO_CONFIG_PATH: &str = "KO_CONFIG_PATH";
/// As `defaultBaseImage` in the configuration file, and over it.
pub const KO_DEFAULTBASEIMAGE: &str = "KO_DEFAULTBASEIMAGE";
/// As `baseImageOverrides`: a JSON map.
pub const KO_BASEIMAGEOVERRIDES: &str = "KO_BASEIMAGEOVERRIDES";
/// As `defaultPlatforms`; separated by blanks or commas.
pub const KO_DEFAULTPLATFORMS: &str = "KO_DEFAULTPLATFORMS";
/// As `defaultEnv`; separated by blanks.
pub const KO_DEFAULTENV: &str = "KO_DEFAULTENV";
/// As `defaultFlags`; separated by blanks.
pub const KO_DEFAULTFLAGS: &str = "KO_DEFAULTFLAGS";
/// As `defaultLdflags`; separated by blanks.
pub const KO_DEFAULTLDFLAGS: &str = "KO_DEFAULTLDFLAGS";
/// The tag that templates of GoReleaser's file see instead of git's, as there.
pub const GORELEASER_CURRENT_TAG: &str = "GORELEASER_CURRENT_TAG";
/// The tag before it, as there.
pub const GORELEASER_PREVIOUS_TAG: &str = "GORELEASER_PREVIOUS_TAG";
/// Seconds since 1970 for an image's `created` (reproducible-builds.org).
pub const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Seconds since 1970 for the times of kodata, as in ko.
pub const KO_DATA_DATE_EPOCH: &str = "KO_DATA_DATE_EPOCH";
/// The directory that links in kodata must stay below, instead of the repository or module, as in ko; also links in files.
pub const KO_DATA_PATH_ALLOWED_ROOT: &str = "KO_DATA_PATH_ALLOWED_ROOT";
/// The kind cluster of `kind.local` and `kind:`, as in ko.
pub const KIND_CLUSTER_NAME: &str = "KIND_CLUSTER_NAME";
/// A file of CA certificates to trust besides the system's.
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// Token servers elsewhere that may be given a registry's credentials: `REGISTRY=HOST`, separated by blanks or commas.
pub const GIMG_TOKEN_SERVERS: &str = "GIMG_TOKEN_SERVERS";
/// Directories of CA certificates to trust besides the system's, separated by `:`.
pub const SSL_CERT_DIR: &str = "SSL_CERT_DIR";
/// Where gimg keeps what it took from registries and what it built; `off`: nowhere. See `gimg cache`.
pub const GIMG_CACHE: &str = "GIMG_CACHE";
/// How large that may become, such as 500M. The default is 10GiB.
pub const GIMG_CACHE_MAX: &str = "GIMG_CACHE_MAX";
/// Without GIMG_CACHE its `gimg` is the cache; without either `~/.cache/gimg` is.
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// The remote cache of Go's compiles, as `--remote-cache`; `off`: none.
pub const GIMG_REMOTE_CACHE: &str = "GIMG_REMOTE_CACHE";
/// A bearer token for it. (A user and password may stand in the URL.)
pub const GIMG_REMOTE_CACHE_TOKEN: &str = "GIMG_REMOTE_CACHE_TOKEN";
/// `true`: as `--remote-cache-write`.
pub const GIMG_REMOTE_CACHE_WRITE: &str = "GIMG_REMOTE_CACHE_WRITE";
/// The password of the key that signs, as for cosign.
pub const COSIGN_PASSWORD: &str = "COSIGN_PASSWORD";
/// A collector of OpenTelemetry, to which the trace of a run is sent: `/v1/traces` below this URL.
pub const OTEL_EXPORTER_OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The whole URL instead.
pub const OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// Headers for the collector: `NAME=VALUE,…`.
pub const OTEL_EXPORTER_OTLP_HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// More of them.
pub const OTEL_EXPORTER_OTLP_TRACES_HEADERS: &str = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
/// `http/protobuf`: no other is spoken.
pub const OTEL_EXPORTER_OTLP_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// The same, and over it.
pub const OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
/// How many milliseconds the collector may take. The default is 3000.
pub const OTEL_EXPORTER_OTLP_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
/// The same, and over it.
pub const OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT";
/// `none`: no trace is sent.
pub const OTEL_TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// `true`: nothing is sent.
pub const OTEL_SDK_DISABLED: &str = "OTEL_SDK_DISABLED";
/// The service that spans are of. The default is gimg.
pub const OTEL_SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
/// What else is said of it: `NAME=VALUE,…`.
pub const OTEL_RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
/// The trace that a run is part of (W3C Trace Context).
pub const TRACEPARENT: &str = "TRACEPARENT";
/// Set by CI systems: no live progress.
pub const CI: &str = "CI";
/// Set by people who want no colour (no-color.org).
pub const NO_COLOR: &str = "NO_COLOR";

/// The environment, read once. `Debug` shows names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Env {
    /// An environment of these variables.
    #[must_use]
    pub fn new(variables: BTreeMap<String, String>) -> Self {
        Env(variables)
    }

    /// The same, with this variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// All variables.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The first of `names` that is set and not empty.
    #[must_use]
    pub fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().filter_map(|n| self.0.get(*n)).map(String::as_str).find(|v| !v.is_empty())
    }

    /// A time in seconds since 1970.
    ///
    /// # Errors
    /// A value that is no such number.
    pub fn epoch(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.first(&[name]) else { return Ok(None) };
        match oci::epoch(text) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Error::new(
                Kind::Usage,
                format!("read {name}"),
                format!("\"{text}\" isn't seconds since 1970"),
            )),
        }
    }
}
