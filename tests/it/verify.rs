//! `gimg verify`: images are made again from their sources, and whatever isn't the same is found and named.

use serde_json::Value;

use crate::real::{GO_CONTAINERREGISTRY, module};
use crate::support::Sandbox;
use crate::support::canary::SECRET;
use crate::support::registry::{Config, TestRegistry};

/// The small module in a repository with a commit and a tag.
fn repository() -> Sandbox {
    let sandbox = Sandbox::go("hello");
    sandbox.write("cmd/hello/kodata/greeting.txt", "hello\n");
    sandbox.git("init -q -b main");
    sandbox.git("add .");
    sandbox.git("commit -q -m first");
    sandbox.git("tag v1.2.3");
    sandbox
}

#[test]
fn an_image_of_a_commit_is_what_its_sources_give() {
    for (api, platforms) in [(true, "linux/amd64"), (false, "linux/amd64,linux/arm64")] {
        let registry = TestRegistry::with(Config { referrers: api, ..Config::default() });
        let sandbox = repository();
        let image = format!("{}/org", registry.host());
        let line = format!("gimg build ./cmd/hello --platform {platforms} --bare --repo {image} --buildvcs");
        let ldflags = "-s -w -X 'main.version=v1.2.3 of today'";
        let more = ["--ldflags", ldflags, "--image-label", "team=blue green"];
        let digest = sandbox.run_with(&line, &more).ok().digest();
        // What came later is not in it.
        sandbox.write("cmd/hello/main.go", "package main\n\nfunc main() { println(\"later\") }\n");
        sandbox.git("commit -q -a -m second");
        let ran = sandbox.run(&format!("gimg verify {image}")).ok();
        assert_eq!(ran.lines(), [format!("{image}@{digest}")]);
        let ran = sandbox.run(&format!("gimg verify {image}:latest --format json")).ok();
        let verified: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((&verified["digest"], &verified["signed"]), (&digest.into(), &false.into()));
        assert_eq!(verified["platforms"].as_array().unwrap().len(), platforms.split(',').count());
        // The sources as they are now are others.
        sandbox.run(&format!("gimg verify {image} --source .")).fails(
            8,
            &[
                "the program /ko-app/hello in layer sha256:",
                "isn't what its sources give [byte ",
                " of /ko-app/hello]",
            ],
        );
        assert!(sandbox.leftovers().is_empty(), "{:?}", sandbox.leftovers());
    }
}

#[test]
fn sources_without_a_repository_are_those_around() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let image = format!("{}/org", registry.host());
    sandbox.run(&format!("gimg build ./cmd/hello ./cmd/other --base-import-paths --repo {image}")).ok();
    for name in ["hello", "other"] {
        sandbox.run(&format!("gimg verify {image}/{name}")).ok();
    }
    let sandbox = sandbox.cd("src/greet");
    sandbox.run(&format!("gimg verify {image}/hello")).ok();
    let sandbox = sandbox.cd("home");
    sandbox
        .run(&format!("gimg verify {image}/hello"))
        .fails(3, &["find the sources", "no commit is recorded", "--source names the directory"]);
    sandbox.run(&format!("gimg verify {image}/hello --source ../src")).ok();
    sandbox.run(&format!("gimg verify {image}/hello --source ../nowhere")).fails(3, &["no such directory"]);
    // Data is compared too.
    sandbox.write("../src/cmd/hello/kodata/note.txt", "another note\n");
    sandbox
        .run(&format!("gimg verify {image}/hello --source ../src"))
        .fails(8, &["the file /var/run/ko/note.txt in layer sha256:", "[byte 0 of /var/run/ko/note.txt]"]);
}

#[test]
fn a_workspace_is_built_as_one() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::new();
    let image = format!("{}/org", registry.host());
    sandbox.write("go.work", "go 1.24\n\nuse (\n\t./app\n\t./lib\n)\n");
    sandbox.write("lib/go.mod", "module example.com/lib\n\ngo 1.24\n");
    sandbox.write("lib/lib.go", "package lib\n\nconst Text = \"one\"\n");
    sandbox.write("app/go.mod", "module example.com/app\n\ngo 1.24\n\nrequire example.com/lib v0.0.0\n");
    sandbox.write(
        "app/main.go",
        "package main\n\nimport \"example.com/lib\"\n\nfunc main() { println(lib.Text) }\n",
    );
    sandbox.git("init -q -b main");
    sandbox.git("add .");
    sandbox.git("commit -q -m first");
    sandbox.run(&format!("gimg build ./app --bare --repo {image} --platform linux/amd64,linux/arm64")).ok();
    sandbox.run(&format!("gimg verify {image}")).ok();
    let sandbox = sandbox.cd("src/app");
    sandbox.run(&format!("gimg build . --bare --repo {image} --tags below")).ok();
    sandbox.run(&format!("gimg verify {image}:below")).ok();
    // Another go.work than the one that is around.
    sandbox.write("other.work", "go 1.24\n\nuse (\n\t.\n\t../lib\n)\n");
    sandbox.git("add .");
    sandbox.git("commit -q -m second");
    let work = sandbox.path("src/app/other.work");
    let sandbox = sandbox.env("GOWORK", work.to_str().unwrap());
    sandbox.run(&format!("gimg build . --bare --repo {image} --tags other")).ok();
    let sandbox = sandbox.without("GOWORK");
    sandbox.run(&format!("gimg verify {image}:other")).ok();
}

