//! `--cache-from registry`: what was pushed before is used again on another machine, if nothing that matters differs.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::memo::{Dice, at_once, edit, git, is_recalled, project};
use crate::support::registry::{Config, Fault, TestRegistry, When};
use crate::support::{Ran, Sandbox};

const LINE: &str = "gimg build ./cmd/app --platform linux/amd64,linux/arm64 --cache-from registry";

pub(super) const ONE: &str = "gimg build ./cmd/app --cache-from registry";

/// Machines that share nothing but a registry, each with a clone of one tree.
pub(super) struct Machines<'a> {
    origin: &'a Sandbox,
    repo: String,
    count: usize,
}

impl<'a> Machines<'a> {
    pub(super) fn new(origin: &'a Sandbox, registry: &TestRegistry) -> Self {
        Machines { origin, repo: format!("{}/team", registry.host()), count: 0 }
    }

    /// Runs `line` in a clone, on a machine that has neither gimg's cache nor Go's, and can't fetch modules.
    pub(super) fn run(&mut self, line: &str, more: &[&str]) -> Ran {
        self.count += 1;
        let to = self.origin.path(&format!("machine{}", self.count));
        let deep = to.join("a/b".repeat(self.count % 3));
        copy(&self.origin.path("src"), &deep.join("src"));
        let ran = self.at(&deep.join("src/app"), &to, line, more);
        std::fs::remove_dir_all(&to).unwrap();
        ran
    }

    fn at(&self, dir: &Path, machine: &Path, line: &str, more: &[&str]) -> Ran {
        let line = format!("{line} --repo {}", self.repo);
        let mut command = self.origin.command(&line);
        command.args(more).current_dir(dir).env("GIMG_CACHE", machine.join("cache"));
        // Where something has to be compiled, the compiler's cache makes no difference but in time.
        command.env("GOMODCACHE", machine.join("modules")).env("GOPROXY", "off");
        Ran::of(&line, command.output().unwrap())
    }
}

/// A clone: the same files, with times of their own.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    assert!(Command::new("cp").args(["-R", "-P"]).arg(from).arg(to).status().unwrap().success());
}

/// The digest without a cache.
fn clean(sandbox: &Sandbox, more: &[&str]) -> String {
    sandbox
        .run_with(
            "gimg build ./cmd/app --platform linux/amd64,linux/arm64 --no-cache --output oci:../clean",
            more,
        )
        .ok()
        .digest()
}

/// The same of [`ONE`].
fn clean_one(sandbox: &Sandbox) -> String {
    sandbox.run("gimg build ./cmd/app --no-cache --output oci:../clean").ok().digest()
}

/// The documents that say what images were made from.
pub(super) fn documents(registry: &TestRegistry, repo: &str) -> Vec<String> {
    registry.artifacts(repo, "application/vnd.gimg.inputs.v1")
}

pub(super) fn repo(registry: &TestRegistry) -> String {
    let [repo] = registry.repositories().try_into().unwrap();
    repo
}

#[test]
fn a_fresh_machine_compiles_nothing() {
    for referrers in [true, false] {
        let sandbox = project();
        let registry = TestRegistry::with(Config { referrers, ..Config::default() });
        let mut machines = Machines::new(&sandbox, &registry);
        let first = machines.run(LINE, &[]).ok();
        assert!(!is_recalled(&first));
        assert_eq!(first.digest(), clean(&sandbox, &[]));
        let uploads = registry.asked("POST", "/blobs/uploads/");
        for more in [&[][..], &["--tags=latest,v2"], &["--verify-cache"]] {
            let again = machines.run(LINE, more).ok();
            assert_eq!(is_recalled(&again), more != ["--verify-cache"], "{more:?}: {}", again.stderr);
            assert_eq!(again.digest(), first.digest());
        }
        // Nothing was sent again, nor said again.
        assert_eq!(registry.asked("POST", "/blobs/uploads/"), uploads);
        let repo = repo(&registry);
        assert_eq!(registry.tags(&repo)["v2"], first.digest());
        assert_eq!(documents(&registry, &repo).len(), 1);
        // Another image of the same programs: they are not compiled, and what was made from what is told again.
        let labelled = machines.run(LINE, &["--image-label=a=b"]).ok();
        assert!(is_recalled(&labelled), "{}", labelled.stderr);
        assert_eq!(labelled.digest(), clean(&sandbox, &["--image-label=a=b"]));
        assert!(is_recalled(&machines.run(LINE, &[]).ok()));
        // A further platform is compiled, the others are not.
        let third = machines.run(&LINE.replace("linux/arm64", "linux/arm64,linux/s390x"), &[]).ok();
        assert!(third.stderr.contains("unchanged app for linux/arm64"), "{}", third.stderr);
        assert!(
            third.stderr.contains("compiled example.com/app/cmd/app for linux/s390x"),
            "{}",
            third.stderr
        );
        assert_eq!(registry.incomplete(), Vec::<String>::new());
    }
}

