//! What documents about an image claim of its program, whoever wrote them: SBOMs and provenance, read back.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::attest::cyclonedx::PACKAGES as PACKAGES_PROPERTY;
use crate::attest::spdx::PACKAGES;
use crate::attest::{Format, PROVENANCE, read_go};

/// What a document claims of an image's first program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The toolchain, as Go calls itself: `go1.26.8`.
    pub go: Option<String>,
    /// The version of the program's module.
    pub version: Option<String>,
    /// The revision of its sources.
    pub revision: Option<Revision>,
}

/// A revision of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The commit.
    pub commit: String,
    /// Whether the sources are said to differ from it.
    pub modified: bool,
}

impl Claims {
    /// What the predicate of a statement claims, or a document that could be one. Nothing if it is of another type.
    #[must_use]
    pub fn read(predicate_type: &str, predicate: &Value) -> Self {
        match predicate_type {
            PROVENANCE => provenance(predicate),
            t if t == Format::Spdx.predicate_type() => spdx(predicate),
            t if t == Format::CycloneDx.predicate_type() => cyclonedx(predicate),
            _ => Claims::default(),
        }
    }

    /// The same, with what `other` claims where it claims nothing.
    #[must_use]
    pub fn or(self, other: Claims) -> Self {
        Claims {
            go: self.go.or(other.go),
            version: self.version.or(other.version),
            revision: self.revision.or(other.revision),
        }
    }

    /// Whether nothing is missing.
    #[must_use]
    pub fn are_complete(&self) -> bool {
        self.go.is_some() && self.version.is_some() && self.revision.is_some()
    }
}

/// The Go modules that a document names by package URLs, and their versions. Paths are in lower case.
#[must_use]
pub fn linked(document: &Value) -> BTreeSet<(String, String)> {
    let (mut found, mut open) = (BTreeSet::new(), vec![document]);
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => found.extend(read_go(text)),
            Value::Array(list) => open.extend(list),
            Value::Object(map) => open.extend(map.values()),
            _ => {}
        }
    }
    // Of its own module provenance says in words what others say in a package URL.
    let programs = list(document, "/runDetails/byproducts").filter_map(|made| made.get("annotations"));
    let modules = programs.filter_map(|said| Some((text(said, "/module")?, text(said, "/version")?)));
    found.extend(modules.map(|(path, version)| (path.to_lowercase(), version)));
    found
}

/// The packages that an SBOM of gimg's says are in the program; none where it says nothing of that.
#[must_use]
pub fn packages(document: &Value) -> Option<BTreeSet<String>> {
    let spdx = list(document, "/packages").filter_map(|p| p["comment"].as_str()?.strip_prefix(PACKAGES));
    let components = list(document, "/components");
    let properties =
        components.flat_map(|c| list(c, "/properties")).filter(|p| p["name"] == PACKAGES_PROPERTY);
    let said: Vec<&str> = spdx.chain(properties.filter_map(|p| p["value"].as_str())).collect();
    let words = said.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned);
    (!said.is_empty()).then(|| words.collect())
}

fn provenance(predicate: &Value) -> Claims {
    let programs = list(predicate, "/runDetails/byproducts").filter_map(|made| made.get("annotations"));
    let program = programs.into_iter().find(|said| said.get("go").is_some()).unwrap_or(&Value::Null);
    let stamp = text(program, "/vcs/revision").map(|commit| Revision {
        commit,
        modified: program.pointer("/vcs/modified").and_then(Value::as_bool).unwrap_or_default(),
    });
    let mut sources = list(predicate, "/buildDefinition/resolvedDependencies");
    let mut source = || sources.find_map(|source| text(source, "/digest/gitCommit"));
    let revision = stamp.or_else(|| source().map(|commit| Revision { commit, modified: false }));
    Claims { go: text(program, "/go"), version: text(program, "/version"), revision }
}

fn spdx(document: &Value) -> Claims {
    let packages = || list(document, "/packages");
    let program = packages().find(|p| p["primaryPackagePurpose"] == "APPLICATION");
    claims(program, packages().find(|p| is_library(&p["name"])), "/versionInfo", |program| {
        text(program, "/sourceInfo")
    })
}

fn cyclonedx(document: &Value) -> Claims {
    let components = || list(document, "/components");
    let program = components().find(|c| c["type"] == "application");
    claims(program, components().find(|c| is_library(&c["name"])), "/version", |program| {
        let mut properties = list(program, "/properties");
        properties.find(|p| p["name"] == "gimg:source").and_then(|p| text(p, "/value"))
    })
}

/// Whether a part of this name is Go's standard library, which has the version of the toolchain.
fn is_library(name: &Value) -> bool {
    *name == "stdlib"
}

