//! What of a `.goreleaser.yaml` gimg has keys for (goreleaser.com, "Builds" and "Ko").

use std::collections::BTreeMap;

use super::node::{self, Node, Value, Wrong};

/// One of its builds, in gimg's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Build {
    pub(super) id: Option<String>,
    pub(super) dir: Option<String>,
    pub(super) main: Option<String>,
    pub(super) binary: Option<String>,
    pub(super) env: Vec<String>,
    pub(super) flags: Vec<String>,
    pub(super) ldflags: Vec<String>,
}

/// The file, in gimg's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Goreleaser {
    pub(super) builds: Vec<Build>,
    pub(super) base: Option<String>,
    pub(super) platforms: Vec<String>,
    pub(super) repo: Option<String>,
    pub(super) naming: Option<&'static str>,
    pub(super) labels: BTreeMap<String, String>,
    /// What was left out, and why.
    pub(super) notes: Vec<String>,
}

/// Reads the file.
pub(super) fn read(text: &str) -> Result<Goreleaser, Wrong> {
    let root = node::yaml(text)?;
    let mut found = Goreleaser::default();
    for build in list(get(&root, "builds")) {
        let builder = text_of(get(build, "builder"));
        if builder.as_deref().is_some_and(|b| b != "go") {
            continue;
        }
        let words = |key: &str| strings(get(build, key));
        let mut one = Build {
            id: text_of(get(build, "id")),
            dir: text_of(get(build, "dir")),
            main: text_of(get(build, "main")),
            binary: text_of(get(build, "binary")),
            env: words("env"),
            flags: words("flags"),
            ldflags: words("ldflags"),
        };
        // The target is the platform's, and gimg's default already has no cgo.
        one.env.retain(|v| !["GOOS=", "GOARCH=", "CGO_ENABLED=0"].iter().any(|p| v.starts_with(p)));
        one.flags.retain(|f| f != "-trimpath");
        found.translate(&mut one);
        found.platforms.extend(platforms(build));
        found.builds.push(one);
    }
    // `kos` since version 2.
    let kos = list(get(&root, "kos"));
    if let Some(ko) = kos.first() {
        found.base = text_of(get(ko, "base_image"));
        found.repo = strings(get(ko, "repositories")).into_iter().next().or(text_of(get(ko, "repository")));
        let named = strings(get(ko, "platforms"));
        if !named.is_empty() {
            found.platforms = named;
        }
        for (key, naming) in
            [("bare", "bare"), ("base_import_paths", "base"), ("preserve_import_paths", "preserve")]
        {
            if text_of(get(ko, key)).as_deref() == Some("true") {
                found.naming = Some(naming);
            }
        }
        if let Some(Node { value: Value::Map(labels), .. }) = get(ko, "labels") {
            for (key, value) in labels {
                if let Some(value) = text_of(Some(value)).and_then(|v| found.text("labels", &v)) {
                    found.labels.insert(key.text.clone(), value);
                }
            }
        }
        if kos.len() > 1 {
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

/// The linux platforms of a build's goos, goarch and targets.
fn platforms(build: &Node) -> Vec<String> {
    let targets = strings(get(build, "targets"));
    if !targets.is_empty() {
        let parts = targets.iter().filter_map(|t| t.split_once('_')).filter(|(os, _)| *os == "linux");
        return parts.map(|(os, arch)| format!("{os}/{}", arch.split('_').next().unwrap_or(arch))).collect();
    }
    let mut systems = strings(get(build, "goos"));
    let mut architectures = strings(get(build, "goarch"));
    if systems.is_empty() {
        systems.push("linux".to_owned());
    }
    if architectures.is_empty() {
        architectures = vec!["amd64".to_owned(), "arm64".to_owned()];
    }
    let linux = systems.iter().any(|s| s == "linux");
    // Images of 386 come from the default list only; nobody means them.
    architectures.into_iter().filter(|_| linux).map(|a| format!("linux/{a}")).collect()
}

fn get<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    match &node.value {
        Value::Map(map) => map.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
        _ => None,
    }
}

fn list(node: Option<&Node>) -> &[Node] {
    match node.map(|n| &n.value) {
        Some(Value::List(list)) => list,
        _ => &[],
    }
}

fn text_of(node: Option<&Node>) -> Option<String> {
    match node.map(|n| &n.value) {
        Some(Value::Scalar { text, .. }) => Some(text.clone()),
        _ => None,
    }
}

/// A list of texts; one text is a list of one.
fn strings(node: Option<&Node>) -> Vec<String> {
    match node.map(|n| &n.value) {
        Some(Value::List(list)) => list.iter().filter_map(|n| text_of(Some(n))).collect(),
        _ => text_of(node).into_iter().collect(),
    }
}
