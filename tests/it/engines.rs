//! Images loaded into container engines: fake ones here, real ones in `daemon.rs`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::engine::{FakeEngine, Trouble, unpacked};
use crate::support::registry::TestRegistry;
use crate::support::{Layout, Ran, Sandbox, copy_tree, root};

/// `other-` and the md5sum of example.com/hello/cmd/other.
const OTHER: &str = "other-44d73368bb3c1fe7f6ac8cde0a52cdaa";

/// The hello module and an engine that docker's settings lead to.
fn with_docker(machine: &'static str) -> (Sandbox, FakeEngine) {
    let engine = FakeEngine::start(machine);
    let sandbox = Sandbox::go("hello").env("DOCKER_HOST", &engine.host());
    (sandbox, engine)
}

/// The manifest's digest in hex and the config's digest of cmd/other, built into a layout.
fn reference_build(sandbox: &Sandbox, more: &str) -> (String, String) {
    let ran = sandbox.run(&format!("gimg build ./cmd/other -o oci:reference {more}")).ok();
    let layout = Layout::at(sandbox.path("src/reference"));
    let config = layout.root()["config"]["digest"].as_str().unwrap().to_owned();
    (ran.digest().replace("sha256:", ""), config)
}

/// That nothing was compiled.
#[track_caller]
fn early(ran: &Ran) {
    assert!(!ran.stderr.contains("compiling"), "{}", ran.stderr);
}

/// Puts a shell script on the sandbox's PATH.
fn script(sandbox: Sandbox, name: &str, text: &str) -> Sandbox {
    let bin = sandbox.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join(name), format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    sandbox.env("PATH", &path)
}

#[test]
fn an_image_is_loaded_whole_once_and_named_as_in_ko() {
    let (sandbox, engine) = with_docker("x86_64");
    let (hex, config) = reference_build(&sandbox, "");
    let ran = sandbox.run("gimg build ./cmd/other --local -t v1,latest").ok();
    let name = format!("ko.local/{OTHER}");
    assert_eq!(ran.stdout, format!("{name}:{hex}\n"));
    let named = |tag: &str| (format!("{name}:{tag}"), config.clone());
    assert_eq!(engine.names(), BTreeMap::from([named(&hex), named("v1"), named("latest")]));
    let image = engine.image(&format!("{name}:v1"));
    assert_eq!(image.config["config"]["Entrypoint"][0], "/ko-app/other");
    assert_eq!(image.config["architecture"], "amd64");

    // What is there isn't sent again, but its names move.
    assert_eq!(engine.asked("POST /images/load"), 1);
    let again = sandbox.run("gimg build ./cmd/other -L -t v2").ok();
    assert_eq!((again.stdout, engine.asked("POST /images/load")), (ran.stdout, 1));
    assert_eq!(engine.names()[&format!("{name}:v2")], config);
    let elsewhere = sandbox.run("gimg build ./cmd/other -L --repo ghcr.io/me -B").ok();
    assert_eq!(elsewhere.stdout, format!("ghcr.io/me/other:{hex}\n"));
    assert_eq!(engine.asked("POST /images/load"), 1);
    assert_eq!(engine.names()[&format!("ghcr.io/me/other:{hex}")], config);
}

#[test]
fn names_below_kos_local_repository_are_kos() {
    let (sandbox, engine) = with_docker("x86_64");
    let (hex, config) = reference_build(&sandbox, "");
    for (repository, flag, name) in [
        ("ko.local", "", format!("ko.local/{OTHER}")),
        ("ko.local/team", "", format!("ko.local/team/{OTHER}")),
        ("ko.local", "-B", "ko.local/other".to_owned()),
        ("ko.local", "-P", "ko.local/example.com/hello/cmd/other".to_owned()),
        ("ko.local/team/app", "--bare", "ko.local/team/app".to_owned()),
    ] {
        let sandbox = Sandbox::go("hello").env("DOCKER_HOST", &engine.host());
        let sandbox = sandbox.env("KO_DOCKER_REPO", repository);
        let ran = sandbox.run(&format!("gimg build ./cmd/other {flag}")).ok();
        assert_eq!(ran.stdout, format!("{name}:{hex}\n"));
        assert_eq!(engine.names()[&format!("{name}:latest")], config);
    }
    // A name alone is one of Docker Hub to an engine, and is printed as the engine prints it.
    let sandbox = sandbox.env("KO_DOCKER_REPO", "ko.local");
    assert_eq!(sandbox.run("gimg build ./cmd/other --bare").ok().stdout, format!("ko.local:{hex}\n"));
    assert_eq!(engine.names()["docker.io/library/ko.local:latest"], config);
    sandbox.run("gimg build ./cmd/other -o registry").fails(2, &["ko.local names images of an engine"]);
}

