//! `--dry-run`: what is told is what would be done, and nothing is done.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::registry::TestRegistry;
use crate::support::{Layout, Ran, Sandbox, go_log};

fn plan(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn map(value: &Value) -> BTreeMap<String, String> {
    value.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
}

/// Every file below a directory, with its size.
fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        let size = std::fs::symlink_metadata(&path).unwrap().len();
        found.insert(path, size);
    }
    found
}

/// One `go build` as the toolchain saw it: where, with which arguments and variables.
type Call = (String, Vec<String>, BTreeMap<String, String>);

/// A `go` that writes down each `go build`, and then is the real one.
fn recording(sandbox: Sandbox) -> Sandbox {
    let path = std::env::var("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|d| d.join("go")).find(|p| p.is_file()).unwrap();
    let (bin, calls) = (sandbox.path("bin"), sandbox.path("calls"));
    std::fs::create_dir(&bin).unwrap();
    std::fs::create_dir(&calls).unwrap();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = build ]; then {{ pwd; env -0; printf '=\\0'; printf '%s\\0' \"$@\"; }} \
         > {}/$$; fi\nexec {} \"$@\"\n",
        calls.display(),
        real.display()
    );
    std::fs::write(bin.join("go"), script).unwrap();
    std::fs::set_permissions(bin.join("go"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{path}", bin.display());
    sandbox.env("PATH", &path)
}

/// What `recording` wrote down, by GOARCH.
fn calls(sandbox: &Sandbox) -> BTreeMap<String, Call> {
    let mut calls = BTreeMap::new();
    for entry in std::fs::read_dir(sandbox.path("calls")).unwrap() {
        let path = entry.unwrap().path();
        // A child's whole environment, tokens of CI systems included.
        sandbox.may_hold_secrets(path.strip_prefix(sandbox.path("")).unwrap().to_str().unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        let (dir, rest) = text.split_once('\n').unwrap();
        let (env, args) =
            rest.split_once("=\0").filter(|(env, _)| env.ends_with('\0')).unwrap_or_else(|| {
                let at = rest.find("\0=\0").unwrap();
                (&rest[..=at], &rest[at + 3..])
            });
        let words = |text: &str| -> Vec<String> {
            text.strip_suffix('\0').unwrap().split('\0').map(str::to_owned).collect()
        };
        let pair = |v: &String| v.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap();
        let env: BTreeMap<String, String> = words(env).iter().map(pair).collect();
        calls.insert(env["GOARCH"].clone(), (dir.to_owned(), words(args), env));
    }
    calls
}

const CONFIG: &str = "
defaultEnv: [CGO_ENABLED=0, APP_MODE=a b]
defaultLdflags: ['-s -w', '-X example.com/hello/greet.Version={{.Env.GOARCH}}']
builds:
- main: ./cmd/hello
  flags: ['-tags=netgo,{{.Env.GOOS}}']
";

#[test]
fn the_commands_are_those_of_the_real_run() {
    let sandbox = recording(Sandbox::go("hello").file(".gimg.yaml", CONFIG))
        .env("GOAMD64", "v2")
        .env("GOOS", "plan9")
        .env("GOEXPERIMENT", "");
    let line = "gimg build ./cmd/hello --platform linux/arm64,linux/amd64 --buildvcs=false";
    let ran = sandbox.run(&format!("{line} --dry-run --format json")).ok();
    assert!(calls(&sandbox).is_empty(), "go build was run");
    let plan = plan(&ran);
    sandbox.run(line).ok();
    let calls = calls(&sandbox);
    let compiles = plan["compiles"].as_array().unwrap();
    assert_eq!(compiles.len(), calls.len());
    // What a child has without gimg: what the sandbox gives and what its shell adds.
    let shell = sandbox.run_with("sh -c", &["env | cut -d= -f1"]).ok();
    let shell: BTreeSet<&str> = shell.lines().iter().filter_map(|l| l.split('=').next()).collect();
    for (told, arch) in compiles.iter().zip(["arm64", "amd64"]) {
        let (dir, args, env) = &calls[arch];
        assert_eq!(told["platform"], format!("linux/{arch}"));
        assert_eq!(told["packages"], json!(["example.com/hello/cmd/hello"]));
        assert_eq!(told["dir"], dir.as_str());
        let out = |args: &[String]| -> Vec<String> {
            args.iter().map(|a| if a.starts_with("-o=") { "-o=".to_owned() } else { a.clone() }).collect()
        };
        let argv = strings(&told["argv"]);
        assert_eq!(argv[0], "go");
        assert!(argv.contains(&"-o=TMP/out/".to_owned()));
        assert!(argv.contains(&"-tags=netgo,linux".to_owned()), "{argv:?}");
        assert!(
            argv.contains(&format!("-ldflags=-s -w -X example.com/hello/greet.Version={arch}")),
            "{argv:?}"
        );
        assert_eq!(out(&argv[1..]), out(args));
        let mut told = map(&told["env"]);
        assert_eq!(told.remove("GOTMPDIR").as_deref(), Some("TMP/tmp"));
        assert_eq!(told["GOOS"], "linux");
        assert_eq!(told["APP_MODE"], "a b");
        assert_eq!(told["GOAMD64"], "v2", "the user's, for both");
        for (name, value) in &told {
            assert_eq!(env.get(name), Some(value), "{name}");
        }
        let set = env.keys().filter(|k| !shell.contains(k.as_str()) && *k != "GOTMPDIR");
        let untold: Vec<&String> = set.filter(|k| !told.contains_key(*k)).collect();
        assert!(untold.is_empty(), "{untold:?}");
    }
}

#[test]
fn the_text_is_a_command_that_makes_the_same_program() {
    let sandbox = Sandbox::go("hello").file(".gimg.yaml", CONFIG);
    let built = sandbox.run("gimg build ./cmd/hello --platform linux/arm64").ok();
    let told = sandbox.run("gimg build ./cmd/hello --platform linux/arm64 --dry-run").ok().stdout;
    let compile = told.split("go build for linux/arm64\n").nth(1).unwrap();
    let of = |word: &str| -> Vec<&str> {
        compile.lines().filter_map(|l| l.trim().strip_prefix(word)).map(str::trim).collect()
    };
    let mut env = of("env ");
    env.retain(|e| !e.starts_with("GOTMPDIR"));
    let script = format!("cd {} && {} {}", of("directory ")[0], env.join(" "), of("run ")[0]);
    std::fs::create_dir_all(sandbox.path("src/TMP/out")).unwrap();
    sandbox.run_with("sh -c", &[&script]).ok();
    let packed = sandbox.run("gimg pack --binary linux/arm64=TMP/out/hello --kodata cmd/hello/kodata").ok();
    assert_eq!(packed.stdout, built.stdout);
    for words in [
        "image of example.com/hello/cmd/hello\n",
        "kodata: ",
        "/ko-app/hello",
        "static@1",
        "oci:gimg-out/hello",
    ] {
        assert!(told.contains(words), "no {words} in\n{told}");
    }
}

#[test]
fn names_bases_and_layers_are_those_of_the_real_run_and_nothing_is_done() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let log = go_log(&sandbox);
    let sandbox = log.sandbox(sandbox).env("KO_DOCKER_REPO", &format!("{}/org", registry.host()));
    let both = "--platform linux/arm64,linux/amd64";
    sandbox.run(&format!("gimg build ./cmd/other {both} --repo {}/base --bare", registry.host())).ok();
    let before = (files(&sandbox.path("")), registry.log().len(), log.count("build"));
    let line = format!(
        "gimg build ./... {both} -B -t v1,v2 --base {}/base --output registry --output oci:out \
         --image-label a=b --format json",
        registry.host()
    );
    let ran = sandbox.run(&format!("{line} --dry-run")).ok();
    assert_eq!(log.count("build"), before.2);
    let mut after = files(&sandbox.path(""));
    after.retain(|path, _| !path.ends_with("go.log"));
    let mut unchanged = before.0.clone();
    unchanged.retain(|path, _| !path.ends_with("go.log"));
    assert_eq!(after, unchanged, "a file was written");
    let asked = registry.log().split_off(before.1);
    assert!(asked.iter().all(|l| ["GET", "HEAD"].contains(&l.method.as_str())), "{asked:?}");
    assert!(registry.tags("org/hello").is_empty());

    let plan = plan(&ran);
    assert!(plan["goVersion"].as_str().unwrap().starts_with("go1."));
    let real: Value = serde_json::from_str(&sandbox.run(&line).ok().stdout).unwrap();
    let layout = Layout::at(sandbox.path("src/out"));
    let images = plan["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for (number, (told, made)) in images.iter().zip(real["images"].as_array().unwrap()).enumerate() {
        assert_eq!(told["importPath"], made["importPath"]);
        assert_eq!(told["tags"], made["tags"]);
        let name = told["name"].as_str().unwrap();
        assert_eq!(made["reference"], format!("{name}@{}", made["digest"].as_str().unwrap()));
        assert_eq!(told["destinations"], json!([name, "oci:out"]));
        let index = layout.document(&layout.index()["manifests"][2 * number]);
        let annotations = &index["annotations"];
        assert_eq!(told["base"]["digest"], annotations["org.opencontainers.image.base.digest"]);
        assert_eq!(told["base"]["name"], annotations["org.opencontainers.image.base.name"]);
        assert_eq!(told["config"], json!({"labels": {"a": "b"}}));
        for (place, platform) in told["platforms"].as_array().unwrap().iter().enumerate() {
            assert_eq!(platform["platform"], made["platforms"][place]["platform"]);
            let manifest = layout.document(&index["manifests"][place]);
            let base = &manifest["annotations"]["org.opencontainers.image.base.digest"];
            assert_eq!(platform["baseDigest"], *base);
            let config = layout.document(&manifest["config"]);
            assert_eq!(platform["programs"], config["config"]["Entrypoint"]);
            // The base has two layers.
            let layers = told["layers"].as_array().unwrap();
            assert_eq!(manifest["layers"].as_array().unwrap().len(), 2 + layers.len());
            assert_eq!(layers[0]["mediaType"], manifest["layers"][2]["mediaType"]);
        }
    }
    let kinds = |image: &Value| -> Vec<Value> {
        image["layers"].as_array().unwrap().iter().map(|l| l["kind"].clone()).collect()
    };
    assert_eq!(
        (kinds(&images[0]), kinds(&images[1])),
        (vec!["kodata".into(), "programs".into()], vec!["programs".into()])
    );
    assert_eq!(plan["compiles"].as_array().unwrap().len(), 2, "one for each platform");

    let nowhere = sandbox.run("gimg build ./cmd/other --dry-run --push=false").ok();
    assert!(nowhere.stdout.contains("nowhere (--push=false)"), "{}", nowhere.stdout);
}

#[test]
fn secrets_are_not_told() {
    let config = "
defaultEnv: [DEPLOY_PASSWORD=canary-env]
defaultLdflags: ['-X main.version={{.Env.MY_TOKEN}}', '-X main.apiKey=canary-assigned']
image:
  env: {DB_PASSWORD: canary-image}
  cmd: ['--url=https://me:canary-cmd@host/']
  labels: {a: '{{.Env.MY_TOKEN}}', b: '{{.Env.DEPLOY_PASSWORD}}'}
  annotations: {c: 'x{{.Env.my_key}}x'}
  healthcheck: {test: [check, '--token=canary-check']}
";
    let sandbox = Sandbox::go("hello")
        .file(".gimg.yaml", config)
        .env("MY_TOKEN", "canary-token")
        .env("my_key", "canary-lower")
        .env("GOPROXY", "https://me:canary-proxy@127.0.0.1:1/?key=canary-query,off")
        .env("GONOPROXY", "canary-token")
        .env("GOFLAGS", "-modcacherw '-ldflags=-X main.secret=canary-flags'");
    let mut texts = String::new();
    for format in ["text", "json"] {
        let ran = sandbox.run(&format!("gimg build ./cmd/other --dry-run -v --format {format}")).ok();
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains("canary"), "{text}");
        }
        texts.push_str(&ran.stdout);
    }
    for shown in [
        "-X main.version=*** -X main.apiKey=***",
        "https://***@127.0.0.1:1/?key=***",
        "\"DEPLOY_PASSWORD\": \"***\"",
        "\"DB_PASSWORD\": \"***\"",
        "--url=https://***@host/",
        "\"a\": \"***\"",
        "\"b\": \"***\"",
        "\"c\": \"x***x\"",
        "--token=***",
        "\"GONOPROXY\": \"***\"",
        "-modcacherw '-ldflags=-X main.secret=***'",
    ] {
        assert!(texts.contains(shown), "no {shown} in\n{texts}");
    }
    assert_eq!(texts.matches("main.secret=***").count(), 2);
}

#[test]
fn what_would_fail_before_the_compile_fails_here_too() {
    let sandbox = Sandbox::go("hello").file("full/file", "mine");
    sandbox.run("gimg build ./nope --dry-run").fails(3, &["./nope"]);
    sandbox
        .run("gimg build ./... --repo ghcr.io/me --bare --dry-run")
        .fails(2, &["would both be ghcr.io/me"]);
    sandbox.run("gimg build ./cmd/other --output oci:full --dry-run").fails(9, &["holds other files"]);
    sandbox.run("gimg build ./cmd/other --base 127.0.0.1:1/x --dry-run").fails(7, &["127.0.0.1:1"]);
    sandbox.run("gimg pack --binary linux/amd64=go.mod --dry-run").fails(3, &["it is no executable"]);
}

#[test]
fn pack_tells_of_its_image_alone() {
    let sandbox = Sandbox::go("hello");
    let mut go = sandbox.command("go build -trimpath -o app ./cmd/hello");
    assert!(
        go.env("GOOS", "linux").env("GOARCH", "arm64").env("CGO_ENABLED", "0").status().unwrap().success()
    );
    let line = "gimg pack --binary linux/arm64=app --kodata cmd/hello/kodata --compression zstd --dry-run";
    let told = plan(&sandbox.run(&format!("{line} --format json")).ok());
    let src = sandbox.path("src").display().to_string();
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    assert_eq!(
        told,
        json!({
            "images": [{
                "importPath": "example.com/hello/cmd/hello",
                "name": "hello",
                "tags": ["latest"],
                "destinations": ["oci:gimg-out/hello"],
                "base": {"name": "static@1"},
                "platforms": [{"platform": "linux/arm64", "programs": ["/ko-app/hello"]}],
                "layers": [
                    {"kind": "kodata", "from": [format!("{src}/cmd/hello/kodata")], "to": "/var/run/ko", "mediaType": zstd},
                    {"kind": "programs", "from": [format!("{src}/app")], "to": "/ko-app", "mediaType": zstd},
                ],
                "config": {},
            }],
            "compiles": [],
        })
    );
    assert!(!sandbox.path("src/gimg-out").exists());
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}
