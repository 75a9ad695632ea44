//! What templates of GoReleaser's file may ask for besides ko's data (goreleaser, internal/tmpl). Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::oci::{Platform, rfc3339};
use crate::plan::command;
use crate::plan::facts::{ReleaseFacts, TemplateFacts};
use crate::plan::templates::Templates;
use crate::settings::program::Program;
use crate::settings::template::{Roots, Value, version};

/// The fields that git says.
const OF_GIT: &[&str] = &[
    "Branch",
    "Commit",
    "CommitDate",
    "CommitTimestamp",
    "FullCommit",
    "GitTreeState",
    "GitURL",
    "IsGitClean",
    "IsGitDirty",
    "PreviousTag",
    "ShortCommit",
    "Summary",
];
/// Those that its tag says.
const OF_TAG: &[&str] = &[
    "Major",
    "Minor",
    "Patch",
    "Prerelease",
    "RawVersion",
    "Tag",
    "TagBody",
    "TagContents",
    "TagSubject",
    "Version",
];

/// The variables that the targets decide.
const OF_TARGET: &[&str] =
    &["GOOS", "GOARCH", "GOAMD64", "GO386", "GOARM", "GOARM64", "GOMIPS", "GOMIPS64", "GOPPC64", "GORISCV64"];

/// Whether a template asks for what git says.
#[must_use]
pub fn asks_git(roots: &Roots) -> bool {
    OF_GIT.iter().chain(OF_TAG).any(|field| roots.uses(field))
}

