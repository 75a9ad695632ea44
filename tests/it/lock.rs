//! `gimg lock`, and builds that go by what it wrote.

use serde_json::{Value, json};

use crate::support::registry::{Config, TestRegistry};
use crate::support::{Layout, Sandbox, bases};

fn module() -> Sandbox {
    Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.24\n")
        .file("cmd/app/main.go", "package main\n\nfunc main() {}\n")
}

fn lock_file(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path("src/gimg.lock")).unwrap()
}

/// Its lines with entries.
fn entries(sandbox: &Sandbox) -> Vec<String> {
    lock_file(sandbox).lines().filter(|l| l.starts_with('"')).map(str::to_owned).collect()
}

/// Lets a tag of the registry's bases name what another one names.
fn retag(registry: &TestRegistry, tag_of: &str, from: &str) -> String {
    let digest = registry.tags(&format!("base/{from}"))["v1"].clone();
    let index = registry.bytes(&format!("base/{from}"), &digest);
    let repo = format!("base/{tag_of}");
    let document: Value = serde_json::from_slice(&index).unwrap();
    for child in document["manifests"].as_array().unwrap() {
        let child_digest = child["digest"].as_str().unwrap();
        let bytes = registry.bytes(&format!("base/{from}"), child_digest);
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        for blob in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            let blob = registry.bytes(&format!("base/{from}"), blob["digest"].as_str().unwrap());
            registry.put_blob(&repo, blob);
        }
        registry.put_manifest(&repo, child_digest, manifest["mediaType"].as_str().unwrap(), bytes);
    }
    registry.put_manifest(&repo, "v1", document["mediaType"].as_str().unwrap(), index);
    digest
}

