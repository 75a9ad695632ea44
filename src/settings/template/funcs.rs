//! Templates: the built-in functions of Go's text/template.

use std::cmp::Ordering;

use super::format::{Printer, is_printable};
use super::value::Value;

/// The functions with the fewest and the most arguments that they take.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("and", 1, usize::MAX),
    ("call", 1, usize::MAX),
    ("eq", 1, usize::MAX),
    ("ge", 2, 2),
    ("gt", 2, 2),
    ("html", 0, usize::MAX),
    ("index", 1, usize::MAX),
    ("js", 0, usize::MAX),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lt", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, usize::MAX),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("slice", 1, usize::MAX),
    ("urlquery", 0, usize::MAX),
];

/// Whether there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|f| f.0 == name)
}

/// Whether the function takes so many arguments.
pub(super) fn check_count(name: &str, count: usize) -> Result<(), String> {
    match FUNCTIONS.iter().find(|f| f.0 == name) {
        Some((_, least, most)) if count < *least || count > *most => {
            Err(format!("it doesn't take {count} arguments"))
        }
        _ => Ok(()),
    }
}

/// The value of a function; no string that it makes is longer than `limit`. `and` and `or` aren't called: they
/// decide what is evaluated.
pub(super) fn call(name: &str, args: &[Value], limit: usize) -> Result<Value, String> {
    let Some((first, rest)) = args.split_first() else {
        return match name {
            "println" => Ok(Value::from("\n")),
            _ => Ok(Value::from("")),
        };
    };
    match (name, rest) {
        ("print", _) => Ok(print(args, limit)?.into()),
        ("println", _) => {
            let mut printer = Printer::new(limit);
            printer.println(args);
            Ok(printer.finish()?.into())
        }
        ("printf", _) => {
            let Value::Text(format) = first else {
                return Err(format!("the format is {}, not a string", first.noun()));
            };
            let mut printer = Printer::new(limit);
            printer.printf(format, rest);
            Ok(printer.finish()?.into())
        }
        ("html", _) => bounded(html(&text_of(args, limit)?), limit),
        ("js", _) => bounded(js(&text_of(args, limit)?), limit),
        ("urlquery", _) => bounded(url_query(&text_of(args, limit)?), limit),
        ("not", _) => Ok(Value::Bool(!first.truth())),
        ("len", _) => match first {
            Value::Text(text) => Ok(length(text.len())),
            Value::List(list) => Ok(length(list.items().len())),
            Value::Map(map) => Ok(length(map.entries().len())),
            other => Err(format!("{} has no length", other.noun())),
        },
        ("index", _) => index(first, rest),
        ("slice", _) => slice(first, rest),
        ("eq", _) => equal(first, rest).map(Value::Bool),
        ("ne", _) => equal(first, rest).map(|e| Value::Bool(!e)),
        ("lt", [second]) => Ok(Value::Bool(order(first, second)? == Some(Ordering::Less))),
        ("ge", [second]) => Ok(Value::Bool(order(first, second)? != Some(Ordering::Less))),
        ("le", [second]) => Ok(Value::Bool(at_most(first, second)?)),
        ("gt", [second]) => Ok(Value::Bool(!at_most(first, second)?)),
        ("call", _) => Err(format!("{} is no function", first.noun())),
        _ => Err("there is no such function".to_owned()),
    }
}

/// Go's `fmt.Sprint`.
pub(super) fn print(args: &[Value], limit: usize) -> Result<Vec<u8>, String> {
    let mut printer = Printer::new(limit);
    printer.print(args);
    printer.finish()
}

/// What the escaping functions escape.
fn text_of(args: &[Value], limit: usize) -> Result<Vec<u8>, String> {
    let words: Vec<Value> = args
        .iter()
        .map(|a| if matches!(a, Value::Nil) { Value::from("<no value>") } else { a.clone() })
        .collect();
    print(&words, limit)
}

fn bounded(text: Vec<u8>, limit: usize) -> Result<Value, String> {
    if text.len() > limit { Err("it makes too much text".to_owned()) } else { Ok(text.into()) }
}

