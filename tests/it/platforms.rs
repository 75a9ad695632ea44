//! Platforms: what `all` means, that the CPU's variant reaches Go, and that a program of each runs.

use std::io::Read as _;

use crate::support::{Layout, Sandbox, emulator};

/// A program that needs nothing but the runtime: quick to compile for any platform.
fn tiny() -> Sandbox {
    Sandbox::new().file("go.mod", "module example.com/tiny\n\ngo 1.21\n").file(
        "main.go",
        "package main\n\nimport \"runtime\"\n\nfunc main() { println(\"tiny\", runtime.GOARCH) }\n",
    )
}

#[test]
fn all_means_every_platform_of_the_built_in_base() {
    let sandbox = tiny();
    sandbox.run("gimg build --platform all").ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/tiny"));
    let root = layout.root();
    let names: Vec<String> = root["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let variant = m["platform"]["variant"].as_str().map(|v| format!("/{v}")).unwrap_or_default();
            format!("{}{variant}", m["platform"]["architecture"].as_str().unwrap())
        })
        .collect();
    assert_eq!(names, ["amd64", "arm64", "arm/v7", "ppc64le", "riscv64", "s390x"]);
    let base = |m: &serde_json::Value| m["layers"][0]["digest"].clone();
    let layers: Vec<_> = layout.images().values().map(base).collect();
    assert!(layers.iter().all(|l| *l == layers[0]), "one base layer for all");
    for (platform, manifest) in layout.images() {
        let said = emulator::run(&sandbox, "gimg-out/tiny", &manifest, &[]);
        assert_eq!(said, format!("tiny {}\n", platform.split('/').nth(1).unwrap()));
    }
}

#[test]
fn variants_reach_the_program() {
    let sandbox = tiny().env("GOAMD64", "v1").env("GOARM", "5");
    for (platform, setting) in
        [("linux/amd64/v3", "GOAMD64=v3"), ("linux/arm/v6", "GOARM=6"), ("linux/386", "GO386=sse2")]
    {
        sandbox.run(&format!("gimg build --platform {platform} --compression none")).ok();
        let layout = Layout::at(sandbox.path("src/gimg-out/tiny"));
        let manifest = layout.root();
        let layer = manifest["layers"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar");
        let tar = layout.blob(layer["digest"].as_str().unwrap());
        let mut archive = tar::Archive::new(&tar[..]);
        let mut entry = archive
            .entries()
            .unwrap()
            .map(Result::unwrap)
            .find(|e| e.path_bytes().ends_with(b"/tiny"))
            .unwrap();
        let mut program = Vec::new();
        entry.read_to_end(&mut program).unwrap();
        std::fs::write(sandbox.path("src/program"), program).unwrap();
        sandbox.run("chmod 755 program").ok();
        let info = sandbox.run("go version -m program").ok().stdout;
        assert!(info.contains(setting), "{platform}: {info}");
        assert!(info.contains("CGO_ENABLED=0") && info.contains("-trimpath=true"), "{info}");
        let said = emulator::run(&sandbox, "gimg-out/tiny", &manifest, &[]);
        assert_eq!(said, format!("tiny {}\n", platform.split('/').nth(1).unwrap()));
    }
}

#[test]
fn compressions_hold_the_same_files() {
    let sandbox = tiny();
    let program = |method: &str| {
        let ran = sandbox.run(&format!("gimg build --compression {method}")).ok();
        let layout = Layout::at(sandbox.path("src/gimg-out/tiny"));
        let manifest = layout.root();
        let layers = manifest["layers"].as_array().unwrap();
        let config = layout.document(&manifest["config"]);
        (ran.digest(), layers[1]["mediaType"].clone(), layout.entries(&layers[1]), config["rootfs"].clone())
    };
    let gzip = program("gzip");
    for method in ["gzip:9", "zstd", "zstd:7", "none"] {
        let other = program(method);
        assert_eq!((&other.2, &other.3), (&gzip.2, &gzip.3), "{method}");
        assert_ne!(other.0, gzip.0, "{method}");
    }
    assert_eq!(program("zstd").1, "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(program("gzip:2").0, gzip.0, "the default level");
}

#[test]
fn static_has_linux_only_and_scratch_takes_what_is_named() {
    let sandbox = tiny();
    sandbox.run("gimg build --platform freebsd/amd64").fails(2, &["it has linux only", "--base scratch"]);
    sandbox.run("gimg build --base scratch").ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/tiny"));
    let manifest = layout.root();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    let config = layout.document(&manifest["config"]);
    assert_eq!(config["config"]["Env"], serde_json::json!(["PATH=/ko-app", "KO_DATA_PATH=/var/run/ko"]));
    sandbox.run("gimg build --base static@99").fails(5, &["this gimg has static@1"]);
    let pinned = sandbox.run("gimg build --base static@1").ok().digest();
    assert_eq!(sandbox.run("gimg build").ok().digest(), pinned);
}
