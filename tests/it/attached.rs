//! What is attached to images in registries: SBOMs, found by whoever asks for them, and in nobody's way.

use serde_json::Value;

use crate::support::registry::{Config, Fault, TestRegistry};
use crate::support::{Layout, Sandbox};

const SPDX: &str = "application/spdx+json";
const CYCLONEDX: &str = "application/vnd.cyclonedx+json";

fn json(registry: &TestRegistry, repo: &str, digest: &str) -> Value {
    serde_json::from_slice(&registry.bytes(repo, digest)).unwrap()
}

/// The documents of this type in a repository, by the digest of what they are about.
fn attached(registry: &TestRegistry, repo: &str, kind: &str) -> Vec<(String, Vec<u8>)> {
    let of = |digest: String| {
        let artifact = json(registry, repo, &digest);
        let layers = artifact["layers"].as_array().unwrap();
        assert_eq!((layers.len(), &layers[0]["mediaType"]), (1, &Value::from(kind)), "{artifact}");
        let title = layers[0]["annotations"]["org.opencontainers.image.title"].as_str().unwrap();
        assert!(title.starts_with("hello-linux-") && title.ends_with(".json"), "{title}");
        let document = registry.bytes(repo, layers[0]["digest"].as_str().unwrap());
        (artifact["subject"]["digest"].as_str().unwrap().to_owned(), document.to_vec())
    };
    let mut found: Vec<_> = registry.artifacts(repo, kind).into_iter().map(of).collect();
    found.sort();
    found
}

#[test]
fn every_image_of_an_index_has_its_sbom() {
    for (api, format, kind, end) in [
        (true, "", SPDX, "spdx"),
        (false, "--sbom spdx", SPDX, "spdx"),
        (true, "--sbom=cyclonedx", CYCLONEDX, "cdx"),
    ] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let sandbox = Sandbox::go("hello");
        let platforms = "--platform linux/amd64,linux/arm64";
        let line =
            format!("gimg build ./cmd/hello --bare --repo {}/org {platforms} {format}", registry.host());
        let ran = sandbox.run(&format!("{line} --sbom-dir sboms")).ok();
        assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
        let index = json(&registry, "org", &registry.tags("org")["latest"]);
        let mut expected = Vec::new();
        for (child, architecture) in index["manifests"].as_array().unwrap().iter().zip(["amd64", "arm64"]) {
            let file = sandbox.path(&format!("src/sboms/hello-linux-{architecture}.{end}.json"));
            expected.push((child["digest"].as_str().unwrap().to_owned(), std::fs::read(file).unwrap()));
        }
        expected.sort();
        assert_eq!(attached(&registry, "org", kind), expected, "{format}");
        // A registry without the API gets one tag for the index and for each image, no more.
        let tags: Vec<String> = registry.tags("org").into_keys().collect();
        let index = &registry.tags("org")["latest"];
        let images = expected.iter().map(|(digest, _)| digest).chain([index]).filter(|_| !api);
        let mut names: Vec<String> = images.map(|digest| digest.replace(':', "-")).collect();
        names.push("latest".to_owned());
        names.sort();
        assert_eq!(tags, names);
    }
}

#[test]
fn what_is_attached_already_costs_no_request() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let line = format!("gimg build ./cmd/hello --bare --repo {}/org", registry.host());
    let asked = |line: &str| {
        let before = registry.log().len();
        sandbox.run(line).ok();
        let log = registry.log();
        let puts = log[before..].iter().filter(|asked| asked.method == "PUT" || asked.method == "POST");
        puts.count()
    };
    assert!(asked(&format!("{line} --attest none")) > 0);
    assert_eq!(attached(&registry, "org", SPDX), []);
    // The image is there: three blobs of two artifacts, and their manifests.
    assert_eq!(asked(&line), 8);
    assert_eq!(asked(&line), 0);
    assert_eq!(asked(&format!("{line} --sbom cyclonedx")), 4, "one new blob, and both manifests");
    assert_eq!(asked(&line), 0);
    // Whoever trusts no memo attaches again.
    assert_eq!(asked(&format!("{line} --no-cache")), 2);
    assert_eq!((attached(&registry, "org", SPDX).len(), attached(&registry, "org", CYCLONEDX).len()), (1, 1));
    // Where the image isn't, what is known of it means nothing.
    let digest = registry.tags("org")["latest"].clone();
    registry.artifacts("org", SPDX).iter().for_each(|artifact| registry.remove_manifest("org", artifact));
    registry.remove_manifest("org", "latest");
    registry.remove_manifest("org", &digest);
    sandbox.run(&line).ok();
    assert_eq!(attached(&registry, "org", SPDX).len(), 1);
}

