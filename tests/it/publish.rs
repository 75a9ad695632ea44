//! Destinations as users see them: registries, layouts, archives, `gimg push`, several at once.

use rustix::process::{Pid, Signal, kill_process};

use super::interrupt::{endless_at, pids, send, start, until, wait};
use super::kills::nothing_runs;
use crate::support::canary::SECRET;
use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::{Layout, Sandbox};

#[test]
fn tags_move_only_when_every_program_is_there() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").env("KO_DOCKER_REPO", &format!("{}/org", registry.host()));
    sandbox.run("gimg build ./cmd/... -B").ok();
    let before = (registry.tags("org/hello"), registry.tags("org/other"));
    let refused = || Fault::Status(403, Vec::new(), String::new());
    registry.fail(When::once("PUT", "org/other/manifests/"), refused());
    let changed = sandbox.run_with("gimg build ./cmd/... -B", &["--ldflags", "-s"]);
    assert_ne!(changed.code, 0, "{}", changed.stderr);
    assert_eq!(changed.stdout, "");
    assert_eq!((registry.tags("org/hello"), registry.tags("org/other")), before);
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    let after = sandbox.run_with("gimg build ./cmd/... -B", &["--ldflags", "-s"]).ok();
    assert!(after.lines()[0].ends_with(&registry.tags("org/hello")["latest"]));
}

#[test]
fn a_registry_alone_is_a_prefix_and_names_are_kos() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello").env("KO_DOCKER_REPO", &registry.host());
    let ran = sandbox.run("gimg build ./cmd/other -t v1").ok();
    // The md5sum of example.com/hello/cmd/other. The tag is part of the reference, as in ko.
    let name = "other-44d73368bb3c1fe7f6ac8cde0a52cdaa:v1@sha256:";
    assert!(ran.stdout.starts_with(&format!("{}/{name}", registry.host())), "{}", ran.stdout);
    let two = sandbox.run("gimg build ./cmd/other --tags v1,v2 --tags latest -P").ok();
    assert!(two.stdout.starts_with(&format!("{}/example.com/hello/cmd/other@sha256:", registry.host())));
    assert_eq!(
        registry.tags("example.com/hello/cmd/other").keys().collect::<Vec<_>>(),
        ["latest", "v1", "v2"]
    );
    sandbox.run("gimg build ./cmd/other --bare").fails(3, &["repository"]);
}

#[test]
fn several_destinations_get_one_digest() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let line = format!(
        "gimg build ./cmd/hello --platform linux/amd64,linux/arm64 --repo {}/r --bare --format json \
         --output oci:out --output oci-archive:out.tar --output registry",
        registry.host()
    );
    let report: serde_json::Value = serde_json::from_str(&sandbox.run(&line).ok().stdout).unwrap();
    let image = &report["images"][0];
    let digest = image["digest"].as_str().unwrap();
    assert_eq!(image["reference"], format!("{}/r@{digest}", registry.host()));
    assert_eq!(
        image["also"],
        serde_json::json!([format!("oci:out@{digest}"), format!("oci-archive:out.tar@{digest}")])
    );
    assert_eq!(registry.tags("r")["latest"], digest);
    assert_eq!(Layout::at(sandbox.path("src/out")).index()["manifests"][0]["digest"], digest);
    sandbox.run("mkdir unpacked").ok();
    sandbox.run("tar -xf out.tar -C unpacked").ok();
    let unpacked = Layout::at(sandbox.path("src/unpacked"));
    assert_eq!(unpacked.index()["manifests"][0]["digest"], digest);
    assert_eq!(unpacked.images().len(), 2);
    let first = std::fs::read(sandbox.path("src/out.tar")).unwrap();
    sandbox.run(&line).ok();
    assert!(std::fs::read(sandbox.path("src/out.tar")).unwrap() == first, "equal images, equal archives");
}

#[test]
fn a_layout_is_pushed_with_its_digest_and_its_tags() {
    let registry = TestRegistry::start();
    let host = registry.host();
    let sandbox = Sandbox::go("hello");
    let built = sandbox.run("gimg build ./cmd/hello -t v1,v2 --platform linux/amd64,linux/arm64").ok();
    let pushed = sandbox.run(&format!("gimg push gimg-out/hello {host}/a/hello")).ok();
    assert_eq!(pushed.stdout, format!("{host}/a/hello@{}\n", built.digest()));
    assert_eq!(registry.tags("a/hello").keys().collect::<Vec<_>>(), ["v1", "v2"]);
    sandbox.run(&format!("gimg push oci:gimg-out/hello {host}/a/hello:v3 -t v4")).ok();
    assert_eq!(registry.tags("a/hello").len(), 4);
    assert_eq!(registry.incomplete(), Vec::<String>::new());

    sandbox.run("gimg build ./... --output oci:both").ok();
    sandbox
        .run(&format!("gimg push both {host}/x"))
        .fails(3, &["several images", "hello:latest, other:latest"]);
    let other = sandbox.run(&format!("gimg push both:other:latest {host}/x")).ok();
    assert_eq!(other.digest(), sandbox.run("gimg build ./cmd/other").ok().digest());
    assert_eq!(registry.tags("x").keys().collect::<Vec<_>>(), ["latest"]);
}

