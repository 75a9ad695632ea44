//! What the bytes of a program's file are, part by part, by the tables of sections of ELF, PE and Mach-O.

use std::io::{Read, Seek};

use object::read::elf::{FileHeader, SectionHeader as _};
use object::read::macho::{MachHeader, Section as _, Segment as _};
use object::read::pe::ImageNtHeaders;
use object::read::{FileKind, ReadCache, ReadRef, StringTable};
use object::{Endianness, LittleEndian, elf, macho, pe};

use super::headers::{Budget, Cache};
use crate::error::Result;

/// What a part of a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Machine code.
    Code,
    /// Data that the program reads or writes.
    Data,
    /// Go's table of functions, which its runtime needs.
    Functions,
    /// Symbols, which `-s` leaves out.
    Symbols,
    /// What debuggers need, which `-w` leaves out.
    Debug,
    /// Headers, notes, what fills up.
    Other,
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) sort: Sort,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// A linker writes about forty.
const MAX_PARTS: usize = 1000;
/// The longest name that is kept, in bytes: Go's are shorter, a hostile file's table could be one long name.
const MAX_NAME: usize = 200;
/// An entry of a table of symbols in PE, in bytes (`object`, IMAGE_SYMBOL).
const PE_SYMBOL: u64 = 18;

/// The parts of a file of `size` bytes, by where they begin; none where its format or headers can't be read. What
/// several parts claim counts for the first.
///
/// # Errors
/// Reading fails (kind `LocalIo`).
pub(super) fn read<R: Read + Seek>(reader: R, size: u64) -> Result<Option<Vec<Part>>> {
    let whole = ReadCache::new(Budget::of(reader));
    let cache = Cache(&whole);
    let found = match FileKind::parse(cache) {
        Ok(FileKind::Elf32) => of_elf::<elf::FileHeader32<Endianness>, R>(cache),
        Ok(FileKind::Elf64) => of_elf::<elf::FileHeader64<Endianness>, R>(cache),
        Ok(FileKind::Pe32) => of_pe::<pe::ImageNtHeaders32, R>(cache),
        Ok(FileKind::Pe64) => of_pe::<pe::ImageNtHeaders64, R>(cache),
        Ok(FileKind::MachO32) => of_macho::<macho::MachHeader32<Endianness>, R>(cache),
        Ok(FileKind::MachO64) => of_macho::<macho::MachHeader64<Endianness>, R>(cache),
        _ => Ok(Vec::new()),
    };
    match whole.into_inner().failure() {
        Some(error) => Err(error),
        None => Ok(found.ok().filter(|parts| !parts.is_empty()).map(|parts| apart(parts, size))),
    }
}

/// The same parts, none over another and none over the end.
fn apart(mut parts: Vec<Part>, size: u64) -> Vec<Part> {
    parts.sort_by_key(|part| part.offset);
    let mut free = 0;
    for part in &mut parts {
        let end = part.offset.saturating_add(part.size).min(size);
        let start = part.offset.max(free).min(size);
        (part.offset, part.size) = (start, end.saturating_sub(start));
        free = free.max(end);
    }
    parts.retain(|part| part.size > 0);
    parts
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]).into_owned()
}

type Found = Result<Vec<Part>, object::read::Error>;

fn of_elf<H: FileHeader<Endian = Endianness>, R: Read + Seek>(cache: Cache<'_, R>) -> Found {
    let header = H::parse(cache)?;
    let endian = header.endian()?;
    let table = header.sections(endian, cache)?;
    let mut parts = Vec::new();
    for section in table.iter().take(MAX_PARTS) {
        let Some((offset, size)) = section.file_range(endian) else { continue };
        let name = text(table.section_name(endian, section).unwrap_or_default());
        let flags = section.sh_flags(endian);
        let sort = match name.as_str() {
            ".gopclntab" | ".data.rel.ro.gopclntab" => Sort::Functions,
            ".symtab" | ".strtab" | ".dynsym" | ".dynstr" => Sort::Symbols,
            name if name.starts_with(".debug_") || name.starts_with(".zdebug_") => Sort::Debug,
            _ if flags.contains(elf::SHF_EXECINSTR) => Sort::Code,
            name if name.starts_with(".note") => Sort::Other,
            _ if flags.contains(elf::SHF_ALLOC) => Sort::Data,
            _ => Sort::Other,
        };
        parts.push(Part { name, sort, offset, size });
    }
    Ok(parts)
}

