//! SBOMs as CycloneDX 1.6 JSON (ECMA-424). The same image gives the same bytes, wherever it was published.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::attest::bill::{Bill, How, NOT_LINKED, Part, Purpose, listed};
use crate::error::Result;
use crate::oci::Digest;

/// The property that names packages.
pub(super) const PACKAGES: &str = "gimg:packages";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: [Component; 1],
}

#[derive(Serialize)]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

/// What the authors say, by the texts in their code; nobody reviewed it.
#[derive(Serialize)]
struct Licence {
    expression: String,
    acknowledgement: &'static str,
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

impl Licence {
    fn declared(expression: String) -> Self {
        Licence { expression, acknowledgement: "declared" }
    }
}

impl Component {
    /// A part; `place` says where in the image it is.
    fn of(part: Part, id: String, place: Option<String>) -> Self {
        let property = |name, value: Option<String>| value.map(|value| Property { name, value });
        // Go's hash of a module is none of the hashes that CycloneDX knows.
        let (packages, not_linked) = match part.packages {
            Some(packages) if packages.is_empty() => (None, Some(NOT_LINKED.to_owned())),
            packages => (packages.map(|packages| listed(&packages)), None),
        };
        let properties = [
            property("gimg:go-sum", part.sum),
            property("gimg:not-linked", not_linked),
            property(PACKAGES, packages),
            property("gimg:place", place),
            property("gimg:source", part.source),
        ];
        Component {
            kind: match part.purpose {
                Purpose::Container => "container",
                Purpose::Application => "application",
                Purpose::Library => "library",
                Purpose::Data => "data",
            },
            id: Some(id),
            name: part.name,
            version: part.version,
            description: part.summary,
            hashes: part.digest.iter().map(|d| Hash { alg: "SHA-256", content: d.hex() }).collect(),
            licenses: part.licence.map(Licence::declared).into_iter().collect(),
            purl: part.purl,
            properties: properties.into_iter().flatten().collect(),
        }
    }

