//! Base and layers become an image, images an index. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::content::Blob;
use crate::error::{Error, Kind, Result};
use crate::image::Filesystem;
use crate::oci::{
    Descriptor, Digest, History, ImageConfig, ImageIndex, ImageManifest, MediaType, Platform, annotation,
};

/// Where kodata is; KO_DATA_PATH says so to the program.
pub const DATA_DIR: &str = "/var/run/ko";

/// A finished layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The stored layer.
    pub blob: Blob,
    /// The digest of its tar.
    pub diff_id: Digest,
    /// How it came to be.
    pub history: History,
}

/// What an image stands on, for one platform.
#[derive(Clone, Debug, Default)]
pub struct Inherited {
    /// The base's config; empty for `scratch`.
    pub config: ImageConfig,
    /// The base's layers, from the lowest up.
    pub layers: Vec<Blob>,
    /// The base manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// The base's reference, and the digest of its manifest for this platform, if it comes from a registry.
    pub origin: Option<(String, Digest)>,
}

/// What is to be said about an image besides its layers.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// The platform.
    pub platform: &'a Platform,
    /// The directory of the programs: an absolute path.
    pub dir: &'a str,
    /// The name of the program that runs.
    pub program: &'a str,
    /// `created`, if the user fixed it: RFC 3339.
    pub created: Option<String>,
    /// A command to put before the program.
    pub wrapper: &'a [String],
    /// Arguments that the program gets if none are given.
    pub cmd: Option<&'a [String]>,
    /// Environment to set.
    pub env: &'a BTreeMap<String, String>,
    /// Where the program starts, if not where the base says.
    pub working_dir: Option<&'a str>,
    /// Further fields of the config's `config`.
    pub extra: &'a Map<String, Value>,
    /// Labels to add.
    pub labels: &'a BTreeMap<String, String>,
    /// Annotations to add.
    pub annotations: &'a BTreeMap<String, String>,
    /// The user to run as, if not the base's.
    pub user: Option<&'a str>,
}

/// A finished image.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest; its descriptor carries the platform.
    pub manifest: Blob,
    /// The config.
    pub config: Blob,
    /// The layers, from the lowest up.
    pub layers: Vec<Blob>,
    /// When it was made, as the config says: RFC 3339.
    pub created: String,
}

/// The time that stands for no time.
pub const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Puts `layers` on a base.
///
/// # Errors
/// A base whose config and manifest don't have the same number of layers.
pub fn image(base: &Inherited, layers: &[Layer], spec: &Spec<'_>) -> Result<Image> {
    let found = base.config.rootfs.diff_ids.len();
    if found != base.layers.len() {
        let why = format!("its config lists {found} diff_ids, its manifest {} layers", base.layers.len());
        return Err(Error::new(Kind::Integrity, "use the base", why).at(spec.platform));
    }
    let mut config = base.config.clone();
    config.os.clone_from(&spec.platform.os);
    config.architecture.clone_from(&spec.platform.architecture);
    config.variant.clone_from(&spec.platform.variant);
    if config.os_version.is_none() {
        config.os_version.clone_from(&spec.platform.os_version);
    }
    let created = spec.created.clone().or(config.created).unwrap_or_else(|| EPOCH.to_owned());
    config.created = Some(created.clone());
    let run = &mut config.config;
    let filesystem = Filesystem::of(spec.platform);
    run.entrypoint = spec.wrapper.to_vec();
    run.entrypoint.push(filesystem.path(&format!("{}/{}", spec.dir.trim_end_matches('/'), spec.program)));
    run.cmd = spec.cmd.unwrap_or_default().to_vec();
    filesystem.extend_path(&mut run.env, spec.dir);
    filesystem.set(&mut run.env, "KO_DATA_PATH", &filesystem.path(DATA_DIR));
    for (key, value) in spec.env {
        filesystem.set(&mut run.env, key, value);
    }
    if let Some(dir) = spec.working_dir {
        dir.clone_into(&mut run.working_dir);
    }
    run.extra.extend(spec.extra.clone());
    run.labels.extend(spec.labels.clone());
    if let Some(user) = spec.user {
        user.clone_into(&mut run.user);
    }
    for layer in layers {
        config.rootfs.diff_ids.push(layer.diff_id);
        config.history.push(layer.history.clone());
    }

    let mut blobs: Vec<Blob> = base.layers.clone();
    blobs.extend(layers.iter().map(|l| l.blob.clone()));
    let config = Blob::json(MediaType::CONFIG, &config)?;
    let mut annotations = base.annotations.clone();
    annotations.extend(origin_annotations(base.origin.as_ref()));
    annotations.extend(spec.annotations.clone());
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::MANIFEST),
        artifact_type: None,
        config: config.descriptor.clone(),
        layers: blobs.iter().map(|b| as_oci(&b.descriptor)).collect(),
        subject: None,
        annotations,
    };
    let mut manifest = Blob::json(MediaType::MANIFEST, &manifest)?;
    manifest.descriptor.platform = Some(spec.platform.clone());
    Ok(Image { manifest, config, layers: blobs, created })
}

