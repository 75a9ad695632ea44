//! Two Go programs compared where what Go recorded in them says nothing: which sections differ, and which functions'
//! code. Only ELF.
//!
//! A function that moved refers to others by other numbers. Its code counts as the same where these numbers lead to the
//! same place: the same function, or the same section of data.

use std::collections::{BTreeMap, BTreeSet};

use object::elf;
use object::read::elf::{FileHeader, SectionHeader as _};
use object::{Endian as _, Endianness};

use super::pclntab::{self, Function, Table};

/// Sections that follow from the others.
const FOLLOWS: &[&str] = &[".note.go.buildid", ".note.gnu.build-id", ".shstrtab"];
/// The longest text that is compared.
const MAX_TEXT: usize = 4096;
/// A program has about thirty.
const MAX_SECTIONS: usize = 1000;

/// How a part of a program differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Both have it.
    Changed,
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
}

/// What differs in two programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Sections, by name.
    pub sections: BTreeMap<String, Change>,
    /// Functions whose code differs, by package and name.
    pub functions: BTreeMap<String, BTreeMap<String, Change>>,
    /// Packages of which only the numbers of lines differ.
    pub lines: BTreeSet<String>,
    /// Whether functions could be compared: both are Go's, of version 1.20 or later, for the same CPU.
    pub has_functions: bool,
}

impl Comparison {
    /// Whether nothing differs but symbols and debugging information.
    #[must_use]
    pub fn is_only_symbols(&self) -> bool {
        let is_symbols =
            |name: &String| name.starts_with(".debug_") || name == ".symtab" || name == ".strtab";
        !self.sections.is_empty() && self.sections.keys().all(is_symbols)
    }
}

/// Compares two programs; none if one of them isn't ELF, or its sections can't be read.
#[must_use]
pub fn compare(was: &[u8], now: &[u8]) -> Option<Comparison> {
    let (was, now) = (Program::read(was)?, Program::read(now)?);
    let mut found = Comparison::default();
    let names: BTreeSet<&String> = was.sections.keys().chain(now.sections.keys()).collect();
    for name in names.into_iter().filter(|name| !FOLLOWS.contains(&name.as_str())) {
        let change = match (was.sections.get(name), now.sections.get(name)) {
            (Some(old), Some(new)) if old.bytes == new.bytes && old.size == new.size => continue,
            (Some(_), Some(_)) => Change::Changed,
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
        };
        found.sections.insert(name.clone(), change);
    }
    if let (Some(mut before), Some(mut after)) = (was.code(), now.code())
        && (was.machine, was.little) == (now.machine, now.little)
    {
        found.has_functions = true;
        // What is in them is where it was.
        let is_unchanged = |(name, section): &(&String, &Section<'_>)| {
            !section.bytes.is_empty() && !found.sections.contains_key(*name)
        };
        let unchanged: BTreeSet<String> =
            was.sections.iter().filter(is_unchanged).map(|(name, _)| name.clone()).collect();
        before.unchanged.clone_from(&unchanged);
        after.unchanged = unchanged;
        functions(&before, &after, &mut found);
    }
    Some(found)
}

/// How long the names and the tables of lines of all of a program's functions are together.
#[cfg(any(test, feature = "fuzzing"))]
#[must_use]
pub fn read_of(table: &[u8]) -> usize {
    let functions = pclntab::read(table).map(|table| table.functions).unwrap_or_default();
    functions.iter().map(|f| f.name.len() + f.lines.1.len()).sum()
}

/// A section with its address, if it has one in memory.
struct Section<'a> {
    address: Option<u64>,
    is_constant: bool,
    size: u64,
    bytes: &'a [u8],
}

struct Program<'a> {
    machine: u16,
    little: bool,
    sections: BTreeMap<String, Section<'a>>,
}

