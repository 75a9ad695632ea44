//! What `gimg resolve --in-place` changed in files: data for people and machines.

use serde::Serialize;

use crate::report::Published;

/// The files that were looked at, and the images that they name now. The JSON form is documented in docs/json.md.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edited {
    /// The files that name programs, in their order.
    pub files: Vec<EditedFile>,
    /// Whether those that changed were written: not with `--push=false`.
    pub written: bool,
    /// The images, in the order in which the files name them first.
    pub images: Vec<Published>,
}

/// One file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EditedFile {
    /// As the user named it, or the directory that it is in.
    pub file: String,
    /// Whether a byte of it changes.
    pub changed: bool,
    /// Its images, in their order.
    pub images: Vec<EditedImage>,
    /// Its text before.
    #[serde(skip)]
    pub before: String,
    /// Its text now.
    #[serde(skip)]
    pub after: String,
}

/// One image that a file names.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EditedImage {
    /// The line, from 1, before the edit.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The program, as the file or the command line names it.
    pub package: String,
    /// What was there.
    pub was: String,
    /// The image, by digest.
    pub reference: String,
}
