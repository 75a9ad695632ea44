//! The headers of ELF, PE and Mach-O, read through a bounded cache.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _};
use object::read::macho::{MachHeader, Section as _, Segment as _};
use object::read::pe::ImageNtHeaders;
use object::read::{FileKind, ReadCache, ReadRef};
use object::{Endian as _, LittleEndian, elf, macho, pe};

use super::{Format, Header};
use crate::error::{Error, Kind, Result};

/// Where build information may be: offset and size in bytes, the likeliest first.
pub(super) type Places = Vec<(u64, u64)>;

/// Headers are a few kilobytes; a file that needs more than this is not what a linker writes.
const BUDGET: u64 = 4 * 1024 * 1024;

/// A linker writes one; more are not worth the search.
const MAX_PLACES: usize = 8;

/// Lets through [`BUDGET`] bytes, and remembers why reading failed: `object` drops the reason.
pub(super) struct Budget<R> {
    inner: R,
    left: u64,
    failed: Option<io::Error>,
}

impl<R> Budget<R> {
    pub(super) fn of(inner: R) -> Self {
        Budget { inner, left: BUDGET, failed: None }
    }

    /// Why reading failed, if it did.
    pub(super) fn failure(self) -> Option<Error> {
        self.failed.map(unreadable)
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::new(Kind::LocalIo, "read the binary", error)
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.len() as u64 > self.left {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match self.inner.read(buffer) {
            Ok(n) => {
                self.left -= n as u64;
                Ok(n)
            }
            Err(e) => {
                let kind = e.kind();
                self.failed = Some(e);
                Err(kind.into())
            }
        }
    }
}

impl<R: Seek> Seek for Budget<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// The cache, without reads that are larger than the whole budget: it would take the memory before it reads.
pub(super) struct Cache<'a, R: Read + Seek>(pub(super) &'a ReadCache<Budget<R>>);

impl<R: Read + Seek> Clone for Cache<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: Read + Seek> Copy for Cache<'_, R> {}

impl<'a, R: Read + Seek> ReadRef<'a> for Cache<'a, R> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        if size > BUDGET { Err(()) } else { self.0.read_bytes_at(offset, size) }
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

type Found = Result<(Header, Places), object::read::Error>;

pub(super) fn read<R: Read + Seek>(mut reader: R) -> Result<(Header, Places)> {
    let mut magic = [0; 8];
    let length = fill(&mut reader, &mut magic).map_err(unreadable)?;
    // `object` knows no WebAssembly with the features we take: magic and version 1.
    if magic == *b"\0asm\x01\0\0\0" {
        return Ok((plain(Format::Wasm, Some("wasm")), Places::new()));
    }
    if length < magic.len() {
        return Ok((plain(Format::Unknown, None), Places::new()));
    }
    let whole = ReadCache::new(Budget::of(reader));
    let cache = Cache(&whole);
    let found = match FileKind::parse(cache) {
        Ok(FileKind::Elf32) => elf::<elf::FileHeader32<object::Endianness>, R>(cache),
        Ok(FileKind::Elf64) => elf::<elf::FileHeader64<object::Endianness>, R>(cache),
        Ok(FileKind::Pe32) => pe::<pe::ImageNtHeaders32, R>(cache),
        Ok(FileKind::Pe64) => pe::<pe::ImageNtHeaders64, R>(cache),
        Ok(FileKind::MachO32) => macho::<macho::MachHeader32<object::Endianness>, R>(cache),
        Ok(FileKind::MachO64) => macho::<macho::MachHeader64<object::Endianness>, R>(cache),
        // Several binaries in one: Go writes none, so no CPU is the right one.
        Ok(FileKind::MachOFat32 | FileKind::MachOFat64) => Ok((plain(Format::MachO, None), Places::new())),
        _ => Ok((plain(Format::Unknown, None), Places::new())),
    };
    if let Some(error) = whole.into_inner().failure() {
        return Err(error);
    }
    let (header, mut places) = found.map_err(|e| Error::new(Kind::Input, "read the binary's headers", e))?;
    places.truncate(MAX_PLACES);
    Ok((header, places))
}