    fn gimg() -> Self {
        Component {
            kind: "application",
            id: None,
            name: "gimg".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            description: None,
            hashes: Vec::new(),
            licenses: Vec::new(),
            purl: None,
            properties: Vec::new(),
        }
    }
}

/// A reference for each part: its purl, or name and version; with a number where that is taken.
fn ids(parts: &[Part]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut id = |part: &Part| {
        let version = part.version.as_ref().map(|v| format!("@{v}")).unwrap_or_default();
        let name = part.purl.clone().unwrap_or_else(|| format!("{}{version}", part.name));
        let mut id = name.clone();
        let mut number = 1;
        while !taken.insert(id.clone()) {
            number += 1;
            id = format!("{name}#{number}");
        }
        id
    };
    parts.iter().map(&mut id).collect()
}

/// A UUID of our own making (RFC 9562, version 8), the same for the same image.
fn serial_number(digest: &Digest) -> String {
    let tool = concat!("gimg-", env!("CARGO_PKG_VERSION"));
    let hex = Digest::of(format!("CycloneDX of {digest} by {tool}").as_bytes()).hex();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    format!("urn:uuid:{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// The document of a bill.
///
/// # Errors
/// None that the types allow.
pub(super) fn document(bill: Bill) -> Result<Vec<u8>> {
    let ids = ids(&bill.parts);
    let mut places: BTreeMap<usize, String> = BTreeMap::new();
    let mut needed: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); ids.len()];
    for relation in bill.relations {
        // That its images are variants of it says no more of an index than that it holds them.
        if relation.how != How::IsVariant {
            needed[relation.from].insert(relation.to);
        }
        places.extend(relation.comment.map(|comment| (relation.to, comment)));
    }
    let dependencies = needed.iter().zip(&ids).map(|(needed, id)| Dependency {
        id: id.clone(),
        depends_on: needed.iter().map(|number| ids[*number].clone()).collect(),
    });
    let dependencies = dependencies.collect();
    let parts = bill.parts.into_iter().zip(ids).enumerate();
    let mut components = parts.map(|(number, (part, id))| Component::of(part, id, places.remove(&number)));
    // A bill is about its first part.
    let about = components.next().unwrap_or_else(Component::gimg);
    super::json(&Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: serial_number(&bill.digest),
        version: 1,
        metadata: Metadata {
            timestamp: bill.created,
            tools: Tools { components: [Component::gimg()] },
            component: about,
        },
        components: components.collect(),
        dependencies,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::attest::{Base, Facts, Module, Modules, Program};
    use crate::oci::Platform;

    fn modules(main: &str, deps: &[(&str, &str)]) -> Modules {
        let module = |path: &str, version: Option<&str>, sum: Option<&str>| Module {
            path: path.to_owned(),
            version: version.map(str::to_owned),
            sum: sum.map(str::to_owned),
            source: None,
            licence: None,
        };
        Modules {
            main: module(main, None, None),
            deps: deps.iter().map(|(path, version)| module(path, Some(version), Some("h1:AbC+/="))).collect(),
            go: "go1.26.8".to_owned(),
            stamp: None,
            packages: None,
        }
    }

    fn read(bill: Bill) -> Value {
        serde_json::from_slice(&document(bill).unwrap()).unwrap()
    }

    fn facts<'a>(platform: &'a Platform, base: Option<Base<'a>>) -> Facts<'a> {
        Facts { app: "app", digest: Digest::of(b"image"), platform, created: "2024-01-01T00:00:00Z", base }
    }

    #[test]
    fn an_image_holds_its_programs_which_need_their_modules() {
        let platform = "linux/amd64".parse().unwrap();
        let modules = modules("example.com/app", &[("a.org/A", "v1.0.0")]);
        let program = |path: &str| Program { path: path.to_owned(), modules: &modules };
        let base = Base::BuiltIn(1, vec![("tzdata", "2026a")]);
        let programs = [program("/ko-app/app"), program("/ko-app/two")];
        let found = read(Bill::of_image(&facts(&platform, Some(base)), &programs));
        let image = found["metadata"]["component"]["bom-ref"].as_str().unwrap();
        assert!(image.starts_with("pkg:oci/app@sha256:") && image.ends_with("?arch=amd64"), "{image}");
        let (app, stdlib, a) =
            ("pkg:golang/example.com/app", "pkg:golang/stdlib@1.26.8", "pkg:golang/a.org/a@v1.0.0");
        assert_eq!(
            found["dependencies"],
            json!([
                {"ref": image, "dependsOn": ["static@1", app]},
                {"ref": "static@1", "dependsOn": ["tzdata@2026a"]},
                {"ref": "tzdata@2026a"},
                {"ref": app, "dependsOn": [stdlib, a]},
                {"ref": stdlib},
                {"ref": a},
            ])
        );
        let kinds: Vec<&str> =
            found["components"].as_array().unwrap().iter().map(|c| c["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["container", "data", "application", "library", "library"]);
        assert_eq!(
            found["components"][2]["properties"],
            json!([{"name": "gimg:place", "value": "at /ko-app/app, /ko-app/two"}])
        );
        assert_eq!(found["components"][4]["properties"][0]["value"], "h1:AbC+/=");
        assert_eq!(found["metadata"]["component"]["hashes"][0]["content"], Digest::of(b"image").hex());
    }

    #[test]
    fn references_and_serial_numbers_are_each_ones_own() {
        let platform = "linux/amd64".parse().unwrap();
        let same = [("a.org/A", "v1.0.0"), ("a.org/a", "v1.0.0"), ("one", "v1"), ("one", "v1")];
        let modules = modules("app", &same);
        let program = Program { path: "/ko-app/app".to_owned(), modules: &modules };
        let bill = Bill::of_image(&facts(&platform, None), &[program]);
        let found = read(bill.clone());
        let refs: Vec<&str> =
            found["dependencies"].as_array().unwrap().iter().map(|d| d["ref"].as_str().unwrap()).collect();
        assert!(refs.contains(&"pkg:golang/a.org/a@v1.0.0#2"), "{refs:?}");
        assert_eq!(refs.iter().collect::<BTreeSet<_>>().len(), refs.len(), "{refs:?}");
        let serial = found["serialNumber"].as_str().unwrap();
        let shape: Vec<usize> = serial.strip_prefix("urn:uuid:").unwrap().split('-').map(str::len).collect();
        assert_eq!(shape, [8, 4, 4, 4, 12]);
        assert_eq!(read(bill)["serialNumber"], serial);
        assert_ne!(serial_number(&Digest::of(b"other")), serial);
    }

    #[test]
    fn an_index_holds_its_images() {
        let (amd, arm): (Platform, Platform) =
            ("linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap());
        let other = Facts { digest: Digest::of(b"arm"), ..facts(&arm, None) };
        let digest = Digest::of(b"index");
        let found = read(Bill::of_index("app", &digest, None, &[facts(&amd, None), other]));
        assert_eq!(found["dependencies"][0]["ref"], format!("pkg:oci/app@{digest}"));
        assert_eq!(found["dependencies"][0]["dependsOn"].as_array().unwrap().len(), 2);
        assert_eq!(found["components"].as_array().unwrap().len(), 2);
    }
}
