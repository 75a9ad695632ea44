//! Bases that lie, out of a registry, a layout and an archive; registries that answer to harm. Each has its exit code
//! and its words, is read within bounds, and leaves nothing behind.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::layers::{Stored, documents, stored, tar};
use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::{Sandbox, sha256};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A base: blobs, and the root document with its type.
#[derive(Clone)]
struct Base {
    layer: Stored,
    config: String,
    /// Further documents.
    more: Vec<String>,
    root: String,
    media_type: String,
}

fn digest(text: &str) -> String {
    format!("sha256:{}", sha256(text.as_bytes()))
}

/// An honest one.
fn honest() -> Base {
    let layer = stored(&tar(&[("x", '-', "y")]), "gzip");
    let (config, root) = documents("linux/amd64", &[], std::slice::from_ref(&layer));
    Base { layer, config, more: Vec::new(), root, media_type: MANIFEST.to_owned() }
}

impl Base {
    /// With another manifest.
    fn root(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut root: Value = serde_json::from_str(&self.root).unwrap();
        change(&mut root);
        self.root = root.to_string();
        self
    }

    /// With a manifest of which a piece of text is another.
    fn text(mut self, old: &str, new: &str) -> Self {
        assert!(self.root.contains(old), "{}", self.root);
        self.root = self.root.replacen(old, new, 1);
        self
    }

    /// With another config, which the manifest names.
    fn config(mut self, change: impl FnOnce(&mut String)) -> Self {
        let old = self.config.clone();
        change(&mut self.config);
        let (digest, size) = (digest(&self.config), self.config.len());
        assert_ne!(old, self.config);
        self.root(|m| {
            m["config"]["digest"] = digest.into();
            m["config"]["size"] = size.into();
        })
    }

    /// Below an index with these entries, of which `{}` is the image's own.
    fn indexed(mut self, entries: impl FnOnce(Value) -> Vec<Value>) -> Self {
        let own = json!({"mediaType": self.media_type, "digest": digest(&self.root), "size": self.root.len(),
            "platform": {"os": "linux", "architecture": "amd64"}});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries(own)});
        self.more.push(std::mem::replace(&mut self.root, index.to_string()));
        self.media_type = INDEX.to_owned();
        self
    }

    /// Every document and blob, the root last.
    fn blobs(&self) -> Vec<(String, Vec<u8>)> {
        let texts = [&self.config].into_iter().chain(&self.more).chain([&self.root]);
        let texts = texts.map(|t| (digest(t), t.clone().into_bytes()));
        [(self.layer.digest(), self.layer.bytes.clone())].into_iter().chain(texts).collect()
    }

    /// Serves it as `base/NAME:v1`, and by digest, whatever an honest registry would say to it.
    fn serve(&self, registry: &TestRegistry, name: &str) {
        let repo = format!("base/{name}");
        for (digest, bytes) in self.blobs() {
            registry.put_blob(&repo, bytes.clone());
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let media_type = serde_json::from_str::<Value>(&text).ok();
            let media_type = media_type.and_then(|d| Some(d["mediaType"].as_str()?.to_owned()));
            let mut names = vec![format!("/v2/{repo}/manifests/{digest}")];
            let is_root = text == self.root;
            names.extend(is_root.then(|| format!("/v2/{repo}/manifests/v1")));
            let media_type = if is_root { self.media_type.clone() } else { media_type.unwrap_or_default() };
            for name in names {
                let is_it = move |method: &str, target: &str| method == "GET" && target == name;
                let answer = Fault::Status(200, vec![("content-type", media_type.clone())], text.clone());
                registry.fail(When::Next(usize::MAX, Box::new(is_it)), answer);
            }
        }
    }

    /// Writes it as a layout.
    fn write(&self, dir: &Path) {
        let blobs = dir.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in self.blobs() {
            std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).unwrap();
        }
        std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let root =
            json!({"mediaType": self.media_type, "digest": digest(&self.root), "size": self.root.len()});
        let index = json!({"schemaVersion": 2, "manifests": [root]});
        std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    }
}

