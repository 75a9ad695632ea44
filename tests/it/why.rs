//! `gimg why`: each change by its name, and nothing else.

use std::path::Path;

use serde_json::Value;

use crate::support::layers::{Stored, layout, stored, tar};
use crate::support::registry::TestRegistry;
use crate::support::{Layout, Ran, Sandbox, copy_tree, sha256};

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

/// Builds the module's image, as `name` beside the sources.
fn build(sandbox: &Sandbox, name: &str, env: &[(&str, &str)], flags: &str) {
    let line = format!("gimg build ./cmd/app --output oci:../{name} {flags}");
    let output = sandbox.command(&line).envs(env.iter().copied()).output().unwrap();
    Ran::of(&line, output).ok();
}

/// The causes, without what differs because of them.
#[track_caller]
fn causes(ran: Ran) -> Vec<String> {
    let said = ran.ok().stdout;
    assert!(!said.contains("same digest"), "{said}");
    said.lines().filter(|line| !line.starts_with("  ")).map(str::to_owned).collect()
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
            &["files of /var/run/ko: time 1970-01-01T00:00:00Z -> 2023-11-14T22:13:20Z, 4 of them"],
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
        (
            &[
                (".gimg.yaml", &format!("{config}  with: [./cmd/new]\n")),
                ("cmd/new/main.go", "package main\n\nfunc main() { println() }\n"),
            ],
            &[],
            "--binary runs",
            &["program /ko-app/app: renamed to /ko-app/runs", "program /ko-app/new: added"],
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
    build(&first, "first", &[], "");
    let was = first.path("first").display().to_string();
    for (number, (files, env, flags, expected)) in seeds.iter().enumerate() {
        // Where no file changes, what is built already is taken.
        let other = (!files.is_empty()).then(|| {
            let cache = first.path("home/.cache/gimg").display().to_string();
            let sandbox = module().env("GIMG_CACHE", &cache);
            files.iter().for_each(|(name, text)| sandbox.write(name, text));
            sandbox
        });
        let sandbox = other.as_ref().unwrap_or(&first);
        let name = format!("out{number}");
        build(sandbox, &name, env, flags);
        let found = causes(sandbox.run(&format!("gimg why {was} ../{name}")));
        assert_eq!(found, *expected, "{files:?} {env:?} {flags}");
    }
    // What needn't be said follows.
    build(&first, "both", &[], "--base scratch --binary /usr/bin/app");
    let said = first.run("gimg why ../first ../both").ok().stdout;
    let expected = format!(
        "base: static@1 -> scratch\n  user: removed, was 65532\n  working directory: removed, was /home/nonroot\n  \
         env PATH: {path}:/ko-app -> /usr/bin\n  env SSL_CERT_FILE: removed, was /etc/ssl/certs/ca-certificates.crt\n\
         program /ko-app/app: renamed to /usr/bin/app\n  entrypoint: [\"/ko-app/app\"] -> [\"/usr/bin/app\"]\n"
    );
    assert_eq!(said, expected);
    // The other way round there are as many.
    assert_eq!(causes(first.run("gimg why ../both ../first")).len(), 2);
    let said = first.run("gimg why ../first ../first").ok();
    assert_eq!(said.stdout, "same digest\n");
}

#[test]
fn what_git_says_is_the_cause_of_what_follows_from_it() {
    let sandbox = module().env("GOFLAGS", "-buildvcs=true");
    sandbox.git("init -q -b main");
    sandbox.git("add .");
    sandbox.git("commit -q -m first");
    let revision = |sandbox: &Sandbox| sandbox.git("rev-parse HEAD").stdout.trim().to_owned();
    let first = revision(&sandbox);
    build(&sandbox, "first", &[], "--annotate-vcs");
    sandbox.write("notes", "");
    build(&sandbox, "dirty", &[], "--annotate-vcs");
    let said = sandbox.run("gimg why ../first ../dirty").ok().stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "vcs tree: clean -> modified", "{said}");
    assert!(lines[1..].iter().all(|line| line.starts_with("  ")), "{said}");
    assert!(said.contains("+dirty") && said.contains("  /ko-app/app\n"), "{said}");
    sandbox.git("add .");
    sandbox.git("commit -q -m second");
    build(&sandbox, "second", &[], "--annotate-vcs");
    let said = sandbox.run("gimg why ../first ../second").ok().stdout;
    let lines: Vec<&str> = said.lines().collect();
    let both = format!("revision: {first} -> {}", revision(&sandbox));
    assert_eq!(lines[0], format!("vcs {both}"));
    assert!(lines[1..].iter().all(|line| line.starts_with("  ")), "{said}");
    assert!(said.contains(&format!("  annotation org.opencontainers.image.{both}\n")), "{said}");
    build(&sandbox, "none", &[("GOFLAGS", "-buildvcs=false")], "--annotate-vcs");
    let second = revision(&sandbox);
    let found = causes(sandbox.run("gimg why ../second ../none"));
    assert_eq!(found, [format!("vcs stamp: removed, was {second}")]);
}

