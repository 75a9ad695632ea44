//! GoReleaser's file as the settings of a run: each image that it makes is an entry of `builds`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Build, Details, File, Ko, Override, Text};
use crate::error::{Error, Kind, Result, nearest};
use crate::plan::naming::Naming;
use crate::plan::platforms::Requested;
use crate::settings::base::Base;
use crate::settings::config::node::{Position, Wrong};
use crate::settings::config::{self, Config, Image, Line, Source, Words};
use crate::settings::program;
use crate::settings::release::{Own, Release};
use crate::settings::template::{self, Functions, Value};

/// What GoReleaser gives a build that has no linker flags.
const LDFLAGS: &str = "-s -w -X main.version={{.Version}} -X main.commit={{.Commit}} -X main.date={{.Date}} -X \
                       main.builtBy=goreleaser";

/// What is around the file.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The environment.
    pub env: &'a BTreeMap<String, String>,
    /// The path of the module that the user is in.
    pub module: Option<&'a str>,
    /// Which entries are wanted, by id; empty for all.
    pub ids: &'a [String],
}

/// Reads the file: `kos`, or without them `builds`. With `lenient` an unknown key of those is a warning.
///
/// # Errors
/// What can't be read or made: with file, line and column.
pub fn read(source: &Source, lenient: bool, around: &Around<'_>) -> Result<(Config, Vec<String>)> {
    let place = |at: Position| format!("{}:{}:{}", source.name, at.line, at.column);
    let wrong = |w: Wrong| Error::new(Kind::Input, "read GoReleaser's file", w.why).at(place(w.at));
    let file = super::read(&source.text).map_err(wrong)?;
    let mut reader = Reader { file: &file, source, around, places: BTreeMap::new(), warnings: Vec::new() };
    for (at, why, near) in &file.unknown {
        if !lenient {
            let error = wrong(Wrong { at: *at, why: why.clone() });
            return Err(match near {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("--lenient makes it a warning"),
            });
        }
        reader.warn(*at, format!("{why} is ignored"));
    }
    file.notes.iter().for_each(|(at, why)| reader.warn(*at, why.clone()));
    let config = reader.config()?;
    Ok((config, reader.warnings))
}

struct Reader<'a> {
    file: &'a File,
    source: &'a Source,
    around: &'a Around<'a>,
    places: BTreeMap<String, String>,
    warnings: Vec<String>,
}

/// An image to make.
struct Entry<'f> {
    at: Position,
    path: &'f str,
    id: Option<String>,
    build: &'f Build,
    ko: Option<&'f Ko>,
}

impl<'a> Reader<'a> {
    fn place(&self, at: Position) -> String {
        format!("{}:{}:{}", self.source.name, at.line, at.column)
    }

    fn warn(&mut self, at: Position, why: String) {
        self.warnings.push(format!("{why} [{}]", self.place(at)));
    }

    fn wrong(&self, at: Position, why: impl std::fmt::Display) -> Error {
        Error::new(Kind::Input, "read GoReleaser's file", why).at(self.place(at))
    }

    /// Remembers where a text stands.
    fn keep(&mut self, text: &Text) -> String {
        let place = self.place(text.at);
        self.places.entry(text.text.clone()).or_insert(place);
        text.text.clone()
    }

    fn keep_all(&mut self, texts: &[Text]) -> Vec<String> {
        texts.iter().map(|text| self.keep(text)).collect()
    }

    /// The project's name, which is also the id of what has none.
    fn project(&self) -> Option<String> {
        let own = self.file.project.as_ref().map(|text| text.text.clone());
        own.or_else(|| Some(self.around.module?.rsplit('/').next()?.to_owned()))
    }

