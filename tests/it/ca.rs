//! `--ca-cert`: which certificates programs trust, and which file of the base that changes.

use serde_json::Value;

use crate::support::https::{Https, authority};
use crate::support::layers::{self, Item, documents, stored, tar};
use crate::support::registry::TestRegistry;
use crate::support::rootfs::{chroot, unpack};
use crate::support::{Entry, Layout, Sandbox, read_tar_bytes, sha256};

const DEFAULT: &str = "etc/ssl/certs/ca-certificates.crt";

/// hello with two authorities, `ca` and `other`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::go("hello");
    authority(&sandbox, "ca");
    authority(&sandbox, "other");
    sandbox
}

fn text(sandbox: &Sandbox, name: &str) -> String {
    std::fs::read_to_string(sandbox.cwd().join(name)).unwrap()
}

/// The layer number `number` of an image, as `gimg` wrote it without compression: its one file and what is in it.
#[track_caller]
fn bundle(layout: &Layout, manifest: &Value, number: usize) -> (String, Entry, String) {
    let layer = &manifest["layers"][number];
    let entries = layout.entries(layer);
    assert_eq!(entries.len(), 1, "{entries:?}");
    let content = read_tar_bytes(&layout.blob(layer["digest"].as_str().unwrap()));
    let (name, entry) = entries.into_iter().next().unwrap();
    let text = String::from_utf8(content[&name].clone()).unwrap();
    (name, entry, text)
}

#[test]
fn the_built_in_bundle_gets_the_authority_in_a_layer_of_its_own() {
    let sandbox = sandbox();
    // One of them twice, and in a file of two.
    let both = text(&sandbox, "ca.crt") + &text(&sandbox, "other.crt");
    sandbox.write("both.crt", &both);
    let line = "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --compression none -o oci:../out";
    sandbox.run(&format!("{line} --ca-cert ca.crt --ca-cert both.crt")).ok();
    let layout = Layout::at(sandbox.path("out"));
    let mut digests = Vec::new();
    for manifest in layout.images().values() {
        let layers = manifest["layers"].as_array().unwrap();
        // The base, kodata, the certificates, the program.
        assert_eq!(layers.len(), 4);
        let (name, entry, text) = bundle(&layout, manifest, 2);
        let base = read_tar_bytes(&layout.blob(layers[0]["digest"].as_str().unwrap()));
        let base = String::from_utf8(base[DEFAULT].clone()).unwrap();
        assert_eq!((name.as_str(), entry.mode, entry.uid, entry.gid, entry.mtime), (DEFAULT, 0o444, 0, 0, 0));
        assert!(text == format!("{base}{both}"), "the base's bundle, then both, each once");
        let history = layout.document(&manifest["config"])["history"].clone();
        assert_eq!(history[2]["comment"], format!("CA certificates, at /{DEFAULT}"));
        digests.push(layers[2]["digest"].clone());
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    // The same by the file, and by pack.
    let root = layout.index()["manifests"][0]["digest"].clone();
    sandbox.write(".gimg.yaml", "caCerts: [ca.crt, both.crt]\n");
    assert_eq!(sandbox.run(line).ok().digest(), root.as_str().unwrap());
    let other = sandbox.run(&format!("{line} --ca-cert other.crt")).ok();
    assert_eq!(other.digest(), root.as_str().unwrap(), "a flag adds to the file");
}

#[test]
fn pack_makes_the_same_image_and_a_dry_run_tells_of_it() {
    let sandbox = sandbox();
    let sandbox = sandbox.env("CGO_ENABLED", "0").env("GOOS", "linux").env("GOARCH", "amd64");
    sandbox.run("go build -trimpath -o ../hello ./cmd/hello").ok();
    let line = "gimg pack --binary linux/amd64=../hello --base scratch --ca-cert ca.crt -o oci:../packed";
    sandbox.run(line).ok();
    let layout = Layout::at(sandbox.path("packed"));
    let manifest = layout.root();
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    assert_eq!(layout.entries(&manifest["layers"][0]).into_keys().collect::<Vec<_>>(), [DEFAULT]);
    let told = sandbox.run(&format!("{line} --dry-run --format json")).ok();
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let layer = &told["images"][0]["layers"][0];
    assert_eq!(layer["kind"], "certificates");
    assert_eq!(layer["from"][0], sandbox.cwd().join("ca.crt").to_str().unwrap());
}

#[test]
fn a_program_trusts_a_server_by_it() {
    let sandbox = sandbox();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let server = Https::start(&sandbox, "ca");
    for (name, base, certificate, trusted) in [
        ("own", "static", "ca.crt", true),
        ("alone", "scratch", "ca.crt", true),
        ("no", "static", "other.crt", false),
    ] {
        let line = format!("gimg build ./cmd/hello --platform linux/{arch} --base {base} --image-user 65532");
        sandbox.run(&format!("{line} --ca-cert {certificate} -o oci:{name}")).ok();
        let layout = Layout::at(sandbox.cwd().join(name));
        let mut config = layout.document(&layout.root()["config"])["config"].clone();
        // chroot itself is found by it.
        for variable in config["Env"].as_array_mut().unwrap() {
            if variable.as_str().unwrap().starts_with("PATH=") {
                *variable = "PATH=/usr/sbin:/usr/bin:/sbin:/bin".into();
            }
        }
        let root = unpack(&sandbox, name);
        let program = config["Entrypoint"][0].as_str().unwrap();
        let output = chroot(&root, &config, program).args(["get", &server.url]).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(said.contains("\n200 "), trusted, "{name}: {said}");
        assert_eq!(said.contains("unknown authority"), !trusted, "{name}: {said}");
    }
}

/// A base, and where the bundle must come to be, with what in it before the authority.
struct Case {
    what: &'static str,
    env: &'static [&'static str],
    /// From the lowest up.
    layers: &'static [(&'static str, &'static [Item<'static>])],
    path: &'static str,
    /// `None` if the base has no bundle.
    before: Option<&'static str>,
}

