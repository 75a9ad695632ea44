//! The keys of the configuration file. The JSON Schema and `docs/config.md` are generated from these types: a
//! comment here is what users read. Keys marked `x-gimg` are gimg's own; the others mean what they mean to ko.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::settings::release::{Own, Release};

/// The configuration file: `.ko.yaml` as ko reads it, or `.gimg.yaml`, which takes more keys. `.json`, `.toml` and
/// `.yml` do as well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(title = "gimg configuration")]
pub struct Config {
    /// What images stand on: static, scratch, a registry reference, `oci:DIR`, `oci-archive:FILE` or
    /// `docker-archive:FILE`.
    pub default_base_image: Option<String>,
    /// Bases of single programs: import path to base.
    pub base_image_overrides: BTreeMap<String, String>,
    /// Bases of single platforms, over the two above: `os/arch[/variant]` to base. With all platforms these count
    /// besides those of the other base.
    #[schemars(extend("x-gimg" = true))]
    pub platform_bases: BTreeMap<String, String>,
    /// Platforms to build for: `os/arch[/variant]`, or all.
    pub default_platforms: Words,
    /// Environment of `go build`, as KEY=value; for programs whose entry in builds has none.
    pub default_env: Words,
    /// Flags of `go build`; for programs whose entry in builds has none. Templates.
    pub default_flags: Words,
    /// Linker flags; for programs whose entry in builds has none. Templates.
    pub default_ldflags: Line,
    /// Settings of single programs. Each entry is for the program that dir and main name.
    pub builds: Vec<Build>,
    /// The repository to push below, or several; templates.
    #[schemars(extend("x-gimg" = true))]
    pub repo: Line,
    /// Tags; templates.
    #[schemars(extend("x-gimg" = true))]
    pub tags: Words,
    /// How names are made: md5 (as ko without flags), base (-B), preserve (-P) or bare (--bare).
    #[schemars(extend("x-gimg" = true))]
    pub naming: Option<String>,
    /// Whether Go stamps programs with git's state. Without it: as your Go does.
    #[schemars(extend("x-gimg" = true))]
    pub buildvcs: Option<bool>,
    /// Whether git's state goes into the annotations `org.opencontainers.image.revision`, `source`, `version` and
    /// `created`.
    #[schemars(extend("x-gimg" = true))]
    pub annotate_vcs: bool,
    /// How layers are compressed: `gzip[:1-9]`, `zstd[:1-19]` or none.
    #[schemars(extend("x-gimg" = true))]
    pub compression: Option<String>,
    /// The config of every image.
    #[schemars(extend("x-gimg" = true))]
    pub image: Image,
    /// Files to add to every image. Each entry is a layer of its own.
    #[schemars(extend("x-gimg" = true))]
    pub files: Vec<Files>,
    /// Which bases of registries must be signed, by whom. Of several entries that fit the first counts.
    #[schemars(extend("x-gimg" = true))]
    pub base_verification: Vec<BaseVerification>,
    /// PEM files of certificates to add to the CA bundle of every image, relative to the working directory;
    /// `--ca-cert` adds more.
    #[schemars(extend("x-gimg" = true))]
    pub ca_certs: Vec<String>,
    /// What only GoReleaser's file says.
    #[serde(skip)]
    pub release: Option<Release>,
}

