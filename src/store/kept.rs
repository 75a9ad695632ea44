//! Layers that this machine made: taken over from a run's private directory, and lent to later runs.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, Kind, Result};
use crate::oci::{Descriptor, Digest};
use crate::store::blobs::{Writer, temporary_name};
use crate::store::dir::{of_file, seal, touch};
use crate::store::{Shared, Store};

/// What files are read by at a time.
const PIECE: usize = 256 * 1024;

impl Store {
    /// Keeps the bytes of `descriptor`, which are in a file of the run's private directory that nobody changes any more.
    /// Blocks.
    pub fn keep_file(&self, file: &Path, descriptor: &Descriptor) {
        if let Err(error) = self.0.keep_file(file, descriptor) {
            self.0.unwritable(&error);
        }
    }

    /// Puts the bytes of `descriptor` into the new file `to`; whether they were here. They are checked if `check`, else
    /// only their number is where that is quicker, and whoever reads them must check them. Blocks.
    ///
    /// # Errors
    /// No room in the run's private directory (kind `LocalIo`).
    pub fn lend(&self, descriptor: &Descriptor, to: &Path, check: bool) -> Result<bool> {
        self.0.lend(descriptor, to, check)
    }

    /// Whether the file has the bytes of `descriptor`, which it was lent with; if not, they are removed here too. Blocks.
    #[must_use]
    pub fn is_right(&self, file: &Path, descriptor: &Descriptor) -> bool {
        self.0.is_right(file, descriptor)
    }
}

impl Shared {
    fn keep_file(self: &Arc<Self>, file: &Path, descriptor: &Descriptor) -> Result<()> {
        if !self.wants(descriptor.size) {
            return Ok(());
        }
        if let Some(blobs) = self.blobs(false)?
            && blobs
                .look(&OsString::from(descriptor.digest.hex()))
                .is_ok_and(|e| e.is_file && e.size == descriptor.size)
        {
            // It is checked when it is used, as all here.
            return Ok(());
        }
        if self.linked(file, descriptor)? {
            return Ok(());
        }
        let Some(mut writer) = Writer::begin(self)? else { return Ok(()) };
        let io = |e: io::Error| Error::io("read", file, &e);
        let mut from = File::open(file).map_err(io)?;
        let mut piece = vec![0; PIECE];
        loop {
            match from.read(&mut piece).map_err(io)? {
                0 => break,
                n => writer.write(&piece[..n])?,
            }
        }
        writer.commit(&descriptor.digest).map(drop)
    }

    /// Gives the file a name here as well, if it is on the same file system. It isn't synced: what a crash leaves of it is
    /// found wrong, and made again.
    fn linked(&self, file: &Path, descriptor: &Descriptor) -> Result<bool> {
        let (Some(blobs), Some(tmp)) = (self.blobs(true)?, self.tmp()?) else { return Ok(false) };
        let name = temporary_name();
        if std::fs::hard_link(file, tmp.path().join(&name)).is_err() {
            return Ok(false);
        }
        let named = tmp.open(&name).and_then(|file| seal(&file));
        let hex = OsString::from(descriptor.digest.hex());
        if named.and_then(|()| tmp.rename(&name, blobs, &hex)).is_err() {
            // What can't be removed now is swept later.
            let _ = tmp.remove(&name);
            return Ok(false);
        }
        self.wrote.store(true, Ordering::Relaxed);
        Ok(true)
    }

    fn lend(&self, descriptor: &Descriptor, to: &Path, check: bool) -> Result<bool> {
        let blobs = match self.blobs(false) {
            Ok(Some(blobs)) => blobs,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.warn(&error);
                return Ok(false);
            }
        };
        let name = OsString::from(descriptor.digest.hex());
        let Ok(mut from) = blobs.open(&name) else { return Ok(false) };
        let Ok((entry, _)) = of_file(&from) else { return Ok(false) };
        if !entry.is_file || entry.size != descriptor.size {
            self.forget(descriptor);
            return Ok(false);
        }
        let failed = |e: io::Error| Error::new(Kind::LocalIo, format!("write {}", to.display()), e);
        // The same file under a second name needs no room; what is pruned meanwhile stays.
        let is_linked = std::fs::hard_link(blobs.path().join(&name), to).is_ok();
        if !is_linked {
            io::copy(&mut from, &mut File::create_new(to).map_err(failed)?).map_err(failed)?;
        }
        touch(&from);
        if (check || !is_linked) && !self.is_right(to, descriptor) {
            std::fs::remove_file(to).map_err(failed)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether a file has the bytes of `descriptor`; if not, they are forgotten.
    fn is_right(&self, file: &Path, descriptor: &Descriptor) -> bool {
        let found = File::open(file).and_then(Digest::of_reader);
        let right = found.is_ok_and(|found| found == (descriptor.digest, descriptor.size));
        if !right {
            self.forget(descriptor);
        }
        right
    }

    /// Removes a layer that is wrong: it will be made again.
    fn forget(&self, descriptor: &Descriptor) {
        if !self.unwritable.load(Ordering::Relaxed)
            && let Ok(Some(blobs)) = self.blobs(false)
        {
            // One that stays is found wrong again.
            let _ = self.discard(blobs, &OsString::from(descriptor.digest.hex()), None);
        }
    }
}
