//! The same by the command: `gimg build` for two platforms with a real Go toolchain.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::super::kills::nothing_runs;
use super::case::{CANARY, no_secret};
use crate::support::bases;
use crate::support::registry::{Auth, Config, Fault, Handle, TestRegistry, When};
use crate::support::{Ran, Sandbox};

/// How long a build may take, however it ends: far more than it does.
const PATIENCE: Duration = Duration::from_secs(300);
/// Most of the time is waiting.
const AT_ONCE: usize = 6;

type Plan = Box<dyn Fn(&Handle) + Send + Sync>;

/// A build under a plan of faults.
struct Step {
    plan: Plan,
    /// The exit code, and what standard error must say.
    exit: i32,
    says: Vec<String>,
}

/// Builds in one place, each under its plan, and at the end one without faults.
struct Case {
    name: String,
    config: Config,
    steps: Vec<Step>,
}

impl Case {
    fn new(name: impl Into<String>, plan: impl Fn(&Handle) + Send + Sync + 'static) -> Self {
        Case { name: name.into(), config: clean_config(), steps: Vec::new() }.step(plan)
    }

    /// Another build after that.
    fn step(mut self, plan: impl Fn(&Handle) + Send + Sync + 'static) -> Self {
        self.steps.push(Step { plan: Box::new(plan), exit: 0, says: Vec::new() });
        self
    }

    fn at(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// The last build must fail like this.
    fn fails(mut self, exit: i32, says: &[&str]) -> Self {
        let last = self.steps.last_mut().unwrap();
        (last.exit, last.says) = (exit, says.iter().map(|s| (*s).to_owned()).collect());
        self
    }
}

/// A registry that does everything and wants tokens.
pub(super) fn clean_config() -> Config {
    Config { auth: Auth::Bearer("user".to_owned(), CANARY.to_owned()), ..Config::default() }
}

/// Docker's configuration with the password for that registry.
pub(super) fn login(host: &str) -> String {
    let entry = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("user:{CANARY}"));
    format!(r#"{{"auths": {{"{host}": {{"auth": "{entry}"}}}}}}"#)
}

/// A project, a registry with a base and an older image, and somebody who may push there.
struct Stage {
    registry: TestRegistry,
    sandbox: Sandbox,
    before: BTreeMap<String, String>,
}

const LINE: &str = "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare -t v1,v2";

impl Stage {
    fn new(config: Config) -> Self {
        let registry = TestRegistry::with(config);
        let host = registry.host();
        bases::publish(&registry);
        let old = registry.bytes("base/two", &registry.tags("base/two")["v1"]);
        // The older image is the base itself: it has the same content.
        for digest in bases_content(&registry, &old) {
            registry.put_blob("app", registry.bytes("base/two", &digest));
        }
        for (tag, bytes, media_type) in manifests(&registry, &old) {
            registry.put_manifest("app", &tag, &media_type, bytes);
        }
        let sandbox = Sandbox::go("hello").env("KO_DOCKER_REPO", &format!("{host}/app"));
        let sandbox = sandbox.env("DOCKER_AUTH_CONFIG", &login(&host));
        let before = registry.tags("app");
        Stage { registry, sandbox, before }
    }

    fn build(&self) -> Ran {
        let begin = Instant::now();
        let ran = self.sandbox.run(&format!("{LINE} --base {}/base/two:v1", self.registry.host()));
        assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
        ran
    }

