//! GoReleaser's file (goreleaser.com, "Builds" and "Ko"; goreleaser, pkg/config): what of it is about images, with the
//! places of its texts. The rest is about archives, packages and announcements, and is passed over.
//!
//! | file | is |
//! |---|---|
//! | `run` | the file as the settings of a run |
//! | `targets` | which platforms `goos`, `goarch` and their like mean |
//! | `propose` | the file as a `.gimg.yaml`, for `gimg init` |

pub(super) mod propose;
pub(super) mod run;
mod targets;

use crate::error::nearest;

use super::node::{self, Key, Node, Position, Value, Wrong};

/// A text and where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Text {
    text: String,
    at: Position,
}

/// Something to tell, and where it stands.
type Note = (Position, String);

/// What the file says about images.
#[derive(Clone, Debug, Default)]
struct File {
    project: Option<Text>,
    env: Vec<Text>,
    builds: Vec<Build>,
    kos: Vec<Ko>,
    /// What changes sources or versions, and gimg doesn't do.
    notes: Vec<Note>,
    /// What changes programs after they are compiled.
    packed: Vec<Note>,
    /// Keys of builds and kos that GoReleaser doesn't have.
    unknown: Vec<(Position, String, Option<String>)>,
}

/// An entry of `builds`.
#[derive(Clone, Debug, Default)]
struct Build {
    at: Position,
    /// `builds[0]`.
    path: String,
    id: Option<Text>,
    dir: Option<Text>,
    main: Option<Text>,
    binary: Option<Text>,
    /// The compiler; none for Go.
    builder: Option<Text>,
    skip: Option<Text>,
    details: Details,
    overrides: Vec<Override>,
    targets: targets::Matrix,
    /// Its hooks before and after a compile, which gimg doesn't run.
    pre: Vec<Note>,
    post: Vec<Note>,
}

/// How a program is compiled.
#[derive(Clone, Debug, Default)]
struct Details {
    buildmode: Option<Text>,
    ldflags: Vec<Text>,
    tags: Vec<Text>,
    flags: Vec<Text>,
    asmflags: Vec<Text>,
    gcflags: Vec<Text>,
    env: Vec<Text>,
}

/// Other details of one target.
#[derive(Clone, Debug)]
struct Override {
    /// As targets are called: `linux_amd64_v1`.
    target: String,
    details: Details,
}

/// An entry of `kos`.
#[derive(Clone, Debug, Default)]
struct Ko {
    at: Position,
    /// `kos[0]`.
    path: String,
    id: Option<Text>,
    build: Option<Text>,
    main: Option<Text>,
    working_dir: Option<Text>,
    base_image: Option<Text>,
    labels: Vec<(String, Text)>,
    annotations: Vec<(String, Text)>,
    user: Option<Text>,
    repositories: Vec<Text>,
    platforms: Vec<Text>,
    tags: Vec<Text>,
    creation_time: Option<Text>,
    ko_data_creation_time: Option<Text>,
    sbom: Option<Text>,
    sbom_directory: Option<Text>,
    ldflags: Vec<Text>,
    flags: Vec<Text>,
    env: Vec<Text>,
    naming: Option<&'static str>,
    disable: Option<Text>,
}

const BUILD_KEYS: &[&str] = &[
    "id",
    "goos",
    "goarch",
    "goamd64",
    "go386",
    "goarm",
    "goarm64",
    "gomips",
    "goppc64",
    "goriscv64",
    "targets",
    "ignore",
    "dir",
    "main",
    "binary",
    "hooks",
    "builder",
    "mod_timestamp",
    "skip",
    "tool",
    "command",
    "no_unique_dist_dir",
    "no_main_check",
    "buildmode",
    "ldflags",
    "tags",
    "flags",
    "asmflags",
    "gcflags",
    "env",
    "overrides",
    "gobinary",
    "prebuilt",
];
const KO_KEYS: &[&str] = &[
    "id",
    "build",
    "main",
    "working_dir",
    "base_image",
    "labels",
    "annotations",
    "user",
    "repositories",
    "repository",
    "platforms",
    "tags",
    "creation_time",
    "ko_data_creation_time",
    "sbom",
    "sbom_directory",
    "ldflags",
    "flags",
    "env",
    "bare",
    "preserve_import_paths",
    "base_import_paths",
    "local_domain",
    "disable",
];

/// Reads the file. It may have YAML's merge keys.
fn read(text: &str) -> Result<File, Wrong> {
    let node = node::yaml_with_merges(text)?;
    let root = Section { node: &node, path: String::new() };
    let mut file = File { project: root.text("project_name")?, env: root.list("env")?, ..File::default() };
    if file.project.is_none() {
        for forge in ["github", "gitlab", "gitea"] {
            let name = match root.below("release")? {
                Some(release) => release.below(forge)?.map_or(Ok(None), |forge| forge.text("name"))?,
                None => None,
            };
            file.project = file.project.or(name);
        }
    }
    for section in root.sections("builds")? {
        section.check(BUILD_KEYS, &mut file.unknown);
        file.builds.push(build(&section)?);
    }
    for section in root.sections("kos")? {
        section.check(KO_KEYS, &mut file.unknown);
        file.kos.push(ko(&section)?);
    }
    // GoReleaser builds the package where it is run if nothing else is said.
    if file.builds.is_empty() {
        let at = Position { line: 1, column: 1 };
        file.builds.push(Build { at, path: "builds".to_owned(), ..Build::default() });
    }
    around(&root, &mut file)?;
    Ok(file)
}

