//! nginx before a registry, configured as people do and misdo it.

use serde_json::json;

use crate::registries::journey::{BOTH, Program};
use crate::support::nginx::nginx;
use crate::support::servers::Server;
use crate::support::setups::{Make, Setup};
use crate::support::toxiproxy::Toxiproxy;
use crate::support::{Ran, Sandbox};

const MAKES: [Make; 2] = [Make::Olareg, Make::Distribution];

/// Pushes through a front and looks behind it.
fn push(front: &Server, direct: &str, program: &Program, tls: bool) -> Ran {
    let setup = Setup { tls, ..Setup::open(Make::Distribution) };
    let sandbox = setup.sandbox(&front.host());
    let ran = sandbox.run(&program.push(&format!("{}/team/app", front.host())));
    if ran.code == 0 {
        assert_eq!(ran.digest(), program.digest);
        Sandbox::new().run(&format!("crane validate --remote {direct}/team/app:v1")).ok();
    }
    ran
}

/// What nginx wrote down of requests: method, path and status.
fn log(front: &Server) -> Vec<(String, String, String)> {
    let text = std::fs::read_to_string(front.file("access.log")).unwrap();
    let line = |l: &str| {
        let mut parts = l.split('"');
        let request = parts.nth(1).unwrap().to_owned();
        let status = parts.next().unwrap().trim().split(' ').next().unwrap().to_owned();
        let mut words = request.split(' ');
        (words.next().unwrap().to_owned(), words.next().unwrap_or_default().to_owned(), status)
    };
    text.lines().map(line).collect()
}

#[test]
#[ignore = "integration: needs nginx"]
fn integration_bodies_that_are_too_large_go_in_pieces() {
    let program = Program::large(6_000_000);
    for make in MAKES {
        // nginx's own default, and what is left of GHCR's limit.
        for limit in ["", "client_max_body_size 4m;", "client_max_body_size 5m;"] {
            let registry = Setup::open(make).start();
            let front =
                nginx(&registry.host(), false, "", &format!("{limit} proxy_set_header Host $http_host;"));
            push(&front, &registry.host(), &program, false).ok();
            let log = log(&front);
            let refused = log.iter().filter(|(_, _, status)| status == "413").count();
            let pieces = log.iter().filter(|(m, _, s)| m == "PATCH" && s.starts_with('2')).count();
            println!("{make:?} {limit:?}: {refused} refused, {pieces} pieces");
            assert!(refused >= 1 && pieces >= 2, "{limit}: {log:?}");
        }
    }
}

#[test]
#[ignore = "integration: needs nginx"]
fn integration_a_front_that_wants_it_slower_gets_it_slower() {
    let program = Program::hello();
    for (make, header) in [
        (Make::Olareg, ""),
        (Make::Distribution, "add_header Retry-After 1 always;"),
        (Make::Olareg, "add_header Retry-After 1 always;"),
    ] {
        let registry = Setup::open(make).start();
        let main = "limit_req_zone $binary_remote_addr zone=slow:1m rate=5r/s; limit_req_status 429;\n\
                    client_max_body_size 0;";
        let location =
            format!("limit_req zone=slow burst=4 nodelay; proxy_set_header Host $http_host; {header}");
        let front = nginx(&registry.host(), false, main, &location);
        let ran = push(&front, &registry.host(), &program, false).ok();
        let log = log(&front);
        let refused = log.iter().filter(|(_, _, status)| status == "429").count();
        println!("{make:?} {header:?}: {} requests, {refused} refused", log.len());
        assert!(refused >= 1, "the front has no limit: {log:?}");
        assert!(ran.stderr.contains("429"), "{}", ran.stderr);
    }
}

#[test]
#[ignore = "integration: needs nginx"]
fn integration_locations_keep_to_tls_behind_a_front_that_hides_it() {
    let program = Program::hello();
    for make in MAKES {
        // The registry isn't told of TLS; in the second case not of the port either.
        for host in ["$http_host", "$host"] {
            let registry = Setup::open(make).start();
            let location = format!("client_max_body_size 0; proxy_set_header Host {host};");
            let front = nginx(&registry.host(), true, "", &location);
            push(&front, &registry.host(), &program, true).ok();
            // A base through the front, too.
            let setup = Setup { tls: true, ..Setup::open(make) };
            let sandbox = setup.sandbox(&front.host());
            let base = format!("{}/team/app:v1", front.host());
            sandbox.run(&format!("gimg build ./cmd/other {BOTH} --base {base} -o oci:out")).ok();
        }
    }
}

#[test]
#[ignore = "integration: needs nginx and toxiproxy"]
fn integration_a_front_that_gives_up_waiting_is_asked_again() {
    let program = Program::hello();
    for make in MAKES {
        let registry = Setup::open(make).start();
        let slow = Toxiproxy::before(&registry.host());
        let front = nginx(
            &slow.host(),
            false,
            "client_max_body_size 0;",
            "proxy_read_timeout 200ms; proxy_set_header Host $http_host;",
        );
        let sandbox = Setup::open(make).sandbox(&front.host());
        let line = program.push(&format!("{}/team/app", front.host()));
        slow.toxic("latency", "downstream", &json!({"latency": 2000}));
        sandbox.run(&line).fails(7, &["504 Gateway Timeout"]);
        slow.heal();
        assert_eq!(sandbox.run(&line).ok().digest(), program.digest);
        Sandbox::new().run(&format!("crane validate --remote {}/team/app:v1", registry.host())).ok();
        // Once only: the request is done behind the front, and gimg isn't told.
        slow.toxic("latency", "downstream", &json!({"latency": 400}));
        let moved = program.push(&format!("{}/team/other", front.host()));
        let mut gimg = sandbox.command(&moved).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(gimg.stderr.take().unwrap()));
        let mut retried = false;
        for line in &mut lines {
            if line.unwrap().starts_with("retry:") {
                retried = true;
                slow.heal();
            }
        }
        assert!(gimg.wait().unwrap().success() && retried);
        Sandbox::new().run(&format!("crane validate --remote {}/team/other:v1", registry.host())).ok();
    }
}
