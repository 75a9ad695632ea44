//! `gimg rollback`: a tag moves back to an image that is there, whole, and signed if that is wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::canary::SECRET;
use crate::support::registry::{Asked, Config, Fault, TestRegistry};
use crate::support::setups::{Asks, Make, Setup};
use crate::support::{Ran, Sandbox, sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Puts an image for two platforms under a tag; gives its digest, and those of all below it with what they are.
pub(crate) fn put_image(
    registry: &TestRegistry,
    repo: &str,
    tag: &str,
) -> (String, BTreeMap<String, &'static str>) {
    let mut below = BTreeMap::new();
    let mut blob = |kind: &'static str, media_type: &str, bytes: String| {
        let size = bytes.len();
        let digest = registry.put_blob(repo, bytes);
        below.insert(digest.clone(), kind);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    };
    let common = blob("layer", "application/vnd.oci.image.layer.v1.tar+gzip", "common".to_owned());
    let mut documents = Vec::new();
    for arch in ["amd64", "arm64"] {
        let own = format!("{tag} {arch}");
        let layer = blob("layer", "application/vnd.oci.image.layer.v1.tar+gzip", own.clone());
        let config = json!({"os": "linux", "architecture": arch, "created": "2024-01-02T03:04:05Z",
            "config": {"Labels": {"own": own}}, "rootfs": {"type": "layers", "diff_ids": []}});
        let config = blob("config", "application/vnd.oci.image.config.v1+json", config.to_string());
        // What Windows keeps for itself is nowhere.
        let foreign = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": format!("sha256:{}", sha256(b"foreign")), "size": 7});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
            "layers": [foreign, common, layer]});
        documents.push((arch, manifest.to_string()));
    }
    let entries = documents.iter().map(|(arch, manifest)| {
        let digest = format!("sha256:{}", sha256(manifest.as_bytes()));
        registry.put_manifest(repo, &digest, MANIFEST, manifest.clone());
        below.insert(digest.clone(), "manifest");
        json!({"mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
            "platform": {"os": "linux", "architecture": arch}})
    });
    let entries: Vec<Value> = entries.collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
    registry.put_manifest(repo, tag, INDEX, index);
    (registry.tags(repo)[tag].clone(), below)
}

/// A registry whose `app:latest` stands for `app:v2`.
fn two_versions() -> (TestRegistry, String, String) {
    let registry = TestRegistry::start();
    let (old, _) = put_image(&registry, "app", "v1");
    let (new, _) = put_image(&registry, "app", "v2");
    point(&registry, "latest", &new);
    (registry, old, new)
}

fn point(registry: &TestRegistry, tag: &str, digest: &str) {
    registry.put_manifest("app", tag, INDEX, registry.bytes("app", digest));
}

#[test]
fn a_tag_moves_back_and_the_way_back_is_said() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let repo = format!("{}/app", registry.host());
    let build = format!("gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --repo {repo}");
    let old = sandbox.run(&format!("{build} -t latest,v1")).digest();
    let new = sandbox.run(&format!("{build} -t latest,v2 --image-label two=2")).digest();
    let before = registry.log().len();
    let ran = sandbox.run(&format!("gimg rollback {repo} --to v1")).ok();
    assert_eq!(ran.stdout, format!("{repo}@{old}\n"));
    assert_eq!(registry.tags("app")["latest"], old);
    let asked = registry.log().split_off(before);
    let of =
        |method: &str| asked.iter().filter(|l| l.method == method).map(|l| &*l.target).collect::<Vec<_>>();
    assert_eq!(of("PUT"), ["/v2/app/manifests/latest"]);
    assert!(of("POST").is_empty() && of("GET").iter().all(|target| !target.contains("/blobs/")));
    // What is said is what brings it back.
    let way = ran.stderr.lines().find_map(|l| l.strip_prefix("the way back: ")).unwrap().to_owned();
    assert_eq!(way, format!("gimg rollback {repo}:latest --to {new}"));
    assert_eq!(sandbox.run(&way).ok().digest(), new);
    assert_eq!(registry.tags("app")["latest"], new);
    assert!(registry.incomplete().is_empty());
}

