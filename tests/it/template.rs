//! Templates beside Go's own text/template: the same output, the same ones are errors.

use std::collections::BTreeMap;

use gimg::settings::template::{Functions, Value, render};

use crate::support::{Sandbox, copy_tree, root};

/// The same data as in testdata/templates/main.go.
fn data() -> Value {
    let strings = |of: &[(&str, &str)]| -> Value {
        let of = of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        of.collect::<BTreeMap<String, String>>().into()
    };
    let map = |of: Vec<(&str, Value)>| -> Value {
        of.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<BTreeMap<String, Value>>().into()
    };
    let env = [
        ("GOOS", "linux"),
        ("GOARCH", "arm64"),
        ("VERSION", "1.2.3"),
        ("EMPTY", ""),
        ("ODD", "a <b>&'c'\"=\\ é\t%"),
    ];
    let git = vec![
        ("Branch", "main".into()),
        ("Tag", "v1.2.3".into()),
        ("ShortCommit", "abc1234".into()),
        ("CommitTimestamp", 1_700_000_000.into()),
        ("IsDirty", true.into()),
        ("IsClean", false.into()),
        ("TreeState", "dirty".into()),
    ];
    let inner = Value::from(vec![Value::from("in"), Value::Int(7)]);
    let any = vec![
        Value::Int(1),
        "x".into(),
        Value::Nil,
        true.into(),
        2.5.into(),
        inner,
        map(vec![("k", "v".into())]),
    ];
    map(vec![
        ("Env", strings(&env)),
        ("GoEnv", strings(&[("GOOS", "linux"), ("GOROOT", "/usr/local/go")])),
        ("Date", "2020-09-13T12:26:40Z".into()),
        ("Timestamp", 1_600_000_000.into()),
        ("Git", map(git)),
        ("List", vec!["a".to_owned(), "b".to_owned(), "c".to_owned()].into()),
        ("Any", any.into()),
        ("None", Vec::<String>::new().into()),
        ("Nil", Value::Nil),
        ("Zero", Value::Int(0)),
        ("Neg", Value::Int(-42)),
        ("Float", 1234.5678.into()),
        ("Map", map(vec![("b", Value::Int(2)), ("a", "one".into()), ("n", Value::Nil)])),
    ])
}

/// What Go makes of each template.
fn go(templates: &[String]) -> Vec<Result<String, String>> {
    let sandbox = Sandbox::new();
    copy_tree(&root().join("testdata/templates"), sandbox.cwd());
    sandbox.write("templates.json", &serde_json::to_string(templates).unwrap());
    let ran = sandbox.run("go run . templates.json").ok();
    let read = |line: &str| -> Result<String, String> {
        let line: BTreeMap<String, String> = serde_json::from_str(line).unwrap();
        line.get("out").cloned().ok_or_else(|| line["error"].clone())
    };
    let results: Vec<_> = ran.lines().into_iter().map(read).collect();
    assert_eq!(results.len(), templates.len());
    results
}

/// Errors of gimg where Go prints something; see the documentation of `settings::template`.
const ON_PURPOSE: &[&str] = &["printed in base 2 or 16", "%p prints an address", "too much text"];

/// An error of Go where gimg has a value: `slice`, unlike `index`, takes no index straight from a field.
const GO_ONLY: &str = "cannot index slice/array with type interface {}";

