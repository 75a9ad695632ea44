//! Images that pass through the hands of other tools: what gimg wrote keeps its digest, and what they wrote serves gimg
//! as a base.

use serde_json::Value;

use crate::daemon::{self, Daemon, Storage};
use crate::registries::journey::{BOTH, Program, copied};
use crate::support::setups::{Make, Running, Setup};
use crate::support::{Layout, Sandbox};

/// A registry that is open to everyone.
fn open(make: Make) -> Running {
    Setup::open(make).start()
}

/// A sandbox where regctl speaks HTTP to these registries.
fn with_regctl(sandbox: Sandbox, hosts: &[&str]) -> Sandbox {
    for host in hosts {
        sandbox.run(&format!("regctl registry set {host} --tls disabled")).ok();
    }
    sandbox
}

#[test]
#[ignore = "integration: needs regctl and oras"]
fn integration_a_digest_is_kept_through_every_copy() {
    let program = Program::hello();
    let digest = program.digest.as_str();
    let (a, b, c) = (open(Make::Olareg), open(Make::Distribution), open(Make::DockerRegistry));
    let (a, b, c) = (a.host(), b.host(), c.host());
    let sandbox = with_regctl(Sandbox::go("hello"), &[&a, &b, &c]);
    let run = |line: &str| sandbox.run(line).ok();
    let is = |image: &str| assert_eq!(run(&format!("crane digest {image}")).stdout.trim(), digest, "{image}");
    let tls = "--src-tls-verify=false --dest-tls-verify=false";

    run(&program.push(&format!("{a}/gimg/app")));
    run(&format!("crane copy {a}/gimg/app:v1 {b}/crane/app:v1"));
    is(&format!("{b}/crane/app:v1"));
    run(&format!("skopeo copy -q --all {tls} docker://{b}/crane/app:v1 docker://{c}/skopeo/app:v1"));
    is(&format!("{c}/skopeo/app:v1"));
    run(&format!("skopeo copy -q --all {tls} docker://{c}/skopeo/app:v1 oci:skopeo:v1"));
    assert_eq!(run(&format!("gimg push skopeo {a}/again/skopeo")).digest(), digest);
    run(&format!("regctl image copy {a}/again/skopeo:v1 ocidir://regctl:v1"));
    assert_eq!(run(&format!("gimg push regctl {b}/again/regctl")).digest(), digest);
    run(&format!("regctl image copy {b}/again/regctl:v1 {c}/regctl/app:v1"));
    is(&format!("{c}/regctl/app:v1"));
    run(&format!("oras copy --from-plain-http --to-plain-http {c}/regctl/app:v1 {a}/oras/app:v1"));
    is(&format!("{a}/oras/app:v1"));
    run(&format!("oras copy --from-plain-http --to-oci-layout {a}/oras/app:v1 oras:v1"));
    // oras lists the children too, without names.
    assert_eq!(run(&format!("gimg push oras:v1 {c}/again/oras")).digest(), digest);
    run(&format!("crane pull --format oci {c}/again/oras:v1 crane"));
    assert_eq!(run(&format!("gimg push crane {b}/again/crane -t v1")).digest(), digest);
    is(&format!("{b}/again/crane:v1"));
    run(&format!("crane validate --remote {b}/again/crane:v1"));
    // regctl finds the platforms and gets a file out.
    for platform in ["linux/amd64", "linux/arm64"] {
        let line = format!("regctl image get-file -p {platform} {a}/gimg/app:v1 run/ko/note.txt");
        let path = format!("regctl image get-file -p {platform} {a}/gimg/app:v1 var/run/ko/note.txt");
        let (one, other) = (sandbox.run(&line), sandbox.run(&path));
        let note = std::fs::read_to_string(sandbox.path("src/cmd/hello/kodata/note.txt")).unwrap();
        assert!(one.stdout == note || other.stdout == note, "{one:?} {other:?}");
    }
}

