//! The packages whose functions are in a Go program, by the names that its runtime has of them (see [`super::pclntab`]).
//! Functions whose code was put into others are named too; what the linker left out isn't, nor what came to nothing.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom};

use super::pclntab;

/// How the table begins: Go 1.18 and 1.20, in either order of bytes (Go's `internal/abi`, "symtab.go").
const MAGICS: [[u8; 6]; 4] = [
    [0xf0, 0xff, 0xff, 0xff, 0, 0],
    [0xf1, 0xff, 0xff, 0xff, 0, 0],
    [0xff, 0xff, 0xff, 0xf0, 0, 0],
    [0xff, 0xff, 0xff, 0xf1, 0, 0],
];
/// The table lies at a multiple of this, in files of every format.
const ALIGNED: usize = 4;
/// What is looked at of a file at a time, and how much of that again with the next: more than a magic.
const PIECE: usize = 1 << 20;
const AGAIN: usize = 8;
/// The header: magic, two numbers of a byte, eight words.
const HEADER: usize = 8 + 8 * 8;
/// No program has more packages, and none a longer name of a function, in bytes.
const MAX_PACKAGES: usize = 50_000;
const MAX_NAME: u64 = 64 * 1024;
/// How many places that only look like a table are looked at.
const MAX_TRIED: usize = 1000;

/// The packages, as they are imported; the program's own is `main`. None where no table is found, or one that
/// contradicts itself. Read piece by piece: names are never in memory all at once.
pub fn packages<R: Read + Seek>(mut file: R) -> Option<BTreeSet<String>> {
    let size = file.seek(SeekFrom::End(0)).ok()?;
    let mut piece = vec![0; PIECE];
    let (mut at, mut tried) = (0, 0);
    while at < size {
        file.seek(SeekFrom::Start(at)).ok()?;
        let read = fill(&mut file, &mut piece)?;
        let words = piece[..read].chunks_exact(ALIGNED).enumerate();
        // All have these in the middle.
        for (number, _) in words.filter(|(_, word)| word[1..3] == [0xff, 0xff]) {
            let start = number * ALIGNED;
            if !MAGICS.iter().any(|magic| piece[start..read].starts_with(magic)) {
                continue;
            }
            let table = at + start as u64;
            if let Some(found) = names(&mut file, table, size) {
                return Some(found);
            }
            tried += 1;
            if tried == MAX_TRIED {
                return None;
            }
        }
        if read < PIECE {
            break;
        }
        at += (read - AGAIN) as u64;
    }
    None
}

/// Reads until `into` is full or the file ends.
fn fill(file: &mut impl Read, into: &mut [u8]) -> Option<usize> {
    let mut read = 0;
    while read < into.len() {
        match file.read(&mut into[read..]).ok()? {
            0 => break,
            more => read += more,
        }
    }
    Some(read)
}

/// The packages of the functions' names in the table at `at`.
fn names<R: Read + Seek>(file: &mut R, at: u64, size: u64) -> Option<BTreeSet<String>> {
    let mut header = [0; HEADER];
    file.seek(SeekFrom::Start(at)).ok()?;
    let read = fill(file, &mut header)?;
    let header = header.get(..read)?;
    let little = header[0] != 0xff;
    let (quantum, width) = (*header.get(6)?, usize::from(*header.get(7)?));
    let word = |n: usize| {
        let bytes = header.get(8 + n * width..8 + (n + 1) * width)?;
        let digit = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if little { bytes.iter().rev().fold(0, digit) } else { bytes.iter().fold(0, digit) })
    };
    if ![1, 2, 4].contains(&quantum) || ![4, 8].contains(&width) {
        return None;
    }
    // Number of functions, then where names and the table after them begin.
    let (count, from, to) = (word(0)?, word(3)?, word(4)?);
    let is_sound = count > 0 && from >= 8 + 8 * width as u64 && from < to && at.checked_add(to)? <= size;
    if !is_sound {
        return None;
    }
    file.seek(SeekFrom::Start(at + from)).ok()?;
    let mut names = BufReader::new(file.take(to - from));
    let (mut found, mut name) = (BTreeSet::new(), Vec::new());
    loop {
        name.clear();
        if (&mut names).take(MAX_NAME).read_until(0, &mut name).ok()? == 0 {
            return (!found.is_empty()).then_some(found);
        }
        // What fills up to the next table may have no end of its own.
        let Some((0, text)) = name.split_last() else { return (!found.is_empty()).then_some(found) };
        let text = std::str::from_utf8(text).ok()?;
        if let Some(package) = package(text)
            && !found.contains(&package)
        {
            if found.len() == MAX_PACKAGES {
                return None;
            }
            found.insert(package);
        }
    }
}

