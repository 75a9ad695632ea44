//! How one program is built and what its image says: the file's keys and the flags, merged and read. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::{Error, Kind, Result};
use crate::image::contents::Destination;
use crate::oci::Platform;
use crate::plan::packages::normalise;
use crate::plan::platforms::Requested;
use crate::settings::base::{Base, platform_bases};
use crate::settings::config;
use crate::settings::release::Own;

/// How one program is built and what its image says. Texts may be templates until the plan has evaluated them.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Environment of `go build`, over everything else.
    pub env: Vec<(String, String)>,
    /// Flags of `go build`; templates.
    pub flags: Vec<String>,
    /// Linker flags, to be joined by blanks; templates. `None` leaves those in GOFLAGS.
    pub ldflags: Option<Vec<String>>,
    /// File capabilities of the program, in ko's words.
    pub capabilities: Vec<String>,
    /// Where the program lies in the image.
    pub place: Place,
    /// Further programs of the same image: directories, absolute.
    pub with: Vec<PathBuf>,
    /// Its own base.
    pub base: Option<Base>,
    /// Its own bases for single platforms.
    pub platform_bases: Vec<(Platform, Base)>,
    /// Its own platforms, if not those of the run.
    pub platforms: Option<Requested>,
    /// Its whole repository, and further ones; templates.
    pub repositories: Vec<String>,
    /// Its tags; templates.
    pub tags: Vec<String>,
    /// What its image says.
    pub image: Image,
    /// Files added to it, each entry a layer.
    pub files: Vec<Files>,
    /// What GoReleaser's file says besides.
    pub own: Own,
}

impl Program {
    /// Every text that may be a template.
    pub fn templates(&self) -> impl Iterator<Item = &str> {
        let maps = [&self.image.env, &self.image.labels, &self.image.annotations];
        let texts = maps.into_iter().flat_map(|m| m.values()).filter_map(|t| match t {
            Text::Template(text) => Some(text),
            Text::Literal(_) => None,
        });
        let lists = self.flags.iter().chain(self.ldflags.iter().flatten()).chain(&self.tags);
        let lists = lists.chain(self.own.templates());
        lists.chain(&self.repositories).chain(texts).map(String::as_str)
    }
}

/// The entry of one program in the file's `builds`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What messages call it: `builds[0]`, with its id if it has one.
    pub name: String,
    /// Where go runs; absolute.
    pub dir: PathBuf,
    /// The package's directory; absolute.
    pub package: PathBuf,
    /// What it says, over the file's defaults.
    pub program: Program,
}

/// Where a program lies in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The directory, absolute, if not `/ko-app`.
    pub dir: Option<String>,
    /// The file's name, if not the package's.
    pub name: Option<String>,
}

/// A text of the file, which may be a template, or of a flag, which is taken as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// As it is.
    Literal(String),
    /// To be evaluated.
    Template(String),
}

/// What an image says besides its layers; what is absent is the base's.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// The user to run as.
    pub user: Option<String>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// Environment of the program.
    pub env: BTreeMap<String, Text>,
    /// Arguments that the program gets if none are given.
    pub cmd: Option<Vec<String>>,
    /// A command before the program.
    pub entrypoint: Vec<String>,
    /// Fields of the config that gimg only passes on: `ExposedPorts`, `Volumes`, `StopSignal`, `Healthcheck`.
    pub extra: Map<String, Value>,
    /// Labels of the config.
    pub labels: BTreeMap<String, Text>,
    /// Annotations of manifests and index.
    pub annotations: BTreeMap<String, Text>,
}

/// Files to add to an image: one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// A file or directory; absolute.
    pub from: PathBuf,
    /// Where it goes, and as what.
    pub destination: Destination,
}

/// What the flags say about every program.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--ldflags`.
    pub ldflags: Option<Vec<String>>,
    /// `--go-flag`, after the file's.
    pub go_flags: Vec<String>,
    /// `--tags`.
    pub tags: Vec<String>,
    /// `--image-label`.
    pub labels: BTreeMap<String, String>,
    /// `--image-annotation`.
    pub annotations: BTreeMap<String, String>,
    /// `--image-user`.
    pub user: Option<String>,
    /// `--binary`.
    pub binary: Option<String>,
}

