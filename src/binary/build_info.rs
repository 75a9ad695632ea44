//! What the Go linker records in a binary (Go's `debug/buildinfo` and `runtime/debug`): the toolchain, the
//! modules, the settings. Only the inline form of Go 1.18 and later.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};

use crate::error::{Error, Kind, Result};

/// A module of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// The module's path.
    pub path: String,
    /// Its version; `(devel)` for a main module without one.
    pub version: String,
    /// Its `h1:` sum from go.sum; empty for a main module.
    pub sum: String,
    /// The module that stands in for it (a `replace` line of go.mod).
    pub replace: Option<Box<Module>>,
}

/// What the Go linker recorded: the text of `go version -m`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The toolchain, such as `go1.26.8`, with its experiments.
    pub go_version: String,
    /// The import path of the main package; empty if the build was not of a package in a module.
    pub path: String,
    /// The module of the main package.
    pub main: Option<Module>,
    /// The modules it was built with, in the linker's order.
    pub deps: Vec<Module>,
    /// The settings, such as `GOARCH` or `vcs.revision`, in the linker's order.
    pub settings: Vec<(String, String)>,
}

impl BuildInfo {
    /// The value of the setting `key`.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The module that a package is of, as go.mod asked for it: the one with the longest path that the package's is, or is
    /// below.
    #[must_use]
    pub fn module_of(&self, package: &str) -> Option<&Module> {
        let is_of = |module: &&Module| {
            let rest = package.strip_prefix(module.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.main.iter().chain(&self.deps).filter(is_of).max_by_key(|module| module.path.len())
    }
}

impl fmt::Display for BuildInfo {
    /// As `go version -m` has it, but for the name of the file before it (Go's `debug.BuildInfo.String`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.go_version)?;
        if !self.path.is_empty() {
            writeln!(f, "\tpath\t{}", self.path)?;
        }
        let modules = self.main.iter().map(|m| ("mod", m)).chain(self.deps.iter().map(|m| ("dep", m)));
        for (word, module) in modules {
            write!(f, "\t{word}\t{}\t{}", module.path, module.version)?;
            match &module.replace {
                None => writeln!(f, "\t{}", module.sum)?,
                Some(other) => writeln!(f, "\n\t=>\t{}\t{}\t{}", other.path, other.version, other.sum)?,
            }
        }
        for (key, value) in &self.settings {
            writeln!(f, "\tbuild\t{}={}", quoted(key, true), quoted(value, false))?;
        }
        Ok(())
    }
}

/// Text as Go writes it in a setting: quoted where it must be (`strconv.Quote`).
fn quoted(text: &str, is_key: bool) -> String {
    let must = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | '"' | '`') || is_key && c == '=';
    let is_plain = !text.contains(must);
    if is_plain && (!is_key || !text.is_empty()) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Magic, pointer size, flags, and what older versions put there.
const HEADER: usize = 32;
const ALIGN: usize = 16;
/// The flag of strings that follow the header.
const INLINE: u8 = 2;
/// The longest string read. 1 000 modules take 0.1 MB.
const LIMIT: u64 = 4 * 1024 * 1024;
const CHUNK: usize = 64 * 1024;

/// Searches `size` bytes from `offset` for build information and reads it; `None` if there is none.
pub(super) fn find<R: Read + Seek>(reader: &mut R, offset: u64, size: u64) -> Result<Option<BuildInfo>> {
    let unreadable = |e: std::io::Error| Error::new(Kind::LocalIo, "read the binary", e);
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut at = 0;
    while at < size {
        let start = offset.saturating_add(at);
        reader.seek(SeekFrom::Start(start)).map_err(unreadable)?;
        chunk.clear();
        let wanted = (size - at).min(CHUNK as u64);
        let n = reader.by_ref().take(wanted).read_to_end(&mut chunk).map_err(unreadable)?;
        // Both are aligned, so the magic is never across two chunks.
        if let Some(i) = chunk.chunks(ALIGN).position(|part| part.starts_with(MAGIC)) {
            reader.seek(SeekFrom::Start(start + (i * ALIGN) as u64)).map_err(unreadable)?;
            return decode(reader).map_err(|e| match e.kind() {
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                    Error::new(Kind::Input, "read the binary's Go build information", e)
                }
                _ => unreadable(e),
            });
        }
        if n < CHUNK {
            break;
        }
        at += n as u64;
    }
    Ok(None)
}