#[test]
fn a_layout_that_can_not_be_pushed_says_why() {
    let registry = TestRegistry::start();
    let to = format!("{}/x", registry.host());
    let sandbox = Sandbox::go("hello");
    sandbox.run(&format!("gimg push nowhere {to}")).fails(3, &["not an OCI image layout", "nowhere"]);
    sandbox.run("gimg build ./cmd/other").ok();
    sandbox.run("gimg push gimg-out/other ghcr.io/a@sha256:00").fails(2, &["can't push to a digest"]);
    let layout = Layout::at(sandbox.path("src/gimg-out/other"));
    let layer = layout.root()["layers"][1]["digest"].as_str().unwrap().replace("sha256:", "");
    let path = sandbox.path("src/gimg-out/other/blobs/sha256").join(layer);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    sandbox.run(&format!("gimg push gimg-out/other {to}")).fails(8, &["sha256:"]);
    std::fs::remove_file(&path).unwrap();
    sandbox.run(&format!("gimg push gimg-out/other {to}")).fails(9, &["No such file"]);
    assert!(registry.tags("x").is_empty());
}

#[test]
fn a_registry_that_is_not_there_or_says_no_has_its_own_exit_code() {
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg build ./cmd/other --repo 127.0.0.1:1/x").fails(7, &["127.0.0.1:1"]);
    let registry = TestRegistry::start();
    let repo = format!("gimg build ./cmd/other --repo {}/x", registry.host());
    let denied = || Fault::Status(403, Vec::new(), r#"{"errors":[{"code":"DENIED","message":"no"}]}"#.into());
    registry.fail(When::once("POST", "/blobs/uploads/"), denied());
    let ran = sandbox.run(&repo);
    assert!([6, 10].contains(&ran.code), "{}: {}", ran.code, ran.stderr);
    assert_eq!(sandbox.leftovers(), Vec::<String>::new());
}

#[test]
fn a_broken_credentials_file_matters_only_to_registries() {
    let sandbox = Sandbox::go("hello");
    std::fs::create_dir(sandbox.path("home/.docker")).unwrap();
    std::fs::write(sandbox.path("home/.docker/config.json"), "{ not json").unwrap();
    sandbox.run("gimg build ./cmd/other").ok();
    sandbox.run("gimg build ./cmd/other --repo 127.0.0.1:1/x").fails(6, &["config.json"]);
}

/// What a run asks the registry, from `before` on.
fn asked(registry: &TestRegistry, before: usize) -> Vec<String> {
    registry.log()[before..].iter().map(|l| format!("{} {}", l.method, l.target)).collect()
}

#[test]
fn a_push_that_changes_nothing_is_one_request() {
    for platforms in ["linux/amd64", "linux/amd64,linux/arm64"] {
        let registry = TestRegistry::start();
        let sandbox = Sandbox::go("hello");
        let line =
            format!("gimg build ./cmd/hello -B --platform {platforms} -t v1 --repo {}/org", registry.host());
        let first = sandbox.run(&line).ok().stdout;
        // Compiled again: what was asked before is asked once more, since another could have moved the tag since.
        let before = registry.log().len();
        assert_eq!(sandbox.run(&format!("{line} --no-cache --attest none")).ok().stdout, first);
        let expected = ["GET /v2/", "GET /v2/org/hello/manifests/v1", "HEAD /v2/org/hello/manifests/v1"];
        assert_eq!(asked(&registry, before), expected);
        sandbox.run(&line).ok();
        let before = registry.log().len();
        assert_eq!(sandbox.run(&line).ok().stdout, first);
        assert_eq!(asked(&registry, before), ["GET /v2/", "HEAD /v2/org/hello/manifests/v1"]);
        // One more tag: it is asked, moved and looked at.
        let before = registry.log().len();
        sandbox.run(&format!("{line} -t v2")).ok();
        let expected = ["GET /v2/", "HEAD .../v1", "HEAD .../v2", "PUT .../v2", "HEAD .../v2"];
        let expected = expected.map(|line| line.replace("...", "/v2/org/hello/manifests"));
        assert_eq!(asked(&registry, before), expected);
    }
}

#[test]
fn a_push_that_changes_nothing_over_a_base_is_two_requests() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    let base = format!("{}/base", registry.host());
    sandbox.run(&format!("gimg build ./cmd/hello --bare --repo {base}")).ok();
    let line = format!("gimg build ./cmd/hello -B --base {base}:latest --repo {}/org", registry.host());
    let first = sandbox.run(&line).ok().stdout;
    let before = registry.log().len();
    assert_eq!(sandbox.run(&line).ok().stdout, first);
    let asked = asked(&registry, before);
    assert_eq!(asked.iter().filter(|line| line.contains("/org/")).count(), 1, "{asked:?}");
    assert!(asked.iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD ")), "{asked:?}");
}

#[test]
fn what_stands_in_the_way_of_a_push_is_said_in_words() {
    let registry = TestRegistry::start();
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg build ./cmd/hello").ok();
    let line = format!("gimg push gimg-out/hello {}/x -t v1 -t v2", registry.host());
    registry.fail(When::once("PUT", "/uploads/"), Fault::busy("20ms"));
    let ran = sandbox.run(&line).ok();
    let said = format!("retry: all requests to {}: push blob sha256:", registry.host());
    assert!(ran.stderr.contains(&said) && ran.stderr.contains("429 Too Many Requests"), "{}", ran.stderr);
    let digest = registry.tags("x")["v1"].clone();
    let other = sandbox.run("gimg build ./cmd/hello --ldflags -s --output oci:other").ok();
    assert!(!other.stdout.contains(&digest));
    // A tag that can't move: the image is there.
    let immutable = Fault::error(403, "DENIED", "the tag is immutable");
    registry.fail(When::always("PUT", "/manifests/v2"), immutable);
    let there = format!("but the image is there: {}/x@{}", registry.host(), other.digest());
    let moved = format!("gimg push other {}/x -t v1 -t v2", registry.host());
    sandbox
        .run(&moved)
        .fails(10, &["(1 of 2 tags): v2: the registry answered 403", "the tag is immutable", &there]);
    assert_eq!(registry.tags("x")["v1"], other.digest());
    assert_eq!(registry.tags("x")["v2"], digest);
    registry.heal();
    registry.fail(When::always("PUT", "/manifests/v2"), Fault::busy("3600"));
    sandbox.run(&moved).fails(7, &["asks for a pause of 3600s", "waits for 120s at most", &there]);
}

#[test]
fn registries_are_asked_while_programs_compile() {
    let registry = TestRegistry::start();
    let sandbox = endless_at("buildamd64");
    let child =
        start(&sandbox, &format!("gimg build ./cmd/hello --bare --repo {}/org -t v1", registry.host()));
    until("the compile", || sandbox.path("pids").exists());
    until("the question", || registry.log().len() == 2);
    send(&child, Signal::INT);
    assert_eq!(wait(child).code, 130);
    assert_eq!(asked(&registry, 0), ["GET /v2/", "GET /v2/org/manifests/v1"]);
}

#[test]
fn a_login_that_fails_ends_the_run_while_programs_compile() {
    let auth = Auth::Bearer("user".into(), SECRET.into());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let sandbox = endless_at("buildamd64");
    let config =
        format!(r#"{{"auths": {{"{}": {{"username": "user", "password": "{SECRET}x"}}}}}}"#, registry.host());
    let line = format!("gimg build ./cmd/hello --bare --repo {}/org", registry.host());
    let ran = sandbox.env("DOCKER_AUTH_CONFIG", &config);
    ran.run(&line).fails(6, &["login"]);
    nothing_runs(&ran);
}

#[test]
fn a_tag_that_moves_while_the_image_it_had_is_compiled_is_moved_back() {
    let registry = TestRegistry::start();
    let sandbox = endless_at("buildamd64");
    let line = format!("gimg build ./cmd/hello --bare --no-cache --repo {}/org -t v1", registry.host());
    let compile = |meanwhile: &dyn Fn()| {
        let _ = std::fs::remove_file(sandbox.path("pids"));
        let before = registry.log().len();
        let child = start(&sandbox, &line);
        until("the compile", || pids(&sandbox).len() == 2);
        until("the question", || asked(&registry, before).iter().any(|l| l == "GET /v2/org/manifests/v1"));
        meanwhile();
        // What the compile waits for ends, and it goes on.
        kill_process(Pid::from_raw(pids(&sandbox)[1].cast_signed()).unwrap(), Signal::KILL).unwrap();
        wait(child).ok()
    };
    let first = compile(&|| {});
    let other =
        sandbox.run("gimg build ./cmd/other --platform linux/arm64 --base scratch --output oci:other").ok();
    let moved = format!("gimg push other {}/org -t v1", registry.host());
    let again = compile(&|| {
        sandbox.run(&moved).ok();
        assert_eq!(registry.tags("org")["v1"], other.digest());
    });
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(registry.tags("org")["v1"], first.digest());
}
