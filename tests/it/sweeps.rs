//! Long runs: gimg killed and interrupted at points that nobody chose, alone and beside others.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::interrupt::{complete, send, start};
use super::kills::{nothing_is_half, nothing_is_left, nothing_runs};
use super::real::{GO_CONTAINERREGISTRY, module};
use crate::support::registry::TestRegistry;
use crate::support::{Layout, Sandbox};

/// Numbers from a fixed sequence (Knuth's MMIX generator); the machine adds chance enough.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// How far a run came, by what it said and asked.
fn phase(said: &str, registry: &TestRegistry) -> &'static str {
    let asked = |method, part| registry.asked(method, part) > 0;
    if asked("PUT", "/manifests/v") {
        "5 tags and files"
    } else if asked("PUT", "/manifests/") {
        "4 manifests"
    } else if asked("HEAD", "/blobs/") || asked("POST", "/blobs/") {
        "3 uploads"
    } else if said.contains("compiled") {
        "2 packing"
    } else if said.contains("compiling") {
        "1 go build"
    } else {
        "0 go env, go list"
    }
}

/// An image of its own under a tag, as somebody else's push leaves it.
fn put_older(registry: &TestRegistry, tag: &str) {
    let config = registry.put_blob("x", "{}");
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
    });
    registry.put_manifest("x", tag, "application/vnd.oci.image.manifest.v1+json", manifest.to_string());
}