#[test]
#[ignore = "integration: needs containerd and root"]
fn integration_containerd_pulls_and_pushes_on() {
    let program = Program::hello();
    let daemon = Daemon::containerd();
    let sandbox = daemon::sandbox().env("CONTAINERD_ADDRESS", daemon.socket().to_str().unwrap());
    for make in [Make::Olareg, Make::Distribution, Make::DockerRegistry] {
        let registry = open(make);
        let host = registry.host();
        sandbox.run(&program.push(&format!("{host}/gimg/app"))).ok();
        let (from, to) = (format!("{host}/gimg/app:v1"), format!("{host}/containerd/app:v1"));
        sandbox.run(&format!("ctr images pull --plain-http --all-platforms {from}")).ok();
        sandbox.run(&format!("ctr images tag {from} {to}")).ok();
        sandbox.run(&format!("ctr images push --plain-http {to}")).ok();
        assert_eq!(sandbox.run(&format!("crane digest {to}")).ok().stdout.trim(), program.digest);
        sandbox.run(&format!("crane validate --remote {to}")).ok();
    }
}

/// Builds on a base for some platforms, pushes, and checks that the base's layers come first.
fn build_on(sandbox: &Sandbox, host: &str, base: &str, platforms: &str) {
    let image = format!("{host}/on/{}", base.replace([':', '/', '.', '@'], "-").to_lowercase());
    let flags = format!("--platform {platforms} --repo {image} --bare --tags v1");
    sandbox.run(&format!("gimg build ./cmd/hello --base {base} {flags}")).ok();
    sandbox.run(&format!("crane validate --remote {image}:v1")).ok();
    let setup = Setup::open(Make::Olareg);
    let below = if let Some(dir) = base.strip_prefix("oci:") {
        Layout::at(sandbox.cwd().join(dir.split(':').next().unwrap()))
    } else {
        copied(setup, sandbox, base, "below")
    };
    let (below, above) = (below.images(), copied(setup, sandbox, &format!("{image}:v1"), "above").images());
    assert_eq!(above.len(), platforms.split(',').count());
    for (platform, manifest) in &above {
        let digests = |manifest: &Value| -> Vec<String> {
            let layers = manifest["layers"].as_array().unwrap().iter();
            layers.map(|l| l["digest"].as_str().unwrap().to_owned()).collect()
        };
        let (own, under) = (digests(manifest), digests(&below[platform]));
        assert!(own.len() > under.len() && own.starts_with(&under), "{base} {platform}");
    }
}

const PAIR: &str = "linux/amd64,linux/arm64";

/// A tar with a small root file system, `root.tar`.
fn root_tar(sandbox: &Sandbox) {
    sandbox.write("root/etc/os-release", "ID=other\n");
    sandbox.write("root/usr/share/data", &"data\n".repeat(1000));
    sandbox.run("tar -cf root.tar -C root etc usr").ok();
}

