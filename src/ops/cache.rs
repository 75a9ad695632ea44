//! `gimg cache`: what is in the cache, whether it is right, and less of it.

use crate::error::{Error, Kind, Result};
use crate::report::{CacheAmount, CacheInfo, CachePruned, CacheVerified, CacheWrong};
use crate::store::{Amount, Store};

/// Where it is, how much is in it, and how large it may become.
///
/// # Errors
/// A cache that can't be read, or that others may write to (kind `LocalIo`).
pub fn info(store: &Store) -> Result<CacheInfo> {
    let dir = store.dir()?.map(|dir| dir.display().to_string());
    Ok(CacheInfo { dir, amount: amount(store.amount()?), max_bytes: store.max() })
}

/// Reads all of it and removes what is wrong.
///
/// # Errors
/// A cache that can't be read or written, or that others may write to (kind `LocalIo`).
pub fn verify(store: &Store) -> Result<CacheVerified> {
    let verified = store.verify()?;
    let wrong = verified.wrong.into_iter().map(|(name, why)| CacheWrong { name, why }).collect();
    Ok(CacheVerified { right: amount(verified.right), removed: wrong })
}

/// Whether all was right.
///
/// # Errors
/// Something that wasn't (kind `Integrity`).
pub fn right(verified: &CacheVerified) -> Result<()> {
    let wrong = verified.removed.len() as u64;
    if wrong == 0 {
        return Ok(());
    }
    let all = wrong + verified.right.files;
    let why = format!("{wrong} of {all} files were wrong; they are removed and will be fetched again");
    let output: String = verified.removed.iter().map(|w| format!("{} {}\n", w.name, w.why)).collect();
    Err(Error::new(Kind::Integrity, "verify the cache", why).output(output))
}

/// Removes what was not used for the longest time until at most `max` bytes are left, or what the cache may have.
///
/// # Errors
/// A cache that can't be read or written, or that others may write to (kind `LocalIo`).
pub fn prune(store: &Store, max: Option<u64>) -> Result<CachePruned> {
    let pruned = store.prune(max.unwrap_or(store.max()))?;
    Ok(CachePruned { removed: amount(pruned.removed), kept: amount(pruned.kept) })
}

fn amount(amount: Amount) -> CacheAmount {
    CacheAmount { files: amount.files, bytes: amount.bytes }
}
