//! Edits in place: tables of notations, and of what is refused. Properties of random text: `fuzzing::yaml_edits`.

use std::collections::BTreeMap;

use super::*;
use crate::error::{Error, Kind};

/// A digest whose hex digits are all `digit`.
fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn image(program: &str, digit: char) -> Image {
    let path = format!("me/{}", program.trim_start_matches("./").replace('/', "-"));
    let reference = format!("r.io/{path}@{}", digest(digit));
    Image { reference, registry: "r.io".into(), path, digest: digest(digit), tag: "v2".into() }
}

fn images(draft: &Draft, digit: char) -> BTreeMap<String, Image> {
    draft.sites.iter().map(|s| (s.program.clone(), image(&s.program, digit))).collect()
}

fn put(draft: &Draft, digit: char) -> Result<String, Error> {
    draft.with(&images(draft, digit))
}

/// `A@` and `B@` stand for the digests of the first and the second run.
fn short(text: &str) -> String {
    text.replace(&digest('a'), "A@").replace(&digest('b'), "B@")
}

fn marked(text: &str, digit: char) -> Result<String, Error> {
    put(&Draft::read("f.yaml", text.as_bytes(), true)?, digit)
}

#[test]
fn a_reference_leaves_a_comment_by_which_the_next_run_finds_it() {
    for (before, after) in [
        ("image: ko://./cmd/app\n", "image: r.io/me/cmd-app@A@ # ko://./cmd/app\n"),
        ("image: ko://app", "image: r.io/me/app@A@ # ko://app"),
        ("- image:   'ko://app'   # the server\n", "- image:   'r.io/me/app@A@' # ko://app   # the server\n"),
        ("a: \"ko://app\"\t# x\r\nb: 1\r\n", "a: \"r.io/me/app@A@\" # ko://app\t# x\r\nb: 1\r\n"),
        ("a: &i !!str ko://app\nb: *i\n", "a: &i !!str r.io/me/app@A@ # ko://app\nb: *i\n"),
        ("- ko://a\n- ko://b\n", "- r.io/me/a@A@ # ko://a\n- r.io/me/b@A@ # ko://b\n"),
        (
            "\u{feff}a: ko://a\n--- # two\nb: ko://a\n...\n",
            "\u{feff}a: r.io/me/a@A@ # ko://a\n--- # two\nb: r.io/me/a@A@ # ko://a\n...\n",
        ),
        // Its own comment is there: the value alone was put back.
        ("a: ko://a # ko://a\n", "a: r.io/me/a@A@ # ko://a\n"),
        // A chart's keys, and a registry of its own.
        (
            "image:\n  repository: ko://a # x\n  tag: 1.2\n",
            "image:\n  repository: r.io/me/a # ko://a # x\n  tag: v2@A@\n",
        ),
        (
            "registry: ''\nrepository: \"ko://a\"\ndigest:\n# end\n",
            "registry: 'r.io'\nrepository: \"me/a\" # ko://a\ndigest: A@\n# end\n",
        ),
    ] {
        let first = marked(before, 'a').unwrap_or_else(|e| panic!("{e}\n{before}"));
        assert_eq!(short(&first), after);
        assert_eq!(marked(&first, 'a').unwrap(), first, "a second run changes nothing");
        let second = marked(&first, 'b').unwrap();
        assert_eq!(short(&second), after.replace("A@", "B@"), "a new build changes the digest alone");
    }
}