/// A base, what is wrong with it, the exit code and the words.
struct Row(&'static str, Base, i32, &'static [&'static str]);

fn lies() -> Vec<Row> {
    let layers = |n: usize| {
        move |m: &mut Value| {
            let layer = m["layers"][0].clone();
            m["layers"] = vec![layer; n].into();
        }
    };
    let add = |n: u64| {
        move |m: &mut Value| m["layers"][0]["size"] = (m["layers"][0]["size"].as_u64().unwrap() + n).into()
    };
    let size = |size: &str| {
        let honest = honest();
        let own = honest.layer.bytes.len();
        honest.text(&format!("\"size\":{own}"), &format!("\"size\":{size}"))
    };
    let arm = |entry: Value| {
        let mut entry = entry;
        entry["platform"] = json!({"os": "linux", "architecture": "arm64"});
        entry
    };
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let large =
        |text: &mut String| *text = text.replacen('{', &format!("{{\"x\":\"{}\",", "x".repeat(5 << 20)), 1);
    vec![
        Row(
            "a layer longer than its size",
            honest().root(|m| m["layers"][0]["size"] = 10.into()),
            8,
            &["10", "descriptor"],
        ),
        Row("a layer shorter than its size", honest().root(add(1)), 8, &["its descriptor says"]),
        Row(
            "more layers than diff_ids",
            honest().root(layers(4)),
            8,
            &["lists 1 diff_ids, its manifest 4 layers"],
        ),
        Row(
            "a config for another platform",
            honest().indexed(|own| vec![arm(own)]),
            5,
            &["its config says linux/amd64, its index linux/arm64"],
        ),
        Row(
            "an index of indexes",
            honest().indexed(|e| vec![e]).indexed(|e| vec![e]),
            8,
            &["index nested too deep"],
        ),
        Row(
            "an index and an image",
            honest().root(|m| m["manifests"] = json!([])),
            8,
            &["ambiguous document"],
        ),
        Row(
            "a key twice",
            honest().text("\"size\":", "\"digest\":\"x\",\"size\":"),
            8,
            &["duplicate key \"digest\""],
        ),
        Row(
            "a key twice, deep inside",
            honest().config(|c| *c = c.replacen("{", "{\"x\":[{\"y\":{\"z\":1,\"z\":2}}],", 1)),
            8,
            &["duplicate key \"z\""],
        ),
        Row("a negative size", size("-1"), 8, &["invalid size -1"]),
        Row("a size of 2^63", size("9223372036854775808"), 8, &["invalid size 9223372036854775808"]),
        Row("a size that is no whole number", size("1.5"), 8, &["invalid size 1.5"]),
        Row("a size as text", size("\"1\""), 8, &["invalid size"]),
        Row(
            "a layer kept elsewhere",
            honest().root(|m| m["layers"][0]["urls"] = json!(["http://169.254.169.254/"])),
            5,
            &["foreign layers are not allowed", "--allow-nondistributable"],
        ),
        Row(
            "a digest that is a path",
            honest().root(|m| m["layers"][0]["digest"] = "sha256:../../../../etc/passwd".into()),
            5,
            &["invalid digest", "64 lower-case hex digits"],
        ),
        Row(
            "a digest of another kind",
            honest().root(|m| m["config"]["digest"] = "sha512:00".into()),
            5,
            &["unsupported digest algorithm sha512"],
        ),
        Row("too many layers", honest().root(layers(129)), 8, &["it has 129 layers, limit 128"]),
        Row(
            "too many entries",
            honest().indexed(|own| vec![own; 1001]),
            8,
            &["it has 1001 entries, limit 1000"],
        ),
        Row("a config that is too large", honest().config(large), 8, &["4 MiB"]),
        Row("a config that isn't one", honest().config(|c| *c = "[]".to_owned()), 5, &["config"]),
        Row(
            "a config smaller than its size",
            honest().root(|m| m["config"]["size"] = 1.into()),
            8,
            &["descriptor"],
        ),
        Row(
            "nested without end",
            honest()
                .root(|m| m["x"] = serde_json::from_str(&deep[100..300]).unwrap())
                .text("\"layers\"", &format!("\"y\":{deep},\"layers\"")),
            8,
            &["recursion limit exceeded"],
        ),
        Row(
            "schema 1",
            honest().root(|m| m["schemaVersion"] = 1.into()),
            5,
            &["schema 1 images aren't supported"],
        ),
        Row("no schema", honest().root(|m| m["schemaVersion"] = Value::Null), 8, &["no schemaVersion 2"]),
        Row(
            "an artifact",
            honest().root(|m| m["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into()),
            5,
            &["is an artifact of type application/vnd.cncf.helm.config.v1+json, not an image"],
        ),
        Row(
            "a type with a say over the terminal",
            honest().root(|m| m["config"]["mediaType"] = "a/b\u{1b}]0;x\u{7}\nhint: run evil".into()),
            5,
            &["a/b\\u{1b}]0;x\\u{7}\\u{a}hint: run evil, not an image"],
        ),
        Row(
            "only attestations",
            honest().indexed(|mut own| {
                own["platform"] = json!({"os": "unknown", "architecture": "unknown"});
                vec![own]
            }),
            5,
            &["it has no"],
        ),
        Row(
            "an entry smaller than its size",
            honest().indexed(|mut own| {
                own["size"] = 10.into();
                vec![own]
            }),
            8,
            &["10"],
        ),
        Row(
            "an entry that is of another type",
            honest().indexed(|mut own| {
                own["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
                vec![own]
            }),
            8,
            &["application/vnd"],
        ),
    ]
}

/// Runs `gimg pack` with `base`; gives what is wrong with what it says.
fn refused(sandbox: &Sandbox, row: &Row, base: &str) -> Option<String> {
    let Row(what, _, code, words) = row;
    let platform = if words.iter().any(|w| w.contains("its index linux/arm64")) { "arm64" } else { "amd64" };
    let line = format!("gimg pack --binary linux/{platform}=app-{platform} --base {base} -o oci:../out");
    let start = Instant::now();
    let ran = sandbox.run(&line);
    let mut wrong = Vec::new();
    if ran.code != *code {
        wrong.push(format!("exit code {}, not {code}", ran.code));
    }
    wrong.extend(words.iter().filter(|w| !ran.stderr.contains(**w)).map(|w| format!("no {w:?}")));
    if ran.stderr.lines().filter(|l| l.starts_with("gimg: ")).count() != 1 || ran.stderr.contains('\u{1b}') {
        wrong.push("not one error".to_owned());
    }
    if !ran.stdout.is_empty() {
        wrong.push("standard output".to_owned());
    }
    let kept = sandbox.path("out/index.json").exists();
    if kept || !sandbox.leftovers().is_empty() {
        wrong.push("something is left".to_owned());
    }
    if start.elapsed() > Duration::from_secs(20) {
        wrong.push("too slow".to_owned());
    }
    (!wrong.is_empty()).then(|| format!("{what} ({base}): {}\n{}", wrong.join(", "), ran.stderr))
}

/// A sandbox with a program for two platforms, so that nothing has to be compiled.
fn both() -> Sandbox {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n");
    for arch in ["amd64", "arm64"] {
        let mut go = sandbox.command(&format!("go build -o app-{arch} ."));
        let built = go.env("GOOS", "linux").env("GOARCH", arch).env("CGO_ENABLED", "0").status();
        assert!(built.unwrap().success());
    }
    sandbox
}

#[test]
fn bases_in_a_registry_that_lie_are_refused() {
    let (sandbox, registry) = (both(), TestRegistry::start());
    let mut wrong = Vec::new();
    for (number, row) in lies().iter().enumerate() {
        row.1.serve(&registry, &format!("n{number}"));
        wrong.extend(refused(&sandbox, row, &format!("{}/base/n{number}:v1", registry.host())));
    }
    let large = honest().root(|m| m["x"] = "x".repeat(5 << 20).into());
    large.serve(&registry, "large");
    let row = Row("a manifest of 5 MB", large, 8, &["larger than 4194304 bytes"]);
    wrong.extend(refused(&sandbox, &row, &format!("{}/base/large:v1", registry.host())));
    let other = honest();
    other.serve(&registry, "other");
    let asked = digest("another");
    let name = format!("/v2/base/other/manifests/{asked}");
    let lie = Fault::Status(200, vec![("content-type", MANIFEST.to_owned())], other.root.clone());
    registry.fail(When::Next(usize::MAX, Box::new(move |_, target| target == name)), lie);
    let row = Row("another digest", other, 8, &["asked for sha256:", "the content is sha256:"]);
    wrong.extend(refused(&sandbox, &row, &format!("{}/base/other@{asked}", registry.host())));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(registry.asked("PUT", ""), 0);
    // An honest one is taken; so is one with a layer of a type that nobody knows: it is only named.
    honest().serve(&registry, "honest");
    honest()
        .root(|m| m["layers"][0]["mediaType"] = "application/x-unknown".into())
        .serve(&registry, "unknown");
    for name in ["honest", "unknown"] {
        let line = format!(
            "gimg pack --binary linux/amd64=app-amd64 --base {}/base/{name}:v1 -o oci:../out",
            registry.host()
        );
        sandbox.run(&line).ok();
    }
}

#[test]
fn bases_in_layouts_and_archives_that_lie_are_refused() {
    let sandbox = both();
    let mut wrong = Vec::new();
    for (number, row) in lies().iter().enumerate() {
        let name = format!("n{number}");
        row.1.write(&sandbox.cwd().join(&name));
        wrong.extend(refused(&sandbox, row, &format!("oci:{name}")));
        let archive = Command::new("tar")
            .args(["-C", &name, "-cf", &format!("{name}.tar"), "oci-layout", "index.json", "blobs"])
            .current_dir(sandbox.cwd())
            .status();
        assert!(archive.unwrap().success());
        wrong.extend(refused(&sandbox, row, &format!("oci-archive:{name}.tar")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    honest().write(&sandbox.cwd().join("honest"));
    sandbox.run("gimg pack --binary linux/amd64=app-amd64 --base oci:honest -o oci:../out").ok();
}

#[test]
fn layouts_with_odd_files_are_refused_without_waiting() {
    let sandbox = both();
    let base = honest();
    let hex = |digest: String| digest.trim_start_matches("sha256:").to_owned();
    let (root, layer) = (hex(digest(&base.root)), hex(base.layer.digest()));
    let fifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let dir = |path: &Path| std::fs::create_dir(path).unwrap();
    let sparse = |path: &Path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    let zero = |path: &Path| std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    let passwd = |path: &Path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap();
    let gone = |_: &Path| {};
    type Make<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, Make<'_>, i32, &str); 16] = [
        ("oci-layout", &fifo, 5, "not an OCI image layout"),
        ("oci-layout", &zero, 5, "not an OCI image layout"),
        ("oci-layout", &sparse, 9, "more than 4 MiB"),
        ("index.json", &fifo, 5, "not an OCI image layout"),
        ("index.json", &sparse, 8, "larger than 4 MiB"),
        ("index.json", &passwd, 5, "read index.json"),
        (&root, &fifo, 5, "not a regular file"),
        (&root, &zero, 5, "not a regular file"),
        (&root, &dir, 5, "not a regular file"),
        (&root, &sparse, 8, "larger than 4 MiB"),
        (&root, &passwd, 8, "its descriptor says"),
        (&root, &gone, 9, "No such file"),
        (&layer, &fifo, 5, "not a regular file"),
        (&layer, &zero, 5, "not a regular file"),
        (&layer, &sparse, 8, "it has 1099511627776 bytes, its descriptor says"),
        (&layer, &gone, 9, "No such file"),
    ];
    let mut wrong = Vec::new();
    for (number, (name, make, code, why)) in cases.iter().enumerate() {
        let layout = sandbox.cwd().join(format!("l{number}"));
        base.write(&layout);
        let path = if name.len() == 64 { layout.join("blobs/sha256").join(name) } else { layout.join(name) };
        std::fs::remove_file(&path).unwrap();
        make(&path);
        // A push of it says the same, as bad input.
        let push = format!("gimg push l{number} 127.0.0.1:1/x");
        let pack = format!("gimg pack --binary linux/amd64=app-amd64 --base oci:l{number} -o oci:../out");
        for (line, code) in [(pack, *code), (push, if *code == 5 { 3 } else { *code })] {
            let ran =
                sandbox.run(&format!("timeout 20 {}", line.replacen("gimg", env!("CARGO_BIN_EXE_gimg"), 1)));
            if ran.code != code || !ran.stderr.contains(why) {
                wrong
                    .push(format!("{line}: {name}: {} is not {code} with {why:?}\n{}", ran.code, ran.stderr));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!sandbox.path("out/index.json").exists());
    // A link to the right content is as good as the content: some tools write layouts so.
    let layout = sandbox.cwd().join("linked");
    base.write(&layout);
    let blob = layout.join("blobs/sha256").join(&layer);
    std::fs::rename(&blob, sandbox.cwd().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../../../elsewhere", &blob).unwrap();
    sandbox.run("gimg pack --binary linux/amd64=app-amd64 --base oci:linked -o oci:../out").ok();
}

#[test]
fn archives_without_end_are_refused() {
    let sandbox = both();
    let write = |name: &str, kind: tar::EntryType, size: u64| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        let path = sandbox.cwd().join(name);
        std::fs::write(&path, header.as_bytes()).unwrap();
        std::fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(512 + size.next_multiple_of(512))
            .unwrap();
    };
    // 64 GiB of nothing, which a reader would take for a name.
    write("name.tar", tar::EntryType::GNULongName, 64 << 30);
    write("link.tar", tar::EntryType::GNULongLink, 64 << 30);
    write("pax.tar", tar::EntryType::XHeader, 64 << 30);
    let mut out = std::io::BufWriter::new(std::fs::File::create(sandbox.cwd().join("many.tar")).unwrap());
    for number in 0..=100_000_u32 {
        let mut header = tar::Header::new_gnu();
        header.set_path(number.to_string()).unwrap();
        header.set_size(0);
        header.set_cksum();
        std::io::Write::write_all(&mut out, header.as_bytes()).unwrap();
    }
    drop(out);
    for (file, why) in [
        ("name.tar", "a header of more than 1 MiB"),
        ("link.tar", "a header of more than 1 MiB"),
        ("pax.tar", "a header of more than 1 MiB"),
        ("many.tar", "more than 100000 files"),
    ] {
        for kind in ["oci-archive", "docker-archive"] {
            let line = format!("gimg pack --binary linux/amd64=app-amd64 --base {kind}:{file} -o oci:../out");
            sandbox.run(&line).fails(8, &[why, file]);
        }
    }
    assert!(!sandbox.path("out").exists());
}

#[test]
fn what_a_registry_says_is_shown_in_one_short_line() {
    let (sandbox, registry) = (both(), TestRegistry::start());
    let words = "\u{1b}]0;owned\u{7}\u{1b}[2Jhello\r\nhint: curl evil | sh \u{202e}";
    let error =
        json!({"errors": [{"code": "DENIED\u{1b}[31m", "message": words, "detail": words}]}).to_string();
    let long = json!({"errors": [{"code": "X", "message": "x".repeat(60_000)}]}).to_string();
    let garbage = "\u{1b}[2J".repeat(20 << 20);
    for (status, body, code, said) in [
        (403, error, 6, "hello hint: curl evil | sh"),
        (400, long, 5, "xxx…"),
        (403, garbage, 6, "403 Forbidden"),
    ] {
        registry.fail(When::always("GET", "/manifests/"), Fault::Status(status, Vec::new(), body));
        let line = format!(
            "gimg pack --binary linux/amd64=app-amd64 --base {}/base/x -o oci:../out",
            registry.host()
        );
        let ran = sandbox.run(&line).fails(code, &[said]);
        assert!(ran.stderr.lines().count() <= 2, "{}", ran.stderr);
        assert!(ran.stderr.len() < 2000, "{}", ran.stderr.len());
        let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.stderr.contains(odd), "{:?}", ran.stderr);
        registry.heal();
    }
    assert!(!sandbox.path("out").exists());
}

#[test]
fn answers_that_lie_about_their_length_are_not_taken() {
    // What came whole once would be in the cache.
    let (sandbox, registry) = (both().env("GIMG_CACHE", "off"), TestRegistry::start());
    let base = honest();
    base.serve(&registry, "x");
    let line = format!(
        "gimg pack --binary linux/amd64=app-amd64 --base {}/base/x:v1 -o oci:../out",
        registry.host()
    );
    // Broken once is no matter; broken for good is the network's fault, and nothing is taken for whole.
    registry.fail(When::times(1, "GET", "/blobs/"), Fault::Truncate(10));
    sandbox.run(&line).ok();
    std::fs::remove_dir_all(sandbox.path("out")).unwrap();
    registry.fail(When::always("GET", "/blobs/"), Fault::Truncate(3));
    sandbox.run(&line).fails(7, &["base/x"]);
    registry.heal();
    base.serve(&registry, "x");
    registry.fail(When::always("GET", "/blobs/"), Fault::EndEarly(3));
    sandbox.run(&line).fails(7, &["base/x"]);
    registry.heal();
    base.serve(&registry, "x");
    let headers = vec![("x-large", "x".repeat(3 << 20))];
    registry.fail(When::always("GET", "/blobs/"), Fault::Status(200, headers, String::new()));
    sandbox.run(&line).fails(7, &["base/x"]);
    assert!(!sandbox.path("out/index.json").exists());
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_private_base_and_broken_credentials_are_named_and_not_shown() {
    let config = Config { auth: Auth::Basic("me".to_owned(), "pw".to_owned()), ..Config::default() };
    let (sandbox, registry) = (both(), TestRegistry::with(config));
    let host = registry.host();
    let line = format!("gimg pack --binary linux/amd64=app-amd64 --base {host}/base/x:v1 -o oci:../out");
    sandbox.run(&line).fails(6, &["base/x:v1", "401 Unauthorized", &format!("hint: gimg login {host}")]);
    let sandbox = sandbox.env("DOCKER_CONFIG", "docker");
    for (text, said) in [
        ("{\"auths\": \"c2VjcmV0\"", "line 1"),
        ("{\"auths\": {\"HOST\": {\"auth\": \"!c2VjcmV0!\"}}}", "HOST"),
        ("{\"auths\": {\"HOST\": {\"auth\": \"c2VjcmV0\"}}}", "HOST"),
    ] {
        sandbox.write("docker/config.json", &text.replace("HOST", &host));
        let ran = sandbox.run(&line).fails(6, &["docker/config.json", &said.replace("HOST", &host)]);
        assert!(!ran.stderr.contains("c2VjcmV0") && !ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    assert!(!sandbox.path("out").exists());
}
