//! What a command is to look at that explains things: a file, an image, or a program still to be built. Pure.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::oci::Reference;
use crate::settings::split_layout;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A program that is there.
    File(PathBuf),
    /// An image of a registry.
    Registry(Reference),
    /// An image of an OCI layout, with the name of its entry if it has several.
    Layout(PathBuf, Option<String>),
    /// An image of a tar of an OCI layout, with the name of its entry if it has several.
    OciArchive(PathBuf, Option<String>),
    /// A package of Go.
    Package(String),
}

/// What lies on disk under the words for a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisk {
    /// A file.
    File,
    /// An OCI layout.
    Layout,
    /// Another directory.
    Directory,
    /// Nothing.
    Nothing,
}

impl Subject {
    /// Reads `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, the path of a file, layout or package, or a registry reference.
    /// What is on disk goes first; a path that can be nothing else begins with a dot or a slash.
    ///
    /// # Errors
    /// A path with nothing there, or no reference (kind `Usage`).
    pub fn parse(text: &str, there: OnDisk) -> Result<Self> {
        if let Some(dir) = text.strip_prefix("oci:") {
            let (dir, name) = split_layout(dir);
            return Ok(Subject::Layout(dir, name));
        }
        if let Some(file) = text.strip_prefix("oci-archive:") {
            let (file, name) = split_layout(file);
            return Ok(Subject::OciArchive(file, name));
        }
        if let Some(path) = text.strip_prefix("ko://") {
            return Ok(Subject::Package(path.to_owned()));
        }
        let is_path = text.starts_with('/') || matches!(text.split('/').next(), Some("." | ".."));
        match there {
            OnDisk::File => Ok(Subject::File(PathBuf::from(text))),
            OnDisk::Layout => Ok(Subject::Layout(PathBuf::from(text), None)),
            OnDisk::Directory => Ok(Subject::Package(text.to_owned())),
            OnDisk::Nothing if is_path => {
                Err(Error::new(Kind::Input, format!("look at {text}"), "no such file or directory"))
            }
            OnDisk::Nothing => match text.parse() {
                Ok(reference) => Ok(Subject::Registry(reference)),
                Err(error) => Err(Error::as_kind(error, Kind::Usage)
                    .hint("name an image, oci:DIR, oci-archive:FILE, a program's file or a package")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_decides_and_paths_are_no_references() {
        let parse = |text, there| Subject::parse(text, there).map_err(|e| e.kind());
        let reference: Reference = "ghcr.io/me/app:v1".parse().unwrap();
        assert_eq!(parse("ghcr.io/me/app:v1", OnDisk::Nothing), Ok(Subject::Registry(reference)));
        assert_eq!(parse("app", OnDisk::File), Ok(Subject::File("app".into())));
        assert_eq!(parse("out", OnDisk::Layout), Ok(Subject::Layout("out".into(), None)));
        assert_eq!(
            parse("oci:out:v1", OnDisk::Nothing),
            Ok(Subject::Layout("out".into(), Some("v1".into())))
        );
        assert_eq!(
            parse("oci-archive:a.tar", OnDisk::Nothing),
            Ok(Subject::OciArchive("a.tar".into(), None))
        );
        assert_eq!(parse("./cmd/app", OnDisk::Directory), Ok(Subject::Package("./cmd/app".into())));
        assert_eq!(
            parse("ko://example.com/app", OnDisk::Nothing),
            Ok(Subject::Package("example.com/app".into()))
        );
        for path in ["./app", "../app", "/app", "."] {
            assert_eq!(parse(path, OnDisk::Nothing), Err(Kind::Input), "{path}");
        }
        assert_eq!(parse("Not A Reference", OnDisk::Nothing), Err(Kind::Usage));
    }
}
