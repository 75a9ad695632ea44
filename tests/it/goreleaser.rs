//! GoReleaser's file as the configuration of a run, and programs that GoReleaser compiled.

mod released;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::canary::SECRET;
use crate::support::registry::TestRegistry;
use crate::support::{GoLog, Layout, Ran, Sandbox, go_log, read_tar_bytes};

const RUN: &str = "gimg build --config .goreleaser.yaml";

/// A module with two programs that print what the linker gave them, tagged v1.2.3 without changes.
fn project(goreleaser: &str) -> Sandbox {
    let main = "package main\n\nvar version, more, functions = \"none\", \"none\", \"\"\n\nfunc main() { println(version, more+functions) }\n";
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/me/Shop\n\ngo 1.24\n")
        .file(".gitignore", "dist/\ngimg-out/\n")
        .file("cmd/app/main.go", main)
        .file("cmd/tool/main.go", main)
        .file(".goreleaser.yaml", goreleaser);
    tagged(&sandbox, "v1.2.3");
    sandbox.env("FROM", "ci")
}

fn tagged(sandbox: &Sandbox, tag: &str) {
    sandbox.git("init -q -b trunk");
    sandbox.git("add -A");
    sandbox.git("commit -q -m first");
    sandbox.git(&format!("tag {tag}"));
}

fn logged(goreleaser: &str) -> (Sandbox, GoLog) {
    let sandbox = project(goreleaser);
    let log = go_log(&sandbox);
    (log.sandbox(sandbox), log)
}

/// The lines of `go build`, without what is made up for each run, sorted.
fn compiles(log: &GoLog) -> Vec<String> {
    let text = log.text();
    let builds = text.lines().filter(|l| l.starts_with("build "));
    let mut lines: Vec<String> = builds
        .map(|l| l.split(' ').filter(|w| !w.starts_with("-o=")).collect::<Vec<_>>().join(" "))
        .collect();
    lines.sort();
    lines
}

/// The program of an image: the file of its last layer.
fn program(layout: &Layout, manifest: &Value) -> (String, Vec<u8>) {
    let layer = manifest["layers"].as_array().unwrap().last().unwrap();
    let mut tar = Vec::new();
    let bytes = layout.blob(layer["digest"].as_str().unwrap());
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut tar).unwrap();
    read_tar_bytes(&tar).into_iter().find(|(name, _)| !name.ends_with('/')).unwrap()
}

/// Runs the program of the image for linux/amd64.
fn started(sandbox: &Sandbox, layout: &Layout, args: &str) -> Ran {
    let (_, bytes) = program(layout, &layout.images()["linux/amd64"]);
    let file = sandbox.path("home/program");
    std::fs::write(&file, bytes).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.run(&format!("{} {args}", file.display())).ok()
}

const KOS: &str = "\
version: 2
project_name: shop
env:
  - TEAM={{ .Env.FROM }}-team
builds:
  - id: app
    main: ./cmd/app
    flags: [-v]
    tags: [netgo, '{{ if .IsSnapshot }}snapshot{{ end }}']
    env: [CGO_ENABLED=0, 'GOAMD64=v3', 'MODE=$FROM']
    ldflags:
      - -s -w -X main.version={{ .Version }}
      - '{{ if .IsSnapshot }}-X main.never=1{{ end }}'
      - -X main.more={{ .Os }}/{{ .Arch }}-{{ .Env.MODE }}
kos:
  - id: app
    base_image: '{{ envOrDefault \"BASE\" \"scratch\" }}'
    platforms: [linux/arm64, linux/amd64]
    tags: ['{{ .Tag }}', 'v{{ .Major }}.{{ .Minor }}', '{{ if not .Prerelease }}latest{{ end }}', '{{ .Prerelease }}']
    repositories: ['{{ .Env.HOST }}/{{ .Env.TEAM }}/{{ tolower .ProjectName }}']
    bare: true
    user: '1000'
    creation_time: '{{ .CommitTimestamp }}'
    labels: {org.example.commit: '{{ .FullCommit }}', org.example.team: '{{ .Env.TEAM }}'}
    annotations: {org.example.tree: '{{ .GitTreeState }}'}
archives:
  - name_template: '{{ nobody }}'
";