#[test]
#[ignore = "soak: kills gimg two hundred times"]
fn soak_a_push_killed_at_two_hundred_points() {
    let Some(sandbox) = module(GO_CONTAINERREGISTRY) else { return };
    let line = |host: &str| {
        let what = "gimg build ./cmd/crane --platform linux/amd64,linux/arm64 --bare -t v1 -t v2";
        let files = "-o registry -o oci:layout -o oci-archive:oci.tar --image-refs refs --sbom-dir sboms";
        format!("{what} --repo {host}/x {files}")
    };
    let whole = |registry: &TestRegistry| sandbox.run(&line(&registry.host())).ok().digest();
    let digest = whole(&TestRegistry::start());
    let begin = Instant::now();
    assert_eq!(whole(&TestRegistry::start()), digest);
    let run = millis(begin.elapsed());
    let (mut chance, mut phases) = (Chance(42), BTreeMap::<&str, usize>::new());
    for round in 0..200 {
        let registry = TestRegistry::start();
        put_older(&registry, "v1");
        let older = registry.tags("x")["v1"].clone();
        let mut child = start(&sandbox, &line(&registry.host()));
        std::thread::sleep(Duration::from_millis(chance.below(run)));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        nothing_runs(&sandbox);
        nothing_is_half(&sandbox, &registry);
        assert!([&older, &digest].contains(&&registry.tags("x")["v1"]), "round {round}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let phase = if output.status.success() { "6 it was done" } else { phase(&said, &registry) };
        *phases.entry(phase).or_default() += 1;
        assert_eq!(whole(&registry), digest, "round {round}");
        assert_eq!(registry.tags("x").into_values().collect::<Vec<_>>(), [digest.clone(), digest.clone()]);
        nothing_is_half(&sandbox, &registry);
        nothing_is_left(&sandbox);
        if round % 20 == 19 {
            println!("{} times killed within {run} ms, in phase: {phases:?}", round + 1);
        }
    }
}

#[test]
#[ignore = "soak: eight gimg for two minutes"]
fn soak_eight_at_once_with_random_kills() {
    let (registry, sandbox) = (TestRegistry::start(), Sandbox::go("hello"));
    let cache = sandbox.path("cache");
    let sandbox = sandbox.env("GIMG_CACHE", cache.to_str().unwrap());
    let end = Instant::now() + Duration::from_secs(120);
    // What each tag may name at the end: the last whole run's image, or that of a later killed one.
    let last = Mutex::new(BTreeMap::<String, Vec<String>>::new());
    let (ran, killed) = (Mutex::new(0), Mutex::new(0));
    std::thread::scope(|scope| {
        for number in 0..8_u64 {
            let (registry, sandbox, last, ran, killed) = (&registry, &sandbox, &last, &ran, &killed);
            scope.spawn(move || {
                let mut chance = Chance(number);
                for round in 0.. {
                    if Instant::now() > end {
                        break;
                    }
                    let tag = format!("t{number}");
                    let line = format!(
                        "gimg build ./cmd/hello --repo {}/x --bare -t {tag} --image-label n={number}-{round} \
                         --platform linux/amd64,linux/arm64",
                        registry.host()
                    );
                    let mut child = start(sandbox, &line);
                    if chance.below(3) == 0 {
                        std::thread::sleep(Duration::from_millis(chance.below(4000)));
                        child.kill().unwrap();
                    }
                    let output = child.wait_with_output().unwrap();
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    match output.status.code() {
                        Some(0) => {
                            *ran.lock().unwrap() += 1;
                            let printed = String::from_utf8(output.stdout).unwrap();
                            let digest = printed.trim().rsplit('@').next().unwrap().to_owned();
                            last.lock().unwrap().insert(tag, vec![digest]);
                        }
                        Some(code) => panic!("{line}: {code}\n{said}"),
                        None => *killed.lock().unwrap() += 1,
                    }
                }
            });
        }
    });
    let (ran, killed) = (ran.into_inner().unwrap(), killed.into_inner().unwrap());
    println!("{ran} runs succeeded, {killed} were killed");
    assert!(ran > 8 && killed > 8);
    nothing_runs(&sandbox);
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    // One more whole run for each tag: the same inputs, the digest that the tag then has.
    for (tag, _) in last.into_inner().unwrap() {
        let line = format!("gimg build ./cmd/hello --repo {}/x --bare -t {tag}", registry.host());
        assert_eq!(sandbox.run(&line).ok().digest(), registry.tags("x")[&tag]);
    }
    sandbox.run("gimg cache verify").ok();
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
#[ignore = "soak: interrupts gimg fifty times"]
fn soak_how_soon_an_interrupted_run_ends() {
    let Some(sandbox) = module(GO_CONTAINERREGISTRY) else { return };
    let line = |registry: &TestRegistry| {
        let what = "gimg build ./cmd/crane --platform linux/amd64,linux/arm64 --bare -t v1 -t v2";
        format!("{what} --repo {}/x", registry.host())
    };
    sandbox.run(&line(&TestRegistry::start())).ok();
    let begin = Instant::now();
    sandbox.run(&line(&TestRegistry::start())).ok();
    let run = millis(begin.elapsed());
    let (mut chance, mut times, mut done) = (Chance(7), Vec::new(), 0);
    while times.len() < 50 {
        let registry = TestRegistry::start();
        let mut child = start(&sandbox, &line(&registry));
        std::thread::sleep(Duration::from_millis(20 + chance.below(run)));
        let asked = Instant::now();
        // It may be gone, or not yet listen.
        if child.try_wait().unwrap().is_some() {
            done += 1;
            continue;
        }
        send(&child, Signal::INT);
        let status = child.wait().unwrap();
        let took = asked.elapsed();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        match status.code() {
            Some(130) => times.push(took),
            Some(0) | None => done += 1,
            Some(code) => panic!("{code}: {said}"),
        }
        assert_eq!(registry.incomplete(), Vec::<String>::new());
        let is_untrue = said.contains("nothing was tagged") != registry.tags("x").is_empty();
        assert!(status.code() != Some(130) || !is_untrue, "{said}");
    }
    nothing_runs(&sandbox);
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!(
        "50 interruptions: p50 {:?}, p99 {:?}, max {:?}; {done} came too early or late",
        at(50),
        at(99),
        at(100)
    );
    assert!(at(100) < Duration::from_secs(10), "{:?}", at(100));
}

#[test]
#[ignore = "soak: kills gimg thirty times"]
fn soak_killed_runs_leave_whole_layouts_or_none() {
    let sandbox = Sandbox::go("hello");
    let line = |label: usize, out: &str| {
        format!(
            "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 -o oci:{out} --image-label n={label}"
        )
    };
    let begin = Instant::now();
    let digests = [0, 1].map(|label| sandbox.run(&line(label, &format!("whole{label}"))).ok().digest());
    let run = u64::try_from(begin.elapsed().as_millis()).unwrap() / 2;
    let mut chance = Chance(2026);
    let (mut none, mut old, mut new) = (0, 0, 0);
    for round in 0..30 {
        if round % 3 == 0 {
            sandbox.run("rm -rf out").ok();
        }
        let mut child = start(&sandbox, &line(round % 2, "out"));
        std::thread::sleep(Duration::from_millis(chance.below(run)));
        let _ = child.kill();
        child.wait().unwrap();
        match complete(&sandbox.path("src/out")) {
            None => none += 1,
            Some(digest) if digest == digests[round % 2] => new += 1,
            Some(digest) => {
                assert_eq!(digest, digests[1 - round % 2]);
                old += 1;
            }
        }
        assert_eq!(sandbox.run(&line(round % 2, "out")).ok().digest(), digests[round % 2]);
        assert_eq!(complete(&sandbox.path("src/out")).as_ref(), Some(&digests[round % 2]));
        let blobs = |dir: &str| Layout::at(sandbox.path(dir)).blobs();
        assert_eq!(blobs("src/out"), blobs(&format!("src/whole{}", round % 2)), "nothing else is left");
    }
    println!("of 30 killed runs {none} left no image, {old} the one before, {new} theirs");
}