#[test]
fn comments_count_only_beside_images_by_digest() {
    let pinned = format!("a: r.io/x@{}", digest('c'));
    let sites = |text: &str| {
        let draft = Draft::read("f.yaml", text.as_bytes(), true).unwrap();
        (draft.sites.len(), draft.remarks.len())
    };
    for (text, expected) in [
        (format!("{pinned} # ko://./x\n"), (1, 0)),
        (format!("{pinned} #ko://./x more words\n"), (1, 0)),
        (format!("{pinned} # see ko://./x\n"), (0, 0)),
        (format!("{pinned} # ko://\n"), (0, 0)),
        (format!("{pinned}\n# ko://./x\n"), (0, 0)),
        (format!("'{}': 1 # ko://./x\n", &pinned[3..]), (0, 1)),
        ("a: nginx # ko://./x\n".to_owned(), (0, 1)),
        ("a: r.io/x@sha256:abc # ko://./x\n".to_owned(), (0, 1)),
        (format!("a: |-\n  {} # ko://./x\n", &pinned[3..]), (0, 1)),
        ("# ko://./x\n".to_owned(), (0, 0)),
        (format!("repository: a\ntag: v1@{} # ko://./x\n", digest('c')), (0, 1)),
        ("a: # ko://./x\n".to_owned(), (0, 0)),
    ] {
        let (found, remarks) = sites(&text);
        // Text in a block that looks like a reference is remarked on by the scan for references.
        assert_eq!((found, remarks.min(1)), expected, "{text}");
    }
    // Without marks a comment is a comment.
    let draft = Draft::read("f.yaml", format!("{pinned} # ko://./x\n").as_bytes(), false).unwrap();
    assert_eq!(draft.sites, []);
    let draft = Draft::read("f.yaml", b"a: [ko://x, |]", false);
    assert!(draft.is_err());
    let draft = Draft::read("f.yaml", b"a: [ko://x]", false).unwrap();
    assert_eq!(short(&put(&draft, 'a').unwrap()), "a: [r.io/me/x@A@]");
}

#[test]
fn a_reference_that_is_a_part_of_an_image_is_refused() {
    for key in ["registry", "tag", "digest"] {
        let error = marked(&format!("repository: r.io/x\n{key}: ko://x\n"), 'a').unwrap_err();
        assert!(error.to_string().contains("a part of the image"), "{error}");
        assert!(error.hint_text().unwrap().contains("repository"));
    }
    // Without marks all is as in ko.
    let draft = Draft::read("f.yaml", b"repository: r.io/x\ntag: ko://x\n", false).unwrap();
    assert_eq!(short(&put(&draft, 'a').unwrap()), "repository: r.io/x\ntag: r.io/me/x@A@\n");
}

#[test]
fn where_no_comment_can_stand_a_reference_is_refused() {
    for (text, place) in [
        ("a: {b: ko://x}\n", "f.yaml:1:8"),
        ("a: [\n  ko://x\n]\n", "f.yaml:2:3"),
        ("{\"image\": \"ko://x\"}", "f.yaml:1:11"),
        ("ko://x: 1\n", "f.yaml:1:1"),
        ("a: |-\n  ko://x\n", "f.yaml:2:3"),
    ] {
        let error = marked(text, 'a').unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains("no comment can stand behind it"), "{error}");
        let place = place.replace("f.yaml:2:3", "f.yaml:");
        assert!(error.to_string().contains(&place), "{error}");
        assert!(error.hint_text().unwrap().contains("--set-image"), "{error}");
    }
}

/// The text after `--set-image PLACE=app`.
fn set(text: &str, place: &str) -> Result<String, Error> {
    let mut draft = Draft::read("f.yaml", text.as_bytes(), false)?;
    match draft.want(&place.parse().unwrap(), "app")? {
        Wanted::There => put(&draft, 'a'),
        Wanted::Nowhere(instead) => Err(Error::new(Kind::Usage, "nowhere", instead)),
    }
}