const CASES: &[Case] = &[
    Case {
        what: "debian's place, without a newline at its end",
        env: &[],
        layers: &[("gzip", &[("etc/ssl/certs/ca-certificates.crt", '-', "# old"), ("usr/bin/x", '-', "")])],
        path: DEFAULT,
        before: Some("# old\n"),
    },
    Case {
        what: "fedora's links",
        env: &[],
        layers: &[(
            "zstd",
            &[
                ("./etc/", 'd', ""),
                ("./etc/ssl/", 'd', ""),
                ("./etc/ssl/certs", 'l', "../pki/tls/certs"),
                (
                    "./etc/pki/tls/certs/ca-bundle.crt",
                    'l',
                    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
                ),
                ("./etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", '-', "# fedora\n"),
            ],
        )],
        path: "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        before: Some("# fedora\n"),
    },
    Case {
        what: "an upper layer's bundle counts, from a hard link",
        env: &[],
        layers: &[
            ("none", &[("etc/ssl/certs/ca-certificates.crt", '-', "# lower\n")]),
            (
                "gzip",
                &[("usr/a.pem", '-', "# upper\n"), ("etc/ssl/certs/ca-certificates.crt", 'h', "usr/a.pem")],
            ),
            ("gzip", &[("usr/bin/y", '-', "")]),
        ],
        path: DEFAULT,
        before: Some("# upper\n"),
    },
    Case {
        what: "what an upper layer takes away doesn't count",
        env: &[],
        layers: &[
            (
                "gzip",
                &[
                    ("etc/ssl/certs/ca-certificates.crt", '-', "# gone\n"),
                    ("etc/ssl/cert.pem", '-', "# alpine\n"),
                ],
            ),
            ("gzip", &[("etc/ssl/.wh.certs", '-', "")]),
        ],
        path: "etc/ssl/cert.pem",
        before: Some("# alpine\n"),
    },
    Case {
        what: "the base's SSL_CERT_FILE counts before all",
        env: &["SSL_CERT_FILE=/opt/ca.pem"],
        layers: &[(
            "gzip",
            &[("opt/ca.pem", '-', "# own\n"), ("etc/ssl/certs/ca-certificates.crt", '-', "# no\n")],
        )],
        path: "opt/ca.pem",
        before: Some("# own\n"),
    },
    Case {
        what: "SSL_CERT_FILE names nothing: the bundle comes to be there",
        env: &["SSL_CERT_FILE=/opt/link.pem"],
        layers: &[("gzip", &[("opt/link.pem", 'l', "ca.pem"), ("etc/ssl/cert.pem", '-', "# alpine\n")])],
        path: "opt/ca.pem",
        before: Some("# alpine\n"),
    },
    Case {
        what: "an upper layer's file through a lower one's link",
        env: &[],
        layers: &[
            ("gzip", &[("etc/ssl/certs", 'l', "../pki"), ("etc/pki/ca-certificates.crt", '-', "# lower\n")]),
            ("gzip", &[("etc/ssl/certs/ca-certificates.crt", '-', "# upper\n")]),
        ],
        path: "etc/pki/ca-certificates.crt",
        before: Some("# upper\n"),
    },
    Case {
        what: "none",
        env: &[],
        layers: &[("gzip", &[("etc/ssl", 'l', "/usr/ssl"), ("usr/bin/x", '-', "")])],
        path: "usr/ssl/certs/ca-certificates.crt",
        before: None,
    },
];