/// Checks that git says what templates ask for. Gives what to warn about.
///
/// # Errors
/// No commit or no tag where one is asked for (kind `Input`).
pub fn check(facts: &TemplateFacts, roots: &Roots) -> Result<Vec<String>> {
    let Some(release) = &facts.release else { return Ok(Vec::new()) };
    let asked = |fields: &[&'static str]| fields.iter().copied().find(|field| roots.uses(field));
    let failed = |field: &str, why: &str| {
        Error::new(Kind::Input, format!("evaluate .{field} of GoReleaser's file"), why)
    };
    let mut warnings = Vec::new();
    if let Some(field) = asked(OF_GIT).or_else(|| asked(OF_TAG))
        && facts.git.is_none()
    {
        return Err(failed(field, "this is no git repository with a commit"));
    }
    if let Some(field) = asked(OF_TAG) {
        let git = release.git.clone().unwrap_or_default();
        let tag = git.tag.as_deref().ok_or_else(|| {
            failed(field, "no tag leads to this commit")
                .hint("tag it, fetch the tags of a shallow clone, or set GORELEASER_CURRENT_TAG")
        })?;
        if let Some(field) = asked(&["Major", "Minor", "Patch", "Prerelease", "RawVersion"])
            && version(tag).is_none()
        {
            return Err(failed(field, &format!("the tag {tag} is no semantic version")));
        }
        let dirty = facts.git.as_ref().is_some_and(|g| g.dirty);
        if !git.exact || dirty {
            let why = if dirty { "the tree has changes" } else { "this is a later commit" };
            warnings.push(format!("templates say the version of {tag}, but {why}"));
        }
    }
    Ok(warnings)
}

/// The fields, with those of a target if there is one. What git can't say isn't there.
#[must_use]
pub fn fields(
    facts: &TemplateFacts,
    release: &ReleaseFacts,
    target: Option<&Platform>,
) -> BTreeMap<String, Value> {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    let mut put = |name: &str, value: Value| {
        all.insert(name.to_owned(), value);
    };
    for (name, text) in [("ProjectName", &release.project), ("ModulePath", &release.module)] {
        if let Some(text) = text {
            put(name, text.as_str().into());
        }
    }
    for name in ["IsSnapshot", "IsNightly", "IsSingleTarget", "IsDraft"] {
        put(name, false.into());
    }
    let host = |key: &str| facts.go_env.get(key).cloned().unwrap_or_default();
    let runtime = [("Goos", host("GOHOSTOS")), ("Goarch", host("GOHOSTARCH"))];
    let runtime: BTreeMap<String, String> = runtime.map(|(k, v)| (k.to_owned(), v)).into();
    put("Runtime", runtime.into());
    if let Some(state) = &facts.git {
        let more = release.git.clone().unwrap_or_default();
        for (name, text) in [
            ("Branch", &state.branch),
            ("Commit", &state.full_commit),
            ("FullCommit", &state.full_commit),
            ("ShortCommit", &state.short_commit),
            ("GitURL", &more.url),
            ("Summary", &more.summary),
            ("PreviousTag", &more.previous),
        ] {
            put(name, text.as_str().into());
        }
        put("CommitDate", rfc3339(state.commit_time).into());
        put("CommitTimestamp", i64::try_from(state.commit_time).unwrap_or(i64::MAX).into());
        put("IsGitDirty", state.dirty.into());
        put("IsGitClean", (!state.dirty).into());
        put("GitTreeState", if state.dirty { "dirty" } else { "clean" }.into());
        if let Some(tag) = &more.tag {
            put("Tag", tag.as_str().into());
            put("Version", tag.strip_prefix('v').unwrap_or(tag).into());
            for (name, text) in
                [("TagSubject", &more.subject), ("TagContents", &more.contents), ("TagBody", &more.body)]
            {
                put(name, text.as_str().into());
            }
            if let Some(([major, minor, patch], before)) = version(tag) {
                for (name, number) in [("Major", major), ("Minor", minor), ("Patch", patch)] {
                    put(name, i64::try_from(number).unwrap_or(i64::MAX).into());
                }
                put("RawVersion", format!("{major}.{minor}.{patch}").into());
                put("Prerelease", before.into());
            }
        }
    }
    if let Some(platform) = target {
        all.extend(of_target(platform));
    }
    all
}

/// What is said of a target; fields of other architectures are empty.
fn of_target(platform: &Platform) -> BTreeMap<String, Value> {
    let (variable, value) = command::variant_setting(platform).ok().flatten().unwrap_or_default();
    let fields = [
        ("Amd64", "GOAMD64"),
        ("I386", "GO386"),
        ("Arm", "GOARM"),
        ("Arm64", "GOARM64"),
        ("Mips", "GOMIPS"),
        ("Ppc64", "GOPPC64"),
        ("Riscv64", "GORISCV64"),
    ];
    let is_it = |of: &str| variable == of || (of == "GOMIPS" && variable == "GOMIPS64");
    let mut all: BTreeMap<String, Value> = fields
        .into_iter()
        .map(|(name, of)| (name.to_owned(), if is_it(of) { value.as_str().into() } else { "".into() }))
        .collect();
    let target: Vec<&str> = [platform.os.as_str(), &platform.architecture, &value]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    all.insert("Target".to_owned(), target.join("_").into());
    all.insert("Os".to_owned(), platform.os.as_str().into());
    all.insert("Arch".to_owned(), platform.architecture.as_str().into());
    for name in ["Ext", "ArtifactExt"] {
        all.insert(name.to_owned(), if platform.os == "windows" { ".exe" } else { "" }.into());
    }
    all
}

/// The variables that the file gives to the whole run. Each may ask for those before it.
///
/// # Errors
/// A template that can't be evaluated, or doesn't become KEY=value.
pub fn variables(facts: &TemplateFacts, words: &[String]) -> Result<Vec<(String, String)>> {
    evaluated(&Templates::new(facts), words, None)
}

/// The program with its environment evaluated for a platform. Of the run's variables it gets those that Go reads: the
/// rest are for templates, and may be secrets.
///
/// # Errors
/// As [`variables`].
pub fn program<'p>(
    templates: &Templates<'_>,
    release: &ReleaseFacts,
    program: &'p Program,
    platform: &Platform,
) -> Result<Cow<'p, Program>> {
    let is_gos = |name: &str| {
        name.starts_with("GO")
            || name.starts_with("CGO_")
            || ["CC", "CXX", "FC", "AR", "PKG_CONFIG"].contains(&name)
    };
    let mut env: Vec<(String, String)> =
        release.variables.iter().filter(|(name, _)| is_gos(name)).cloned().collect();
    env.extend(evaluated(templates, &program.own.env, Some(platform))?);
    env.retain(|(name, _)| !OF_TARGET.contains(&name.as_str()));
    // The last of a name counts.
    let mut last: Vec<(String, String)> = Vec::new();
    for (name, value) in env.into_iter().chain(program.env.iter().cloned()) {
        last.retain(|(known, _)| *known != name);
        last.push((name, value));
    }
    Ok(Cow::Owned(Program { env: last, ..program.clone() }))
}

fn evaluated(
    templates: &Templates<'_>,
    words: &[String],
    platform: Option<&Platform>,
) -> Result<Vec<(String, String)>> {
    let mut all: Vec<(String, String)> = Vec::new();
    for word in words {
        let text = templates.render_with("env", word, &all, platform)?;
        if text.is_empty() {
            continue;
        }
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        // The text itself may be a secret.
        let (name, value) = pair.ok_or_else(|| {
            templates.placed(Error::new(Kind::Input, "read env", "an entry isn't NAME=value"), word)
        })?;
        all.push((name.to_owned(), value.to_owned()));
    }
    Ok(all)
}
