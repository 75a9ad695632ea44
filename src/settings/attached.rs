//! What is attached to images, and who signs it.

use std::path::{Path, PathBuf};

use crate::attest::Format;
use crate::error::{Error, Kind, Result};
use crate::settings::Destination;

/// What becomes of SBOMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sboms {
    /// How they are written; none for none.
    pub format: Option<Format>,
    /// Whether the user asked for them: then an image that can't have one is an error.
    pub asked: bool,
    /// A directory that gets those of everything published.
    pub dir: Option<PathBuf>,
    /// Whether registries also get them under tags beside the images, as from ko.
    pub tag: bool,
}

/// What is attached to images in registries, and whether that must succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attest {
    /// What there is; a registry that refuses it gets the image without.
    Auto,
    /// What there is, or no tag moves.
    Required,
    /// Nothing.
    None,
}

/// `--sbom`, `--sbom-dir` and `--sbom-tag`.
pub(super) fn sboms(word: Option<&str>, dir: Option<PathBuf>, tag: bool, cwd: &Path) -> Result<Sboms> {
    let format = match word {
        None => Some(Format::Spdx),
        Some("none") => None,
        Some(name) => Some(Format::named(name).ok_or_else(|| {
            let why = format!("it takes spdx, cyclonedx or none, not \"{name}\"");
            Error::new(Kind::Usage, "read --sbom", why)
        })?),
    };
    let dir = dir.filter(|_| format.is_some()).map(|dir| cwd.join(dir));
    if tag && format.is_none() {
        return Err(Error::new(Kind::Usage, "read --sbom-tag", "with --sbom none there is no SBOM"));
    }
    Ok(Sboms { format, asked: word.is_some() || dir.is_some() || tag, dir, tag })
}

/// Checks that what `flag` asks for can be attached: that anything is, and only registries have what is attached.
pub(super) fn check_attaching(flag: &str, attest: Attest, destinations: &[Destination]) -> Result<()> {
    let wrong = |why: &str| Error::new(Kind::Usage, format!("read {flag}"), why);
    if attest == Attest::None {
        return Err(wrong("with --attest none nothing is attached"));
    }
    if !destinations.contains(&Destination::Registry) {
        return Err(wrong("nothing is pushed to a registry").hint("name a repository with --repo"));
    }
    Ok(())
}

/// `--attest`.
pub(super) fn attest(word: Option<&str>) -> Result<Attest> {
    match word {
        None | Some("auto") => Ok(Attest::Auto),
        Some("required") => Ok(Attest::Required),
        Some("none") => Ok(Attest::None),
        Some(other) => {
            let why = format!("it takes auto, required or none, not \"{other}\"");
            Err(Error::new(Kind::Usage, "read --attest", why))
        }
    }
}
