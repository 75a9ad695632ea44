//! gimg, ko and crane on one faulty registry: what gets through, what is sent twice, what ends wrong.
//!
//! Every fault passes: it hits one request and not the next, so a push can always succeed. It hits every request of a
//! push in turn. An outcome is wrong if a tool says that it succeeded but the tag doesn't name the whole image, if a
//! tag names an image of which something is missing, or if the tool is still there after three minutes.

use std::fmt::Write as _;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::{Sandbox, bases, root, tool};

const LIMIT: Duration = Duration::from_secs(180);
const REPO: &str = "team/app";

/// One way to push.
struct Contender {
    name: &'static str,
    /// The command; `{host}` is the registry.
    line: &'static str,
}

const CONTENDERS: [Contender; 4] = [
    Contender {
        name: "gimg build",
        line: "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --repo {host}/team/app",
    },
    Contender {
        name: "ko build",
        line: "ko build ./cmd/hello --platform linux/amd64,linux/arm64 --bare --sbom none",
    },
    Contender { name: "gimg push", line: "gimg push layout {host}/team/app -t latest" },
    Contender { name: "crane push", line: "crane push layout {host}/team/app:latest --index" },
];

/// What a run came to.
struct Outcome {
    success: bool,
    /// Why it is wrong, if it is.
    wrong: Option<String>,
    /// Bytes of bodies beyond those of a run without faults.
    again: usize,
    seconds: f64,
}

/// What goes wrong, by its name, with one request.
fn faults() -> Vec<(&'static str, Fault)> {
    let status = |code, headers: &[(&'static str, &str)], body: &str| {
        let headers = headers.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        Fault::Status(code, headers, body.to_owned())
    };
    let error =
        |code: &str, message: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
    vec![
        ("reset before the request is read", Fault::Reset),
        ("reset in the middle of the body", Fault::ResetAfter(50)),
        ("reset after the body", Fault::Dropped),
        ("done, but the answer is lost", Fault::Lost),
        ("answer cut", Fault::Truncate(10)),
        ("500", status(500, &[], "")),
        ("502 from a proxy", status(502, &[("content-type", "text/html")], "<html>bad gateway</html>")),
        ("503 with Retry-After", status(503, &[("retry-after", "1")], "")),
        (
            "429 with Retry-After",
            status(429, &[("retry-after", "1")], &error("TOOMANYREQUESTS", "slow down")),
        ),
        (
            "403 that is a rate limit",
            status(403, &[], &error("DENIED", "You have exceeded a secondary rate limit")),
        ),
        ("404 BLOB_UPLOAD_UNKNOWN", status(404, &[], &error("BLOB_UPLOAD_UNKNOWN", "upload unknown"))),
        ("400 MANIFEST_BLOB_UNKNOWN", status(400, &[], &error("MANIFEST_BLOB_UNKNOWN", "blob unknown"))),
        ("every token ends", Fault::Expired),
    ]
}

/// Which requests a fault makes sense for.
fn fits(fault: &str, method: &str, target: &str) -> bool {
    let upload = target.contains("/blobs/uploads/") && matches!(method, "PUT" | "PATCH");
    match fault {
        "404 BLOB_UPLOAD_UNKNOWN" => upload,
        "400 MANIFEST_BLOB_UNKNOWN" => target.contains("/manifests/") && method == "PUT",
        "reset in the middle of the body" => upload || (target.contains("/manifests/") && method == "PUT"),
        "every token ends" => !target.starts_with("/token"),
        _ => true,
    }
}

struct Lab {
    sandbox: Sandbox,
}

impl Lab {
    fn new(bases: &TestRegistry) -> Self {
        let image = format!("{}/base/two:v1", bases.host());
        let sandbox = Sandbox::go("hello").env("KO_DEFAULTBASEIMAGE", &image);
        let cache = sandbox.path("kocache").to_str().unwrap().to_owned();
        let sandbox = sandbox.env("KOCACHE", &cache);
        sandbox.run("gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --output oci:layout").ok();
        Lab { sandbox }
    }

    /// An empty registry that wants tokens.
    fn registry(config: impl FnOnce(&mut Config)) -> TestRegistry {
        let auth = Auth::Bearer("user".to_owned(), "secret".to_owned());
        let mut all = Config { auth, ..Config::default() };
        config(&mut all);
        TestRegistry::with(all)
    }

    /// Pushes to `registry`; `plain` is what a run without faults sends.
    fn run(&self, contender: &Contender, registry: &TestRegistry, plain: usize) -> Outcome {
        let host = registry.host();
        let docker = tempfile::tempdir().unwrap();
        let config = format!(r#"{{"auths":{{"{host}":{{"username":"user","password":"secret"}}}}}}"#);
        std::fs::write(docker.path().join("config.json"), config).unwrap();
        let before = registry.received();
        let begin = Instant::now();
        let mut command = self.sandbox.command(&contender.line.replace("{host}", &host));
        command.env("KO_DOCKER_REPO", format!("{host}/{REPO}")).env("DOCKER_CONFIG", docker.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if begin.elapsed() > LIMIT => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let success = status.is_some_and(|s| s.success());
        let incomplete = registry.incomplete();
        let tagged = registry.tags(REPO).contains_key("latest");
        let wrong = match status {
            None => Some("it hangs".to_owned()),
            _ if !incomplete.is_empty() => Some(format!("a tag lacks {}", incomplete.len())),
            _ if success && !tagged => Some("it says yes, but there is no tag".to_owned()),
            _ => None,
        };
        let again = (registry.received() - before).saturating_sub(plain);
        Outcome { success, wrong, again, seconds: begin.elapsed().as_secs_f64() }
    }
}

/// The sum of many runs of a contender with a fault.
#[derive(Default)]
struct Sum {
    runs: usize,
    successes: usize,
    again: usize,
    seconds: f64,
    wrong: Vec<String>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.successes += usize::from(outcome.success);
        self.again += if outcome.success { outcome.again } else { 0 };
        self.seconds = self.seconds.max(outcome.seconds);
        self.wrong.extend(outcome.wrong);
    }

    fn row(&self, fault: &str, contender: &str) -> String {
        let each = self.again.checked_div(self.successes).unwrap_or(0) / 1000;
        let mut why = self.wrong.clone();
        why.sort();
        why.dedup();
        format!(
            "| {fault} | {contender} | {} of {} | {each} kB | {:.1} s | {}{}{} |\n",
            self.successes,
            self.runs,
            self.seconds,
            self.wrong.len(),
            if why.is_empty() { "" } else { ": " },
            why.join("; ")
        )
    }
}

/// Runs `jobs` a few at a time; most of the time is waiting.
fn parallel(jobs: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        return;
                    }
                    work(job);
                }
            });
        }
    });
}

