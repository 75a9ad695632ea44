//! What the user decided: flags over environment over the configuration file, resolved once. Pure.

pub mod base;
pub mod cache;
pub mod config;
pub mod env;
pub mod layer;
pub mod lock;
pub mod pack;
pub mod program;
pub mod release;
pub mod subject;
pub mod summary;
pub mod telemetry;
pub mod template;

mod attached;
mod destination;
mod remote;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::image::Compression;
use crate::plan::naming::Naming;
use crate::plan::packages::is_local;
use crate::plan::platforms::Requested;
use crate::settings::config::Config;
use crate::settings::lock::Lock;
use crate::settings::program::{Flags, Program, Rule};
use crate::settings::release::Release;
use crate::settings::template::{Functions, Roots};

pub use attached::{Attest, Sboms};
use attached::{attest, check_attaching, sboms};
pub use base::{Base, BaseChoice, BaseKeys, Stand};
use destination::Said;
pub use destination::{Destination, Engine, place, split_layout, tags};
pub use remote::RemoteCache;
use summary::Summary;
pub use words::Words;

/// Everything the user decided about a build. Nothing here still means "look elsewhere".
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the user is.
    pub cwd: PathBuf,
    /// The packages, without `ko://`.
    pub packages: Vec<String>,
    /// The version of the module that they are of, if it isn't the one around: `v1.2.3`, `latest`.
    pub version: Option<String>,
    /// Where each package was named (`file:line:column`); empty if on the command line.
    pub places: Vec<String>,
    /// The platforms.
    pub platforms: Requested,
    /// Which program stands on what.
    pub base: BaseChoice,
    /// What the names of bases stand for, if there is a lock file.
    pub lock: Option<Lock>,
    /// Where the images go.
    pub destinations: Vec<Destination>,
    /// The repository that names are made below; a template.
    pub repository: Option<String>,
    /// Further repositories that images are pushed below; templates.
    pub further: Vec<String>,
    /// How names are made.
    pub naming: Naming,
    /// How programs without an entry in the file are built.
    pub program: Program,
    /// The file's entries for single programs.
    pub rules: Vec<Rule>,
    /// What the file says of the project, if it is GoReleaser's.
    pub release: Option<Release>,
    /// The go command.
    pub go: PathBuf,
    /// `-buildvcs`, if not as Go has it.
    pub buildvcs: Option<bool>,
    /// Whether git's state goes into annotations.
    pub annotate_vcs: bool,
    /// How many compiles, how many layers and how many transfers are under way at a time.
    pub jobs: usize,
    /// How layers are compressed.
    pub compression: Compression,
    /// Whether the reference to print is a tag without digest.
    pub tag_only: bool,
    /// A file that gets the references of everything pushed.
    pub image_refs: Option<PathBuf>,
    /// A file that gets the report; absolute.
    pub report: Option<PathBuf>,
    /// A summary, if one is wanted.
    pub summary: Option<Summary>,
    /// Files of the user's that the run will edit once all is published; absolute.
    pub edits: Vec<PathBuf>,
    /// A file that gets the digest of each image, and nothing else.
    pub digest_file: Option<PathBuf>,
    /// What becomes of SBOMs.
    pub sboms: Sboms,
    /// Whether provenance is attached to them.
    pub provenance: bool,
    /// What is attached to images in registries.
    pub attest: Attest,
    /// The file of the key that signs what is pushed.
    pub sign_key: Option<PathBuf>,
    /// Whether it signs in cosign's old layout as well.
    pub sign_tag: bool,
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
    /// KO_DATA_PATH_ALLOWED_ROOT: what links in kodata and files must stay below.
    pub kodata_root: Option<PathBuf>,
    /// Files of certificates to add to the images' CA bundles; absolute.
    pub ca_certs: Vec<PathBuf>,
    /// Which bases must be signed.
    pub base_keys: Vec<BaseKeys>,
    /// Whether what was made before is used again.
    pub reuse: Reuse,
    /// Whether what registries hold is used again, and told what it was made from.
    pub shares: bool,
    /// The file of the public key by which that must be signed; without it that of the key that signs, if one does.
    pub cache_key: Option<PathBuf>,
    /// Whether compiles are hermetic.
    pub hermetic: bool,
    /// Whether there is no network for the whole run.
    pub offline: bool,
    /// Where what Go compiles is fetched from.
    pub remote_cache: Option<RemoteCache>,
    /// Things to warn about before anything is done.
    pub warnings: Vec<String>,
}

