//! Tests of templates: wording, bounds, roots, and that nothing panics. What Go does is compared in
//! `tests/it/template.rs`.

use proptest::prelude::*;

use super::*;

fn data() -> Value {
    let git = GitState {
        branch: "main".into(),
        tag: "v1.2.3".into(),
        short_commit: "abc1234".into(),
        full_commit: "abc1234000000000000000000000000000000000".into(),
        commit_time: 1_700_000_000,
        dirty: true,
    };
    let env = [("GOOS", "linux"), ("GOARCH", "arm64"), ("VERSION", "1.0")];
    let go_env = [("GOOS", "darwin"), ("GOROOT", "/usr/local/go")];
    let map = |of: &[(&str, &str)]| of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Data { env: map(&env), go_env: map(&go_env), epoch: 1_600_000_000, git: Some(&git), more: None }.into()
}

fn ok(text: &str) -> String {
    render(text, &data(), Functions::Gos).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn fails(text: &str) -> String {
    match render(text, &data(), Functions::Gos) {
        Ok(out) => panic!("{text}: {out}"),
        Err(error) => {
            assert_eq!(error.kind(), Kind::Input);
            error.to_string()
        }
    }
}

#[test]
fn what_ko_gives_to_templates() {
    for (text, want) in [
        ("-X main.v={{.Env.VERSION}}", "-X main.v=1.0"),
        ("{{.Env.LDFLAGS}}|{{.GoEnv.GOOS}}|{{.GoEnv.GOROOT}}", "|linux|/usr/local/go"),
        ("{{.Date}} {{.Timestamp}}", "2020-09-13T12:26:40Z 1600000000"),
        ("{{.Git.Branch}} {{.Git.Tag}} {{.Git.ShortCommit}}", "main v1.2.3 abc1234"),
        ("{{.Git.CommitDate}} {{.Git.CommitTimestamp}}", "2023-11-14T22:13:20Z 1700000000"),
        ("{{.Git.IsDirty}} {{.Git.IsClean}} {{.Git.TreeState}}", "true false dirty"),
    ] {
        assert_eq!(ok(text), want);
    }
    let none = Value::from(Data::default());
    let text =
        "{{.Git.Tag}}|{{.Git.CommitDate}}|{{.Git.CommitTimestamp}}|{{.Git.IsClean}}|{{.Git.TreeState}}";
    assert_eq!(render(text, &none, Functions::Gos).unwrap(), "|0001-01-01T00:00:00Z|-62135596800|true|clean");
}

#[test]
fn faults_say_what_is_wrong_and_where() {
    for (text, want) in [
        (
            "a\n {{.Env.NOPE}}",
            "evaluate the template \"a\\n {{.Env.NOPE}}\": environment variable NOPE not set [2:4]",
        ),
        ("{{with .Env}}{{.NOPE}}{{end}}", "environment variable NOPE not set [1:16]"),
        ("{{$.Env.NOPE}}", "environment variable NOPE not set [1:3]"),
        ("{{.GoEnv.NOPE}}", "go env has no NOPE [1:3]"),
        ("{{.Git.Nope}}", "there is no .Git.Nope; there are .Git.Branch, .Git.CommitDate"),
        ("{{.Nope}}", "there is no .Nope; there are .Date, .Env, .Git, .GoEnv, .Timestamp [1:3]"),
        ("{{.Date.Year}}", "there is no .Year in a string [1:3]"),
        ("é{{nope}}", "there is no function nope [1:4]"),
        ("{{$x}}", "$x isn't declared [1:3]"),
        ("{{if 1}}", "an {{end}} is missing [1:9]"),
        ("{{len 1}}", "len: an integer has no length [1:3]"),
        ("{{.Date", "the {{ isn't closed [1:1]"),
        ("{{/* x", "the comment isn't closed [1:1]"),
        ("{{template \"x\"}}", "there is no template \"x\" [1:12]"),
        ("{{lt 1 2 3}}", "lt: it doesn't take 3 arguments [1:3]"),
        ("{{\"\\xff\"}}", "its output isn't UTF-8"),
    ] {
        let error = fails(text);
        assert!(error.contains(want), "{text}: {error}");
    }
}

#[test]
fn what_a_template_does_is_bounded() {
    let deep = "(".repeat(5000) + "1" + &")".repeat(5000);
    let ifs = "{{if 1}}".repeat(5000);
    let elses = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(5000));
    let doubling = format!("{{{{$x := `aaaaaaaa`}}}}{}", "{{$x = print $x $x}}".repeat(60));
    let laughs = (0..50).fold("{{define \"0\"}}lol{{end}}".to_owned(), |text, i| {
        let call = format!("{{{{template \"{i}\"}}}}");
        format!("{text}{{{{define \"{}\"}}}}{call}{call}{{{{end}}}}", i + 1)
    }) + "{{template \"50\"}}";
    for (text, want) in [
        ("{{range 1000000000}}{{end}}", "10000 steps"),
        ("{{range 200}}{{range 200}}{{end}}{{end}}", "10000 steps"),
        ("{{range 90}}{{printf \"%20000d\" 1}}{{end}}", "output is too long"),
        ("{{range 9000}}{{$x := printf \"%100000d\" 1}}{{end}}", "too much text"),
        ("{{printf \"%999999d%999999d\" 1 2}}", "too much text"),
        ("{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}", "too deeply"),
        ("{{template \"argsTmpl\"}}", "too deeply"),
        ("{{define \"a\"}}{{if 1}}{{template \"a\"}}{{end}}{{end}}{{template \"a\"}}", "too deeply"),
        (&format!("{{{{{deep}}}}}"), "too deeply"),
        (&ifs, "too deeply"),
        (&elses, "too deeply"),
        (&doubling, "too much text"),
        (&laughs, "10000 steps"),
        (&"x".repeat(MAX_TEXT + 1), "too long"),
    ] {
        let error = fails(text);
        assert!(error.contains(want), "{want}: {error}");
    }
}