#[test]
fn what_differs_is_compiled() {
    let sandbox = project();
    let registry = TestRegistry::start();
    Machines::new(&sandbox, &registry).run(ONE, &[]).ok();
    let repo = format!("{}/team", registry.host());
    let edits: &[(&str, &str, &str)] = &[
        ("cmd/app/main.go", "\"one\"", "\"two\""),
        ("greet/extra.go", "!", "?"),
        ("../local/local.go", "\"local\"", "\"other\""),
        ("cmd/app/static/deep/b.txt", "b", "c"),
        ("cmd/app/pages/c.txt", "c", "d"),
        ("go.mod", "go 1.24", "go 1.23"),
        ("../local/go.mod", "go 1.24", "go 1.23"),
        ("greet/new.go", "", "package greet\n\nfunc init() { println(1) }\n"),
        ("cmd/app/static/new.txt", "", "new"),
        ("../go.work", "", "go 1.24\n\nuse ./app\nuse ./local\n"),
        ("../../go.work", "", "go 1.24\n\nuse ./src/app\nuse ./src/local\n"),
        ("cmd/go.mod", "", "module example.com/cmd\n"),
    ];
    for (file, old, new) in edits {
        let path = sandbox.cwd().join(file);
        let before = std::fs::read_to_string(&path).ok();
        sandbox.write(file, &before.clone().unwrap_or_default().replacen(old, new, 1));
        // No clone: what lies above the tree counts too.
        let machine = sandbox.path("machine");
        let machines = Machines { origin: &sandbox, repo: repo.clone(), count: 0 };
        let ran = machines.at(sandbox.cwd(), &machine, ONE, &[]);
        assert!(!ran.stderr.contains("unchanged"), "{file}: {}", ran.stderr);
        if ran.code == 0 {
            assert_eq!(ran.digest(), clean_one(&sandbox), "{file}");
        }
        match before {
            Some(text) => sandbox.write(file, &text),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let back = machines.at(sandbox.cwd(), &machine, ONE, &[]).ok();
        assert_eq!(back.digest(), clean_one(&sandbox), "{file}");
        std::fs::remove_dir_all(machine).unwrap();
    }
    let mut machines = Machines::new(&sandbox, &registry);
    for more in ["--ldflags=-s -w", "--go-flag=-tags=other", "--compression=zstd", "--binary=renamed"] {
        let ran = machines.run(LINE, &[more]).ok();
        assert!(!is_recalled(&ran), "{more}");
        assert_eq!(ran.digest(), clean(&sandbox, &[more]), "{more}");
        assert!(is_recalled(&machines.run(LINE, &[more]).ok()), "{more}");
    }
    // An absolute path means another thing elsewhere.
    let text = std::fs::read_to_string(sandbox.cwd().join("go.mod")).unwrap();
    let local = sandbox.path("src/local");
    sandbox.write("go.mod", &text.replace("../local", local.to_str().unwrap()));
    for _ in 0..2 {
        assert!(!is_recalled(&machines.run(LINE, &[]).ok()));
    }
}

#[test]
fn what_is_not_go_does_not_matter() {
    let sandbox = project();
    let registry = TestRegistry::start();
    let mut machines = Machines::new(&sandbox, &registry);
    let first = machines.run(LINE, &[]).ok();
    sandbox.write("README.md", "text");
    sandbox.write("docs/x.txt", "text");
    sandbox.write("greet/greet.go~", "not go");
    sandbox.write("elsewhere/x.go", "package elsewhere\n");
    let again = machines.run(LINE, &[]).ok();
    assert!(is_recalled(&again), "{}", again.stderr);
    assert_eq!(again.digest(), first.digest());
    sandbox.write("cmd/app/kodata/page.html", "text");
    let with_data = machines.run(LINE, &[]).ok();
    assert!(is_recalled(&with_data), "{}", with_data.stderr);
    assert_eq!(with_data.digest(), clean(&sandbox, &[]));
    assert_eq!(registry.incomplete(), Vec::<String>::new());
}

#[test]
fn a_stamped_program_is_used_for_its_commit_only() {
    let sandbox = project().env("GIT_CONFIG_GLOBAL", "/dev/null").env("GOFLAGS", "-modcacherw");
    let registry = TestRegistry::start();
    let git = |line: &str| git(&sandbox, line);
    git("init -q");
    git("add .");
    git("commit -q -m one");
    let mut machines = Machines::new(&sandbox, &registry);
    let first = machines.run(LINE, &[]).ok();
    assert!(is_recalled(&machines.run(LINE, &[]).ok()));
    let unstamped = machines.run(LINE, &["--buildvcs=false", "--tags=plain"]).ok();
    assert!(!is_recalled(&unstamped));
    sandbox.write("../README", "text");
    git("add .");
    git("commit -q -m two");
    // The tree is the same to Go, but what it is called is not.
    let second = machines.run(LINE, &[]).ok();
    assert!(!is_recalled(&second));
    assert_ne!(first.digest(), second.digest());
    assert_eq!(second.digest(), clean(&sandbox, &[]));
    let again = machines.run(LINE, &["--buildvcs=false", "--tags=plain"]).ok();
    assert!(is_recalled(&again), "{}", again.stderr);
    assert_eq!(again.digest(), unstamped.digest());
    sandbox.write("../untracked", "text");
    let dirty = machines.run(LINE, &[]).ok();
    assert!(!is_recalled(&dirty));
    assert_eq!(dirty.digest(), clean(&sandbox, &[]));
}

#[test]
fn a_registry_with_nothing_to_say_or_nonsense_costs_a_compile_only() {
    let sandbox = project();
    let registry = TestRegistry::start();
    let mut machines = Machines::new(&sandbox, &registry);
    let first = machines.run(LINE, &[]).ok();
    let repo = repo(&registry);
    let tell = |fault: Fault, method: &'static str, part: &'static str| {
        registry.fail(When::always(method, part), fault)
    };
    for (method, part, fault) in [
        ("GET", "/referrers/", Fault::status(500)),
        ("GET", "/referrers/", Fault::error(403, "DENIED", "no")),
        ("HEAD", "/blobs/", Fault::status(404)),
    ] {
        tell(fault, method, part);
        let ran = machines.run(LINE, &[]).ok();
        registry.heal();
        assert!(!is_recalled(&ran), "{method} {part}");
        assert_eq!(ran.digest(), first.digest());
    }
    assert!(is_recalled(&machines.run(LINE, &[]).ok()));
    let told = documents(&registry, &repo);
    let manifest: Value = serde_json::from_slice(&registry.bytes(&repo, &told[0])).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let said = zstd::decode_all(&registry.bytes(&repo, layer)[..]).unwrap();
    let plant = |said: Vec<u8>| {
        let blob = registry.put_blob(&repo, said.clone());
        let mut planted = manifest.clone();
        planted["layers"][0]["digest"] = blob.into();
        planted["layers"][0]["size"] = said.len().into();
        let bytes = serde_json::to_vec(&planted).unwrap();
        let digest = format!("sha256:{}", crate::support::sha256(&bytes));
        registry.put_manifest(&repo, &digest, "application/vnd.oci.image.manifest.v1+json", bytes);
    };
    told.iter().for_each(|document| registry.remove_manifest(&repo, document));
    let packed = |text: &str| zstd::encode_all(text.as_bytes(), 3).unwrap();
    let text = String::from_utf8(said).unwrap();
    let any: Value = serde_json::from_str(&text).unwrap();
    let made = any["platforms"]["linux/amd64"]["made"]["layer"].clone();
    let (digest, diff_id) = (made["digest"].as_str().unwrap(), made["diff_id"].as_str().unwrap());
    let other = format!("sha256:{}", "0".repeat(64));
    for said in [
        b"not zstd".to_vec(),
        packed("{}"),
        packed("{\"platforms\":{\"linux/amd64\":1}}"),
        packed(&text[..text.len() / 2]),
        // A layer that the image lacks, or another content under its name.
        packed(&text.replace(digest, &other)),
        packed(&text.replace(diff_id, &other)),
        // Files that are nobody's business.
        packed(&text.replace("\"tree:", "\"tree:../../../../../../etc/")),
        packed(&text.replace("\"go:", "\"/")),
        // A flood.
        zstd::encode_all(&vec![b' '; 80 << 20][..], 3).unwrap(),
    ] {
        plant(said);
        let ran = machines.run(LINE, &[]).ok();
        assert!(!ran.stderr.contains("unchanged app for linux/amd64"), "{}", ran.stderr);
        assert_eq!(ran.digest(), first.digest());
        for document in documents(&registry, &repo) {
            registry.remove_manifest(&repo, &document);
        }
    }
    // A registry that takes no artifacts: after two images and their index.
    let mut manifests = 0;
    registry.hook(move |asked, _| {
        manifests += usize::from(asked.method == "PUT" && asked.target.contains("/manifests/sha256:"));
        let is_artifact = manifests == 4 && asked.method == "PUT" && asked.target.contains("sha256:");
        is_artifact.then(|| Fault::error(400, "MANIFEST_INVALID", "no artifacts here"))
    });
    sandbox.write("greet/extra.go", "package greet\n\nconst extra = \"?\"\n");
    let ran = machines.run(LINE, &[]).ok();
    assert!(ran.stderr.contains("the image goes on without it"), "{}", ran.stderr);
    assert_eq!(ran.digest(), clean(&sandbox, &[]));
    assert_eq!(registry.incomplete(), Vec::<String>::new());
}

#[test]
fn an_audit_finds_what_is_wrong_in_the_registry() {
    let sandbox = project();
    let registry = TestRegistry::start();
    let mut machines = Machines::new(&sandbox, &registry);
    machines.run(LINE, &[]).ok();
    let repo = repo(&registry);
    let [document] = documents(&registry, &repo).try_into().unwrap();
    let mut manifest: Value = serde_json::from_slice(&registry.bytes(&repo, &document)).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let said = String::from_utf8(zstd::decode_all(&registry.bytes(&repo, layer)[..]).unwrap()).unwrap();
    let said =
        zstd::encode_all(said.replace("\"uncompressed_size\":", "\"uncompressed_size\":1").as_bytes(), 3)
            .unwrap();
    manifest["layers"][0]["digest"] = registry.put_blob(&repo, said.clone()).into();
    manifest["layers"][0]["size"] = said.len().into();
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = format!("sha256:{}", crate::support::sha256(&bytes));
    registry.put_manifest(&repo, &digest, "application/vnd.oci.image.manifest.v1+json", bytes);
    registry.remove_manifest(&repo, &document);
    machines.run(LINE, &["--verify-cache"]).fails(8, &["verify the cache of app for linux/amd64"]);
}

#[test]
fn only_a_registry_can_be_asked() {
    let sandbox = project();
    for (line, why) in [
        ("gimg build ./cmd/app --cache-from registry", "nothing is pushed to a registry"),
        ("gimg build ./cmd/app --cache-from s3 --repo localhost:1/x", "it takes registry, not \"s3\""),
    ] {
        sandbox.run(line).fails(2, &[why]);
    }
    let both = sandbox.run("gimg build ./cmd/app --cache-from registry --no-cache");
    assert_eq!(both.code, 2, "{}", both.stderr);
}

/// Edits a project at random; after each, two fresh machines build it with the registry's help. What they make must be what
/// a build without any cache makes. Gives how often nothing was compiled.
fn edits(seed: u64, count: usize) -> usize {
    let (mut sandbox, mut dice) = (project(), Dice(seed));
    let registry = TestRegistry::start();
    let (mut history, mut recalled) = (Vec::new(), 0);
    for round in 0..count {
        let (edited, what) = edit(sandbox, &mut dice);
        sandbox = edited;
        history.push(what);
        let mut machines = Machines { count: round, ..Machines::new(&sandbox, &registry) };
        let (one, other) = (machines.run(ONE, &[]), machines.run(ONE, &[]));
        let clean = sandbox.run("gimg build ./cmd/app --no-cache --output oci:../clean");
        let story = || {
            format!(
                "seed {seed}, after edit {round}: {history:#?}\n{}\n{}\n{}",
                one.stderr, other.stderr, clean.stderr
            )
        };
        assert_eq!((one.code, other.code), (clean.code, clean.code), "{}", story());
        if one.code == 0 {
            assert_eq!((one.digest(), other.digest()), (clean.digest(), clean.digest()), "{}", story());
            assert!(is_recalled(&other), "{}", story());
            recalled += usize::from(is_recalled(&one));
        }
    }
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    recalled
}

#[test]
fn after_random_edits_other_machines_make_what_a_clean_build_makes() {
    edits(0x9E37_79B9_7F4A_7C15, 16);
}

#[test]
#[ignore = "soak: five hundred edits, two machines each"]
fn soak_five_hundred_random_edits_on_other_machines() {
    let start = std::time::Instant::now();
    let recalled = at_once(edits);
    println!("520 edits, all as a clean build; nothing compiled after {recalled}; {:?}", start.elapsed());
    assert!(recalled > 60, "the registry helped {recalled} times");
}
