//! Go's build cache on a server: an empty machine takes from it what another compiled, and nothing that is wrong with the
//! server fails or changes a build.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::support::build_cache::{BuildCache, Instead, Wanted};
use crate::support::canary::SECRET;
use crate::support::goroot::with_tool;
use crate::support::nginx::webdav;
use crate::support::registry::{Auth, Config, TestRegistry};
use crate::support::toxiproxy::Toxiproxy;
use crate::support::{Ran, Sandbox};

pub(crate) const LINE: &str = "gimg build ./cmd/hello --output oci:out";

/// A machine on which Go has compiled nothing yet, and gimg neither.
pub(crate) fn empty(sandbox: Sandbox) -> Sandbox {
    let dir = sandbox.path("gocache");
    std::fs::create_dir(&dir).unwrap();
    sandbox.env("GOCACHE", dir.to_str().unwrap()).env("GIMG_CACHE", "off")
}

/// The same, with a compiler that writes down what it compiles.
pub(crate) fn watched() -> Sandbox {
    let machine = empty(hello());
    let log = machine.path("compiled");
    let script = format!("case \"$*\" in *-V=full*) ;; *) echo \"$@\" >>'{}' ;; esac", log.display());
    let go = with_tool(&machine, "compile", &script);
    machine.env("KO_GO_PATH", go.to_str().unwrap())
}

/// What a watched machine compiled.
pub(crate) fn compiled(machine: &Sandbox) -> Vec<String> {
    let log = std::fs::read_to_string(machine.path("compiled")).unwrap_or_default();
    log.lines().map(str::to_owned).collect()
}

pub(crate) fn hello() -> Sandbox {
    Sandbox::go("hello").env("GIMG_CACHE", "off")
}

/// Another machine has built it, with all of Go's library compiled before, and filled the server.
fn filled() -> (BuildCache, Ran) {
    let server = BuildCache::start();
    let first = hello().run_with(LINE, &["--remote-cache", &server.url(), "--remote-cache-write"]).ok();
    let seen = server.seen();
    assert!(count(&seen, "PUT", "/cas/") > 50, "{}", seen.len());
    (server, first)
}

fn count(seen: &[Wanted], method: &str, path: &str) -> usize {
    seen.iter().filter(|w| w.method == method && w.path.starts_with(path)).count()
}

/// How many outputs are in Go's directory.
fn outputs(sandbox: &Sandbox) -> usize {
    let dirs = std::fs::read_dir(sandbox.path("gocache")).unwrap().map(|e| e.unwrap().path());
    let names = dirs.filter(|d| d.is_dir()).flat_map(|d| std::fs::read_dir(d).unwrap());
    let names: Vec<String> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
    names.iter().filter(|name| name.ends_with("-d")).count()
}

#[test]
fn an_empty_machine_takes_all_from_the_server_and_compiles_nothing() {
    let (server, first) = filled();
    let machine = watched();
    let second = machine.run_with(LINE, &["--remote-cache", &server.url(), "-v"]).ok();
    assert_eq!(second.digest(), first.digest());
    assert_eq!(compiled(&machine), Vec::<String>::new());
    assert!(second.stderr.contains("objects fetched ahead"), "{}", second.stderr);
    let seen = server.seen();
    // The profile is asked for. All else stands in it, but for the linked program, which go asks for and never keeps, and
    // indexes of the two packages, if their files are old enough.
    assert!((2..=4).contains(&count(&seen, "GET", "/ac/")), "{}", seen.len());
    assert_eq!(count(&seen, "PUT", ""), 0, "{}", seen.len());
    let blobs: Vec<_> = seen.iter().filter(|w| w.path.starts_with("/cas/")).map(|w| &w.path).collect();
    let once: std::collections::BTreeSet<_> = blobs.iter().collect();
    assert_eq!(blobs.len(), once.len(), "nothing is fetched twice: {blobs:?}");
    // What was fetched lies where Go finds it without a server.
    let third = machine.run(LINE).ok();
    assert_eq!(third.digest(), first.digest());
    assert_eq!(server.seen().len(), 0);
    assert_eq!(machine.leftovers(), Vec::<String>::new());
}

