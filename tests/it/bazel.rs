//! What a build system asks of gimg: an action with its inputs and outputs named, nothing else around; and Bazel itself
//! with the rules in `bazel/`.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::layer::compiled;
use crate::support::registry::TestRegistry;
use crate::support::{Layout, Ran, Sandbox, copy_tree, root, sha256, tool};

/// Every file below `dir` with its digest, links followed.
fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                found.insert(name, sha256(&std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// A copy of `from` as Bazel lays out the inputs of an action: directories of links.
fn linked(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { linked(&path, &target) } else { symlink(&path, &target).unwrap() }
    }
}

#[test]
fn an_action_needs_its_inputs_and_nothing_else() {
    let sandbox = compiled(&["linux/arm64", "linux/amd64"]).file("page/index.html", "<p>");
    sandbox.run("gimg build ./cmd/other --platform linux/arm64,linux/amd64 -o oci:base").ok();
    let binaries = "--binary linux/arm64=dist/hello-linux-arm64 --binary linux/amd64=dist/hello-linux-amd64";
    sandbox.write("image.json", r#"{"files": [{"from": "page", "to": "/srv"}]}"#);
    let by_hand = sandbox
        .run(&format!("gimg pack {binaries} --config image.json --base oci:base -o oci:out --digest-file d"))
        .ok();
    let digest = std::fs::read_to_string(sandbox.path("src/d")).unwrap();
    assert_eq!(digest, format!("{}\n", by_hand.digest()), "the digest and nothing else");

    for (number, surroundings) in [&[][..], &[("TMPDIR", "bin")]].into_iter().enumerate() {
        // The output's directory is there and empty; inputs are links to elsewhere.
        let action = sandbox.path(&format!("action{number}"));
        linked(&sandbox.path("src/dist"), &action.join("dist"));
        linked(&sandbox.path("src/base"), &action.join("base"));
        linked(&sandbox.path("src/page"), &action.join("page"));
        symlink(sandbox.path("src/image.json"), action.join("image.json")).unwrap();
        std::fs::create_dir_all(action.join("bin/out")).unwrap();
        let mut arguments: Vec<&str> = vec!["pack", "--quiet"];
        arguments.extend(binaries.split(' '));
        arguments.extend("--config image.json --base oci:base --output oci:bin/out".split(' '));
        arguments.extend("--digest-file bin/out.digest --image-label".split(' '));
        arguments.push("text=with a blank, \"quotes\" and 'more'");
        std::fs::write(action.join("bin/params"), arguments.join("\n") + "\n").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_gimg"))
            .arg("@bin/params")
            .current_dir(&action)
            .env_clear()
            .env("KO_DATA_PATH_ALLOWED_ROOT", "/")
            .envs(surroundings.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let ran = Ran::of("gimg @bin/params", output).ok();
        assert_eq!(ran.stderr, "", "nothing to say");
        let layout = Layout::at(action.join("bin/out"));
        assert_eq!(layout.index()["manifests"].as_array().unwrap().len(), 1);
        assert_eq!(
            std::fs::read_to_string(action.join("bin/out.digest")).unwrap(),
            layout.index()["manifests"][0]["digest"].as_str().unwrap().to_owned() + "\n"
        );
        for (platform, manifest) in layout.images() {
            let config = layout.document(&manifest["config"]);
            let labels = &config["config"]["Labels"];
            assert_eq!(labels["text"], "with a blank, \"quotes\" and 'more'", "{platform}");
            let own = Layout::at(sandbox.path("src/out")).images().remove(&platform).unwrap();
            assert_eq!(manifest["layers"], own["layers"], "{platform}");
        }
        let mut beside: Vec<_> = std::fs::read_dir(action.join("bin")).unwrap().collect();
        beside.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
        let beside: Vec<_> = beside.into_iter().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(beside, ["out", "out.digest", "params"], "nothing is left");
    }
    assert_eq!(files(&sandbox.path("action0/bin")), files(&sandbox.path("action1/bin")));
}

#[test]
fn arguments_in_a_file_are_those_of_every_command() {
    let sandbox = compiled(&["linux/amd64"]);
    let line = "gimg pack --binary linux/amd64=dist/hello-linux-amd64 --base scratch";
    sandbox.write("some", "--binary\nlinux/amd64=dist/hello-linux-amd64\n--base=scratch");
    sandbox.write("layer", "layer\n--file\nsome=/x\n--out\nl.tar\n");
    let direct = sandbox.run(line).ok();
    assert_eq!(sandbox.run("gimg pack @some").ok().stdout, direct.stdout);
    sandbox.run("gimg @layer").ok();
    assert!(sandbox.path("src/l.tar").exists());
    let labelled = sandbox.run(&format!("{line} --image-label a=@b -o oci:labelled")).ok();
    let escaped = sandbox.run(&format!("{line} --image-annotation @@x=y -o oci:escaped")).ok();
    assert_ne!(labelled.digest(), escaped.digest());
    assert_eq!(Layout::at(sandbox.path("src/escaped")).root()["annotations"]["@x"], "y");
    sandbox
        .run("gimg pack @none")
        .fails(2, &["read the arguments: no such file [none]", "hint: @FILE stands for the lines of FILE"]);
    sandbox.run("gimg pack @dist").fails(2, &["it is not a regular file"]);
    // Below `--` they are somebody else's; this one fails for want of a repository, not of a file.
    let ran = sandbox.run("gimg apply -f some -- @none");
    assert!(!ran.stderr.contains("read the arguments"), "{}", ran.stderr);
}

#[test]
fn a_digest_file_has_a_line_for_each_image() {
    let sandbox = Sandbox::go("hello");
    let line = "gimg build ./cmd/other ./cmd/hello --push=false --repo r.example/x --digest-file out/digests";
    let ran = sandbox.run(line).ok();
    let digests: String =
        ran.lines().iter().map(|l| l.split_once('@').unwrap().1.to_owned() + "\n").collect();
    assert_eq!(std::fs::read_to_string(sandbox.path("src/out/digests")).unwrap(), digests);
    sandbox.run("gimg build ./cmd/other --push=false --digest-file cmd").fails(9, &["it is a directory"]);
}

/// A copy of `bazel/` and a Bazel of its own. Not in /tmp: the actions of the example get another one.
struct Bazel {
    dir: tempfile::TempDir,
}

impl Drop for Bazel {
    fn drop(&mut self) {
        // Its server would go on for hours, and what it made can't be removed as it is.
        let _ = self.command(&["shutdown"]).output();
        let _ = Command::new("chmod").args(["-R", "u+w"]).arg(self.dir.path()).status();
    }
}

impl Bazel {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("bazel-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        copy_tree(&root().join("bazel"), &dir.path().join("bazel"));
        std::fs::create_dir(dir.path().join("home")).unwrap();
        Bazel { dir }
    }

    fn example(&self) -> PathBuf {
        self.dir.path().join("bazel/example")
    }

    /// What the words ask of Bazel, to be run in the example. Whoever wants another compiler of C, or Java, is wrong here.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("bazel");
        self.surround(&mut command);
        command.arg(format!("--output_user_root={}", self.dir.path().join("root").display())).args(words);
        command
    }

    fn surround(&self, command: &mut Command) {
        command
            .current_dir(self.example())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path().join("home"))
            .env("GIMG_BIN", env!("CARGO_BIN_EXE_gimg"))
            .stdin(Stdio::null());
    }

    /// Builds everything where there is no network but the loopback device, and gives how many actions ran in a sandbox.
    #[track_caller]
    fn build(&self) -> usize {
        let mut command = Command::new("unshare");
        self.surround(&mut command);
        let output = command
            .args(["--map-root-user", "--net", "sh", "-c"])
            .arg("ip link set lo up; bazel $1 build //...; code=$?; bazel $1 shutdown; exit $code")
            .args(["sh", &format!("--output_user_root={}", self.dir.path().join("root").display())])
            .output()
            .unwrap();
        let ran = Ran::of("bazel build //...", output).ok();
        let count = |line: &str| {
            let before = line.split(" linux-sandbox").next()?;
            before.rsplit(' ').next()?.parse().ok()
        };
        let line = ran.stderr.lines().find(|l| l.contains("process") && l.contains("internal")).unwrap();
        let elsewhere = ["processwrapper", " local", "worker"].iter().any(|other| line.contains(other));
        assert!(!elsewhere, "not in the sandbox: {line}");
        if line.contains("linux-sandbox") { count(line).unwrap() } else { 0 }
    }

    /// Where the outputs are.
    fn outputs(&self) -> PathBuf {
        self.example().join("bazel-bin")
    }

    fn digest(&self, target: &str) -> String {
        std::fs::read_to_string(self.outputs().join(format!("{target}.digest"))).unwrap()
    }

    /// The digests of an image's layers.
    fn layers(&self, target: &str) -> Vec<String> {
        let manifest = Layout::at(self.outputs().join(target)).root();
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|l| l["digest"].as_str().unwrap().to_owned()).collect()
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.example().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file}");
        std::fs::write(path, text.replace(from, to)).unwrap();
    }
}

