//! `gimg resolve` in files that somebody commits: in place, in kustomizations, at places of Helm and Compose files.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::support::kube::ApiServer;
use crate::support::registry::{Fault, TestRegistry, When};
use crate::support::{Ran, Sandbox, copy_tree, root, tool};

/// The sample module with a repository, and images named by the last part of their path.
fn sandbox(registry: &TestRegistry) -> Sandbox {
    Sandbox::go("hello").env("KO_DOCKER_REPO", &format!("{}/x", registry.host()))
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: hello\n    \
                   image: ko://./cmd/hello   # the server\n";

fn read(sandbox: &Sandbox, name: &str) -> String {
    std::fs::read_to_string(sandbox.cwd().join(name)).unwrap()
}

/// Gives the program other bytes.
fn change_program(sandbox: &Sandbox, word: &str) {
    sandbox.write("greet/word.go", &format!("package greet\n\nfunc init() {{ println({word:?}) }}\n"));
}

/// The image that the registry's tag stands for.
fn tagged(registry: &TestRegistry, program: &str) -> String {
    let repo = format!("x/{program}");
    format!("{}/{repo}@{}", registry.host(), registry.tags(&repo)["latest"])
}

/// The part of standard error that is a diff.
fn diff(ran: &Ran) -> String {
    let start = ran.stderr.find("--- a/").unwrap_or_else(|| panic!("no diff:\n{}", ran.stderr));
    ran.stderr[start..].to_owned()
}

#[test]
fn files_are_edited_where_they_are_and_a_second_run_changes_nothing() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry).file("k/pod.yaml", POD).file("k/other.yaml", "a: 1\n");
    let crlf = "\u{feff}- 'ko://example.com/hello/cmd/other'\r\n- b";
    let sandbox = sandbox.file("k/list.yml", crlf).file("real.yaml", "- ko://./cmd/hello\n");
    std::os::unix::fs::symlink("../real.yaml", sandbox.cwd().join("k/link.yaml")).unwrap();
    let mode = |name: &str| std::fs::metadata(sandbox.cwd().join(name)).unwrap().mode() & 0o7777;
    std::fs::set_permissions(sandbox.cwd().join("k/pod.yaml"), std::fs::Permissions::from_mode(0o640))
        .unwrap();
    let untouched = std::fs::metadata(sandbox.cwd().join("k/other.yaml")).unwrap().ino();

    std::fs::write(sandbox.cwd().join("k/latin.yaml"), b"a: \xe9\n").unwrap();
    let first = sandbox.run("gimg resolve --in-place -f k -B").ok();
    let latin = std::fs::read(sandbox.cwd().join("k/latin.yaml")).unwrap();
    assert_eq!(latin, b"a: \xe9\n", "what is no text holds no references");
    let (hello, other) = (tagged(&registry, "hello"), tagged(&registry, "other"));
    assert_eq!(first.lines(), [&hello, &other], "one reference for each program, as gimg build prints");
    let pod = POD.replace("ko://./cmd/hello", &format!("{hello} # ko://./cmd/hello"));
    assert_eq!(read(&sandbox, "k/pod.yaml"), pod);
    let list = crlf.replace(
        "'ko://example.com/hello/cmd/other'",
        &format!("'{other}' # ko://example.com/hello/cmd/other"),
    );
    assert_eq!(read(&sandbox, "k/list.yml"), list);
    assert_eq!(read(&sandbox, "real.yaml"), format!("- {hello} # ko://./cmd/hello\n"));
    assert!(sandbox.cwd().join("k/link.yaml").is_symlink());
    assert_eq!(mode("k/pod.yaml"), 0o640);
    assert_eq!(registry.incomplete(), Vec::<String>::new());

    // The same again: no file is written, not even with the same bytes.
    let inodes = |names: &[&str]| -> Vec<u64> {
        names.iter().map(|n| std::fs::metadata(sandbox.cwd().join(n)).unwrap().ino()).collect()
    };
    let names = ["k/pod.yaml", "k/list.yml", "real.yaml"];
    let before = inodes(&names);
    let second = sandbox.run("gimg resolve --in-place -f k -B").ok();
    assert_eq!((second.stdout.as_str(), inodes(&names)), (first.stdout.as_str(), before));
    assert!(
        second.stderr.contains("nothing changes") && !second.stderr.contains("--- a/"),
        "{}",
        second.stderr
    );
    assert_eq!(inodes(&["k/other.yaml"]), [untouched]);

    // A new build changes the digest of its program, and nothing else.
    change_program(&sandbox, "new");
    sandbox.run("gimg resolve --in-place -f k/pod.yaml -B").ok();
    let new = tagged(&registry, "hello");
    assert_ne!(new, hello);
    assert_eq!(read(&sandbox, "k/pod.yaml"), pod.replace(&hello, &new));
    assert_eq!(read(&sandbox, "k/list.yml"), list);
    // Without --in-place what is pinned stays as it is, and comments are comments.
    let printed = sandbox.run("gimg resolve -f k/pod.yaml").ok();
    assert_eq!(printed.stdout, pod.replace(&hello, &new) + "\n---\n");
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn the_diff_is_what_git_applies() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry)
        .file("k/a b.yaml", &POD.repeat(3).replace("kind: Pod\n", "kind: Pod\n---\n"))
        .file("k/windows.yaml", "a: ko://./cmd/hello\r\nb: 1\r\n")
        .file("k/bare.yaml", "a: ko://./cmd/other");
    copy_tree(&sandbox.cwd().join("k"), &sandbox.path("old/k"));
    let ran = sandbox.run("gimg resolve --in-place -f k -B").ok();
    let diff = diff(&ran);
    assert!(diff.contains("--- a/k/a b.yaml\n+++ b/k/a b.yaml\n@@ "), "{diff}");
    assert!(diff.contains("\\ No newline at end of file"), "{diff}");
    std::fs::write(sandbox.path("the.diff"), &diff).unwrap();
    let mut git = sandbox.command("git apply ../the.diff");
    let output = git.current_dir(sandbox.path("old")).output().unwrap();
    assert!(output.status.success(), "{}\n{diff}", String::from_utf8_lossy(&output.stderr));
    for name in ["a b.yaml", "windows.yaml", "bare.yaml"] {
        let old = std::fs::read_to_string(sandbox.path("old/k").join(name)).unwrap();
        assert_eq!(old, read(&sandbox, &format!("k/{name}")), "{name}");
    }
    // Quiet is quiet, and colour is colour.
    sandbox.write("k/bare.yaml", "a: ko://./cmd/other");
    let quiet = sandbox.run("gimg resolve --in-place -f k -B -q").ok();
    assert_eq!(quiet.stderr, "");
    sandbox.write("k/bare.yaml", "a: ko://./cmd/other");
    let coloured = sandbox.run("gimg resolve --in-place -f k -B --color always").ok();
    assert!(coloured.stderr.contains("\n\x1b[31m-a: "), "{}", coloured.stderr);
}