/// What to do with what earlier runs made from the same inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Use it.
    #[default]
    Always,
    /// Make everything.
    Never,
    /// Make everything, and fail where it differs.
    Audit,
}

impl Settings {
    /// Whether a registry may be asked for anything.
    #[must_use]
    pub fn needs_registry(&self) -> bool {
        let bases = self.base.all(&self.rules);
        bases.iter().any(|b| matches!(b, Base::Registry(_)))
            || self.destinations.contains(&Destination::Registry)
    }
}

impl Settings {
    /// What the texts of the file and the flags ask for when they are evaluated.
    ///
    /// # Errors
    /// A template that can't be read.
    pub fn template_roots(&self) -> Result<Roots> {
        let mut roots = Roots::default();
        let places = self.release.as_ref().map(|r| &r.places);
        let programs = self.rules.iter().map(|r| &r.program).chain([&self.program]);
        for text in programs
            .flat_map(Program::templates)
            .chain(self.repository.as_deref())
            .chain(self.further.iter().map(String::as_str))
            .chain(self.release.iter().flat_map(|r| &r.env).map(String::as_str))
        {
            if template::has_template(text) {
                let place = places.and_then(|p| p.get(text));
                let found = template::roots(text, self.functions());
                roots.extend(found.map_err(|e| match place {
                    Some(place) => e.at(place),
                    None => e,
                })?);
            }
        }
        Ok(roots)
    }

    /// Which functions templates may call.
    #[must_use]
    pub fn functions(&self) -> Functions {
        if self.release.is_some() { Functions::GoReleasers } else { Functions::Gos }
    }
}

