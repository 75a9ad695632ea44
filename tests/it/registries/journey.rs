//! One image's way into a registry and back, watched by other clients.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::real;
use crate::support::canary::SECRET;
use crate::support::setups::{Asks, Make, Setup};
use crate::support::{Layout, Ran, Sandbox, root};

pub(super) const BOTH: &str = "--platform linux/amd64,linux/arm64";

/// A two-platform image in a layout.
pub(super) struct Program {
    _sandbox: Sandbox,
    pub(super) layout: PathBuf,
    pub(super) digest: String,
}

impl Program {
    /// A sample program.
    pub(super) fn sample() -> Self {
        Self::build(Sandbox::go("hello"), "./cmd/other")
    }

    /// A sample program with data.
    pub(super) fn hello() -> Self {
        Self::build(Sandbox::go("hello"), "./cmd/hello")
    }

    /// crane, from its sources; none where they can't be had.
    pub(super) fn real() -> Option<Self> {
        Some(Self::build(real::module(real::GO_CONTAINERREGISTRY)?, "./cmd/crane"))
    }

    /// An image with one large layer (`size` bytes that don't compress) and little else.
    pub(super) fn large(size: usize) -> Self {
        let sandbox = Sandbox::go("hello");
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(size)
        .collect();
        std::fs::write(sandbox.path("src/cmd/hello/kodata/noise"), noise).unwrap();
        Self::build(sandbox, "./cmd/hello")
    }

    fn build(sandbox: Sandbox, package: &str) -> Self {
        let line = format!("gimg build {package} {BOTH} --ldflags -s -o oci:../image --tags v1");
        let digest = sandbox.run(&line).ok().digest();
        Program { layout: sandbox.path("image"), digest, _sandbox: sandbox }
    }

    /// The size of the largest blob.
    pub(super) fn largest(&self) -> u64 {
        let blobs = std::fs::read_dir(self.layout.join("blobs/sha256")).unwrap();
        blobs.map(|b| b.unwrap().metadata().unwrap().len()).max().unwrap()
    }

    /// The command that pushes it to `image` as `v1`.
    pub(super) fn push(&self, image: &str) -> String {
        format!("gimg push {} {image} -t v1 -v", self.layout.display())
    }
}

/// Pushes `program` and what builds on it to a registry, and has others look; `all` for those that aren't installed
/// for `make test`. Says what was done.
pub(super) fn journey(setup: Setup, program: &Program, all: bool) -> String {
    let registry = setup.start();
    let host = registry.host();
    let sandbox = setup.sandbox(&host);
    let image = format!("{host}/team/app");
    let mut done = Vec::new();

    if setup.asks != Asks::Nobody {
        let stranger = Setup { asks: Asks::Nobody, ..setup }.sandbox(&host);
        stranger.run(&program.push(&image)).fails(6, &["401 Unauthorized", &format!("gimg login {host}")]);
        done.push("stranger refused".to_owned());
    }

    let first = sandbox.run(&program.push(&image)).ok();
    assert_eq!(first.digest(), program.digest);
    assert!(first.stderr.contains(": put "), "{}", first.stderr);
    let again = sandbox.run(&program.push(&image)).ok();
    assert_eq!(again.digest(), program.digest);
    for word in [": put ", ": mounted ", "retry:"] {
        assert!(!again.stderr.contains(word), "the second push:\n{}", again.stderr);
    }
    let requests = |ran: &Ran| -> u32 {
        let line = ran.stderr.lines().find_map(|l| l.strip_suffix(" requests to registries"));
        line.unwrap().parse().unwrap()
    };
    // What is the registry's way in, who is there, and what does the tag mean: for one open to all over http, two.
    assert!(requests(&again) <= 5, "{} requests of a push of what is there", requests(&again));
    done.push(format!("pushed ({} requests), pushed again ({})", requests(&first), requests(&again)));
    others_read(setup, &sandbox, &format!("{image}:v1"), program, all);
    done.push("read back".to_owned());

    // A base that comes from the same registry, and a tag that moves.
    let base = format!("{host}/team/base");
    let ran = sandbox.run(&format!("gimg build ./cmd/other {BOTH} --repo {base} --bare --tags v1")).ok();
    let base_digest = ran.digest();
    let line = "gimg build ./cmd/other --ldflags -s --image-label derived=yes --bare --tags v1 -v";
    let line = format!("{line} {BOTH} --base {base}:v1 --repo");
    let derived = sandbox.run(&format!("{line} {host}/team/derived")).ok();
    let moved = sandbox.run(&format!("{line} {image}")).ok();
    assert_ne!(moved.digest(), program.digest);
    assert_eq!(moved.digest(), derived.digest());
    assert_eq!(inspect(setup, &sandbox, &format!("{image}:v1"))["Digest"], *moved.digest());
    let old = format!("{image}@{}", program.digest);
    assert_eq!(inspect(setup, &sandbox, &old)["Digest"], *program.digest);
    done.push("tag moved".to_owned());
    let raw = sandbox.run(&format!("skopeo inspect --raw {} docker://{image}:v1", tls_flag(setup, "")));
    let index: Value = serde_json::from_str(&raw.ok().stdout).unwrap();
    assert_eq!(index["annotations"]["org.opencontainers.image.base.digest"], base_digest);

    // The base's layers are not sent again.
    let copy = copied(setup, &sandbox, &format!("{base}:v1"), "base");
    for manifest in copy.images().values() {
        for layer in manifest["layers"].as_array().unwrap() {
            let verb = if setup.shares_blobs() { "has" } else { "mounted" };
            let line = format!("{host}/team/derived: {verb} {}", layer["digest"].as_str().unwrap());
            assert!(derived.stderr.contains(&line), "no {line:?} in:\n{}", derived.stderr);
        }
    }
    done.push(if setup.shares_blobs() { "base there" } else { "base mounted" }.to_owned());
    done.join(", ")
}

