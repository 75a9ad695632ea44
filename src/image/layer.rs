//! One layer: tree → tar → diff_id → compression → digest → out, in one pass and bounded memory.

use std::io::{self, BufWriter, Write};

use super::compress::Encoder;
use super::{Compression, FileTree, Opener, tar};
use crate::error::{Error, Kind, Result};
use crate::oci::{Descriptor, Digest, Hasher, MediaType};

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The digest of the bytes written.
    pub digest: Digest,
    /// How many bytes were written.
    pub size: u64,
    /// The size of the uncompressed tar in bytes.
    pub uncompressed_size: u64,
    /// The layer's media type.
    pub media_type: MediaType,
}

impl Written {
    /// The layer's descriptor.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.size)
    }
}

/// Writes `tree` as a layer to `out`. The bytes depend on `tree` and `compression` only, never on `threads`.
///
/// # Errors
/// As [`tar::write`] and [`Encoder::new`]; `out` failing is of kind `LocalIo`.
pub fn write(
    tree: &FileTree,
    compression: Compression,
    threads: usize,
    open: Opener<'_>,
    out: impl Write,
) -> Result<Written> {
    let failed = |e: io::Error| Error::new(Kind::LocalIo, "write a layer", e);
    let compressed = Hashing { hasher: Hasher::new(), out: BufWriter::with_capacity(64 * 1024, out) };
    let encoder = Encoder::new(compressed, compression, threads)?;
    let mut plain = Hashing { hasher: Hasher::new(), out: encoder };
    tar::write(tree, open, &mut plain)?;
    let Hashing { hasher, out: encoder } = plain;
    let (diff_id, uncompressed_size) = hasher.finish();
    let Hashing { hasher, mut out } = encoder.finish().map_err(failed)?;
    out.flush().map_err(failed)?;
    let (digest, size) = hasher.finish();
    Ok(Written { diff_id, digest, size, uncompressed_size, media_type: compression.media_type() })
}

/// Hashes what passes through.
struct Hashing<W> {
    hasher: Hasher,
    out: W,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
