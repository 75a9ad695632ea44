//! The words for where images go: destinations, tags, places to push to. Pure.

use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::oci::{Repository, Tag};
use crate::plan::naming::Prefix;
use crate::plan::packages::normalise;
use crate::settings::env::{Env, KIND_CLUSTER_NAME};

/// Where images go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The repository's registry.
    Registry,
    /// One OCI layout for all images.
    Layout(PathBuf),
    /// An OCI layout for each program, below a directory.
    LayoutPerProgram(PathBuf),
    /// An OCI layout in one tar file.
    OciArchive(PathBuf),
    /// What `docker load` takes.
    DockerArchive(PathBuf),
    /// A container engine.
    Engine(Engine),
    /// Nothing is published (`--push=false`), only named.
    Nowhere,
}

impl Destination {
    fn path(&self) -> Option<&Path> {
        match self {
            Destination::Layout(path) | Destination::OciArchive(path) | Destination::DockerArchive(path) => {
                Some(path)
            }
            Destination::Registry
            | Destination::LayoutPerProgram(_)
            | Destination::Engine(_)
            | Destination::Nowhere => None,
        }
    }

    /// Whether it is Docker's own format, which holds no zstd layer.
    pub(super) fn is_dockers(&self) -> bool {
        matches!(self, Destination::DockerArchive(_) | Destination::Engine(Engine::Docker))
    }
}

/// A container engine that images are loaded into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Docker, or whatever speaks its API where docker is looked for.
    Docker,
    /// Podman.
    Podman,
    /// containerd, in this namespace or the one that `ctr` takes by itself.
    Containerd(Option<String>),
    /// Every node of this kind cluster.
    Kind(String),
}

/// ko's word for Docker as repository.
const KO_LOCAL: &str = "ko.local";
/// ko's word for a kind cluster as repository.
const KIND_LOCAL: &str = "kind.local";
/// kind's name for a cluster that has none.
const KIND_CLUSTER: &str = "kind";

/// What `--output` takes.
const WORDS: &str = "it takes registry, oci:DIR, oci-archive:FILE, docker-archive:FILE, docker:, podman:, \
                     containerd:[NAMESPACE] or kind:[CLUSTER]";

/// What the user said about where images go.
pub(super) struct Said<'a> {
    /// `--output`.
    pub(super) outputs: &'a [String],
    /// What ko makes beside a push: `--oci-layout-path` and `--tarball`, as words of `--output`.
    pub(super) beside: &'a [String],
    /// `--local`.
    pub(super) local: bool,
    /// `--push`.
    pub(super) push: bool,
    /// The repository: flag, environment or file; perhaps a template.
    pub(super) repository: Option<&'a str>,
    /// Whether programs have repositories of their own.
    pub(super) own_repositories: bool,
}

impl Said<'_> {
    fn has_repository(&self) -> bool {
        self.repository.is_some() || self.own_repositories
    }
}

/// Where images go, each destination once, registries first; and what they are named below. Without a word it is
/// what the repository means: `ko.local` and `kind.local` an engine, as in ko, any other the registry. Without
/// repository it is a layout for each program below `gimg-out`.
///
/// # Errors
/// A word that names none, a registry without repository, two outputs with one path.
pub(super) fn destinations(said: &Said, env: &Env, cwd: &Path) -> Result<(Vec<Destination>, Option<String>)> {
    let engine = said.repository.and_then(|text| engine_of(text, env));
    let mut places = Places { list: Vec::new(), paths: Vec::new(), cwd };
    for text in said.outputs.iter().filter(|text| said.push || *text != "registry") {
        places.add(text, destination(text, said, engine.is_some(), env)?)?;
    }
    if said.local && !places.list.contains(&Destination::Engine(Engine::Docker)) {
        places.list.push(Destination::Engine(Engine::Docker));
    }
    if places.list.is_empty() {
        let default = match (engine, said.has_repository()) {
            _ if !said.push => Destination::Nowhere,
            (Some(engine), _) => Destination::Engine(engine),
            (None, true) => Destination::Registry,
            (None, false) => Destination::LayoutPerProgram(PathBuf::from("gimg-out")),
        };
        let is_real = !matches!(default, Destination::Nowhere | Destination::LayoutPerProgram(_));
        if said.beside.is_empty() || is_real {
            places.list.push(default);
        }
    }
    for text in said.beside {
        places.add(text, destination(text, said, false, env)?)?;
    }
    let mut list = places.list;
    list.sort_by_key(|d| *d != Destination::Registry);
    let first = list.iter().find_map(|d| match d {
        Destination::Engine(Engine::Kind(_)) => Some(KIND_LOCAL),
        Destination::Engine(_) => Some(KO_LOCAL),
        _ => None,
    });
    let prefix = said.repository.or(first);
    if let Some(text) = prefix.filter(|t| !t.contains("{{")) {
        text.parse::<Prefix>()?;
    }
    Ok((list, prefix.map(str::to_owned)))
}

