//! The page of `gimg inspect --html`: one file, the same for the same, and nothing of an image is more than text in it.

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::{document, growing};
use crate::support::layers::{Stored, stored, tar};
use crate::support::{Sandbox, sha256, tool};

/// What stands between `start` and `end`, which are there once.
#[track_caller]
fn between<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
    assert_eq!(page.matches(start).count(), 1, "{start}");
    page.split_once(start).unwrap().1.split_once(end).unwrap().0
}

/// The names of the page's elements. Each must end, and attributes be in quotes.
#[track_caller]
fn elements(page: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>\n").unwrap();
    while let Some((text, more)) = rest.split_once('<') {
        assert!(!text.contains('>'), "{text}");
        let (tag, after) = more.split_once('>').unwrap();
        let name = tag.split(' ').next().unwrap().to_owned();
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{tag}");
            continue;
        }
        let quoted = tag[name.len()..].split('"').step_by(2).collect::<String>();
        assert!(quoted.split(' ').all(|key| key.is_empty() || key.ends_with('=')), "{tag}");
        if name == "style" || name == "script" {
            rest = after.split_once(&format!("</{name}>")).unwrap().1;
        } else if !["meta", "br"].contains(&name.as_str()) {
            open.push(name.clone());
        }
        found.push(name);
    }
    assert!(open.is_empty(), "{open:?}");
    found
}

/// The page asks for nothing, and its policy lets in what it has.
#[track_caller]
fn stands_alone(page: &str) {
    let hash = |text: &str| {
        let hash = sha2::Sha256::digest(text.as_bytes());
        format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(hash))
    };
    let (style, script) = (between(page, "<style>", "</style>"), between(page, "<script>", "</script>"));
    let policy = between(page, "<meta http-equiv=\"Content-Security-Policy\" content=\"", "\"");
    let policy = policy.replace("&#39;", "'");
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
            hash(style),
            hash(script)
        )
    );
    for word in ["@import", "url(", "fetch", "XMLHttpRequest", "import(", "innerHTML", "eval"] {
        assert!(!style.contains(word) && !script.contains(word), "{word}");
    }
    let elements = elements(page);
    for name in ["img", "link", "iframe", "object", "embed", "form", "base", "audio", "video", "image", "use"]
    {
        assert!(!elements.iter().any(|element| element == name), "{name}");
    }
    for attribute in [" src=", " srcset=", " style=", " onclick=", " onload=", " onerror=", " action="] {
        assert!(!page.contains(&format!("{attribute}\"")), "{attribute}");
    }
    assert!(page.matches(" href=\"").count() == page.matches(" href=\"#").count());
}

pub(super) fn page(sandbox: &Sandbox, line: &str) -> String {
    sandbox.run(&format!("gimg inspect {line} --html ../page.html")).ok();
    std::fs::read_to_string(sandbox.path("page.html")).unwrap()
}

#[test]
fn it_holds_everything_in_one_file_and_is_the_same_for_the_same() {
    let sandbox = growing();
    let build = "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --output";
    sandbox.run(&format!("{build} oci:one")).ok();
    sandbox.run(&format!("{build} oci:two --go-flag=-tags=more --image-label team=blue")).ok();
    let line = "oci:two --against oci:one";
    let found = page(&sandbox, line);
    stands_alone(&found);
    let ran = sandbox.run(&format!("gimg inspect {line} --format json --html page.html")).ok();
    assert_eq!(found, std::fs::read_to_string(sandbox.path("src/page.html")).unwrap());
    // All that the other form has.
    let said = document(&ran);
    let has = |text: &str| assert!(found.contains(text), "{text}");
    for image in said["platforms"].as_array().unwrap() {
        has(&format!(">{}</h2>", image["platform"].as_str().unwrap()));
        for layer in image["layers"].as_array().unwrap() {
            has(layer["digest"].as_str().unwrap());
        }
        let program = &image["programs"][0];
        let of = |list: &str| program[list].as_array().unwrap().clone();
        for package in of("packages").iter().filter(|package| package["package"] != "") {
            has(&format!("<code>{}</code>", package["package"].as_str().unwrap()));
            has(&format!("data-n=\"{}\"", package["size"]));
        }
        for section in of("sections") {
            has(&format!("{}: ", section["name"].as_str().unwrap()));
        }
    }
    for text in [
        "team",
        "blue",
        "Differences",
        "encoding/csv",
        "<html lang=\"en\"",
        "<title>oci:two: what is in it</title>",
    ] {
        has(text);
    }
    assert_eq!(
        found.matches("role=\"img\" aria-label=\"Map of the ").count(),
        4,
        "wide and narrow, of two programs"
    );
    assert!(found.matches("scope=\"col\"").count() > 10 && found.matches("<caption>").count() > 8);
    // Of a file.
    sandbox.run("go build -o program ./cmd/other").ok();
    let found = page(&sandbox, "program");
    stands_alone(&found);
    assert!(found.contains("<h2>Program</h2>") && !found.contains("Layers"), "{found}");
}

