//! SBOMs: what is in them, that SPDX allows it, and when they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::registry::{Fault, TestRegistry, When};
use crate::support::{Layout, Sandbox, bases};

/// The names in a directory, without what hides it from git.
pub(crate) fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|n| n != ".gitignore").collect();
    names.sort();
    names
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A document, checked against what the JSON schema of SPDX 2.3 and its specification demand of the fields in it.
pub(crate) fn read(path: impl AsRef<Path>) -> Value {
    let document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    check(&document);
    document
}

fn only(value: &Value, required: &[&str], optional: &[&str]) {
    let keys: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(required.iter().all(|k| keys.contains(k)), "{required:?} in {value}");
    let allowed: BTreeSet<&str> = required.iter().chain(optional).copied().collect();
    assert!(keys.is_subset(&allowed), "{keys:?}");
}

pub(crate) fn check(document: &Value) {
    let fields = [
        "spdxVersion",
        "dataLicense",
        "SPDXID",
        "name",
        "documentNamespace",
        "creationInfo",
        "packages",
        "relationships",
    ];
    only(document, &fields, &[]);
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["dataLicense"], "CC0-1.0");
    assert_eq!(document["SPDXID"], "SPDXRef-DOCUMENT");
    let namespace = text(&document["documentNamespace"]);
    assert!(namespace.starts_with("https://") && !namespace.contains(['#', ' ']), "{namespace}");
    only(&document["creationInfo"], &["created", "creators"], &[]);
    let created = text(&document["creationInfo"]["created"]);
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    assert_eq!(
        list(&document["creationInfo"]["creators"]),
        [format!("Tool: gimg-{}", env!("CARGO_PKG_VERSION"))]
    );
    let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    for package in list(&document["packages"]) {
        let optional = [
            "versionInfo",
            "checksums",
            "comment",
            "licenseConcluded",
            "licenseDeclared",
            "sourceInfo",
            "summary",
            "externalRefs",
        ];
        let required = ["SPDXID", "name", "downloadLocation", "filesAnalyzed", "primaryPackagePurpose"];
        only(package, &required, &optional);
        let id = text(&package["SPDXID"]);
        let rest = id.strip_prefix("SPDXRef-").unwrap();
        assert!(
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)),
            "{id}"
        );
        assert!(ids.insert(id), "{id} twice");
        assert!(!text(&package["name"]).is_empty());
        assert_ne!(package["versionInfo"], "");
        assert_eq!(package["downloadLocation"], "NOASSERTION");
        assert_eq!(package["filesAnalyzed"], false);
        assert!(
            ["CONTAINER", "APPLICATION", "LIBRARY", "OTHER"]
                .contains(&text(&package["primaryPackagePurpose"]))
        );
        let is_code = ["APPLICATION", "LIBRARY"].contains(&text(&package["primaryPackagePurpose"]));
        assert_eq!(is_code, package["licenseDeclared"].is_string(), "{package}");
        assert!(package.get("licenseConcluded").is_none_or(|c| c == "NOASSERTION"), "{package}");
        for checksum in list(&package["checksums"]) {
            only(checksum, &["algorithm", "checksumValue"], &[]);
            assert_eq!(checksum["algorithm"], "SHA256");
            let value = text(&checksum["checksumValue"]);
            let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            assert!(value.len() == 64 && value.chars().all(hex), "{value}");
            // Only images have one, and the file that a document is about.
            let is_image = package["versionInfo"] == format!("sha256:{value}");
            assert!(is_image || package["SPDXID"] == document["packages"][0]["SPDXID"], "{package}");
        }
        for external in list(&package["externalRefs"]) {
            only(external, &["referenceCategory", "referenceType", "referenceLocator"], &["comment"]);
            let locator = text(&external["referenceLocator"]);
            assert!(!locator.contains(char::is_whitespace), "{locator}");
            match (text(&external["referenceCategory"]), text(&external["referenceType"])) {
                ("PACKAGE-MANAGER", "purl") => check_purl(locator),
                ("OTHER", "go-sum") => assert!(locator.starts_with("h1:"), "{locator}"),
                other => panic!("{other:?}"),
            }
        }
    }
    let mut seen = BTreeSet::new();
    for relationship in list(&document["relationships"]) {
        let fields = ["spdxElementId", "relationshipType", "relatedSpdxElement"];
        only(relationship, &fields, &["comment"]);
        let [from, how, to] = fields.map(|f| text(&relationship[f]));
        assert!(ids.contains(from) && ids.contains(to), "{relationship}");
        let known = ["DESCRIBES", "CONTAINS", "DEPENDS_ON", "DESCENDANT_OF", "VARIANT_OF"];
        assert!(known.contains(&how), "{how}");
        assert!(seen.insert((from, how, to)), "{relationship} twice");
    }
    let described = seen.iter().filter(|(from, how, _)| (*from, *how) == ("SPDXRef-DOCUMENT", "DESCRIBES"));
    assert_eq!(described.count(), 1, "one thing is described");
    // From the document everything can be reached.
    let mut reached = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    while let Some((_, _, to)) =
        seen.iter().find(|(from, _, to)| reached.contains(from) && !reached.contains(to))
    {
        reached.insert(to);
    }
    assert_eq!(reached, ids);
}

