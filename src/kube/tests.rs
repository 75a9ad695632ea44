//! Tables after ko's own tests of references and selectors, the notations of YAML, and properties of random text.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::{Error, Kind};

const NEW: &str =
    "gcr.io/mattmoor/foo@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn found(text: &str) -> Scan {
    scan("f.yaml", text.as_bytes(), None).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The text with every reference replaced by `registry/<import path>@digest`.
fn resolved(text: &str) -> String {
    let scan = found(text);
    let references: Vec<String> = scan.found.iter().map(|f| published(&f.import_path)).collect();
    let references: Vec<&str> = references.iter().map(String::as_str).collect();
    String::from_utf8(scan.splice(text.as_bytes(), &references)).unwrap()
}

fn published(import_path: &str) -> String {
    format!("gcr.io/x/{import_path}@sha256:abc")
}

#[track_caller]
fn error(text: &str) -> Error {
    scan("f.yaml", text.as_bytes(), None).unwrap_err()
}

#[test]
fn every_notation_is_replaced_in_place() {
    for (before, after) in [
        // ko's arrays, maps and objects.
        ("- ko://a/b\n", "- gcr.io/x/a/b@sha256:abc\n"),
        ("- ko://a\n- ko://b\n", "- gcr.io/x/a@sha256:abc\n- gcr.io/x/b@sha256:abc\n"),
        ("[]\n", "[]\n"),
        ("image: ko://a", "image: gcr.io/x/a@sha256:abc"),
        ("ko://a: blah\n", "gcr.io/x/a@sha256:abc: blah\n"),
        ("ko://a: ko://b\n", "gcr.io/x/a@sha256:abc: gcr.io/x/b@sha256:abc\n"),
        ("{}", "{}"),
        (
            "m:\n  blah:\n    a:\n    - p: {s: ko://a}\n",
            "m:\n  blah:\n    a:\n    - p: {s: gcr.io/x/a@sha256:abc}\n",
        ),
        // Several documents.
        (
            "ko://a\n---\nko://b\n...\n%YAML 1.2\n---\nko://c\n",
            "gcr.io/x/a@sha256:abc\n---\ngcr.io/x/b@sha256:abc\n...\n%YAML 1.2\n---\ngcr.io/x/c@sha256:abc\n",
        ),
        // Quotes, and blanks around.
        ("a:   'ko://a'   # why\n", "a:   'gcr.io/x/a@sha256:abc'   # why\n"),
        ("a: \"ko://a\"\n", "a: \"gcr.io/x/a@sha256:abc\"\n"),
        ("a: \"ko:\\/\\/a\"\n", "a: \"gcr.io/x/a@sha256:abc\"\n"),
        ("a: \"ko://a/\\\n  b\"\n", "a: \"gcr.io/x/a/b@sha256:abc\"\n"),
        ("a: 'ko://a '\n", "a: 'gcr.io/x/a@sha256:abc'\n"),
        // Flow, keys, explicit keys.
        (
            "{a: ko://a,b: [ko://b,ko://c]}",
            "{a: gcr.io/x/a@sha256:abc,b: [gcr.io/x/b@sha256:abc,gcr.io/x/c@sha256:abc]}",
        ),
        ("? ko://a\n: ko://b\n", "? gcr.io/x/a@sha256:abc\n: gcr.io/x/b@sha256:abc\n"),
        // Block scalars keep header and trailing lines.
        ("a: |-\n   ko://a\nb: 1\n", "a: |-\n   gcr.io/x/a@sha256:abc\nb: 1\n"),
        (
            "a: >2-\n  ko://a\n\n\n# not text\nb: ko://b",
            "a: >2-\n  gcr.io/x/a@sha256:abc\n\n\n# not text\nb: gcr.io/x/b@sha256:abc",
        ),
        // Anchors, tags, aliases, comments.
        ("a: &x !!str ko://a # ko://no\nb: *x\n", "a: &x !!str gcr.io/x/a@sha256:abc # ko://no\nb: *x\n"),
        ("a: ! ko://a\n", "a: ! gcr.io/x/a@sha256:abc\n"),
        ("# ko://no\n", "# ko://no\n"),
        // Byte-order marks, line endings, no last newline, characters of several bytes.
        (
            "\u{feff}a: ko://a\r\né: ko://b\r\n---\r\n\u{feff}c: ko://c",
            "\u{feff}a: gcr.io/x/a@sha256:abc\r\né: gcr.io/x/b@sha256:abc\r\n---\r\n\u{feff}c: gcr.io/x/c@sha256:abc",
        ),
        ("{\n\t\"image\": \"ko://a\"\n}", "{\n\t\"image\": \"gcr.io/x/a@sha256:abc\"\n}"),
        // What ko takes for no reference.
        (
            "a: --image=ko://a\nb: ' ko://b'\nc: KO://c\nd: !!binary ko://d\ne: gecko://e\n",
            "a: --image=ko://a\nb: ' ko://b'\nc: KO://c\nd: !!binary ko://d\ne: gecko://e\n",
        ),
        ("", ""),
    ] {
        assert_eq!(resolved(before), after);
    }
}