/// Reads the file's defaults and entries under the flags, for a user in `cwd`.
///
/// # Errors
/// A value that can't be read, with the key's path.
pub fn programs(file: &config::Config, flags: &Flags, cwd: &Path) -> Result<(Program, Vec<Rule>)> {
    let base = Program {
        env: variables(&file.default_env.0, "defaultEnv")?,
        flags: file.default_flags.0.clone(),
        ldflags: (!file.default_ldflags.0.is_empty()).then(|| file.default_ldflags.0.clone()),
        tags: file.tags.0.clone(),
        image: image(&file.image, "image")?,
        files: files(&file.files, "files", cwd)?,
        ..Program::default()
    };
    let mut rules = Vec::new();
    for (index, build) in file.builds.iter().enumerate() {
        rules.push(rule(build, index, &base, flags, cwd)?);
    }
    Ok((finish(base, flags)?, rules))
}

/// Where go runs for an entry, and its package's directory, for a user in `cwd`.
pub(super) fn package(cwd: &Path, dir: Option<&str>, main: Option<&str>) -> (PathBuf, PathBuf) {
    let dir = normalise(&cwd.join(dir.unwrap_or(".")));
    let main = normalise(&dir.join(main.unwrap_or(".")));
    // A file stands for its directory, as in ko.
    let package = match main.extension() {
        Some(extension) if extension == "go" => main.parent().unwrap_or(&main).to_owned(),
        _ => main,
    };
    (dir, package)
}

fn rule(build: &config::Build, index: usize, base: &Program, flags: &Flags, cwd: &Path) -> Result<Rule> {
    let path = format!("builds[{index}]");
    let at = |key: &str| format!("{path}.{key}");
    let (dir, package) = package(cwd, build.dir.as_deref(), build.main.as_deref());
    let mut program = base.clone();
    if let Some(env) = &build.env {
        program.env = variables(&env.0, &at("env"))?;
    }
    if let Some(words) = &build.flags {
        program.flags.clone_from(&words.0);
    }
    if let Some(line) = &build.ldflags {
        program.ldflags = Some(line.0.clone());
    }
    if let Some(words) = &build.linux_capabilities {
        program.capabilities.clone_from(&words.0);
    }
    if let Some(binary) = &build.binary {
        program.place = place(binary, &at("binary"))?;
    }
    program.with = build.with.0.iter().map(|w| normalise(&dir.join(w))).collect();
    program.base = match &build.base {
        Some(text) => Some(Base::parse(text).map_err(|e| e.within(format!("read {}", at("base"))))?),
        None => None,
    };
    program.repositories.clone_from(&build.repo.0);
    program.platform_bases = platform_bases(&build.platform_bases, &at("platformBases"))?;
    if !build.tags.0.is_empty() {
        program.tags.clone_from(&build.tags.0);
    }
    program.image = image(&build.image, &at("image"))?.over(program.image);
    program.files.extend(files(&build.files, &at("files"), cwd)?);
    if !build.own.platforms.is_empty() {
        let (platforms, _) = Requested::parse(&build.own.platforms)
            .map_err(|e| e.within("read platforms").as_kind(Kind::Input))?;
        program.platforms = Some(platforms);
    }
    program.own.clone_from(&build.own);
    let name = match (&build.own.name, &build.id) {
        (Some(name), _) => name.clone(),
        (None, Some(id)) => format!("{path} ({id})"),
        (None, None) => path,
    };
    Ok(Rule { name, dir, package, program: finish(program, flags)? })
}

/// Flags beat the file.
fn finish(mut program: Program, flags: &Flags) -> Result<Program> {
    if let Some(ldflags) = &flags.ldflags {
        program.ldflags = Some(ldflags.clone());
    }
    program.flags.extend(flags.go_flags.iter().cloned());
    if !flags.tags.is_empty() {
        program.tags.clone_from(&flags.tags);
    }
    if let Some(binary) = &flags.binary {
        program.place = place(binary, "--binary").map_err(|e| e.as_kind(Kind::Usage))?;
    }
    let literal = |map: &BTreeMap<String, String>| -> Vec<(String, Text)> {
        map.iter().map(|(k, v)| (k.clone(), Text::Literal(v.clone()))).collect()
    };
    program.image.labels.extend(literal(&flags.labels));
    program.image.annotations.extend(literal(&flags.annotations));
    if let Some(user) = &flags.user {
        program.image.user = Some(user.clone());
    }
    Ok(program)
}