#[test]
fn platforms_are_compared_one_by_one() {
    let sandbox = module();
    build(&sandbox, "one", &[], "--platform linux/amd64");
    build(&sandbox, "two", &[], "--platform linux/amd64,linux/arm64");
    build(&sandbox, "turned", &[], "--platform linux/arm64,linux/amd64");
    build(&sandbox, "v3", &[("GOAMD64", "v3")], "--platform linux/amd64,linux/arm64 --image-label a=b");
    let why = |words: &str| causes(sandbox.run(&format!("gimg why {words}")));
    assert_eq!(why("../two ../one"), ["platform linux/arm64: removed"]);
    let order = "order of platforms: \"linux/amd64, linux/arm64\" -> \"linux/arm64, linux/amd64\"";
    assert_eq!(why("../two ../turned"), [order]);
    assert_eq!(why("../two ../v3"), ["setting GOAMD64: v1 -> v3 (linux/amd64)", "label a: added, b"]);
    assert_eq!(why("../two ../v3 --platform linux/arm64"), ["label a: added, b"]);
    let one = sandbox.run("gimg why ../one ../two --platform linux/amd64").ok();
    assert_eq!(one.stdout, "same digest\n");
    sandbox.run("gimg why ../one ../two --platform linux/arm64").fails(3, &["linux/arm64", "linux/amd64"]);
    let said = sandbox.run("gimg why ../two ../v3 --format json").ok().stdout;
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["same"], false);
    assert_eq!(json["of"][0]["name"], "oci:../two");
    let causes = json["causes"].as_array().unwrap();
    let expected = serde_json::json!({
        "kind": "setting", "name": "GOAMD64", "change": "changed", "was": "v1", "now": "v3",
        "changes": ["/ko-app/app"], "platforms": ["linux/amd64"],
    });
    assert_eq!((causes.len(), &causes[0]), (2, &expected));
}

/// The digests of blobs that were asked for since request `from`.
fn fetched(registry: &TestRegistry, from: usize) -> Vec<String> {
    let log = registry.log();
    let blobs = log[from..].iter().filter(|l| l.method == "GET" && l.target.contains("/blobs/"));
    blobs.map(|l| l.target.rsplit('/').next().unwrap().to_owned()).collect()
}

