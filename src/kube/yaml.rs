//! Finding `ko://` scalars by byte span, and how text is written in their place.
//!
//! A reference is what ko takes for one: a string scalar (value, item or key) that begins with `ko://`. How it is
//! written decides what is replaced: a plain scalar whole, a quoted one whole but with its quotes kept, of a block
//! scalar only the text. Anchors, tags, comments and block headers are outside of the span; an alias needs no edit.

use std::borrow::Cow;
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, options};

use crate::error::{Error, Kind, Result};
use crate::kube::edit::splice;
use crate::kube::{SCHEME, Selector, select};

/// A reference in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What stands after `ko://`.
    pub import_path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes to replace.
    pub(super) span: Range<usize>,
    pub(super) style: ScalarStyle,
}

/// Something in a file that its author should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What about it.
    pub text: String,
}

/// What was found in a file. It is good for that file's text only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The references, in the order of the text.
    pub found: Vec<Found>,
    /// Text that looks like a reference and isn't one, or is one and won't do.
    pub remarks: Vec<Remark>,
    /// The bytes that the selector leaves out, in order.
    cuts: Vec<Range<usize>>,
}

/// Finds the references in the text of the file `name`, and with a selector what it leaves out. Without a selector
/// a text that holds no `ko://` is not even parsed.
///
/// # Errors
/// Text with references that isn't UTF-8 or YAML, a reference that can't be an import path, or something the
/// selector can't judge ([`Selector`]); each with file, line and column.
pub fn scan(name: &str, bytes: &[u8], selector: Option<&Selector>) -> Result<Scan> {
    if selector.is_none() && !may_hold_references(bytes) {
        return Ok(Scan::default());
    }
    let text = utf8(name, bytes)?;
    let cuts = match selector {
        Some(selector) => select::cuts(name, text, selector)?,
        None => Vec::new(),
    };
    let mut scan = Scan::default();
    for event in parser(text) {
        let (event, span) = event.map_err(|e| not_yaml(name, text, &e))?;
        let Event::Scalar(value, style, _, tag) = &event else { continue };
        let range = span.byte_range().unwrap_or_default();
        if !value.contains(SCHEME) || cuts.iter().any(|c| c.contains(&range.start)) {
            continue;
        }
        let string = tag.as_ref().is_none_or(|t| t.is_yaml_core_schema_tag("str") || t.original() == "!");
        if !value.starts_with(SCHEME) || !string {
            scan.remarks.extend(inside(text, value, &range, span, string));
            continue;
        }
        let found = reference(name, text, value, *style, span)?;
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && value.ends_with('\n') {
            scan.remarks.push(Remark {
                line: found.line,
                column: found.column,
                text: "the value ends in a line break, so Kubernetes takes it for no image; write |- or >- in place of | or >"
                    .to_owned(),
            });
        }
        scan.found.push(found);
    }
    scan.cuts = cuts;
    Ok(scan)
}

impl Scan {
    /// The text with `references[i]` in the place of `found[i]`, and without what the selector leaves out.
    #[must_use]
    pub fn splice(&self, bytes: &[u8], references: &[&str]) -> Vec<u8> {
        let replaced = self.found.iter().zip(references).map(|(f, r)| (f.span.clone(), written(r, f.style)));
        let cut = self.cuts.iter().map(|c| (c.clone(), Cow::Borrowed("")));
        splice(bytes, replaced.chain(cut).collect())
    }
}

/// The text of the file `name`.
pub(super) fn utf8<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        Error::new(Kind::Input, "read the YAML", "it isn't UTF-8").at(format!("{name}:{line}"))
    })
}

/// A parser whose events carry byte spans.
pub(super) fn parser(text: &str) -> impl Iterator<Item = Result<(Event<'_>, Span), ScanError>> {
    let options: Options = options! {
        // kubectl and ko pass over a byte-order mark inside a stream, which joined files have.
        bom_inside_document_as_content: true,
        emit_anchor_events: true,
    };
    Parser::new_from_str_with_options(text, options)
}

/// The error of a text that can't be parsed.
pub(super) fn not_yaml(name: &str, text: &str, error: &ScanError) -> Error {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    let found = Error::new(Kind::Input, "read the YAML", error.info()).at(format!("{name}:{line}:{column}"));
    if text.contains("{{") {
        found.hint(
            "it looks like a template: render it first, such as with: helm template . | gimg resolve -f -",
        )
    } else {
        found
    }
}

