//! The configuration file: `.ko.yaml` and `.gimg.yaml`. Text in, values and findings out. Pure.
//!
//! Unlike in ko an unknown key is an error, which names file, line, column and the nearest key there is.

mod check;
mod goreleaser;
pub mod init;
mod node;
mod types;

use serde_json::Value as Json;

use crate::error::{Error, Kind, Result};

pub use goreleaser::run::{Around, read as read_goreleasers};
pub use types::{BaseVerification, Build, Config, Files, Healthcheck, Image, Line, Words};

use check::{Finding, What};
use node::{Position, Wrong};

/// A configuration file as it was found.
#[derive(Clone, Debug)]
pub struct Source {
    /// What messages call it: its path as the user knows it.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// YAML, or JSON, which is YAML.
    Yaml,
    Toml,
}

impl Source {
    fn syntax(&self) -> Syntax {
        if self.name.to_ascii_lowercase().ends_with(".toml") { Syntax::Toml } else { Syntax::Yaml }
    }

    /// Whether it is GoReleaser's, by its name: `.goreleaser.yaml`, `goreleaser.yml`, `.goreleaser-nightly.yml`.
    #[must_use]
    pub fn is_goreleasers(&self) -> bool {
        let name = self.name.rsplit(['/', '\\']).next().unwrap_or(&self.name);
        let name = name.strip_prefix('.').unwrap_or(name);
        name.starts_with("goreleaser") && (name.ends_with(".yaml") || name.ends_with(".yml"))
    }

    /// Whether it is one of ko's files, which have ko's keys only.
    fn is_kos(&self) -> bool {
        let name = self.name.rsplit(['/', '\\']).next().unwrap_or(&self.name);
        name.starts_with(".ko.")
    }
}

/// Reads a file. With `lenient` an unknown key is a warning.
///
/// # Errors
/// What isn't YAML, JSON or TOML; a key that isn't known, stands twice or has a value of another type: with file, line
/// and column.
pub fn read(source: &Source, lenient: bool) -> Result<(Config, Vec<String>)> {
    let what = "read the configuration";
    let at = |position: Position| format!("{}:{}:{}", source.name, position.line, position.column);
    let unread = |wrong: Wrong| Error::new(Kind::Input, what, wrong.why).at(at(wrong.at));
    let tree = match source.syntax() {
        Syntax::Yaml => node::yaml(&source.text),
        Syntax::Toml => node::toml(&source.text),
    }
    .map_err(unread)?;
    let (json, findings) = check::check(&tree, &schema(), !source.is_kos());
    let mut warnings = Vec::new();
    for finding in findings {
        let is_unknown = matches!(finding.what, What::Unknown { .. });
        let (why, hint) = words(&finding);
        if lenient && is_unknown {
            warnings.push(format!("{why} is ignored [{}]", at(finding.at)));
            continue;
        }
        let error = Error::new(Kind::Input, what, why).at(at(finding.at));
        return Err(match hint {
            Some(hint) => error.hint(hint),
            None => error,
        });
    }
    let config = serde_json::from_value(json).map_err(|e| Error::new(Kind::Internal, what, e))?;
    Ok((config, warnings))
}

fn words(finding: &Finding) -> (String, Option<String>) {
    let place = |key: &str| {
        if finding.path.is_empty() { format!("\"{key}\"") } else { format!("\"{key}\" in {}", finding.path) }
    };
    match &finding.what {
        What::Unknown { key, nearest } => {
            let hint = match nearest {
                Some(name) => format!("did you mean {name}?"),
                None => "--lenient makes it a warning".to_owned(),
            };
            (format!("unknown key {}", place(key)), Some(hint))
        }
        What::NotKos { key } => {
            let hint = "ko doesn't know it: rename the file to .gimg.yaml".to_owned();
            (format!("the key {} is gimg's own", place(key)), Some(hint))
        }
        What::Twice { key } => (format!("the key {} stands twice", place(key)), None),
        What::Wrong(why) if finding.path.is_empty() => (why.clone(), None),
        What::Wrong(why) => (format!("{}: {why}", finding.path), None),
    }
}

/// The JSON Schema (draft 2020-12) of the file, generated from the types.
#[must_use]
pub fn schema() -> Json {
    schemars::schema_for!(Config).to_value()
}

#[cfg(test)]
mod tests;
