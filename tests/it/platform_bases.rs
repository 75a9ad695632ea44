//! `platformBases`: another base for single platforms.

use serde_json::{Value, json};

use crate::support::registry::TestRegistry;
use crate::support::{Layout, Sandbox, bases};

const NAME: &str = "org.opencontainers.image.base.name";
const DIGEST: &str = "org.opencontainers.image.base.digest";

fn module() -> Sandbox {
    Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.24\n")
        .file("cmd/app/main.go", "package main\n\nfunc main() {}\n")
        .file("cmd/tool/main.go", "package main\n\nfunc main() {}\n")
}

/// Platform and base name of each image of a layout's first entry, in the order of its index; `-` if it has no name.
fn stands(sandbox: &Sandbox) -> Vec<String> {
    let layout = Layout::at(sandbox.path("out"));
    let root = layout.root();
    let child = |d: &Value| {
        let p = &d["platform"];
        let variant = p["variant"].as_str().map(|v| format!("/{v}")).unwrap_or_default();
        let manifest = layout.document(d);
        let name = manifest["annotations"][NAME].as_str().unwrap_or("-").to_owned();
        let name = name.rsplit('/').next().unwrap().to_owned();
        format!("{}/{}{variant} {name}", p["os"].as_str().unwrap(), p["architecture"].as_str().unwrap())
    };
    root["manifests"].as_array().unwrap().iter().map(child).collect()
}

#[test]
fn a_platform_has_the_base_that_is_named_for_it() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let host = registry.host();
    let sandbox = module().file(
        ".gimg.yaml",
        &format!(
            "defaultBaseImage: {host}/base/two:v1\nplatformBases:\n  linux/arm64: {host}/base/docker-list:v1\n  \
             linux/s390x: {host}/base/odd:v1\n"
        ),
    );
    let build = "gimg build ./cmd/app -o oci:../out --platform";
    sandbox.run(&format!("{build} linux/s390x,linux/arm64,linux/amd64")).ok();
    assert_eq!(stands(&sandbox), ["linux/s390x odd:v1", "linux/arm64 docker-list:v1", "linux/amd64 two:v1"]);
    let layout = Layout::at(sandbox.path("out"));
    let root = layout.root();
    assert_eq!(root.get("annotations"), None, "an index of several bases names none");
    // Each child names the manifest of its own base.
    let arm = &layout.images()["linux/arm64"]["annotations"];
    let list = registry.bytes("base/docker-list", &registry.tags("base/docker-list")["v1"]);
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(arm[DIGEST], list["manifests"][1]["digest"]);
    assert_eq!(layout.document(&layout.images()["linux/s390x"]["config"])["architecture"], "s390x");
    // One base for all that are asked for is the index's too.
    sandbox.write(
        ".gimg.yaml",
        &format!("platformBases:\n  linux/amd64: {host}/base/two:v1\n  linux/arm64: {host}/base/two:v1\n"),
    );
    let asked = registry.asked("GET", "base/two/manifests/v1");
    sandbox.run(&format!("{build} linux/amd64,linux/arm64")).ok();
    assert_eq!(registry.asked("GET", "base/two/manifests/v1"), asked + 1, "each base is asked once");
    let annotations = Layout::at(sandbox.path("out")).root()["annotations"].clone();
    assert_eq!(
        annotations,
        json!({NAME: format!("{host}/base/two:v1"), DIGEST: registry.tags("base/two")["v1"]})
    );
    // What isn't asked for isn't fetched, and the built-in base is there for the others.
    let asked = registry.log().len();
    sandbox.run(&format!("{build} linux/riscv64")).ok();
    assert_eq!(registry.log().len(), asked);
}

#[test]
fn all_means_the_platforms_of_every_base() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let host = registry.host();
    let sandbox = module().file(
        ".gimg.yaml",
        &format!(
            "defaultBaseImage: {host}/base/two:v1\ndefaultPlatforms: all\nplatformBases:\n  linux/amd64: scratch\n  \
             linux/riscv64: static\n  windows/amd64: {host}/base/windows:v1\n"
        ),
    );
    sandbox.run("gimg build ./cmd/app -o oci:../out").ok();
    let expected = ["linux/amd64 -", "linux/arm64 two:v1", "linux/riscv64 -", "windows/amd64 windows:v1"];
    assert_eq!(stands(&sandbox), expected);
    let layout = Layout::at(sandbox.path("out"));
    let layers = |p: &str| layout.images()[p]["layers"].as_array().unwrap().len();
    assert_eq!((layers("linux/amd64"), layers("linux/riscv64")), (1, 2), "scratch, static");
    sandbox.run("gimg build ./cmd/app -o oci:../out --platform linux").ok();
    assert_eq!(stands(&sandbox), expected[..3]);
    // A base that lacks its platform says so.
    sandbox.write(".gimg.yaml", &format!("platformBases: {{linux/s390x: '{host}/base/two:v1'}}\n"));
    sandbox
        .run("gimg build ./cmd/app -o oci:../out --platform all")
        .fails(5, &["base/two:v1", "it has no linux/s390x", "hint: it has linux/amd64, linux/arm64"]);
}

