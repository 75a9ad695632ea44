//! registries.conf: mirrors are asked first and never trusted; blocked and insecure registries.

use std::path::Path;

use gimg::content::Graph;
use gimg::error::Kind;
use gimg::event::Event;
use gimg::registry::{Keychain, Options, Rules, Secret};

use crate::support::Sandbox;
use crate::support::canary::SECRET;
use crate::support::client::{Client, layer, multi, single};
use crate::support::front::{Asked, Front, Speaks, Then};
use crate::support::net::{Fixed, PUBLIC, short};
use crate::support::registry::TestRegistry;
use crate::support::servers::ca;

/// The rules of a file.
fn rules(text: &str) -> Rules {
    Rules::parse(text, Path::new("registries.conf")).unwrap()
}

/// An upstream `registry.test` and its mirror, both in front of registries that hold the same image.
struct World {
    upstream: Front,
    mirror: Front,
    graph: Graph,
    /// `registry.test:port/team/app`.
    name: String,
    _stores: [TestRegistry; 2],
}

impl World {
    async fn new(mirror: impl Fn(&Asked) -> Then + Send + Sync + 'static) -> Self {
        let stores = [TestRegistry::start(), TestRegistry::start()];
        let upstream = Front::start(Speaks::default(), &stores[0].host(), |_| Then::Pass);
        let front = Front::start(Speaks::default(), &stores[1].host(), mirror);
        let name = format!("registry.test:{}/team/app", upstream.port);
        for (store, path) in [(&stores[0], "team/app"), (&stores[1], "cache/team/app")] {
            let graph = image(&format!("{}/{path}", store.host()));
            Client::new().push(&graph).await.unwrap();
        }
        World { upstream, mirror: front, graph: image(&name), name, _stores: stores }
    }

    /// A client that knows the mirror; the entry can have more keys.
    fn client(&self, more: &str) -> Client {
        let (upstream, mirror) = (self.upstream.port, self.mirror.port);
        let text = format!(
            "[[registry]]\nlocation = \"registry.test:{upstream}\"\n[[registry.mirror]]\nlocation = \"mirror.test:{mirror}/cache\"\n{more}"
        );
        let names = Fixed::new(&[("registry.test", PUBLIC), ("mirror.test", PUBLIC)]);
        let keychain = Keychain::single(
            &format!("registry.test:{upstream}").parse().unwrap(),
            "user",
            Secret::new(SECRET),
        );
        let deadlines = short();
        Client::of(Options {
            ca: Some(ca()),
            names,
            keychain,
            deadlines,
            rules: rules(&text),
            ..Options::default()
        })
    }

    /// Everything is pulled, and right.
    async fn pull(&self, client: &Client) {
        client.holds(&format!("{}:v1", self.name), &self.graph).await;
    }

    fn asked(front: &Front) -> Vec<String> {
        let content = |a: &Asked| a.target != "/v2/";
        front.asked().iter().filter(|a| content(a)).map(|a| format!("{} {}", a.method, a.target)).collect()
    }
}

fn image(name: &str) -> Graph {
    single(name, &["v1"], &[layer(1, 3_000_000), layer(2, 10_000)])
}

fn warnings(client: &Client) -> usize {
    client.heard.count(|e| matches!(e, Event::Warning(text) if text.contains("the mirror mirror.test")))
}

#[tokio::test]
async fn what_a_mirror_has_comes_from_there_and_credentials_do_not_go_there() {
    let world = World::new(|asked| {
        // It asks for credentials, and gets by without.
        if asked.target == "/v2/" {
            let header = vec![("www-authenticate", "Basic realm=\"x\"".to_owned())];
            return Then::Answer(401, header, String::new());
        }
        Then::Pass
    })
    .await;
    let client = world.client("");
    world.pull(&client).await;
    assert_eq!(World::asked(&world.upstream), Vec::<String>::new());
    assert!(World::asked(&world.mirror).iter().all(|line| line.contains("/v2/cache/team/app/")));
    assert!(world.mirror.asked().iter().all(|a| !a.headers.contains_key("authorization")));
    assert_eq!(warnings(&client), 0);
    // What is pushed never goes to a mirror.
    let before = world.mirror.asked().len();
    client.push(&multi(&format!("{}/new", world.name), &["v1"])).await.unwrap();
    assert_eq!(world.mirror.asked().len(), before);
}

#[tokio::test]
async fn a_mirror_that_fails_is_left_with_one_warning() {
    for (status, warned) in [(500, 1), (401, 1), (429, 1), (404, 0)] {
        let world = World::new(move |_| Then::Answer(status, Vec::new(), String::new())).await;
        let client = world.client("");
        world.pull(&client).await;
        assert_eq!(warnings(&client), warned, "{status}");
        assert_eq!(client.heard.count(|e| matches!(e, Event::Retry { .. })), 0);
    }
    // One that isn't there at all, and one that says nothing.
    let mut world = World::new(|_| Then::Hang).await;
    let client = world.client("");
    world.pull(&client).await;
    assert_eq!(warnings(&client), 1);
    world.mirror.port = 1;
    let client = world.client("");
    world.pull(&client).await;
    assert_eq!(warnings(&client), 1);
}

