//! Settings and facts become a plan. Pure: every name, platform and command is decided here, and nowhere later.

pub mod command;
pub mod debug;
pub mod engines;
pub mod facts;
pub mod naming;
pub mod packages;
pub mod platforms;
pub mod recipe;
pub mod release;
pub mod script;
pub mod secrets;
pub mod templates;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::content::ImageName;
use crate::error::{Error, Kind, Result};
use crate::image::caps;
use crate::oci::{self, Platform, Repository, Tag, annotation, rfc3339};
use crate::plan::command::Target;
use crate::plan::facts::{Facts, Package};
use crate::plan::templates::Templates;
use crate::settings::program::{Files, Program, Text};
use crate::settings::{Destination, Settings};

use serde_json::{Map, Value};

/// Everything a run will do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `go build` runs.
    pub groups: Vec<CompileGroup>,
    /// The images, in the order of the arguments.
    pub images: Vec<ImagePlan>,
}

/// One `go build` run: one platform, all packages of one module whose file names differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileGroup {
    /// Where `go` runs.
    pub dir: PathBuf,
    /// The platform and its environment.
    pub target: Target,
    /// Flags between `build` and the packages, without `-o`.
    pub flags: Vec<String>,
    /// What is compiled.
    pub packages: Vec<Compiled>,
}

/// One program of a compile group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Its import path.
    pub import_path: String,
    /// The file name that `go build` gives it.
    pub file: String,
    /// Which image of the plan it belongs to.
    pub image: usize,
    /// Which platform of the image.
    pub platform: usize,
    /// Which of the image's programs it is.
    pub program: usize,
}

/// One image or index to make.
#[derive(Clone, Debug)]
pub struct ImagePlan {
    /// The import path of its main program.
    pub import_path: String,
    /// The package's directory.
    pub dir: PathBuf,
    /// Where its data is, if there is any: a directory that need not exist.
    pub kodata: Option<PathBuf>,
    /// What the image is called.
    pub name: ImageName,
    /// Further repositories that it is pushed to.
    pub also: Vec<Repository>,
    /// The tags that will name it.
    pub tags: Vec<Tag>,
    /// Which of the bases it stands on.
    pub base: usize,
    /// Its platforms, in order.
    pub platforms: Vec<Platform>,
    /// Its programs; the first is the one that runs.
    pub programs: Vec<ImageProgram>,
    /// The directory of the programs in the image, absolute.
    pub programs_dir: String,
    /// File capabilities of the first program.
    pub capabilities: Option<caps::Bytes>,
    /// What its config says.
    pub config: ConfigPlan,
    /// Annotations to add to manifests and index.
    pub annotations: BTreeMap<String, String>,
    /// Files to add, each entry a layer.
    pub files: Vec<Files>,
    /// When it was made, in seconds since 1970.
    pub epoch: Option<u64>,
    /// The time of its data, in seconds since 1970.
    pub kodata_epoch: Option<u64>,
}

/// One program of an image.
#[derive(Clone, Debug)]
pub struct ImageProgram {
    /// Its import path.
    pub import_path: String,
    /// Where `go` runs to build it.
    pub module_dir: PathBuf,
    /// Its file's name in the image, without `.exe`.
    pub name: String,
}

impl ImageProgram {
    /// The file's name in an image of this operating system.
    #[must_use]
    pub fn file(&self, os: &str) -> String {
        if os == "windows" && !self.name.ends_with(".exe") {
            format!("{}.exe", self.name)
        } else {
            self.name.clone()
        }
    }
}

/// What an image's config says besides what follows from its layers; what is absent is the base's.
#[derive(Clone, Debug, Default)]
pub struct ConfigPlan {
    /// The user to run as.
    pub user: Option<String>,
    /// Where the program starts.
    pub working_dir: Option<String>,
    /// Environment of the program.
    pub env: BTreeMap<String, String>,
    /// Arguments that the program gets if none are given.
    pub cmd: Option<Vec<String>>,
    /// A command before the program.
    pub entrypoint: Vec<String>,
    /// `ExposedPorts`, `Volumes`, `StopSignal`, `Healthcheck`.
    pub extra: Map<String, Value>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Which entry of the file is for a program, and what it says; else what the file says for all.
#[must_use]
pub fn program_of<'s>(
    settings: &'s Settings,
    rules: &[Option<String>],
    import_path: &str,
) -> (&'s Program, Option<usize>) {
    let index = rules.iter().position(|r| r.as_deref() == Some(import_path));
    match index.and_then(|i| settings.rules.get(i)) {
        Some(rule) => (&rule.program, index),
        None => (&settings.program, None),
    }
}