/// The package of a function. None of what has none: code in assembly, what the linker makes.
fn package(name: &str) -> Option<String> {
    let package = pclntab::package(name);
    let is_path = |c: char| c.is_ascii_alphanumeric() || "-._~/+@!".contains(c) || !c.is_ascii();
    let is_whole = package.len() == name.len();
    // `go.shape.int` is a type of the compiler's, and so is what is made for it.
    let is_made =
        name.starts_with("go:") || package == "go" || package.is_empty() || package.starts_with(['_', '.']);
    (!is_whole && !is_made && package.chars().all(is_path)).then_some(package)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A file with a table of these names at `at`.
    fn file(at: usize, little: bool, width: usize, names: &[u8]) -> Vec<u8> {
        let mut file = vec![0x90; at];
        let magic = 0xffff_fff1_u32;
        let word = |n: u64| {
            let bytes = if little { n.to_le_bytes() } else { n.to_be_bytes() };
            if little { bytes[..width].to_vec() } else { bytes[8 - width..].to_vec() }
        };
        file.extend(if little { magic.to_le_bytes() } else { magic.to_be_bytes() });
        file.extend([0, 0, 1, u8::try_from(width).unwrap()]);
        let from = 8 + 8 * width as u64;
        for n in [2, 1, 0, from, from + names.len() as u64, 0, 0, 0] {
            file.extend(word(n));
        }
        file.extend(names);
        file
    }

    fn of(file: &[u8]) -> Option<String> {
        packages(Cursor::new(file)).map(|found| found.into_iter().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn packages_are_read_wherever_the_table_is_and_nothing_else_is_one() {
        let names = b"main.main\0a.com/b/c.(*T).Get\0a.com/b/c.F\0memeqbody\0go:buildid\0_rt0_amd64_linux\0\
                      gopkg.in/yaml%2ev3.Marshal\0type:.eq.net/http.T\0type:.eq.go.shape.int\0slices.Sort[go.shape.a/b.T]\0";
        let expected = "a.com/b/c gopkg.in/yaml.v3 main net/http slices";
        for (little, width) in [(true, 8), (true, 4), (false, 8), (false, 4)] {
            for at in [0, 64, PIECE - 32, PIECE - 8, PIECE - 4, PIECE, 2 * PIECE + 4096] {
                assert_eq!(of(&file(at, little, width, names)).as_deref(), Some(expected), "{at}");
            }
            assert_eq!(of(&file(41, little, width, names)), None, "it isn't aligned");
            // What only begins as a table is passed over.
            let mut two = file(0, little, width, b"x\0");
            two.resize(4096, 0);
            two.extend(file(0, little, width, names));
            assert_eq!(of(&two).as_deref(), Some(expected));
        }
        assert_eq!((of(b""), of(&[0xff; 5000]), of(&MAGICS.concat())), (None, None, None));
    }

    #[test]
    fn no_table_panics() {
        let whole = file(32, true, 8, b"main.main\0a.com/b.F\0");
        for end in 0..whole.len() {
            let _ = of(&whole[..end]);
        }
        for at in 32..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] = byte;
                let _ = of(&broken);
            }
        }
        let long = [vec![b'a'; 3 << 20], b"\0".to_vec()].concat();
        assert_eq!(of(&file(0, true, 8, &long)), None);
    }
}
