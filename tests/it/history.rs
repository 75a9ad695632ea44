//! `gimg history`: what tags name, and where each of it comes from.

use serde_json::{Value, json};

use super::rollback::put_image;
use crate::support::canary::SECRET;
use crate::support::registry::{Config, Fault, TestRegistry};
use crate::support::{Ran, Sandbox, sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn images(ran: &Ran) -> Vec<Value> {
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    said["images"].as_array().unwrap().clone()
}

/// A sandbox whose module is a git repository at `v1.2.3`, and the commit.
fn with_git() -> (Sandbox, String) {
    let sandbox = Sandbox::go("hello");
    let git = |args: &str| {
        let who = "-c user.name=a -c user.email=a@example.com -c commit.gpgsign=false";
        sandbox.run(&format!("git {who} {args}")).ok().stdout.trim().to_owned()
    };
    for args in ["init -q -b main", "add .", "commit -q -m one", "tag v1.2.3"] {
        git(args);
    }
    let commit = git("rev-parse HEAD");
    (sandbox, commit)
}

#[test]
fn images_say_or_have_attached_where_they_come_from() {
    for referrers in [true, false] {
        let registry = TestRegistry::with(Config { referrers, ..Config::default() });
        let (sandbox, commit) = with_git();
        let repo = format!("{}/app", registry.host());
        let build = format!("gimg build ./cmd/hello --bare --repo {repo} --platform");
        // By provenance, by an SBOM of each format, by annotations, and not at all.
        let ways = [
            ("linux/amd64,linux/arm64 -t two,latest", "--sbom none"),
            ("linux/amd64,linux/arm64 -t spdx", "--provenance=false --image-label a=1"),
            ("linux/amd64 -t cyclonedx", "--provenance=false --sbom cyclonedx --image-label a=2"),
            ("linux/amd64 -t annotated", "--attest none --annotate-vcs --image-label a=3"),
            ("linux/amd64 -t silent", "--attest none --image-label a=4"),
        ];
        for (what, how) in ways {
            sandbox.run(&format!("{build} {what} {how}")).ok();
        }
        let before = registry.log().len();
        let ran = sandbox.run(&format!("gimg history {repo} --format json")).ok();
        let found = images(&ran);
        let of = |tag: &str| {
            let mut tagged =
                found.iter().filter(|image| image["tags"].as_array().unwrap().contains(&tag.into()));
            let image = tagged.next().unwrap().clone();
            assert!(tagged.next().is_none() && image["digest"] == registry.tags("app")[tag], "{image}");
            image
        };
        assert_eq!((found.len(), of("two")["tags"].clone()), (5, json!(["latest", "two"])));
        assert!(of("two")["mediaType"] == INDEX && of("silent")["mediaType"] == MANIFEST);
        for tag in ["two", "spdx", "cyclonedx"] {
            let image = of(tag);
            assert_eq!(
                (&image["version"], &image["revision"]),
                (&json!("v1.2.3"), &json!(commit)),
                "{image}"
            );
            assert!(image["go"].as_str().unwrap().starts_with("go1."), "{image}");
            assert!(image.get("modified").is_none() && image.get("signed").is_none(), "{image}");
        }
        let (annotated, silent) = (of("annotated"), of("silent"));
        assert_eq!((&annotated["revision"], annotated.get("go")), (&json!(commit), None));
        assert!(annotated["created"].as_str().unwrap().starts_with("20"), "{annotated}");
        assert_eq!(found[0], annotated, "the only one that has a time comes first");
        assert!(
            ["version", "revision", "go", "created"].iter().all(|key| silent.get(key).is_none()),
            "{silent}"
        );
        // Layers stay where they are; nothing is asked with the right to push.
        let layers: Vec<String> = {
            let manifest: Value =
                serde_json::from_slice(&registry.bytes("app", silent["digest"].as_str().unwrap())).unwrap();
            let layers = manifest["layers"].as_array().unwrap().iter();
            layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
        };
        let asked = registry.log().split_off(before);
        assert!(asked.iter().all(|l| ["GET", "HEAD"].contains(&&*l.method)));
        assert!(asked.iter().all(|l| layers.iter().all(|layer| !l.target.contains(layer.as_str()))));
        let text = sandbox.run(&format!("gimg history {repo}")).ok();
        let lines = text.lines();
        assert_eq!((lines.len(), lines[0].starts_with("CREATED")), (6, true), "{}", text.stdout);
        let line = lines.iter().find(|line| line.ends_with("  latest two")).unwrap();
        assert!(line.contains("v1.2.3") && line.contains(&commit[..12]) && line.contains("go1."), "{line}");
    }
}

#[test]
fn changes_that_nobody_committed_are_told() {
    let registry = TestRegistry::start();
    let (sandbox, commit) = with_git();
    sandbox.write("more.txt", "more");
    let repo = format!("{}/app", registry.host());
    sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {repo}")).ok();
    let found = images(&sandbox.run(&format!("gimg history {repo} --format json")).ok());
    assert_eq!((&found[0]["revision"], &found[0]["modified"]), (&json!(commit), &json!(true)));
    let text = sandbox.run(&format!("gimg history {repo}")).ok().stdout;
    assert!(text.contains(&format!("{}+dirty", &commit[..12])), "{text}");
}

#[test]
fn with_a_key_only_what_it_signed_counts() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").env("COSIGN_PASSWORD", SECRET);
    sandbox.run("gimg key generate --output ../sign").ok();
    sandbox.run("gimg key generate --output ../other").ok();
    let repo = format!("{}/app", registry.host());
    let build = format!("gimg build ./cmd/hello --bare --repo {repo} --platform linux/amd64,linux/arm64 -t");
    sandbox.run(&format!("{build} signed --sign-key ../sign.key")).ok();
    sandbox.run(&format!("{build} other --sign-key ../other.key --image-label a=1")).ok();
    sandbox.run(&format!("{build} plain --image-label a=2")).ok();
    let found = images(&sandbox.run(&format!("gimg history {repo} --format json --key ../sign.pub")).ok());
    let said: Vec<(&Value, &Value, bool)> =
        found.iter().map(|i| (&i["tags"][0], &i["signed"], i.get("go").is_some())).collect();
    let row = |tag: &str, signed: bool| (json!(tag), json!(signed), signed);
    let expected = [row("signed", true), row("plain", false), row("other", false)];
    let expected: Vec<_> = expected.iter().map(|(tag, signed, go)| (tag, signed, *go)).collect();
    assert_eq!(said, expected);
    let text = sandbox.run(&format!("gimg history {repo} --key ../sign.pub")).ok();
    assert!(
        text.lines()[0].contains("SIGNED") && text.lines()[1].ends_with("yes     signed"),
        "{}",
        text.stdout
    );
    let found = images(&sandbox.run(&format!("gimg history {repo} --format json")).ok());
    assert!(found.iter().all(|image| image.get("signed").is_none() && image.get("go").is_some()));
}

