//! Templates: what literals mean: strings, characters, numbers (package strconv).

/// The bytes of a quoted or raw string with its quotes.
pub(super) fn unquote(text: &str) -> Option<Vec<u8>> {
    let inner = text.get(1..text.len().checked_sub(1)?)?;
    if text.starts_with('`') {
        return Some(inner.bytes().filter(|b| *b != b'\r').collect());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (unit, tail) = unit(rest, '"')?;
        match unit {
            Unit::Byte(b) => out.push(b),
            Unit::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        rest = tail;
    }
    Some(out)
}

/// The number of a character constant with its quotes.
pub(super) fn character(text: &str) -> Option<i64> {
    let (unit, tail) = unit(text.strip_prefix('\'')?, '\'')?;
    (tail == "'").then_some(match unit {
        Unit::Byte(b) => i64::from(b),
        Unit::Char(c) => i64::from(u32::from(c)),
    })
}

/// `\xff` and `\377` are bytes, everything else is a character.
enum Unit {
    Byte(u8),
    Char(char),
}

/// The first unit of a literal between `quote`s, and what follows it.
fn unit(text: &str, quote: char) -> Option<(Unit, &str)> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first == quote {
        return None;
    }
    if first != '\\' {
        return Some((Unit::Char(first), chars.as_str()));
    }
    let escape = chars.next()?;
    let rest = chars.as_str();
    let hex = |length: usize| -> Option<(u32, &str)> {
        let digits = rest.get(..length)?;
        let all_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        all_hex.then_some((u32::from_str_radix(digits, 16).ok()?, &rest[length..]))
    };
    let simple = match escape {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        c if c == quote => c,
        'x' => {
            let (value, tail) = hex(2)?;
            return Some((Unit::Byte(u8::try_from(value).ok()?), tail));
        }
        'u' | 'U' => {
            let (value, tail) = hex(if escape == 'u' { 4 } else { 8 })?;
            return Some((Unit::Char(char::from_u32(value)?), tail));
        }
        '0'..='7' => {
            let digits = text.get(1..4)?;
            if !digits.bytes().all(|b| matches!(b, b'0'..=b'7')) {
                return None;
            }
            let value = u16::from_str_radix(digits, 8).ok()?;
            return Some((Unit::Byte(u8::try_from(value).ok()?), &text[4..]));
        }
        _ => return None,
    };
    Some((Unit::Char(simple), rest))
}

/// A number of a template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
    /// A whole number beyond `int`; an error only where it is used.
    Overflow,
}

/// What a number means, by Go's rules for constants without a type.
pub(super) fn number(text: &str) -> Result<Number, String> {
    let illegal = || format!("{text} is no number");
    match integer(text) {
        Some(Some(value)) => {
            // A whole number that fits is an int, unless it is written as a float.
            return Ok(i64::try_from(value).map_or(Number::Overflow, Number::Int));
        }
        Some(None) => return Err(format!("{text} is too large")),
        None => {}
    }
    let value = float(text).ok_or_else(illegal)?;
    if !text.contains(['.', 'e', 'E', 'p', 'P']) {
        return Err(illegal());
    }
    Ok(Number::Float(value))
}

/// An integer in any of Go's bases: `None` if it isn't one, `Some(None)` if it is too large.
fn integer(text: &str) -> Option<Option<i128>> {
    if text.contains('_') && !underscores_fit(text) {
        return None;
    }
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let mut value: i128 = 0;
    let mut any = false;
    let mut large = false;
    for c in digits.chars().filter(|c| *c != '_') {
        any = true;
        value = value * base + i128::from(c.to_digit(u32::try_from(base).ok()?)?);
        if value > i128::from(u64::MAX) {
            large = true;
            value = i128::from(u64::MAX);
        }
    }
    if !any {
        return None;
    }
    let value = if negative { -value } else { value };
    // With a sign it must be an int; without one, an unsigned one is a number too.
    let fits = i64::try_from(value).is_ok() || !signed;
    Some((fits && !large).then_some(value))
}

/// A float, decimal or hexadecimal.
fn float(text: &str) -> Option<f64> {
    if text.contains('_') && !underscores_fit(text) {
        return None;
    }
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let clean = rest.replace('_', "").to_ascii_lowercase();
    let value = match clean.strip_prefix("0x") {
        Some(hex) => hex_float(hex)?,
        None => {
            let plain = clean.bytes().all(|b| b.is_ascii_digit() || b".e+-".contains(&b));
            if !plain || !clean.bytes().any(|b| b.is_ascii_digit()) {
                return None;
            }
            clean.parse::<f64>().ok()?
        }
    };
    value.is_finite().then_some(if negative { -value } else { value })
}

/// `mantissa p exponent`; the exponent is required.
fn hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    let mut exponent: i32 = exponent.parse::<i32>().ok()?.clamp(-5000, 5000);
    let mut value: u128 = 0;
    for (i, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u128::from(c.to_digit(16)?);
        let in_fraction = i >= whole.len();
        if value >> 120 == 0 {
            value = value << 4 | digit;
            exponent = exponent.checked_sub(if in_fraction { 4 } else { 0 })?;
        } else {
            // Beyond what can matter but for rounding.
            value |= u128::from(digit != 0);
            exponent = exponent.checked_add(if in_fraction { 0 } else { 4 })?;
        }
    }
    // In two steps, so that neither power leaves the range on its own.
    #[expect(clippy::cast_precision_loss, reason = "rounding is what is wanted")]
    let value = value as f64;
    let half = exponent / 2;
    Some(value * 2f64.powi(half) * 2f64.powi(exponent - half))
}

/// Whether every `_` stands between digits, or between a base's prefix and a digit.
fn underscores_fit(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let (mut last, digits, hex) = match text.as_bytes() {
        [b'0', b'x', rest @ ..] => ('0', rest, true),
        [b'0', b'b' | b'o', rest @ ..] => ('0', rest, false),
        all => ('^', all, false),
    };
    for b in digits {
        if b.is_ascii_digit() || hex && b.is_ascii_hexdigit() {
            last = '0';
        } else if *b == b'_' {
            if last != '0' {
                return false;
            }
            last = '_';
        } else {
            if last == '_' {
                return false;
            }
            last = '!';
        }
    }
    last != '_'
}
