//! Where credentials go and where they don't: challenges of all sorts, servers that repeat what they were told, failed
//! logins, CI tokens, helpers, and the credential files that are wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use gimg::content::{Blob, Content};
use gimg::error::Kind;
use gimg::event::{Event, Put};
use gimg::registry::{Keychain, Options, Secret};

use crate::support::canary::{PAIR, SECRET};
use crate::support::client::{Client, layer, multi, own, single};
use crate::support::registry::{Auth, Config, Fault, TestRegistry, When};
use crate::support::{Ran, Sandbox, copy_tree};

fn bearer() -> TestRegistry {
    TestRegistry::with(Config { auth: Auth::Bearer("user".into(), SECRET.into()), ..Config::default() })
}

fn basic() -> TestRegistry {
    TestRegistry::with(Config { auth: Auth::Basic("user".into(), SECRET.into()), ..Config::default() })
}

/// A client that is given docker's configuration.
fn configured(config: &str) -> Client {
    let env = BTreeMap::from([("DOCKER_AUTH_CONFIG".to_owned(), config.to_owned())]);
    Client::with(Keychain::load(&env).unwrap())
}

/// One whose refresh token is the secret.
fn identity(host: &str, more: &str) -> Client {
    configured(&format!(r#"{{"auths": {{"{host}": {{"identitytoken": "{SECRET}"{more}}}}}}}"#))
}

fn unauthorized(challenges: &[&str]) -> Fault {
    let headers = challenges.iter().map(|c| ("www-authenticate", (*c).to_owned())).collect();
    Fault::Status(401, headers, String::new())
}

/// The scopes of all tokens that were asked for.
fn scopes(registry: &TestRegistry) -> Vec<String> {
    let asked = registry.log().into_iter().filter(|l| l.target.starts_with("/token"));
    asked.map(|l| l.target.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")).collect()
}

#[tokio::test]
async fn challenges_come_in_many_forms() {
    for (challenges, realm) in [
        (vec!["Negotiate", "NTLM abc==", "BEARER realm=\"/token\" , service = test"], Some("/token")),
        (vec!["Negotiate YII=, Basic realm=\"x\", Bearer realm=\"/token\""], Some("token")),
        (vec!["Bearer realm=/token"], None),
        (vec!["Bearer realm=\"/token?account=a%2Bb\",service=\"a,\\\"b\",error=\"invalid_token\""], None),
    ] {
        let registry = bearer();
        registry.configure(|config| config.realm = realm.map(str::to_owned));
        registry.fail(When::once("GET", "/v2/"), unauthorized(&challenges));
        Client::user(&registry.host()).push(&multi(&own(&registry), &["v1"])).await.unwrap();
        let first = scopes(&registry).swap_remove(0);
        assert!(first.contains("scope=repository:team/app:pull,push"), "{first}");
        assert_eq!(first.contains("account=a%2Bb"), challenges[0].contains("account"), "{first}");
    }
    // Nothing that gimg can answer.
    let registry = bearer();
    registry.fail(When::always("GET", "/v2/"), unauthorized(&["Negotiate"]));
    registry.fail(When::always("HEAD", "/v2/"), unauthorized(&["Negotiate"]));
    registry.fail(When::always("POST", "/v2/"), unauthorized(&["Negotiate"]));
    let error = Client::user(&registry.host()).push(&multi(&own(&registry), &["v1"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert_eq!(registry.log().iter().filter(|l| l.authorization.is_some()).count(), 0);
}

#[tokio::test]
async fn a_refusal_without_a_challenge_means_the_one_before() {
    let registry = bearer();
    registry.fail(When::once("HEAD", "/blobs/"), Fault::status(401));
    Client::user(&registry.host()).push(&multi(&own(&registry), &["v1"])).await.unwrap();
}

#[tokio::test]
async fn a_challenge_that_knows_less_takes_no_right_away() {
    let registry = bearer();
    let challenge =
        format!("Bearer realm=\"http://{}/token\",scope=\"repository:team/app:pull\"", registry.host());
    registry.fail(When::times(3, "HEAD", "/blobs/"), unauthorized(&[&challenge]));
    Client::user(&registry.host()).push(&multi(&own(&registry), &["v1"])).await.unwrap();
    for asked in scopes(&registry) {
        assert!(asked.ends_with("scope=repository:team/app:pull,push"), "{asked}");
    }
}

#[tokio::test]
async fn a_right_that_the_challenge_names_is_asked_for() {
    let registry = bearer();
    Client::user(&registry.host()).push(&multi(&own(&registry), &["v1"])).await.unwrap();
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",error=\"insufficient_scope\",scope=\"repository:team/app:pull,push,delete \
         repository:more:pull\"",
        registry.host()
    );
    registry.fail(When::times(2, "GET", "/manifests/"), unauthorized(&[&challenge]));
    let client = Client::user(&registry.host());
    let error = client.resolve(&format!("{}:v1", own(&registry))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth);
    client.resolve(&format!("{}:v1", own(&registry))).await.unwrap();
    let asked = scopes(&registry);
    assert!(
        asked.iter().any(|s| s.ends_with("scope=repository:team/app:pull,push&scope=repository:more:pull"))
    );
    assert!(!asked.iter().any(|s| s.contains("delete")), "{asked:?}");
}

#[tokio::test]
async fn a_mount_whose_source_gets_no_token_is_an_upload() {
    for status in [400, 401, 403, 500] {
        let registry = bearer();
        let client = Client::user(&registry.host());
        client.push(&multi(&own(&registry), &["v1"])).await.unwrap();
        registry.fail(
            When::always("GET", "%3Apull%2Cpush&scope=repository%3Ateam"),
            Fault::error(status, "UNSUPPORTED", "invalid repository name"),
        );
        let remote = Content::Remote(own(&registry).parse().unwrap());
        let there = Blob { descriptor: layer(1, 100_000).descriptor, content: remote };
        let digest = there.descriptor.digest;
        // A run that begins here: the login isn't known to be good.
        for (client, name) in [(client, "one"), (Client::user(&registry.host()), "two")] {
            let to = format!("{}/{name}", registry.host());
            let graph = single(&to, &["v1"], std::slice::from_ref(&there));
            client.push(&graph).await.unwrap();
            let how = client.heard.how(digest);
            assert_eq!(how.last(), Some(&Put::Sent), "{status}: {how:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_login_is_not_repeated() {
    let wrong = |host: &str| {
        Client::with(Keychain::single(&host.parse().unwrap(), "user", Secret::new(format!("{SECRET}-wrong"))))
    };
    let registry = bearer();
    let client = wrong(&registry.host());
    for repository in [own(&registry), format!("{}/other", registry.host())] {
        let error = client.push(&multi(&repository, &["v1"])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Auth, "{error}");
    }
    assert_eq!(scopes(&registry).len(), 1);
    let registry = basic();
    let client = wrong(&registry.host());
    for repository in [own(&registry), format!("{}/other", registry.host())] {
        let error = client.push(&single(&repository, &["v1"], &[])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Auth, "{error}");
    }
    // Requests that were on their way together can't know of each other.
    assert_eq!(registry.log().iter().filter(|l| l.authorization.is_some()).count(), 1);
    // A 401 that comes once the login was good is about something else.
    let client = Client::user(&registry.host());
    client.push(&multi(&own(&registry), &["v1"])).await.unwrap();
    registry.fail(When::once("GET", "/manifests/"), unauthorized(&["Basic realm=\"x\""]));
    let reference = format!("{}:v1", own(&registry));
    assert_eq!(client.resolve(&reference).await.unwrap_err().kind(), Kind::Auth);
    client.resolve(&reference).await.unwrap();
}

#[tokio::test]
async fn refresh_tokens_stay_where_they_were_sent() {
    let elsewhere = bearer();
    let registry = bearer();
    let location = format!("http://{}/token", elsewhere.host());
    for status in [307, 308] {
        let redirect = Fault::Status(status, vec![("location", location.clone())], String::new());
        registry.fail(When::once("POST", "/token"), redirect);
        let client = identity(&registry.host(), "");
        let error = client.push(&multi(&own(&registry), &["v1"])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Auth, "{error}");
        assert!(error.to_string().contains("credentials don't follow a redirect"), "{error}");
    }
    assert_eq!(elsewhere.log(), []);
    // A GET may go on, without what it had for the first server.
    let redirect = Fault::Status(307, vec![("location", location)], String::new());
    registry.fail(When::once("GET", "/token"), redirect);
    let error = Client::user(&registry.host()).push(&multi(&own(&registry), &["v1"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert_eq!(elsewhere.log().len(), 1);
    assert!(elsewhere.log().iter().all(|l| l.authorization.is_none()));
}

#[tokio::test]
async fn scopes_are_repeated_in_get_and_joined_in_post() {
    let registry = bearer();
    let client = identity(&registry.host(), "");
    client.push(&multi(&own(&registry), &["v1"])).await.unwrap();
    let remote = Content::Remote(own(&registry).parse().unwrap());
    let there = Blob { descriptor: layer(1, 100_000).descriptor, content: remote };
    let digest = there.descriptor.digest;
    client.push(&single(&format!("{}/other", registry.host()), &["v1"], &[there])).await.unwrap();
    // The registry reads one scope with blanks: a second one would not count.
    assert_eq!(client.heard.how(digest).last(), Some(&Put::Mounted));
    assert_eq!(registry.asked("GET", "/token"), 0);
    // A name that is none can't be used with Basic where POST isn't known.
    let registry = bearer();
    registry.fail(When::always("POST", "/token"), Fault::status(404));
    let client = identity(&registry.host(), r#", "username": "<token>""#);
    let error = client.push(&multi(&own(&registry), &["v1"])).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Auth, "{error}");
    assert_eq!(registry.asked("GET", "/token"), 0);
}

#[tokio::test]
async fn a_token_that_ends_soon_is_replaced_before_an_upload() {
    let registry = bearer();
    registry.configure(|config| config.token_life = Some(4));
    // After this it has less than half of its life left, but more than a quarter: enough for anything but an upload.
    registry.fail(When::once("POST", "/blobs/uploads/"), Fault::Delay(Duration::from_millis(2200)));
    let client = Client::user(&registry.host());
    client.push(&single(&own(&registry), &["v1"], &[])).await.unwrap();
    let log = registry.log();
    let place = |method: &str, part: &str| {
        log.iter().rposition(|l| l.method == method && l.target.contains(part)).unwrap()
    };
    let tokens = log.iter().filter(|l| l.target.starts_with("/token")).count();
    assert!(tokens >= 2, "{tokens}");
    assert!(log.iter().all(|l| l.status != 401 || l.number < 2), "no request came with a dead token");
    assert!(place("GET", "/token") > place("POST", "/blobs/uploads/"));
}

/// A registry that says again whatever it was told.
fn parrot(auth: Auth) -> TestRegistry {
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    registry.hook(|asked, _| {
        let said = asked.headers.get("authorization").and_then(|v| v.to_str().ok())?.to_owned();
        let code = said.split(' ').next_back().unwrap_or_default().to_owned();
        let form = format!("refresh_token={SECRET}&{PAIR}");
        match (asked.method, asked.target) {
            (_, target) if target.starts_with("/token") => None,
            ("HEAD", _) => None,
            ("POST", _) => Some(Fault::error(400, &code, &format!("\\\"{said}\\\" {SECRET} {form}"))),
            _ => Some(Fault::error(403, "DENIED", &said)),
        }
    });
    registry
}

/// A sandbox with an image in the layout `image`, which took a compile to make.
fn packed() -> Sandbox {
    let sandbox = Sandbox::go("hello");
    sandbox.run("gimg build ./cmd/hello --output oci:image").ok();
    sandbox
}

fn login(host: &str) -> String {
    format!(r#"{{"auths": {{"{host}": {{"auth": "{PAIR}"}}}}}}"#)
}

/// Every command is looked through by the sandbox itself; this only makes sure that there was something to find.
#[test]
fn servers_that_repeat_secrets_are_not_repeated() {
    let (user, secret) = (String::from("user"), SECRET.to_owned());
    let mut sandbox = packed();
    for auth in [Auth::Basic(user.clone(), secret.clone()), Auth::Bearer(user, secret)] {
        let registry = parrot(auth);
        sandbox = sandbox.env("DOCKER_AUTH_CONFIG", &login(&registry.host()));
        for more in ["", " -v", " --format json", " -v --format json"] {
            let ran = sandbox.run(&format!("gimg push image {}/team/app{more}", registry.host()));
            assert!([6, 10].contains(&ran.code), "{}", ran.stderr);
            assert!(ran.stderr.contains("***"), "{}", ran.stderr);
        }
        let base = format!("gimg build ./cmd/hello --base {}/base:v1 -v", registry.host());
        assert!(sandbox.run(&base).stderr.contains("***"));
        assert!(sandbox.run(&format!("gimg lock ./cmd/hello --base {}/b:1", registry.host())).code != 0);
    }
}

#[test]
fn a_token_server_that_repeats_the_login_is_not_repeated() {
    let registry = bearer();
    let sandbox = packed().env("DOCKER_AUTH_CONFIG", &login(&registry.host()));
    for words in
        [SECRET, PAIR, "user=canary%2D5f1c9", &format!("Basic {PAIR}"), &format!("{SECRET}\\n{PAIR}")]
    {
        registry.fail(When::once("GET", "/token"), Fault::error(401, words, words));
        let ran = sandbox.run(&format!("gimg push image {}/team/app -v", registry.host()));
        ran.fails(6, &["get a token for"]);
        registry.heal();
    }
}

#[test]
fn a_proxys_password_is_not_shown() {
    let proxy = format!("http://user:{SECRET}@127.0.0.1:1");
    let sandbox = Sandbox::go("hello").without("NO_PROXY").env("HTTPS_PROXY", &proxy);
    let ran = sandbox.run("gimg build ./cmd/hello --base r.invalid/base:v1 -v");
    assert_eq!(ran.code, 7, "{}", ran.stderr);
}

#[test]
fn the_job_token_of_ci_is_used_for_its_own_registry() {
    let auth = Auth::Bearer("gitlab-ci-token".into(), SECRET.into());
    let registry = TestRegistry::with(Config { auth, ..Config::default() });
    let host = registry.host();
    let line = format!("gimg push image {host}/team/app");
    let sandbox = packed().env("CI_JOB_TOKEN", SECRET);
    sandbox.run(&line).fails(6, &[]);
    let sandbox = sandbox.env("CI_REGISTRY", &host);
    sandbox.run(&line).ok();
    // What was configured comes first.
    let config = format!(r#"{{"auths": {{"{host}": {{"username": "me", "password": "{SECRET}"}}}}}}"#);
    sandbox.env("DOCKER_AUTH_CONFIG", &config).run(&line).fails(6, &["unknown user"]);
}

/// An open registry that gives tokens to strangers, and refuses those who log in.
fn for_strangers() -> TestRegistry {
    let registry = TestRegistry::start();
    let host = registry.host();
    registry.hook(move |asked, _| {
        let known = asked.headers.get("authorization").is_some();
        match asked.target {
            target if target.starts_with("/token") && known => {
                Some(Fault::error(403, "DENIED", "no right to read packages"))
            }
            target if target.starts_with("/token") => {
                Some(Fault::Status(200, Vec::new(), r#"{"token": "anonymous"}"#.to_owned()))
            }
            _ if known => None,
            _ => Some(unauthorized(&[&format!("Bearer realm=\"http://{host}/token\"")])),
        }
    });
    registry
}

#[tokio::test]
async fn what_the_surroundings_offer_never_spoils_a_public_pull() {
    let registry = for_strangers();
    let reference = format!("{}:v1", own(&registry));
    Client::new().push(&multi(&own(&registry), &["v1"])).await.unwrap();
    let client = |env: &[(&str, &str)]| {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Client::of(Options { keychain: Keychain::load(&env).unwrap(), ..Options::default() })
    };
    let host = registry.host();
    let offered = client(&[("CI_REGISTRY", &host), ("CI_JOB_TOKEN", SECRET)]);
    offered.resolve(&reference).await.unwrap();
    let told = |e: &Event| matches!(e, Event::Detail(text) if text.contains("CI_JOB_TOKEN is of no use"));
    assert_eq!(offered.heard.count(told), 1);
    // Who pushes needs it, and is told why it isn't enough.
    let error = offered.push(&multi(&format!("{host}/new"), &["v1"])).await.unwrap_err();
    assert!(error.to_string().contains("no right to read packages"), "{error}");
    // So is who named it.
    let config = format!(r#"{{"auths": {{"{host}": {{"auth": "{PAIR}"}}}}}}"#);
    let named = client(&[("DOCKER_AUTH_CONFIG", &config)]);
    assert_eq!(named.resolve(&reference).await.unwrap_err().kind(), Kind::Auth);
}

/// Pushes the image to a registry that needs credentials, with this configuration and these helpers.
fn with_helpers(image: &Sandbox, config: &str, helpers: &[(&str, &str)]) -> Ran {
    let registry = basic();
    let host = registry.host();
    let config = config.replace("HOST", &host).replace("SECRET", SECRET).replace("PAIR", PAIR);
    let mut sandbox = Sandbox::new();
    copy_tree(&image.path("src/image"), &sandbox.path("src/image"));
    sandbox.write("../bin/readme", "");
    for (name, script) in helpers {
        // Another process writes: one that this process has open can't be run while a test forks.
        let make = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod +x "$2""#;
        let file = format!("../bin/docker-credential-{name}");
        sandbox.run_with("sh -c", &[make, "sh", &script.replace("SECRET", SECRET), &file]).ok();
        sandbox.may_hold_secrets(&file["../".len()..]);
    }
    let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").unwrap());
    sandbox = sandbox.env("PATH", &path);
    sandbox.write("../home/.docker/config.json", &config);
    sandbox.run(&format!("gimg push image {host}/team/app -v"))
}

#[test]
fn bad_credential_files_and_helpers_are_named_and_not_quoted() {
    let image = packed();
    let helper = r#"{"credHelpers": {"HOST": "x"}}"#;
    for (config, script, words) in [
        ("{\"auths\": {\"HOST\": ", None, &["config.json", "not a docker configuration, line 1 column"][..]),
        ("SECRET", None, &["config.json", "line 1 column 1"]),
        (
            r#"{"auths": {"HOST": {"auth": "!SECRET"}}}"#,
            None,
            &["config.json", "auths \"127.0.0.1:", "base64"],
        ),
        (r#"{"auths": {"HOST": {"auth": "Y2FuYXJ5LTVmMWM5"}}}"#, None, &["config.json", "auth has no colon"]),
        (r#"{"auths": {"https://me:SECRET@r.io": {"auth": "!"}}}"#, None, &["auths \"r.io\""]),
        (helper, None, &["docker-credential-x is not installed", "127.0.0.1:", "config.json"]),
        (helper, Some("echo SECRET; echo SECRET >&2"), &["helper \"x\"", "its answer is not JSON"]),
        (helper, Some(r#"echo '{"Username": "SECRET"}'"#), &["helper \"x\"", "its answer has no Secret"]),
        (helper, Some("echo SECRET; exit 3"), &["helper \"x\"", "exit status: 3"]),
        (helper, Some("yes SECRET"), &["helper \"x\"", "its answer is too long"]),
        (r#"{"credHelpers": {"HOST": "../bin/x"}}"#, Some("touch ran"), &["invalid helper name"]),
        (r#"{"credsStore": "a/b"}"#, None, &["invalid helper name"]),
    ] {
        let helpers: Vec<_> = script.iter().map(|script| ("x", *script)).collect();
        with_helpers(&image, config, &helpers).fails(6, words);
    }
}

#[test]
fn a_missing_store_for_everything_is_a_warning() {
    let image = packed();
    // There is another login, so the store was not needed.
    let ran =
        with_helpers(&image, r#"{"credsStore": "gone", "auths": {"HOST": {"auth": "PAIR"}}}"#, &[]).ok();
    assert_eq!(ran.stderr.matches("docker-credential-gone is not installed").count(), 1, "{}", ran.stderr);
    let script = r#"printf '{"ServerURL": "x", "Username": "user", "Secret": "SECRET"}'"#;
    with_helpers(&image, r#"{"credsStore": "x"}"#, &[("x", script)]).ok();
}