#[test]
fn many_tags_of_few_images_are_asked_for_once_each() {
    let registry = TestRegistry::start();
    let digests: Vec<String> = ["a", "b", "c"].map(|tag| put_image(&registry, "app", tag).0).to_vec();
    for number in 0..1500 {
        let digest = &digests[number % 3];
        registry.put_manifest("app", &format!("v{number}"), INDEX, registry.bytes("app", digest));
    }
    for end in ["", ".sig", ".att", ".sbom"] {
        let tag = format!("{}{end}", digests[0].replace(':', "-"));
        registry.put_manifest("app", &tag, INDEX, registry.bytes("app", &digests[1]));
    }
    let (sandbox, repo) = (Sandbox::new(), format!("{}/app", registry.host()));
    let ran = sandbox.run(&format!("gimg history {repo} --format json")).ok();
    let found = images(&ran);
    let order: Vec<&Value> = found.iter().map(|image| &image["digest"]).collect();
    assert_eq!(order, [&digests[2], &digests[1], &digests[0]], "v1499, v1498, v1497");
    assert!(found.iter().all(|image| image["tags"].as_array().unwrap().len() == 501));
    assert_eq!(found[0]["tags"][500], "v1499");
    assert_eq!(registry.asked("HEAD", "/v2/app/manifests/"), 1503);
    assert_eq!(registry.asked("GET", "/v2/app/manifests/sha256:"), 6);
    assert!(registry.peak() <= 8, "{}", registry.peak());
}

