//! Every bad input has its own message and exit code, and leaves nothing behind.

use crate::support::Sandbox;

fn module(main: &str) -> Sandbox {
    Sandbox::new().file("go.mod", "module example.com/m\n\ngo 1.21\n").file("main.go", main)
}

const MAIN: &str = "package main\n\nfunc main() {}\n";

#[test]
fn usage_errors_exit_2() {
    let sandbox = module(MAIN);
    for (line, words) in [
        ("gimg build --platform linux/amd65", &["unknown architecture \"amd65\" for linux", "hint:"][..]),
        ("gimg build --platform=", &["list of platforms is empty"]),
        ("gimg build --platform linux/arm/v9", &["unknown variant \"v9\""]),
        ("gimg build --platform all,linux/amd64", &["not both"]),
        ("gimg build --platform all --base scratch", &["all means nothing"]),
        ("gimg build --tags a:b", &["invalid tag \"a:b\"", "[A-Za-z0-9_]"]),
        ("gimg build --output tape:x", &["registry, oci:DIR"]),
        ("gimg build --output registry", &["no repository is set", "GIMG_REPO"]),
        ("gimg build --output oci:x --output oci-archive:./x", &["another output has the same path"]),
        ("gimg build --compression lzma", &["lzma"]),
        ("gimg build --image-label x", &["key=value"]),
        ("gimg build --output docker-archive:f --platform linux/amd64,linux/arm64", &["holds one platform"]),
    ] {
        sandbox.run(line).fails(2, words);
    }
    let unknown = sandbox.run("gimg build --platfrom x");
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("--platform"), "{}", unknown.stderr);
    let epoch = sandbox.env("SOURCE_DATE_EPOCH", "yesterday");
    epoch.run("gimg build").fails(2, &["SOURCE_DATE_EPOCH", "yesterday"]);
}

#[test]
fn bad_repositories_are_input_errors() {
    let sandbox = module(MAIN);
    for (repo, words) in [
        ("ghcr.io/Foo/app", &["lower case", "did you mean ghcr.io/foo/app"][..]),
        ("https://ghcr.io/x", &["no scheme", "use ghcr.io/x"]),
        ("ghcr.io/../x", &["invalid path component"]),
        ("reg.io:99999/x", &["port 99999 out of range"]),
    ] {
        sandbox.run(&format!("gimg build --repo {repo}")).fails(3, words);
    }
}

#[test]
fn bad_packages_are_input_errors() {
    let sandbox = module(MAIN).file("lib/lib.go", "package lib\n").file("empty/README", "nothing");
    for (line, words) in [
        ("gimg build ./nope", &["./nope", "directory not found"][..]),
        ("gimg build ./lib", &["it is package \"lib\", not main"]),
        ("gimg build ./empty", &["no Go files"]),
        ("gimg build example.com/absent/cmd", &["example.com/absent/cmd", "no required module"]),
        ("gimg build ./lib/...", &["no package main matches"]),
    ] {
        sandbox.run(line).fails(3, words);
    }
    Sandbox::new().run("gimg build").fails(3, &["no go.mod in this directory or above", "go mod init"]);
    module("package main\n\nfunc main( {}\n").run("gimg build").fails(4, &["main.go:3", "syntax error"]);
}

#[test]
fn a_missing_go_is_said_plainly() {
    let sandbox = module(MAIN).env("PATH", "/nonexistent").without("GOROOT");
    sandbox.run("gimg build").fails(3, &["run go: not found on PATH", "install Go"]);
}

#[test]
fn compile_errors_are_shown_once_as_go_wrote_them_with_the_platform() {
    let sandbox = module("package main\n\nfunc main() { undefined_thing() }\n");
    let ran = sandbox.run("gimg build --platform linux/amd64,linux/arm64");
    let ran = ran.fails(4, &["./main.go:3:15: undefined: undefined_thing", "go build for linux/amd64"]);
    assert_eq!(ran.stderr.matches("undefined_thing").count(), 1, "{}", ran.stderr);
    assert!(!sandbox.path("src/gimg-out").exists(), "nothing is written when a build fails");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_missing_go_sum_line_has_a_hint() {
    let sandbox = Sandbox::new()
        .env("GOPROXY", "off")
        .file("go.mod", "module example.com/m\n\ngo 1.21\n\nrequire example.com/dep v1.0.0\n")
        .file("main.go", "package main\n\nimport _ \"example.com/dep\"\n\nfunc main() {}\n");
    sandbox.run("gimg build").fails(4, &["missing go.sum entry", "hint: run: go mod tidy"]);
}

#[test]
fn a_program_that_needs_cgo_is_told_so() {
    let sandbox = module("package main\n\nimport \"example.com/m/c\"\n\nfunc main() { c.Call() }\n").file(
        "c/c.go",
        "package c\n\n// static int one() { return 1; }\nimport \"C\"\n\nfunc Call() { C.one() }\n",
    );
    sandbox.run("gimg build").fails(4, &["example.com/m/c needs cgo", "CGO_ENABLED=1"]);
}

#[test]
fn a_dynamic_program_is_refused_on_a_base_without_loader() {
    let sandbox = module(
        "package main\n\n// static int one() { return 1; }\nimport \"C\"\n\nfunc main() { C.one() }\n",
    )
    .env("CGO_ENABLED", "1");
    sandbox.run("gimg build").fails(3, &["asks for the loader", "CGO_ENABLED=0"]);
}

#[test]
fn flags_that_run_other_programs_are_refused() {
    let sandbox = module(MAIN);
    sandbox
        .run("gimg build --go-flag=-toolexec=/bin/evil")
        .fails(3, &["-toolexec is not allowed", "[flags]"]);
    let sandbox = sandbox.env("GOFLAGS", "-toolexec=/bin/evil");
    sandbox.run("gimg build").fails(3, &["-toolexec is not allowed", "GOFLAGS"]);
}

#[test]
fn outputs_that_can_not_be_written_are_local_errors() {
    let sandbox = module(MAIN).file("full/file", "mine");
    sandbox.run("gimg build --output oci:full").fails(9, &["holds other files", "full"]);
    assert_eq!(std::fs::read_to_string(sandbox.path("src/full/file")).unwrap(), "mine");
    sandbox.run("gimg build --output oci-archive:full").fails(9, &["it is a directory"]);
    let version_2 = module(MAIN).file("l/oci-layout", "{\"imageLayoutVersion\":\"2.0.0\"}");
    version_2.run("gimg build --output oci:l").fails(3, &["unsupported layout version 2.0.0"]);
}
