//! ko and gimg on the same inputs: what each said and made, as facts.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::engine::FakeEngine;
use super::facts::{Facts, Key, Witness};
use super::registry::TestRegistry;
use super::{Sandbox, bases, read_tar_bytes, sha256};

/// One set of inputs. Words for both tools, with `{repo}`, `{host}` and `{out}` replaced for each.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    base: String,
    files: Vec<(String, String, u32)>,
    links: Vec<(String, String)>,
    env: Vec<(String, String)>,
    dir: String,
    both: Vec<String>,
    ko: Vec<String>,
    gimg: Vec<String>,
    repo: bool,
    git: bool,
    engine: bool,
    /// The differences, of those that aren't in every image, that must be seen.
    pub(crate) differs: Vec<&'static str>,
    /// Whether both must fail.
    pub(crate) fails: bool,
}

/// A tiny program, over the base `image`, pushed to a repository.
pub(crate) fn case(name: &'static str) -> Case {
    let case = Case {
        name,
        base: "image".to_owned(),
        files: Vec::new(),
        links: Vec::new(),
        env: Vec::new(),
        dir: String::new(),
        both: Vec::new(),
        ko: Vec::new(),
        gimg: Vec::new(),
        repo: true,
        git: false,
        engine: false,
        differs: Vec::new(),
        fails: false,
    };
    case.module("example.com/tiny").file("main.go", MAIN)
}

/// The source of a program.
pub(crate) const MAIN: &str = "package main\n\nfunc main() { println(\"tiny\") }\n";

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(str::to_owned)
}

impl Case {
    /// The base `base/<name>:v1`, or a reference with a registry of its own; see `bases.rs`.
    pub(crate) fn base(mut self, name: &str) -> Self {
        self.base = name.to_owned();
        self
    }

    /// The module's path.
    pub(crate) fn module(self, path: &str) -> Self {
        self.file("go.mod", &format!("module {path}\n\ngo 1.21\n"))
    }

    /// A file of the tree; the last one of a name counts.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.file_with_mode(path, text, 0o644)
    }

    /// A file that its owner may execute.
    pub(crate) fn executable(self, path: &str, text: &str) -> Self {
        self.file_with_mode(path, text, 0o755)
    }

    fn file_with_mode(mut self, path: &str, text: &str, mode: u32) -> Self {
        self.files.retain(|(p, ..)| p != path);
        self.files.push((path.to_owned(), text.to_owned(), mode));
        self
    }

    /// A program in a folder.
    pub(crate) fn main(self, folder: &str) -> Self {
        self.file(&format!("{folder}/main.go"), MAIN)
    }

    /// Without a file that was there.
    pub(crate) fn no_file(mut self, path: &str) -> Self {
        self.files.retain(|(p, ..)| p != path);
        self
    }

    /// A symbolic link of the tree.
    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.links.push((path.to_owned(), target.to_owned()));
        self
    }

    /// A variable for both.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Where both run, below the tree.
    pub(crate) fn cd(mut self, dir: &str) -> Self {
        self.dir = dir.to_owned();
        self
    }

    /// Arguments of both, split at blanks.
    pub(crate) fn run(mut self, line: &str) -> Self {
        self.both.extend(words(line));
        self
    }

    /// One argument of both, with its blanks.
    pub(crate) fn arg(mut self, word: &str) -> Self {
        self.both.push(word.to_owned());
        self
    }

    /// Arguments of ko alone, where the two spell something in two ways.
    pub(crate) fn ko(mut self, line: &str) -> Self {
        self.ko.extend(words(line));
        self
    }

    /// Arguments of gimg alone.
    pub(crate) fn gimg(mut self, line: &str) -> Self {
        self.gimg.extend(words(line));
        self
    }

    /// Without a repository in the environment.
    pub(crate) fn no_repo(mut self) -> Self {
        self.repo = false;
        self
    }

    /// With a Docker engine in place of a repository.
    pub(crate) fn engine(mut self, repo: &str) -> Self {
        self.engine = true;
        self.repo = false;
        if repo.is_empty() { self } else { self.env("KO_DOCKER_REPO", repo) }
    }

    /// In a git repository with one commit, tagged v1.2.3.
    pub(crate) fn git(mut self) -> Self {
        self.git = true;
        self
    }

    /// Names a difference on purpose that must be seen.
    pub(crate) fn differs(mut self, id: &'static str) -> Self {
        self.differs.push(id);
        self
    }

    /// Both must fail.
    pub(crate) fn fails(mut self) -> Self {
        self.fails = true;
        self
    }

    /// Writes the tree.
    fn sandbox(&self, host: &str) -> Sandbox {
        let sandbox = Sandbox::new();
        for (path, text, mode) in &self.files {
            sandbox.write(path, &text.replace("{host}", host));
            let path = sandbox.cwd().join(path);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)).unwrap();
        }
        for (path, target) in &self.links {
            let path = sandbox.cwd().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }
        if self.git {
            let who =
                "-c user.name=t -c user.email=t@example.com -c commit.gpgsign=false -c tag.gpgsign=false";
            for line in ["init -q -b main", "add .", "commit -q -m all", "tag v1.2.3"] {
                let mut git = sandbox.command(&format!("git {who} {line}"));
                let date = "2021-02-03T04:05:06Z";
                git.env("GIT_COMMITTER_DATE", date).env("GIT_AUTHOR_DATE", date);
                assert!(git.status().unwrap().success());
            }
        }
        sandbox
    }
}