#[test]
fn a_locked_base_stays_when_its_tag_moves() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let name = format!("{}/base/two:v1", registry.host());
    let sandbox = module().file(".gimg.yaml", &format!("defaultBaseImage: {name}\n"));
    let before = registry.tags("base/two")["v1"].clone();
    let ran = sandbox.run("gimg lock").ok();
    assert_eq!(ran.stdout, format!("{name} {before}\n"));
    assert_eq!(entries(&sandbox), [format!("\"{name}\" = \"{before}\"")]);
    let build = "gimg build ./cmd/app --platform linux/amd64,linux/arm64 -o oci:../out";
    let first = sandbox.run(build).ok();

    let now = retag(&registry, "two", "index-annotated");
    assert_ne!(now, before);
    let asked = registry.asked("GET", "/manifests/v1") + registry.asked("HEAD", "/manifests/v1");
    let second = sandbox.run(build).ok();
    assert_eq!(second.stdout, first.stdout);
    assert!(!second.stderr.contains("warning"), "{}", second.stderr);
    let again = registry.asked("GET", "/manifests/v1") + registry.asked("HEAD", "/manifests/v1");
    assert_eq!(again, asked, "the tag is not looked at");
    let root = Layout::at(sandbox.path("out")).root();
    assert_eq!(root["annotations"]["org.opencontainers.image.base.name"], name.as_str());
    assert_eq!(root["annotations"]["org.opencontainers.image.base.digest"], before.as_str());
    // So do dry runs and pack.
    let plan = sandbox.run("gimg build ./cmd/app --dry-run --format json").ok();
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["images"][0]["base"], json!({"name": name, "digest": before}));
    let app = sandbox.path("app");
    let status =
        sandbox.command("go build -trimpath -o ../app ./cmd/app").env("CGO_ENABLED", "0").status().unwrap();
    assert!(status.success());
    let pack = format!("gimg pack --binary linux/amd64={} -o oci:../packed", app.display());
    sandbox.run(&pack).ok();
    let packed = Layout::at(sandbox.path("packed")).root();
    assert_eq!(packed["annotations"]["org.opencontainers.image.base.name"], name.as_str());

    // An entry stays until it is to be updated.
    let file = lock_file(&sandbox);
    assert_eq!(sandbox.run("gimg lock").ok().stdout, "");
    assert_eq!(lock_file(&sandbox), file);
    sandbox.run("gimg lock --check").ok();
    sandbox
        .run("gimg lock --update --check")
        .fails(3, &["check gimg.lock", &format!("{name} is now {now}"), "hint: gimg lock --update"]);
    assert_eq!(lock_file(&sandbox), file);
    let updated = sandbox.run("gimg lock --update --format json").ok();
    let updated: Value = serde_json::from_str(&updated.stdout).unwrap();
    let mut expected = json!({"file": "gimg.lock", "changed": [{"base": name, "pin": now, "was": before}]});
    expected["bases"][&name] = now.as_str().into();
    assert_eq!(updated, expected);
    assert_ne!(sandbox.run(build).ok().stdout, first.stdout);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn every_base_that_is_named_has_an_entry() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let host = registry.host();
    let tag = |name: &str| registry.tags(&format!("base/{name}"))["v1"].clone();
    let pinned = format!("{host}/base/alone@{}", tag("alone"));
    let sandbox = module().file(
        ".gimg.yaml",
        &format!(
            "defaultBaseImage: static\nbaseImageOverrides:\n  example.com/m/a: {host}/base/image:v1\n  \
             example.com/m/b: scratch\n  example.com/m/c: {pinned}\nbuilds:\n- main: ./cmd/app\n  base: {host}/base/two:v1\n"
        ),
    );
    // To know that entries are missing no registry is asked.
    let asked = registry.log().len();
    sandbox.run("gimg lock --check").fails(
        3,
        &["there is no such file", "no entry for static", &format!("no entry for {host}/base/two:v1")],
    );
    assert_eq!(registry.log().len(), asked);
    assert!(!sandbox.path("src/gimg.lock").exists());
    sandbox.run(&format!("gimg lock --base {host}/base/rich:v1")).ok();
    let line = |name: &str| format!("\"{host}/base/{name}:v1\" = \"{}\"", tag(name));
    assert_eq!(
        entries(&sandbox),
        [line("image"), line("rich"), line("two"), "\"static\" = \"static@1\"".to_owned()]
    );
    sandbox.run("gimg lock --check").ok();
    sandbox.run("gimg build ./cmd/app -o oci:../out --base static@1").ok();
    // A variable counts as the key that it stands for.
    let sandbox = sandbox.env("KO_DEFAULTBASEIMAGE", &format!("{host}/base/docker:v1"));
    sandbox
        .run("gimg lock --check")
        .fails(3, &["no entry for", "base/docker:v1", "hint: gimg lock writes it"]);
    // Only what is named is resolved anew, and what has no entry.
    let log = registry.log().len();
    sandbox.run(&format!("gimg lock --update {host}/base/two:v1")).ok();
    let manifests: Vec<String> = registry.log()[log..]
        .iter()
        .map(|r| r.target.clone())
        .filter(|t| t.contains("/manifests/"))
        .collect();
    assert!(manifests.iter().all(|t| t.contains("base/two") || t.contains("base/docker")), "{manifests:?}");
    assert_eq!(entries(&sandbox).len(), 5);
    sandbox
        .run(&format!("gimg lock --update {host}/base/none:v1"))
        .fails(2, &["neither the configuration nor gimg.lock names", "--base"]);
    sandbox.run("gimg lock --update scratch").fails(2, &["scratch has no tag to resolve"]);
}

#[test]
fn a_base_without_entry_is_used_with_one_warning() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let host = registry.host();
    let sandbox = module().file("cmd/tool/main.go", "package main\n\nfunc main() {}\n");
    // No file, no warning.
    let build = format!("gimg build ./cmd/app ./cmd/tool --base {host}/base/two:v1 -o oci:../out");
    assert!(!sandbox.run(&build).ok().stderr.contains("gimg.lock"));
    sandbox.run("gimg lock").ok();
    let ran = sandbox.run(&build).ok();
    let warnings: Vec<&str> = ran.stderr.lines().filter(|l| l.contains("warning")).collect();
    assert_eq!(warnings.len(), 1, "{}", ran.stderr);
    let words =
        format!("the base {host}/base/two:v1 has no entry in gimg.lock: gimg lock --base {host}/base/two:v1");
    assert!(warnings[0].contains(&words), "{}", ran.stderr);
    // What can't move needs none.
    let digest = &registry.tags("base/two")["v1"];
    for base in [format!("{host}/base/two@{digest}"), "scratch".to_owned(), "static".to_owned()] {
        let ran = sandbox.run(&format!("gimg build ./cmd/app --base {base} -o oci:../out")).ok();
        assert!(!ran.stderr.contains("warning"), "{base}: {}", ran.stderr);
    }
}

