//! What images stand on: the words for bases, and which program gets which. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::oci::{Platform, Reference, Repository};
use crate::plan::platforms::Requested;
use crate::settings::config::BaseVerification;
use crate::settings::program::{Program, Rule};
use crate::settings::split_layout;

/// What an image stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The built-in base, with the version of its data if one was named.
    Static(Option<u32>),
    /// Nothing.
    Scratch,
    /// An image of a registry.
    Registry(Reference),
    /// An image of the local Docker, as in ko.
    Docker(Reference),
    /// An OCI layout, with the name of one of its entries if it has several.
    Layout(PathBuf, Option<String>),
    /// A tar of an OCI layout, with the name of one of its entries if it has several.
    OciArchive(PathBuf, Option<String>),
    /// What `docker save` writes, of one image.
    DockerArchive(PathBuf),
}

impl Base {
    /// Reads `static`, `static@N`, `scratch`, `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, `docker-archive:FILE`,
    /// `ko.local/NAME` or a registry reference.
    ///
    /// # Errors
    /// Anything else, or data of the built-in base that this gimg doesn't have.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "static" => Ok(Base::Static(None)),
            "scratch" => Ok(Base::Scratch),
            _ => {
                if let Some(version) = text.strip_prefix("static@") {
                    if version == crate::base::VERSION.to_string() {
                        return Ok(Base::Static(Some(crate::base::VERSION)));
                    }
                    let why = format!("this gimg has static@{}", crate::base::VERSION);
                    return Err(Error::new(Kind::Base, format!("use the base {text}"), why));
                }
                if text.starts_with("ko.local/") {
                    return Ok(Base::Docker(text.parse()?));
                }
                if let Some(dir) = text.strip_prefix("oci:") {
                    let (dir, name) = split_layout(dir);
                    return Ok(Base::Layout(dir, name));
                }
                if ["oci-archive:", "docker-archive:"].contains(&text) {
                    return Err(Error::new(Kind::Usage, format!("use the base {text}"), "it names no file"));
                }
                if let Some(file) = text.strip_prefix("oci-archive:") {
                    let (file, name) = split_layout(file);
                    return Ok(Base::OciArchive(file, name));
                }
                if let Some(file) = text.strip_prefix("docker-archive:") {
                    return Ok(Base::DockerArchive(PathBuf::from(file)));
                }
                Ok(Base::Registry(text.parse()?))
            }
        }
    }

    /// Whether it surely lacks a dynamic loader: a program that asks for one can't start on it.
    #[must_use]
    pub fn has_no_loader(&self) -> bool {
        matches!(self, Base::Static(_) | Base::Scratch)
    }
}

/// Reads bases of single platforms, the key `path` of the file.
///
/// # Errors
/// What is no platform or no base; a platform that stands twice.
pub fn platform_bases(map: &BTreeMap<String, String>, path: &str) -> Result<Vec<(Platform, Base)>> {
    let within = |e: Error| e.within(format!("read {path}"));
    let bad = |why: String| Error::new(Kind::Input, format!("read {path}"), why);
    let mut list: Vec<(Platform, Base)> = Vec::new();
    for (key, text) in map {
        let (requested, _) =
            Requested::parse(std::slice::from_ref(key)).map_err(|e| within(e).as_kind(Kind::Input))?;
        let platform = match requested {
            Requested::List(mut named) if named.len() == 1 => named.pop(),
            _ => None,
        };
        let platform = platform.filter(|p| !p.architecture.is_empty());
        let platform = platform.ok_or_else(|| bad(format!("\"{key}\" isn't os/arch[/variant]")))?;
        if list.iter().any(|(p, _)| *p == platform) {
            return Err(bad(format!("{platform} stands twice")));
        }
        list.push((platform, Base::parse(text).map_err(within)?));
    }
    Ok(list)
}

/// What one program's image stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The base.
    pub base: Base,
    /// Other bases for single platforms, each platform once.
    pub platforms: Vec<(Platform, Base)>,
    /// The platforms to build for, if not those of the run.
    pub asked: Option<Requested>,
}

/// Which bases of registries must be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseKeys {
    repositories: Repositories,
    /// The files of public keys: one of them must have signed the base. Absolute.
    pub keys: Vec<PathBuf>,
}

/// Some repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Repositories {
    One(Repository),
    /// All whose names begin so.
    Beginning(String),
}

impl BaseKeys {
    /// Reads `baseVerification`.
    ///
    /// # Errors
    /// A name that no repository can have; an entry without a key (kind `Input`).
    pub fn read(entries: &[BaseVerification], cwd: &Path) -> Result<Vec<Self>> {
        let within = |e: Error| e.as_kind(Kind::Input).within("read baseVerification");
        let read = entries.iter().map(|BaseVerification { base, key }| {
            let repositories = match base.strip_suffix('*') {
                Some(start) if !start.contains('*') => Repositories::Beginning(start.to_owned()),
                _ => Repositories::One(base.parse().map_err(within)?),
            };
            if key.0.is_empty() {
                return Err(within(Error::new(Kind::Input, format!("read {base}"), "it has no key")));
            }
            Ok(BaseKeys { repositories, keys: key.0.iter().map(|path| cwd.join(path)).collect() })
        });
        read.collect()
    }

