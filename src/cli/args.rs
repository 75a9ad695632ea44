//! The flags that several commands share.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::cli::network::InsecureArgs;
use crate::cli::summary::SummaryArgs;
use crate::cli::telemetry::TelemetryArgs;
use crate::ops::resolve::Files;
use crate::plan::naming::Naming;
use crate::registry::Insecure;
use crate::settings::Words;
use crate::settings::env::{self, Env};
use crate::ui::{self, Voice};

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    manner: Manner,
    /// What goes to standard output
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT", hide_possible_values = true)]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) telemetry: TelemetryArgs,
}

/// How to speak to the user, whatever the form of the results.
#[derive(Debug, Args)]
pub(super) struct Manner {
    /// Say only warnings and errors
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more
    #[arg(short, long)]
    verbose: bool,
    /// Colour messages: auto, always, never
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN", hide_possible_values = true)]
    color: Color,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

impl From<Format> for ui::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => ui::Format::Text,
            Format::Json => ui::Format::Json,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

impl From<Color> for ui::Color {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => ui::Color::Auto,
            Color::Always => ui::Color::Always,
            Color::Never => ui::Color::Never,
        }
    }
}

/// Which files of YAML to read: `resolve`, `apply` and `create`.
#[derive(Debug, Args)]
pub(super) struct FileFlags {
    /// YAML or JSON files, directories of them, or - for stdin
    #[arg(short, long, value_name = "FILE", value_delimiter = ',')]
    filename: Vec<String>,
    /// Also read the directories in directories
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Leave out objects that this label selector doesn't select
    #[arg(short = 'l', long, value_name = "SELECTOR", allow_hyphen_values = true)]
    selector: Option<String>,
}

impl From<FileFlags> for Files {
    fn from(flags: FileFlags) -> Self {
        Files { names: flags.filename, recursive: flags.recursive, selector: flags.selector }
    }
}

/// How to speak to the user of a command that passes all its flags on.
pub(super) fn plain_voice(env: &Env) -> Voice {
    let surroundings = (env.first(&[env::CI]).is_some(), env.first(&[env::NO_COLOR]).is_some());
    Voice { surroundings, ..Voice::default() }
}

impl Common {
    /// How to speak to the user.
    pub(super) fn voice(&self, env: &Env) -> Voice {
        Voice { format: self.format.into(), ..self.manner.voice(env) }
    }
}

impl Manner {
    /// How to speak to the user, who gets text.
    pub(super) fn voice(&self, env: &Env) -> Voice {
        let volume = match (self.quiet, self.verbose) {
            (true, _) => ui::Volume::Quiet,
            (_, true) => ui::Volume::Verbose,
            _ => ui::Volume::Normal,
        };
        Voice { volume, color: self.color.into(), ..plain_voice(env) }
    }
}

/// How programs are built and published: `build`, and every command that builds on the way.
#[derive(Debug, Args)]
pub(super) struct BuildFlags {
    /// os[/arch[/variant]], comma lists, all [default: linux/amd64]
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    #[command(flatten)]
    compile: CompileFlags,
    /// `--all`, which `build` alone has.
    #[arg(skip)]
    pub(super) all: bool,
    /// What `build` alone writes beside standard output.
    #[arg(skip)]
    pub(super) summary: SummaryArgs,
    /// The program's name, or with a slash its path in the image
    #[arg(long, alias = "program", value_name = "NAME|PATH")]
    binary: Option<String>,
    #[command(flatten)]
    image: ImageFlags,
}

/// How `go build` is called.
#[derive(Debug, Args)]
struct CompileFlags {
    /// Start programs under Delve, which goes into the image
    #[arg(long)]
    debug: bool,
    /// Compile without optimizations and inlining
    #[arg(long, hide = true)]
    disable_optimizations: bool,
    /// Flags of go build's linker; replaces those in GOFLAGS
    #[arg(long, value_name = "FLAGS", allow_hyphen_values = true)]
    ldflags: Vec<String>,
    /// A further flag of go build, such as -tags=netgo; repeatable
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    go_flag: Vec<String>,
    /// Stamp the program with git's state [default: as go does]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true, hide_possible_values = true,
        action = ArgAction::Set)]
    buildvcs: Option<bool>,
    /// Build also what was built from the same before
    #[arg(long, conflicts_with_all = ["verify_cache", "cache_from"])]
    no_cache: bool,
    /// registry: take unchanged programs from what tags there hold
    #[arg(long, value_name = "WHERE")]
    cache_from: Option<String>,
    /// Compile apart from network and environment (gimg lock --go)
    #[arg(long)]
    hermetic: bool,
    /// Use no network at all
    #[arg(long)]
    offline: bool,
    /// Fetch what Go compiled: http(s)://…, grpc(s)://…, oci://REPO
    #[arg(long, value_name = "URL")]
    remote_cache: Option<String>,
    /// Also send it what it lacks
    #[arg(long, hide = true)]
    remote_cache_write: bool,
    /// Whose word counts there: of --cache-from only what this public key signed [default: that of --sign-key]
    #[arg(long, value_name = "FILE", hide = true, requires = "cache_from")]
    cache_key: Option<PathBuf>,
    /// Build all the same, and fail if the cache says something else
    #[arg(long, hide = true)]
    verify_cache: bool,
}

