//! `gimg why`: each change by its name, and nothing else.

use std::path::Path;

use serde_json::Value;

use crate::support::layers::{layout, stored, tar};
use crate::support::registry::TestRegistry;
use crate::support::{Layout, Ran, Sandbox};

const GO_MOD: &str = "module example.com/m\n\ngo 1.21\n\nrequire example.com/dep v1.0.0\n";
const VENDORED: &str = "# example.com/dep v1.0.0\n## explicit\nexample.com/dep\n";
const MAIN: &str = "package main\n\nimport (\n\t\"example.com/dep\"\n\t\"example.com/m/greet\"\n)\n\n\
                    func main() { println(greet.Line(1), dep.Name, \"first text\") }\n";
const GREET: &str = "package greet\n\nvar Version = \"dev\"\n\n//go:noinline\nfunc Line(n int) int { return n*3 + len(Version) }\n";

/// A module with a module that it is built with, a second program, and kodata.
fn module() -> Sandbox {
    Sandbox::new()
        .file("go.mod", GO_MOD)
        .file("vendor/modules.txt", VENDORED)
        .file("vendor/example.com/dep/dep.go", "package dep\n\nconst Name = \"dep\"\n")
        .file("greet/greet.go", GREET)
        .file("cmd/app/main.go", MAIN)
        .file("cmd/app/tagged.go", "//go:build tagged\n\npackage main\n\nfunc init() { println() }\n")
        .file("cmd/app/kodata/a.txt", "the data\n")
        .file("cmd/app/kodata/dir/b.txt", "more\n")
        .file("cmd/other/main.go", "package main\n\nfunc main() { println(\"other\") }\n")
        .env("GOFLAGS", "-buildvcs=false")
}

fn build(sandbox: &Sandbox, flags: &str) {
    sandbox.run(&format!("gimg build ./cmd/app --output oci:../out {flags}")).ok();
}

/// The causes, without what differs because of them.
#[track_caller]
fn causes(ran: Ran) -> Vec<String> {
    let said = ran.ok().stdout;
    assert!(!said.contains("same digest"), "{said}");
    said.lines().filter(|line| !line.starts_with("  ")).map(str::to_owned).collect()
}

/// Puts an image out of the way.
fn keep(sandbox: &Sandbox, name: &str) {
    std::fs::rename(sandbox.path("out"), sandbox.path(name)).unwrap();
}

