//! `gimg rebase`: what comes out is what a build on the new base gives, and nothing is compiled.

use serde_json::Value;

use crate::licences::text;
use crate::support::Sandbox;
use crate::support::canary::SECRET;
use crate::support::registry::TestRegistry;
use crate::verify::forged_predicate;

const STATEMENT: &str = "application/vnd.in-toto+json";
const SPDX: &str = "application/spdx+json";

/// A module with data, in a repository.
fn module() -> Sandbox {
    let sandbox = Sandbox::go("hello");
    sandbox.write("cmd/hello/kodata/greeting.txt", "hello\n");
    sandbox.write("LICENSE", &text("MIT"));
    sandbox.git("init -q -b main");
    sandbox.git("add .");
    sandbox.git("commit -q -m first");
    sandbox
}

/// Pushes a base for two platforms.
fn push_base(sandbox: &Sandbox, registry: &TestRegistry, flags: &str) -> String {
    let line = format!(
        "gimg build ./cmd/other --bare --repo {}/base --platform linux/amd64,linux/arm64 {flags}",
        registry.host()
    );
    sandbox.run(&line).ok().digest()
}

/// What `artifact_type` says of the image `digest`: the artifacts' digests.
fn said(registry: &TestRegistry, repo: &str, artifact_type: &str, about: &[String]) -> Vec<String> {
    let about_it = |artifact: &String| {
        let manifest: Value = serde_json::from_slice(&registry.bytes(repo, artifact)).unwrap();
        about.iter().any(|digest| manifest["subject"]["digest"] == **digest)
    };
    let mut all: Vec<String> = registry.artifacts(repo, artifact_type);
    all.retain(about_it);
    all.sort();
    all
}

/// The licence that the first SBOM of a repository says the program is under.
fn licence(registry: &TestRegistry, repo: &str) -> Value {
    let parsed = |digest: &str| -> Value { serde_json::from_slice(&registry.bytes(repo, digest)).unwrap() };
    let artifact = parsed(&registry.artifacts(repo, SPDX)[0]);
    let sbom = parsed(artifact["layers"][0]["digest"].as_str().unwrap());
    let packages = sbom["packages"].as_array().unwrap();
    packages.iter().find(|p| p["name"] == "example.com/hello").unwrap()["licenseDeclared"].clone()
}

#[test]
fn what_comes_out_is_what_a_build_on_the_new_base_gives() {
    for platforms in ["linux/amd64", "linux/amd64,linux/arm64"] {
        let registry = TestRegistry::start();
        let sandbox = module();
        let host = registry.host();
        let old = push_base(&sandbox, &registry, "");
        let build = format!(
            "gimg build ./cmd/hello --bare --base {host}/base --platform {platforms} --image-label team=blue \
             --image-annotation a.b=c --compression zstd --repo"
        );
        let was = sandbox.run(&format!("{build} {host}/org -t latest,v1")).ok().digest();
        // Of all that an image takes over from its base something is new.
        let new = push_base(
            &sandbox,
            &registry,
            "--image-label base=new --image-user 7 --image-annotation base.note=new --ldflags=-s",
        );
        let full = sandbox.run(&format!("{build} {host}/full -t latest")).ok().digest();
        assert_ne!(was, full);
        let before = registry.log().len();
        // No Go is there.
        let bare = sandbox.env("KO_GO_PATH", "/nonexistent/go");
        let ran = bare.run(&format!("gimg rebase {host}/org")).ok();
        assert_eq!(ran.stdout, format!("{host}/org@{full}\n"));
        let step = format!("from {host}/base:latest@{old} to {host}/base:latest@{new}");
        let back = format!("the way back: gimg rollback {host}/org:latest --to {was}");
        for text in [&step, &back] {
            assert!(ran.stderr.contains(text.as_str()), "{}", ran.stderr);
        }
        let tags = registry.tags("org");
        assert_eq!((&tags["latest"], &tags["v1"]), (&full, &was));
        assert_eq!(registry.incomplete(), Vec::<String>::new());
        // The own layers were read, none of the base.
        let read = registry.log().split_off(before);
        let layers = read.iter().filter(|a| a.method == "GET" && a.target.contains("/base/blobs/"));
        let own = |target: &str| registry.bytes("base", target.rsplit('/').next().unwrap()).starts_with(b"{");
        assert!(layers.clone().all(|a| own(&a.target)), "{:?}", layers.collect::<Vec<_>>());
        // The record and the SBOM are those of the build.
        let index: Value = serde_json::from_slice(&registry.bytes("org", &full)).unwrap();
        let children = index["manifests"].as_array().into_iter().flatten();
        let mut all: Vec<String> =
            children.map(|child| child["digest"].as_str().unwrap().to_owned()).collect();
        all.push(full.clone());
        for (sort, count) in [(STATEMENT, 1), (SPDX, platforms.split(',').count())] {
            let of = |repo| said(&registry, repo, sort, &all);
            assert_eq!(of("org").len(), count, "{sort}");
            assert_eq!(of("org"), of("full"), "{sort}");
        }
        assert_eq!(licence(&registry, "full"), "MIT");
        // Once more changes nothing, and what came out can be proved.
        let ran = bare.run(&format!("gimg rebase {host}/org --format json")).ok();
        let rebased: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&rebased["pushed"], &rebased["digest"]), (&false.into(), &full.into()));
        assert!(ran.stderr.contains("is on its newest base: nothing was moved"), "{}", ran.stderr);
        bare.without("KO_GO_PATH").run(&format!("gimg verify {host}/org")).ok();
    }
}

