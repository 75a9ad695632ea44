//! `gimg layer`: one layer, the same bytes as in the image.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::{Layout, Sandbox, sha256};

/// `testdata/go/hello` with `cmd/hello` compiled for these platforms, as Make does it.
pub(crate) fn compiled(platforms: &[&str]) -> Sandbox {
    let sandbox = Sandbox::go("hello");
    for platform in platforms {
        let (os, arch) = platform.split_once('/').unwrap();
        let mut go = sandbox.command("go build -trimpath -o");
        go.arg(format!("dist/hello-{os}-{arch}")).arg("./cmd/hello");
        let go = go.env("GOOS", os).env("GOARCH", arch).env("CGO_ENABLED", "0").output().unwrap();
        assert!(go.status.success(), "{}", String::from_utf8_lossy(&go.stderr));
    }
    sandbox
}

/// What `--metadata` wrote.
fn metadata(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sandbox.path("src").join(name)).unwrap()).unwrap()
}

/// The last layer's descriptor, diff_id and history of an image with one platform.
fn top(layout: &Layout) -> (Value, Value, Value) {
    let manifest = layout.root();
    let config = layout.document(&manifest["config"]);
    let last = |list: &Value| list.as_array().unwrap().last().unwrap().clone();
    (last(&manifest["layers"]), last(&config["rootfs"]["diff_ids"]), last(&config["history"]))
}

#[test]
fn a_programs_layer_is_the_one_that_build_and_pack_make() {
    let sandbox = compiled(&["linux/arm64"]);
    for (ending, compression) in
        [("tar.gz", "gzip"), ("tar.gz", "gzip:9"), ("tar.zst", "zstd"), ("tar", "none")]
    {
        for program in ["", "--program hi", "--program /usr/bin/hi"] {
            let flags = format!("--compression {compression} {program} -o oci:built --base scratch");
            // They are the same, which tests/it/pack.rs shows; a build links.
            let verb = match (compression, program) {
                ("zstd", "") => "build ./cmd/hello --platform linux/arm64",
                _ => "pack --binary linux/arm64=dist/hello-linux-arm64",
            };
            sandbox.run(&format!("gimg {verb} {flags}")).ok();
            let (layer, diff_id, history) = top(&Layout::at(sandbox.path("src/built")));
            let line = format!(
                "gimg layer --binary linux/arm64=dist/hello-linux-arm64 --compression {compression} {program} \
                 --out out/l.{ending} --metadata out/l.json"
            );
            let ran = sandbox.run(&line).ok();
            let bytes = std::fs::read(sandbox.path(&format!("src/out/l.{ending}"))).unwrap();
            let expected = json!({
                "diff_id": diff_id, "mediaType": layer["mediaType"], "digest": layer["digest"],
                "size": layer["size"], "history": [history],
            });
            assert_eq!(metadata(&sandbox, "out/l.json"), expected, "{line}");
            assert_eq!(format!("sha256:{}\n", sha256(&bytes)), ran.stdout);
            assert_eq!(layer["digest"], ran.stdout.trim_end());
            assert_eq!(layer["size"], bytes.len());
        }
    }
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    // What the name says is enough, and all of it goes to standard output if asked for.
    let line = "gimg layer --binary linux/arm64=dist/hello-linux-arm64 --out l.tar --metadata l.json";
    let ran = sandbox.run(&format!("{line} --format json --layer-annotation a=b")).ok();
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said, metadata(&sandbox, "l.json"));
    assert_eq!(
        (&said["mediaType"], &said["annotations"]),
        (&json!("application/vnd.oci.image.layer.v1.tar"), &json!({"a": "b"}))
    );
    assert_eq!(said["digest"], said["diff_id"]);
}

#[test]
fn windows_programs_lie_as_in_their_images() {
    let sandbox = compiled(&["windows/amd64"]);
    sandbox.run("gimg build ./cmd/hello --platform windows/amd64 --base scratch -o oci:built").ok();
    let (layer, ..) = top(&Layout::at(sandbox.path("src/built")));
    let line = "gimg layer --binary windows/amd64=dist/hello-windows-amd64 --out l.tar.gz";
    assert_eq!(layer["digest"], sandbox.run(line).ok().stdout.trim_end());
}

