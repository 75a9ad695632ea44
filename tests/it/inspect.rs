//! `gimg inspect`: what is in images and programs, and what takes how much room.

mod chromium;
mod page;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::canary::SECRET;
use crate::support::layers::{layout, stored, tar};
use crate::support::registry::TestRegistry;
use crate::support::{Ran, Sandbox, copy_tree, sha256, tool};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

/// A module whose program has more in it with `-tags=more`: nobody has to compare code to know that something differs.
fn growing() -> Sandbox {
    let more = "//go:build more\n\npackage greet\n\nimport (\n\t\"encoding/csv\"\n\t\"os\"\n)\n\n\
                func init() { _ = csv.NewWriter(os.Stdout).Write([]string{os.Getenv(\"A\")}) }\n";
    Sandbox::go("hello").file("greet/more.go", more)
}

/// The parts of a program are all of it.
#[track_caller]
fn adds_up(program: &Value) {
    let sizes = |list: &str| -> u64 {
        let parts = program[list].as_array().unwrap().iter();
        parts.map(|part| part["size"].as_u64().unwrap()).sum()
    };
    assert_eq!(program["size"].as_u64().unwrap(), sizes("packages") + sizes("sections"));
}

/// Where something is in a document; `[]` for every one of a list, and no keys that images or Go choose.
fn places(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map)
            if !["annotations", "labels", "settings", "fields"].iter().any(|free| at.ends_with(free)) =>
        {
            for (key, value) in map {
                places(value, &format!("{at}.{key}"), found);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            list.iter().for_each(|value| places(value, &format!("{at}[]"), found));
        }
        _ => {
            found.insert(at.trim_start_matches('.').to_owned());
        }
    }
}

/// That a document has just these fields, by what stands in docs/json.md.
#[track_caller]
fn has_fields(value: &Value, expected: &str) {
    let mut found = BTreeSet::new();
    places(value, "", &mut found);
    let expected: BTreeSet<String> = expected.split_whitespace().map(str::to_owned).collect();
    assert_eq!(found, expected);
}

/// The code of each package.
fn packages(program: &Value) -> BTreeMap<String, u64> {
    let packages = program["packages"].as_array().unwrap().iter();
    packages.map(|p| (p["package"].as_str().unwrap().to_owned(), p["size"].as_u64().unwrap())).collect()
}