/// The only precedence rules in the program: flags over environment over the file over defaults.
///
/// # Errors
/// A value that can't be read, or values that contradict each other.
pub fn resolve(words: Words, env: &env::Env, file: Config, cwd: PathBuf, cores: usize) -> Result<Settings> {
    let file = release::overruled(under_environment(file, env)?, &words, env);
    let (platforms, twice) = platforms(&words.platforms, &file)?;
    let mut warnings: Vec<String> =
        twice.iter().map(|p| format!("platform {p} is named twice, it is built once")).collect();
    let repositories = match (words.repo.as_slice(), env.first(&[env::GIMG_REPO, env::KO_DOCKER_REPO])) {
        ([], Some(repository)) => vec![repository.to_owned()],
        ([], None) => file.repo.0.clone(),
        (list, _) => list.to_vec(),
    };
    let layout = words.oci_layout_path.iter().map(|p| format!("oci:{p}"));
    let beside: Vec<String> =
        layout.chain(words.tarball.iter().map(|p| format!("docker-archive:{p}"))).collect();
    let said = Said {
        outputs: &words.outputs,
        beside: &beside,
        local: words.local,
        push: words.push,
        repository: repositories.first().map(String::as_str),
        own_repositories: file.builds.iter().any(|b| !b.repo.0.is_empty()),
    };
    let (destinations, repository) = destination::destinations(&said, env, &cwd)?;
    let further = destination::further(&repositories, &destinations, env)?;
    if platforms.several() && destinations.iter().any(|d| matches!(d, Destination::DockerArchive(_))) {
        return Err(Error::new(Kind::Usage, "read --output", "a docker-archive holds one platform")
            .hint("name one platform, or use --output oci-archive:FILE"));
    }
    let compression =
        words.compression.as_deref().or(file.compression.as_deref()).unwrap_or("gzip").parse()?;
    if destinations.iter().any(Destination::is_dockers) && matches!(compression, Compression::Zstd(_)) {
        return Err(Error::new(Kind::Usage, "read --compression", "docker reads no zstd layers")
            .hint("use --compression gzip or none"));
    }
    let flag_tags = destination::tag_words(&words.tags)?;
    if words.tag_only && (flag_tags.len() != 1 || flag_tags == ["latest"]) {
        return Err(Error::new(Kind::Usage, "read --tag-only", "it takes just one tag, and not latest")
            .hint("name one with --tags"));
    }
    let packages = match (words.packages.is_empty(), words.all) {
        (_, true) => every_entry(&file, &cwd)?,
        // GoReleaser makes them all.
        (true, false) if file.release.is_some() && !file.builds.is_empty() => every_entry(&file, &cwd)?,
        (true, false) => vec![".".to_owned()],
        (false, false) => words.packages,
    };
    let packages = packages.into_iter().map(|p| p.strip_prefix("ko://").map_or(p.clone(), str::to_owned));
    let packages: Vec<String> = packages.collect();
    let (packages, version) = versions(packages)?;
    if packages.iter().any(String::is_empty) {
        return Err(Error::new(Kind::Usage, "read the packages", "one is empty"));
    }
    if let Some(user) = &words.user {
        program::check_user(user, "--image-user").map_err(|e| e.as_kind(Kind::Usage))?;
    }
    let attest = attest(words.attest.as_deref())?;
    let release = file.release.clone();
    let (sbom, sbom_dir) = release.as_ref().map_or((None, None), |r| (r.sbom.clone(), r.sbom_dir.clone()));
    let sbom = words.sbom.or(sbom);
    let sboms = sboms(sbom.as_deref(), words.sbom_dir.or(sbom_dir.map(PathBuf::from)), words.sbom_tag, &cwd)?;
    for (flag, given) in [("--sign-key", words.sign_key.is_some()), ("--sbom-tag", sboms.tag)] {
        if given {
            check_attaching(flag, attest, &destinations)?;
        }
    }
    let sign_key = words.sign_key.map(|path| cwd.join(path));
    if words.sign_tag && sign_key.is_none() {
        return Err(Error::new(Kind::Usage, "read --sign-tag", "there is no --sign-key"));
    }
    let flags = Flags {
        // As in ko, several --ldflags are joined; unlike ko, a comma is not a separator.
        ldflags: (!words.ldflags.is_empty()).then_some(words.ldflags),
        go_flags: words.go_flags,
        tags: flag_tags,
        labels: pairs("--image-label", &words.labels)?,
        annotations: pairs("--image-annotation", &words.annotations)?,
        user: words.user,
        binary: words.binary,
    };
    let (program, rules) = program::programs(&file, &flags, &cwd)?;
    if env.first(&[env::KO_DOCKER_REPO]).is_some()
        && env.first(&[env::GIMG_REPO]).is_some()
        && words.repo.is_empty()
    {
        warnings.push(format!(
            "{} and {} are both set, the first counts",
            env::GIMG_REPO,
            env::KO_DOCKER_REPO
        ));
    }
    let shares = shares(words.cache_from.as_deref(), &destinations)? && version.is_none();
    // Where a fetched module is built changes with every run: nothing of it can be used again.
    let reuse = match (words.no_cache || version.is_some(), words.verify_cache) {
        (true, _) => Reuse::Never,
        (_, true) => Reuse::Audit,
        _ => Reuse::Always,
    };
    let remote_cache = RemoteCache::resolve(words.remote_cache, words.remote_cache_write, env)?;
    remote::check(
        words.offline,
        words.hermetic,
        &remote::Reach {
            shares,
            debug: words.debug,
            remote: remote_cache.as_ref(),
            destinations: &destinations,
        },
    )?;
    let cache_key = words.cache_key.map(|path| cwd.join(path));
    let summary = summary::summary(words.summary, words.against.as_deref(), &destinations, &cwd)?;
    let ca_certs = file.ca_certs.iter().map(PathBuf::from).chain(words.ca_certs);
    let ca_certs = ca_certs.map(|path| cwd.join(path)).collect();
    Ok(Settings {
        ca_certs,
        base_keys: BaseKeys::read(&file.base_verification, &cwd)?,
        debug: words.debug,
        disable_optimizations: words.disable_optimizations || words.debug,
        allow_nondistributable: words.allow_nondistributable,
        report: words.report.map(|path| cwd.join(path)),
        summary,
        kodata_root: env.first(&[env::KO_DATA_PATH_ALLOWED_ROOT]).map(|root| cwd.join(root)),
        cwd,
        packages,
        version,
        places: Vec::new(),
        platforms,
        base: bases(words.base.as_deref(), &file)?,
        lock: None,
        destinations,
        repository,
        further,
        naming: match (words.naming, file.naming.as_deref()) {
            (Some(naming), _) => naming,
            (None, Some(word)) => naming(word)?,
            (None, None) => Naming::default(),
        },
        program,
        rules,
        release,
        go: PathBuf::from(env.first(&[env::KO_GO_PATH]).unwrap_or("go")),
        buildvcs: words.buildvcs.or(file.buildvcs),
        annotate_vcs: words.annotate_vcs || file.annotate_vcs,
        jobs: if words.jobs == 0 { cores } else { words.jobs },
        compression,
        tag_only: words.tag_only,
        image_refs: words.image_refs,
        edits: Vec::new(),
        digest_file: words.digest_file,
        sboms,
        provenance: words.provenance.unwrap_or(true),
        attest,
        sign_key,
        sign_tag: words.sign_tag,
        epoch: env.epoch(env::SOURCE_DATE_EPOCH)?,
        kodata_epoch: env.epoch(env::KO_DATA_DATE_EPOCH)?,
        reuse,
        shares,
        cache_key,
        hermetic: words.hermetic,
        offline: words.offline,
        remote_cache,
        warnings,
    })
}

