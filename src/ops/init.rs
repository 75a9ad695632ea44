//! `gimg init`: a configuration file from what is there already.
#![expect(clippy::disallowed_methods, reason = "edge: looks at the working directory")]

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::settings::config::Source;
use crate::settings::config::init::{Found, propose};

/// What was written, and what to tell about it.
pub struct Written {
    /// The file's name.
    pub name: String,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Writes `.gimg.yaml` in `cwd` from ko's file, else GoReleaser's, else the main packages there.
///
/// # Errors
/// A file that is there already, unless `force`; a file that can't be read.
pub fn init(cwd: &Path, force: bool) -> Result<Written> {
    let first = |names: &[&str]| -> Result<Option<Source>> {
        match names.iter().find(|n| cwd.join(n).is_file()) {
            Some(name) => {
                let path = cwd.join(name);
                let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, &e))?;
                Ok(Some(Source { name: (*name).to_owned(), text }))
            }
            None => Ok(None),
        }
    };
    let found = Found {
        ko: first(&[".ko.yaml", ".ko.yml", ".ko.json", ".ko.toml"])?,
        goreleaser: first(&[".goreleaser.yaml", ".goreleaser.yml", "goreleaser.yaml", "goreleaser.yml"])?,
        mains: mains(cwd),
    };
    let proposal = propose(&found)?;
    let path = cwd.join(&proposal.name);
    if path.exists() && !force {
        let what = format!("write {}", proposal.name);
        return Err(Error::new(Kind::Input, what, format!("{} is already there", proposal.name))
            .hint("--force replaces it"));
    }
    crate::fs::write_atomically(&path, proposal.text.as_bytes())?;
    Ok(Written { name: proposal.name, notes: proposal.notes })
}

/// The directories with a main package: here, and below `cmd`.
fn mains(cwd: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if is_main(cwd) {
        found.push(".".to_owned());
    }
    let below = walkdir::WalkDir::new(cwd.join("cmd")).min_depth(1).max_depth(4).sort_by_file_name();
    for entry in below.into_iter().flatten().filter(|e| e.file_type().is_dir()) {
        if let Ok(path) = entry.path().strip_prefix(cwd)
            && let Some(path) = path.to_str()
            && is_main(entry.path())
        {
            found.push(format!("./{}", path.replace('\\', "/")));
        }
    }
    found
}

/// Whether a directory has a Go file of package main that isn't a test.
fn is_main(dir: &Path) -> bool {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let is_go = |p: &PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.ends_with(".go") && !name.ends_with("_test.go")
    };
    files.filter(is_go).any(|path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().any(|line| line.split("//").next().is_some_and(|l| l.trim_end() == "package main"))
    })
}