/// What the example makes that Bazel builds.
const MADE: &[&str] = &["image", "derived", "index", "image.digest", "layer.tar", "layer.json", "load.tar"];

#[test]
#[ignore = "integration: needs Bazel"]
fn integration_bazel_builds_the_same_twice_and_changes_only_what_must_change() {
    tool("bazel");
    let (one, two) = (Bazel::new(), Bazel::new());
    // Two programs, three images, one layer, one archive.
    assert_eq!(one.build(), 7);
    assert_eq!(two.build(), 7);
    for made in MADE {
        let (a, b) = (one.outputs().join(made), two.outputs().join(made));
        let same = if a.is_dir() {
            files(&a) == files(&b)
        } else {
            std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap()
        };
        assert!(same, "{made}");
    }

    // By hand it is the same.
    let sandbox = Sandbox::new();
    for arch in ["amd64", "arm64"] {
        symlink(one.outputs().join(format!("hello_{arch}")), sandbox.path(&format!("src/hello_{arch}")))
            .unwrap();
    }
    let programs = "--binary linux/amd64=hello_amd64 --binary linux/arm64=hello_arm64";
    let by_hand = sandbox.run(&format!("gimg pack {programs} -o oci:index --digest-file d")).ok();
    assert_eq!(one.digest("index"), format!("{}\n", by_hand.digest()));
    assert_eq!(files(&one.outputs().join("index")), files(&sandbox.path("src/index")));
    let web = one.example().join("web.html");
    let line = "gimg layer --binary linux/arm64=hello_arm64 --out l.tar --metadata l.json --file";
    sandbox.run_with(line, &[&format!("{}=/srv/www/index.html", web.display())]).ok();
    assert_eq!(
        std::fs::read(sandbox.path("src/l.json")).unwrap(),
        std::fs::read(one.outputs().join("layer.json")).unwrap()
    );
    assert_eq!(one.layers("derived")[..3], one.layers("image")[..]);

    // It goes to a registry, by another name for the second tag.
    let registry = TestRegistry::start();
    let place = format!("{}/org/hello", registry.host());
    let output = two.command(&["run", "//:push", "--", &place]).output().unwrap();
    let ran = Ran::of("bazel run //:push", output).ok();
    let digest = one.digest("index").trim_end().to_owned();
    assert_eq!(ran.stdout, format!("{place}@{digest}\n"), "{}", ran.stderr);
    let tags = registry.tags("org/hello");
    assert_eq!(tags, BTreeMap::from(["latest", "v1"].map(|tag| (tag.to_owned(), digest.clone()))));
    assert_eq!(registry.incomplete(), Vec::<String>::new());

    // Nothing changed; a label; a comment in the program, which its bytes don't show; the program.
    assert_eq!(one.build(), 0);
    let (images, layers) = (["image", "derived", "index"].map(|t| one.digest(t)), one.layers("image"));
    one.edit("BUILD.bazel", "{\"team\": \"a=b\"}", "{\"team\": \"c\"}");
    assert_eq!(one.build(), 3, "the image, the one above it, and the archive");
    assert_eq!(one.layers("image"), layers);
    assert_ne!(one.digest("image"), images[0]);
    assert_eq!(one.digest("index"), images[2]);
    one.edit("cmd/hello/main.go", "// The program of the example.", "// The program.");
    assert_eq!(one.build(), 2, "the compiles, and no image");
    one.edit("cmd/hello/main.go", "hello from", "hullo from");
    assert_eq!(one.build(), 7);
    let changed = one.layers("image");
    let differ: Vec<bool> = layers.iter().zip(&changed).map(|(a, b)| a != b).collect();
    assert_eq!(differ, [false, false, true], "the base, the file, the program");
    assert_ne!(one.digest("index"), images[2]);
}