impl<'a> Program<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        match data.get(4)? {
            2 => Self::of::<elf::FileHeader64<Endianness>>(data),
            _ => Self::of::<elf::FileHeader32<Endianness>>(data),
        }
    }

    fn of<H: FileHeader<Endian = Endianness>>(data: &'a [u8]) -> Option<Self> {
        let header = H::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let table = header.sections(endian, data).ok()?;
        let mut sections = BTreeMap::new();
        for section in table.iter().take(MAX_SECTIONS) {
            let name = String::from_utf8_lossy(table.section_name(endian, section).ok()?).into_owned();
            let flags = section.sh_flags(endian);
            let bytes = section.data(endian, data).unwrap_or_default();
            let size = section.sh_size(endian).into();
            // What each thread has a copy of has no place of its own.
            let is_loaded = flags.contains(elf::SHF_ALLOC) && !flags.contains(elf::SHF_TLS);
            let address = is_loaded.then(|| section.sh_addr(endian).into());
            let is_constant = !flags.contains(elf::SHF_WRITE);
            // Of several of one name the first counts.
            if !name.is_empty() {
                sections.entry(name).or_insert(Section { address, is_constant, size, bytes });
            }
        }
        let machine = header.e_machine(endian).0;
        Some(Program { machine, little: endian.is_little_endian(), sections })
    }

    /// Its functions and their code.
    fn code(&self) -> Option<Code<'_>> {
        let names = [".gopclntab", ".data.rel.ro.gopclntab"];
        let table = pclntab::read(names.iter().find_map(|name| self.sections.get(*name))?.bytes)?;
        let text = self.sections.get(".text")?;
        let start = table.text.or(text.address)?;
        let skipped = usize::try_from(start.checked_sub(text.address?)?).ok()?;
        let bytes = text.bytes.get(skipped..)?;
        let mut loaded: Vec<(u64, &str, &Section<'_>)> = self
            .sections
            .iter()
            .filter_map(|(name, section)| Some((section.address?, name.as_str(), section)))
            .collect();
        loaded.sort_by_key(|(address, ..)| *address);
        Some(Code { program: self, start, bytes, table, loaded, unchanged: BTreeSet::new() })
    }
}

/// The code of a Go program.
struct Code<'a> {
    program: &'a Program<'a>,
    /// Its address.
    start: u64,
    bytes: &'a [u8],
    table: Table<'a>,
    /// The sections that have an address, by that.
    loaded: Vec<(u64, &'a str, &'a Section<'a>)>,
    /// Sections that are the same in both programs.
    unchanged: BTreeSet<String>,
}

/// What an address is of.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// A byte of a function's code.
    Code(&'a str, u32),
    /// Somewhere in a section; how far in, if that is the same in both programs.
    Data(&'a str, Option<u64>),
}

impl<'a> Code<'a> {
    fn of(&self, function: &Function<'_>) -> &'a [u8] {
        let (start, size) = (function.offset as usize, function.size as usize);
        start.checked_add(size).and_then(|end| self.bytes.get(start..end)).unwrap_or_default()
    }

    fn place(&self, address: u64) -> Option<Place<'_>> {
        if let Some(offset) = address.checked_sub(self.start).and_then(|o| u32::try_from(o).ok())
            && (offset as usize) < self.bytes.len()
        {
            let after = self.table.functions.partition_point(|f| f.offset <= offset);
            let function = self.table.functions.get(after.checked_sub(1)?)?;
            return Some(Place::Code(function.name, offset - function.offset));
        }
        let (name, _, offset) = self.section(address)?;
        Some(Place::Data(name, self.unchanged.contains(name).then_some(offset)))
    }

    /// The section that an address is in or at the end of, and how far in.
    fn section(&self, address: u64) -> Option<(&'a str, &'a Section<'a>, u64)> {
        let after = self.loaded.partition_point(|(start, ..)| *start <= address);
        let (start, name, section) = *self.loaded.get(after.checked_sub(1)?)?;
        Some((name, section, address - start)).filter(|(_, section, offset)| *offset <= section.size)
    }

    /// The text of `size` bytes at an address, if it is one and never changes.
    fn text(&self, address: u64, size: u64) -> Option<&'a str> {
        let size = usize::try_from(size).ok().filter(|size| (1..=MAX_TEXT).contains(size))?;
        let (_, section, offset) = self.section(address).filter(|(_, section, _)| section.is_constant)?;
        let at = usize::try_from(offset).ok()?;
        let text = std::str::from_utf8(section.bytes.get(at..at.checked_add(size)?)?).ok()?;
        let is_text = |c: char| !c.is_control() || c == '\n' || c == '\t';
        text.chars().all(is_text).then_some(text)
    }

    /// The text that a constant string at an address is: two words, where its bytes are and how many.
    fn string(&self, address: u64) -> Option<&'a str> {
        let (_, section, offset) = self.section(address).filter(|(_, section, _)| section.is_constant)?;
        let at = usize::try_from(offset).ok()?;
        let word = |at: usize| {
            let end = at.checked_add(8)?;
            Some(u64::from_le_bytes(section.bytes.get(at..end)?.try_into().ok()?))
        };
        self.text(word(at)?, word(at.checked_add(8)?)?)
    }

    /// By name: several functions can have one.
    fn by_name(&self) -> BTreeMap<&str, Vec<&Function<'_>>> {
        let mut names: BTreeMap<&str, Vec<&Function<'_>>> = BTreeMap::new();
        for function in &self.table.functions {
            names.entry(function.name).or_default().push(function);
        }
        names
    }
}