fn length(length: usize) -> Value {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

/// An index up to `most`.
fn position(index: &Value, most: usize) -> Result<usize, String> {
    let index = match index.integer() {
        Some(index) => index,
        None => return Err(format!("{} is no index", index.noun())),
    };
    match usize::try_from(index) {
        Ok(i) if i <= most => Ok(i),
        _ => Err(format!("index {index} is out of range")),
    }
}

fn index(item: &Value, indexes: &[Value]) -> Result<Value, String> {
    if matches!(item, Value::Nil) {
        return Err("index of nothing".to_owned());
    }
    let mut item = item.clone();
    for index in indexes {
        item = match &item {
            Value::Text(text) => {
                let i = position(index, text.len())?;
                Value::Byte(*text.get(i).ok_or_else(|| format!("index {i} is out of range"))?)
            }
            Value::List(list) => {
                let i = position(index, list.items().len())?;
                list.items().get(i).cloned().ok_or_else(|| format!("index {i} is out of range"))?
            }
            Value::Map(map) => {
                let Value::Text(key) = index else {
                    return Err(format!("a key must be a string, not {}", index.noun()));
                };
                let found = std::str::from_utf8(key).ok().and_then(|k| map.entries().get(k));
                found.cloned().unwrap_or_else(|| map.zero())
            }
            other => return Err(format!("{} has no elements", other.noun())),
        };
    }
    Ok(item)
}

fn slice(item: &Value, indexes: &[Value]) -> Result<Value, String> {
    if indexes.len() > 3 {
        return Err("more than three indexes".to_owned());
    }
    let (capacity, length) = match item {
        Value::Text(_) if indexes.len() == 3 => return Err("a string takes two indexes".to_owned()),
        Value::Text(text) => (text.len(), text.len()),
        Value::List(list) => (list.capacity(), list.items().len()),
        other => return Err(format!("{} can't be sliced", other.noun())),
    };
    let at = |i: usize| indexes.get(i).map(|index| position(index, capacity)).transpose();
    let (from, to, limit) = (at(0)?.unwrap_or(0), at(1)?.unwrap_or(length), at(2)?);
    if from > to || limit.is_some_and(|l| to > l) {
        return Err(format!("the indexes are out of order: {from}, {to}"));
    }
    match item {
        Value::Text(text) => Ok(Value::from(text.get(from..to).unwrap_or_default().to_vec())),
        Value::List(list) => Ok(Value::List(list.slice(from, to, limit))),
        _ => Ok(Value::Nil),
    }
}

/// Whether `first` equals one of `others`.
fn equal(first: &Value, others: &[Value]) -> Result<bool, String> {
    if others.is_empty() {
        return Err("there is nothing to compare with".to_owned());
    }
    for other in others {
        let same = match (first, other) {
            (Value::Nil, Value::Nil) => true,
            (Value::Nil, _) | (_, Value::Nil) => false,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            (a, b) => match (a.integer(), b.integer()) {
                (Some(a), Some(b)) => a == b,
                _ => return Err(incomparable(a, b)),
            },
        };
        if same {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How two values are ordered; `None` if neither way (a NaN).
fn order(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
        (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
        _ => match (a.integer(), b.integer()) {
            (Some(a), Some(b)) => Ok(Some(a.cmp(&b))),
            _ => Err(incomparable(a, b)),
        },
    }
}

fn at_most(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(matches!(order(a, b)?, Some(Ordering::Less | Ordering::Equal)))
}

fn incomparable(a: &Value, b: &Value) -> String {
    format!("{} and {} can't be compared", a.noun(), b.noun())
}

fn html(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for b in text {
        match b {
            0 => out.extend_from_slice("\u{FFFD}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
    out
}

fn js(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '\'' | '"' => out.extend_from_slice(format!("\\{c}").as_bytes()),
                '<' | '>' | '&' | '=' | '\0'..' ' => {
                    out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes());
                }
                c if c.is_ascii() || is_printable(c) => {
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                c => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
            }
        }
        out.extend_from_slice(chunk.invalid());
    }
    out
}

fn url_query(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for b in text {
        match b {
            b' ' => out.push(b'+'),
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(b) => out.push(*b),
            b => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
        }
    }
    out
}
