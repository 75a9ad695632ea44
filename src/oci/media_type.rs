//! Media types (OCI image-spec, media-types.md) and their Docker twins.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type, without parameters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(Cow<'static, str>);

impl MediaType {
    /// An OCI image index.
    pub const INDEX: Self = Self::of("application/vnd.oci.image.index.v1+json");
    /// An OCI image manifest.
    pub const MANIFEST: Self = Self::of("application/vnd.oci.image.manifest.v1+json");
    /// An OCI image config.
    pub const CONFIG: Self = Self::of("application/vnd.oci.image.config.v1+json");
    /// The config of an artifact that has none: `{}`.
    pub const EMPTY: Self = Self::of("application/vnd.oci.empty.v1+json");
    /// gimg's artifact that says what an image's programs were made from (docs/cache.md).
    pub const INPUTS: Self = Self::of("application/vnd.gimg.inputs.v1");
    /// Its only layer.
    pub const INPUTS_LAYER: Self = Self::of("application/vnd.gimg.inputs.v1.json+zstd");
    /// gimg's artifact that holds what Go compiled (docs/remote-cache.md).
    pub const BUILD_CACHE: Self = Self::of("application/vnd.gimg.build-cache.v1");
    /// Its first layer: what is in the others.
    pub const BUILD_CACHE_PROFILE: Self = Self::of("application/vnd.gimg.build-cache.profile.v1+zstd");
    /// Its other layers: outputs, each compressed with zstd, one after the other.
    pub const BUILD_CACHE_PACK: Self = Self::of("application/vnd.gimg.build-cache.pack.v1");
    /// An SBOM as SPDX JSON (IANA).
    pub const SPDX: Self = Self::of("application/spdx+json");
    /// The same in cosign's old layout, from before it was registered.
    pub const TEXT_SPDX: Self = Self(Cow::Borrowed("text/spdx+json"));
    /// An SBOM as CycloneDX JSON (IANA).
    pub const CYCLONEDX: Self = Self::of("application/vnd.cyclonedx+json");
    /// An in-toto statement that nobody signed.
    pub const STATEMENT: Self = Self::of("application/vnd.in-toto+json");
    /// A signed statement, as a sigstore bundle of version 0.3.
    pub const BUNDLE: Self = Self::of("application/vnd.dev.sigstore.bundle.v0.3+json");
    /// What cosign signs in its old layout.
    pub const SIMPLE_SIGNING: Self = Self::of("application/vnd.dev.cosign.simplesigning.v1+json");
    /// An uncompressed layer.
    pub const LAYER: Self = Self::of("application/vnd.oci.image.layer.v1.tar");
    /// A gzip layer.
    pub const LAYER_GZIP: Self = Self::of("application/vnd.oci.image.layer.v1.tar+gzip");
    /// A zstd layer.
    pub const LAYER_ZSTD: Self = Self::of("application/vnd.oci.image.layer.v1.tar+zstd");
    /// Docker's manifest list.
    pub const DOCKER_LIST: Self = Self::of("application/vnd.docker.distribution.manifest.list.v2+json");
    /// Docker's image manifest, schema 2.
    pub const DOCKER_MANIFEST: Self = Self::of("application/vnd.docker.distribution.manifest.v2+json");
    /// Docker's image config.
    pub const DOCKER_CONFIG: Self = Self::of("application/vnd.docker.container.image.v1+json");
    /// A gzip layer that is kept elsewhere.
    pub const FOREIGN_GZIP: Self = Self::of("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    /// Docker's gzip layer that is kept elsewhere.
    pub const DOCKER_FOREIGN: Self = Self::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    /// Docker's gzip layer.
    pub const DOCKER_LAYER: Self = Self::of("application/vnd.docker.image.rootfs.diff.tar.gzip");

    const fn of(text: &'static str) -> Self {
        MediaType(Cow::Borrowed(text))
    }

    /// The media type in a `Content-Type` value: parameters and case are dropped.
    #[must_use]
    pub fn from_header(value: &str) -> Self {
        let essence = value.split(';').next().unwrap_or_default().trim();
        MediaType(Cow::Owned(essence.to_ascii_lowercase()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// An index of either family.
    #[must_use]
    pub fn is_index(&self) -> bool {
        *self == Self::INDEX || *self == Self::DOCKER_LIST
    }

    /// An image manifest of either family.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        *self == Self::MANIFEST || *self == Self::DOCKER_MANIFEST
    }

    /// Something that is put by the manifests endpoint, not by blob upload.
    #[must_use]
    pub fn is_manifest_or_index(&self) -> bool {
        self.is_index() || self.is_manifest()
    }

    /// A layer that may not be handed on: images name it, whoever runs them gets it elsewhere (Windows' own layers).
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }

    /// The OCI twin of a Docker type; every other type is itself.
    #[must_use]
    pub fn to_oci(&self) -> Self {
        match self {
            t if *t == Self::DOCKER_LIST => Self::INDEX,
            t if *t == Self::DOCKER_MANIFEST => Self::MANIFEST,
            t if *t == Self::DOCKER_CONFIG => Self::CONFIG,
            t if *t == Self::DOCKER_LAYER => Self::LAYER_GZIP,
            t if *t == Self::DOCKER_FOREIGN => Self::FOREIGN_GZIP,
            other => other.clone(),
        }
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for MediaType {
    fn from(text: String) -> Self {
        MediaType(Cow::Owned(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_parameters_are_dropped() {
        let header = "Application/vnd.oci.image.index.v1+json; charset=utf-8";
        assert_eq!(MediaType::from_header(header), MediaType::INDEX);
    }

    #[test]
    fn docker_types_have_oci_twins() {
        assert_eq!(MediaType::DOCKER_LAYER.to_oci(), MediaType::LAYER_GZIP);
        assert_eq!(MediaType::DOCKER_FOREIGN.to_oci(), MediaType::FOREIGN_GZIP);
        assert!(MediaType::DOCKER_FOREIGN.is_foreign() && MediaType::FOREIGN_GZIP.is_foreign());
        assert!(!MediaType::LAYER_GZIP.is_foreign() && !MediaType::DOCKER_LAYER.is_foreign());
        assert_eq!(MediaType::from("x/y".to_owned()).to_oci().as_str(), "x/y");
    }
}