#[test]
fn the_bundle_is_found_in_the_layers_of_a_base() {
    let sandbox = sandbox();
    let authority = text(&sandbox, "ca.crt");
    for (number, case) in CASES.iter().enumerate() {
        let stored: Vec<_> = case.layers.iter().map(|(method, items)| stored(&tar(items), method)).collect();
        layers::layout(&sandbox.cwd().join(format!("base{number}")), "linux/amd64", case.env, &stored);
        let line =
            format!("gimg build ./cmd/hello --base oci:base{number} --ca-cert ca.crt --compression none");
        let ran = sandbox.run(&format!("{line} -o oci:out{number}")).ok();
        let layout = Layout::at(sandbox.cwd().join(format!("out{number}")));
        // The base's layers, kodata, the bundle, the program.
        let (name, entry, content) = bundle(&layout, &layout.root(), stored.len() + 1);
        assert_eq!(name, case.path, "{}", case.what);
        assert_eq!(content, format!("{}{authority}", case.before.unwrap_or_default()), "{}", case.what);
        let access = (entry.mode, entry.uid, entry.gid, entry.mtime);
        let expected = if case.before.is_some() { (0o640, 3, 4, 0) } else { (0o444, 0, 0, 0) };
        assert_eq!(access, expected, "{}", case.what);
        let warned = ran.stderr.contains("the base has no CA bundle");
        assert_eq!(warned, case.before.is_none(), "{}: {}", case.what, ran.stderr);
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_registry_is_asked_for_no_more_layers_than_needed_and_each_once() {
    let (registry, sandbox) = (TestRegistry::start(), sandbox());
    let low = stored(&tar(&[("etc/", 'd', ""), ("low", '-', "x")]), "gzip");
    let middle: &[Item<'_>] =
        &[("etc/", 'd', ""), ("etc/ssl/", 'd', ""), ("etc/ssl/certs/", 'd', ""), (DEFAULT, '-', "# base\n")];
    let middle = stored(&tar(middle), "zstd");
    let top = stored(&tar(&[("top", '-', "x")]), "gzip");
    let all = [low.clone(), middle.clone(), top.clone()];
    let mut entries = Vec::new();
    for platform in ["linux/amd64", "linux/arm64"] {
        let (config, manifest) = documents(platform, &[], &all);
        for blob in all.iter().map(|l| l.bytes.clone()).chain([config.into_bytes()]) {
            registry.put_blob("base", blob);
        }
        let digest = format!("sha256:{}", sha256(manifest.as_bytes()));
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let (os, architecture) = platform.split_once('/').unwrap();
        entries.push(serde_json::json!({"mediaType": media_type, "digest": digest, "size": manifest.len(),
            "platform": {"os": os, "architecture": architecture}}));
        registry.put_manifest("base", &digest, media_type, manifest);
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    registry.put_manifest("base", "v1", media_type, index.to_string());
    let host = registry.host();
    let line =
        format!("gimg build ./cmd/hello --base {host}/base:v1 --platform all --repo {host}/app --bare");
    let before = sandbox.run(&line).ok().digest();
    let asked = |l: &layers::Stored| registry.asked("GET", &l.digest());
    assert_eq!(
        (asked(&low), asked(&middle), asked(&top)),
        (0, 0, 0),
        "without certificates no layer is opened"
    );
    let after = sandbox.run(&format!("{line} --ca-cert ca.crt")).ok().digest();
    assert_ne!(before, after);
    assert_eq!((asked(&low), asked(&middle), asked(&top)), (0, 1, 1));
    assert_eq!(registry.incomplete(), Vec::<String>::new());
}

#[test]
fn a_bundle_among_the_files_of_the_configuration_is_the_one_that_counts() {
    let sandbox = sandbox();
    sandbox.write("own.pem", "# ours\n");
    sandbox.write(
        ".gimg.yaml",
        "files:\n- {from: own.pem, to: /etc/ssl/certs/ca-certificates.crt, mode: '0600'}\n",
    );
    sandbox.run("gimg build ./cmd/hello --ca-cert ca.crt --compression none -o oci:../out").ok();
    let layout = Layout::at(sandbox.path("out"));
    let (name, entry, content) = bundle(&layout, &layout.root(), 3);
    assert_eq!((name.as_str(), entry.mode), (DEFAULT, 0o600));
    assert_eq!(content, format!("# ours\n{}", text(&sandbox, "ca.crt")));
    // The one in kodata, which is below a link of the base.
    sandbox.write("cmd/hello/kodata/ca.pem", "# data\n");
    sandbox.write(".gimg.yaml", "image: {env: {SSL_CERT_FILE: /var/run/ko/ca.pem}}\n");
    sandbox.run("gimg build ./cmd/hello --ca-cert ca.crt --compression none -o oci:../out").ok();
    let layout = Layout::at(sandbox.path("out"));
    let (name, _, content) = bundle(&layout, &layout.root(), 2);
    assert_eq!(name, "run/ko/ca.pem");
    assert_eq!(content, format!("# data\n{}", text(&sandbox, "ca.crt")));
}

#[test]
fn files_that_are_not_certificates_are_refused_before_anything_is_built() {
    let sandbox = sandbox();
    sandbox.write("text", "hello");
    sandbox.write("key.pem", &(text(&sandbox, "ca.crt") + &text(&sandbox, "ca.key")));
    sandbox.write("cut.pem", &text(&sandbox, "ca.crt").replace("END", "NED"));
    for (file, why) in [
        ("gone.crt", "no such file"),
        ("cmd", "not a regular file"),
        ("text", "no certificate in PEM"),
        ("key.pem", "a private key"),
        ("ca.key", "a private key"),
        ("cut.pem", "damaged"),
    ] {
        let line = format!("gimg build ./cmd/hello --ca-cert {file} -o oci:../out");
        sandbox.run(&line).fails(3, &["read the CA certificates", why, file]);
        let line = format!("gimg build ./cmd/hello --ca-cert {file} --dry-run");
        sandbox.run(&line).fails(3, &[why]);
    }
    let line =
        "gimg build ./cmd/hello --base scratch --platform windows/amd64 --ca-cert ca.crt -o oci:../out";
    sandbox.run(line).fails(2, &["windows/amd64", "Linux images only"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn layers_that_lie_are_refused_and_nothing_is_published() {
    let sandbox = sandbox();
    let base = sandbox.cwd().join("base");
    let good = stored(&tar(&[("x", '-', "y")]), "none");
    let blob = base.join("blobs/sha256").join(sha256(&good.bytes));
    let huge = "#".repeat((16 << 20) + 1);
    for (what, layer, code, why) in [
        ("other bytes", good.clone(), 8, "sha256:"),
        ("no tar", stored(&b"not a tar".repeat(200), "gzip"), 5, "read a layer"),
        (
            "a bomb",
            stored(&tar(&[("zeros", '-', &"\0".repeat(64 << 20))]), "zstd"),
            5,
            "more than a layer may hold",
        ),
        ("a huge bundle", stored(&tar(&[(DEFAULT, '-', &huge)]), "none"), 8, "larger than 16 MiB"),
    ] {
        let _ = std::fs::remove_dir_all(&base);
        layers::layout(&base, "linux/amd64", &[], &[layer]);
        if what == "other bytes" {
            std::fs::write(&blob, "x".repeat(good.bytes.len())).unwrap();
        }
        let ran = sandbox.run("gimg build ./cmd/hello --base oci:base --ca-cert ca.crt -o oci:../out");
        ran.fails(code, &[why]);
        assert!(!sandbox.path("out/index.json").exists(), "{what}");
        assert_eq!(sandbox.leftovers(), Vec::<String>::new(), "{what}");
    }
}
