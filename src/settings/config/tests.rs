//! Files as users write them, and the mistakes they make.

use super::*;

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

fn good(name: &str, text: &str) -> Config {
    read(&source(name, text), false).unwrap().0
}

fn bad(name: &str, text: &str) -> String {
    let error = read(&source(name, text), false).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    format!("{error} | {}", error.hint_text().unwrap_or_default())
}

#[test]
fn kos_forms_are_read_as_ko_reads_them() {
    let config = good(
        ".ko.yaml",
        "defaultBaseImage: example.com/base\nBASEIMAGEOVERRIDES:\n  example.com/a: scratch\n\
         defaultPlatforms: all\ndefaultFlags: -v -tags=x\ndefaultLdflags: [-s, -w]\nbuilds:\n- id: one\n  \
         main: ./cmd/a\n  flags: -v -v\n  ldflags: -X main.v={{.Env.V}} -s\n  env:\n  - A=b\n  \
         linux_capabilities: net_raw setuid\n- id:\n",
    );
    assert_eq!(config.default_base_image.as_deref(), Some("example.com/base"));
    assert_eq!(config.base_image_overrides["example.com/a"], "scratch");
    assert_eq!(config.default_platforms.0, ["all"]);
    assert_eq!(config.default_flags.0, ["-v", "-tags=x"]);
    assert_eq!(config.default_ldflags.0, ["-s", "-w"]);
    let build = &config.builds[0];
    assert_eq!(build.flags.as_ref().unwrap().0, ["-v", "-v"]);
    assert_eq!(build.ldflags.as_ref().unwrap().0, ["-X main.v={{.Env.V}} -s"]);
    assert_eq!(build.linux_capabilities.as_ref().unwrap().0, ["net_raw", "setuid"]);
    assert_eq!(config.builds[1], Build::default());
}

#[test]
fn json_and_toml_are_the_same_file() {
    let json = good(".ko.json", r#"{"defaultEnv": ["A=1"], "builds": [{"main": "./a", "flags": ["-v"]}]}"#);
    let toml = good(".ko.toml", "defaultEnv = ['A=1']\n[[builds]]\nmain = './a'\nflags = '-v'\n");
    assert_eq!(json, toml);
    assert_eq!(good(".ko.yaml", ""), Config::default());
    assert_eq!(good(".ko.yaml", "# nothing\n---\n"), Config::default());
    assert_eq!(good(".ko.yaml", "defaultEnv: &e [A=1]\ndefaultFlags: *e\n").default_flags.0, ["A=1"]);
}

#[test]
fn text_that_looks_like_a_number_stays_text() {
    let config = good(".gimg.yaml", "tags: [1.10, 012, yes]\nimage: {labels: {v: 1.10}}\nbuildvcs: 'false'");
    assert_eq!(config.tags.0, ["1.10", "012", "yes"]);
    assert_eq!(config.image.labels["v"], "1.10");
    assert_eq!(config.buildvcs, Some(false));
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (name, text, words) in [
        (".ko.yaml", "defaultBaseimag: x\n", ".ko.yaml:1:1] | did you mean defaultBaseImage?"),
        (
            ".ko.yaml",
            "builds:\n- main: a\n  ldflag: x\n",
            "unknown key \"ldflag\" in builds[0] [.ko.yaml:3:3] | did you mean ldflags?",
        ),
        (".ko.yaml", "zzz: 1\n", "| --lenient makes it a warning"),
        (".ko.yaml", "builds:\n  main: a\n", "builds: it takes a list [.ko.yaml:2:3]"),
        (".ko.yaml", "defaultBaseImage: [a]\n", "defaultBaseImage: it takes text [.ko.yaml:1:19]"),
        (".ko.yaml", "defaultEnv: {A: b}\n", "defaultEnv: it takes text or a list"),
        (".ko.yaml", "[a]\n", "it takes a map [.ko.yaml:1:1]"),
        (".ko.yaml", "a: 1\n---\nb: 2\n", "a second document [.ko.yaml:2:1]"),
        (".ko.yaml", "builds: [\n", ".ko.yaml:1:9]"),
        (".ko.yaml", "builds: *nothing\n", ".ko.yaml:1:9]"),
        (".ko.yaml", "defaultEnv: []\ndefaultenv: []\n", "stands twice [.ko.yaml:2:1]"),
        (".ko.yaml", "image: {}\n", "gimg's own [.ko.yaml:1:1] | ko doesn't know it"),
        (".ko.toml", "a = \n", ".ko.toml:1:5]"),
        (
            ".ko.toml",
            "[[builds]]\nmani = 'x'\n",
            "unknown key \"mani\" in builds[0] [.ko.toml:2:1] | did you mean main?",
        ),
        (".gimg.yaml", "files:\n- from: x\n", "files[0]: the key to is missing [.gimg.yaml:2:3]"),
        (
            ".gimg.yaml",
            "image: {healthcheck: {retries: many}}\n",
            "image.healthcheck.retries: it takes a number",
        ),
    ] {
        let said = bad(name, text);
        assert!(said.contains(words), "{said}\nlacks {words}");
    }
    let (_, warnings) = read(&source(".ko.yaml", "zzz: 1\n"), true).unwrap();
    assert_eq!(warnings, ["unknown key \"zzz\" is ignored [.ko.yaml:1:1]"]);
}

#[test]
fn a_bomb_of_aliases_is_refused_at_once() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let previous = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
    }
    assert!(bad(".ko.yaml", &text).contains("too large after its aliases are expanded"));
    assert!(bad(".ko.yaml", &"[".repeat(100_000)).contains(".ko.yaml:1:"));
}

#[test]
fn every_key_says_what_it_is() {
    fn walk(schema: &serde_json::Value, path: &str) {
        for (name, child) in schema["properties"].as_object().into_iter().flatten() {
            assert!(child["description"].is_string(), "{path}.{name} has no description");
        }
        for (name, child) in schema["$defs"].as_object().into_iter().flatten() {
            walk(child, name);
        }
    }
    walk(&schema(), "");
}