#[test]
fn the_tag_or_other_tags_move_to_another_base_and_a_digest_stays() {
    let registry = TestRegistry::start();
    let sandbox = module();
    let org = format!("{}/org", registry.host());
    let build =
        |flags: &str| sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {org} {flags}")).ok();
    let was = build("").digest();
    let scratch = sandbox.run("gimg build ./cmd/hello --base scratch --output oci:x").ok().digest();
    let ran = sandbox.run(&format!("gimg rebase {org} --base scratch --dry-run --format json")).ok();
    let rebased: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&rebased["digest"], &rebased["was"]), (&scratch.clone().into(), &was.clone().into()));
    let platform = &rebased["platforms"][0];
    assert_eq!((&platform["was"], &platform["base"]), (&"static@1".into(), &"scratch".into()));
    assert_eq!(registry.tags("org").len(), 1);
    sandbox.run(&format!("gimg rebase {org} --base scratch -t small,tiny")).ok();
    let tags = registry.tags("org");
    assert_eq!((&tags["latest"], &tags["small"], &tags["tiny"]), (&was, &scratch, &scratch));
    // And back: of what is named by its digest no tag moves.
    let ran = sandbox.run(&format!("gimg rebase {org}@{scratch} --base static")).ok();
    assert_eq!(ran.stdout, format!("{org}@{was}\n"));
    assert_eq!(registry.tags("org"), tags);
}

#[test]
fn the_data_of_an_older_gimg_is_left_for_that_of_this_one() {
    let registry = TestRegistry::start();
    let sandbox = module();
    let org = format!("{}/org", registry.host());
    let now = sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {org}")).ok().digest();
    forged_predicate(&registry, |predicate| {
        predicate["buildDefinition"]["externalParameters"]["platforms"][0]["base"]["name"] =
            "static@0".into();
    });
    let ran = sandbox.run(&format!("gimg outdated {org}")).ok();
    assert!(ran.stdout.contains("  base  static@0 -> static@1\n"), "{}", ran.stdout);
    let ran = sandbox.run(&format!("gimg rebase {org}")).ok();
    assert!(ran.stderr.contains("from static@0 to static@1"), "{}", ran.stderr);
    assert_eq!(ran.digest(), now);
}