#[test]
#[ignore = "integration: needs regctl, oras and ko"]
fn integration_gimg_builds_on_what_others_wrote() {
    let (olareg, distribution) = (open(Make::Olareg), open(Make::Distribution));
    for registry in [&olareg, &distribution] {
        let host = registry.host();
        let sandbox = with_regctl(Sandbox::go("hello"), &[&host]);
        let run = |line: &str| sandbox.run(line).ok();
        root_tar(&sandbox);
        // crane: two images out of nothing, and an index of them.
        for arch in ["amd64", "arm64"] {
            let image = format!("{host}/crane/{arch}:v1");
            run(&format!("crane append --oci-empty-base -f root.tar -t {image}"));
            run(&format!("crane mutate --set-platform linux/{arch} -t {image} {image}"));
        }
        let base = format!("{host}/crane/base:v1");
        run(&format!("crane index append -m {host}/crane/amd64:v1 -m {host}/crane/arm64:v1 -t {base}"));
        build_on(&sandbox, &host, &base, PAIR);
        run(&format!("crane mutate --env A=b --label c=d -t {host}/crane/changed:v1 {host}/crane/arm64:v1"));
        build_on(&sandbox, &host, &format!("{host}/crane/changed:v1"), "linux/arm64");
        // skopeo: in Docker's types, with zstd, in a layout.
        let tls = "--src-tls-verify=false --dest-tls-verify=false";
        for (name, flags) in [("v2s2", "--format v2s2"), ("zstd", "--dest-compress-format zstd")] {
            let to = format!("{host}/skopeo/{name}:v1");
            run(&format!("skopeo copy -q --all {flags} {tls} docker://{base} docker://{to}"));
            build_on(&sandbox, &host, &to, PAIR);
        }
        run(&format!("skopeo copy -q --all {tls} docker://{base} oci:skopeo:v1"));
        build_on(&sandbox, &host, "oci:skopeo:v1", PAIR);
        // regctl: changed, and in a layout.
        let changed = format!("{host}/regctl/changed:v1");
        run(&format!("regctl image mod {base} --annotation a=b --label c=d --create {changed}"));
        build_on(&sandbox, &host, &changed, PAIR);
        run(&format!("regctl image copy {base} ocidir://regctl:v1"));
        build_on(&sandbox, &host, "oci:regctl:v1", PAIR);
        // oras: a layout.
        run(&format!("oras copy --from-plain-http --to-oci-layout {base} oras:v1"));
        build_on(&sandbox, &host, "oci:oras:v1", PAIR);
        // umoci: a layout of its own making.
        for line in [
            "umoci init --layout umoci",
            "umoci new --image umoci:v1",
            "umoci insert --image umoci:v1 root/etc /etc",
            "umoci config --image umoci:v1 --os linux --architecture amd64 --config.user 65532",
        ] {
            run(line);
        }
        build_on(&sandbox, &host, "oci:umoci:v1", "linux/amd64");
        run("rm -rf umoci");
        // ko on crane's base, and gimg on ko's image.
        let ko = "ko build --bare --sbom=none --platform=linux/amd64,linux/arm64 ./cmd/other";
        let mut command = sandbox.command(ko);
        command.env("KO_DOCKER_REPO", format!("{host}/ko/app")).env("KO_DEFAULTBASEIMAGE", &base);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        build_on(&sandbox, &host, &format!("{host}/ko/app:latest"), PAIR);
        // What isn't an image isn't a base.
        sandbox.write("note.txt", "a note");
        run(&format!("oras push --plain-http {host}/oras/note:v1 --artifact-type example/note note.txt"));
        let line = format!("gimg build ./cmd/hello --base {host}/oras/note:v1");
        let ran = sandbox.run(&line).fails(5, &["oras/note:v1"]);
        println!("{}", ran.stderr);
    }
}

#[test]
#[ignore = "integration: needs podman and root"]
fn integration_gimg_builds_on_what_podman_pushed() {
    let storage = Storage::new();
    let sandbox = storage.environment().iter().fold(daemon::sandbox(), |s, (key, value)| s.env(key, value));
    let run = |line: &str| sandbox.run(line).ok();
    root_tar(&sandbox);
    sandbox.write("Containerfile", "FROM scratch\nCOPY root /\nENV A=b\nUSER 65532\nEXPOSE 80\n");
    run("podman import root.tar local/imported");
    run("podman build --platform linux/arm64 -t local/built .");
    for make in [Make::Olareg, Make::Distribution, Make::DockerRegistry] {
        let registry = open(make);
        let host = registry.host();
        for format in ["oci", "v2s2"] {
            for (name, platform) in [("imported", "linux/amd64"), ("built", "linux/arm64")] {
                let to = format!("{host}/podman/{name}:{format}");
                run(&format!("podman push --tls-verify=false --format {format} local/{name} docker://{to}"));
                build_on(&sandbox, &host, &to, platform);
            }
        }
        // And the other way: podman knows an image that gimg pushed by its digest.
        let image = format!("{host}/gimg/app");
        let line = format!("gimg build ./cmd/other {BOTH} --repo {image} --bare --tags v1");
        let digest = run(&line).digest();
        for platform in ["linux/amd64", "linux/arm64"] {
            run(&format!("podman pull -q --tls-verify=false --platform {platform} {image}:v1"));
            let digests =
                run(&format!("podman image inspect {image}:v1 --format {{{{.RepoDigests}}}}")).stdout;
            assert!(digests.contains(&digest), "{digests}");
            run(&format!("podman push --tls-verify=false {image}:v1 docker://{image}:pushed"));
            build_on(&sandbox, &host, &format!("{image}:pushed"), platform);
        }
    }
}