/// Decides everything.
///
/// # Errors
/// Names that collide or aren't allowed, flags that gimg owns, templates that can't be evaluated.
pub fn plan(settings: &Settings, facts: &Facts) -> Result<Plan> {
    for (_, platforms) in facts.bases.iter().filter(|_| settings.debug) {
        debug::check(platforms)?;
    }
    let templates = Templates::new(&facts.templates);
    let mut images = Vec::new();
    let mut groups = Vec::new();
    let mut seen = BTreeSet::new();
    for package in facts.packages.iter().flatten() {
        // The same program named twice (`./cmd/app ./...`) is one image.
        if seen.insert((&package.module_dir, &package.import_path)) {
            let (program, rule) = program_of(settings, &facts.rules, &package.import_path);
            let image = image(settings, facts, &templates, package, program, rule)?;
            compile(settings, facts, &templates, &image, images.len(), program, &mut groups)?;
            images.push(image);
        }
    }
    check_collisions(settings, &images)?;
    if images.len() > 1 && settings.summary.as_ref().is_some_and(|wish| wish.against.is_some()) {
        let error = Error::new(Kind::Usage, "read --against", "there are several images, and one to compare");
        return Err(error.hint("without it each is compared with what its tags stood for"));
    }
    Ok(Plan { groups, images })
}

/// Decides the image of one program that something else compiled, with its data in `kodata`.
///
/// # Errors
/// As [`plan`]; an entry of the file that puts further programs into the image.
pub fn prebuilt(
    settings: &Settings,
    facts: &Facts,
    package: &Package,
    kodata: Option<PathBuf>,
) -> Result<ImagePlan> {
    let templates = Templates::new(&facts.templates);
    let (program, rule) = program_of(settings, &facts.rules, &package.import_path);
    if !program.with.is_empty() {
        let name = rule.and_then(|r| settings.rules.get(r)).map_or("builds", |r| r.name.as_str());
        let why = format!("{name} puts further programs into its image, and pack takes one");
        return Err(Error::new(Kind::Input, format!("plan the image of {}", package.import_path), why));
    }
    Ok(ImagePlan { kodata, ..image(settings, facts, &templates, package, program, rule)? })
}

