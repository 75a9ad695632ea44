//! `gimg pack`: the image that `gimg build` makes, from programs that something else compiled.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use crate::support::registry::TestRegistry;
use crate::support::rootfs::is_root;
use crate::support::{Layout, Ran, Sandbox};

/// What the programs of `compiled` are for, in the order that the tests ask for them.
const BOTH: &str = "--platform linux/arm64,linux/amd64";
/// As `BOTH`, for `cmd/hello`.
const PROGRAMS: &str = "--binary linux/arm64=dist/hello-arm64 --binary linux/amd64=dist/hello-amd64";

/// Compiles a package with Go alone, as Make or GoReleaser do.
fn compile(sandbox: &Sandbox, package: &str, arch: &str, more: &[&str]) {
    let name = package.rsplit('/').next().unwrap();
    let mut go = sandbox.command("go build -trimpath -o");
    go.arg(format!("dist/{name}-{arch}")).args(more).arg(package);
    let go = go.env("GOOS", "linux").env("GOARCH", arch).env("CGO_ENABLED", "0").output().unwrap();
    assert!(go.status.success(), "{}", String::from_utf8_lossy(&go.stderr));
}

/// `testdata/go/hello` with `cmd/hello` compiled for both platforms.
fn compiled(more: &[&str]) -> Sandbox {
    let sandbox = Sandbox::go("hello");
    for arch in ["arm64", "amd64"] {
        compile(&sandbox, "./cmd/hello", arch, more);
    }
    sandbox
}

/// Runs a line where there is no program on PATH at all.
fn without_tools(sandbox: &Sandbox, line: &str) -> Ran {
    let output = sandbox.command(line).env("PATH", "/nonexistent").output().unwrap();
    Ran::of(line, output)
}

#[test]
fn the_image_is_that_of_build_and_no_go_is_needed() {
    let sandbox = compiled(&[]);
    for (platform, binaries) in [
        ("--platform linux/amd64", "--binary linux/amd64=dist/hello-amd64"),
        (BOTH, PROGRAMS),
        ("--platform linux/arm64 --base scratch", "--binary linux/arm64=dist/hello-arm64 --base scratch"),
    ] {
        let flags = "--image-label a=b --image-annotation x=y --image-user 7 --compression zstd -t v1";
        let built = sandbox.run(&format!("gimg build ./cmd/hello {platform} {flags}")).ok();
        let manifest = Layout::at(sandbox.path("src/gimg-out/hello")).root();
        std::fs::remove_dir_all(sandbox.path("src/gimg-out")).unwrap();
        let line = format!("gimg pack {binaries} --kodata cmd/hello/kodata {flags}");
        let packed = without_tools(&sandbox, &line).ok();
        assert_eq!(packed.stdout, built.stdout, "{platform}");
        assert_eq!(Layout::at(sandbox.path("src/gimg-out/hello")).root(), manifest);
        assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    }
    let without = without_tools(&sandbox, &format!("gimg pack {PROGRAMS}")).ok();
    let layout = Layout::at(sandbox.path("src/gimg-out/hello"));
    assert!(without.stdout.starts_with("oci:gimg-out/hello@sha256:"));
    for manifest in layout.images().values() {
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2, "kodata only if it is named");
    }
}

