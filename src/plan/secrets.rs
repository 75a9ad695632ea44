//! What may not be shown of a plan: the values of variables whose names speak of secrets, wherever they appear, and
//! credentials in URLs. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::settings::Settings;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// What names of secrets have in them, in any case.
const WORDS: &[&str] = &["TOKEN", "SECRET", "PASS", "PWD", "KEY", "AUTH", "CREDENTIAL"];
/// Names that have a word of `WORDS` in them and hold no secret.
const PLAIN: &[&str] = &["PWD", "OLDPWD"];
/// A shorter value is not looked for elsewhere: it would be found everywhere.
const MIN_LENGTH: usize = 4;
/// Nor are these.
const COMMON: &[&str] = &["true", "false", "none", "null", "auto", "default"];

/// What is known to be secret.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The longest first: one may be a part of another.
    values: Vec<String>,
}

impl Secrets {
    /// The secrets among these variables.
    pub fn of<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let is_rare = |v: &&str| v.len() >= MIN_LENGTH && !COMMON.contains(v);
        let values = variables.filter(|(name, _)| is_secret(name)).map(|(_, value)| value).filter(is_rare);
        let mut values: Vec<String> = values.map(str::to_owned).collect();
        values.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        values.dedup();
        Secrets { values }
    }

    /// The secrets in the environment, in Go's settings and in those of single programs.
    #[must_use]
    pub fn of_run(
        env: &BTreeMap<String, String>,
        go: &BTreeMap<String, String>,
        settings: &Settings,
    ) -> Self {
        let programs = || settings.rules.iter().map(|r| &r.program).chain([&settings.program]);
        let own = programs().flat_map(|p| p.env.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        // Those of GoReleaser's file; a template's value is one of the environment's.
        let released =
            settings.release.iter().flat_map(|r| &r.env).chain(programs().flat_map(|p| &p.own.env));
        let released = released.filter(|word| !word.contains("{{")).filter_map(|word| word.split_once('='));
        let all = env.iter().chain(go).map(|(k, v)| (k.as_str(), v.as_str()));
        Secrets::of(all.chain(own).chain(released))
    }

    /// The value of a variable as it may be shown.
    #[must_use]
    pub fn variable(&self, name: &str, value: &str) -> String {
        if is_secret(name) && !value.is_empty() { MASK.to_owned() } else { self.text(value) }
    }

    /// A text as it may be shown: without the values of secret variables, credentials in URLs, and values that are
    /// assigned to secret names in the text itself (`-X main.token=…`, `?key=…`).
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.values {
            if text.contains(value) {
                text = text.replace(value, MASK);
            }
        }
        assignments(&urls(&text))
    }

    /// The same document with every text in it as it may be shown.
    #[must_use]
    pub fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(list) => list.iter().map(|v| self.json(v)).collect(),
            Value::Object(map) => map.iter().map(|(k, v)| (self.text(k), self.json(v))).collect(),
            other => other.clone(),
        }
    }
}

/// Whether a variable of this name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    !PLAIN.contains(&name.as_str()) && WORDS.iter().any(|w| name.contains(w))
}

/// Masks what stands before the host in URLs.
fn urls(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '|');
        let url = &after[..after.find(ends).unwrap_or(after.len())];
        let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
        // A password with a slash in it that should have been escaped: no number follows the colon.
        let is_odd = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_err());
        let end = if is_odd { url.rfind('@') } else { authority.rfind('@') };
        rest = match end {
            Some(end) => {
                shown.push_str(MASK);
                &after[end..]
            }
            None => after,
        };
    }
    shown + rest
}

/// Masks the value of each `name=value` whose name speaks of a secret.
fn assignments(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        let start =
            before.char_indices().rev().take_while(|(_, c)| is_part(*c)).last().map_or(at, |(i, _)| i);
        shown.push_str(&rest[..=at]);
        rest = after;
        if !is_secret(&before[start..]) {
            continue;
        }
        // In quotes, which open before the name (or its package's path) or before the value, blanks belong to it.
        let path = before.trim_end_matches(|c: char| is_part(c) || c == '/');
        let opened = path.chars().next_back().filter(|c| matches!(c, '"' | '\''));
        let quoted = after.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (skipped, end) = match (quoted, opened) {
            (Some(quote), _) => (1, after[1..].find(quote).map_or(after.len(), |i| i + 1)),
            (None, Some(quote)) => (0, after.find(quote).unwrap_or(after.len())),
            (None, None) => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '&');
                (0, after.find(ends).unwrap_or(after.len()))
            }
        };
        shown.push_str(&after[..skipped]);
        if end > skipped {
            shown.push_str(MASK);
        }
        rest = &after[end..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decide_about_values() {
        let none = Secrets::default();
        for name in
            ["GITHUB_TOKEN", "client_secret", "DB_PASSWORD", "PASSPHRASE", "DB_PWD", "API_KEY", "GOAUTH"]
        {
            assert_eq!(none.variable(name, "hunter2"), MASK, "{name}");
            assert_eq!(none.variable(name, ""), "", "{name}");
        }
        for name in ["GOFLAGS", "PWD", "OLDPWD", "GOPRIVATE", "HOME", "CGO_ENABLED"] {
            assert_eq!(none.variable(name, "/w x"), "/w x", "{name}");
        }
    }

    #[test]
    fn values_are_found_wherever_they_are() {
        let variables = [
            ("A_TOKEN", "canary"),
            ("B_KEY", "canary-long"),
            ("C_KEY", "abc"),
            ("D_AUTH", "true"),
            ("E", "plain"),
        ];
        let secrets = Secrets::of(variables.into_iter());
        for (text, shown) in [
            ("-ldflags=-X main.version=canary -s", "-ldflags=-X main.version=*** -s"),
            ("xcanary-longx", "x***x"),
            ("abc -buildvcs=true plain", "abc -buildvcs=true plain"),
        ] {
            assert_eq!(secrets.text(text), shown);
        }
        let json = serde_json::json!({"Test": ["CMD", "x=canary"], "n": 1});
        assert_eq!(secrets.json(&json), serde_json::json!({"Test": ["CMD", "x=***"], "n": 1}));
    }

    #[test]
    fn credentials_in_urls_and_assignments_are_masked() {
        let none = Secrets::default();
        for (text, shown) in [
            ("https://me:pw@proxy.example/x,direct", "https://***@proxy.example/x,direct"),
            ("https://ghp_abc@a.example|http://u:p@b.example", "https://***@a.example|http://***@b.example"),
            ("https://u:p/w@host/x", "https://***@host/x"),
            ("https://host:8080/a@v1 https://host/a@v1", "https://host:8080/a@v1 https://host/a@v1"),
            ("https://host/?key=abc&x=1&Access_Token=d", "https://host/?key=***&x=1&Access_Token=***"),
            (
                "-ldflags=-X main.apiKey=abc -X=main.Token=d -w",
                "-ldflags=-X main.apiKey=*** -X=main.Token=*** -w",
            ),
            ("-X 'example.com/a/b.Secret=a b' -s", "-X 'example.com/a/b.Secret=***' -s"),
            ("-X \"b.Secret=a 'b'\" x='y'", "-X \"b.Secret=***\" x='y'"),
            ("password='a b' token= x", "password='***' token= x"),
            ("-X example.com/auth/version.Number=1.2", "-X example.com/auth/version.Number=1.2"),
            ("'-ldflags=-X main.token=abc'", "'-ldflags=-X main.token=***'"),
            ("é=ü token=é", "é=ü token=***"),
            ("a=b://", "a=b://"),
        ] {
            assert_eq!(none.text(text), shown);
        }
    }
}