#[cfg(unix)]
#[test]
fn sources_behind_a_link_are_where_they_are() {
    let registry = TestRegistry::start();
    let sandbox = repository();
    std::os::unix::fs::symlink(sandbox.path("src"), sandbox.path("link")).unwrap();
    let image = format!("{}/org", registry.host());
    let link = sandbox.path("link/cmd").display().to_string();
    let sandbox = sandbox.cd("link/cmd").env("PWD", &link);
    sandbox.run(&format!("gimg build ./hello --bare --repo {image}")).ok();
    sandbox.run(&format!("gimg verify {image}")).ok();
}

#[test]
fn a_script_does_it_without_gimg() {
    let registry = TestRegistry::start();
    let sandbox = repository();
    let image = format!("{}/org", registry.host());
    let line = format!("gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --repo {image}");
    sandbox.run_with(&line, &["--ldflags", "-w -X 'main.a=$HOME is it'"]).ok();
    let script = sandbox.run(&format!("gimg verify {image} --script")).ok().stdout;
    sandbox.write("../home/script.sh", &script);
    let root = sandbox.path("src");
    let ran = sandbox.run(&format!("sh ../home/script.sh {}", root.display())).ok();
    assert_eq!(ran.stdout, "hello: OK\nhello: OK\n", "{script}");
    let ran = sandbox.run("sh ../home/script.sh");
    assert!(ran.code != 0 && ran.stderr.contains("the repository: its URL or directory"), "{}", ran.stderr);
    // Another program isn't taken.
    sandbox.write("../home/other.sh", &script.replace("-w -X", "-s -X"));
    let ran = sandbox.run(&format!("sh ../home/other.sh {}", root.display()));
    assert!(ran.stdout.starts_with("hello: FAILED"), "{}", ran.stdout);
}

#[test]
fn with_a_key_only_what_it_signed_counts() {
    let registry = TestRegistry::start();
    let sandbox = repository().env("COSIGN_PASSWORD", SECRET);
    let image = format!("{}/org", registry.host());
    sandbox.run("gimg key generate --output ../sign").ok();
    sandbox.run("gimg key generate --output ../other").ok();
    let line = format!("gimg build ./cmd/hello --bare --repo {image}");
    sandbox.run(&line).ok();
    sandbox
        .run(&format!("gimg verify {image} --key ../sign.pub"))
        .fails(11, &["check the signature of", "it has no signature"]);
    sandbox.run(&format!("{line} --sign-key ../sign.key --provenance=false")).ok();
    sandbox
        .run(&format!("gimg verify {image} --key ../sign.pub"))
        .fails(11, &["the key signed no record of how it was built"]);
    sandbox.run(&format!("{line} --sign-key ../sign.key")).ok();
    let ran = sandbox.run(&format!("gimg verify {image} --key ../sign.pub --format json")).ok();
    assert!(ran.stdout.contains("\"signed\": true"), "{}", ran.stdout);
    sandbox
        .run(&format!("gimg verify {image} --key ../other.pub"))
        .fails(11, &["it is signed by another key"]);
}

#[test]
fn what_has_no_record_can_not_be_verified() {
    let registry = TestRegistry::start();
    let sandbox = repository();
    let image = format!("{}/org", registry.host());
    let line = format!("gimg build ./cmd/hello --bare --repo {image}");
    sandbox.run(&format!("{line} --provenance=false")).ok();
    sandbox
        .run(&format!("gimg verify {image}"))
        .fails(8, &["read its provenance", "no record of how it was built is attached to it"]);
    sandbox.run(&format!("gimg verify {image}:nothing")).fails(10, &["not found"]);
    // What was secret isn't in the record.
    let more = ["--ldflags", "-X main.apiToken=hunter2"];
    sandbox.run_with(&format!("{line} --tags secret"), &more).ok();
    sandbox
        .run(&format!("gimg verify {image}:secret"))
        .fails(8, &["it leaves out a secret that the image was built with"]);
    // What came from elsewhere isn't either.
    sandbox.write("../home/ca.pem", std::str::from_utf8(&crate::support::servers::ca()).unwrap());
    sandbox.run(&format!("{line} --tags outside --ca-cert ../home/ca.pem")).ok();
    sandbox.run(&format!("gimg verify {image}:outside")).fails(8, &["came from outside of the sources"]);
    // A commit that nobody has.
    sandbox.run(&line).ok();
    let sandbox = sandbox.cd("home");
    sandbox
        .run(&format!("gimg verify {image}"))
        .fails(3, &["no repository with the commit", "name one with --source"]);
}