fn functions(was: &Code<'_>, now: &Code<'_>, found: &mut Comparison) {
    let (mut before, after) = (was.by_name(), now.by_name());
    let mut add = |name: &str, change: Change| {
        let package = pclntab::package(name);
        found.functions.entry(package).or_default().insert(name.to_owned(), change);
    };
    for (name, new) in &after {
        let Some(old) = before.remove(name) else {
            add(name, Change::Added);
            continue;
        };
        let is_same = |(old, new): (&&Function<'_>, &&Function<'_>)| same(was, old, now, new);
        if old.len() != new.len() || !old.iter().zip(new).all(is_same) {
            add(name, Change::Changed);
        } else if old.iter().zip(new).any(|(old, new)| old.lines != new.lines) {
            found.lines.insert(pclntab::package(name));
        }
    }
    before.keys().for_each(|name| add(name, Change::Removed));
    found.lines.retain(|package| !found.functions.contains_key(package));
}

/// Whether two functions do the same.
fn same(was: &Code<'_>, old: &Function<'_>, now: &Code<'_>, new: &Function<'_>) -> bool {
    let (a, b) = (was.of(old), now.of(new));
    if a.len() != b.len() {
        return false;
    }
    let from = (was.start.wrapping_add(old.offset.into()), now.start.wrapping_add(new.offset.into()));
    let pair = Pair { was, now, a, b, from };
    match (elf::Machine(was.program.machine), was.program.little) {
        (elf::EM_X86_64, true) => pair.is_same_amd64() && pair.has_same_texts_amd64(),
        (elf::EM_AARCH64, true) => pair.is_same_arm64(),
        // How code refers to others isn't known here: of the same length, and with its lines at the same bytes, it counts
        // as the same. A constant that only another one took the place of shows in the section alone.
        _ => shape(old) == shape(new),
    }
}

/// At which bytes the lines of a function begin, counted from its own first line.
fn shape<'a>(function: &Function<'a>) -> &'a [u8] {
    let lines = function.lines.1;
    let first = lines.iter().position(|byte| byte & 0x80 == 0).map_or(0, |last| last + 1);
    &lines[first..]
}

/// The number in four bytes.
fn number(bytes: &[u8], at: usize) -> Option<i64> {
    Some(i64::from(i32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?)))
}

/// Two pieces of code of the same length.
struct Pair<'a> {
    was: &'a Code<'a>,
    now: &'a Code<'a>,
    a: &'a [u8],
    b: &'a [u8],
    /// Their addresses.
    from: (u64, u64),
}