#[test]
fn as_json_every_edit_is_told() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry).file("pod.yaml", POD).file("none.yaml", "a: 1\n");
    let ran = sandbox.run("gimg resolve --in-place -f pod.yaml,none.yaml -B --format json").ok();
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let hello = tagged(&registry, "hello");
    assert_eq!(
        told["files"],
        serde_json::json!([
            {"file": "pod.yaml", "changed": true, "images": [
                {"line": 7, "column": 12, "package": "./cmd/hello", "was": "ko://./cmd/hello", "reference": hello},
            ]},
            {"file": "none.yaml", "changed": false, "images": []},
        ])
    );
    assert_eq!((&told["written"], &told["images"][0]["reference"]), (&true.into(), &hello.as_str().into()));
}

#[test]
fn nothing_is_written_unless_everything_is_published() {
    let registry = TestRegistry::start();
    let files = [
        ("a.yaml", "- ko://./cmd/hello\n"),
        ("bad.yaml", "- ko://./bad\n"),
        ("flow.yaml", "a: {b: ko://./cmd/hello}\n"),
        ("object.json", "{\"a\": \"ko://./cmd/hello\"}"),
        ("latin.yaml", "a: 1\n"),
        ("k/kustomization.yaml", "images:\n- {name: app}\n"),
        ("two/kustomization.yaml", "a: 1\n"),
        ("two/Kustomization", "a: 1\n"),
        ("none/README", ""),
    ];
    let mut sandbox = sandbox(&registry).file("bad/main.go", "package main\n\nfunc main() { undefined() }\n");
    for (name, text) in files {
        sandbox = sandbox.file(name, text);
    }
    for (arguments, code, words) in [
        ("--in-place -f a.yaml,bad.yaml", 4, &["undefined: undefined"][..]),
        (
            "--in-place -f a.yaml,flow.yaml",
            3,
            &["no comment can stand behind it", "[flow.yaml:1:8]", "--set-image"],
        ),
        ("--in-place -f a.yaml,object.json", 3, &["no comment can stand behind it", "[object.json:1:7]"]),
        ("--in-place -f a.yaml,gone.yaml", 3, &["[gone.yaml]"]),
        ("--in-place -f a.yaml -f -", 2, &["standard input (-) has no place"]),
        ("--in-place -f a.yaml -l app=x", 2, &["--selector leaves objects out"]),
        ("--in-place", 2, &["no file is named"]),
        ("--in-place -f a.yaml --tag-only -t v1", 2, &["--tag-only"]),
        ("--in-place -f a.yaml --output oci:out", 2, &["no repository is set"]),
        ("-f a.yaml --set-image b=./cmd/hello", 3, &["look for b", "no file has it"]),
        ("-f a.yaml --set-image b", 2, &["it has no ="]),
        ("-f a.yaml --set-image b..c=./x", 2, &["a key is empty"]),
        ("-f a.yaml --set-image [0]=./x -l app", 2, &["with --selector there are no places"]),
        ("-f a.yaml --set-image [0]=./cmd/hello --tag-only -t v1", 2, &["--tag-only"]),
        ("-f a.yaml --format json", 2, &["resolve writes YAML"]),
        (
            "--kustomize k",
            3,
            &["no entry of images names a program", "--set-image", "[k/kustomization.yaml]"],
        ),
        ("--kustomize two --set-image a=./cmd/hello", 3, &["the directory has several", "[two]"]),
        ("--kustomize none --set-image a=./cmd/hello", 3, &["kustomization.yml, Kustomization", "[none]"]),
        ("--kustomize gone --set-image a=./cmd/hello", 3, &["[gone]"]),
        ("--kustomize k --set-image app=./bad", 4, &["undefined: undefined"]),
        ("--kustomize k --set-image app=./greet", 3, &["not main", "[k/kustomization.yaml:2:3]"]),
    ] {
        sandbox.run(&format!("gimg resolve {arguments}")).fails(code, words);
    }
    assert_eq!(sandbox.run("gimg resolve --kustomize k -f a.yaml").code, 2);
    assert_eq!(registry.asked("PUT", "/manifests/"), 0);
    registry.fail(When::always("PUT", "/manifests/"), Fault::error(403, "DENIED", "no"));
    assert_eq!(sandbox.run("gimg resolve --in-place -f a.yaml").code, 6);
    registry.heal();
    for (name, text) in files {
        assert_eq!(read(&sandbox, name), text, "{name}");
    }
    // What is only named is not written either, but shown.
    let preview = sandbox.run("gimg resolve --in-place -f a.yaml --push=false -B").ok();
    assert_eq!(read(&sandbox, "a.yaml"), files[0].1);
    assert!(diff(&preview).contains(&format!("+- {}", preview.stdout.trim())), "{}", preview.stderr);
    assert!(preview.stderr.contains("no file is written"), "{}", preview.stderr);
    let published = sandbox.run("gimg resolve --in-place -f a.yaml -B").ok();
    assert_eq!(published.stdout, preview.stdout, "the same name");
}

