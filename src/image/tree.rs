//! What a layer holds: unique names in byte order, each with explicit mode, owner and time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::image::caps;

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In memory.
    Bytes(Bytes),
    /// In a file, opened only when the tar is written.
    File {
        /// Its path on this machine; it never reaches the tar.
        path: PathBuf,
        /// Its size in bytes; another size when it is read is an error.
        size: u64,
    },
}

impl Data {
    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Data::Bytes(bytes) => bytes.len() as u64,
            Data::File { size, .. } => *size,
        }
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir,
    /// A regular file.
    File(Data),
    /// A symbolic link to this target, which need not exist.
    Symlink(String),
    /// A hard link to this name, a file earlier in the same tree.
    HardLink(String),
}

/// Mode, owner and time of an entry: always said, never taken from the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky, at most `0o7777`.
    pub mode: u32,
    /// The owner's number.
    pub uid: u64,
    /// The group's number.
    pub gid: u64,
    /// Modification time in seconds since 1970.
    pub mtime: u64,
    /// Further PAX records by their full key, such as `SCHILY.xattr.security.capability` or `MSWINDOWS.rawsd`.
    pub pax: BTreeMap<String, Vec<u8>>,
}

impl Meta {
    /// `mode`, owned by root, of 1970, without PAX records.
    #[must_use]
    pub fn new(mode: u32) -> Self {
        Meta { mode, uid: 0, gid: 0, mtime: 0, pax: BTreeMap::new() }
    }

    /// A directory: 0755.
    #[must_use]
    pub fn dir() -> Self {
        Meta::new(0o755)
    }

    /// A program: 0555.
    #[must_use]
    pub fn binary() -> Self {
        Meta::new(0o555)
    }

    /// Data: 0444, or 0555 if the owner may execute it.
    #[must_use]
    pub fn data(executable: bool) -> Self {
        Meta::new(if executable { 0o555 } else { 0o444 })
    }

    /// A symbolic link: 0777, as Linux shows every one.
    #[must_use]
    pub fn symlink() -> Self {
        Meta::new(0o777)
    }

    /// The same, owned by `uid` and `gid`.
    #[must_use]
    pub fn owned_by(mut self, uid: u64, gid: u64) -> Self {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// The same, modified at `seconds` since 1970.
    #[must_use]
    pub fn modified(mut self, seconds: u64) -> Self {
        self.mtime = seconds;
        self
    }

    /// The same, with the extended attribute `name`, such as `security.capability`.
    #[must_use]
    pub fn with_xattr(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.pax.insert(format!("SCHILY.xattr.{name}"), value.into());
        self
    }

    /// The same, with these file capabilities, if there are some.
    #[must_use]
    pub fn with_capabilities(self, capabilities: Option<&caps::Bytes>) -> Self {
        match capabilities {
            Some(bytes) => self.with_xattr(caps::XATTR, *bytes),
            None => self,
        }
    }
}

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub node: Node,
    /// Its mode, owner and time.
    pub meta: Meta,
}

/// The content of a layer. It has a directory entry only where one was added: parents come from the layers below.
///
/// Names are relative, `/` between components, in byte order; directories end in `/`, as in the tar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTree {
    entries: BTreeMap<String, Entry>,
}