#[test]
fn an_entry_of_kos_is_an_image_with_its_program_names_and_config() {
    let registry = TestRegistry::start();
    let (sandbox, log) = logged(KOS);
    let sandbox = sandbox.env("HOST", &registry.host());
    let commit = sandbox.git("rev-parse HEAD").stdout.trim().to_owned();
    let time: i64 = sandbox.git("show -s --format=%ct").stdout.trim().parse().unwrap();
    let ran = sandbox.run(&format!("{RUN} -o registry -o oci:../out")).ok();
    assert!(ran.stdout.starts_with(&format!("{}/ci-team/shop@sha256:", registry.host())), "{}", ran.stdout);
    for tag in ["v1.2.3", "v1.2", "latest"] {
        sandbox.run(&format!("crane --insecure manifest {}/ci-team/shop:{tag}", registry.host())).ok();
    }
    let listed = sandbox.run(&format!("crane --insecure ls {}/ci-team/shop", registry.host())).ok();
    assert_eq!(listed.lines().iter().filter(|t| !t.starts_with("sha256-")).count(), 3, "{}", listed.stdout);
    let lines = compiles(&log);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, arch) in lines.iter().zip(["amd64", "arm64"]) {
        assert_eq!(
            line,
            &format!(
                "build -v -tags=netgo, -trimpath -ldflags=-s -w -X main.version=1.2.3 -X main.more=linux/{arch}-ci -- \
                 example.com/me/Shop/cmd/app"
            )
        );
    }
    let layout = Layout::at(sandbox.path("out"));
    let root = layout.root();
    assert_eq!(root["annotations"]["org.example.tree"], "clean");
    let order: Vec<&Value> =
        root["manifests"].as_array().unwrap().iter().map(|m| &m["platform"]["architecture"]).collect();
    assert_eq!(order, ["arm64", "amd64"]);
    for manifest in layout.images().values() {
        let config = layout.document(&manifest["config"]);
        assert_eq!(
            config["config"]["Labels"],
            json!({"org.example.commit": commit, "org.example.team": "ci-team"})
        );
        assert_eq!(
            (&config["config"]["User"], &config["config"]["Entrypoint"]),
            (&json!("1000"), &json!(["/ko-app/app"]))
        );
        let created = sandbox.run(&format!("date -u -d @{time} +%Y-%m-%dT%H:%M:%SZ")).ok();
        assert_eq!(config["created"], created.stdout.trim(), "as creation_time says");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 1, "on scratch");
    }
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}

#[test]
fn flags_and_the_environment_beat_the_file() {
    let (sandbox, log) = logged(KOS);
    let sandbox = sandbox.env("KO_DOCKER_REPO", "r.example/other").env("SOURCE_DATE_EPOCH", "86400");
    let line = format!(
        "{RUN} --platform linux/amd64 --base static --tags one --ldflags -s --image-user 7 -B -o oci:../out"
    );
    let ran = sandbox.run(&line).ok();
    assert!(ran.stdout.starts_with("oci:../out@sha256:"), "{}", ran.stdout);
    let named = sandbox.run(&format!("{RUN} --platform linux/amd64 --push=false -t one -B")).ok();
    assert!(named.stdout.starts_with("r.example/other/app:one@"), "{}", named.stdout);
    assert!(compiles(&log)[0].contains("-trimpath -ldflags=-s --"), "{}", log.text());
    let layout = Layout::at(sandbox.path("out"));
    let config = layout.document(&layout.root()["config"]);
    assert_eq!(config["config"]["User"], "7");
    assert_eq!(config["created"], "1970-01-02T00:00:00Z");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2, "on static");
}

const BUILDS: &str = "\
builds:
  - <<: &all
      main: ./cmd/app
      binary: shop-{{ .Version }}
      env: [CGO_ENABLED=0]
      flags: [-trimpath]
      ldflags: ['-X main.version={{ .Tag }}']
    id: linux
    goos: [linux, windows]
    goarch: [386, amd64, arm, arm64]
    goarm: [6, 7]
    goamd64: [v1, v3]
    ignore:
      - {goos: linux, goarch: arm, goarm: '6'}
      - {goos: windows}
    overrides:
      - {goos: linux, goarch: arm64, ldflags: ['-X main.version=arm'], flags: [-v], env: [GOARM64=v9.9, GOFIPS140=off]}
  - <<: *all
    id: mac
    goos: [darwin]
  - id: tool
    main: ./cmd/tool/main.go
    targets: [linux_riscv64, darwin_arm64]
    ldflags: -w