/// Settings of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Build {
    /// What messages call the entry.
    pub id: Option<String>,
    /// Where go runs, relative to the working directory; usually a module.
    pub dir: Option<String>,
    /// The package to build, relative to dir: a directory, or a file in it.
    pub main: Option<String>,
    /// Environment of `go build`, as KEY=value; in place of defaultEnv.
    pub env: Option<Words>,
    /// Flags of `go build`; in place of defaultFlags. Templates.
    pub flags: Option<Words>,
    /// Linker flags; in place of defaultLdflags. Templates.
    pub ldflags: Option<Line>,
    /// File capabilities of the program, such as net_bind_service=ep.
    #[serde(rename = "linux_capabilities")]
    pub linux_capabilities: Option<Words>,
    /// What this image stands on, over every base above.
    #[schemars(extend("x-gimg" = true))]
    pub base: Option<String>,
    /// What this image stands on for single platforms, over base: `os/arch[/variant]` to base.
    #[schemars(extend("x-gimg" = true))]
    pub platform_bases: BTreeMap<String, String>,
    /// The program's name, or with a slash its whole path in the image.
    #[schemars(extend("x-gimg" = true))]
    pub binary: Option<String>,
    /// Further programs of the same image, relative to dir; they lie beside the main one.
    #[schemars(extend("x-gimg" = true))]
    pub with: Words,
    /// The whole repository of this image, or several; templates.
    #[schemars(extend("x-gimg" = true))]
    pub repo: Line,
    /// Tags of this image, in place of those above; templates.
    #[schemars(extend("x-gimg" = true))]
    pub tags: Words,
    /// The config of this image, over the one above.
    #[schemars(extend("x-gimg" = true))]
    pub image: Image,
    /// Files to add to this image, after those above. Each entry is a layer of its own.
    #[schemars(extend("x-gimg" = true))]
    pub files: Vec<Files>,
    /// What only GoReleaser's file says.
    #[serde(skip)]
    pub own: Own,
}

/// What an image says besides its layers. Keys that are absent are the base's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Image {
    /// The user to run as: `user[:group]`, names or numbers.
    pub user: Option<String>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// Environment of the program, over the base's; templates.
    pub env: BTreeMap<String, String>,
    /// Arguments that the program gets if none are given.
    pub cmd: Option<Vec<String>>,
    /// A command to put before the program, such as an init.
    pub entrypoint: Vec<String>,
    /// Ports that the program listens on: PORT or PORT/tcp, /udp, /sctp.
    pub exposed_ports: Words,
    /// Directories for volumes.
    pub volumes: Words,
    /// The signal that stops the program, such as SIGINT.
    pub stop_signal: Option<String>,
    /// How to see whether the program is well. Docker reads it; OCI has no field of that name.
    pub healthcheck: Option<Healthcheck>,
    /// Labels of the config; templates.
    pub labels: BTreeMap<String, String>,
    /// Annotations of manifests and index; templates.
    pub annotations: BTreeMap<String, String>,
}

/// How to see whether a program is well. Times are such as 30s or 1m30s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Healthcheck {
    /// The command, which is run without a shell.
    pub test: Vec<String>,
    /// Time between checks.
    pub interval: Option<String>,
    /// Time after which a check has failed.
    pub timeout: Option<String>,
    /// Time that the program gets to start.
    pub start_period: Option<String>,
    /// How many checks must fail in a row.
    pub retries: Option<u32>,
}

/// Who must have signed bases.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BaseVerification {
    /// The repository of bases, or with `*` at its end the beginning of its name; `*` alone is every base.
    pub base: String,
    /// A public key's file, relative to the working directory, or several: one of them must have signed the base.
    pub key: Line,
}

/// Files to add to an image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Files {
    /// A file or directory, relative to the working directory.
    pub from: String,
    /// Where it goes: an absolute path. With a slash at its end a file goes into that directory.
    pub to: String,
    /// The mode of files, octal, such as 0644. Without it 0444, or 0555 for what its owner may execute.
    #[serde(default)]
    pub mode: Option<String>,
    /// Who owns it all: `uid[:gid]`, numbers. Without it 0:0.
    #[serde(default)]
    pub owner: Option<String>,
}

/// A list of words; a string is split at blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany")]
#[schemars(with = "OneOrMany")]
pub struct Words(pub Vec<String>);

/// A list of words that are joined by blanks; a string is one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany")]
#[schemars(with = "OneOrMany")]
pub struct Line(pub Vec<String>);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Words {
    fn from(words: OneOrMany) -> Self {
        Words(match words {
            OneOrMany::One(text) => text.split_whitespace().map(str::to_owned).collect(),
            OneOrMany::Many(list) => list,
        })
    }
}

impl From<OneOrMany> for Line {
    fn from(words: OneOrMany) -> Self {
        Line(match words {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(list) => list,
        })
    }
}
