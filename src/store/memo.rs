//! Memos: small documents under the digest of a question. A memo begins with the digest of its rest, so that one which
//! was cut or damaged is no memo.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::oci::Digest;
use crate::store::blobs::{Writer, gone};
use crate::store::dir::{Dir, Entry, Identity, is_wrong_entry, of_file, touch};
use crate::store::{Shared, Store};

/// No memo is larger, in bytes.
const MAX: u64 = 64 * 1024 * 1024;
/// The digits of the digest at its beginning, and a line's end.
const HEAD: usize = 65;

impl Store {
    /// The memo of this key, if there is one and it is whole. Blocks.
    #[must_use]
    pub fn recall(&self, key: &Digest) -> Option<Vec<u8>> {
        self.0.recall(key).unwrap_or_else(|error| {
            self.0.warn(&error);
            None
        })
    }

    /// Keeps a memo, in place of what has its key. Blocks.
    pub fn remember(&self, key: &Digest, memo: &[u8]) {
        if let Err(error) = self.0.remember(key, memo) {
            self.0.unwritable(&error);
        }
    }
}

impl Shared {
    fn recall(&self, key: &Digest) -> Result<Option<Vec<u8>>> {
        let Some(memos) = self.memo(false)? else { return Ok(None) };
        let name = OsString::from(key.hex());
        match read(memos, &name).map_err(|e| Error::io("read the cache", &memos.path().join(&name), &e))? {
            Found::Absent => Ok(None),
            Found::Whole { memo, file, .. } => {
                touch(&file);
                Ok(Some(memo))
            }
            Found::Wrong(identity) => {
                if !self.unwritable.load(Ordering::Relaxed) {
                    self.discard(memos, &name, identity)?;
                }
                Ok(None)
            }
        }
    }

    fn remember(self: &Arc<Self>, key: &Digest, memo: &[u8]) -> Result<()> {
        if !self.wants(memo.len() as u64) || memo.len() as u64 > MAX - HEAD as u64 {
            return Ok(());
        }
        let Some(mut writer) = Writer::begin(self)? else { return Ok(()) };
        writer.write(Digest::of(memo).hex().as_bytes())?;
        writer.write(b"\n")?;
        writer.write(memo)?;
        let memos = self.memo(true)?.ok_or_else(gone)?;
        // What a crash leaves of it is found wrong, and made again.
        writer.place(memos, &OsString::from(key.hex()), false)
    }
}

/// What a look at a memo found.
pub(super) enum Found {
    Absent,
    Whole {
        entry: Entry,
        memo: Vec<u8>,
        file: File,
    },
    /// Which file it is, if even that is known.
    Wrong(Option<Identity>),
}

/// Reads the memo `name`.
///
/// # Errors
/// A failure that says nothing about the memo.
pub(super) fn read(memos: &Dir, name: &OsStr) -> io::Result<Found> {
    let mut file = match memos.open(name) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
        Err(e) if is_wrong_entry(&e) => {
            return Ok(Found::Wrong(memos.look(name).ok().map(|entry| entry.identity)));
        }
        Err(e) => return Err(e),
    };
    let (entry, _) = of_file(&file)?;
    if !entry.is_file || entry.size > MAX {
        return Ok(Found::Wrong(Some(entry.identity)));
    }
    let mut memo = Vec::with_capacity(usize::try_from(entry.size).unwrap_or(0));
    (&mut file).take(MAX).read_to_end(&mut memo)?;
    match whole(memo) {
        Some(memo) => Ok(Found::Whole { entry, memo, file }),
        None => Ok(Found::Wrong(Some(entry.identity))),
    }
}

/// The memo without its head, if the head is its rest's digest.
fn whole(mut memo: Vec<u8>) -> Option<Vec<u8>> {
    let (head, rest) = memo.split_at_checked(HEAD)?;
    let says = head.strip_suffix(b"\n")?;
    if Digest::of(rest).hex().as_bytes() != says {
        return None;
    }
    memo.drain(..HEAD);
    Some(memo)
}