#[test]
fn a_limit_spares_requests_and_is_told() {
    let registry = TestRegistry::start();
    for number in 0..60 {
        put_image(&registry, "app", &format!("v{number}"));
    }
    let (sandbox, repo) = (Sandbox::new(), format!("{}/app", registry.host()));
    for (flag, shown, more) in
        [("", 50, 10), ("--limit 2", 2, 58), ("--limit 0", 60, 0), ("--limit 60", 60, 0)]
    {
        let before = registry.asked("GET", "/referrers/");
        let ran = sandbox.run(&format!("gimg history {repo} --format json {flag}")).ok();
        let said: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((images(&ran).len(), &said["more"]), (shown, &json!(more)), "{flag}");
        assert_eq!(images(&ran)[1]["tags"], json!(["v58"]));
        assert_eq!(ran.stderr.contains(&format!("{more} more: --limit 0")), more > 0, "{}", ran.stderr);
        // Beside each index and its first image.
        assert_eq!(registry.asked("GET", "/referrers/") - before, 2 * shown);
    }
}

#[test]
fn what_can_not_be_read_hides_nothing_else() {
    let registry = TestRegistry::start();
    let (one, _) = put_image(&registry, "app", "one");
    let (two, _) = put_image(&registry, "app", "two");
    let empty = registry.put_blob("app", "{}");
    let artifact = |layer: &str, kind: &str| {
        let digest = registry.put_blob("app", layer.to_owned());
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "layers": [{"mediaType": kind, "digest": digest, "size": layer.len()}],
            "subject": {"mediaType": INDEX, "digest": one, "size": 1}})
        .to_string()
    };
    // An artifact with a tag of its own is no image, but is there.
    let chart = artifact("chart", "application/vnd.cncf.helm.config.v1+json");
    registry.put_manifest("app", "chart", MANIFEST, chart);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let about_another = json!({"_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": sha256(b"x")}}], "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {"runDetails": {"byproducts": [{"annotations": {"go": "go9.9"}}]}}});
    for (layer, kind) in [
        (deep.as_str(), "application/spdx+json"),
        (r#"{"packages": {"name": "stdlib"}}"#, "application/spdx+json"),
        (&about_another.to_string(), "application/vnd.in-toto+json"),
        ("{}", "application/vnd.dev.sigstore.bundle.v0.3+json"),
    ] {
        let artifact = artifact(layer, kind);
        registry.put_manifest("app", &format!("sha256:{}", sha256(artifact.as_bytes())), MANIFEST, artifact);
    }
    // One index is lost on the way, each time.
    let lost = two.clone();
    registry.hook(move |asked, _| {
        let is_lost = asked.method == "GET" && asked.target.ends_with(&lost);
        is_lost.then(|| Fault::error(404, "MANIFEST_UNKNOWN", "gone"))
    });
    let (sandbox, repo) = (Sandbox::new(), format!("{}/app", registry.host()));
    let ran = sandbox.run(&format!("gimg history {repo} --format json --verbose")).ok();
    let found = images(&ran);
    let said: Vec<_> = found.iter().map(|i| (&i["tags"][0], i.get("mediaType"), i.get("created"))).collect();
    let (index, manifest, time) = (json!(INDEX), json!(MANIFEST), json!("2024-01-02T03:04:05Z"));
    assert_eq!(
        said,
        [
            (&json!("one"), Some(&index), Some(&time)),
            (&json!("two"), None, None),
            (&json!("chart"), Some(&manifest), None),
        ]
    );
    assert!(found.iter().all(|image| image.get("go").is_none()), "{found:?}");
    assert!(ran.stderr.contains(&format!("{two} is passed over")), "{}", ran.stderr);
    sandbox.run(&format!("gimg history {repo}:one")).fails(2, &["it names a tag, not a repository"]);
    sandbox.run(&format!("gimg history {repo}x")).fails(10, &["list the tags of", "not found"]);
}