/// Whether parsing is worth it: the scheme, also as JSON may escape it, or in UTF-16 (which is then refused).
fn may_hold_references(bytes: &[u8]) -> bool {
    let mut colons = bytes.iter().enumerate().filter(|(_, b)| **b == b':').map(|(at, _)| at);
    colons.any(|at| {
        let (before, after) = bytes.split_at(at);
        before.ends_with(b"ko") && [&b"://"[..], br":\/", br":/\"].iter().any(|s| after.starts_with(s))
            || before.ends_with(b"k\0o\0") && after.starts_with(b":\0/\0/")
    })
}

/// The reference that a scalar is.
fn reference(name: &str, text: &str, value: &str, style: ScalarStyle, span: Span) -> Result<Found> {
    let (line, column) = (span.start.line(), span.start.col() + 1);
    let bad = |why: &str| {
        let shown: String = value.chars().take(80).flat_map(char::escape_debug).collect();
        Error::new(Kind::Input, format!("read the reference {shown}"), why)
            .at(format!("{name}:{line}:{column}"))
    };
    let trimmed = value.trim_end();
    let import_path = &trimmed[SCHEME.len()..];
    if import_path.is_empty() {
        return Err(bad("it names no package"));
    }
    if import_path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(bad("an import path has no blanks or line breaks"));
    }
    if import_path.contains("...") {
        return Err(bad("it must name one package, not a pattern"));
    }
    let mut range = span.byte_range().unwrap_or_default();
    if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
        let raw = text.get(range.clone()).unwrap_or_default();
        let start = range.start + (raw.len() - raw.trim_start().len());
        range = start..start + raw.trim().len();
        if text.get(range.clone()) != Some(trimmed) {
            return Err(bad("it can't be replaced in place").hint("write it on one line, without | or >"));
        }
    }
    Ok(Found { import_path: import_path.to_owned(), line, column, span: range, style })
}

/// A scalar that holds `ko://` and is no reference: where, if it isn't the end of a longer scheme.
fn inside(text: &str, value: &str, range: &Range<usize>, span: Span, string: bool) -> Option<Remark> {
    let part_of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let alone =
        |s: &str| s.match_indices(SCHEME).map(|(at, _)| at).find(|at| !s[..*at].ends_with(part_of_scheme));
    alone(value)?;
    let raw = text.get(range.clone()).unwrap_or_default();
    let before = &raw[..alone(raw).unwrap_or(0)];
    let (line, column) = match before.rfind('\n') {
        Some(at) => (span.start.line() + before.matches('\n').count(), before[at + 1..].chars().count() + 1),
        None => (span.start.line(), span.start.col() + before.chars().count() + 1),
    };
    let text = if string {
        "ko:// inside a longer string is left as it is; a reference is a value of its own"
    } else {
        "ko:// under a tag that isn't a string's is left as it is"
    };
    Some(Remark { line, column, text: text.to_owned() })
}

/// The reference as it is written in a scalar of this style.
pub(super) fn written(reference: &str, style: ScalarStyle) -> Cow<'_, str> {
    match style {
        ScalarStyle::Literal | ScalarStyle::Folded => Cow::Borrowed(reference),
        ScalarStyle::Plain if is_plain(reference) => Cow::Borrowed(reference),
        ScalarStyle::SingleQuoted => Cow::Owned(format!("'{}'", reference.replace('\'', "''"))),
        ScalarStyle::Plain | ScalarStyle::DoubleQuoted => {
            let mut quoted = String::with_capacity(reference.len() + 2);
            quoted.push('"');
            for c in reference.chars() {
                match c {
                    '"' | '\\' => quoted.extend(['\\', c]),
                    c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
                    c => quoted.push(c),
                }
            }
            quoted.push('"');
            Cow::Owned(quoted)
        }
    }
}

/// Whether text is the same string as a plain scalar, wherever one may stand. Every registry reference is.
pub(super) fn is_plain(text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    // Without these it might be read as a number, a time or a word such as `true`.
    let string = text.contains(['/', '@'])
        || first.is_ascii_alphabetic() && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    first.is_ascii_alphanumeric()
        && string
        && !text.ends_with(':')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/:@+~".contains(c))
}

/// The words that are no strings to YAML 1.1 or 1.2.
const WORDS: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
