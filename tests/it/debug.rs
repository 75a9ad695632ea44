//! `--debug`: the debugger's layer and command, and that the debugger is the pinned one.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use gimg::plan::debug::{GO_MOD_SUM, MODULE, SUM, VERSION};
use serde_json::{Value, json};

use crate::support::{Layout, Sandbox, go_log};

/// Two small programs, the first with kodata.
fn module() -> Sandbox {
    let main = "package main\n\nfunc main() { println(1) }\n";
    Sandbox::new()
        .file("go.mod", "module example.com/small\n\ngo 1.21\n")
        .file("cmd/one/main.go", main)
        .file("cmd/one/kodata/a", "a")
        .file("cmd/two/main.go", main)
}

/// A sandbox with that module and a `go` that has a small program for Delve; it says that the module's sum is
/// `sum`, and writes down how it builds.
fn stubbed(sum: &str) -> Sandbox {
    let sandbox = module();
    let at = |name: &str| sandbox.path(name).display().to_string();
    for (name, text) in [
        ("delve/go.mod", "module github.com/go-delve/delve\n\ngo 1.25.0\n\nrequire a.example/b v1.0.0\n"),
        ("delve/go.sum", "a.example/b v1.0.0 h1:b=\n"),
        ("fake/go.mod", "module example.com/fake\n\ngo 1.21\n"),
        ("fake/main.go", "package main\n\nfunc main() { println(\"a debugger\") }\n"),
    ] {
        std::fs::create_dir_all(sandbox.path(name).parent().unwrap()).unwrap();
        std::fs::write(sandbox.path(name), text).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|d| d.join("go")).find(|p| p.is_file()).unwrap();
    let script = format!(
        r#"#!/bin/sh
case "$*" in
"mod download -json {MODULE}@{VERSION}") printf '{{"Dir":"{delve}","Sum":"{sum}"}}' ;;
*" -- {MODULE}/cmd/dlv")
    {{ echo "$*"; env | grep -E '^(CGO_ENABLED|GOARCH|GOFLAGS|GOOS|GOWORK)='; cat go.mod go.sum; }} >> {log}
    for word; do case "$word" in -o=*) out="${{word#-o=}}" ;; esac; done
    cd {fake} && exec {real} build -trimpath -o "${{out}}dlv" . ;;