fn decode<R: Read>(reader: &mut R) -> std::io::Result<Option<BuildInfo>> {
    let mut header = [0; HEADER];
    reader.read_exact(&mut header)?;
    if header[MAGIC.len() + 1] & INLINE == 0 {
        return Ok(None);
    }
    let version = string(reader)?;
    let modules = string(reader)?;
    let mut info = match frame(&modules) {
        Some(text) => parse(&String::from_utf8_lossy(text))
            .map_err(|line| invalid(&format!("a line that Go doesn't write: {line:?}")))?,
        None => BuildInfo::default(),
    };
    info.go_version = String::from_utf8_lossy(&version).into_owned();
    Ok(Some(info))
}

fn invalid(why: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}

/// Reads a string after its length as a varint (`encoding/binary`, Uvarint).
fn string<R: Read>(reader: &mut R) -> std::io::Result<Vec<u8>> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        length |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] & 0x80 == 0 {
            if length > LIMIT {
                break;
            }
            let mut text = Vec::new();
            let n = reader.take(length).read_to_end(&mut text)?;
            return if n as u64 == length { Ok(text) } else { Err(invalid("a string is cut short")) };
        }
    }
    Err(invalid("a string is too long"))
}

/// Takes away the 16 bytes that the `go` command puts at both ends; `None` if they aren't there.
fn frame(modules: &[u8]) -> Option<&[u8]> {
    let text = modules.get(16..modules.len().checked_sub(16)?)?;
    text.ends_with(b"\n").then_some(text)
}

/// Parses the text between the frames (`runtime/debug`, ParseBuildInfo); an `Err` is the line at fault.
fn parse(text: &str) -> Result<BuildInfo, String> {
    let mut info = BuildInfo::default();
    for line in text.lines() {
        let bad = || line.to_owned();
        let Some((word, rest)) = line.split_once('\t') else {
            if line.is_empty() {
                continue;
            }
            return Err(bad());
        };
        match word {
            "path" => info.path = rest.to_owned(),
            "mod" => info.main = Some(module(rest)),
            "dep" => info.deps.push(module(rest)),
            // It belongs to the module of the line before.
            "=>" => {
                let replaced = info.deps.last_mut().or(info.main.as_mut()).ok_or_else(bad)?;
                replaced.replace = Some(Box::new(module(rest)));
            }
            "build" => info.settings.push(setting(rest).ok_or_else(bad)?),
            // A later Go may record more.
            _ => {}
        }
    }
    Ok(info)
}

fn module(columns: &str) -> Module {
    let mut columns = columns.split('\t').map(str::to_owned);
    let mut next = || columns.next().unwrap_or_default();
    Module { path: next(), version: next(), sum: next(), replace: None }
}

/// A `key=value` of which either may be a quoted Go string.
fn setting(text: &str) -> Option<(String, String)> {
    let quoted = |s: &str| s.starts_with(['"', '`']);
    let (key, value) = if quoted(text) {
        let (key, rest) = unquote(text)?;
        (key, rest.strip_prefix('=')?)
    } else {
        let (key, value) = text.split_once('=')?;
        (key.to_owned(), value)
    };
    if key.is_empty() {
        return None;
    }
    if !quoted(value) {
        return Some((key, value.to_owned()));
    }
    match unquote(value)? {
        (value, "") => Some((key, value)),
        _ => None,
    }
}

