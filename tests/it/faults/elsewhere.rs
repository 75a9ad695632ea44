//! Redirects, locations and mounts: where the next request goes, and what it may carry.

use std::time::Duration;

use gimg::content::{Blob, Content};
use gimg::error::Kind;
use gimg::registry::{Options, retry::Policy};

use super::case::{Case, LONG, all, keychain, of_layers};
use crate::support::client::{Client, layer};
use crate::support::registry::{Config, Fault, Form, Handle, When};

/// The largest chunk that the registry takes.
const CHUNK: usize = 512 * 1024;

/// The same host under another name.
fn other_name(handle: &Handle) -> String {
    format!("localhost:{}", handle.host().rsplit(':').next().unwrap())
}

/// Nothing of ours went to the other name, and something did go there.
fn bare_elsewhere(registry: &Handle) {
    let log = registry.log();
    let mut there = log.iter().filter(|l| l.headers["host"] == *other_name(registry)).peekable();
    assert!(there.peek().is_some(), "nothing went to the other name");
    for request in there {
        for header in ["authorization", "cookie", "referer"] {
            assert!(!request.headers.contains_key(header), "{header} of {}", request.target);
        }
    }
}

/// Sends requests with this method for `part` to the other name of the host.
fn redirect(r: &Handle, method: &'static str, part: &'static str, status: u16) {
    let own = r.host();
    r.hook(move |asked, handle| {
        let hit = asked.method == method && asked.target.contains(part) && asked.header("host") == Some(&own);
        let location = format!("http://{}{}", other_name(handle), asked.target);
        let cookie = ("set-cookie", "session=canary-5f1c9; Path=/".to_owned());
        hit.then(|| Fault::Status(status, vec![("location", location), cookie], String::new()))
    });
}

