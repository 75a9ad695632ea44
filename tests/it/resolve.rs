//! `gimg resolve`: which files are read, what is built, and that nothing but references changes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::registry::TestRegistry;
use crate::support::{Ran, Sandbox, go_log, root};

const HELLO: &str = "example.com/hello/cmd/hello";
const OTHER: &str = "example.com/hello/cmd/other";

/// The sample module, with a repository.
fn sandbox(registry: &TestRegistry) -> Sandbox {
    Sandbox::go("hello").env("KO_DOCKER_REPO", &format!("{}/x", registry.host()))
}

/// Runs a line with `input` as its standard input.
fn fed(sandbox: &Sandbox, line: &str, input: &[u8]) -> Ran {
    let mut command = sandbox.command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that fails early need not read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ran::of(line, output)
}

/// The references that `gimg build` prints for the sample's two programs.
fn built(sandbox: &Sandbox) -> [String; 2] {
    let ran = sandbox.run(&format!("gimg build {HELLO} {OTHER}")).ok();
    [ran.lines()[0].to_owned(), ran.lines()[1].to_owned()]
}

#[test]
fn of_every_file_of_the_corpus_only_the_references_change() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry);
    let [hello, other] = built(&sandbox);
    let (corpus, mut seen) = (root().join("testdata/yaml"), 0);
    for entry in std::fs::read_dir(&corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "out") {
            continue;
        }
        let expected = std::fs::read_to_string(format!("{}.out", path.display())).unwrap();
        let expected = expected.replace("HELLO", &hello).replace("OTHER", &other) + "\n---\n";
        let ran = sandbox.run_with("gimg resolve -f", &[path.to_str().unwrap()]).ok();
        assert_eq!(ran.stdout, expected, "{}", path.display());
        assert!(!ran.stderr.contains("warning: ko://"), "{}", ran.stderr);
        seen += 1;
    }
    assert_eq!(seen, 8);
    assert_eq!(registry.incomplete(), Vec::<String>::new());
}

#[test]
fn a_thousand_documents_without_references_come_back_byte_for_byte() {
    // No go, no repository, no registry: nothing is asked for what needs nothing.
    let sandbox = Sandbox::new().env("PATH", "/nonexistent");
    let document = |n: usize| {
        format!(
            "# {n}\r\napiVersion: v1\nkind:  ConfigMap\ndata: {{a: 'ko:/', b: [1,2]}}\nt: |+\n  {{{{ .x }}}}\n\n"
        )
    };
    let one: Vec<String> = (0..1000).map(document).collect();
    let one = one.join("---\n");
    std::fs::create_dir(sandbox.path("src/many")).unwrap();
    let mut many = String::new();
    for n in 0..1000 {
        sandbox.write(&format!("many/{n:04}.yaml"), &document(n));
        many.push_str(&document(n));
        many.push_str("\n---\n");
    }
    sandbox.write("one.yaml", &one);
    let ran = sandbox.run("gimg resolve -f one.yaml").ok();
    assert!(ran.stdout == one + "\n---\n", "one file");
    let ran = sandbox.run("gimg resolve -f many").ok();
    assert!(ran.stdout == many, "a thousand files");
    assert_eq!(ran.stderr, "");
    // Bytes that are no text, even.
    std::fs::write(sandbox.path("src/latin.yaml"), b"a: \xe9\x00\n").unwrap();
    let output = sandbox.command("gimg resolve -f latin.yaml").output().unwrap();
    assert_eq!(output.stdout, b"a: \xe9\x00\n\n---\n");
}

