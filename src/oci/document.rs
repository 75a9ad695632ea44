//! Manifests and indexes from outside: one that could be read in two ways, or that no image needs, is none.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Kind, Result};
use crate::oci::{ImageIndex, ImageManifest, MediaType, json};

/// How many entries an index has at most.
pub const MAX_ENTRIES: usize = 1000;
/// How many layers an image has at most: overlay filesystems take 128, Docker 125.
pub const MAX_LAYERS: usize = 128;

/// What is looked at to find out whether a document is what it claims to be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    schema_version: Option<u32>,
    media_type: Option<MediaType>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
}

/// The type that a manifest or index says that it has.
///
/// # Errors
/// A document that isn't one, is an index and an image at once (CVE-2021-41190), or has the obsolete schema 1 (kind
/// `Refused`).
pub fn claimed(bytes: &[u8]) -> Result<Option<MediaType>> {
    let claims: Claims = json::from_bytes(bytes, "the manifest").map_err(|e| e.as_kind(Kind::Integrity))?;
    let wrong = |kind, why: &str| Err(Error::new(kind, "read the manifest", why));
    match claims.schema_version {
        Some(2) => {}
        Some(1) => return wrong(Kind::Refused, "schema 1 images aren't supported; push it again"),
        _ => return wrong(Kind::Integrity, "it has no schemaVersion 2"),
    }
    if claims.manifests.is_some() && (claims.layers.is_some() || claims.config.is_some()) {
        return wrong(Kind::Integrity, "ambiguous document: it is an index and an image at once");
    }
    Ok(claims.media_type)
}

fn check(bytes: &[u8], media_type: &MediaType) -> Result<()> {
    match claimed(bytes)? {
        Some(claimed) if claimed != *media_type => {
            let why = format!("it is named as {media_type} but says that it is {claimed}");
            Err(Error::new(Kind::Integrity, "read the manifest", why))
        }
        _ => Ok(()),
    }
}

/// Reads an index that is named as `media_type`.
///
/// # Errors
/// As [`claimed`], and one with too many entries.
pub fn index(bytes: &[u8], media_type: &MediaType) -> Result<ImageIndex> {
    check(bytes, media_type)?;
    let index: ImageIndex = json::from_bytes(bytes, "the index")?;
    if index.manifests.len() > MAX_ENTRIES {
        let why = format!("it has {} entries, limit {MAX_ENTRIES}", index.manifests.len());
        return Err(Error::new(Kind::Integrity, "read the index", why));
    }
    Ok(index)
}

/// Reads an image manifest that is named as `media_type`.
///
/// # Errors
/// As [`claimed`], and one with too many layers.
pub fn manifest(bytes: &[u8], media_type: &MediaType) -> Result<ImageManifest> {
    check(bytes, media_type)?;
    let manifest: ImageManifest = json::from_bytes(bytes, "the manifest")?;
    if manifest.layers.len() > MAX_LAYERS {
        let why = format!("it has {} layers, limit {MAX_LAYERS}", manifest.layers.len());
        return Err(Error::new(Kind::Integrity, "read the manifest", why));
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, kind) in [
            (r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#, Kind::Integrity),
            (r#"{"schemaVersion":2,"config":{},"manifests":[]}"#, Kind::Integrity),
            (r#"{"schemaVersion":2,"mediaType":"a/b","mediaType":"c/d"}"#, Kind::Integrity),
            (r#"{"layers":[]}"#, Kind::Integrity),
            (r#"{"schemaVersion":-2}"#, Kind::Integrity),
            (r#"{"schemaVersion":1}"#, Kind::Refused),
            ("<html>", Kind::Integrity),
        ] {
            assert_eq!(claimed(text.as_bytes()).unwrap_err().kind(), kind, "{text}");
        }
        let index =
            |t: &str| format!(r#"{{"schemaVersion":2,"mediaType":"{t}","manifests":[],"layers":null}}"#);
        let oci = index(MediaType::INDEX.as_str());
        super::index(oci.as_bytes(), &MediaType::INDEX).unwrap();
        let docker = index(MediaType::DOCKER_LIST.as_str());
        let error = super::index(docker.as_bytes(), &MediaType::INDEX).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
    }
}