/// Reads until `buffer` is full or the input ends, from the beginning.
fn fill<R: Read + Seek>(reader: &mut R, buffer: &mut [u8]) -> io::Result<usize> {
    reader.seek(SeekFrom::Start(0))?;
    let mut have = 0;
    while have < buffer.len() {
        match reader.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

fn plain(format: Format, architecture: Option<&'static str>) -> Header {
    Header { format, architecture, bits: 0, little_endian: true, interpreter: None, build_info: None }
}

fn elf<H: FileHeader, R: Read + Seek>(cache: Cache<'_, R>) -> Found {
    let header = H::parse(cache)?;
    let endian = header.endian()?;
    // Object files and core dumps have the same header.
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Ok((plain(Format::Unknown, None), Places::new()));
    }
    let (wide, little) = (header.is_class_64(), header.is_little_endian());
    let architecture = match (header.e_machine(endian), wide, little) {
        (elf::EM_X86_64, true, true) => Some("amd64"),
        (elf::EM_386, false, true) => Some("386"),
        (elf::EM_ARM, false, true) => Some("arm"),
        (elf::EM_AARCH64, true, true) => Some("arm64"),
        (elf::EM_PPC64, true, false) => Some("ppc64"),
        (elf::EM_PPC64, true, true) => Some("ppc64le"),
        (elf::EM_MIPS, false, false) => Some("mips"),
        (elf::EM_MIPS, false, true) => Some("mipsle"),
        (elf::EM_MIPS, true, false) => Some("mips64"),
        (elf::EM_MIPS, true, true) => Some("mips64le"),
        (elf::EM_RISCV, true, true) => Some("riscv64"),
        (elf::EM_S390, true, false) => Some("s390x"),
        (elf::EM_LOONGARCH, true, true) => Some("loong64"),
        _ => None,
    };
    let (mut interpreter, mut named, mut data) = (None, Places::new(), Places::new());
    for segment in header.program_headers(endian, cache)? {
        if let Some(path) = segment.interpreter(endian, cache)? {
            interpreter = Some(String::from_utf8_lossy(path).into_owned());
        }
        if segment.p_type(endian) == elf::PT_LOAD
            && segment.p_flags(endian).contains(elf::PF_W)
            && !segment.p_flags(endian).contains(elf::PF_X)
        {
            data.push(segment.file_range(endian));
        }
    }
    let sections = header.sections(endian, cache)?;
    for section in sections.iter() {
        if let Some(range) = section.file_range(endian)
            && sections.section_name(endian, section).is_ok_and(|name| name == b".go.buildinfo")
        {
            named.push(range);
        }
    }
    // Without section names (some packers drop them) the data segments are searched, as Go does.
    let places = if named.is_empty() { data } else { named };
    let bits = if wide { 64 } else { 32 };
    let header = Header { bits, little_endian: little, interpreter, ..plain(Format::Elf, architecture) };
    Ok((header, places))
}

fn pe<H: ImageNtHeaders, R: Read + Seek>(cache: Cache<'_, R>) -> Found {
    let mut offset = pe::ImageDosHeader::parse(cache)?.nt_headers_offset().into();
    let (nt, _) = H::parse(cache, &mut offset)?;
    let architecture = match nt.file_header().machine.get(LittleEndian) {
        pe::IMAGE_FILE_MACHINE_AMD64 => Some("amd64"),
        pe::IMAGE_FILE_MACHINE_I386 => Some("386"),
        pe::IMAGE_FILE_MACHINE_ARM64 => Some("arm64"),
        pe::IMAGE_FILE_MACHINE_ARMNT => Some("arm"),
        _ => None,
    };
    // PE has no section of that name; Go searches the writable data.
    let wanted = pe::IMAGE_SCN_CNT_INITIALIZED_DATA | pe::IMAGE_SCN_MEM_WRITE;
    let places = nt
        .sections(cache, offset)?
        .iter()
        .filter(|section| section.characteristics.get(LittleEndian).contains(wanted))
        .map(|section| {
            let (offset, size) = section.pe_file_range();
            (u64::from(offset), u64::from(size))
        })
        .collect();
    let bits = if nt.is_type_64() { 64 } else { 32 };
    Ok((Header { bits, ..plain(Format::Pe, architecture) }, places))
}

fn macho<H: MachHeader<Endian = object::Endianness>, R: Read + Seek>(cache: Cache<'_, R>) -> Found {
    let header = H::parse(cache, 0)?;
    let endian = header.endian()?;
    let architecture = match header.cputype(endian) {
        macho::CPU_TYPE_X86_64 => Some("amd64"),
        macho::CPU_TYPE_ARM64 => Some("arm64"),
        macho::CPU_TYPE_X86 => Some("386"),
        macho::CPU_TYPE_ARM => Some("arm"),
        _ => None,
    };
    let mut places = Places::new();
    let mut commands = header.load_commands(endian, cache, 0)?;
    while let Some(command) = commands.next()? {
        let mut add = |name: &[u8], offset: u64, size: u64| {
            if name.starts_with(b"__go_buildinfo\0") {
                places.push((offset, size));
            }
        };
        if let Some((segment, data)) = command.segment_64()? {
            for section in segment.sections(endian, data)? {
                add(section.sectname(), section.offset(endian).into(), section.size(endian));
            }
        } else if let Some((segment, data)) = command.segment_32()? {
            for section in segment.sections(endian, data)? {
                add(section.sectname(), section.offset(endian).into(), section.size(endian).into());
            }
        }
    }
    let bits = if header.is_type_64() { 64 } else { 32 };
    let little_endian = endian.is_little_endian();
    Ok((Header { bits, little_endian, ..plain(Format::MachO, architecture) }, places))
}
