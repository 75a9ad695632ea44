//! Label selectors, as `kubectl -l` reads them: requirements joined by commas, all of which must hold.
//!
//! Syntax and meaning: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>,
//! with the numeric `key>1` and `key<1` that the API's parser also takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::Peekable;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// A parsed label selector; without requirements it selects everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// The label is there with one of these values.
    In(BTreeSet<String>),
    /// The label is missing or has another value.
    NotIn(BTreeSet<String>),
    Exists,
    Missing,
    Greater(i64),
    Less(i64),
}

impl Selector {
    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let number = |value: Option<&String>| value.and_then(|v| v.parse::<i64>().ok());
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.test {
                Test::In(values) => value.is_some_and(|v| values.contains(v)),
                Test::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::Greater(than) => number(value).is_some_and(|n| n > *than),
                Test::Less(than) => number(value).is_some_and(|n| n < *than),
            }
        })
    }
}

impl FromStr for Selector {
    type Err = Error;

    /// # Errors
    /// Text that is no selector: a usage error that says what was expected.
    fn from_str(text: &str) -> Result<Self> {
        let failed = |why: String| {
            Error::new(Kind::Usage, format!("read --selector \"{text}\""), why)
                .hint("write it as app=web,tier!=db, env in (a,b), key or !key")
        };
        let mut words = words(text).into_iter().peekable();
        let mut requirements = Vec::new();
        while words.peek().is_some() {
            requirements.push(requirement(&mut words).map_err(failed)?);
            match words.next() {
                None => break,
                Some(Word::Symbol(",")) if words.peek().is_some() => {}
                Some(Word::Symbol(",")) => return Err(failed("nothing follows the last comma".to_owned())),
                Some(other) => return Err(failed(format!("{other} stands where a comma should"))),
            }
        }
        Ok(Selector(requirements))
    }
}

/// A piece of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Symbol(&'static str),
    Name(String),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Symbol(text) => write!(f, "\"{text}\""),
            Word::Name(text) => write!(f, "\"{text}\""),
        }
    }
}

/// Longer ones first.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            words.push(Word::Symbol(symbol));
            rest = &rest[symbol.len()..];
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "=!(),><".contains(c)).unwrap_or(rest.len());
            words.push(Word::Name(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    words
}

type Words = Peekable<std::vec::IntoIter<Word>>;

fn requirement(words: &mut Words) -> Result<Requirement, String> {
    let missing = words.next_if_eq(&Word::Symbol("!")).is_some();
    let key = match words.next() {
        Some(Word::Name(name)) if name != "in" && name != "notin" => name,
        Some(other) => return Err(format!("{other} stands where a label's key should")),
        None => return Err("a label's key is missing at the end".to_owned()),
    };
    check_key(&key)?;
    let ends = matches!(words.peek(), None | Some(Word::Symbol(",")));
    let test = if missing {
        Test::Missing
    } else if ends {
        Test::Exists
    } else {
        match words.next() {
            Some(Word::Symbol("=" | "==")) => Test::In(BTreeSet::from([value(words)?])),
            Some(Word::Symbol("!=")) => Test::NotIn(BTreeSet::from([value(words)?])),
            Some(Word::Symbol(">")) => Test::Greater(number(words)?),
            Some(Word::Symbol("<")) => Test::Less(number(words)?),
            Some(Word::Name(name)) if name == "in" => Test::In(values(words)?),
            Some(Word::Name(name)) if name == "notin" => Test::NotIn(values(words)?),
            other => {
                let found = other.map_or_else(|| "nothing".to_owned(), |w| w.to_string());
                return Err(format!("{found} stands where =, ==, !=, in, notin, > or < should"));
            }
        }
    };
    Ok(Requirement { key, test })
}

/// One value; none at all is the empty one.
fn value(words: &mut Words) -> Result<String, String> {
    match words.peek() {
        None | Some(Word::Symbol(",")) => Ok(String::new()),
        _ => match words.next() {
            Some(Word::Name(name)) => check_value(name),
            Some(other) => Err(format!("{other} stands where a value should")),
            None => Ok(String::new()),
        },
    }
}

fn number(words: &mut Words) -> Result<i64, String> {
    let text = value(words)?;
    text.parse().map_err(|_| format!("\"{text}\" isn't a whole number"))
}

/// `(a, b)`; between commas an empty value may stand.
fn values(words: &mut Words) -> Result<BTreeSet<String>, String> {
    if words.next_if_eq(&Word::Symbol("(")).is_none() {
        return Err("\"(\" is missing after in or notin".to_owned());
    }
    if words.peek() == Some(&Word::Symbol(")")) {
        return Err("the list of values is empty".to_owned());
    }
    let mut values = BTreeSet::new();
    loop {
        match words.peek() {
            Some(Word::Symbol("," | ")")) => values.insert(String::new()),
            Some(Word::Name(_)) => values.insert(value(words)?),
            Some(other) => return Err(format!("{other} stands where a value should")),
            None => return Err("\")\" is missing at the end".to_owned()),
        };
        match words.next() {
            Some(Word::Symbol(")")) => return Ok(values),
            Some(Word::Symbol(",")) => {}
            Some(other) => return Err(format!("{other} stands where a comma or \")\" should")),
            None => return Err("\")\" is missing at the end".to_owned()),
        }
    }
}

/// `[prefix/]name`: the prefix a DNS name, the name like a value but not empty.
fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(p, n)| (Some(p), n));
    let dns = |part: &str| {
        let letters = part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        !part.is_empty() && letters && !part.starts_with('-') && !part.ends_with('-')
    };
    let fine = prefix.is_none_or(|p| p.len() <= 253 && p.split('.').all(dns));
    if fine && !name.is_empty() && is_value(name) {
        return Ok(());
    }
    Err(format!(
        "\"{key}\" is no label key (at most 63 letters, digits, -, _ and ., perhaps after a domain and /)"
    ))
}

fn check_value(value: String) -> Result<String, String> {
    if is_value(&value) {
        return Ok(value);
    }
    Err(format!("\"{value}\" is no label value (at most 63 letters, digits, -, _ and .)"))
}

fn is_value(text: &str) -> bool {
    let ends = |b: Option<u8>| b.is_none_or(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && ends(text.bytes().next())
        && ends(text.bytes().last())
}