    /// The keys of which one must have signed a base in `repository`; none if it needn't be signed.
    #[must_use]
    pub fn of<'k>(all: &'k [Self], repository: &Repository) -> &'k [PathBuf] {
        let fits = |rule: &&Self| match &rule.repositories {
            Repositories::One(one) => one == repository,
            Repositories::Beginning(start) => repository.to_string().starts_with(start),
        };
        all.iter().find(fits).map_or(&[], |rule| &rule.keys)
    }
}

/// Which program stands on what.
#[derive(Clone, Debug)]
pub struct BaseChoice {
    /// `--base`: the base of every program, whatever else is said.
    pub fixed: Option<Base>,
    /// `baseImageOverrides`: by import path in lower case, as in ko.
    pub overrides: BTreeMap<String, Base>,
    /// `platformBases`: for single platforms, over `overrides` and `default`.
    pub platforms: Vec<(Platform, Base)>,
    /// The base of the others.
    pub default: Base,
}

impl BaseChoice {
    /// What the program `import_path` stands on, of which the file's own entry says `own`.
    #[must_use]
    pub fn of(&self, import_path: &str, own: &Program) -> Stand {
        if let Some(base) = &self.fixed {
            return Stand { base: base.clone(), platforms: Vec::new(), asked: own.platforms.clone() };
        }
        let mut platforms = own.platform_bases.clone();
        // The entry's base is of that program alone: it beats what is said about all programs.
        for other in self.platforms.iter().filter(|_| own.base.is_none()) {
            if !platforms.iter().any(|(platform, _)| *platform == other.0) {
                platforms.push(other.clone());
            }
        }
        let by_path = || self.overrides.get(&import_path.to_lowercase());
        let base = own.base.as_ref().or_else(by_path).unwrap_or(&self.default);
        Stand { base: base.clone(), platforms, asked: own.platforms.clone() }
    }

    /// Every base that may be used, with the programs' own of `rules`; perhaps some more than once.
    #[must_use]
    pub fn all<'a>(&'a self, rules: &'a [Rule]) -> Vec<&'a Base> {
        match &self.fixed {
            Some(base) => vec![base],
            None => {
                let own = rules.iter().filter_map(|r| r.program.base.as_ref());
                let programs = rules.iter().flat_map(|r| &r.program.platform_bases);
                let platforms = self.platforms.iter().chain(programs).map(|(_, base)| base);
                let all = std::iter::once(&self.default).chain(self.overrides.values());
                all.chain(own).chain(platforms).collect()
            }
        }
    }

    /// What every program stands on, if that is known before any program is.
    #[must_use]
    pub fn of_all(&self, rules: &[Rule]) -> Option<Stand> {
        let has_its_own = |r: &Rule| r.program.base.is_some() || !r.program.platform_bases.is_empty();
        let has_platforms = rules.iter().any(|r| r.program.platforms.is_some());
        let one = self.overrides.is_empty() && !rules.iter().any(has_its_own);
        (!has_platforms && (self.fixed.is_some() || one)).then(|| self.of("", &Program::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_fits_says_whose_signature_counts() {
        use crate::settings::config::Line;
        let entry = |base: &str, keys: &[&str]| {
            let key = Line(keys.iter().map(|key| (*key).to_owned()).collect());
            BaseVerification { base: base.to_owned(), key }
        };
        let entries = [
            entry("r.io/me/special", &["one.pub"]),
            entry("r.io/me/*", &["two.pub", "/three.pub"]),
            entry("alpine", &["four.pub"]),
            entry("gcr.io*", &["five.pub"]),
        ];
        let all = BaseKeys::read(&entries, Path::new("/w")).unwrap();
        for (repository, keys) in [
            ("r.io/me/special", &["/w/one.pub"][..]),
            ("r.io/me/specials", &["/w/two.pub", "/three.pub"]),
            ("r.io/other", &[]),
            ("docker.io/library/alpine", &["/w/four.pub"]),
            ("gcr.io/distroless/static", &["/w/five.pub"]),
        ] {
            let found = BaseKeys::of(&all, &repository.parse().unwrap());
            assert_eq!(found, keys.iter().map(PathBuf::from).collect::<Vec<_>>(), "{repository}");
        }
        for (base, keys) in [("R.io/*/x", &["a"][..]), ("r.io/Me", &["a"]), ("r.io/me", &[]), ("**", &["a"])]
        {
            let error = BaseKeys::read(&[entry(base, keys)], Path::new("/w")).unwrap_err();
            assert_eq!(error.kind(), Kind::Input, "{base}");
        }
    }
}
