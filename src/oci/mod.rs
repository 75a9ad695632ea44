//! The specification's nouns: digests, descriptors, manifests, indexes, configs, platforms, references. Pure.

pub mod annotation;
mod config;
mod descriptor;
mod digest;
pub mod document;
mod index;
pub mod json;
mod manifest;
mod media_type;
mod platform;
mod reference;
mod time;

pub use config::{Execution, History, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use digest::{Digest, Hasher};
pub use index::ImageIndex;
pub use manifest::ImageManifest;
pub use media_type::MediaType;
pub use platform::Platform;
pub use reference::{Reference, Registry, Repository, Tag};
pub use time::{LATEST_TIME, epoch, rfc3339};
