//! The packages in programs, as SBOMs name them: those of which the linker kept a function, whatever was stripped.

use std::collections::BTreeSet;

use serde_json::Value;

use super::sbom::{check, package};
use crate::support::{Sandbox, tool};

/// A program with a module of which it uses one package, and one of which it uses a number alone.
fn app() -> Sandbox {
    let go_mod = "module example.com/app\n\ngo 1.21\n\nrequire (\n\texample.com/lib v1.0.0\n\
                  \texample.com/number v1.0.0\n)\n\nreplace (\n\texample.com/lib => ./lib\n\
                  \texample.com/number => ./number\n)\n";
    let main = "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\n\t\"example.com/app/below\"\n\
                \t\"example.com/lib/used.v2\"\n\t\"example.com/number\"\n)\n\n\
                func main() { fmt.Println(used.Small(len(os.Args)), below.Map([]int{number.One})) }\n";
    Sandbox::new()
        .file("go.mod", go_mod)
        .file("cmd/app/main.go", main)
        .file(
            "below/below.go",
            "package below\n\nfunc Map[T any](all []T) map[int]T {\n\tout := map[int]T{}\n\
               \tfor i, one := range all {\n\t\tout[i] = one\n\t}\n\treturn out\n}\n",
        )
        .file("lib/go.mod", "module example.com/lib\n\ngo 1.21\n")
        .file(
            "lib/used.v2/used.go",
            "package used\n\n// Small is put into its caller.\n\
               func Small(n int) int { return n + 1 }\n",
        )
        .file("lib/unused/unused.go", "package unused\n\nfunc F() {}\n")
        .file("number/go.mod", "module example.com/number\n\ngo 1.21\n")
        .file("number/number.go", "package number\n\nconst One = 1\n\nfunc F() int { return 2 }\n")
}

/// What an SPDX document says of the packages of a module.
fn said(document: &Value, module: &str) -> String {
    package(document, module)["comment"].as_str().unwrap_or_default().to_owned()
}

fn packages(document: &Value, module: &str) -> BTreeSet<String> {
    let said = said(document, module);
    let list = said.strip_prefix("packages in the program: ").unwrap_or_else(|| panic!("{module}: {said}"));
    list.split(' ').map(str::to_owned).collect()
}

#[test]
fn packages_in_programs_of_every_format_are_named_also_if_stripped() {
    let sandbox = app();
    for (os, arch, flags) in [
        ("linux", "amd64", "-ldflags=-s -w"),
        ("linux", "amd64", "-buildmode=pie"),
        ("windows", "amd64", "-ldflags=-s -w"),
        ("darwin", "arm64", "-ldflags=-s -w"),
        ("linux", "s390x", "-race=false"),
    ] {
        let mut go = sandbox.command("go build -trimpath -o ../app");
        let go = go.arg(flags).arg("./cmd/app").env("CGO_ENABLED", "0").env("GOOS", os).env("GOARCH", arch);
        assert!(go.status().unwrap().success());
        let document = serde_json::from_str(&sandbox.run("gimg sbom ../app").ok().stdout).unwrap();
        check(&document);
        let what = format!("{os}/{arch} {flags}");
        let own = ["example.com/app/below", "example.com/app/cmd/app"].map(str::to_owned);
        assert_eq!(packages(&document, "example.com/app"), BTreeSet::from(own), "{what}");
        assert_eq!(
            packages(&document, "example.com/lib"),
            ["example.com/lib/used.v2".to_owned()].into(),
            "{what}"
        );
        assert_eq!(said(&document, "example.com/number"), "no function of it is in the program", "{what}");
        // None that Go didn't compile, but for those whose functions the runtime has under their names; and those that
        // every program has.
        let std = packages(&document, "stdlib");
        let mut go = sandbox.command("go list -deps ./cmd/app");
        let listed = go.env("CGO_ENABLED", "0").env("GOOS", os).env("GOARCH", arch).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let listed: BTreeSet<String> = listed.lines().map(str::to_owned).collect();
        let of_runtime = |p: &str| p == "os/signal" || p == "plugin" || p.starts_with("runtime/");
        let more: Vec<&String> = std.difference(&listed).filter(|p| !of_runtime(p)).collect();
        assert!(more.is_empty(), "{what}: {more:?}");
        assert!(["fmt", "runtime", "strconv"].iter().all(|p| std.contains(*p)), "{what}: {std:?}");
    }
}

#[test]
fn images_say_the_same_in_either_format_and_a_table_that_is_gone_says_nothing() {
    let sandbox = app();
    sandbox.run("gimg build ./cmd/app --push=false --sbom cyclonedx --sbom-dir ../sboms").ok();
    let file = std::fs::read(sandbox.path("sboms/app-linux-amd64.cdx.json")).unwrap();
    let document: Value = serde_json::from_slice(&file).unwrap();
    let property = |module: &str, name: &str| {
        let mut components = document["components"].as_array().unwrap().iter();
        let component = components.find(|c| c["name"] == module).unwrap().clone();
        let found = component["properties"].as_array().into_iter().flatten().find(|p| p["name"] == name);
        found.map(|p| p["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(property("example.com/lib", "gimg:packages").as_deref(), Some("example.com/lib/used.v2"));
    assert_eq!(property("example.com/number", "gimg:packages"), None);
    let none = Some("no function of it is in the program".to_owned());
    assert_eq!(property("example.com/number", "gimg:not-linked"), none);
    assert_eq!(property("example.com/lib", "gimg:not-linked"), None);
    // Somebody took the table away.
    sandbox.run("go build -o ../app ./cmd/app").ok();
    let script =
        r"LC_ALL=C sed -i 's/\xf1\xff\xff\xff\x00\x00\x01\x08/\xf1\xff\xff\xfe\x00\x00\x01\x08/' ../app";
    assert!(sandbox.command("sh").arg("-c").arg(script).status().unwrap().success());
    let document = serde_json::from_str(&sandbox.run("gimg sbom ../app").ok().stdout).unwrap();
    check(&document);
    assert_eq!(said(&document, "example.com/lib") + &said(&document, "stdlib"), "");
}

#[test]
#[ignore = "integration: needs ko, the validators and syft"]
fn integration_validators_and_syft_read_packages_and_licences_of_a_large_program() {
    let sandbox = Sandbox::new();
    let ko = tool("ko");
    for (format, validator) in [("spdx", "pyspdxtools -i"), ("cyclonedx", "cyclonedx-validate")] {
        let said = sandbox.run(&format!("gimg sbom {} --format {format}", ko.display())).ok().stdout;
        std::fs::write(sandbox.path(&format!("src/{format}.json")), said).unwrap();
        sandbox.run(&format!("{validator} {format}.json")).ok();
        let converted = sandbox.run(&format!("syft convert {format}.json -o syft-json")).ok().stdout;
        let converted: Value = serde_json::from_str(&converted).unwrap();
        let artifacts = converted["artifacts"].as_array().unwrap();
        assert!(artifacts.len() > 100, "{format}: {}", artifacts.len());
        let licensed = artifacts.iter().filter(|a| !a["licenses"].as_array().unwrap().is_empty());
        assert!(licensed.count() > 0, "{format}");
    }
}