#[test]
fn a_file_that_somebody_changes_meanwhile_is_left_alone() {
    let registry = TestRegistry::start();
    let sandbox =
        sandbox(&registry).file("a.yaml", "- ko://./cmd/hello\n").file("b.yaml", "- ko://./cmd/hello\n");
    let path = sandbox.cwd().join("b.yaml");
    registry.hook(move |asked, _| {
        if asked.header("content-type").is_some_and(|t| t.contains("manifest")) {
            std::fs::write(&path, "- mine\n").unwrap();
        }
        None
    });
    let ran = sandbox.run("gimg resolve --in-place -f a.yaml,b.yaml");
    ran.fails(9, &["somebody changed it", "nothing is written", "[b.yaml]", "run it again"]);
    assert_eq!(
        (read(&sandbox, "a.yaml"), read(&sandbox, "b.yaml")),
        ("- ko://./cmd/hello\n".into(), "- mine\n".into())
    );
}

#[test]
fn a_kill_leaves_whole_files_and_the_next_run_finishes() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry);
    let old = |n: usize| format!("- ko://./cmd/hello\n# {n}\n");
    for n in 0..40 {
        sandbox.write(&format!("k/{n:03}.yaml"), &old(n));
    }
    let mut child = sandbox.command("gimg resolve --in-place -f k -B -q").spawn().unwrap();
    while child.try_wait().unwrap().is_none() && read(&sandbox, "k/002.yaml") == old(2) {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let image = tagged(&registry, "hello");
    let new = |n: usize| old(n).replace("ko://./cmd/hello", &format!("{image} # ko://./cmd/hello"));
    for n in 0..40 {
        let text = read(&sandbox, &format!("k/{n:03}.yaml"));
        assert!(text == old(n) || text == new(n), "{text}");
    }
    sandbox.run("gimg resolve --in-place -f k -B").ok();
    for n in 0..40 {
        assert_eq!(read(&sandbox, &format!("k/{n:03}.yaml")), new(n));
    }
    assert_eq!(std::fs::read_dir(sandbox.cwd().join("k")).unwrap().count(), 40, "nothing else is left");
}