    fn config(&mut self) -> Result<Config> {
        let env = self.keep_all(&self.file.env);
        let entries = self.wanted(self.entries()?)?;
        if let Some(first) = entries.first().filter(|e| e.ko.is_none()) {
            let notes = self.file.packed.iter().chain(&first.build.post).cloned().collect::<Vec<_>>();
            notes.into_iter().for_each(|(at, why)| self.warn(at, why));
        }
        let mut config = Config::default();
        let mut places: Vec<(std::path::PathBuf, &str)> = Vec::new();
        let mut sbom: Option<(Option<String>, Option<String>)> = None;
        for entry in &entries {
            let build = self.entry(entry)?;
            let (_, package) = program::package(Path::new("/"), build.dir.as_deref(), build.main.as_deref());
            if let Some((_, other)) = places.iter().find(|(known, _)| *known == package) {
                let why = format!("{other} and {} are for the same program", entry.path);
                return Err(self
                    .wrong(entry.at, why)
                    .hint("gimg makes one image of a program in a run: name an entry with --id"));
            }
            places.push((package, entry.path));
            let own = self.sbom(entry)?;
            if sbom.as_ref().is_some_and(|other| *other != own) {
                let why = format!("{}: what becomes of SBOMs is the same for a whole run", entry.path);
                return Err(self.wrong(entry.at, why).hint("--sbom says it for all, --id chooses entries"));
            }
            sbom = Some(own);
            for platform in &build.own.platforms {
                if !config.default_platforms.0.contains(platform) {
                    config.default_platforms.0.push(platform.clone());
                }
            }
            config.builds.push(build);
        }
        // What is the same for all needs to be asked of bases once.
        let same = config.builds.windows(2).all(|two| two[0].own.platforms == two[1].own.platforms);
        if same {
            config.builds.iter_mut().for_each(|build| build.own.platforms.clear());
        } else if config.default_platforms.0.iter().any(|word| word == "all") {
            config.default_platforms.0 = vec!["all".to_owned()];
        }
        let (sbom, sbom_dir) = sbom.unwrap_or_default();
        config.release = Some(Release {
            project: self.project(),
            module: self.around.module.map(str::to_owned),
            env,
            places: std::mem::take(&mut self.places),
            sbom,
            sbom_dir,
        });
        Ok(config)
    }

