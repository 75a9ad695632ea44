//! Goes through the members of a layer's tar, whoever wrote it: long names and PAX records are read here, for the sake
//! of their limits.

use std::io::Read;

use tar::{EntryType, Header};

use crate::error::{Error, Kind, Result};

/// How long a name may be, in a header of its own: far more than any file system takes.
const MAX_NAME: u64 = 1 << 20;
/// What is told about a failure.
pub(super) const WHAT: &str = "read a layer";

/// A member of a tar.
pub(super) struct Member<'a> {
    /// Its name: relative, without what says nothing, without a slash at the end.
    pub(super) name: String,
    pub(super) kind: EntryType,
    /// Where a link leads, as the tar says it.
    pub(super) link: Vec<u8>,
    header: &'a Header,
    pax: &'a [u8],
}

impl Member<'_> {
    /// Permission bits.
    pub(super) fn mode(&self) -> Result<u32> {
        Ok(self.header.mode().map_err(unreadable)? & 0o7777)
    }

    /// The owner's number.
    pub(super) fn uid(&self) -> Result<u64> {
        number(self.pax, "uid", self.header.uid())
    }

    /// The group's number.
    pub(super) fn gid(&self) -> Result<u64> {
        number(self.pax, "gid", self.header.gid())
    }

    /// The time of modification, as the tar says it: a PAX record may have a fraction.
    pub(super) fn mtime(&self) -> Result<String> {
        match record(self.pax, "mtime") {
            Some(time) => Ok(String::from_utf8_lossy(time).into_owned()),
            None => Ok(self.header.mtime().map_err(unreadable)?.to_string()),
        }
    }

    /// The names of owner and group.
    pub(super) fn names(&self) -> [String; 2] {
        let text = |key, short: Option<&[u8]>| {
            String::from_utf8_lossy(record(self.pax, key).or(short).unwrap_or_default()).into_owned()
        };
        [text("uname", self.header.username_bytes()), text("gname", self.header.groupname_bytes())]
    }

    /// The numbers of a device.
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        let is_device = self.kind.is_character_special() || self.kind.is_block_special();
        let number = |n: std::io::Result<Option<u32>>| n.ok().flatten().unwrap_or_default();
        is_device.then(|| (number(self.header.device_major()), number(self.header.device_minor())))
    }

    /// The PAX records of which a header has no field, such as extended attributes.
    pub(super) fn further(&self) -> impl Iterator<Item = (String, &[u8])> {
        let own = ["path", "linkpath", "size", "uid", "gid", "mtime", "uname", "gname"];
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let records = tar::PaxExtensions::new(self.pax).filter_map(std::result::Result::ok);
        let records = records.map(move |r| (text(r.key_bytes()), r.value_bytes()));
        records.filter(move |(key, _)| !own.contains(&key.as_str()))
    }
}

/// Goes through a tar's members; a name that leads out of the image is none.
pub(super) fn walk(
    tar: impl Read,
    mut visit: impl FnMut(Member<'_>, &mut dyn Read) -> Result<()>,
) -> Result<()> {
    let mut archive = tar::Archive::new(tar);
    let (mut long_name, mut long_link, mut pax) = (None, None, Vec::new());
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        let kind = entry.header().entry_type();
        let is_pax = kind.is_pax_local_extensions();
        if is_pax || kind.is_gnu_longname() || kind.is_gnu_longlink() {
            let mut bytes = Vec::new();
            (&mut entry).take(MAX_NAME + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.len() as u64 > MAX_NAME {
                return Err(Error::new(Kind::Integrity, WHAT, "a header of more than 1 MiB"));
            }
            match kind {
                _ if is_pax => pax = bytes,
                k if k.is_gnu_longname() => long_name = Some(until_nul(bytes)),
                _ => long_link = Some(until_nul(bytes)),
            }
            continue;
        }
        if kind.is_pax_global_extensions() {
            continue;
        }
        let header = entry.header().clone();
        if number(&pax, "size", Ok(entry.size()))? != entry.size() {
            return Err(Error::new(Kind::Base, WHAT, "a file of more than 8 GiB"));
        }
        let text = |key: &str, long: Option<Vec<u8>>, short: Option<Vec<u8>>| {
            record(&pax, key).map(<[u8]>::to_vec).or(long).or(short).unwrap_or_default()
        };
        let name = text("path", long_name.take(), Some(header.path_bytes().into_owned()));
        let link = text("linkpath", long_link.take(), header.link_name_bytes().map(|l| l.into_owned()));
        if let Some(name) = inside(&name).filter(|n| !n.is_empty()) {
            visit(Member { name, kind, link, header: &header, pax: &pax }, &mut entry)?;
        }
        pax.clear();
    }
    Ok(())
}

/// A PAX record. Of one that stands twice the last counts.
fn record<'a>(pax: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let records = tar::PaxExtensions::new(pax).filter_map(std::result::Result::ok);
    records.filter(|r| r.key_bytes() == key.as_bytes()).last().map(|r| r.value_bytes())
}

/// A number that a PAX record may say in the header's place.
fn number(pax: &[u8], key: &str, value: std::io::Result<u64>) -> Result<u64> {
    let Some(text) = record(pax, key) else { return value.map_err(unreadable) };
    let number = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    number.ok_or_else(|| Error::new(Kind::Base, WHAT, format!("its PAX record {key} is no number")))
}

pub(super) fn unreadable(error: std::io::Error) -> Error {
    Error::new(Kind::Base, WHAT, error)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()));
    bytes
}

/// A name without what says nothing; none if it leads out of the image.
pub(super) fn inside(name: &[u8]) -> Option<String> {
    let name = String::from_utf8_lossy(name);
    let parts: Vec<&str> = name.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}