#[test]
fn a_repository_that_stamps_its_own_digests_into_programs_draws_a_warning() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry).file("a.yaml", "- ko://./cmd/hello\n");
    sandbox.git("init -q");
    sandbox.git("add .");
    sandbox.git("commit -qm first");
    let commit_and_run = |more: &str| {
        let ran = sandbox.run(&format!("gimg resolve --in-place -f a.yaml -B {more}")).ok();
        sandbox.git("add .");
        sandbox.git("-c core.fsync=none commit -qm next --allow-empty");
        (
            ran.stderr.contains("once it is edited, the next build has another digest"),
            read(&sandbox, "a.yaml"),
        )
    };
    let (warned, first) = commit_and_run("");
    assert!(warned);
    let (warned, second) = commit_and_run("");
    assert!(warned && first != second, "what the warning is about");
    // The ways out that it names.
    std::fs::create_dir(sandbox.path("manifests")).unwrap();
    std::fs::write(sandbox.path("manifests/a.yaml"), "- ko://./cmd/hello\n").unwrap();
    let elsewhere = sandbox.run("gimg resolve --in-place -f ../manifests -B").ok();
    assert!(!elsewhere.stderr.contains("once it is edited"), "{}", elsewhere.stderr);
    let (warned, first) = commit_and_run("--buildvcs=false");
    assert!(!warned);
    assert_eq!(commit_and_run("--buildvcs=false"), (false, first));
}

// ---- Kustomize, Helm, Compose ----

#[test]
fn kustomizations_are_edited_by_name_and_by_what_they_say_themselves() {
    let registry = TestRegistry::start();
    let production = "# top\nimages:\n- name: web # the server\n  newTag: v1 # gone with the digest\n- name: db\n  newTag: '17'\n";
    let staging = "images:\n- name: api\n  newName: ko://./cmd/other # the other\nnamePrefix: x-\n";
    let sandbox = sandbox(&registry)
        .file("production/kustomization.yml", production)
        .file("staging/Kustomization", staging);
    let line = "gimg resolve --kustomize production --kustomize staging --set-image web=./cmd/hello -B";
    let ran = sandbox.run(line).ok();
    let (hello, other) = (tagged(&registry, "hello"), tagged(&registry, "other"));
    assert_eq!(ran.lines(), [&hello, &other]);
    let ((name, digest), (other_name, other_digest)) =
        (hello.split_once('@').unwrap(), other.split_once('@').unwrap());
    let expected = format!(
        "# top\nimages:\n- name: web # the server\n  newName: {name}\n  digest: {digest} # gone with the digest\n- name: db\n  newTag: '17'\n"
    );
    assert_eq!(read(&sandbox, "production/kustomization.yml"), expected);
    let expected = format!(
        "images:\n- name: api\n  digest: {other_digest}\n  newName: {other_name} # ko://./cmd/other # the other\n- name: web\n  newName: {name}\n  digest: {digest}\nnamePrefix: x-\n"
    );
    assert_eq!(read(&sandbox, "staging/Kustomization"), expected);
    assert!(diff(&ran).contains("+++ b/staging/Kustomization"), "{}", ran.stderr);
    // Again, and without words for what says itself what it is.
    assert!(sandbox.run(line).ok().stderr.contains("nothing changes"));
    assert!(
        sandbox
            .run("gimg resolve --kustomize staging/Kustomization -B")
            .ok()
            .stderr
            .contains("nothing changes")
    );
    let as_files = sandbox.run("gimg resolve --in-place -f production,staging/Kustomization -B").ok();
    assert!(
        as_files.stderr.contains("nothing changes") && !as_files.stderr.contains("warning"),
        "{}",
        as_files.stderr
    );
    change_program(&sandbox, "new");
    sandbox.run("gimg resolve --in-place -f staging/Kustomization -B").ok();
    let new = tagged(&registry, "other");
    assert_ne!(new, other);
    assert_eq!(
        read(&sandbox, "staging/Kustomization"),
        expected.replace(other_digest, new.split_once('@').unwrap().1)
    );
}