impl Pair<'_> {
    /// Whether two addresses are of the same thing. Of data in a section that differs only the section is compared: what is
    /// in it is compared as that section's content.
    fn leads_to_same(&self, old: u64, new: u64) -> bool {
        self.was.place(old).is_some_and(|old| self.now.place(new).is_some_and(|new| old == new))
    }

    /// Whether two addresses are of different texts: constant strings, or bytes of which the code says how many.
    fn leads_to_other_text(&self, old: u64, new: u64, size: Option<u64>) -> bool {
        let differ = |was: Option<&str>, now: Option<&str>| was.is_some() && now.is_some() && was != now;
        size.is_some_and(|size| differ(self.was.text(old, size), self.now.text(new, size)))
            || differ(self.was.string(old), self.now.string(new))
    }

    /// References are four bytes, counted from the end of their instruction, which may end with a constant.
    fn is_same_amd64(&self) -> bool {
        let is_reference = |at: usize| {
            let (Some(old), Some(new)) = (number(self.a, at), number(self.b, at)) else { return false };
            [4, 5, 6, 8].iter().any(|end| {
                let target =
                    |from: u64, number: i64| from.wrapping_add((at + end) as u64).wrapping_add_signed(number);
                self.leads_to_same(target(self.from.0, old), target(self.from.1, new))
            })
        };
        let mut at = 0;
        // The end of the last reference: they don't overlap.
        let mut free = 0;
        while at < self.a.len() {
            if self.a[at] == self.b[at] {
                at += 1;
                continue;
            }
            let Some(start) = (at.saturating_sub(3).max(free)..=at).rev().find(|at| is_reference(*at)) else {
                return false;
            };
            free = start + 4;
            at = free;
        }
        true
    }

    /// The same code can lead to another text at the same address. A text is given in two registers, one after the other:
    /// `LEAQ text(SB), AX; MOVL $size, BX`; a constant string by its address alone.
    fn has_same_texts_amd64(&self) -> bool {
        // In the order in which Go passes them.
        const ORDER: [u8; 9] = [0, 3, 1, 7, 6, 8, 9, 10, 11];
        let is_followed = |first: u8, second: u8| ORDER.windows(2).any(|two| two == [first, second]);
        for (at, code) in self.a.windows(7).enumerate() {
            let [prefix @ (0x48 | 0x4c), 0x8d, register, ..] = *code else { continue };
            if register & 0xc7 != 5 {
                continue;
            }
            let first = register >> 3 & 7 | (prefix & 4) << 1;
            let size = match self.a.get(at + 7..).unwrap_or_default() {
                [op @ 0xb8..=0xbf, ..] if is_followed(first, op & 7) => number(self.a, at + 8),
                [0x41, op @ 0xb8..=0xbf, ..] if is_followed(first, op & 7 | 8) => number(self.a, at + 9),
                _ => None,
            };
            let target = |code: &[u8], from: u64| {
                Some(from.wrapping_add((at + 7) as u64).wrapping_add_signed(number(code, at + 3)?))
            };
            if let (Some(old), Some(new)) = (target(self.a, self.from.0), target(self.b, self.from.1))
                && self.leads_to_other_text(old, new, size.and_then(|size| u64::try_from(size).ok()))
            {
                return false;
            }
        }
        true
    }

    /// Branches, and pairs of instructions that make an address: that of a page, and the rest.
    fn is_same_arm64(&self) -> bool {
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        // By register: in which instruction, and both addresses.
        let mut pages: [Option<(usize, u64, u64)>; 32] = [None; 32];
        let mut words = self.a.chunks_exact(4).map(word).skip(1);
        for (n, (a, b)) in self.a.chunks_exact(4).zip(self.b.chunks_exact(4)).enumerate() {
            let (a, b) = (word(a), word(b));
            // After the address of a text comes its size, in the next register: `MOVD $size, …`.
            let is_size = |next: &u32| next & 0xffe0_0000 == 0xd280_0000 && next & 31 == (a & 31) + 1;
            let size = words.next().filter(is_size).map(|next| u64::from(next >> 5 & 0xffff));
            let at = (n as u64) * 4;
            let here = (self.from.0.wrapping_add(at), self.from.1.wrapping_add(at));
            let is_page = |w: u32| w & 0x9f00_0000 == 0x9000_0000;
            if is_page(a) && is_page(b) && a & 31 == b & 31 {
                let page = |w: u32, here: u64| {
                    let pages = i64::from(((w >> 5 & 0x7_ffff) << 2 | w >> 29 & 3).cast_signed() << 11 >> 11);
                    (here & !0xfff).wrapping_add_signed(pages << 12)
                };
                pages[(a & 31) as usize] = Some((n, page(a, here.0), page(b, here.1)));
                continue;
            }
            let register = (a >> 5 & 31) as usize;
            // An immediate of twelve bits, of an addition or of an access to memory.
            let is_rest = |w: u32| w & 0x7fc0_0000 == 0x1100_0000 || w & 0x3b00_0000 == 0x3900_0000;
            if is_rest(a)
                && a & !0x003f_fc00 == b & !0x003f_fc00
                && let Some((_, old, new)) = pages[register].filter(|(page, ..)| page + 2 >= n)
            {
                let scale = if a & 0x3b00_0000 == 0x3900_0000 { a >> 30 } else { 0 };
                let rest = |w: u32| u64::from(w >> 10 & 0xfff) << scale;
                let (old, new) = (old.wrapping_add(rest(a)), new.wrapping_add(rest(b)));
                let has_moved = old != new && !self.leads_to_same(old, new);
                if has_moved || self.leads_to_other_text(old, new, size) {
                    return false;
                }
                continue;
            }
            if a == b {
                continue;
            }
            let is_branch = |w: u32| w & 0x7c00_0000 == 0x1400_0000;
            let target =
                |w: u32, here: u64| here.wrapping_add_signed(i64::from((w << 6).cast_signed() >> 6) * 4);
            let is_call = is_branch(a) && is_branch(b) && a >> 26 == b >> 26;
            if !is_call || !self.leads_to_same(target(a, here.0), target(b, here.1)) {
                return false;
            }
        }
        true
    }
}
