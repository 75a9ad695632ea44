//! What the user decided: flags over environment, resolved once. Pure.

pub mod env;

mod destination;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::image::Compression;
use crate::oci::{Reference, Tag};
use crate::plan::naming::{Naming, Prefix};
use crate::plan::platforms::Requested;

pub use destination::{Destination, place, split_layout, tags};

/// Everything the user decided about a build. Nothing here still means "look elsewhere".
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the user is.
    pub cwd: PathBuf,
    /// The packages, without `ko://`.
    pub packages: Vec<String>,
    /// The platforms.
    pub platforms: Requested,
    /// The base.
    pub base: Base,
    /// Where the images go.
    pub destinations: Vec<Destination>,
    /// The repository that names are made below.
    pub repository: Option<Prefix>,
    /// How names are made.
    pub naming: Naming,
    /// The tags.
    pub tags: Vec<Tag>,
    /// How Go builds.
    pub go: GoSettings,
    /// How many compiles, and how many transfers, run at a time.
    pub jobs: usize,
    /// How layers are compressed.
    pub compression: Compression,
    /// Labels added to the config.
    pub labels: BTreeMap<String, String>,
    /// Annotations added to manifests and index.
    pub annotations: BTreeMap<String, String>,
    /// The user that the image runs as, if not the base's.
    pub user: Option<String>,
    /// SOURCE_DATE_EPOCH: seconds since 1970 for `created`.
    pub epoch: Option<u64>,
    /// KO_DATA_DATE_EPOCH: seconds since 1970 for kodata's times.
    pub kodata_epoch: Option<u64>,
    /// Whether images hold a debugger, and start it.
    pub debug: bool,
    /// Whether programs are compiled as they are written, for debuggers.
    pub disable_optimizations: bool,
    /// Whether a base may have layers that are kept elsewhere.
    pub allow_nondistributable: bool,
    /// KO_DATA_PATH_ALLOWED_ROOT: what links in kodata must stay below.
    pub kodata_root: Option<PathBuf>,
    /// Things to warn about before anything is done.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Whether a registry will be asked for anything.
    #[must_use]
    pub fn needs_registry(&self) -> bool {
        matches!(self.base, Base::Registry(_)) || self.destinations.contains(&Destination::Registry)
    }
}

/// How Go builds.
#[derive(Clone, Debug, Default)]
pub struct GoSettings {
    /// The go command.
    pub program: PathBuf,
    /// The linker flags, if not those in GOFLAGS.
    pub ldflags: Option<String>,
    /// Further flags of `go build`.
    pub flags: Vec<String>,
    /// `-buildvcs`, if not as Go has it.
    pub buildvcs: Option<bool>,
}

/// What an image stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The built-in base.
    Static,
    /// Nothing.
    Scratch,
    /// An image of a registry.
    Registry(Reference),
    /// An OCI layout, with the name of one of its entries if it has several.
    Layout(PathBuf, Option<String>),
}

impl Base {
    /// Whether it surely lacks a dynamic loader: a program that asks for one can't start on it.
    #[must_use]
    pub fn has_no_loader(&self) -> bool {
        matches!(self, Base::Static | Base::Scratch)
    }
}

/// What the command line said, before the environment is asked.
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
    /// `--repo`.
    pub repo: Option<String>,
    /// The naming flags.
    pub naming: Naming,
    /// `--tags`.
    pub tags: Vec<String>,
    /// `--ldflags`.
    pub ldflags: Vec<String>,
    /// `--go-flag`.
    pub go_flags: Vec<String>,
    /// `--buildvcs`.
    pub buildvcs: Option<bool>,
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
}