#[test]
fn values_are_edited_by_their_place() {
    let r = "r.io/me/app@A@";
    for (place, before, after) in [
        ("image", "image: nginx:1 # c\n", format!("image: {r} # c\n")),
        ("image", "image:\nb: 1\n", format!("image: {r}\nb: 1\n")),
        ("image", "image: # none yet\nb: 1\n", format!("image: {r} # none yet\nb: 1\n")),
        ("image", "image: ''", format!("image: '{r}'")),
        ("image", "image: ~\r\n", format!("image: {r}\r\n")),
        ("image", "image: null", format!("image: {r}")),
        ("image", "\u{feff}image: a", format!("\u{feff}image: {r}")),
        ("image", "{image: , b: 1}", format!("{{image: {r} , b: 1}}")),
        ("image", "{\"image\":\"x\"}", format!("{{\"image\":\"{r}\"}}")),
        ("image", "image: \"a\\\n  b\"\n", format!("image: \"{r}\"\n")),
        ("image", "image: a\n  b\nc: 1\n", format!("image: {r}\nc: 1\n")),
        ("image", "image: &i a\n", format!("image: &i {r}\n")),
        ("image", "a: 1\n---\nimage: x\n---\n", format!("a: 1\n---\nimage: {r}\n---\n")),
        ("image", "? image\n: x\n", format!("? image\n: {r}\n")),
        ("image", "image:\tx\n", format!("image:\t{r}\n")),
        ("a[1].b", "a:\n- b: 1\n-   b:   x   # c\n", format!("a:\n- b: 1\n-   b:   {r}   # c\n")),
        ("[0]", "- x\n- y\n", format!("- {r}\n- y\n")),
        (r"a\.b", "a.b: x\na: {b: y}\n", format!("a.b: {r}\na: {{b: y}}\n")),
        (
            "services.web.image",
            "x-base: &base {restart: always}\nservices:\n  web:\n    <<: *base\n    image: old # keep\n    ports: [\"80:80\"]\n",
            format!(
                "x-base: &base {{restart: always}}\nservices:\n  web:\n    <<: *base\n    image: {r} # keep\n    ports: [\"80:80\"]\n"
            ),
        ),
        // Keys of charts.
        (
            "image",
            "image:\n  repository: nginx\n  # by digest\n  digest: \"\"\n  tag: \"1.16\"\n  pullPolicy: Always\n",
            "image:\n  repository: r.io/me/app\n  # by digest\n  digest: \"A@\"\n  tag: \"v2\"\n  pullPolicy: Always\n".to_owned(),
        ),
        (
            "image",
            "image: {registry: docker.io, repository: x, tag: 1.16, digest: }\n",
            "image: {registry: r.io, repository: me/app, tag: v2, digest: A@ }\n".to_owned(),
        ),
        ("image", "image:\n  tag:\n  repository: x", "image:\n  tag: v2@A@\n  repository: r.io/me/app".to_owned()),
        // An empty tag leaves the choice to the chart.
        (
            "image",
            "image:\n  repository: x\n  tag: ''\n  digest: ''\n",
            "image:\n  repository: r.io/me/app\n  tag: ''\n  digest: 'A@'\n".to_owned(),
        ),
    ] {
        let found = set(before, place).unwrap_or_else(|e| panic!("{e}\n{before}"));
        assert_eq!(short(&found), after);
        assert_eq!(set(&found, place).unwrap(), found, "a second run changes nothing");
    }
}

#[test]
fn an_edit_that_can_not_be_made_safely_is_an_error_with_its_place() {
    for (place, text, why, at) in [
        ("image", "image: 5\n", "image is 5, and no image", "f.yaml:1:8"),
        ("image", "image: yes\n", "image is yes", "f.yaml:1:8"),
        ("image", "image: !!int '5'\n", "tag that isn't a string's", "f.yaml:1:"),
        ("image", "image: [a]\n", "is a list", "f.yaml:1:8"),
        ("image", "image: {name: a}\n", "without repository", "f.yaml:1:8"),
        ("image", "image:\n  repository: a\n", "neither digest nor tag", "f.yaml:2:3"),
        ("image", "image: |-\n  a\n", "block scalar", "f.yaml:"),
        ("image", "image: &a\nb: 1\n", "it is empty", "f.yaml:"),
        ("image", "image: &i a\nother: *i\n", "aliases mean it too", "f.yaml:1:"),
        ("image", "a: &i x\nimage: *i\n", "alias", "f.yaml:2:8"),
        ("b.image", "a: &i {image: x}\nb: *i\n", "alias", "f.yaml:2:4"),
        ("b.image", "a: &i {image: x}\nb: {<<: *i}\n", "merge key", "f.yaml:2:4"),
        ("image", "image: a\nimage: b\n", "there twice", "f.yaml:2:1"),
        ("image", "image: a\n---\nimage: b\n", "second document", "f.yaml:3:8"),
        ("image", "image: {repository: a, tag: b, tag: c}\n", "there twice", "f.yaml:1:32"),
        ("image", "image: [a\n", "read the YAML", "f.yaml:1:"),
        ("image", "image: a\n\tb: 1\n", "read the YAML", "f.yaml:"),
        ("a.b", "a: {c: 1, d: 2}\n", "a has c, d", ""),
        ("a[2]", "a: [1]\n", "a has no keys", ""),
        ("x", "", "", ""),
    ] {
        let error = set(text, place).unwrap_err();
        assert!(error.to_string().contains(why) && error.to_string().contains(at), "{text}: {error}");
    }
    // Two wishes for one value.
    let mut draft = Draft::read("f.yaml", b"image: {repository: a, tag: b}\n", false).unwrap();
    for place in ["image", "image.tag"] {
        assert_eq!(draft.want(&place.parse().unwrap(), "app").unwrap(), Wanted::There);
    }
    assert!(put(&draft, 'a').unwrap_err().to_string().contains("two edits"));
}

