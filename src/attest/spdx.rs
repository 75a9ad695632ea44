//! SBOMs as SPDX 2.3 JSON. The same image gives the same bytes, wherever it was published.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::attest::modules::{Module, Modules};
use crate::attest::purl;
use crate::error::{Error, Kind, Result};
use crate::image::assemble::{EPOCH, rfc3339};
use crate::oci::{Digest, Platform, Reference};

/// What is to be said of an image for one platform.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What the image is called: the program's name.
    pub app: &'a str,
    /// The digest of its manifest.
    pub digest: Digest,
    /// What it runs on.
    pub platform: &'a Platform,
    /// When it was made: RFC 3339, as in its config.
    pub created: &'a str,
    /// What it stands on; `None` for nothing.
    pub base: Option<Base<'a>>,
}

/// What an image stands on.
#[derive(Clone, Debug)]
pub enum Base<'a> {
    /// An image of a registry, and the digest of its manifest or index.
    Registry(&'a Reference, Digest),
    /// The built-in base: its version, and names and versions of what its data was made from.
    BuiltIn(u32, Vec<(&'static str, &'static str)>),
    /// An image of this machine, which has no name that others know.
    Local,
}

/// A program in an image.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// Its path in the image.
    pub path: String,
    /// What it is made of.
    pub modules: &'a Modules,
}

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

#[derive(Default, Serialize)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
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

impl Package {
    fn new(name: &str, version: Option<&str>, purpose: &'static str) -> Self {
        Package {
            name: name.to_owned(),
            version_info: version.map(str::to_owned),
            download_location: NOT_KNOWN,
            primary_package_purpose: purpose,
            ..Package::default()
        }
    }

    fn purl(mut self, purl: Option<String>) -> Self {
        self.external_refs.extend(purl.map(|locator| ExternalRef {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: locator,
            comment: None,
        }));
        self
    }

    /// Go's hash of a module is one over the list of its files' hashes, not over any file: it is no checksum in the
    /// sense of SPDX.
    fn sum(mut self, sum: Option<&String>) -> Self {
        self.external_refs.extend(sum.map(|sum| ExternalRef {
            reference_category: "OTHER",
            reference_type: "go-sum",
            reference_locator: sum.clone(),
            comment: Some("Go's hash of the module's files, as in go.sum"),
        }));
        self
    }

    fn image(app: &str, digest: &Digest, architecture: Option<&str>, summary: String) -> Self {
        let version = digest.to_string();
        let package = Package::new(app, Some(&version), "CONTAINER");
        let checksums = vec![Checksum { algorithm: "SHA256", checksum_value: digest.hex() }];
        let purl = purl::image(app, digest, architecture, None);
        Package { checksums, summary: Some(summary), ..package }.purl(Some(purl))
    }
}

impl Facts<'_> {
    fn package(&self) -> Package {
        let summary = format!("image for {}", self.platform);
        Package::image(self.app, &self.digest, Some(&self.platform.architecture), summary)
    }
}

/// Packages with their identifiers, and how they relate.
#[derive(Default)]
struct Parts {
    taken: BTreeSet<String>,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

impl Parts {
    /// Adds a package; gives it an identifier of its own, of the letters that SPDX allows.
    fn add(&mut self, mut package: Package) -> String {
        let legal = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
        let name = format!("{} {}", package.name, package.version_info.as_deref().unwrap_or_default());
        let name: String = name.trim().chars().map(legal).collect();
        let mut id = format!("SPDXRef-Package-{name}");
        let mut number = 1;
        while !self.taken.insert(id.clone()) {
            number += 1;
            id = format!("SPDXRef-Package-{name}-{number}");
        }
        package.id.clone_from(&id);
        self.packages.push(package);
        id
    }

    fn relate(&mut self, element: &str, how: &'static str, related: &str) {
        self.relate_with(element, how, related, None);
    }

    fn relate_with(&mut self, element: &str, how: &'static str, related: &str, comment: Option<String>) {
        self.relationships.push(Relationship {
            spdx_element_id: element.to_owned(),
            relationship_type: how,
            related_spdx_element: related.to_owned(),
            comment,
        });
    }

    /// Adds what an image stands on.
    fn base(&mut self, image: &str, base: Option<&Base<'_>>, architecture: Option<&str>) {
        let Some(base) = base else { return };
        let package = match base {
            Base::Registry(reference, digest) => {
                let repository = &reference.repository;
                let name = repository.path().rsplit('/').next().unwrap_or_default();
                let tag = reference.tag.as_ref().map(|t| t.as_str());
                let package = Package::image(name, digest, None, format!("the base image {reference}"));
                let purl = purl::image(name, digest, architecture, Some((repository, tag)));
                Package { external_refs: Vec::new(), ..package }.purl(Some(purl))
            }
            Base::BuiltIn(version, _) => {
                let package = Package::new("static", Some(&version.to_string()), "CONTAINER");
                Package { summary: Some("the base that is built into gimg".to_owned()), ..package }
            }
            Base::Local => {
                let package = Package::new("base", None, "CONTAINER");
                Package { summary: Some("a base image of the machine that built".to_owned()), ..package }
            }
        };
        let id = self.add(package);
        self.relate(image, "DESCENDANT_OF", &id);
        if let Base::BuiltIn(_, data) = base {
            for (name, version) in data {
                let data = self.add(Package::new(name, Some(version), "OTHER"));
                self.relate(&id, "CONTAINS", &data);
            }
        }
    }