fn image(
    settings: &Settings,
    facts: &Facts,
    templates: &Templates<'_>,
    package: &Package,
    program: &Program,
    rule: Option<usize>,
) -> Result<ImagePlan> {
    let text = |what: &str, text: &str| templates.render(what, text, &program.env);
    let texts = |what: &str, map: &BTreeMap<String, Text>| -> Result<BTreeMap<String, String>> {
        let value = |t: &Text| match t {
            Text::Literal(value) => Ok(value.clone()),
            Text::Template(template) => text(what, template),
        };
        map.iter().map(|(k, v)| Ok((k.clone(), value(v)?))).collect()
    };
    let repositories = repositories(settings, program, &package.import_path, templates)?;
    let mut repositories = repositories.into_iter();
    let repository = repositories.next();
    let mut tags: Vec<Tag> = Vec::new();
    for template in &program.tags {
        let tag = text("tags", template)?;
        if templates.drop_empty() && tag.trim().is_empty() {
            continue;
        }
        let wrong = |e: Error| templates.placed(e.as_kind(Kind::Usage), template);
        let tag = tag.parse().map_err(wrong)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    match program.tags.first() {
        // No tag moves that the file doesn't name.
        Some(first) if tags.is_empty() => {
            let what = format!("plan the image of {}", package.import_path);
            let error = Error::new(Kind::Input, what, "its tags are all empty").hint("name one with --tags");
            return Err(templates.placed(error, first));
        }
        None => tags.push(Tag::latest()),
        Some(_) => {}
    }
    let stand = settings.base.of(&package.import_path, program);
    let base = facts.bases.iter().position(|(s, _)| *s == stand);
    let base = base.ok_or_else(|| Error::new(Kind::Internal, "plan", "a base was not looked up"))?;
    let named = match (&program.place.name, &program.own.binary) {
        (None, Some(template)) => {
            let binary = text("binary", template)?;
            // GoReleaser takes a path below its directory.
            let name = binary.rsplit('/').next().filter(|name| !matches!(*name, "" | "." | ".."));
            let bad = || Error::new(Kind::Input, "read binary", format!("\"{binary}\" names no file"));
            Some(name.ok_or_else(|| templates.placed(bad(), template))?.to_owned())
        }
        (name, _) => name.clone(),
    };
    let own = package_name(&package.import_path, named.as_deref());
    let with = rule.and_then(|r| facts.with.get(&r)).into_iter().flatten();
    let programs: Vec<ImageProgram> = std::iter::once((package, own))
        .chain(with.map(|p| (p, package_name(&p.import_path, None))))
        .map(|(p, name)| ImageProgram {
            import_path: p.import_path.clone(),
            module_dir: p.module_dir.clone(),
            name,
        })
        .collect();
    let mut names = BTreeSet::new();
    if let Some(twice) = programs.iter().find(|p| !names.insert(p.name.to_lowercase())) {
        let why = format!("two of its programs are called {}", twice.name);
        return Err(Error::new(Kind::Input, format!("plan the image of {}", package.import_path), why));
    }
    let config = &program.image;
    Ok(ImagePlan {
        import_path: package.import_path.clone(),
        dir: package.dir.clone(),
        kodata: Some(package.dir.join("kodata")),
        name: ImageName { program: naming::program(&package.import_path), repository },
        also: repositories.collect(),
        tags,
        base,
        platforms: facts.bases[base].1.clone(),
        programs,
        programs_dir: program.place.dir.clone().unwrap_or_else(|| PROGRAMS_DIR.to_owned()),
        capabilities: caps::parse(&program.capabilities)
            .map_err(|e| e.within(format!("plan the image of {}", package.import_path)))?,
        config: ConfigPlan {
            user: config.user.clone(),
            working_dir: config.working_dir.clone(),
            env: texts("image.env", &config.env)?,
            cmd: config.cmd.clone(),
            entrypoint: config.entrypoint.clone(),
            extra: config.extra.clone(),
            labels: texts("image.labels", &config.labels)?,
        },
        annotations: annotations(settings, facts, texts("image.annotations", &config.annotations)?)?,
        files: program.files.clone(),
        epoch: time(templates, "creation_time", settings.epoch, program.own.created.as_deref())?,
        kodata_epoch: time(
            templates,
            "ko_data_creation_time",
            settings.kodata_epoch,
            program.own.kodata_created.as_deref(),
        )?,
    })
}

/// The environment's time, else the file's: seconds since 1970, a template.
fn time(templates: &Templates<'_>, what: &str, over: Option<u64>, own: Option<&str>) -> Result<Option<u64>> {
    let (None, Some(template)) = (over, own) else { return Ok(over) };
    let text = templates.render(what, template, &[])?;
    match oci::epoch(&text) {
        Some(seconds) => Ok(Some(seconds)),
        None => {
            let why = format!("\"{text}\" isn't a time in seconds since 1970");
            Err(templates.placed(Error::new(Kind::Input, format!("read {what}"), why), template))
        }
    }
}

/// Where an image is pushed to: its own repositories, else a name below each of the user's.
fn repositories(
    settings: &Settings,
    program: &Program,
    import_path: &str,
    templates: &Templates<'_>,
) -> Result<Vec<Repository>> {
    let mut list: Vec<Repository> = Vec::new();
    let mut add = |text: &str, repository: Result<Repository>| -> Result<()> {
        let repository = repository.map_err(|e| templates.placed(e, text))?;
        if !list.contains(&repository) {
            list.push(repository);
        }
        Ok(())
    };
    let named = |repository: &str, naming| naming::repository(&repository.parse()?, naming, import_path);
    for own in &program.repositories {
        let text = templates.render("repo", own, &program.env)?;
        match program.own.naming {
            _ if templates.drop_empty() && text.trim().is_empty() => {}
            Some(naming) => add(own, named(&text, naming))?,
            None => add(own, text.parse())?,
        }
    }
    if program.repositories.is_empty() {
        let naming = program.own.naming.unwrap_or(settings.naming);
        for prefix in settings.repository.iter().chain(&settings.further) {
            let text = templates.render("the repository", prefix, &program.env)?;
            add(prefix, named(&text, naming))?;
        }
    }
    if list.is_empty() && !program.repositories.is_empty() {
        return Err(Error::new(Kind::Input, "read repo", "the repositories are all empty"));
    }
    Ok(list)
}

/// The user's annotations, and git's state where they don't say otherwise. A tree with changes says so.
fn annotations(
    settings: &Settings,
    facts: &Facts,
    mut annotations: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    if !settings.annotate_vcs {
        return Ok(annotations);
    }
    let git = facts.templates.git.as_ref().ok_or_else(|| {
        Error::new(Kind::Input, "annotate with git's state", "this is no git repository with a commit")
            .at(settings.cwd.display())
    })?;
    let dirty = if git.dirty { "-dirty" } else { "" };
    let source = facts.templates.source.as_ref();
    let found = [
        (annotation::REVISION, Some(format!("{}{dirty}", git.full_commit))),
        (annotation::VERSION, Some(format!("{}{dirty}", git.tag))),
        (annotation::CREATED, Some(rfc3339(git.commit_time))),
        (annotation::SOURCE, source.cloned()),
    ];
    for (key, value) in found {
        if let Some(value) = value {
            annotations.entry(key.to_owned()).or_insert(value);
        }
    }
    Ok(annotations)
}

/// Where programs are if nothing else is said, as in ko.
pub const PROGRAMS_DIR: &str = "/ko-app";

fn package_name(import_path: &str, chosen: Option<&str>) -> String {
    chosen.map_or_else(|| naming::program(import_path), str::to_owned)
}

/// Adds an image's programs to the `go build` runs: as few as can be, one for each platform, directory, environment and
/// flags, unless two programs have one file name.
fn compile(
    settings: &Settings,
    facts: &Facts,
    templates: &Templates<'_>,
    image: &ImagePlan,
    index: usize,
    program: &Program,
    groups: &mut Vec<CompileGroup>,
) -> Result<()> {
    for (platform, spec) in image.platforms.iter().enumerate() {
        let program = templates.program(program, spec)?;
        let target = command::target(spec, &facts.toolchain, &program.env)?;
        let flags = command::build_flags(&program, settings, &facts.toolchain, &|what, text| {
            templates.render_for(what, text, &target)
        })?;
        add_compile(groups, (index, platform), &image.programs, &target, &flags);
    }
    Ok(())
}

/// Adds the programs of an image and platform, by number, to the `go build` runs.
fn add_compile(
    groups: &mut Vec<CompileGroup>,
    (image, platform): (usize, usize),
    programs: &[ImageProgram],
    target: &Target,
    flags: &[String],
) {
    for (number, item) in programs.iter().enumerate() {
        let file = naming::file(&item.import_path, &target.platform.os);
        let compiled =
            Compiled { import_path: item.import_path.clone(), file, image, platform, program: number };
        let fits = |g: &&mut CompileGroup| {
            g.dir == item.module_dir
                && g.target == *target
                && g.flags == flags
                && g.packages.iter().all(|p| !p.file.eq_ignore_ascii_case(&compiled.file))
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.packages.push(compiled),
            None => groups.push(CompileGroup {
                dir: item.module_dir.clone(),
                target: target.clone(),
                flags: flags.to_vec(),
                packages: vec![compiled],
            }),
        }
    }
}

/// The run that compiles the main program of an image and platform.
fn group_of(groups: &[CompileGroup], image: usize, platform: usize) -> Option<&CompileGroup> {
    let is_it = |p: &Compiled| (p.image, p.platform, p.program) == (image, platform, 0);
    groups.iter().find(|group| group.packages.iter().any(is_it))
}

/// SBOMs are named by their programs alone.
fn check_sbom_names(dir: &Path, images: &[ImagePlan]) -> Result<()> {
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for image in images {
        if let Some(other) = taken.insert(image.name.program.to_lowercase(), &image.import_path) {
            let why = format!("{other} and {} would have the same names", image.import_path);
            return Err(Error::new(Kind::Usage, "name the SBOMs", why)
                .at(dir.display())
                .hint("build them one by one, each with its own --sbom-dir"));
        }
    }
    Ok(())
}

/// Two programs that would land on one name are an error before anything is built.
fn check_collisions(settings: &Settings, images: &[ImagePlan]) -> Result<()> {
    if let Some(dir) = &settings.sboms.dir {
        check_sbom_names(dir, images)?;
    }
    for destination in &settings.destinations {
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for image in images {
            let names: Vec<String> = match destination {
                Destination::Registry => {
                    image.name.repository.iter().chain(&image.also).map(ToString::to_string).collect()
                }
                Destination::LayoutPerProgram(dir) => {
                    vec![dir.join(&image.name.program).display().to_string()]
                }
                _ => vec![image.name.shown()],
            };
            for name in names {
                if let Some(other) = taken.insert(name.clone(), &image.import_path) {
                    let why = format!("{other} and {} would both be {name}", image.import_path);
                    let error = Error::new(Kind::Usage, "name the images", why);
                    return Err(match destination {
                        Destination::Registry => {
                            error.hint("build them one by one, or leave out --bare or -B")
                        }
                        _ => error.hint("build them one by one, each with its own --output"),
                    });
                }
            }
        }
    }
    Ok(())
}