/// The repositories after the first, for images that are pushed to several.
///
/// # Errors
/// One that is no registry's, or is named twice; several of them without a push.
pub(super) fn further(
    repositories: &[String],
    destinations: &[Destination],
    env: &Env,
) -> Result<Vec<String>> {
    let Some((first, further)) = repositories.split_first() else { return Ok(Vec::new()) };
    let bad = |text: &str, why: &str| Error::new(Kind::Usage, format!("push to {text}"), why.to_owned());
    let mut seen = vec![first];
    for text in further {
        if seen.contains(&text) {
            return Err(bad(text, "the repository is named twice"));
        }
        if [first, text].iter().any(|t| engine_of(t, env).is_some()) {
            return Err(bad(text, "several repositories must be registries'"));
        }
        if !text.contains("{{") {
            text.parse::<Prefix>()?;
        }
        seen.push(text);
    }
    let pushes = destinations.iter().any(|d| matches!(d, Destination::Registry | Destination::Nowhere));
    match further.first() {
        Some(text) if !pushes => {
            Err(bad(text, "nothing is pushed").hint("add --output registry, or name one repository"))
        }
        _ => Ok(further.to_vec()),
    }
}

/// Destinations as they are collected, each once.
struct Places<'a> {
    list: Vec<Destination>,
    paths: Vec<(PathBuf, Discriminant<Destination>)>,
    cwd: &'a Path,
}

impl Places<'_> {
    fn add(&mut self, text: &str, destination: Destination) -> Result<()> {
        if self.list.contains(&destination) {
            return Ok(());
        }
        if let Some(path) = destination.path() {
            let path = normalise(&self.cwd.join(path));
            let kind = discriminant(&destination);
            match self.paths.iter().find(|(p, _)| *p == path) {
                // The same output twice, spelled in two ways.
                Some((_, other)) if *other == kind => return Ok(()),
                Some(_) => return Err(bad(text, "another output has the same path")),
                None => self.paths.push((path, kind)),
            }
        }
        self.list.push(destination);
        Ok(())
    }
}

/// The engine that a repository means. `ko.localhost` is a registry like any other (not so in ko).
fn engine_of(repository: &str, env: &Env) -> Option<Engine> {
    match repository.split('/').next() {
        Some(KO_LOCAL) => Some(Engine::Docker),
        Some(KIND_LOCAL) => Some(Engine::Kind(cluster("", env))),
        _ => None,
    }
}

fn cluster(name: &str, env: &Env) -> String {
    match name {
        "" => env.first(&[KIND_CLUSTER_NAME]).unwrap_or(KIND_CLUSTER).to_owned(),
        name => name.to_owned(),
    }
}

fn bad(text: &str, why: &str) -> Error {
    Error::new(Kind::Usage, format!("read --output {text}"), why.to_owned())
}

/// One word of `--output`.
fn destination(text: &str, said: &Said, is_engine: bool, env: &Env) -> Result<Destination> {
    let (scheme, path) = text.split_once(':').unwrap_or((text, ""));
    let file =
        |make: fn(PathBuf) -> Destination| match path {
            "" => Err(bad(text, WORDS)),
            "-" => Err(bad(text, "gimg writes no image to standard output")
                .hint("name a file, or ./- for that name")),
            path => Ok(make(PathBuf::from(path))),
        };
    match (scheme, said.repository) {
        ("registry", _) if !path.is_empty() => Err(bad(text, "registry takes no path").hint("use --repo")),
        ("registry", None) if !said.has_repository() => {
            Err(bad(text, "no repository is set").hint("set --repo, GIMG_REPO or KO_DOCKER_REPO"))
        }
        ("registry", Some(name)) if is_engine => {
            Err(bad(text, &format!("{name} names images of an engine, it is no registry"))
                .hint("set --repo to a repository of the registry"))
        }
        ("registry", _) => Ok(Destination::Registry),
        ("oci", _) => file(Destination::Layout),
        ("oci-archive", _) => file(Destination::OciArchive),
        ("docker-archive", _) => file(Destination::DockerArchive),
        ("docker" | "podman", _) if !path.is_empty() => {
            let variable = if scheme == "docker" { "DOCKER_HOST" } else { "CONTAINER_HOST" };
            Err(bad(text, "nothing may follow the colon")
                .hint(format!("names come from --repo and --tags, {variable} says where it runs")))
        }
        ("docker", _) => Ok(Destination::Engine(Engine::Docker)),
        ("podman", _) => Ok(Destination::Engine(Engine::Podman)),
        ("containerd", _) => {
            Ok(Destination::Engine(Engine::Containerd((!path.is_empty()).then(|| path.to_owned()))))
        }
        ("kind", _) => Ok(Destination::Engine(Engine::Kind(cluster(path, env)))),
        _ => Err(bad(text, WORDS)),
    }
}

/// Tags from comma lists and repeats, each once.
///
/// # Errors
/// A word that is no tag.
pub fn tags(words: &[String]) -> Result<Vec<Tag>> {
    tag_words(words)?.iter().map(|t| t.parse().map_err(|e: Error| e.as_kind(Kind::Usage))).collect()
}

