//! Why two images or programs have different digests: two values in, causes out. Pure.
//!
//! | compares | module |
//! |---|---|
//! | what Go recorded in two programs, or else their code | [`program`] |
//! | manifests and configs, what they stand on, which layers are to be compared | [`documents`] |
//! | the files of two layers | [`files`] |
//! | what provenance says that they were made from | [`recipe`] |

mod cause;
pub mod documents;
pub mod files;
pub mod program;
pub mod recipe;

use serde::Serialize;

pub use cause::{Cause, Change, Sort, in_order, merged};

use crate::oci::Digest;

/// One of the two things that are compared.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// What the user calls it.
    pub name: String,
    /// The digest of its manifest or index; of a program's file that of its content.
    pub digest: Digest,
}

/// Why two things differ. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The first and the second.
    #[serde(rename = "of")]
    pub subjects: [Subject; 2],
    /// Whether they have the same digest.
    pub same: bool,
    /// Why not, the most fundamental first.
    pub causes: Vec<Cause>,
}
