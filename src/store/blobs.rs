//! Blobs of the cache: read only after a check of all their bytes, written so that only what is right gets a name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::oci::json::MAX_DOCUMENT;
use crate::oci::{Digest, Hasher};
use crate::store::Shared;
use crate::store::dir::{Dir, Entry, Identity, discard_tree, is_wrong_entry, of_file, seal, touch};

/// What a blob is read by at a time.
const PIECE: usize = 256 * 1024;

/// A blob whose bytes were checked.
pub(super) enum Kept {
    /// A small one.
    Bytes(Bytes),
    /// A large one, open at its start. Whoever reads it checks it again: it is read a second time.
    File(File),
}

/// What is wrong with an entry.
pub(super) struct Wrong {
    pub(super) why: String,
    /// Which file it is; none if even that is unknown.
    pub(super) identity: Option<Identity>,
}

impl Wrong {
    fn new(why: impl Into<String>, identity: Option<Identity>) -> Self {
        Wrong { why: why.into(), identity }
    }
}

impl Shared {
    /// The blob of this digest, and of this size if one is given, if it is there and right. One that is wrong is
    /// removed. Blocks.
    pub(super) fn find(&self, digest: &Digest, size: Option<u64>) -> Option<Kept> {
        self.found(digest, size).unwrap_or_else(|error| {
            self.warn(&error);
            None
        })
    }

    fn found(&self, digest: &Digest, size: Option<u64>) -> Result<Option<Kept>> {
        let Some(blobs) = self.blobs(false)? else { return Ok(None) };
        let name = OsString::from(digest.hex());
        let io = |e: io::Error| Error::io("read the cache", &blobs.path().join(&name), &e);
        if size.is_none() && blobs.look(&name).is_ok_and(|e| e.is_file && e.size > MAX_DOCUMENT) {
            return Ok(None);
        }
        let is_wanted = |entry: &Entry| size.is_none_or(|size| size == entry.size);
        let checked = check(blobs, &name, digest, is_wanted);
        match checked.map_err(io)? {
            Checked::Absent => Ok(None),
            // One that is right but of another size than asked for isn't kept: the descriptor is wrong, which is for the
            // registry to say.
            Checked::Right { kept, .. } => Ok(kept),
            Checked::Wrong(_) if self.unwritable.load(Ordering::Relaxed) => Ok(None),
            Checked::Wrong(wrong) => {
                if self.discard(blobs, &name, wrong.identity)? {
                    let what =
                        format!("cache heal: {digest} {}; it is removed and will be fetched", wrong.why);
                    self.observer.on(Event::Detail(what));
                }
                Ok(None)
            }
        }
    }

    /// Removes the entry `name` if it still is the one of `identity`; whether it was. It first gets a name in `tmp`:
    /// what another process put in its place meanwhile is seen there, and put back.
    pub(super) fn discard(&self, blobs: &Dir, name: &OsStr, identity: Option<Identity>) -> Result<bool> {
        let Some(tmp) = self.tmp()? else { return Ok(false) };
        let io = |e: io::Error| Error::io("remove a wrong entry of the cache", &blobs.path().join(name), &e);
        let aside = temporary_name();
        match blobs.rename(name, tmp, &aside) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(io(e)),
        }
        let Ok(found) = tmp.look(&aside) else { return Ok(true) };
        if identity.is_some_and(|identity| identity != found.identity) {
            // If this fails the good one is lost, and will be fetched.
            let _ = tmp.rename(&aside, blobs, name);
            return Ok(false);
        }
        // What can't be removed now is swept later.
        let _ = discard_tree(tmp, &aside);
        Ok(true)
    }

    /// Stores a document whose digest was checked, if it isn't there. Blocks.
    pub(super) fn keep(self: &Arc<Self>, digest: Digest, bytes: &[u8]) {
        let size = bytes.len() as u64;
        if !self.wants(size) || self.find(&digest, Some(size)).is_some() {
            return;
        }
        let written = Writer::begin(self).and_then(|writer| {
            let Some(mut writer) = writer else { return Ok(()) };
            writer.write(bytes)?;
            writer.commit(&digest).map(drop)
        });
        if let Err(error) = written {
            self.unwritable(&error);
        }
    }

    /// Whether a blob of this size may be stored.
    pub(super) fn wants(&self, size: u64) -> bool {
        size <= self.max && !self.unwritable.load(Ordering::Relaxed)
    }
}

/// What a look at all bytes of an entry found.
pub(super) enum Checked {
    Absent,
    /// It is what its name says. `kept` only if it was wanted.
    Right {
        entry: Entry,
        kept: Option<Kept>,
    },
    Wrong(Wrong),
}