#[test]
fn files_are_read_in_kos_order() {
    let sandbox = Sandbox::new().env("PATH", "/nonexistent");
    for name in [
        "d/b.yaml",
        "d/a.json",
        "d/c.yml",
        "d/note.txt",
        "d/a-sub/z.yaml",
        "d/sub/y.yml",
        "odd.conf",
        "e/README",
    ] {
        sandbox.write(name, &format!("{name}\n"));
    }
    std::os::unix::fs::symlink("../odd.conf", sandbox.path("src/d/link.yaml")).unwrap();
    std::os::unix::fs::symlink("a-sub", sandbox.path("src/d/linked.yaml")).unwrap();
    let names = |line: &str| -> Vec<String> {
        let ran = sandbox.run(line).ok();
        ran.stdout.split_terminator("\n\n---\n").map(str::to_owned).collect()
    };
    assert_eq!(names("gimg resolve -f d"), ["d/a.json", "d/b.yaml", "d/c.yml", "odd.conf"]);
    assert_eq!(
        names("gimg resolve -R -f d/"),
        ["d/a-sub/z.yaml", "d/a.json", "d/b.yaml", "d/c.yml", "odd.conf", "d/sub/y.yml"]
    );
    assert_eq!(
        names("gimg resolve --filename odd.conf,d/note.txt -f d/c.yml"),
        ["odd.conf", "d/note.txt", "d/c.yml"]
    );
    assert_eq!(names("gimg resolve -f d/c.yml -f d/c.yml"), ["d/c.yml", "d/c.yml"]);
    let stdin = fed(&sandbox, "gimg resolve -f odd.conf -f - -f d/c.yml", b"in").ok();
    assert_eq!(stdin.stdout, "odd.conf\n\n---\nin\n---\nd/c.yml\n\n---\n");
    let empty = sandbox.run("gimg resolve -f e").ok();
    assert_eq!(
        (empty.stdout.as_str(), empty.stderr.contains("warning: e holds no .yaml")),
        ("", true),
        "{}",
        empty.stderr
    );
}

#[test]
fn programs_of_all_files_are_built_together_and_once() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry);
    let log = go_log(&sandbox);
    let sandbox = log
        .sandbox(sandbox)
        .file("k/a.yaml", &format!("image: ko://{HELLO}\nsame: ko://./cmd/hello\n"))
        .file("k/b.yaml", &format!("image: ko://{OTHER}\n"))
        .file("k/c.yaml", &format!("- ko://{HELLO}\n- ko://{OTHER}\n"));
    let ran = sandbox.run("gimg resolve -f k --platform linux/amd64,linux/arm64 -B").ok();
    assert_eq!(log.count("build"), 2, "one for each platform:\n{}", log.text());
    assert_eq!(ran.stderr.matches("tagged ").count(), 2, "{}", ran.stderr);
    assert_eq!(registry.asked("PUT", "/manifests/latest"), 2, "each image is named once");
    let references: Vec<&str> = ran.stdout.split_whitespace().filter(|w| w.contains('@')).collect();
    let [hello, other] = [references[0], references[2]];
    assert_eq!(references, [hello, hello, other, hello, other]);
    assert!(hello.ends_with(&format!("/x/hello@{}", registry.tags("x/hello")["latest"])), "{hello}");
    assert!(other.ends_with(&format!("/x/other@{}", registry.tags("x/other")["latest"])), "{other}");
}

#[test]
fn what_the_selector_leaves_out_is_neither_written_nor_built() {
    let registry = TestRegistry::start();
    let pod = |name: &str, image: &str| {
        format!("apiVersion: v1\nkind: Pod # {name}\nmetadata:\n  labels: {{app: {name}}}\nimage: {image}\n")
    };
    let (web, db) = (pod("web", &format!("ko://{HELLO}")), pod("db", "ko://example.com/nowhere --x=ko://a"));
    let sandbox = sandbox(&registry).file("all.yaml", &format!("{web}---\n{db}---\n{web}"));
    let ran = sandbox.run("gimg resolve -f all.yaml -l app=web -B").ok();
    let reference = format!("{}/x/hello@{}", registry.host(), registry.tags("x/hello")["latest"]);
    let web = web.replace(&format!("ko://{HELLO}"), &reference);
    assert_eq!(ran.stdout, format!("{web}---\n{web}\n---\n"));
    // Without anything to build, nothing is built.
    let none = sandbox.without("PATH").run("gimg resolve -f all.yaml --selector app=none").ok();
    assert_eq!(none.stdout, "\n---\n");
}

