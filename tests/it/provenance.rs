//! Provenance: what an image was built from, attached to it, the same wherever it is built.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::Sandbox;
use crate::support::canary::SECRET;
use crate::support::registry::{Config, TestRegistry};

const STATEMENT: &str = "application/vnd.in-toto+json";
const TYPE: &str = "https://slsa.dev/provenance/v1";

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The only statement in a repository that is attached to what `tag` names.
pub(crate) fn statement(registry: &TestRegistry, repo: &str, tag: &str) -> (Value, Vec<u8>) {
    let artifacts = registry.artifacts(repo, STATEMENT);
    let [artifact] = artifacts.as_slice() else { panic!("{artifacts:?}") };
    let artifact = json(&registry.bytes(repo, artifact));
    assert_eq!(artifact["subject"]["digest"].as_str(), Some(registry.tags(repo)[tag].as_str()));
    assert_eq!(artifact["annotations"]["in-toto.io/predicate-type"], TYPE);
    let layers = artifact["layers"].as_array().unwrap();
    assert_eq!((layers.len(), &layers[0]["mediaType"]), (1, &Value::from(STATEMENT)));
    assert_eq!(layers[0]["annotations"]["in-toto.io/predicate-type"], TYPE);
    let bytes = registry.bytes(repo, layers[0]["digest"].as_str().unwrap()).to_vec();
    let statement = json(&bytes);
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], TYPE);
    (statement, bytes)
}

#[test]
fn it_holds_the_recipe_what_went_in_and_what_came_out() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello")
        .env("RELEASE_TOKEN", SECRET)
        .env("GOPROXY", &format!("https://me:{SECRET}@proxy.invalid,off"));
    sandbox.write("cmd/hello/kodata/a.txt", "a");
    sandbox.git("init -q -b main");
    sandbox.git("remote add origin https://me:canary-5f1c9@example.com/me/hello.git");
    sandbox.may_hold_secrets("src/.git/config");
    sandbox.git("add .");
    sandbox.git("commit -q -m first");
    let revision = sandbox.git("rev-parse HEAD").stdout.trim().to_owned();
    let line = format!(
        "gimg build ./cmd/hello --platform linux/amd64,linux/arm64/v8.1 --bare --repo {}/org --buildvcs",
        registry.host()
    );
    let more =
        ["--ldflags", &format!("-s -X main.token={SECRET} -X main.version=v1"), "--image-label", "team=blue"];
    sandbox.run_with(&line, &more).ok();
    let (statement, bytes) = statement(&registry, "org", "latest");
    let index = json(&registry.bytes("org", &registry.tags("org")["latest"]));
    let subjects: Vec<(Option<&str>, String)> = statement["subject"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["name"].as_str(), format!("sha256:{}", s["digest"]["sha256"].as_str().unwrap())))
        .collect();
    let child = |at: usize| index["manifests"][at]["digest"].as_str().unwrap().to_owned();
    assert_eq!(
        subjects,
        [
            (None, registry.tags("org")["latest"].clone()),
            (Some("linux/amd64"), child(0)),
            (Some("linux/arm64/v8.1"), child(1)),
        ]
    );
    let build = &statement["predicate"]["buildDefinition"];
    assert_eq!(build["buildType"], "https://github.com/gimg/gimg/build/v1");
    let recipe = &build["externalParameters"];
    assert_eq!(
        recipe["source"],
        serde_json::json!({ "repository": "https://example.com/me/hello", "revision": revision })
    );
    assert_eq!(recipe["programs"][0]["package"], "example.com/hello/cmd/hello");
    assert_eq!(
        (&recipe["programs"][0]["directory"], &recipe["kodata"]),
        (&".".into(), &"cmd/hello/kodata".into())
    );
    assert_eq!(recipe["config"]["labels"]["team"], "blue");
    let arm = &recipe["platforms"][1];
    assert_eq!((&arm["platform"], &arm["base"]["name"]), (&"linux/arm64/v8.1".into(), &"static@1".into()));
    assert!(arm["environment"].to_string().contains(r#"["GOARM64","v8.1"]"#), "{arm}");
    assert_eq!(
        arm["flags"],
        serde_json::json!([
            "-trimpath",
            "-buildvcs=true",
            "-ldflags=-s -X main.token=*** -X main.version=v1"
        ])
    );
    // Programs before they were packed.
    let byproducts = statement["predicate"]["runDetails"]["byproducts"].as_array().unwrap();
    let programs: BTreeMap<&str, &Value> = byproducts
        .iter()
        .filter_map(|b| Some((b["name"].as_str()?.strip_suffix(" program /ko-app/hello")?, b)))
        .collect();
    assert_eq!(programs.keys().copied().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64/v8.1"]);
    for program in programs.values() {
        assert_eq!(program["annotations"]["vcs"]["revision"], revision);
        assert_eq!(program["annotations"]["vcs"]["modified"], false);
        assert_eq!(program["digest"]["sha256"].as_str().unwrap().len(), 64);
    }
    let layers = byproducts.iter().filter(|b| b["name"].as_str().unwrap().contains(" layer ")).count();
    assert_eq!(layers, 4, "kodata and the program, for each platform");
    // What went in.
    let inputs = build["resolvedDependencies"].as_array().unwrap();
    assert_eq!(inputs[0]["digest"]["gitCommit"], revision);
    assert_eq!(inputs[0]["uri"], format!("git+https://example.com/me/hello@{revision}"));
    let go = recipe["go"]["version"].as_str().unwrap();
    for tool in ["asm", "compile", "go", "link"] {
        assert!(inputs.iter().any(|i| i["name"] == format!("{go} {tool}")), "{tool}: {inputs:?}");
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(!text.contains(SECRET) && !text.contains("proxy.invalid"), "{text}");
    assert!(!text.contains(sandbox.path("").to_str().unwrap()), "a path of the machine: {text}");
}

#[test]
fn the_same_build_elsewhere_has_the_same_provenance() {
    let mut all = Vec::new();
    for (dir, api) in [("src", true), ("a/b", false)] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let sandbox = Sandbox::go("hello");
        let sandbox = if dir == "src" {
            sandbox
        } else {
            sandbox.run(&format!("mkdir -p ../{dir}")).ok();
            sandbox.run(&format!("cp -r . ../{dir}/copy")).ok();
            sandbox.cd(&format!("{dir}/copy")).env("TZ", "Asia/Tokyo")
        };
        let line = format!("gimg build ./cmd/hello --bare --repo {}/org", registry.host());
        sandbox.run(&line).ok();
        all.push(statement(&registry, "org", "latest").1);
        // From the memo too.
        sandbox.run(&format!("{line} --tags again")).ok();
        all.push(statement(&registry, "org", "again").1);
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn nothing_is_said_where_that_is_not_wanted() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let line = format!("gimg build ./cmd/hello --bare --repo {}/org", registry.host());
    sandbox.run(&format!("{line} --provenance=false")).ok();
    assert!(registry.artifacts("org", STATEMENT).is_empty());
    assert_eq!(registry.artifacts("org", "application/spdx+json").len(), 1);
    sandbox.run(&format!("{line} --attest none --tags b")).ok();
    assert!(registry.artifacts("org", STATEMENT).is_empty());
    sandbox.run(&format!("{line} --sbom none --tags c")).ok();
    statement(&registry, "org", "c");
}
