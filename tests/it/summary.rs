//! `--summary`, `--against` and `--report`: what CI shows of a run, and what it reads.

use serde_json::{Value, json};

use crate::support::registry::{Fault, TestRegistry, When};
use crate::support::{Ran, Sandbox};

const BUILD: &str = "gimg build ./cmd/hello --bare --summary ../out/summary.md";

/// What the last run added to the summary.
fn summary(sandbox: &Sandbox) -> String {
    let path = sandbox.path("out/summary.md");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    text
}

fn report(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_summary_says_what_changed_against_what_the_tags_stood_for() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let repo = format!("{}/team/app", registry.host());
    let build = format!("{BUILD} --repo {repo} --platform linux/amd64,linux/arm64");
    let first = sandbox.run(&format!("{build} -t latest --format json")).ok();
    let old = report(&first)["images"][0]["digest"].as_str().unwrap().to_owned();
    assert_eq!(report(&first)["images"][0]["before"], Value::Null);
    let text = summary(&sandbox);
    assert!(text.starts_with(&format!("### `{repo}`\n")), "{text}");
    for line in [
        format!("| Reference | `{repo}@{old}` |"),
        "| Tags | `latest` |".to_owned(),
        format!("| Digest | `{old}` |"),
        "| Platform | Size | Program |".to_owned(),
        "Nothing was there before: none of its tags stood for an image.".to_owned(),
    ] {
        assert!(text.contains(&format!("{line}\n")), "no {line} in\n{text}");
    }
    // A new version beside a tag that moves: it is compared with what that one stood for.
    let labels = "--image-label a=`b`|c --ldflags -s";
    let second = sandbox.run(&format!("{build} -t v2,latest --format json {labels}")).ok();
    let image = &report(&second)["images"][0];
    assert_eq!(image["before"], json!({"tag": "latest", "digest": old}));
    let text = summary(&sandbox);
    let new = image["digest"].as_str().unwrap();
    for part in [
        format!("| Tags | `v2`, `latest` |\n| Digest | `{new}` |\n"),
        "| Platform | Size | Before | Difference | Program |\n".to_owned(),
        format!("**What changed** against `{repo}@{old}`, which `latest` stood for.\n\n```text\n"),
        "\nflag -ldflags: added, -s\n  /ko-app/hello\n".to_owned(),
        "\nlabel a: added, `b`|c\n".to_owned(),
        "<details><summary><code>/ko-app/hello (linux/amd64)</code>: -".to_owned(),
        "\n| `debugging information` | ".to_owned(),
    ] {
        assert!(text.contains(&part), "no {part} in\n{text}");
    }
    // Sizes are those of the report, on both platforms.
    for (number, arch) in ["amd64", "arm64"].iter().enumerate() {
        let row = text.lines().find(|l| l.starts_with(&format!("| `linux/{arch}` | "))).unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let size = |of: &Ran, what: &str| {
            let bytes = report(of)["images"][0]["platforms"][number][what].as_u64().unwrap();
            indicatif::HumanBytes(bytes).to_string()
        };
        let expected = [size(&second, "size"), size(&first, "size"), size(&second, "binarySize")];
        assert_eq!([cells[1], cells[2], cells[4]], expected.each_ref().map(String::as_str));
        assert!(cells[3].starts_with('-'), "{row}");
    }
    sandbox.run(&format!("{build} -t latest {labels}")).ok();
    let text = summary(&sandbox);
    let same = format!("**Nothing changed**: it is `{repo}@{new}`, which `latest` stood for.\n");
    assert!(text.contains(&same), "{text}");
    // Another image, whatever the tags stand for; the same run gives the same text, and adds it.
    for _ in 0..2 {
        sandbox.run(&format!("{build} -t latest {labels} --against {repo}@{old}")).ok();
    }
    let text = summary(&sandbox);
    let (one, other) = text.split_at(text.len() / 2);
    assert_eq!(one, other);
    assert!(one.contains(&format!("**What changed** against `{repo}@{old}`.\n\n```text\n")), "{one}");
}