/// What images say and where they go, whoever compiled their programs: `build` and `pack`.
#[derive(Debug, Args)]
pub(super) struct ImageFlags {
    /// static, scratch, a name, oci:DIR, archive [default: static]
    #[arg(long, value_name = "BASE")]
    base: Option<String>,
    /// Take bases with layers that are kept elsewhere (urls)
    #[arg(long, hide = true)]
    allow_nondistributable: bool,
    /// Add a PEM file of CA certificates to the image's; repeatable
    #[arg(long, value_name = "FILE")]
    ca_cert: Vec<PathBuf>,
    /// gzip[:1-9], zstd[:1-19] or none [default: gzip]
    #[arg(long, value_name = "METHOD")]
    compression: Option<String>,
    /// A label of the image: key=value; repeatable
    #[arg(long, value_name = "LABEL")]
    image_label: Vec<String>,
    /// An annotation of manifests and index: key=value; repeatable
    #[arg(long, value_name = "ANNOTATION")]
    image_annotation: Vec<String>,
    /// Annotate with git's revision, origin, tag and commit date
    #[arg(long, hide = true)]
    annotate_vcs: bool,
    /// The user to run as [default: the base's]
    #[arg(long, value_name = "USER")]
    image_user: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    publish: PublishArgs,
}

/// Which configuration file, and how strictly.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The configuration file [default: .gimg.yaml, else .ko.yaml]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Of GoReleaser's file only the images with this id; repeatable
    #[arg(long, value_name = "ID", hide = true)]
    pub(super) id: Vec<String>,
    /// Unknown keys of the configuration file are warnings
    #[arg(long)]
    pub(super) lenient: bool,
}

#[derive(Debug, Args)]
struct PublishArgs {
    /// registry, oci:DIR, oci-archive:FILE, docker-archive:FILE, docker:, podman:, containerd: or kind:CLUSTER;
    /// repeatable
    #[arg(short, long, value_name = "DEST")]
    output: Vec<String>,
    /// Load into Docker, as --output docker:
    #[arg(short = 'L', long)]
    local: bool,
    /// Where to push; repeatable [env: GIMG_REPO, KO_DOCKER_REPO]
    #[arg(long, value_name = "REPO")]
    repo: Vec<String>,
    /// --push=false publishes nothing, and prints the same
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true",
        require_equals = true, hide_possible_values = true, hide_default_value = true, action = ArgAction::Set)]
    push: bool,
    /// As --output oci:DIR, beside a push
    #[arg(long, value_name = "DIR", hide = true)]
    oci_layout_path: Option<String>,
    /// As --output docker-archive:FILE, beside a push
    #[arg(long, value_name = "FILE", hide = true)]
    tarball: Option<String>,
    /// Tags, comma lists or repeated [default: latest]
    #[arg(short, long, value_name = "TAG")]
    tags: Vec<String>,
    /// Print the tag instead of the digest; takes one tag
    #[arg(long)]
    tag_only: bool,
    /// Write the references of all that is published to a file
    #[arg(long, value_name = "FILE")]
    image_refs: Option<PathBuf>,
    /// Write the digest of each image to a file, and nothing else
    #[arg(long, value_name = "FILE", hide = true)]
    digest_file: Option<PathBuf>,
    /// spdx, cyclonedx or none: what is in images, attached to them in registries [default: spdx]
    #[arg(long, value_name = "KIND", hide = true)]
    sbom: Option<String>,
    /// Write SBOMs of all that is published to files in a directory
    #[arg(long, value_name = "DIR", hide = true)]
    sbom_dir: Option<PathBuf>,
    /// Put SBOMs also under tags beside the images, as ko does: sha256-<hex>.sbom
    #[arg(long, hide = true)]
    sbom_tag: bool,
    /// --provenance=false attaches no record of how images were built
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true,
        hide_possible_values = true, hide = true, action = ArgAction::Set)]
    provenance: Option<bool>,
    /// auto, required (a registry that refuses what is attached gets no tag) or none [default: auto]
    #[arg(long, value_name = "WHEN", hide = true)]
    attest: Option<String>,
    /// Sign what is pushed with this key, cosign's; COSIGN_PASSWORD is its password
    #[arg(long, value_name = "FILE", hide = true)]
    sign_key: Option<PathBuf>,
    /// Sign also in cosign's old layout, under tags beside the images: sha256-<hex>.sig
    #[arg(long, hide = true)]
    sign_tag: bool,
    /// Name images REPO itself
    #[arg(long, conflicts_with_all = ["base_import_paths", "preserve_import_paths"])]
    bare: bool,
    /// Name images REPO/last-part, without MD5
    #[arg(short = 'B', long, conflicts_with = "preserve_import_paths")]
    base_import_paths: bool,
    /// Name images REPO/import-path
    #[arg(short = 'P', long)]
    preserve_import_paths: bool,
    /// Compiles, and transfers, at a time [default: cores]
    #[arg(short, long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    jobs: usize,
    #[command(flatten)]
    insecure: InsecureArgs,
}