/// A change, and what is said of it.
type Seed<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)], &'a str, &'a [&'a str]);

#[test]
fn every_change_is_named_and_nothing_else() {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let longer = GREET.replace("n*3", "(n^77)*(n+5)*(n-9)");
    let lower = GREET.replace("var Version", "// A comment.\nvar Version");
    let other_text = MAIN.replace("first text", "other text");
    let newer = [
        ("go.mod", &*GO_MOD.replace("v1.0.0", "v1.1.0")),
        ("vendor/modules.txt", &*VENDORED.replace("v1.0.0", "v1.1.0")),
    ];
    let config = "builds:\n- main: ./cmd/app\n";
    let seeds: &[Seed<'_>] = &[
        // Programs.
        (&newer, &[], "", &["module example.com/dep: v1.0.0 -> v1.1.0"]),
        (&[], &[("GOAMD64", "v3")], "", &["setting GOAMD64: v1 -> v3"]),
        (&[], &[("GOFLAGS", "-buildvcs=false -tags=tagged")], "", &["flag -tags: added, tagged"]),
        (&[("greet/greet.go", &longer)], &[], "", &["code of example.com/m/greet: Line"]),
        (&[("greet/greet.go", &lower)], &[], "", &["code of example.com/m/greet: only the numbers of lines"]),
        (&[("cmd/app/main.go", &other_text)], &[], "", &["code of example.com/m/cmd/app: main"]),
        // Data.
        (&[("cmd/app/kodata/c.txt", "c")], &[], "", &["file /var/run/ko/c.txt: added"]),
        (&[("cmd/app/kodata/sub/c", "c")], &[], "", &["file /var/run/ko/sub/c: added"]),
        (
            &[("cmd/app/kodata/a.txt", "the date\n")],
            &[],
            "",
            &["file /var/run/ko/a.txt: changed from byte 7"],
        ),
        (
            &[("cmd/app/kodata/a.txt", "the data of app\n")],
            &[],
            "",
            &["file /var/run/ko/a.txt: changed from byte 8, 9 -> 16 bytes"],
        ),
        (
            &[],
            &[("KO_DATA_DATE_EPOCH", "1700000000")],
            "",
            &["files of /var/run/ko: time 1970-01-01T00:00:00Z -> 2023-11-14T22:13:20Z, of all 4"],
        ),
        // The config.
        (&[], &[("SOURCE_DATE_EPOCH", "9")], "", &["created: 1970-01-01T00:00:00Z -> 1970-01-01T00:00:09Z"]),
        (&[], &[], "--image-user 7", &["user: 65532 -> 7"]),
        (&[], &[], "--image-label team=a", &["label team: added, a"]),
        (
            &[(
                ".gimg.yaml",
                &format!("{config}  image:\n    env: {{A: b}}\n    workingDir: /d\n    cmd: [x]\n"),
            )],
            &[],
            "",
            &["cmd: added, [\"x\"]", "working directory: /home/nonroot -> /d", "env A: added, b"],
        ),
        (
            &[(".gimg.yaml", &format!("{config}  image:\n    exposedPorts: [80]\n"))],
            &[],
            "",
            &["config ExposedPorts: added, {\"80/tcp\":{}}"],
        ),
        // The image.
        (&[], &[], "--image-annotation a=b", &["annotation a: added, b"]),
        (&[], &[], "--base scratch", &["base: static@1 -> scratch"]),
        (&[], &[], "--compression zstd", &["compression: gzip -> zstd"]),
        (&[], &[], "--compression gzip:9", &["compression: another level or encoder of gzip"]),
        (&[], &[], "--binary runs", &["program /ko-app/app: renamed to /ko-app/runs"]),
        (&[], &[], "--binary /usr/bin/app", &["program /ko-app/app: renamed to /usr/bin/app"]),
        (
            &[(".gimg.yaml", &format!("{config}  with: [./cmd/other]\n"))],
            &[],
            "",
            &["program /ko-app/other: added"],
        ),
        (&[], &[], "--platform linux/amd64,linux/arm64", &["platform linux/arm64: added"]),
        // Several at once, the most fundamental first.
        (
            &[newer[0], newer[1], ("cmd/app/kodata/c.txt", "c")],
            &[("GOAMD64", "v2")],
            "--image-label a=b --compression zstd",
            &[
                "module example.com/dep: v1.0.0 -> v1.1.0",
                "setting GOAMD64: v1 -> v2",
                "file /var/run/ko/c.txt: added",
                "label a: added, b",
                "compression: gzip -> zstd",
            ],
        ),
    ];
    let first = module();
    build(&first, "");
    keep(&first, "first");
    for (files, env, flags, expected) in seeds {
        let mut sandbox = module();
        files.iter().for_each(|(name, text)| sandbox.write(name, text));
        for (key, value) in *env {
            sandbox = sandbox.env(key, value);
        }
        build(&sandbox, flags);
        let was = first.path("first").display().to_string();
        assert_eq!(
            causes(sandbox.run(&format!("gimg why {was} ../out"))),
            *expected,
            "{files:?} {env:?} {flags}"
        );
        // The other way round there are as many.
        assert_eq!(causes(sandbox.run(&format!("gimg why ../out {was}"))).len(), expected.len());
    }
    // What needn't be said follows.
    let sandbox = module();
    build(&sandbox, "--base scratch --binary /usr/bin/app");
    let said = sandbox.run(&format!("gimg why {} ../out", first.path("first").display())).ok().stdout;
    let expected = format!(
        "base: static@1 -> scratch\n  user: removed, was 65532\n  working directory: removed, was /home/nonroot\n  \
         env PATH: {path}:/ko-app -> /usr/bin\n  env SSL_CERT_FILE: removed, was /etc/ssl/certs/ca-certificates.crt\n\
         program /ko-app/app: renamed to /usr/bin/app\n  entrypoint: [\"/ko-app/app\"] -> [\"/usr/bin/app\"]\n"
    );
    assert_eq!(said, expected);
}