/// What is said outside of builds and kos, and changes what is built.
fn around(root: &Section<'_>, file: &mut File) -> Result<(), Wrong> {
    let notes = &mut file.notes;
    if let Some(before) = root.below("before")? {
        hooks(&before, "hooks", notes);
    }
    for upx in root.sections("upx")? {
        let enabled = upx.text("enabled")?;
        if enabled.as_ref().is_some_and(|e| e.text != "false") {
            let why = format!("{} isn't done: programs stay as Go wrote them", upx.path);
            file.packed.push((upx.node.at, why));
        }
    }
    if let Some(gomod) = root.below("gomod")?
        && let Some(proxy) = gomod.text("proxy")?.filter(|p| p.text != "false")
    {
        notes.push((proxy.at, "gomod.proxy isn't done: the sources are those that are here".to_owned()));
    }
    if let Some(git) = root.below("git")? {
        for key in ["tag_sort", "prerelease_suffix", "ignore_tags", "ignore_tag_prefixes"] {
            if let Some((_, node)) = git.get(key) {
                notes.push((
                    node.at,
                    format!("git.{key} has no effect: of a commit's tags the highest counts"),
                ));
            }
        }
    }
    if let Some((_, includes)) = root.get("includes") {
        notes.push((includes.at, "includes are not read".to_owned()));
    }
    Ok(())
}

/// Hooks that may change what is compiled. Those of `go mod` only fetch, or are a change that git shows.
fn hooks(section: &Section<'_>, key: &str, notes: &mut Vec<Note>) {
    let Some((_, node)) = section.get(key) else { return };
    let one = std::slice::from_ref(node);
    let list = if let Value::List(list) = &node.value { list.as_slice() } else { one };
    for hook in list {
        let command = match &hook.value {
            Value::Map(map) => map.iter().find(|(k, _)| k.text == "cmd").map(|(_, command)| command),
            _ => Some(hook),
        };
        let Some(Node { value: Value::Scalar { text, .. }, at }) = command else { continue };
        if !text.trim_start().starts_with("go mod ") {
            notes.push((*at, format!("{} are not run", section.path_of(key))));
            return;
        }
    }
}

fn build(section: &Section<'_>) -> Result<Build, Wrong> {
    let (mut pre, mut post) = (Vec::new(), Vec::new());
    if let Some(own) = section.below("hooks")? {
        hooks(&own, "pre", &mut pre);
        hooks(&own, "post", &mut post);
    }
    for (key, usual) in [("tool", "go"), ("gobinary", "go"), ("command", "build")] {
        if let Some(other) = section.text(key)?.filter(|t| t.text != usual) {
            let why = format!("{}: gimg runs go build; KO_GO_PATH names another go", section.path_of(key));
            return Err(Wrong { at: other.at, why });
        }
    }
    let mut overrides = Vec::new();
    for other in section.sections("overrides")? {
        let details = details(&other)?;
        if let Some(target) = targets::of_override(&other)? {
            overrides.push(Override { target, details });
        }
    }
    Ok(Build {
        at: section.node.at,
        path: section.path.clone(),
        id: section.text("id")?,
        dir: section.text("dir")?,
        main: section.text("main")?,
        binary: section.text("binary")?,
        builder: section.text("builder")?.filter(|b| b.text != "go"),
        skip: section.text("skip")?,
        details: details(section)?,
        overrides,
        targets: targets::Matrix::read(section)?,
        pre,
        post,
    })
}

fn details(section: &Section<'_>) -> Result<Details, Wrong> {
    Ok(Details {
        buildmode: section.text("buildmode")?,
        ldflags: section.list("ldflags")?,
        tags: section.words("tags")?,
        flags: section.words("flags")?,
        asmflags: section.list("asmflags")?,
        gcflags: section.list("gcflags")?,
        env: section.list("env")?,
    })
}