#[test]
fn what_changed_is_compiled_and_the_rest_is_fetched() {
    let (server, first) = filled();
    let machine = empty(hello());
    let main = std::fs::read_to_string(machine.path("src/cmd/hello/main.go")).unwrap();
    machine.write("cmd/hello/main.go", &format!("{main}\nfunc init() {{ println(\"new\") }}\n"));
    let line = ["--remote-cache", &server.url(), "--remote-cache-write"];
    let changed = machine.run_with(LINE, &line).ok();
    assert_ne!(changed.digest(), first.digest());
    let seen = server.seen();
    let (asked, sent) = (count(&seen, "GET", "/ac/"), count(&seen, "PUT", "/cas/"));
    assert!((3..14).contains(&asked) && (2..10).contains(&sent), "{asked} {sent}");
    // A third machine gets that too, and the old: both stand in the profile.
    for text in [format!("{main}\nfunc init() {{ println(\"new\") }}\n"), main] {
        let machine = empty(hello());
        machine.write("cmd/hello/main.go", &text);
        let digest = machine.run_with(LINE, &["--remote-cache", &server.url()]).ok().digest();
        assert!([first.digest(), changed.digest()].contains(&digest));
        assert!((2..=4).contains(&count(&server.seen(), "GET", "/ac/")));
    }
}

#[test]
fn go_itself_uses_it() {
    let server = BuildCache::start();
    let program = format!("'{}' cacheprog -v --remote-cache {}", env!("CARGO_BIN_EXE_gimg"), server.url());
    let machine = hello().env("GOCACHEPROG", &format!("{program} --remote-cache-write"));
    let first = machine.run("go build -o a -trimpath -buildvcs=false ./cmd/hello").ok();
    assert!(first.stderr.contains(" 0 on the server, "), "{}", first.stderr);
    assert!(count(&server.seen(), "PUT", "/ac/") > 100);
    let other = empty(hello()).env("GOCACHEPROG", &program);
    let second = other.run("go build -o a -trimpath -buildvcs=false ./cmd/hello").ok();
    assert!(second.stderr.contains("0 were here"), "{}", second.stderr);
    // The linked program, and indexes of the two packages if their files are old enough.
    let nowhere = (1..=3).map(|count| format!(" {count} nowhere"));
    assert!(nowhere.into_iter().any(|words| second.stderr.contains(&words)), "{}", second.stderr);
    assert!(outputs(&other) > 50);
    let read = |sandbox: &Sandbox| std::fs::read(sandbox.path("src/a")).unwrap();
    assert!(read(&machine) == read(&other));
}

/// A wrong server: what it does, and what is said of it.
type Wrong = (&'static str, fn(&Wanted) -> Instead, &'static str);

#[test]
fn no_server_fails_a_build() {
    let wrong: [Wrong; 5] = [
        ("errors", |_| Instead::Status(500), "it answers 500"),
        ("busy", |_| Instead::Status(429), "it answers 429"),
        ("closes", |_| Instead::Close, "the build goes on without it"),
        ("refuses", |_| Instead::Status(401), "it answers 401"),
        ("moved", |_| Instead::Status(301), "it answers 301"),
    ];
    for (name, plan, words) in wrong {
        let server = BuildCache::start();
        server.plan(plan);
        let ran = hello().run_with(LINE, &["--remote-cache", &server.url(), "--remote-cache-write"]).ok();
        assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
        assert_eq!(ran.stderr.matches("remote cache").count(), 1, "{name}: said once: {}", ran.stderr);
        let seen = server.seen();
        assert!(seen.len() <= 4, "{name}: {seen:?}");
        let go = hello().env(
            "GOCACHEPROG",
            &format!("'{}' cacheprog --remote-cache {}", env!("CARGO_BIN_EXE_gimg"), server.url()),
        );
        assert!(go.run("go build -o a ./cmd/hello").ok().stderr.contains(words));
    }
    // Nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = hello().run_with(LINE, &["--remote-cache", &format!("http://{port}")]).ok();
    assert!(ran.stderr.contains("refused") && ran.stderr.contains("goes on without it"), "{}", ran.stderr);
}

#[test]
fn a_server_that_takes_nothing_still_gives() {
    let (server, first) = filled();
    server.plan(|wanted| match wanted.method.as_str() {
        "PUT" => Instead::Status(403),
        _ => Instead::Serve,
    });
    let machine = empty(hello());
    machine.write("cmd/hello/more.go", "package main\n\nfunc init() { println(\"more\") }\n");
    let ran = machine.run_with(LINE, &["--remote-cache", &server.url(), "--remote-cache-write"]).ok();
    assert_ne!(ran.digest(), first.digest());
    let seen = server.seen();
    assert!(count(&seen, "GET", "/cas/") > 20, "{}", seen.len());
    // go keeps the program's words to itself where all went well: here it is asked what they are.
    let program = format!("'{}' cacheprog --remote-cache-write --remote-cache", env!("CARGO_BIN_EXE_gimg"));
    let go = hello().env("GOCACHEPROG", &format!("{program} {}", server.url()));
    let said = go.run("go build -o a ./cmd/hello").ok().stderr;
    assert!(said.contains("it answers 403") && said.contains("nothing more is written"), "{said}");
}