#[test]
fn images_are_named_in_every_way_and_nothing_is_moved_twice() {
    let (registry, old, new) = two_versions();
    let (sandbox, repo) = (Sandbox::new(), format!("{}/app", registry.host()));
    let names = ["v1", ":v1", &format!("{repo}:v1"), &old, &format!("@{old}"), &format!("{repo}@{old}")];
    for to in names {
        let ran = sandbox.run(&format!("gimg rollback {repo}:latest --to {to}")).ok();
        assert_eq!((ran.digest(), &registry.tags("app")["latest"]), (old.clone(), &old), "{to}");
        let puts = registry.asked("PUT", "");
        let ran = sandbox.run(&format!("gimg rollback {repo} --to {to}")).ok();
        assert!(ran.stderr.contains("app:latest stands for it already: nothing was moved"), "{}", ran.stderr);
        assert_eq!((ran.digest(), registry.asked("PUT", "")), (old.clone(), puts));
        point(&registry, "latest", &new);
    }
    let ran = sandbox.run(&format!("gimg rollback {repo} --to v1 --dry-run --format json")).ok();
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    let expected = json!({"reference": format!("{repo}@{old}"), "tag": "latest", "digest": old,
        "mediaType": INDEX, "was": new, "moved": false});
    assert_eq!((said, &registry.tags("app")["latest"]), (expected, &new));
    assert!(ran.stderr.contains(&format!("app:latest would move away from {new}; nothing was moved")));
    let ran = sandbox.run(&format!("gimg rollback {repo} --to v1 --format json --quiet")).ok();
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&said["moved"], &said["was"], ran.stderr.as_str()), (&json!(true), &json!(new), ""));
    assert_eq!(registry.tags("app")["latest"], old);
}

#[test]
fn what_is_not_there_and_what_makes_no_sense_is_refused() {
    let (registry, old, new) = two_versions();
    let (sandbox, repo) = (Sandbox::new(), format!("{}/app", registry.host()));
    let other = format!("{}/other:v1", registry.host());
    for (line, code, words) in [
        (format!("{repo} --to {other}"), 2, vec!["other is another repository", "gimg push"]),
        (format!("{repo}@{new} --to v1"), 2, vec!["a digest stands for itself"]),
        (format!("{repo} --to v1:v2"), 2, vec!["another repository"]),
        (format!("{repo} --to sha256:00"), 2, vec!["64 lower-case hex digits"]),
        (format!("{repo} --to v3"), 10, vec!["app:v3", "no such image"]),
        (format!("{repo}:prod --to v1"), 10, vec!["app:prod", "no such image"]),
        (format!("{repo} --to sha256:{}", sha256(b"x")), 10, vec!["app@sha256:", "no such image"]),
        (format!("{repo} --to v1 --key none.pub"), 11, vec!["read the public key", "no such file"]),
    ] {
        sandbox.run(&format!("gimg rollback {line}")).fails(code, &words);
    }
    let key = sandbox.env("COSIGN_PASSWORD", "");
    key.run("gimg key generate").ok();
    key.run(&format!("gimg rollback {repo} --to {old} --key cosign.key"))
        .fails(11, &["ENCRYPTED SIGSTORE PRIVATE KEY", ".pub"]);
    assert_eq!((&registry.tags("app")["latest"], registry.asked("PUT", "")), (&new, 0));
}

#[test]
fn nothing_moves_to_an_image_of_which_something_is_missing() {
    let registry = TestRegistry::start();
    let (_, below) = put_image(&registry, "app", "v1");
    let (new, _) = put_image(&registry, "app", "v2");
    point(&registry, "latest", &new);
    let (sandbox, repo) = (Sandbox::new(), format!("{}/app", registry.host()));
    let gone: Arc<Mutex<Option<String>>> = Arc::default();
    let lost = Arc::clone(&gone);
    registry.hook(move |asked: &Asked<'_>, _| {
        let lost = lost.lock().unwrap();
        let is_lost = lost.as_ref().is_some_and(|digest| asked.target.ends_with(digest.as_str()));
        is_lost.then(|| Fault::error(404, "BLOB_UNKNOWN", "it was cleaned up"))
    });
    let mut kinds: Vec<&str> = below.values().copied().collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["config", "config", "layer", "layer", "layer", "manifest", "manifest"]);
    for (digest, kind) in &below {
        *gone.lock().unwrap() = Some(digest.clone());
        let ran = sandbox.run(&format!("gimg rollback {repo} --to v1"));
        ran.fails(8, &["roll back", "app:latest", "the repository lacks", digest]);
        assert_eq!((&registry.tags("app")["latest"], registry.asked("PUT", "")), (&new, 0), "{kind}");
    }
    // What is shorter than it must be isn't there either.
    *gone.lock().unwrap() = None;
    let layer = below.iter().find(|(_, kind)| **kind == "layer").unwrap().0.clone();
    registry.hook(move |asked, _| {
        let is_layer = asked.method == "HEAD" && asked.target.ends_with(&layer);
        is_layer.then(|| Fault::Header("content-length", Some("1".to_owned())))
    });
    sandbox.run(&format!("gimg rollback {repo} --to v1")).fails(8, &["the repository lacks"]);
    registry.heal();
    sandbox.run(&format!("gimg rollback {repo} --to v1")).ok();
}

#[test]
fn a_child_that_is_something_else_is_found() {
    let registry = TestRegistry::start();
    let (_, below) = put_image(&registry, "app", "v1");
    let (new, _) = put_image(&registry, "app", "v2");
    point(&registry, "latest", &new);
    let (sandbox, repo) = (Sandbox::new(), format!("{}/app", registry.host()));
    let child = below.iter().find(|(_, kind)| **kind == "manifest").unwrap().0.clone();
    registry.hook(move |asked, _| {
        (asked.method == "GET" && asked.target.ends_with(&child)).then_some(Fault::Flip(100))
    });
    sandbox.run(&format!("gimg rollback {repo} --to v1")).fails(8, &["app@sha256:"]);
    assert_eq!(registry.tags("app")["latest"], new);
}

