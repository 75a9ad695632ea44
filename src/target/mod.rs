//! Edge: destinations other than registries (layouts, archives, container engines), and opening blobs for whoever
//! stores them.

pub mod archive;
pub mod engine;
pub mod layout;
pub mod nowhere;
pub mod oci_archive;
mod open;
mod pack;
pub mod reader;
mod tarball;

pub use open::{open, save};
