//! The same faults for gimg, crane and ko: who succeeds, who fails cleanly, who leaves something wrong, and how
//! much each sends twice.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::case::CANARY;
use super::command::{clean_config, login};
use crate::support::bases;
use crate::support::registry::{Config, Fault, Handle, TestRegistry, When};
use crate::support::{Ran, Sandbox};

/// Most of the time is waiting.
const AT_ONCE: usize = 8;

/// Who pushes: a layout by `gimg push` and `crane push`, a program by `gimg build` and `ko build`.
type Rivals = [(&'static str, &'static str); 2];

const PUSHES: Rivals =
    [("gimg push", "gimg push LAYOUT HOST/app:v1"), ("crane push", "crane push LAYOUT HOST/app:v1 --index")];

const BUILDS: Rivals = [
    (
        "gimg build",
        "gimg build ./cmd/hello --bare -t v1 --platform linux/amd64,linux/arm64 --base HOST/base/two:v1 --sbom none",
    ),
    ("ko build", "ko build ./cmd/hello --bare -t v1 --platform linux/amd64,linux/arm64"),
];

/// Plans a fault, for the request with this number if it hits single ones.
type Plan = Box<dyn Fn(&Handle, usize) + Send + Sync>;

/// A fault; one that hits single requests is tried at each.
struct Kind {
    name: &'static str,
    everywhere: bool,
    plan: Plan,
}

fn each(name: &'static str, fault: fn() -> Fault) -> Kind {
    Kind { name, everywhere: true, plan: Box::new(move |r, at| r.fail(When::Nth(at), fault())) }
}

fn always(name: &'static str, plan: impl Fn(&Handle) + Send + Sync + 'static) -> Kind {
    Kind { name, everywhere: false, plan: Box::new(move |r, _| plan(r)) }
}

fn kinds() -> Vec<Kind> {
    let unknown = || Fault::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    vec![
        each("connection reset, and the next two", || Fault::ResetConnects(2)),
        each("reset after half of a body", || Fault::ResetAfter(50)),
        each("reset after a body, nothing done", || Fault::Dropped),
        each("done, but the answer is lost", || Fault::Lost),
        each("503", || Fault::status(503)),
        Kind {
            name: "500 three times",
            everywhere: true,
            plan: Box::new(|r, at| r.fail_from(at, 3, Fault::status(500))),
        },
        each("429 with Retry-After: 2", || Fault::busy("2")),
        each("403 that means 429", || {
            Fault::error(403, "DENIED", "You have exceeded a secondary rate limit")
        }),
        each("the token ends in the request", || Fault::Expired),
        each("answer cut", || Fault::Truncate(1)),
        always("429 for 3 s with Retry-After: 1", |r| {
            r.fail(When::Until(std::time::Instant::now() + Duration::from_secs(3)), Fault::busy("1"));
        }),
        always("404 BLOB_UPLOAD_UNKNOWN, though stored", move |r| {
            r.fail(When::times(2, "PUT", "/uploads/"), unknown().done());
        }),
        always("content seen 5 requests late", |r| {
            r.configure(|c| (c.late_blobs, c.late_manifests) = (5, 5));
        }),
        always("location with `_state=a%2Bb==`", |r| r.configure(|c| c.state = "a%2Bb==")),
        always("413 above 4 MiB", |r| r.configure(|c| c.max_body = 4 << 20)),
        always("no chunks", |r| r.configure(|c| c.patches = false)),
        always("the tag may not move", |r| r.configure(|c| c.mutable_tags = false)),
        always("201 for manifests that are not stored", |r| {
            r.fail(When::always("PUT", "/manifests/sha256:"), Fault::status(201));
            r.fail(When::always("PUT", "/manifests/v1"), Fault::status(201));
        }),
    ]
}

/// How pushes under one fault ended.
#[derive(Clone, Default)]
struct Tally {
    pushed: usize,
    failed: usize,
    wrong: Vec<String>,
    /// Bytes beyond those of a push without faults.
    resent: usize,
}

struct Stage {
    registry: TestRegistry,
    sandbox: Sandbox,
}

impl Stage {
    fn new(config: Config) -> Self {
        let registry = TestRegistry::with(config);
        bases::publish(&registry);
        let host = registry.host();
        let sandbox = Sandbox::go("hello").env("KO_DOCKER_REPO", &format!("{host}/app"));
        let sandbox = sandbox.env("KO_DEFAULTBASEIMAGE", &format!("{host}/base/two:v1"));
        std::fs::create_dir_all(sandbox.path("home/.docker")).unwrap();
        std::fs::write(sandbox.path("home/.docker/config.json"), login(&host)).unwrap();
        // Somebody's image is there already.
        for digest in old_blobs(&registry) {
            registry.put_blob("app", registry.bytes("base/image", &digest));
        }
        let old = registry.tags("base/image")["v1"].clone();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        registry.put_manifest("app", "v1", media_type, registry.bytes("base/image", &old));
        Stage { registry, sandbox }
    }

