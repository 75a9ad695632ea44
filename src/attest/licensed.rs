//! The licences of modules, as an SBOM says them, whoever wrote it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::attest::{Format, Module};

/// The longest licence that is kept, in bytes: an expression, not a text.
const MAX: usize = 500;
/// SPDX's words for nothing (SPDX 2.3, 7.13).
const NOTHING: &[&str] = &["NOASSERTION", "NONE", ""];

/// Licences by module: path and version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Licences(BTreeMap<(String, String), String>);

impl Licences {
    /// What a document says. Nothing of what isn't understood.
    #[must_use]
    pub fn read(format: Format, document: &Value) -> Self {
        let (list, version) = match format {
            Format::Spdx => ("packages", "versionInfo"),
            Format::CycloneDx => ("components", "version"),
        };
        let parts = document.get(list).and_then(Value::as_array);
        let mut found = BTreeMap::new();
        for part in parts.into_iter().flatten() {
            let text = |key: &str| part.get(key).and_then(Value::as_str);
            let licence = match format {
                Format::Spdx => spdx(part),
                Format::CycloneDx => cyclonedx(part),
            };
            let licence = licence.filter(|l| l.len() <= MAX && !NOTHING.contains(&l.as_str()));
            if let (Some(name), Some(licence)) = (text("name"), licence) {
                let version = text(version).unwrap_or_default();
                found.insert((name.to_owned(), version.to_owned()), licence);
            }
        }
        Licences(found)
    }

    /// What the predicate of a statement says, or a document that could be one. Nothing if it is no SBOM.
    #[must_use]
    pub fn said(predicate_type: &str, predicate: &Value) -> Self {
        let format = Format::ALL.into_iter().find(|format| format.predicate_type() == predicate_type);
        format.map(|format| Self::read(format, predicate)).unwrap_or_default()
    }

    /// What is known of these modules.
    #[must_use]
    pub fn of_modules<'m>(modules: impl IntoIterator<Item = &'m Module>) -> Self {
        let known = modules.into_iter().filter_map(|module| {
            let version = module.version.clone().unwrap_or_default();
            Some(((module.path.clone(), version), module.licence.clone()?))
        });
        Licences(known.collect())
    }

    /// Adds what others say of what nothing is known of.
    pub fn add(&mut self, others: Self) {
        for (module, licence) in others.0 {
            self.0.entry(module).or_insert(licence);
        }
    }

    /// The licence of a module's version.
    #[must_use]
    pub fn of(&self, path: &str, version: &str) -> Option<&str> {
        self.0.get(&(path.to_owned(), version.to_owned())).map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What was found out counts for more than what is declared.
fn spdx(part: &Value) -> Option<String> {
    let said = ["licenseConcluded", "licenseDeclared"].map(|key| part.get(key).and_then(Value::as_str));
    let mut said = said.into_iter().flatten().filter(|l| !NOTHING.contains(l));
    said.next().map(str::to_owned)
}

/// An expression, or several licences (CycloneDX 1.6, `licenseChoice`).
fn cyclonedx(part: &Value) -> Option<String> {
    let one = |choice: &Value| {
        let said = ["/expression", "/license/id", "/license/name"].map(|at| choice.pointer(at));
        said.into_iter().flatten().find_map(Value::as_str).map(str::to_owned)
    };
    let all: Vec<String> = part.get("licenses")?.as_array()?.iter().filter_map(one).collect();
    (!all.is_empty()).then(|| all.join(" AND "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn licences_are_read_of_either_format() {
        let spdx = json!({"packages": [
            {"name": "a.com/a", "versionInfo": "v1", "licenseConcluded": "NOASSERTION", "licenseDeclared": "MIT"},
            {"name": "b.com/b", "versionInfo": "v2", "licenseConcluded": "Apache-2.0"},
            {"name": "c.com/c", "versionInfo": "v3", "licenseConcluded": "NOASSERTION"},
            {"name": "d.com/d", "licenseConcluded": "x".repeat(MAX + 1)},
            {"licenseConcluded": "MIT"}, 7
        ]});
        let found = Licences::read(Format::Spdx, &spdx);
        assert_eq!((found.of("a.com/a", "v1"), found.of("b.com/b", "v2")), (Some("MIT"), Some("Apache-2.0")));
        assert_eq!((found.of("a.com/a", "v2"), found.of("c.com/c", "v3")), (None, None));
        assert_eq!(found.0.len(), 2);
        let cyclonedx = json!({"components": [
            {"name": "a.com/a", "version": "v1", "licenses": [{"license": {"id": "MIT"}}]},
            {"name": "b.com/b", "version": "v2", "licenses": [{"expression": "MIT OR BSD-3-Clause"}]},
            {"name": "c.com/c", "version": "v3",
                "licenses": [{"license": {"name": "Own"}}, {"license": {"id": "MIT"}}]},
            {"name": "d.com/d", "licenses": "MIT"}
        ]});
        let found = Licences::read(Format::CycloneDx, &cyclonedx);
        assert_eq!(found.of("a.com/a", "v1"), Some("MIT"));
        assert_eq!(found.of("b.com/b", "v2"), Some("MIT OR BSD-3-Clause"));
        assert_eq!((found.of("c.com/c", "v3"), found.0.len()), (Some("Own AND MIT"), 3));
        for odd in [json!(null), json!([]), json!({"packages": {}, "components": 1})] {
            assert!(Format::ALL.iter().all(|format| Licences::read(*format, &odd).is_empty()));
        }
    }
}