/// Renders all with both; the number of those that succeed and of those that fail.
#[track_caller]
fn compare(templates: &[String]) -> (usize, usize) {
    let data = data();
    let mut wrong = Vec::new();
    let (mut good, mut bad) = (0, 0);
    for (text, theirs) in templates.iter().zip(go(templates)) {
        match (render(text, &data, Functions::Gos), theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => good += 1,
            (Err(_), Err(_)) => bad += 1,
            (Err(ours), _) if ON_PURPOSE.iter().any(|why| ours.to_string().contains(why)) => {}
            (Ok(_), Err(theirs)) if theirs.contains(GO_ONLY) => {}
            (ours, theirs) => {
                let shown = |of: String| of.chars().take(300).collect::<String>();
                let ours = ours.map_err(|e| e.to_string());
                let lines = [format!("{text:?}"), format!("  gimg: {ours:?}"), format!("  Go:   {theirs:?}")];
                wrong.push(lines.map(shown).join("\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), templates.len(), wrong.join("\n"));
    (good, bad)
}

fn cases() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("testdata/templates/cases.txt")).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with("# "));
    lines.map(|l| l.replace('⏎', "\n")).collect()
}

#[test]
fn templates_render_as_in_go() {
    let (good, bad) = compare(&cases());
    assert!(good > 100 && bad > 100, "{good} good, {bad} bad");
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // Knuth's MMIX generator; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    /// Something that has a value, more or less.
    fn operand(&mut self, depth: usize) -> String {
        const SIMPLE: &[&str] = &[
            ".Env.VERSION",
            ".Git.Tag",
            ".Git.IsDirty",
            ".Timestamp",
            ".List",
            ".Any",
            ".Map",
            ".Nil",
            ".Zero",
            ".Neg",
            ".Float",
            ".Env",
            ".",
            "$",
            "$x",
            "$x.Tag",
            "$.Git",
            "1",
            "0x1F",
            "-2",
            "3.25",
            "1e7",
            "'é'",
            "\"a\\n\"",
            "`b`",
            "true",
            "nil",
            "\"Tag\"",
            "0",
            ".Nope",
            "print",
        ];
        if depth == 0 || self.roll(3) > 0 {
            return self.pick(SIMPLE).to_owned();
        }
        let field = self.pick(&["", "", "", ".Tag", ".k"]);
        format!("({}){field}", self.pipe(depth - 1))
    }

    fn command(&mut self, depth: usize) -> String {
        const FUNCTIONS: &[&str] = &[
            "print", "println", "html", "js", "urlquery", "len", "index", "slice", "eq", "ne", "lt", "le",
            "gt", "ge", "and", "or", "not", "printf",
        ];
        if self.roll(3) == 0 {
            return self.operand(depth);
        }
        let mut command = self.pick(FUNCTIONS).to_owned();
        if command == "printf" {
            command.push_str(" \"");
            for _ in 0..self.roll(3) + 1 {
                command.push('%');
                command.push_str(
                    self.pick(&["", "", "", "5", "-7", "08", "+", "#", " ", ".2", "+6.1", "[1]", "*"]),
                );
                command.push_str(
                    self.pick(&["v", "v", "s", "d", "q", "t", "x", "c", "U", "f", "e", "g", "T", "%"]),
                );
            }
            command.push('"');
        }
        for _ in 0..self.roll(4) {
            command.push(' ');
            command.push_str(&self.operand(depth));
        }
        command
    }

    fn pipe(&mut self, depth: usize) -> String {
        let mut pipe = self.pick(&["", "", "", "", "", "$x := ", "$x = "]).to_owned();
        pipe.push_str(&self.command(depth));
        while self.roll(4) == 0 {
            pipe.push_str(" | ");
            pipe.push_str(&self.command(depth));
        }
        pipe
    }

    fn template(&mut self, depth: usize) -> String {
        let mut text = String::new();
        for _ in 0..self.roll(3) + 1 {
            let open = self.pick(&["{{", "{{", "{{- "]);
            let close = self.pick(&["}}", "}}", " -}}"]);
            let pipe = self.pipe(2);
            let body = if depth > 0 { self.template(depth - 1) } else { "\n-\n".to_owned() };
            text.push_str(&match self.roll(8) {
                0 => format!("{open}if {pipe}{close}{body}{{{{else}}}} b {{{{end}}}}"),
                1 => format!("{open}with {pipe}{close}{body}{{{{else with {pipe}}}}} c {{{{end}}}}"),
                2 => format!("{{{{range $k, $v := .Map}}}} {{{{$k}}}} {body}{open}end{close}"),
                3 => format!(
                    "{{{{range .Any}}}} {body}{{{{if .}}}}{{{{continue}}}}{{{{end}}}}{open}end{close}"
                ),
                4 => format!("{{{{block \"b{}\" {pipe}}}}}{body}{{{{end}}}}", self.roll(1000)),
                _ => format!("a {open}{pipe}{close} b"),
            });
        }
        text
    }

    /// The text with a few characters taken away, added or doubled.
    fn damage(&mut self, text: &str) -> String {
        const ADDED: &[&str] = &[
            "{{", "}}", " ", "-", ".", "$", "$x", "(", ")", "|", "\"", "`", "'", "=", ",", "%", "7", "é",
            "\n", "\\",
        ];
        let mut chars: Vec<String> = text.chars().map(String::from).collect();
        for _ in 0..self.roll(3) + 1 {
            let at = self.roll(chars.len().max(1));
            match self.roll(3) {
                0 if at < chars.len() => drop(chars.remove(at)),
                1 if at < chars.len() => chars.insert(at, chars[at].clone()),
                _ => chars.insert(at.min(chars.len()), self.pick(ADDED).to_owned()),
            }
        }
        chars.concat()
    }
}

#[test]
fn made_up_templates_render_as_in_go() {
    let mut dice = Dice(1);
    let declared = |text: String| format!("{{{{$x := .Git}}}}{text}");
    let mut templates: Vec<String> = (0..4000).map(|i| declared(dice.template(i % 3))).collect();
    // A loop over a timestamp takes Go an hour if its break is damaged; imaginary numbers are not for us.
    let imaginary = |t: &str| t.as_bytes().windows(2).any(|w| w[0].is_ascii_digit() && w[1] == b'i');
    for case in cases().iter().filter(|c| !c.contains("range $v := .Timestamp")) {
        templates.extend((0..12).map(|_| dice.damage(case)).filter(|t| !imaginary(t)));
    }
    let (good, bad) = compare(&templates);
    assert!(good > 1000 && bad > 1000, "{good} good, {bad} bad");
}