#[test]
fn the_entry_of_the_program_counts_as_in_build() {
    let config = "
defaultBaseImage: scratch
defaultPlatforms: [all]
image: {user: '1000', labels: {all: '{{.Env.WHO}}'}}
builds:
- {id: other, main: ./cmd/other, tags: [no]}
- main: ./cmd/hello
  base: static
  binary: /opt/greet/hi
  ldflags: ['-X example.com/hello/greet.Version={{.GoEnv.GOOS}}']
  tags: ['v{{.Env.VERSION}}']
  image:
    env: {MODE: prod}
    workingDir: /opt
    cmd: [--loud]
    exposedPorts: ['8080']
    labels: {own: '{{.Date}}'}
";
    let sandbox = compiled(&["-ldflags=-X example.com/hello/greet.Version=linux"])
        .file(".gimg.yaml", config)
        .env("WHO", "everyone")
        .env("VERSION", "7")
        .env("SOURCE_DATE_EPOCH", "1700000000");
    let built = sandbox.run(&format!("gimg build ./cmd/hello {BOTH} -o oci:built")).ok();
    let line = format!("gimg pack {PROGRAMS} --kodata cmd/hello/kodata -o oci:packed");
    let packed = without_tools(&sandbox, &line).ok();
    assert_eq!(packed.digest(), built.digest());
    let layout = Layout::at(sandbox.path("src/packed"));
    assert_eq!(layout.index()["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "v7");
    let manifest = layout.images().remove("linux/amd64").unwrap();
    let config = &layout.document(&manifest["config"])["config"];
    assert_eq!(config["Entrypoint"], serde_json::json!(["/opt/greet/hi"]));
    assert_eq!(config["Labels"], serde_json::json!({"all": "everyone", "own": "2023-11-14T22:13:20Z"}));

    // Flags beat the entry, in both commands by either word.
    let flags = "--base scratch -o oci:flags -t v8";
    let built = sandbox.run(&format!("gimg build ./cmd/hello {BOTH} {flags} --program /bin/x")).ok();
    let packed = sandbox.run(&format!("{line} {flags} --program /bin/x").replace("-o oci:packed", "")).ok();
    assert_eq!(packed.digest(), built.digest());

    // Without the sources there is no telling which program an entry is for.
    std::fs::remove_dir_all(sandbox.path("src/cmd/other")).unwrap();
    let ran = sandbox.run(&line).ok();
    assert!(ran.stderr.contains("warning: builds[0] (other) doesn't count"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("builds[1]"), "{}", ran.stderr);
    assert_ne!(ran.digest(), built.digest());
}

#[test]
fn names_and_bases_are_those_of_build() {
    let registry = TestRegistry::start();
    let sandbox = compiled(&[]).env("KO_DOCKER_REPO", &format!("{}/org", registry.host()));
    let base = format!("{}/base:v1", registry.host());
    sandbox.run(&format!("gimg build ./cmd/other {BOTH} --repo {}/base --bare -t v1", registry.host())).ok();
    sandbox.run(&format!("gimg build ./cmd/other {BOTH} -o oci:base")).ok();
    for base in ["--base static", &format!("--base {base}"), "--base oci:base"] {
        for naming in ["", "-B", "-P", "--bare -t v1,v2"] {
            let built = sandbox.run(&format!("gimg build ./cmd/hello {BOTH} {base} {naming}")).ok();
            let line = format!("gimg pack {PROGRAMS} --kodata cmd/hello/kodata {base} {naming}");
            assert_eq!(without_tools(&sandbox, &line).ok().stdout, built.stdout, "{base} {naming}");
        }
    }
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    let line = format!("gimg pack {PROGRAMS} -B --import-path ko://example.com/renamed/v2");
    assert!(sandbox.run(&line).ok().stdout.starts_with(&format!("{}/org/v2@sha256:", registry.host())));
    let line = format!("gimg pack {PROGRAMS} -o oci:out --import-path example.com/renamed/v2");
    sandbox.run(&line).ok();
    let layout = Layout::at(sandbox.path("src/out"));
    let manifest = layout.images().remove("linux/arm64").unwrap();
    let config = layout.document(&manifest["config"]);
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/ko-app/renamed"]));
    let history = config["history"].as_array().unwrap();
    assert_eq!(history.last().unwrap()["created_by"], "gimg build ko://example.com/renamed/v2");

    // The base of one platform is no base for another.
    sandbox.run("gimg build ./cmd/other --platform linux/amd64 -o oci:narrow").ok();
    let line = "gimg pack --binary linux/arm64=dist/hello-arm64 --base oci:narrow -o oci:out";
    sandbox.run(line).fails(5, &["it has no linux/arm64", "hint: it has linux/amd64"]);
}

#[test]
fn the_users_file_stays_as_it_is() {
    let sandbox = compiled(&[]);
    let path = sandbox.path("src/dist/hello-amd64");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    let state = || {
        let meta = std::fs::metadata(&path).unwrap();
        (std::fs::read(&path).unwrap(), meta.mode(), meta.mtime_nsec(), meta.ctime_nsec(), meta.ino())
    };
    let before = state();
    // Bazel hands out links.
    symlink(&path, sandbox.path("src/link")).unwrap();
    let packed = sandbox.run("gimg pack --binary linux/amd64=link").ok();
    assert!(state() == before, "content, mode, times or inode");
    assert!(sandbox.path("src/link").is_symlink());
    let layout = Layout::at(sandbox.path("src/gimg-out/hello"));
    let program = &layout.entries(&layout.root()["layers"][1])["ko-app/hello"];
    assert_eq!((program.mode, program.mtime), (0o555, 0));
    assert_eq!(program.sha256, crate::support::sha256(&before.0));
    assert_eq!(sandbox.run("gimg pack --binary linux/amd64=dist/hello-amd64").ok().stdout, packed.stdout);
}

/// The smallest file that has the header of an x86-64 ELF file of this type.
fn elf(kind: u8) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    (bytes[16], bytes[18]) = (kind, 62);
    bytes
}

#[test]
fn programs_of_other_languages_need_an_import_path() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.path("src/app"), elf(2)).unwrap();
    let line = "gimg pack --binary linux/amd64=app";
    sandbox.run(line).fails(3, &["it names no import path", "app]", "hint: name the import path with"]);
    let ran = sandbox.run(&format!("{line} --import-path example.com/app")).ok();
    assert!(ran.stdout.starts_with("oci:gimg-out/app@sha256:"), "{}", ran.stdout);
}

