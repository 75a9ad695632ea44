//! The Kubernetes YAML of projects that use ko, resolved as their authors keep it, with their `.ko.yaml`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::real::module;
use crate::support::kube::ApiServer;
use crate::support::servers::Server;
use crate::support::{Layout, Sandbox, go_log, tool};

const SERVING: &str = "knative.dev/serving@v0.42.2";

/// What `gimg resolve -f FILES` makes of the files: each as it is but for its references, which are replaced by those
/// of the registry.
fn check(sandbox: &Sandbox, files: &[String], out: &str) -> BTreeMap<String, String> {
    let mut references = BTreeMap::new();
    let mut rest = out;
    for file in files {
        let text = std::fs::read_to_string(sandbox.cwd().join(file)).unwrap();
        let mut parts = text.split("ko://");
        rest = rest.strip_prefix(parts.next().unwrap()).unwrap_or_else(|| panic!("the start of {file}"));
        for part in parts {
            let (path, after) = part.split_at(part.find('\n').unwrap());
            let (reference, tail) = rest.split_at(rest.find('\n').unwrap());
            let before = references.insert(path.to_owned(), reference.to_owned());
            assert!(before.is_none_or(|b| b == reference), "{path} has one reference");
            rest = tail.strip_prefix(after).unwrap_or_else(|| panic!("{file} after {path}"));
        }
        rest = rest.strip_prefix("\n---\n").unwrap_or_else(|| panic!("the end of {file}"));
    }
    assert_eq!(rest, "");
    references
}

/// The files of a directory as `-R` walks them.
fn walk(root: &Path, dir: &str) -> Vec<String> {
    let mut entries: Vec<_> =
        std::fs::read_dir(root.join(dir)).unwrap().map(|e| e.unwrap().file_name()).collect();
    entries.sort();
    let names = entries.iter().map(|e| format!("{dir}/{}", e.to_str().unwrap()));
    let below = names.flat_map(|n| if root.join(&n).is_dir() { walk(root, &n) } else { vec![n] });
    below.filter(|n| n.ends_with(".yaml")).collect()
}

#[test]
fn a_config_map_and_a_custom_resource_of_knative_serving() {
    let Some(sandbox) = module(SERVING) else { return };
    let registry = Server::olareg();
    let sandbox = sandbox
        .env("KO_DOCKER_REPO", &format!("{}/k", registry.host()))
        .env("GOFLAGS", "-mod=mod -modcacherw");
    let files = ["config/core/configmaps/deployment.yaml", "config/core/999-cache.yaml"].map(str::to_owned);
    let ran = sandbox.run(&format!("gimg resolve -f {} --base static", files.join(","))).ok();
    let references = check(&sandbox, &files, &ran.stdout);
    let queue = &references["knative.dev/serving/cmd/queue"];
    assert_eq!(references.len(), 1, "{references:?}");
    sandbox.run(&format!("crane --insecure validate --remote {queue}")).ok();
}

#[test]
fn kos_own_test_deployment() {
    let Some(sandbox) = module("github.com/google/ko@v0.19.1") else { return };
    let registry = Server::olareg();
    let sandbox = sandbox.env("KO_DOCKER_REPO", &format!("{}/k", registry.host())).env("LDFLAGS", "-s");
    let ran = sandbox.run("gimg resolve -f test/ --base static").ok();
    let references = check(&sandbox, &["test/test.yaml".to_owned()], &ran.stdout);
    let image = &references["github.com/google/ko/test"];
    sandbox.run(&format!("crane --insecure validate --remote {image}")).ok();
}

#[test]
fn kos_own_build_configurations() {
    let Some(sandbox) = module("github.com/google/ko@v0.19.1") else { return };
    let sandbox = sandbox.cd("src/test/build-configs");
    // The modules that its entries are for are not in ko's module; their names are.
    for name in ["foo", "bar", "toolexec", "caps"] {
        sandbox.write(&format!("{name}/go.mod"), &format!("module example.com/{name}\n\ngo 1.24\n"));
        sandbox.write(&format!("{name}/cmd/main.go"), "package main\n\nfunc main() {}\n");
    }
    let log = go_log(&sandbox);
    let sandbox = log.sandbox(sandbox);
    let ran = sandbox
        .run("gimg build ./foo/cmd example.com/bar/cmd --base scratch --repo a.example/x --push=false")
        .ok();
    assert_eq!(ran.lines().len(), 2, "{}", ran.stdout);
    assert!(log.text().contains("build -v -v -trimpath"), "the short form of flags: {}", log.text());
    sandbox.run("gimg build ./toolexec/cmd").fails(3, &["-toolexec is not allowed"]);
    let capabilities = |config: &str| {
        sandbox
            .run(&format!(
                "gimg build ./caps/cmd --config {config} --base scratch -o oci:../caps --compression none"
            ))
            .ok();
        let layout = Layout::at(sandbox.path("src/test/caps"));
        let layer = layout.blob(layout.root()["layers"][0]["digest"].as_str().unwrap());
        String::from_utf8_lossy(&layer).contains("security.capability")
    };
    assert!(!capabilities(".ko.yaml"));
    assert!(capabilities("caps.ko.yaml"));
}