#[test]
fn what_is_damaged_is_compiled_instead() {
    let (server, first) = filled();
    // One object, the profile, an answer that isn't one: each is as if it weren't there.
    let object = server.kept(|kept| {
        let blobs = kept.iter().filter(|(path, _)| path.starts_with("/cas/"));
        let mut sizes: Vec<(usize, String)> = blobs.map(|(path, b)| (b.len(), path.clone())).collect();
        sizes.sort();
        // Not what stands in the profile, and not the largest: that is Go's runtime, which takes long to compile.
        sizes.into_iter().find(|(size, _)| *size > 40 << 10).unwrap().1
    });
    let damaged = object.clone();
    server.plan(move |wanted| if wanted.path == damaged { Instead::Damage } else { Instead::Serve });
    let machine = empty(hello());
    let ran = machine.run_with(LINE, &["--remote-cache", &server.url()]).ok();
    assert_eq!(ran.digest(), first.digest());
    let seen = server.seen();
    assert!(seen.iter().any(|wanted| wanted.path == object), "{}", seen.len());
    server.plan(|_| Instead::Serve);
    for bytes in [&b"<html>not a cache</html>"[..], b"", &[0xff; 5000]] {
        let results = server.kept(|kept| {
            let results = kept.iter_mut().filter(|(path, _)| path.starts_with("/ac/"));
            results.map(|(_, value)| *value = bytes.to_vec()).count()
        });
        assert!(results > 100);
        // Go's library is compiled here. The rest is asked for, and nothing is believed.
        let ran = hello().run_with(LINE, &["--remote-cache", &server.url()]).ok();
        assert_eq!(ran.digest(), first.digest());
    }
}

#[test]
fn credentials_go_to_the_server_and_nowhere_else() {
    let server = BuildCache::start();
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("me:{SECRET}")));
    let url = format!("http://me:{SECRET}@{}", server.host());
    let bearer = format!("Bearer {SECRET}");
    for (sandbox, url, wanted) in [
        (hello(), &url, &basic),
        (hello().env("GIMG_REMOTE_CACHE_TOKEN", SECRET), &server.url(), &bearer),
        (hello().env("GIMG_REMOTE_CACHE_TOKEN", SECRET), &url, &bearer),
    ] {
        let sandbox = sandbox.env("GIMG_REMOTE_CACHE", url);
        // What is said and left is looked through for the secret by the sandbox.
        sandbox.run(&format!("{LINE} -v --remote-cache-write")).ok();
        let seen = server.seen();
        assert!(seen.len() > 1);
        for request in seen {
            assert_eq!(request.authorization.as_ref(), Some(wanted));
        }
    }
    server.plan(|_| Instead::Status(401));
    let refused = hello().run_with(LINE, &["--remote-cache", &url]).ok();
    assert!(refused.stderr.contains("it answers 401"), "{}", refused.stderr);
    let off = hello().env("GIMG_REMOTE_CACHE", &url);
    server.seen();
    off.run(&format!("{LINE} --remote-cache off")).ok();
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn words_that_cannot_be_meant_are_refused() {
    let sandbox = hello();
    for (args, words) in [
        (&["--remote-cache", "ftp://a"][..], "http://"),
        (&["--remote-cache", "http://"], "its URL is none"),
        (&["--remote-cache", "http://a/?b"], "its URL"),
        (&["--remote-cache-write"], "--remote-cache URL"),
    ] {
        sandbox.run_with(LINE, args).fails(2, &[words]);
    }
    let sandbox = sandbox.without("GOCACHE");
    sandbox.run("gimg cacheprog --remote-cache http://a").fails(2, &["GOCACHE"]);
}

/// What `gimg cacheprog` answers to this, in the order of ids.
fn talk(sandbox: &Sandbox, more: &[&str], text: &str) -> (i32, Vec<Value>, String) {
    let dir = sandbox.path("gocache");
    let mut command = sandbox.command("gimg cacheprog --dir");
    command.arg(dir).args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(text.as_bytes());
    });
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    writer.join().unwrap();
    let mut answers: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    answers.sort_by_key(|answer| answer["ID"].as_i64());
    (child.wait().unwrap().code().unwrap(), answers, err)
}