#[test]
fn roots_are_what_can_be_asked_for() {
    let names = ["Date", "Env", "Git", "GoEnv", "Timestamp"];
    for (text, want) in [
        ("plain", ""),
        ("{{.Env.X}}", "Env"),
        ("{{if eq .Git.Tag `x`}}{{$.Env.X}}{{else}}{{.Date}}{{end}}", "Date Env Git"),
        ("{{with .Git}}{{.Env}}{{.}}{{$.Timestamp}}{{else}}{{.Date}}{{end}}", "Date Git Timestamp"),
        ("{{range .Env}}{{.GoEnv}}{{end}}", "Env"),
        ("{{(.Git).Tag}} {{print (index .Env `X`)}}", "Env Git"),
        ("{{index . `Git`}}", "Date Env Git GoEnv Timestamp"),
        ("{{$x := $}}{{$x.Git}}", "Date Env Git GoEnv Timestamp"),
        ("{{$ = .Env}}{{$.Git}}", "Date Env Git GoEnv Timestamp"),
        ("{{define `a`}}{{.Git}}{{end}}{{template `a` .Env}}", "Env"),
        ("{{define `a`}}{{.Git}}{{end}}{{template `a` .}}", "Date Env Git GoEnv Timestamp"),
        ("{{block `a` .GoEnv}}{{.Git}}{{end}}", "GoEnv"),
    ] {
        let roots = roots(text, Functions::Gos).unwrap();
        let used: Vec<&str> = names.into_iter().filter(|n| roots.uses(n)).collect();
        assert_eq!(used.join(" "), want, "{text}");
    }
    assert!(roots("{{", Functions::Gos).is_err());
    let mut roots = self::roots("{{.Env.X}}", Functions::Gos).unwrap();
    roots.extend(self::roots("{{.Git.Tag}}", Functions::Gos).unwrap());
    assert!(roots.uses("Env") && roots.uses("Git") && !roots.uses("Date"));
}

/// Pieces that make templates which often get far.
const PIECES: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "if ",
    "else ",
    "else if ",
    "end",
    "range ",
    "with ",
    "define ",
    "template ",
    "block ",
    "break",
    "continue",
    "$",
    "$x",
    " := ",
    " = ",
    ", ",
    ".",
    ".Env",
    ".Git",
    ".GOOS",
    ".Tag",
    "$.Env",
    "(",
    ")",
    " | ",
    " ",
    "\n",
    "\"",
    "`",
    "'a'",
    "\"%5.2f %v %[1]q %*d\"",
    "\"s\"",
    "0x1f",
    "1.5",
    "9",
    "-3",
    "nil",
    "true",
    "printf ",
    "print ",
    "index ",
    "slice ",
    "len ",
    "eq ",
    "lt ",
    "and ",
    "or ",
    "not ",
    "html ",
    "js ",
    "urlquery ",
    "println ",
    "call ",
    "é",
    "\\xff",
    "{{/* */}}",
    "{{end}}",
    "{{if 1}}",
    "{{range 3}}",
];