#[test]
fn the_engines_platform_is_built_unless_another_is_named() {
    let (sandbox, engine) = with_docker("aarch64");
    let (hex, _) = reference_build(&sandbox, "--platform linux/arm64");
    let name = format!("ko.local/{OTHER}");
    let built = |flags: &str| sandbox.run(&format!("gimg build ./cmd/other -L {flags}")).ok();
    let ran = built("");
    assert_eq!(ran.stdout, format!("{name}:{hex}\n"));
    assert_eq!(engine.image(&format!("{name}:latest")).config["architecture"], "arm64");
    // Nobody else wants the other platforms: they aren't built.
    for flags in ["--platform linux/amd64,linux/arm64", "--platform all"] {
        let ran = built(flags);
        assert_eq!(ran.stdout, format!("{name}:{hex}\n"));
        assert_eq!(ran.stderr.matches("unchanged").count(), 1, "{}", ran.stderr);
        assert!(!ran.stderr.contains("compiling"), "{}", ran.stderr);
    }
    assert_eq!((engine.count(), engine.asked("POST /images/load")), (1, 1));

    let other = built("--platform linux/amd64 -t emulated");
    assert!(other.stderr.contains("warning: docker runs linux/arm64"), "{}", other.stderr);
    assert_eq!(engine.image(&format!("{name}:emulated")).config["architecture"], "amd64");
    let none = sandbox.run("gimg build ./cmd/other -L --platform linux/amd64,linux/s390x");
    early(&none);
    none.fails(
        2,
        &["load into docker: it runs linux/arm64", "linux/amd64, linux/s390x", "hint: add linux/arm64"],
    );
}

#[test]
fn the_registry_gets_every_platform_and_the_engine_its_own() {
    let registry = TestRegistry::start();
    let (sandbox, engine) = with_docker("aarch64");
    let (hex, config) = reference_build(&sandbox, "--platform linux/arm64");
    let line = format!(
        "gimg build ./cmd/other --platform linux/amd64,linux/arm64 -o docker: -o registry -o oci:out \
         --repo {}/r --bare --format json",
        registry.host()
    );
    let report: Value = serde_json::from_str(&sandbox.run(&line).ok().stdout).unwrap();
    let image = &report["images"][0];
    let name = format!("{}/r", registry.host());
    assert_eq!(image["reference"], format!("{name}@{}", registry.tags("r")["latest"]));
    assert_eq!(image["also"][0], format!("{name}:{hex}"));
    assert_eq!(engine.names()[&format!("{name}:latest")], config);
    let children = Layout::at(sandbox.path("src/out")).root()["manifests"].clone();
    assert_eq!(children[1]["digest"], format!("sha256:{hex}"), "the child is the image alone");
    let files = engine.image(&format!("{name}:latest")).files;
    assert_eq!(
        files.len(),
        2 + 2,
        "config, manifest.json and the layers of one platform: {:?}",
        files.keys()
    );
}