#[test]
fn a_digest_that_is_gone_is_the_bases_error() {
    let registry = TestRegistry::with(Config::default());
    bases::publish(&registry);
    let name = format!("{}/base/two:v1", registry.host());
    let sandbox = module().file(".gimg.yaml", &format!("defaultBaseImage: {name}\n"));
    let gone = format!("sha256:{}", "0".repeat(64));
    sandbox.write("gimg.lock", &format!("version = 1\n[bases]\n\"{name}\" = \"{gone}\"\n"));
    sandbox.run("gimg build ./cmd/app -o oci:../out").fails(
        5,
        &[
            &format!("use the base {name}"),
            "not found",
            &format!("hint: gimg.lock names this digest; gimg lock --update {name}"),
        ],
    );
    assert!(!sandbox.path("out").exists());
    sandbox.run(&format!("gimg lock --update {name}")).ok();
    sandbox.run("gimg build ./cmd/app -o oci:../out").ok();
    // A tag that isn't there says so plainly.
    sandbox
        .run(&format!("gimg lock --base {}/base/none:v1", registry.host()))
        .fails(5, &["base/none:v1", "not found"]);
}

#[test]
fn static_is_locked_to_its_data_without_network() {
    // Whatever is asked for over the network fails.
    let sandbox = module().env("HTTPS_PROXY", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1");
    assert_eq!(sandbox.run("gimg lock").ok().stdout, "static static@1\n");
    let expected = "version = 1\n\n[bases]\n\"static\" = \"static@1\"\n";
    assert!(lock_file(&sandbox).ends_with(expected), "{}", lock_file(&sandbox));
    // Nor are credentials read: a broken file elsewhere is no reason.
    std::fs::create_dir(sandbox.path("home/.docker")).unwrap();
    std::fs::write(sandbox.path("home/.docker/config.json"), "{").unwrap();
    sandbox.run("gimg lock --update").ok();
    sandbox.run("gimg lock --check").ok();
    sandbox.write("gimg.lock", "version = 1\n[bases]\nstatic = \"static@7\"\n");
    let words = ["use the base static", "locked to static@7, this gimg has static@1", "[gimg.lock]"];
    sandbox.run("gimg build ./cmd/app -o oci:../out").fails(5, &words);
    sandbox.run("gimg lock").fails(5, &words);
    sandbox.run("gimg lock --check").fails(5, &words);
    // Who names a version means it.
    sandbox.run("gimg build ./cmd/app --base static@1 -o oci:../out").ok();
    sandbox.run("gimg build ./cmd/app --base scratch -o oci:../out").ok();
    assert_eq!(sandbox.run("gimg lock --update static").ok().stdout, "static static@1 (was static@7)\n");
    sandbox.run("gimg build ./cmd/app -o oci:../out").ok();
    // Only scratch: an empty file, so that later bases draw warnings.
    let sandbox = sandbox.file(".gimg.yaml", "defaultBaseImage: scratch\n");
    std::fs::remove_file(sandbox.path("src/gimg.lock")).unwrap();
    assert_eq!(sandbox.run("gimg lock").ok().stdout, "");
    assert_eq!(entries(&sandbox), Vec::<String>::new());
}

#[test]
fn mistakes_in_the_file_have_their_line() {
    let sandbox = module();
    for (text, place, words) in [
        ("version = 1\n[bases]\n\"static\" = \"static\"\n", "[gimg.lock:3]", "isn't static@N"),
        ("version = 1\n[bases]\n<<<<<<< HEAD\n", "[gimg.lock:3]", "read the lock file"),
        ("version = 2\n", "[gimg.lock:1]", "version is 2"),
        (
            "version = 1\n[bases]\n\"debian:12\" = \"sha256:0\"\n",
            "[gimg.lock:3]",
            "docker.io/library/debian:12",
        ),
    ] {
        sandbox.write("gimg.lock", text);
        for command in ["gimg build ./cmd/app -o oci:../out", "gimg lock", "gimg lock --check"] {
            sandbox.run(command).fails(3, &["read the lock file", place, words]);
        }
    }
    assert!(!sandbox.path("out").exists());
    std::fs::write(sandbox.path("src/gimg.lock"), b"\xff").unwrap();
    sandbox.run("gimg lock").fails(3, &["it isn't UTF-8 text [gimg.lock]"]);
    std::fs::remove_file(sandbox.path("src/gimg.lock")).unwrap();
    std::fs::create_dir(sandbox.path("src/gimg.lock")).unwrap();
    sandbox.run("gimg lock").fails(9, &["read the lock file", "[gimg.lock]"]);
}