/// What one tool did.
pub(crate) struct Outcome {
    pub(crate) success: bool,
    /// Both streams.
    pub(crate) said: String,
    pub(crate) facts: Facts,
}

/// A registry with the bases, and a `go` that compiles each program once.
pub(crate) struct Lab {
    registry: TestRegistry,
    /// Their names and digests.
    bases: Vec<(String, String)>,
    go: PathBuf,
    _dir: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let registry = TestRegistry::start();
        bases::publish(&registry);
        let dir = tempfile::tempdir().unwrap();
        let go = remembering_go(dir.path());
        let names = registry.repositories();
        let bases = names.into_iter().map(|n| (n.clone(), registry.tags(&n)["v1"].clone())).collect();
        Lab { registry, bases, go, _dir: dir }
    }

    /// Runs ko, then gimg, on fresh copies of the case's tree.
    pub(crate) fn run(&self, case: &Case) -> (Outcome, Outcome) {
        (self.tool("ko", case), self.tool("gimg", case))
    }

    fn tool(&self, tool: &str, case: &Case) -> Outcome {
        let words = case.name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
        let space = words.collect::<Vec<_>>().join("-");
        let host = self.registry.host();
        let sandbox = case.sandbox(&host);
        let space = format!("{}/{tool}", space.to_lowercase());
        let (repo, out) = (format!("{host}/{space}"), "out");
        let filled =
            |word: &String| word.replace("{repo}", &repo).replace("{host}", &host).replace("{out}", out);
        let own = if tool == "ko" { &case.ko } else { &case.gimg };
        let base = match case.base.as_str() {
            "" => None,
            name if name.contains('/') => Some(name.replace("{host}", &host)),
            name => Some(format!("{host}/base/{name}:v1")),
        };
        let mut command = sandbox.command(&format!("{tool} build"));
        let cwd = sandbox.cwd().join(&case.dir);
        command.current_dir(&cwd).env("KO_GO_PATH", &self.go);
        if case.repo {
            command.env("KO_DOCKER_REPO", &repo);
        }
        command.envs(base.map(|b| ("KO_DEFAULTBASEIMAGE", b)));
        if tool == "ko" {
            // Their documents aren't compared: gimg attaches none.
            command.arg("--sbom=none");
        }
        let engine = case.engine.then(|| FakeEngine::start("x86_64"));
        command.envs(engine.iter().map(|e| ("DOCKER_HOST", e.host())));
        command.envs(case.env.iter().map(|(k, v)| (k, filled(v))));
        command.args(own.iter().chain(&case.both).map(filled));
        let output = command.output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        let mut outcome = Outcome {
            success: output.status.success(),
            said: format!("$ {tool} {:?}\n{stdout}{stderr}", command.get_args().collect::<Vec<_>>()),
            facts: Facts::new(),
        };
        let mut roots = self.pushed(&space, &mut outcome.facts);
        roots.extend(self.written(&cwd.join(out), &mut outcome.facts));
        if tool == "gimg" && !outcome.success {
            assert!(outcome.facts.is_empty(), "{}: left behind: {:?}", case.name, outcome.facts);
        }
        if let Some(engine) = &engine {
            let names: BTreeSet<String> = engine.names().into_keys().map(|n| without_digest(&n)).collect();
            if !names.is_empty() {
                say(&mut outcome.facts, "engine", "names", format!("{names:?}"));
            }
            for image in engine.images() {
                self.archived(&image.files, &mut outcome.facts);
            }
        }
        if let Ok(text) = std::fs::read_to_string(cwd.join("refs.txt")) {
            say(&mut outcome.facts, "file of references", "", self.references(&text, &repo, &roots));
        }
        let alike = |text: &str| {
            let text = roots.iter().fold(text.to_owned(), |text, root| text.replace(root, "DIGEST"));
            self.bases.iter().fold(text.replace(&repo, "REPO"), |text, (base, digest)| {
                text.replace(digest, &format!("DIGEST OF {base}"))
            })
        };
        // Of an image that wasn't published the digest is all there is.
        let unseen = |line: &str| match line.split_once("@sha256:") {
            _ if case.engine => without_digest(line),
            Some((name, hex)) if roots.is_empty() && hex.len() == 64 => format!("{name}@DIGEST"),
            _ => line.to_owned(),
        };
        let mut lines: Vec<String> = stdout.lines().map(unseen).collect();
        // ko's order is random.
        lines.sort_unstable();
        say(&mut outcome.facts, "standard output", "", lines.join("\n"));
        for value in outcome.facts.values_mut() {
            *value = alike(value);
        }
        outcome
    }

    /// Facts about what a tool pushed below `space`; gives the digests that tags have.
    fn pushed(&self, space: &str, facts: &mut Facts) -> Vec<String> {
        let mut roots = Vec::new();
        let repositories = self.registry.repositories();
        for repo in repositories.iter().filter(|r| r.as_str() == space || r.starts_with(&format!("{space}/")))
        {
            let tags = self.registry.tags(repo);
            let mut digests: Vec<String> = tags.values().cloned().collect();
            digests.sort();
            digests.dedup();
            let name = format!("REPO{}", repo.strip_prefix(space).unwrap());
            let names: Vec<&str> = tags.keys().map(String::as_str).collect();
            say_of(facts, &name, "repository", "tags", names.join(","));
            assert!(digests.len() <= 1, "{repo}: {tags:?}");
            for digest in digests {
                let fetch = |digest: &str| self.registry.bytes(repo, digest).to_vec();
                self.witness(&name, &fetch, facts, |w| w.root(&fetch(&digest)));
                roots.push(digest);
            }
        }
        roots
    }

    /// What `--image-refs` wrote, with the digests of the images of an index by another word.
    fn references(&self, text: &str, repo: &str, roots: &[String]) -> String {
        let line = |line: &str| {
            let (name, digest) = line.split_once('@').unwrap_or((line, ""));
            if roots.iter().any(|r| r == digest) {
                return line.to_owned();
            }
            // It must be there.
            let path = name.split_once('/').unwrap().1;
            assert!(!self.registry.bytes(path, digest).is_empty());
            format!("{name}@CHILD")
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n").replace(repo, "REPO")
    }

    /// Facts about a layout directory or a docker-archive; gives the digests of roots.
    fn written(&self, out: &Path, facts: &mut Facts) -> Vec<String> {
        if out.is_dir() { self.layout(out, facts) } else { self.archive(out, facts) }
    }

    fn layout(&self, out: &Path, facts: &mut Facts) -> Vec<String> {
        let read = |name: &str| std::fs::read(out.join(name)).unwrap();
        let fetch = |digest: &str| read(&format!("blobs/{}", digest.replace(':', "/")));
        let index: Value = serde_json::from_slice(&read("index.json")).unwrap();
        let version: Value = serde_json::from_slice(&read("oci-layout")).unwrap();
        say(facts, "layout", "version", version.to_string());
        let mut roots = Vec::new();
        for (number, entry) in index["manifests"].as_array().unwrap().iter().enumerate() {
            let name = format!("entry {number}");
            for (field, value) in entry.as_object().unwrap() {
                if !["digest", "size"].contains(&field.as_str()) {
                    say_of(facts, &name, "entry of the layout", field, super::facts::sorted(value));
                }
            }
            let digest = entry["digest"].as_str().unwrap().to_owned();
            self.witness(&name, &fetch, facts, |w| w.root(&fetch(&digest)));
            roots.push(digest);
        }
        roots
    }

    /// Facts about a docker-archive.
    fn archive(&self, out: &Path, facts: &mut Facts) -> Vec<String> {
        // A failing ko leaves an empty file.
        match std::fs::read(out).ok().filter(|b| !b.is_empty()) {
            Some(bytes) => self.archived(&read_tar_bytes(&bytes), facts),
            None => Vec::new(),
        }
    }

    /// A docker-archive has no manifest of its own: one is made up, so that its config and layers can be told.
    fn archived(&self, files: &BTreeMap<String, Vec<u8>>, facts: &mut Facts) -> Vec<String> {
        let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
        let images = manifest.as_array().unwrap();
        let mut roots = Vec::new();
        for image in images {
            // Of several tags ko's order is random.
            let mut tags: Vec<&Value> = image["RepoTags"].as_array().unwrap().iter().collect();
            tags.sort_by_key(|t| t.to_string());
            say(facts, "archive", "tags", without_digest(&serde_json::json!(tags).to_string()));
            let mut blobs = BTreeMap::new();
            let mut descriptor = |name: &Value, media_type: &str| {
                let bytes = files[name.as_str().unwrap()].clone();
                let (digest, size) = (format!("sha256:{}", sha256(&bytes)), bytes.len());
                blobs.insert(digest.clone(), bytes);
                serde_json::json!({"mediaType": media_type, "digest": digest, "size": size})
            };
            let config = descriptor(&image["Config"], "config");
            let layers: Vec<Value> =
                image["Layers"].as_array().unwrap().iter().map(|l| descriptor(l, "layer")).collect();
            roots.push(config["digest"].as_str().unwrap().to_owned());
            let manifest = serde_json::json!({"mediaType": "none", "config": config, "layers": layers});
            let fetch = |digest: &str| blobs[digest].clone();
            self.witness("archive", &fetch, facts, |w| w.root(manifest.to_string().as_bytes()));
        }
        roots
    }

    fn witness(
        &self,
        name: &str,
        fetch: super::facts::Fetch<'_>,
        facts: &mut Facts,
        look: impl FnOnce(&mut Witness<'_>),
    ) {
        let base = bases::layer_digest();
        look(&mut Witness { name, fetch, is_base: &|digest| digest == base, facts });
    }
}

fn say(facts: &mut Facts, item: &str, part: &str, value: String) {
    say_of(facts, "", item, part, value);
}

fn say_of(facts: &mut Facts, image: &str, item: &str, part: &str, value: String) {
    let (image, platform) = (image.to_owned(), String::new());
    facts.insert(Key { image, platform, item: item.to_owned(), part: part.to_owned() }, value);
}

/// A name whose tag is a digest's hex, as engines get it, without that; and without what Docker adds to names.
fn without_digest(text: &str) -> String {
    let text = text.replace("docker.io/library/", "");
    let is_hex = |w: &str| w.len() == 64 && w.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = text.split(':').map(|part| {
        let (word, rest) = part.split_at(part.find(['"', ',']).unwrap_or(part.len()));
        if is_hex(word) { format!("DIGEST{rest}") } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join(":")
}

/// A `go` that is the real one, except that `go build` of something that it built before, with the same source,
/// flags and variables, gives that again.
fn remembering_go(dir: &Path) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|d| d.join("go")).find(|p| p.is_file()).expect("go on PATH");
    let version = Command::new(&real).arg("version").output().unwrap().stdout;
    // Another toolchain, another memory.
    let memory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs").join(&sha256(&version)[..12]);
    std::fs::create_dir_all(&memory).unwrap();
    let script = SCRIPT.replace("@GO@", real.to_str().unwrap()).replace("@MEMORY@", memory.to_str().unwrap());
    let go = dir.join("go");
    std::fs::write(&go, script).unwrap();
    std::fs::set_permissions(&go, std::fs::Permissions::from_mode(0o755)).unwrap();
    go
}

const SCRIPT: &str = r#"#!/bin/sh
[ "$1" = build ] || exec @GO@ "$@"
out= ; flags= ; last=
for word; do
	case $last,$word in
	-o,*) out=$word ;;
	*,-o) ;;
	*,-o=*) out=${word#-o=} ;;
	*) flags="$flags $word" ;;
	esac
	last=$word
done
key=$({
	echo "$flags"
	env | grep -E '^C?GO' | grep -vE '^(GOTMPDIR|GOENV|GOCACHE|GOMODCACHE|GOPROXY|GOSUMDB)=' | sort
	find "$(@GO@ env GOMOD | xargs dirname)" \( -name '*.go' -o -name go.mod \) -type f | sort | xargs cat
} | sha256sum | cut -d' ' -f1)
kept=@MEMORY@/$key
if [ ! -e "$kept" ]; then
	@GO@ "$@" || exit
	new=$(mktemp -d @MEMORY@/new.XXXXXX)
	cp -R "$out" "$new/"
	mv -T "$new" "$kept" 2>/dev/null || rm -rf "$new"
	exit 0
fi
case $out in
*/) cp -R "$kept"/*/. "$out" ;;
*) cp "$kept"/* "$out" ;;
esac
"#;
