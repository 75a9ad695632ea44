//! What of a program's size is which Go package's code, and what the rest is. Stripped programs say it too: Go's runtime
//! needs the table of functions.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use super::pclntab;
use super::sections::{self, Part, Sort};
use crate::error::{Error, Kind, Result};

/// What a program's size is made of. All of it together is the file's size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// The whole file, in bytes.
    pub total: u64,
    /// The code of each package, in bytes, with what fills up between functions; empty where there is no table of
    /// functions that can be read. Code that belongs to no package has an empty name.
    pub packages: BTreeMap<String, u64>,
    /// Everything else, by section, in the order of the file; of the code what no package has.
    pub sections: Vec<Section>,
}

/// A section's share of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// As the file calls it; [`REST`] for what is in none.
    pub name: String,
    /// What it is for.
    pub sort: Sort,
    /// In bytes.
    pub size: u64,
}

/// What is in no section.
pub const REST: &str = "headers and padding";

/// The largest table of functions that is read, in bytes: a program of 100 MB has 30 MB.
const MAX_TABLE: u64 = 256 << 20;
/// How many places are tried where a section doesn't say where the table is.
const MAX_TRIES: usize = 4;

/// What a program's size is made of. Of what is no program all is [`REST`].
///
/// # Errors
/// Reading fails (kind `LocalIo`).
pub fn sizes<R: Read + Seek>(mut reader: R) -> Result<Sizes> {
    let total = reader.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let parts = sections::read(&mut reader, total)?.unwrap_or_default();
    let mut packages = BTreeMap::new();
    for part in parts.iter().filter(|part| may_hold_table(part)) {
        packages = code(&bytes(&mut reader, part)?, part);
        if !packages.is_empty() {
            break;
        }
    }
    let mut own: u64 = packages.values().sum();
    let text = |part: &Part| part.sort == Sort::Code && part.size >= own;
    let text = parts.iter().position(text).filter(|_| own > 0);
    if text.is_none() {
        (packages, own) = (BTreeMap::new(), 0);
    }
    let mut sections = Vec::new();
    let mut rest = total;
    for (number, part) in parts.into_iter().enumerate() {
        rest = rest.saturating_sub(part.size);
        let size = if text == Some(number) { part.size - own } else { part.size };
        if size > 0 {
            sections.push(Section { name: part.name, sort: part.sort, size });
        }
    }
    if rest > 0 {
        sections.push(Section { name: REST.to_owned(), sort: Sort::Other, size: rest });
    }
    Ok(Sizes { total, packages, sections })
}

fn unreadable(error: std::io::Error) -> Error {
    Error::new(Kind::LocalIo, "read the binary", error)
}

/// Whether the table of functions may be in it: PE has no section of its own for that.
fn may_hold_table(part: &Part) -> bool {
    part.size <= MAX_TABLE && (part.sort == Sort::Functions || part.name == ".rdata")
}

fn bytes<R: Read + Seek>(reader: &mut R, part: &Part) -> Result<Vec<u8>> {
    reader.seek(SeekFrom::Start(part.offset)).map_err(unreadable)?;
    let mut bytes = Vec::new();
    reader.by_ref().take(part.size).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// The size of each package's code, by the table of functions in a section.
fn code(bytes: &[u8], part: &Part) -> BTreeMap<String, u64> {
    let table = match part.sort {
        Sort::Functions => pclntab::read(bytes),
        _ => pclntab::places(bytes).take(MAX_TRIES).find_map(|at| pclntab::read(&bytes[at..])),
    };
    let mut packages: BTreeMap<String, u64> = BTreeMap::new();
    for function in table.map(|table| table.functions).unwrap_or_default() {
        *packages.entry(package(function.name)).or_default() += u64::from(function.size);
    }
    packages
}

/// The package of a function; an empty name for what is no package's: assembly without one, marks of the linker, and what
/// the compiler makes for types without a name.
fn package(name: &str) -> String {
    let package = pclntab::package(name);
    let is_none = name.starts_with("go:") || name.starts_with("__") || package == "go";
    let is_path = package.len() < name.len() && !package.contains([' ', '[', '(', '*', '{']);
    if is_path && !is_none { package } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_without_a_package_has_none() {
        for (name, of) in [
            ("net/http.(*Client).Do", "net/http"),
            ("main.main", "main"),
            ("go/ast.Walk", "go/ast"),
            ("type:.eq.net/http.T", "net/http"),
            ("type:.eq.[2]string", ""),
            ("type:.eq.struct { F uintptr; X0 net.IP }", ""),
            ("go.(*struct { sync.Mutex; a.B }).Lock", ""),
            ("go:textfipsstart", ""),
            ("go:buildid", ""),
            ("__x86.get_pc_thunk.ax", ""),
            ("_rt0_amd64_linux", ""),
            ("aeshashbody", ""),
            ("", ""),
        ] {
            assert_eq!(package(name), of, "{name}");
        }
    }

    #[test]
    fn what_is_no_program_is_rest() {
        let text = "no program, but long enough to be looked at";
        let found = sizes(std::io::Cursor::new(text)).unwrap();
        assert_eq!((found.total, found.packages.len()), (text.len() as u64, 0));
        let rest = Section { name: REST.to_owned(), sort: Sort::Other, size: text.len() as u64 };
        assert_eq!(found.sections, [rest]);
    }
}
