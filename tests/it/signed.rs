//! Signatures by a key: what is signed, by whom, and that cosign says the same.

use serde_json::Value;

use crate::support::canary::SECRET;
use crate::support::registry::{Config, Fault, TestRegistry};
use crate::support::{Sandbox, tool};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A sandbox with a key under the canary.
fn with_key() -> Sandbox {
    let sandbox = Sandbox::go("hello").env("COSIGN_PASSWORD", SECRET);
    let ran = sandbox.run("gimg key generate --output ../sign").ok();
    assert!(ran.stdout.ends_with("/sign.pub\n"), "{}", ran.stdout);
    sandbox
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The statements of the bundles in a repository: digest of the subject and type of the predicate, sorted.
fn statements(registry: &TestRegistry, repo: &str) -> Vec<(String, String)> {
    use base64::Engine as _;
    let of = |digest: String| {
        let artifact = json(&registry.bytes(repo, &digest));
        let layer = artifact["layers"][0]["digest"].as_str().unwrap().to_owned();
        let bundle = json(&registry.bytes(repo, &layer));
        assert_eq!(bundle["mediaType"], BUNDLE);
        let signatures = bundle["dsseEnvelope"]["signatures"].as_array().unwrap();
        assert!(signatures.len() == 1 && signatures[0].get("keyid").is_none(), "{bundle}");
        let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
        let statement = json(&base64::engine::general_purpose::STANDARD.decode(payload).unwrap());
        let subject = statement["subject"][0]["digest"]["sha256"].as_str().unwrap();
        assert_eq!(artifact["subject"]["digest"], format!("sha256:{subject}"));
        let predicate = statement["predicateType"].as_str().unwrap().to_owned();
        assert_eq!(artifact["annotations"]["dev.sigstore.bundle.predicateType"], predicate);
        (format!("sha256:{subject}"), predicate)
    };
    let mut found: Vec<_> = registry.artifacts(repo, BUNDLE).into_iter().map(of).collect();
    found.sort();
    found
}

#[test]
fn the_index_and_every_image_are_signed_and_their_sboms_too() {
    let registry = TestRegistry::start();
    let sandbox = with_key();
    let line = format!(
        "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --repo {}/org --sign-key ../sign.key",
        registry.host()
    );
    sandbox.run(&line).ok();
    let index = registry.tags("org")["latest"].clone();
    let document = json(&registry.bytes("org", &index));
    let children = document["manifests"].as_array().unwrap().iter();
    let children: Vec<String> = children.map(|c| c["digest"].as_str().unwrap().to_owned()).collect();
    let signed = |digest: &String| (digest.clone(), "https://sigstore.dev/cosign/sign/v1".to_owned());
    let sbom = |digest: &String| (digest.clone(), "https://spdx.dev/Document".to_owned());
    let mut expected: Vec<_> = children.iter().flat_map(|c| [signed(c), sbom(c)]).collect();
    expected.push(signed(&index));
    expected.push((index.clone(), "https://slsa.dev/provenance/v1".to_owned()));
    expected.sort();
    assert_eq!(statements(&registry, "org"), expected);
    assert_eq!(registry.artifacts("org", "application/spdx+json"), Vec::<String>::new());
    // The same again is the same artifact.
    let before = registry.log().len();
    sandbox.run(&format!("{line} --no-cache")).ok();
    assert_eq!(statements(&registry, "org").len(), expected.len());
    assert!(registry.log()[before..].iter().all(|asked| !asked.target.contains("/blobs/uploads")));
}

#[test]
fn what_can_not_be_signed_gets_no_tag() {
    let registry = TestRegistry::start();
    let sandbox = with_key();
    // The image's manifest comes first.
    let mut image = None;
    registry.hook(move |asked, _| {
        if asked.method != "PUT" || !asked.target.contains("/manifests/sha256:") {
            return None;
        }
        let image = image.get_or_insert_with(|| asked.target.to_owned());
        (image.as_str() != asked.target).then(|| Fault::error(400, "MANIFEST_INVALID", "no artifacts here"))
    });
    let line = format!("gimg build ./cmd/hello --bare --repo {}/org --sign-key ../sign.key", registry.host());
    sandbox.run(&line).fails(11, &["attach sha256:", "no artifacts here"]);
    assert!(registry.tags("org").is_empty());
}

#[test]
fn keys_that_can_not_sign_are_found_before_anything_is_built() {
    let registry = TestRegistry::start();
    let sandbox = with_key();
    let line = format!("gimg build ./cmd/hello --bare --repo {}/org --sign-key", registry.host());
    sandbox
        .run(&format!("{line} ../none.key"))
        .fails(11, &["read the private key", "no such file", "none.key"]);
    sandbox.run(&format!("{line} ../sign.pub")).fails(11, &["it is a PUBLIC KEY", "gimg key generate"]);
    sandbox.run(&format!("{line} go.mod")).fails(11, &["it is no PEM file"]);
    let ran = sandbox.run("gimg build ./cmd/hello --sign-key ../sign.key");
    ran.fails(2, &["--sign-key", "nothing is pushed to a registry"]);
    sandbox.run("gimg key generate --output ../sign").fails(9, &["sign.key", "there already"]);
    let sandbox = sandbox.env("COSIGN_PASSWORD", "other");
    sandbox.run(&format!("{line} ../sign.key")).fails(11, &["the password is another", "COSIGN_PASSWORD"]);
    assert!(registry.repositories().is_empty());
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg key generate").fails(2, &["password is missing", "COSIGN_PASSWORD"]);
}

#[cfg(unix)]
#[test]
fn a_private_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = with_key();
    let mode = std::fs::metadata(sandbox.path("sign.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = std::fs::read_to_string(sandbox.path("sign.key")).unwrap();
    sandbox.run("gimg key generate --output ../two").ok();
    assert_ne!(std::fs::read_to_string(sandbox.path("two.key")).unwrap(), other);
}

#[test]
#[ignore = "integration: needs cosign"]
fn integration_cosign_verifies_what_gimg_signed_and_reads_its_keys() {
    for api in [true, false] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let sandbox = with_key();
        let cosign = tool("cosign");
        let repo = format!("{}/org", registry.host());
        let platforms = "--platform linux/amd64,linux/arm64";
        let line = format!("gimg build ./cmd/hello {platforms} --bare --repo {repo} --sign-key ../sign.key");
        let image = sandbox.run(&line).ok().stdout.trim().to_owned();
        let verify = "--allow-insecure-registry --insecure-ignore-tlog=true --key ../sign.pub";
        let cosign = cosign.display();
        let ran = sandbox.run(&format!("{cosign} verify {verify} {image}")).ok();
        assert!(ran.stdout.contains(&registry.tags("org")["latest"]), "{}", ran.stdout);
        let document = json(&registry.bytes("org", &registry.tags("org")["latest"]));
        for child in document["manifests"].as_array().unwrap() {
            let child = child["digest"].as_str().unwrap();
            sandbox.run(&format!("{cosign} verify {verify} {repo}@{child}")).ok();
            let attested =
                sandbox.run(&format!("{cosign} verify-attestation {verify} --type spdxjson {repo}@{child}"));
            attested.ok();
        }
        // Another key verifies nothing.
        sandbox.run("gimg key generate --output ../other").ok();
        let other = verify.replace("sign.pub", "other.pub");
        assert_ne!(sandbox.run(&format!("{cosign} verify {other} {image}")).code, 0);
        // And it signs with the same key.
        let flags = "--yes --allow-insecure-registry --use-signing-config=false --tlog-upload=false";
        sandbox.run(&format!("{cosign} sign {flags} --key ../sign.key {image}")).ok();
    }
}