fn bad(path: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Input, format!("read {path}"), why)
}

/// `KEY=value` words.
fn variables(words: &[String], path: &str) -> Result<Vec<(String, String)>> {
    let mut list = Vec::new();
    for word in words {
        let pair = word.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| bad(path, format!("\"{word}\" isn't KEY=value")))?;
        list.push((key.to_owned(), value.to_owned()));
    }
    Ok(list)
}

/// A name, or an absolute path.
pub(super) fn place(text: &str, path: &str) -> Result<Place> {
    let (dir, name) = match text.rsplit_once('/') {
        Some((dir, name)) => (Some(dir), name),
        None => (None, text),
    };
    if name.is_empty() || matches!(name, "." | "..") {
        return Err(bad(path, format!("\"{text}\" names no file")));
    }
    let dir = match dir {
        Some(dir) => Some(format!("/{}", inside(&format!("{dir}/"), path)?)),
        None => None,
    };
    Ok(Place { dir, name: Some(name.to_owned()) })
}

/// An absolute path in the image without its slashes at both ends.
fn inside(text: &str, path: &str) -> Result<String> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(bad(path, format!("\"{text}\" isn't an absolute path")));
    };
    let parts: Vec<&str> = rest.split('/').filter(|p| !p.is_empty()).collect();
    if parts.iter().any(|p| matches!(*p, "." | "..")) {
        return Err(bad(path, format!("\"{text}\" has . or .. in it")));
    }
    Ok(parts.join("/"))
}

fn image(section: &config::Image, path: &str) -> Result<Image> {
    let at = |key: &str| format!("{path}.{key}");
    if let Some(user) = &section.user {
        check_user(user, &at("user"))?;
    }
    if let Some(dir) = &section.working_dir
        && !dir.starts_with('/')
        && !is_windows_path(dir)
    {
        return Err(bad(&at("workingDir"), format!("\"{dir}\" isn't an absolute path")));
    }
    let mut extra = Map::new();
    if !section.exposed_ports.0.is_empty() {
        let mut ports = Map::new();
        for text in &section.exposed_ports.0 {
            ports.insert(
                port(text).ok_or_else(|| {
                    bad(&at("exposedPorts"), format!("\"{text}\" isn't PORT[/tcp|udp|sctp]"))
                })?,
                json!({}),
            );
        }
        extra.insert("ExposedPorts".to_owned(), Value::Object(ports));
    }
    if !section.volumes.0.is_empty() {
        let volumes = section.volumes.0.iter().map(|v| (v.clone(), json!({}))).collect();
        extra.insert("Volumes".to_owned(), Value::Object(volumes));
    }
    if let Some(signal) = &section.stop_signal {
        if !signal.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'-') || signal.is_empty() {
            return Err(bad(&at("stopSignal"), format!("\"{signal}\" is no signal")));
        }
        extra.insert("StopSignal".to_owned(), json!(signal));
    }
    if let Some(check) = &section.healthcheck {
        extra.insert("Healthcheck".to_owned(), healthcheck(check, &at("healthcheck"))?);
    }
    if section.env.keys().any(|k| k.is_empty() || k.contains('=')) {
        return Err(bad(&at("env"), "a name is empty or has = in it"));
    }
    let templates = |map: &BTreeMap<String, String>| {
        map.iter().map(|(k, v)| (k.clone(), Text::Template(v.clone()))).collect()
    };
    Ok(Image {
        user: section.user.clone(),
        working_dir: section.working_dir.clone(),
        env: templates(&section.env),
        cmd: section.cmd.clone(),
        entrypoint: section.entrypoint.clone(),
        extra,
        labels: templates(&section.labels),
        annotations: templates(&section.annotations),
    })
}