const VALUES: &str = "# Default values\nreplicas: 2\nimage:\n  registry: docker.io   # where\n  repository: me/web\n  tag: \"1.16\"\n  digest: \"\"\n  \
                      pullPolicy: IfNotPresent\nworker:\n  image: \"docker.io/me/worker:1\"\nold:\n  image: {repository: x, tag: 1.0}\n";

#[test]
fn values_of_charts_are_edited_by_their_place() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry).file("values.yaml", VALUES);
    let places = "--set-image image=./cmd/hello --set-image worker.image=./cmd/other --set-image old.image=./cmd/other";
    let printed = sandbox.run(&format!("gimg resolve -f values.yaml {places} -B -t v2")).ok();
    let version = |program: &str| registry.tags(&format!("x/{program}"))["v2"].clone();
    let (hello, other, host) = (version("hello"), version("other"), registry.host());
    let expected = format!(
        "# Default values\nreplicas: 2\nimage:\n  registry: {host}   # where\n  repository: x/hello\n  tag: \"v2\"\n  digest: \"{hello}\"\n  \
         pullPolicy: IfNotPresent\nworker:\n  image: \"{host}/x/other:v2@{other}\"\nold:\n  image: {{repository: {host}/x/other, tag: v2@{other}}}\n"
    );
    let expected = expected.replace(&format!("registry: {host}"), &format!("registry: \"{host}\""));
    assert_eq!(printed.stdout, expected.clone() + "\n---\n");
    assert_eq!(read(&sandbox, "values.yaml"), VALUES, "standard output is not in place");
    let ran = sandbox.run(&format!("gimg resolve --in-place -f values.yaml {places} -B -t v2")).ok();
    assert_eq!(ran.lines().len(), 2);
    assert_eq!(read(&sandbox, "values.yaml"), expected);
    let again = sandbox.run(&format!("gimg resolve --in-place -f values.yaml {places} -B -t v2")).ok();
    assert!(again.stderr.contains("nothing changes"), "{}", again.stderr);
    // What is wrong is said with the keys that are there.
    sandbox
        .run("gimg resolve -f values.yaml --set-image worker.imge=./cmd/hello")
        .fails(3, &["look for worker.imge", "values.yaml: worker has image"]);
    sandbox
        .run("gimg resolve -f values.yaml --set-image worker=./cmd/hello")
        .fails(3, &["worker is a mapping without repository", "[values.yaml:10:3]"]);
    sandbox
        .run("gimg resolve -f values.yaml --set-image replicas=./cmd/hello")
        .fails(3, &["replicas is 2, and no image", "[values.yaml:2:11]"]);
    sandbox.write("values-2.yaml", VALUES);
    sandbox
        .run("gimg resolve -f values.yaml,values-2.yaml --set-image image=./cmd/hello")
        .fails(3, &["values.yaml and values-2.yaml have it", "name one of them"]);
}

#[test]
fn services_of_compose_files_are_edited_by_reference_and_by_place() {
    let registry = TestRegistry::start();
    let compose = "name: shop\nx-common: &common\n  restart: always\nservices:\n  web:\n    <<: *common\n    image: ko://./cmd/hello\n    ports: [\"80:80\"]\n  \
                   worker:\n    image: shop/worker # by place\n  db: {image: \"postgres:17\"}\n";
    let sandbox = sandbox(&registry)
        .file("compose.yaml", compose)
        .file("compose.prod.yaml", "services: {web: {restart: 'no'}}\n");
    let line = "gimg resolve --in-place -f compose.yaml,compose.prod.yaml --set-image services.worker.image=./cmd/other -B";
    sandbox.run(line).ok();
    let (hello, other) = (tagged(&registry, "hello"), tagged(&registry, "other"));
    let expected = compose
        .replace("ko://./cmd/hello", &format!("{hello} # ko://./cmd/hello"))
        .replace("shop/worker", &other);
    assert_eq!(read(&sandbox, "compose.yaml"), expected);
    assert!(sandbox.run(line).ok().stderr.contains("nothing changes"));
    sandbox
        .run("gimg resolve -f compose.yaml --set-image services.web.restart=./cmd/hello")
        .fails(3, &["restart comes through a merge key"]);
}

