//! Objects: outputs of Go's compiler, compressed as they are kept on servers.

use std::io::{self, Read, Write};

use crate::oci::{Digest, Hasher};

/// The level of compression: what a machine saves in sending is more than what it takes to compress.
const LEVEL: i32 = 3;

/// Compresses all that `reader` gives, which are `size` bytes.
///
/// # Errors
/// Whatever reading says.
pub(super) fn compress(reader: impl Read, size: u64) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
    encoder.set_pledged_src_size(Some(size))?;
    io::copy(&mut reader.take(size), &mut encoder)?;
    encoder.finish()
}

/// Writes to `out` what `compressed` holds, if that is exactly `output` and `size` bytes.
///
/// # Errors
/// Anything else; what was written then is worth nothing. No more than `size` bytes and a piece are ever written.
pub(super) fn expand(compressed: &[u8], output: &Digest, size: u64, out: &mut dyn Write) -> io::Result<()> {
    let wrong = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
    let (mut hasher, mut length) = (Hasher::new(), 0);
    let mut piece = vec![0; 128 * 1024];
    loop {
        let read = decoder.read(&mut piece)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        if length > size {
            return wrong("it is longer than it should be");
        }
        hasher.update(&piece[..read]);
        out.write_all(&piece[..read])?;
    }
    match hasher.finish() {
        (digest, _) if digest == *output && length == size => Ok(()),
        _ => wrong("it is not what it should be"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_back_or_is_refused() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        for bytes in [&b""[..], b"small", &text] {
            let (output, size) = (Digest::of(bytes), bytes.len() as u64);
            let compressed = compress(bytes, size).unwrap();
            let mut back = Vec::new();
            expand(&compressed, &output, size, &mut back).unwrap();
            assert_eq!(back, bytes);
            let expand = |compressed: &[u8], output, size| expand(compressed, &output, size, &mut io::sink());
            assert!(expand(&compressed, Digest::of(b"other"), size).is_err());
            assert!(expand(&compressed, output, size + 1).is_err());
            assert!(size == 0 || expand(&compressed, output, size - 1).is_err());
            assert!(expand(&compressed[..compressed.len() - 1], output, size).is_err());
            assert!(expand(b"no zstd", output, size).is_err());
        }
    }

    #[test]
    fn what_grows_beyond_its_size_is_stopped_at_once() {
        let bomb = compress(io::repeat(0), 1 << 30).unwrap();
        assert!(bomb.len() < 1 << 20);
        let mut written = Vec::new();
        assert!(expand(&bomb, &Digest::of(b""), 1000, &mut written).is_err());
        assert!(written.len() < 1 << 20);
    }
}