#[test]
fn a_place_beats_a_reference_at_the_same_place() {
    let mut draft = Draft::read("f.yaml", b"image: ko://other\n", true).unwrap();
    assert_eq!(draft.want(&"image".parse().unwrap(), "app").unwrap(), Wanted::There);
    assert_eq!(short(&put(&draft, 'a').unwrap()), "image: r.io/me/app@A@\n");
}

// ---- Kustomize ----

/// The kustomization after `--set-image app=./app`, or without one for "".
fn kustomized(text: &str, name: &str, digit: char) -> Result<String, Error> {
    let wishes = if name.is_empty() { vec![] } else { vec![(name.to_owned(), "./app".to_owned())] };
    put(&Draft::kustomization("f.yaml", text.as_bytes(), &wishes)?, digit)
}

#[test]
fn entries_of_kustomizations_are_edited_or_added_in_place() {
    for (name, before, after) in [
        // What is there is edited; a tag makes room for the digest.
        (
            "app",
            "images:\n# the server\n- name: app # c\n  newName: old # d\n  newTag: v1 # e\n- name: other\n  newTag: v1\n",
            "images:\n# the server\n- name: app # c\n  newName: r.io/me/app # d\n  digest: A@ # e\n- name: other\n  newTag: v1\n",
        ),
        (
            "app",
            "images:\n  - digest: 'x'\n    newTag: v1 # gone\n    name: app\n",
            "images:\n  - digest: 'A@'\n    name: app\n    newName: r.io/me/app\n",
        ),
        (
            "app",
            "images:\n  - newTag: v1\n    name: app\n    digest: x",
            "images:\n  - name: app\n    newName: r.io/me/app\n    digest: A@",
        ),
        ("app", "images:\n-   name: app", "images:\n-   name: app\n    newName: r.io/me/app\n    digest: A@"),
        ("r.io/me/app", "images:\n- name: r.io/me/app\n", "images:\n- name: r.io/me/app\n  digest: A@\n"),
        (
            "app",
            "images: [{name: app, newTag: v1}]\n",
            "images: [{name: app, newName: r.io/me/app, digest: A@}]\n",
        ),
        (
            "app",
            "images: [{newTag: v1, name: app, digest: }]\n",
            "images: [{name: app, newName: r.io/me/app, digest: A@ }]\n",
        ),
        (
            "app",
            "images: [{name: app, newTag: v1, digest: x}]\n",
            "images: [{name: app, newName: r.io/me/app, digest: A@}]\n",
        ),
        (
            "app",
            "images:\n- name: app\n  newTag: v1\n  digest: x\n",
            "images:\n- name: app\n  newName: r.io/me/app\n  digest: A@\n",
        ),
        // What is missing is added after what is there.
        (
            "app",
            "images:\n  -  name: other # c\n     newTag: v1\n\n  # end\nresources: [a.yaml]\n",
            "images:\n  -  name: other # c\n     newTag: v1\n  -  name: app\n     newName: r.io/me/app\n     digest: A@\n\n  # end\nresources: [a.yaml]\n",
        ),
        (
            "app",
            "resources:\r\n- a.yaml\r\n",
            "resources:\r\n- a.yaml\r\nimages:\r\n- name: app\r\n  newName: r.io/me/app\r\n  digest: A@\r\n",
        ),
        ("app", "a: b", "a: b\nimages:\n- name: app\n  newName: r.io/me/app\n  digest: A@"),
        (
            "app",
            "\u{feff}a: b\n...\n",
            "\u{feff}a: b\nimages:\n- name: app\n  newName: r.io/me/app\n  digest: A@\n...\n",
        ),
        (
            "app",
            "images: # none\nresources: []\n",
            "images: # none\n- name: app\n  newName: r.io/me/app\n  digest: A@\nresources: []\n",
        ),
        ("app", "images: []\n", "images: [{name: app, newName: r.io/me/app, digest: A@}]\n"),
        ("app", "images: ~\n", "images: [{name: app, newName: r.io/me/app, digest: A@}]\n"),
        (
            "app",
            "{\"resources\": [\"a\"]}",
            "{\"resources\": [\"a\"], \"images\": [{\"name\": \"app\", \"newName\": \"r.io/me/app\", \"digest\": \"A@\"}]}",
        ),
        (
            "app",
            "{\n  \"images\": [\n    {\n      \"name\": \"app\"\n    }\n  ]\n}\n",
            "{\n  \"images\": [\n    {\n      \"name\": \"app\",\n      \"newName\": \"r.io/me/app\",\n      \"digest\": \"A@\"\n    }\n  ]\n}\n",
        ),
        (
            "app",
            "{\"images\": [{\"name\": \"x\"}]}",
            "{\"images\": [{\"name\": \"x\"}, {\"name\": \"app\", \"newName\": \"r.io/me/app\", \"digest\": \"A@\"}]}",
        ),
        ("ko://a:b", "a: 1\n", "a: 1\nimages:\n- name: ko://a:b\n  newName: r.io/me/app\n  digest: A@\n"),
        (
            "",
            "patches:\n- value: ko://x\nimages:\n- name: app\n  newName: ko://y\n",
            "patches:\n- value: r.io/me/x@A@ # ko://x\nimages:\n- name: app\n  digest: A@\n  newName: r.io/me/y # ko://y\n",
        ),
        // Entries that name their program themselves.
        (
            "",
            "images:\n- name: ko://app\n- name: other\n",
            "images:\n- name: ko://app\n  newName: r.io/me/app\n  digest: A@\n- name: other\n",
        ),
        (
            "",
            "images:\n- name: app\n  newName: ko://./cmd/app # x\n",
            "images:\n- name: app\n  digest: A@\n  newName: r.io/me/cmd-app # ko://./cmd/app # x\n",
        ),
    ] {
        let first = kustomized(before, name, 'a').unwrap_or_else(|e| panic!("{e}\n{before}"));
        assert_eq!(short(&first), after);
        assert_eq!(kustomized(&first, name, 'a').unwrap(), first, "a second run changes nothing");
        let second = kustomized(&first, name, 'b').unwrap();
        assert_eq!(short(&second), short(&first).replace("A@", "B@"), "a new build changes the digest alone");
    }
}

