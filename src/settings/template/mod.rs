//! Go's text/template as ko has it in `flags` and `ldflags`: option `missingkey=error`, built-in functions only.
//! Pure, and bounded whatever the template says.
//!
//! | file | is |
//! |---|---|
//! | `lex`, `literal` | text to tokens; what strings and numbers mean |
//! | `parse` | tokens to trees |
//! | `eval`, `funcs` | trees over data to text |
//! | `goreleaser` | the functions that GoReleaser adds to Go's, for its files only |
//! | `format`, `float` | Go's `print` and `printf` |
//! | `value`, `roots` | the values; which of them a template asks for |
//!
//! `tests/it/template.rs` compares it with Go itself. Not here: complex numbers, `%p`, and floats in base 2 or 16,
//! which are errors; what is a letter or printable beyond ASCII is decided by Rust's tables (a newer Unicode than Go's).
//! Here but not in Go: `slice` takes an index from a field, as `index` does.

mod eval;
mod float;
mod format;
mod funcs;
mod goreleaser;
mod lex;
mod literal;
mod parse;
mod roots;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::oci::rfc3339;
use crate::plan::facts::GitState;

pub use goreleaser::version;
pub use roots::Roots;
pub use value::{List, Map, Value};

/// How long a template, its output, and each string made on the way may be.
const MAX_TEXT: usize = 1 << 20;

/// Which functions a template may call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Functions {
    /// Go's own, as in ko.
    #[default]
    Gos,
    /// GoReleaser's too.
    GoReleasers,
}

/// Whether there is anything to evaluate in `text`.
#[must_use]
pub fn has_template(text: &str) -> bool {
    text.contains("{{")
}

/// What the template `text` writes when given `data`.
///
/// # Errors
/// Kind `Input`: a template that can't be read, that asks for what isn't there, or that does too much. It names
/// the template, line and column.
pub fn render(text: &str, data: &Value, functions: Functions) -> Result<String> {
    let inner = || {
        let trees = parse::parse(text, functions)?;
        let bytes = eval::eval(&trees, data)?;
        String::from_utf8(bytes).map_err(|_| Fault::new(0, "its output isn't UTF-8"))
    };
    inner().map_err(|fault| fault.in_template(text))
}

/// Which of the data the template `text` can ask for, so that only that needs to be looked up.
///
/// # Errors
/// Kind `Input`: a template that can't be read.
pub fn roots(text: &str, functions: Functions) -> Result<Roots> {
    let trees = parse::parse(text, functions).map_err(|fault| fault.in_template(text))?;
    Ok(roots::of(&trees))
}

/// What ko gives to templates. Parts that no template asks for (see [`roots`]) may be left empty.
#[derive(Clone, Debug, Default)]
pub struct Data<'a> {
    /// `.Env`: the environment of the build. `LDFLAGS` is there even if it isn't set.
    pub env: BTreeMap<String, String>,
    /// `.GoEnv`: what `go env` says, overlaid by `env`.
    pub go_env: BTreeMap<String, String>,
    /// `.Date` and `.Timestamp`, in seconds since 1970. The date is in UTC; ko writes the clock's in local time.
    pub epoch: u64,
    /// `.Git`; without a repository its fields are there, but empty.
    pub git: Option<&'a GitState>,
    /// What GoReleaser gives besides, for its files.
    pub more: Option<BTreeMap<String, Value>>,
}

impl From<Data<'_>> for Value {
    fn from(data: Data<'_>) -> Self {
        let mut env = data.env;
        if data.more.is_none() {
            env.entry("LDFLAGS".to_owned()).or_default();
        }
        let mut go_env = data.go_env;
        for (key, value) in &mut go_env {
            if let Some(over) = env.get(key) {
                value.clone_from(over);
            }
        }
        let mut all = BTreeMap::from([
            ("Env".to_owned(), Value::from(env)),
            ("GoEnv".to_owned(), Value::from(go_env)),
            ("Git".to_owned(), git(data.git)),
            ("Date".to_owned(), Value::from(rfc3339(data.epoch))),
            ("Timestamp".to_owned(), Value::from(seconds(data.epoch))),
        ]);
        all.extend(data.more.unwrap_or_default());
        Value::from(all)
    }
}

/// ko's `.Git`.
fn git(state: Option<&GitState>) -> Value {
    let text = |of: fn(&GitState) -> &str| Value::from(state.map_or("", of));
    let dirty = state.is_some_and(|s| s.dirty);
    // Without a commit ko shows Go's zero time, the first second of the year 1.
    let (date, time) = match state {
        Some(state) => (rfc3339(state.commit_time), seconds(state.commit_time)),
        None => ("0001-01-01T00:00:00Z".to_owned(), -62_135_596_800),
    };
    Value::from(BTreeMap::from([
        ("Branch".to_owned(), text(|s| &s.branch)),
        ("Tag".to_owned(), text(|s| &s.tag)),
        ("ShortCommit".to_owned(), text(|s| &s.short_commit)),
        ("FullCommit".to_owned(), text(|s| &s.full_commit)),
        ("CommitDate".to_owned(), Value::from(date)),
        ("CommitTimestamp".to_owned(), Value::from(time)),
        ("IsDirty".to_owned(), Value::from(dirty)),
        ("IsClean".to_owned(), Value::from(!dirty)),
        ("TreeState".to_owned(), Value::from(if dirty { "dirty" } else { "clean" })),
    ]))
}

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Why a template fails, and at which byte.
#[derive(Clone, Debug)]
struct Fault {
    at: usize,
    why: String,
}

impl Fault {
    fn new(at: usize, why: impl Into<String>) -> Self {
        Fault { at, why: why.into() }
    }

    fn in_template(self, text: &str) -> Error {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        let mut shown: String = text.chars().take(80).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Error::new(Kind::Input, format!("evaluate the template {shown:?}"), self.why)
            .at(format!("{line}:{column}"))
    }
}