// ---- examples/ ----

/// Every file below a folder with its text.
fn texts(dir: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                texts.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    texts
}

/// A sandbox with the examples beside the sample module.
fn examples(sandbox: Sandbox) -> Sandbox {
    copy_tree(&root().join("examples/gitops"), &sandbox.cwd().join("examples/gitops"));
    sandbox
}

/// Pins every example to what is built now.
fn pin_examples(sandbox: &Sandbox) {
    for line in [
        "-f examples/gitops/rolling -f examples/gitops/canary -f examples/gitops/compose -f examples/gitops/chart/values.yaml",
        "-f examples/gitops/blue-green/green.yaml",
    ] {
        sandbox.run(&format!("gimg resolve --in-place {line} -B --buildvcs=false")).ok();
    }
    sandbox.run("gimg resolve --kustomize examples/gitops/kustomize/production -B --buildvcs=false").ok();
}

#[test]
fn the_examples_are_pinned_anew_and_rolled_back() {
    let registry = TestRegistry::start();
    let sandbox = examples(sandbox(&registry));
    let dir = sandbox.cwd().join("examples/gitops");
    let before = texts(&dir);
    pin_examples(&sandbox);
    let old = tagged(&registry, "hello");
    let after = texts(&dir);
    let digest = old.split_once('@').unwrap().1;
    let mut pinned = Vec::new();
    for (name, text) in &before {
        let lines: Vec<&str> = text.lines().collect();
        let new: Vec<&str> = after[name].lines().collect();
        assert_eq!(lines.len(), new.len(), "{name}");
        if *text != after[name] {
            assert!(
                after[name].contains(digest) && after[name].contains(" # ko://./cmd/hello"),
                "{name}: {}",
                after[name]
            );
            pinned.push(name.as_str());
        }
    }
    let expected = [
        "blue-green/green.yaml",
        "canary/canary.yaml",
        "canary/stable.yaml",
        "chart/values.yaml",
        "compose/compose.yaml",
        "kustomize/production/kustomization.yaml",
        "rolling/deployment.yaml",
    ];
    assert_eq!(pinned, expected);
    assert_eq!(before["blue-green/blue.yaml"], after["blue-green/blue.yaml"], "the set that is asked stays");

    // A canary with a new image; what is tried is what is rolled out, by its digest.
    change_program(&sandbox, "new");
    sandbox.run("gimg resolve --in-place -f examples/gitops/canary/canary.yaml -B --buildvcs=false").ok();
    let new = tagged(&registry, "hello");
    let image = |name: &str| {
        let text = read(&sandbox, &format!("examples/gitops/{name}"));
        text.split("image: ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!((image("canary/canary.yaml"), image("canary/stable.yaml")), (new.clone(), old.clone()));
    sandbox.run("gimg resolve --in-place -f examples/gitops/canary/stable.yaml -B --buildvcs=false").ok();
    assert_eq!(image("canary/stable.yaml"), new);
    // The way back of the tag, to the digest that the manifests had.
    let repository = old.split_once('@').unwrap().0;
    sandbox.run(&format!("gimg rollback {repository} --to {digest}")).ok();
    assert_eq!(tagged(&registry, "hello"), old);
}

#[test]
#[ignore = "integration: kustomize and helm"]
fn integration_kustomize_and_helm_render_the_images_by_digest() {
    let registry = TestRegistry::start();
    let (kustomize, helm) = (tool("kustomize"), tool("helm"));
    let sandbox = examples(sandbox(&registry));
    pin_examples(&sandbox);
    let hello = tagged(&registry, "hello");
    let (name, digest) = hello.split_once('@').unwrap();
    let render = |program: &Path, arguments: &str| {
        let ran = sandbox.run(&format!("{} {arguments}", program.display())).ok();
        let images =
            ran.stdout.lines().filter_map(|l| l.trim().trim_start_matches("- ").strip_prefix("image: "));
        images.map(|i| i.trim_matches('"').to_owned()).collect::<Vec<String>>()
    };
    assert_eq!(render(&kustomize, "build examples/gitops/kustomize/production"), [hello.as_str()]);
    assert_eq!(render(&helm, "template web examples/gitops/chart"), [hello.as_str()]);

    // What gimg adds and edits, kustomize reads: a name that is a reference, new entries, flow style, JSON.
    let deployment = |image: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{template: {{spec: {{containers: [{{name: a, image: '{image}'}}]}}}}}}\n"
        )
    };
    for (n, (image, text, words)) in [
        ("app", "resources: [d.yaml]\n", "--set-image app=./cmd/hello"),
        ("app", "resources: [d.yaml]\nimages: []", "--set-image app=./cmd/hello"),
        ("app:v1", "resources: [d.yaml]\nimages:\n  - name: app\n    newTag: v2 # c\n", "--set-image app=./cmd/hello"),
        ("app", "{\"resources\": [\"d.yaml\"], \"images\": [{\"name\": \"app\", \"newTag\": \"v1\", \"digest\": \"x\"}]}", "--set-image app=./cmd/hello"),
        ("ko://./cmd/hello", "resources:\r\n- d.yaml\r\nimages:\r\n- name: ko://./cmd/hello\r\n", ""),
        ("app", "resources: [d.yaml]\nimages:\n- name: app\n  newName: ko://./cmd/hello\n", ""),
    ]
    .into_iter()
    .enumerate()
    {
        sandbox.write(&format!("k{n}/kustomization.yaml"), text);
        sandbox.write(&format!("k{n}/d.yaml"), &deployment(image));
        sandbox.run(&format!("gimg resolve --kustomize k{n} {words} -B --buildvcs=false")).ok();
        assert_eq!(render(&kustomize, &format!("build k{n}")), [hello.as_str()], "{text}");
    }

    // A chart as `helm create` makes one reads the tag; one with all keys reads the digest.
    sandbox.run(&format!("{} create made", helm.display())).ok();
    sandbox
        .run("gimg resolve --in-place -f made/values.yaml --set-image image=./cmd/hello -B --buildvcs=false")
        .ok();
    let rendered = render(&helm, "template made --show-only templates/deployment.yaml");
    assert_eq!(rendered, [format!("{name}:latest@{digest}")]);
    sandbox.write("full/Chart.yaml", "apiVersion: v2\nname: full\nversion: 0.1.0\n");
    sandbox.write(
        "full/values.yaml",
        "image:\n  registry: docker.io\n  repository: a/b\n  tag: 1.16\n  digest: ''\n",
    );
    let template = "image: {{ .Values.image.registry }}/{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ $.Values.image.tag }}{{ end }}\n";
    sandbox.write("full/templates/x.yaml", template);
    sandbox
        .run("gimg resolve --in-place -f full/values.yaml --set-image image=./cmd/hello -B --buildvcs=false")
        .ok();
    assert_eq!(render(&helm, "template full"), [hello.as_str()]);
}

#[test]
#[ignore = "integration: an API server"]
fn integration_an_api_server_takes_the_examples() {
    let (registry, api) = (TestRegistry::start(), ApiServer::start());
    let kubectl = tool("kubectl");
    let path = format!("{}:{}", kubectl.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let sandbox =
        examples(sandbox(&registry)).env("PATH", &path).env("KUBECONFIG", api.kubeconfig().to_str().unwrap());
    pin_examples(&sandbox);
    for (folder, objects) in
        [("rolling", 2), ("blue-green", 3), ("canary", 3), ("kustomize/base/deployment.yaml", 1)]
    {
        let dry = "--dry-run=server --validate=strict";
        let ran = sandbox.run(&format!("kubectl apply {dry} -f examples/gitops/{folder}")).ok();
        assert_eq!(ran.stdout.matches("created (server dry run)").count(), objects, "{}", ran.stdout);
    }
    // As gimg hands them over, too.
    let ran = sandbox.run("gimg apply -f examples/gitops/rolling -- --dry-run=server").ok();
    assert_eq!(ran.stdout.matches("created (server dry run)").count(), 2, "{}", ran.stdout);
}
