//! `gimg outdated`: what of images is old, by what is attached to them or by their programs.

use serde_json::{Value, json};

use crate::support::canary::SECRET;
use crate::support::registry::{Config, TestRegistry};
use crate::support::{Ran, Sandbox};

/// A module in a sandbox whose module proxy knows these releases of Go.
fn sandbox(releases: &[&str]) -> Sandbox {
    let sandbox = Sandbox::go("hello");
    let list: String = releases.iter().map(|r| format!("v0.0.1-go{r}.linux-amd64\n")).collect();
    sandbox.write("../proxy/golang.org/toolchain/@v/list", &list);
    for version in list.lines() {
        let info = json!({"Version": version, "Time": "2024-01-01T00:00:00Z"}).to_string();
        sandbox.write(&format!("../proxy/golang.org/toolchain/@v/{version}.info"), &info);
    }
    let proxy = format!("file://{}", sandbox.path("proxy").display());
    sandbox.env("GOPROXY", &proxy)
}

/// The version of the Go that builds, without the word before it, and its line.
fn go(sandbox: &Sandbox) -> (String, String) {
    let version = String::from_utf8(sandbox.command("go env GOVERSION").output().unwrap().stdout).unwrap();
    let version = version.trim().strip_prefix("go").unwrap().to_owned();
    let line = version.rsplit_once('.').unwrap().0.to_owned();
    (version, line)
}

fn push(sandbox: &Sandbox, image: &str, flags: &str) {
    sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {image} {flags}")).ok();
}

/// A check that finds something: it says what, and fails.
fn old(ran: Ran, words: &str) -> Ran {
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    ran
}

fn images(ran: Ran) -> Vec<Value> {
    let report: Value = serde_json::from_str(&ran.ok().stdout).unwrap();
    report["images"].as_array().unwrap().clone()
}

#[test]
fn a_base_that_moved_is_told_until_the_image_is_rebased() {
    for attest in ["--attest auto", "--attest none"] {
        let registry =
            TestRegistry::with(Config { referrers: attest.ends_with("auto"), ..Config::default() });
        let sandbox = sandbox(&[]);
        let (base, org) = (format!("{}/base", registry.host()), format!("{}/org", registry.host()));
        let platforms = "--platform linux/amd64,linux/arm64";
        let push_base = |flags: &str| {
            let line = format!("gimg build ./cmd/other --bare --repo {base} {platforms} {flags}");
            sandbox.run(&line).ok().digest()
        };
        let before = push_base("");
        push(&sandbox, &org, &format!("--base {base} {platforms} {attest}"));
        let line = format!("gimg outdated {org} --check");
        let ran = sandbox.run(&line).ok();
        assert_eq!(ran.stdout, "", "{}", ran.stderr);
        let new = push_base("--image-label a=b");
        let ran = old(sandbox.run(&line), "check the images: 1 of 1 are outdated");
        let (was, name) = (registry.tags("org")["latest"].clone(), format!("{base}:latest"));
        if attest.ends_with("auto") {
            assert_eq!(ran.stdout, format!("{org}:latest\n  base  {name}: {before} -> {new}\n"));
            let image = &images(sandbox.run(&format!("gimg outdated {org} --format json")))[0];
            let expected = json!([{"name": name, "state": "old", "digest": before, "now": new}]);
            assert_eq!((&image["bases"], &image["outdated"]), (&expected, &true.into()));
            assert_eq!(image["digest"], was.as_str());
            sandbox.run(&format!("gimg rebase {org}")).ok();
            assert_eq!(sandbox.run(&line).ok().stdout, "");
        } else {
            // The images themselves name what they stand on: the base's image for their platform.
            assert_eq!(ran.stdout.matches(&format!("  base  {name}: sha256:")).count(), 2, "{}", ran.stdout);
        }
        // A base that is no longer there.
        registry.remove_manifest("base", "latest");
        let ran = old(sandbox.run(&line), "check the images");
        assert!(ran.stdout.contains(&format!("  base  {name} is no longer there")), "{}", ran.stdout);
    }
}

#[test]
fn an_old_go_is_told_where_releases_are_known() {
    let registry = TestRegistry::start();
    let org = format!("{}/org", registry.host());
    let (version, line) = go(&sandbox(&[]));
    let minor: u64 = line.strip_prefix("1.").unwrap().parse().unwrap();
    let newer = format!("{line}.99");
    push(&sandbox(&[]), &org, "--sbom cyclonedx --provenance=false");
    let newest = format!("1.{}.0", minor + 2);
    for (releases, expected) in [
        (vec![version.as_str()], String::new()),
        (vec![&newer, "1.3"], format!("go{version} -> go{newer}")),
        (vec![&newest, &newer], format!("go{version} -> go{newest}, its line gets no fixes any more")),
    ] {
        let sandbox = sandbox(&releases);
        let ran = sandbox.run(&format!("gimg outdated {org}")).ok();
        assert!(!ran.stderr.contains("isn't known"), "{}", ran.stderr);
        // Nothing is attached that names its base, and the built-in one has no annotations.
        let base = "  base  nothing says what it stands on\n";
        let go = if expected.is_empty() { String::new() } else { format!("  go    {expected}\n") };
        assert_eq!(ran.stdout, format!("{org}:latest\n{base}{go}"));
        let check = sandbox.run(&format!("gimg outdated {org} --check"));
        assert_eq!(check.code, if expected.is_empty() { 0 } else { 3 });
    }
    // A proxy that says nothing is no reason to say nothing.
    let off = sandbox(&[]).env("GOPROXY", "off");
    let ran = off.run(&format!("gimg outdated {org} --format json")).ok();
    assert!(ran.stderr.contains("whether there is a newer Go isn't known"), "{}", ran.stderr);
    assert_eq!(images(ran)[0]["go"], json!({"version": format!("go{version}")}));
}

