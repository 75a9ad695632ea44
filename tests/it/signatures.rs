//! Signatures read back: whose counts, and what is none. Asked by `gimg rollback --key`, which moves no tag without one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gimg::attest::{self, SIGNED, Subject};
use gimg::oci::Digest;
use gimg::sign::{self, PrivateKey, Randomness};
use serde_json::{Value, json};

use super::rollback::put_image;
use crate::support::canary::SECRET;
use crate::support::registry::{Config, Fault, TestRegistry};
use crate::support::{Ran, Sandbox, sha256, tool};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

fn key(of: u8) -> PrivateKey {
    PrivateKey::new(&Randomness { key: [of; 32], salt: [0; 32], nonce: [0; 24] }).unwrap()
}

/// A bundle of the statement that `predicate_type` is true of `digest`.
fn bundle(digest: &str, predicate_type: &str, by: u8) -> String {
    let digest: Digest = digest.parse().unwrap();
    let statement = attest::statement(&[Subject { name: None, digest }], predicate_type, &json!({})).unwrap();
    signed(&statement, by)
}

fn signed(statement: &[u8], by: u8) -> String {
    String::from_utf8(sign::bundle(statement, &key(by)).unwrap()).unwrap()
}

/// A registry with an image `app:v1`, whose digest is given too, a tag `latest` that stands for another one, and the file
/// of the public key in a sandbox.
struct Scene {
    registry: TestRegistry,
    sandbox: Sandbox,
    digest: String,
    other: String,
}

impl Scene {
    fn new() -> Self {
        let registry = TestRegistry::start();
        let (digest, _) = put_image(&registry, "app", "v1");
        let (other, _) = put_image(&registry, "app", "latest");
        let sandbox = Sandbox::new().file("sign.pub", &key(1).public().write().unwrap());
        Scene { registry, sandbox, digest, other }
    }

    /// Attaches an artifact with these layers, each a media type and content, to the image.
    fn attach(&self, artifact_type: &str, layers: &[(&str, &str)]) -> String {
        let blob = |media_type: &str, content: &str| {
            let digest = self.registry.put_blob("app", content.to_owned());
            json!({"mediaType": media_type, "digest": digest, "size": content.len()})
        };
        let layers: Vec<Value> =
            layers.iter().map(|(media_type, content)| blob(media_type, content)).collect();
        let subject = json!({"mediaType": INDEX, "digest": self.digest, "size": 1});
        let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
            "config": blob("application/vnd.oci.empty.v1+json", "{}"), "layers": layers, "subject": subject});
        let artifact = artifact.to_string();
        let digest = format!("sha256:{}", sha256(artifact.as_bytes()));
        self.registry.put_manifest("app", &digest, MANIFEST, artifact);
        digest
    }

    /// Puts layers of payload, media type and annotation where cosign's old layout has signatures.
    fn old_layout(&self, layers: &[(String, &str, Value)]) {
        let layers = layers.iter().map(|(payload, media_type, annotations)| {
            let digest = self.registry.put_blob("app", payload.clone());
            json!({"mediaType": media_type, "digest": digest, "size": payload.len(), "annotations": annotations})
        });
        let layers: Vec<Value> = layers.collect();
        let config = self.registry.put_blob("app", "{}");
        let config =
            json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2});
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let tag = format!("{}.sig", self.digest.replace(':', "-"));
        self.registry.put_manifest("app", &tag, MANIFEST, manifest.to_string());
    }

    fn roll(&self, how: &str) -> Ran {
        let line = format!("gimg rollback {}/app --to v1 --key sign.pub {how}", self.registry.host());
        self.sandbox.run(&line)
    }

    /// Nothing moves, and these words say why.
    #[track_caller]
    fn refused(&self, why: &str) {
        self.roll("").fails(11, &["check the signature of", &self.digest, why]);
        assert_eq!(self.registry.tags("app")["latest"], self.other);
    }
}