proptest! {
    #[test]
    fn fuzz_templates_never_panic(text in "\\PC*") {
        let _ = render(&text, &data(), Functions::GoReleasers);
        let _ = render(&format!("{{{{{text}}}}}"), &data(), Functions::GoReleasers);
        let _ = roots(&text, Functions::GoReleasers);
    }

    #[test]
    fn fuzz_pieces_of_templates_never_panic(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40)) {
        let text = pieces.concat();
        let _ = render(&text, &data(), Functions::GoReleasers);
        let _ = roots(&text, Functions::GoReleasers);
    }

    #[test]
    fn fuzz_formats_never_panic(format in "[-+# 0-9.*\\[\\]vTtbcdoOqxXUeEfFgGspw%é]{0,30}", n in any::<i64>(), f in any::<f64>(), bytes in any::<Vec<u8>>()) {
        let args = [Value::from(format), Value::from(n), Value::from(f), Value::from(bytes), Value::Nil, data()];
        if let Ok(Value::Text(text)) = funcs::call("printf", &args, MAX_TEXT) {
            prop_assert!(text.len() <= MAX_TEXT);
        }
    }
}

#[test]
fn goreleasers_functions_give_what_they_give_there() {
    let data = Value::from(Data {
        env: BTreeMap::from([("SET".to_owned(), "x".to_owned()), ("EMPTY".to_owned(), String::new())]),
        epoch: 1_600_000_000,
        more: Some(BTreeMap::new()),
        ..Data::default()
    });
    for (text, want) in [
        (r#"{{ "a-b" | replace "a-b" "-" "+" }}"#, Err("takes 4")),
        (r#"{{ replace "a-b-c" "-" "+" }}"#, Ok("a+b+c")),
        (r#"{{ replace "ab" "" "." }}"#, Ok(".a.b.")),
        (r#"{{ range split "a,b" "," }}<{{ . }}>{{ end }}"#, Ok("<a><b>")),
        (r#"{{ dir "/a" }} {{ dir "a" }} {{ dir "a//b/../c" }}"#, Ok("/ . a")),
        (r#"{{ base "" }} {{ base "//" }} {{ base "a/b" }}"#, Ok(". / b")),
        (r#"{{ join "/a" "" "../../b" }}|{{ join }}"#, Ok("/b|")),
        (r#"{{ title "heLLo big-world it's" }}"#, Ok("Hello Big-World It's")),
        (
            r#"{{ incmajor "v1.2.3-rc1" }} {{ incminor "1.2" }} {{ incpatch "1.2.3" }}"#,
            Ok("v2.0.0 1.3.0 1.2.4"),
        ),
        (r#"{{ incpatch "1.2.3-rc1+x" }}"#, Ok("1.2.3")),
        (r#"{{ incpatch "x" }}"#, Err("is no semantic version")),
        (r#"{{ isEnvSet "SET" }}{{ isEnvSet "EMPTY" }}{{ isEnvSet "NO" }}"#, Ok("truefalsefalse")),
        (
            r#"{{ envOrDefault "EMPTY" "d" }}|{{ envOrDefault "NO" "d" }}|{{ envOrDefault "LDFLAGS" "d" }}"#,
            Ok("|d|d"),
        ),
        (
            r#"{{ englishJoin (list "a" " " "b") }}, {{ englishJoin (list) }}{{ englishJoin (list "a") }}"#,
            Ok("a and b, a"),
        ),
        (r#"{{ with map "k" "v" }}{{ .k }}{{ indexOrDefault . "x" "-" }}{{ end }}"#, Ok("v-")),
        (r#"{{ map "k" }}"#, Err("keys and values in turn")),
        (r#"{{ urlPathEscape "a b/ü" }}"#, Ok("a%20b%2F%C3%BC")),
        (r#"{{ time "Mon, 02 Jan 2006 15:04:05 MST" }}"#, Ok("Sun, 13 Sep 2020 12:26:40 UTC")),
        (r#"{{ time "20060102-3:4:5PM Z07:00" }}"#, Ok("20200913-12:26:40PM Z")),
        (r#"{{ time "2006.000" }}"#, Err("doesn't know the layout")),
        (r#"{{ tolower 1 }}"#, Err("takes strings, not an integer")),
        (r#"{{ sha256 "x" }}"#, Err("gimg has no function sha256")),
        (r#"{{ nobody }}"#, Err("there is no function nobody")),
    ] {
        match (render(text, &data, Functions::GoReleasers), want) {
            (Ok(found), Ok(want)) => assert_eq!(found, want, "{text}"),
            (Err(error), Err(words)) => {
                let words = words.replace("takes 4", "doesn't take 4 arguments");
                assert!(error.to_string().contains(&words), "{text}: {error}");
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
    assert!(render("{{ tolower \"A\" }}", &data, Functions::Gos).is_err(), "ko has none of them");
}