#[test]
fn files_are_those_of_the_configuration() {
    let config = "files: [{from: web, to: /srv/www}, {from: one.txt, to: /etc/}]\n";
    let sandbox = Sandbox::go("hello")
        .file("web/index.html", "<p>")
        .file("web/deep/x.css", "p {}")
        .file("one.txt", "1")
        .file("two.txt", "2")
        .file(".gimg.yaml", config);
    sandbox.run("gimg build ./cmd/hello --base scratch -o oci:built").ok();
    let layers = Layout::at(sandbox.path("src/built")).root()["layers"].clone();
    let web = layers.as_array().unwrap().len() - 3;
    for (number, file) in [(web, "web=/srv/www"), (web + 1, "one.txt=/etc/")] {
        let ran = sandbox.run(&format!("gimg layer --file {file} --out l.tar.gz --metadata l.json")).ok();
        assert_eq!(layers[number]["digest"], ran.stdout.trim_end(), "{file}");
        assert_eq!(metadata(&sandbox, "l.json")["history"][0]["created_by"], "gimg layer");
    }
    // Several are one layer, whatever their order.
    let digest = |line: &str| sandbox.run(&format!("gimg layer {line} --out l.tar")).ok().stdout;
    let both =
        digest("--file one.txt=/etc/ --file two.txt=/etc/deux --file web=/srv/www --file web=/srv/www2");
    assert_eq!(
        both,
        digest("--file web=/srv/www2 --file web=/srv/www --file two.txt=/etc/deux --file one.txt=/etc/")
    );
    let listed = sandbox.run("tar tf l.tar").ok().stdout;
    assert_eq!(
        listed.lines().collect::<Vec<_>>(),
        [
            "etc/deux",
            "etc/one.txt",
            "srv/www/",
            "srv/www/deep/",
            "srv/www/deep/x.css",
            "srv/www/index.html",
            "srv/www2/",
            "srv/www2/deep/",
            "srv/www2/deep/x.css",
            "srv/www2/index.html",
        ]
    );
    sandbox
        .run("gimg layer --file one.txt=/a --file two.txt=/a --out l2.tar")
        .fails(3, &["add \"a\" to a layer: the layer has it already"]);
    assert!(!sandbox.path("src/l2.tar").exists());
}

#[test]
fn what_leads_elsewhere_goes_in_only_by_the_users_word() {
    let sandbox = Sandbox::new().file("real/a.txt", "a");
    std::fs::create_dir_all(sandbox.path("src/tree/in")).unwrap();
    symlink(sandbox.path("src/real/a.txt"), sandbox.path("src/tree/in/a.txt")).unwrap();
    let line = "gimg layer --file tree/in=/d --out l.tar";
    sandbox.run(line).fails(3, &["must stay below", "KO_DATA_PATH_ALLOWED_ROOT widens that"]);
    assert!(!sandbox.path("src/l.tar").exists());
    // As build systems lay out inputs: a directory of links.
    let sandbox = sandbox.env("KO_DATA_PATH_ALLOWED_ROOT", "/");
    let linked = sandbox.run(line).ok().stdout;
    assert_eq!(linked, sandbox.run("gimg layer --file real=/d --out l.tar").ok().stdout);
}

#[test]
fn what_cannot_be_a_layer_writes_nothing() {
    let sandbox = compiled(&["linux/amd64"]).file("text", "#!/bin/sh\n");
    std::fs::create_dir(sandbox.path("src/taken.tar")).unwrap();
    let hello = "--binary linux/amd64=dist/hello-linux-amd64";
    for (code, line, words) in [
        (2, "--out l.tar", &["nothing goes into it", "hint: name a program with --binary, or files"][..]),
        (2, "--file text=etc/x --out l.tar", &["isn't FILE=/PATH", "hint: it takes a file or directory"]),
        (
            2,
            &format!("{hello} --out layer"),
            &["doesn't say how it is compressed", "hint: end it in .tar.gz"],
        ),
        (2, &format!("{hello} --out l.tar.zst --compression none"), &["which says zstd"]),
        (2, &format!("{hello} --out l.tar --layer-annotation x"), &["--layer-annotation"]),
        (3, "--binary linux/amd64=text --out l.tar", &["it is no executable"]),
        (3, "--binary linux/arm64=dist/hello-linux-amd64 --out l.tar", &["the platform is linux/arm64"]),
        (3, "--file nope=/x --out l.tar", &["there is no such file or directory"]),
        (9, &format!("{hello} --out taken.tar"), &["it is a directory", "taken.tar"]),
        (9, &format!("{hello} --out l.tar --metadata taken.tar"), &["it is a directory", "taken.tar"]),
    ] {
        sandbox.run(&format!("gimg layer {line}")).fails(code, words);
        assert!(!sandbox.path("src/l.tar").exists(), "{line}");
        assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    }
    // A program that says no import path needs a name.
    let files =
        sandbox.command("go build -o files cmd/hello/main.go").env("CGO_ENABLED", "0").output().unwrap();
    assert!(files.status.success());
    let line = "gimg layer --binary linux/amd64=files --out l.tar";
    sandbox.run(line).fails(3, &["it names no import path", "hint: say what it is called with --program"]);
    sandbox.run(&format!("{line} --program app")).ok();
    assert_eq!(sandbox.run("tar tf l.tar").ok().stdout, "ko-app/\nko-app/app\n");
}
