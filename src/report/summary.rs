//! What a summary says of the images of a run: data for people.

use serde::Serialize;

use crate::oci::Digest;
use crate::report::{Growth, Inspected, Published};

/// What the tags of an image stood for before they moved. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Before {
    /// Nobody asked.
    #[default]
    NotAsked,
    /// The registry didn't say.
    Unknown,
    /// Nothing.
    Nothing,
    /// An image.
    Image {
        /// The first of the tags that stood for one.
        tag: String,
        /// Its digest.
        digest: Digest,
    },
}

impl Before {
    /// Whether there is an image.
    #[must_use]
    pub fn is_image(&self) -> bool {
        matches!(self, Before::Image { .. })
    }
}

/// The images of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// In the order of the arguments.
    pub images: Vec<Summarized>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Summarized {
    /// What was published.
    pub published: Published,
    /// What differs.
    pub compared: Comparison,
}

/// What differs from an image that was there before.
#[derive(Clone, Debug)]
pub enum Comparison {
    /// It isn't in a registry: there is nothing to compare with.
    Elsewhere,
    /// Its tags stood for nothing.
    First,
    /// It can't be said.
    Unknown,
    /// It is that image.
    Same {
        /// What it was compared with, as `REPOSITORY@DIGEST`.
        with: String,
        /// The tag that stood for it, if one did.
        tag: Option<String>,
    },
    /// It is another one.
    Other {
        /// What it was compared with, as `REPOSITORY@DIGEST`.
        with: String,
        /// The tag that stood for it, if one did.
        tag: Option<String>,
        /// What that one is.
        was: Box<Inspected>,
        /// Why they differ, a line for each reason, and below it what differs because of that.
        why: crate::explain::Explanation,
        /// How much larger or smaller programs are.
        growth: Vec<Growth>,
    },
}
