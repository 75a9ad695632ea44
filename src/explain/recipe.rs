//! What two images' provenance says that they were made from. It explains what shows: a program, or how layers are
//! compressed; an input that nothing came of is no cause. Whoever wrote it may be wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::attest::BUILD_TYPE;
use crate::explain::{Cause, Change, Sort};
use crate::oci::Platform;
use crate::plan::recipe::{PlatformRecipe, Recipe};
use crate::plan::secrets::MASK;

/// What a statement of gimg's says.
#[derive(Clone, Debug)]
pub struct Recorded {
    recipe: Recipe,
    /// The encoder of layers, with its version.
    encoder: String,
    /// The digests of the toolchain's programs, by name.
    tools: BTreeMap<String, String>,
}

impl Recorded {
    /// Reads a predicate; none if it is of another builder, or says what no recipe does.
    #[must_use]
    pub fn read(predicate: &Value) -> Option<Self> {
        let definition = predicate.get("buildDefinition")?;
        if definition.get("buildType")? != BUILD_TYPE {
            return None;
        }
        let recipe: Recipe = serde_json::from_value(definition.get("externalParameters")?.clone()).ok()?;
        let encoder = definition.pointer("/internalParameters/encoder").and_then(Value::as_str);
        let inputs = definition.get("resolvedDependencies").and_then(Value::as_array);
        let tools = inputs.into_iter().flatten().filter_map(|input| {
            let name = input.get("name")?.as_str()?.strip_prefix(recipe.go.version.as_str())?;
            let digest = input.pointer("/digest/sha256")?.as_str()?;
            Some((name.trim().to_owned(), digest.to_owned()))
        });
        let tools = tools.collect();
        Some(Recorded { encoder: encoder.unwrap_or_default().to_owned(), tools, recipe })
    }

    /// Whether it says exactly what its sources are.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let source = &self.recipe.source;
        (source.revision.is_some() || source.module.is_some()) && !source.modified
    }

    /// Whether it leaves out a secret that can differ.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        let platforms = self.recipe.platforms.iter();
        let texts =
            platforms.flat_map(|p| p.flags.iter().chain(p.environment.iter().map(|(_, value)| value)));
        texts.chain(self.recipe.go.settings.values()).any(|text| text.contains(MASK))
    }

    fn platform(&self, platform: &Platform) -> Option<&PlatformRecipe> {
        self.recipe.platforms.iter().find(|p| p.platform.parse().ok().as_ref() == Some(platform))
    }

    /// Settings of Go for a platform, without flags.
    fn settings(&self, platform: &Platform) -> BTreeMap<String, String> {
        let mut settings = self.recipe.go.settings.clone();
        settings.extend(self.platform(platform).into_iter().flat_map(|p| p.environment.iter().cloned()));
        if let Some(workspace) = &self.recipe.go.workspace {
            settings.insert("GOWORK".to_owned(), workspace.clone());
        }
        settings.remove("GOFLAGS");
        settings
    }

    /// Flags of `go build` for a platform: those of GOFLAGS, and gimg's, which count if they are of the same name.
    fn flags(&self, platform: &Platform) -> BTreeMap<String, String> {
        let own = self.platform(platform);
        let environment = own.and_then(|p| p.environment.iter().rev().find(|(key, _)| key == "GOFLAGS"));
        let words = environment.map(|(_, value)| value).or_else(|| self.recipe.go.settings.get("GOFLAGS"));
        let words = words.map(String::as_str).unwrap_or_default().split_whitespace();
        let all = words.chain(own.into_iter().flat_map(|p| p.flags.iter().map(String::as_str)));
        let pairs = all.map(|flag| {
            let (name, value) = flag.split_once('=').unwrap_or((flag, "true"));
            (format!("-{}", name.trim_start_matches('-')), value.to_owned())
        });
        pairs.collect()
    }
}

/// The inputs of programs for `platform` that differ, but for their sources.
#[must_use]
pub fn inputs(was: &Recorded, now: &Recorded, platform: &Platform) -> Vec<Cause> {
    let (old, new) = (&was.recipe.go.version, &now.recipe.go.version);
    let mut causes: Vec<Cause> = Cause::between(Sort::Go, "", Some(old), Some(new)).into_iter().collect();
    if causes.is_empty() {
        let tools: BTreeSet<&String> = was.tools.keys().chain(now.tools.keys()).collect();
        let other: Vec<&str> = tools
            .into_iter()
            .filter(|t| was.tools.get(*t) != now.tools.get(*t))
            .map(String::as_str)
            .collect();
        if !other.is_empty() {
            let note = format!("another build of {new}: its {}", other.join(", "));
            causes.push(Cause::new(Sort::Go, "", Change::Changed).note(note));
        }
    }
    let all = [
        (Sort::Setting, was.settings(platform), now.settings(platform)),
        (Sort::Flag, was.flags(platform), now.flags(platform)),
    ];
    for (sort, old, new) in all {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let keys = keys.into_iter().filter(|key| reaches(key, platform));
        causes.extend(keys.filter_map(|key| Cause::between(sort, key, old.get(key), new.get(key))));
    }
    causes
}

