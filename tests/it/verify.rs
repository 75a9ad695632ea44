//! `gimg verify`: images are made again from their sources, and whatever isn't the same is found and named.

use serde_json::Value;

use crate::support::Sandbox;
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
        let more = ["--ldflags", "-s -w -X main.version=v1.2.3", "--image-label", "team=blue green"];
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

#[test]
fn a_script_does_it_without_gimg() {
    let registry = TestRegistry::start();
    let sandbox = repository();
    let image = format!("{}/org", registry.host());
    let line = format!("gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --repo {image}");
    sandbox.run_with(&line, &["--ldflags", "-w -X main.a=$HOME"]).ok();
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