*) exec {real} "$@" ;;
esac
"#,
        delve = at("delve"),
        log = at("delve.log"),
        fake = at("fake"),
        real = real.display(),
    );
    std::fs::create_dir(sandbox.path("bin")).unwrap();
    std::fs::write(sandbox.path("bin/go"), script).unwrap();
    std::fs::set_permissions(sandbox.path("bin/go"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{path}", at("bin"));
    sandbox.env("PATH", &path)
}

/// ko's command before the program.
fn entrypoint(program: &str) -> Value {
    json!([
        "/ko-app/dlv",
        "exec",
        "--listen=:40000",
        "--headless",
        "--log",
        "--accept-multiclient",
        "--api-version=2",
        "--",
        format!("/ko-app/{program}")
    ])
}

#[test]
fn the_debugger_has_a_layer_below_the_program_and_starts_it() {
    let sandbox = stubbed(SUM).env("GOFLAGS", "-modcacherw -tags=x");
    let line = "gimg build ./... --debug --platform linux/amd64,linux/arm64 --base scratch --sbom-dir sboms";
    sandbox.run(line).ok();
    for program in ["one", "two"] {
        let path = sandbox.path(&format!("src/sboms/{program}-linux-arm64.spdx.json"));
        let sbom: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let related = sbom["relationships"].as_array().unwrap();
        let debugger = related.iter().find(|r| r["comment"] == "at /ko-app/dlv").unwrap();
        assert_eq!(debugger["relatedSpdxElement"], "SPDXRef-Package-example.com-fake");
    }
    let programs = [("one", true), ("two", false)];
    let mut debuggers = Vec::new();
    for (program, has_kodata) in programs {
        let layout = Layout::at(sandbox.path("src/gimg-out").join(program));
        for (platform, manifest) in layout.images() {
            let config = layout.document(&manifest["config"]);
            assert_eq!(config["config"]["Entrypoint"], entrypoint(program), "{platform}");
            let layers = &manifest["layers"].as_array().unwrap()[usize::from(has_kodata)..];
            assert_eq!(layers.len(), 2);
            let entries = layout.entries(&layers[0]);
            let modes: Vec<_> = entries.iter().map(|(name, e)| (name.as_str(), e.mode)).collect();
            assert_eq!(modes, [("ko-app/", 0o755), ("ko-app/dlv", 0o555)]);
            let history = config["history"].as_array().unwrap();
            assert_eq!(history[history.len() - 2]["comment"], "Delve debugger, at /ko-app/dlv");
            debuggers.push((platform, layers[0]["digest"].clone()));
        }
    }
    assert_eq!(debuggers[0..2], debuggers[2..4], "one debugger for all programs");

    // One build for a platform, of a module of its own, without the user's flags.
    let log = std::fs::read_to_string(sandbox.path("delve.log")).unwrap();
    assert_eq!(log.matches("/cmd/dlv\n").count(), 2, "{log}");
    for line in [
        "build -mod=readonly -trimpath -buildvcs=false -ldflags=-s -w -o=",
        "CGO_ENABLED=0\n",
        "GOFLAGS=-modcacherw\n",
        "GOWORK=off\n",
        &format!("require {MODULE} {VERSION}\n\ngo 1.25.0\n\nrequire a.example/b v1.0.0\n"),
        &format!(
            "{MODULE} {VERSION} {SUM}\n{MODULE} {VERSION}/go.mod {GO_MOD_SUM}\na.example/b v1.0.0 h1:b=\n"
        ),
    ] {
        assert_eq!(log.matches(line).count(), 2, "{line:?} in\n{log}");
    }
}

#[test]
fn another_module_than_the_pinned_one_is_refused() {
    let sandbox = stubbed("h1:other=");
    sandbox
        .run("gimg build ./cmd/two --debug")
        .fails(8, &["fetch Delve", &format!("{MODULE}@{VERSION} has the sum h1:other=, not {SUM}")]);
    assert!(!sandbox.path("src/gimg-out").exists());
}

#[test]
fn a_module_that_can_not_be_had_is_said_with_what_to_try() {
    let sandbox = module();
    let empty = sandbox.path("home/mod").display().to_string();
    let sandbox = sandbox.env("GOPROXY", "off").env("GOMODCACHE", &empty);
    let hint = format!("go mod download {MODULE}@{VERSION}");
    sandbox.run("gimg build ./cmd/two --debug").fails(4, &["fetch Delve", "GOPROXY=off", &hint]);
}

#[test]
fn platforms_without_a_debugger_are_refused() {
    let sandbox = module();
    let line = "gimg build ./cmd/two --debug --base scratch --platform";
    for platform in ["windows/amd64", "linux/amd64,linux/s390x"] {
        let bad = platform.rsplit(',').next().unwrap();
        let why = format!("Delve is built for linux/amd64 and linux/arm64, not {bad}");
        sandbox.run(&format!("{line} {platform}")).fails(2, &[&why, "--platform"]);
    }
}

#[test]
fn optimizations_are_off_where_asked() {
    let sandbox = module();
    let log = go_log(&sandbox);
    let sandbox = log.sandbox(sandbox);
    let plain = sandbox.run("gimg build ./cmd/two").ok().digest();
    assert!(!log.text().contains("gcflags"));
    let off = sandbox.run("gimg build ./cmd/two --disable-optimizations").ok().digest();
    assert!(log.text().contains("build -trimpath -gcflags=all=-N -l "), "{}", log.text());
    assert_ne!(plain, off);
    let layout = Layout::at(sandbox.path("src/gimg-out/two"));
    let config = layout.document(&layout.root()["config"]);
    assert_eq!(config["config"]["Entrypoint"], json!(["/ko-app/two"]));
}

#[test]
#[ignore = "integration: fetches and compiles Delve"]
fn integration_delve_of_the_image_debugs_the_program() {
    let sandbox = module();
    let line = "gimg build ./cmd/two --debug --platform linux/amd64,linux/arm64 --output";
    let first = sandbox.run(&format!("{line} oci:one")).ok().digest();
    assert_eq!(sandbox.run(&format!("{line} oci:two")).ok().digest(), first, "the same digest twice");
    // Somewhere else, with flags of its own and an empty module cache.
    let other = module();
    let empty = other.path("home/mod").display().to_string();
    let other =
        other.env("GOMODCACHE", &empty).env("GOFLAGS", "-modcacherw -mod=mod").env("GO111MODULE", "auto");
    assert_eq!(other.run(&format!("{line} oci:three")).ok().digest(), first, "the same digest elsewhere");

    let layout = Layout::at(sandbox.path("src/one"));
    let manifest = &layout.images()["linux/amd64"];
    for layer in manifest["layers"].as_array().unwrap() {
        let hex = layer["digest"].as_str().unwrap().replace("sha256:", "");
        let root = sandbox.path("src/root");
        std::fs::create_dir_all(&root).unwrap();
        sandbox.run(&format!("tar -xzf one/blobs/sha256/{hex} -C {}", root.display())).ok();
    }
    if std::env::consts::ARCH != "x86_64" {
        println!("not run: the image is for amd64");
        return;
    }
    let root = sandbox.path("src/root");
    let version = Command::new(root.join("ko-app/dlv")).arg("version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert!(version.contains(&format!("Version: {}", VERSION.trim_start_matches('v'))), "{version}");
    // The debugger of the image stops the program of the image at a line of its source.
    let script = sandbox.path("src/script");
    std::fs::write(&script, "break main.main\ncontinue\nexit\n").unwrap();
    let ran = Command::new(root.join("ko-app/dlv"))
        .args(["exec", "--allow-non-terminal-interactive=true", "--init"])
        .arg(&script)
        .arg(root.join("ko-app/two"))
        .env("HOME", sandbox.path("home"))
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(said.contains("> [Breakpoint 1] main.main()"), "{said}");
}
