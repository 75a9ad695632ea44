//! SBOMs under ko's tags: in its form, before any tag of an image moves, and refused as the rest of what is attached.

use serde_json::{Value, json};

use crate::support::registry::{Fault, TestRegistry, When};
use crate::support::servers::Server;
use crate::support::{Sandbox, tool};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// The tag beside a manifest or index.
fn beside(digest: &str) -> String {
    format!("{}.sbom", digest.replace(':', "-"))
}

/// Builds hello into `org` of a registry; also gives the digests of the index and its images.
fn build(sandbox: &Sandbox, registry: &TestRegistry, flags: &str) -> Vec<String> {
    let platforms = "--platform linux/amd64,linux/arm64";
    let line = format!(
        "gimg build ./cmd/hello {platforms} --bare --repo {}/org --sbom-tag {flags}",
        registry.host()
    );
    let ran = sandbox.run(&line).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let index = registry.tags("org")["latest"].clone();
    let images = parsed(&registry.bytes("org", &index))["manifests"].as_array().unwrap().clone();
    let images = images.iter().map(|m| m["digest"].as_str().unwrap().to_owned());
    std::iter::once(index.clone()).chain(images).collect()
}

/// What ko v0.19.1 puts: seen with `crane manifest` and `crane config` of one of its tags.
#[test]
fn the_index_and_every_image_have_kos_tag() {
    for (flags, kind, end) in
        [("", "text/spdx+json", "spdx"), ("--sbom cyclonedx", "application/vnd.cyclonedx+json", "cdx")]
    {
        let registry = TestRegistry::start();
        let sandbox = Sandbox::go("hello");
        let digests = build(&sandbox, &registry, &format!("{flags} --sbom-dir sboms"));
        let tags = registry.tags("org");
        let mut expected: Vec<String> = digests.iter().map(|d| beside(d)).collect();
        expected.push("latest".to_owned());
        expected.sort();
        assert_eq!(tags.keys().cloned().collect::<Vec<_>>(), expected, "{flags}");
        for (digest, name) in digests.iter().zip(["index", "linux-amd64", "linux-arm64"]) {
            let manifest = parsed(&registry.bytes("org", &tags[&beside(digest)]));
            let config = registry.bytes("org", manifest["config"]["digest"].as_str().unwrap());
            let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
            let document = registry.bytes("org", &layer);
            let file = sandbox.path(&format!("src/sboms/hello-{name}.{end}.json"));
            assert_eq!(document, std::fs::read(file).unwrap(), "{name}");
            let expected = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "size": config.len(),
                    "digest": manifest["config"]["digest"],
                },
                "layers": [{ "mediaType": kind, "size": document.len(), "digest": layer }],
            });
            assert_eq!(manifest, expected, "{name}");
            let none = "0001-01-01T00:00:00Z";
            let expected = json!({
                "architecture": "", "created": none, "history": [{ "created": none }], "os": "",
                "rootfs": { "type": "layers", "diff_ids": [layer] }, "config": {},
            });
            assert_eq!(parsed(&config), expected, "{name}");
        }
        // It lies beside the referrer, which is the same with and without.
        let kind = if end == "spdx" { "application/spdx+json" } else { kind };
        assert_eq!(registry.artifacts("org", kind).len(), 2);
        // They are there now: asking for the image's tag was the only request.
        let before = registry.log().len();
        build(&sandbox, &registry, flags);
        assert!(registry.log()[before..].iter().all(|asked| asked.method != "PUT" && asked.method != "POST"));
    }
}

#[test]
fn tags_beside_images_come_before_the_images_own_and_one_that_is_refused_counts_if_required() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let digests = build(&sandbox, &registry, "");
    let log = registry.log();
    let puts = |part: &str| {
        let of = |part: &str, at: &usize| log[*at].method == "PUT" && log[*at].target.contains(part);
        (0..log.len()).filter(|at| of(part, at)).collect::<Vec<_>>()
    };
    let (besides, own) = (puts(".sbom"), puts("/manifests/latest"));
    assert_eq!((besides.len(), own.len()), (3, 1));
    let root = puts(&format!("/manifests/{}", digests[0]));
    assert!(root[0] < besides[0] && besides[2] < own[0], "{root:?} {besides:?} {own:?}");
    // Tags that can't be moved, and aren't ours.
    let refusing = || {
        let registry = TestRegistry::start();
        registry.fail(When::always("PUT", ".sbom"), Fault::error(400, "TAG_INVALID", "no such tags here"));
        registry
    };
    let registry = refusing();
    let line = |registry: &TestRegistry| {
        format!("gimg build ./cmd/hello --bare --repo {}/org --sbom-tag", registry.host())
    };
    sandbox
        .run(&format!("{} --attest required", line(&registry)))
        .fails(11, &["tag ", ".sbom", "no such tags here"]);
    assert!(registry.tags("org").is_empty());
    let registry = refusing();
    let ran = sandbox.run(&line(&registry)).ok();
    assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("the image goes on without it"), "{}", ran.stderr);
    assert_eq!(registry.tags("org").into_keys().collect::<Vec<_>>(), ["latest"]);
    // What isn't there isn't taken for attached.
    registry.heal();
    sandbox.run(&line(&registry)).ok();
    assert_eq!(registry.tags("org").len(), 2);
}

#[test]
fn a_tag_for_no_sbom_or_no_registry_is_refused() {
    let sandbox = Sandbox::go("hello");
    let line = "gimg build ./cmd/hello --sbom-tag";
    sandbox.run(line).fails(2, &["--sbom-tag", "nothing is pushed to a registry"]);
    let line = format!("{line} --repo 127.0.0.1:1/org");
    sandbox.run(&format!("{line} --sbom none")).fails(2, &["--sbom-tag", "with --sbom none"]);
    sandbox.run(&format!("{line} --attest none")).fails(2, &["--sbom-tag", "with --attest none"]);
}

#[test]
#[ignore = "integration: needs cosign, crane and two registries"]
fn integration_cosign_and_crane_find_what_is_under_kos_tags() {
    for (server, api) in [(Server::olareg(), true), (Server::distribution(), false)] {
        let sandbox = Sandbox::go("hello");
        let repo = format!("{}/org/hello", server.host());
        let line = format!(
            "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --repo {repo} --sbom-tag"
        );
        let digest = sandbox.run(&format!("{line} --sbom-dir sboms")).ok().digest();
        let (crane, cosign) = (tool("crane"), tool("cosign"));
        let (crane, cosign) = (crane.display(), cosign.display());
        let ls = sandbox.run(&format!("{crane} ls {repo}")).ok().stdout;
        assert_eq!(ls.lines().filter(|tag| tag.ends_with(".sbom")).count(), 3, "{ls}");
        sandbox.run(&format!("{crane} manifest {repo}:{}", beside(&digest))).ok();
        for (platform, name) in [("", "index"), ("--platform linux/arm64", "linux-arm64")] {
            let ran = sandbox.run(&format!("{cosign} download sbom {platform} {repo}@{digest}")).ok();
            let file = sandbox.path(&format!("src/sboms/hello-{name}.spdx.json"));
            let found = parsed(ran.stdout.as_bytes());
            assert_eq!(found, parsed(&std::fs::read(file).unwrap()), "{name}, referrers: {api}");
        }
    }
}