#[test]
fn look_alikes_draw_a_warning_that_names_the_place() {
    let sandbox =
        Sandbox::new().file("a.yaml", "args:\n  - --image=ko://example.com/x\n").file("b.yaml", "a: 1\n");
    let ran = sandbox.run("gimg resolve -f a.yaml,b.yaml").ok();
    assert_eq!(ran.stdout, "args:\n  - --image=ko://example.com/x\n\n---\na: 1\n\n---\n");
    assert!(ran.stderr.contains("warning: ko:// inside a longer string"), "{}", ran.stderr);
    assert!(ran.stderr.contains("[a.yaml:2:13]"), "{}", ran.stderr);
}

#[test]
fn bad_input_has_its_own_message_and_writes_nothing() {
    let sandbox = Sandbox::go("hello")
        .env("KO_DOCKER_REPO", "127.0.0.1:1/x")
        .file("good.yaml", &format!("image: ko://{HELLO}\n"))
        .file("library.yaml", "a: 1\nimage:\n  - ko://example.com/hello/greet\n")
        .file("absent.yaml", "image: 'ko://example.com/nowhere'\n")
        .file("wild.yaml", "image: ko://./cmd/...\n")
        .file("blanks.yaml", "image: |\n  ko://a\n  b\n")
        .file("broken.yaml", "a: [b\nimage: ko://x\n")
        .file("helm.yaml", "{{ if .x }}\nimage: ko://x\n{{ end }}\n")
        .file("plain.yaml", "image: some.go/package\n")
        .file("none/README", "");
    let looped = sandbox.path("src/loop.yaml");
    std::os::unix::fs::symlink("loop.yaml", looped).unwrap();
    for (arguments, code, words) in [
        ("", 2, &["no file is named", "-f"][..]),
        ("-f=", 2, &["a name is empty"]),
        (
            "-f https://example.com/a.yaml",
            2,
            &["https://example.com/a.yaml is an address", "| gimg resolve -f -"],
        ),
        ("-f - -f -", 2, &["standard input (-) is named twice"]),
        ("-f good.yaml --format json", 2, &["resolve writes YAML"]),
        ("-f good.yaml -l a=b=c", 2, &["read --selector \"a=b=c\"", "hint:"]),
        ("-f good.yaml --output oci:out", 2, &["no repository is set", "--repo"]),
        ("-f good.yaml,library.yaml -B --bare", 2, &[]),
        ("-f good.yaml,nope.yaml", 3, &["read the YAML", "[nope.yaml]"]),
        ("-f loop.yaml", 9, &["read the YAML", "[loop.yaml]"]),
        ("-f good.yaml,library.yaml", 3, &["it is package \"greet\", not main", "[library.yaml:3:5]"]),
        ("-f absent.yaml", 3, &["example.com/nowhere", "[absent.yaml:1:8]"]),
        ("-f wild.yaml", 3, &["one package, not a pattern", "[wild.yaml:1:8]"]),
        ("-f blanks.yaml", 3, &["no blanks or line breaks", "[blanks.yaml:2:3]"]),
        ("-f good.yaml,broken.yaml", 3, &["read the YAML", "[broken.yaml:2:"]),
        ("-f helm.yaml", 3, &["[helm.yaml:2:1]", "looks like a template", "helm template"]),
        ("-f plain.yaml -l a=b", 3, &["isn't a Kubernetes object", "[plain.yaml:1:1]"]),
    ] {
        if words.is_empty() {
            let ran = sandbox.run(&format!("gimg resolve {arguments}"));
            assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{}", ran.stderr);
            continue;
        }
        sandbox.run(&format!("gimg resolve {arguments}")).fails(code, words);
    }
    let positional = sandbox.run("gimg resolve good.yaml");
    assert_eq!(positional.code, 2, "{}", positional.stderr);
    let nowhere = sandbox.without("KO_DOCKER_REPO");
    nowhere.run("gimg resolve -f good.yaml").fails(2, &["no repository is set", "KO_DOCKER_REPO"]);
    assert_eq!(nowhere.leftovers(), Vec::<String>::new());
}

#[test]
fn a_file_that_may_not_be_read_is_a_local_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new().file("secret.yaml", "a: 1\n");
    let path = sandbox.path("src/secret.yaml");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        println!("not checked: root may read everything");
        return;
    }
    sandbox.run("gimg resolve -f secret.yaml").fails(9, &["read the YAML", "[secret.yaml]"]);
}

