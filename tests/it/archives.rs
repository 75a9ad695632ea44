//! Bases out of files: `--base oci-archive:FILE` and `--base docker-archive:FILE`.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::https::authority;
use crate::support::layers::{self, documents, stored, tar};
use crate::support::registry::TestRegistry;
use crate::support::{Layout, Sandbox, read_tar_bytes, sha256};

/// hello, and an image of two platforms to stand on: as the layout `base` and the archive `base.tar`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::go("hello");
    let line = "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --binary base -t v1";
    sandbox.run(&format!("{line} -o oci:base -o oci-archive:base.tar")).ok();
    sandbox
}

#[test]
fn an_oci_archive_is_the_base_that_its_layout_is() {
    let sandbox = sandbox();
    for (more, images) in [("--platform all", 2), ("--platform linux/arm64", 1), ("", 1)] {
        let build = |base: &str, out: &str| {
            let line = format!("gimg build ./cmd/hello --base {base} {more} -o oci:../{out}");
            sandbox.run(&line).ok().digest()
        };
        assert_eq!(build("oci-archive:base.tar", "one"), build("oci:base", "two"), "{more}");
        assert_eq!(Layout::at(sandbox.path("one")).images().len(), images);
    }
    sandbox.run("gimg build ./cmd/hello --base oci-archive:base.tar:v1 -o oci:../named").ok();
    // The file's word for it, and a base whose bundle is looked for.
    sandbox.write(".gimg.yaml", "defaultBaseImage: oci-archive:base.tar\n");
    let told = sandbox.run("gimg build ./cmd/hello --dry-run --format json").ok();
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["images"][0]["base"]["name"], "oci-archive:base.tar");
    let root = Layout::at(sandbox.cwd().join("base")).index()["manifests"][0]["digest"].clone();
    assert_eq!(told["images"][0]["base"]["digest"], root);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    // It is only read.
    let line = "gimg build ./cmd/hello --base oci-archive:base.tar:v2";
    sandbox.run(line).fails(5, &["no image called v2", "base.tar", "hint: it holds: v1"]);
    let line = "gimg build ./cmd/hello --base oci-archive:base.tar --platform linux/s390x";
    sandbox.run(line).fails(5, &["oci-archive:base.tar", "linux/s390x", "linux/amd64, linux/arm64"]);
}