#[test]
fn no_layer_of_a_base_and_none_that_both_have_is_downloaded() {
    let registry = TestRegistry::start();
    let sandbox = module().env("GIMG_CACHE", "off");
    let base = format!("{}/base", registry.host());
    let app = format!("{}/app", registry.host());
    let build = |base: &str, tag: &str| {
        sandbox.run(&format!("gimg build ./cmd/app --bare --repo {app} --base {base} --tags {tag}")).ok();
    };
    let make_base = |flags: &str| {
        let ran = sandbox.run(&format!("gimg build ./cmd/other --bare --repo {base} {flags}")).ok();
        ran.digest()
    };
    let first = make_base("");
    build(&base, "first");
    sandbox.write("cmd/other/kodata/x", "of the base");
    let second = make_base("--image-label a=b --image-user 5");
    build(&base, "second");
    sandbox.write("cmd/app/kodata/a.txt", "other data\n");
    build(&base, "third");
    let layers = |repo: &str, digest: &str| -> Vec<String> {
        let manifest: Value = serde_json::from_slice(&registry.bytes(repo, digest)).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers.map(|l| l["digest"].as_str().unwrap().to_owned()).collect()
    };
    let tags = registry.tags("app");
    let why = |words: &str| {
        let from = registry.log().len();
        let said = sandbox.run(&format!("gimg why {words}")).ok().stdout;
        (said, fetched(&registry, from))
    };
    let is_layer = |blob: &String| tags.values().any(|digest| layers("app", digest).contains(blob));
    let (said, blobs) = why(&format!("{app}:first {app}:second"));
    let expected = format!(
        "base: {base}:latest@{first} -> {base}:latest@{second}\n  user: 65532 -> 5\n  label a: added, b\n"
    );
    assert_eq!(said, expected);
    assert!(!blobs.is_empty() && !blobs.iter().any(is_layer), "{blobs:?}");
    // Of images that differ in one layer only that is read.
    let (said, blobs) = why(&format!("{app}:second {app}:third"));
    assert_eq!(said, "file /var/run/ko/a.txt: changed from byte 0, 9 -> 11 bytes\n");
    let mut read: Vec<String> = blobs.into_iter().filter(is_layer).collect();
    let (second, third) = (layers("app", &tags["second"]), layers("app", &tags["third"]));
    let mut expected: Vec<String> = second.iter().filter(|l| !third.contains(l)).cloned().collect();
    expected.extend(third.iter().filter(|l| !second.contains(l)).cloned());
    read.sort();
    expected.sort();
    assert_eq!((read.len(), read), (2, expected));
    // The same content, packed in another way, isn't read at all.
    sandbox
        .run(&format!(
            "gimg build ./cmd/app --bare --repo {app} --base {base} --tags zstd --compression zstd"
        ))
        .ok();
    let (said, blobs) = why(&format!("{app}:third {app}:zstd"));
    assert!(said.starts_with("compression: gzip:2 -> zstd:"), "{said}");
    assert!(!blobs.iter().any(is_layer), "{blobs:?}");
}

#[test]
fn what_provenance_records_names_what_go_leaves_out() {
    let registry = TestRegistry::start();
    let sandbox = module();
    sandbox.git("init -q -b main");
    sandbox.git("add .");
    sandbox.git("commit -q -m first");
    let app = format!("{}/app", registry.host());
    let build = |tag: &str, flags: &[&str]| {
        let line = format!("gimg build ./cmd/app --bare --repo {app} --tags {tag}");
        sandbox.run_with(&line, flags).ok();
    };
    let why = |was: &str, now: &str| causes(sandbox.run(&format!("gimg why {app}:{was} {app}:{now}")));
    build("first", &[]);
    build("flags", &["--ldflags", "-s -w -X example.com/m/greet.Version=v2"]);
    let flags = "\"-s -w -X example.com/m/greet.Version=v2\"";
    assert_eq!(why("first", "flags"), [format!("flag -ldflags: added, {flags}")]);
    // Without it, what shows is told.
    build("bare", &["--provenance=false", "--ldflags", "-X example.com/m/greet.Version=v2"]);
    let found = why("first", "bare");
    assert!(found[0].starts_with("program /ko-app/app: in .") && found[0].contains("-X"), "{found:?}");
    build("level", &["--compression", "gzip:9"]);
    assert_eq!(why("first", "level"), ["compression: gzip:2 -> gzip:9"]);
    // Sources that aren't stamped.
    let longer = GREET.replace("n*3", "(n^77)*(n+5)*(n-9)");
    sandbox.write("greet/greet.go", &longer);
    build("modified", &[]);
    assert_eq!(why("first", "modified"), ["vcs tree: clean -> modified"]);
    sandbox.write("greet/greet.go", &longer.replace("77", "78"));
    build("again", &[]);
    assert_eq!(why("modified", "again"), ["code of example.com/m/greet: Line"]);
    let before = sandbox.git("rev-parse HEAD").stdout.trim().to_owned();
    sandbox.git("commit -q -a -m second");
    let after = sandbox.git("rev-parse HEAD").stdout.trim().to_owned();
    build("second", &[]);
    assert_eq!(why("first", "second"), [format!("vcs revision: {before} -> {after}")]);
    // What is recorded can be wrong.
    sandbox.git("update-index --assume-unchanged greet/greet.go");
    sandbox.write("greet/greet.go", &longer.replace("77", "79"));
    build("wrong", &[]);
    let same = "though what is recorded of its making is the same";
    assert_eq!(why("second", "wrong"), [format!("code of example.com/m/greet: Line, {same}")]);
}