";

/// What a dry run says: for each image its platforms, and each `go build` by its platform.
fn planned(sandbox: &Sandbox, line: &str) -> (Vec<Vec<String>>, BTreeMap<String, Value>) {
    let ran = sandbox.run(&format!("{line} --dry-run --format json")).ok();
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let platforms = |image: &Value| -> Vec<String> {
        image["platforms"].as_array().unwrap().iter().map(|p| text(&p["platform"])).collect()
    };
    let images = plan["images"].as_array().unwrap().iter().map(platforms).collect();
    let compiles = plan["compiles"].as_array().unwrap().iter();
    (images, compiles.map(|c| (text(&c["platform"]), c.clone())).collect())
}

#[test]
fn without_kos_every_build_for_linux_is_an_image_of_its_own_platforms() {
    let (sandbox, log) = logged(BUILDS);
    let (images, compiles_of) = planned(&sandbox, RUN);
    assert_eq!(
        images,
        [
            &["linux/386", "linux/amd64", "linux/amd64/v3", "linux/arm/v7", "linux/arm64"][..],
            &["linux/riscv64"]
        ]
    );
    let word = |platform: &str, word: &str| {
        compiles_of[platform]["argv"].as_array().unwrap().iter().any(|w| w.as_str() == Some(word))
    };
    assert!(word("linux/riscv64", "-ldflags=-w") && word("linux/386", "-ldflags=-X main.version=v1.2.3"));
    assert_eq!(compiles_of["linux/amd64/v3"]["env"]["GOAMD64"], "v3");
    // The override of one target; what the target decides isn't for env to say, as in GoReleaser.
    assert!(word("linux/arm64", "-ldflags=-X main.version=arm") && word("linux/arm64", "-v"));
    assert_eq!(compiles_of["linux/arm64"]["env"]["GOARM64"], "v8.0");
    assert_eq!(compiles_of["linux/arm64"]["env"]["GOFIPS140"], "off");
    assert!(!word("linux/arm/v7", "-v") && compiles_of["linux/arm/v7"]["env"]["GOFIPS140"].is_null());
    // The command line names platforms for all, and programs.
    let ran = sandbox.run(&format!("{RUN} --platform linux/amd64,linux/arm64")).ok();
    let names: Vec<&str> = ran.lines().iter().map(|l| l.split('@').next().unwrap()).collect();
    assert_eq!(names, ["oci:gimg-out/app", "oci:gimg-out/tool"]);
    let app = Layout::at(sandbox.path("src/gimg-out/app"));
    let config = app.document(&app.images()["linux/amd64"]["config"]);
    assert_eq!(config["config"]["Entrypoint"], json!(["/ko-app/shop-1.2.3"]));
    assert_eq!(started(&sandbox, &app, "").stderr, "v1.2.3 none\n");
    let lines = compiles(&log);
    let of = |word: &str| lines.iter().filter(|l| l.contains(word)).count();
    assert_eq!(
        (lines.len(), of("-ldflags=-X main.version=v1.2.3 --"), of("-ldflags=-w --")),
        (4, 1, 2),
        "{lines:?}"
    );
    assert_eq!(of("build -v -trimpath -ldflags=-X main.version=arm --"), 1, "{lines:?}");
    let chosen = sandbox.run(&format!("{RUN} --platform linux/amd64 ./cmd/tool -o oci:../one")).ok();
    assert_eq!(chosen.lines().len(), 1);
    assert!(!chosen.stderr.contains("warning"), "{}", chosen.stderr);
    assert_eq!(Layout::at(sandbox.path("one")).images().into_keys().collect::<Vec<_>>(), ["linux/amd64"]);
    assert_eq!(planned(&sandbox, &format!("{RUN} --id tool")).0, [["linux/riscv64"]]);
    sandbox.run(&format!("{RUN} --id mac")).fails(2, &["--id mac", "it has linux, tool"]);
    sandbox.run("gimg build --id tool").fails(2, &["--id", "--config .goreleaser.yaml"]);
}

