//! Windows images: their layers, config and bases. Nothing here runs them; what they hold is what Windows needs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::servers::Server;
use crate::support::{Layout, Sandbox, sha256};

/// A module with kodata, a link in it too.
fn module() -> Sandbox {
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/app\n\ngo 1.21\n")
        .file("main.go", "package main\n\nfunc main() {}\n")
        .file("kodata/sub/note.txt", "note");
    std::os::unix::fs::symlink("sub/note.txt", sandbox.path("src/kodata/link.txt")).unwrap();
    sandbox
}

/// The PAX records of a gzipped layer, by entry.
fn records(layout: &Layout, layer: &Value) -> BTreeMap<String, BTreeMap<String, String>> {
    let bytes = layout.blob(layer["digest"].as_str().unwrap());
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let records = entry.pax_extensions().unwrap().into_iter().flatten().map(|record| {
            let record = record.unwrap();
            (record.key().unwrap().to_owned(), record.value().unwrap().to_owned())
        });
        (name, records.collect())
    });
    entries.collect()
}

/// A layout with a base of these images: platform, config, layers.
fn base(dir: &Path, images: &[(Value, Value, Vec<Value>)]) {
    let blobs = dir.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, content: &[u8]| {
        std::fs::write(blobs.join(sha256(content)), content).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{}", sha256(content)), "size": content.len()})
    };
    let mut entries = Vec::new();
    for (platform, config, layers) in images {
        let config = put("application/vnd.docker.container.image.v1+json", config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json"});
        let mut entry =
            put("application/vnd.docker.distribution.manifest.v2+json", manifest.to_string().as_bytes());
        entry["platform"] = platform.clone();
        entries.push(entry);
    }
    let list = "application/vnd.docker.distribution.manifest.list.v2+json";
    let root = json!({"schemaVersion": 2, "mediaType": list, "manifests": entries});
    let index = json!({"schemaVersion": 2, "manifests": [put(list, root.to_string().as_bytes())]});
    std::fs::write(dir.join("index.json"), index.to_string()).unwrap();
    std::fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// A base's image of a Windows version, whose only layer is `layer`.
fn windows(version: &str, layer: &Value) -> (Value, Value, Vec<Value>) {
    let platform =
        json!({"os": "windows", "architecture": "amd64", "os.version": version, "os.features": ["win32k"]});
    let mut config = platform.clone();
    config["config"] = json!({"Env": [r"Path=C:\Windows\system32;C:\Windows"], "User": "ContainerUser"});
    config["rootfs"] = json!({"type": "layers", "diff_ids": [format!("sha256:{}", sha256(b"x"))]});
    (platform, config, vec![layer.clone()])
}

/// A layer that lies where its `urls` say.
fn foreign() -> Value {
    json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "size": 1000,
        "digest": format!("sha256:{}", sha256(b"windows")), "urls": ["https://127.0.0.1:1/layer"]})
}

#[test]
fn an_image_from_scratch_has_what_windows_needs() {
    let sandbox = module();
    sandbox.run("gimg build --platform windows/amd64:10.0.20348 --base scratch --image-label a=b").ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/app"));
    let manifest = layout.root();
    let layers = manifest["layers"].as_array().unwrap();
    let (kodata, program) = (records(&layout, &layers[0]), records(&layout, &layers[1]));
    let names = |records: &BTreeMap<String, _>| records.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&kodata),
        [
            "Files/",
            "Files/var/",
            "Files/var/run/",
            "Files/var/run/ko/",
            "Files/var/run/ko/link.txt",
            "Files/var/run/ko/sub/",
            "Files/var/run/ko/sub/note.txt",
            "Hives/"
        ]
    );
    assert_eq!(names(&program), ["Files/", "Files/ko-app/", "Files/ko-app/app.exe", "Hives/"]);
    for (name, records) in kodata.iter().chain(&program) {
        let expected = if name.ends_with('/') {
            BTreeMap::new()
        } else {
            let users = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA==";
            BTreeMap::from([("MSWINDOWS.rawsd".to_owned(), users.to_owned())])
        };
        assert_eq!(*records, expected, "{name}");
    }
    let entries = layout.entries(&layers[0]);
    assert_eq!(entries["Files/var/run/ko/link.txt"].sha256, sha256(b"note"), "links are followed");
    let config = layout.document(&manifest["config"]);
    assert_eq!((&config["os"], &config["os.version"]), (&json!("windows"), &json!("10.0.20348")));
    assert_eq!(config["config"]["Entrypoint"], json!([r"C:\ko-app\app.exe"]));
    let env = json!([r"PATH=C:\Windows\System32;C:\Windows;C:\ko-app", r"KO_DATA_PATH=C:\var\run\ko"]);
    assert_eq!(config["config"]["Env"], env);
    assert_eq!(config["history"][1]["comment"], r"go build output, at C:\ko-app\app.exe");
}