/// The only precedence rules in the program: flags over environment over defaults.
///
/// # Errors
/// A value that can't be read, or values that contradict each other.
pub fn resolve(words: Words, env: &env::Env, cwd: PathBuf, cores: usize) -> Result<Settings> {
    let (platforms, twice) = Requested::parse(&words.platforms)?;
    let mut warnings: Vec<String> =
        twice.iter().map(|p| format!("platform {p} is named twice, it is built once")).collect();
    let repository = match words.repo.as_deref().or_else(|| env.first(&[env::GIMG_REPO, env::KO_DOCKER_REPO]))
    {
        Some(text)
            if text == "ko.local" || text.starts_with("ko.local/") || text.starts_with("kind.local") =>
        {
            return Err(Error::new(
                Kind::Usage,
                format!("use the repository {text}"),
                "gimg can't load into a daemon yet",
            )
            .hint("write a file with --output docker-archive:FILE and docker load it"));
        }
        Some(text) => Some(text.parse()?),
        None => None,
    };
    let destinations = destination::destinations(&words.outputs, repository.is_some(), &cwd)?;
    let docker = destinations.iter().any(|d| matches!(d, Destination::DockerArchive(_)));
    let several = match &platforms {
        Requested::All => true,
        Requested::List(list) => list.len() > 1,
    };
    if docker && several {
        return Err(Error::new(Kind::Usage, "read --output", "a docker-archive holds one platform")
            .hint("name one platform, or use --output oci-archive:FILE"));
    }
    let compression: Compression = words.compression.as_deref().unwrap_or("gzip").parse()?;
    if docker && matches!(compression, Compression::Zstd(_)) {
        return Err(Error::new(Kind::Usage, "read --compression", "docker load reads no zstd layers")
            .hint("use --compression gzip or none"));
    }
    let mut tags = tags(&words.tags)?;
    if tags.is_empty() {
        tags.push(Tag::latest());
    }
    let packages = if words.packages.is_empty() { vec![".".to_owned()] } else { words.packages };
    let packages = packages.into_iter().map(|p| p.strip_prefix("ko://").map_or(p.clone(), str::to_owned));
    let packages: Vec<String> = packages.collect();
    if packages.iter().any(String::is_empty) {
        return Err(Error::new(Kind::Usage, "read the packages", "one is empty"));
    }
    if words.user.as_deref() == Some("") {
        return Err(Error::new(Kind::Usage, "read --image-user", "it is empty"));
    }
    if let Some(user) = &words.user
        && (user.matches(':').count() > 1 || user.contains(char::is_whitespace))
    {
        return Err(Error::new(Kind::Usage, "read --image-user", format!("\"{user}\" isn't user[:group]")));
    }
    let base = base(words.base.as_deref().unwrap_or("static"))?;
    if env.first(&[env::KO_DOCKER_REPO]).is_some()
        && env.first(&[env::GIMG_REPO]).is_some()
        && words.repo.is_none()
    {
        warnings.push(format!(
            "{} and {} are both set, the first counts",
            env::GIMG_REPO,
            env::KO_DOCKER_REPO
        ));
    }
    Ok(Settings {
        debug: words.debug,
        disable_optimizations: words.disable_optimizations || words.debug,
        allow_nondistributable: words.allow_nondistributable,
        kodata_root: env.first(&[env::KO_DATA_PATH_ALLOWED_ROOT]).map(|root| cwd.join(root)),
        cwd,
        packages,
        platforms,
        base,
        destinations,
        repository,
        naming: words.naming,
        tags,
        go: GoSettings {
            program: PathBuf::from(env.first(&[env::KO_GO_PATH]).unwrap_or("go")),
            // As in ko, several --ldflags are joined; unlike ko, a comma is not a separator.
            ldflags: (!words.ldflags.is_empty()).then(|| words.ldflags.join(" ")),
            flags: words.go_flags,
            buildvcs: words.buildvcs,
        },
        jobs: if words.jobs == 0 { cores } else { words.jobs },
        compression,
        labels: pairs("--image-label", &words.labels)?,
        annotations: pairs("--image-annotation", &words.annotations)?,
        user: words.user,
        epoch: env.epoch(env::SOURCE_DATE_EPOCH)?,
        kodata_epoch: env.epoch(env::KO_DATA_DATE_EPOCH)?,
        warnings,
    })
}

fn base(text: &str) -> Result<Base> {
    match text {
        "static" => Ok(Base::Static),
        "scratch" => Ok(Base::Scratch),
        _ => {
            if let Some(version) = text.strip_prefix("static@") {
                if version == crate::base::VERSION.to_string() {
                    return Ok(Base::Static);
                }
                let why = format!("this gimg has static@{}", crate::base::VERSION);
                return Err(Error::new(Kind::Base, format!("use the base {text}"), why));
            }
            if let Some(dir) = text.strip_prefix("oci:") {
                let (dir, name) = split_layout(dir);
                return Ok(Base::Layout(dir, name));
            }
            Ok(Base::Registry(text.parse().map_err(|e: Error| e.within("read --base"))?))
        }
    }
}

/// `key=value` words; the value may hold anything, commas too.
fn pairs(flag: &str, words: &[String]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for word in words {
        let (key, value) = word.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            Error::new(Kind::Usage, format!("read {flag}"), format!("\"{word}\" isn't key=value"))
        })?;
        map.insert(key.to_owned(), value.to_owned());
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(words: Words, env: &[(&str, &str)]) -> Result<Settings> {
        let env = env::Env::new(env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        resolve(words, &env, PathBuf::from("/w"), 2)
    }

    #[test]
    fn flags_beat_environment_beats_defaults() {
        let none = settle(Words::default(), &[]).unwrap();
        assert_eq!(none.destinations, [Destination::LayoutPerProgram("gimg-out".into())]);
        assert_eq!((none.packages, none.jobs), (vec![".".to_owned()], 2));
        let ko = settle(Words::default(), &[("KO_DOCKER_REPO", "ghcr.io/a")]).unwrap();
        assert_eq!(ko.repository.unwrap().to_string(), "ghcr.io/a");
        let both =
            settle(Words::default(), &[("KO_DOCKER_REPO", "ghcr.io/a"), ("GIMG_REPO", "ghcr.io/b")]).unwrap();
        assert_eq!(both.repository.unwrap().to_string(), "ghcr.io/b");
        let words = Words { repo: Some("ghcr.io/c".into()), ..Words::default() };
        let flag = settle(words, &[("GIMG_REPO", "ghcr.io/b")]).unwrap();
        assert_eq!(flag.repository.unwrap().to_string(), "ghcr.io/c");
        assert_eq!(flag.destinations, [Destination::Registry]);
    }

    #[test]
    fn bad_words_are_usage_errors() {
        let output = |text: &str| Words { outputs: vec![text.into()], ..Words::default() };
        for words in [
            output("registry"),
            output("oci:"),
            output("tape:x"),
            Words { tags: vec!["a:b".into()], ..Words::default() },
            Words { labels: vec!["x".into()], ..Words::default() },
            Words { user: Some("a:b:c".into()), ..Words::default() },
        ] {
            assert_eq!(settle(words, &[]).unwrap_err().kind(), Kind::Usage);
        }
        let error = settle(Words::default(), &[("SOURCE_DATE_EPOCH", "abc")]).unwrap_err();
        assert!(error.to_string().contains("SOURCE_DATE_EPOCH"));
    }
}
