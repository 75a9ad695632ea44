//! `--cache-from registry` with a key: whose word counts.

use gimg::attest::{self, SIGNED, Subject};
use gimg::oci::Digest;
use gimg::sign::{self, PrivateKey, Randomness};
use serde_json::{Value, json};

use super::memo::{is_recalled, project};
use super::shared::{Machines, ONE, documents, repo};
use crate::support::registry::{Config, TestRegistry};
use crate::support::{Ran, Sandbox, sha256};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn key(of: u8) -> (PrivateKey, Randomness) {
    let randomness = Randomness { key: [of; 32], salt: [of; 32], nonce: [of; 24] };
    (PrivateKey::new(&randomness).unwrap(), randomness)
}

/// A project, and beside it the files of two keys without passwords.
fn with_keys() -> Sandbox {
    let sandbox = project().env("COSIGN_PASSWORD", "");
    for (name, of) in [("sign", 1), ("other", 2)] {
        let (key, randomness) = key(of);
        std::fs::write(sandbox.path(&format!("{name}.key")), key.write(b"", &randomness).unwrap()).unwrap();
        std::fs::write(sandbox.path(&format!("{name}.pub")), key.public().write().unwrap()).unwrap();
    }
    sandbox
}

/// A flag with one of those files.
fn flag(sandbox: &Sandbox, name: &str, file: &str) -> String {
    format!("--{name}={}", sandbox.path(file).display())
}

/// The only document, as an artifact.
fn document(registry: &TestRegistry) -> (String, Value) {
    let repo = repo(registry);
    let [digest] = documents(registry, &repo).try_into().unwrap();
    let artifact = serde_json::from_slice(&registry.bytes(&repo, &digest)).unwrap();
    (digest, artifact)
}

#[test]
fn only_what_the_key_signed_is_used() {
    for referrers in [true, false] {
        let sandbox = with_keys();
        let registry = TestRegistry::with(Config { referrers, ..Config::default() });
        let (sign, other) = (flag(&sandbox, "sign-key", "sign.key"), flag(&sandbox, "sign-key", "other.key"));
        let trust = flag(&sandbox, "cache-key", "sign.pub");
        let mut machines = Machines::new(&sandbox, &registry);
        let first = machines.run(ONE, &[]).ok();
        assert_eq!(document(&registry).1["layers"].as_array().unwrap().len(), 1);
        assert!(is_recalled(&machines.run(ONE, &[]).ok()));
        let told = |ran: &Ran| ran.stderr.contains("it isn't signed by the key that counts");
        // Nobody signed it, or somebody else.
        let ran = machines.run(ONE, &[&trust, "--verbose"]).ok();
        assert!(!is_recalled(&ran) && told(&ran) && ran.digest() == first.digest(), "{}", ran.stderr);
        assert_eq!(
            documents(&registry, &repo(&registry)).len(),
            1,
            "nothing is told that nobody would believe"
        );
        // Who signs doesn't vouch for what nobody vouches for.
        let ran = machines.run(ONE, &[&other, "--verbose"]).ok();
        assert!(!is_recalled(&ran) && told(&ran) && ran.digest() == first.digest(), "{}", ran.stderr);
        assert!(is_recalled(&machines.run(ONE, &[&other]).ok()));
        assert!(!is_recalled(&machines.run(ONE, &[&trust]).ok()));
        assert!(!is_recalled(&machines.run(ONE, &[&sign]).ok()));
        // Now it is there, for who reads and for who signs.
        for more in [&[trust.as_str()][..], &[&sign], &[&sign, &trust], &[&other, &trust]] {
            let ran = machines.run(ONE, more).ok();
            assert!(is_recalled(&ran) && ran.digest() == first.digest(), "{more:?}: {}", ran.stderr);
        }
        assert!(is_recalled(&machines.run(ONE, &[]).ok()), "whoever wants no signature takes it too");
    }
}