/// Reads a quoted Go string from the beginning of `text`; also returns what follows it (`strconv.Unquote`).
fn unquote(text: &str) -> Option<(String, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (value, rest) = raw.split_once('`')?;
        return Some((value.to_owned(), rest));
    }
    let body = text.strip_prefix('"')?;
    let mut value = Vec::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        let escape = match c {
            '"' => return Some((String::from_utf8_lossy(&value).into_owned(), &body[at + 1..])),
            '\\' => chars.next()?.1,
            _ => {
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        let mut number = |first: u32, radix: u32, digits: usize| {
            (0..digits).try_fold(first, |n, _| Some(n * radix + chars.next()?.1.to_digit(radix)?))
        };
        match escape {
            'a' => value.push(7),
            'b' => value.push(8),
            'f' => value.push(12),
            'n' => value.push(b'\n'),
            'r' => value.push(b'\r'),
            't' => value.push(b'\t'),
            'v' => value.push(11),
            '\\' | '"' => value.push(escape as u8),
            'x' => value.push(u8::try_from(number(0, 16, 2)?).ok()?),
            '0'..='7' => value.push(u8::try_from(number(escape.to_digit(8)?, 8, 2)?).ok()?),
            'u' | 'U' => {
                // Eight hex digits fit 32 bits.
                let c = char::from_u32(number(0, 16, if escape == 'u' { 4 } else { 8 })?)?;
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn what_is_read_is_written_as_go_writes_it() {
        let text = "\tpath\texample.com/a\n\tmod\texample.com/a\t(devel)\t\n\tdep\tb.org/b\tv1.0.0\th1:x=\n\
                    \tdep\tc.org/c\tv2.0.0\n\t=>\t../c\t(devel)\t\n\tbuild\t-ldflags=\"-X \\\"a=b\\\\\\\"\"\n\
                    \tbuild\tCGO_CFLAGS=\n\tbuild\tGOARCH=amd64\n\tbuild\t\"a b\"=\"x\\ty\"\n";
        let info = parse(&text.replace("\n\t", "\n").replacen('\t', "", 1)).unwrap();
        let info = BuildInfo { go_version: "go1.26.8".into(), ..info };
        assert_eq!(info.to_string(), format!("go1.26.8\n{text}"));
    }

    #[test]
    fn modules_replacements_and_quoted_settings() {
        let info = parse(concat!(
            "path\texample.com/a/cmd\nmod\texample.com/a\tv1.2.3\t\ndep\tb.org/b\tv1.0.0\th1:x=\n",
            "dep\tc.org/c\tv2.0.0\n=>\t../c\t(devel)\t\nbuild\t-ldflags=\"-s -w -X \\\"a=b\\\"\"\n",
            "build\tGOARCH=amd64\nbuild\t\"odd key\"=`raw`\nbuild\tCGO_CFLAGS=\nfuture\tx\n",
        ))
        .unwrap();
        assert_eq!(info.path, "example.com/a/cmd");
        assert_eq!(info.main.as_ref().unwrap().version, "v1.2.3");
        assert_eq!(info.deps[0].sum, "h1:x=");
        assert_eq!(info.deps[1].replace.as_ref().unwrap().path, "../c");
        assert_eq!(info.setting("-ldflags"), Some("-s -w -X \"a=b\""));
        assert_eq!(info.setting("odd key"), Some("raw"));
        assert_eq!(info.setting("CGO_CFLAGS"), Some(""));
        assert_eq!(info.setting("GOOS"), None);
        for bad in ["junk", "build\t=x", "build\tx", "build\tk=\"open", "build\tk=\"a\"b", "=>\tx"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn go_strings_unquote() {
        let (value, rest) = unquote(r#""\a\t\x41\101\u00e9\U0001F600\"\\é"tail"#).unwrap();
        assert_eq!((value.as_str(), rest), ("\u{7}\tAAé😀\"\\é", "tail"));
        for bad in [r#""\q""#, r#""\x4""#, r#""\400""#, r#""\ud800""#, r#""\"#, "\"", "`", "x"] {
            assert!(unquote(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn broken_information_is_an_error_and_old_ones_are_skipped() {
        let mut section = vec![0; 48];
        section[16..16 + MAGIC.len()].copy_from_slice(MAGIC);
        let find = |bytes: &[u8]| find(&mut Cursor::new(bytes), 0, bytes.len() as u64);
        assert_eq!(find(&section).unwrap(), None);
        section[16 + MAGIC.len() + 1] = INLINE;
        section.extend_from_slice(b"\x08go1.18");
        assert_eq!(find(&section).unwrap_err().kind(), Kind::Input);
        section.extend_from_slice(b".1\0");
        assert_eq!(find(&section).unwrap().unwrap().go_version, "go1.18.1");
        section.truncate(48);
        section.extend_from_slice(&[0xff; 9]);
        assert_eq!(find(&section).unwrap_err().kind(), Kind::Input);
        assert_eq!(find(b"nothing here").unwrap(), None);
    }
}