/// Other clients find at `image` what the program's layout holds.
fn others_read(setup: Setup, sandbox: &Sandbox, image: &str, program: &Program, all: bool) {
    // It takes no token server at another port of this machine.
    if !setup.has_token_server() {
        sandbox.run(&format!("crane validate --remote {image}")).ok();
        assert_eq!(sandbox.run(&format!("crane digest {image}")).ok().stdout.trim(), program.digest);
    }
    assert_eq!(inspect(setup, sandbox, image)["Digest"], *program.digest);
    copied(setup, sandbox, image, "skopeo");
    same_blobs(sandbox, "skopeo", &program.layout);
    if !all {
        return;
    }
    pulled_back(setup, sandbox, image, &program.layout);
    let from = if setup.tls { "" } else { "--from-plain-http" };
    sandbox.run(&format!("oras copy --to-oci-layout {from} {image} oras:v1")).ok();
    same_blobs(sandbox, "oras", &program.layout);
    // What others attach to it is found: the subject is what they think it is.
    sandbox.write("note.txt", "a note");
    let http = if setup.tls { "" } else { "--plain-http" };
    // olareg refuses the referrers API by 405 then, where others answer 404, and oras takes that for a failure.
    let by_tag = setup.make == Make::OlaregWithoutReferrers;
    let flags = format!("{http} {}", if by_tag { "--distribution-spec v1.1-referrers-tag" } else { "" });
    let attach = format!("oras attach {flags} --artifact-type example/note {image} note.txt:text/plain");
    sandbox.run(&attach).ok();
    let found = sandbox.run(&format!("oras discover {flags} --format json {image}")).ok().stdout;
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["digest"], *program.digest, "{found}");
    // go-containerregistry's registry says the config's media type instead.
    let odd = setup.make == Make::CraneWithReferrers;
    let kind = if odd { "application/vnd.oci.empty.v1+json" } else { "example/note" };
    assert_eq!(found["referrers"][0]["artifactType"], *kind, "{found}");
    let tags = sandbox.run(&format!("oras repo tags {http} {}", image.rsplit_once(':').unwrap().0)).ok();
    let fallback = tags.stdout.contains(&program.digest.replace(':', "-"));
    assert_eq!(fallback, !setup.names_subjects(), "{}", tags.stdout);
}

/// oci-client reads the image and compares it with the layout, byte for byte.
fn pulled_back(setup: Setup, sandbox: &Sandbox, image: &str, layout: &Path) {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        let target = root().join("target/oci-client");
        let status = std::process::Command::new(env!("CARGO"))
            .args(["build", "--locked", "--quiet", "--manifest-path"])
            .arg(root().join("tests/oci-client/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .status();
        assert!(status.unwrap().success());
        target.join("debug/pulled-back")
    });
    let credentials = if setup.asks == Asks::Nobody { String::new() } else { format!("user {SECRET}") };
    let (program, scheme, layout) = (program.display(), setup.scheme(), layout.display());
    let said = sandbox.run(&format!("{program} {scheme} {image} {layout} {credentials}")).ok().stdout;
    // An index, two manifests, two configs and their layers.
    assert!(said.starts_with("the same: 3 documents, "), "{said}");
}

/// skopeo's flag for plain HTTP; `side` is `src-`, `dest-` or nothing.
pub(super) fn tls_flag(setup: Setup, side: &str) -> String {
    format!("--{side}tls-verify={}", setup.tls)
}

/// What skopeo says of an image.
fn inspect(setup: Setup, sandbox: &Sandbox, image: &str) -> Value {
    let ran = sandbox.run(&format!("skopeo inspect --no-tags {} docker://{image}", tls_flag(setup, ""))).ok();
    serde_json::from_str(&ran.stdout).unwrap()
}

/// skopeo copies the image into a layout.
pub(super) fn copied(setup: Setup, sandbox: &Sandbox, image: &str, name: &str) -> Layout {
    let flag = tls_flag(setup, "src-");
    sandbox.run(&format!("rm -rf {name}")).ok();
    sandbox.run(&format!("skopeo copy -q --all {flag} docker://{image} oci:{name}:v1")).ok();
    Layout::at(sandbox.cwd().join(name))
}

/// Two layouts hold the same blobs.
fn same_blobs(sandbox: &Sandbox, copy: &str, layout: &Path) {
    sandbox.run(&format!("diff -r {copy}/blobs {}/blobs", layout.display())).ok();
}
