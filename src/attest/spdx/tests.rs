//! Tables of what documents say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::attest::{Base, Facts, Module, Modules, Program};
use crate::oci::{Digest, Platform, Reference};

fn module(path: &str, version: Option<&str>) -> Module {
    Module {
        path: path.to_owned(),
        version: version.map(str::to_owned),
        sum: version.map(|_| "h1:AbC+/=".to_owned()),
        source: None,
        licence: None,
    }
}

fn modules(main: &str, deps: &[(&str, &str)]) -> Modules {
    Modules {
        main: module(main, None),
        deps: deps.iter().map(|(path, version)| module(path, Some(version))).collect(),
        go: "go1.26.8".to_owned(),
        stamp: None,
        packages: None,
    }
}

fn facts<'a>(platform: &'a Platform, base: Option<Base<'a>>) -> Facts<'a> {
    let created = "2024-02-29T23:30:00.123456789-01:00";
    Facts { app: "app", digest: Digest::of(b"image"), platform, created, base }
}

fn read(bill: Bill) -> Value {
    serde_json::from_slice(&document(bill).unwrap()).unwrap()
}

/// `A how B`, with names of packages in place of identifiers.
fn sentences(document: &Value) -> Vec<String> {
    let name = |id: &Value| {
        let package = document["packages"].as_array().unwrap().iter().find(|p| p["SPDXID"] == *id);
        package.map_or(id, |p| &p["name"]).as_str().unwrap().to_owned()
    };
    let relationships = document["relationships"].as_array().unwrap().iter();
    let sentence = |r: &Value| {
        let how = r["relationshipType"].as_str().unwrap();
        format!("{} {how} {}", name(&r["spdxElementId"]), name(&r["relatedSpdxElement"]))
    };
    relationships.map(sentence).collect()
}

