//! Provenance: what an image was built from, as an in-toto predicate of SLSA (slsa.dev/spec/v1.2/build-provenance). It
//! says what a tool on somebody's machine says of itself: Build L1, and no more.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::attest::modules::{Module, Stamp};
use crate::attest::{Modules, purl};
use crate::oci::{Digest, Platform, Reference};

/// The predicate's type.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// What `externalParameters` are: a recipe of gimg's, of this version (docs/provenance.md).
pub const BUILD_TYPE: &str = "https://github.com/gimg/gimg/build/v1";
/// What bases are called among dependencies.
const BASE: &str = "base";
/// Who says it.
const BUILDER: &str = "https://github.com/gimg/gimg";

/// What is known of a build once it is done.
#[derive(Clone, Debug)]
pub struct Build<'a> {
    /// What the user asked for: the recipe.
    pub recipe: Value,
    /// What is fixed in gimg: the layout level, and the encoder of layers.
    pub level: u32,
    /// The encoder of layers, with its version.
    pub encoder: String,
    /// This gimg's version.
    pub version: &'a str,
    /// The commit of the sources, and the URL of their repository.
    pub source: Option<(String, Option<String>)>,
    /// The toolchain's version, and the digests of its programs by name.
    pub toolchain: (&'a str, &'a BTreeMap<String, Digest>),
    /// What kept compiles apart, if something did.
    pub isolation: Option<Isolation<'a>>,
    /// The platforms.
    pub platforms: Vec<Made<'a>>,
}

/// How compiles were hermetic (docs/hermetic.md).
#[derive(Clone, Debug)]
pub struct Isolation<'a> {
    /// What kept them from the network: `namespace` or `GOPROXY=off`.
    pub network: &'a str,
    /// The toolchain's version and machine, and the digest of its files as gimg.lock has it.
    pub toolchain: (&'a str, Digest),
}

/// What was made for a platform.
#[derive(Clone, Debug)]
pub struct Made<'a> {
    /// The platform.
    pub platform: &'a Platform,
    /// What it stands on, if that is an image of a registry, and the digest of its root.
    pub base: Option<(&'a Reference, Digest)>,
    /// Its programs: path, digest of the file, modules.
    pub programs: Vec<(&'a str, Digest, Option<&'a Modules>)>,
    /// The digests of the tars of its own layers, from the lowest up, and what they are.
    pub layers: Vec<(&'a str, Digest)>,
}

/// The predicate. It is the same for the same build: it has no times and no names of machines.
#[must_use]
pub fn predicate(build: &Build<'_>) -> Value {
    let mut internal = json!({ "layoutLevel": build.level, "encoder": build.encoder });
    if let Some(Isolation { network, toolchain: (name, digest) }) = &build.isolation {
        internal["hermetic"] = json!({ "environment": "cleared", "network": network, "toolchain": { *name: digest.to_string() } });
    }
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": build.recipe,
            "internalParameters": internal,
            "resolvedDependencies": dependencies(build),
        },
        "runDetails": {
            "builder": { "id": BUILDER, "version": { "gimg": build.version } },
            "metadata": {},
            "byproducts": byproducts(build),
        },
    })
}

/// What went in, each once.
fn dependencies(build: &Build<'_>) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    let mut add = |value: Value| {
        if !all.contains(&value) {
            all.push(value);
        }
    };
    if let Some((revision, repository)) = &build.source {
        let mut source = Map::new();
        source.insert("name".to_owned(), "source".into());
        if let Some(repository) = repository {
            source.insert("uri".to_owned(), format!("git+{repository}@{revision}").into());
        }
        source.insert("digest".to_owned(), json!({ "gitCommit": revision }));
        add(Value::Object(source));
    }
    let (version, programs) = &build.toolchain;
    for (name, digest) in *programs {
        add(json!({ "name": format!("{version} {name}"), "digest": { "sha256": digest.hex() } }));
    }
    for made in &build.platforms {
        if let Some((reference, digest)) = &made.base {
            add(base(reference, digest));
        }
    }
    let modules = build.platforms.iter().flat_map(|m| &m.programs).filter_map(|(_, _, modules)| *modules);
    let mut linked: Vec<&Module> = modules.flat_map(|m| m.deps.iter().chain([&m.main])).collect();
    linked.sort();
    linked.dedup();
    for module in linked {
        let hash = module.sum.as_deref().and_then(dir_hash);
        if let (Some(uri), Some(hash)) = (purl::go_module(&module.path, module.version.as_deref()), hash) {
            add(json!({ "uri": uri, "digest": { "dirHash": hash } }));
        }
    }
    all
}