    /// The images of the file: its `kos`, else its builds of programs for Linux.
    fn entries(&self) -> Result<Vec<Entry<'a>>> {
        let mut entries = Vec::new();
        let file: &'a File = self.file;
        for ko in &file.kos {
            let id = ko.id.as_ref().map(|t| t.text.clone()).or_else(|| self.project());
            if self.is_true(ko.disable.as_ref(), "disable")? && !self.names(id.as_deref()) {
                continue;
            }
            let wanted = ko.build.as_ref().map(|t| t.text.clone()).or_else(|| id.clone());
            let build = file.builds.iter().find(|b| self.id(b) == wanted).ok_or_else(|| {
                let name = wanted.as_deref().unwrap_or_default();
                let at = ko.build.as_ref().map_or(ko.at, |t| t.at);
                self.wrong(at, format!("{}: there is no build with the id \"{name}\"", ko.path))
            })?;
            self.check_program(build)?;
            entries.push(Entry { at: ko.at, path: &ko.path, id, build, ko: Some(ko) });
        }
        if !file.kos.is_empty() {
            return Ok(entries);
        }
        let mut why = "no build is of a Go program for linux".to_owned();
        for build in &file.builds {
            let id = self.id(build);
            let left_out = self.check_program(build).err();
            let skipped = self.is_true(build.skip.as_ref(), "skip")? && !self.names(id.as_deref());
            match left_out {
                Some(error) => why = error.why().to_owned(),
                None if skipped || self.linux(build)?.is_empty() => {}
                None => entries.push(Entry { at: build.at, path: &build.path, id, build, ko: None }),
            }
        }
        match entries.is_empty() {
            true => Err(self.wrong(file.builds.first().map_or_else(Position::default, |b| b.at), why)),
            false => Ok(entries),
        }
    }

    fn linux(&self, build: &Build) -> Result<Vec<String>> {
        build.targets.linux().map_err(|w| {
            let at = if w.at == Position::default() { build.at } else { w.at };
            self.wrong(at, format!("{}: {}", build.path, w.why))
        })
    }

    fn id(&self, build: &Build) -> Option<String> {
        build.id.as_ref().map(|t| t.text.clone()).or_else(|| self.project())
    }

    /// Whether `--id` names it.
    fn names(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| self.around.ids.iter().any(|wanted| wanted == id))
    }

    /// Those that `--id` names, or all.
    fn wanted(&self, entries: Vec<Entry<'a>>) -> Result<Vec<Entry<'a>>> {
        if self.around.ids.is_empty() {
            return Ok(entries);
        }
        let known: BTreeSet<String> = entries.iter().filter_map(|e| e.id.clone()).collect();
        if let Some(id) = self.around.ids.iter().find(|id| !known.contains(*id)) {
            let why = "no image of the file has this id";
            let error = Error::new(Kind::Usage, format!("read --id {id}"), why).at(&self.source.name);
            return Err(match nearest(id, known.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => {
                    let all: Vec<&str> = known.iter().map(String::as_str).collect();
                    error.hint(format!("it has {}", all.join(", ")))
                }
            });
        }
        Ok(entries.into_iter().filter(|e| self.names(e.id.as_deref())).collect())
    }

    /// Only Go's programs can be compiled here.
    fn check_program(&self, build: &Build) -> Result<()> {
        if let Some(builder) = &build.builder {
            let why = format!("{}: gimg has no builder {}", build.path, builder.text);
            return Err(self
                .wrong(builder.at, why)
                .hint("gimg pack makes images of programs that are there"));
        }
        if let Some(mode) = build.details.buildmode.as_ref().filter(|m| m.text.starts_with("c-")) {
            return Err(
                self.wrong(mode.at, format!("{}: with buildmode {} it is no program", build.path, mode.text))
            );
        }
        Ok(())
    }

    /// A text that is needed before anything is looked up, so that it can't ask for more than the environment.
    fn early(&self, text: &Text, key: &str) -> Result<String> {
        if !template::has_template(&text.text) {
            return Ok(text.text.clone());
        }
        let mut env = self.around.env.clone();
        let literal = self.file.env.iter().filter(|word| !template::has_template(&word.text));
        env.extend(literal.filter_map(|w| w.text.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())));
        let mut data = BTreeMap::from([("Env".to_owned(), Value::from(env))]);
        for name in ["IsSnapshot", "IsNightly", "IsSingleTarget", "IsDraft"] {
            data.insert(name.to_owned(), false.into());
        }
        if let Some(project) = self.project() {
            data.insert("ProjectName".to_owned(), project.into());
        }
        let os = match std::env::consts::OS {
            "macos" => "darwin",
            other => other,
        };
        let architecture = crate::oci::Platform::of_machine(os, std::env::consts::ARCH).architecture;
        let runtime = [("Goos", os), ("Goarch", &architecture)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        data.insert("Runtime".to_owned(), Value::from(BTreeMap::from(runtime)));
        template::render(&text.text, &Value::from(data), Functions::GoReleasers).map_err(|e| {
            e.within(format!("read {key}"))
                .at(self.place(text.at))
                .hint(format!("{key} is read before git and Go are asked"))
        })
    }

    fn is_true(&self, text: Option<&Text>, key: &str) -> Result<bool> {
        match text {
            Some(text) => Ok(self.early(text, key)?.trim().eq_ignore_ascii_case("true")),
            None => Ok(false),
        }
    }

    /// What becomes of the SBOMs of an entry, and where they go.
    fn sbom(&self, entry: &Entry<'_>) -> Result<(Option<String>, Option<String>)> {
        let Some(ko) = entry.ko else { return Ok((None, None)) };
        let sbom = match ko.sbom.as_ref() {
            Some(text) if text.text == "spdx" => None,
            Some(text) if ["none", "cyclonedx"].contains(&text.text.as_str()) => Some(text.text.clone()),
            Some(text) => {
                let why =
                    format!("{}.sbom: it takes spdx, cyclonedx or none, not \"{}\"", ko.path, text.text);
                return Err(self.wrong(text.at, why));
            }
            None => None,
        };
        Ok((sbom, ko.sbom_directory.as_ref().map(|t| t.text.clone())))
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<config::Build> {
        let (build, ko) = (entry.build, entry.ko);
        for (at, why) in build.pre.clone() {
            self.warn(at, why);
        }
        let name = match &entry.id {
            Some(id) => format!("{} ({id})", entry.path),
            None => entry.path.to_owned(),
        };
        let dir = ko.and_then(|k| k.working_dir.as_ref()).or(build.dir.as_ref());
        let main = ko.and_then(|k| k.main.as_ref()).or(build.main.as_ref());
        if let Some(text) = main.filter(|m| m.text.ends_with("...")) {
            let why = format!("{}: {} may be several programs", entry.path, text.text);
            return Err(self.wrong(text.at, why).hint("give each an entry of its own"));
        }
        let mut details = overridden(build);
        if let Some(ko) = ko {
            let over = |list: &mut Vec<Text>, own: &[Text]| {
                if !own.is_empty() {
                    *list = own.to_vec();
                }
            };
            over(&mut details.ldflags, &ko.ldflags);
            over(&mut details.flags, &ko.flags);
            over(&mut details.env, &ko.env);
        }
        let flags = compile_flags(&details);
        let mut made = config::Build {
            id: entry.id.clone(),
            dir: dir.map(|t| t.text.clone()),
            main: main.map(|t| t.text.clone()),
            env: Some(Words::default()),
            flags: Some(Words(self.keep_all(&flags))),
            ldflags: Some(Line(self.keep_all(&details.ldflags))),
            own: Own { name: Some(name), env: self.keep_all(&details.env), ..Own::default() },
            ..config::Build::default()
        };
        match ko {
            Some(ko) => self.image(ko, &mut made)?,
            None => {
                made.own.binary = build.binary.as_ref().map(|text| self.keep(text));
                made.own.platforms = self.linux(build)?;
            }
        }
        Ok(made)
    }

    /// What an entry of `kos` says about its image.
    fn image(&mut self, ko: &Ko, made: &mut config::Build) -> Result<()> {
        if let Some(base) = &ko.base_image {
            let text = self.early(base, "base_image")?;
            Base::parse(&text).map_err(|e| e.as_kind(Kind::Input).at(self.place(base.at)))?;
            made.base = Some(text);
        }
        if let Some(user) = &ko.user {
            program::check_user(&user.text, &format!("{}.user", ko.path))
                .map_err(|e| e.at(self.place(user.at)))?;
        }
        let words: Vec<String> = ko.platforms.iter().map(|t| t.text.clone()).collect();
        if let Some(first) = ko.platforms.first() {
            Requested::parse(&words).map_err(|e| {
                e.within(format!("read {}.platforms", ko.path)).as_kind(Kind::Input).at(self.place(first.at))
            })?;
        }
        made.own.platforms = if words.is_empty() { vec!["linux/amd64".to_owned()] } else { words };
        // As in GoReleaser the variable beats the key, in the file too.
        let variable = self.file.env.iter().rev().find_map(|word| {
            let value = word.text.strip_prefix("KO_DOCKER_REPO=")?;
            Some(Text { text: value.to_owned(), at: word.at })
        });
        let repositories: Vec<Text> = variable.map_or_else(|| ko.repositories.clone(), |one| vec![one]);
        made.repo = Line(self.keep_all(&repositories));
        made.own.naming = Some(match ko.naming {
            Some("bare") => Naming::Bare,
            Some("base") => Naming::Base,
            Some("preserve") => Naming::Preserve,
            _ => Naming::Md5,
        });
        made.tags = Words(self.keep_all(&ko.tags));
        let mut texts = |pairs: &[(String, Text)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, text)| (key.clone(), self.keep(text))).collect()
        };
        made.image = Image {
            user: ko.user.as_ref().map(|t| t.text.clone()),
            labels: texts(&ko.labels),
            annotations: texts(&ko.annotations),
            ..Image::default()
        };
        made.own.created = ko.creation_time.as_ref().map(|text| self.keep(text));
        made.own.kodata_created = ko.ko_data_creation_time.as_ref().map(|text| self.keep(text));
        Ok(())
    }
}

