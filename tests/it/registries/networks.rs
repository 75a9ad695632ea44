//! A network that misbehaves: pushes through toxiproxy with every toxic it has. A push succeeds or fails cleanly, every
//! tag stays complete, and the next push over a healed network succeeds.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::registries::journey::Program;
use crate::support::setups::{Asks, Make, Running, Setup};
use crate::support::toxiproxy::{Counter, Toxiproxy};
use crate::support::{Ran, Sandbox};

/// The makes that the sweeps ask.
const MAKES: [Make; 3] = [Make::Olareg, Make::Distribution, Make::Crane];

/// A registry behind a proxy, where `v1` is an older image.
struct Behind {
    sandbox: Sandbox,
    registry: Running,
    proxy: Toxiproxy,
    counter: Counter,
    older: String,
}

impl Behind {
    fn new(make: Make) -> Self {
        let setup = Setup::open(make);
        let registry = setup.start();
        let sandbox = setup.sandbox(&registry.host());
        let line = "gimg build ./cmd/other --platform linux/amd64 -o oci:../older --tags v1";
        let older = sandbox.run(line).ok().digest();
        let counter = Counter::before(&registry.host());
        let proxy = Toxiproxy::before(&counter.host());
        Behind { sandbox, registry, proxy, counter, older }
    }

    /// A repository of this name with the older image as `v1`: seen by the proxy's clients, and from behind it.
    fn repository(&self, name: &str) -> Repository<'_> {
        let direct = format!("{}/{name}", self.registry.host());
        self.sandbox.run(&format!("gimg push ../older {direct} -t v1")).ok();
        Repository { behind: self, image: format!("{}/{name}", self.proxy.host()), direct }
    }
}

struct Repository<'a> {
    behind: &'a Behind,
    image: String,
    direct: String,
}

impl Repository<'_> {
    /// Pushes, and heals the network as soon as gimg tries again.
    fn push_healed_at_first_retry(&self, program: &Program) -> Ran {
        let mut command = self.behind.sandbox.command(&program.push(&self.image));
        let mut gimg = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = String::new();
        for line in BufReader::new(gimg.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            if line.starts_with("retry:") {
                self.behind.proxy.heal();
            }
            stderr.push_str(&line);
            stderr.push('\n');
        }
        let mut stdout = String::new();
        gimg.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        Ran { code: gimg.wait().unwrap().code().unwrap_or(-1), stdout, stderr }
    }

    fn push(&self, program: &Program) -> Ran {
        let command = self.behind.sandbox.command(&program.push(&self.image));
        within(command, Duration::from_secs(240))
    }

    /// `v1` is one of these images, and complete.
    fn is_whole(&self, allowed: &[&str]) {
        let sandbox = &self.behind.sandbox;
        let digest = sandbox.run(&format!("crane digest {}:v1", self.direct)).ok().stdout;
        assert!(allowed.contains(&digest.trim()), "{digest}");
        sandbox.run(&format!("crane validate --remote {}:v1", self.direct)).ok();
    }
}

/// Runs a command that must end in time.
fn within(mut command: std::process::Command, time: Duration) -> Ran {
    let gimg = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut gimg = Killed(gimg);
    let (mut out, mut err) = (gimg.0.stdout.take().unwrap(), gimg.0.stderr.take().unwrap());
    let read = std::thread::spawn(move || {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        err.read_to_string(&mut stderr).unwrap();
        out.read_to_string(&mut stdout).unwrap();
        (stdout, stderr)
    });
    let end = Instant::now() + time;
    let code = loop {
        if let Some(status) = gimg.0.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        assert!(Instant::now() < end, "gimg hangs");
        std::thread::sleep(Duration::from_millis(20));
    };
    let (stdout, stderr) = read.join().unwrap();
    Ran { code, stdout, stderr }
}

/// A process that doesn't outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The name, stream and attributes of a toxic.
type Toxic = (&'static str, &'static str, Value);

