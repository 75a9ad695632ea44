//! An image that was published before, opened for one platform: its documents are read, its layers left where they are.

use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use crate::content::Blob;
use crate::error::{Error, Kind, Result};
use crate::image::decompress;
use crate::oci::{
    Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, MediaType, Platform, Reference, Repository,
    document, json,
};
use crate::ops::home::Home;
use crate::ops::{Context, blocking};
use crate::settings::subject::Subject;
use crate::target::oci_archive::OciArchive;
use crate::target::reader::Reader;

/// An image for one platform.
pub(super) struct Opened {
    /// What the user calls it.
    pub(super) name: String,
    /// The last part of its repository's, layout's or archive's name.
    pub(super) app: String,
    /// What it runs on.
    pub(super) platform: Platform,
    /// Its manifest's.
    pub(super) descriptor: Descriptor,
    pub(super) manifest: ImageManifest,
    pub(super) config: ImageConfig,
    /// From the lowest up.
    pub(super) layers: Vec<Blob>,
}

/// What a subject names: an image, or an index of several.
pub(super) struct Root {
    home: Home,
    /// What the user calls it.
    pub(super) name: String,
    pub(super) descriptor: Descriptor,
    /// The index, if it is one.
    pub(super) index: Option<ImageIndex>,
}

/// Opens the image that `subject` names, for `platform`; an image of several has one for linux/amd64, or must be told
/// apart.
///
/// # Errors
/// No such image, none for the platform, or what isn't an image.
pub(super) async fn open(cx: &Context, subject: &Subject, platform: Option<&Platform>) -> Result<Opened> {
    root(cx, subject).await?.open(platform).await
}

/// What `subject` names; of an image for one platform no more is read than what it is.
///
/// # Errors
/// No such image, or what isn't an index though it is named as one.
pub(super) async fn root(cx: &Context, subject: &Subject) -> Result<Root> {
    let (home, descriptor, name) = find(cx, subject).await?;
    let within = |e: Error| e.within(format!("read {name}"));
    let index = match descriptor.media_type.is_index() {
        true => {
            let bytes = home.document(&descriptor).await.map_err(within)?;
            Some(document::index(&bytes, &descriptor.media_type).map_err(within)?)
        }
        false => None,
    };
    Ok(Root { home, name, descriptor, index })
}

impl Root {
    /// Its repository, if it is in a registry.
    pub(super) fn repository(&self) -> Option<&Repository> {
        match &self.home {
            Home::Registry(_, repository) => Some(repository),
            Home::Layout(_) | Home::Archive(_) => None,
        }
    }

    /// The images of the index, in its order; attestations aren't.
    pub(super) fn images(&self) -> Vec<(Descriptor, Platform)> {
        let manifests = self.index.iter().flat_map(|index| &index.manifests);
        let images = manifests.filter(|d| !d.is_attestation());
        images.filter_map(|d| d.platform.clone().map(|platform| (d.clone(), platform))).collect()
    }

    /// Every image of it, in the order of the index.
    ///
    /// # Errors
    /// What isn't an image.
    pub(super) async fn all(&self) -> Result<Vec<Opened>> {
        if self.index.is_none() {
            return Ok(vec![self.open(None).await?]);
        }
        let mut opened = Vec::new();
        for (descriptor, platform) in self.images() {
            opened.push(self.image(descriptor, Some(platform)).await?);
        }
        Ok(opened)
    }

    /// The image for `platform`; without one that for linux/amd64, or the only one.
    ///
    /// # Errors
    /// None for the platform, or what isn't an image.
    pub(super) async fn open(&self, platform: Option<&Platform>) -> Result<Opened> {
        let within = |e: Error| e.within(format!("read {}", self.name));
        if self.index.is_some() {
            let (descriptor, platform) = choose(self.images(), platform).map_err(within)?;
            return self.image(descriptor, Some(platform)).await;
        }
        let image = self.image(self.descriptor.clone(), None).await?;
        if let Some(asked) = platform.filter(|asked| asked.best_of([&image.platform]).is_none()) {
            let why = format!("it is for {}, not for {asked}", image.platform);
            return Err(within(Error::new(Kind::Input, "choose a platform", why)));
        }
        Ok(image)
    }

    /// One of its images, which an index may list for a platform.
    ///
    /// # Errors
    /// What isn't an image.
    pub(super) async fn image(&self, descriptor: Descriptor, listed: Option<Platform>) -> Result<Opened> {
        let (home, name) = (&self.home, self.name.clone());
        let within = |e: Error| e.within(format!("read {name}"));
        let bytes = home.document(&descriptor).await.map_err(within)?;
        let manifest = document::manifest(&bytes, &descriptor.media_type).map_err(within)?;
        if manifest.config.media_type.to_oci() != MediaType::CONFIG {
            let kind = manifest.artifact_type.as_ref().unwrap_or(&manifest.config.media_type);
            let why = format!("{} is an artifact of type {kind}, not an image", descriptor.digest);
            return Err(within(Error::new(Kind::Input, "read the image", why)));
        }
        let config = home.document(&manifest.config).await.map_err(within)?;
        let config: ImageConfig = json::from_bytes(&config, "its config").map_err(within)?;
        if let Home::Archive(archive) = home {
            let (archive, layers) = (Arc::clone(archive), manifest.layers.clone());
            blocking(move || archive.unpack(&layers)).await.map_err(within)?;
        }
        let own_layers = manifest.layers.iter().filter(|layer| !layer.media_type.is_foreign());
        let layers = own_layers.map(|layer| home.layer(layer)).collect::<Result<_>>().map_err(within)?;
        let platform = listed.unwrap_or_else(|| platform_of(&config));
        Ok(Opened { app: last_part(&name).to_owned(), platform, descriptor, manifest, config, layers, name })
    }
}

