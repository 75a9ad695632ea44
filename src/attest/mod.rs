//! Statements about images: what is in them, and how statements are written and read. Pure.

mod advisory;
mod bill;
mod claims;
mod cyclonedx;
pub mod licences;
mod licensed;
mod modules;
mod provenance;
mod purl;
mod spdx;
mod statement;
mod time;

use serde::Serialize;

pub use advisory::{Advisory, Holds, NewerGo, STDLIB, newer_go, of_go};
pub use bill::{Base, Bill, Facts, Program};
pub use claims::{Claims, Revision, linked, packages};
pub use licensed::Licences;
pub use modules::{Module, Modules, Stamp};
pub use provenance::{BUILD_TYPE, Build, CameOut, Isolation, Made, PROVENANCE, predicate, rebased};
pub use purl::read_go;
pub use statement::{SIGNED, Statement, Subject, simple, statement};
pub use time::utc;

use crate::error::{Error, Kind, Result};
use crate::oci::{MediaType, Platform};

/// How an SBOM is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SPDX 2.3 JSON.
    Spdx,
    /// CycloneDX 1.6 JSON.
    CycloneDx,
}

impl Format {
    /// Every one.
    pub const ALL: [Self; 2] = [Format::Spdx, Format::CycloneDx];

    /// The format of documents of this media type.
    #[must_use]
    pub fn of(media_type: &MediaType) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.media_type() == *media_type)
    }

    /// The document of `bill`: JSON, and a line end.
    ///
    /// # Errors
    /// None that the types allow.
    pub fn document(self, bill: Bill) -> Result<Vec<u8>> {
        match self {
            Format::Spdx => spdx::document(bill),
            Format::CycloneDx => cyclonedx::document(bill),
        }
    }

    /// The media type of the document (IANA, "spdx+json" and "vnd.cyclonedx+json").
    #[must_use]
    pub fn media_type(self) -> MediaType {
        match self {
            Format::Spdx => MediaType::SPDX,
            Format::CycloneDx => MediaType::CYCLONEDX,
        }
    }

    /// The media type that such a document has as a layer of an image beside another one (cosign, "pkg/types/media.go").
    #[must_use]
    pub fn media_type_of_layer(self) -> MediaType {
        match self {
            Format::Spdx => MediaType::TEXT_SPDX,
            Format::CycloneDx => MediaType::CYCLONEDX,
        }
    }

    /// What a statement calls such a document (in-toto/attestation, "spec/predicates").
    #[must_use]
    pub fn predicate_type(self) -> &'static str {
        match self {
            Format::Spdx => "https://spdx.dev/Document",
            Format::CycloneDx => "https://cyclonedx.org/bom",
        }
    }

    /// The format of this name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "spdx" => Some(Format::Spdx),
            "cyclonedx" => Some(Format::CycloneDx),
            _ => None,
        }
    }

    /// The end of the names of its files.
    fn extension(self) -> &'static str {
        match self {
            Format::Spdx => ".spdx.json",
            Format::CycloneDx => ".cdx.json",
        }
    }
}

/// A document as JSON for people, and a line end.
fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes =
        serde_json::to_vec_pretty(document).map_err(|e| Error::new(Kind::Internal, "write the SBOM", e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The names of the files for an image's platforms, as ko has them: `<app>-<os>-<arch>[-<variant>].spdx.json`, or
/// `.cdx.json`. Two versions of Windows, which would share a name, both have their version at its end.
#[must_use]
pub fn file_names(format: Format, app: &str, platforms: &[Platform]) -> Vec<String> {
    let plain: Vec<String> = platforms
        .iter()
        .map(|p| {
            let variant = p.variant.iter().map(|v| format!("-{v}"));
            variant.fold(format!("{app}-{}-{}", p.os, p.architecture), |name, v| name + &v)
        })
        .collect();
    let named = platforms.iter().zip(&plain).map(|(platform, name)| {
        let shared = plain.iter().filter(|other| *other == name).count() > 1;
        let version = platform.os_version.iter().filter(|_| shared).map(|v| format!("-{v}"));
        version.fold(name.clone(), |name, v| name + &v) + format.extension()
    });
    named.collect()
}

/// The name of the file for an image's index, as ko has it.
#[must_use]
pub fn index_file_name(format: Format, app: &str) -> String {
    format!("{app}-index{}", format.extension())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_as_ko_names_them() {
        let names = |platforms: &[&str]| {
            let platforms: Vec<Platform> = platforms.iter().map(|p| p.parse().unwrap()).collect();
            file_names(Format::Spdx, "app", &platforms)
        };
        assert_eq!(
            names(&["linux/amd64", "linux/arm/v7", "windows/amd64:10.0.20348.1"]),
            ["app-linux-amd64.spdx.json", "app-linux-arm-v7.spdx.json", "app-windows-amd64.spdx.json"]
        );
        assert_eq!(
            names(&["windows/amd64:10.0.17763", "windows/amd64:10.0.20348"]),
            ["app-windows-amd64-10.0.17763.spdx.json", "app-windows-amd64-10.0.20348.spdx.json"]
        );
        assert_eq!(index_file_name(Format::Spdx, "app"), "app-index.spdx.json");
        assert_eq!(index_file_name(Format::CycloneDx, "app"), "app-index.cdx.json");
    }
}
