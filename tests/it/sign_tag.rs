//! `--sign-tag`: signatures in cosign's old layout, beside those of others.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::canary::SECRET;
use crate::support::registry::{Config, TestRegistry};
use crate::support::{Sandbox, tool};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A sandbox with two keys.
fn with_keys() -> Sandbox {
    let sandbox = Sandbox::go("hello").env("COSIGN_PASSWORD", SECRET);
    for name in ["sign", "other"] {
        sandbox.run(&format!("gimg key generate --output ../{name}")).ok();
    }
    sandbox
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The tag beside `digest`.
fn beside(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}

/// What the tag `digest` leads to, and its layers.
fn signatures(registry: &TestRegistry, repo: &str, digest: &str) -> (Value, Vec<Value>) {
    let manifest = json(&registry.bytes(repo, &registry.tags(repo)[&beside(digest)]));
    let layers = manifest["layers"].as_array().unwrap().clone();
    let config = json(&registry.bytes(repo, manifest["config"]["digest"].as_str().unwrap()));
    let ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    assert_eq!(config["rootfs"]["diff_ids"], json!(ids));
    (manifest, layers)
}

/// An image's digest, and those of all images in it.
fn all(registry: &TestRegistry, repo: &str, tag: &str) -> Vec<String> {
    let root = registry.tags(repo)[tag].clone();
    let document = json(&registry.bytes(repo, &root));
    let children = document["manifests"].as_array().into_iter().flatten();
    let children = children.map(|child| child["digest"].as_str().unwrap().to_owned());
    std::iter::once(root).chain(children).collect()
}

/// Takes the newer sort of signatures away, and the list of them where the registry keeps none itself.
fn without_bundles(registry: &TestRegistry) {
    registry.artifacts("org", BUNDLE).iter().for_each(|a| registry.remove_manifest("org", a));
    for image in all(registry, "org", "latest") {
        let list = image.replace(':', "-");
        if registry.tags("org").contains_key(&list) {
            registry.remove_manifest("org", &list);
        }
    }
}

fn line(repos: &[&str], key: &str) -> String {
    let repos: String = repos.iter().map(|repo| format!(" --repo {repo}")).collect();
    format!(
        "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare{repos} --sign-key ../{key}.key --sign-tag"
    )
}

#[test]
fn the_index_and_every_image_have_a_signature_under_a_tag() {
    let registry = TestRegistry::start();
    let sandbox = with_keys();
    let (one, two) = (format!("{}/one", registry.host()), format!("{}/two", registry.host()));
    sandbox.run(&line(&[&one, &two], "sign")).ok();
    for (name, repo) in [("one", &one), ("two", &two)] {
        let images = all(&registry, name, "latest");
        assert_eq!(images.len(), 3);
        for image in &images {
            let (_, layers) = signatures(&registry, name, image);
            assert_eq!(
                (layers.len(), layers[0]["mediaType"].as_str()),
                (1, Some("application/vnd.dev.cosign.simplesigning.v1+json"))
            );
            let payload = json(&registry.bytes(name, layers[0]["digest"].as_str().unwrap()));
            let critical = &payload["critical"];
            assert_eq!(critical["identity"]["docker-reference"], repo.as_str());
            assert_eq!(critical["image"]["docker-manifest-digest"], image.as_str());
        }
        // They count alone too.
        registry.artifacts(name, BUNDLE).iter().for_each(|a| registry.remove_manifest(name, a));
        for (key, signed) in [("sign", true), ("other", false)] {
            let ran = sandbox.run(&format!("gimg history {repo} --key ../{key}.pub --format json")).ok();
            assert_eq!(json(ran.stdout.as_bytes())["images"][0]["signed"], signed, "{key}");
        }
    }
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    // The tags name no images.
    assert_eq!(registry.tags("one").len(), 4);
}

#[test]
fn signatures_of_others_stay_and_the_same_is_added_once() {
    let registry = TestRegistry::start();
    let sandbox = with_keys();
    let org = format!("{}/org", registry.host());
    sandbox.run(&line(&[&org], "sign")).ok();
    let (first, _) = signatures(&registry, "org", &all(&registry, "org", "latest")[0]);
    sandbox.run(&line(&[&org], "other")).ok();
    for image in all(&registry, "org", "latest") {
        let (_, layers) = signatures(&registry, "org", &image);
        assert_eq!(layers.len(), 2);
        let signature = |layer: &Value| layer["annotations"]["dev.cosignproject.cosign/signature"].clone();
        assert_ne!(signature(&layers[0]), signature(&layers[1]));
    }
    assert_eq!(signatures(&registry, "org", &all(&registry, "org", "latest")[0]).1[0], first["layers"][0]);
    let (tags, before) = (registry.tags("org"), registry.log().len());
    sandbox.run(&format!("{} --no-cache", line(&[&org], "sign"))).ok();
    assert_eq!(registry.tags("org"), tags);
    assert!(
        registry.log()[before..].iter().all(|asked| !asked.target.contains(".sig") || asked.method == "GET")
    );
}

#[test]
fn what_somebody_else_writes_meanwhile_is_kept() {
    let registry = TestRegistry::start();
    let sandbox = with_keys();
    let org = format!("{}/org", registry.host());
    // What another key says, as it is before ours comes.
    sandbox.run(&line(&[&org], "other")).ok();
    let root = registry.tags("org")["latest"].clone();
    let theirs = registry.bytes("org", &registry.tags("org")[&beside(&root)]);
    registry.remove_manifest("org", &beside(&root));
    let (times, tag) = (AtomicUsize::new(0), beside(&root));
    registry.hook(move |asked, registry| {
        // Between our write and our look at it they write theirs, twice.
        if asked.method == "PUT" && asked.target.ends_with(&format!("/manifests/{tag}")) {
            times.fetch_add(1, Ordering::SeqCst);
        } else if asked.target.ends_with(&format!("/manifests/{tag}"))
            && (1..3).contains(&times.load(Ordering::SeqCst))
        {
            times.fetch_add(1, Ordering::SeqCst);
            registry.put_manifest("org", &tag, MANIFEST, theirs.clone());
        }
        None
    });
    sandbox.run(&line(&[&org], "sign")).ok();
    registry.heal();
    assert_eq!(signatures(&registry, "org", &root).1.len(), 2);
}

#[test]
fn it_wants_a_key_and_a_tag_that_is_free() {
    let registry = TestRegistry::start();
    let sandbox = with_keys();
    let org = format!("{}/org", registry.host());
    sandbox
        .run(&format!("gimg build ./cmd/hello --bare --repo {org} --sign-tag"))
        .fails(2, &["read --sign-tag", "there is no --sign-key"]);
    sandbox.run(&line(&[&org], "sign")).ok();
    let (root, was) = (registry.tags("org")["latest"].clone(), registry.tags("org"));
    registry.put_manifest(
        "org",
        &beside(&root),
        "application/vnd.oci.image.index.v1+json",
        registry.bytes("org", &root),
    );
    sandbox
        .run(&format!("{} --tags other --no-cache", line(&[&org], "other")))
        .fails(11, &["there is application/vnd.oci.image.index.v1+json, not an image"]);
    assert!(!registry.tags("org").contains_key("other"), "{was:?}");
}

#[test]
#[ignore = "integration: needs cosign 2 and 3"]
fn integration_both_cosigns_verify_the_old_layout() {
    for (api, name) in [(true, "cosign"), (false, "cosign"), (true, "cosign2"), (false, "cosign2")] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let sandbox = with_keys();
        let org = format!("{}/org", registry.host());
        let cosign = tool(name);
        let cosign = cosign.display();
        sandbox.run(&line(&[&org], "sign")).ok();
        let verify = format!("{cosign} verify --allow-insecure-registry --insecure-ignore-tlog=true");
        let verify = match name {
            "cosign" => format!("{verify} --new-bundle-format=false"),
            _ => {
                // Where there are bundles it looks at nothing else, and wants to know whom it could trust besides the key:
                // nobody.
                let nobody =
                    json!({"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"});
                sandbox.write("../root.json", &nobody.to_string());
                let bundles = format!("{verify} --new-bundle-format --trusted-root ../root.json");
                for image in all(&registry, "org", "latest") {
                    sandbox.run(&format!("{bundles} --key ../sign.pub {org}@{image}")).ok();
                    assert_ne!(sandbox.run(&format!("{bundles} --key ../other.pub {org}@{image}")).code, 0);
                }
                without_bundles(&registry);
                verify
            }
        };
        for image in all(&registry, "org", "latest") {
            sandbox.run(&format!("{verify} --key ../sign.pub {org}@{image}")).ok();
            assert_ne!(sandbox.run(&format!("{verify} --key ../other.pub {org}@{image}")).code, 0);
        }
        // What it adds stays, and so does ours.
        let root = registry.tags("org")["latest"].clone();
        let flags = "--yes --allow-insecure-registry --tlog-upload=false --key ../other.key";
        let flags = match name {
            "cosign" => format!("{flags} --use-signing-config=false --new-bundle-format=false"),
            _ => flags.to_owned(),
        };
        sandbox.run(&format!("{cosign} sign {flags} {org}@{root}")).ok();
        assert_eq!(signatures(&registry, "org", &root).1.len(), 2);
        sandbox.run(&format!("{} --no-cache", line(&[&org], "sign"))).ok();
        without_bundles(&registry);
        for key in ["sign", "other"] {
            sandbox.run(&format!("{verify} --key ../{key}.pub {org}@{root}")).ok();
            let ran = sandbox.run(&format!("gimg history {org} --key ../{key}.pub --format json")).ok();
            assert_eq!(json(ran.stdout.as_bytes())["images"][0]["signed"], true, "{name} {key}");
        }
    }
}