fn claims(
    program: Option<&Value>,
    library: Option<&Value>,
    version: &str,
    source: impl Fn(&Value) -> Option<String>,
) -> Claims {
    let go = library.and_then(|library| text(library, version));
    Claims {
        go: go.map(|go| if go.starts_with("go") { go } else { format!("go{go}") }),
        version: program.and_then(|program| text(program, version)),
        revision: program.and_then(source).and_then(|words| stamped(&words)),
    }
}

/// The revision in the words that SBOMs have for where a module comes from.
fn stamped(words: &str) -> Option<Revision> {
    let (_, rest) = words.split_once(" revision ")?;
    let (commit, modified) = match rest.strip_suffix(super::modules::CHANGED) {
        Some(commit) => (commit, true),
        None => (rest, false),
    };
    Some(Revision { commit: commit.to_owned(), modified })
}

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::attest::{self, Bill, Build, Facts, Made, Modules, Program};
    use crate::binary::{self, BuildInfo};
    use crate::oci::{Digest, Platform};

    /// A program as the linker describes it.
    fn modules(version: &str, modified: Option<&str>) -> Modules {
        let main = binary::Module {
            path: "example.com/app".into(),
            version: version.into(),
            sum: String::new(),
            replace: None,
        };
        let stamp = modified.map(|modified| {
            let settings = [("vcs", "git"), ("vcs.revision", "0123abc"), ("vcs.modified", modified)];
            settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
        });
        Modules::of(&BuildInfo {
            go_version: "go1.26.8".into(),
            path: "example.com/app".into(),
            main: Some(main),
            settings: stamp.unwrap_or_default(),
            ..BuildInfo::default()
        })
    }

    fn expected(version: Option<&str>, modified: Option<bool>) -> Claims {
        Claims {
            go: Some("go1.26.8".to_owned()),
            version: version.map(str::to_owned),
            revision: modified.map(|modified| Revision { commit: "0123abc".to_owned(), modified }),
        }
    }

    #[test]
    fn what_gimg_writes_is_read_back() {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let there: Vec<String> = ["fmt", "example.com/app", "runtime"].map(str::to_owned).to_vec();
        for (version, modified, expected) in [
            ("v1.2.3", Some("false"), expected(Some("v1.2.3"), Some(false))),
            ("v1.2.3", Some("true"), expected(Some("v1.2.3"), Some(true))),
            ("(devel)", None, expected(None, None)),
        ] {
            let info = BuildInfo { path: "example.com/app".into(), ..BuildInfo::default() };
            let modules = modules(version, modified).with_packages(&info, there.clone());
            let digest = Digest::of(b"image");
            let facts = Facts {
                app: "app",
                digest,
                platform: &platform,
                created: "2024-01-01T00:00:00Z",
                base: None,
            };
            let program = Program { path: "/ko-app/app".to_owned(), modules: &modules };
            for format in [Format::Spdx, Format::CycloneDx] {
                let document =
                    format.document(Bill::of_image(&facts, std::slice::from_ref(&program))).unwrap();
                let document = serde_json::from_slice(&document).unwrap();
                assert_eq!(Claims::read(format.predicate_type(), &document), expected, "{format:?}");
                assert_eq!(packages(&document), Some(there.iter().cloned().collect()), "{format:?}");
            }
            let build = Build {
                recipe: json!({}),
                level: 0,
                encoder: String::new(),
                version: "0.1.0",
                source: None,
                toolchain: ("go1.26.8", &BTreeMap::new()),
                isolation: None,
                platforms: vec![Made {
                    platform: &platform,
                    base: None,
                    programs: vec![("/ko-app/app", digest, Some(&modules))],
                    layers: Vec::new(),
                }],
            };
            assert_eq!(Claims::read(PROVENANCE, &attest::predicate(&build)), expected);
        }
    }

    #[test]
    fn others_claim_in_their_ways_or_nothing() {
        let build = json!({ "buildDefinition": { "resolvedDependencies": [
            { "uri": "x" }, { "uri": "git+https://r.io/x", "digest": { "gitCommit": "0123abc" } }] } });
        let claims = Claims::read(PROVENANCE, &build);
        assert_eq!(claims, Claims { go: None, ..expected(None, Some(false)) });
        let syft = json!({ "packages": [{ "name": "stdlib", "versionInfo": "go1.26.8" }] });
        assert_eq!(Claims::read("https://spdx.dev/Document", &syft), expected(None, None));
        for odd in [json!(null), json!([]), json!({ "packages": 1, "components": {}, "runDetails": "x" })] {
            for kind in [PROVENANCE, "https://spdx.dev/Document", "https://cyclonedx.org/bom", "x"] {
                assert_eq!(Claims::read(kind, &odd), Claims::default());
                assert_eq!((packages(&odd), linked(&odd)), (None, BTreeSet::new()));
            }
        }
    }

    #[test]
    fn claims_complete_each_other() {
        let (one, two) = (expected(None, Some(true)), expected(Some("v1"), Some(false)));
        assert!(!one.are_complete() && two.are_complete());
        assert_eq!(one.or(two), expected(Some("v1"), Some(true)));
    }
}