#[test]
fn layers_of_a_base_in_a_registry_come_along() {
    let registry = TestRegistry::start();
    let (sandbox, engine) = with_docker("x86_64");
    let base = format!("{}/base", registry.host());
    sandbox.run(&format!("gimg build ./cmd/hello --repo {base} --bare")).ok();
    sandbox.run(&format!("gimg build ./cmd/... -L -B --base {base}")).ok();
    for program in ["hello", "other"] {
        let image = engine.image(&format!("ko.local/{program}:latest"));
        let layers = image.config["rootfs"]["diff_ids"].as_array().unwrap().len();
        assert_eq!(layers, if program == "hello" { 5 } else { 4 }, "{program}");
    }
    // Both programs need the three layers of the base: what this machine keeps of them (the built-in base, the program)
    // isn't fetched, the other once.
    sandbox.run("gimg build ./cmd/hello -o oci:base").ok();
    let mut fetched = Vec::new();
    for layer in Layout::at(sandbox.path("src/base")).root()["layers"].as_array().unwrap() {
        let digest = layer["digest"].as_str().unwrap();
        let log = registry.log();
        let gets = log.iter().filter(|l| l.method == "GET" && l.status == 200 && l.target.ends_with(digest));
        fetched.push(gets.count());
    }
    assert_eq!(fetched, [0, 1, 0]);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn an_engine_that_is_not_there_is_said_before_anything_is_compiled() {
    let sandbox = Sandbox::go("hello");
    let build = |key: &str, value: &str, output: &str| {
        let sandbox = Sandbox::go("hello").env("PATH", &std::env::var("PATH").unwrap()).env(key, value);
        let ran = sandbox.run(&format!("gimg build ./cmd/other -o {output}"));
        early(&ran);
        assert!(!sandbox.path("src/gimg-out").exists());
        ran
    };
    build("DOCKER_HOST", "unix:///nonexistent.sock", "docker:").fails(
        7,
        &["connect to docker", "[unix:///nonexistent.sock]", "hint: start docker, or let DOCKER_HOST"],
    );
    build("DOCKER_HOST", "tcp://127.0.0.1:1", "docker:")
        .fails(7, &["connect to docker", "[tcp://127.0.0.1:1]"]);
    build("CONTAINER_HOST", "unix:///nonexistent.sock", "podman:")
        .fails(7, &["connect to podman", "CONTAINER_HOST"]);
    build("DOCKER_HOST", "ssh://me@host", "docker:").fails(3, &["ssh://me@host", "hint: forward the socket"]);
    build("DOCKER_CONTEXT", "nope", "docker:").fails(3, &["docker's context nope", "no such context"]);
    // Neither docker's, podman's nor containerd's commands are there.
    let go = std::env::split_paths(&std::env::var("PATH").unwrap()).find(|d| d.join("go").is_file()).unwrap();
    let sandbox = script(sandbox, "go", &format!("exec {}/go \"$@\"\n", go.display()));
    let bin = sandbox.path("bin").to_str().unwrap().to_owned();
    let sandbox = sandbox.env("PATH", &bin).env("XDG_RUNTIME_DIR", "/nonexistent");
    for (output, words) in [
        ("containerd:", &["connect to containerd: ctr isn't on PATH"][..]),
        ("kind:", &["the kind cluster kind", "docker isn't on PATH"]),
    ] {
        let ran = sandbox.run(&format!("gimg build ./cmd/other -o {output}"));
        early(&ran);
        ran.fails(7, words);
    }
    let base = sandbox.env("DOCKER_HOST", "unix:///nonexistent.sock");
    base.run("gimg build ./cmd/other --base ko.local/other").fails(7, &["use the base ko.local/other"]);
}

#[test]
fn a_base_may_come_out_of_docker() {
    let (sandbox, _engine) = with_docker("x86_64");
    sandbox.run("gimg build ./cmd/hello -L -B -t v1").ok();
    sandbox.run("gimg build ./cmd/hello -o oci:hello").ok();
    let base = Layout::at(sandbox.path("src/hello")).root();
    sandbox.run("gimg build ./cmd/other --base ko.local/hello:v1 -o oci:out").ok();
    let layout = Layout::at(sandbox.path("src/out"));
    let (layers, below) = (layout.root()["layers"].clone(), base["layers"].as_array().unwrap());
    // The engine gives layers without compression; ours is the same for the same bytes.
    assert_eq!(layers.as_array().unwrap()[..below.len()], below[..]);
    assert_eq!(layers.as_array().unwrap().len(), below.len() + 1);
    assert_eq!(layout.document(&layout.root()["config"])["config"]["Entrypoint"][0], "/ko-app/other");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    let none = sandbox.run("gimg build ./cmd/other --base ko.local/none");
    early(&none);
    none.fails(5, &["use the base ko.local/none", "docker has no image of this name"]);
    sandbox
        .run("gimg build ./cmd/other --base ko.local/hello:v1 --platform linux/arm64")
        .fails(5, &["it has no linux/arm64", "it has linux/amd64"]);
}

#[test]
fn an_engine_that_is_no_engine_is_said() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").env("DOCKER_HOST", &format!("tcp://{}", registry.host()));
    let ran = sandbox.run("gimg build ./cmd/other -L");
    early(&ran);
    ran.fails(10, &["connect to docker"]);
}

