//! The functions of a Go program, as its runtime knows them: the table that Go calls `pclntab` (Go's `runtime/symtab.go`
//! and `debug/gosym`). It stays when symbols are stripped. Only the layout of Go 1.20 and later.
//!
//! Nothing in a table is believed: one that points out of itself isn't read.

/// Go 1.20 and later.
const MAGIC: u32 = 0xffff_fff1;
/// Before the header's words: magic, two zeros, the instructions' quantum, the size of a pointer.
const HEADER: usize = 8;
/// Where there is no section for it, it begins at a multiple of this.
const ALIGN: usize = 4;
/// An entry of the table of functions: where the code is, and where more about it is.
const FUNCTION: usize = 8;
/// What of a function's record is read; each has one of its own, so there are no more functions than room for these.
const RECORD: usize = 40;
/// How often, on average, a byte of the table is read: functions share names' ends and tables of lines, but not
/// without measure.
const MAX_READ: usize = 16;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    /// Its name with its package: `example.com/a/greet.Line`.
    pub(super) name: &'a str,
    /// Where its code begins, from the beginning of Go's code.
    pub(super) offset: u32,
    /// How long its code is, with what fills up to the next function.
    pub(super) size: u32,
    /// The line on which it begins, and the table of its lines.
    pub(super) lines: (u32, &'a [u8]),
}

/// The table of a program.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    /// The address of the beginning of Go's code, if the table says it: no longer since Go 1.26.
    pub(super) text: Option<u64>,
    /// The functions, in the order of their code.
    pub(super) functions: Vec<Function<'a>>,
}

/// Reads the table that `data` begins with; none if it is of another layout, or contradicts itself.
pub(super) fn read(data: &[u8]) -> Option<Table<'_>> {
    let first: [u8; 4] = data.get(..4)?.try_into().ok()?;
    let little = match (u32::from_le_bytes(first), u32::from_be_bytes(first)) {
        (MAGIC, _) => true,
        (_, MAGIC) => false,
        _ => return None,
    };
    let numbers = Numbers { data, little };
    let width = usize::from(*data.get(7)?);
    let word = |n: usize| match width {
        4 => numbers.u32(HEADER + n * 4).map(u64::from),
        8 => numbers.u64(HEADER + n * 8),
        _ => None,
    };
    let part = |n: usize| data.get(usize::try_from(word(n)?).ok()?..);
    let count = usize::try_from(word(0)?).ok()?;
    let (names, lines, about) = (part(3)?, part(6)?, part(7)?);
    if about.len() / (FUNCTION + RECORD) < count {
        return None;
    }
    // The last entry is the end of the code.
    let table = about.get(..count.checked_mul(FUNCTION)?.checked_add(4)?)?;
    let table = Numbers { data: table, little };
    let about = Numbers { data: about, little };
    let mut left = data.len().saturating_mul(MAX_READ);
    let mut function = |n: usize| {
        let offset = table.u32(n * FUNCTION)?;
        let size = table.u32((n + 1) * FUNCTION)?.checked_sub(offset)?;
        let record = usize::try_from(table.u32(n * FUNCTION + 4)?).ok()?;
        // Of the record: nameOff, pcln, startLine (Go's `runtime._func`).
        let field = |n: usize| about.u32(record.checked_add(n * 4)?);
        let name = text(names, field(1)?, left)?;
        left -= name.len();
        let lines = pairs(lines, field(6)?, left)?;
        left -= lines.len();
        Some(Function { name, offset, size, lines: (field(9)?, lines) })
    };
    let functions: Vec<Function<'_>> = (0..count).map(&mut function).collect::<Option<_>>()?;
    Some(Table { text: word(2).filter(|at| *at != 0), functions })
}

/// Where in `data` a table may begin, by its first bytes: the magic number, two zeros, what Go has of quanta and pointers.
pub(super) fn places(data: &[u8]) -> impl Iterator<Item = usize> {
    let begins = |at: &usize| {
        let is_it = |b: &[u8]| {
            matches!(b, [0xf1, 0xff, 0xff, 0xff, 0, 0, 1 | 2 | 4, 4 | 8])
                || matches!(b, [0xff, 0xff, 0xff, 0xf1, 0, 0, 1 | 2 | 4, 4 | 8])
        };
        data.get(*at..*at + HEADER).is_some_and(is_it)
    };
    (0..data.len()).step_by(ALIGN).filter(begins)
}

struct Numbers<'a> {
    data: &'a [u8],
    little: bool,
}

impl Numbers<'_> {
    fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.data.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let bytes = self.data.get(at..at.checked_add(8)?)?.try_into().ok()?;
        Some(if self.little { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }
}

