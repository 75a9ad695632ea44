//! What pushing costs: requests, bytes sent twice, memory, connections; beside ko and crane where they can do the same.
//! Each test prints rows for `benches/README.md`; `make bench-load` runs them with a release build.

use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::canary::SECRET;
use crate::support::registry::{Auth, Config, Fault, TestRegistry};
use crate::support::{Sandbox, bases};

const PLATFORMS: &str = "linux/amd64,linux/arm64";

/// What the kernel says of a process alone, looked at until it ends.
#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    kilobytes: u64,
    descriptors: usize,
}

/// Waits for the end of a process that must succeed.
fn watched(mut child: Child) -> Peak {
    let proc = format!("/proc/{}", child.id());
    let mut peak = Peak::default();
    loop {
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        if let Some(line) = status.lines().find(|l| l.starts_with("VmHWM:")) {
            peak.kilobytes = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        }
        let open = std::fs::read_dir(format!("{proc}/fd")).map(Iterator::count).unwrap_or(0);
        peak.descriptors = peak.descriptors.max(open);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return peak;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn spawn(sandbox: &Sandbox, line: &str) -> Child {
    sandbox.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The requests of a registry since the `from`th, without those of authentication.
fn requests(registry: &TestRegistry, from: usize) -> (usize, String) {
    let log = registry.log();
    let asked = log[from..].iter().filter(|l| l.status != 401 && !l.target.starts_with("/token"));
    let asked: Vec<_> = asked.filter(|l| l.target.trim_end_matches('/') != "/v2").collect();
    let of = |method: &str| asked.iter().filter(|l| l.method == method).count();
    let methods = ["HEAD", "GET", "POST", "PATCH", "PUT"];
    let each = methods.map(|m| (m, of(m)));
    let words = each.iter().filter(|(_, n)| *n > 0).map(|(m, n)| format!("{n} {m}")).collect::<Vec<_>>();
    (asked.len(), words.join(", "))
}

#[test]
#[ignore = "bench: counts requests"]
fn bench_requests_of_a_push_that_changes_nothing() {
    println!("| push, nothing changed, 2 platforms | requests after authentication |\n|---|---|");
    for (base, gimg_base) in
        [("a base in the same registry", Some("base/two:v1")), ("the built-in base", None)]
    {
        for (name, line) in [
            ("gimg build", format!("gimg build ./cmd/hello --platform {PLATFORMS} --bare --sbom none")),
            ("ko build", format!("ko build ./cmd/hello --platform {PLATFORMS} --bare --sbom none")),
        ] {
            if name == "ko build" && gimg_base.is_none() {
                continue;
            }
            let auth = Auth::Bearer("user".to_owned(), SECRET.to_owned());
            let registry = TestRegistry::with(Config { auth, ..Config::default() });
            bases::publish(&registry);
            let host = registry.host();
            let mut sandbox = Sandbox::go("hello").env("KO_DOCKER_REPO", &format!("{host}/team/app"));
            if let Some(image) = gimg_base {
                sandbox = sandbox.env("KO_DEFAULTBASEIMAGE", &format!("{host}/{image}"));
            }
            let docker = sandbox.path("home/.docker");
            std::fs::create_dir(&docker).unwrap();
            let config = format!(r#"{{"auths":{{"{host}":{{"username":"user","password":"{SECRET}"}}}}}}"#);
            std::fs::write(docker.join("config.json"), config).unwrap();
            sandbox.run(&line).ok();
            let from = registry.log().len();
            sandbox.run(&line).ok();
            let (count, words) = requests(&registry, from);
            println!("| {name}, {base} | {count} ({words}) |");
        }
    }
}

/// A sandbox with a program and kodata of `size` bytes that don't compress.
fn with_kodata(size: usize) -> Sandbox {
    let sandbox = Sandbox::go("hello");
    let dir = sandbox.path("src/cmd/hello/kodata");
    std::fs::create_dir_all(&dir).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(dir.join("large")).unwrap());
    let mut seed: u64 = 2026;
    for _ in 0..size / 8 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        std::io::Write::write_all(&mut file, &seed.to_le_bytes()).unwrap();
    }
    drop(file);
    sandbox
}

#[test]
#[ignore = "bench: cuts uploads"]
fn bench_bytes_sent_again_after_a_cut() {
    const SIZE: usize = 64 << 20;
    let bases_registry = TestRegistry::start();
    bases::publish(&bases_registry);
    let base = format!("{}/base/two:v1", bases_registry.host());
    let sandbox = with_kodata(SIZE).env("KO_DEFAULTBASEIMAGE", &base);
    sandbox.run("gimg build ./cmd/hello --output oci:layout").ok();
    println!(
        "| upload of 64 MiB cut at | tool | sent again | of what was sent before the cut |\n|---|---|---|---|"
    );
    for keeps in [false, true] {
        for percent in [10, 50, 99] {
            for (name, line) in [
                ("gimg push", "gimg push layout {host}/team/app -t latest"),
                ("crane push", "crane push layout {host}/team/app:latest"),
                ("ko build", "ko build ./cmd/hello --bare --sbom none"),
            ] {
                let run = |cut: bool| {
                    let registry = TestRegistry::with(Config { keeps_partial: keeps, ..Config::default() });
                    let done = Arc::new(Mutex::new(!cut));
                    registry.hook(move |asked, _| {
                        let length = asked.headers.get("content-length").and_then(|v| v.to_str().ok());
                        // ggcr streams in chunks: the largest upload is the one of unknown length after the config.
                        let large = length.map_or(asked.method == "PATCH", |l| {
                            l.parse::<usize>().is_ok_and(|l| l > SIZE / 2)
                        });
                        let mut done = done.lock().unwrap();
                        if large && !*done {
                            *done = true;
                            return Some(Fault::ResetAfter(percent));
                        }
                        None
                    });
                    let host = registry.host();
                    let line = line.replace("{host}", &host);
                    let ran =
                        sandbox.command(&line).env("KO_DOCKER_REPO", format!("{host}/team/app")).output();
                    (ran.unwrap().status.success(), registry.received())
                };
                let (_, plain) = run(false);
                let (success, cut) = run(true);
                let again = cut.saturating_sub(plain);
                let sent = SIZE / 100 * percent;
                let registry = if keeps { "that keeps what came" } else { "that keeps nothing" };
                println!(
                    "| {percent} %, by a registry {registry} | {name} | {:.1} MiB{} | {} % |",
                    again as f64 / f64::from(1 << 20),
                    if success { "" } else { " (failed)" },
                    again * 100 / sent
                );
            }
        }
    }
}

#[test]
#[ignore = "bench: pushes a gibibyte"]
fn bench_memory_with_a_gibibyte_of_kodata() {
    let registry = TestRegistry::start();
    bases::publish(&registry);
    let sandbox = with_kodata(1 << 30).env("KO_DOCKER_REPO", &format!("{}/team/app", registry.host()));
    let sandbox = sandbox.env("KO_DEFAULTBASEIMAGE", &format!("{}/base/two:v1", registry.host()));
    println!("| 1 GiB of kodata, pushed, 2 platforms | peak memory of the tool |\n|---|---|");
    for (name, line) in [
        ("gimg", format!("gimg build ./cmd/hello --platform {PLATFORMS} --bare --sbom none")),
        ("ko", format!("ko build ./cmd/hello --platform {PLATFORMS} --bare --sbom none")),
    ] {
        let peak = watched(spawn(&sandbox, &line));
        println!("| {name} | {:.0} MB |", peak.kilobytes as f64 * 1.024 / 1000.0);
    }
}

#[test]
#[ignore = "bench: packs five gigabytes"]
fn bench_memory_does_not_grow_with_the_content() {
    println!("| kodata | to | platforms | peak memory of gimg |\n|---|---|---|---|");
    let mut least = std::collections::BTreeMap::new();
    for size in [10, 100, 1000] {
        let sandbox = with_kodata(size * 1_000_000);
        for platforms in ["linux/amd64", PLATFORMS] {
            let count = platforms.split(',').count();
            for to in ["registry", "layout"] {
                let registry = TestRegistry::start();
                let out = match to {
                    "registry" => format!("--repo {}/team", registry.host()),
                    _ => "--output oci:../layout".to_owned(),
                };
                let line = format!("gimg build ./cmd/hello --platform {platforms} {out}");
                // What an earlier run kept would not be packed again.
                let cache = sandbox.path("cache");
                let mut command = sandbox.command(&line);
                command.env("GIMG_CACHE", &cache).stdout(Stdio::null()).stderr(Stdio::null());
                let peak = watched(command.spawn().unwrap()).kilobytes;
                std::fs::remove_dir_all(cache).unwrap();
                println!("| {size} MB | {to} | {count} | {:.1} MB |", peak as f64 * 1.024 / 1000.0);
                let least = least.entry((count, to)).or_insert(peak);
                // What is under way between reading and sending has its bounds, which ten megabytes don't reach.
                assert!(peak < *least + 12_000, "{peak} kB for {size} MB, {least} kB for 10 MB");
            }
        }
    }
}

#[test]
#[ignore = "bench: compiles 500 programs"]
fn bench_a_hundred_images_of_five_platforms() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::new().file("go.mod", "module example.com/many\n\ngo 1.21\n");
    for n in 0..100 {
        sandbox.write(
            &format!("cmd/p{n:03}/main.go"),
            &format!("package main\n\nfunc main() {{ println({n}) }}\n"),
        );
    }
    let platforms = "linux/amd64,linux/arm64,linux/arm/v7,linux/riscv64,linux/s390x";
    let line =
        format!("gimg build ./cmd/... --platform {platforms} --repo {}/many --ldflags -w", registry.host());
    let begin = Instant::now();
    let peak = watched(spawn(&sandbox, &line));
    println!("| 100 images of 5 platforms in one run | |\n|---|---|");
    println!("| peak memory | {:.0} MB |", peak.kilobytes as f64 * 1.024 / 1000.0);
    println!("| open files | {} |", peak.descriptors);
    println!("| connections in all, requests at once | {}, {} |", registry.connections(), registry.peak());
    println!("| time | {:.0} s |", begin.elapsed().as_secs_f64());
    assert!(registry.incomplete().is_empty());
    assert_eq!(registry.repositories().len(), 100);
}

#[test]
#[ignore = "bench: waits for a slow registry"]
fn bench_a_registry_that_allows_ten_requests_a_second() {
    println!("| registry of 10 requests a second | time | requests | refused |\n|---|---|---|---|");
    let bases_registry = TestRegistry::start();
    bases::publish(&bases_registry);
    let base = format!("{}/base/two:v1", bases_registry.host());
    let sandbox = Sandbox::go("hello").env("KO_DEFAULTBASEIMAGE", &base);
    sandbox.run(&format!("gimg build ./... --platform {PLATFORMS} --output oci:layout")).ok();
    for (name, line) in [
        (
            "gimg build",
            format!(
                "gimg build ./cmd/hello ./cmd/other --platform {PLATFORMS} --repo {{host}}/team --sbom none"
            ),
        ),
        ("ko build", format!("ko build ./cmd/hello ./cmd/other --platform {PLATFORMS} --sbom none")),
    ] {
        let registry = TestRegistry::start();
        let begin = Instant::now();
        let mut taken = (0_u64, 0);
        registry.hook(move |_, _| {
            let second = begin.elapsed().as_secs();
            if taken.0 != second {
                taken = (second, 0);
            }
            taken.1 += 1;
            let wait = vec![("retry-after", "1".to_owned())];
            (taken.1 > 10).then(|| Fault::Status(429, wait, String::new()))
        });
        let host = registry.host();
        let mut command = sandbox.command(&line.replace("{host}", &host));
        let ran = command.env("KO_DOCKER_REPO", format!("{host}/team")).output().unwrap();
        let log = registry.log();
        let refused = log.iter().filter(|l| l.status == 429).count();
        let failed = if ran.status.success() { "" } else { ", failed" };
        println!("| {name}{failed} | {:.1} s | {} | {refused} |", begin.elapsed().as_secs_f64(), log.len());
    }
}

#[test]
#[ignore = "bench: starts 200 processes"]
fn bench_two_hundred_clients_push_one_image() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    sandbox.run(&format!("gimg build ./cmd/hello --platform {PLATFORMS} --output oci:layout")).ok();
    let begin = Instant::now();
    let line = |n: usize| format!("gimg push layout {}/team/app -t t{n}", registry.host());
    let children: Vec<Child> = (0..200).map(|n| spawn(&sandbox, &line(n))).collect();
    let ended: Vec<bool> = children.into_iter().map(|mut c| c.wait().unwrap().success()).collect();
    let digests: std::collections::BTreeSet<String> = registry.tags("team/app").into_values().collect();
    println!("| 200 processes push one image, a tag each | |\n|---|---|");
    println!("| succeeded | {} |", ended.iter().filter(|e| **e).count());
    println!("| tags, digests | {}, {} |", registry.tags("team/app").len(), digests.len());
    println!("| sent, of 200 times the image | {} kB |", registry.received() / 1000);
    println!("| time | {:.1} s |", begin.elapsed().as_secs_f64());
    assert!(ended.iter().all(|e| *e) && digests.len() == 1 && registry.incomplete().is_empty());
}

#[test]
#[ignore = "bench: starts gimg and ko"]
fn bench_start() {
    println!("| start (`version`), best and middle of 21 | |\n|---|---|");
    let sandbox = Sandbox::new();
    for line in ["gimg version", "ko version"] {
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let begin = Instant::now();
                sandbox.run(line).ok();
                begin.elapsed()
            })
            .collect();
        times.sort();
        println!(
            "| {line} | {:.1} ms, {:.1} ms |",
            times[0].as_secs_f64() * 1e3,
            times[10].as_secs_f64() * 1e3
        );
    }
}
