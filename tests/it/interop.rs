//! Others can use what gimg makes, and gimg what others make: registries, clients and unpackers of several makes.

use serde_json::Value;

use crate::support::servers::Server;
use crate::support::{Layout, Sandbox, read_tar, rootfs, sha256};

const BOTH: &str = "--platform linux/amd64,linux/arm64";

/// Builds hello for two platforms with further arguments; gives the digest.
fn build(sandbox: &Sandbox, more: &str) -> String {
    sandbox.run(&format!("gimg build ./cmd/hello {BOTH} {more}")).ok().digest()
}

/// The digest of the root of a layout.
fn digest_of(layout: &Layout) -> Value {
    layout.index()["manifests"][0]["digest"].clone()
}

/// An archive is the layout `layout`, file by file, but that it also says the image's full name.
#[track_caller]
fn is_layout_with_name(sandbox: &Sandbox, archive: &str, name: &str) {
    let folder = format!("of-{archive}");
    let _ = std::fs::remove_dir_all(sandbox.path("src").join(&folder));
    std::fs::create_dir(sandbox.path("src").join(&folder)).unwrap();
    sandbox.run(&format!("tar -xf {archive} -C {folder}")).ok();
    sandbox.run(&format!("diff -r -x .gitignore -x index.json {folder} layout")).ok();
    let index = |folder: &str| -> Value {
        let text = std::fs::read(sandbox.path("src").join(folder).join("index.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let mut archived = index(&folder);
    let annotations = archived["manifests"][0]["annotations"].as_object_mut().unwrap();
    assert_eq!(annotations.shift_remove("io.containerd.image.name"), Some(name.into()));
    assert_eq!(archived, index("layout"));
}

#[test]
fn the_same_digest_everywhere() {
    let (here, elsewhere) = (Sandbox::go("hello"), Sandbox::go("hello"));
    let digest = build(&here, "--output oci:layout --output oci-archive:layout.tar");
    assert_eq!(build(&elsewhere, "--output oci:layout"), digest);
    is_layout_with_name(&here, "layout.tar", "gimg.local/hello:latest");
    for server in [Server::olareg(), Server::distribution(), Server::docker_registry()] {
        let host = server.host();
        let all = format!("--repo {host}/built --bare -o registry -o oci:all -o oci-archive:all.tar");
        assert_eq!(build(&here, &all), digest);
        here.run("diff -r all layout").ok();
        is_layout_with_name(&here, "all.tar", &format!("{host}/built:latest"));
        assert_eq!(here.run(&format!("gimg push layout {host}/pushed")).ok().digest(), digest);
        for repository in ["built", "pushed"] {
            let crane = here.run(&format!("crane digest {host}/{repository}:latest")).ok();
            assert_eq!(crane.stdout.trim(), digest);
        }
    }
}

#[test]
fn other_clients_pull_what_was_pushed() {
    for server in [Server::olareg(), Server::distribution(), Server::docker_registry()] {
        let sandbox = Sandbox::go("hello");
        let image = format!("{}/team/app", server.host());
        let digest = build(&sandbox, &format!("--repo {image} --bare"));
        sandbox.run(&format!("crane validate --remote {image}:latest")).ok();
        let skopeo = "skopeo copy -q --all --src-tls-verify=false";
        sandbox.run(&format!("{skopeo} docker://{image}:latest oci:skopeo:latest")).ok();
        let copy = Layout::at(sandbox.path("src/skopeo"));
        assert_eq!(digest_of(&copy), *digest);
        sandbox.run(&format!("crane pull --format oci {image}:latest crane")).ok();
        assert_eq!(digest_of(&Layout::at(sandbox.path("src/crane"))), *digest);
        for (platform, manifest) in copy.images() {
            sandbox.run(&format!("crane export --platform {platform} {image}:latest files.tar")).ok();
            let exported = read_tar(&std::fs::read(sandbox.path("src/files.tar")).unwrap());
            let layers = manifest["layers"].as_array().unwrap().iter();
            // crane writes folders without the slash.
            let expected = layers
                .flat_map(|l| copy.entries(l))
                .map(|(name, entry)| (name.trim_end_matches('/').to_owned(), entry))
                .collect();
            rootfs::assert_same(&exported, &expected);
        }
    }
}

#[test]
fn unpackers_write_just_what_the_layers_say() {
    let sandbox = Sandbox::go("hello");
    for arch in ["amd64", "arm64"] {
        sandbox.run(&format!("gimg build ./cmd/hello --platform linux/{arch} --output oci:{arch}")).ok();
        let layout = Layout::at(sandbox.path(&format!("src/{arch}")));
        let expected = rootfs::applied(&layout, &layout.root());
        for name in ["ko-app/hello", "run/ko/sub/deep.txt", "usr/share/zoneinfo/Asia/Shanghai"] {
            assert!(expected.contains_key(name), "{name}");
        }
        rootfs::assert_same(&rootfs::on_disk(&rootfs::unpack(&sandbox, arch)), &expected);
    }
}

#[test]
fn every_document_follows_the_image_specification() {
    let sandbox = Sandbox::go("hello");
    let more = "-o oci:one --image-label a=b --image-annotation c=d --tags v1,v2 --compression zstd";
    sandbox.run(&format!("gimg build ./cmd/hello {more}")).ok();
    build(&sandbox, "-o oci:two");
    sandbox.run(&format!("gimg build ./... -o oci:several --repo example.com/r {BOTH}")).ok();
    for name in ["one", "two", "several"] {
        let layout = Layout::at(sandbox.path(&format!("src/{name}")));
        let check = |kind: &str, file: &str| {
            sandbox.run(&format!("oci-validate {kind} {name}/{file}")).ok();
        };
        let blob = |d: &Value| format!("blobs/sha256/{}", &d["digest"].as_str().unwrap()[7..]);
        check("layout", "oci-layout");
        check("index", "index.json");
        for entry in layout.index()["manifests"].as_array().unwrap() {
            let root = layout.document(entry);
            let children = match root["manifests"].as_array() {
                Some(children) => {
                    check("index", &blob(entry));
                    children.clone()
                }
                None => vec![entry.clone()],
            };
            for child in &children {
                check("manifest", &blob(child));
                check("config", &blob(&layout.document(child)["config"]));
            }
        }
    }
}

#[test]
fn layouts_and_archives_open_in_other_tools() {
    let sandbox = Sandbox::go("hello");
    let outputs = "-o oci:image -o oci-archive:oci.tar -o docker-archive:docker.tar";
    let ran = sandbox.run(&format!("gimg build ./cmd/hello {outputs} --tags v1,v2")).ok();
    for image in ["oci:image:v1", "oci:image:v2", "oci-archive:oci.tar:v2"] {
        let report = sandbox.run(&format!("skopeo inspect {image}")).ok();
        let report: Value = serde_json::from_str(&report.stdout).unwrap();
        assert_eq!(report["Digest"], *ran.digest(), "{image}");
        assert_eq!(report["Architecture"], "amd64");
    }
    assert_eq!(sandbox.run("umoci ls --layout image").ok().stdout, "v1\nv2\n");
    let stat = sandbox.run("umoci stat --json --image image:v1").ok();
    let stat: Value = serde_json::from_str(&stat.stdout).unwrap();
    assert_eq!(stat["history"].as_array().unwrap().len(), 3);
    sandbox.run("crane validate --tarball docker.tar").ok();
    // Docker calls an image by the digest of its config.
    let config = sandbox.run("skopeo inspect --config --raw docker-archive:docker.tar").ok().stdout;
    let layout = Layout::at(sandbox.path("src/image"));
    assert_eq!(layout.root()["config"]["digest"], format!("sha256:{}", sha256(config.as_bytes())));
}

#[test]
fn names_and_tags_are_as_in_ko() {
    let server = Server::olareg();
    let sandbox = Sandbox::go("hello");
    let repo = format!("{}/r", server.host());
    let build =
        |flags: &str| sandbox.run(&format!("gimg build ./cmd/hello --repo {repo} {flags}")).ok().stdout;
    let mut digest = String::new();
    for (flag, name) in [
        ("", "r/hello-20224deb52929e35ecb74c0e57f6ee11"),
        ("-B", "r/hello"),
        ("-P", "r/example.com/hello/cmd/hello"),
        ("--bare", "r"),
    ] {
        let image = format!("{}/{name}", server.host());
        let reference = build(&format!("{flag} --tags v1,v1.2"));
        digest = reference.trim_end().split('@').nth(1).unwrap().to_owned();
        assert_eq!(reference, format!("{image}@{digest}\n"));
        assert_eq!(sandbox.run(&format!("crane ls {image}")).ok().stdout, "v1\nv1.2\n");
        for tag in ["v1", "v1.2"] {
            assert_eq!(sandbox.run(&format!("crane digest {image}:{tag}")).ok().stdout.trim(), digest);
        }
    }
    // A reference says its tag if there is just one and it isn't the usual one.
    assert_eq!(build("--bare --tags v2"), format!("{repo}:v2@{digest}\n"));
    assert_eq!(build("--bare"), format!("{repo}@{digest}\n"));
}

#[test]
fn programs_that_share_layers_are_put_into_one_layout_together() {
    let sandbox = Sandbox::new().file("go.mod", "module example.com/many\n\ngo 1.21\n");
    for name in ["a", "b", "c", "d", "e", "f"] {
        sandbox.write(&format!("cmd/{name}/main.go"), "package main\n\nfunc main() {}\n");
    }
    sandbox.run("gimg build ./... --repo example.com/r --output oci:all --jobs 8").ok();
    assert_eq!(sandbox.run("umoci ls --layout all").ok().lines().len(), 6);
    sandbox.run("skopeo inspect oci:all:f:latest").ok();
    sandbox.run("gimg build ./cmd/a --output oci:one --output oci:./cmd/../one/").ok();
}

/// A base of two platforms in the registry, made by gimg: its reference and digest.
fn push_base(sandbox: &Sandbox, host: &str) -> (String, String) {
    let base = format!("{host}/team/base");
    let ran = sandbox.run(&format!("gimg build ./cmd/other {BOTH} --repo {base} --bare --tags v1")).ok();
    (format!("{base}:v1"), ran.digest())
}

/// The two annotations that name a base.
fn base_of(document: &Value) -> (&str, &str) {
    let annotation =
        |key: &str| document["annotations"][format!("org.opencontainers.image.base.{key}")].as_str();
    (annotation("name").unwrap(), annotation("digest").unwrap())
}

/// Pulls an image into a layout `pulled`, checked by crane before.
fn pull(sandbox: &Sandbox, image: &str) -> Layout {
    sandbox.run(&format!("crane validate --remote {image}")).ok();
    sandbox.run("rm -rf pulled").ok();
    sandbox
        .run(&format!("skopeo copy -q --all --src-tls-verify=false docker://{image} oci:pulled:latest"))
        .ok();
    Layout::at(sandbox.path("src/pulled"))
}

#[test]
fn a_base_is_named_by_its_true_digests_and_its_layers_are_mounted() {
    let server = Server::olareg();
    let sandbox = Sandbox::go("hello");
    let (base, digest) = push_base(&sandbox, &server.host());
    let base_layout = pull(&sandbox, &base);
    let (base_root, bases) = (base_layout.root(), base_layout.images());
    let image = format!("{}/out/app", server.host());
    let ran = sandbox.run(&format!("gimg build ./cmd/hello {BOTH} --base {base} --repo {image} --bare -v"));
    let said = ran.ok().stderr;
    let layout = pull(&sandbox, &format!("{image}:latest"));
    assert_eq!(base_of(&layout.root()), (&*base, &*digest));
    for (child, (platform, manifest)) in
        base_root["manifests"].as_array().unwrap().iter().zip(layout.images())
    {
        assert_eq!(base_of(&manifest), (&*base, child["digest"].as_str().unwrap()), "{platform}");
        let below = bases[&platform]["layers"].as_array().unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), below.len() + 2, "kodata and program");
        assert_eq!(&layers[..below.len()], below);
        for layer in below {
            let mounted = format!("{image}: mounted {}", layer["digest"].as_str().unwrap());
            assert!(said.contains(&mounted), "no {mounted:?} in:\n{said}");
        }
    }
}

#[test]
fn a_base_in_another_registry_or_in_a_layout_is_brought_along() {
    let (theirs, ours) = (Server::distribution(), Server::olareg());
    let sandbox = Sandbox::go("hello");
    let (base, _) = push_base(&sandbox, &theirs.host());
    let image = format!("{}/app", ours.host());
    build(&sandbox, &format!("--base {base} --repo {image} --bare"));
    let remote = pull(&sandbox, &format!("{image}:latest")).images();
    sandbox.run(&format!("gimg build ./cmd/other {BOTH} -o oci:base --tags v1")).ok();
    build(&sandbox, &format!("--base oci:base --repo {image} --bare --tags local"));
    let layout = pull(&sandbox, &format!("{image}:local"));
    assert_eq!(layout.root().get("annotations"), None, "a layout has no name that others know");
    for (platform, manifest) in layout.images() {
        assert_eq!(manifest["layers"], remote[&platform]["layers"]);
        assert_eq!(manifest["config"], remote[&platform]["config"]);
    }
}

#[test]
fn a_platform_that_the_base_lacks_is_an_error_that_lists_what_it_has() {
    let server = Server::olareg();
    let sandbox = Sandbox::go("hello");
    let (base, _) = push_base(&sandbox, &server.host());
    let line = format!("gimg build ./cmd/hello --base {base} --platform linux/amd64,linux/s390x");
    sandbox.run(&line).fails(5, &[&base, "linux/s390x", "linux/amd64, linux/arm64"]);
    let line = format!("gimg build ./cmd/hello --base {}/team/none", server.host());
    sandbox.run(&line).fails(5, &["team/none", "not found"]);
    let both = sandbox.run(&format!("gimg build ./cmd/hello --base {base} --platform all -o oci:out")).ok();
    assert_eq!(both.digest(), build(&sandbox, &format!("--base {base} -o oci:out")));
}

#[test]
fn a_docker_typed_base_becomes_an_oci_image() {
    let server = Server::olareg();
    let sandbox = Sandbox::go("hello");
    let (base, _) = push_base(&sandbox, &server.host());
    let docker = format!("{}/team/docker:v1", server.host());
    let tls = "--src-tls-verify=false --dest-tls-verify=false";
    sandbox.run(&format!("skopeo copy -q --all --format v2s2 {tls} docker://{base} docker://{docker}")).ok();
    let types = |text: &str| text.matches("application/vnd.docker.").count();
    let list = sandbox.run(&format!("crane manifest {docker}")).ok().stdout;
    assert_eq!(types(&list), 3, "the base is a Docker manifest list: {list}");
    build(&sandbox, &format!("--base {docker} -o oci:out"));
    let layout = Layout::at(sandbox.path("src/out"));
    for (platform, manifest) in layout.images() {
        assert_eq!(types(&format!("{manifest}{}", layout.root())), 0, "{manifest}");
        let config = layout.document(&manifest["config"]);
        assert_eq!(format!("linux/{}", config["architecture"].as_str().unwrap()), platform);
        let layers = manifest["layers"].as_array().unwrap();
        let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        assert_eq!(layers.len(), ids.len());
    }
    sandbox.run(&format!("gimg push out {}/converted", server.host())).ok();
    pull(&sandbox, &format!("{}/converted:latest", server.host()));
}