    /// Adds what programs are made of: each module once, whatever the number of programs that have it.
    fn programs(&mut self, image: &str, programs: &[Program<'_>]) {
        let mut paths: BTreeMap<&Module, Vec<&str>> = BTreeMap::new();
        for program in programs {
            paths.entry(&program.modules.main).or_default().push(&program.path);
        }
        let mut modules: BTreeMap<&Module, String> = BTreeMap::new();
        let mut libraries: BTreeMap<&str, String> = BTreeMap::new();
        let mut related = BTreeSet::new();
        for program in programs {
            let Modules { main, deps, go } = program.modules;
            let id = self.module(&mut modules, main, "APPLICATION");
            if let Some(paths) = paths.remove(main) {
                let comment = format!("at {}", paths.join(", "));
                self.relate_with(image, "CONTAINS", &id, Some(comment));
            }
            let library = libraries.entry(go.as_str()).or_insert_with(|| {
                let version = program.modules.stdlib_version();
                let package = Package::new("stdlib", Some(version), "LIBRARY");
                let source = Some(format!("the standard library of {go}"));
                self.add(Package { source_info: source, ..package }.purl(Some(purl::stdlib(version))))
            });
            let mut needed = vec![library.clone()];
            needed.extend(deps.iter().map(|dep| self.module(&mut modules, dep, "LIBRARY")));
            for needed in needed.into_iter().filter(|n| *n != id) {
                if related.insert((id.clone(), needed.clone())) {
                    self.relate(&id, "DEPENDS_ON", &needed);
                }
            }
        }
    }

    fn module<'m>(
        &mut self,
        modules: &mut BTreeMap<&'m Module, String>,
        module: &'m Module,
        purpose: &'static str,
    ) -> String {
        let add = || {
            let package = Package::new(&module.path, module.version.as_deref(), purpose);
            let package = Package { source_info: module.source.clone(), ..package };
            let purl = purl::go_module(&module.path, module.version.as_deref());
            self.add(package.purl(purl).sum(module.sum.as_ref()))
        };
        modules.entry(module).or_insert_with(add).clone()
    }

    fn document(self, name: String, digest: &Digest, created: String) -> Result<Vec<u8>> {
        let tool = concat!("gimg-", env!("CARGO_PKG_VERSION"));
        let document = Document {
            spdx_version: "SPDX-2.3",
            data_license: "CC0-1.0",
            id: DOCUMENT,
            name,
            // Another gimg may say more of the same image.
            document_namespace: format!("https://spdx.org/spdxdocs/{tool}-sha256-{}", digest.hex()),
            creation_info: CreationInfo { created, creators: vec![format!("Tool: {tool}")] },
            packages: self.packages,
            relationships: self.relationships,
        };
        let mut bytes = serde_json::to_vec_pretty(&document)
            .map_err(|e| Error::new(Kind::Internal, "write the SBOM", e))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// The SBOM of an image with these programs.
///
/// # Errors
/// None that the types allow.
pub fn image(facts: &Facts<'_>, programs: &[Program<'_>]) -> Result<Vec<u8>> {
    let mut parts = Parts::default();
    let image = parts.add(facts.package());
    parts.relate(DOCUMENT, "DESCRIBES", &image);
    parts.base(&image, facts.base.as_ref(), Some(&facts.platform.architecture));
    parts.programs(&image, programs);
    parts.document(format!("{} {}", facts.app, facts.platform), &facts.digest, utc(facts.created))
}

/// The SBOM of an index: which images it holds. `base` is the index that they stand on.
///
/// # Errors
/// None that the types allow.
pub fn index(app: &str, digest: &Digest, base: Option<&Base<'_>>, images: &[Facts<'_>]) -> Result<Vec<u8>> {
    let mut parts = Parts::default();
    let index = parts.add(Package::image(app, digest, None, "index of images".to_owned()));
    parts.relate(DOCUMENT, "DESCRIBES", &index);
    parts.base(&index, base, None);
    for facts in images {
        let image = parts.add(facts.package());
        parts.relate(&index, "CONTAINS", &image);
        // What ko says of them.
        parts.relate(&index, "VARIANT_OF", &image);
    }
    let created = images.iter().map(|i| utc(i.created)).max();
    parts.document(format!("{app} index"), digest, created.unwrap_or_else(|| EPOCH.to_owned()))
}

/// A time as SPDX has it, `YYYY-MM-DDThh:mm:ssZ`, of one as RFC 3339 has it, which may have fractions and an offset.
/// One that can't be read becomes the time that stands for none.
fn utc(time: &str) -> String {
    read_time(time).unwrap_or_else(|| EPOCH.to_owned())
}

fn read_time(time: &str) -> Option<String> {
    let (at, rest) = time.split_at_checked(19)?;
    let shape = b"0000-00-00T00:00:00";
    let fits = |(a, s): (u8, &u8)| if *s == b'0' { a.is_ascii_digit() } else { a.eq_ignore_ascii_case(s) };
    if !at.bytes().zip(shape).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| at.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let possible = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !possible || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = rest.strip_prefix('.').map_or(rest, |r| r.trim_start_matches(|c: char| c.is_ascii_digit()));
    let east = match offset.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), text) => {
            let (hours, minutes) = text.split_once(':')?;
            let east = i64::from(hours.parse::<u8>().ok()?) * 60 + i64::from(minutes.parse::<u8>().ok()?);
            if sign == "+" { east } else { -east }
        }
        _ => return None,
    };
    if east == 0 {
        return Some(format!("{}Z", at.to_ascii_uppercase()));
    }
    // Days by Hinnant's days-from-civil.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + (minute - east) * 60 + second;
    u64::try_from(seconds).ok().map(rfc3339)
}

#[cfg(test)]
mod tests;