/// The shapes of the two types that gimg writes.
fn check_purl(purl: &str) {
    let rest = purl.strip_prefix("pkg:").unwrap_or_else(|| panic!("{purl}"));
    let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    let (name, version) = rest.split_once('@').map_or((rest, None), |(n, v)| (n, Some(v)));
    let fine = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_~:%".contains(c);
        !part.is_empty() && part.chars().all(plain)
    };
    let parts: Vec<&str> = name.split('/').collect();
    assert!(parts.iter().all(|p| fine(p)) && version.is_none_or(fine), "{purl}");
    match parts[0] {
        "golang" => {
            assert!(parts.len() > 2 || parts[1] == "stdlib", "{purl}: no namespace");
            assert_eq!(name, name.to_lowercase(), "{purl}");
            assert_eq!(qualifiers, "", "{purl}");
        }
        "oci" => {
            assert_eq!(parts.len(), 2, "{purl}: a namespace");
            assert!(version.unwrap().starts_with("sha256:"), "{purl}");
            let keys: Vec<&str> = qualifiers.split('&').filter_map(|q| Some(q.split_once('=')?.0)).collect();
            assert!(keys.is_sorted(), "{purl}");
            assert!(keys.iter().all(|k| ["arch", "repository_url", "tag"].contains(k)), "{purl}");
            let values = qualifiers.split('&').filter_map(|q| Some(q.split_once('=')?.1));
            assert!(values.into_iter().all(fine), "{purl}");
        }
        other => panic!("{other}"),
    }
}

pub(crate) fn package<'d>(document: &'d Value, name: &str) -> &'d Value {
    let found: Vec<&Value> = list(&document["packages"]).iter().filter(|p| p["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name} in {document:#}");
    found[0]
}

fn locators(package: &Value) -> Vec<&str> {
    list(&package["externalRefs"]).iter().map(|r| text(&r["referenceLocator"])).collect()
}

/// `A how B` by names of packages; the document is `.`.
fn sentences(document: &Value) -> BTreeSet<String> {
    let by_id: BTreeMap<&str, &str> =
        list(&document["packages"]).iter().map(|p| (text(&p["SPDXID"]), text(&p["name"]))).collect();
    let name = |id: &Value| by_id.get(text(id)).copied().unwrap_or(".").to_owned();
    let relationships = list(&document["relationships"]).iter();
    let sentence = |r: &Value| {
        format!(
            "{} {} {}",
            name(&r["spdxElementId"]),
            text(&r["relationshipType"]),
            name(&r["relatedSpdxElement"])
        )
    };
    relationships.map(sentence).collect()
}

/// A zip of files as they are (PKWARE's APPNOTE, 4.3).
pub(crate) fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let (mut locals, mut central) = (Vec::new(), Vec::new());
    let zeros = |n: usize| vec![0; n];
    let four = |n: usize| u32::try_from(n).unwrap().to_le_bytes().to_vec();
    let two = |n: usize| u16::try_from(n).unwrap().to_le_bytes().to_vec();
    for (name, content) in files {
        let crc = crc32fast::hash(content.as_bytes()).to_le_bytes().to_vec();
        // From the version that is needed to the length of the extra field.
        let common =
            [vec![10, 0], zeros(8), crc, four(content.len()).repeat(2), two(name.len()), zeros(2)].concat();
        let at = four(locals.len());
        locals.extend([b"PK\x03\x04".to_vec(), common.clone(), (*name).into(), (*content).into()].concat());
        central.extend([b"PK\x01\x02\x0a\x00".to_vec(), common, zeros(10), at, (*name).into()].concat());
    }
    let sizes = [four(central.len()), four(locals.len())].concat();
    let end = [b"PK\x05\x06".to_vec(), zeros(4), two(files.len()).repeat(2), sizes, zeros(2)].concat();
    [locals, central, end].concat()
}