/// What somebody could put into an image.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></style></script><script>alert(1)</script>",
    "<!-- ]]> <![CDATA[ <svg onload=alert(1)>",
    "&lt;b&gt; &#60;script&#62; &amp;",
    "\u{202e}txet desrever\u{2066}",
    "\u{0}\u{1b}[2J\u{7f}",
    "javascript:alert(1)",
];

/// A layout of an image that says these things wherever it can say something.
pub(super) fn hostile(sandbox: &Sandbox, layers: &[Stored]) {
    let blobs = sandbox.path("src/bad/blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let blob = |bytes: &[u8]| {
        let digest = sha256(bytes);
        std::fs::write(blobs.join(&digest), bytes).unwrap();
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    };
    let of = |kind: &str, bytes: &[u8]| {
        let mut descriptor = blob(bytes);
        descriptor["mediaType"] = json!(kind);
        descriptor
    };
    let all = HOSTILE.join(" ");
    let pairs: serde_json::Map<String, Value> = HOSTILE
        .iter()
        .map(|text| ((*text).to_owned(), json!(text)))
        .chain([("long".into(), json!("é".repeat(100_000)))])
        .collect();
    let config = json!({
        "os": "linux", "architecture": "<b>", "created": all, "author": all,
        "config": {"User": all, "WorkingDir": all, "Entrypoint": HOSTILE, "Cmd": HOSTILE, "Env": HOSTILE, "Labels": pairs,
            "<i>": {"<u>": all}},
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| l.diff_id.as_str()).collect::<Vec<_>>()},
        "history": layers.iter().map(|_| json!({"created": all, "created_by": all, "comment": all, "author": all})).collect::<Vec<_>>(),
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": of("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()),
        "layers": layers.iter().map(|l| of(l.media_type, &l.bytes)).collect::<Vec<_>>(),
        "annotations": pairs,
    });
    let index = json!({"schemaVersion": 2, "manifests": [of("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())]});
    std::fs::write(sandbox.path("src/bad/index.json"), index.to_string()).unwrap();
    std::fs::write(sandbox.path("src/bad/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn nothing_of_an_image_is_more_than_text() {
    let sandbox = Sandbox::go("hello");
    // A program whose module and package have names that no module can have.
    sandbox.run("go build -o program ./cmd/other").ok();
    let path = sandbox.path("src/program");
    let (own, bad) = (b"example.com/hello", b"<svg/onload='\"&>x");
    assert_eq!(own.len(), bad.len());
    let mut program = std::fs::read(&path).unwrap();
    let places: Vec<usize> =
        (0..program.len() - own.len()).filter(|at| &program[*at..*at + own.len()] == own).collect();
    assert!(places.len() > 2);
    places.iter().for_each(|at| program[*at..*at + own.len()].copy_from_slice(bad));
    std::fs::write(&path, &program).unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(program.len() as u64);
    layer.append_data(&mut header, "<img src=x onerror=alert(1)>", program.as_slice()).unwrap();
    hostile(
        &sandbox,
        &[stored(&tar(&[("a", '-', "b")]), "gzip"), stored(&layer.into_inner().unwrap(), "gzip")],
    );
    let found = page(&sandbox, "oci:bad");
    stands_alone(&found);
    assert!(found.contains("&lt;svg/onload=&#39;&quot;&amp;&gt;x"), "the module");
    assert!(
        found.contains("/&lt;img src=x onerror=alert(1)&gt;") && !found.contains("<img"),
        "the program's path"
    );
    assert!(found.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && found.contains("\\u{202e}txet"));
    assert!(!found.contains(['\u{202e}', '\u{2066}', '\u{1b}', '\u{0}', '\u{7f}']));
    assert!(found.len() < 2_000_000, "{}", found.len());
    stands_alone(&page(&sandbox, "program"));
    // Nor does it reach the terminal.
    let text = sandbox.run("gimg inspect oci:bad").ok().stdout;
    assert!(!text.contains(['\u{202e}', '\u{1b}', '\u{7f}']) && text.contains("\\u{1b}[2J"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() < 300), "{text}");
    let said = document(&sandbox.run("gimg inspect oci:bad --format json").ok());
    assert_eq!(said["platforms"][0]["config"]["entrypoint"], json!(HOSTILE), "machines get it as it is");
}

#[test]
fn a_page_is_written_as_a_whole_or_not_at_all() {
    let sandbox = Sandbox::go("hello").file("page.html", "what was there");
    let there = || std::fs::read_to_string(sandbox.path("src/page.html")).unwrap();
    sandbox.run("gimg inspect oci:none --html page.html").fails(3, &["not an OCI image layout"]);
    assert_eq!(there(), "what was there");
    // Before anything is read.
    sandbox.run("gimg inspect oci:none --html cmd").fails(9, &["it is a directory"]);
    sandbox.run("gimg inspect oci:none --html page.html/x").fails(9, &["it is not a directory"]);
    sandbox.run(&format!("gimg inspect {} --html page.html", tool("crane").display())).ok();
    assert!(there().starts_with("<!doctype html>\n") && there().ends_with("</html>\n"));
    let names: Vec<_> =
        std::fs::read_dir(sandbox.path("src")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with('.')), "{names:?}");
}