#[test]
fn a_bundle_counts_if_the_key_signed_that_the_image_is_signed() {
    let digest = &Scene::new().digest;
    let right = bundle(digest, SIGNED, 1);
    let payload = right.split("\"payload\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let statement = String::from_utf8(STANDARD.decode(&payload).unwrap()).unwrap();
    let about_both = statement.replace(
        "[{\"digest\"",
        &format!("[{{\"digest\":{{\"sha256\":\"{}\"}}}},{{\"digest\"", "0".repeat(64)),
    );
    let wrong_type = statement.replace("in-toto.io/Statement/v1", "in-toto.io/Statement/v0.1");
    let twice = statement.replacen('{', "{\"predicateType\":\"x\",", 1);
    let none = "it has no signature";
    for (what, bundle, why) in [
        ("right", right.clone(), None),
        ("several subjects", signed(about_both.as_bytes(), 1), None),
        ("another key", bundle(digest, SIGNED, 2), Some("it is signed by another key")),
        ("another image", bundle(&format!("sha256:{}", sha256(b"x")), SIGNED, 1), Some(none)),
        ("an SBOM", bundle(digest, "https://spdx.dev/Document", 1), Some("but not the image")),
        ("an SBOM of others", bundle(digest, "https://spdx.dev/Document", 2), Some(none)),
        ("another statement", signed(wrong_type.as_bytes(), 1), Some(none)),
        ("two readings", signed(twice.as_bytes(), 1), Some(none)),
        ("no statement", signed(b"text", 1), Some(none)),
        ("half of the base64", right.replace(&payload, &payload[..payload.len() - 3]), Some(none)),
        ("half of the signature", right.replace("\"sig\":\"", "\"sig\":\"x"), Some("by another key")),
        ("another version", right.replace("v0.3+json\"", "v0.2+json\""), Some(none)),
        ("half of the bundle", right[..right.len() / 2].to_owned(), Some(none)),
        ("nothing", String::new(), Some(none)),
        ("too much", right.clone() + &" ".repeat(5 << 20), Some(none)),
    ] {
        let scene = Scene::new();
        assert_eq!(&scene.digest, digest);
        scene.attach(BUNDLE, &[(BUNDLE, &bundle)]);
        match why {
            Some(why) => scene.refused(why),
            None => assert_eq!(scene.roll("").ok().digest(), *digest, "{what}"),
        }
    }
    for (artifact_type, layers) in [
        (BUNDLE, vec![]),
        (BUNDLE, vec![(BUNDLE, right.as_str()), (BUNDLE, right.as_str())]),
        (BUNDLE, vec![("application/json", right.as_str())]),
        ("application/spdx+json", vec![(BUNDLE, right.as_str())]),
    ] {
        let scene = Scene::new();
        scene.attach(artifact_type, &layers);
        scene.refused(none);
    }
}

#[test]
fn what_others_attach_takes_no_signature_away() {
    let scene = Scene::new();
    scene.refused("it has no signature");
    let right = bundle(&scene.digest, SIGNED, 1);
    let bad = scene.attach(BUNDLE, &[(BUNDLE, "nonsense")]);
    scene.attach(BUNDLE, &[(BUNDLE, &bundle(&scene.digest, SIGNED, 2))]);
    scene.attach("x/y", &[("a/b", "text")]);
    scene.refused("it is signed by another key");
    scene.attach(BUNDLE, &[(BUNDLE, &right)]);
    let ran = scene.roll("--verbose").ok();
    assert!(ran.stderr.contains(&format!("{bad} is passed over")), "{}", ran.stderr);
}

#[test]
fn lists_that_do_not_say_what_artifacts_are_are_read() {
    // As go-containerregistry's registry says it, and as nobody says anything.
    for kind in [json!({"artifactType": "application/vnd.oci.empty.v1+json"}), json!({})] {
        let scene = Scene::new();
        let mut entries = Vec::new();
        for by in [2, 1] {
            let digest = scene.attach(BUNDLE, &[(BUNDLE, &bundle(&scene.digest, SIGNED, by))]);
            let size = scene.registry.bytes("app", &digest).len();
            let mut entry = json!({"mediaType": MANIFEST, "digest": digest, "size": size});
            entry.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
            entries.push(entry);
        }
        let list = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
        scene.registry.hook(move |asked, _| {
            let headers = vec![("content-type", INDEX.to_owned())];
            asked.target.contains("/referrers/").then(|| Fault::Status(200, headers, list.clone()))
        });
        assert_eq!(scene.roll("").ok().digest(), scene.digest);
    }
}

#[test]
fn cosigns_old_layout_counts_too() {
    let digest = Scene::new().digest;
    let payload = |of: &str, kind: &str| {
        json!({"critical": {"identity": {"docker-reference": "elsewhere.example/app"},
            "image": {"docker-manifest-digest": of}, "type": kind}, "optional": {"a": "b"}})
        .to_string()
    };
    let right = payload(&digest, "cosign container image signature");
    let elsewhere = payload(&format!("sha256:{}", sha256(b"x")), "cosign container image signature");
    let by = |key_of: u8, text: &str| json!({SIGNATURE: STANDARD.encode(key(key_of).sign(text.as_bytes()))});
    let none = "it has no signature";
    let wrong_kind = payload(&digest, "atomic container signature");
    let cases = [
        (right.clone(), SIMPLE, by(1, &right), None),
        (right.clone(), SIMPLE, by(2, &right), Some("it is signed by another key")),
        (right.clone(), SIMPLE, by(1, &elsewhere), Some("it is signed by another key")),
        (elsewhere.clone(), SIMPLE, by(1, &elsewhere), Some(none)),
        (wrong_kind.clone(), SIMPLE, by(1, &wrong_kind), Some(none)),
        (right.clone(), "application/json", by(1, &right), Some(none)),
        (right.clone(), SIMPLE, json!({}), Some(none)),
        (right.clone(), SIMPLE, json!({SIGNATURE: "MEUC"}), Some("it is signed by another key")),
        (right.clone(), SIMPLE, json!({SIGNATURE: "no base64!"}), Some(none)),
        ("text".to_owned(), SIMPLE, by(1, "text"), Some(none)),
    ];
    for (payload, media_type, annotations, why) in cases.clone() {
        let scene = Scene::new();
        scene.old_layout(&[(payload, media_type, annotations)]);
        match why {
            Some(why) => scene.refused(why),
            None => assert_eq!(scene.roll("").ok().digest(), digest),
        }
    }
    // The one that is right among all others.
    let scene = Scene::new();
    let layers: Vec<_> = cases.into_iter().rev().map(|(p, m, a, _)| (p, m, a)).collect();
    scene.old_layout(&layers);
    scene.roll("").ok();
    // What a bundle says goes first, but takes nothing away.
    let scene = Scene::new();
    scene.attach(BUNDLE, &[(BUNDLE, &bundle(&digest, SIGNED, 2))]);
    scene.old_layout(&layers[layers.len() - 1..]);
    scene.roll("").ok();
    // An index under the tag is no signature.
    let scene = Scene::new();
    let tag = format!("{}.sig", digest.replace(':', "-"));
    scene.registry.put_manifest("app", &tag, INDEX, scene.registry.bytes("app", &scene.other));
    scene.refused(none);
}

#[test]
fn a_key_of_another_kind_is_refused_by_name() {
    let scene = Scene::new();
    // Made with: openssl ecparam -name secp384r1 -genkey | openssl ec -pubout
    let other = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE\n-----END PUBLIC KEY-----\n";
    for (text, why) in [
        (other, "it isn't ECDSA with P-256"),
        ("no key", "it is no PEM file"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "it is a CERTIFICATE, not a PUBLIC KEY",
        ),
    ] {
        scene.sandbox.write("sign.pub", text);
        scene.roll("").fails(11, &["read the public key", why, "sign.pub"]);
    }
}

#[test]
#[ignore = "integration: needs cosign"]
fn integration_what_cosign_signs_is_accepted_as_a_bundle_and_in_the_old_layout() {
    let cosign = tool("cosign");
    let cosign = cosign.display();
    for (format, api) in [("true", true), ("true", false), ("false", true)] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let sandbox = Sandbox::new().env("COSIGN_PASSWORD", SECRET);
        let (digest, _) = put_image(&registry, "app", "v1");
        put_image(&registry, "app", "latest");
        let repo = format!("{}/app", registry.host());
        sandbox.run("gimg key generate --output other").ok();
        sandbox.run(&format!("{cosign} generate-key-pair --output-key-prefix sign")).ok();
        let flags = "--yes --allow-insecure-registry --use-signing-config=false --tlog-upload=false";
        let flags = format!("{flags} --new-bundle-format={format} --key sign.key");
        sandbox
            .run(&format!("gimg rollback {repo} --to v1 --key sign.pub"))
            .fails(11, &["it has no signature"]);
        sandbox.run(&format!("{cosign} sign {flags} {repo}@{digest}")).ok();
        let is_old = registry.tags("app").keys().any(|tag| tag.ends_with(".sig"));
        assert_eq!(is_old, format == "false");
        sandbox.run(&format!("gimg rollback {repo} --to v1 --key other.pub")).fails(11, &["by another key"]);
        assert_eq!(
            sandbox.run(&format!("gimg rollback {repo} --to v1 --key sign.pub")).ok().digest(),
            digest
        );
    }
}