/// A program with a dependency in a directory beside it, and one that another module stands in for, from a module
/// proxy that is a directory.
fn app() -> Sandbox {
    let go_mod = "module example.com/App

go 1.21

require (
\texample.com/Far_away/x_y v0.9.0
\texample.com/lib v1.2.3
)

replace (
\texample.com/Far_away/x_y => example.com/fork/x~y v2.0.0+incompatible
\texample.com/lib => ./lib
)
";
    let main = "package main

import (
\t\"example.com/Far_away/x_y\"
\t\"example.com/lib\"
)

func main() { println(lib.Name, xy.Name) }
";
    let sandbox = Sandbox::new();
    let file = "proxy/example.com/fork/x~y/@v/v2.0.0+incompatible";
    let inside = "example.com/fork/x~y@v2.0.0+incompatible/xy.go";
    sandbox.write(&format!("{file}.mod"), "module example.com/fork/x~y\n");
    sandbox.write(&format!("{file}.info"), r#"{"Version":"v2.0.0+incompatible"}"#);
    let path = sandbox.cwd().join(format!("{file}.zip"));
    std::fs::write(path, zip(&[(inside, "package xy\n\nconst Name = \"xy\"\n")])).unwrap();
    let proxy = format!("file://{}", sandbox.cwd().join("proxy").display());
    let cache = sandbox.path("modules").to_str().unwrap().to_owned();
    let sandbox = sandbox
        .file("go.mod", go_mod)
        .file("main.go", main)
        .file("lib/go.mod", "module example.com/lib\n\ngo 1.21\n")
        .file("lib/lib.go", "package lib\n\nconst Name = \"lib\"\n")
        .env("GOPROXY", &proxy)
        .env("GOSUMDB", "off")
        .env("GOMODCACHE", &cache);
    sandbox.run("go mod tidy").ok();
    sandbox
}

#[test]
fn sboms_say_what_is_in_the_images_and_which_image_it_is() {
    let sandbox = Sandbox::go("hello");
    let line =
        "gimg build ./cmd/hello --platform linux/amd64,linux/arm --sbom-dir out/sboms -o oci:out/image";
    let digest = sandbox.run(line).ok().digest();
    let dir = sandbox.path("src/out/sboms");
    assert_eq!(
        names(&dir),
        ["hello-index.spdx.json", "hello-linux-amd64.spdx.json", "hello-linux-arm-v7.spdx.json"]
    );
    let index = read(dir.join("hello-index.spdx.json"));
    let root = &list(&index["packages"])[0];
    assert_eq!(root["versionInfo"], digest);
    assert_eq!(locators(root), [format!("pkg:oci/hello@{digest}")]);
    assert!(text(&index["documentNamespace"]).ends_with(&digest.replace(':', "-")));
    let layout = Layout::at(sandbox.path("src/out/image"));
    let children: Vec<String> = list(&layout.root()["manifests"])
        .iter()
        .map(|m| {
            format!("pkg:oci/hello@{}?arch={}", text(&m["digest"]), text(&m["platform"]["architecture"]))
        })
        .collect();
    let named: Vec<&str> = list(&index["packages"]).iter().flat_map(locators).collect();
    assert!(children.iter().all(|c| named.contains(&c.as_str())), "{children:?} {named:?}");
    assert!(sentences(&index).contains(". DESCRIBES hello"));
    let document = read(dir.join("hello-linux-arm-v7.spdx.json"));
    assert_eq!(document["name"], "hello linux/arm/v7");
    assert_eq!(document["creationInfo"]["created"], "1970-01-01T00:00:00Z");
    let expected = [
        ". DESCRIBES hello",
        "example.com/hello DEPENDS_ON stdlib",
        "hello CONTAINS example.com/hello",
        "hello DESCENDANT_OF static",
        "static CONTAINS tzdata",
        "static CONTAINS webpki-root-certs",
    ];
    assert_eq!(sentences(&document), expected.map(str::to_owned).into());
    let go = sandbox.run("go env GOVERSION").ok().stdout.trim().replacen("go", "", 1);
    assert_eq!(locators(package(&document, "stdlib")), [format!("pkg:golang/stdlib@{go}")]);
    let contains = list(&document["relationships"]).iter().find(|r| r.get("comment").is_some()).unwrap();
    assert_eq!(contains["comment"], "at /ko-app/hello");
    // The next build is not stamped as dirty by them.
    assert_eq!(std::fs::read_to_string(dir.join(".gitignore")).unwrap(), "*\n");
}

#[test]
fn replaced_modules_are_what_stands_in_for_them() {
    let sandbox = app();
    sandbox.run("gimg build --sbom=spdx --sbom-dir sboms").ok();
    assert_eq!(names(sandbox.path("src/sboms")), ["App-linux-amd64.spdx.json"]);
    let document = read(sandbox.path("src/sboms/App-linux-amd64.spdx.json"));
    let needed = ["example.com/lib", "example.com/fork/x~y", "stdlib"];
    for name in needed {
        let sentence = format!("example.com/App DEPENDS_ON {name}");
        assert!(sentences(&document).contains(&sentence), "{sentence}: {document:#}");
    }
    let names: Vec<&str> = list(&document["packages"]).iter().map(|p| text(&p["name"])).collect();
    assert!(!names.contains(&"example.com/Far_away/x_y"), "{names:?}");
    let (lib, fork) = (package(&document, "example.com/lib"), package(&document, "example.com/fork/x~y"));
    assert_eq!(lib.get("versionInfo"), None, "the folder is no version");
    assert_eq!(locators(lib), ["pkg:golang/example.com/lib"]);
    assert_eq!(lib["sourceInfo"], "a directory, in place of v1.2.3 by a replace directive");
    assert_eq!(fork["versionInfo"], "v2.0.0+incompatible");
    let sums = std::fs::read_to_string(sandbox.path("src/go.sum")).unwrap();
    let sum = sums.lines().find_map(|l| l.strip_prefix("example.com/fork/x~y v2.0.0+incompatible ")).unwrap();
    assert!(sum.starts_with("h1:"), "{sum}");
    assert_eq!(locators(fork), ["pkg:golang/example.com/fork/x~y@v2.0.0%2Bincompatible", sum]);
    assert_eq!(fork["sourceInfo"], "in place of example.com/Far_away/x_y v0.9.0 by a replace directive");
    assert_eq!(locators(package(&document, "example.com/App")), ["pkg:golang/example.com/app"]);
}

#[test]
fn the_same_image_has_the_same_sbom_wherever_it_goes() {
    let registry = TestRegistry::start();
    let sandbox = app().env("SOURCE_DATE_EPOCH", "1700000000");
    let platforms = "--platform linux/amd64,linux/arm64";
    let push = format!("--repo {}/x -B -t v1", registry.host());
    sandbox.run(&format!("gimg build {platforms} {push} --sbom-dir one")).ok();
    // Nothing is published, other threads, over files of an earlier run.
    sandbox.write("two/App-index.spdx.json", "old");
    sandbox.run(&format!("gimg build {platforms} --push=false -j 1 --sbom-dir two")).ok();
    assert_eq!(names(sandbox.path("src/one")).len(), 3);
    for name in names(sandbox.path("src/one")) {
        let of = |dir: &str| std::fs::read_to_string(sandbox.path(&format!("src/{dir}/{name}"))).unwrap();
        assert_eq!(of("one"), of("two"), "{name}");
        let document = read(sandbox.path(&format!("src/one/{name}")));
        assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    }
    assert_eq!(names(sandbox.path("src/two")).len(), 3);
    assert!(!sandbox.path("src/two/.gitignore").exists(), "the user's own directory");
}

#[test]
fn a_base_of_a_registry_is_named_with_its_digest() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let sandbox = Sandbox::go("hello");
    let (host, index) = (registry.host(), registry.tags("base/two")["v1"].clone());
    let platforms = "--platform linux/amd64,linux/arm64";
    let line =
        format!("gimg build ./cmd/other {platforms} --base {host}/base/two:v1 --sbom-dir sboms --push=false");
    sandbox.run(&line).ok();
    let url = format!("repository_url={}%2Fbase%2Ftwo&tag=v1", host.replace('/', "%2F"));
    let document = read(sandbox.path("src/sboms/other-index.spdx.json"));
    assert_eq!(locators(package(&document, "two")), [format!("pkg:oci/two@{index}?{url}")]);
    let manifest: Value = serde_json::from_slice(&registry.bytes("base/two", &index)).unwrap();
    let arm = list(&manifest["manifests"]).iter().find(|m| m["platform"]["architecture"] == "arm64").unwrap();
    let document = read(sandbox.path("src/sboms/other-linux-arm64.spdx.json"));
    let purl = format!("pkg:oci/two@{}?arch=arm64&{url}", text(&arm["digest"]));
    assert_eq!(locators(package(&document, "two")), [purl]);
    assert!(sentences(&document).contains("other DESCENDANT_OF two"));
}