#[test]
fn what_is_no_program_for_its_platform_is_an_input_error() {
    let sandbox = compiled(&[]).file("text", "#!/bin/sh\n").file("empty", "");
    compile(&sandbox, "./cmd/other", "arm64", &[]);
    let files =
        sandbox.command("go build -o files cmd/hello/main.go").env("CGO_ENABLED", "0").output().unwrap();
    assert!(files.status.success());
    std::fs::write(sandbox.path("src/object"), elf(1)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(sandbox.path("src/pipe")).status().unwrap().success());
    let hello = "--binary linux/amd64=dist/hello-amd64";
    for (line, words) in [
        ("--binary linux/amd64=nope", &["read the binary: no such file", "nope]"][..]),
        ("--binary linux/amd64=dist", &["it is a directory", "dist]"]),
        ("--binary linux/amd64=pipe", &["it is not a regular file"]),
        ("--binary linux/amd64=text", &["it is no executable, the platform is linux/amd64", "text]"]),
        ("--binary linux/amd64=empty", &["it is no executable"]),
        ("--binary linux/amd64=object", &["it is no executable"]),
        (
            "--binary linux/amd64=dist/hello-arm64",
            &["it is ELF arm64, the platform is linux/amd64", "hello-arm64]"],
        ),
        ("--binary linux/arm/v7=dist/hello-arm64", &["it is ELF arm64, the platform is linux/arm/v7"]),
        ("--binary freebsd/amd64=dist/hello-amd64 --base scratch", &["built for GOOS=linux"]),
        (&format!("{hello} --binary linux/amd64/v1=dist/hello-amd64"), &["two binaries are for linux/amd64"]),
        (
            &format!("{hello} --binary linux/arm64=dist/other-arm64"),
            &["example.com/hello/cmd/other for linux/arm64, but example.com/hello/cmd/hello for linux/amd64"],
        ),
        ("--binary linux/amd64=files", &["it names no import path"]),
        (&format!("{hello} --kodata nodata"), &["read --kodata: there is no such directory", "nodata]"]),
        (&format!("{hello} --kodata text"), &["read --kodata: there is no such directory"]),
    ] {
        sandbox.run(&format!("gimg pack {line}")).fails(3, words);
        assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    }
    assert!(!sandbox.path("src/gimg-out").exists());
    if !is_root() {
        let path = sandbox.path("src/dist/hello-amd64");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        sandbox.run(&format!("gimg pack {hello}")).fails(3, &["ermission denied"]);
    }
    for (line, words) in [
        (
            "gimg pack --binary app",
            &["\"app\" isn't PLATFORM=FILE", "hint: it takes a platform and a file"][..],
        ),
        ("gimg pack --binary linux/amd64=text --import-path ../x", &["\"../x\" isn't an import path"]),
        ("gimg pack --binary linux/amd64=text --program a/", &["read --program: \"a/\" names no file"]),
    ] {
        sandbox.run(line).fails(2, words);
    }
    assert_eq!(sandbox.run("gimg pack").code, 2);

    let with = "builds: [{main: ./cmd/hello, with: [./cmd/other]}]\n";
    let sandbox = sandbox.file(".gimg.yaml", with);
    let line = "gimg pack --binary linux/arm64=dist/hello-arm64";
    sandbox.run(line).fails(3, &["builds[0] puts further programs into its image, and pack takes one"]);
}