#[test]
fn a_load_that_fails_moves_no_name_anywhere() {
    let registry = TestRegistry::start();
    let (sandbox, engine) = with_docker("x86_64");
    let line = format!("gimg build ./cmd/other -o registry -o docker: --repo {}/r --bare", registry.host());
    for (trouble, code, words) in [
        (Trouble::Refused(500, "no space left on device"), 10, "no space left on device"),
        (Trouble::Late("invalid tar header"), 10, "invalid tar header"),
        (Trouble::HangsUp(100_000), 7, "into docker"),
        (Trouble::BreaksOff, 7, "into docker"),
    ] {
        engine.trouble(trouble.clone());
        let ran = sandbox.run(&line).fails(code, &["load ", words, &engine.host()]);
        // It comes last: when everything was built.
        assert!(ran.stderr.contains("compiled") || ran.stderr.contains("unchanged"), "{}", ran.stderr);
        assert!(registry.tags("r").is_empty(), "{trouble:?}");
        let tags: Vec<String> = engine.names().into_keys().filter(|n| n.ends_with(":latest")).collect();
        assert_eq!(tags, Vec::<String>::new(), "{trouble:?}");
        assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    }
    sandbox.run(&line).ok();
    assert_eq!(registry.tags("r").len(), 1);
}

#[test]
fn a_layer_that_changes_on_the_way_is_never_loaded() {
    let (sandbox, engine) = with_docker("x86_64");
    sandbox.run("gimg build ./cmd/hello -o oci:base").ok();
    let layout = Layout::at(sandbox.path("src/base"));
    let layers = layout.root()["layers"].clone();
    let hex = layers.as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().replace("sha256:", "");
    let path = sandbox.path("src/base/blobs/sha256").join(hex);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    let ran = sandbox.run("gimg build ./cmd/other -L --base oci:base");
    ran.fails(8, &["bytes, its descriptor says"]);
    let mut wrong = bytes;
    wrong.reverse();
    std::fs::write(&path, &wrong).unwrap();
    for output in ["docker:", "docker-archive:f.tar", "oci-archive:f.tar"] {
        let ran = sandbox.run(&format!("gimg build ./cmd/other -o {output} --base oci:base"));
        ran.fails(8, &["the content is sha256:"]);
    }
    assert!(!sandbox.path("src/f.tar").exists());
    assert!(engine.names().is_empty());
}

#[test]
fn docker_takes_no_zstd_and_podman_does() {
    let (sandbox, docker) = with_docker("x86_64");
    let line = "gimg build ./cmd/other --compression zstd -o";
    let ran = sandbox.run(&format!("{line} docker:"));
    early(&ran);
    ran.fails(2, &["docker reads no zstd layers", "hint: use --compression gzip"]);
    assert_eq!(docker.asked("POST"), 0);

    let podman = FakeEngine::start("amd64");
    let (hex, _) = reference_build(&sandbox, "--compression zstd");
    let sandbox = sandbox.env("CONTAINER_HOST", &podman.host());
    let ran = sandbox.run(&format!("{line} podman: -t v1")).ok();
    assert_eq!(ran.stdout, format!("ko.local/{OTHER}:{hex}\n"));
    let image = podman.image(&format!("ko.local/{OTHER}:v1"));
    assert!(image.files.contains_key(&format!("blobs/sha256/{hex}")), "the manifest is the registry's");
    assert_eq!(docker.asked("POST"), 0);
}