#[test]
fn files_have_kos_names() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let sandbox = Sandbox::go("hello")
        .env("KO_DOCKER_REPO", &format!("{}/org", registry.host()))
        .env("KO_DEFAULTBASEIMAGE", &format!("{}/base/two:v1", registry.host()));
    let line = "build ./cmd/hello ./cmd/other --platform linux/amd64,linux/arm64 --sbom-dir";
    for tool in ["ko", "gimg"] {
        sandbox.run(&format!("mkdir {tool}")).ok();
        sandbox.run(&format!("{tool} {line} {tool}")).ok();
    }
    assert_eq!(names(sandbox.path("src/gimg")), names(sandbox.path("src/ko")));
    assert_eq!(names(sandbox.path("src/gimg")).len(), 6);
}

#[test]
fn resolve_writes_sboms_too() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").file("a.yaml", "image: ko://example.com/hello/cmd/other\n");
    sandbox.run(&format!("gimg resolve -f a.yaml --repo {}/x --sbom-dir sboms", registry.host())).ok();
    assert_eq!(names(sandbox.path("src/sboms")), ["other-linux-amd64.spdx.json"]);
}

#[test]
fn packed_programs_have_the_sbom_of_built_ones() {
    let sandbox = app();
    sandbox.run("gimg build --push=false --sbom-dir built").ok();
    let mut go = sandbox.command("go build -trimpath -o App .");
    let go = go.env("CGO_ENABLED", "0").env("GOOS", "linux").env("GOARCH", "amd64");
    assert!(go.status().unwrap().success());
    sandbox.run("gimg pack --binary linux/amd64=App --push=false --sbom-dir packed").ok();
    let of = |dir| std::fs::read_to_string(sandbox.path(&format!("src/{dir}/App-linux-amd64.spdx.json")));
    assert_eq!(of("packed").unwrap(), of("built").unwrap());
    // What is only planned has none.
    sandbox.run("gimg pack --binary linux/amd64=App --dry-run --sbom-dir planned").ok();
    assert!(!sandbox.path("src/planned").exists());
}

