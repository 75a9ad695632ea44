//! Layers read back: whatever compression they have, and no more of them than a layer can honestly hold.

use std::io::{self, BufRead, Read};

/// The most that a layer is read: 16 GiB.
const MAX_PLAIN: u64 = 16 << 30;
/// How many times larger than its compressed bytes a layer may be: deflate itself reaches 1032.
const MAX_RATIO: u64 = 1_000;
/// Small layers may be this large whatever their ratio: a tar of zeros is.
const MIN_LIMIT: u64 = 16 << 20;

/// The tar of a layer of `size` bytes: gzip (RFC 1952), zstd (RFC 8878) or a plain tar, by its first bytes. Reading
/// ends in an error where the tar is larger than 16 GiB or a thousand times its compressed size.
///
/// # Errors
/// Whatever the layer's reader says; no memory for the decoder.
pub fn plain<'a>(mut layer: impl BufRead + 'a, size: u64) -> io::Result<Box<dyn Read + 'a>> {
    let limit = size.saturating_mul(MAX_RATIO).clamp(MIN_LIMIT, MAX_PLAIN);
    let start = layer.fill_buf()?;
    Ok(if start.starts_with(&[0x1f, 0x8b]) {
        Box::new(Bounded { inner: flate2::bufread::MultiGzDecoder::new(layer), left: limit })
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(Bounded { inner: zstd::stream::read::Decoder::with_buffer(layer)?, left: limit })
    } else {
        Box::new(Bounded { inner: layer, left: MAX_PLAIN })
    })
}

/// A reader that fails where it would give more than it may.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        let count = u64::try_from(n).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(count).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "it expands to more than a layer may hold")
        })?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn read(layer: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        plain(layer, layer.len() as u64)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn compression_is_told_by_the_first_bytes() {
        assert_eq!(read(b"plain").unwrap(), b"plain");
        assert_eq!(read(b"").unwrap(), b"");
        assert_eq!(read(&[gzip(b"one"), gzip(b"two")].concat()).unwrap(), b"onetwo");
        assert_eq!(read(&zstd::encode_all(&b"three"[..], 3).unwrap()).unwrap(), b"three");
    }

    #[test]
    fn what_expands_without_measure_is_cut_off() {
        let zeros = vec![0; 20 << 20];
        // zstd packs zeros far better than any honest layer.
        let error = read(&zstd::encode_all(&zeros[..], 19).unwrap()).unwrap_err();
        assert!(error.to_string().contains("more than a layer may hold"), "{error}");
        // A small tar of zeros is no bomb.
        let small = &zeros[..1 << 20];
        assert_eq!(read(&zstd::encode_all(small, 19).unwrap()).unwrap(), small);
        assert!(read(&gzip(b"cut")[..12]).is_err());
    }
}