#[test]
fn known_faults_of_what_is_in_an_image_are_told() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&[]);
    let org = format!("{}/org", registry.host());
    let (version, line) = go(&sandbox);
    let entry = |id: &str, module: &str, fixed: &str, packages: &[&str]| {
        let imports: Vec<Value> = packages.iter().map(|path| json!({"path": path})).collect();
        let events = json!([{"introduced": "0"}, {"fixed": fixed}]);
        let entry = json!({"id": id, "aliases": ["CVE-1"], "summary": format!("{id} is\u{1b}[2J bad"),
            "affected": [{"package": {"name": module, "ecosystem": "Go"},
                "ranges": [{"type": "SEMVER", "events": events}],
                "ecosystem_specific": {"imports": imports}}]});
        sandbox.write(&format!("../db/data/osv/{id}.json"), &entry.to_string());
    };
    let later = format!("{line}.99");
    entry("GO-1", "stdlib", &later, &["html/template", "runtime"]);
    entry("GO-2", "stdlib", &version, &[]);
    entry("GO-3", "toolchain", &later, &[]);
    entry("GO-4", "example.com/other", "9.9.9", &[]);
    // Of this one nothing is in the program.
    entry("GO-5", "stdlib", &later, &["html/template"]);
    for flags in [
        "",
        "--platform linux/amd64,linux/arm64",
        "--sbom cyclonedx",
        "--sbom cyclonedx --provenance=false",
        "--provenance=false",
        "--sbom none",
        "--attest none",
    ] {
        push(&sandbox, &org, flags);
        let ran = sandbox.run(&format!("gimg outdated {org} --vuln-db ../db")).ok();
        let told = format!("  GO-1  stdlib {version}, fixed in {line}.99: GO-1 is\\u{{1b}}[2J bad");
        let found: Vec<&str> = ran.stdout.lines().filter(|l| l.contains("GO-")).collect();
        assert_eq!(found, [told], "{flags}");
        let image = &images(sandbox.run(&format!("gimg outdated {org} --vuln-db ../db --format json")))[0];
        let found = &image["vulnerabilities"][0];
        assert_eq!((&found["id"], &found["aliases"]), (&"GO-1".into(), &json!(["CVE-1"])), "{flags}");
        assert_eq!((&found["module"], &found["version"]), (&"stdlib".into(), &version.clone().into()));
        for sort in
            ["application/vnd.in-toto+json", "application/spdx+json", "application/vnd.cyclonedx+json"]
        {
            registry.artifacts("org", sort).iter().for_each(|a| registry.remove_manifest("org", a));
        }
    }
    sandbox.run(&format!("gimg outdated {org} --vuln-db ../nothing")).fails(3, &["vulnerability database"]);
    sandbox
        .run(&format!("gimg outdated {org} --vuln-db ../proxy"))
        .fails(3, &["it holds no entries", "data/osv"]);
    sandbox.write("../db/data/osv/GO-6.json", "{");
    sandbox.run(&format!("gimg outdated {org} --vuln-db ../db")).fails(3, &["GO-6.json"]);
}

#[test]
fn all_tags_are_looked_at_and_with_a_key_only_what_it_signed_counts() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&[]).env("COSIGN_PASSWORD", SECRET);
    let org = format!("{}/org", registry.host());
    sandbox.run("gimg key generate --output ../sign").ok();
    push(&sandbox, &org, "-t v1.9,v1.10");
    push(&sandbox, &org, "-t latest --sign-key ../sign.key --image-label a=b");
    let all = images(sandbox.run(&format!("gimg outdated {org} --all-tags --format json")));
    let names: Vec<&str> = all.iter().map(|image| image["image"].as_str().unwrap()).collect();
    assert_eq!(names, ["latest", "v1.9", "v1.10"].map(|tag| format!("{org}:{tag}")));
    let line = format!("gimg outdated {org} {org}:v1.9 {org}:latest --key ../sign.pub --format json");
    let found = images(sandbox.run(&line));
    let signed: Vec<(&Value, usize)> =
        found.iter().map(|i| (&i["signed"], i["bases"].as_array().unwrap().len())).collect();
    assert_eq!(signed, [(&true.into(), 1), (&false.into(), 0)]);
    sandbox.run(&format!("gimg outdated {org}:nothing")).fails(10, &["not found"]);
}
