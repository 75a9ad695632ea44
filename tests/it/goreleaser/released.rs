//! Beside GoReleaser itself, and with the files of projects that it releases.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{RUN, planned, program, project, started, tagged};
use crate::real::module;
use crate::support::registry::TestRegistry;
use crate::support::{Layout, Sandbox, root};

/// What only GoReleaser's own templates could get wrong here: every function, and the fields of git and targets.
const FIXTURE: &str = "\
version: 2
project_name: Shop
env:
  - TEAM=core
builds:
  - id: app
    main: ./cmd/app
    binary: app
    env:
      - CGO_ENABLED=0
      - MODE=$FROM-mode
    flags: [-trimpath]
    tags: [netgo]
    gcflags: ['all=-dwarf=false']
    goos: [linux]
    goarch: [amd64, arm64, arm]
    goarm: ['7']
    mod_timestamp: '{{ .CommitTimestamp }}'
    ldflags:
      - -s -w
      - '{{ if .IsSnapshot }}-X main.never=1{{ end }}'
      - -X main.version={{ .Version }}|{{ .Tag }}|{{ .Major }}.{{ .Minor }}.{{ .Patch }}|{{ .Prerelease }}|{{ .RawVersion }}
      - >-
        -X main.more={{ .ProjectName }}|{{ .Branch }}|{{ .Commit }}|{{ .ShortCommit }}|{{ .CommitDate }}|{{ .CommitTimestamp
        }}|{{ .Summary }}|{{ .PreviousTag }}|{{ .GitTreeState }}|{{ .IsGitDirty }}|{{ .Os }}|{{ .Arch }}|{{ .Arm }}|{{
        .Target }}|{{ .Amd64 }}|{{ .Arm64 }}|{{ .Env.TEAM }}|{{ .Env.MODE }}|{{ .Runtime.Goos }}|{{ .TagSubject }}
      - >-
        -X main.functions={{ replace \"a.b.c\" \".\" \"-\" }}|{{ index (split \"x,y\" \",\") 1 }}|{{ tolower \"AbC\" }}|{{
        toupper \"AbC\" }}|{{ trim \" t \" }}|{{ trimprefix \"v1\" \"v\" }}|{{ trimsuffix \"1-rc\" \"-rc\" }}|{{ title
        \"one-two\" }}|{{ dir \"a/b/c\" }}|{{ dir \"c\" }}|{{ base \"a/b/\" }}|{{ incmajor
        \"v1.2.3\" }}|{{ incminor \"1.2.3\" }}|{{ incpatch \"1.2.3-rc1\" }}|{{ contains \"abc\" \"bc\" }}|{{ envOrDefault
        \"NONE\" \"or\" }}|{{ isEnvSet \"TEAM\" }}|{{ $m := map \"k\" \"v\" }}{{ index $m \"k\" }}|{{ indexOrDefault $m \"x\"
        \"y\" }}|{{ replace (englishJoin (list \"a\" \"b\" \"c\"))
        \" \" \"_\" }}|{{ urlPathEscape \"a-b/c+d\" }}|{{ .Version | printf \"%s\" }}
    overrides:
      - goos: linux
        goarch: arm64
        ldflags: ['-s', '-X main.version=arm64-{{ .Version }}']
";

#[test]
#[ignore = "integration: needs goreleaser"]
fn integration_gimg_compiles_what_goreleaser_compiles_and_packs_what_it_compiled() {
    let sandbox = project(FIXTURE);
    sandbox.git("remote add origin https://git.example/me/shop.git");
    sandbox.git("commit -q --allow-empty -m second");
    sandbox.git("tag -a -m second v1.3.0-rc.1");
    sandbox.run("goreleaser build --clean").ok();
    // What GoReleaser says it made, and where.
    let text = std::fs::read_to_string(sandbox.path("src/dist/artifacts.json")).unwrap();
    let artifacts: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut theirs = BTreeMap::new();
    for artifact in artifacts.iter().filter(|a| a["type"] == "Binary") {
        let arch = artifact["goarch"].as_str().unwrap();
        let platform = format!("linux/{arch}{}", if arch == "arm" { "/v7" } else { "" });
        theirs.insert(platform, artifact["path"].as_str().unwrap().to_owned());
    }
    assert_eq!(
        theirs,
        BTreeMap::from(
            [
                ("linux/amd64", "dist/app_linux_amd64_v1/app"),
                ("linux/arm/v7", "dist/app_linux_arm_7/app"),
                ("linux/arm64", "dist/app_linux_arm64_v8.0/app"),
            ]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
        ),
        "as docs/goreleaser.md has them"
    );
    let same = |layout: &Layout| {
        let images = layout.images();
        assert_eq!(images.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        for (platform, manifest) in &images {
            let (name, bytes) = program(layout, manifest);
            assert_eq!(name, "ko-app/app");
            let compiled = std::fs::read(sandbox.cwd().join(&theirs[platform])).unwrap();
            assert!(bytes == compiled, "{platform}: another program than GoReleaser's");
        }
    };
    let ran = sandbox.run(&format!("{RUN} -o oci:../built")).ok();
    let built = Layout::at(sandbox.path("built"));
    same(&built);
    // No second compile: the documented hook.
    let binaries = theirs.iter().map(|(platform, path)| format!("--binary {platform}={path}"));
    let line = format!("gimg pack {} -o oci:../packed", binaries.collect::<Vec<_>>().join(" "));
    sandbox.run(&line).ok();
    same(&Layout::at(sandbox.path("packed")));
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
#[ignore = "integration: needs goreleaser"]
fn integration_a_publisher_of_goreleaser_pushes_what_it_compiled() {
    let registry = TestRegistry::start();
    let page = std::fs::read_to_string(root().join("docs/goreleaser.md")).unwrap();
    let hook = page.split("<!-- hook -->").nth(1).and_then(|rest| rest.split("```yaml\n").nth(1));
    let hook = hook.and_then(|rest| rest.split("```").next()).expect("the hook of the page");
    let sandbox = project(&format!(
        "version: 2\nproject_name: app\nrelease: {{disable: true}}\nchangelog: {{disable: true}}\nbuilds:\n- id: app\n  main: \
         ./cmd/app\n  binary: app\n  env: [CGO_ENABLED=0]\n  flags: [-trimpath]\n  goos: [linux, darwin]\n  goarch: [amd64, \
         arm64]\n  ldflags: ['-s -X main.version={{{{ .Version }}}}']\n{hook}"
    ))
    .env("GIMG_REPO", &format!("{}/me", registry.host()));
    sandbox.git("remote add origin https://git.example/me/shop.git");
    let gimg = std::path::Path::new(env!("CARGO_BIN_EXE_gimg")).parent().unwrap().display().to_string();
    let path = format!("{gimg}:{}", std::env::var("PATH").unwrap());
    let sandbox = sandbox.env("PATH", &path);
    sandbox.run("goreleaser release --clean --skip=announce").ok();
    let name = format!("{}/me/app:1.2.3", registry.host());
    sandbox.run(&format!("crane --insecure pull --format=oci {name} ../pulled")).ok();
    let layout = Layout::at(sandbox.path("pulled"));
    assert_eq!(layout.images().into_keys().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    for (platform, file) in
        [("linux/amd64", "dist/app_linux_amd64_v1/app"), ("linux/arm64", "dist/app_linux_arm64_v8.0/app")]
    {
        let (_, bytes) = program(&layout, &layout.images()[platform]);
        assert!(bytes == std::fs::read(sandbox.cwd().join(file)).unwrap(), "{platform}");
    }
}

/// A module of the proxy as its repository has it at a release.
fn released(name: &str, tag: &str) -> Option<Sandbox> {
    let sandbox = module(name)?;
    tagged(&sandbox, tag);
    Some(sandbox)
}

#[test]
#[ignore = "integration: compiles for minutes"]
fn integration_kos_own_file_with_kos_makes_the_image_of_ko() {
    let Some(sandbox) = released("github.com/google/ko@v0.19.1", "v0.19.1") else { return };
    let run = "gimg build --config .goreleaser.yml --base static --platform linux/amd64";
    let named = sandbox.run(&format!("{run} --repo r.example/ko --push=false")).ok();
    assert!(named.stdout.starts_with("r.example/ko@sha256:"), "bare: {}", named.stdout);
    assert!(named.stderr.contains("before.hooks are not run [.goreleaser.yml:6:7]"), "{}", named.stderr);
    sandbox.run(&format!("{run} -o oci:../out")).ok();
    let layout = Layout::at(sandbox.path("out"));
    assert_eq!(started(&sandbox, &layout, "version").stdout, "0.19.1\n");
    let config = layout.document(&layout.root()["config"]);
    assert_eq!(config["config"]["Entrypoint"], json!(["/ko-app/ko"]));
}

#[test]
#[ignore = "integration: compiles for a minute"]
fn integration_go_containerregistrys_builds_are_images_of_eight_platforms() {
    let Some(sandbox) = released("github.com/google/go-containerregistry@v0.22.1", "v0.22.1") else { return };
    let run = "gimg build --config .goreleaser.yml";
    // A module of its own, which isn't in the module that the proxy has.
    sandbox.run(run).fails(3, &["builds[2] (krane)", "cmd/krane"]);
    let (images, _) = planned(&sandbox, &format!("{run} --id crane --id gcrane"));
    let all = ["amd64", "arm/v6", "arm64", "386", "s390x", "riscv64", "ppc64le", "loong64"];
    assert_eq!(images, [all, all].map(|list| list.map(|a| format!("linux/{a}"))));
    let ran = sandbox.run(&format!("{run} --id crane --id gcrane --platform linux/amd64")).ok();
    assert_eq!(ran.lines().len(), 2);
    for name in ["crane", "gcrane"] {
        let layout = Layout::at(sandbox.path(&format!("src/gimg-out/{name}")));
        assert_eq!(started(&sandbox, &layout, "version").stdout, "0.22.1\n");
    }
}

#[test]
#[ignore = "integration: compiles for a minute"]
fn integration_actionlints_file_of_anchors_and_quotes_makes_its_image() {
    let Some(sandbox) = released("github.com/rhysd/actionlint@v1.7.12", "v1.7.12") else { return };
    let (images, _) = planned(&sandbox, RUN);
    assert_eq!(
        images,
        [["linux/386", "linux/arm/v6", "linux/amd64", "linux/arm64"]],
        "of four builds one is for linux"
    );
    let ran = sandbox.run(&format!("{RUN} --platform linux/amd64 -o oci:../out")).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    let layout = Layout::at(sandbox.path("out"));
    let said = started(&sandbox, &layout, "-version").stdout;
    assert!(said.starts_with("1.7.12\ninstalled by downloading from release page\n"), "{said}");
}