#[test]
fn the_closer_word_beats_the_farther_one() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let host = registry.host();
    let file = |builds: &str| {
        format!(
            "baseImageOverrides:\n  example.com/m/cmd/app: {host}/base/index-annotated:v1\nplatformBases:\n  \
             linux/arm64: {host}/base/two:v1\nbuilds:\n- main: ./cmd/app\n{builds}"
        )
    };
    let sandbox = module();
    let built = |builds: &str, flags: &str| {
        sandbox.write(".gimg.yaml", &file(builds));
        sandbox
            .run(&format!("gimg build ./cmd/app -o oci:../out --platform linux/amd64,linux/arm64 {flags}"))
            .ok();
        stands(&sandbox).iter().map(|s| s.split_once(' ').unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(built("", ""), ["index-annotated:v1", "two:v1"], "over overrides");
    let own = format!("  platformBases:\n    linux/arm64: {host}/base/docker-list:v1\n");
    assert_eq!(built(&own, ""), ["index-annotated:v1", "docker-list:v1"], "the entry's over the file's");
    let base = format!("  base: {host}/base/attested:v1\n");
    assert_eq!(built(&base, ""), ["attested:v1"; 2], "the entry's base is for all its platforms");
    assert_eq!(built(&format!("{base}{own}"), ""), ["attested:v1", "docker-list:v1"]);
    let flag = format!("--base {host}/base/two:v1");
    assert_eq!(built(&format!("{base}{own}"), &flag), ["two:v1"; 2], "--base beats all");
    // Another program has the file's words only, and both are built in one run.
    sandbox.write(".gimg.yaml", &file(&own));
    let ran = sandbox
        .run("gimg build ./cmd/app ./cmd/tool --platform linux/amd64,linux/arm64 --dry-run --format json")
        .ok();
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    let bases = |image: usize| {
        let platforms = plan["images"][image]["platforms"].as_array().unwrap().clone();
        platforms.iter().map(|p| p["base"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(bases(0), [format!("{host}/base/index-annotated:v1"), format!("{host}/base/docker-list:v1")]);
    assert_eq!(bases(1), ["static@1".to_owned(), format!("{host}/base/two:v1")]);
    assert_eq!(plan["compiles"].as_array().unwrap().len(), 2, "one for each platform");
    let text = sandbox.run("gimg build ./cmd/tool --platform linux/amd64,linux/arm64 --dry-run").ok().stdout;
    assert!(
        text.contains("on static@1") && text.contains(&format!("on {host}/base/two:v1 at sha256:")),
        "{text}"
    );
}

#[test]
fn the_lock_file_has_them_too() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let host = registry.host();
    let sandbox = module().file(
        ".gimg.yaml",
        &format!(
            "platformBases: {{linux/arm64: '{host}/base/two:v1'}}\nbuilds:\n- main: ./cmd/app\n  platformBases: \
             {{linux/s390x: '{host}/base/odd:v1'}}\n"
        ),
    );
    sandbox.write("gimg.lock", "version = 1\n[bases]\n\"static\" = \"static@1\"\n");
    let build = "gimg build ./cmd/app -o oci:../out --platform linux/amd64,linux/arm64";
    let ran = sandbox.run(build).ok();
    let warnings: Vec<&str> = ran.stderr.lines().filter(|l| l.contains("has no entry")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("base/two:v1"), "what is used: {}", ran.stderr);
    let ran = sandbox.run("gimg lock").ok();
    let names: Vec<&str> = ran.lines().iter().map(|l| l.split_once(' ').unwrap().0).collect();
    assert_eq!(names, [format!("{host}/base/odd:v1"), format!("{host}/base/two:v1")]);
    assert!(!sandbox.run(build).ok().stderr.contains("warning"));
}

#[test]
fn pack_makes_the_same_of_them() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let sandbox = module()
        .file(".gimg.yaml", &format!("platformBases: {{linux/arm64: '{}/base/two:v1'}}\n", registry.host()));
    let mut pack = "gimg pack -o oci:../packed".to_owned();
    for arch in ["arm64", "amd64"] {
        let go = format!("go build -trimpath -o ../app-{arch} ./cmd/app");
        let status = sandbox.command(&go).env("CGO_ENABLED", "0").env("GOARCH", arch).status().unwrap();
        assert!(status.success());
        pack.push_str(&format!(" --binary linux/{arch}=../app-{arch}"));
    }
    let built = sandbox.run("gimg build ./cmd/app -o oci:../out --platform linux/arm64,linux/amd64").ok();
    assert_eq!(stands(&sandbox), ["linux/arm64 two:v1", "linux/amd64 -"]);
    assert_eq!(sandbox.run(&pack).ok().digest(), built.digest());
}

#[test]
fn mistakes_are_errors_with_their_key() {
    let sandbox = module();
    for (entry, words) in [
        ("linux: static", "\"linux\" isn't os/arch[/variant]"),
        ("all: static", "\"all\" isn't os/arch[/variant]"),
        ("'linux/amd64,linux/arm64': static", "isn't os/arch[/variant]"),
        ("linux/amd65: static", "unknown architecture \"amd65\""),
        ("lynux/amd64: static", "unknown operating system"),
        ("linux/arm64: static, linux/arm64/v8: scratch", "linux/arm64 stands twice"),
        ("linux/arm64: 'A b'", "A b"),
    ] {
        sandbox.write(".gimg.yaml", &format!("platformBases: {{{entry}}}\n"));
        sandbox.run("gimg build ./cmd/app -o oci:../out").fails(3, &["read platformBases", words]);
        sandbox.write(".gimg.yaml", &format!("builds:\n- main: ./cmd/app\n  platformBases: {{{entry}}}\n"));
        sandbox.run("gimg build ./cmd/app -o oci:../out").fails(3, &["read builds[0].platformBases", words]);
    }
    // It is gimg's own key.
    std::fs::remove_file(sandbox.path("src/.gimg.yaml")).unwrap();
    sandbox.write(".ko.yaml", "platformBases: {linux/arm64: static}\n");
    sandbox.run("gimg build ./cmd/app").fails(3, &["platformBases", "gimg's own"]);
    assert!(!sandbox.path("out").exists());
}
