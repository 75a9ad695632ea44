//! Edge: destinations other than registries (layouts, archives, container engines), and opening blobs for whoever
//! stores them.

pub mod archive;
pub mod engine;
pub mod layout;
pub mod nowhere;
mod open;
mod pack;

pub use open::{open, save};