#[test]
fn an_image_is_shown_from_its_index_down_to_packages() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").env("COSIGN_PASSWORD", SECRET);
    sandbox.run("gimg key generate --output ../sign").ok();
    let repo = format!("{}/app", registry.host());
    let build =
        format!("gimg build ./cmd/hello --bare --repo {repo} --platform linux/amd64,linux/arm64 -t v1");
    let built = sandbox.run(&format!("{build} --image-label team=blue --sign-key ../sign.key")).ok().digest();
    let before = registry.log().len();
    let found = document(&sandbox.run(&format!("gimg inspect {repo}:v1 --format json")).ok());
    assert!(registry.log()[before..].iter().all(|asked| ["GET", "HEAD"].contains(&&*asked.method)));
    assert_eq!((&found["name"], &found["digest"]), (&json!(format!("{repo}:v1")), &json!(built)));
    assert_eq!(found["mediaType"], "application/vnd.oci.image.index.v1+json");
    let kinds = |of: &Value| {
        let list = of["attached"].as_array().unwrap().iter();
        let mut kinds: Vec<String> = list.map(|a| a["kind"].as_str().unwrap().to_owned()).collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds(&found), ["provenance", "signature"]);
    let platforms = found["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    for (image, arch) in platforms.iter().zip(["amd64", "arm64"]) {
        assert_eq!(image["platform"], format!("linux/{arch}"));
        assert_eq!(
            (&image["base"], kinds(image)),
            (&json!("static@1"), vec!["sbom".into(), "signature".into()])
        );
        let layers = image["layers"].as_array().unwrap();
        let of: Vec<&Value> = layers.iter().map(|layer| &layer["base"]).collect();
        assert_eq!(of, [true, false, false]);
        assert!(layers[2]["createdBy"].as_str().unwrap().contains("/cmd/hello"), "{image}");
        let manifest: Value =
            serde_json::from_slice(&registry.bytes("app", image["digest"].as_str().unwrap())).unwrap();
        assert_eq!(layers[2]["digest"], manifest["layers"][2]["digest"]);
        let parts = layers.iter().chain([&manifest["config"]]).map(|part| part["size"].as_u64().unwrap());
        let size = registry.bytes("app", image["digest"].as_str().unwrap()).len() as u64;
        assert_eq!(image["size"], parts.sum::<u64>() + size);
        let config = &image["config"];
        assert_eq!((&config["user"], &config["entrypoint"]), (&json!("65532"), &json!(["/ko-app/hello"])));
        assert_eq!(config["labels"], json!({"team": "blue"}));
        assert!(config["env"].as_array().unwrap().contains(&json!("KO_DATA_PATH=/var/run/ko")), "{config}");
        let [program] = image["programs"].as_array().unwrap().as_slice() else { panic!("{image}") };
        adds_up(program);
        assert_eq!(
            (&program["path"], &program["format"]),
            (&json!("/ko-app/hello"), &json!(format!("ELF {arch}")))
        );
        assert_eq!(
            (&program["package"], &program["settings"]["GOARCH"]),
            (&json!("example.com/hello/cmd/hello"), &json!(arch))
        );
        assert!(program["go"].as_str().unwrap().starts_with("go1."), "{program}");
        let own = |package: &&Value| package["module"] == "example.com/hello";
        let own: Vec<&Value> = program["packages"].as_array().unwrap().iter().filter(own).collect();
        let sizes: u64 = own.iter().map(|package| package["size"].as_u64().unwrap()).sum();
        assert_eq!(program["module"]["size"].as_u64().unwrap(), sizes);
        assert!(own.iter().any(|package| package["package"] == "example.com/hello/cmd/hello"), "{own:?}");
        let of_runtime = program["packages"].as_array().unwrap().iter().find(|p| p["package"] == "runtime");
        assert_eq!(of_runtime.unwrap()["module"], "std");
    }
    has_fields(
        &found,
        "name digest mediaType attached[].kind attached[].digest attached[].artifactType attached[].predicateType \
         platforms[].platform platforms[].digest platforms[].mediaType platforms[].size platforms[].base \
         platforms[].attached[].kind platforms[].attached[].digest platforms[].attached[].artifactType \
         platforms[].attached[].predicateType platforms[].config.created platforms[].config.entrypoint \
         platforms[].config.env platforms[].config.labels platforms[].config.user platforms[].config.workingDir \
         platforms[].layers[].base platforms[].layers[].comment platforms[].layers[].created \
         platforms[].layers[].createdBy platforms[].layers[].diffId platforms[].layers[].digest \
         platforms[].layers[].mediaType platforms[].layers[].size platforms[].programs[].path \
         platforms[].programs[].digest platforms[].programs[].format platforms[].programs[].size \
         platforms[].programs[].go platforms[].programs[].package platforms[].programs[].module.path \
         platforms[].programs[].module.version platforms[].programs[].module.size platforms[].programs[].modules \
         platforms[].programs[].settings platforms[].programs[].packages[].package \
         platforms[].programs[].packages[].module platforms[].programs[].packages[].size \
         platforms[].programs[].sections[].name platforms[].programs[].sections[].kind \
         platforms[].programs[].sections[].size",
    );
    // The base's layer stays where it is.
    let base = platforms[0]["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(registry.asked("GET", &format!("/v2/app/blobs/{base}")), 0);
    let one =
        document(&sandbox.run(&format!("gimg inspect {repo}:v1 --platform linux/arm64 --format json")).ok());
    assert_eq!(one["platforms"], json!([platforms[1]]));
}

#[test]
fn text_shows_the_programs_of_one_platform_and_names_the_others() {
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg build ./cmd/hello --platform linux/arm64,linux/amd64 --output oci:out --output oci-archive:out.tar").ok();
    let text = sandbox.run("gimg inspect oci:out").ok();
    let lines = text.lines();
    assert!(lines[0] == "oci:out" && lines[1].starts_with("  digest  sha256:"), "{}", text.stdout);
    let at =
        |what: &str| lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}"));
    assert!(at("PLATFORM") < at("linux/arm64") && at("linux/arm64") < at("linux/amd64"));
    assert!(lines.contains(&"linux/amd64") && !lines.contains(&"linux/arm64"), "{}", text.stdout);
    assert_eq!(text.stdout.matches("  /ko-app/hello\n").count(), 1, "{}", text.stdout);
    for words in [
        "user         65532",
        "go        go1.",
        "module    example.com/hello (devel)",
        "ELF amd64",
        "table of functions",
        "more packages",
        "entrypoint   [\"/ko-app/hello\"]",
    ] {
        assert!(text.stdout.contains(words), "{words}:\n{}", text.stdout);
    }
    assert!(lines.iter().all(|line| line.trim_end() == *line), "{}", text.stdout);
    // Also if the others' programs are read, for the page.
    assert_eq!(sandbox.run("gimg inspect oci:out --html page.html").ok().stdout, text.stdout);
    let other = sandbox.run("gimg inspect oci:out --platform linux/arm64").ok().stdout;
    assert!(other.contains("ELF arm64") && !other.contains("amd64"), "{other}");
    // Wherever it is, it is the same.
    let same = |ran: Ran| ran.ok().stdout.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    for subject in ["out", "oci-archive:out.tar"] {
        assert_eq!(
            same(sandbox.run(&format!("gimg inspect {subject}"))),
            same(sandbox.run("gimg inspect oci:out"))
        );
    }
    sandbox
        .run("gimg inspect oci:out --platform linux/s390x")
        .fails(3, &["none for linux/s390x", "linux/arm64"]);
}

