//! `gimg build`: what a user types and gets.

use crate::support::{Layout, Sandbox};

#[test]
fn a_program_becomes_a_layout_with_no_configuration() {
    let sandbox = Sandbox::go("hello");
    let ran = sandbox.run("gimg build ./cmd/hello --platform linux/amd64,linux/arm64").ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/hello"));
    let digest = layout.index()["manifests"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(ran.stdout, format!("oci:gimg-out/hello@{digest}\n"));
    assert!(ran.stderr.contains("gimg push gimg-out/hello"), "{}", ran.stderr);
    assert_eq!(layout.images().keys().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn one_platform_is_an_image_and_several_are_an_index_in_the_order_asked_for() {
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg build ./cmd/other").ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/other"));
    assert_eq!(layout.root()["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    sandbox.run("gimg build ./cmd/other --platform linux/s390x --platform linux/arm/v6,linux/amd64").ok();
    let root = layout.root();
    let order: Vec<_> =
        root["manifests"].as_array().unwrap().iter().map(|m| &m["platform"]["architecture"]).collect();
    assert_eq!(order, ["s390x", "arm", "amd64"]);
    assert_eq!(root["manifests"][1]["platform"]["variant"], "v6");
}

#[test]
fn the_image_is_what_ko_users_expect() {
    let sandbox = Sandbox::go("hello");
    sandbox
        .run("gimg build ./cmd/hello --image-label a=b,c=d,e --image-annotation x=y --image-user 1000:1000")
        .ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/hello"));
    let manifest = layout.root();
    assert_eq!(manifest["annotations"], serde_json::json!({"x": "y"}));
    let config = layout.document(&manifest["config"]);
    let run = &config["config"];
    assert_eq!(run["Entrypoint"], serde_json::json!(["/ko-app/hello"]));
    assert_eq!(run["User"], "1000:1000");
    assert_eq!(run["Labels"]["a"], "b");
    assert_eq!(run["Labels"]["c"], "d,e", "a comma in a value stays");
    assert_eq!(run["WorkingDir"], "/home/nonroot");
    let env = run["Env"].as_array().unwrap();
    assert!(env.iter().any(|v| v.as_str().unwrap().ends_with(":/ko-app")), "{env:?}");
    assert!(env.contains(&"KO_DATA_PATH=/var/run/ko".into()));
    assert!(run.get("Cmd").is_none());
    assert_eq!(config["created"], "1970-01-01T00:00:00Z");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), layers.len());
    assert_eq!(layers.len(), 3, "static, kodata, program");

    let kodata = layout.entries(&layers[1]);
    let shape: Vec<_> = kodata.iter().map(|(n, e)| (n.as_str(), e.kind, e.mode, e.uid, e.mtime)).collect();
    assert_eq!(
        shape,
        [
            ("var/run/ko/", 'd', 0o755, 0, 0),
            ("var/run/ko/note.txt", '-', 0o444, 0, 0),
            ("var/run/ko/sub/", 'd', 0o755, 0, 0),
            ("var/run/ko/sub/deep.txt", '-', 0o444, 0, 0)
        ]
    );
    let program = layout.entries(&layers[2]);
    assert_eq!(program.keys().collect::<Vec<_>>(), ["ko-app/", "ko-app/hello"]);
    assert_eq!((program["ko-app/"].mode, program["ko-app/hello"].mode), (0o755, 0o555));
    let history = config["history"].as_array().unwrap();
    assert_eq!(history.last().unwrap()["created_by"], "gimg build ko://example.com/hello/cmd/hello");
}

#[test]
fn arguments_are_answered_in_their_order_and_patterns_find_every_main() {
    let sandbox = Sandbox::go("hello");
    let ran = sandbox.run("gimg build ./cmd/other ko://example.com/hello/cmd/hello").ok();
    let names: Vec<_> = ran.lines().iter().map(|l| l.split('@').next().unwrap()).collect();
    assert_eq!(names, ["oci:gimg-out/other", "oci:gimg-out/hello"]);
    let ran = sandbox.run("gimg build ./...").ok();
    let names: Vec<_> = ran.lines().iter().map(|l| l.split('@').next().unwrap()).collect();
    assert_eq!(names, ["oci:gimg-out/hello", "oci:gimg-out/other"]);
    let alone = sandbox.run("gimg build ./cmd/other").ok();
    assert_eq!(alone.lines()[0], ran.lines()[1], "alone or in a group");
}

#[test]
fn go_build_runs_once_per_platform() {
    let sandbox = Sandbox::go("hello");
    let log = crate::support::go_log(&sandbox);
    let sandbox = log.sandbox(sandbox);
    sandbox.run("gimg build ./... --platform linux/amd64,linux/arm64,linux/riscv64").ok();
    assert_eq!(log.count("build"), 3, "{}", log.text());
    assert_eq!(log.count("list"), 2, "one for the modules, one for the packages: {}", log.text());
    assert_eq!(log.count("env"), 1);
}

#[test]
fn two_programs_of_one_base_name_are_built_apart() {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/twins\n\ngo 1.21\n")
        .file("a/app/main.go", "package main\n\nfunc main() { println(\"a\") }\n")
        .file("b/app/main.go", "package main\n\nfunc main() { println(\"b\") }\n");
    sandbox.run("gimg build ./...").fails(
        2,
        &["example.com/twins/a/app and example.com/twins/b/app would both be gimg-out/app", "hint:"],
    );
    let ran = sandbox.run("gimg build ./... --repo example.com/r --output oci:out").ok();
    let digests: Vec<_> = ran.lines().iter().map(|l| l.split_once('@').unwrap().1.to_owned()).collect();
    assert_ne!(digests[0], digests[1]);
    // Each is the program of its own package, as if it were alone.
    for (package, digest) in [("./a/app", &digests[0]), ("./b/app", &digests[1])] {
        assert_eq!(sandbox.run(&format!("gimg build {package}")).ok().digest(), *digest);
    }
}

#[test]
fn workspaces_vendored_and_nested_modules_work() {
    let library = "package lib\n\nfunc Say() { println(\"lib\") }\n";
    let main = "package main\n\nimport \"example.com/lib\"\n\nfunc main() { lib.Say() }\n";
    let workspace = Sandbox::new()
        .file("go.work", "go 1.21\n\nuse (\n\t./app\n\t./lib\n)\n")
        .file("app/go.mod", "module example.com/app\n\ngo 1.21\n")
        .file("app/cmd/run/main.go", main)
        .file("lib/go.mod", "module example.com/lib\n\ngo 1.21\n")
        .file("lib/lib.go", library);
    let by_path = workspace.run("gimg build ./app/cmd/run").ok();
    let by_import = workspace.run("gimg build example.com/app/cmd/run").ok();
    assert_eq!(by_path.digest(), by_import.digest());

    let vendored = Sandbox::new()
        .file("go.mod", "module example.com/app\n\ngo 1.21\n\nrequire example.com/lib v1.0.0\n")
        .file("main.go", main)
        .file("vendor/modules.txt", "# example.com/lib v1.0.0\n## explicit\nexample.com/lib\n")
        .file("vendor/example.com/lib/lib.go", library);
    vendored.run("gimg build").ok();
    assert!(vendored.path("src/gimg-out/app/index.json").exists());

    let nested = Sandbox::new()
        .file("go.mod", "module example.com/top\n\ngo 1.21\n")
        .file("tools/go.mod", "module example.com/tools\n\ngo 1.21\n")
        .file("tools/cmd/fix/main.go", "package main\n\nfunc main() {}\n");
    let outside = nested.run("gimg build ./tools/cmd/fix").ok();
    let inside = nested.cd("src/tools").run("gimg build ./cmd/...").ok();
    assert_eq!(outside.digest(), inside.digest());
}

#[test]
fn a_program_of_a_dependency_is_built_by_its_import_path() {
    let sandbox = Sandbox::new()
        .file("dep/go.mod", "module example.com/dep\n\ngo 1.21\n")
        .file("dep/cmd/tool/main.go", "package main\n\nfunc main() {}\n")
        .file(
            "app/go.mod",
            "module example.com/app\n\ngo 1.21\n\nrequire example.com/dep v1.0.0\n\nreplace example.com/dep => ../dep\n",
        );
    let sandbox = sandbox.cd("src/app");
    let ran = sandbox.run("gimg build ko://example.com/dep/cmd/tool").ok();
    assert!(ran.stdout.starts_with("oci:gimg-out/tool@sha256:"), "{}", ran.stdout);
}

#[test]
fn programs_are_named_without_their_major_version() {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/tool/v5\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n");
    let ran = sandbox.run("gimg build").ok();
    assert!(ran.stdout.starts_with("oci:gimg-out/tool@"), "{}", ran.stdout);
}

#[test]
fn ambient_goos_and_goarch_never_change_the_target() {
    let sandbox = Sandbox::go("hello");
    let plain = sandbox.run("gimg build ./cmd/other").ok().digest();
    let sandbox = sandbox.env("GOOS", "darwin").env("GOARCH", "arm64");
    assert_eq!(sandbox.run("gimg build ./cmd/other").ok().digest(), plain);
}

#[test]
fn ldflags_come_from_the_flag_else_from_goflags() {
    let sandbox = Sandbox::go("hello");
    let stripped = sandbox.run_with("gimg build ./cmd/other", &["--ldflags", "-s -w"]).ok().digest();
    assert_ne!(stripped, sandbox.run("gimg build ./cmd/other").ok().digest());
    let sandbox = sandbox.env("GOFLAGS", "'-ldflags=-s -w'");
    assert_eq!(sandbox.run("gimg build ./cmd/other").ok().digest(), stripped);
    let version = ["--ldflags", "-X example.com/hello/greet.Version=a,b"];
    assert_ne!(sandbox.run_with("gimg build ./cmd/other", &version).ok().digest(), stripped);
}

#[test]
fn json_says_what_was_made() {
    let sandbox = Sandbox::go("hello");
    let ran = sandbox.run("gimg build ./cmd/other --format json --platform linux/amd64,linux/arm64").ok();
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let image = &report["images"][0];
    let layout = Layout::at(sandbox.path("src/gimg-out/other"));
    assert_eq!(image["digest"], layout.index()["manifests"][0]["digest"]);
    assert_eq!(image["importPath"], "example.com/hello/cmd/other");
    assert_eq!(image["tags"], serde_json::json!(["latest"]));
    let platform = &image["platforms"][1];
    assert_eq!(platform["platform"], "linux/arm64");
    assert_eq!(platform["digest"], layout.root()["manifests"][1]["digest"]);
    assert_eq!(platform["layers"].as_array().unwrap().len(), 2);
    assert!(report["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn volumes_are_respected() {
    let sandbox = Sandbox::go("hello");
    assert_eq!(sandbox.run("gimg build ./cmd/other --quiet --output oci:out").ok().stderr, "");
    let verbose = sandbox.run("gimg build ./cmd/other --verbose --output oci:out").ok();
    assert!(verbose.stderr.contains("oci:out: has sha256:"), "{}", verbose.stderr);
}

#[test]
fn help_fits_a_screen_with_an_example() {
    let sandbox = Sandbox::new();
    for command in [
        "build", "pack", "push", "init", "lock", "schema", "resolve", "apply", "create", "run", "login",
        "version",
    ] {
        let help = sandbox.run(&format!("gimg {command} --help")).ok().stdout;
        assert!(help.contains("Example: ") && help.contains("gimg "), "{command}");
        assert!(help.lines().count() <= 50, "{command}: {} lines", help.lines().count());
    }
}