/// Toxics that break connections at some point.
fn breaking(total: u64) -> Vec<Toxic> {
    let mut all = Vec::new();
    // In the middle of a head, in the first answers, and all over the bodies.
    for bytes in [0, 1, 100, 300, 600, 1000, 5000, 40_000] {
        all.push(("limit_data", "upstream", json!({ "bytes": bytes })));
    }
    for percent in [10, 25, 50, 75, 90, 99] {
        all.push(("limit_data", "upstream", json!({ "bytes": total * percent / 100 })));
    }
    for bytes in [0, 1, 50, 200, 500, 1000, 2000] {
        all.push(("limit_data", "downstream", json!({ "bytes": bytes })));
    }
    for milliseconds in [0, 5, 50, 300] {
        for stream in ["upstream", "downstream"] {
            all.push(("reset_peer", stream, json!({ "timeout": milliseconds })));
        }
    }
    // Everything is swallowed, then the connection ends.
    for stream in ["upstream", "downstream"] {
        all.push(("timeout", stream, json!({"timeout": 700})));
    }
    all
}

#[test]
#[ignore = "integration: needs toxiproxy; a hundred pushes"]
fn integration_a_connection_that_breaks_once_costs_another_try() {
    let program = Program::large(2_000_000);
    for make in MAKES {
        let behind = Behind::new(make);
        for (number, (kind, stream, attributes)) in breaking(program.largest()).into_iter().enumerate() {
            let at = format!("{make:?}: {kind} {stream} {attributes}");
            let repository = behind.repository(&format!("healed/r{number}"));
            behind.proxy.toxic(kind, stream, &attributes);
            let ran = repository.push_healed_at_first_retry(&program);
            behind.proxy.heal();
            assert_eq!(ran.code, 0, "{at}:\n{}", ran.stderr);
            assert_eq!(ran.digest(), program.digest);
            repository.is_whole(&[&program.digest]);
        }
    }
}

#[test]
#[ignore = "integration: needs toxiproxy; waits for every retry"]
fn integration_connections_that_always_break_end_the_push_cleanly() {
    let program = Program::large(2_000_000);
    let half = program.largest() / 2;
    for make in MAKES {
        let behind = Behind::new(make);
        for (number, (kind, stream, attributes)) in [
            ("limit_data", "upstream", json!({"bytes": 300})),
            ("limit_data", "upstream", json!({ "bytes": half })),
            ("limit_data", "downstream", json!({"bytes": 200})),
            ("limit_data", "downstream", json!({"bytes": 2000})),
            ("reset_peer", "downstream", json!({"timeout": 0})),
            ("reset_peer", "upstream", json!({"timeout": 30})),
            ("timeout", "upstream", json!({"timeout": 300})),
        ]
        .into_iter()
        .enumerate()
        {
            let at = format!("{make:?}: {kind} {stream} {attributes}");
            let repository = behind.repository(&format!("broken/r{number}"));
            behind.proxy.toxic(kind, stream, &attributes);
            let ran = repository.push(&program);
            behind.proxy.heal();
            if ran.code == 0 {
                repository.is_whole(&[&program.digest]);
            } else {
                let ran = ran.fails(7, &[]);
                let error = ran.stderr.lines().find(|l| l.starts_with("gimg: ")).unwrap();
                assert!(error.contains(&behind.proxy.host()), "{at}: {error}");
                println!("{at}: {error}");
                // The answer to the very last request may be what got lost.
                repository.is_whole(&[&behind.older, &program.digest]);
            }
            assert_eq!(repository.push(&program).ok().digest(), program.digest, "{at}: the next push");
            repository.is_whole(&[&program.digest]);
        }
    }
}

#[test]
#[ignore = "integration: needs toxiproxy; slow on purpose"]
fn integration_a_slow_network_is_no_failure() {
    let program = Program::large(2_000_000);
    for make in MAKES {
        let behind = Behind::new(make);
        for (number, (kind, stream, attributes)) in [
            ("latency", "downstream", json!({"latency": 50, "jitter": 20})),
            ("latency", "upstream", json!({"latency": 50})),
            ("bandwidth", "upstream", json!({"rate": 3000})),
            ("bandwidth", "downstream", json!({"rate": 1})),
            ("slow_close", "downstream", json!({"delay": 1500})),
            ("slicer", "upstream", json!({"average_size": 2000, "size_variation": 1500, "delay": 10})),
            ("slicer", "downstream", json!({"average_size": 3, "size_variation": 2, "delay": 10})),
        ]
        .into_iter()
        .enumerate()
        {
            let at = format!("{make:?}: {kind} {stream} {attributes}");
            let repository = behind.repository(&format!("slow/r{number}"));
            behind.proxy.toxic(kind, stream, &attributes);
            let ran = repository.push(&program).ok();
            behind.proxy.heal();
            assert!(!ran.stderr.contains("retry:"), "{at}:\n{}", ran.stderr);
            repository.is_whole(&[&program.digest]);
        }
    }
}