#[test]
fn a_signature_is_for_one_document_and_one_purpose() {
    let sandbox = with_keys();
    let registry = TestRegistry::start();
    let mut machines = Machines::new(&sandbox, &registry);
    let first = machines.run(ONE, &[&flag(&sandbox, "sign-key", "sign.key")]).ok();
    let (repo, (signed, artifact)) = (repo(&registry), document(&registry));
    assert_eq!(artifact["layers"][1]["mediaType"], BUNDLE);
    let blob = |media_type: &str, bytes: Vec<u8>| {
        let size = bytes.len();
        json!({"mediaType": media_type, "digest": registry.put_blob(&repo, bytes), "size": size})
    };
    let said = registry.bytes(&repo, artifact["layers"][0]["digest"].as_str().unwrap());
    let plain = zstd::decode_all(&said[..]).unwrap();
    // Says the same, but is another document.
    let swapped = blob("application/vnd.gimg.inputs.v1.json+zstd", zstd::encode_all(&plain[..], 1).unwrap());
    let (document, bundle) = (artifact["layers"][0].clone(), artifact["layers"][1].clone());
    assert_ne!(swapped, document);
    let about = |digest: &Value, kind: &str, by: u8| {
        let digest: Digest = digest.as_str().unwrap().parse().unwrap();
        let statement = attest::statement(&[Subject { name: None, digest }], kind, &json!({})).unwrap();
        blob(BUNDLE, sign::bundle(&statement, &key(by).0).unwrap())
    };
    const KIND: &str = "https://gimg.dev/inputs/v1";
    let swapped_signed = about(&swapped["digest"], KIND, 1);
    let cut = {
        let bytes = registry.bytes(&repo, bundle["digest"].as_str().unwrap());
        blob(BUNDLE, bytes[..bytes.len() / 2].to_vec())
    };
    let cases = [
        (json!([swapped, bundle]), false),
        (json!([swapped, about(&document["digest"], KIND, 1)]), false),
        (json!([document, about(&document["digest"], SIGNED, 1)]), false),
        (json!([document, about(&document["digest"], KIND, 2)]), false),
        (json!([document, cut]), false),
        (json!([document, blob("application/json", b"{}".to_vec())]), false),
        (json!([document]), false),
        (json!([document, bundle, bundle]), false),
        (json!([bundle, document]), false),
        // That the same document is used with its signature shows that it is the signature that is missing above.
        (json!([swapped, swapped_signed]), true),
        (json!([document, bundle]), true),
    ];
    registry.remove_manifest(&repo, &signed);
    let trust = flag(&sandbox, "cache-key", "sign.pub");
    for (layers, used) in cases {
        let planted = Value::Object(
            artifact
                .as_object()
                .unwrap()
                .clone()
                .into_iter()
                .chain([("layers".to_owned(), layers.clone())])
                .collect(),
        );
        let bytes = planted.to_string();
        let digest = format!("sha256:{}", sha256(bytes.as_bytes()));
        registry.put_manifest(&repo, &digest, MANIFEST, bytes);
        let ran = machines.run(ONE, &[&trust]).ok();
        assert_eq!(is_recalled(&ran), used, "{layers}: {}", ran.stderr);
        assert_eq!(ran.digest(), first.digest());
        for document in documents(&registry, &repo) {
            registry.remove_manifest(&repo, &document);
        }
    }
}

#[test]
fn a_key_that_can_not_be_read_ends_the_run_before_anything_is_built() {
    let sandbox = with_keys();
    let registry = TestRegistry::start();
    let mut machines = Machines::new(&sandbox, &registry);
    machines
        .run(ONE, &[&flag(&sandbox, "cache-key", "none.pub")])
        .fails(11, &["read the public key", "none.pub"]);
    machines
        .run(ONE, &[&flag(&sandbox, "cache-key", "sign.key")])
        .fails(11, &["it is a ENCRYPTED SIGSTORE PRIVATE KEY, not a PUBLIC KEY"]);
    assert!(registry.repositories().is_empty());
    let alone = machines.run("gimg build ./cmd/app", &[&flag(&sandbox, "cache-key", "sign.pub")]);
    assert_eq!(alone.code, 2, "{}", alone.stderr);
    assert!(alone.stderr.contains("--cache-from"), "{}", alone.stderr);
}