#[test]
fn a_key_signs_only_what_was_signed() {
    let registry = TestRegistry::start();
    let sandbox = module().env("COSIGN_PASSWORD", SECRET);
    let org = format!("{}/org", registry.host());
    for name in ["sign", "other"] {
        sandbox.run(&format!("gimg key generate --output ../{name}")).ok();
    }
    let build = format!("gimg build ./cmd/hello --bare --repo {org}");
    sandbox.run(&build).ok();
    let rebase = format!("gimg rebase {org} --base scratch");
    sandbox.run(&format!("{rebase} --sign-key ../sign.key")).fails(11, &["it has no signature"]);
    sandbox.run(&format!("{build} --sign-key ../sign.key")).ok();
    sandbox.run(&format!("{rebase} --sign-key ../other.key")).fails(11, &["it is signed by another key"]);
    sandbox.run(&format!("{rebase} --key ../other.pub")).fails(11, &["it is signed by another key"]);
    let was = registry.tags("org");
    sandbox.run(&format!("{rebase} --key ../sign.pub --sign-key ../other.key")).ok();
    assert_ne!(registry.tags("org"), was);
    sandbox.run(&format!("gimg verify {org} --key ../other.pub")).ok();
    sandbox.run(&format!("gimg verify {org} --key ../sign.pub")).fails(11, &["it is signed by another key"]);
}

#[test]
fn what_can_not_do_with_another_base_stays() {
    let registry = TestRegistry::start();
    let sandbox = module();
    let org = format!("{}/org", registry.host());
    let base = push_base(&sandbox, &registry, "");
    let base = format!("{}/base@{base}", registry.host());
    let ca = String::from_utf8(crate::support::servers::ca().to_vec()).unwrap();
    sandbox.write("ca.pem", &ca);
    for (flags, to, code, words) in [
        ("--provenance=false", "scratch", 8, "no record of how it was built is attached to it"),
        ("--ca-cert ca.pem", "scratch", 3, "its CA certificates are in a file with those of its base"),
        (&format!("--base {base}"), "", 3, "its base is always the same"),
        (
            &format!("--base {base} --go-flag=-buildmode=pie"),
            "scratch",
            3,
            "asks for /lib64/ld-linux-x86-64.so.2",
        ),
        ("--ldflags -X=main.apiToken=hunter2", "scratch", 8, "it leaves out a secret"),
    ] {
        let tag = format!("t{}", words.len());
        let line = format!("gimg build ./cmd/hello --bare --repo {org} -t {tag} {flags}");
        let was = sandbox.run(&line).ok().digest();
        let to = if to.is_empty() { String::new() } else { format!("--base {to}") };
        let error = sandbox.run(&format!("gimg rebase {org}:{tag} {to}")).fails(code, &[words]);
        assert!(error.stderr.contains(&format!("rebase {org}:{tag}")), "{}", error.stderr);
        assert_eq!(registry.tags("org")[&tag], was, "{words}");
    }
    sandbox.run(&format!("gimg rebase {org}:nothing")).fails(10, &["not found"]);
}

#[test]
fn an_image_that_is_not_what_its_record_says_stays() {
    for (name, change, words) in [
        (
            "layer",
            "/runDetails/byproducts/2/digest/sha256",
            "its upper layers aren't those that its provenance names",
        ),
        ("program", "/runDetails/byproducts/0/digest/sha256", "isn't the program that its provenance names"),
        ("level", "/buildDefinition/internalParameters/layoutLevel", "it was made by other rules"),
        ("recipe", "/buildDefinition/externalParameters/compression", "use the recipe"),
    ] {
        let registry = TestRegistry::start();
        let sandbox = module();
        let org = format!("{}/org", registry.host());
        sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {org}")).ok();
        let was = registry.tags("org");
        forged_predicate(&registry, |predicate| {
            let place = predicate.pointer_mut(change).unwrap_or_else(|| panic!("{change}"));
            *place = match place {
                Value::String(text) => {
                    format!("{}{}", if text.starts_with('a') { 'b' } else { 'a' }, &text[1..]).into()
                }
                _ => 99.into(),
            };
        });
        let code = if name == "level" { 3 } else { 8 };
        sandbox.run(&format!("gimg rebase {org} --base scratch")).fails(code, &[words]);
        assert_eq!(registry.tags("org"), was, "{name}");
        assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
    }
}