#[test]
fn references_say_where_they_are() {
    let scan = found("\u{feff}# c\r\na: [é, ko://a]\r\nb: |-\r\n  ko://b\r\n");
    let places: Vec<_> = scan.found.iter().map(|f| (f.import_path.as_str(), f.line, f.column)).collect();
    assert_eq!(places, [("a", 2, 8), ("b", 4, 3)]);
}

#[test]
fn what_is_written_fits_the_notation() {
    let splice = |text: &str, reference: &str| {
        String::from_utf8(found(text).splice(text.as_bytes(), &[reference])).unwrap()
    };
    assert_eq!(splice("a: ko://a", "oci:my dir/a@b"), "a: \"oci:my dir/a@b\"");
    assert_eq!(splice("a: ko://a", "true"), "a: \"true\"");
    assert_eq!(splice("a: ko://a", "12:30"), "a: \"12:30\"");
    assert_eq!(splice("a: 'ko://a'", "o'b/c"), "a: 'o''b/c'");
    assert_eq!(splice("a: \"ko://a\"", "a\\b\"c\u{1}"), "a: \"a\\\\b\\\"c\\u0001\"");
}

#[test]
fn look_alikes_are_remarked_on_with_their_place() {
    let remarks = |text: &str| -> Vec<(usize, usize)> {
        found(text).remarks.iter().map(|r| (r.line, r.column)).collect()
    };
    assert_eq!(remarks("args: [-v, \"--image=ko://a\"]\n"), [(1, 21)]);
    assert_eq!(remarks("data:\n  c.yaml: |\n    a: 1\n    image: ko://a\n"), [(4, 12)]);
    assert_eq!(remarks("a: x\n  y ko://z\n"), [(2, 5)]);
    assert_eq!(remarks("a: ' ko://a'\n"), [(1, 6)]);
    assert_eq!(remarks("a: !mine ko://a\n"), [(1, 10)]);
    assert_eq!(remarks("a: |\n  ko://a\n"), [(2, 3)], "the line break would be part of the image's name");
    assert_eq!(remarks("# ko://a\na: gecko://b\nb: x-ko://c\nc: ko://d\nd: |-\n  ko://e\n"), []);
}

#[test]
fn bad_references_and_bad_yaml_name_file_line_and_column() {
    for (text, place, why) in [
        ("a: ko://\n", "f.yaml:1:4", "names no package"),
        ("a:\n  - 'ko:// a'\n", "f.yaml:2:5", "no blanks"),
        ("a: |\n  ko://a\n  more: b\n", "f.yaml:2:3", "no blanks or line breaks"),
        ("a: ko://a b\n", "f.yaml:1:4", "no blanks"),
        ("a: ko://./cmd/...\n", "f.yaml:1:4", "one package, not a pattern"),
        ("a: [ko://a\nb: ko://c\n", "f.yaml:2:2", "read the YAML"),
        ("a: ko://a\n\tb: 1\n", "f.yaml:1:4", "tab"),
        ("a: ko://a\nb: *nowhere\n", "f.yaml:2:4", "anchor"),
    ] {
        let error = error(text);
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains(place) && error.to_string().contains(why), "{error}");
        assert_eq!(error.hint_text(), None);
    }
    let template = error("{{- if .x }}\nimage: ko://a\n{{- end }}\n");
    assert!(template.hint_text().unwrap().contains("template"), "{template}");
    let latin = scan("f.yaml", b"a: ko://a\nb: \xe9\n", None).unwrap_err();
    assert!(latin.to_string().contains("isn't UTF-8 [f.yaml:2]"), "{latin}");
    let wide: Vec<u8> = "\u{feff}a: ko://a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(scan("f.yaml", &wide, None).unwrap_err().to_string().contains("UTF-8"));
    let wide: Vec<u8> = "\u{feff}a: ko://a\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert!(scan("f.yaml", &wide, None).is_err());
}

