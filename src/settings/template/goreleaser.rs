//! Templates: the functions that GoReleaser adds to Go's (goreleaser.com, "Name templates"), as far as they depend on
//! nothing but their arguments and the data.

use std::collections::BTreeMap;

use super::funcs;
use super::value::Value;

/// The functions with the fewest and the most arguments that they take.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("base", 1, 1),
    ("contains", 2, 2),
    ("dir", 1, 1),
    ("englishJoin", 1, 1),
    ("envOrDefault", 2, 2),
    ("incmajor", 1, 1),
    ("incminor", 1, 1),
    ("incpatch", 1, 1),
    ("indexOrDefault", 3, 3),
    ("isEnvSet", 1, 1),
    ("join", 0, usize::MAX),
    ("list", 0, usize::MAX),
    ("map", 0, usize::MAX),
    ("replace", 3, 3),
    ("split", 2, 2),
    ("time", 1, 1),
    ("title", 1, 1),
    ("tolower", 1, 1),
    ("toupper", 1, 1),
    ("trim", 1, 1),
    ("trimprefix", 2, 2),
    ("trimsuffix", 2, 2),
    ("urlPathEscape", 1, 1),
];

/// Those that gimg leaves out: they read files, or are for texts that no image has.
const LEFT_OUT: &[&str] = &[
    "abs",
    "blake2b",
    "blake2s",
    "blake3",
    "crc32",
    "filter",
    "md5",
    "mdv2escape",
    "mustReadFile",
    "readFile",
    "reverseFilter",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha3_224",
    "sha3_256",
    "sha3_384",
    "sha3_512",
    "sha512",
];

/// Whether there is a function of this name, GoReleaser's or Go's.
pub(super) fn exists(name: &str) -> bool {
    is_own(name) || funcs::exists(name)
}

/// Whether it is one of GoReleaser's.
pub(super) fn is_own(name: &str) -> bool {
    FUNCTIONS.iter().any(|f| f.0 == name)
}

/// Whether GoReleaser has it, and gimg hasn't.
pub(super) fn is_left_out(name: &str) -> bool {
    LEFT_OUT.contains(&name)
}

/// The value of a function; no string that it makes is longer than `limit`.
pub(super) fn call(name: &str, args: &[Value], root: &Value, limit: usize) -> Result<Value, String> {
    match FUNCTIONS.iter().find(|f| f.0 == name) {
        Some((_, least, most)) if (*least..=*most).contains(&args.len()) => {}
        _ => return Err(format!("it doesn't take {} arguments", args.len())),
    }
    let value = match (name, args) {
        ("list", _) => Value::from(texts(args)?),
        ("map", _) => map(&texts(args)?)?,
        ("join", _) => join(&texts(args)?).into(),
        ("englishJoin", [list]) => english(&list_of(list)?).into(),
        ("indexOrDefault", [of, key, or]) => entry(of, &text(key)?)?.unwrap_or(text(or)?).into(),
        ("envOrDefault", [key, or]) => variable(root, &text(key)?)?.unwrap_or(text(or)?).into(),
        ("isEnvSet", [key]) => Value::Bool(variable(root, &text(key)?)?.is_some_and(|v| !v.is_empty())),
        ("time", [layout]) => time(&text(layout)?, root)?.into(),
        ("replace", [of, from, to]) => replace(&text(of)?, &text(from)?, &text(to)?, limit)?.into(),
        ("split", [of, at]) => Value::from(split(&text(of)?, &text(at)?)),
        ("contains", [of, part]) => Value::Bool(text(of)?.contains(&text(part)?)),
        ("trimprefix", [of, part]) => {
            let (of, part) = (text(of)?, text(part)?);
            of.strip_prefix(part.as_str()).unwrap_or(&of).into()
        }
        ("trimsuffix", [of, part]) => {
            let (of, part) = (text(of)?, text(part)?);
            of.strip_suffix(part.as_str()).unwrap_or(&of).into()
        }
        (_, [of]) => one(name, &text(of)?)?.into(),
        _ => return Err("there is no such function".to_owned()),
    };
    match &value {
        Value::Text(text) if text.len() > limit => Err("it makes too much text".to_owned()),
        _ => Ok(value),
    }
}