/// Takes the version from `path@version`, which all packages have, or none.
fn versions(packages: Vec<String>) -> Result<(Vec<String>, Option<String>)> {
    let wrong = |package: &str, why: &str| {
        Error::new(Kind::Usage, format!("read {package}"), why)
            .hint("packages of a module's version are import paths, all with the same @version")
    };
    let mut found: Option<String> = None;
    let mut paths = Vec::new();
    for (number, package) in packages.iter().enumerate() {
        let (path, version) = match package.split_once('@') {
            Some((path, version)) => (path, Some(version)),
            None => (package.as_str(), None),
        };
        let is_plain =
            |v: &str| !v.is_empty() && v.chars().all(|c| c.is_ascii_alphanumeric() || "-._+/".contains(c));
        if let Some(version) = version {
            if is_local(path) || path.contains("...") || path.starts_with('-') {
                return Err(wrong(package, "only an import path has a version"));
            }
            if !is_plain(version) || version.starts_with('-') {
                return Err(wrong(package, "it names no version"));
            }
        }
        if number > 0 && found.as_deref() != version {
            return Err(wrong(package, "another package has another version, or none"));
        }
        found = version.map(str::to_owned);
        paths.push(path.to_owned());
    }
    Ok((paths, found))
}

/// `--cache-from`: the one cache that is shared is the registry that is pushed to.
fn shares(word: Option<&str>, destinations: &[Destination]) -> Result<bool> {
    let wrong = |why: String| Error::new(Kind::Usage, "read --cache-from", why);
    match word {
        None => Ok(false),
        Some("registry") if destinations.contains(&Destination::Registry) => Ok(true),
        Some("registry") => {
            Err(wrong("nothing is pushed to a registry".to_owned()).hint("name a repository with --repo"))
        }
        Some(other) => Err(wrong(format!("it takes registry, not \"{other}\""))),
    }
}

/// The directories of the programs of all entries.
fn every_entry(file: &Config, cwd: &Path) -> Result<Vec<String>> {
    let (_, rules) = program::programs(file, &Flags::default(), cwd)?;
    if rules.is_empty() {
        return Err(Error::new(Kind::Usage, "read --all", "the configuration file has no builds"));
    }
    Ok(rules.into_iter().map(|r| r.package.display().to_string()).collect())
}

/// The file with what ko's variables say over its keys. Lists are split at blanks.
fn under_environment(mut file: Config, env: &env::Env) -> Result<Config> {
    let list = |name: &str| env.first(&[name]).map(|t| t.split_whitespace().map(str::to_owned).collect());
    if let Some(base) = env.first(&[env::KO_DEFAULTBASEIMAGE]) {
        file.default_base_image = Some(base.to_owned());
    }
    if let Some(text) = env.first(&[env::KO_BASEIMAGEOVERRIDES]) {
        file.base_image_overrides = serde_json::from_str(text).map_err(|e| {
            Error::new(Kind::Usage, format!("read {}", env::KO_BASEIMAGEOVERRIDES), e)
                .hint("it takes JSON: import paths and their bases")
        })?;
    }
    if let Some(words) = list(env::KO_DEFAULTPLATFORMS) {
        file.default_platforms = config::Words(words);
    }
    if let Some(words) = list(env::KO_DEFAULTENV) {
        file.default_env = config::Words(words);
    }
    if let Some(words) = list(env::KO_DEFAULTFLAGS) {
        file.default_flags = config::Words(words);
    }
    if let Some(words) = list(env::KO_DEFAULTLDFLAGS) {
        file.default_ldflags = config::Line(words);
    }
    Ok(file)
}