fn ko(section: &Section<'_>) -> Result<Ko, Wrong> {
    let mut repositories = section.list("repositories")?;
    repositories.extend(section.text("repository")?);
    let mut naming = None;
    // In ko's order.
    for (key, word) in
        [("preserve_import_paths", "preserve"), ("base_import_paths", "base"), ("bare", "bare")]
    {
        if section.text(key)?.is_some_and(|t| t.text == "true") {
            naming = Some(word);
        }
    }
    Ok(Ko {
        at: section.node.at,
        path: section.path.clone(),
        id: section.text("id")?,
        build: section.text("build")?,
        main: section.text("main")?,
        working_dir: section.text("working_dir")?,
        base_image: section.text("base_image")?,
        labels: section.pairs("labels")?,
        annotations: section.pairs("annotations")?,
        user: section.text("user")?,
        repositories,
        platforms: section.list("platforms")?,
        tags: section.list("tags")?,
        creation_time: section.text("creation_time")?,
        ko_data_creation_time: section.text("ko_data_creation_time")?,
        sbom: section.text("sbom")?,
        sbom_directory: section.text("sbom_directory")?,
        ldflags: section.list("ldflags")?,
        flags: section.list("flags")?,
        env: section.list("env")?,
        naming,
        disable: section.text("disable")?,
    })
}

/// A map of the file, and what it is called.
struct Section<'n> {
    node: &'n Node,
    path: String,
}

impl<'n> Section<'n> {
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A key with a value.
    fn get(&self, key: &str) -> Option<(&'n Key, &'n Node)> {
        let Value::Map(map) = &self.node.value else { return None };
        map.iter().find(|(k, v)| k.text == key && v.value != Value::Null).map(|(k, v)| (k, v))
    }

    fn wrong<T>(&self, node: &Node, key: &str, wanted: &str) -> Result<T, Wrong> {
        Err(Wrong { at: node.at, why: format!("{}: it takes {wanted}", self.path_of(key)) })
    }

    fn text(&self, key: &str) -> Result<Option<Text>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some((_, Node { value: Value::Scalar { text, .. }, .. })) if text.is_empty() => Ok(None),
            Some((_, Node { value: Value::Scalar { text, .. }, at })) => {
                Ok(Some(Text { text: text.clone(), at: *at }))
            }
            Some((_, node)) => self.wrong(node, key, "text"),
        }
    }

    /// A list of texts; one text is a list of one.
    fn list(&self, key: &str) -> Result<Vec<Text>, Wrong> {
        match self.get(key) {
            None => Ok(Vec::new()),
            Some((_, Node { value: Value::List(list), .. })) => {
                let mut texts = Vec::new();
                for item in list {
                    match &item.value {
                        Value::Scalar { text, .. } => texts.push(Text { text: text.clone(), at: item.at }),
                        Value::Null => {}
                        _ => return self.wrong(item, key, "a list of texts"),
                    }
                }
                Ok(texts)
            }
            Some((_, Node { value: Value::Scalar { text, .. }, at })) => {
                Ok(vec![Text { text: text.clone(), at: *at }])
            }
            Some((_, node)) => self.wrong(node, key, "a list of texts"),
        }
    }

    /// A list of texts; one text is split at blanks.
    fn words(&self, key: &str) -> Result<Vec<Text>, Wrong> {
        match self.get(key) {
            Some((_, Node { value: Value::Scalar { text, .. }, at })) if !text.contains("{{") => {
                let words = text.split_whitespace();
                Ok(words.map(|word| Text { text: word.to_owned(), at: *at }).collect())
            }
            _ => self.list(key),
        }
    }

    fn pairs(&self, key: &str) -> Result<Vec<(String, Text)>, Wrong> {
        let Some(below) = self.below(key)? else { return Ok(Vec::new()) };
        let Value::Map(map) = &below.node.value else { return Ok(Vec::new()) };
        let mut pairs = Vec::new();
        for (key, _) in map {
            pairs.push((key.text.clone(), below.text(&key.text)?.unwrap_or_default()));
        }
        Ok(pairs)
    }

    fn below(&self, key: &str) -> Result<Option<Section<'n>>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some((_, node)) if matches!(node.value, Value::Map(_)) => {
                Ok(Some(Section { node, path: self.path_of(key) }))
            }
            Some((_, node)) => self.wrong(node, key, "a map"),
        }
    }

    /// A list of maps.
    fn sections(&self, key: &str) -> Result<Vec<Section<'n>>, Wrong> {
        let list = match self.get(key) {
            None => return Ok(Vec::new()),
            Some((_, Node { value: Value::List(list), .. })) => list,
            Some((_, node)) => return self.wrong(node, key, "a list"),
        };
        let mut sections = Vec::new();
        for (number, node) in list.iter().enumerate() {
            match node.value {
                Value::Map(_) | Value::Null => {
                    sections.push(Section { node, path: format!("{}[{number}]", self.path_of(key)) });
                }
                _ => return self.wrong(node, key, "a list of maps"),
            }
        }
        Ok(sections)
    }

    /// Notes the keys that aren't `known`.
    fn check(&self, known: &[&str], unknown: &mut Vec<(Position, String, Option<String>)>) {
        let Value::Map(map) = &self.node.value else { return };
        for (key, _) in map.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            let near = nearest(&key.text, known.iter().copied()).map(str::to_owned);
            unknown.push((key.at, format!("unknown key \"{}\" in {}", key.text, self.path), near));
        }
    }
}
