//! GoReleaser's file in gimg's words, for `gimg init`: what can be said in a file that has ko's templates.

use std::collections::BTreeMap;

use super::Text;
use crate::settings::config::node::Wrong;

/// One of its builds, in gimg's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::settings::config) struct Build {
    pub(in crate::settings::config) id: Option<String>,
    pub(in crate::settings::config) dir: Option<String>,
    pub(in crate::settings::config) main: Option<String>,
    pub(in crate::settings::config) binary: Option<String>,
    pub(in crate::settings::config) env: Vec<String>,
    pub(in crate::settings::config) flags: Vec<String>,
    pub(in crate::settings::config) ldflags: Vec<String>,
}

/// The file, in gimg's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::settings::config) struct Goreleaser {
    pub(in crate::settings::config) builds: Vec<Build>,
    pub(in crate::settings::config) base: Option<String>,
    pub(in crate::settings::config) platforms: Vec<String>,
    pub(in crate::settings::config) repo: Option<String>,
    pub(in crate::settings::config) naming: Option<&'static str>,
    pub(in crate::settings::config) labels: BTreeMap<String, String>,
    /// What was left out, and why.
    pub(in crate::settings::config) notes: Vec<String>,
}

/// Reads the file.
pub(in crate::settings::config) fn read(text: &str) -> Result<Goreleaser, Wrong> {
    let file = super::read(text)?;
    let mut found = Goreleaser::default();
    let word = |text: &Option<Text>| text.as_ref().map(|t| t.text.clone());
    let words = |texts: &[Text]| texts.iter().map(|t| t.text.clone()).collect::<Vec<_>>();
    for build in file.builds.iter().filter(|b| b.builder.is_none()) {
        let details = &build.details;
        let mut one = Build {
            id: word(&build.id),
            dir: word(&build.dir),
            main: word(&build.main),
            binary: word(&build.binary),
            env: words(&details.env),
            flags: words(&details.flags),
            ldflags: words(&details.ldflags),
        };
        if !details.tags.is_empty() {
            one.flags.push(format!("-tags={}", words(&details.tags).join(",")));
        }
        // The target is the platform's, and gimg's default already has no cgo.
        one.env.retain(|v| !["GOOS=", "GOARCH=", "CGO_ENABLED=0"].iter().any(|p| v.starts_with(p)));
        one.flags.retain(|f| f != "-trimpath");
        found.translate(&mut one);
        // Images of 386 come from the default list only; nobody means them.
        found.platforms.extend(build.targets.linux()?.into_iter().filter(|p| p != "linux/386"));
        found.builds.push(one);
    }
    // `kos` since version 2.
    if let Some(ko) = file.kos.first() {
        found.base = word(&ko.base_image);
        found.repo = ko.repositories.first().map(|t| t.text.clone());
        if !ko.platforms.is_empty() {
            found.platforms = words(&ko.platforms);
        }
        found.naming = ko.naming;
        for (key, value) in &ko.labels {
            if let Some(value) = found.text("labels", &value.text) {
                found.labels.insert(key.clone(), value);
            }
        }
        if file.kos.len() > 1 {
            found.notes.push("only the first of kos was read".to_owned());
        }
    }
    found.platforms.sort();
    found.platforms.dedup();
    Ok(found)
}
impl Goreleaser {
    fn translate(&mut self, build: &mut Build) {
        for (key, texts) in
            [("flags", &mut build.flags), ("ldflags", &mut build.ldflags), ("env", &mut build.env)]
        {
            *texts = texts.iter().filter_map(|t| self.text(key, t)).collect();
        }
        build.binary = build.binary.take().and_then(|t| self.plain("binary", t));
        build.main = build.main.take().and_then(|t| self.plain("main", t));
        build.dir = build.dir.take().and_then(|t| self.plain("dir", t));
    }

    /// A text that may not be a template in gimg.
    fn plain(&mut self, key: &str, text: String) -> Option<String> {
        if text.contains("{{") {
            self.notes.push(format!("{key}: {text} is left out, it is a template there"));
            return None;
        }
        Some(text)
    }

    /// A template with GoReleaser's fields as gimg's; a text that asks for a field that gimg lacks is left out.
    fn text(&mut self, key: &str, text: &str) -> Option<String> {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(start) = rest.find("{{") {
            let Some(end) = rest[start..].find("}}").map(|e| start + e + 2) else { break };
            let (before, action) = (&rest[..start], &rest[start..end]);
            out.push_str(before);
            match action_of(action) {
                Some(action) => out.push_str(&action),
                None => {
                    self.notes.push(format!("{key}: {text} is left out, gimg has no {action}"));
                    return None;
                }
            }
            rest = &rest[end..];
        }
        out.push_str(rest);
        Some(out)
    }
}

/// One action with its fields renamed, its blanks kept.
fn action_of(action: &str) -> Option<String> {
    let inner = action.strip_prefix("{{")?.strip_suffix("}}")?;
    let field = inner.trim();
    let renamed = match field {
        // GoReleaser's version is the tag without its v.
        ".Version" => "slice .Git.Tag 1",
        ".Tag" => ".Git.Tag",
        ".Branch" => ".Git.Branch",
        ".Commit" | ".FullCommit" => ".Git.FullCommit",
        ".ShortCommit" => ".Git.ShortCommit",
        ".CommitDate" => ".Git.CommitDate",
        ".CommitTimestamp" => ".Git.CommitTimestamp",
        ".GitTreeState" => ".Git.TreeState",
        ".Date" => ".Date",
        ".Timestamp" => ".Timestamp",
        ".Os" => ".Env.GOOS",
        ".Arch" => ".Env.GOARCH",
        env if env
            .strip_prefix(".Env.")
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')) =>
        {
            env
        }
        _ => return None,
    };
    Some(format!("{{{{{}}}}}", inner.replace(field, renamed)))
}
