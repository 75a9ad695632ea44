//! Kubernetes YAML: text in, text out. References are found by their bytes and replaced in place; every other
//! byte stays as it is. Nothing is ever encoded anew, and aliases are never followed, so no document can blow up.

mod draft;
mod edit;
mod kustomize;
mod place;
mod select;
mod selector;
mod stream;
mod yaml;

#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod tests;

pub use draft::{Draft, Image, Site, Wanted};
pub use place::Place;
pub use selector::Selector;
pub use yaml::{Found, Remark, Scan, scan};

/// What a reference begins with, as in ko.
pub const SCHEME: &str = "ko://";
