//! The files of YAML that a verb was given: found, read, and scanned for references.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::kube::{self, Scan, Selector};

/// Which files to read, in the user's words.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `--filename`: files, directories, or `-` for standard input.
    pub names: Vec<String>,
    /// `--recursive`.
    pub recursive: bool,
    /// `--selector`.
    pub selector: Option<String>,
}

/// A file of YAML and what was found in it.
#[derive(Debug)]
pub(super) struct Manifest {
    /// How messages call it.
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) scan: Scan,
}

/// What was read, in the order of the names, and what to warn about.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    pub(super) list: Vec<Manifest>,
    pub(super) warnings: Vec<String>,
}

/// Reads and scans everything. It blocks.
///
/// # Errors
/// No file, an address, a selector or file that can't be read, or whatever [`kube::scan`] says.
pub(super) fn read(files: &Files) -> Result<Manifests> {
    let selector = files.selector.as_deref().filter(|s| !s.is_empty());
    let selector: Option<Selector> = selector.map(str::parse).transpose()?;
    let mut manifests = Manifests::default();
    let paths = paths(files, &mut manifests.warnings)?;
    for path in paths {
        let bytes = crate::fs::read_manifest(&path)?;
        let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
        let scan = kube::scan(&name, &bytes, selector.as_ref())?;
        let remarks = scan.remarks.iter().map(|r| format!("{} [{name}:{}:{}]", r.text, r.line, r.column));
        manifests.warnings.extend(remarks);
        manifests.list.push(Manifest { name, bytes, scan });
    }
    Ok(manifests)
}

/// The paths that the names mean, all checked before one is read.
pub(super) fn paths(files: &Files, warnings: &mut Vec<String>) -> Result<Vec<PathBuf>> {
    let usage = |why: &str| Error::new(Kind::Usage, "read --filename", why);
    if files.names.is_empty() {
        return Err(
            usage("no file is named").hint("name files or directories with -f, or - for standard input")
        );
    }
    let mut paths = Vec::new();
    for name in &files.names {
        if name.is_empty() {
            return Err(usage("a name is empty"));
        }
        if name.starts_with("http://") || name.starts_with("https://") {
            return Err(usage(&format!("{name} is an address, and gimg fetches no YAML"))
                .hint("fetch it with a tool of your choice: curl -fsSL ADDRESS | gimg resolve -f -"));
        }
        let path = Path::new(name);
        if name == "-" {
            if paths.iter().any(|p| p == path) {
                return Err(usage("standard input (-) is named twice"));
            }
            paths.push(path.to_owned());
            continue;
        }
        let found = crate::fs::list_manifests(path, files.recursive)?;
        if found.is_empty() {
            let deeper = if files.recursive { "" } else { " (-R also looks in its directories)" };
            warnings.push(format!("{name} holds no .yaml, .yml or .json file{deeper}"));
        }
        paths.extend(found);
    }
    Ok(paths)
}