#[test]
fn sizes_of_packages_are_those_of_the_symbols_and_survive_stripping() {
    let sandbox = Sandbox::go("hello");
    for (os, arch) in [("linux", "amd64"), ("windows", "amd64"), ("darwin", "arm64")] {
        let build = |out: &str, flags: &str| {
            let mut go = sandbox.command(&format!("go build -trimpath {flags} -o {out} ./cmd/hello"));
            assert!(
                go.env("CGO_ENABLED", "0").env("GOOS", os).env("GOARCH", arch).status().unwrap().success()
            );
            document(&sandbox.run(&format!("gimg inspect {out} --format json")).ok())["program"].clone()
        };
        let (whole, stripped) = (build("whole", ""), build("stripped", "-ldflags=-s=true"));
        [&whole, &stripped].into_iter().for_each(adds_up);
        let found = packages(&whole);
        assert_eq!(found, packages(&stripped), "{os}");
        let debug = |program: &Value| {
            let sections = program["sections"].as_array().unwrap().iter();
            sections.filter(|section| section["kind"] == "debug").count()
        };
        assert!(debug(&whole) > 3 && debug(&stripped) == 0, "{whole}");
        let said = sandbox.run("go tool nm -size -sort size whole").ok().stdout;
        let symbols = by_symbols(&said);
        assert!(symbols.len() > 50 && symbols["runtime"].0 > 100_000, "{symbols:?}");
        let (mut ours, mut theirs) = (0, 0);
        for (package, (size, functions)) in symbols {
            let name = if package == "main" { "example.com/hello/cmd/hello" } else { &package };
            let counted = found.get(name).copied().unwrap_or_default();
            // What fills up to the next function, at most 31 bytes, is counted too; of PE and Mach-O, which have no sizes,
            // nm counts up to the next symbol.
            assert!(
                counted.abs_diff(size) < 32 * functions,
                "{os} {package}: {counted}, by its {functions} symbols {size}"
            );
            (ours, theirs) = (ours + counted, theirs + size);
        }
        assert!(ours.abs_diff(theirs) < theirs / 20, "{os}: within 5 %: {ours}, by all symbols {theirs}");
    }
}

/// The sizes of code by package, and how many functions it is, by what `go tool nm -size` says.
fn by_symbols(said: &str) -> BTreeMap<String, (u64, u64)> {
    let mut sizes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, size, "T" | "t", name @ ..] = words.as_slice() else { continue };
        let name = name.join(" ");
        let name =
            ["type:.eq.", "type:.hash."].iter().find_map(|made| name.strip_prefix(made)).unwrap_or(&name);
        let plain = name.split(['[', '(', '{']).next().unwrap();
        let slash = plain.rfind('/').map_or(0, |at| at + 1);
        let Some((end, _)) = plain[slash..].split_once('.') else { continue };
        if !end.contains([' ', ':']) && !end.starts_with('_') && end != "go" {
            let package = format!("{}{end}", &plain[..slash]).replace("%2e", ".");
            let known = sizes.entry(package).or_default();
            *known = (known.0 + size.parse::<u64>().unwrap(), known.1 + 1);
        }
    }
    sizes
}

