//! The flags of every command.

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::plan::naming::Naming;
use crate::settings::Words;
use crate::ui;

/// Put a Go program into a container image. No daemon, the same digest everywhere.
#[derive(Debug, Parser)]
#[command(name = "gimg", version, disable_help_subcommand = true, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compile, pack and publish Go programs
    #[command(visible_alias = "publish")]
    Build(Box<BuildArgs>),
    /// Push an image from an OCI layout to a registry
    Push(PushArgs),
    /// Print the version (with -v also of the built-in data)
    Version(VersionArgs),
}

impl Command {
    pub(super) fn common(&self) -> &Common {
        match self {
            Command::Build(args) => &args.common,
            Command::Push(args) => &args.common,
            Command::Version(args) => &args.common,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Say only warnings and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// What goes to standard output
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT", hide_possible_values = true)]
    pub(super) format: Format,
    /// Colour messages: auto, always, never
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN", hide_possible_values = true)]
    pub(super) color: Color,
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

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg build ./cmd/app --platform linux/amd64,linux/arm64 --repo ghcr.io/me")]
pub(super) struct BuildArgs {
    /// Local paths, patterns or import paths, with or without ko:// [default: .]
    #[arg(value_name = "PACKAGE")]
    packages: Vec<String>,
    /// os/arch[/variant], comma lists, or all [default: linux/amd64]
    #[arg(long, value_name = "PLATFORM")]
    platform: Vec<String>,
    /// static, scratch, a registry reference or oci:DIR [default: static]
    #[arg(long, value_name = "BASE")]
    base: Option<String>,
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
    /// gzip[:1-9], zstd[:1-19] or none [default: gzip]
    #[arg(long, value_name = "METHOD")]
    compression: Option<String>,
    /// A label of the image: key=value; repeatable
    #[arg(long, value_name = "LABEL")]
    image_label: Vec<String>,
    /// An annotation of manifests and index: key=value; repeatable
    #[arg(long, value_name = "ANNOTATION")]
    image_annotation: Vec<String>,
    /// The user to run as [default: the base's]
    #[arg(long, value_name = "USER")]
    image_user: Option<String>,
    #[command(flatten)]
    pub(super) publish: PublishArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// registry, oci:DIR, oci-archive:FILE or docker-archive:FILE; repeatable
    #[arg(short, long, value_name = "DEST")]
    output: Vec<String>,
    /// The repository to push below [env: GIMG_REPO, KO_DOCKER_REPO]
    #[arg(long, value_name = "REPO")]
    repo: Option<String>,
    /// Tags, comma lists or repeated [default: latest]
    #[arg(short, long, value_name = "TAG")]
    tags: Vec<String>,
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
    /// Also speak plain HTTP or unverified TLS to registries
    #[arg(long)]
    pub(super) insecure_registry: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg push gimg-out/app ghcr.io/me/app -t v1")]
pub(super) struct PushArgs {
    /// The layout's directory; DIR:NAME picks one of several images
    #[arg(value_name = "LAYOUT")]
    pub(super) layout: String,
    /// Where to: the full repository of this image, perhaps with a tag
    #[arg(value_name = "REPOSITORY")]
    pub(super) repository: String,
    /// Tags, comma lists or repeated [default: those in the layout]
    #[arg(short, long, value_name = "TAG")]
    pub(super) tags: Vec<String>,
    /// Transfers at a time [default: cores]
    #[arg(short, long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(super) jobs: usize,
    /// Also speak plain HTTP or unverified TLS
    #[arg(long)]
    pub(super) insecure_registry: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: gimg version -v")]
pub(super) struct VersionArgs {
    #[command(flatten)]
    pub(super) common: Common,
}

impl From<BuildArgs> for Words {
    fn from(args: BuildArgs) -> Self {
        let publish = args.publish;
        let naming = match (publish.bare, publish.base_import_paths, publish.preserve_import_paths) {
            (true, _, _) => Naming::Bare,
            (_, true, _) => Naming::Base,
            (_, _, true) => Naming::Preserve,
            _ => Naming::Md5,
        };
        Words {
            packages: args.packages,
            platforms: args.platform,
            base: args.base,
            outputs: publish.output,
            repo: publish.repo,
            naming,
            tags: publish.tags,
            ldflags: args.ldflags,
            go_flags: args.go_flag,
            buildvcs: args.buildvcs,
            jobs: publish.jobs,
            compression: args.compression,
            labels: args.image_label,
            annotations: args.image_annotation,
            user: args.image_user,
        }
    }
}
