//! Lists that come in pages: tags and referrers, however a registry writes them, and no further than is safe.

use gimg::error::Kind;
use gimg::oci::{Descriptor, Digest, ImageIndex, MediaType, Repository};

use crate::support::client::{Client, layer, own, single};
use crate::support::registry::{Fault, TestRegistry, When};
use crate::support::servers::Server;

fn repository(registry: &TestRegistry) -> Repository {
    own(registry).parse().unwrap()
}

fn json(body: &str, link: &str) -> Fault {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if !link.is_empty() {
        headers.push(("link", link.to_owned()));
    }
    Fault::Status(200, headers, body.to_owned())
}

async fn tags(client: &Client, repository: &Repository) -> Vec<String> {
    let tags = client.registry.tags(repository).await.unwrap();
    tags.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn tags_come_in_pages_of_a_thousand() {
    let registry = TestRegistry::start();
    let client = Client::new();
    let graph = single(&own(&registry), &[], &[layer(1, 10)]);
    client.copier().content(&graph).await.unwrap();
    let names: Vec<String> = (0..2500).map(|n| format!("t{n:04}")).collect();
    let digest = graph.root.descriptor.digest.to_string();
    let bytes = registry.bytes("team/app", &digest);
    for name in &names {
        registry.put_manifest("team/app", name, MediaType::MANIFEST.as_str(), bytes.clone());
    }
    assert_eq!(tags(&client, &repository(&registry)).await, names);
    assert_eq!(registry.asked("GET", "/tags/list?n=1000"), 3);
    let nobody = format!("{}/team/none", registry.host()).parse().unwrap();
    let error = client.registry.tags(&nobody).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
}

#[tokio::test]
async fn real_registries_list_their_tags() {
    for server in [Server::olareg(), Server::distribution()] {
        let client = Client::new();
        let name = format!("{}/team/app", server.host());
        client.push(&single(&name, &["a", "b", "c"], &[layer(1, 10)])).await.unwrap();
        assert_eq!(tags(&client, &name.parse().unwrap()).await, ["a", "b", "c"]);
    }
}

#[tokio::test]
async fn odd_lists_of_tags_are_read() {
    let registry = TestRegistry::start();
    let client = Client::new();
    let repository = repository(&registry);
    for (body, expected) in [
        (r#"{"name":"x","tags":null}"#, &[][..]),
        (r#"{"name":"x"}"#, &[]),
        (r#"{"tags":["a",null,"sha256:00","-x","","b",7,"ü"]}"#, &["a", "b"]),
    ] {
        registry.fail(When::once("GET", "/tags/list"), json(body, ""));
        assert_eq!(tags(&client, &repository).await, expected, "{body}");
    }
    // A relative link, with a page that is empty.
    registry.fail(When::once("GET", "/tags/list"), json(r#"{"tags":["a"]}"#, "<list?p=2>; rel=next"));
    registry.fail(When::once("GET", "/tags/list?p=2"), json(r#"{"tags":null}"#, "</else?p=3>; rel=\"next\""));
    registry.fail(When::once("GET", "/else?p=3"), json(r#"{"tags":["b"]}"#, "</else?p=1>; rel=\"prev\""));
    assert_eq!(tags(&client, &repository).await, ["a", "b"]);
    for body in ["<html>", "[]", r#"{"tags":"a"}"#, ""] {
        registry.fail(When::once("GET", "/tags/list"), json(body, ""));
        let error = client.registry.tags(&repository).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{body}: {error}");
    }
}

#[tokio::test]
async fn pages_that_lead_away_back_or_on_for_ever_are_refused() {
    let (registry, elsewhere) = (TestRegistry::start(), TestRegistry::start());
    let client = Client::new();
    let repository = repository(&registry);
    for link in
        [format!("<http://{}/v2/>; rel=next", elsewhere.host()), "<file:///etc/passwd>; rel=next".to_owned()]
    {
        registry.fail(When::once("GET", "/tags/list"), json("{}", &link));
        let error = client.registry.tags(&repository).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
    }
    assert_eq!(elsewhere.log().len(), 0);
    for link in ["<?p=1>; rel=next", "</v2/team/app/tags/list?p=1>; rel=next"] {
        registry.fail(When::once("GET", "/tags/list"), json("{}", "</v2/team/app/tags/list?p=1>; rel=next"));
        registry.fail(When::times(2, "GET", "/tags/list?p=1"), json("{}", link));
        let error = client.registry.tags(&repository).await.unwrap_err();
        assert!(error.to_string().contains("lead back"), "{error}");
        registry.heal();
    }
}

#[tokio::test]
async fn referrers_come_in_pages_and_once() {
    let registry = TestRegistry::start();
    let client = Client::new();
    let repository = repository(&registry);
    let subject = Digest::of(b"subject");
    let entry = |text: &str, kind: &str| {
        let mut entry = Descriptor::of(MediaType::MANIFEST, text.as_bytes());
        entry.artifact_type = Some(MediaType::from(kind.to_owned()));
        entry
    };
    let page = |entries: &[Descriptor], link: &str| {
        let index = ImageIndex::new(entries.to_vec(), Default::default());
        let body = serde_json::to_string(&index).unwrap();
        let mut headers = vec![("content-type", format!("{}; charset=utf-8", MediaType::INDEX))];
        if !link.is_empty() {
            headers.push(("link", link.to_owned()));
        }
        // It says that it filtered, and didn't.
        headers.push(("oci-filters-applied", "artifactType".to_owned()));
        Fault::Status(200, headers, body)
    };
    let (a, b, c) = (entry("a", "x/y+z"), entry("b", "other"), entry("c", "x/y+z"));
    let kind = MediaType::from("x/y+z".to_owned());
    for (wanted, expected) in
        [(None, vec![a.clone(), b.clone(), c.clone()]), (Some(&kind), vec![a.clone(), c.clone()])]
    {
        registry.fail(When::once("GET", "/referrers/"), page(&[a.clone(), b.clone()], "<?page=2>; rel=next"));
        registry.fail(When::once("GET", "?page=2"), page(&[b.clone(), c.clone()], ""));
        let found = client.registry.referrers(&repository, &subject, wanted).await.unwrap();
        assert_eq!(found, expected);
    }
    assert_eq!(registry.asked("GET", &format!("/referrers/{subject}?artifactType=x/y%2Bz")), 1);
    // What breaks in the middle is no list, and no reason to look elsewhere.
    registry.fail(When::once("GET", "/referrers/"), page(&[a], "<?page=2>; rel=next"));
    registry.fail(When::once("GET", "?page=2"), Fault::Status(404, Vec::new(), String::new()));
    assert!(client.registry.referrers(&repository, &subject, None).await.is_err());
}