#[test]
fn kustomizations_that_can_not_be_edited_are_errors() {
    for (text, why) in [
        ("", "it is empty"),
        ("# nothing\n", "it is empty"),
        ("- a\n", "it is no mapping"),
        ("a: 1\n---\nb: 1\n", "several documents"),
        ("images: {name: app}\n", "images is no list"),
        ("images: app\n", "images is no list"),
        ("images: [app]\n", "an entry of images is no mapping"),
        ("images:\n- newTag: v1\n", "has no name"),
        ("images:\n- name: app\n- name: app\n", "two entries of the name app"),
        ("images: []\nimages: []\n", "there twice"),
        ("images:\n- name: app\n  digest: a\n  digest: b\n", "there twice"),
        ("images:\n- name: &n app\n  newName: &d x\n  digest: *d\n", "alias"),
        ("images:\n- &x {name: app}\n- *x\n", "no mapping"),
        ("images: &i [{name: app}]\nother: *i\nimages2: [\n", "read the YAML"),
        ("images:\n- {name: app, newName: ko://x}\n- name: ko://\n", "names no package"),
    ] {
        let error = kustomized(text, "app", 'a').unwrap_err();
        assert!(error.to_string().contains(why), "{text}: {error}");
        assert_eq!(error.kind(), Kind::Input, "{text}");
    }
    let flow = kustomized("images: [{name: app, newName: ko://x}]\n", "", 'a').unwrap_err();
    assert!(flow.to_string().contains("no comment can stand behind it"), "{flow}");
}

#[test]
fn many_references_are_replaced_at_once() {
    // Many references in one mapping and in one list.
    let mut text = String::from("a:\n");
    for n in 0..2_000 {
        text.push_str(&format!("  key{n}: ko://x\n"));
    }
    text.push_str("b:\n");
    text.push_str(&"- ko://x\n".repeat(2_000));
    let first = marked(&text, 'a').unwrap();
    assert_eq!(first.matches(" # ko://x\n").count(), 4_000);
    assert_eq!(marked(&first, 'b').unwrap().matches(&digest('b')).count(), 4_000);
}