#[test]
fn a_build_that_fails_writes_no_yaml() {
    let registry = TestRegistry::start();
    let sandbox = sandbox(&registry)
        .file("bad/main.go", "package main\n\nfunc main() { undefined() }\n")
        .file("a.yaml", &format!("- ko://{HELLO}\n- ko://example.com/hello/bad\n"));
    sandbox.run("gimg resolve -f a.yaml").fails(4, &["bad/main.go:3:15: undefined: undefined"]);
    assert_eq!(registry.asked("PUT", "/manifests/"), 0);
}

#[test]
fn without_pushing_references_are_made_all_the_same() {
    let sandbox = Sandbox::go("hello").env("KO_DOCKER_REPO", "registry.invalid/x");
    let sandbox = sandbox.file("a.yaml", &format!("- ko://{HELLO}\n"));
    let ran = sandbox.run("gimg resolve -f a.yaml --push=false -B").ok();
    assert!(ran.stdout.starts_with("- registry.invalid/x/hello"), "{}", ran.stdout);
    assert!(ran.stdout.contains("@sha256:"), "{}", ran.stdout);
}

// ---- kubectl ----

/// A `kubectl` that writes down its arguments, its input and its process, and exits with a code.
struct Stub {
    dir: PathBuf,
}

impl Stub {
    fn new(sandbox: Sandbox, code: i32) -> (Self, Sandbox) {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = sandbox.path("stub");
        std::fs::create_dir(&dir).unwrap();
        let at = dir.display();
        let script = format!(
            "#!/bin/sh\nfor a in \"$@\"; do printf '%s\\n' \"$a\"; done > {at}/argv\ncat > {at}/stdin\necho $$ > {at}/pid\n\
             echo out\necho err >&2\nexit {code}\n"
        );
        std::fs::write(dir.join("kubectl"), script).unwrap();
        std::fs::set_permissions(dir.join("kubectl"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
        (Stub { dir }, sandbox.env("PATH", &path))
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap()
    }

    fn argv(&self) -> Vec<String> {
        self.read("argv").lines().map(str::to_owned).collect()
    }

    fn ran(&self) -> bool {
        self.dir.join("argv").exists()
    }
}

#[test]
fn apply_and_create_feed_kubectl_and_end_as_it_does() {
    let registry = TestRegistry::start();
    for (verb, code) in [("apply", 0), ("create", 7)] {
        let (stub, sandbox) = Stub::new(sandbox(&registry), code);
        let sandbox = sandbox.file("a.yaml", &format!("image: ko://{HELLO}\r\n"));
        let yaml = sandbox.run("gimg resolve -f a.yaml").ok().stdout;
        let ran = sandbox.run(&format!("gimg {verb} -f a.yaml -q -- --context c -n x -- last"));
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (code, "out\n", "err\n"));
        assert_eq!(stub.argv(), [verb, "-f", "-", "--context", "c", "-n", "x", "--", "last"]);
        assert_eq!(stub.read("stdin"), yaml);
        assert_eq!(sandbox.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn kubectl_gets_what_is_read_from_standard_input_too() {
    let (stub, sandbox) = Stub::new(Sandbox::new(), 0);
    fed(&sandbox, "gimg apply -f -", b"a: 1\n").ok();
    assert_eq!(stub.read("stdin"), "a: 1\n\n---\n");
    // kubectl must not take what follows for JSON too.
    fed(&sandbox, "gimg apply -f -", b" {}").ok();
    assert_eq!(stub.read("stdin"), "---\n {}\n---\n");
    // More than a pipe holds.
    let large = "# ten bytes\n".repeat(100_000);
    fed(&sandbox, "gimg create -f -", large.as_bytes()).ok();
    assert_eq!(stub.read("stdin").len(), large.len() + 5);
}

#[test]
fn kubectl_is_gimgs_own_process_so_signals_and_terminals_are_its_own() {
    use rustix::process::{Pid, Signal, kill_process};
    let (stub, sandbox) = Stub::new(Sandbox::new().file("a.yaml", "a: 1\n"), 0);
    // The input of `run` is kubectl's: as long as it is open, this kubectl doesn't end.
    std::fs::write(
        stub.dir.join("kubectl"),
        format!(
            "#!/bin/sh\necho $$ > {0}/pid.new\nmv {0}/pid.new {0}/pid\nexec sleep 1000\n",
            stub.dir.display()
        ),
    )
    .unwrap();
    let mut child = sandbox.command("gimg apply -f a.yaml").spawn().unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !stub.dir.join("pid").exists() {
        assert!(std::time::Instant::now() < end, "kubectl never started");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(stub.read("pid").trim(), child.id().to_string());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(2));
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_failing_run_never_starts_kubectl() {
    let (stub, sandbox) = Stub::new(Sandbox::go("hello").env("KO_DOCKER_REPO", "127.0.0.1:1/x"), 0);
    let sandbox = sandbox
        .file("a.yaml", "image: ko://example.com/hello/greet\n")
        .file("b.yaml", "image: ko://example.com/hello/bad\n")
        .file("bad/main.go", "package main\n\nfunc main() { undefined() }\n");
    sandbox.run("gimg apply -f a.yaml").fails(3, &["not main", "[a.yaml:1:8]"]);
    sandbox.run("gimg create -f b.yaml").fails(4, &["undefined: undefined"]);
    sandbox.run("gimg apply").fails(2, &["no file is named"]);
    sandbox.run("gimg run ./greet").fails(3, &["not main"]);
    sandbox.run("gimg run ./cmd/...").fails(2, &["./cmd/... is a pattern"]);
    assert!(!stub.ran());
    let sandbox = sandbox.without("KO_DOCKER_REPO");
    sandbox.run("gimg run ./cmd/hello").fails(2, &["no repository is set"]);
    assert!(!stub.ran());
}

#[test]
fn a_missing_kubectl_is_said_before_anything_is_built() {
    let sandbox = Sandbox::go("hello")
        .env("PATH", "/nonexistent")
        .without("GOROOT")
        .env("KO_DOCKER_REPO", "127.0.0.1:1/x");
    let sandbox = sandbox.file("a.yaml", &format!("image: ko://{HELLO}\n"));
    for line in ["apply -f a.yaml", "create -f a.yaml", "run ./cmd/hello", "delete -f a.yaml"] {
        sandbox.run(&format!("gimg {line}")).fails(3, &["run kubectl: not found on PATH", "install kubectl"]);
    }
}

#[test]
fn run_names_the_pod_like_the_repository() {
    let registry = TestRegistry::start();
    let (stub, sandbox) = Stub::new(sandbox(&registry), 3);
    let ran = sandbox
        .run("gimg run ko://example.com/hello/cmd/hello -B -t v1 -- --labels=foo=bar -- -wait=false --");
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "out\n"), "{}", ran.stderr);
    let reference = format!("{}/x/hello:v1@{}", registry.host(), registry.tags("x/hello")["v1"]);
    let expected = [
        "run",
        "hello",
        "--image",
        &reference,
        "--attach",
        "--rm",
        "--restart=Never",
        "--log-flush-frequency=1s",
        "--labels=foo=bar",
        "--",
        "-wait=false",
        "--",
    ];
    assert_eq!(stub.argv(), expected);
    assert!(ran.stderr.contains(&format!("running {reference}")), "{}", ran.stderr);
    // Its input is the user's.
    fed(&sandbox, "gimg run ./cmd/hello", b"typed");
    assert_eq!(stub.read("stdin"), "typed");
}

#[test]
fn delete_passes_everything_on_and_builds_nothing() {
    let (stub, sandbox) = Stub::new(Sandbox::new().file("a.yaml", "image: ko://nowhere\n"), 5);
    let ran = sandbox.run("gimg delete -f a.yaml --ignore-not-found -R -q --help -- x -v=9");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (5, "out\n", "err\n"));
    let expected = ["delete", "-f", "a.yaml", "--ignore-not-found", "-R", "-q", "--help", "--", "x", "-v=9"];
    assert_eq!(stub.argv(), expected);
}