/// A base of a registry.
fn base(reference: &Reference, digest: &Digest) -> Value {
    let repository = &reference.repository;
    let name = repository.path().rsplit('/').next().unwrap_or_default();
    let tag = reference.tag.as_ref().map(|t| t.as_str());
    let uri = purl::image(name, digest, None, Some((repository, tag)));
    json!({ "name": BASE, "uri": uri, "digest": { "sha256": digest.hex() } })
}

/// What came out on the way: programs before they were packed, and layers before they were compressed.
fn byproducts(build: &Build<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for made in &build.platforms {
        let platform = made.platform;
        for (path, digest, modules) in &made.programs {
            let mut program = json!({
                "name": format!("{platform} program {path}"),
                "digest": { "sha256": digest.hex() },
            });
            if let Some(annotations) = modules.map(said) {
                program["annotations"] = annotations;
            }
            all.push(program);
        }
        for (what, digest) in &made.layers {
            let name = format!("{platform} layer {what}");
            all.push(json!({ "name": name, "digest": { "sha256": digest.hex() } }));
        }
    }
    all
}

/// What a predicate says that came out for one platform. A digest that can't be read isn't there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CameOut {
    /// The programs: where they are in the image, and the digests of their files.
    pub programs: Vec<(String, Digest)>,
    /// The layers above the base, from the lowest up: what they are, and the digests of their tars.
    pub layers: Vec<(String, Digest)>,
}

impl CameOut {
    /// Reads what `predicate` says of `platform`.
    #[must_use]
    pub fn read(predicate: &Value, platform: &str) -> Self {
        let all = predicate["runDetails"]["byproducts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |sort: &str| -> Vec<(String, Digest)> {
            let start = format!("{platform} {sort} ");
            let named = all.iter().filter_map(|b| Some((b["name"].as_str()?.strip_prefix(&start)?, b)));
            let digest = |b: &Value| format!("sha256:{}", b["digest"]["sha256"].as_str()?).parse().ok();
            named.filter_map(|(name, b)| Some((name.to_owned(), digest(b)?))).collect()
        };
        CameOut { programs: of("program"), layers: of("layer") }
    }
}

/// The predicate of an image that `predicate` is about, on other `bases`, by a `recipe` that names these: what a build on
/// them would say. `version` is that of the gimg that says it.
#[must_use]
pub fn rebased(predicate: &Value, recipe: Value, bases: &[(&Reference, Digest)], version: &str) -> Value {
    let mut predicate = predicate.clone();
    predicate["buildDefinition"]["externalParameters"] = recipe;
    predicate["runDetails"]["builder"] = json!({ "id": BUILDER, "version": { "gimg": version } });
    let dependencies = &mut predicate["buildDefinition"]["resolvedDependencies"];
    let all = dependencies.as_array_mut().map(std::mem::take).unwrap_or_default();
    let (named, modules): (Vec<Value>, Vec<Value>) =
        all.into_iter().filter(|d| d["name"] != BASE).partition(|d| d["name"].is_string());
    let mut list = named;
    for base in bases.iter().map(|(reference, digest)| base(reference, digest)) {
        if !list.contains(&base) {
            list.push(base);
        }
    }
    list.extend(modules);
    *dependencies = Value::Array(list);
    predicate
}

/// What a program says of its module and its sources.
fn said(modules: &Modules) -> Value {
    let main = &modules.main;
    let mut said = json!({ "go": modules.go, "module": main.path });
    if let Some(version) = &main.version {
        said["version"] = version.as_str().into();
    }
    if let Some(Stamp { system, revision, modified }) = &modules.stamp {
        said["vcs"] = json!({ "system": system, "revision": revision, "modified": modified });
    }
    said
}

/// `h1:` and base64 as in-toto has it (in-toto/attestation, "digest_set.md", dirHash): hexadecimal digits.
fn dir_hash(sum: &str) -> Option<String> {
    let bytes = STANDARD.decode(sum.strip_prefix("h1:")?).ok()?;
    (bytes.len() == 32).then(|| bytes.iter().map(|b| format!("{b:02x}")).collect())
}