#[test]
#[ignore = "bench: gimg, ko and crane on the same faults, for a quarter of an hour"]
fn bench_gimg_ko_and_crane_on_the_same_faults() {
    let bases_registry = TestRegistry::start();
    bases::publish(&bases_registry);
    let lab = Lab::new(&bases_registry);
    tool("ko");
    let mut table = String::from(
        "| fault | tool | success | sent again, mean | slowest | wrong outcomes |\n|---|---|---|---|---|---|\n",
    );
    let mut totals: Vec<Sum> = CONTENDERS.iter().map(|_| Sum::default()).collect();
    let mut plain = Vec::new();
    for contender in &CONTENDERS {
        // The first run fills the caches.
        lab.run(contender, &Lab::registry(|_| {}), 0);
        let registry = Lab::registry(|_| {});
        let outcome = lab.run(contender, &registry, 0);
        assert!(outcome.success && outcome.wrong.is_none(), "{} without a fault", contender.name);
        plain.push((registry.log(), registry.received()));
    }
    for (name, fault) in faults() {
        for (at, contender) in CONTENDERS.iter().enumerate() {
            let (log, bytes) = &plain[at];
            let sum = Mutex::new(Sum::default());
            let numbers: Vec<usize> =
                log.iter().filter(|l| fits(name, &l.method, &l.target)).map(|l| l.number).collect();
            parallel(numbers.len(), |job| {
                let registry = Lab::registry(|_| {});
                registry.fail(When::Nth(numbers[job]), fault.clone());
                let outcome = lab.run(contender, &registry, *bytes);
                sum.lock().unwrap().add(outcome);
            });
            let sum = sum.into_inner().unwrap();
            table += &sum.row(name, contender.name);
            let total = &mut totals[at];
            total.runs += sum.runs;
            total.successes += sum.successes;
            total.again += sum.again;
            total.seconds = total.seconds.max(sum.seconds);
            total.wrong.extend(sum.wrong);
        }
    }
    for (name, prepare) in habits() {
        for (at, contender) in CONTENDERS.iter().enumerate() {
            let registry = Lab::registry(|_| {});
            prepare(&lab, contender, &registry);
            let outcome = lab.run(contender, &registry, plain[at].1);
            let mut sum = Sum::default();
            sum.add(outcome);
            table += &sum.row(name, contender.name);
            let total = &mut totals[at];
            total.runs += 1;
            total.successes += sum.successes;
            total.again += sum.again;
            total.wrong.extend(sum.wrong);
        }
    }
    for (at, contender) in CONTENDERS.iter().enumerate() {
        table += &totals[at].row("**all**", contender.name);
    }
    for (at, contender) in CONTENDERS.iter().enumerate() {
        let (log, bytes) = &plain[at];
        let _ = writeln!(
            table,
            "\n{}: {} requests, {} kB without a fault.",
            contender.name,
            log.len(),
            bytes / 1000
        );
    }
    println!("{table}");
    if let Ok(path) = std::env::var("OUT") {
        std::fs::write(root().join(path), &table).unwrap();
    }
    for (at, contender) in CONTENDERS.iter().enumerate().filter(|(_, c)| c.name.starts_with("gimg")) {
        assert!(totals[at].wrong.is_empty(), "{}: {:?}", contender.name, totals[at].wrong);
    }
}

