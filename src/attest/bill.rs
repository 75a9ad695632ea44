//! What is in an image, whatever the format that says it: parts, and how they relate.

use std::collections::{BTreeMap, BTreeSet};

use crate::attest::licences;
use crate::attest::modules::{Module, Modules};
use crate::attest::purl;
use crate::image::assemble::EPOCH;
use crate::oci::{Digest, Platform, Reference};

use super::time::utc;

/// What is to be said of an image for one platform.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// What the image is called: the program's name.
    pub app: &'a str,
    /// The digest of its manifest.
    pub digest: Digest,
    /// What it runs on.
    pub platform: &'a Platform,
    /// When it was made: RFC 3339, as in its config.
    pub created: &'a str,
    /// What it stands on; `None` for nothing.
    pub base: Option<Base<'a>>,
}

/// What an image stands on.
#[derive(Clone, Debug)]
pub enum Base<'a> {
    /// An image of a registry, and the digest of its manifest or index.
    Registry(&'a Reference, Digest),
    /// The built-in base: its version, and names and versions of what its data was made from.
    BuiltIn(u32, Vec<(&'static str, &'static str)>),
    /// An image of this machine, which has no name that others know.
    Local,
}

/// A program in an image.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// Its path in the image.
    pub path: String,
    /// What it is made of.
    pub modules: &'a Modules,
}

/// A bill of materials: of an image, or of an index.
#[derive(Clone, Debug)]
pub struct Bill {
    /// What it is called.
    pub(super) name: String,
    /// The digest of the manifest or index that it is about.
    pub(super) digest: Digest,
    /// When that was made: `YYYY-MM-DDThh:mm:ssZ`.
    pub(super) created: String,
    /// The first is what it is about.
    pub(super) parts: Vec<Part>,
    pub(super) relations: Vec<Relation>,
}

/// Something that an image is made of.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) version: Option<String>,
    pub(super) purpose: Purpose,
    /// Of an image the digest of its manifest, of a program that of its file.
    pub(super) digest: Option<Digest>,
    pub(super) purl: Option<String>,
    /// Go's hash of a module's files, as in go.sum. It is one over the list of their hashes, not over any file.
    pub(super) sum: Option<String>,
    /// Under which licences it says that it is: an SPDX expression. None where that isn't known.
    pub(super) licence: Option<String>,
    /// The packages of it that are in the programs; none where they don't say it.
    pub(super) packages: Option<BTreeSet<String>>,
    /// Where it comes from, in words.
    pub(super) source: Option<String>,
    /// What it is, in words.
    pub(super) summary: Option<String>,
}

/// What a part is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Container,
    Application,
    Library,
    Data,
}

/// How the part `from` relates to the part `to`; both are numbers of parts.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) from: usize,
    pub(super) how: How,
    pub(super) to: usize,
    pub(super) comment: Option<String>,
}

/// The ways in which parts relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Contains,
    DependsOn,
    StandsOn,
    /// An index and its images.
    IsVariant,
}

/// What is said of a module that a program was built with, and of which the linker left every function out.
pub(super) const NOT_LINKED: &str = "no function of it is in the program";

/// Packages in one line. Their paths have no spaces (go.dev/ref/spec, "Import declarations").
pub(super) fn listed(packages: &BTreeSet<String>) -> String {
    packages.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}

impl Part {
    fn new(name: &str, version: Option<&str>, purpose: Purpose) -> Self {
        Part {
            name: name.to_owned(),
            version: version.map(str::to_owned),
            purpose,
            digest: None,
            purl: None,
            sum: None,
            licence: None,
            packages: None,
            source: None,
            summary: None,
        }
    }

    fn image(app: &str, digest: Digest, architecture: Option<&str>, summary: String) -> Self {
        Part {
            digest: Some(digest),
            purl: Some(purl::image(app, &digest, architecture, None)),
            summary: Some(summary),
            ..Part::new(app, Some(&digest.to_string()), Purpose::Container)
        }
    }

    fn of(facts: &Facts<'_>) -> Self {
        let summary = format!("image for {}", facts.platform);
        Part::image(facts.app, facts.digest, Some(&facts.platform.architecture), summary)
    }
}

