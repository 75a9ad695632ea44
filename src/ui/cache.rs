//! What `gimg cache` says.

use crate::error::Result;
use crate::report::{CacheAmount, CacheInfo, CachePruned, CacheVerified};
use crate::ui::table::size;
use crate::ui::{Format, Voice, json, print};

/// So many files of so many bytes, for people.
fn amount(amount: CacheAmount) -> String {
    let files = if amount.files == 1 { "file" } else { "files" };
    format!("{} {files}, {}", amount.files, size(amount.bytes))
}

impl Voice {
    /// Prints what the cache is.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn cache(&self, info: &CacheInfo) -> Result<()> {
        match (self.format, &info.dir) {
            (Format::Json, _) => json(info),
            (Format::Text, None) => print("off\n"),
            (Format::Text, Some(dir)) => {
                print(format!("{dir}\n{}, at most {}\n", amount(info.amount), size(info.max_bytes)))
            }
        }
    }

    /// Prints what is right in the cache; as JSON also what was wrong.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn cache_verified(&self, verified: &CacheVerified) -> Result<()> {
        match self.format {
            Format::Json => json(verified),
            Format::Text if verified.removed.is_empty() => {
                print(format!("{}: all right\n", amount(verified.right)))
            }
            // The failure says it.
            Format::Text => Ok(()),
        }
    }

    /// Prints what was removed from the cache, and what stays.
    ///
    /// # Errors
    /// A standard output that can't be written.
    pub fn cache_pruned(&self, pruned: &CachePruned) -> Result<()> {
        match self.format {
            Format::Json => json(pruned),
            Format::Text => {
                print(format!("removed {}\nkept {}\n", amount(pruned.removed), amount(pruned.kept)))
            }
        }
    }
}