#[test]
#[ignore = "integration: compiles for minutes"]
fn integration_timestamp_authority() {
    let Some(sandbox) = module("github.com/sigstore/timestamp-authority/v2@v2.0.3") else { return };
    let registry = Server::olareg();
    let sandbox = sandbox
        .env("KO_DOCKER_REPO", &format!("{}/t", registry.host()))
        .env("GIT_HASH", "abc")
        .env("GIT_VERSION", "v2.0.3")
        .env("LDFLAGS", "-s -w");
    let ran = sandbox.run("gimg build --all --base static -B").ok();
    for (line, name) in ran.lines().iter().zip(["timestamp-cli", "timestamp-server"]) {
        assert!(line.starts_with(&format!("{}/t/{name}@", registry.host())), "{line}");
        sandbox.run(&format!("crane --insecure validate --remote {line}")).ok();
    }
}

#[test]
#[ignore = "integration: compiles for minutes"]
fn integration_fulcio() {
    let Some(sandbox) = module("github.com/sigstore/fulcio@v1.8.8") else { return };
    let registry = Server::olareg();
    let mut sandbox = sandbox.env("KO_DOCKER_REPO", &format!("{}/k", registry.host()));
    // What its Makefile sets; its `.ko.yaml` asks for all of them.
    for name in ["GIT_HASH", "GIT_VERSION", "LDFLAGS"] {
        sandbox = sandbox.env(name, if name == "LDFLAGS" { "-s -w" } else { "v1.8.8" });
    }
    let log = go_log(&sandbox);
    let sandbox = log.sandbox(sandbox);
    let ran = sandbox.run("gimg resolve -R -f config/ --base static").ok();
    assert_eq!(log.count("build"), 1, "{}", log.text());
    let references = check(&sandbox, &walk(sandbox.cwd(), "config"), &ran.stdout);
    sandbox
        .run(&format!("crane --insecure validate --remote {}", references["github.com/sigstore/fulcio"]))
        .ok();
}

#[test]
#[ignore = "integration: compiles nine programs for two platforms"]
fn integration_knative_serving_is_built_by_one_command_and_an_api_server_takes_it() {
    let Some(sandbox) = module(SERVING) else { return };
    let (registry, api) = (Server::olareg(), ApiServer::start());
    let log = go_log(&sandbox);
    std::os::unix::fs::symlink(tool("kubectl"), sandbox.path("bin/kubectl")).unwrap();
    let sandbox = log
        .sandbox(sandbox)
        .env("KUBECONFIG", api.kubeconfig().to_str().unwrap())
        .env("KO_DOCKER_REPO", &format!("{}/k", registry.host()))
        .env("GOFLAGS", "-mod=mod -modcacherw");
    // In Knative's repository these definitions are links into its vendored modules, which a module leaves out.
    for (module, file) in
        [("knative.dev/caching", "image.yaml"), ("knative.dev/networking", "certificate.yaml")]
    {
        let ran = sandbox.run(&format!("go mod download -json {module}")).ok();
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        sandbox.run(&format!("kubectl create -f {}/config/{file}", report["Dir"].as_str().unwrap())).ok();
    }
    let files = walk(sandbox.cwd(), "config");
    let line = "-R -f config/ --base static --platform linux/amd64,linux/arm64";
    let start = std::time::Instant::now();
    let ran = sandbox.run(&format!("gimg resolve {line}")).ok();
    println!("{} files resolved in {:.1} s", files.len(), start.elapsed().as_secs_f64());
    assert_eq!(log.count("build"), 2, "one for each platform:\n{}", log.text());
    let references = check(&sandbox, &files, &ran.stdout);
    assert_eq!(references.len(), 9, "{references:?}");
    for reference in references.values() {
        sandbox.run(&format!("crane --insecure validate --remote {reference}")).ok();
    }

    let created = sandbox.run(&format!("gimg create {line} -q")).ok();
    let objects = ran.stdout.lines().filter(|l| l.starts_with("kind:")).count();
    assert_eq!(
        created.lines().iter().filter(|l| l.ends_with(" created")).count(),
        objects,
        "{}",
        created.stdout
    );
    let json =
        sandbox.run("kubectl get deployment,configmap,image.caching -n knative-serving -o json").ok().stdout;
    for name in ["activator", "autoscaler", "autoscaler-hpa", "controller", "queue", "webhook"] {
        let reference = &references[&format!("knative.dev/serving/cmd/{name}")];
        assert!(json.contains(&format!("\"{reference}\"")), "{name}");
    }
}
