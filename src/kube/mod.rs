//! Kubernetes YAML: text in, text out. References are found by their bytes and replaced in place; every other
//! byte stays as it is. Nothing is ever encoded anew, and aliases are never followed, so no document can blow up.

mod select;
mod selector;
mod yaml;

#[cfg(test)]
mod tests;

pub use selector::Selector;
pub use yaml::{Found, Remark, Scan, scan};

/// What a reference begins with, as in ko.
pub const SCHEME: &str = "ko://";