impl Bill {
    /// The bill of an image with these programs.
    #[must_use]
    pub fn of_image(facts: &Facts<'_>, programs: &[Program<'_>]) -> Self {
        let name = format!("{} {}", facts.app, facts.platform);
        let mut bill = Bill::new(name, Part::of(facts), facts.digest, utc(facts.created));
        bill.base(facts.base.as_ref(), Some(&facts.platform.architecture));
        bill.programs(programs);
        bill
    }

    /// The bill of a program of this name and digest, made at `created` as far as that is known.
    #[must_use]
    pub fn of_program(name: &str, digest: &Digest, modules: &Modules, created: Option<&str>) -> Self {
        let version = modules.main.version.as_deref();
        let about = Part {
            digest: Some(*digest),
            summary: Some(format!("a program of {}", modules.go)),
            ..Part::new(name, version, Purpose::Application)
        };
        let mut bill = Bill::new(name.to_owned(), about, *digest, utc(created.unwrap_or(EPOCH)));
        bill.programs(&[Program { path: name.to_owned(), modules }]);
        bill
    }

    /// The bill of an index: which images it holds. `base` is the index that they stand on.
    #[must_use]
    pub fn of_index(app: &str, digest: &Digest, base: Option<&Base<'_>>, images: &[Facts<'_>]) -> Self {
        let index = Part::image(app, *digest, None, "index of images".to_owned());
        let created = images.iter().map(|i| utc(i.created)).max();
        let mut bill =
            Bill::new(format!("{app} index"), index, *digest, created.unwrap_or_else(|| EPOCH.to_owned()));
        bill.base(base, None);
        for facts in images {
            let image = bill.add(Part::of(facts));
            bill.relate(0, How::Contains, image);
            // What ko says of them.
            bill.relate(0, How::IsVariant, image);
        }
        bill
    }

    fn new(name: String, about: Part, digest: Digest, created: String) -> Self {
        Bill { name, digest, created, parts: vec![about], relations: Vec::new() }
    }

    fn add(&mut self, part: Part) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    fn relate(&mut self, from: usize, how: How, to: usize) {
        self.relations.push(Relation { from, how, to, comment: None });
    }

    /// Adds what the image stands on.
    fn base(&mut self, base: Option<&Base<'_>>, architecture: Option<&str>) {
        let Some(base) = base else { return };
        let part = match base {
            Base::Registry(reference, digest) => {
                let repository = &reference.repository;
                let name = repository.path().rsplit('/').next().unwrap_or_default();
                let tag = reference.tag.as_ref().map(|t| t.as_str());
                let purl = purl::image(name, digest, architecture, Some((repository, tag)));
                let image = Part::image(name, *digest, None, format!("the base image {reference}"));
                Part { purl: Some(purl), ..image }
            }
            Base::BuiltIn(version, _) => {
                let part = Part::new("static", Some(&version.to_string()), Purpose::Container);
                Part { summary: Some("the base that is built into gimg".to_owned()), ..part }
            }
            Base::Local => {
                let part = Part::new("base", None, Purpose::Container);
                Part { summary: Some("a base image of the machine that built".to_owned()), ..part }
            }
        };
        let id = self.add(part);
        self.relate(0, How::StandsOn, id);
        if let Base::BuiltIn(_, data) = base {
            for (name, version) in data {
                let data = self.add(Part::new(name, Some(version), Purpose::Data));
                self.relate(id, How::Contains, data);
            }
        }
    }

    /// Adds what programs are made of: each module once, whatever the number of programs that have it.
    fn programs(&mut self, programs: &[Program<'_>]) {
        let mut paths: BTreeMap<&Module, Vec<&str>> = BTreeMap::new();
        for program in programs {
            paths.entry(&program.modules.main).or_default().push(&program.path);
        }
        let mut modules: BTreeMap<&Module, usize> = BTreeMap::new();
        let mut libraries: BTreeMap<&str, usize> = BTreeMap::new();
        let mut related = BTreeSet::new();
        for program in programs {
            let Modules { main, deps, go, packages, .. } = program.modules;
            let id = self.module(&mut modules, main, Purpose::Application);
            if let Some(paths) = paths.remove(main) {
                let comment = Some(format!("at {}", paths.join(", ")));
                self.relations.push(Relation { from: 0, how: How::Contains, to: id, comment });
            }
            let library = *libraries.entry(go.as_str()).or_insert_with(|| {
                let version = program.modules.stdlib_version();
                self.add(Part {
                    purl: Some(purl::stdlib(version)),
                    licence: Some(licences::GO.to_owned()),
                    source: Some(format!("the standard library of {go}")),
                    ..Part::new("stdlib", Some(version), Purpose::Library)
                })
            });
            let mut needed = vec![library];
            needed.extend(deps.iter().map(|dep| self.module(&mut modules, dep, Purpose::Library)));
            if let Some(packages) = packages {
                self.has(library, packages.get(Modules::STDLIB));
                self.has(id, packages.get(&main.path));
                deps.iter().zip(&needed[1..]).for_each(|(dep, id)| self.has(*id, packages.get(&dep.path)));
            }
            for needed in needed.into_iter().filter(|n| *n != id) {
                if related.insert((id, needed)) {
                    self.relate(id, How::DependsOn, needed);
                }
            }
        }
    }

    /// Takes note of packages of a part that are in a program.
    fn has(&mut self, part: usize, packages: Option<&Vec<String>>) {
        if let Some(part) = self.parts.get_mut(part) {
            part.packages.get_or_insert_default().extend(packages.into_iter().flatten().cloned());
        }
    }

    fn module<'m>(
        &mut self,
        modules: &mut BTreeMap<&'m Module, usize>,
        module: &'m Module,
        purpose: Purpose,
    ) -> usize {
        let add = || {
            self.add(Part {
                purl: purl::go_module(&module.path, module.version.as_deref()),
                sum: module.sum.clone(),
                licence: module.licence.clone(),
                source: module.source.clone(),
                ..Part::new(&module.path, module.version.as_deref(), purpose)
            })
        };
        *modules.entry(module).or_insert_with(add)
    }
}