#[test]
fn the_tag_moves_as_in_every_push() {
    let (registry, old, new) = two_versions();
    let (sandbox, repo) = (Sandbox::new(), format!("{}/app", registry.host()));
    let put = |asked: &Asked<'_>| asked.method == "PUT" && asked.target == "/v2/app/manifests/latest";
    // The answer is lost.
    let mut first = true;
    registry.hook(move |asked, _| (put(asked) && std::mem::take(&mut first)).then_some(Fault::Lost));
    assert_eq!(sandbox.run(&format!("gimg rollback {repo} --to v1")).ok().digest(), old);
    assert_eq!(registry.tags("app")["latest"], old);
    registry.heal();
    // Somebody else is faster by a moment.
    let (others, mut put_seen) = (old.clone(), false);
    registry.hook(move |asked, registry| {
        if put_seen && asked.method == "HEAD" && asked.target.ends_with("/manifests/latest") {
            registry.put_manifest("app", "latest", INDEX, registry.bytes("app", &others));
        }
        put_seen |= put(asked);
        None
    });
    let ran = sandbox.run(&format!("gimg rollback {repo} --to {new}")).ok();
    assert!(ran.stderr.contains("somebody else moved it"), "{}", ran.stderr);
    registry.heal();
    // A tag that can't be moved.
    registry.configure(|config: &mut Config| config.mutable_tags = false);
    sandbox.run(&format!("gimg rollback {repo} --to {new}")).fails(10, &["the tag exists and is immutable"]);
    assert_eq!(registry.tags("app")["latest"], old);
}

#[test]
fn only_what_the_key_signed_gets_the_tag() {
    for referrers in [true, false] {
        let registry = TestRegistry::with(Config { referrers, ..Config::default() });
        let sandbox = Sandbox::go("hello").env("COSIGN_PASSWORD", SECRET);
        sandbox.run("gimg key generate --output ../sign").ok();
        sandbox.run("gimg key generate --output ../other").ok();
        let repo = format!("{}/app", registry.host());
        let build = format!("gimg build ./cmd/hello --bare --repo {repo}");
        let signed = sandbox.run(&format!("{build} -t signed --sign-key ../sign.key")).digest();
        let plain = sandbox.run(&format!("{build} -t plain,latest --image-label a=b")).digest();
        let roll =
            |to: &str, key: &str| sandbox.run(&format!("gimg rollback {repo} --to {to} --key ../{key}.pub"));
        roll("signed", "other")
            .fails(11, &["check the signature of", &signed, "it is signed by another key"]);
        roll("plain", "sign").fails(11, &["check the signature of", &plain, "it has no signature"]);
        assert_eq!(registry.tags("app")["latest"], plain);
        assert_eq!(roll("signed", "sign").ok().digest(), signed);
        assert_eq!(registry.tags("app")["latest"], signed);
    }
}

/// Signs, pushes, rolls back and lists in a real registry.
fn journey(setup: Setup) {
    let registry = setup.start();
    let host = registry.host();
    // A key without a password.
    let sandbox = setup.sandbox(&host).env("COSIGN_PASSWORD", "");
    sandbox.run("gimg key generate --output ../sign").ok();
    let repo = format!("{host}/me/app");
    let build = format!("gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --repo {repo}");
    let digest = |ran: Ran| ran.digest();
    let old = digest(sandbox.run(&format!("{build} -t old --sign-key ../sign.key")).ok());
    let new = digest(sandbox.run(&format!("{build} -t latest,new --image-label a=b")).ok());
    let roll = format!("gimg rollback {repo} --key ../sign.pub --to");
    sandbox.run(&format!("{roll} {new}")).fails(11, &["it has no signature"]);
    assert_eq!(digest(sandbox.run(&format!("{roll} old")).ok()), old, "{setup}");
    let ran = sandbox.run(&format!("gimg history {repo} --key ../sign.pub --format json")).ok();
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    let images = said["images"].as_array().unwrap().iter();
    let images: Vec<_> =
        images.map(|i| (i["tags"].clone(), i["signed"].clone(), i["go"].is_string())).collect();
    let expected = [(json!(["latest", "old"]), json!(true), true), (json!(["new"]), json!(false), false)];
    assert_eq!(images.len(), 2, "{setup}: {images:?}");
    assert!(expected.iter().all(|image| images.contains(image)), "{setup}: {images:?}");
}

#[test]
fn real_registries_let_tags_back() {
    journey(Setup { make: Make::Olareg, tls: true, asks: Asks::Basic });
    journey(Setup { make: Make::Distribution, tls: true, asks: Asks::Token });
}

#[test]
#[ignore = "integration: asks every registry"]
fn integration_every_registry_lets_tags_back() {
    Setup::all().into_iter().for_each(journey);
}