#[test]
fn an_unknown_kind_of_sbom_is_refused() {
    let sandbox = Sandbox::go("hello");
    for kind in ["go", "SPDX", ""] {
        let line = format!("gimg build ./cmd/other --sbom={kind} --sbom-dir sboms");
        sandbox.run(&line).fails(2, &["--sbom", "it takes spdx, cyclonedx or none", &format!("\"{kind}\"")]);
    }
    assert!(!sandbox.path("src/sboms").exists() && !sandbox.path("src/gimg-out").exists());
}

#[test]
fn sboms_of_one_name_are_refused_before_anything_is_built() {
    let main = "package main\n\nfunc main() {}\n";
    let sandbox = Sandbox::go("hello").file("a/app/main.go", main).file("b/App/main.go", main);
    let registry = TestRegistry::start();
    let line = format!("gimg build ./a/app ./b/App --repo {}/x", registry.host());
    let words = ["example.com/hello/a/app and example.com/hello/b/App", "same names", "sboms"];
    let ran = sandbox.run(&format!("{line} --sbom-dir sboms")).fails(2, &words);
    assert!(!ran.stderr.contains("compil"), "{}", ran.stderr);
    assert!(registry.repositories().is_empty());
    sandbox.run(&line).ok();
}

#[test]
fn a_directory_that_can_not_be_is_found_before_anything_is_published() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").file("file", "").file("taken/other-linux-amd64.spdx.json/x", "");
    let line = format!("gimg build ./cmd/other --repo {}/x --sbom-dir", registry.host());
    for (dir, words) in [
        ("file", ["it is not a directory", "file"]),
        ("file/below", ["it is not a directory", "file"]),
        ("taken", ["it is a directory", "other-linux-amd64.spdx.json"]),
    ] {
        sandbox.run(&format!("{line} {dir}")).fails(9, &words);
    }
    assert!(registry.repositories().iter().all(|r| registry.tags(r).is_empty()));
}