#[test]
fn a_build_that_says_nothing_is_goreleasers_default() {
    let sandbox =
        project("version: 2\nproject_name: app\nbuilds:\n- main: ./cmd/app\n").env("SOURCE_DATE_EPOCH", "0");
    assert_eq!(planned(&sandbox, RUN).0, [["linux/amd64", "linux/arm64", "linux/386"]]);
    let ran = sandbox.run(&format!("{RUN} --platform linux/amd64 -o oci:../out")).ok();
    assert!(!ran.stderr.contains("will differ"), "{}", ran.stderr);
    let layout = Layout::at(sandbox.path("out"));
    assert_eq!(started(&sandbox, &layout, "").stderr, "1.2.3 none\n");
    let now = sandbox.without("SOURCE_DATE_EPOCH").run(&format!("{RUN} --dry-run")).ok();
    assert!(now.stderr.contains(".Date") && now.stderr.contains("SOURCE_DATE_EPOCH"), "{}", now.stderr);
}

#[test]
fn what_cannot_be_read_or_evaluated_is_named_with_its_place() {
    let sandbox = project("");
    for (text, code, words) in [
        (
            "builds:\n- ldflag: [-s]\n",
            3,
            &["unknown key \"ldflag\" in builds[0]", ".goreleaser.yaml:2:3", "ldflags"][..],
        ),
        ("kos:\n- base: x\n", 3, &["unknown key \"base\" in kos[0]", ".goreleaser.yaml:2:3"]),
        (
            "builds:\n- main: ./cmd/app\n  ldflags:\n  - '{{ readFile \"x\" }}'\n",
            3,
            &["no function readFile", ":4:5"],
        ),
        ("builds:\n- main: ./cmd/app\n  ldflags:\n  - '{{ nobody }}'\n", 3, &["no function nobody", ":4:5"]),
        (
            "builds:\n- main: ./cmd/app\n  ldflags:\n  - '{{ .Nothing }}'\n",
            3,
            &["there is no .Nothing", ":4:5"],
        ),
        ("builds:\n- main: ./cmd/app\n  env: ['A={{ .Env.NONE }}']\n", 3, &["NONE not set", ":3:9"]),
        ("builds:\n- main: ./cmd/app\n  env: [A]\n", 3, &["isn't NAME=value", ":3:9"]),
        ("builds:\n- main: ./cmd/app\n  binary: '{{ .Os }}'\n", 3, &["there is no .Os", ":3:11"]),
        ("builds:\n- main: ./cmd/app\n  builder: rust\n", 3, &["no builder rust"]),
        ("builds:\n- main: ./cmd/app\n  tool: go1.20\n", 3, &["builds[0].tool", ":3:9", "KO_GO_PATH"]),
        ("builds:\n- main: ./cmd/app\n  goos: [darwin]\n", 3, &["no build is of a Go program for linux"]),
        (
            "builds:\n- main: ./cmd/app\n  goarch: [arm]\n  goarm: ['7,softfloat']\n",
            3,
            &["7,softfloat of arm", ":4:11"],
        ),
        ("builds:\n- main: ./cmd/...\n", 3, &["may be several programs", ":2:9"]),
        (
            "builds:\n- main: ./cmd/app\n  env: {A: b}\n",
            3,
            &["builds[0].env: it takes a list of texts", ":3:8"],
        ),
        ("kos:\n- build: none\n", 3, &["no build with the id \"none\"", ":2:10"]),
        ("kos:\n- base_image: '{{ .Version }}'\n", 3, &["there is no .Version", ":2:15", "read before git"]),
        ("kos:\n- base_image: 'UPPER/x'\n", 3, &["UPPER", ":2:15"]),
        ("kos:\n- platforms: [linux/amd65]\n", 3, &["amd65", ":2:15"]),
        ("kos:\n- user: 'a:b:c'\n", 3, &["isn't user[:group]", ":2:9"]),
        ("kos:\n- sbom: xml\n", 3, &["not \"xml\"", ":2:9"]),
        (
            "kos:\n- main: ./cmd/app\n  tags: ['{{ .Prerelease }}']\n",
            3,
            &["tags are all empty", ":3:10", "--tags"],
        ),
        ("kos:\n- main: ./cmd/app\n  creation_time: now\n", 3, &["isn't a time in seconds", ":3:18"]),
        (
            "builds:\n- {id: a, main: ./cmd/app, goos: [linux]}\n- {id: b, main: ./cmd/app/main.go, goos: [linux]}\n",
            3,
            &["builds[0] and builds[1] are for the same program", ":3:3", "--id"],
        ),
        ("builds:\n- <<: x\n", 3, &["<< takes maps"]),
        ("builds: x\n", 3, &["builds: it takes a list", ":1:9"]),
    ] {
        sandbox.write(".goreleaser.yaml", text);
        let ran = sandbox.run(&format!("{RUN} --push=false")).fails(code, words);
        assert!(ran.stderr.contains(".goreleaser.yaml:"), "{text}: {}", ran.stderr);
    }
    sandbox.write(
        ".goreleaser.yaml",
        "builds:\n- {main: ./cmd/app, color: red, ldflags: [-s], goarch: [amd64]}\n",
    );
    let lenient = sandbox.run(&format!("{RUN} --push=false --lenient")).ok();
    assert!(lenient.stderr.contains("unknown key \"color\" in builds[0] is ignored"), "{}", lenient.stderr);
}