#[test]
fn a_registry_that_refuses_attestations_gets_the_image_unless_they_are_required() {
    let refused = || Fault::error(400, "MANIFEST_INVALID", "no artifacts here");
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    // The image's manifest comes first, then that of what is attached to it.
    let refuse = |registry: &TestRegistry| {
        let mut manifests = 0;
        registry.hook(move |asked, _| {
            manifests += usize::from(asked.method == "PUT" && asked.target.contains("/manifests/sha256:"));
            let is_second = manifests == 2 && asked.method == "PUT";
            is_second.then(|| {
                manifests += 1;
                refused()
            })
        });
    };
    refuse(&registry);
    let line = format!("gimg build ./cmd/hello --bare --repo {}/org", registry.host());
    sandbox
        .run(&format!("{line} --attest required"))
        .fails(11, &["attach sha256:", "MANIFEST_INVALID: no artifacts here"]);
    assert!(registry.tags("org").is_empty());
    let registry = TestRegistry::start();
    refuse(&registry);
    let line = format!("gimg build ./cmd/hello --bare --repo {}/org", registry.host());
    let ran = sandbox.run(&line).ok();
    assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("the image goes on without it"), "{}", ran.stderr);
    assert_eq!(attached(&registry, "org", SPDX), []);
    // What wasn't attached isn't taken for attached.
    let again = sandbox.run(&line).ok();
    assert!(!again.stderr.contains("warning"), "{}", again.stderr);
    assert_eq!(attached(&registry, "org", SPDX).len(), 1);
}

#[test]
fn local_destinations_and_those_who_want_none_get_none() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg build ./cmd/hello --output oci:out --attest required").ok();
    assert_eq!(Layout::at(sandbox.path("src/out")).index()["manifests"].as_array().unwrap().len(), 1);
    let line = format!("gimg build ./cmd/hello --bare --repo {}/org", registry.host());
    for flags in ["--sbom=none", "--sbom none --sbom-dir sboms", "--attest none", "--push=false"] {
        let ran = sandbox.run(&format!("{line} {flags}")).ok();
        assert!(!ran.stderr.contains("SBOM"), "{flags}: {}", ran.stderr);
    }
    assert!(!sandbox.path("src/sboms").exists());
    assert_eq!((attached(&registry, "org", SPDX), registry.tags("org").len()), (Vec::new(), 1));
    sandbox
        .run(&format!("{line} --attest=always"))
        .fails(2, &["--attest", "auto, required or none", "always"]);
}

#[test]
fn a_program_that_says_nothing_of_its_modules_is_published_without_an_sbom() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    sandbox.run("go build -trimpath -o one ./cmd/other").ok();
    let script = r"LC_ALL=C sed -i 's/\xff Go buildinf:/\xff Xx buildinf:/' one";
    assert!(sandbox.command("sh").arg("-c").arg(script).status().unwrap().success());
    let path = "--import-path example.com/hello/cmd/other";
    let line = format!("gimg pack --binary linux/amd64=one {path} --bare --repo {}/org", registry.host());
    let words = ["write the SBOM for linux/amd64", "holds no record of its Go modules"];
    let ran = sandbox.run(&line).ok();
    assert!(words.iter().all(|word| ran.stderr.contains(word)), "{}", ran.stderr);
    assert!(ran.stderr.contains("warning") && registry.tags("org").contains_key("latest"), "{}", ran.stderr);
    for flags in ["--sbom spdx", "--attest required"] {
        sandbox.run(&format!("{line} {flags}")).fails(3, &words);
    }
    let ran = sandbox.run(&format!("{line} --sbom none")).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}
