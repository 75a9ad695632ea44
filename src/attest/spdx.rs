//! SBOMs as SPDX 2.3 JSON. The same image gives the same bytes, wherever it was published.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::attest::bill::{Bill, How, NOT_LINKED, Part, Purpose, listed};
use crate::error::Result;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<String>,
    /// Where modules are fetched from is the business of who builds: not known.
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    /// What somebody decided after a review: nobody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    license_concluded: Option<&'static str>,
    /// What the authors say, by the texts in their code.
    #[serde(skip_serializing_if = "Option::is_none")]
    license_declared: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// The packages in the program: SPDX has no field for them, and a reference for each would be most of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    primary_package_purpose: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const NOT_KNOWN: &str = "NOASSERTION";
/// What the comment of a module begins with whose packages are named.
pub(super) const PACKAGES: &str = "packages in the program: ";

impl Package {
    fn of(part: Part, id: String) -> Self {
        let purl = part.purl.map(|locator| ExternalRef {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: locator,
            comment: None,
        });
        // It is no checksum in the sense of SPDX.
        let sum = part.sum.map(|sum| ExternalRef {
            reference_category: "OTHER",
            reference_type: "go-sum",
            reference_locator: sum,
            comment: Some("Go's hash of the module's files, as in go.sum"),
        });
        let checksum =
            part.digest.map(|digest| Checksum { algorithm: "SHA256", checksum_value: digest.hex() });
        let is_code = matches!(part.purpose, Purpose::Application | Purpose::Library);
        let declared = part.licence.unwrap_or_else(|| NOT_KNOWN.to_owned());
        Package {
            id,
            name: part.name,
            version_info: part.version,
            download_location: NOT_KNOWN,
            files_analyzed: false,
            checksums: checksum.into_iter().collect(),
            license_concluded: is_code.then_some(NOT_KNOWN),
            license_declared: is_code.then_some(declared),
            source_info: part.source,
            summary: part.summary,
            comment: part.packages.map(|packages| match packages.is_empty() {
                true => NOT_LINKED.to_owned(),
                false => format!("{PACKAGES}{}", listed(&packages)),
            }),
            external_refs: purl.into_iter().chain(sum).collect(),
            primary_package_purpose: match part.purpose {
                Purpose::Container => "CONTAINER",
                Purpose::Application => "APPLICATION",
                Purpose::Library => "LIBRARY",
                Purpose::Data => "OTHER",
            },
        }
    }
}

/// An identifier for each part, of the letters that SPDX allows.
fn ids(parts: &[Part]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut id = |part: &Part| {
        let legal = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let name = format!("{} {}", part.name, part.version.as_deref().unwrap_or_default());
        let name: String = name.trim().chars().map(legal).collect();
        let mut id = format!("SPDXRef-Package-{name}");
        let mut number = 1;
        while !taken.insert(id.clone()) {
            number += 1;
            id = format!("SPDXRef-Package-{name}-{number}");
        }
        id
    };
    parts.iter().map(&mut id).collect()
}

/// The document of a bill.
///
/// # Errors
/// None that the types allow.
pub(super) fn document(bill: Bill) -> Result<Vec<u8>> {
    let tool = concat!("gimg-", env!("CARGO_PKG_VERSION"));
    let ids = ids(&bill.parts);
    let mut relationships = Vec::new();
    relationships.extend(ids.first().map(|about| Relationship {
        spdx_element_id: DOCUMENT.to_owned(),
        relationship_type: "DESCRIBES",
        related_spdx_element: about.clone(),
        comment: None,
    }));
    relationships.extend(bill.relations.into_iter().map(|relation| Relationship {
        spdx_element_id: ids[relation.from].clone(),
        relationship_type: match relation.how {
            How::Contains => "CONTAINS",
            How::DependsOn => "DEPENDS_ON",
            How::StandsOn => "DESCENDANT_OF",
            How::IsVariant => "VARIANT_OF",
        },
        related_spdx_element: ids[relation.to].clone(),
        comment: relation.comment,
    }));
    let packages = bill.parts.into_iter().zip(ids).map(|(part, id)| Package::of(part, id));
    super::json(&Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: bill.name,
        // Another gimg may say more of the same image.
        document_namespace: format!("https://spdx.org/spdxdocs/{tool}-sha256-{}", bill.digest.hex()),
        creation_info: CreationInfo { created: bill.created, creators: vec![format!("Tool: {tool}")] },
        packages: packages.collect(),
        relationships,
    })
}

#[cfg(test)]
mod tests;