/// An index of `images`, in their order. `origin` is the base's reference and the digest of its index.
///
/// # Errors
/// As [`Blob::json`].
pub fn index(
    images: &[Image],
    origin: Option<&(String, Digest)>,
    annotations: &BTreeMap<String, String>,
) -> Result<Blob> {
    let manifests = images.iter().map(|i| i.manifest.descriptor.clone()).collect();
    let mut all = origin_annotations(origin);
    all.extend(annotations.clone());
    Blob::json(MediaType::INDEX, &ImageIndex::new(manifests, all))
}

fn origin_annotations(origin: Option<&(String, Digest)>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    if let Some((name, digest)) = origin {
        map.insert(annotation::BASE_NAME.to_owned(), name.clone());
        map.insert(annotation::BASE_DIGEST.to_owned(), digest.to_string());
    }
    map
}

/// A layer's descriptor in an OCI manifest: Docker's types are converted, the blob stays as it is.
fn as_oci(descriptor: &Descriptor) -> Descriptor {
    Descriptor { media_type: descriptor.media_type.to_oci(), ..descriptor.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NO_EXTRA: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

    fn spec<'a>(platform: &'a Platform, none: &'a BTreeMap<String, String>) -> Spec<'a> {
        Spec {
            platform,
            dir: "/ko-app",
            program: "app",
            created: None,
            wrapper: &[],
            cmd: None,
            env: none,
            working_dir: None,
            extra: &NO_EXTRA,
            labels: none,
            annotations: none,
            user: None,
        }
    }

    #[test]
    fn a_base_keeps_what_is_not_ours() {
        let mut base = Inherited::default();
        base.config.config.env = vec!["A=1".into(), "PATH=/bin".into()];
        base.config.config.cmd = vec!["sh".into()];
        base.config.created = Some("2020-01-01T00:00:00Z".into());
        base.config.config.extra.insert("StopSignal".into(), "SIGQUIT".into());
        let (platform, none) = (Platform::new("linux", "arm64"), BTreeMap::new());
        let made = image(&base, &[], &spec(&platform, &none)).unwrap();
        let crate::content::Content::Bytes(bytes) = &made.config.content else { panic!("bytes") };
        let config: ImageConfig = serde_json::from_slice(bytes).unwrap();
        assert_eq!(config.config.env, ["A=1", "PATH=/bin:/ko-app", "KO_DATA_PATH=/var/run/ko"]);
        assert_eq!(config.config.entrypoint, ["/ko-app/app"]);
        assert!(config.config.cmd.is_empty());
        assert_eq!(config.config.extra["StopSignal"], "SIGQUIT");
        assert_eq!(config.created.as_deref(), Some("2020-01-01T00:00:00Z"));
        assert_eq!((config.os.as_str(), config.architecture.as_str()), ("linux", "arm64"));
    }

    #[test]
    fn a_base_that_lies_about_its_layers_is_refused() {
        let mut base = Inherited::default();
        base.config.rootfs.diff_ids.push(Digest::of(b""));
        let (platform, none) = (Platform::new("linux", "arm64"), BTreeMap::new());
        assert_eq!(image(&base, &[], &spec(&platform, &none)).unwrap_err().kind(), Kind::Integrity);
    }
}