impl Image {
    /// This one where it says something, `below` elsewhere.
    fn over(self, below: Image) -> Image {
        let merged = |mut low: BTreeMap<String, Text>, high| {
            low.extend(high);
            low
        };
        let mut extra = below.extra;
        extra.extend(self.extra);
        Image {
            user: self.user.or(below.user),
            working_dir: self.working_dir.or(below.working_dir),
            env: merged(below.env, self.env),
            cmd: self.cmd.or(below.cmd),
            entrypoint: if self.entrypoint.is_empty() { below.entrypoint } else { self.entrypoint },
            extra,
            labels: merged(below.labels, self.labels),
            annotations: merged(below.annotations, self.annotations),
        }
    }
}

/// `user[:group]`, each a name or a number.
///
/// # Errors
/// Anything else; `what` is where it stands.
pub fn check_user(user: &str, what: &str) -> Result<()> {
    if user.is_empty() {
        return Err(bad(what, "it is empty"));
    }
    if user.matches(':').count() > 1 || user.contains(char::is_whitespace) {
        return Err(bad(what, format!("\"{user}\" isn't user[:group]")));
    }
    Ok(())
}

fn is_windows_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && matches!(bytes[2], b'\\' | b'/')
}

/// `8080` or `53/udp` as the config writes it.
fn port(text: &str) -> Option<String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number: u16 = number.parse().ok().filter(|n| *n > 0)?;
    ["tcp", "udp", "sctp"].contains(&protocol).then(|| format!("{number}/{protocol}"))
}

/// Docker's form: times in nanoseconds (moby, `HealthConfig`).
fn healthcheck(check: &config::Healthcheck, path: &str) -> Result<Value> {
    if check.test.is_empty() {
        return Err(bad(path, "test is empty"));
    }
    let mut map = Map::new();
    let test: Vec<&str> = std::iter::once("CMD").chain(check.test.iter().map(String::as_str)).collect();
    map.insert("Test".to_owned(), json!(test));
    for (key, time) in
        [("Interval", &check.interval), ("Timeout", &check.timeout), ("StartPeriod", &check.start_period)]
    {
        if let Some(text) = time {
            let time = nanoseconds(text);
            let time =
                time.ok_or_else(|| bad(path, format!("\"{text}\" isn't a time such as 30s or 1m30s")))?;
            map.insert(key.to_owned(), json!(time));
        }
    }
    if let Some(retries) = check.retries {
        map.insert("Retries".to_owned(), json!(retries));
    }
    Ok(Value::Object(map))
}

/// Go's form of durations, without fractions.
fn nanoseconds(text: &str) -> Option<u64> {
    let (mut sum, mut rest) = (0_u64, text);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_length = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[digits..digits + unit_length] {
            "ns" => 1,
            "us" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + unit_length..];
    }
    (!text.is_empty()).then_some(sum)
}

pub(super) fn files(entries: &[config::Files], path: &str, cwd: &Path) -> Result<Vec<Files>> {
    let mut list = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let at = |key: &str| format!("{path}[{index}].{key}");
        if entry.from.is_empty() {
            return Err(bad(&at("from"), "it is empty"));
        }
        let mode = match &entry.mode {
            Some(text) => {
                let digits = text.strip_prefix("0o").unwrap_or(text);
                let mode = u32::from_str_radix(digits, 8).ok().filter(|m| *m <= 0o7777);
                Some(mode.ok_or_else(|| {
                    bad(&at("mode"), format!("\"{text}\" isn't an octal mode such as 0644"))
                })?)
            }
            None => None,
        };
        let owner = match &entry.owner {
            Some(text) => owner(text)
                .ok_or_else(|| bad(&at("owner"), format!("\"{text}\" isn't uid[:gid], numbers")))?,
            None => (0, 0),
        };
        let from = normalise(&cwd.join(&entry.from));
        let file_name = from.file_name().map(|n| n.to_string_lossy().into_owned());
        list.push(Files {
            from,
            destination: Destination {
                to: inside(&entry.to, &at("to"))?,
                file_name: file_name.filter(|_| entry.to.ends_with('/')),
                mode,
                owner,
            },
        });
    }
    Ok(list)
}

fn owner(text: &str) -> Option<(u64, u64)> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    let number = |t: &str| t.parse::<u32>().ok().map(u64::from);
    Some((number(uid)?, number(gid)?))
}