    /// What must hold after every build, and the tags then.
    fn check(&self, ran: &Ran) -> BTreeMap<String, String> {
        assert_eq!(self.registry.incomplete(), Vec::<String>::new(), "tags point to incomplete images");
        no_secret(&format!("{}{}", ran.stdout, ran.stderr));
        assert_eq!(self.sandbox.leftovers(), Vec::<String>::new(), "temporary files");
        nothing_runs(&self.sandbox);
        if ran.code != 0 {
            assert_eq!(ran.stdout, "", "standard output of a failure");
            assert_eq!(ran.stderr.matches("gimg: ").count(), 1, "one error:\n{}", ran.stderr);
        }
        self.registry.tags("app")
    }
}

/// The blobs of an index.
fn bases_content(registry: &TestRegistry, index: &[u8]) -> Vec<String> {
    let index: serde_json::Value = serde_json::from_slice(index).unwrap();
    let mut found = Vec::new();
    for child in index["manifests"].as_array().unwrap() {
        let manifest = registry.bytes("base/two", child["digest"].as_str().unwrap());
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        found.extend(layers.chain([&manifest["config"]]).map(|d| d["digest"].as_str().unwrap().to_owned()));
    }
    found
}

/// The manifests of an index, then the index under two tags: name, bytes and type.
fn manifests(registry: &TestRegistry, bytes: &[u8]) -> Vec<(String, bytes::Bytes, String)> {
    let index: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let children = index["manifests"].as_array().unwrap().iter();
    let children = children.map(|c| {
        (text(&c["digest"]), registry.bytes("base/two", &text(&c["digest"])), text(&c["mediaType"]))
    });
    let whole = bytes::Bytes::copy_from_slice(bytes);
    let tags = ["v1", "old"].map(|tag| (tag.to_owned(), whole.clone(), text(&index["mediaType"])));
    children.chain(tags).collect()
}

fn run(case: Case) {
    let stage = Stage::new(case.config.clone());
    let mut ends = Vec::new();
    for step in case.steps {
        (step.plan)(&stage.registry);
        let ran = stage.build();
        assert_eq!(ran.code, step.exit, "{}", ran.stderr);
        ends.push((stage.check(&ran), ran, step.says));
        stage.registry.heal();
    }
    // The same build once more, without faults.
    stage.registry.configure(|config| *config = clean_config());
    let again = stage.build().ok();
    let digest = again.digest();
    let new = BTreeMap::from(["v1", "v2"].map(|tag| (tag.to_owned(), digest.clone())));
    assert!(stage.check(&again).into_iter().all(|(tag, digest)| tag == "old" || new[&tag] == digest));
    for (tags, ran, says) in ends {
        for (tag, digest) in &tags {
            let kept = stage.before.get(tag) == Some(digest);
            assert!(kept || new.get(tag) == Some(digest), "{tag} was {digest}");
        }
        assert!(stage.before.keys().all(|tag| tags.contains_key(tag)), "a tag is gone");
        if ran.code == 0 {
            assert_eq!((ran.digest(), &tags["v1"], &tags["v2"]), (digest.clone(), &digest, &digest));
        }
        for words in says {
            let words = words.replace("DIGEST", &digest);
            assert!(ran.stderr.contains(&words), "no {words:?} in:\n{}", ran.stderr);
        }
    }
}

/// Runs the cases; all that fail are named.
fn all(cases: Vec<Case>) {
    let count = cases.len();
    let cases: Vec<_> = cases.into_iter().map(|case| Mutex::new(Some(case))).collect();
    let (next, failed) = (AtomicUsize::default(), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let case = case.lock().unwrap().take().unwrap();
                    let name = case.name.clone();
                    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(case)));
                    if let Err(panic) = ran {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failed.lock().unwrap().push(format!("{name}: {text}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {count} builds:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn builds_survive_or_end_as_the_table_says() {
    let survived = |r: &Handle| {
        r.fail(When::once("PUT", "/manifests/sha256:"), Fault::ResetConnects(2));
        r.fail(When::once("PUT", "/uploads/"), Fault::Lost);
        r.fail(When::once("PUT", "/uploads/"), Fault::Expired);
        r.fail(When::times(2, "POST", "/uploads/"), Fault::status(500));
    };
    let hour = |r: &Handle| r.fail(When::always("GET", "/base/two/"), Fault::busy("3600"));
    let no = |r: &Handle| r.fail(When::always("GET", "/token"), Fault::error(401, "UNAUTHORIZED", "no"));
    let damaged = |r: &Handle| r.fail(When::always("GET", "two/manifests/sha256:"), Fault::Flip(9));
    let cases = vec![
        Case::new("survived", survived),
        Case::new("before anything is compiled", hour)
            .fails(7, &["3600"])
            .step(no)
            .fails(6, &["hint: gimg login"])
            .step(damaged)
            .fails(8, &["base/two"]),
        Case::new("immutable tags", |_| {}).at(|c| c.mutable_tags = false).fails(10, &["v1", "DIGEST"]),
    ];
    all(cases);
}

/// A fault by its name.
type Kind = (&'static str, fn() -> Fault);

#[test]
#[ignore = "soak: some hundred builds"]
fn soak_every_kind_of_fault_at_every_request_of_a_build() {
    let stage = Stage::new(clean_config());
    stage.build().ok();
    let requests = stage.registry.log().len();
    let kinds: Vec<Kind> = vec![
        ("connections reset", || Fault::ResetConnects(2)),
        ("reset", || Fault::Reset),
        ("reset after 1 %", || Fault::ResetAfter(1)),
        ("reset after 99 %", || Fault::ResetAfter(99)),
        ("dropped", || Fault::Dropped),
        ("lost", || Fault::Lost),
        ("500", || Fault::status(500)),
        ("429", || Fault::busy("1")),
        ("rate limit", || Fault::error(403, "DENIED", "You have exceeded a secondary rate limit")),
        ("token ends", || Fault::Expired),
        ("cut", || Fault::Truncate(1)),
        ("ends early", || Fault::EndEarly(1)),
    ];
    let mut cases = Vec::new();
    for (name, fault) in kinds {
        for at in 0..requests {
            let plan = move |r: &Handle| r.fail(When::Nth(at), fault());
            cases.push(Case::new(format!("{name} at request {at}"), plan));
        }
    }
    println!("{} builds with a fault at one of {requests} requests", cases.len());
    all(cases);
}