/// The functions of one text.
fn one(name: &str, of: &str) -> Result<String, String> {
    Ok(match name {
        "tolower" => of.to_lowercase(),
        "toupper" => of.to_uppercase(),
        "trim" => of.trim().to_owned(),
        "title" => title(of),
        "dir" => clean(of.rsplit_once('/').map_or("", |(dir, _)| if dir.is_empty() { "/" } else { dir })),
        "base" => base(of),
        "urlPathEscape" => escape(of),
        "incmajor" | "incminor" | "incpatch" => raised(name, of)?,
        _ => return Err("there is no such function".to_owned()),
    })
}

/// The text of a string. Go's functions take nothing else.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(bytes) => {
            String::from_utf8(bytes.to_vec()).map_err(|_| "an argument isn't UTF-8".to_owned())
        }
        other => Err(format!("it takes strings, not {}", other.noun())),
    }
}

fn texts(values: &[Value]) -> Result<Vec<String>, String> {
    values.iter().map(text).collect()
}

fn list_of(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::List(list) => texts(list.items()),
        other => Err(format!("it takes a list, not {}", other.noun())),
    }
}

fn map(words: &[String]) -> Result<Value, String> {
    if !words.len().is_multiple_of(2) {
        return Err("it takes keys and values in turn".to_owned());
    }
    let pairs = words.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
    Ok(Value::from(pairs.collect::<BTreeMap<String, String>>()))
}

/// The value of a key; none if the map lacks it.
fn entry(of: &Value, key: &str) -> Result<Option<String>, String> {
    match of {
        Value::Map(map) => map.entries().get(key).map(text).transpose(),
        other => Err(format!("it takes a map, not {}", other.noun())),
    }
}

/// A variable of the data's environment.
fn variable(root: &Value, name: &str) -> Result<Option<String>, String> {
    match root {
        Value::Map(map) => map.entries().get("Env").map_or(Ok(None), |env| entry(env, name)),
        _ => Ok(None),
    }
}

fn replace(of: &str, from: &str, to: &str, limit: usize) -> Result<String, String> {
    let more = of.matches(from).count().saturating_mul(to.len());
    if more.saturating_add(of.len()) > limit {
        Err("it makes too much text".to_owned())
    } else {
        Ok(of.replace(from, to))
    }
}

/// Go's `strings.Split`: at nothing it is letters.
fn split(of: &str, at: &str) -> Vec<String> {
    match at {
        "" => of.chars().map(String::from).collect(),
        at => of.split(at).map(str::to_owned).collect(),
    }
}

/// `a, b, and c`, without what is blank.
fn english(words: &[String]) -> String {
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| !w.trim().is_empty()).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first, second] => format!("{first} and {second}"),
        [before @ .., last] => format!("{}, and {last}", before.join(", ")),
    }
}

/// Each word with its first letter large and the rest small.
fn title(of: &str) -> String {
    let mut inside = false;
    let each = of.chars().flat_map(|c| {
        let changed: Vec<char> = match inside {
            true => c.to_lowercase().collect(),
            false => c.to_uppercase().collect(),
        };
        inside = c.is_alphanumeric() || (inside && c == '\'');
        changed
    });
    each.collect()
}

/// Go's `filepath.Clean` with slashes.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => {
                parts.pop();
            }
            ("..", None) if rooted => {}
            _ => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// Go's `filepath.Join`.
fn join(parts: &[String]) -> String {
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
    if parts.is_empty() { String::new() } else { clean(&parts.join("/")) }
}

/// Go's `filepath.Base`.
fn base(path: &str) -> String {
    match (path, path.trim_end_matches('/')) {
        ("", _) => ".".to_owned(),
        (_, "") => "/".to_owned(),
        (_, trimmed) => trimmed.rsplit('/').next().unwrap_or(trimmed).to_owned(),
    }
}