#[test]
fn text_without_references_is_not_parsed() {
    for text in [&b"{{ not yaml"[..], b"\xff\xfe", b"a: [", b"\x00", b"ko:/x: ["] {
        let scan = scan("f.yaml", text, None).unwrap();
        assert_eq!((scan.splice(text, &[]), scan.found.len()), (text.to_vec(), 0));
    }
}

#[test]
fn bombs_cost_nothing() {
    // Nine levels of nine aliases each: 387 million nodes, if aliases were followed.
    let mut laughs = String::from("a0: &a0 [ko://x]\n");
    for n in 1..10 {
        let list = vec![format!("*a{}", n - 1); 9].join(",");
        laughs.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    assert_eq!(found(&laughs).found.len(), 1);
    let deep = format!("{}ko://x{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(error(&deep).to_string().contains("f.yaml:1:"));
    let deep = format!("{}ko://x", "- ".repeat(100_000));
    assert!(error(&deep).to_string().contains("f.yaml:1:"));
    let select: Selector = "a=b".parse().unwrap();
    let object = format!("apiVersion: v1\nkind: X\n{laughs}");
    assert_eq!(scan("f.yaml", object.as_bytes(), Some(&select)).unwrap().splice(object.as_bytes(), &[]), b"");
}

// ---- Selectors ----

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter(|p| !p.is_empty());
    pairs.map(|p| p.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[test]
fn selectors_match_as_in_kubernetes() {
    for (selector, yes, no) in [
        ("", &["", "a=b"][..], &[][..]),
        ("app=web", &["app=web", "app=web,x=y"], &["", "app=db"]),
        ("app==web", &["app=web"], &["app=db"]),
        ("app!=web", &["", "app=db"], &["app=web"]),
        ("app", &["app=", "app=web"], &["", "App=web"]),
        ("!app", &["", "x=y"], &["app=web"]),
        ("app=", &["app="], &["", "app=web"]),
        ("app=,x=y", &["app=,x=y"], &["app=web,x=y"]),
        ("env in (a, b)", &["env=a", "env=b"], &["", "env=c"]),
        ("env notin (a,b)", &["", "env=c"], &["env=a"]),
        ("env in (,a)", &["env=", "env=a"], &["env=b"]),
        ("env in (a,)", &["env=", "env=a"], &["env=b"]),
        ("env in (in,notin)", &["env=in"], &["env=x"]),
        ("x=in", &["x=in"], &["x=notin"]),
        ("app.io/name=web, !b ,c", &["app.io/name=web,c="], &["app.io/name=web", "app.io/name=web,c=,b="]),
        ("n>3", &["n=4"], &["", "n=3", "n=x"]),
        ("n<3", &["n=-1"], &["", "n=3"]),
        ("  a  =  b  ", &["a=b"], &["a=c"]),
    ] {
        let parsed: Selector = selector.parse().unwrap_or_else(|e| panic!("{e}"));
        for text in yes {
            assert!(parsed.matches(&labels(text)), "{selector} must match {text}");
        }
        for text in no {
            assert!(!parsed.matches(&labels(text)), "{selector} must not match {text}");
        }
    }
}

#[test]
fn bad_selectors_are_usage_errors() {
    for (text, why) in [
        (",a", "\",\" stands where a label's key should"),
        ("a,", "nothing follows the last comma"),
        ("a,,b", "\",\" stands where"),
        ("!", "key is missing"),
        ("!a=b", "\"=\" stands where a comma"),
        ("a b", "\"b\" stands where ="),
        ("a in b", "\"(\" is missing"),
        ("a in ()", "list of values is empty"),
        ("a in (b", "\")\" is missing"),
        ("a in (b c)", "\"c\" stands where a comma"),
        ("a in (b) c", "\"c\" stands where a comma"),
        ("a>x", "\"x\" isn't a whole number"),
        ("a=b=c", "\"=\" stands where a comma"),
        ("in=a", "\"in\" stands where a label's key"),
        ("-a=b", "no label key"),
        ("a/b/c", "no label key"),
        ("/a", "no label key"),
        ("A.io/x", "no label key"),
        ("a=b/c", "no label value"),
        ("a=é", "no label value"),
    ] {
        let error = text.parse::<Selector>().unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{text}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(format!("a={}", "x".repeat(64)).parse::<Selector>().is_err());
    assert!("x".repeat(63).parse::<Selector>().is_ok());
}

fn selected(text: &str, selector: &str) -> Result<String, Error> {
    let selector: Selector = selector.parse().unwrap();
    let scan = scan("f.yaml", text.as_bytes(), Some(&selector))?;
    let references: Vec<String> = scan.found.iter().map(|f| published(&f.import_path)).collect();
    let references: Vec<&str> = references.iter().map(String::as_str).collect();
    Ok(String::from_utf8(scan.splice(text.as_bytes(), &references)).unwrap())
}

fn pod(label: &str) -> String {
    let labels =
        if label.is_empty() { String::new() } else { format!("  labels:\n    # stays\n    app: {label}\n") };
    format!("apiVersion: v1\nkind: Pod\nmetadata:\n{labels}  name: rss-site\n")
}

fn list(items: &[&str]) -> String {
    let mut text = String::from("apiVersion: v1\nkind: List\nmetadata:\n  resourceVersion: \"\"\nitems:\n");
    for item in items {
        text.push_str("- ");
        text.push_str(&pod(item).trim_end().replace('\n', "\n  "));
        text.push('\n');
    }
    text
}

#[test]
fn documents_and_items_that_do_not_match_are_left_out() {
    for (text, selector, expected) in [
        (pod("web"), "app=web", pod("web")),
        (pod("web"), "app!=web", String::new()),
        (pod("db"), "foo!=bark", pod("db")),
        (pod("web"), "app", pod("web")),
        (pod("web"), "!app", String::new()),
        (pod(""), "app", String::new()),
        (pod(""), "!app", pod("")),
        (list(&["web", "db"]), "app=web", list(&["web"])),
        (list(&["web", "db"]), "app!=web", list(&["db"])),
        (list(&["a", "web", "b", "web", "c"]), "app=web", list(&["web", "web"])),
        (list(&["web", "a", "web"]), "app=web", list(&["web", "web"])),
        (list(&["", ""]), "app", String::new()),
        (list(&["", ""]), "!app", list(&["", ""])),
        (list(&["web", "db"]), "", list(&["web", "db"])),
        (list(&["web", "db"]), "app,!app", String::new()),
    ] {
        assert_eq!(selected(&text, selector).unwrap(), expected, "{selector}");
        let windows = text.replace('\n', "\r\n");
        assert_eq!(selected(&windows, selector).unwrap(), expected.replace('\n', "\r\n"), "{selector}");
        // The same without a last newline.
        let bare = selected(text.trim_end(), selector).unwrap();
        assert_eq!(bare.trim_end(), expected.trim_end(), "{selector}");
    }
}

#[test]
fn several_documents_are_selected_one_by_one() {
    let (web, db) = (pod("web"), pod("db"));
    let text = format!(
        "\u{feff}# first\n{web}---\n# second\n{db}--- # third\n{web}...\n# fourth\n---\n{db}...\n---\n{web}---\n---\n"
    );
    assert_eq!(
        selected(&text, "app=web").unwrap(),
        format!("\u{feff}# first\n{web}--- # third\n{web}...\n---\n{web}")
    );
    assert_eq!(
        selected(&text, "app=db").unwrap(),
        format!("\u{feff}---\n# second\n{db}# fourth\n---\n{db}...\n"),
    );
}

#[test]
fn documents_that_would_run_together_are_an_error() {
    // Only the middle document's `...` parts the others.
    let text = format!("{}---\n{}...\n{}", pod("web"), pod("db"), pod("web"));
    let error = selected(&text, "app=web").unwrap_err();
    assert!(error.to_string().contains("what stays would change"), "{error}");
}

#[test]
fn items_are_cut_whatever_their_notation() {
    let head = "apiVersion: v1\nkind: List\nitems:";
    let item = |app: &str| format!("{{apiVersion: v1, kind: Pod, metadata: {{labels: {{app: {app}}}}}}}");
    let (a, b) = (item("a"), item("b"));
    for (text, expected) in [
        (format!("{head} [{a}, {b}, {a}]\n"), format!("{head} [{b}]\n")),
        (format!("{head} [{b}, {a}, {b}, {a},]\n"), format!("{head} [{b}, {b},]\n")),
        (
            format!("{head}\n# top\n- {a}\n# about b\n- {b}\n# about a\n- {a} # x\n# tail\n"),
            format!("{head}\n# top\n# about b\n- {b}\n# tail\n"),
        ),
        (
            format!("{head}\n  -   # x\n    {a}\n  - &n !!map {b}\nmore: 1\n"),
            format!("{head}\n  - &n !!map {b}\nmore: 1\n"),
        ),
        (
            format!(
                "{head}\n- apiVersion: v1\n  kind: X\n  metadata:\n    labels: {{app: b}}\n  data: |+\n    text\n\n- {a}\n- {b}\n"
            ),
            format!(
                "{head}\n- apiVersion: v1\n  kind: X\n  metadata:\n    labels: {{app: b}}\n  data: |+\n    text\n\n- {b}\n"
            ),
        ),
        (
            format!("{head}\n  - {b}\n  - apiVersion: v1\n    kind: X\n    data: |\n      text\n\n  - {b}\n"),
            format!("{head}\n  - {b}\n  - {b}\n"),
        ),
        (format!("{head}\n- {b}\n- ~\n"), format!("{head}\n- {b}\n")),
    ] {
        assert_eq!(selected(&text, "app=b").unwrap(), expected);
    }
    let json = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n  {\"apiVersion\": \"v1\", \"kind\": \"A\"},\n  \
                {\"apiVersion\": \"v1\", \"kind\": \"B\", \"metadata\": {\"labels\": {\"app\": \"b\"}}},\n  \
                {\"apiVersion\": \"v1\", \"kind\": \"C\"}\n]}";
    let out = selected(json, "app=b").unwrap();
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(value["items"].as_array().unwrap().len(), 1, "{out}");
}

#[test]
fn references_that_are_left_out_are_not_built() {
    let text = format!("{}image: ko://a\n---\n{}image: ko://b/--x=ko://c\n", pod("web"), pod("db"));
    let selector: Selector = "app=web".parse().unwrap();
    let scan = scan("f.yaml", text.as_bytes(), Some(&selector)).unwrap();
    assert_eq!(scan.found.iter().map(|f| f.import_path.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(scan.remarks, []);
    assert_eq!(selected(&text, "app=web").unwrap(), format!("{}image: {}\n", pod("web"), published("a")));
}

#[test]
fn what_is_no_object_can_not_be_selected() {
    for (text, place, why) in [
        ("image: some.go/package", "f.yaml:1:1", "isn't a Kubernetes object"),
        ("apiVersion: v1\nkind: List\nitems:\n- blah: ha\n", "f.yaml:4:3", "isn't a Kubernetes object"),
        ("apiVersion: v1\nkind: List\n", "f.yaml:1:1", "without a sequence of items"),
        ("apiVersion: v1\nkind: X\n---\n- a\n", "f.yaml:4:1", "isn't a Kubernetes object"),
        ("apiVersion: v1\nkind: X\nmetadata:\n  labels:\n    <<: {app: a}\n", "f.yaml:5", "merge key"),
        ("a: [", "f.yaml:1", "read the YAML"),
    ] {
        let error = selected(text, "app").unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains(place) && error.to_string().contains(why), "{error}");
    }
    for nothing in ["", "# only a comment\n", "---\n", "---\n---\n~\n"] {
        assert!(!selected(nothing, "!app").unwrap().contains('~'));
    }
}

#[test]
fn aliases_across_a_cut_are_an_error() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: A\n  x: &x 1\n- apiVersion: v1\n  kind: B\n  \
                metadata: {labels: {app: b}}\n  x: *x\n";
    assert!(selected(text, "app=b").unwrap_err().to_string().contains("what stays would change"));
    // Labels may come by an alias all the same.
    let text = "apiVersion: v1\nkind: A\nx: &l {app: b}\nmetadata: {labels: *l}\n";
    assert_eq!(selected(text, "app=b").unwrap(), text);
}

// ---- Properties ----

/// A piece of YAML, most of it well-formed together with others.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a: ",
        "b:\n",
        "  ",
        "- ",
        "ko://x/y",
        "'ko://x/y'",
        "\"ko://x/y\"",
        "|\n",
        ">-\n",
        "\n",
        "\r\n",
        "# c\n",
        "---\n",
        "...\n",
        "&a ",
        "*a",
        "!!str ",
        "!t ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "? ",
        ": ",
        "\t",
        "é",
        "\u{feff}",
        "--x=ko://z",
        "%YAML 1.2\n",
        "\"ko:\\/\\/x\"",
        "apiVersion: v1\n",
        "kind: List\n",
        "items:\n",
        "- kind: A\n",
        "  apiVersion: v1\n",
        "'",
        "\"",
        "\\",
        "<<: ",
        "metadata: {labels: {app: b}}\n",
        "~",
        "0",
    ])
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..40).prop_map(|p| p.concat())
}

/// A well-formed document with references in many notations, and the number of them.
fn document() -> impl Strategy<Value = (String, usize)> {
    let value = prop::sample::select(vec![
        (" ko://x/y", 1),
        (" 'ko://x/y'  # c", 1),
        (" \"ko://x/y\"", 1),
        (" &a !!str ko://x/y", 1),
        (" |-\n      ko://x/y", 1),
        (" >-\n      ko://x/y\n\n", 1),
        (" [ko://x/y, 1, {ko://x/y: é}]", 2),
        ("\n    - ko://x/y\n    -   'ko://x/y'", 2),
        (" plain", 0),
        (" --x=ko://x/y", 0),
        (" \"é\\n\"", 0),
        ("", 0),
    ]);
    (prop::collection::vec(value, 1..8), any::<bool>(), any::<bool>()).prop_map(|(values, bom, windows)| {
        let mut text = String::from(if bom { "\u{feff}" } else { "" });
        for (n, (value, _)) in values.iter().enumerate() {
            text.push_str(&format!("key{n}:{value}\n"));
        }
        let text = if windows { text.replace('\n', "\r\n") } else { text };
        (text, values.iter().map(|(_, n)| n).sum())
    })
}

proptest! {
    #[test]
    fn fuzz_nothing_panics_and_what_is_outside_of_spans_stays(text in text(), selector in any::<bool>()) {
        let selector: Option<Selector> = selector.then(|| "app=b".parse().unwrap());
        if let Ok(scan) = scan("f", text.as_bytes(), selector.as_ref()) {
            // With empty references, what is left is a subsequence: the text without the spans.
            let references = vec![NEW; scan.found.len()];
            let out = String::from_utf8(scan.splice(text.as_bytes(), &references)).unwrap();
            let rest: String = out.split(NEW).collect();
            let mut chars = text.chars();
            prop_assert!(rest.chars().all(|c| chars.any(|t| t == c)), "{out:?}");
            prop_assert_eq!(out.matches(NEW).count(), scan.found.len());
        }
    }

    #[test]
    fn fuzz_random_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, *b"ko://");
        let _ = scan("f", &bytes, None);
    }

    #[test]
    fn fuzz_identical_references_change_nothing((text, count) in document()) {
        let found = found(&text);
        prop_assert_eq!(found.found.len(), count);
        let same: Vec<String> = found.found.iter().map(|f| format!("ko://{}", f.import_path)).collect();
        let same: Vec<&str> = same.iter().map(String::as_str).collect();
        prop_assert_eq!(found.splice(text.as_bytes(), &same), text.as_bytes());
    }

    #[test]
    fn fuzz_what_is_written_reads_as_the_reference((text, count) in document()) {
        let replaced = found(&text).splice(text.as_bytes(), &vec![NEW; count]);
        let replaced = String::from_utf8(replaced).unwrap();
        prop_assert_eq!(replaced.replace(NEW, "ko://x/y"), text);
        let values = yaml::parser(&replaced).filter_map(|e| match e.unwrap().0 {
            granit_parser::Event::Scalar(value, ..) => Some(value.into_owned()),
            _ => None,
        });
        prop_assert_eq!(values.filter(|v| v == NEW).count(), count);
    }

    #[test]
    fn fuzz_selectors_never_panic(text in "[a-c=!(), <>]{0,24}") {
        if let Ok(selector) = text.parse::<Selector>() {
            let _ = selector.matches(&labels("a=b"));
        }
    }

    /// Cutting items and cutting documents agree: both keep exactly the objects that match, byte for byte.
    #[test]
    fn fuzz_selection_keeps_exactly_what_matches(apps in prop::collection::vec(prop::sample::select(vec!["a", "b", ""]), 1..6), selector in prop::sample::select(vec!["app=a", "!app", "app in (a,b)"])) {
        let parsed: Selector = selector.parse().unwrap();
        let matching = |app: &&str| parsed.matches(&labels(&if app.is_empty() { String::new() } else { format!("app={app}") }));
        let kept: Vec<&str> = apps.iter().copied().filter(|a| matching(a)).collect();
        let expected = if kept.is_empty() { String::new() } else { list(&kept) };
        prop_assert_eq!(selected(&list(&apps), selector).unwrap(), expected);
        let documents: String = apps.iter().map(|a| format!("---\n{}", pod(a))).collect();
        let expected: String = kept.iter().map(|a| format!("---\n{}", pod(a))).collect();
        prop_assert_eq!(selected(&documents, selector).unwrap(), expected);
    }
}