#[test]
fn the_active_context_leads_to_docker() {
    let engine = FakeEngine::start("x86_64");
    let sandbox = Sandbox::go("hello");
    let docker = sandbox.path("home/.docker");
    // sha256sum of "mine".
    let id = crate::support::sha256(b"mine");
    std::fs::create_dir_all(docker.join("contexts/meta").join(&id)).unwrap();
    std::fs::write(docker.join("config.json"), r#"{"currentContext": "mine"}"#).unwrap();
    let meta = format!(r#"{{"Name":"mine","Endpoints":{{"docker":{{"Host":"{}"}}}}}}"#, engine.host());
    std::fs::write(docker.join("contexts/meta").join(&id).join("meta.json"), meta).unwrap();
    sandbox.run("gimg build ./cmd/other -L").ok();
    assert_eq!(engine.count(), 1);
}

#[test]
fn several_engines_and_programs_at_once() {
    let (sandbox, docker) = with_docker("x86_64");
    let podman = FakeEngine::start("arm64");
    let sandbox = sandbox.env("CONTAINER_HOST", &podman.host());
    let ran = sandbox.run("gimg build ./cmd/... -B -o docker: -o podman: -t v1").ok();
    assert_eq!(ran.lines().len(), 2);
    for (engine, architecture) in [(&docker, "amd64"), (&podman, "arm64")] {
        for program in ["hello", "other"] {
            let image = engine.image(&format!("ko.local/{program}:v1"));
            assert_eq!(image.config["architecture"], architecture);
        }
        assert_eq!(engine.count(), 2);
    }
    let ran = sandbox.run("gimg build ./cmd/other -o docker: -o podman: -o docker-archive:f.tar");
    early(&ran);
    ran.fails(2, &["a docker-archive holds one platform", "hint: name one with --platform"]);
}

/// A `podman`, `ctr` or `docker` that writes down its arguments and what it is given: `log` and `N.tar`.
const RECORD: &str = r#"
dir=$(dirname "$0")/..
echo "$*" >> "$dir/log"
take() { n=$(ls "$dir" | grep -c '\.tar$'); cat > "$dir/part.$$"; mv "$dir/part.$$" "$dir/$1$n.tar"; }
"#;

/// What the recording command was called with.
fn log(sandbox: &Sandbox) -> Vec<String> {
    let text = std::fs::read_to_string(sandbox.path("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The config's digest and the names of an image that the recording command was given.
fn given(sandbox: &Sandbox, file: &str) -> (String, Vec<String>) {
    let (config, _, names) = unpacked(&std::fs::read(sandbox.path(file)).unwrap()).unwrap();
    (config, names)
}

#[test]
fn podman_without_a_socket_is_its_command() {
    let sandbox = Sandbox::go("hello");
    let (hex, config) = reference_build(&sandbox, "--platform linux/arm64");
    let text = format!(
        "{RECORD}\ncase \"$1\" in\ninfo) echo linux/arm64 ;;\nimage) exit 1 ;;\nload) take load ;;\nesac\n"
    );
    let sandbox = script(sandbox, "podman", &text);
    // A socket that a service left behind.
    let runtime = sandbox.path("run");
    std::fs::create_dir_all(runtime.join("podman")).unwrap();
    std::fs::write(runtime.join("podman/podman.sock"), "").unwrap();
    let sandbox = sandbox.env("XDG_RUNTIME_DIR", runtime.to_str().unwrap());
    let ran = sandbox.run("gimg build ./cmd/other -o podman: -t v1").ok();
    let name = format!("ko.local/{OTHER}:{hex}");
    assert_eq!(ran.stdout, format!("{name}\n"));
    assert_eq!(given(&sandbox, "load0.tar"), (config.clone(), vec![name.clone()]));
    let config = config.replace("sha256:", "");
    assert_eq!(
        log(&sandbox),
        [
            "info --format {{.Host.OS}}/{{.Host.Arch}}",
            &format!("image exists {config}"),
            "load --quiet",
            &format!("tag {name} ko.local/{OTHER}:v1"),
        ]
    );
    let text = format!("{RECORD}\ncase \"$1\" in\ninfo) echo linux/arm64 ;;\nimage) exit 0 ;;\nesac\n");
    let sandbox = script(sandbox, "podman", &text);
    sandbox.run("gimg build ./cmd/other -o podman: -t v2").ok();
    let last: Vec<String> = log(&sandbox).split_off(6);
    assert_eq!(last, [format!("tag {config} {name}"), format!("tag {name} ko.local/{OTHER}:v2")]);
    let sandbox = script(sandbox, "podman", "echo 'Error: cannot connect' >&2; exit 125\n");
    sandbox.run("gimg build ./cmd/other -o podman:").fails(7, &["connect to podman: cannot connect"]);
}

const CTR: &str = r#"
case "$*" in
*"plugins ls") printf 'TYPE ID PLATFORMS STATUS\nio.containerd.snapshotter.v1 overlayfs linux/amd64 ok\n' ;;
*"images import"*) take import ;;
*"images ls"*) cat "$dir/ls" 2>/dev/null || : ;;
esac
"#;

#[test]
fn containerd_is_asked_through_ctr() {
    let sandbox = script(Sandbox::go("hello"), "ctr", &format!("{RECORD}{CTR}"));
    let (hex, config) = reference_build(&sandbox, "--compression zstd");
    let line = "gimg build ./cmd/other --compression zstd -t v1 -o containerd:";
    let name = format!("ko.local/{OTHER}:{hex}");
    assert_eq!(sandbox.run(&format!("{line}k8s.io")).ok().stdout, format!("{name}\n"));
    assert_eq!(given(&sandbox, "import0.tar"), (config, vec![name.clone()]));
    let said = |prefix: &str, words: &str| format!("{prefix}{words}");
    let calls = |prefix: &str, import: bool| -> Vec<String> {
        let mut calls = vec![said(prefix, "plugins ls"), said(prefix, &format!("images ls name=={name}"))];
        if import {
            calls.push(said(prefix, "images import --all-platforms -"));
        }
        calls.push(said(prefix, &format!("images tag --force {name} ko.local/{OTHER}:v1")));
        calls
    };
    assert_eq!(log(&sandbox), calls("--namespace k8s.io ", true));
    // It is there: only names move. Without a namespace ctr knows it.
    std::fs::remove_file(sandbox.path("log")).unwrap();
    let row =
        format!("REF TYPE DIGEST SIZE PLATFORMS LABELS\n{name} type sha256:{hex} 1.0 MiB linux/amd64 -\n");
    std::fs::write(sandbox.path("ls"), row).unwrap();
    sandbox.run(line).ok();
    assert_eq!(log(&sandbox), calls("", false));

    std::fs::remove_file(sandbox.path("ls")).unwrap();
    let failing = CTR.replace("take import", "head -c 10 >/dev/null; echo 'ctr: no room' >&2; exit 1");
    let sandbox = script(sandbox, "ctr", &format!("{RECORD}{failing}"));
    let ran = sandbox.run(line).fails(10, &["load ko.local/", "into containerd: no room"]);
    assert_eq!(ran.stderr.matches("tagged").count(), 0);
    let sandbox = script(sandbox, "ctr", "echo 'ctr: connection refused' >&2; exit 1\n");
    let ran = sandbox.run(line);
    early(&ran);
    ran.fails(7, &["connect to containerd: connection refused", "CONTAINERD_ADDRESS"]);
}

/// A `docker` before a kind cluster `dev` of two nodes and a load balancer.
const KIND: &str = r#"
case "$*" in
"ps "*label=io.x-k8s.kind.cluster=dev*)
	printf 'dev-control-plane\tio.x-k8s.kind.cluster=dev,io.x-k8s.kind.role=control-plane\n'
	printf 'dev-external-load-balancer\tio.x-k8s.kind.role=external-load-balancer\n'
	printf 'dev-worker\tio.x-k8s.kind.cluster=dev,io.x-k8s.kind.role=worker\n' ;;
*"uname -m") echo aarch64 ;;
*"dev-worker ctr "*"images import"*) take worker ;;
*"dev-control-plane ctr "*"images import"*) take plane ;;
*"dev-worker ctr "*"images ls"*) cat "$dir/ls" 2>/dev/null || : ;;
esac
"#;