#[test]
fn sboms_do_not_make_the_tree_dirty_unseen() {
    let sandbox = Sandbox::go("hello").file(".gitignore", "gimg-out\n").file("kept/note", "");
    let git = "git -c user.name=a -c user.email=a@example.com -c commit.gpgsign=false";
    for line in ["init -q -b main", "add .", "commit -q -m all"] {
        sandbox.run(&format!("{git} {line}")).ok();
    }
    let build = |dir: &str| sandbox.run(&format!("gimg build ./cmd/other --sbom-dir {dir}")).ok();
    let first = build("new");
    assert!(!first.stderr.contains("git"), "{}", first.stderr);
    assert_eq!(build("new").digest(), first.digest());
    let kept = build("kept");
    assert_eq!(kept.digest(), first.digest());
    let warning = "kept/other-linux-amd64.spdx.json is not ignored by git";
    assert!(kept.stderr.contains(warning), "{}", kept.stderr);
    assert_ne!(build("kept").digest(), first.digest(), "it was said");
    let document = read(sandbox.path("src/kept/other-linux-amd64.spdx.json"));
    let source = text(&package(&document, "example.com/hello")["sourceInfo"]);
    assert!(source.starts_with("git revision ") && source.ends_with(", with changes"), "{source}");
}

#[test]
fn a_program_that_says_nothing_of_its_modules_has_no_sbom() {
    let sandbox = Sandbox::go("hello");
    let script = r#"#!/bin/sh
go "$@" || exit
for word; do
    case "$word" in -o=*) LC_ALL=C sed -i 's/\xff Go buildinf:/\xff Xx buildinf:/' "${word#-o=}"* ;; esac
done
"#;
    std::fs::write(sandbox.path("go"), script).unwrap();
    sandbox.run("chmod 755 ../go").ok();
    let go = sandbox.path("go").to_str().unwrap().to_owned();
    let sandbox = sandbox.env("KO_GO_PATH", &go);
    sandbox.run("gimg build ./cmd/other --output oci:one").ok();
    let line = "gimg build ./cmd/other --output oci:two --sbom-dir sboms";
    let words = ["write the SBOM for linux/amd64", "/ko-app/other holds no record of its Go modules"];
    sandbox.run(line).fails(3, &words);
    assert!(!sandbox.path("src/sboms").exists() && !sandbox.path("src/two").exists());
}

#[test]
fn what_was_not_published_has_no_sbom() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let denied = Fault::Status(403, Vec::new(), String::new());
    registry.fail(When::once("PUT", "x/other/manifests/"), denied);
    let ran =
        sandbox.run(&format!("gimg build ./cmd/other --repo {}/x -B --sbom-dir sboms", registry.host()));
    assert_ne!(ran.code, 0);
    assert!(!sandbox.path("src/sboms").exists());
}

#[test]
#[ignore = "integration: needs spdx-tools"]
fn integration_spdx_tools_accept_every_sbom() {
    let sandbox = app();
    sandbox.run("gimg build --platform linux/amd64,linux/arm,linux/s390x --sbom-dir sboms --push=false").ok();
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let base = format!("--base {}/base/two:v1", registry.host());
    let hello = Sandbox::go("hello");
    hello.run(&format!("gimg build ./... --platform linux/amd64,linux/arm64 {base} --sbom-dir sboms")).ok();
    for (sandbox, number) in [(&sandbox, 4), (&hello, 6)] {
        let names = names(sandbox.path("src/sboms"));
        assert_eq!(names.len(), number);
        for name in names {
            sandbox.run(&format!("pyspdxtools -i sboms/{name}")).ok();
        }
    }
    // It does look.
    let path = sandbox.path("src/sboms/App-index.spdx.json");
    let broken = std::fs::read_to_string(&path).unwrap().replace("SPDXRef-Package", "SPDXRef-Pack_age");
    std::fs::write(&path, broken).unwrap();
    let refused = sandbox.run("pyspdxtools -i sboms/App-index.spdx.json");
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("SPDXRef-Pack_age"), "{}", refused.stderr);
}