impl BuildFlags {
    /// Which registries may be spoken to by plain HTTP or unverified TLS.
    pub(super) fn insecure_registry(&self) -> Insecure {
        self.image.insecure_registry()
    }

    /// Which configuration file to read.
    pub(super) fn config(&self) -> &ConfigArgs {
        self.image.config()
    }

    /// What the command line said about building `packages`.
    pub(super) fn words(self, packages: Vec<String>) -> Words {
        self.summary.words(Words {
            packages,
            platforms: self.platform,
            ldflags: self.compile.ldflags,
            go_flags: self.compile.go_flag,
            buildvcs: self.compile.buildvcs,
            binary: self.binary,
            all: self.all,
            debug: self.compile.debug,
            disable_optimizations: self.compile.disable_optimizations,
            no_cache: self.compile.no_cache,
            verify_cache: self.compile.verify_cache,
            cache_from: self.compile.cache_from,
            cache_key: self.compile.cache_key,
            hermetic: self.compile.hermetic,
            offline: self.compile.offline,
            remote_cache: self.compile.remote_cache,
            remote_cache_write: self.compile.remote_cache_write,
            ..self.image.words()
        })
    }
}

impl ImageFlags {
    /// Which registries may be spoken to by plain HTTP or unverified TLS.
    pub(super) fn insecure_registry(&self) -> Insecure {
        self.publish.insecure.choice()
    }

    /// Which configuration file to read.
    pub(super) fn config(&self) -> &ConfigArgs {
        &self.config
    }

    /// What the command line said about images and where they go.
    pub(super) fn words(self) -> Words {
        let publish = self.publish;
        let naming = match (publish.bare, publish.base_import_paths, publish.preserve_import_paths) {
            (true, _, _) => Some(Naming::Bare),
            (_, true, _) => Some(Naming::Base),
            (_, _, true) => Some(Naming::Preserve),
            _ => None,
        };
        Words {
            base: self.base,
            ca_certs: self.ca_cert,
            outputs: publish.output,
            push: publish.push,
            oci_layout_path: publish.oci_layout_path,
            tarball: publish.tarball,
            local: publish.local,
            repo: publish.repo,
            naming,
            tags: publish.tags,
            tag_only: publish.tag_only,
            image_refs: publish.image_refs,
            digest_file: publish.digest_file,
            sbom: publish.sbom,
            sbom_dir: publish.sbom_dir,
            sbom_tag: publish.sbom_tag,
            provenance: publish.provenance,
            attest: publish.attest,
            sign_key: publish.sign_key,
            sign_tag: publish.sign_tag,
            annotate_vcs: self.annotate_vcs,
            jobs: publish.jobs,
            compression: self.compression,
            labels: self.image_label,
            annotations: self.image_annotation,
            user: self.image_user,
            allow_nondistributable: self.allow_nondistributable,
            ..Words::default()
        }
    }
}
