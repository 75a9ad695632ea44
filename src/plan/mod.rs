//! Settings and facts become a plan. Pure: every name, platform and command is decided here, and nowhere later.

pub mod command;
pub mod debug;
pub mod facts;
pub mod naming;
pub mod packages;
pub mod platforms;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::content::ImageName;
use crate::error::{Error, Kind, Result};
use crate::oci::Tag;
use crate::plan::command::Target;
use crate::plan::facts::{Facts, Package};
use crate::settings::{Destination, Settings};

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
}

/// One image or index to make.
#[derive(Clone, Debug)]
pub struct ImagePlan {
    /// The program's import path.
    pub import_path: String,
    /// The package's directory; `kodata` is looked for in it.
    pub dir: PathBuf,
    /// What the image is called.
    pub name: ImageName,
    /// The tags that will name it.
    pub tags: Vec<Tag>,
}

/// Decides everything.
///
/// # Errors
/// Names that collide or aren't allowed, flags that gimg owns.
pub fn plan(settings: &Settings, facts: &Facts) -> Result<Plan> {
    if settings.debug {
        debug::check(&facts.platforms)?;
    }
    let mut images = Vec::new();
    let mut seen = BTreeSet::new();
    for package in facts.packages.iter().flatten() {
        // The same program named twice (`./cmd/app ./...`) is one image.
        if seen.insert((&package.module_dir, &package.import_path)) {
            images.push(image(settings, package)?);
        }
    }
    check_collisions(settings, &images)?;
    let groups = groups(settings, facts, &images)?;
    Ok(Plan { groups, images })
}

fn image(settings: &Settings, package: &Package) -> Result<ImagePlan> {
    let program = naming::program(&package.import_path);
    let repository = match &settings.repository {
        Some(repository) => Some(naming::repository(repository, settings.naming, &package.import_path)?),
        None => None,
    };
    Ok(ImagePlan {
        import_path: package.import_path.clone(),
        dir: package.dir.clone(),
        name: ImageName { program, repository },
        tags: settings.tags.clone(),
    })
}

/// Two programs that would land on one name are an error before anything is built.
fn check_collisions(settings: &Settings, images: &[ImagePlan]) -> Result<()> {
    for destination in &settings.destinations {
        let mut taken: BTreeMap<String, &str> = BTreeMap::new();
        for image in images {
            let name = match (destination, &image.name.repository) {
                (Destination::Registry, Some(repository)) => repository.to_string(),
                (Destination::LayoutPerProgram(dir), _) => {
                    dir.join(&image.name.program).display().to_string()
                }
                (_, Some(repository)) => repository.to_string(),
                (_, None) => image.name.program.clone(),
            };
            if let Some(other) = taken.insert(name.clone(), &image.import_path) {
                let why = format!("{other} and {} would both be {name}", image.import_path);
                let error = Error::new(Kind::Usage, "name the images", why);
                return Err(match destination {
                    Destination::Registry => error.hint("build them one by one, or leave out --bare or -B"),
                    _ => error.hint("build them one by one, each with its own --output"),
                });
            }
        }
    }
    Ok(())
}

/// As few `go build` runs as can be: per platform and directory one, unless two programs have one file name.
fn groups(settings: &Settings, facts: &Facts, images: &[ImagePlan]) -> Result<Vec<CompileGroup>> {
    let flags = command::build_flags(settings, &facts.toolchain)?;
    let directories: BTreeMap<&str, &PathBuf> =
        facts.packages.iter().flatten().map(|p| (p.import_path.as_str(), &p.module_dir)).collect();
    let mut groups: Vec<CompileGroup> = Vec::new();
    for (platform, spec) in facts.platforms.iter().enumerate() {
        let target = command::target(spec, &facts.toolchain)?;
        let first = groups.len();
        for (index, image) in images.iter().enumerate() {
            let file = naming::file(&image.import_path, &spec.os);
            let Some(dir) = directories.get(image.import_path.as_str()) else { continue };
            let compiled = Compiled { import_path: image.import_path.clone(), file, image: index, platform };
            let fits = |g: &&mut CompileGroup| {
                g.dir == **dir && g.packages.iter().all(|p| !p.file.eq_ignore_ascii_case(&compiled.file))
            };
            match groups[first..].iter_mut().find(fits) {
                Some(group) => group.packages.push(compiled),
                None => groups.push(CompileGroup {
                    dir: (*dir).clone(),
                    target: target.clone(),
                    flags: flags.clone(),
                    packages: vec![compiled],
                }),
            }
        }
    }
    Ok(groups)
}