#[test]
fn what_cannot_be_compared_is_a_warning_and_the_run_succeeds() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let repo = format!("{}/app", registry.host());
    let build = format!("{BUILD} --repo {repo}");
    let old = sandbox.run(&build).ok().digest();
    summary(&sandbox);
    let unknown = "What was there before couldn't be compared; the log says why.\n";
    // The image that was there is broken.
    let manifest: Value = serde_json::from_slice(&registry.bytes("app", &old)).unwrap();
    registry.lose_blob("app", manifest["config"]["digest"].as_str().unwrap());
    let ran = sandbox.run(&format!("{build} --image-label a=b")).ok();
    assert!(ran.stderr.contains("warning: what changed in"), "{}", ran.stderr);
    assert!(summary(&sandbox).contains(unknown));
    // There is no such image.
    let ran = sandbox.run(&format!("{build} --against {repo}:none")).ok();
    assert!(ran.stderr.contains("warning: what changed in"), "{}", ran.stderr);
    assert!(summary(&sandbox).contains(unknown));
    // The registry doesn't say what the tag stands for, yet takes the image.
    registry.fail(When::always("GET", "/manifests/new"), Fault::error(403, "DENIED", "no"));
    let ran = sandbox.run(&format!("{build} -t new")).ok();
    assert!(ran.stderr.contains("app:new stood for before is unknown"), "{}", ran.stderr);
    assert!(summary(&sandbox).contains(unknown));
    assert_eq!(registry.tags("app")["new"], ran.digest());
}

#[test]
fn summaries_without_a_registry_say_sizes_and_wrong_words_end_the_run_before_it_begins() {
    let sandbox = Sandbox::go("hello");
    let ran = sandbox.run(&format!("{BUILD} --output oci:image --report ../out/report.json --format json"));
    let text = summary(&sandbox);
    assert!(text.starts_with("### `oci:image`\n") && text.contains("| `linux/amd64` | "), "{text}");
    assert!(!text.contains("before"), "{text}");
    let written = std::fs::read_to_string(sandbox.path("out/report.json")).unwrap();
    assert_eq!(written, ran.ok().stdout);

    let registry = TestRegistry::start();
    let repo = format!("{}/team", registry.host());
    for (line, why) in [
        ("build ./cmd/hello --summary s --against r.io/a".to_owned(), "nothing is pushed to a registry"),
        (format!("build ./cmd/hello --summary s --repo {repo} --against A:b:c"), "invalid"),
        (format!("build ./... --summary s --repo {repo} --against {repo}/a"), "there are several images"),
    ] {
        sandbox.run(&format!("gimg {line}")).fails(2, &[why]);
    }
    for line in
        ["build --against r.io/a", "build --summary s --dry-run", "pack --binary a=b --against r.io/a"]
    {
        assert_eq!(sandbox.run(&format!("gimg {line}")).code, 2, "{line}");
    }
    sandbox
        .run(&format!("{BUILD} --repo {repo} --report /dev/null"))
        .fails(9, &["it is there and not a file"]);
    assert!(registry.repositories().is_empty(), "{:?}", registry.log());
}

#[test]
fn programs_that_are_only_packed_have_a_summary_too() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").env("CGO_ENABLED", "0");
    sandbox.run("go build -o ../hello ./cmd/hello").ok();
    let pack = format!(
        "gimg pack --binary linux/amd64=../hello --repo {}/team --bare --summary ../out/summary.md --report ../out/r",
        registry.host()
    );
    let digest = sandbox.run(&pack).ok().digest();
    assert!(summary(&sandbox).contains("Nothing was there before"));
    let written = std::fs::read_to_string(sandbox.path("out/r")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap()["images"][0]["digest"], digest);
    sandbox.run(&format!("{pack} --image-label a=b")).ok();
    assert!(summary(&sandbox).contains("label a: added, b\n"));
}