#[test]
fn versions_need_a_tag_and_say_when_it_is_not_that_of_the_commit() {
    let sandbox = project(
        "builds:\n- {main: ./cmd/app, ldflags: ['-X main.version={{ .Version }}'], goarch: [amd64]}\n",
    );
    let quiet = sandbox.run(&format!("{RUN} --push=false")).ok();
    assert!(!quiet.stderr.contains("version of"), "{}", quiet.stderr);
    sandbox.write("new", "");
    let dirty = sandbox.run(&format!("{RUN} --push=false")).ok();
    assert!(dirty.stderr.contains("the version of v1.2.3, but the tree has changes"), "{}", dirty.stderr);
    sandbox.git("add new");
    sandbox.git("commit -q -m later");
    let later = sandbox.run(&format!("{RUN} --push=false")).ok();
    assert!(later.stderr.contains("the version of v1.2.3, but this is a later commit"), "{}", later.stderr);
    // Of several tags of a commit the highest counts, as in GoReleaser; its variable beats them.
    sandbox.git("tag v1.9.0");
    sandbox.git("tag v1.10.0");
    let version = |sandbox: &Sandbox| {
        sandbox.run(&format!("{RUN} --platform linux/amd64 -o oci:../out")).ok();
        started(sandbox, &Layout::at(sandbox.path("out")), "").stderr
    };
    assert_eq!(version(&sandbox), "1.10.0 none\n");
    let sandbox = sandbox.env("GORELEASER_CURRENT_TAG", "v1.9.0");
    assert_eq!(version(&sandbox), "1.9.0 none\n");
    let sandbox = sandbox.without("GORELEASER_CURRENT_TAG");
    sandbox.git("tag -d v1.2.3 v1.9.0 v1.10.0");
    sandbox.run(RUN).fails(3, &[".Version", "no tag leads to this commit", "GORELEASER_CURRENT_TAG"]);
    std::fs::remove_dir_all(sandbox.path("src/.git")).unwrap();
    sandbox.run(RUN).fails(3, &[".Version", "no git repository"]);
}

