//! What goes into gimg's layers: the program, and kodata. A directory has an entry only if the layer owns it:
//! an entry for another would replace the base's link, mode or owner.

use std::path::PathBuf;

use crate::error::Result;
use crate::image::{Data, FileTree, Meta, caps};

/// What `kodata` holds: directories and files by their names below it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Directories, without `kodata` itself.
    pub directories: Vec<String>,
    /// Files.
    pub files: Vec<ListedFile>,
}

/// One file of a listing.
#[derive(Clone, Debug)]
pub struct ListedFile {
    /// Its name below the listed directory, with `/` between parts.
    pub name: String,
    /// Where its bytes are; symbolic links are resolved.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Whether its owner may execute it.
    pub executable: bool,
}

/// A program to put into an image.
#[derive(Clone, Debug)]
pub struct ProgramFile {
    /// Its file's name in the image.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Its file capabilities.
    pub capabilities: Option<caps::Bytes>,
}

/// The layer of an image's programs in `dir`, an absolute path. A directory has an entry only if it is ours: another,
/// such as `/usr/bin`, is the base's.
///
/// # Errors
/// A name that can't be in a layer.
pub fn programs(dir: &str, programs: &[ProgramFile]) -> Result<FileTree> {
    let mut tree = FileTree::new();
    let dir = dir.trim_matches('/');
    if dir == "ko-app" {
        tree.add_dir(dir, Meta::dir())?;
    }
    for program in programs {
        let data = Data::File { path: program.path.clone(), size: program.size };
        let name = if dir.is_empty() { program.name.clone() } else { format!("{dir}/{}", program.name) };
        tree.add_file(&name, data, Meta::binary().with_capabilities(program.capabilities.as_ref()))?;
    }
    Ok(tree)
}

/// The layer of kodata below `var/run/ko`, all of it modified at `epoch` seconds since 1970.
///
/// # Errors
/// A name that can't be in a layer.
pub fn kodata(listing: &Listing, epoch: u64) -> Result<FileTree> {
    let mut tree = FileTree::new();
    tree.add_dir("var/run/ko", Meta::dir().modified(epoch))?;
    for name in &listing.directories {
        tree.add_dir(&format!("var/run/ko/{name}"), Meta::dir().modified(epoch))?;
    }
    for file in &listing.files {
        let data = Data::File { path: file.path.clone(), size: file.size };
        let meta = Meta::data(file.executable).modified(epoch);
        tree.add_file(&format!("var/run/ko/{}", file.name), data, meta)?;
    }
    Ok(tree)
}

/// Where a group of files goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// A file's or directory's name in the image, without the leading slash; empty for the root.
    pub to: String,
    /// The name of a file that goes into the directory `to` rather than be it.
    pub file_name: Option<String>,
    /// The mode of files, if not 0444, or 0555 for what its owner may execute.
    pub mode: Option<u32>,
    /// Their owner: uid and gid.
    pub owner: (u64, u64),
}

/// The layer of a group of files. A directory that is listed has an entry, also where it goes; the directories above
/// are the base's.
///
/// # Errors
/// A name that can't be in a layer.
pub fn files(listing: &Listing, destination: &Destination) -> Result<FileTree> {
    let mut tree = FileTree::new();
    let (uid, gid) = destination.owner;
    let to = |name: &str| match (destination.to.as_str(), name) {
        ("", name) => name.to_owned(),
        (to, "") => to.to_owned(),
        (to, name) => format!("{to}/{name}"),
    };
    let is_file = matches!(listing.files.as_slice(), [file] if file.name.is_empty());
    if !is_file && !destination.to.is_empty() {
        tree.add_dir(&destination.to, Meta::dir().owned_by(uid, gid))?;
    }
    for name in &listing.directories {
        tree.add_dir(&to(name), Meta::dir().owned_by(uid, gid))?;
    }
    for file in &listing.files {
        let name = match &destination.file_name {
            Some(own) if is_file => to(own),
            _ => to(&file.name),
        };
        let meta = destination.mode.map_or_else(|| Meta::data(file.executable), Meta::new);
        let data = Data::File { path: file.path.clone(), size: file.size };
        tree.add_file(&name, data, meta.owned_by(uid, gid))?;
    }
    Ok(tree)
}