#[test]
fn only_the_layers_of_the_platforms_asked_for_are_read() {
    let sandbox = sandbox();
    // Another platform's layer is damaged: nobody asks for it.
    let layout = Layout::at(sandbox.cwd().join("base"));
    let layers = layout.images()["linux/arm64"]["layers"].clone();
    let layer = layers.as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned();
    let blob = sandbox.cwd().join("base/blobs").join(layer.replace(':', "/"));
    let size = std::fs::metadata(&blob).unwrap().len();
    std::fs::write(&blob, vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
    sandbox.run("tar -cf bad.tar -C base .").ok();
    sandbox.run("gimg build ./cmd/hello --base oci-archive:bad.tar -o oci:../out").ok();
    let line = "gimg build ./cmd/hello --base oci-archive:bad.tar --platform linux/arm64 -o oci:../other";
    sandbox.run(line).fails(8, &["bad.tar", &layer]);
    assert!(!sandbox.path("other/index.json").exists());
}

/// The `diff_ids` of the only image of a layout.
fn diff_ids(layout: &Layout) -> Vec<Value> {
    layout.document(&layout.root()["config"])["rootfs"]["diff_ids"].as_array().unwrap().clone()
}

#[test]
fn what_docker_and_crane_write_are_bases() {
    let (registry, sandbox) = (TestRegistry::start(), Sandbox::go("hello"));
    let name = format!("{}/base:v1", registry.host());
    let line = format!(
        "gimg build ./cmd/hello --binary base --image-label a=b --repo {}/base --bare -t v1",
        registry.host()
    );
    sandbox.run(&format!("{line} -o registry -o docker-archive:saved.tar -o oci:same")).ok();
    sandbox.run(&format!("crane pull {name} pulled.tar")).ok();
    let base = diff_ids(&Layout::at(sandbox.cwd().join("same")));
    for file in ["saved.tar", "pulled.tar"] {
        let line = format!("gimg build ./cmd/hello --base docker-archive:{file} -o oci:../out");
        sandbox.run(&line).ok();
        let layout = Layout::at(sandbox.path("out"));
        let found = diff_ids(&layout);
        assert_eq!(found[..base.len()], base, "{file}");
        assert_eq!(found.len(), base.len() + 2, "kodata and the program");
        let config = layout.document(&layout.root()["config"]);
        assert_eq!(config["config"]["Labels"], json!({"a": "b"}), "{file}");
        let line = format!("gimg build ./cmd/hello --base docker-archive:{file} --platform linux/arm64");
        sandbox.run(&line).fails(5, &[&format!("docker-archive:{file}"), "linux/arm64"]);
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn the_ca_bundle_in_an_archive_gets_certificates_too() {
    let sandbox = sandbox();
    sandbox.run("gimg build ./cmd/hello --binary base -o docker-archive:saved.tar").ok();
    authority(&sandbox, "ca");
    let added = std::fs::read_to_string(sandbox.cwd().join("ca.crt")).unwrap();
    let mut bundles = Vec::new();
    for base in ["static", "oci-archive:base.tar", "docker-archive:saved.tar"] {
        let line = format!("gimg build ./cmd/hello --base {base} --ca-cert ca.crt --compression none");
        let ran = sandbox.run(&format!("{line} -o oci:../out")).ok();
        assert!(!ran.stderr.contains("no CA bundle"), "{}", ran.stderr);
        let layout = Layout::at(sandbox.path("out"));
        let layers = layout.root()["layers"].as_array().unwrap().clone();
        // Before the program.
        let layer = layout.blob(layers[layers.len() - 2]["digest"].as_str().unwrap());
        bundles.push(read_tar_bytes(&layer));
    }
    let bundle = &bundles[0]["etc/ssl/certs/ca-certificates.crt"];
    assert!(bundle.ends_with(added.as_bytes()) && bundle.len() > 100_000);
    assert!(bundles.iter().all(|b| *b == bundles[0]));
}

/// Files with their content, and links with their targets.
type Entries<'a> = Vec<(&'a str, Result<&'a [u8], &'a str>)>;

/// Writes a tar of these entries after a change.
fn with<'a>(path: &Path, entries: &Entries<'a>, change: &dyn Fn(&mut Entries<'a>)) {
    let mut entries = entries.clone();
    change(&mut entries);
    raw(path, &entries);
}

/// A tar of these files and links, whatever their names.
fn raw(path: &Path, entries: &[(&str, Result<&[u8], &str>)]) {
    let mut out = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        // As bytes: the library refuses names such as these.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o644);
        let content = match content {
            Ok(content) => content,
            Err(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
                &b""[..]
            }
        };
        header.set_size(content.len() as u64);
        header.set_cksum();
        out.append(&header, content).unwrap();
    }
    out.finish().unwrap();
}

const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

#[test]
fn archives_that_are_none_or_lie_are_errors_and_nothing_is_written() {
    let sandbox = Sandbox::go("hello");
    let at = |name: &str| sandbox.cwd().join(name);
    let layer = stored(&tar(&[("x", '-', "y")]), "gzip");
    let (config, manifest) = documents("linux/amd64", &[], std::slice::from_ref(&layer));
    let digest = |text: &str| format!("blobs/sha256/{}", sha256(text.as_bytes()));
    layers::layout(&at("layout"), "linux/amd64", &[], std::slice::from_ref(&layer));
    let index = std::fs::read(at("layout/index.json")).unwrap();
    let (config_blob, manifest_blob) = (digest(&config), digest(&manifest));
    let layer_blob = format!("blobs/sha256/{}", sha256(&layer.bytes));
    let whole: Entries<'_> = vec![
        ("oci-layout", Ok(MARKER)),
        ("./index.json", Ok(&index)),
        (&config_blob, Ok(config.as_bytes())),
        (&manifest_blob, Ok(manifest.as_bytes())),
        (&layer_blob, Ok(&layer.bytes)),
    ];
    let other = vec![b'x'; layer.bytes.len()];
    let large = vec![b' '; (4 << 20) + 1];
    with(&at("whole.tar"), &whole, &|_| {});
    with(&at("tampered.tar"), &whole, &|e| e[4].1 = Ok(&other));
    with(&at("config.tar"), &whole, &|e| e[2].1 = Ok(&other[..1]));
    with(&at("layerless.tar"), &whole, &|e| e.truncate(4));
    with(&at("indexless.tar"), &whole, &|e| e.retain(|(name, _)| *name != "./index.json"));
    with(&at("link.tar"), &whole, &|e| e[1].1 = Err("/etc/passwd"));
    with(&at("loop.tar"), &whole, &|e| e[1].1 = Err("index.json"));
    with(&at("up.tar"), &whole, &|e| e[4].0 = "../../../up");
    with(&at("large.tar"), &whole, &|e| e[1].1 = Ok(&large));
    with(&at("json.tar"), &whole, &|e| e[1].1 = Ok(b"{"));
    with(&at("version.tar"), &whole, &|e| e[0].1 = Ok(br#"{"imageLayoutVersion":"2.0.0"}"#));
    let bytes = std::fs::read(at("whole.tar")).unwrap();
    let place = bytes.windows(4).rposition(|w| w == &layer.bytes[..4]).unwrap();
    std::fs::write(at("cut.tar"), &bytes[..place + 10]).unwrap();
    std::fs::write(at("text.tar"), "no tar at all, but long enough to be read as a header".repeat(20))
        .unwrap();
    std::fs::write(at("empty.tar"), "").unwrap();
    sandbox.run("gzip -k whole.tar").ok();
    sandbox.run("mkfifo pipe").ok();
    for (file, code, why) in [
        ("gone.tar", 5, "no such file"),
        ("cmd", 5, "not a regular file"),
        ("pipe", 5, "not a regular file"),
        ("text.tar", 5, "it is no tar"),
        ("empty.tar", 5, "it holds no files"),
        ("whole.tar.gz", 5, "it is compressed"),
        ("tampered.tar", 8, "the content is sha256:"),
        ("config.tar", 8, "its descriptor says"),
        ("layerless.tar", 5, "it has no blobs/sha256/"),
        ("indexless.tar", 5, "it has no index.json"),
        ("link.tar", 5, "it has no index.json"),
        ("loop.tar", 5, "it has no index.json"),
        ("up.tar", 5, "it has no blobs/sha256/"),
        ("large.tar", 8, "larger than 4 MiB"),
        ("json.tar", 5, "index.json"),
        ("version.tar", 5, "unsupported layout version 2.0.0"),
        ("cut.tar", 8, "it ends after 10 bytes"),
    ] {
        let line = format!("gimg build ./cmd/hello --base oci-archive:{file} -o oci:../out");
        sandbox.run(&line).fails(code, &[&format!("oci-archive:{file}"), why]);
    }
    for (file, code, why) in [
        ("gone.tar", 5, "no such file"),
        ("text.tar", 5, "it is no tar"),
        ("whole.tar", 5, "it has no manifest.json"),
    ] {
        let line = format!("gimg build ./cmd/hello --base docker-archive:{file} -o oci:../out");
        sandbox.run(&line).fails(code, &[&format!("docker-archive:{file}"), why]);
    }
    for base in ["oci-archive:", "docker-archive:"] {
        sandbox.run(&format!("gimg build ./cmd/hello --base {base}")).fails(2, &["it names no file"]);
    }
    assert!(!sandbox.path("out").exists() && !sandbox.path("up").exists());
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    sandbox.run("gimg build ./cmd/hello --base oci-archive:whole.tar -o oci:../out").ok();
}

#[test]
fn saved_images_that_lie_are_errors() {
    let sandbox = Sandbox::go("hello");
    let at = |name: &str| sandbox.cwd().join(name);
    let one = tar(&[("x", '-', "y")]);
    let id = format!("sha256:{}", sha256(&one));
    let config =
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [id]}});
    let config = config.to_string();
    let manifest =
        |layers: &[&str]| json!([{"Config": "c.json", "RepoTags": null, "Layers": layers}]).to_string();
    let two = format!("[{0},{0}]", manifest(&["l"]).trim_matches(['[', ']']));
    let damaged = stored(&one, "gzip").bytes[..20].to_vec();
    for (what, manifest, layer, code, why) in [
        ("good", manifest(&["l"]), Ok(&one[..]), 0, ""),
        ("another layer", manifest(&["l"]), Ok(&b"other"[..]), 8, "its config says"),
        ("a damaged layer", manifest(&["l"]), Ok(&damaged[..]), 5, "read the saved image"),
        ("a link out", manifest(&["l"]), Err("../../etc/passwd"), 5, "it has no l"),
        (
            "a layer from outside",
            manifest(&["../../etc/passwd"]),
            Ok(&one[..]),
            5,
            "it has no ../../etc/passwd",
        ),
        ("two layers", manifest(&["l", "l"]), Ok(&one[..]), 5, "it has 2 layers"),
        ("two images", two, Ok(&one[..]), 5, "2 images"),
        ("no JSON", "{".to_owned(), Ok(&one[..]), 5, "manifest.json"),
    ] {
        let entries =
            [("c.json", Ok(config.as_bytes())), ("l", layer), ("manifest.json", Ok(manifest.as_bytes()))];
        raw(&at("saved.tar"), &entries);
        let ran = sandbox.run("gimg build ./cmd/hello --base docker-archive:saved.tar -o oci:../out");
        if code == 0 {
            ran.ok();
            std::fs::remove_dir_all(sandbox.path("out")).unwrap();
        } else {
            ran.fails(code, &["docker-archive:saved.tar", why]);
            assert!(!sandbox.path("out").exists(), "{what}");
        }
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}