/// A record with another value in its recipe, attached to the image in place of its own.
fn forged(registry: &TestRegistry, change: impl Fn(&mut Value)) {
    forged_predicate(registry, |predicate| change(&mut predicate["buildDefinition"]["externalParameters"]));
}

/// A record that says something else, attached to the image in place of its own.
pub(crate) fn forged_predicate(registry: &TestRegistry, change: impl Fn(&mut Value)) {
    const STATEMENT: &str = "application/vnd.in-toto+json";
    let artifact = registry.artifacts("org", STATEMENT).pop().unwrap();
    let mut manifest: Value = serde_json::from_slice(&registry.bytes("org", &artifact)).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
    let mut statement: Value = serde_json::from_slice(&registry.bytes("org", &layer)).unwrap();
    change(&mut statement["predicate"]);
    let bytes = serde_json::to_vec(&statement).unwrap();
    manifest["layers"][0]["size"] = bytes.len().into();
    manifest["layers"][0]["digest"] = registry.put_blob("org", bytes).into();
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = gimg::oci::Digest::of(&bytes).to_string();
    let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
    registry.put_manifest("org", &digest, &media_type, bytes);
    registry.remove_manifest("org", &artifact);
}

#[test]
fn a_hostile_record_runs_nothing_and_leaves_the_sources_alone() {
    let sandbox = repository();
    // It would leave a mark.
    let mark = sandbox.path("mark");
    sandbox.write("../home/evil", &format!("#!/bin/sh\ntouch {}\nexec \"$@\"\n", mark.display()));
    sandbox.run("chmod 755 ../home/evil").ok();
    let evil = sandbox.path("home/evil").display().to_string();
    let flags = |flag: String| {
        move |recipe: &mut Value| {
            recipe["platforms"][0]["flags"].as_array_mut().unwrap().push(flag.clone().into());
        }
    };
    let set = |at: &'static str, value: Value| {
        move |recipe: &mut Value| {
            *recipe.pointer_mut(at).unwrap_or_else(|| panic!("{at}")) = value.clone();
        }
    };
    let environment = |pairs: Vec<(&str, String)>| {
        let pairs: Vec<Value> = pairs.into_iter().map(|(k, v)| serde_json::json!([k, v])).collect();
        move |recipe: &mut Value| {
            recipe["platforms"][0]["environment"].as_array_mut().unwrap().extend(pairs.clone());
        }
    };
    let cgo = |name, value: String| environment(vec![("CGO_ENABLED", "1".to_owned()), (name, value)]);
    type Change = Box<dyn Fn(&mut Value)>;
    let hostile: Vec<(Change, &str)> = vec![
        (Box::new(flags(format!("-toolexec={evil}"))), "could read other files or run other programs"),
        (Box::new(flags(format!("--toolexec={evil}"))), "could read other files"),
        (Box::new(flags(format!("-ldflags=-linkmode=external -extld={evil}"))), "could read other files"),
        (Box::new(flags(format!("-ldflags=-X a.b=c -extld={evil}"))), "could read other files"),
        (Box::new(flags("-overlay=/etc/passwd".to_owned())), "could read other files"),
        (Box::new(flags(format!("-gcflags=-o={}", mark.display()))), "could read other files"),
        (Box::new(flags(format!("-o={}", mark.display()))), "could read other files"),
        (Box::new(flags("-C=/".to_owned())), "could read other files"),
        (Box::new(flags("-x\n-toolexec=y".to_owned())), "could read other files"),
        (Box::new(cgo("CC", evil.clone())), "with cgo"),
        (Box::new(environment(vec![("GOCACHEPROG", evil.clone())])), "it sets GOCACHEPROG"),
        (Box::new(environment(vec![("GOFLAGS", format!("-toolexec={evil}"))])), "could read other files"),
        (Box::new(environment(vec![("PATH", "/tmp".to_owned())])), "it sets PATH"),
        (Box::new(environment(vec![("LD_PRELOAD", evil.clone())])), "it sets LD_PRELOAD"),
        (Box::new(set("/go/settings", serde_json::json!({ "GOROOT": "/tmp" }))), "it sets GOROOT"),
        (Box::new(set("/go/version", "go1.26.8-evil".into())), "is no release of Go"),
        (Box::new(set("/go/version", "../../evil".into())), "is no release of Go"),
        (Box::new(set("/programs/0/package", "-toolexec=x".into())), "is no import path"),
        (Box::new(set("/programs/0/package", "/etc/x.go".into())), "is no import path"),
        (Box::new(set("/programs/0/directory", "../../home".into())), "leaves the sources"),
        (Box::new(set("/programs/0/name", "../x".into())), "is no file's name"),
        (Box::new(set("/kodata", "/etc".into())), "leaves the sources"),
        (Box::new(set("/kodata", "cmd/../../home".into())), "leaves the sources"),
        (Box::new(set("/source/revision", "--upload-pack=x".into())), "is no commit"),
        (Box::new(set("/source", serde_json::json!({ "module": "a.example/b@-x" }))), "is no version"),
        (
            Box::new(set("/source", serde_json::json!({ "repository": "ext::sh -c x", "shell": "x" }))),
            "unknown field",
        ),
        (
            Box::new(set("/platforms/0/base/name", "docker-archive:/etc/passwd".into())),
            "of the machine that built it",
        ),
        (Box::new(set("/platforms/0/platform", "linux".into())), "use the recipe"),
        (Box::new(set("/platforms", serde_json::json!([]))), "its recipe makes 0"),
        (Box::new(set("/compression", "gzip:99".into())), "gzip has levels 1 to 9"),
    ];
    for (change, word) in hostile {
        let registry = TestRegistry::start();
        let image = format!("{}/org", registry.host());
        sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {image}")).ok();
        forged(&registry, change);
        let ran = sandbox.run(&format!("gimg verify {image}"));
        let code = if word == "is no commit" { 3 } else { 8 };
        ran.fails(code, &[word]);
        let ran = sandbox.run(&format!("gimg verify {image} --script"));
        assert!(ran.code != 0 || !ran.stdout.contains("toolexec"), "{}", ran.stdout);
        assert!(!mark.exists(), "{word}");
    }
}