#[test]
fn versions_and_features_of_the_base_are_kept_and_matched_as_in_ko() {
    let sandbox = module();
    let layer = b"a layer of Windows";
    let blob = json!({"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": layer.len(),
        "digest": format!("sha256:{}", sha256(layer))});
    let dir = sandbox.path("src/base");
    base(&dir, &[windows("10.0.17763.1234", &blob), windows("10.0.20348.2113", &blob)]);
    std::fs::write(dir.join("blobs/sha256").join(sha256(layer)), layer).unwrap();

    let line = "gimg build --base oci:base --platform";
    sandbox.run(&format!("{line} windows/amd64:10.0.20348")).ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/app"));
    let manifest = layout.root();
    let config = layout.document(&manifest["config"]);
    assert_eq!(
        (&config["os.version"], &config["os.features"]),
        (&json!("10.0.20348.2113"), &json!(["win32k"]))
    );
    assert_eq!(config["config"]["User"], "ContainerUser");
    assert_eq!(config["config"]["Env"][0], r"Path=C:\Windows\system32;C:\Windows;C:\ko-app");
    assert_eq!(layout.blob(manifest["layers"][0]["digest"].as_str().unwrap()), layer);

    // Without a version: every one that the base has, in one index that says which is which.
    let ran = sandbox.run(&format!("{line} windows/amd64 --format json")).ok();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["images"][0]["platforms"][0]["platform"], "windows/amd64:10.0.17763.1234");
    let root = layout.root();
    let entries = root["manifests"].as_array().unwrap();
    let versions: Vec<&Value> = entries.iter().map(|e| &e["platform"]["os.version"]).collect();
    assert_eq!(versions, ["10.0.17763.1234", "10.0.20348.2113"]);
    assert_eq!(entries[1]["platform"]["os.features"], json!(["win32k"]));
    sandbox
        .run(&format!("{line} windows/amd64:10.0.2034"))
        .fails(5, &["it has no windows/amd64:10.0.2034", "windows/amd64:10.0.17763.1234"]);
}

#[test]
fn linux_and_windows_in_one_index_each_get_layers_of_their_own() {
    let sandbox = module();
    sandbox.run("gimg build --platform linux/amd64,windows/amd64 --base scratch").ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/app"));
    let images = layout.images();
    let names = |platform: &str, layer: usize| {
        layout.entries(&images[platform]["layers"][layer]).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(names("linux/amd64", 1), ["ko-app/", "ko-app/app"]);
    assert_eq!(names("linux/amd64", 0)[..2], ["var/run/ko/", "var/run/ko/link.txt"]);
    assert_eq!(names("windows/amd64", 0).len(), 8);
}

#[test]
fn layers_that_are_kept_elsewhere_need_a_word_and_are_never_moved() {
    let server = Server::olareg();
    let sandbox = module();
    base(&sandbox.path("src/base"), &[windows("10.0.17763.1234", &foreign())]);
    let line = "gimg build --base oci:base --platform windows/amd64";
    sandbox
        .run(line)
        .fails(5, &["kept elsewhere", "foreign layers are not allowed", "--allow-nondistributable"]);
    let line = format!("{line} --allow-nondistributable");
    let ran = sandbox
        .run(&format!("{line} --output registry --output oci:out --repo {}/team --bare", server.host()));
    ran.ok();
    let layout = Layout::at(sandbox.path("src/out"));
    let named = &layout.root()["layers"][0];
    assert_eq!(named["mediaType"], "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    assert_eq!((&named["urls"], &named["digest"]), (&foreign()["urls"], &foreign()["digest"]));
    assert_eq!(layout.blobs().len(), 4, "manifest, config, kodata, program: {:?}", layout.blobs());
    let remote = sandbox.run(&format!("crane manifest {}/team", server.host())).ok().stdout;
    assert_eq!(serde_json::from_str::<Value>(&remote).unwrap(), layout.root());
    // A layout without such a layer is pushed without it.
    sandbox.run(&format!("gimg push out {}/again", server.host())).ok();
    sandbox
        .run(&format!("{line} --output docker-archive:out.tar"))
        .fails(2, &["kept elsewhere", "docker load"]);
    assert!(!sandbox.path("src/out.tar").exists());
}

#[test]
fn names_that_windows_lacks_are_refused() {
    let sandbox = module().file("kodata/a:b", "");
    let line = "gimg build --base scratch --platform";
    sandbox.run(&format!("{line} windows/amd64")).fails(3, &["var/run/ko/a:b", "no names with ':'"]);
    sandbox.run(&format!("{line} linux/amd64")).ok();
    let sandbox = module().file("kodata/Note", "").file("kodata/note", "");
    sandbox
        .run(&format!("{line} windows/amd64"))
        .fails(3, &["var/run/ko/note", "the same as \"var/run/ko/Note\""]);
}

#[test]
fn the_built_in_base_has_no_windows() {
    let sandbox = module();
    sandbox.run("gimg build --platform windows/amd64").fails(
        2,
        &["it has linux only, not windows/amd64", "name a Windows base with --base, or use --base scratch"],
    );
}