/// Whether a setting or flag can reach the programs for a platform. Those of other CPUs don't, nor what says how `go`
/// works; what `-buildvcs` does, Go records.
fn reaches(key: &str, platform: &Platform) -> bool {
    const CPUS: &[(&str, &[&str])] = &[
        ("GO386", &["386"]),
        ("GOAMD64", &["amd64"]),
        ("GOARM", &["arm"]),
        ("GOARM64", &["arm64"]),
        ("GOMIPS", &["mips", "mipsle"]),
        ("GOMIPS64", &["mips64", "mips64le"]),
        ("GOPPC64", &["ppc64", "ppc64le"]),
        ("GORISCV64", &["riscv64"]),
        ("GOWASM", &["wasm"]),
    ];
    const WORK: &[&str] = &["-a", "-buildvcs", "-mod", "-modcacherw", "-n", "-p", "-v", "-work", "-x"];
    let of_cpu = CPUS.iter().find(|(name, _)| *name == key);
    of_cpu.is_none_or(|(_, cpus)| cpus.contains(&platform.architecture.as_str())) && !WORK.contains(&key)
}

/// How the sources of programs differ.
#[must_use]
pub fn sources(was: &Recorded, now: &Recorded) -> Vec<Cause> {
    let (old, new) = (&was.recipe.source, &now.recipe.source);
    let tree = |modified: bool| Some(if modified { "modified" } else { "clean" }.to_owned());
    let between = |name: &str, was: &Option<String>, now: &Option<String>| {
        Cause::between(Sort::Vcs, name, was.as_ref(), now.as_ref())
    };
    let mut causes: Vec<Cause> = between("module", &old.module, &new.module).into_iter().collect();
    causes.extend(between("repository", &old.repository, &new.repository));
    causes.extend(between("revision", &old.revision, &new.revision));
    causes.extend(between("tree", &tree(old.modified), &tree(new.modified)));
    causes
}

/// Whether both say of their sources exactly what they are, and it is the same: then what differs contradicts them.
#[must_use]
pub fn is_same_source(was: &Recorded, now: &Recorded) -> bool {
    was.is_exact() && was.recipe.source == now.recipe.source
}

/// What is said of how layers are compressed, in place of what shows.
#[must_use]
pub fn compression(was: &Recorded, now: &Recorded) -> Option<Cause> {
    let (old, new) = (&was.recipe.compression, &now.recipe.compression);
    let cause = Cause::between(Sort::Compression, "", Some(old), Some(new));
    cause.or_else(|| Cause::between(Sort::Compression, "encoder", Some(&was.encoder), Some(&now.encoder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(flags: &str, goflags: &str, source: &Value, tool: &str) -> Recorded {
        let words: Vec<&str> = flags.split(';').collect();
        Recorded::read(&serde_json::json!({ "buildDefinition": {
            "buildType": BUILD_TYPE,
            "internalParameters": { "encoder": "e1" },
            "resolvedDependencies": [{ "name": "go1.26.8 compile", "digest": { "sha256": tool } }],
            "externalParameters": {
                "source": source, "go": { "version": "go1.26.8", "settings": { "GOFLAGS": goflags } },
                "programs": [], "programsDirectory": "/ko-app", "compression": "gzip:2",
                "platforms": [{ "platform": "linux/amd64", "base": {}, "flags": words,
                                "environment": [["CGO_ENABLED", "0"]] }],
            },
        }}))
        .unwrap()
    }

    #[test]
    fn flags_count_wherever_they_come_from() {
        let none = serde_json::json!({});
        let platform = Platform::new("linux", "amd64");
        let lines = |was: &Recorded, now: &Recorded| -> Vec<String> {
            inputs(was, now, &platform).iter().map(ToString::to_string).collect()
        };
        let was = recorded("-trimpath;-ldflags=-s -w", "-mod=mod", &none, "a");
        assert_eq!(lines(&was, &was), [""; 0]);
        let now = recorded("-trimpath;-ldflags=-s", "-mod=vendor -tags=x --ldflags=y", &none, "a");
        assert_eq!(lines(&was, &now), ["flag -ldflags: \"-s -w\" -> -s", "flag -tags: added, x"]);
        let other = recorded("-trimpath;-ldflags=-s -w", "-mod=mod", &none, "b");
        assert_eq!(lines(&was, &other), ["go: another build of go1.26.8: its compile"]);
        assert!(recorded("-ldflags=-X main.token=***", "", &none, "a").has_secrets() && !other.has_secrets());
        assert!(Recorded::read(&serde_json::json!({ "buildDefinition": { "buildType": "x" } })).is_none());
    }

    #[test]
    fn sources_are_the_same_only_where_that_is_known() {
        let of = |source: Value| recorded("", "", &source, "a");
        let (one, two) = (serde_json::json!({ "revision": "r1" }), serde_json::json!({ "revision": "r2" }));
        let changed = serde_json::json!({ "revision": "r1", "modified": true });
        assert!(is_same_source(&of(one.clone()), &of(one.clone())));
        assert!(!is_same_source(&of(changed.clone()), &of(changed.clone())));
        assert!(!is_same_source(&of(serde_json::json!({})), &of(serde_json::json!({}))));
        let lines = |was: &Value, now: &Value| -> Vec<String> {
            sources(&of(was.clone()), &of(now.clone())).iter().map(ToString::to_string).collect()
        };
        assert_eq!(lines(&one, &two), ["vcs revision: r1 -> r2"]);
        assert_eq!(lines(&one, &changed), ["vcs tree: clean -> modified"]);
    }
}