fn purls(document: &Value) -> Vec<String> {
    let refs = document["packages"].as_array().unwrap().iter();
    let refs = refs.flat_map(|p| p["externalRefs"].as_array().into_iter().flatten());
    let purls = refs.filter(|r| r["referenceType"] == "purl");
    purls.map(|r| r["referenceLocator"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn programs_of_one_image_share_their_modules() {
    let platform = "linux/arm/v7".parse().unwrap();
    let linked = |of: &str, package: &str| Some(BTreeMap::from([(of.to_owned(), vec![package.to_owned()])]));
    let one = modules("example.com/app", &[("a.org/A", "v1.0.0"), ("b.org/b", "v2.0.0+incompatible")]);
    let one = Modules { packages: linked("a.org/A", "a.org/A/one"), ..one };
    let two = modules("example.com/app", &[("a.org/A", "v1.0.0"), ("c.org/c", "v0.1.0")]);
    let two = Modules { packages: linked("a.org/A", "a.org/A/two"), ..two };
    let program = |path: &str, modules| Program { path: path.to_owned(), modules };
    let programs = [program("/ko-app/app", &one), program("/ko-app/helper", &two)];
    let document = read(Bill::of_image(&facts(&platform, None), &programs));
    assert_eq!(
        sentences(&document),
        [
            "SPDXRef-DOCUMENT DESCRIBES app",
            "app CONTAINS example.com/app",
            "example.com/app DEPENDS_ON stdlib",
            "example.com/app DEPENDS_ON a.org/A",
            "example.com/app DEPENDS_ON b.org/b",
            "example.com/app DEPENDS_ON c.org/c",
        ]
    );
    let comment = |name: &str| {
        document["packages"].as_array().unwrap().iter().find(|p| p["name"] == name).unwrap()["comment"]
            .clone()
    };
    assert_eq!(comment("a.org/A"), "packages in the program: a.org/A/one a.org/A/two");
    assert_eq!(comment("c.org/c"), "no function of it is in the program");
    assert_eq!(comment("app"), Value::Null);
    assert_eq!(document["relationships"][1]["comment"], "at /ko-app/app, /ko-app/helper");
    assert_eq!(
        purls(&document)[1..],
        [
            "pkg:golang/example.com/app",
            "pkg:golang/stdlib@1.26.8",
            "pkg:golang/a.org/a@v1.0.0",
            "pkg:golang/b.org/b@v2.0.0%2Bincompatible",
            "pkg:golang/c.org/c@v0.1.0",
        ]
    );
    assert!(purls(&document)[0].ends_with("?arch=arm"), "{:?}", purls(&document));
    assert_eq!(document["name"], "app linux/arm/v7");
    let sums = &document["packages"][3]["externalRefs"][1];
    assert_eq!(
        (&sums["referenceCategory"], &sums["referenceLocator"]),
        (&"OTHER".into(), &"h1:AbC+/=".into())
    );
    assert!(document["packages"][3].get("checksums").is_none(), "an h1 sum is no checksum of a file");
    assert_eq!(document["packages"][0]["checksums"][0]["checksumValue"], Digest::of(b"image").hex());
}

#[test]
fn bases_are_told_as_what_they_are() {
    let platform = "linux/amd64".parse().unwrap();
    let reference: Reference = "cgr.dev/chainguard/Static:v1".to_lowercase().parse().unwrap();
    let digest = Digest::of(b"base");
    let of = |base| read(Bill::of_image(&facts(&platform, base), &[]));
    let registry = of(Some(Base::Registry(&reference, digest)));
    assert_eq!(sentences(&registry)[1], "app DESCENDANT_OF static");
    assert_eq!(
        purls(&registry)[1],
        format!("pkg:oci/static@{digest}?arch=amd64&repository_url=cgr.dev%2Fchainguard%2Fstatic&tag=v1")
    );
    let built_in = of(Some(Base::BuiltIn(1, vec![("tzdata", "2026a")])));
    assert_eq!(
        sentences(&built_in)[1..],
        ["app DESCENDANT_OF static", "static CONTAINS tzdata"].map(str::to_owned)
    );
    assert_eq!(sentences(&of(Some(Base::Local)))[1..], ["app DESCENDANT_OF base".to_owned()]);
    assert_eq!(sentences(&of(None)).len(), 1);
}

#[test]
fn identifiers_are_legal_and_unique() {
    let platform = "linux/amd64".parse().unwrap();
    let names =
        [("x.org/a+b", "v1.0.0"), ("x.org/a_b", "v1.0.0"), ("x.org/a~b", "v1.0.0"), ("ä.org/(b)", "v1")];
    let modules = modules("SPDXRef/(devel)", &names);
    let program = Program { path: "/ko-app/app".to_owned(), modules: &modules };
    let document = read(Bill::of_image(&facts(&platform, None), &[program]));
    let mut seen = BTreeSet::new();
    for package in document["packages"].as_array().unwrap() {
        let id = package["SPDXID"].as_str().unwrap();
        let rest = id.strip_prefix("SPDXRef-").unwrap();
        assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-'), "{id}");
        assert!(seen.insert(id.to_owned()), "{id} twice");
    }
    assert!(seen.contains("SPDXRef-Package-x.org-a-b-v1.0.0-3"), "{seen:?}");
}

#[test]
fn an_index_holds_its_images_and_was_made_with_the_last_of_them() {
    let (amd, arm): (Platform, Platform) = ("linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap());
    let newer = Facts { created: "2025-01-01T00:00:00Z", digest: Digest::of(b"arm"), ..facts(&arm, None) };
    let digest = Digest::of(b"index");
    let document = read(Bill::of_index("app", &digest, None, &[facts(&amd, None), newer]));
    let hows: Vec<&str> = document["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["relationshipType"].as_str().unwrap())
        .collect();
    assert_eq!(hows, ["DESCRIBES", "CONTAINS", "VARIANT_OF", "CONTAINS", "VARIANT_OF"]);
    assert_eq!(document["creationInfo"]["created"], "2025-01-01T00:00:00Z");
    assert_eq!(purls(&document)[0], format!("pkg:oci/app@{digest}"));
    let namespace = document["documentNamespace"].as_str().unwrap();
    assert!(namespace.ends_with(&format!("-sha256-{}", digest.hex())), "{namespace}");
}