#[test]
fn the_protocol_is_gos() {
    let sandbox = empty(Sandbox::new());
    let action = BASE64_STANDARD.encode([7; 32]);
    let large = vec![b'x'; 300_000];
    let id = |bytes: &[u8]| BASE64_STANDARD.encode(sha2::Sha256::digest(bytes));
    let put = |number: u8, bytes: &[u8]| {
        let action = BASE64_STANDARD.encode([number; 32]);
        let head = json!({"ID": number, "Command": "put", "ActionID": action, "OutputID": id(bytes),
            "BodySize": bytes.len()});
        let body =
            if bytes.is_empty() { String::new() } else { format!("\"{}\"\n", BASE64_STANDARD.encode(bytes)) };
        format!("{head}\n\n{body}")
    };
    let get = |number: i32, action: &str| {
        format!("{}\n\n", json!({"ID": number, "Command": "get", "ActionID": action}))
    };
    let wrong = put(4, b"one").replace(&id(b"one"), &id(b"two"));
    let text = [
        get(1, &action),
        put(2, &large),
        put(3, b""),
        wrong,
        format!("{}\n\n", json!({"ID": 5, "Command": "what"})),
        get(6, "AAAA"),
        format!("{}\n\n", json!({"ID": 99, "Command": "close"})),
    ];
    let (code, answers, err) = talk(&sandbox, &[], &text.concat());
    assert_eq!(code, 0, "{err}");
    assert_eq!(answers.len(), 8, "{answers:?}");
    assert_eq!(answers[0], json!({"ID": 0, "KnownCommands": ["get", "put", "close"]}));
    assert_eq!(answers[1], json!({"ID": 1, "Miss": true}));
    let path = PathBuf::from(answers[2]["DiskPath"].as_str().unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), large);
    assert_eq!(std::fs::read(answers[3]["DiskPath"].as_str().unwrap()).unwrap(), b"");
    assert!(answers[4]["Err"].as_str().unwrap().contains("it isn't what go says it is"), "{answers:?}");
    assert!(answers[5]["Err"].is_string() && answers[6]["Miss"] == true && answers[7] == json!({"ID": 99}));
    // The next one finds it, with the time at which it was made.
    let text =
        get(1, &BASE64_STANDARD.encode([2; 32])) + &json!({"ID": 2, "Command": "close"}).to_string() + "\n";
    let (_, answers, _) = talk(&sandbox, &[], &text);
    assert_eq!(answers[1]["Size"], 300_000);
    assert_eq!(answers[1]["OutputID"], id(&large));
    assert_eq!(answers[1]["DiskPath"], path.to_str().unwrap());
    assert!(answers[1]["Time"].as_str().unwrap().starts_with("20"), "{answers:?}");
    // go is gone, or never was there.
    let (code, answers, err) = talk(&sandbox, &[], "");
    assert_eq!((code, answers.len(), err.as_str()), (0, 1, ""));
    let (code, _, err) = talk(&sandbox, &[], "hello\n");
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("only go starts it"), "{err}");
    let (code, ..) = talk(&sandbox, &[], &put(2, &large)[..2000]);
    assert_eq!(code, 3);
    assert_eq!(outputs(&sandbox), 2);
}

#[test]
#[ignore = "integration: nginx, toxiproxy"]
fn integration_nginx_keeps_it_also_far_away() {
    let server = webdav();
    let url = format!("http://{}/cache", server.host());
    let first = hello().run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
    let proxy = Toxiproxy::before(&server.host());
    for latency in [0, 5, 30] {
        proxy.heal();
        proxy.toxic("latency", "downstream", &json!({"latency": latency}));
        let machine = empty(hello());
        let far = format!("http://{}/cache", proxy.host());
        let ran = machine.run_with(LINE, &["--remote-cache", &far, "-v"]).ok();
        assert_eq!(ran.digest(), first.digest());
        assert!(ran.stderr.contains("objects fetched ahead"), "{}", ran.stderr);
    }
    // It goes away in the middle.
    proxy.heal();
    proxy.toxic("limit_data", "downstream", &json!({"bytes": 200_000}));
    let far = format!("http://{}/cache", proxy.host());
    let ran = empty(hello()).run_with(LINE, &["--remote-cache", &far]).ok();
    assert_eq!(ran.digest(), first.digest());
}

/// A registry whose repository `cache` was filled by another machine.
fn packed() -> (TestRegistry, String, Ran) {
    let registry = TestRegistry::start();
    let url = format!("oci://{}/cache", registry.host());
    let first = hello().run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
    assert_eq!(registry.tags("cache").len(), 1, "{:?}", registry.tags("cache"));
    assert_eq!(registry.incomplete(), Vec::<String>::new());
    (registry, url, first)
}

