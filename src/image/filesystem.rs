//! How files are named where an image runs. Trees are made with Unix names; for Windows they are arranged anew.
//!
//! A layer of a Windows image has two directories at its top: `Hives` for changes of the registry, `Files` for the
//! drive (hcsshim, internal/wclayer; the OCI image-spec is silent). Directories on the way to an entry must be in the
//! layer too: what unpacks it there doesn't look into the layers below.

use std::collections::BTreeMap;

use super::tree::{FileTree, Meta, Node};
use crate::error::{Error, Kind, Result};
use crate::oci::Platform;

/// The security descriptor of files, in base64, as in ko's images: owner and group are BUILTIN\Users, no access list.
/// ko found that Windows runs no program without one.
const RAW_SECURITY: &str = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA==";
/// The PAX record that carries it (Go, archive/tar of Windows' own backup streams).
const RAW_SECURITY_KEY: &str = "MSWINDOWS.rawsd";
/// What Windows finds programs by if nothing is set: an image that says PATH must keep it.
const SYSTEM_PATH: &str = r"C:\Windows\System32;C:\Windows";

/// The two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filesystem {
    /// `/a/b`.
    Unix,
    /// `C:\a\b`, without regard to case.
    Windows,
}

impl Filesystem {
    /// That of a platform.
    #[must_use]
    pub fn of(platform: &Platform) -> Self {
        if platform.os == "windows" { Filesystem::Windows } else { Filesystem::Unix }
    }

    /// An absolute Unix path as it is written here.
    #[must_use]
    pub fn path(self, path: &str) -> String {
        match self {
            Filesystem::Unix => path.to_owned(),
            Filesystem::Windows => format!("C:{}", path.replace('/', "\\")),
        }
    }

    /// Adds `dir`, an absolute Unix path, to where programs are found.
    pub fn extend_path(self, env: &mut Vec<String>, dir: &str) {
        let dir = self.path(dir);
        let separator = match self {
            Filesystem::Unix => ':',
            Filesystem::Windows => ';',
        };
        let value = |variable: &str| {
            variable.split_once('=').filter(|(key, _)| self.same(key, "PATH")).map(|(_, v)| v.len())
        };
        let found = env.iter_mut().find_map(|v| value(v).map(|length| (v, length)));
        match found {
            Some((variable, length)) => {
                let paths = &variable[variable.len() - length..];
                if !paths.split(separator).any(|p| self.same(p, &dir)) {
                    if length > 0 {
                        variable.push(separator);
                    }
                    variable.push_str(&dir);
                }
            }
            None if self == Filesystem::Windows => env.push(format!("PATH={SYSTEM_PATH}{separator}{dir}")),
            None => env.push(format!("PATH={dir}")),
        }
    }

    /// Sets a variable; another spelling of its name counts where names have no case.
    pub fn set(self, env: &mut Vec<String>, key: &str, value: &str) {
        env.retain(|variable| !variable.split_once('=').is_some_and(|(k, _)| self.same(k, key)));
        env.push(format!("{key}={value}"));
    }

    fn same(self, a: &str, b: &str) -> bool {
        match self {
            Filesystem::Unix => a == b,
            Filesystem::Windows => a.eq_ignore_ascii_case(b),
        }
    }

    /// The tree of a layer as it must be here.
    ///
    /// # Errors
    /// A name that Windows doesn't have, or two that are one to it (kind `Input`).
    pub fn arrange(self, tree: FileTree) -> Result<FileTree> {
        match self {
            Filesystem::Unix => Ok(tree),
            Filesystem::Windows => windows(&tree),
        }
    }
}

fn windows(tree: &FileTree) -> Result<FileTree> {
    let mut arranged = FileTree::new();
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mtime = tree.iter().next().map_or(0, |(_, entry)| entry.meta.mtime);
    for top in ["Hives", "Files"] {
        arranged.add_dir(top, Meta::dir().modified(mtime))?;
    }
    for (name, entry) in tree.iter() {
        let name = name.trim_end_matches('/');
        let new = format!("Files/{name}");
        // The parents first, each once: the tree may have none of them, some or all.
        let parents = name.match_indices('/').map(|(at, _)| &name[..at]);
        for parent in parents {
            let meta = Meta::dir().modified(entry.meta.mtime);
            if claim(parent, &mut taken)? && tree.get(&format!("{parent}/")).is_none() {
                arranged.add_dir(&format!("Files/{parent}"), meta)?;
            }
        }
        claim(name, &mut taken)?;
        let meta = entry.meta.clone();
        match &entry.node {
            Node::Dir => arranged.add_dir(&new, meta)?,
            Node::File(data) => {
                let mut meta = meta;
                meta.pax.insert(RAW_SECURITY_KEY.to_owned(), RAW_SECURITY.into());
                arranged.add_file(&new, data.clone(), meta)?;
            }
            Node::Symlink(target) => arranged.add_symlink(&new, target, meta)?,
            Node::HardLink(target) => arranged.add_hard_link(&new, &format!("Files/{target}"))?,
        }
    }
    Ok(arranged)
}

/// Takes a name; whether it is new. Two spellings that differ in case only would be one file.
fn claim(name: &str, taken: &mut BTreeMap<String, String>) -> Result<bool> {
    match taken.get(&name.to_lowercase()) {
        Some(other) if other == name => return Ok(false),
        Some(other) => return Err(refuse(name, format!("to Windows it is the same as {other:?}"))),
        None => {}
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    if let Some(why) = invalid(last) {
        return Err(refuse(name, why));
    }
    taken.insert(name.to_lowercase(), name.to_owned());
    Ok(true)
}

fn refuse(name: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Input, format!("add {name:?} to a Windows layer"), why)
}