type Prepare = fn(&Lab, &Contender, &TestRegistry);

/// Habits of registries that no single request shows.
fn habits() -> Vec<(&'static str, Prepare)> {
    vec![
        ("blobs seen two requests late", |_, _, registry| registry.configure(|c| c.late_blobs = 2)),
        ("manifests seen two requests late", |_, _, registry| registry.configure(|c| c.late_manifests = 2)),
        ("bodies of at most 1 MB (413)", |_, _, registry| registry.configure(|c| c.max_body = 1_000_000)),
        ("no chunks", |_, _, registry| registry.configure(|c| c.patches = false)),
        ("PATCH stores and answers 201, PUT fails", |_, _, registry| {
            registry.configure(|c| c.patch_stores = true)
        }),
        ("no Docker-Content-Digest", |_, _, registry| registry.configure(|c| c.digest_header = false)),
        ("the tag is there and can't be moved, same image", |lab, contender, registry| {
            lab.run(contender, registry, 0);
            registry.configure(|c| c.mutable_tags = false);
        }),
        ("a lost layer that HEAD still knows", |lab, contender, registry| {
            lab.run(contender, registry, 0);
            let root = registry.tags(REPO)["latest"].clone();
            let lost = layers(registry, &root).pop().unwrap();
            for manifest in manifests(registry, &root) {
                registry.remove_manifest(REPO, &manifest);
            }
            registry.remove_manifest(REPO, &root);
            registry.remove_manifest(REPO, "latest");
            registry.lose_blob(REPO, &lost);
        }),
    ]
}

fn document(registry: &TestRegistry, digest: &str) -> serde_json::Value {
    serde_json::from_slice(&registry.bytes(REPO, digest)).unwrap()
}

/// The children of an index.
fn manifests(registry: &TestRegistry, root: &str) -> Vec<String> {
    let index = document(registry, root);
    index["manifests"].as_array().unwrap().iter().map(|d| d["digest"].as_str().unwrap().to_owned()).collect()
}

/// The layers of an index's images.
fn layers(registry: &TestRegistry, root: &str) -> Vec<String> {
    let mut all = Vec::new();
    for manifest in manifests(registry, root) {
        let manifest = document(registry, &manifest);
        let layers = manifest["layers"].as_array().unwrap();
        all.extend(layers.iter().map(|d| d["digest"].as_str().unwrap().to_owned()));
    }
    all
}