/// Go's `url.PathEscape`.
fn escape(of: &str) -> String {
    let mut out = String::with_capacity(of.len());
    for b in of.bytes() {
        match b {
            b if b.is_ascii_alphanumeric() || b"-_.~$&+:=@".contains(&b) => out.push(char::from(b)),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// The numbers, the pre-release and the build of a version, which may have a `v` and lack its last numbers
/// (Masterminds/semver, `NewVersion`); none if it is no version.
#[must_use]
pub fn version(text: &str) -> Option<([u64; 3], String)> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(before, _)| before);
    let (numbers, before) = text.split_once('-').unwrap_or((text, ""));
    let mut found = [0; 3];
    let mut parts = numbers.split('.');
    for (place, part) in found.iter_mut().zip(parts.by_ref()) {
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then(|| (found, before.to_owned()))
}

/// The next version.
fn raised(name: &str, of: &str) -> Result<String, String> {
    let ([major, minor, patch], before) =
        version(of).ok_or_else(|| format!("\"{of}\" is no semantic version"))?;
    let [major, minor, patch] = match name {
        "incmajor" => [major.saturating_add(1), 0, 0],
        "incminor" => [major, minor.saturating_add(1), 0],
        // A pre-release becomes the release.
        _ if !before.is_empty() => [major, minor, patch],
        _ => [major, minor, patch.saturating_add(1)],
    };
    let v = if of.starts_with('v') { "v" } else { "" };
    Ok(format!("{v}{major}.{minor}.{patch}"))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The data's `.Date` in a layout of Go's (package time, "Constants"), in UTC.
fn time(layout: &str, root: &Value) -> Result<String, String> {
    let date = match root {
        Value::Map(map) => map.entries().get("Date").map(text).transpose()?.unwrap_or_default(),
        _ => String::new(),
    };
    let part = |from: usize, to: usize| date.get(from..to).and_then(|t| t.parse::<usize>().ok());
    let (Some(year), Some(month), Some(day), Some(hour), Some(minute), Some(second)) =
        (part(0, 4), part(5, 7), part(8, 10), part(11, 13), part(14, 16), part(17, 19))
    else {
        return Err("there is no date".to_owned());
    };
    let month_name = MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or_default();
    // Sakamoto's rule.
    let shift = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4].get(month.wrapping_sub(1)).copied().unwrap_or(0);
    let y = year - usize::from(month < 3);
    let weekday = DAYS[(y + y / 4 - y / 100 + y / 400 + shift + day) % 7];
    let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
    let noon = if hour < 12 { "am" } else { "pm" };
    // The longer ones first.
    let words: [(&str, String); 24] = [
        ("January", month_name.to_owned()),
        ("Monday", weekday.to_owned()),
        ("Z07:00", "Z".to_owned()),
        ("-07:00", "+00:00".to_owned()),
        ("-0700", "+0000".to_owned()),
        ("Z0700", "Z".to_owned()),
        ("2006", format!("{year:04}")),
        ("Jan", month_name.get(..3).unwrap_or_default().to_owned()),
        ("Mon", weekday[..3].to_owned()),
        ("MST", "UTC".to_owned()),
        ("01", format!("{month:02}")),
        ("02", format!("{day:02}")),
        ("03", format!("{twelve:02}")),
        ("04", format!("{minute:02}")),
        ("05", format!("{second:02}")),
        ("06", format!("{:02}", year % 100)),
        ("15", format!("{hour:02}")),
        ("PM", noon.to_uppercase()),
        ("pm", noon.to_owned()),
        ("1", month.to_string()),
        ("2", day.to_string()),
        ("3", twelve.to_string()),
        ("4", minute.to_string()),
        ("5", second.to_string()),
    ];
    let (mut out, mut rest) = (String::new(), layout);
    while let Some(first) = rest.chars().next() {
        if ["_2", "__2", "002", ".0", ".9", ",0", ",9"].iter().any(|w| rest.starts_with(w)) {
            return Err(format!("gimg doesn't know the layout \"{layout}\""));
        }
        let (taken, text) = match words.iter().find(|(word, _)| rest.starts_with(word)) {
            Some((word, text)) => (word.len(), text.as_str()),
            None => (first.len_utf8(), &rest[..first.len_utf8()]),
        };
        out.push_str(text);
        rest = &rest[taken..];
    }
    Ok(out)
}
