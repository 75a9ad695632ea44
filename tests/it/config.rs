//! The configuration file where users meet it: what it changes, what beats it, what is wrong with it.

use serde_json::json;

use crate::support::canary::SECRET;
use crate::support::registry::{Fault, TestRegistry, When};
use crate::support::{GoLog, Layout, Sandbox, go_log, root};

/// A module with two programs that print a variable of the linker.
fn module() -> Sandbox {
    let main = "package main\n\nvar version = \"none\"\n\nfunc main() { println(version) }\n";
    Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.24\n")
        .file("cmd/app/main.go", main)
        .file("cmd/tool/main.go", main)
        .file("sub/go.mod", "module example.com/sub\n\ngo 1.24\n")
        .file("sub/cmd/deep/main.go", main)
}

/// The same with a `go` that writes down its calls.
fn logged() -> (Sandbox, GoLog) {
    let sandbox = module();
    let log = go_log(&sandbox);
    (log.sandbox(sandbox), log)
}

/// The lines of `go build`, without what is made up for each run.
fn builds(log: &GoLog) -> Vec<String> {
    let text = log.text();
    let builds = text.lines().filter(|l| l.starts_with("build "));
    builds.map(|l| l.split(' ').filter(|w| !w.starts_with("-o=")).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn an_entry_of_the_file_decides_how_its_program_is_built() {
    let (sandbox, log) = logged();
    sandbox.write(
        ".ko.yaml",
        "defaultLdflags: [-s]\ndefaultFlags: [-v]\nbuilds:\n- id: app\n  main: ./cmd/app\n  env: [GOAMD64=v2]\n  \
         flags: -x -v\n  ldflags: [-w, '-X main.version={{.Env.WHO}}-{{.Env.GOARCH}}']\n",
    );
    let sandbox = sandbox.env("WHO", "me");
    sandbox.run("gimg build ./cmd/app ./cmd/tool -o oci:../out").ok();
    // They run at a time; which begins first is not said.
    let mut found = builds(&log);
    found.sort();
    assert_eq!(
        found,
        [
            "build -v -trimpath -ldflags=-s -- example.com/m/cmd/tool",
            "build -x -v -trimpath -ldflags=-w -X main.version=me-amd64 -- example.com/m/cmd/app"
        ]
    );
    // A flag beats the entry, and then one run does for both.
    std::fs::remove_file(sandbox.path("go.log")).unwrap();
    sandbox.write(".ko.yaml", "builds:\n- main: cmd/app/main.go\n  ldflags: [-w]\n");
    sandbox.run("gimg build ./cmd/app ./cmd/tool --ldflags -s -o oci:../out").ok();
    assert_eq!(builds(&log), ["build -trimpath -ldflags=-s -- example.com/m/cmd/app example.com/m/cmd/tool"]);
}

#[test]
fn an_entry_in_another_module_is_found_by_its_import_path() {
    let (sandbox, log) = logged();
    sandbox.write(".ko.yaml", "builds:\n- dir: ./sub\n  main: ./cmd/deep\n  ldflags: -s\n");
    sandbox.run("gimg build ko://example.com/sub/cmd/deep -o oci:../out").ok();
    assert_eq!(builds(&log), ["build -trimpath -ldflags=-s -- example.com/sub/cmd/deep"]);
}

#[test]
fn flags_beat_variables_beat_the_file() {
    let registry = TestRegistry::start();
    let sandbox = module().file(
        ".ko.yaml",
        "defaultBaseImage: 127.0.0.1:1/missing\ndefaultPlatforms: [linux/s390x]\n\
         baseImageOverrides:\n  example.com/m/CMD/tool: 127.0.0.1:1/missing\n",
    );
    // The file's base is not there.
    sandbox.run("gimg build ./cmd/app -o oci:../out").fails(7, &["127.0.0.1:1/missing"]);
    let sandbox =
        sandbox.env("KO_DEFAULTBASEIMAGE", "scratch").env("KO_DEFAULTPLATFORMS", "linux/arm64,linux/arm");
    sandbox.run("gimg build ./cmd/app -o oci:../out").ok();
    let platforms: Vec<String> = Layout::at(sandbox.path("out")).images().into_keys().collect();
    assert_eq!(platforms, ["linux/arm/v7", "linux/arm64"]);
    // An override beats the default, from the file and from the variable; --base beats it too, as it doesn't in ko.
    sandbox.run("gimg build ./cmd/tool -o oci:../out").fails(7, &["127.0.0.1:1/missing"]);
    let platform =
        format!("gimg build ./cmd/tool --platform linux/riscv64 --base static --repo {}/r", registry.host());
    assert!(sandbox.run(&platform).ok().stdout.starts_with(&registry.host()));
}

#[test]
fn gimgs_file_wins_and_says_so() {
    let sandbox =
        module().file(".ko.yaml", "defaultBaseImage: scratch\n").file(".gimg.yaml", "compression: none\n");
    let ran = sandbox.run("gimg build ./cmd/app -o oci:../out").ok();
    assert!(ran.stderr.contains(".gimg.yaml counts, .ko.yaml does not"), "{}", ran.stderr);
    let manifest = Layout::at(sandbox.path("out")).root();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2, "static, not scratch");
    assert_eq!(manifest["layers"][1]["mediaType"], "application/vnd.oci.image.layer.v1.tar");
    // Named files count alone.
    let sandbox = sandbox.file("other/.ko.yaml", "builds: 3\n");
    sandbox
        .run("gimg build ./cmd/app --config other/.ko.yaml")
        .fails(3, &["builds: it takes a list", "other/.ko.yaml:1:9"]);
    let sandbox = sandbox.env("KO_CONFIG_PATH", "other");
    sandbox.run("gimg build ./cmd/app").fails(3, &["other/.ko.yaml:1:9"]);
    let sandbox = sandbox.env("KO_CONFIG_PATH", "nowhere.yaml");
    sandbox.run("gimg build ./cmd/app").fails(3, &["no such file [nowhere.yaml]"]);
}

#[test]
fn a_mistyped_key_is_an_error_with_its_place() {
    let sandbox = module().file(".ko.yaml", "builds:\n- main: ./cmd/app\n  ldflag: -s\n");
    sandbox
        .run("gimg build ./cmd/app -o oci:../out")
        .fails(3, &["unknown key \"ldflag\" in builds[0]", "[.ko.yaml:3:3]", "hint: did you mean ldflags?"]);
    assert!(!sandbox.path("out").exists());
    let ran = sandbox.run("gimg build ./cmd/app --lenient -o oci:../out").ok();
    assert!(
        ran.stderr.contains("warning: unknown key \"ldflag\" in builds[0] is ignored [.ko.yaml:3:3]"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_entry_for_nothing_is_a_warning_and_for_no_directory_an_error() {
    let sandbox = module().file(".ko.yaml", "builds:\n- main: ./cmd/tool\n- id: x\n  main: ./cmd\n");
    let ran = sandbox.run("gimg build ./cmd/tool -o oci:../out").ok();
    assert!(ran.stderr.contains("builds[1] (x) is for no program of this run"), "{}", ran.stderr);
    sandbox.write(".ko.yaml", "builds:\n- main: ./cmd/gone\n");
    sandbox.run("gimg build ./cmd/tool").fails(3, &["use builds[0]", "no directory", "cmd/gone"]);
}

#[test]
fn templates_that_ask_for_what_is_missing_are_errors() {
    let sandbox = module().file(".ko.yaml", "defaultLdflags: ['-X main.version={{.Env.NOPE}}']\n");
    sandbox.run("gimg build ./cmd/app").fails(3, &["environment variable NOPE not set", "ldflags"]);
    sandbox.write(".ko.yaml", "defaultFlags: ['{{if}}']\n");
    sandbox.run("gimg build ./cmd/app").fails(3, &["{{if}}"]);
    sandbox.write(".ko.yaml", "builds:\n- main: ./cmd/app\n  env: [GOOS=darwin]\n");
    sandbox.run("gimg build ./cmd/app").fails(3, &["GOOS=darwin in env names another target"]);
    sandbox.write(".ko.yaml", "builds:\n- main: ./cmd/app\n  flags: [-toolexec=x]\n");
    sandbox.run("gimg build ./cmd/app").fails(3, &["-toolexec is not allowed"]);
    sandbox.write(".ko.yaml", "builds:\n- main: ./cmd/app\n  env: [GOFLAGS=-toolexec=x]\n");
    sandbox.run("gimg build ./cmd/app").fails(3, &["-toolexec is not allowed", "GOFLAGS"]);
}

#[test]
fn git_is_asked_once_and_only_by_a_template() {
    let sandbox = module();
    let git = |line: &str| {
        let status =
            sandbox.command(&format!("git -c user.name=a -c user.email=a@b {line}")).status().unwrap();
        assert!(status.success(), "{line}");
    };
    git("init -q -b trunk");
    git("add .");
    git("commit -q -m first");
    git("tag v1.2.3");
    sandbox.write(
        ".gimg.yaml",
        "tags: ['{{.Git.Tag}}', '{{.Git.Branch}}']\nimage:\n  labels:\n    commit: '{{.Git.FullCommit}}'\n    state: \
         '{{if .Git.IsDirty}}dirty{{else}}clean{{end}}'\n",
    );
    let registry = TestRegistry::start();
    sandbox.run(&format!("gimg build ./cmd/app --buildvcs=false --bare --repo {}/app", registry.host())).ok();
    let tags: Vec<String> = registry.tags("app").into_keys().collect();
    assert_eq!(tags, ["trunk", "v1.2.3"]);
    // The file itself is untracked.
    let out = sandbox.run("gimg build ./cmd/app --buildvcs=false -o oci:../out").ok();
    let layout = Layout::at(sandbox.path("out"));
    let labels = &layout.document(&layout.root()["config"])["config"]["Labels"];
    assert_eq!(labels["state"], "dirty", "{}", out.stderr);
    assert_eq!(labels["commit"].as_str().unwrap().len(), 40);
}

#[test]
fn the_file_decides_what_the_image_says() {
    let sandbox = module().file(
        ".gimg.yaml",
        "image:\n  user: '1000'\n  workingDir: /data\n  env: {GREETING: 'hello {{.Env.WHO}}', PATH: /bin}\n  \
         exposedPorts: [8080, 53/udp]\n  volumes: [/data]\n  stopSignal: SIGINT\n  labels: {a: top, b: top}\n\
         builds:\n- main: ./cmd/app\n  binary: /usr/bin/the-app\n  with: [./cmd/tool]\n  image:\n    cmd: [serve, --all]\n    \
         entrypoint: [/sbin/init, --]\n    labels: {a: own}\n    healthcheck: {test: [/usr/bin/the-app, ping], interval: \
         1m30s, retries: 3}\n",
    );
    let sandbox = sandbox.env("WHO", "you");
    sandbox.run("gimg build ./cmd/app -o oci:../out --image-label c=flag").ok();
    let layout = Layout::at(sandbox.path("out"));
    let manifest = layout.root();
    let config = layout.document(&manifest["config"]);
    let run = &config["config"];
    assert_eq!(run["User"], "1000");
    assert_eq!(run["WorkingDir"], "/data");
    assert_eq!(run["Entrypoint"], json!(["/sbin/init", "--", "/usr/bin/the-app"]));
    assert_eq!(run["Cmd"], json!(["serve", "--all"]));
    assert_eq!(run["ExposedPorts"], json!({"8080/tcp": {}, "53/udp": {}}));
    assert_eq!(run["Volumes"], json!({"/data": {}}));
    assert_eq!(run["StopSignal"], "SIGINT");
    assert_eq!(run["Labels"], json!({"a": "own", "b": "top", "c": "flag"}));
    assert_eq!(
        run["Healthcheck"],
        json!({"Test": ["CMD", "/usr/bin/the-app", "ping"], "Interval": 90_000_000_000_u64, "Retries": 3})
    );
    let env = run["Env"].as_array().unwrap();
    assert!(env.contains(&json!("GREETING=hello you")) && env.contains(&json!("PATH=/bin")), "{env:?}");
    let entries = layout.entries(&manifest["layers"][1]);
    let names: Vec<&str> = entries.keys().map(String::as_str).collect();
    assert_eq!(names, ["usr/bin/the-app", "usr/bin/tool"], "no entry for directories of the base");
    assert!(entries.values().all(|e| e.mode == 0o555));
}

#[test]
fn a_flag_names_the_program() {
    let sandbox = module();
    sandbox.run("gimg build ./cmd/app --binary server -o oci:../out").ok();
    let layout = Layout::at(sandbox.path("out"));
    let manifest = layout.root();
    let names: Vec<String> = layout.entries(&manifest["layers"][1]).into_keys().collect();
    assert_eq!(names, ["ko-app/", "ko-app/server"]);
    assert_eq!(layout.document(&manifest["config"])["config"]["Entrypoint"], json!(["/ko-app/server"]));
    for bad in ["../x", "/a/../b", "/", "."] {
        sandbox.run(&format!("gimg build ./cmd/app --binary {bad}")).fails(2, &["--binary"]);
    }
}

#[test]
fn a_program_has_a_repository_and_tags_of_its_own() {
    let registry = TestRegistry::start();
    let host = registry.host();
    let sandbox = module().file(
        ".gimg.yaml",
        &format!(
            "repo: {host}/all\nnaming: base\ntags: [edge]\nbuilds:\n- main: ./cmd/app\n  repo: '{host}/{{{{.Env.TEAM}}}}/own'\n  \
             tags: ['v{{{{.Env.TEAM}}}}', stable]\n"
        ),
    );
    let sandbox = sandbox.env("TEAM", "blue");
    let ran = sandbox.run("gimg build ./cmd/app ./cmd/tool").ok();
    assert!(ran.lines()[0].starts_with(&format!("{host}/blue/own@sha256:")), "{}", ran.stdout);
    assert!(ran.lines()[1].starts_with(&format!("{host}/all/tool:edge@sha256:")), "{}", ran.stdout);
    assert_eq!(registry.tags("blue/own").into_keys().collect::<Vec<_>>(), ["stable", "vblue"]);
    assert_eq!(registry.incomplete(), Vec::<String>::new());
}

#[test]
fn kos_flags_for_publishing_do_what_they_do_in_ko() {
    let registry = TestRegistry::start();
    let host = registry.host();
    let sandbox = module().env("KO_DOCKER_REPO", &format!("{host}/r"));
    let real = sandbox
        .run("gimg build ./cmd/app -t v1 --image-refs ../refs --platform linux/amd64,linux/arm64")
        .ok();
    let refs = std::fs::read_to_string(sandbox.path("refs")).unwrap();
    let lines: Vec<&str> = refs.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, real.lines()[0]), "{refs}");
    assert!(lines[1].contains(":v1@sha256:") && lines[1] != lines[2], "{refs}");
    // The same name, nothing sent.
    let asked = registry.log().len();
    let dry = sandbox.run("gimg build ./cmd/app -t v1 --push=false --platform linux/amd64,linux/arm64").ok();
    assert_eq!(dry.stdout, real.stdout);
    assert_eq!(registry.log().len(), asked, "a dry run asks the registry nothing");
    // A place that can't be one is said before anything is compiled.
    let ran = sandbox.run("gimg build ./cmd/app -t v1 --image-refs cmd");
    assert!(!ran.stderr.contains("compiling"), "{}", ran.stderr);
    ran.fails(9, &["it is a directory", "cmd"]);
    let only = sandbox.run("gimg build ./cmd/app -t v1 --tag-only").ok();
    assert!(only.stdout.ends_with(":v1\n") && !only.stdout.contains('@'), "{}", only.stdout);
    sandbox.run("gimg build ./cmd/app --tag-only").fails(2, &["just one tag"]);
    sandbox.run("gimg build ./cmd/app --tag-only -t a,b").fails(2, &["just one tag"]);
    // Beside the push, and without one.
    let beside = sandbox.run("gimg build ./cmd/app --oci-layout-path ../lay --tarball ../app.tar").ok();
    assert!(beside.stdout.starts_with(&host), "{}", beside.stdout);
    assert!(sandbox.path("lay/index.json").exists() && sandbox.path("app.tar").exists());
    let sandbox = sandbox.without("KO_DOCKER_REPO");
    let alone = sandbox.run("gimg build ./cmd/app --tarball ../alone.tar").ok();
    assert!(alone.stdout.starts_with("docker-archive:../alone.tar@"), "{}", alone.stdout);
}

#[test]
fn schema_and_document_have_every_key() {
    let schema: serde_json::Value =
        serde_json::from_str(&Sandbox::new().run("gimg schema").ok().stdout).unwrap();
    let document = std::fs::read_to_string(root().join("docs/config.md")).unwrap();
    let mut keys = 0;
    let definitions = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for definition in definitions {
        for (name, key) in definition["properties"].as_object().into_iter().flatten() {
            let says = key["description"].as_str().unwrap_or_else(|| panic!("{name} says nothing"));
            let line = says.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                document.contains(&format!("| `{name}` |")) && document.contains(&line),
                "{name} is not in docs/config.md"
            );
            keys += 1;
        }
    }
    assert!(keys > 40, "{keys}");
}

#[test]
fn init_writes_a_file_that_builds() {
    let sandbox = module();
    let ran = sandbox.run("gimg init").ok();
    assert_eq!(ran.stdout, ".gimg.yaml\n");
    let text = std::fs::read_to_string(sandbox.path("src/.gimg.yaml")).unwrap();
    assert!(text.contains("main: \"./cmd/app\"") && text.contains("main: \"./cmd/tool\""), "{text}");
    sandbox.run("gimg build ./cmd/app --platform linux/amd64 -o oci:../out").ok();
    sandbox.run("gimg init").fails(3, &[".gimg.yaml is already there", "--force"]);
    sandbox.run("gimg init --force").ok();
    assert_eq!(std::fs::read_to_string(sandbox.path("src/.gimg.yaml")).unwrap(), text);
}

#[test]
fn init_takes_kos_file_as_it_is() {
    let kos = "# ours\ndefaultBaseImage:   scratch # nothing\nbuilds:\n- main: ./cmd/app\n";
    let sandbox = module().file(".ko.yaml", kos);
    sandbox.run("gimg init").ok();
    let text = std::fs::read_to_string(sandbox.path("src/.gimg.yaml")).unwrap();
    assert!(text.contains(kos), "{text}");
    sandbox.run("gimg build ./cmd/app -o oci:../out").ok();
    let sandbox = module().file(".ko.yaml", "bilds: []\n");
    sandbox.run("gimg init").fails(3, &["unknown key \"bilds\"", "did you mean builds?"]);
    assert!(!sandbox.path("src/.gimg.yaml").exists());
}

#[test]
fn init_reads_goreleasers_file() {
    let sandbox = module().file(
        ".goreleaser.yaml",
        "version: 2\nbuilds:\n- id: app\n  main: ./cmd/app\n  binary: the-app\n  env: [CGO_ENABLED=0]\n  goos: [linux, \
         darwin]\n  goarch: [amd64, arm64]\n  ldflags:\n  - -s -w -X main.version={{.Version}} -X \
         main.c={{ .ShortCommit }}\n  - -X main.d={{.Runtime.Goos}}\nkos:\n- base_image: scratch\n  bare: true\n  labels: \
         {a: b}\n  repositories: [ghcr.io/me/app]\n",
    );
    let ran = sandbox.run("gimg init").ok();
    assert!(ran.stderr.contains("{{.Runtime.Goos}}"), "says what it left out: {}", ran.stderr);
    let text = std::fs::read_to_string(sandbox.path("src/.gimg.yaml")).unwrap();
    for line in [
        "defaultBaseImage: \"scratch\"",
        "defaultPlatforms: [\"linux/amd64\", \"linux/arm64\"]",
        "repo: \"ghcr.io/me/app\"",
        "naming: \"bare\"",
        "binary: \"the-app\"",
        "main.c={{ .Git.ShortCommit }}",
    ] {
        assert!(text.contains(line), "no {line} in:\n{text}");
    }
}

#[test]
fn all_programs_of_the_file_are_built_by_one_word() {
    let (sandbox, log) = logged();
    sandbox.write(
        ".ko.yaml",
        "builds:\n- main: ./cmd/app\n- main: ./cmd/tool\n- dir: sub\n  main: ./cmd/deep\n",
    );
    let ran = sandbox.run("gimg build --all --push=false").ok();
    let names: Vec<&str> = ran.lines().iter().map(|l| l.split('@').next().unwrap()).collect();
    assert_eq!(names, ["app", "tool", "deep"]);
    assert_eq!(log.count("build"), 2, "one for each module");
    let both = sandbox.run("gimg build --all ./cmd/app");
    assert!(both.code == 2 && both.stderr.contains("cannot be used with"), "{}", both.stderr);
    sandbox.write(".ko.yaml", "");
    sandbox.run("gimg build --all").fails(2, &["has no builds"]);
}

#[test]
fn git_s_state_goes_into_annotations_when_asked_for() {
    let sandbox = module();
    sandbox.may_hold_secrets("src/.git/config");
    sandbox.run("gimg build ./cmd/app --annotate-vcs --push=false").fails(3, &["no git repository"]);
    for line in [
        "git init -q -b trunk",
        "git add .",
        "git -c user.name=a -c user.email=a@b -c commit.gpgsign=false commit -q -m first",
        "git tag v1.2.3",
        &format!("git remote add origin https://me:{SECRET}@example.com/me/m.git"),
    ] {
        sandbox.run(line).ok();
    }
    let annotations = |flags: &str| {
        sandbox.run(&format!("gimg build ./cmd/app --buildvcs=false -o oci:../out {flags}")).ok();
        Layout::at(sandbox.path("out")).root()["annotations"].clone()
    };
    let found = annotations("--annotate-vcs --image-annotation org.opencontainers.image.version=mine");
    assert_eq!(found["org.opencontainers.image.revision"].as_str().unwrap().len(), 40);
    assert_eq!(found["org.opencontainers.image.source"], "https://example.com/me/m");
    assert_eq!(found["org.opencontainers.image.version"], "mine");
    assert!(found["org.opencontainers.image.created"].as_str().unwrap().ends_with('Z'));
    sandbox.write(".gimg.yaml", "annotateVcs: true\n");
    assert_eq!(annotations("")["org.opencontainers.image.version"], "v1.2.3-dirty");
}

#[test]
fn capabilities_of_an_entry_are_its_program_s() {
    let sandbox =
        module().file(".ko.yaml", "builds:\n- main: ./cmd/app\n  linux_capabilities: net_bind_service=ep\n");
    sandbox.run("gimg build ./cmd/app -o oci:../out --compression none").ok();
    let layout = Layout::at(sandbox.path("out"));
    let layer = layout.blob(layout.root()["layers"][1]["digest"].as_str().unwrap());
    let text = String::from_utf8_lossy(&layer);
    assert!(text.contains("SCHILY.xattr.security.capability="), "no attribute in the layer");
    sandbox.write(".ko.yaml", "builds:\n- main: ./cmd/app\n  linux_capabilities: [net_bind_servise]\n");
    sandbox.run("gimg build ./cmd/app").fails(3, &["net_bind_servise", "net_bind_service"]);
}

#[test]
fn files_go_where_the_file_says_each_group_in_a_layer_of_its_own() {
    let sandbox = module()
        .file("package.yaml", "kind: Package\n")
        .file("assets/run.sh", "#!/bin/sh\n")
        .file("assets/deep/data.txt", "data\n")
        .file(
            ".gimg.yaml",
            "files:\n- {from: package.yaml, to: /package.yaml}\n- {from: assets, to: /opt/app, owner: '65532'}\nbuilds:\n\
             - main: ./cmd/app\n  files:\n  - {from: package.yaml, to: /etc/conf.d/, mode: 0640, owner: '1:2'}\n",
        );
    let script = sandbox.path("src/assets/run.sh");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.run("gimg build ./cmd/app -o oci:../out --platform linux/amd64,linux/arm64").ok();
    let layout = Layout::at(sandbox.path("out"));
    let images = layout.images();
    let layers = |platform: &str| images[platform]["layers"].as_array().unwrap().clone();
    let amd = layers("linux/amd64");
    assert_eq!(amd.len(), 5, "static, three groups, the program");
    assert_eq!(amd[1..4], layers("linux/arm64")[1..4], "made once");
    let shape = |layer: usize| -> Vec<(String, u32, u64, u64)> {
        let entries = layout.entries(&amd[layer]);
        entries.into_iter().map(|(n, e)| (n, e.mode, e.uid, e.gid)).collect()
    };
    let entry = |name: &str, mode: u32, uid: u64, gid: u64| (name.to_owned(), mode, uid, gid);
    assert_eq!(shape(1), [entry("package.yaml", 0o444, 0, 0)]);
    assert_eq!(
        shape(2),
        [
            entry("opt/app/", 0o755, 65532, 65532),
            entry("opt/app/deep/", 0o755, 65532, 65532),
            entry("opt/app/deep/data.txt", 0o444, 65532, 65532),
            entry("opt/app/run.sh", 0o555, 65532, 65532),
        ]
    );
    assert_eq!(shape(3), [entry("etc/conf.d/package.yaml", 0o640, 1, 2)]);
    // Another program without an entry has the groups of all.
    sandbox.run("gimg build ./cmd/tool -o oci:../out").ok();
    assert_eq!(Layout::at(sandbox.path("out")).root()["layers"].as_array().unwrap().len(), 4);
}

#[test]
fn files_that_are_not_there_or_lead_away_are_errors() {
    let sandbox = module().file(".gimg.yaml", "files: [{from: gone.txt, to: /gone.txt}]\n");
    sandbox.run("gimg build ./cmd/app -o oci:../out").fails(3, &["read files", "no such file", "gone.txt"]);
    std::os::unix::fs::symlink("/etc/passwd", sandbox.path("src/gone.txt")).unwrap();
    sandbox.run("gimg build ./cmd/app -o oci:../out").fails(3, &["read files", "gone.txt", "/etc/passwd"]);
    for (entry, words) in [
        ("{from: go.mod, to: relative}", "files[0].to"),
        ("{from: go.mod, to: /a/../b}", "files[0].to"),
        ("{from: go.mod, to: /x, mode: 0888}", "octal"),
        ("{from: go.mod, to: /x, owner: root}", "numbers"),
        ("{from: go.mod}", "the key to is missing"),
        ("{from: '', to: /x}", "files[0].from"),
        ("{from: go.mod, to: /.wh.x}", ".wh."),
    ] {
        sandbox.write(".gimg.yaml", &format!("files: [{entry}]\n"));
        sandbox.run("gimg build ./cmd/app -o oci:../out").fails(3, &[words]);
    }
    assert!(!sandbox.path("out/index.json").exists());
}

#[test]
fn an_image_goes_to_several_repositories_in_one_run() {
    let (here, there) = (TestRegistry::start(), TestRegistry::start());
    let sandbox = module();
    let repos = format!("--repo {}/a --repo {}/b/c", here.host(), there.host());
    let ran = sandbox.run(&format!("gimg build ./cmd/app ./cmd/tool -B -t v1 {repos} --format json")).ok();
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let digest = report["images"][0]["digest"].as_str().unwrap();
    assert_eq!(report["images"][0]["reference"], format!("{}/a/app:v1@{digest}", here.host()));
    assert_eq!(report["images"][0]["also"], json!([format!("{}/b/c/app:v1@{digest}", there.host())]));
    for (registry, name) in [(&here, "a/app"), (&there, "b/c/app"), (&here, "a/tool"), (&there, "b/c/tool")] {
        assert_eq!(registry.tags(name).len(), 1, "{name}");
        assert_eq!(registry.incomplete(), Vec::<String>::new());
    }
    assert_eq!(here.tags("a/app")["v1"], digest);
    // One registry that refuses: no tag moves anywhere.
    there.fail(When::times(20, "POST", "/v2/b/c/app/"), Fault::Status(403, Vec::new(), String::new()));
    sandbox.run(&format!("gimg build ./cmd/app -B -t v2 --ldflags -s {repos}")).fails(6, &["/b/c/app"]);
    assert_eq!(here.tags("a/app").into_keys().collect::<Vec<_>>(), ["v1"]);
    // From the file.
    sandbox.write(".gimg.yaml", &format!("repo: ['{0}/x', '{0}/y']\nnaming: bare\n", here.host()));
    sandbox.run("gimg build ./cmd/app").ok();
    assert_eq!(here.tags("x"), here.tags("y"));
    for bad in [
        "--repo a.example/x --repo a.example/x",
        "--repo a.example/x --repo ko.local",
        "--repo a.example/x --repo b.example/x -o oci:../out",
    ] {
        sandbox.run(&format!("gimg build ./cmd/app {bad}")).fails(2, &["push to"]);
    }
}
