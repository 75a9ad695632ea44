//! Making layers: a tree of files, its tar, its compression. Pure: disk is reached through a given [`Opener`].

pub mod assemble;
pub mod caps;
pub mod certificates;
pub mod compress;
pub mod contents;
pub mod decompress;
pub mod diff;
pub mod filesystem;
pub mod layer;
pub mod tar;
pub mod tree;
pub mod view;
mod walk;

use std::io::{self, Read};
use std::path::Path;

pub use compress::Compression;
pub use filesystem::Filesystem;
pub use layer::Written;
pub use tree::{Data, Entry, FileTree, Meta, Node};

/// The layout level: the rules by which every byte of an image follows from its inputs (docs/level.md). Whoever changes one
/// byte of what is made raises it, and keeps this level buildable; `testdata/golden/level-1.txt` pins it.
pub const LEVEL: u32 = 1;

/// Opens a file of a tree for reading; the caller decides how (and whether links are followed).
pub type Opener<'a> = &'a dyn Fn(&Path) -> io::Result<Box<dyn Read>>;