/// The manifest of the only profile in a repository.
fn manifest(registry: &TestRegistry) -> Value {
    let digest = registry.tags("cache").into_values().next().unwrap();
    serde_json::from_slice(&registry.bytes("cache", &digest)).unwrap()
}

#[test]
fn a_registry_keeps_it_in_packs() {
    let (registry, url, first) = packed();
    let made = manifest(&registry);
    assert_eq!(made["artifactType"], "application/vnd.gimg.build-cache.v1");
    assert_eq!(made["layers"].as_array().unwrap().len(), 2, "a profile and a pack: {made}");
    let before = registry.log().len();
    let machine = watched();
    let second = machine.run_with(LINE, &["--remote-cache", &url, "-v"]).ok();
    assert_eq!(second.digest(), first.digest());
    assert!(second.stderr.contains("objects fetched ahead"), "{}", second.stderr);
    assert_eq!(compiled(&machine), Vec::<String>::new());
    // A greeting, the manifest, the profile, the pack.
    assert!(registry.log().len() - before <= 5, "{:?}", &registry.log()[before..]);
    assert!(outputs(&machine) > 50);
    // What is new goes into a second pack; the first stays.
    let changed = |text: &str| {
        let machine = watched();
        machine.write("cmd/hello/more.go", &format!("package main\n\nfunc init() {{ println({text:?}) }}\n"));
        let ran = machine.run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
        assert_ne!(ran.digest(), first.digest());
        assert_eq!(compiled(&machine).len(), 1, "{:?}", compiled(&machine));
        manifest(&registry)
    };
    let large = format!("{:?}", (0..40_000).collect::<Vec<u32>>());
    let second = changed(&large);
    let layers = second["layers"].as_array().unwrap();
    assert!(layers.len() == 3 && layers[1] == made["layers"][1], "{second}");
    assert!(layers[2]["size"].as_u64() < layers[1]["size"].as_u64());
    // An old program is fetched as well as the new one.
    let old = empty(hello()).run_with(LINE, &["--remote-cache", &url]).ok();
    assert_eq!(old.digest(), first.digest());
    // Who only reads writes nothing, and plain go uses it too.
    let before = registry.tags("cache");
    let program = format!("'{}' cacheprog -v --remote-cache {url}", env!("CARGO_BIN_EXE_gimg"));
    let go = empty(hello()).env("GOCACHEPROG", &program);
    go.run("go build -o a -trimpath -buildvcs=false ./cmd/hello").ok();
    assert_eq!(registry.tags("cache"), before);
}

#[test]
fn packs_that_are_damaged_or_gone_cost_a_compile() {
    let (registry, url, first) = packed();
    let made = manifest(&registry);
    let pack = made["layers"][1]["digest"].as_str().unwrap().to_owned();
    // Go's library is compiled here: that it could be had isn't waited for.
    registry.lose_blob("cache", &pack);
    let ran = hello().run_with(LINE, &["--remote-cache", &url]).ok();
    assert_eq!(ran.digest(), first.digest());
    let machine = hello();
    machine.write("cmd/hello/more.go", "package main\n\nfunc init() { println(\"more\") }\n");
    machine.run_with(LINE, &["--remote-cache", &url, "--remote-cache-write"]).ok();
    assert_eq!(
        empty(hello())
            .env("GOFLAGS", "-modcacherw")
            .run_with(
                "gimg build ./cmd/hello --output oci:out --dry-run --format json",
                &["--remote-cache", &url]
            )
            .code,
        0
    );
    // A tag that names something else, a registry that refuses, one that isn't there.
    let digest = registry.put_blob("cache", &b"{}"[..]);
    let other = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": 2}, "layers": []});
    let tag = registry.tags("cache").into_keys().next().unwrap();
    registry.put_manifest("cache", &tag, "application/vnd.oci.image.manifest.v1+json", other.to_string());
    assert_eq!(hello().run_with(LINE, &["--remote-cache", &url]).ok().digest(), first.digest());
    let private =
        TestRegistry::with(Config { auth: Auth::Basic("a".to_owned(), "b".to_owned()), ..Config::default() });
    let refused = format!("oci://{}/cache", private.host());
    let ran = hello().run_with(LINE, &["--remote-cache", &refused, "--remote-cache-write"]).ok();
    assert!(ran.stderr.contains("the build goes on without it"), "{}", ran.stderr);
    hello().run_with(LINE, &["--remote-cache", "oci://UPPER"]).fails(2, &["UPPER"]);
}
