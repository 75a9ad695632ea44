//! `gimg sbom`: images and programs, whoever made them.

use serde_json::Value;

use super::sbom;
use crate::support::registry::TestRegistry;
use crate::support::{Sandbox, tool};

fn document(ran: &str) -> Value {
    let document: Value = serde_json::from_str(ran).unwrap();
    if document["spdxVersion"].is_string() {
        sbom::check(&document);
    }
    document
}

/// The names of a document's packages that are programs, each with where it is.
fn programs(document: &Value) -> Vec<String> {
    let packages = document["packages"].as_array().unwrap().iter();
    let programs = packages.filter(|p| p["primaryPackagePurpose"] == "APPLICATION");
    let place = |program: &Value| {
        let mut relations = document["relationships"].as_array().unwrap().iter();
        let contains = relations.find(|r| r["relatedSpdxElement"] == program["SPDXID"]).unwrap();
        format!("{} {}", program["name"].as_str().unwrap(), contains["comment"].as_str().unwrap_or_default())
    };
    programs.map(place).collect()
}

#[test]
fn what_go_recorded_is_said_as_go_says_it() {
    let sandbox = Sandbox::go("hello");
    for (number, (os, arch)) in
        [("linux", "amd64"), ("linux", "s390x"), ("windows", "amd64"), ("darwin", "arm64")].iter().enumerate()
    {
        let out = format!("../program{number}");
        let mut go = sandbox.command(&format!("go build -trimpath -o {out} ./cmd/other"));
        let flags = "-ldflags=-X=main.x=\"a\\b\"";
        assert!(go.env("GOOS", os).env("GOARCH", arch).env("GOFLAGS", flags).status().unwrap().success());
        let said = sandbox.run(&format!("go version -m {out}")).ok().stdout;
        assert_eq!(sandbox.run(&format!("gimg sbom {out} --format go")).ok().stdout, said);
        let found = document(&sandbox.run(&format!("gimg sbom {out}")).ok().stdout);
        assert_eq!(found["name"], format!("program{number}"));
        let found = document(&sandbox.run(&format!("gimg sbom {out} --format cyclonedx")).ok().stdout);
        assert_eq!((&found["bomFormat"], &found["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    }
}

#[test]
fn images_are_read_wherever_they_are() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let image = format!("{}/org", registry.host());
    let line = "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --sbom-dir sboms";
    sandbox.run(&format!("{line} --bare --repo {image}")).ok();
    sandbox.run(&format!("{line} --output oci:out --output oci-archive:out.tar")).ok();
    for platform in ["amd64", "arm64"] {
        let built =
            std::fs::read_to_string(sandbox.path(&format!("src/sboms/hello-linux-{platform}.spdx.json")));
        let built = document(&built.unwrap());
        for subject in [&image, "oci:out", "out", "oci-archive:out.tar"] {
            let ran = sandbox.run(&format!("gimg sbom {subject} --platform linux/{platform}")).ok();
            let found = document(&ran.stdout);
            assert_eq!(programs(&found), programs(&built), "{subject}");
            assert_eq!(found["packages"][0]["versionInfo"], built["packages"][0]["versionInfo"], "{subject}");
            assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        }
    }
    // Without a platform it is linux/amd64.
    let found = document(&sandbox.run(&format!("gimg sbom {image}")).ok().stdout);
    assert_eq!(found["name"], "org linux/amd64");
    sandbox
        .run(&format!("gimg sbom {image} --platform linux/s390x"))
        .fails(3, &[&image, "it has none for linux/s390x", "linux/amd64, linux/arm64"]);
}

#[test]
fn what_a_container_sees_counts() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let repo = format!("{}/base", registry.host());
    sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {repo}")).ok();
    let line = format!("gimg build ./cmd/other --base {repo} --output");
    sandbox.run(&format!("{line} oci:both")).ok();
    let found = document(&sandbox.run("gimg sbom oci:both").ok().stdout);
    assert_eq!(programs(&found), ["example.com/hello at /ko-app/hello, /ko-app/other"]);
    let base = &found["packages"][1];
    assert_eq!((&base["name"], &base["primaryPackagePurpose"]), (&"base".into(), &"CONTAINER".into()));
    // A program of the same name covers the base's.
    sandbox.run(&format!("{line} oci:one --binary hello")).ok();
    let said = sandbox.run("gimg sbom oci:one --format go").ok().stdout;
    let paths: Vec<&str> = said.lines().filter(|l| l.contains("\tpath\t") || l.starts_with('/')).collect();
    assert_eq!(paths.len(), 2, "{said}");
    assert!(paths[0].starts_with("/ko-app/hello: go1.") && paths[1].ends_with("/cmd/other"), "{said}");
}

#[test]
fn a_package_is_built_for_it_and_published_nowhere() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").env("KO_DOCKER_REPO", &format!("{}/org", registry.host()));
    for (format, end) in [("spdx", "spdx"), ("cyclonedx", "cdx")] {
        sandbox.run(&format!("gimg build ./cmd/other --push=false --sbom {format} --sbom-dir sboms")).ok();
        let built = std::fs::read_to_string(sandbox.path(&format!("src/sboms/other-linux-amd64.{end}.json")));
        let said = sandbox.run(&format!("gimg sbom ./cmd/other --format {format}")).ok().stdout;
        assert_eq!(said, built.unwrap());
    }
    let said =
        sandbox.run("gimg sbom ko://example.com/hello/cmd/other --format go --platform linux/arm64").ok();
    assert!(said.stdout.starts_with("/ko-app/other: go1.") && said.stdout.contains("GOARCH=arm64"));
    assert!(registry.repositories().is_empty() && !sandbox.path("src/gimg-out").exists());
    sandbox.run("gimg sbom ./cmd/...").fails(3, &["./cmd/..."]);
    sandbox.run("gimg sbom ./none").fails(3, &["no such file or directory"]);
}

#[test]
fn what_has_no_go_program_says_so() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").file("../text", "no program\n");
    sandbox.run("gimg sbom ../text").fails(3, &["../text", "no executable, without a record of Go modules"]);
    sandbox.run("gimg sbom /bin/sh").fails(3, &["without a record of Go modules"]);
    let repo = format!("{}/x", registry.host());
    sandbox.run(&format!("gimg sbom {repo}")).fails(10, &[&repo]);
    sandbox.run("gimg sbom ...").fails(2, &["oci:DIR"]);
    sandbox.run("gimg sbom oci:nowhere").fails(3, &["not an OCI image layout"]);
    assert_eq!(sandbox.run(&format!("gimg sbom {repo} --format xml")).code, 2);
}