fn signed(config: &mut Config) {
    config.signed = true;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_to_another_host_carry_the_body_but_no_authorization() {
    let mut cases = Vec::new();
    for status in [307, 308] {
        let case = Case::new(format!("{status} to PUT"), move |r| redirect(r, "PUT", "/uploads/", status));
        cases.push(case.at(signed).then(|r, _| bare_elsewhere(r)));
        let case =
            Case::new(format!("{status} to PATCH"), move |r| redirect(r, "PATCH", "/uploads/", status));
        let case = case.at(signed).at(|c| c.max_chunk = CHUNK);
        let case = case.of(|repository| of_layers(repository, &["v1"], &[layer(1, CHUNK + 5)]));
        cases.push(case.then(|r, _| bare_elsewhere(r)));
    }
    for status in [301, 302, 303, 307, 308] {
        let case = Case::new(format!("{status} to HEAD"), move |r| redirect(r, "HEAD", "/blobs/", status));
        cases.push(case.at(signed).then(|r, _| bare_elsewhere(r)));
    }
    all(cases).await;
}

/// Answers requests with this method for `part` with so many redirects in a row.
fn hops(r: &Handle, method: &'static str, part: &'static str, count: usize) {
    r.hook(move |asked, _| {
        let hit = asked.method == method && asked.target.contains(part);
        let (target, hop) = asked.target.split_once("&hop=").unwrap_or((asked.target, "0"));
        let hop: usize = hop.parse().unwrap();
        let location = format!("{target}&hop={}", hop + 1);
        (hit && hop < count).then(|| Fault::Status(307, vec![("location", location)], String::new()))
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_have_an_end() {
    let mut cases = vec![Case::new("ten redirects", |r| hops(r, "PUT", "/uploads/", 10))];
    for (method, part) in
        [("PUT", "/uploads/"), ("POST", "/uploads/"), ("PUT", "/manifests/sha256:"), ("PUT", "/manifests/v1")]
    {
        let eleven =
            Case::new(format!("eleven redirects of {method} {part}"), move |r| hops(r, method, part, 11));
        cases.push(eleven.fails(Kind::Unavailable, &["redirects"]));
        let plan = move |r: &Handle| {
            r.hook(move |asked, _| {
                let hit = asked.method == method && asked.target.contains(part);
                let location = vec![("location", asked.target.to_owned())];
                hit.then(|| Fault::Status(307, location, String::new()))
            });
        };
        let circle = Case::new(format!("a circle at {method} {part}"), plan);
        cases.push(circle.fails(Kind::Unavailable, &["redirects"]));
    }
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locations_are_followed_as_written_and_never_to_a_private_place() {
    let mut cases = Vec::new();
    let forms = || [Form::Relative, Form::Absolute, Form::NetworkPath, Form::SchemeLess];
    for form in forms() {
        let name = format!("{form:?}");
        let plan = move |r: &Handle| r.fail(When::always("POST", "/uploads/"), Fault::Location(form.clone()));
        cases.push(Case::new(name, plan).at(|c| c.state = "a%2Bb=="));
    }
    for form in forms() {
        let name = format!("{form:?} in chunks");
        let plan = move |r: &Handle| {
            for method in ["POST", "PATCH", "GET"] {
                r.fail(When::always(method, "/uploads/"), Fault::Location(form.clone()));
            }
        };
        let case = Case::new(name, plan).at(|c| (c.state, c.max_chunk) = ("a%2Bb==", CHUNK));
        cases.push(case.of(|repository| of_layers(repository, &["v1"], &[layer(1, CHUNK + 5)])));
    }
    let elsewhere = |r: &Handle| {
        let form = Form::At(format!("http://{}", other_name(r)));
        r.fail(When::always("POST", "/uploads/"), Fault::Location(form));
    };
    let case = Case::new("another host", elsewhere).at(signed).at(|c| c.state = "a%2Bb==");
    cases.push(case.then(|r, _| bare_elsewhere(r)));
    for (form, word) in [
        (Form::Missing, "location"),
        (Form::At("http://169.254.11.7".to_owned()), "169.254.11.7"),
        (Form::At("file://".to_owned()), "file"),
    ] {
        let name = format!("{form:?}");
        let plan = move |r: &Handle| r.fail(When::always("POST", "/uploads/"), Fault::Location(form.clone()));
        cases.push(Case::new(name, plan).fails(Kind::Refused, &[word]));
    }
    all(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mounts_that_fail_become_uploads() {
    let base = layer(9, 30_000);
    let Content::Bytes(bytes) = base.content.clone() else { panic!("not in memory") };
    let mut faults = vec![(Some(Fault::Reset), 2), (Some(Fault::Lost), 2), (None, 0)];
    faults.push((Some(Fault::Hang(LONG)), 2));
    faults.extend([400, 401, 403, 404, 405, 429, 500].map(|status| (Some(Fault::status(status)), 2)));
    let mut cases = Vec::new();
    for (fault, most) in faults {
        let (bytes, descriptor) = (bytes.clone(), base.descriptor.clone());
        let name = format!("{fault:?} to a mount");
        let plan = move |r: &Handle| {
            r.put_blob("base", bytes.clone());
            if let Some(fault) = &fault {
                r.fail(When::always("POST", "mount="), fault.clone());
            }
        };
        let case = Case::new(name, plan).of(move |repository| {
            let from = repository.replace("team/app", "base").parse().unwrap();
            of_layers(
                repository,
                &["v1"],
                &[Blob { descriptor: descriptor.clone(), content: Content::Remote(from) }],
            )
        });
        let case = case.by(|host| {
            let retry = Policy { mount: Duration::from_millis(500), ..Policy::default() };
            Client::of(Options { keychain: keychain(host), retry, ..Options::default() })
        });
        cases.push(case.then(move |r, _| {
            let puts = r.log().iter().filter(|l| l.method == "PUT" && l.body == 30_000).count();
            assert!(puts <= most, "{puts} uploads of the layer");
        }));
    }
    let (bytes, descriptor) = (bytes.clone(), base.descriptor.clone());
    // 202: the answer's session is used, no second one is opened.
    let case = Case::new("202 to a mount", move |r| drop(r.put_blob("base", bytes.clone())))
        .at(|c| c.mounts = false);
    let case = case.of(move |repository| {
        let from = repository.replace("team/app", "base").parse().unwrap();
        of_layers(
            repository,
            &["v1"],
            &[Blob { descriptor: descriptor.clone(), content: Content::Remote(from) }],
        )
    });
    cases.push(case.then(|r, _| assert_eq!(r.asked("POST", "/uploads/"), 3)));
    all(cases).await;
}
