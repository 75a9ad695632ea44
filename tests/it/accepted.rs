//! What gimg publishes, read by programs of others: crane, cosign, syft, the tools of SPDX; on several registries, with and
//! without the referrers API.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::canary::SECRET;
use crate::support::servers::Server;
use crate::support::{Sandbox, tool};

#[test]
#[ignore = "integration: needs cosign 2 and 3, syft and the validators"]
fn integration_others_accept_what_is_published() {
    let servers = [
        ("olareg", Server::olareg()),
        // Without the API; olareg without it answers 405, and then cosign doesn't look for the tag.
        ("docker-registry", Server::docker_registry()),
        ("distribution", Server::distribution()),
    ];
    let cosign = tool("cosign").display().to_string();
    let sandbox =
        Sandbox::go("hello").env("COSIGN_PASSWORD", SECRET).env("SYFT_CHECK_FOR_APP_UPDATE", "false");
    sandbox.git("init -q -b main");
    sandbox.git("add .");
    sandbox.git("commit -q -m first");
    sandbox.run("gimg key generate --output ../sign").ok();
    // For bundles cosign 2 wants to know whom it could trust besides the key: nobody.
    let nobody = json!({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"});
    sandbox.write("../root.json", &nobody.to_string());
    let (cosign2, root) =
        (tool("cosign2").display().to_string(), "--new-bundle-format --trusted-root ../root.json");
    for (name, server) in &servers {
        println!("{name}");
        let repo = format!("{}/org/hello", server.host());
        let platforms = "--platform linux/amd64,linux/arm64";
        let line = format!(
            "gimg build ./cmd/hello {platforms} --bare --repo {repo} --sign-key ../sign.key --sign-tag \
             --sbom-tag --sbom-dir ../sboms"
        );
        let image = sandbox.run(&line).ok().stdout.trim().to_owned();
        sandbox.run(&format!("crane --insecure validate --remote {image}")).ok();
        let key = "--allow-insecure-registry --insecure-ignore-tlog=true --key ../sign.pub";
        sandbox.run(&format!("{cosign} verify {key} {image}")).ok();
        sandbox.run(&format!("{cosign} verify-attestation {key} --type slsaprovenance1 {image}")).ok();
        sandbox.run(&format!("{cosign} verify {key} --new-bundle-format=false {image}")).ok();
        sandbox.run(&format!("{cosign2} verify {key} {root} {image}")).ok();
        let index = sandbox.run(&format!("crane --insecure manifest {image}")).ok().stdout;
        let index: Value = serde_json::from_str(&index).unwrap();
        for child in index["manifests"].as_array().unwrap() {
            let child = format!("{repo}@{}", child["digest"].as_str().unwrap());
            sandbox.run(&format!("{cosign} verify {key} {child}")).ok();
            sandbox.run(&format!("{cosign} verify-attestation {key} --type spdxjson {child}")).ok();
            sandbox.run(&format!("{cosign} verify {key} --new-bundle-format=false {child}")).ok();
            sandbox.run(&format!("{cosign2} verify {key} {root} {child}")).ok();
        }
        // syft finds in the image what gimg says of it.
        let found =
            sandbox.run(&format!("syft scan registry:{image} --platform linux/arm64 -o json -q")).ok().stdout;
        let found: Value = serde_json::from_str(&found).unwrap();
        let found: BTreeSet<String> = found["artifacts"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|a| a["type"] == "go-module")
            .map(|a| a["name"].as_str().unwrap().to_owned())
            .collect();
        let ours = std::fs::read(sandbox.path("sboms/hello-linux-arm64.spdx.json")).unwrap();
        let ours: Value = serde_json::from_slice(&ours).unwrap();
        let ours: BTreeSet<String> = ours["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["name"].as_str().unwrap().to_owned())
            .collect();
        assert!(found.contains("stdlib") && found.is_subset(&ours), "{found:?} {ours:?}");
        sandbox.run("pyspdxtools -i ../sboms/hello-linux-arm64.spdx.json").ok();
        // And gimg proves it.
        sandbox.run(&format!("gimg verify {image} --key ../sign.pub")).ok();
        sandbox.run(&format!("gimg history {repo} --key ../sign.pub")).ok();
    }
}