/// The text that a zero ends, within `limit` bytes.
fn text(names: &[u8], at: u32, limit: usize) -> Option<&str> {
    let rest = names.get(usize::try_from(at).ok()?..)?;
    let rest = &rest[..rest.len().min(limit)];
    let end = rest.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// Pairs of numbers (how much the value and the place change), up to the one whose value doesn't. None of them where
/// `at` is 0; within `limit` bytes.
fn pairs(tables: &[u8], at: u32, limit: usize) -> Option<&[u8]> {
    if at == 0 {
        return Some(&[]);
    }
    let rest = tables.get(usize::try_from(at).ok()?..)?;
    let rest = &rest[..rest.len().min(limit)];
    let mut end = 0;
    let mut is_first = true;
    loop {
        if *rest.get(end)? == 0 && !is_first {
            return Some(&rest[..end]);
        }
        is_first = false;
        for _ in 0..2 {
            while *rest.get(end)? & 0x80 != 0 {
                end += 1;
            }
            end += 1;
        }
    }
}

/// The package of a function, as Go's symbols name it: up to the first dot after the last slash. Names of types may
/// stand in brackets behind it; what the compiler makes for a type (`type:.eq.…`) belongs to the type's package.
pub(super) fn package(name: &str) -> String {
    let made = ["type:.eq.", "type:.hash.", "go:", "type:"];
    let name = made.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    // What stands in brackets may hold slashes and dots of its own.
    let plain = name.split(['[', '(', '{']).next().unwrap_or(name);
    let slash = plain.rfind('/').map_or(0, |at| at + 1);
    let dot = name[slash..].find('.').map_or(name.len(), |at| slash + at);
    unescaped(&name[..dot])
}

/// Dots in the last part of an import path are written `%2e` in symbols.
fn unescaped(path: &str) -> String {
    path.replace("%2e", ".").replace("%22", "\"").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_functions() {
        for (name, of) in [
            ("main.main", "main"),
            ("main.(*T).Run", "main"),
            ("example.com/a/greet.Line", "example.com/a/greet"),
            ("example.com/a/greet.Line.func1", "example.com/a/greet"),
            ("gopkg.in/yaml%2ev3.Marshal", "gopkg.in/yaml.v3"),
            ("slices.SortFunc[go.shape.[]example.com/x/y.T,go.shape.int]", "slices"),
            ("a.com/b.(*M[go.shape.string]).Get", "a.com/b"),
            ("type:.eq.net/http.http2serverMessage", "net/http"),
            ("runtime.text", "runtime"),
            ("_rt0_amd64_linux", "_rt0_amd64_linux"),
            ("", ""),
        ] {
            assert_eq!(package(name), of, "{name}");
        }
    }

    /// A table of two functions, `a.F` of 16 bytes on line 3 and `a.G` of 8 on line 9.
    fn table(little: bool, width: usize) -> Vec<u8> {
        let u32s = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let word = |n: u32| -> Vec<u8> {
            match (width, little) {
                (8, true) => u64::from(n).to_le_bytes().to_vec(),
                (8, false) => u64::from(n).to_be_bytes().to_vec(),
                _ => u32s(n).to_vec(),
            }
        };
        let names = b"\0a.F\0a.G\0";
        let lines = [0, 6, 16, 0, 0];
        let (start, record) = (8 + 8 * width as u32, 40);
        let (names_at, lines_at) = (start, start + names.len() as u32);
        let about_at = lines_at + lines.len() as u32;
        let mut data = u32s(MAGIC).to_vec();
        data.extend([0, 0, 1, width as u8]);
        for n in [2, 1, 0, names_at, 0, 0, lines_at, about_at] {
            data.extend(word(n));
        }
        data.extend(names);
        data.extend(lines);
        let records = 2 * 8 + 4;
        for n in [0, records, 16, records + record, 24] {
            data.extend(u32s(n));
        }
        for (entry, name, first) in [(0, 1, 3), (16, 5, 9)] {
            for n in [entry, name, 0, 0, 0, 0, 1, 0, 0, first] {
                data.extend(u32s(n));
            }
        }
        data
    }

    #[test]
    fn functions_are_read_in_either_order_of_bytes_and_no_table_panics() {
        for (little, width) in [(true, 8), (true, 4), (false, 8), (false, 4)] {
            let data = table(little, width);
            let read_back = read(&data).unwrap();
            let lines = &[6, 16][..];
            let first = Function { name: "a.F", offset: 0, size: 16, lines: (3, lines) };
            let second = Function { name: "a.G", offset: 16, size: 8, lines: (9, lines) };
            assert_eq!(read_back.functions, [first, second]);
            assert_eq!(read_back.text, None);
            for end in 0..data.len() {
                let _ = read(&data[..end]);
            }
            for at in 0..data.len() {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut broken = data.clone();
                    broken[at] = byte;
                    let _ = read(&broken);
                }
            }
        }
        assert!(read(b"").is_none() && read(&[0xff; 100]).is_none());
    }
}