#[test]
fn every_node_of_a_kind_cluster_gets_the_image() {
    let sandbox = script(Sandbox::go("hello"), "docker", &format!("{RECORD}{KIND}"));
    let (hex, config) = reference_build(&sandbox, "--platform linux/arm64");
    let sandbox = sandbox.env("KO_DOCKER_REPO", "kind.local").env("KIND_CLUSTER_NAME", "dev");
    let name = format!("kind.local/{OTHER}:{hex}");
    assert_eq!(sandbox.run("gimg build ./cmd/other -t v1").ok().stdout, format!("{name}\n"));
    let mut tars: Vec<String> = std::fs::read_dir(sandbox.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.ends_with(".tar"))
        .collect();
    tars.sort();
    assert!(tars[0].starts_with("plane") && tars[1].starts_with("worker"), "{tars:?}");
    for tar in &tars {
        assert_eq!(given(&sandbox, tar), (config.clone(), vec![name.clone()]));
    }
    let calls = log(&sandbox);
    for node in ["dev-control-plane", "dev-worker"] {
        let inside = format!("exec --privileged -i {node} ctr --namespace=k8s.io images");
        for call in ["import --all-platforms -", &format!("tag --force {name} kind.local/{OTHER}:v1")] {
            let call = format!("{inside} {call}");
            assert_eq!(calls.iter().filter(|c| **c == call).count(), 1, "{call} in {calls:?}");
        }
    }
    // One node has it already.
    std::fs::write(sandbox.path("ls"), format!("{name} type sha256:{hex} 1 MiB linux/arm64 -\n")).unwrap();
    std::fs::remove_file(sandbox.path("log")).unwrap();
    sandbox.run("gimg build ./cmd/other -o kind: --repo kind.local/x -B --tags v1").ok();
    assert_eq!(log(&sandbox).iter().filter(|c| c.contains("images import")).count(), 2, "another name");
    std::fs::remove_file(sandbox.path("log")).unwrap();
    sandbox.run("gimg build ./cmd/other -o kind:dev").ok();
    let imports: Vec<String> = log(&sandbox).into_iter().filter(|c| c.contains("images import")).collect();
    assert!(imports.len() == 1 && imports[0].contains("dev-control-plane"), "{imports:?}");

    let ran = sandbox.run("gimg build ./cmd/other -o kind:other");
    early(&ran);
    ran.fails(7, &["the kind cluster other", "there is none that runs", "kind create cluster --name other"]);
}

#[test]
fn the_command_stops_when_gimg_is_interrupted_in_a_load() {
    let slow = CTR.replace("take import", "head -c 10 >/dev/null; echo started >> \"$dir/log\"; sleep 60");
    let sandbox = script(Sandbox::new(), "ctr", &format!("{RECORD}{slow}"));
    copy_tree(&root().join("testdata/go/hello"), &sandbox.path("src"));
    let mut child = sandbox.command("gimg build ./cmd/other -o containerd:").spawn().unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !log(&sandbox).contains(&"started".to_owned()) {
        assert!(std::time::Instant::now() < end, "the load never started");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!log(&sandbox).iter().any(|c| c.contains("images tag")));
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}