/// A program of the module, built by go alone.
fn program(sandbox: &Sandbox, name: &str, env: &[(&str, &str)], flags: &[&str]) {
    let line = format!("go build -trimpath -o ../{name}");
    let mut go = sandbox.command(&line);
    let output =
        go.env("CGO_ENABLED", "0").args(flags).arg("./cmd/app").envs(env.iter().copied()).output().unwrap();
    Ran::of(&line, output).ok();
}

/// The same program, as another version of Go would have made it.
fn older(from: &Path, to: &Path) {
    let mut bytes = std::fs::read(from).unwrap();
    let at: Vec<usize> = (0..bytes.len() - 8)
        .filter(|at| bytes[*at..].starts_with(b"go1.2") && bytes[at + 6] == b'.')
        .collect();
    assert!(!at.is_empty());
    at.iter().for_each(|at| bytes[at + 7] = b'0');
    std::fs::write(to, bytes).unwrap();
}

#[test]
fn programs_are_compared_by_what_go_recorded_and_else_by_their_code() {
    let sandbox = module();
    program(&sandbox, "first", &[], &[]);
    older(&sandbox.path("first"), &sandbox.path("older"));
    let go = sandbox.run("go env GOVERSION").stdout.trim().to_owned();
    let why = |words: &str| causes(sandbox.run(&format!("gimg why {words}")));
    let older = format!("{}0", &go[..7]);
    assert_eq!(why("../older ../first"), [format!("go: {older} -> {go}")]);
    program(&sandbox, "cgo", &[("CGO_ENABLED", "1"), ("CC", "true")], &[]);
    assert_eq!(why("../first ../cgo"), ["setting CGO_ENABLED: 0 -> 1"]);
    program(&sandbox, "stripped", &[], &["-ldflags=-s -w"]);
    let found = why("../first ../stripped");
    assert!(found[0].starts_with("program: symbols for debuggers (.debug_* (gone)"), "{found:?}");
    for os in ["windows", "darwin"] {
        program(&sandbox, os, &[("GOOS", os)], &[]);
        assert!(why(&format!("../first ../{os}")).contains(&format!("setting GOOS: linux -> {os}")));
    }
    let mut bytes = std::fs::read(sandbox.path("windows")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(sandbox.path("other"), bytes).unwrap();
    let same = "though Go recorded the same";
    assert_eq!(why("../windows ../other"), [format!("program: changed from byte {last}, {same}")]);
    assert_eq!(sandbox.run("gimg why ../first ../first").ok().stdout, "same digest\n");
    // What Go didn't make is compared by sections.
    let mut bytes = std::fs::read("/bin/true").unwrap();
    let text = bytes.windows(4).rposition(|four| four == b"GNU\0").unwrap();
    bytes[text] = b'X';
    sandbox.write("../text", "no program");
    std::fs::write(sandbox.path("changed"), bytes).unwrap();
    assert!(why("/bin/true ../changed")[0].starts_with("program: "));
    sandbox.run("gimg why ../first ../text").fails(3, &["../text", "no executable"]);
    sandbox.run("gimg why ../first oci:../first").fails(2, &["one is a file, the other an image"]);
    sandbox.run("gimg why ./cmd/app ./cmd/app").fails(2, &["a package has no digest"]);
    assert_eq!(sandbox.run("gimg why ../first").code, 2);
}

#[test]
fn images_that_something_else_made_are_compared_too() {
    let sandbox = module();
    program(&sandbox, "first", &[], &[]);
    program(&sandbox, "v3", &[("GOAMD64", "v3")], &[]);
    let bytes = |name: &str| std::fs::read(sandbox.path(name)).unwrap();
    let (first, v3) = (bytes("first"), bytes("v3"));
    let program = |bytes: &[u8]| stored(&tar_of("usr/bin/app", bytes), "gzip");
    let below = stored(&tar(&[("etc", 'd', ""), ("etc/a", '-', "1")]), "gzip");
    let changed = stored(&tar(&[("etc", 'd', ""), ("etc/a", '-', "2"), ("etc/b", 'l', "a")]), "gzip");
    let packed = stored(&tar(&[("etc", 'd', ""), ("etc/a", '-', "1")]), "zstd");
    let turned = stored(&tar(&[("etc/a", '-', "1"), ("etc", 'd', "")]), "gzip");
    let write = |name: &str, env: &[&str], layers: &[Stored]| {
        layout(&sandbox.path(name), "linux/amd64", env, layers);
    };
    write("a", &["A=1"], &[below.clone(), program(&first)]);
    write("b", &["A=2"], &[below.clone(), program(&v3)]);
    write("c", &["A=1"], &[changed, program(&first)]);
    write("d", &["A=1"], &[packed, program(&first)]);
    write("e", &["A=1"], &[turned, program(&first)]);
    write("f", &["A=1"], &[below, program(&first), stored(&tar(&[("etc/c", '-', "")]), "none")]);
    let why = |words: &str| causes(sandbox.run(&format!("gimg why {words}")));
    assert_eq!(why("oci:../a oci:../b"), ["setting GOAMD64: v1 -> v3", "env A: 1 -> 2"]);
    let link = "file /etc/b: added, a symbolic link";
    assert_eq!(why("oci:../a oci:../c"), ["file /etc/a: changed from byte 0", link]);
    assert_eq!(why("oci:../a oci:../d"), ["compression: gzip -> zstd"]);
    let form = "form of layer 1: the same files in another order, or with other headers";
    assert_eq!(why("oci:../a oci:../e"), [form]);
    assert_eq!(why("oci:../a oci:../f"), ["file /etc/c: added"]);
    // Documents that say the same in another way.
    rewrite(&sandbox, "a", "docker", |manifest| {
        let text = manifest.to_string().replace("application/vnd.oci.image.manifest.v1+json", DOCKER);
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        text.replace("application/vnd.oci.image.layer.v1.tar+gzip", docker)
    });
    let types = format!("form of the manifest: application/vnd.oci.image.manifest.v1+json -> {DOCKER}");
    assert_eq!(why("oci:../a oci:../docker"), [types]);
    rewrite(&sandbox, "a", "blanks", |manifest| serde_json::to_string_pretty(manifest).unwrap());
    assert_eq!(why("oci:../a oci:../blanks"), ["form of the manifest: it says the same in other words"]);
    let entry = |name: &str| Layout::at(sandbox.path(name)).index()["manifests"][0].clone();
    let index = |name: &str, more: &[Value]| {
        let mut of = entry("a");
        of["platform"] = serde_json::json!({"os": "linux", "architecture": "amd64"});
        let manifests: Vec<Value> = [of].iter().chain(more).cloned().collect();
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": kind, "manifests": manifests});
        rewrite(&sandbox, "a", name, |_| index.to_string());
        let path = sandbox.path(&format!("{name}/index.json"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, text.replace("application/vnd.oci.image.manifest.v1+json", kind)).unwrap();
    };
    index("index", &[]);
    assert_eq!(why("oci:../a oci:../index"), ["index: added"]);
    let mut attestation = entry("a");
    attestation["platform"] = serde_json::json!({"os": "unknown", "architecture": "unknown"});
    index("attested", &[attestation]);
    assert_eq!(why("oci:../index oci:../attested"), ["index attestations: changed"]);
    // What isn't what its digest says explains nothing.
    let layer = Layout::at(sandbox.path("b")).root()["layers"][1]["digest"].as_str().unwrap().to_owned();
    let blob = sandbox.path(&format!("b/blobs/sha256/{}", &layer["sha256:".len()..]));
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[20] ^= 1;
    std::fs::write(blob, bytes).unwrap();
    sandbox.run("gimg why oci:../a oci:../b").fails(8, &[&layer, "the content is"]);
}

#[test]
fn a_base_is_known_from_its_manifest_where_history_says_nothing() {
    let registry = TestRegistry::start();
    let sandbox = module().env("GIMG_CACHE", "off");
    program(&sandbox, "first", &[], &[]);
    let program = stored(&tar_of("usr/bin/app", &std::fs::read(sandbox.path("first")).unwrap()), "gzip");
    let below = |text: &str| stored(&tar(&[("etc", 'd', ""), ("etc/a", '-', text)]), "gzip");
    let push = |name: &str, env: &[&str], layers: &[Stored], base: Option<&str>| {
        let dir = format!("{name}-layout");
        layout(&sandbox.path(&dir), "linux/amd64", env, layers);
        let dir = match base {
            None => dir,
            Some(digest) => {
                let base = format!("{}/base", registry.host());
                rewrite(&sandbox, &dir, name, |manifest| {
                    let mut manifest = manifest.clone();
                    manifest["annotations"] = serde_json::json!({
                        "org.opencontainers.image.base.name": base,
                        "org.opencontainers.image.base.digest": digest,
                    });
                    manifest.to_string()
                });
                name.to_owned()
            }
        };
        let repo = name.trim_end_matches(char::is_numeric);
        sandbox.run(&format!("gimg push ../{dir} {}/{repo} -t {name}", registry.host())).ok().digest()
    };
    let (one, two) = (below("1"), below("2"));
    let (env, other): (&[&str], &[&str]) = (&["A=1", "B=1"], &["A=2", "B=1"]);
    let bases = [
        push("base1", env, std::slice::from_ref(&one), None),
        push("base2", other, std::slice::from_ref(&two), None),
    ];
    push("app1", env, &[one.clone(), program.clone()], Some(&bases[0]));
    push("app2", other, &[two.clone(), program], Some(&bases[1]));
    let (host, from) = (registry.host(), registry.log().len());
    let said = sandbox.run(&format!("gimg why {host}/app:app1 {host}/app:app2")).ok().stdout;
    let expected = format!("base: {host}/base@{} -> {host}/base@{}\n  env A: 1 -> 2\n", bases[0], bases[1]);
    assert_eq!(said, expected);
    let blobs = fetched(&registry, from);
    assert!(!blobs.contains(&one.digest()) && !blobs.contains(&two.digest()), "{blobs:?}");
}

const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Writes a layout as another one, with an `edit` of its manifest.
fn rewrite(sandbox: &Sandbox, from: &str, to: &str, edit: impl Fn(&Value) -> String) {
    copy_tree(&sandbox.path(from), &sandbox.path(to));
    let text = edit(&Layout::at(sandbox.path(from)).root());
    std::fs::write(sandbox.path(&format!("{to}/blobs/sha256/{}", sha256(text.as_bytes()))), &text).unwrap();
    let media_type =
        if text.contains(DOCKER) { DOCKER } else { "application/vnd.oci.image.manifest.v1+json" };
    let digest = format!("sha256:{}", sha256(text.as_bytes()));
    let entry = serde_json::json!({"mediaType": media_type, "digest": digest, "size": text.len()});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
    std::fs::write(sandbox.path(&format!("{to}/index.json")), index.to_string()).unwrap();
}

/// A layer with one program.
fn tar_of(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    out.append_data(&mut header, name, bytes).unwrap();
    out.into_inner().unwrap()
}