/// Why Windows can't have a file of this name (Win32, "Naming Files, Paths, and Namespaces").
fn invalid(name: &str) -> Option<String> {
    if let Some(c) = name.chars().find(|c| c.is_ascii_control() || "<>:\"|?*\\".contains(*c)) {
        return Some(format!("Windows has no names with {c:?}"));
    }
    if name.ends_with(['.', ' ']) {
        return Some("Windows has no names that end in a dot or blank".to_owned());
    }
    let stem = name.split('.').next().unwrap_or(name).to_ascii_uppercase();
    let numbered = |device: &str| {
        let rest = stem.strip_prefix(device);
        rest.is_some_and(|digit| digit.len() == 1 && ("1"..="9").contains(&digit))
    };
    if ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT") {
        return Some(format!("{stem} is a device to Windows"));
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::image::Data;

    fn file(name: &str) -> FileTree {
        let mut tree = FileTree::new();
        add(&mut tree, name);
        tree
    }

    fn add(tree: &mut FileTree, name: &str) {
        tree.add_file(name, Data::Bytes(Bytes::new()), Meta::data(false).modified(7)).unwrap();
    }

    fn env(filesystem: Filesystem, variables: &[&str]) -> Vec<String> {
        let mut env: Vec<String> = variables.iter().map(|v| (*v).to_owned()).collect();
        filesystem.extend_path(&mut env, "/ko-app");
        env
    }

    #[test]
    fn path_is_extended_with_the_right_separator() {
        use Filesystem::{Unix, Windows};
        assert_eq!(env(Unix, &["A=1", "PATH=/bin"]), ["A=1", "PATH=/bin:/ko-app"]);
        assert_eq!(env(Unix, &["PATH=/ko-app:/bin"]), ["PATH=/ko-app:/bin"]);
        assert_eq!(env(Unix, &["Path=/bin"]), ["Path=/bin", "PATH=/ko-app"]);
        assert_eq!(env(Unix, &["PATH="]), ["PATH=/ko-app"]);
        assert_eq!(env(Unix, &[]), ["PATH=/ko-app"]);
        assert_eq!(env(Windows, &[r"Path=C:\Windows;C:\x"]), [r"Path=C:\Windows;C:\x;C:\ko-app"]);
        assert_eq!(env(Windows, &[r"PATH=c:\KO-app;C:\x"]), [r"PATH=c:\KO-app;C:\x"]);
        assert_eq!(env(Windows, &[]), [r"PATH=C:\Windows\System32;C:\Windows;C:\ko-app"]);
        let mut variables = vec!["ko_data_path=x".to_owned(), "B=2".to_owned()];
        Windows.set(&mut variables, "KO_DATA_PATH", "y");
        assert_eq!(variables, ["B=2", "KO_DATA_PATH=y"]);
    }

    #[test]
    fn a_layer_for_windows_has_hives_files_every_parent_and_descriptors_of_files() {
        let mut tree = file("var/run/ko/a/b");
        tree.add_dir("var/run/ko", Meta::dir().modified(7)).unwrap();
        let arranged = Filesystem::Windows.arrange(tree.clone()).unwrap();
        let names: Vec<_> = arranged.iter().map(|(n, e)| (n, e.meta.pax.len(), e.meta.mtime)).collect();
        assert_eq!(
            names,
            [
                ("Files/", 0, 7),
                ("Files/var/", 0, 7),
                ("Files/var/run/", 0, 7),
                ("Files/var/run/ko/", 0, 7),
                ("Files/var/run/ko/a/", 0, 7),
                ("Files/var/run/ko/a/b", 1, 7),
                ("Hives/", 0, 7),
            ]
        );
        let record = &arranged.get("Files/var/run/ko/a/b").unwrap().meta.pax["MSWINDOWS.rawsd"];
        assert!(record.starts_with(b"AQAAgBQAAAAk") && record.len() == 72, "{record:?}");
        assert_eq!(Filesystem::Unix.arrange(tree.clone()).unwrap(), tree);
    }

    #[test]
    fn names_that_windows_lacks_or_takes_for_one_are_refused() {
        for (name, why) in [
            ("a:b", "no names with ':'"),
            ("a\\b", "no names with"),
            ("a\nb", "no names with"),
            ("dir?/x", "no names with '?'"),
            ("a.", "end in a dot"),
            ("d /x", "end in a dot or blank"),
            ("nul", "NUL is a device"),
            ("d/Com1.txt", "COM1 is a device"),
        ] {
            let error = Filesystem::Windows.arrange(file(name)).unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.to_string().contains(why), "{name}: {error}");
        }
        for (one, two) in [("a/B", "a/b"), ("D/x", "d/y"), ("Ä", "ä")] {
            let mut tree = file(one);
            add(&mut tree, two);
            let error = Filesystem::Windows.arrange(tree).unwrap_err().to_string();
            assert!(error.contains("to Windows it is the same as"), "{error}");
        }
        for fine in ["com", "com10", "null", "a.b.c", ".x", "COM"] {
            Filesystem::Windows.arrange(file(fine)).unwrap();
        }
    }
}
