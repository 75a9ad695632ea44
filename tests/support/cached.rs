//! A program without a build, on a base in a registry: what the tests of the cache run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::json;

use super::Sandbox;
use super::registry::TestRegistry;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Bytes that no compressor makes smaller, of a fixed sequence (Knuth's MMIX generator).
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u8::try_from(state >> 56).unwrap()
    };
    (0..size).map(|_| next()).collect()
}

/// Puts an index with one image of layers of these sizes into the registry as `base/noise:v1`; gives the digests of all
/// that a build by digest reads: the index, the manifest, the config, the layers.
pub(crate) fn base(registry: &TestRegistry, sizes: &[usize]) -> Vec<String> {
    let repo = "base/noise";
    let mut layers = Vec::new();
    for (seed, size) in sizes.iter().enumerate() {
        let digest = registry.put_blob(repo, noise(seed as u64 + 1, *size));
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        layers.push(json!({"mediaType": media_type, "digest": digest, "size": size}));
    }
    let ids: Vec<_> = layers.iter().map(|l| l["digest"].clone()).collect();
    let config = json!({"os": "linux", "architecture": "amd64", "config": {},
        "rootfs": {"type": "layers", "diff_ids": ids}})
    .to_string();
    let size = config.len();
    let config = registry.put_blob(repo, config);
    let media_type = "application/vnd.oci.image.config.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
        "config": {"mediaType": media_type, "digest": config, "size": size}})
    .to_string();
    let digest = format!("sha256:{}", super::sha256(manifest.as_bytes()));
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{
        "mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
        "platform": {"os": "linux", "architecture": "amd64"}}]})
    .to_string();
    registry.put_manifest(repo, &digest, MANIFEST, manifest);
    registry.put_manifest(repo, "v1", INDEX, index);
    let root = registry.tags(repo)["v1"].clone();
    let mut all = vec![root, digest, config];
    all.extend(ids.iter().map(|id| id.as_str().unwrap().to_owned()));
    all
}

/// A sandbox with a program for linux/amd64 at `app`, compiled once for all tests.
pub(crate) fn program() -> Sandbox {
    static PROGRAM: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = PROGRAM.get_or_init(|| {
        let sandbox = Sandbox::new()
            .file("go.mod", "module example.com/app\n\ngo 1.21\n")
            .file("main.go", "package main\n\nfunc main() {}\n");
        let mut go = sandbox.command("go build -trimpath -o app");
        let go = go.args(["-ldflags", "-s -w"]).env("GOOS", "linux").env("GOARCH", "amd64");
        assert!(go.env("CGO_ENABLED", "0").status().unwrap().success());
        std::fs::read(sandbox.path("src/app")).unwrap()
    });
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("src/app"), bytes).unwrap();
    sandbox
}

/// The line that makes the image of `app` on `base/noise:v1`, as a layout at `../out`.
pub(crate) fn line(registry: &TestRegistry) -> String {
    let base = format!("{}/base/noise:v1", registry.host());
    format!("gimg pack --binary linux/amd64=app --compression none --base {base} -o oci:../out")
}

/// What was got since the request number `since`: the last parts of the paths.
pub(crate) fn got(registry: &TestRegistry, since: usize) -> BTreeSet<String> {
    let log = registry.log();
    let got = log[since..].iter().filter(|l| l.method == "GET" && l.target != "/v2/");
    got.map(|l| l.target.rsplit('/').next().unwrap().to_owned()).collect()
}

/// The directory of blobs in the cache of a sandbox.
pub(crate) fn blobs(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("home/.cache/gimg/v1/blobs/sha256")
}

/// The names in a directory of the cache of a sandbox; none if it isn't there.
pub(crate) fn names(sandbox: &Sandbox, dir: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(sandbox.path("home/.cache/gimg/v1").join(dir));
    let entries = entries.into_iter().flatten().map(|e| e.unwrap().file_name().into_string().unwrap());
    entries.collect()
}

/// The command `script` of a shell that may mount: what it mounts is gone with it.
pub(crate) fn mounting(sandbox: &Sandbox, script: &str) -> Command {
    let how = if super::rootfs::is_root() { "unshare -m sh -c" } else { "unshare -rm sh -c" };
    let mut command = sandbox.command(how);
    command.arg(script);
    command
}
