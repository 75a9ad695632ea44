//! Licences in SBOMs: found in the code that a build read, offline, once; the same wherever the image is built.

use serde_json::Value;

use super::memo::{is_recalled, settle};
use super::sbom::{package, read, zip};
use crate::support::Sandbox;

/// The text of a licence of the SPDX list.
pub(crate) fn text(id: &str) -> String {
    let found = spdx::text::LICENSE_TEXTS.iter().find(|(known, _)| *known == id).unwrap().1;
    format!("Copyright (c) 2024 The App Authors\n\n{found}")
}

/// A program with modules from a proxy that is a directory, of which `dep` has these files beside its code, and with a
/// module in a directory.
fn app(dep: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    let file = "proxy/example.com/!dep/two/@v/v1.2.0";
    sandbox.write(&format!("{file}.mod"), "module example.com/Dep/two\n");
    sandbox.write(&format!("{file}.info"), r#"{"Version":"v1.2.0"}"#);
    let root = "example.com/Dep/two@v1.2.0";
    let code = [("two.go", "package two\n\nfunc Two() int { return 2 }\n")];
    let files: Vec<(String, &str)> =
        code.iter().chain(dep).map(|(name, text)| (format!("{root}/{name}"), *text)).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    std::fs::write(sandbox.cwd().join(format!("{file}.zip")), zip(&files)).unwrap();
    let proxy = format!("file://{}", sandbox.cwd().join("proxy").display());
    let cache = sandbox.path("modules").to_str().unwrap().to_owned();
    let go_mod = "module example.com/app\n\ngo 1.21\n\nrequire (\n\texample.com/Dep/two v1.2.0\n\
                  \texample.com/lib v1.0.0\n)\n\nreplace example.com/lib => ./lib\n";
    let main = "package main\n\nimport (\n\t\"example.com/Dep/two\"\n\t\"example.com/lib\"\n)\n\n\
                func main() { println(two.Two(), lib.Name) }\n";
    let sandbox = sandbox
        .file("go.mod", go_mod)
        .file("main.go", main)
        .file("lib/go.mod", "module example.com/lib\n\ngo 1.21\n")
        .file("lib/lib.go", "package lib\n\nconst Name = \"lib\"\n")
        .env("GOPROXY", &proxy)
        .env("GOSUMDB", "off")
        .env("GOFLAGS", "-modcacherw")
        .env("GOMODCACHE", &cache);
    sandbox.run("go mod tidy").ok();
    sandbox
}

/// What the SBOM of a build, which is written beside the tree, says of the licences of the dependency, of the module in a directory, and of the program.
fn built(sandbox: &Sandbox) -> [String; 3] {
    sandbox.run("gimg build --push=false --sbom-dir ../sboms").ok();
    declared(&read(sandbox.path("sboms/app-linux-amd64.spdx.json")))
}

fn declared(document: &Value) -> [String; 3] {
    ["example.com/Dep/two", "example.com/lib", "example.com/app"]
        .map(|name| package(document, name)["licenseDeclared"].as_str().unwrap().to_owned())
}

#[test]
fn licences_are_known_by_the_texts_in_the_code() {
    let (mit, apache) = (text("MIT"), text("Apache-2.0"));
    for (files, expected) in [
        (vec![("LICENSE", mit.as_str())], "MIT"),
        (vec![("Licence.md", mit.as_str()), ("COPYING", apache.as_str())], "Apache-2.0 AND MIT"),
        (vec![("LICENSE", mit.as_str()), ("LICENSE.other", "You may not.")], "NOASSERTION"),
        (vec![("NOTICE", mit.as_str()), ("below/LICENSE", mit.as_str())], "NOASSERTION"),
    ] {
        let sandbox = app(&files).file("lib/LICENSE.txt", &text("ISC"));
        assert_eq!(built(&sandbox), [expected, "ISC", "NOASSERTION"], "{files:?}");
        let document = read(sandbox.path("sboms/app-linux-amd64.spdx.json"));
        assert_eq!(package(&document, "stdlib")["licenseDeclared"], "BSD-3-Clause");
        // The same as CycloneDX, which has no word for what isn't known.
        sandbox.run("gimg build --push=false --sbom cyclonedx --sbom-dir ../sboms").ok();
        let file = std::fs::read(sandbox.path("sboms/app-linux-amd64.cdx.json")).unwrap();
        let document: Value = serde_json::from_slice(&file).unwrap();
        let components = document["components"].as_array().unwrap();
        let dep = components.iter().find(|c| c["name"] == "example.com/Dep/two").unwrap();
        match expected {
            "NOASSERTION" => assert!(dep.get("licenses").is_none(), "{dep}"),
            expression => assert_eq!(
                dep["licenses"],
                serde_json::json!([{ "expression": expression, "acknowledgement": "declared" }])
            ),
        }
    }
}

#[test]
fn a_build_that_is_remembered_keeps_its_licences_and_notices_new_ones() {
    let sandbox = app(&[("LICENSE", &text("MIT"))]).file("LICENSE", &text("Zlib"));
    settle();
    assert_eq!(built(&sandbox), ["MIT", "NOASSERTION", "Zlib"]);
    let file = sandbox.path("sboms/app-linux-amd64.spdx.json");
    let first = std::fs::read(&file).unwrap();
    // Only the licence is gone: nothing that decides the program's bytes.
    std::fs::remove_file(sandbox.path("modules/example.com/!dep/two@v1.2.0/LICENSE")).unwrap();
    let again = sandbox.run("gimg build --push=false --sbom-dir ../sboms -v").ok();
    assert!(is_recalled(&again), "{}", again.stderr);
    assert_eq!(std::fs::read(&file).unwrap(), first);
    // Directories of the user's aren't kept by any hash: what comes there, changes or goes counts.
    sandbox.write("lib/COPYING", &text("BSL-1.0"));
    sandbox.write("LICENSE", &text("MIT-0"));
    settle();
    let [_, lib, own] = built(&sandbox);
    assert_eq!([lib, own], ["BSL-1.0", "MIT-0"]);
    std::fs::remove_file(sandbox.path("src/LICENSE")).unwrap();
    let [_, lib, own] = built(&sandbox);
    assert_eq!([lib, own], ["BSL-1.0", "NOASSERTION"]);
}

#[test]
fn a_build_that_vendors_reads_its_copies_alone() {
    let sandbox = app(&[("LICENSE", &text("MIT"))]);
    sandbox.run("go mod vendor").ok();
    assert_eq!(built(&sandbox), ["MIT", "NOASSERTION", "NOASSERTION"]);
    let file = sandbox.path("sboms/app-linux-amd64.spdx.json");
    let first = std::fs::read(&file).unwrap();
    // A machine without the module.
    std::fs::remove_dir_all(sandbox.path("modules")).unwrap();
    sandbox.run("gimg build --push=false --no-cache --sbom-dir ../sboms").ok();
    assert_eq!(std::fs::read(&file).unwrap(), first);
    std::fs::remove_file(sandbox.path("src/vendor/example.com/Dep/two/LICENSE")).unwrap();
    sandbox.run("gimg build --push=false --no-cache --sbom-dir ../sboms").ok();
    assert_eq!(declared(&read(&file)), ["NOASSERTION"; 3]);
}

#[test]
fn of_programs_made_elsewhere_the_module_cache_says_what_it_can() {
    let sandbox = app(&[("LICENSE", &text("MIT"))]);
    let mut go = sandbox.command("go build -trimpath -o ../app .");
    assert!(go.env("GOOS", "linux").status().unwrap().success());
    let said = || {
        let ran = sandbox.run("gimg sbom ../app").ok();
        declared(&serde_json::from_str(&ran.stdout).unwrap())
    };
    // A directory of that name may be anybody's: what is replaced by one isn't looked for.
    sandbox.write("LICENSE", &text("Zlib"));
    sandbox.write("lib/LICENSE", &text("Zlib"));
    assert_eq!(said(), ["MIT", "NOASSERTION", "NOASSERTION"]);
    // Another module of the same name and version.
    let sum = sandbox.path("modules/cache/download/example.com/!dep/two/@v/v1.2.0.ziphash");
    std::fs::write(&sum, "h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    assert_eq!(said(), ["NOASSERTION"; 3]);
    std::fs::remove_dir_all(sandbox.path("modules")).unwrap();
    assert_eq!(said(), ["NOASSERTION"; 3]);
    // What is only packed says the same on every machine.
    sandbox.run("gimg pack --binary linux/amd64=../app --push=false --sbom-dir ../packed").ok();
    assert_eq!(declared(&read(sandbox.path("packed/app-linux-amd64.spdx.json"))), ["NOASSERTION"; 3]);
}

#[cfg(unix)]
#[test]
fn no_link_is_followed_to_a_licence_and_no_pipe_opened() {
    let sandbox = app(&[("LICENSE", &text("MIT"))]);
    sandbox.write("../outside", &text("ISC"));
    std::os::unix::fs::symlink("../outside", sandbox.path("src/LICENSE")).unwrap();
    sandbox.run("mkfifo lib/LICENSE").ok();
    sandbox.write("lib/COPYING", &text("ISC"));
    assert_eq!(built(&sandbox), ["MIT", "NOASSERTION", "NOASSERTION"]);
}
