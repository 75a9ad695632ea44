//! The only writer of tar: USTAR, with a PAX header before an entry only where a field of it needs one.
//!
//! The fields are written as Go's `archive/tar` writes them (octal, zero-padded, NUL at the end); POSIX.1-2017,
//! `pax`, "ustar Interchange Format" and "pax Extended Header".

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use super::{Data, Entry, FileTree, Meta, Node, Opener};
use crate::error::{Error, Kind, Result};

const BLOCK: usize = 512;
const NAME: usize = 100;
const PREFIX: usize = 155;
/// The largest number of an 11-digit octal field: sizes below 8 GiB, times until the year 2242.
const MAX_11: u64 = 0o777_7777_7777;
/// The largest number of a 7-digit octal field: owners.
const MAX_7: u64 = 0o777_7777;

/// Writes `tree` as a tar to `out`, ended by two zero blocks and no more padding.
///
/// # Errors
/// A file that can't be opened or read, one that has not the size its entry says, or `out` failing (kind
/// `LocalIo`).
pub fn write(tree: &FileTree, open: Opener<'_>, out: &mut dyn Write) -> Result<()> {
    // One buffer for all files: the memory of a layer doesn't depend on what is in it.
    let mut buffer = vec![0; 128 * 1024];
    for (name, entry) in tree.iter() {
        header(name, entry, out)?;
        match &entry.node {
            Node::File(Data::Bytes(bytes)) => {
                put(out, bytes)?;
                pad(out, bytes.len() as u64)?;
            }
            Node::File(Data::File { path, size }) => {
                let mut file = open(path).map_err(|e| Error::io("open", path, &e))?;
                copy(&mut file, path, *size, &mut buffer, out)?;
                pad(out, *size)?;
            }
            Node::Dir | Node::Symlink(_) | Node::HardLink(_) => {}
        }
    }
    put(out, &[0; 2 * BLOCK])
}

fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::new(Kind::LocalIo, "write a layer", e))
}

fn pad(out: &mut dyn Write, size: u64) -> Result<()> {
    let over = (size % BLOCK as u64) as usize;
    if over == 0 { Ok(()) } else { put(out, &[0; BLOCK][over..]) }
}

/// Copies exactly `size` bytes, and makes sure that there are no more.
fn copy(file: &mut dyn Read, path: &Path, size: u64, buffer: &mut [u8], out: &mut dyn Write) -> Result<()> {
    let changed = |found: String| {
        let why = format!("it changed while it was read: {found}, it had {size} bytes");
        Error::new(Kind::LocalIo, "read", why).at(path.display())
    };
    let mut left = size;
    loop {
        let n = match file.read(buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read", path, &e)),
        };
        match (n as u64, left) {
            (0, 0) => return Ok(()),
            (0, _) => return Err(changed(format!("it ends after {} bytes", size - left))),
            (n, left) if n > left => return Err(changed("there is more to read".to_owned())),
            (n, _) => left -= n,
        }
        put(out, &buffer[..n])?;
    }
}

/// Writes the header block of an entry, after a PAX header if it needs one.
fn header(name: &str, entry: &Entry, out: &mut dyn Write) -> Result<()> {
    let Entry { node, meta } = entry;
    let (kind, link, size) = match node {
        Node::File(data) => (b'0', "", data.size()),
        Node::HardLink(target) => (b'1', target.as_str(), 0),
        Node::Symlink(target) => (b'2', target.as_str(), 0),
        Node::Dir => (b'5', "", 0),
    };
    let mut pax: BTreeMap<&str, Vec<u8>> = meta.pax.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let (prefix, short) = split(name).unwrap_or_else(|| {
        pax.insert("path", name.into());
        ("", name)
    });
    if link.len() > NAME || !link.is_ascii() {
        pax.insert("linkpath", link.into());
    }
    let mut number = |key: &'static str, value: u64, max: u64| {
        if value > max {
            pax.insert(key, value.to_string().into_bytes());
        }
    };
    number("size", size, MAX_11);
    number("uid", meta.uid, MAX_7);
    number("gid", meta.gid, MAX_7);
    number("mtime", meta.mtime, MAX_11);
    if !pax.is_empty() {
        let records: Vec<u8> = pax.iter().flat_map(|(key, value)| record(key, value)).collect();
        let base = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let name = format!("PaxHeaders.0/{base}");
        put(out, &block(b'x', ("", &name), "", records.len() as u64, &Meta::new(0)))?;
        put(out, &records)?;
        pad(out, records.len() as u64)?;
    }
    put(out, &block(kind, (prefix, short), link, size, meta))
}

/// Splits an ASCII name into USTAR's prefix and name; `None` if it doesn't fit.
fn split(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= NAME {
        return Some(("", name));
    }
    // The last slash that leaves the prefix short enough, as Go does; not the one that ends a directory's name.
    let end = (PREFIX + 1).min(name.len() - 1);
    let at = name[..end].rfind('/')?;
    let (prefix, short) = (&name[..at], &name[at + 1..]);
    (!prefix.is_empty() && short.len() <= NAME).then_some((prefix, short))
}

/// A PAX record: its own length in decimal, a space, `key=value`, a line feed.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    // The length's own digits can make it one digit longer.
    length = rest + length.to_string().len();
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

fn block(kind: u8, (prefix, name): (&str, &str), link: &str, size: u64, meta: &Meta) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    text(&mut block[0..100], name);
    octal(&mut block[100..108], u64::from(meta.mode), MAX_7);
    octal(&mut block[108..116], meta.uid, MAX_7);
    octal(&mut block[116..124], meta.gid, MAX_7);
    octal(&mut block[124..136], size, MAX_11);
    octal(&mut block[136..148], meta.mtime, MAX_11);
    block[156] = kind;
    text(&mut block[157..257], link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    // No user or group names: they would be looked up where the layer is applied.
    octal(&mut block[329..337], 0, MAX_7);
    octal(&mut block[337..345], 0, MAX_7);
    text(&mut block[345..500], prefix);
    // The sum counts its own field as eight spaces; it is written as six digits, NUL, space.
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..155], sum, MAX_7);
    block
}

/// Fills a text field. What doesn't fit, or isn't ASCII, stands in the PAX header; this is for readers without.
fn text(field: &mut [u8], value: &str) {
    let cut = value.len() > field.len();
    for (to, from) in field.iter_mut().zip(value.bytes()) {
        *to = if from.is_ascii() { from } else { b'_' };
    }
    if cut {
        // Some readers take a file for a directory if the cut name ends in a slash.
        for byte in field.iter_mut().rev().take_while(|b| **b == b'/') {
            *byte = 0;
        }
    }
}

/// Fills a number field: octal digits and a NUL. A number that doesn't fit stands in the PAX header, here as 0.
fn octal(field: &mut [u8], value: u64, max: u64) {
    let mut rest = if value > max { 0 } else { value };
    let digits = field.len() - 1;
    for byte in field[..digits].iter_mut().rev() {
        *byte = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    field[digits] = 0;
}

#[cfg(test)]
mod tests;
