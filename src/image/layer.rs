//! One layer: tree → tar → diff_id → compression → digest → out, in one pass and bounded memory.

use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Serialize};

use super::compress::Encoder;
use super::{Compression, FileTree, Opener, tar};
use crate::error::{Error, Kind, Result};
use crate::oci::{Descriptor, Digest, Hasher, MediaType};

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    from(|plain| tar::write(tree, open, plain), compression, threads, out)
}

/// Writes the tar that `source` writes as a layer to `out`: of an image that came without compression.
///
/// # Errors
/// Those of `source`, and as [`write()`].
pub fn from(
    source: impl FnOnce(&mut dyn Write) -> Result<()>,
    compression: Compression,
    threads: usize,
    out: impl Write,
) -> Result<Written> {
    let failed = |e: io::Error| Error::new(Kind::LocalIo, "write a layer", e);
    let compressed = Hashing { hasher: Hasher::new(), out: BufWriter::with_capacity(64 * 1024, out) };
    let encoder = Encoder::new(compressed, compression, threads)?;
    let mut plain = Hashing { hasher: Hasher::new(), out: encoder };
    source(&mut plain)?;
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::path::Path;

    use bytes::Bytes;

    use super::*;
    use crate::image::{Data, Meta};

    fn endless_a(_: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(io::repeat(b'a').take(1_000_000)))
    }

    fn tree() -> FileTree {
        let mut tree = FileTree::new();
        tree.add_dir("ko-app", Meta::dir()).unwrap();
        let data = Data::File { path: "/on/disk".into(), size: 1_000_000 };
        tree.add_file("ko-app/a", data, Meta::binary()).unwrap();
        tree.add_file("ko-app/b", Data::Bytes(Bytes::from_static(b"b")), Meta::data(false)).unwrap();
        tree
    }

    #[test]
    fn digests_and_sizes_are_those_of_the_bytes() {
        let mut plain = Vec::new();
        let written = write(&tree(), Compression::None, 1, &endless_a, &mut plain).unwrap();
        assert_eq!((written.diff_id, written.size), (Digest::of(&plain), plain.len() as u64));
        assert_eq!(written.digest, written.diff_id);
        for compression in [Compression::default(), Compression::Zstd(3)] {
            for threads in [1, 2] {
                let mut out = Vec::new();
                let packed = write(&tree(), compression, threads, &endless_a, &mut out).unwrap();
                assert_eq!((packed.digest, packed.size), (Digest::of(&out), out.len() as u64));
                assert_eq!(packed.diff_id, written.diff_id);
                assert_eq!(packed.uncompressed_size, plain.len() as u64);
                assert_eq!(packed.descriptor().media_type, compression.media_type());
            }
        }
    }

    #[test]
    fn an_empty_tree_is_two_zero_blocks() {
        let mut out = Vec::new();
        write(&FileTree::new(), Compression::None, 1, &endless_a, &mut out).unwrap();
        assert_eq!(out, [0; 1024]);
    }

    #[test]
    fn errors_of_output_and_input_differ() {
        let full = write(&tree(), Compression::None, 1, &endless_a, &mut [0; 100][..]).unwrap_err();
        assert_eq!(full.kind(), Kind::LocalIo);
        assert!(full.to_string().starts_with("write a layer: "), "{full}");
        let gone = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
        let gone = write(&tree(), Compression::None, 1, &gone, io::sink()).unwrap_err();
        assert!(gone.to_string().contains("[/on/disk]"), "{gone}");
    }
}