#[test]
fn what_is_not_done_and_changes_programs_is_a_warning_and_the_rest_is_silence() {
    let base = "builds:\n- {main: ./cmd/app, ldflags: [-s], goarch: [amd64]}\n";
    let silent = "before: {hooks: [go mod tidy, {cmd: go mod download}]}\narchives: [{formats: [zip]}]\nbrews: [{name: x}]\n\
                  checksum: {disable: true}\nsnapshot: {version_template: x}\nuniversal_binaries: [{replace: true}]\n";
    let sandbox = project(&format!("{silent}{base}"));
    let ran = sandbox.run(&format!("{RUN} --push=false")).ok();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    for (text, words) in [
        (
            "before:\n  hooks: [go mod tidy, go generate ./...]\n",
            "before.hooks are not run [.goreleaser.yaml:2:24]",
        ),
        ("upx:\n- enabled: true\n", "upx[0] isn't done"),
        ("gomod: {proxy: true}\n", "gomod.proxy isn't done"),
        ("git: {tag_sort: -version:creatordate}\n", "git.tag_sort has no effect"),
    ] {
        sandbox.write(".goreleaser.yaml", &format!("{text}{base}"));
        let ran = sandbox.run(&format!("{RUN} --push=false")).ok();
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    let hooks = base.replace("goarch:", "hooks: {pre: make, post: [{cmd: upx}]}, goarch:");
    sandbox.write(".goreleaser.yaml", &hooks);
    let ran = sandbox.run(&format!("{RUN} --push=false")).ok();
    for words in ["builds[0].hooks.pre are not run", "builds[0].hooks.post are not run"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
}

#[test]
fn kos_of_one_program_are_chosen_by_their_ids() {
    let sandbox = project(
        "builds: [{id: app, main: ./cmd/app, ldflags: [-s]}]\nkos:\n- {id: small, build: app, base_image: scratch, sbom: \
         none, repositories: [r.example/small], bare: true}\n- {id: usual, build: app, base_image: static, repositories: \
         [r.example/usual, r.example/copy], preserve_import_paths: true}\n",
    );
    sandbox.run(RUN).fails(3, &["kos[0] and kos[1] are for the same program", "--id"]);
    let small = sandbox.run(&format!("{RUN} --id small --push=false")).ok();
    assert!(small.stdout.starts_with("r.example/small@"), "{}", small.stdout);
    let usual = sandbox.run(&format!("{RUN} --id usual --push=false")).ok();
    let names: Vec<&str> = usual.lines().iter().map(|l| l.split('@').next().unwrap()).collect();
    let paths = ["usual", "copy"].map(|r| format!("r.example/{r}/example.com/me/shop/cmd/app"));
    assert!(names.iter().all(|name| paths.iter().any(|path| path == name)), "{names:?}");
    let other = sandbox.run(&format!("{RUN} --id smal")).fails(2, &["did you mean small?"]);
    assert_eq!(other.stdout, "");
}

#[test]
fn secrets_of_the_environment_are_never_shown() {
    let sandbox = project(
        "env: ['DEPLOY_TOKEN={{ .Env.THE_TOKEN }}']\nbuilds:\n- main: ./cmd/app\n  env: ['PASS=$THE_TOKEN{{ .Env.NONE }}']\n",
    )
    .env("THE_TOKEN", SECRET);
    // What runs in a sandbox is searched for the secret.
    sandbox.run(RUN).fails(3, &["NONE not set", "THE_TOKEN"]);
    for (key, code) in [("tags: ['{{ .Env.THE_TOKEN }}/x']", 2), ("creation_time: '{{ .Env.THE_TOKEN }}'", 3)]
    {
        sandbox.write(".goreleaser.yaml", &format!("kos:\n- main: ./cmd/app\n  {key}\n"));
        sandbox.run(&format!("{RUN} --push=false")).fails(code, &["***", ".goreleaser.yaml:3:"]);
    }
    sandbox.write(
        ".goreleaser.yaml",
        "kos:\n- {main: ./cmd/app, repositories: ['{{ .Env.THE_TOKEN }}:x/y@z']}\n",
    );
    sandbox.run(&format!("{RUN} --push=false")).fails(3, &["***", ".goreleaser.yaml:2:"]);
    sandbox.write(
        ".goreleaser.yaml",
        "env: ['DEPLOY_TOKEN={{ .Env.THE_TOKEN }}']\nbuilds:\n- main: ./cmd/app\n  goarch: [amd64]\n  env: ['PASS=$THE_TOKEN']\n  \
         ldflags: ['{{ if isEnvSet \"DEPLOY_TOKEN\" }}-s{{ end }}']\n",
    );
    let plan = sandbox.run(&format!("{RUN} --dry-run")).ok();
    assert!(
        plan.stdout.contains("-ldflags=-s") || plan.stderr.contains("-ldflags=-s"),
        "{}{}",
        plan.stdout,
        plan.stderr
    );
    sandbox.run(&format!("{RUN} -o oci:../out")).ok();
}

#[test]
fn pack_with_the_file_makes_the_image_of_build() {
    let sandbox = project(BUILDS);
    let built = sandbox.run(&format!("{RUN} --id linux --platform linux/amd64")).ok();
    let mut go = sandbox.command("go build -trimpath -o dist/app");
    go.args(["-ldflags=-X main.version=v1.2.3", "./cmd/app"]).env("CGO_ENABLED", "0").env("GOARCH", "amd64");
    assert!(go.output().unwrap().status.success());
    let line = "gimg pack --config .goreleaser.yaml --id linux --binary linux/amd64=dist/app";
    assert_eq!(sandbox.run(line).ok().stdout, built.stdout);
}
