//! What images stand on: the words for bases, and which program gets which. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::oci::Reference;
use crate::settings::split_layout;

/// What an image stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// The built-in base.
    Static,
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
            "static" => Ok(Base::Static),
            "scratch" => Ok(Base::Scratch),
            _ => {
                if let Some(version) = text.strip_prefix("static@") {
                    if version == crate::base::VERSION.to_string() {
                        return Ok(Base::Static);
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
        matches!(self, Base::Static | Base::Scratch)
    }
}

/// Which program stands on what.
#[derive(Clone, Debug)]
pub struct BaseChoice {
    /// `--base`: the base of every program, whatever else is said.
    pub fixed: Option<Base>,
    /// `baseImageOverrides`: by import path in lower case, as in ko.
    pub overrides: BTreeMap<String, Base>,
    /// The base of the others.
    pub default: Base,
}

impl BaseChoice {
    /// The base of the program `import_path`, whose own entry in the file says `own`.
    #[must_use]
    pub fn of<'a>(&'a self, import_path: &str, own: Option<&'a Base>) -> &'a Base {
        let by_path = || self.overrides.get(&import_path.to_lowercase());
        self.fixed.as_ref().or(own).or_else(by_path).unwrap_or(&self.default)
    }

    /// The base that every program has, if that is known before any program is.
    #[must_use]
    pub fn of_all(&self, rules_have_their_own: bool) -> Option<&Base> {
        let one = self.overrides.is_empty() && !rules_have_their_own;
        self.fixed.as_ref().or_else(|| one.then_some(&self.default))
    }
}