impl FileTree {
    /// A tree without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; a `/` at the end of `name` is allowed.
    ///
    /// # Errors
    /// A name that is invalid or taken (kind `Input`).
    pub fn add_dir(&mut self, name: &str, meta: Meta) -> Result<()> {
        let name = name.strip_suffix('/').unwrap_or(name);
        self.check(name, &meta)?;
        self.parents_are_directories(name)?;
        self.entries.insert(format!("{name}/"), Entry { node: Node::Dir, meta });
        Ok(())
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// A name that is invalid or taken (kind `Input`).
    pub fn add_file(&mut self, name: &str, data: Data, meta: Meta) -> Result<()> {
        self.add_leaf(name, Node::File(data), meta)
    }

    /// Adds a symbolic link to `target`, which is kept as it is.
    ///
    /// # Errors
    /// A name that is invalid or taken, an empty target or one with a NUL (kind `Input`).
    pub fn add_symlink(&mut self, name: &str, target: &str, meta: Meta) -> Result<()> {
        if target.is_empty() || target.contains('\0') {
            return Err(refuse(name, format!("the link's target {target:?} is empty or has a NUL")));
        }
        self.add_leaf(name, Node::Symlink(target.to_owned()), meta)
    }

    /// Adds a hard link to the file `target`, with its mode, owner and time.
    ///
    /// # Errors
    /// A name that is invalid or taken, a target that is no file of this tree or comes after `name`, so that a
    /// reader of the tar would meet the link first (kind `Input`).
    pub fn add_hard_link(&mut self, name: &str, target: &str) -> Result<()> {
        let meta = match self.entries.get(target) {
            Some(Entry { node: Node::File(_), meta }) if target < name => meta.clone(),
            _ => return Err(refuse(name, format!("{target:?} is no file before it in the layer"))),
        };
        self.add_leaf(name, Node::HardLink(target.to_owned()), meta)
    }

    /// Adds all of another tree. A directory that both have is one, if it is the same in both.
    ///
    /// # Errors
    /// A name that is taken (kind `Input`).
    pub fn merge(&mut self, other: FileTree) -> Result<()> {
        for (name, entry) in other.entries {
            match entry.node {
                Node::Dir if self.entries.get(&name).is_some_and(|own| *own == entry) => {}
                Node::Dir => self.add_dir(&name, entry.meta)?,
                node => self.add_leaf(&name, node, entry.meta)?,
            }
        }
        Ok(())
    }

    /// The entries with their names, in byte order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The entry called `name`; a directory's name ends in `/`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry: such a layer is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add_leaf(&mut self, name: &str, node: Node, meta: Meta) -> Result<()> {
        self.check(name, &meta)?;
        self.parents_are_directories(name)?;
        let below = format!("{name}/");
        if let Some((child, _)) = self.entries.range(below.clone()..).next()
            && child.starts_with(&below)
        {
            return Err(refuse(name, format!("{child:?} needs it to be a directory")));
        }
        self.entries.insert(name.to_owned(), Entry { node, meta });
        Ok(())
    }

    fn check(&self, name: &str, meta: &Meta) -> Result<()> {
        valid_name(name).map_err(|why| refuse(name, why))?;
        if self.entries.contains_key(name) || self.entries.contains_key(&format!("{name}/")) {
            return Err(refuse(name, "the layer has it already"));
        }
        if meta.mode > 0o7777 {
            return Err(refuse(name, format!("mode {:o} has bits beyond 7777", meta.mode)));
        }
        // The writer's own records would clash with these; `=` ends a key.
        let own = ["path", "linkpath", "size", "uid", "gid", "mtime"];
        match meta.pax.keys().find(|k| k.is_empty() || k.contains(['=', '\0']) || own.contains(&k.as_str())) {
            Some(key) => Err(refuse(name, format!("invalid PAX key {key:?}"))),
            None => Ok(()),
        }
    }

    fn parents_are_directories(&self, name: &str) -> Result<()> {
        let not_dir = |parent: &&str| self.entries.contains_key(*parent);
        match name.match_indices('/').map(|(i, _)| &name[..i]).find(not_dir) {
            Some(parent) => Err(refuse(name, format!("{parent:?} is not a directory"))),
            None => Ok(()),
        }
    }
}

fn refuse(name: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Input, format!("add {name:?} to a layer"), why)
}