#[test]
#[ignore = "integration: needs Bazel and podman"]
fn integration_bazel_run_loads_into_podman() {
    tool("bazel");
    let bazel = Bazel::new();
    let podman = tool("podman");
    // An engine of its own, which forgets all.
    let bin = bazel.dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let at = |sub: &str| bazel.dir.path().join(sub).display().to_string();
    let own =
        format!("{} --root {} --runroot {} --storage-driver vfs", podman.display(), at("images"), at("run"));
    std::fs::write(bin.join("podman"), format!("#!/bin/sh\nexec {own} \"$@\"\n")).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(bin.join("podman")).status().unwrap().success());
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let built = bazel.command(&["build", "//:image"]).env("PATH", &path).output().unwrap();
    Ran::of("bazel build //:image", built).ok();
    let output = bazel.command(&["run", "//:load"]).env("PATH", &path).output().unwrap();
    Ran::of("bazel run //:load", output).ok();
    let mut words = own.split(' ');
    let mut inspect = Command::new(words.next().unwrap());
    inspect.args(words).args([
        "image",
        "inspect",
        "--format",
        "{{.Id}} {{.Architecture}}",
        "localhost/hello:latest",
    ]);
    let found = Ran::of("podman image inspect", inspect.output().unwrap()).ok().stdout;
    let layout = Layout::at(bazel.outputs().join("image"));
    let config = layout.root()["config"]["digest"].as_str().unwrap_or_default().to_owned();
    assert_eq!(found.trim_end(), format!("{} amd64", config.trim_start_matches("sha256:")));
}