/// The flags of `go build` besides `-ldflags`, in GoReleaser's order.
fn compile_flags(details: &Details) -> Vec<Text> {
    let with = |prefix: &str, text: &Text| Text { text: format!("{prefix}{}", text.text), at: text.at };
    let mut flags = details.flags.clone();
    flags.extend(details.asmflags.iter().map(|text| with("-asmflags=", text)));
    flags.extend(details.gcflags.iter().map(|text| with("-gcflags=", text)));
    if let Some(first) = details.tags.first() {
        let tags: Vec<&str> = details.tags.iter().map(|text| text.text.as_str()).collect();
        flags.push(Text { text: format!("-tags={}", tags.join(",")), at: first.at });
    }
    flags.extend(details.buildmode.clone());
    flags
}

/// The details of a build, with its overrides as templates that ask for the target. `buildmode` becomes its flag.
fn overridden(build: &Build) -> Details {
    let mut base = build.details.clone();
    if base.ldflags.is_empty() {
        base.ldflags.push(Text { text: LDFLAGS.to_owned(), at: build.at });
    }
    base.env.iter_mut().for_each(|text| text.text = expanded(&text.text));
    let flag = |text: &Text| Text { text: format!("-buildmode={}", text.text), at: text.at };
    let mut overrides: Vec<&Override> = Vec::new();
    for other in &build.overrides {
        // Of several for one target the first counts.
        if !overrides.iter().any(|known| known.target == other.target) {
            overrides.push(other);
        }
    }
    let merged = |of: &dyn Fn(&Details) -> Vec<Text>| -> Vec<Text> {
        let with: Vec<(&Override, Vec<Text>)> =
            overrides.iter().map(|o| (*o, of(&o.details))).filter(|(_, list)| !list.is_empty()).collect();
        let own = of(&base);
        if with.is_empty() {
            return own;
        }
        let targets: Vec<String> = with.iter().map(|(o, _)| format!("{:?}", o.target)).collect();
        let others = format!("not (eq .Target {})", targets.join(" "));
        let mut all: Vec<Text> = own.iter().map(|text| only(&others, text)).collect();
        for ((_, list), target) in with.iter().zip(&targets) {
            all.extend(list.iter().map(|text| only(&format!("eq .Target {target}"), text)));
        }
        all
    };
    let mut env = base.env.clone();
    for other in &overrides {
        let condition = format!("eq .Target {:?}", other.target);
        env.extend(other.details.env.iter().map(|text| only(&condition, text)));
    }
    let mode = merged(&|d| d.buildmode.iter().map(flag).collect());
    let mut flags = merged(&|d| d.flags.clone());
    flags.extend(mode);
    Details {
        buildmode: None,
        ldflags: merged(&|d| d.ldflags.clone()),
        tags: merged(&|d| d.tags.clone()),
        flags,
        asmflags: merged(&|d| d.asmflags.clone()),
        gcflags: merged(&|d| d.gcflags.clone()),
        env,
    }
}

/// A text that is there under a condition only.
fn only(condition: &str, text: &Text) -> Text {
    Text { text: format!("{{{{ if {condition} }}}}{}{{{{ end }}}}", text.text), at: text.at }
}

/// `$NAME` and `${NAME}` outside of templates, as GoReleaser expands them; as templates, which keep secrets out of texts.
fn expanded(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("{{") {
            let end = rest.find("}}").map_or(rest.len(), |e| e + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let after = rest.strip_prefix('$');
        let name = after.and_then(|after| match after.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map(|(name, _)| (name, name.len() + 3)),
            None => {
                let length = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                (length > 0).then(|| (&after[..length], length + 1))
            }
        });
        match name.filter(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')) {
            Some((name, length)) => {
                out.push_str(&format!("{{{{ envOrDefault {name:?} \"\" }}}}"));
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}