#[test]
#[ignore = "integration: needs toxiproxy; waits until gimg gives a silent server up"]
fn integration_silence_is_not_waited_for_forever() {
    let program = Program::large(2_000_000);
    std::thread::scope(|scope| {
        for stream in ["upstream", "downstream"] {
            let program = &program;
            scope.spawn(move || {
                let behind = Behind::new(Make::Distribution);
                let repository = behind.repository("silent");
                // Nothing gets through, and nothing is closed until the toxic goes.
                behind.proxy.toxic("timeout", stream, &json!({"timeout": 0}));
                let ran = repository.push_healed_at_first_retry(program).ok();
                assert!(ran.stderr.contains("retry:"), "{}", ran.stderr);
                repository.is_whole(&[&program.digest]);
            });
        }
    });
}

/// The bytes that reach the registry in a push through the proxy.
fn sent(behind: &Behind, push: impl FnOnce() -> Ran) -> u64 {
    let before = behind.counter.sent();
    push().ok();
    behind.counter.sent() - before
}

#[test]
#[ignore = "integration: needs toxiproxy"]
fn integration_a_cut_costs_no_more_than_what_was_under_way() {
    let (small, large) = (Program::hello(), Program::large(8_000_000));
    let size = large.largest();
    let mut table = String::new();
    for make in MAKES {
        let behind = Behind::new(make);
        // All but the large layer is there already.
        let ready = |name: &str| {
            let repository = behind.repository(name);
            behind.sandbox.run(&small.push(&repository.direct)).ok();
            repository
        };
        let clean = sent(&behind, || ready("whole").push(&large));
        assert!((size..size + 100_000).contains(&clean), "{make:?}: {clean} bytes for {size}");
        for percent in [10, 50, 99] {
            // The large layer goes where it is the first time, even with a registry whose repositories share blobs.
            let behind = Behind::new(make);
            let repository = behind.repository("cut");
            behind.sandbox.run(&small.push(&repository.direct)).ok();
            behind.proxy.toxic("limit_data", "upstream", &json!({"bytes": size * percent / 100}));
            let took = sent(&behind, || repository.push_healed_at_first_retry(&large));
            repository.is_whole(&[&large.digest]);
            let again = took.saturating_sub(clean);
            writeln!(table, "{make:?}: cut at {percent} % of {size} bytes: {again} sent again").unwrap();
            // Both say what they kept of the broken request; go-containerregistry's registry doesn't.
            let kept = matches!(make, Make::Olareg | Make::Distribution);
            let allowed = if kept { 0 } else { size * percent / 100 } + 100_000;
            assert!(again <= allowed, "{make:?}: cut at {percent} %: {again} bytes sent again");
        }
    }
    println!("{table}");
}

#[test]
#[ignore = "integration: needs toxiproxy"]
fn integration_tokens_that_end_too_early_are_fetched_again() {
    let program = Program::hello();
    for make in [Make::Distribution, Make::DockerRegistry] {
        let setup = Setup { make, tls: false, asks: Asks::ShortToken };
        let registry = setup.start();
        let proxy = Toxiproxy::before(&registry.host());
        let sandbox = setup.sandbox(&proxy.host());
        proxy.toxic("latency", "downstream", &json!({"latency": 400}));
        let start = Instant::now();
        let ran = sandbox.run(&program.push(&format!("{}/team/app", proxy.host()))).ok();
        // The token server says five minutes, the registry takes each for three seconds.
        assert!(start.elapsed() > Duration::from_secs(4), "it was too quick for any token to end");
        assert_eq!(ran.digest(), program.digest);
    }
}
