//! Names: ko's four repository schemes, and what a program's file is called.

use std::fmt;
use std::str::FromStr;

use md5::Digest as _;

use crate::error::{Error, Kind, Result};
use crate::oci::{Registry, Repository};

/// How an import path becomes a repository below the one that is set (ko's README, "Naming").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// `repo/<last part>-<md5 of the import path>`.
    #[default]
    Md5,
    /// `repo/<last part>`.
    Base,
    /// `repo/<import path>`.
    Preserve,
    /// `repo` itself.
    Bare,
}

/// What KO_DOCKER_REPO holds: a repository, a registry alone (`localhost:5000`), or a Docker Hub user. Names are made
/// below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl FromStr for Prefix {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim_end_matches('/');
        if text.contains('@') {
            return Err(Error::new(
                Kind::Input,
                format!("use the repository {text}"),
                "can't push to a digest",
            ));
        }
        let is_registry = !text.contains('/') && (text.contains(['.', ':']) || text == "localhost");
        if is_registry {
            text.parse::<Registry>()?;
        } else {
            text.parse::<Repository>()?;
        }
        Ok(Prefix(text.to_owned()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The repository of a program. As in ko the import path is lower-cased first, also for the MD5.
///
/// # Errors
/// An import path that can't be part of a repository, or a registry alone that is to be the name itself.
pub fn repository(prefix: &Prefix, naming: Naming, import_path: &str) -> Result<Repository> {
    let path = import_path.to_lowercase();
    let base = path.rsplit('/').next().unwrap_or(&path);
    match naming {
        Naming::Bare => prefix.0.parse(),
        Naming::Base => format!("{prefix}/{base}").parse(),
        Naming::Preserve => format!("{prefix}/{path}").parse(),
        Naming::Md5 => {
            let sum = md5::Md5::digest(path.as_bytes());
            let hex: String = sum.iter().map(|b| format!("{b:02x}")).collect();
            format!("{prefix}/{base}-{hex}").parse()
        }
    }
}

/// The name of a program: the last part of its import path that isn't a major version, as `go build` has it
/// (cmd/go/internal/load, `DefaultExecName`).
#[must_use]
pub fn program(import_path: &str) -> String {
    let mut parts = import_path.rsplit('/');
    let last = parts.next().unwrap_or(import_path);
    match parts.next() {
        Some(before) if is_version(last) => before.to_owned(),
        _ => last.to_owned(),
    }
}

/// The file that `go build` writes for a program.
#[must_use]
pub fn file(import_path: &str, os: &str) -> String {
    let program = program(import_path);
    if os == "windows" { format!("{program}.exe") } else { program }
}

/// `v2` and up, as in module paths; `v0`, `v1` and `v01` aren't version elements.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|digits| {
        !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
            && digits != "1"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_schemes_give_kos_names() {
        let repo: Prefix = "ghcr.io/org".parse().unwrap();
        let path = "example.com/Hello/cmd/App";
        let name = |naming| repository(&repo, naming, path).unwrap().to_string();
        // md5sum of "example.com/hello/cmd/app", as the tool of that name prints it.
        assert_eq!(name(Naming::Md5), "ghcr.io/org/app-f9811d3937ed378c61564ae7f6bbd95d".to_owned());
        assert_eq!(name(Naming::Base), "ghcr.io/org/app");
        assert_eq!(name(Naming::Preserve), "ghcr.io/org/example.com/hello/cmd/app");
        assert_eq!(name(Naming::Bare), "ghcr.io/org");
    }

    #[test]
    fn a_prefix_may_be_a_registry_alone_or_a_user() {
        let name = |prefix: &str, naming| {
            repository(&prefix.parse()?, naming, "example.com/app").map(|r| r.to_string())
        };
        assert_eq!(name("localhost:5000", Naming::Base).unwrap(), "localhost:5000/app");
        assert_eq!(name("ghcr.io", Naming::Base).unwrap(), "ghcr.io/app");
        assert_eq!(name("me", Naming::Base).unwrap(), "docker.io/me/app");
        assert_eq!(name("ghcr.io/me/", Naming::Bare).unwrap(), "ghcr.io/me");
        assert!(name("localhost:5000", Naming::Bare).is_err());
        assert!(name("ghcr.io/me@sha256:00", Naming::Base).is_err());
    }

    #[test]
    fn programs_are_named_as_go_names_them() {
        for (path, name) in [
            ("example.com/cmd/app", "app"),
            ("example.com/app/v5", "app"),
            ("example.com/app/v1", "v1"),
            ("example.com/app/v05", "v05"),
            ("v2", "v2"),
            ("app", "app"),
        ] {
            assert_eq!(program(path), name);
        }
    }
}
