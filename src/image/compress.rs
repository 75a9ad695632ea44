//! Compression of layers. Its parameters are fixed, and the bytes are the same for any number of threads.

mod gzip;

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use zstd::zstd_safe::CParameter;

use crate::error::{Error, Kind, Result};
use crate::oci::MediaType;

/// The gzip level when none is given (docs/decisions/003-gzip-level.md).
pub const DEFAULT_GZIP_LEVEL: u8 = 2;
/// The zstd level when none is given: zstd's own default.
pub const DEFAULT_ZSTD_LEVEL: u8 = 3;

/// How a layer is compressed. Written `gzip[:1..9]`, `zstd[:1..19]`, `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// gzip (RFC 1952) of this level, 1 to 9.
    Gzip(u8),
    /// Zstandard (RFC 8878) of this level, 1 to 19.
    Zstd(u8),
    /// No compression.
    None,
}

impl Default for Compression {
    fn default() -> Self {
        Compression::Gzip(DEFAULT_GZIP_LEVEL)
    }
}

impl Compression {
    /// The media type of a layer compressed so.
    #[must_use]
    pub fn media_type(self) -> MediaType {
        match self {
            Compression::Gzip(_) => MediaType::LAYER_GZIP,
            Compression::Zstd(_) => MediaType::LAYER_ZSTD,
            Compression::None => MediaType::LAYER,
        }
    }

    /// Names everything that decides the bytes beside the input: method, level, parameters, and the version of the
    /// library. For keys of what was built before.
    #[must_use]
    pub fn encoder_id(self) -> String {
        match self {
            Compression::Gzip(level) => format!("gzip:{level} zlib-rs-{ZLIB_RS} blocks-256k-dict-32k-stored"),
            Compression::Zstd(level) => format!("zstd:{level} libzstd-{LIBZSTD} jobs-2m checksum"),
            Compression::None => "none".to_owned(),
        }
    }

    fn check(self) -> Result<(), String> {
        match self {
            Compression::Gzip(level) if !(1..=9).contains(&level) => {
                Err(format!("gzip has levels 1 to 9, not {level}"))
            }
            Compression::Zstd(level) if !(1..=19).contains(&level) => {
                Err(format!("zstd has levels 1 to 19, not {level}"))
            }
            _ => Ok(()),
        }
    }
}

/// The size of the pieces that libzstd's workers take.
const ZSTD_JOB: u32 = 2 * 1024 * 1024;
/// The version of zlib-rs in Cargo.lock; a test compares.
const ZLIB_RS: &str = "0.6.8";
/// The version of libzstd in Cargo.lock; a test compares.
const LIBZSTD: &str = "1.5.7";

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::Gzip(level) => write!(f, "gzip:{level}"),
            Compression::Zstd(level) => write!(f, "zstd:{level}"),
            Compression::None => f.write_str("none"),
        }
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: String| Error::new(Kind::Usage, format!("invalid compression \"{text}\""), why);
        let (method, level) = match text.split_once(':') {
            Some((method, level)) => {
                // Digits only: `parse` would take `+5`, and one spelling is enough.
                let digits = !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit());
                let level = if digits { level.parse::<u8>().ok() } else { None };
                (method, Some(level.ok_or_else(|| bad("the level is no small number".to_owned()))?))
            }
            None => (text, None),
        };
        let compression = match (method, level) {
            ("gzip", level) => Compression::Gzip(level.unwrap_or(DEFAULT_GZIP_LEVEL)),
            ("zstd", level) => Compression::Zstd(level.unwrap_or(DEFAULT_ZSTD_LEVEL)),
            ("none", None) => Compression::None,
            _ => return Err(bad("it takes gzip[:1..9], zstd[:1..19] or none".to_owned())),
        };
        compression.check().map_err(bad)?;
        Ok(compression)
    }
}

/// Compresses what is written to it. [`Encoder::finish`] must be called, or the output is cut short.
pub struct Encoder<W: Write>(Inner<W>);

enum Inner<W: Write> {
    Gzip(gzip::Encoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
    None(W),
}

impl<W: Write> Encoder<W> {
    /// An encoder that writes to `out`, with up to `threads` threads (0 counts as 1).
    ///
    /// # Errors
    /// A level out of range (kind `Usage`), no memory for the encoder (kind `LocalIo`).
    pub fn new(out: W, compression: Compression, threads: usize) -> Result<Self> {
        let what = "start the compression of a layer";
        compression.check().map_err(|why| Error::new(Kind::Usage, what, why))?;
        let inner = match compression {
            Compression::Gzip(level) => gzip::Encoder::new(out, level, threads).map(Inner::Gzip),
            Compression::Zstd(level) => zstd_encoder(out, level, threads).map(Inner::Zstd),
            Compression::None => Ok(Inner::None(out)),
        };
        inner.map(Encoder).map_err(|e| Error::new(Kind::LocalIo, what, e))
    }

    /// Ends the compressed stream and hands back where it was written to.
    ///
    /// # Errors
    /// The output failing.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Zstd(encoder) => encoder.finish(),
            Inner::None(out) => Ok(out),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Gzip(encoder) => encoder.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
            Inner::None(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        // A flush in the middle would change the bytes; everything goes out in `finish`.
        Ok(())
    }
}

fn zstd_encoder<W: Write>(
    out: W,
    level: u8,
    threads: usize,
) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
    let mut encoder = zstd::stream::write::Encoder::new(out, i32::from(level))?;
    encoder.include_checksum(true)?;
    // Fixed, because it decides bytes; small, because every worker holds a few jobs (the default is 8 MiB here).
    encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
    // Also for one thread: without workers libzstd gives other bytes than with any number of them.
    encoder.multithread(u32::try_from(threads.clamp(1, 64)).unwrap_or(1))?;
    Ok(encoder)
}

#[cfg(test)]
mod tests;
