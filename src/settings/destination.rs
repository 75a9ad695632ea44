//! The words for where images go: destinations, tags, places to push to. Pure.

use std::mem::discriminant;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::oci::{Repository, Tag};
use crate::plan::packages::normalise;
use crate::settings::Words;

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
    /// Nothing is published (`--push=false`), only named.
    Nowhere,
}

/// The destinations that `--output` names, each once; without any the registry if a repository is set, else a layout
/// for each program below `gimg-out`.
///
/// # Errors
/// A word that names none, a registry without repository, two outputs with one path.
pub(super) fn destinations(words: &Words, has_repository: bool, cwd: &Path) -> Result<Vec<Destination>> {
    let (mut list, mut places) = (Vec::new(), Vec::new());
    for text in &outputs(words, has_repository) {
        let bad = |why: &str| Error::new(Kind::Usage, format!("read --output {text}"), why.to_owned());
        let (scheme, path) = text.split_once(':').map_or((text.as_str(), ""), |(s, p)| (s, p));
        if scheme != "registry" && path.is_empty() {
            return Err(bad("it takes registry, oci:DIR, oci-archive:FILE or docker-archive:FILE"));
        }
        let destination = match scheme {
            "registry" if !path.is_empty() => return Err(bad("registry takes no path").hint("use --repo")),
            "registry" if !has_repository => {
                return Err(bad("no repository is set").hint("set --repo, GIMG_REPO or KO_DOCKER_REPO"));
            }
            "registry" => Destination::Registry,
            "oci" => Destination::Layout(PathBuf::from(path)),
            "oci-archive" => Destination::OciArchive(PathBuf::from(path)),
            "docker-archive" => Destination::DockerArchive(PathBuf::from(path)),
            _ => return Err(bad("it takes registry, oci:DIR, oci-archive:FILE or docker-archive:FILE")),
        };
        let place = if path.is_empty() { PathBuf::new() } else { normalise(&cwd.join(path)) };
        match places.iter().position(|p| *p == place) {
            // The same output twice, perhaps spelled in two ways.
            Some(at) if list.get(at).map(discriminant) == Some(discriminant(&destination)) => {}
            Some(_) => return Err(bad("another output has the same path")),
            None => {
                list.push(destination);
                places.push(place);
            }
        }
    }
    if list.is_empty() {
        list.push(match (words.push, has_repository) {
            (false, _) => Destination::Nowhere,
            (true, true) => Destination::Registry,
            (true, false) => Destination::LayoutPerProgram(PathBuf::from("gimg-out")),
        });
    }
    Ok(list)
}

/// `--output`, and ko's flags for the same: its layout and tarball are made beside the push.
fn outputs(words: &Words, has_repository: bool) -> Vec<String> {
    let mut outputs = words.outputs.clone();
    let files = words.oci_layout_path.iter().map(|p| format!("oci:{p}"));
    let files: Vec<String> =
        files.chain(words.tarball.iter().map(|p| format!("docker-archive:{p}"))).collect();
    if outputs.is_empty() && !files.is_empty() && has_repository {
        outputs.push("registry".to_owned());
    }
    outputs.extend(files);
    if !words.push {
        outputs.retain(|o| o != "registry");
    }
    outputs
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