#[tokio::test]
async fn wrong_content_of_a_mirror_never_gets_through() {
    // Manifests by digest, small blobs, and large ones whose bytes would be on their way long before the end.
    for part in ["/manifests/sha256", "10000", "3000000", "cut"] {
        let sizes = [(3_000_000, layer(1, 3_000_000)), (10_000, layer(2, 10_000))];
        let digests = sizes.map(|(size, blob)| (size, blob.descriptor.digest.to_string()));
        let world = World::new(move |asked| {
            let size =
                digests.iter().find(|(_, digest)| asked.target.ends_with(digest)).map(|(size, _)| *size);
            match size {
                Some(size) if part == size.to_string() => Then::Answer(200, Vec::new(), "x".repeat(size)),
                Some(size) if part == "cut" => Then::Answer(200, Vec::new(), "x".repeat(size / 2)),
                _ if asked.target.contains(part) => Then::Answer(200, Vec::new(), "{}".to_owned()),
                _ => Then::Pass,
            }
        })
        .await;
        let client = world.client("");
        let by_digest = format!("{}@{}", world.name, world.graph.root.descriptor.digest);
        client.holds(&by_digest, &world.graph).await;
        assert_eq!(warnings(&client), 1, "{part}");
        assert!(!World::asked(&world.upstream).is_empty(), "{part}");
    }
}

#[tokio::test]
async fn mirrors_for_digests_or_tags_get_only_those() {
    for (by, tags) in [("digest-only", false), ("tag-only", true)] {
        let world = World::new(|_| Then::Pass).await;
        world.pull(&world.client(&format!("pull-from-mirror = \"{by}\""))).await;
        let asked = World::asked(&world.mirror);
        assert_eq!(asked.iter().any(|line| line.contains("/manifests/v1")), tags, "{asked:?}");
        assert_eq!(asked.iter().any(|line| line.contains("sha256:")), !tags, "{asked:?}");
    }
}

#[tokio::test]
async fn a_location_is_where_a_name_is_pulled_from() {
    let world = World::new(|_| Then::Pass).await;
    let names = Fixed::new(&[("mirror.test", PUBLIC)]);
    let text = format!(
        "[[registry]]\nprefix = \"far.test/team\"\nlocation = \"mirror.test:{}/cache/team\"",
        world.mirror.port
    );
    let client = Client::of(Options { ca: Some(ca()), names, rules: rules(&text), ..Options::default() });
    client.resolve("far.test/team/app:v1").await.unwrap();
    // Pushing goes to the name itself.
    let error = client.push(&multi("far.test/team/app", &["v2"])).await.unwrap_err();
    assert!(error.to_string().contains("there is no host far.test"), "{error}");
}

#[tokio::test]
async fn rules_say_who_is_insecure_or_blocked() {
    let store = TestRegistry::start();
    let port = store.host().rsplit(':').next().unwrap().to_owned();
    let names = Fixed::new(&[("registry.test", PUBLIC)]);
    let text = format!(
        "[[registry]]\nlocation = \"registry.test:{port}/open\"\ninsecure = true\n[[registry]]\nlocation = \"bad.test\"\nblocked = true"
    );
    let client = Client::of(Options { names, rules: rules(&text), ..Options::default() });
    client.push(&multi(&format!("registry.test:{port}/open/app"), &["v1"])).await.unwrap();
    // Only that part of the registry.
    let error = client.push(&multi(&format!("registry.test:{port}/closed/app"), &["v1"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    for error in [
        client.resolve("bad.test/a:v1").await.unwrap_err(),
        client.push(&multi("bad.test/a", &["v1"])).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains("bad.test/a is blocked"), "{error}");
        assert!(error.to_string().contains("[registries.conf]"), "{error}");
    }
}

#[test]
fn the_command_line_reads_registries_conf() {
    let (here, there) = (TestRegistry::start(), TestRegistry::start());
    let manifest = single(&format!("{}/a", there.host()), &["v1"], &[layer(1, 10)]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Client::new().push(&manifest)).unwrap();
    let host = here.host();
    let text = format!(
        "[[registry]]\nlocation = \"{host}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        there.host()
    );
    let sandbox = Sandbox::new().cd("home").file(".config/containers/registries.conf", &text).cd("src");
    let ran = sandbox.run(&format!("gimg lock --base {host}/a:v1"));
    // It was found on the mirror, and is no image of a program: that isn't asked here.
    assert!(ran.code == 0 || !ran.stderr.contains("not found"), "{}", ran.stderr);
    assert!(there.asked("GET", "/manifests/v1") > 0 && here.asked("GET", "/manifests/v1") == 0);
    let bad = sandbox.path("bad.conf");
    std::fs::write(&bad, "[[registry]]\nlocation = 5\n").unwrap();
    let sandbox = sandbox.env("CONTAINERS_REGISTRIES_CONF", bad.to_str().unwrap());
    sandbox.run(&format!("gimg lock --base {host}/b:v1")).fails(3, &["bad.conf:2:12"]);
    let sandbox = sandbox.env("CONTAINERS_REGISTRIES_CONF", "/nowhere.conf");
    sandbox
        .run(&format!("gimg lock --base {host}/b:v1"))
        .fails(9, &["read CONTAINERS_REGISTRIES_CONF", "/nowhere.conf"]);
}