    fn run(&self, line: &str, layout: &str) -> Ran {
        self.sandbox.run(&line.replace("LAYOUT", layout).replace("HOST", &self.registry.host()))
    }
}

/// What the older image consists of.
fn old_blobs(registry: &TestRegistry) -> Vec<String> {
    let bytes = registry.bytes("base/image", &registry.tags("base/image")["v1"]);
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.chain([&manifest["config"]]).map(|d| d["digest"].as_str().unwrap().to_owned()).collect()
}

/// One push under a fault; how it ended goes into the tally.
fn push(kind: &Kind, at: usize, line: &str, layout: &str, clean: usize, tally: &Mutex<Tally>) {
    let stage = Stage::new(clean_config());
    let before = stage.registry.tags("app")["v1"].clone();
    (kind.plan)(&stage.registry, at);
    let ran = stage.run(line, layout);
    let received = stage.registry.received();
    let after = stage.registry.tags("app").get("v1").cloned();
    let incomplete = stage.registry.incomplete();
    // What should be there: the same without faults.
    stage.registry.heal();
    stage.registry.configure(|config| *config = clean_config());
    let healed = stage.run(line, layout);
    let new = stage.registry.tags("app")["v1"].clone();
    let mut tally = tally.lock().unwrap();
    let mut wrong = |why: String| tally.wrong.push(format!("{} at {at}: {why}", kind.name));
    if !incomplete.is_empty() {
        wrong(format!("incomplete: {incomplete:?}"));
    } else if healed.code != 0 {
        wrong(format!("the next push fails: {}", healed.stderr));
    } else if ran.code == 0 && after.as_ref() != Some(&new) {
        wrong("success, but the tag names another image".to_owned());
    } else if ran.code != 0 && after.as_ref() != Some(&before) {
        wrong("failure, but the tag has moved".to_owned());
    } else if ran.code == 0 {
        tally.pushed += 1;
        tally.resent += received.saturating_sub(clean);
    } else {
        tally.failed += 1;
    }
}

#[test]
#[ignore = "soak: some hundred pushes by gimg and by crane"]
fn soak_gimg_and_crane_push_under_the_same_faults() {
    compare(&PUSHES, 1);
}

#[test]
#[ignore = "soak: some hundred builds by gimg and by ko"]
fn soak_gimg_and_ko_build_under_the_same_faults() {
    compare(&BUILDS, 3);
}

/// Each under each fault at every request whose number `step` divides; prints a table.
fn compare(rivals: &Rivals, step: usize) {
    let source = Sandbox::go("hello");
    source.run("gimg build ./cmd/hello --platform linux/amd64,linux/arm64 -o oci:out").ok();
    let layout = source.path("src/out").display().to_string();
    let kinds = kinds();
    let mut jobs = Vec::new();
    for (who, (name, line)) in rivals.iter().enumerate() {
        let stage = Stage::new(clean_config());
        let ran = stage.run(line, &layout);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        let (requests, bytes) = (stage.registry.log().len(), stage.registry.received());
        println!("{name}: {requests} requests, {bytes} bytes without faults");
        for (kind, fault) in kinds.iter().enumerate() {
            let most = if fault.everywhere { requests } else { 1 };
            jobs.extend((0..most).step_by(step).map(|at| (who, kind, at, bytes)));
        }
    }
    let tallies: BTreeMap<_, _> = jobs.iter().map(|j| ((j.0, j.1), Mutex::new(Tally::default()))).collect();
    let next = AtomicUsize::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((who, kind, at, bytes)) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                    push(&kinds[*kind], *at, rivals[*who].1, &layout, *bytes, &tallies[&(*who, *kind)]);
                }
            });
        }
    });
    let mut text = String::from("| fault |");
    for (name, _) in rivals {
        let _ = write!(text, " {name} |");
    }
    text.push_str("\n|---|---|---|\n");
    let tally = |who: usize, kind: usize| tallies[&(who, kind)].lock().unwrap().clone();
    for (kind, fault) in kinds.iter().enumerate() {
        let _ = write!(text, "| {} |", fault.name);
        for who in 0..rivals.len() {
            let t = tally(who, kind);
            let all = t.pushed + t.failed + t.wrong.len();
            let _ = write!(
                text,
                " {}/{all}, {} wrong, {} KiB again in all |",
                t.pushed,
                t.wrong.len(),
                t.resent >> 10
            );
        }
        text.push('\n');
    }
    println!("{text}");
    let mut wrong = Vec::new();
    for (who, (name, _)) in rivals.iter().enumerate() {
        let all: Vec<_> = (0..kinds.len()).flat_map(|kind| tally(who, kind).wrong).collect();
        println!("{name}: {} wrong\n{}", all.len(), all.join("\n"));
        if name.starts_with("gimg") {
            wrong.extend(all);
        }
    }
    assert!(!text.contains(CANARY));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