/// Builds from where `sandbox` is, and verifies.
#[track_caller]
fn proven(sandbox: &Sandbox, registry: &TestRegistry, package: &str, platforms: &str, tag: &str) {
    let image = format!("{}/org", registry.host());
    let line = format!(
        "gimg build {package} --base static --platform {platforms} --bare --repo {image} --tags {tag}"
    );
    let digest = sandbox.run(&line).ok().digest();
    let ran = sandbox.run(&format!("gimg verify {image}:{tag}")).ok();
    assert_eq!(ran.lines(), [format!("{image}@{digest}")]);
}

#[test]
#[ignore = "integration: compiles ko and crane for two platforms"]
fn integration_crane_and_ko_are_what_their_sources_give() {
    const BOTH: &str = "linux/amd64,linux/arm64";
    for (name, package, platforms) in [
        (GO_CONTAINERREGISTRY, "cmd/crane", ["linux/amd64", BOTH]),
        ("github.com/google/ko@v0.19.1", "", ["linux/amd64", BOTH]),
    ] {
        let registry = TestRegistry::start();
        // As a module's version.
        let empty = Sandbox::new();
        let (path, version) = name.split_once('@').unwrap();
        let slash = if package.is_empty() { "" } else { "/" };
        let versioned = format!("{path}{slash}{package}@{version}");
        for (number, platforms) in platforms.iter().enumerate() {
            proven(&empty, &registry, &versioned, platforms, &format!("module-{number}"));
        }
        // From a commit, in its own module and in a workspace.
        let Some(sandbox) = module(name) else { return };
        sandbox.git("init -q -b main");
        sandbox.git("add -f .");
        sandbox.git("commit -q -m first");
        sandbox.git(&format!("tag {version}"));
        for (number, platforms) in platforms.iter().enumerate() {
            proven(&sandbox, &registry, &format!("./{package}"), platforms, &format!("git-{number}"));
        }
        sandbox.write("more/go.mod", "module example.com/more\n\ngo 1.24\n");
        sandbox.write("more/main.go", "package main\n\nfunc main() {}\n");
        sandbox.run("go work init . ./more").ok();
        sandbox.git("add -f .");
        sandbox.git("commit -q -m workspace");
        proven(&sandbox, &registry, &format!("./{package}"), BOTH, "workspace");
        proven(&sandbox, &registry, "./more", "linux/amd64", "more");
    }
}