/// Where an image is, its root, and its name for people.
async fn find(cx: &Context, subject: &Subject) -> Result<(Home, Descriptor, String)> {
    match subject {
        Subject::Registry(reference) => {
            let name = reference.to_string();
            let (root, _) =
                cx.origin().resolve(reference).await.map_err(|e| e.within(format!("read {name}")))?;
            Ok((Home::Registry(cx.origin(), reference.repository.clone()), root, name))
        }
        Subject::Layout(dir, entry) => {
            let reader = Reader::open(dir)?;
            let (root, _) = reader.root(entry.as_deref())?;
            Ok((Home::Layout(reader), root, format!("oci:{}", dir.display())))
        }
        Subject::OciArchive(file, entry) => {
            let (dir, path) = (cx.scratch.directory()?, file.clone());
            let archive = blocking(move || OciArchive::open(&path, dir)).await.map_err(input)?;
            let (root, _) = archive.root(entry.as_deref()).map_err(input)?;
            Ok((Home::Archive(Arc::new(archive)), root, format!("oci-archive:{}", file.display())))
        }
        Subject::File(path) => Err(no_image(&path.display().to_string(), "it is a file")),
        Subject::Package(path) => Err(no_image(path, "it is a package")),
    }
}

/// An archive that can't be read is no base here.
fn input(error: Error) -> Error {
    match error.kind() {
        Kind::Base => error.as_kind(Kind::Input),
        _ => error,
    }
}

fn no_image(name: &str, why: &str) -> Error {
    Error::new(Kind::Usage, format!("read {name}"), format!("{why}, not an image"))
}

/// The image of an index for `platform`, or for the one that is meant where none is named.
fn choose(
    mut images: Vec<(Descriptor, Platform)>,
    platform: Option<&Platform>,
) -> Result<(Descriptor, Platform)> {
    let usual = Platform::new("linux", "amd64");
    let at = match platform {
        None if images.len() == 1 => Some(0),
        _ => platform.unwrap_or(&usual).best_of(images.iter().map(|(_, p)| p)),
    };
    match at {
        Some(at) => Ok(images.swap_remove(at)),
        None => {
            let there: Vec<String> = images.iter().map(|(_, p)| p.to_string()).collect();
            let why = format!("it has none for {}", platform.unwrap_or(&usual));
            Err(Error::new(Kind::Input, "choose a platform", why)
                .hint(format!("name one with --platform: {}", there.join(", "))))
        }
    }
}

fn platform_of(config: &ImageConfig) -> Platform {
    let mut platform = Platform::new(&config.os, &config.architecture);
    platform.variant.clone_from(&config.variant);
    platform.os_version.clone_from(&config.os_version);
    platform
}

/// `app` of `ghcr.io/me/app:v1@sha256:…`, `oci:dir/app` and `oci-archive:app.tar`.
fn last_part(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    let last = last.strip_prefix("oci:").or(last.strip_prefix("oci-archive:")).unwrap_or(last);
    last.split(':').next().unwrap_or(last).trim_end_matches(".tar")
}

impl Opened {
    /// What its annotations say that it stands on (image-spec, annotations.md).
    pub(super) fn base(&self) -> Option<(Reference, Digest)> {
        let annotation = |key: &str| self.manifest.annotations.get(key);
        let name = annotation(crate::oci::annotation::BASE_NAME)?.parse().ok()?;
        Some((name, annotation(crate::oci::annotation::BASE_DIGEST)?.parse().ok()?))
    }
}

/// The tar in a layer's file.
pub(super) fn plain(path: &Path) -> Result<Box<dyn Read>> {
    let io = |e: std::io::Error| Error::io("read a layer", path, &e);
    let file = crate::fs::open_to_seek(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    decompress::plain(BufReader::with_capacity(128 * 1024, file), size).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(platform: &str) -> (Descriptor, Platform) {
        (Descriptor::of(MediaType::MANIFEST, platform.as_bytes()), platform.parse().unwrap())
    }

    #[test]
    fn the_only_image_the_usual_one_or_the_one_that_is_named() {
        let chosen = |there: &[&str], platform: Option<&str>| {
            let platform = platform.map(|p| p.parse::<Platform>().unwrap());
            let found = choose(there.iter().map(|p| image(p)).collect(), platform.as_ref());
            found.map(|(d, p)| (d.digest, p.to_string())).map_err(|e| format!("{e} {:?}", e.hint_text()))
        };
        let found = |platform: &str| Ok((Digest::of(platform.as_bytes()), platform.to_owned()));
        assert_eq!(chosen(&["linux/arm64"], None), found("linux/arm64"));
        assert_eq!(chosen(&["linux/arm64", "linux/amd64"], None), found("linux/amd64"));
        assert_eq!(chosen(&["linux/amd64", "linux/arm/v7"], Some("linux/arm")), found("linux/arm/v7"));
        let error = chosen(&["linux/arm64", "linux/s390x"], None).unwrap_err();
        assert!(
            error.contains("none for linux/amd64") && error.contains("linux/arm64, linux/s390x"),
            "{error}"
        );
        assert!(chosen(&["linux/amd64"], Some("linux/arm64")).is_err());
        assert!(chosen(&[], None).is_err());
    }

    #[test]
    fn programs_are_called_as_their_places() {
        for (name, app) in [
            ("ghcr.io/me/app:v1@sha256:00", "app"),
            ("localhost:5000/app", "app"),
            ("oci:out/app", "app"),
            ("oci:app", "app"),
            ("oci-archive:app.tar", "app"),
        ] {
            assert_eq!(last_part(name), app, "{name}");
        }
    }
}