fn valid_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name is empty");
    }
    if name.starts_with('/') {
        return Err("the name is absolute");
    }
    if name.contains('\0') {
        return Err("the name has a NUL");
    }
    for component in name.split('/') {
        match component {
            "" => return Err("a part of the name is empty"),
            "." | ".." => return Err("the name has a part \".\" or \"..\""),
            // A file of this name would delete another when the layer is applied (OCI image-spec, layer.md).
            c if c.starts_with(".wh.") => return Err("names with the prefix .wh. mark deletions"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(content: &'static [u8]) -> Data {
        Data::Bytes(Bytes::from_static(content))
    }

    #[test]
    fn names_come_in_byte_order_with_slashes_on_directories() {
        let mut tree = FileTree::new();
        tree.add_file("a.b", bytes(b""), Meta::data(false)).unwrap();
        tree.add_file("a/z", bytes(b""), Meta::data(false)).unwrap();
        tree.add_dir("a", Meta::dir()).unwrap();
        tree.add_dir("Z/", Meta::dir()).unwrap();
        let names: Vec<_> = tree.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Z/", "a.b", "a/", "a/z"]);
    }

    #[test]
    fn bad_names_are_refused() {
        let long = "x/".repeat(9) + ".wh..wh..opq";
        for bad in ["", "/", "/a", "..", "a/../b", "a//b", "./a", "a\0b", ".wh.a", &long, "a/"] {
            let error = FileTree::new().add_file(bad, bytes(b""), Meta::data(false)).unwrap_err();
            assert_eq!(error.kind(), Kind::Input, "{bad:?}");
        }
        assert!(FileTree::new().add_dir("/", Meta::dir()).is_err());
        assert!(FileTree::new().add_dir("a//", Meta::dir()).is_err());
        assert!(FileTree::new().add_symlink("a", "", Meta::symlink()).is_err());
        assert!(FileTree::new().add_dir("a", Meta::new(0o10755)).is_err());
        let mut clash = Meta::dir();
        clash.pax.insert("path".into(), b"b".to_vec());
        assert!(FileTree::new().add_dir("a", clash).is_err());
    }

    #[test]
    fn a_name_is_taken_once_and_only_directories_have_children() {
        let mut tree = FileTree::new();
        tree.add_file("a", bytes(b""), Meta::data(false)).unwrap();
        tree.add_file("d/e/f", bytes(b""), Meta::data(false)).unwrap();
        for (name, why) in [
            ("a", "has it already"),
            ("a/b", "\"a\" is not a directory"),
            ("a/b/c", "\"a\" is not a directory"),
            ("d", "needs it to be a directory"),
            ("d/e", "needs it to be a directory"),
        ] {
            let error = tree.add_file(name, bytes(b""), Meta::data(false)).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        assert!(tree.add_dir("a", Meta::dir()).is_err());
        tree.add_dir("d", Meta::dir()).unwrap();
        assert!(tree.add_dir("d", Meta::dir()).is_err());
    }

    #[test]
    fn two_trees_are_one_unless_they_disagree() {
        let tree = |file: &str, owner| {
            let mut tree = FileTree::new();
            tree.add_dir("d", Meta::dir().owned_by(owner, 0)).unwrap();
            tree.add_file(file, bytes(b"x"), Meta::data(false)).unwrap();
            tree
        };
        let mut both = tree("d/a", 0);
        both.merge(tree("d/b", 0)).unwrap();
        assert_eq!(both.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["d/", "d/a", "d/b"]);
        for (other, why) in [
            (tree("d/a", 0), "has it already"),
            (tree("d/c", 1), "has it already"),
            (tree("d/b/c", 0), "\"d/b\" is not a directory"),
        ] {
            let error = both.clone().merge(other).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn hard_links_follow_their_file() {
        let mut tree = FileTree::new();
        tree.add_file("m", bytes(b"x"), Meta::data(false).owned_by(1, 2)).unwrap();
        tree.add_hard_link("n", "m").unwrap();
        assert_eq!(tree.get("n").unwrap().meta.gid, 2);
        for (name, target) in [("a", "m"), ("o", "missing"), ("o", "n")] {
            assert!(tree.add_hard_link(name, target).is_err(), "{name} -> {target}");
        }
    }
}