fn of_pe<H: ImageNtHeaders, R: Read + Seek>(cache: Cache<'_, R>) -> Found {
    let mut offset = pe::ImageDosHeader::parse(cache)?.nt_headers_offset().into();
    let (nt, _) = H::parse(cache, &mut offset)?;
    let header = nt.file_header();
    let symbols = u64::from(header.pointer_to_symbol_table.get(LittleEndian));
    let count = u64::from(header.number_of_symbols.get(LittleEndian));
    let end = cache.len().unwrap_or_default();
    let strings = StringTable::new(cache, symbols.saturating_add(count * PE_SYMBOL), end);
    let mut parts = Vec::new();
    for section in nt.sections(cache, offset)?.iter().take(MAX_PARTS) {
        let (offset, size) = section.pe_file_range();
        let name = text(section.name(strings).unwrap_or(section.raw_name()));
        let flags = section.characteristics.get(LittleEndian);
        let sort = match name.as_str() {
            name if name.starts_with(".debug_") || name.starts_with(".zdebug_") => Sort::Debug,
            ".symtab" => Sort::Symbols,
            _ if flags.contains(pe::IMAGE_SCN_CNT_CODE) => Sort::Code,
            _ => Sort::Data,
        };
        parts.push(Part { name, sort, offset: offset.into(), size: size.into() });
    }
    if symbols > 0 {
        let (name, size) = ("symbols".to_owned(), end.saturating_sub(symbols));
        parts.push(Part { name, sort: Sort::Symbols, offset: symbols, size });
    }
    Ok(parts)
}

fn of_macho<H: MachHeader<Endian = Endianness>, R: Read + Seek>(cache: Cache<'_, R>) -> Found {
    let header = H::parse(cache, 0)?;
    let endian = header.endian()?;
    let mut parts = Vec::new();
    let mut commands = header.load_commands(endian, cache, 0)?;
    while let Some(command) = commands.next()? {
        let Some((segment, data)) = H::Segment::from_command(command)? else { continue };
        for section in segment.sections(endian, data)? {
            let Some(size) = section.file_size(endian) else { continue };
            let name = text(section.name());
            let sort = match name.as_str() {
                "__gopclntab" => Sort::Functions,
                "__text" | "__stubs" | "__symbol_stub1" | "__stub_helper" => Sort::Code,
                name if name.starts_with("__debug_") || name.starts_with("__zdebug_") => Sort::Debug,
                _ => Sort::Data,
            };
            parts.push(Part { name, sort, offset: section.offset(endian).into(), size });
            if parts.len() >= MAX_PARTS {
                return Ok(parts);
            }
        }
        // It has no sections: symbols, and a signature.
        if segment.name() == b"__LINKEDIT" {
            let (offset, size) = segment.file_range(endian);
            parts.push(Part { name: text(segment.name()), sort: Sort::Symbols, offset, size });
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_belongs_to_one_part() {
        let part = |name: &str, offset, size| Part { name: name.into(), sort: Sort::Data, offset, size };
        let parts = vec![
            part("late", 50, u64::MAX),
            part("a", 10, 20),
            part("over", 15, 5),
            part("b", 25, 10),
            part("past", 1000, 1),
        ];
        let apart = apart(parts, 100);
        assert_eq!(apart, [part("a", 10, 20), part("b", 30, 5), part("late", 50, 50)]);
        assert!(read(std::io::Cursor::new(b"no program at all"), 17).unwrap().is_none());
    }
}
