//! Templates: `print` and `printf` as Go's package fmt has them, with its marks for wrong verbs (`%!d(string=x)`).

use super::float;
use super::value::Value;

/// The largest width or precision; Go's limit too.
const MAX_WIDTH: usize = 1_000_000;

/// Writes values, up to a limit.
pub(super) struct Printer {
    out: Vec<u8>,
    limit: usize,
    /// Why the result can't be used.
    fault: Option<&'static str>,
    flags: Flags,
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%#v`
    go_syntax: bool,
}

impl Printer {
    pub(super) fn new(limit: usize) -> Self {
        Printer { out: Vec::new(), limit, fault: None, flags: Flags::default() }
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, String> {
        match self.fault {
            Some(fault) => Err(fault.to_owned()),
            None => Ok(self.out),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.out.len() + bytes.len() > self.limit {
            self.fault = Some("it makes too much text");
        }
        if self.fault.is_none() {
            self.out.extend_from_slice(bytes);
        }
    }

    fn char(&mut self, c: char) {
        self.write(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn padding(&mut self, count: usize) {
        let byte = if self.flags.zero && !self.flags.minus { b'0' } else { b' ' };
        if self.out.len() + count > self.limit {
            self.fault = Some("it makes too much text");
        }
        if self.fault.is_none() {
            self.out.resize(self.out.len() + count, byte);
        }
    }

    /// Writes `text` padded to the width.
    fn pad(&mut self, text: &[u8]) {
        let missing = self.flags.width.unwrap_or(0).saturating_sub(char_count(text));
        if self.flags.minus {
            self.write(text);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.write(text);
        }
    }

    /// The same, never with zeros.
    fn pad_blank(&mut self, text: &[u8]) {
        let zero = std::mem::replace(&mut self.flags.zero, false);
        self.pad(text);
        self.flags.zero = zero;
    }

    /// `fmt.Print`: a blank between operands of which neither is a string.
    pub(super) fn print(&mut self, args: &[Value]) {
        let mut after_string = true;
        for arg in args {
            let string = matches!(arg, Value::Text(_));
            if !string && !after_string {
                self.write(b" ");
            }
            self.value(arg, 'v', true);
            after_string = string;
        }
    }

    /// `fmt.Println`.
    pub(super) fn println(&mut self, args: &[Value]) {
        for (i, arg) in args.iter().enumerate() {
            if i > 0 {
                self.write(b" ");
            }
            self.value(arg, 'v', true);
        }
        self.write(b"\n");
    }

    /// `fmt.Printf`.
    pub(super) fn printf(&mut self, format: &[u8], args: &[Value]) {
        let mut scan = Scan { format, at: 0, arg: 0, args, reordered: false, good: true };
        let mut after_index = false;
        while scan.at < format.len() && self.fault.is_none() {
            scan.good = true;
            let rest = &format[scan.at..];
            let plain = rest.iter().position(|b| *b == b'%').unwrap_or(rest.len());
            self.write(&rest[..plain]);
            scan.at += plain;
            if scan.at >= format.len() {
                break;
            }
            scan.at += 1;
            self.flags = Flags::default();
            if !self.verb(&mut scan, &mut after_index) {
                self.write(b"%!(NOVERB)");
                break;
            }
        }
        if !scan.reordered && scan.arg < args.len() {
            self.flags = Flags::default();
            self.write(b"%!(EXTRA ");
            for (i, arg) in args[scan.arg..].iter().enumerate() {
                if i > 0 {
                    self.write(b", ");
                }
                self.write(arg.type_name().as_bytes());
                if !matches!(arg, Value::Nil) {
                    self.write(b"=");
                    self.value(arg, 'v', true);
                }
            }
            self.write(b")");
        }
    }

    /// What follows a `%`; false if the format ends before the verb.
    fn verb(&mut self, scan: &mut Scan<'_>, after_index: &mut bool) -> bool {
        while let Some(b) = scan.peek() {
            match b {
                b'#' => self.flags.sharp = true,
                b'0' => self.flags.zero = true,
                b'+' => self.flags.plus = true,
                b'-' => self.flags.minus = true,
                b' ' => self.flags.space = true,
                _ => break,
            }
            scan.at += 1;
        }
        *after_index = scan.index();
        if scan.peek() == Some(b'*') {
            scan.at += 1;
            match scan.integer() {
                Some(width) => {
                    self.flags.width = Some(usize::try_from(width.unsigned_abs()).unwrap_or(MAX_WIDTH));
                    if width < 0 {
                        self.flags.minus = true;
                        self.flags.zero = false;
                    }
                }
                None => self.write(b"%!(BADWIDTH)"),
            }
            *after_index = false;
        } else {
            self.flags.width = scan.number();
            if *after_index && self.flags.width.is_some() {
                scan.good = false;
            }
        }
        if scan.at + 1 < scan.format.len() && scan.peek() == Some(b'.') {
            scan.at += 1;
            if *after_index {
                scan.good = false;
            }
            *after_index = scan.index();
            if scan.peek() == Some(b'*') {
                scan.at += 1;
                self.flags.precision = scan.integer().and_then(|p| usize::try_from(p).ok());
                if self.flags.precision.is_none() {
                    self.write(b"%!(BADPREC)");
                }
                *after_index = false;
            } else {
                self.flags.precision = Some(scan.number().unwrap_or(0));
            }
        }
        if !*after_index {
            *after_index = scan.index();
        }
        let Some((verb, length)) = first_char(&scan.format[scan.at.min(scan.format.len())..]) else {
            return false;
        };
        scan.at += length;
        if verb == '%' {
            self.write(b"%");
        } else if !scan.good {
            self.mark(verb, "BADINDEX");
        } else if let Some(arg) = scan.args.get(scan.arg) {
            if verb == 'v' || verb == 'w' {
                self.flags.go_syntax = std::mem::replace(&mut self.flags.sharp, false);
                self.flags.plus = false;
            }
            scan.arg += 1;
            self.value(arg, verb, true);
        } else {
            self.mark(verb, "MISSING");
        }
        true
    }

    fn mark(&mut self, verb: char, why: &str) {
        self.write(b"%!");
        self.char(verb);
        self.write(format!("({why})").as_bytes());
    }

    /// A verb that doesn't fit the value.
    fn bad_verb(&mut self, value: &Value, verb: char) {
        self.write(b"%!");
        self.char(verb);
        self.write(b"(");
        self.write(value.type_name().as_bytes());
        if !matches!(value, Value::Nil) {
            self.write(b"=");
            self.value(value, 'v', true);
        }
        self.write(b")");
    }

    /// One value; `top` unless it is an element.
    fn value(&mut self, value: &Value, verb: char, top: bool) {
        if self.fault.is_some() {
            return;
        }
        if top && verb == 'T' {
            return self.string(value.type_name().as_bytes(), 's', &Value::Nil);
        }
        if top && verb == 'p' && matches!(value, Value::List(_) | Value::Map(_)) {
            self.fault = Some("%p prints an address, which changes from run to run");
            return;
        }
        match value {
            Value::Nil if !top && self.flags.go_syntax => self.write(b"interface {}(nil)"),
            Value::Nil if !top => self.write(b"<nil>"),
            Value::Nil if verb == 'v' => self.pad(b"<nil>"),
            Value::Nil => self.bad_verb(value, verb),
            Value::Bool(b) if matches!(verb, 't' | 'v') => self.pad(b.to_string().as_bytes()),
            Value::Bool(_) => self.bad_verb(value, verb),
            Value::Int(i) | Value::Int64(i) => {
                self.integer(i.unsigned_abs(), *i < 0, i.cast_unsigned(), verb, value);
            }
            Value::Byte(b) => {
                if verb == 'v' && self.flags.go_syntax {
                    let sharp = std::mem::replace(&mut self.flags.sharp, true);
                    self.integer(u64::from(*b), false, u64::from(*b), 'x', value);
                    self.flags.sharp = sharp;
                } else {
                    self.integer(u64::from(*b), false, u64::from(*b), verb, value);
                }
            }
            Value::Float(f) => self.float(*f, verb, value),
            Value::Text(text) => self.string(text, verb, value),
            Value::List(_) | Value::Map(_) if verb == 'w' && top => self.bad_verb(value, verb),
            Value::List(list) => {
                let (open, between, close) = self.brackets(value, "[");
                self.write(open.as_bytes());
                for (i, item) in list.items().iter().enumerate() {
                    if i > 0 {
                        self.write(between);
                    }
                    self.value(item, verb, false);
                }
                self.write(close);
            }
            Value::Map(map) => {
                let (open, between, close) = self.brackets(value, "map[");
                self.write(open.as_bytes());
                for (i, (key, item)) in map.entries().iter().enumerate() {
                    if i > 0 {
                        self.write(between);
                    }
                    self.value(&Value::from(key.as_str()), verb, false);
                    self.write(b":");
                    self.value(item, verb, false);
                }
                self.write(close);
            }
        }
    }

    fn brackets(&self, value: &Value, open: &str) -> (String, &'static [u8], &'static [u8]) {
        if self.flags.go_syntax {
            (format!("{}{{", value.type_name()), b", ", b"}")
        } else {
            (open.to_owned(), b" ", b"]")
        }
    }

    fn string(&mut self, text: &[u8], verb: char, value: &Value) {
        match verb {
            'v' if self.flags.go_syntax => self.quoted(text),
            'v' | 's' => {
                let text = self.truncated(text);
                self.pad(text);
            }
            'x' | 'X' => self.hex(text, verb),
            'q' => self.quoted(text),
            _ => self.bad_verb(value, verb),
        }
    }

    /// At most as many characters as the precision says.
    fn truncated<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let Some(most) = self.flags.precision else { return text };
        let mut rest = text;
        for _ in 0..most {
            match first_char(rest) {
                Some((_, length)) => rest = &rest[length..],
                None => return text,
            }
        }
        &text[..text.len() - rest.len()]
    }

    fn quoted(&mut self, text: &[u8]) {
        let text = self.truncated(text);
        let raw = |text: &[u8]| {
            let fits = |c: char| c != '`' && c != '\u{7f}' && c != '\u{feff}' && (c >= ' ' || c == '\t');
            std::str::from_utf8(text).is_ok_and(|t| t.chars().all(fits))
        };
        let mut out = Vec::with_capacity(text.len() + 2);
        if self.flags.sharp && raw(text) {
            out.push(b'`');
            out.extend_from_slice(text);
            out.push(b'`');
        } else {
            out.push(b'"');
            for chunk in text.utf8_chunks() {
                for c in chunk.valid().chars() {
                    escape(&mut out, c, '"', self.flags.plus);
                }
                for b in chunk.invalid() {
                    out.extend_from_slice(format!("\\x{b:02x}").as_bytes());
                }
            }
            out.push(b'"');
        }
        self.pad(&out);
    }

    fn hex(&mut self, text: &[u8], verb: char) {
        let text = &text[..text.len().min(self.flags.precision.unwrap_or(usize::MAX))];
        let prefix = if self.flags.sharp { format!("0{verb}") } else { String::new() };
        let mut out = String::with_capacity(text.len() * 2);
        for (i, b) in text.iter().enumerate() {
            if i > 0 && self.flags.space {
                out.push(' ');
            }
            if i == 0 || self.flags.space {
                out.push_str(&prefix);
            }
            out.push_str(&if verb == 'x' { format!("{b:02x}") } else { format!("{b:02X}") });
        }
        self.pad(out.as_bytes());
    }

    /// An integer as its size, its sign and its 64 bits.
    fn integer(&mut self, size: u64, negative: bool, bits: u64, verb: char, value: &Value) {
        let digits = match verb {
            'v' | 'd' => size.to_string(),
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'c' => return self.pad(code_point(bits).encode_utf8(&mut [0; 4]).as_bytes()),
            'q' => {
                let mut out = vec![b'\''];
                escape(&mut out, code_point(bits), '\'', self.flags.plus);
                out.push(b'\'');
                return self.pad(&out);
            }
            'U' => return self.unicode(bits),
            _ => return self.bad_verb(value, verb),
        };
        let signed = negative || self.flags.plus || self.flags.space;
        let least = match (self.flags.precision, self.flags.width) {
            (Some(0), _) if size == 0 => {
                let zero = std::mem::replace(&mut self.flags.zero, false);
                self.padding(self.flags.width.unwrap_or(0));
                self.flags.zero = zero;
                return;
            }
            (Some(precision), _) => precision,
            (None, Some(width)) if self.flags.zero && !self.flags.minus => {
                width.saturating_sub(usize::from(signed))
            }
            _ => 0,
        };
        let digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
        let prefix = match verb {
            'O' if self.flags.sharp && !digits.starts_with('0') => "0o0",
            'O' => "0o",
            'b' if self.flags.sharp => "0b",
            'o' if self.flags.sharp && !digits.starts_with('0') => "0",
            'x' if self.flags.sharp => "0x",
            'X' if self.flags.sharp => "0X",
            _ => "",
        };
        let sign = match (negative, self.flags.plus, self.flags.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        self.pad_blank(format!("{sign}{prefix}{digits}").as_bytes());
    }

    fn unicode(&mut self, bits: u64) {
        let least = self.flags.precision.unwrap_or(4).max(4);
        let digits = format!("{bits:X}");
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let c = u32::try_from(bits).ok().and_then(char::from_u32).filter(|c| is_printable(*c));
        let tail = c.filter(|_| self.flags.sharp).map(|c| format!(" '{c}'")).unwrap_or_default();
        self.pad_blank(format!("U+{zeros}{digits}{tail}").as_bytes());
    }

    fn float(&mut self, number: f64, verb: char, value: &Value) {
        match verb {
            'b' | 'x' | 'X' => self.fault = Some("floats can't be printed in base 2 or 16"),
            'v' | 'g' | 'G' | 'e' | 'E' | 'f' | 'F' => {}
            _ => return self.bad_verb(value, verb),
        }
        let (sign, body) = float::format(number, verb, &self.flags);
        if !number.is_finite() {
            return self.pad_blank(format!("{sign}{body}").as_bytes());
        }
        let length = sign.len() + body.len();
        if self.flags.zero
            && !self.flags.minus
            && !sign.is_empty()
            && let Some(width) = self.flags.width
        {
            // The sign stands before the zeros.
            self.write(sign.as_bytes());
            self.padding(width.saturating_sub(length));
            self.write(body.as_bytes());
        } else {
            self.pad(format!("{sign}{body}").as_bytes());
        }
    }
}

/// Where a format is read, and which argument is next.
struct Scan<'a> {
    format: &'a [u8],
    at: usize,
    arg: usize,
    args: &'a [Value],
    /// An index such as `[2]` was used.
    reordered: bool,
    /// No index of this verb was wrong.
    good: bool,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    /// Digits; `None` if there are none. A number that is much too large swallows the format.
    fn number(&mut self) -> Option<usize> {
        let (number, end) = digits(self.format, self.at, self.format.len());
        self.at = end;
        number
    }

    /// The next argument as a width or precision.
    fn integer(&mut self) -> Option<i64> {
        let arg = self.args.get(self.arg)?;
        self.arg += 1;
        let fits = |i: &i64| usize::try_from(i.unsigned_abs()).is_ok_and(|i| i <= MAX_WIDTH);
        arg.integer().filter(fits)
    }

    /// An explicit index, `[n]`; whether one was found.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let close = if rest.len() < 3 { None } else { rest.iter().position(|b| *b == b']') };
        let Some(close) = close else {
            self.at += 1;
            self.good = false;
            return false;
        };
        let (number, end) = digits(rest, 1, close);
        self.at += close + 1;
        match number {
            Some(number) if end == close => {
                if (1..=self.args.len()).contains(&number) {
                    self.arg = number - 1;
                } else {
                    self.good = false;
                }
                true
            }
            _ => {
                self.good = false;
                false
            }
        }
    }
}

/// The number at `start`, and where it ends.
fn digits(text: &[u8], start: usize, end: usize) -> (Option<usize>, usize) {
    let mut number = None;
    let mut at = start;
    while at < end && text[at].is_ascii_digit() {
        let before = number.unwrap_or(0);
        if before > MAX_WIDTH {
            return (None, end);
        }
        number = Some(before * 10 + usize::from(text[at] - b'0'));
        at += 1;
    }
    (number, at)
}

/// The first character and its length; a byte that is none counts as U+FFFD.
fn first_char(text: &[u8]) -> Option<(char, usize)> {
    let start = &text[..text.len().min(4)];
    let chunk = start.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(c) => Some((c, c.len_utf8())),
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

/// How many characters; a byte that is part of none counts as one.
fn char_count(text: &[u8]) -> usize {
    text.utf8_chunks().map(|c| c.valid().chars().count() + c.invalid().len()).sum()
}

fn code_point(bits: u64) -> char {
    u32::try_from(bits).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// A character of a quoted string or constant.
fn escape(out: &mut Vec<u8>, c: char, quote: char, ascii: bool) {
    let text = match c {
        c if c == quote || c == '\\' => format!("\\{c}"),
        c if is_printable(c) && (c.is_ascii() || !ascii) => c.to_string(),
        '\x07' => "\\a".to_owned(),
        '\x08' => "\\b".to_owned(),
        '\x0c' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\x0b' => "\\v".to_owned(),
        '\0'..' ' | '\x7f' => format!("\\x{:02x}", u32::from(c)),
        '\u{80}'..='\u{ffff}' => format!("\\u{:04x}", u32::from(c)),
        _ => format!("\\U{:08x}", u32::from(c)),
    };
    out.extend_from_slice(text.as_bytes());
}

/// Whether Go prints the character as it is: letters, marks, numbers, punctuation, symbols and the blank. Rust's
/// debug form has the same rule; a mark that extends the character before it must not stand first.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    format!("a{c}").escape_debug().count() == 2
}
