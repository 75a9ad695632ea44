//! `gimg man DIR`: manual pages as files.

use std::path::Path;

use crate::error::Result;
use crate::fs::write_atomically;

/// Writes each page, a name and its text, into `dir`, which is made if it isn't there.
///
/// # Errors
/// Whatever the system says.
pub fn write(dir: &Path, pages: &[(String, Vec<u8>)]) -> Result<()> {
    pages.iter().try_for_each(|(name, text)| write_atomically(&dir.join(name), text))
}
