//! The words for where images go: destinations, tags, places to push to. Pure.

use std::mem::discriminant;
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
}

impl Destination {
    fn path(&self) -> Option<&Path> {
        match self {
            Destination::Layout(path) | Destination::OciArchive(path) | Destination::DockerArchive(path) => {
                Some(path)
            }
            Destination::Registry | Destination::LayoutPerProgram(_) | Destination::Engine(_) => None,
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
    /// `--local`.
    pub(super) local: bool,
    /// The repository: flag, environment or file.
    pub(super) repository: Option<&'a str>,
}

/// Where images go, each destination once, registries first; and what they are named below. Without a word it is
/// what the repository means: `ko.local` and `kind.local` an engine, as in ko, any other the registry. Without
/// repository it is a layout for each program below `gimg-out`.
///
/// # Errors
/// A word that names none, a registry without repository, two outputs with one path.
pub(super) fn destinations(said: &Said, env: &Env, cwd: &Path) -> Result<(Vec<Destination>, Option<Prefix>)> {
    let engine = said.repository.and_then(|text| engine_of(text, env));
    let (mut list, mut places) = (Vec::new(), Vec::new());
    for text in said.outputs {
        let destination = destination(text, said.repository, engine.is_some(), env)?;
        if list.contains(&destination) {
            continue;
        }
        if let Some(path) = destination.path() {
            let place = normalise(&cwd.join(path));
            match places.iter().find(|(p, _)| *p == place) {
                // The same output twice, spelled in two ways.
                Some((_, kind)) if *kind == discriminant(&destination) => continue,
                Some(_) => return Err(bad(text, "another output has the same path")),
                None => places.push((place, discriminant(&destination))),
            }
        }
        list.push(destination);
    }
    if said.local && !list.contains(&Destination::Engine(Engine::Docker)) {
        list.push(Destination::Engine(Engine::Docker));
    }
    if list.is_empty() {
        list.push(match (engine, said.repository) {
            (Some(engine), _) => Destination::Engine(engine),
            (None, Some(_)) => Destination::Registry,
            (None, None) => Destination::LayoutPerProgram(PathBuf::from("gimg-out")),
        });
    }
    list.sort_by_key(|d| *d != Destination::Registry);
    let first = list.iter().find_map(|d| match d {
        Destination::Engine(Engine::Kind(_)) => Some(KIND_LOCAL),
        Destination::Engine(_) => Some(KO_LOCAL),
        _ => None,
    });
    let prefix = said.repository.or(first).map(str::parse).transpose()?;
    Ok((list, prefix))
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
fn destination(text: &str, repository: Option<&str>, is_engine: bool, env: &Env) -> Result<Destination> {
    let (scheme, path) = text.split_once(':').unwrap_or((text, ""));
    let file = |make: fn(PathBuf) -> Destination| match path {
        "" => Err(bad(text, WORDS)),
        path => Ok(make(PathBuf::from(path))),
    };
    match (scheme, repository) {
        ("registry", _) if !path.is_empty() => Err(bad(text, "registry takes no path").hint("use --repo")),
        ("registry", None) => {
            Err(bad(text, "no repository is set").hint("set --repo, GIMG_REPO or KO_DOCKER_REPO"))
        }
        ("registry", Some(name)) if is_engine => {
            Err(bad(text, &format!("{name} names images of an engine, it is no registry"))
                .hint("set --repo to a repository of the registry"))
        }
        ("registry", Some(_)) => Ok(Destination::Registry),
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
    let mut tags = Vec::new();
    for text in words.iter().flat_map(|t| t.split(',')) {
        let tag: Tag = text.parse().map_err(|e: Error| e.as_kind(Kind::Usage))?;
        if !tags.contains(&tag) {
            tags.push(tag);
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
        let said = Said { outputs: &outputs, local, repository };
        let (list, prefix) = destinations(&said, &env, Path::new("/w"))?;
        Ok((list, prefix.map(|p| p.to_string()).unwrap_or_default()))
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