#[test]
fn a_program_that_is_no_image_is_shown_too() {
    let sandbox = Sandbox::new();
    let ko = tool("ko").display().to_string();
    let found = document(&sandbox.run(&format!("gimg inspect {ko} --format json")).ok());
    let program = &found["program"];
    adds_up(program);
    assert!(found.get("platforms").is_none() && found.get("mediaType").is_none(), "{found}");
    assert_eq!(found["digest"], format!("sha256:{}", sha256(&std::fs::read(&ko).unwrap())));
    assert_eq!(found["digest"], program["digest"]);
    let modules = program["modules"].as_array().unwrap();
    let cobra = modules.iter().find(|module| module["path"] == "github.com/spf13/cobra").unwrap();
    assert!(
        cobra["version"].as_str().unwrap().starts_with('v')
            && cobra["sum"].as_str().unwrap().starts_with("h1:")
    );
    assert!(cobra["size"].as_u64().unwrap() > 10_000, "{cobra}");
    let text = sandbox.run(&format!("gimg inspect {ko}")).ok().stdout;
    assert!(
        text.contains("MODULE") && text.contains("more modules") && text.contains("github.com/google/ko"),
        "{text}"
    );
}

#[test]
fn what_differs_from_another_is_shown_with_what_grew() {
    let sandbox = growing();
    let build = |out: &str, flags: &str| {
        let line =
            format!("gimg build ./cmd/hello --output oci:{out} --platform linux/amd64,linux/arm64 {flags}");
        sandbox.run(&line).ok();
    };
    build("one", "--image-label a=1");
    copy_tree(&sandbox.path("src/one"), &sandbox.path("src/same"));
    build("two", "--image-label a=2 --go-flag=-tags=more");
    let why = document(&sandbox.run("gimg why oci:one oci:two --format json").ok());
    let found = document(&sandbox.run("gimg inspect oci:two --against oci:one --format json").ok());
    let against = &found["against"];
    for key in ["of", "same", "causes"] {
        assert_eq!(against[key], why[key]);
    }
    has_fields(
        against,
        "of[].name of[].digest same causes[].kind causes[].name causes[].change causes[].was causes[].now \
         causes[].changes growth[].platform growth[].path growth[].was growth[].now growth[].packages[].name \
         growth[].packages[].was growth[].packages[].now growth[].parts[].name growth[].parts[].was growth[].parts[].now",
    );
    let growth = against["growth"].as_array().unwrap();
    assert_eq!(growth.len(), 2);
    for (growth, platform) in growth.iter().zip(["linux/amd64", "linux/arm64"]) {
        assert_eq!((&growth["platform"], &growth["path"]), (&json!(platform), &json!("/ko-app/hello")));
        let csv =
            growth["packages"].as_array().unwrap().iter().find(|of| of["name"] == "encoding/csv").unwrap();
        assert!(csv["was"] == 0 && csv["now"].as_u64().unwrap() > 1000, "{csv}");
        let sum = |side: &str, list: &str| -> i64 {
            growth[list].as_array().unwrap().iter().map(|of| of[side].as_i64().unwrap()).sum()
        };
        let all = |side: &str| sum(side, "packages") + sum(side, "parts");
        // What isn't told is of one size in both.
        assert_eq!(
            all("now") - all("was"),
            growth["now"].as_i64().unwrap() - growth["was"].as_i64().unwrap()
        );
    }
    let text = sandbox.run("gimg inspect oci:two --against oci:one").ok().stdout;
    for words in ["against oci:one\n", "  label a: 1 -> 2\n", "/ko-app/hello (linux/amd64)\n", "encoding/csv"]
    {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    let same = sandbox.run("gimg inspect oci:same --against oci:one").ok().stdout;
    assert!(same.ends_with("against oci:one: same digest\n"), "{same}");
    // Two files.
    sandbox.run("go build -o a ./cmd/other").ok();
    sandbox.run("go build -ldflags=-s -o b ./cmd/other").ok();
    let found = document(&sandbox.run("gimg inspect b --against a --format json").ok());
    let parts = found["against"]["growth"][0]["parts"].as_array().unwrap();
    assert!(
        parts.iter().any(|part| part["name"] == "symbols" && part["was"].as_u64() > part["now"].as_u64()),
        "{parts:?}"
    );
    sandbox.run("gimg inspect oci:one --against a").fails(2, &["one is a file, the other an image"]);
}

#[test]
fn an_image_that_others_made_says_what_it_says() {
    let sandbox = Sandbox::new();
    let layers = [
        stored(&tar(&[("etc/", 'd', ""), ("etc/hosts", '-', "x")]), "gzip"),
        stored(&tar(&[("a", '-', "b")]), "zstd"),
    ];
    layout(&sandbox.path("src/other"), "linux/riscv64", &["A=b", "SECRET_TOKEN=in the image"], &layers);
    let found = document(&sandbox.run("gimg inspect oci:other --format json").ok());
    let [image] = found["platforms"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!((&image["platform"], &image["programs"]), (&json!("linux/riscv64"), &json!([])));
    // What is in the image is in the image.
    assert_eq!(image["config"]["env"], json!(["A=b", "SECRET_TOKEN=in the image"]));
    let ids: Vec<&Value> = image["layers"].as_array().unwrap().iter().map(|layer| &layer["diffId"]).collect();
    assert_eq!(ids, [&layers[0].diff_id, &layers[1].diff_id]);
    assert!(image["layers"][0].get("base").is_none() && image.get("base").is_none(), "{image}");
    let text = sandbox.run("gimg inspect oci:other").ok().stdout;
    assert!(text.contains("no Go program\n") && text.contains("SECRET_TOKEN=in the image"), "{text}");
}

#[test]
fn licences_are_those_of_an_attached_sbom() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::new()
        .file("go.mod", "module example.com/m\n\ngo 1.21\n\nrequire example.com/dep v1.0.0\n")
        .file("vendor/modules.txt", "# example.com/dep v1.0.0\n## explicit\nexample.com/dep\n")
        .file(
            "vendor/example.com/dep/dep.go",
            "package dep\n\n//go:noinline\nfunc Name() string { return \"dep\" }\n",
        )
        .file(
            "main.go",
            "package main\n\nimport \"example.com/dep\"\n\nfunc main() { println(dep.Name()) }\n",
        )
        .env("GOFLAGS", "-buildvcs=false");
    let repo = format!("{}/app", registry.host());
    let build = format!("gimg build . --bare --repo {repo} --binary /usr/bin/app --attest none");
    let digest = sandbox.run(&build).ok().digest();
    let look = |how: &str| sandbox.run(&format!("gimg inspect {repo} {how}")).ok();
    let module = || {
        let [program] = document(&look("--format json"))["platforms"][0]["programs"]
            .as_array()
            .unwrap()
            .clone()
            .try_into()
            .unwrap();
        let program: Value = program;
        assert_eq!(program["path"], "/usr/bin/app", "its directory is the base's, which isn't read");
        let size = program["modules"][0]["size"].as_u64().unwrap();
        assert!((10..10_000).contains(&size), "{program}");
        program["modules"][0].clone()
    };
    assert_eq!((module()["path"].clone(), module().get("licence")), (json!("example.com/dep"), None));
    assert!(!look("").stdout.contains("LICENCE"));
    let empty = registry.put_blob("app", "{}");
    let attach = |sbom: &Value, kind: &str| {
        let sbom = sbom.to_string();
        let layer = registry.put_blob("app", sbom.clone());
        let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
            "layers": [{"mediaType": kind, "digest": layer, "size": sbom.len()}],
            "subject": {"mediaType": MANIFEST, "digest": digest, "size": registry.bytes("app", &digest).len()}})
        .to_string();
        registry.put_manifest("app", &format!("sha256:{}", sha256(artifact.as_bytes())), MANIFEST, artifact);
    };
    // One that can't be read hides nothing.
    attach(&json!([1]), "application/vnd.cyclonedx+json");
    assert_eq!(module().get("licence"), None);
    attach(
        &json!({"packages": [{"name": "example.com/dep", "versionInfo": "v1.0.0", "licenseConcluded": "MIT"}]}),
        "application/spdx+json",
    );
    assert_eq!(module()["licence"], "MIT");
    let text = look("--html page.html").stdout;
    assert!(text.contains("LICENCE") && text.contains("MIT") && text.contains("attached  "), "{text}");
    let page = std::fs::read_to_string(sandbox.path("src/page.html")).unwrap();
    assert!(page.contains(">Licence</th>") && page.contains("<td>MIT</td>"));
}

#[test]
fn what_can_not_be_shown_says_why() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").file("text", "no program\n");
    sandbox.run("gimg inspect ./cmd/hello").fails(2, &["a package has no size yet", "hint: build it"]);
    sandbox.run("gimg inspect text").fails(3, &["text", "no executable, without a record of Go modules"]);
    sandbox.run("gimg inspect ./none").fails(3, &["no such file or directory"]);
    sandbox.run("gimg inspect oci:nowhere").fails(3, &["not an OCI image layout"]);
    sandbox.run(&format!("gimg inspect {}/none", registry.host())).fails(10, &["none"]);
}