/// `--platform`, else the file's, else linux/amd64.
fn platforms(words: &[String], file: &Config) -> Result<(Requested, Vec<crate::oci::Platform>)> {
    if words.is_empty() && !file.default_platforms.0.is_empty() {
        return Requested::parse(&file.default_platforms.0)
            .map_err(|e| e.within("read defaultPlatforms").as_kind(Kind::Input));
    }
    Requested::parse(words)
}

fn bases(flag: Option<&str>, file: &Config) -> Result<BaseChoice> {
    let fixed = match flag {
        Some(text) => Some(Base::parse(text).map_err(|e| e.within("read --base"))?),
        None => None,
    };
    let read = |key: &str, text: &str| Base::parse(text).map_err(|e| e.within(format!("read {key}")));
    let mut overrides = BTreeMap::new();
    for (import_path, text) in &file.base_image_overrides {
        let import_path = import_path.strip_prefix("ko://").unwrap_or(import_path);
        overrides.insert(import_path.to_lowercase(), read("baseImageOverrides", text)?);
    }
    let default = read("defaultBaseImage", file.default_base_image.as_deref().unwrap_or("static"))?;
    let platforms = base::platform_bases(&file.platform_bases, "platformBases")?;
    Ok(BaseChoice { fixed, overrides, platforms, default })
}

fn naming(word: &str) -> Result<Naming> {
    match word {
        "md5" => Ok(Naming::Md5),
        "base" => Ok(Naming::Base),
        "preserve" => Ok(Naming::Preserve),
        "bare" => Ok(Naming::Bare),
        _ => Err(Error::new(
            Kind::Input,
            "read naming",
            format!("\"{word}\" isn't md5, base, preserve or bare"),
        )),
    }
}

/// `key=value` words. A comma separates as in ko where another pair follows it; elsewhere it is part of the value.
fn pairs(flag: &str, words: &[String]) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for word in words {
        let mut last: Option<String> = None;
        for piece in word.split(',') {
            match (piece.split_once('='), &last) {
                (Some((key, value)), _) if !key.is_empty() => {
                    map.insert(key.to_owned(), value.to_owned());
                    last = Some(key.to_owned());
                }
                (None, Some(key)) => {
                    if let Some(value) = map.get_mut(key) {
                        value.push(',');
                        value.push_str(piece);
                    }
                }
                _ => {
                    let why = format!("\"{word}\" isn't key=value");
                    return Err(Error::new(Kind::Usage, format!("read {flag}"), why));
                }
            }
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words { push: true, ..Words::default() }
    }

    fn settle(words: Words, env: &[(&str, &str)]) -> Result<Settings> {
        let env = env::Env::new(env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
        resolve(words, &env, Config::default(), PathBuf::from("/w"), 2)
    }

    #[test]
    fn flags_beat_environment_beats_defaults() {
        let none = settle(words(), &[]).unwrap();
        assert_eq!(none.destinations, [Destination::LayoutPerProgram("gimg-out".into())]);
        assert_eq!((none.packages, none.jobs), (vec![".".to_owned()], 2));
        let ko = settle(words(), &[("KO_DOCKER_REPO", "ghcr.io/a")]).unwrap();
        assert_eq!(ko.repository.unwrap(), "ghcr.io/a");
        let both = settle(words(), &[("KO_DOCKER_REPO", "ghcr.io/a"), ("GIMG_REPO", "ghcr.io/b")]).unwrap();
        assert_eq!(both.repository.unwrap(), "ghcr.io/b");
        let words = Words { repo: vec!["ghcr.io/c".into()], ..words() };
        let flag = settle(words, &[("GIMG_REPO", "ghcr.io/b")]).unwrap();
        assert_eq!(flag.repository.unwrap(), "ghcr.io/c");
        assert_eq!(flag.destinations, [Destination::Registry]);
    }

    #[test]
    fn bad_words_are_usage_errors() {
        let output = |text: &str| Words { outputs: vec![text.into()], ..words() };
        for words in [
            output("registry"),
            output("oci:"),
            output("tape:x"),
            Words { tags: vec!["a:b".into()], ..words() },
            Words { labels: vec!["x".into()], ..words() },
            Words { user: Some("a:b:c".into()), ..words() },
        ] {
            assert_eq!(settle(words, &[]).unwrap_err().kind(), Kind::Usage);
        }
        let error = settle(words(), &[("SOURCE_DATE_EPOCH", "abc")]).unwrap_err();
        assert!(error.to_string().contains("SOURCE_DATE_EPOCH"));
    }
}
