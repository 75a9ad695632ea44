//! The summary of a run: where it is written, and what its images are compared with.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::oci::Reference;
use crate::settings::Destination;

/// A summary that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The file that it is added to; absolute.
    pub file: PathBuf,
    /// What the image is compared with; without it what its tags stood for before.
    pub against: Option<Reference>,
}

/// `--summary` and `--against`.
pub(super) fn summary(
    file: Option<PathBuf>,
    against: Option<&str>,
    destinations: &[Destination],
    cwd: &Path,
) -> Result<Option<Summary>> {
    let Some(file) = file else { return Ok(None) };
    let against = match against {
        None => None,
        Some(_) if !destinations.contains(&Destination::Registry) => {
            let error = Error::new(Kind::Usage, "read --against", "nothing is pushed to a registry");
            return Err(error.hint("name a repository with --repo"));
        }
        Some(text) => Some(text.parse::<Reference>().map_err(|e| e.as_kind(Kind::Usage))?),
    };
    Ok(Some(Summary { file: cwd.join(file), against }))
}