/// Reads the entry `name`, which should hold the bytes of `digest`; it is kept if `wanted`, which also is what counts as
/// using it.
///
/// # Errors
/// A failure that says nothing about the entry.
pub(super) fn check(
    blobs: &Dir,
    name: &OsStr,
    digest: &Digest,
    wanted: impl Fn(&Entry) -> bool,
) -> io::Result<Checked> {
    let mut file = match blobs.open(name) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Checked::Absent),
        Err(e) if is_wrong_entry(&e) => {
            let identity = blobs.look(name).ok().map(|entry| entry.identity);
            return Ok(Checked::Wrong(Wrong::new("is no file that can be read", identity)));
        }
        Err(e) => return Err(e),
    };
    let (entry, _) = of_file(&file)?;
    let wrong = |why: String| Ok(Checked::Wrong(Wrong::new(why, Some(entry.identity))));
    if !entry.is_file {
        return wrong("is not a file".to_owned());
    }
    let is_wanted = wanted(&entry);
    let is_small = entry.size <= MAX_DOCUMENT;
    let mut small = Vec::new();
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE.min(usize::try_from(entry.size).unwrap_or(PIECE) + 1)];
    let mut seen = 0;
    loop {
        let read = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        hasher.update(&piece[..read]);
        seen += read as u64;
        if seen > entry.size {
            return wrong("grew while it was read".to_owned());
        }
        if is_small && is_wanted {
            small.extend_from_slice(&piece[..read]);
        }
    }
    let (found, size) = hasher.finish();
    if found != *digest {
        return wrong(format!("has {size} bytes of {found}"));
    }
    if !is_wanted {
        return Ok(Checked::Right { entry, kept: None });
    }
    touch(&file);
    let kept = if is_small {
        Kept::Bytes(Bytes::from(small))
    } else {
        file.rewind()?;
        Kept::File(file)
    };
    Ok(Checked::Right { entry, kept: Some(kept) })
}

/// A name that no other process has, for a file in `tmp`.
pub(super) fn temporary_name() -> OsString {
    // The standard library's only source of chance; process ids repeat in containers that share a cache.
    let chance = RandomState::new().build_hasher().finish();
    OsString::from(format!("{}-{chance:016x}", std::process::id()))
}

/// A blob being written. Dropped without [`Writer::commit`] it leaves nothing.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// Locked, so that nobody takes it for the rest of a process that was killed.
    file: File,
    name: OsString,
    hasher: Hasher,
    is_done: bool,
}

impl Writer {
    /// Starts one; none if there is no cache.
    ///
    /// # Errors
    /// A cache that can't be written.
    pub(super) fn begin(shared: &Arc<Shared>) -> Result<Option<Self>> {
        let Some(tmp) = shared.tmp()? else { return Ok(None) };
        loop {
            let name = temporary_name();
            let file = tmp.create(&name).map_err(|e| Error::io("write", &tmp.path().join(&name), &e))?;
            // Where files can't be locked, nobody sweeps.
            let is_locked = file.try_lock().is_ok();
            shared.writers.fetch_add(1, Ordering::Relaxed);
            let hasher = Hasher::new();
            let mut writer = Writer { shared: Arc::clone(shared), file, name, hasher, is_done: false };
            // Swept before it was locked: once more.
            if is_locked && of_file(&writer.file).is_ok_and(|(_, names)| names == 0) {
                writer.is_done = true;
                continue;
            }
            return Ok(Some(writer));
        }
    }

    fn io(&self, error: &io::Error) -> Error {
        let dir = self.shared.tmp.get().map(Dir::path).unwrap_or("".as_ref());
        Error::io("write", &dir.join(&self.name), error)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// A disk that is full, and whatever else the system says.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|e| self.io(&e))
    }

    /// Gives it the name of `digest`, if that is what was written; whether it was.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn commit(mut self, digest: &Digest) -> Result<bool> {
        if std::mem::take(&mut self.hasher).finish().0 != *digest {
            return Ok(false);
        }
        let shared = Arc::clone(&self.shared);
        let blobs = shared.blobs(true)?.ok_or_else(gone)?;
        self.place(blobs, &OsString::from(digest.hex()), true)?;
        Ok(true)
    }

    /// Gives it a name in `dir`, in place of what has it; `synced`, so that a crash of the machine leaves all or nothing.
    ///
    /// # Errors
    /// Whatever the system says.
    pub(super) fn place(mut self, dir: &Dir, name: &OsStr, synced: bool) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let tmp = shared.tmp()?.ok_or_else(gone)?;
        if synced {
            self.file.sync_all().map_err(|e| self.io(&e))?;
        }
        seal(&self.file).map_err(|e| self.io(&e))?;
        let named = tmp.rename(&self.name, dir, name);
        if let Err(e) = &named
            && matches!(e.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty)
        {
            // Something stands where only files belong.
            shared.discard(dir, name, None)?;
            tmp.rename(&self.name, dir, name).map_err(|e| self.io(&e))?;
        } else {
            named.map_err(|e| self.io(&e))?;
        }
        self.is_done = true;
        if synced {
            dir.sync().map_err(|e| Error::io("write", dir.path(), &e))?;
        }
        shared.wrote.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The cache was taken away while it was used.
pub(super) fn gone() -> Error {
    Error::new(Kind::LocalIo, "write the cache", "its directories are gone")
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let (false, Some(tmp)) = (self.is_done, self.shared.tmp.get()) {
            // What can't be removed now is swept later.
            let _ = tmp.remove(&self.name);
        }
        self.shared.writers.fetch_sub(1, Ordering::Relaxed);
    }
}