#[test]
#[ignore = "integration: needs the validator of CycloneDX"]
fn integration_the_validator_of_cyclonedx_accepts_every_sbom() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let repo = format!("{}/base", registry.host());
    sandbox
        .run(&format!("gimg build ./cmd/hello --bare --repo {repo} --platform linux/amd64,linux/arm64"))
        .ok();
    let line = "gimg build ./... --platform linux/amd64,linux/arm64 --push=false --sbom cyclonedx --sbom-dir";
    sandbox.run(&format!("{line} static")).ok();
    sandbox.run(&format!("{line} based --base {repo}")).ok();
    for dir in ["static", "based"] {
        for program in ["hello", "other"] {
            for end in ["index", "linux-amd64", "linux-arm64"] {
                sandbox.run(&format!("cyclonedx-validate {dir}/{program}-{end}.cdx.json")).ok();
            }
        }
    }
    // A program of many modules, and an image that is read back.
    for (subject, file) in [(tool("ko").display().to_string(), "ko.json"), (repo, "image.json")] {
        let said = sandbox.run(&format!("gimg sbom {subject} --format cyclonedx")).ok().stdout;
        std::fs::write(sandbox.path(&format!("src/{file}")), said).unwrap();
        sandbox.run(&format!("cyclonedx-validate {file}")).ok();
    }
    // It does look.
    let path = sandbox.path("src/ko.json");
    let broken = std::fs::read_to_string(&path).unwrap().replace("urn:uuid:", "urn:");
    std::fs::write(&path, broken).unwrap();
    assert_eq!(sandbox.run("cyclonedx-validate ko.json").code, 1);
}