/// The words of `--tags`, each once; a template is checked when it is evaluated.
///
/// # Errors
/// A word that is neither tag nor template.
pub(super) fn tag_words(words: &[String]) -> Result<Vec<String>> {
    let mut tags: Vec<String> = Vec::new();
    // A template may have a comma in it.
    let pieces =
        words.iter().flat_map(|t| if t.contains("{{") { vec![t.as_str()] } else { t.split(',').collect() });
    for text in pieces {
        if !text.contains("{{") {
            text.parse::<Tag>().map_err(|e: Error| e.as_kind(Kind::Usage))?;
        }
        if !tags.iter().any(|t| t == text) {
            tags.push(text.to_owned());
        }
    }
    Ok(tags)
}

/// A place to push one image to: a repository, perhaps with a tag, but no digest.
///
/// # Errors
/// Anything that isn't one.
pub fn place(text: &str) -> Result<(Repository, Option<Tag>)> {
    if text.contains('@') {
        return Err(Error::new(Kind::Usage, format!("push to {text}"), "can't push to a digest"));
    }
    let last = text.rfind('/').map_or(0, |i| i + 1);
    match text[last..].split_once(':') {
        Some((end, tag)) => Ok((
            format!("{}{end}", &text[..last]).parse()?,
            Some(tag.parse().map_err(|e: Error| e.as_kind(Kind::Usage))?),
        )),
        None => Ok((text.parse()?, None)),
    }
}

/// `DIR[:NAME]`, as skopeo writes layouts: the name is what follows the last slash's colon.
#[must_use]
pub fn split_layout(text: &str) -> (PathBuf, Option<String>) {
    let last = text.rfind('/').map_or(0, |i| i + 1);
    match text[last..].split_once(':') {
        Some((end, name)) if !name.is_empty() => {
            (PathBuf::from(format!("{}{end}", &text[..last])), Some(name.to_owned()))
        }
        _ => (PathBuf::from(text), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(outputs: &[&str], local: bool, repository: Option<&str>) -> Result<(Vec<Destination>, String)> {
        let outputs: Vec<String> = outputs.iter().map(|o| (*o).to_owned()).collect();
        let env = Env::new([(KIND_CLUSTER_NAME.to_owned(), "dev".to_owned())].into());
        let said =
            Said { outputs: &outputs, beside: &[], local, push: true, repository, own_repositories: false };
        let (list, prefix) = destinations(&said, &env, Path::new("/w"))?;
        Ok((list, prefix.unwrap_or_default()))
    }

    #[test]
    fn kos_words_mean_engines() {
        let engine = |e| vec![Destination::Engine(e)];
        for (outputs, local, repository, list, prefix) in [
            (&[][..], false, Some("ko.local"), engine(Engine::Docker), "ko.local"),
            (&[], false, Some("ko.local/team"), engine(Engine::Docker), "ko.local/team"),
            (&[], true, None, engine(Engine::Docker), "ko.local"),
            (&[], true, Some("ghcr.io/me"), engine(Engine::Docker), "ghcr.io/me"),
            (&[], false, Some("kind.local"), engine(Engine::Kind("dev".into())), "kind.local"),
            (&["kind:"], false, None, engine(Engine::Kind("dev".into())), "kind.local"),
            (&["kind:ci"], false, Some("ghcr.io/me"), engine(Engine::Kind("ci".into())), "ghcr.io/me"),
            (&["podman:"], false, None, engine(Engine::Podman), "ko.local"),
            (&["containerd:"], false, None, engine(Engine::Containerd(None)), "ko.local"),
            (
                &["containerd:k8s.io"],
                false,
                None,
                engine(Engine::Containerd(Some("k8s.io".into()))),
                "ko.local",
            ),
            (&["docker:", "docker:"], true, None, engine(Engine::Docker), "ko.local"),
            (
                &["docker:", "registry"],
                false,
                Some("ghcr.io/me"),
                vec![Destination::Registry, Destination::Engine(Engine::Docker)],
                "ghcr.io/me",
            ),
            // ko takes these for the daemon.
            (&[], false, Some("ko.localhost:5000/x"), vec![Destination::Registry], "ko.localhost:5000/x"),
            (&[], false, Some("ko.local:5000/x"), vec![Destination::Registry], "ko.local:5000/x"),
            (&[], false, Some("kind.localhost/x"), vec![Destination::Registry], "kind.localhost/x"),
        ] {
            let found = settle(outputs, local, repository).unwrap();
            assert_eq!(found, (list, prefix.to_owned()), "{outputs:?} {local} {repository:?}");
        }
    }

    #[test]
    fn words_that_say_nothing_are_refused() {
        for (output, repository, why) in [
            ("registry", Some("ko.local"), "no registry"),
            ("registry", None, "no repository"),
            ("docker:name", None, "nothing may follow"),
            ("podman:x", None, "nothing may follow"),
            ("oci-archive:", None, "it takes registry"),
            ("daemon:", None, "it takes registry"),
        ] {
            let error = settle(&[output], false, repository).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains(why), "{output}: {error}");
        }
    }
}
