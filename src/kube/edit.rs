//! Edits of a text by byte range, and the proof of each: the edited text is parsed again, and must be the same stream
//! of events but for what was meant to change. So an edit that an unusual notation would spoil is an error.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use granit_parser::{Event, ScalarStyle};

use crate::error::{Error, Kind, Result};
use crate::kube::stream::{Stream, after_line, meanings};
use crate::kube::yaml::{is_plain, not_yaml, written};

/// Puts each text in the place of its range. Ranges may come in any order and don't overlap; of several empty ones at one
/// place the first comes first.
pub(super) fn splice(bytes: &[u8], mut edits: Vec<(Range<usize>, Cow<'_, str>)>) -> Vec<u8> {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = Vec::with_capacity(bytes.len() + 64 * edits.len());
    let mut at = 0;
    for (range, text) in edits {
        out.extend_from_slice(bytes.get(at..range.start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        at = range.end;
    }
    out.extend_from_slice(bytes.get(at..).unwrap_or_default());
    out
}

/// A key and its value, both strings.
pub(super) type Pair<'p> = (&'p str, &'p str);

/// An event that wasn't there before.
#[derive(Debug)]
enum New {
    Text(String),
    Map,
    EndMap,
    Seq,
    EndSeq,
}

/// Edits of one text.
pub(super) struct Edits<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) stream: &'a Stream<'a>,
    edits: Vec<(Range<usize>, Cow<'a, str>)>,
    /// Scalars that have other values.
    values: BTreeMap<usize, String>,
    /// What comes in before an event.
    added: BTreeMap<usize, Vec<New>>,
    /// Events that go.
    gone: BTreeSet<usize>,
}

impl<'a> Edits<'a> {
    pub(super) fn of(name: &'a str, text: &'a str, stream: &'a Stream<'a>) -> Self {
        Edits {
            name,
            text,
            stream,
            edits: Vec::new(),
            values: BTreeMap::new(),
            added: BTreeMap::new(),
            gone: BTreeSet::new(),
        }
    }

    /// An error about a node.
    pub(super) fn error(&self, node: usize, why: impl Into<String>) -> Error {
        let start = self.stream.events[node].1.start;
        Error::new(Kind::Input, "edit the YAML", why.into()).at(format!(
            "{}:{}:{}",
            self.name,
            start.line(),
            start.col() + 1
        ))
    }

    /// Replaces the bytes of a scalar, of which `value` is what it then says.
    pub(super) fn replace(&mut self, node: usize, range: Range<usize>, text: Cow<'a, str>, value: String) {
        self.edits.push((range, text));
        self.values.insert(node, value);
    }

    /// Gives the scalar `node` another value, in its own notation. A null that isn't written needs the `key` before it.
    ///
    /// # Errors
    /// Something that isn't a string or null, an alias, an anchor that aliases mean, and a block scalar.
    pub(super) fn set(&mut self, node: usize, key: Option<usize>, value: &str) -> Result<()> {
        if self.stream.is_shared(node) {
            return Err(self.error(node, "aliases mean it too, and would change with it"));
        }
        self.set_shared(node, key, value)
    }

    /// As [`Edits::set`], with what aliases make of it.
    ///
    /// # Errors
    /// As there.
    pub(super) fn set_shared(&mut self, node: usize, key: Option<usize>, value: &str) -> Result<()> {
        let (event, span) = &self.stream.events[node];
        let Event::Scalar(_, style, _, tag) = event else {
            let why = match event {
                Event::Alias(_) => "it is an alias: what it means stands elsewhere",
                _ => "it is no string",
            };
            return Err(self.error(node, why));
        };
        if tag.as_ref().is_some_and(|t| !t.is_yaml_core_schema_tag("str") && t.original() != "!") {
            return Err(self.error(node, "it has a tag that isn't a string's"));
        }
        let range = span.byte_range().unwrap_or_default();
        match style {
            ScalarStyle::Literal | ScalarStyle::Folded => {
                return Err(self
                    .error(node, "it is a block scalar")
                    .hint("write it on one line, without | or >"));
            }
            ScalarStyle::Plain if range.is_empty() => {
                let at = key.and_then(|key| self.after_colon(key));
                let Some(at) = at.filter(|_| tag.is_none() && !self.stream.has_anchor(node)) else {
                    return Err(self.error(node, "it is empty").hint("write \"\" in its place"));
                };
                let written = written(value, ScalarStyle::Plain).into_owned();
                self.edits.push((at..at, Cow::Owned(format!(" {written}"))));
            }
            _ => self.edits.push((range, Cow::Owned(written(value, *style).into_owned()))),
        }
        self.values.insert(node, value.to_owned());
        Ok(())
    }

    /// The place after the colon of a key.
    fn after_colon(&self, key: usize) -> Option<usize> {
        let end = self.stream.end_byte(key);
        let rest = self.text.get(end..)?;
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        rest[blanks..].starts_with(':').then_some(end + blanks + 1)
    }

    /// Puts a comment behind a scalar, before what comment is there.
    ///
    /// # Errors
    /// Something else behind it, or a place where no comment can be read back: a key, flow style, a block scalar.
    pub(super) fn comment(&mut self, node: usize, text: &str) -> Result<()> {
        let end = self.stream.end_byte(node);
        let rest = self.text.get(end..).unwrap_or_default();
        let (event, _) = &self.stream.events[node];
        let block = matches!(event, Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..));
        let after = rest.trim_start_matches([' ', '\t']);
        let free = after.is_empty()
            || after.starts_with(['\n', '\r'])
            || after.starts_with('#') && after.len() < rest.len();
        if block || !free || self.stream.is_in_flow(node) {
            return Err(self
                .error(node, "no comment can stand behind it, which would say for the next run what it was")
                .hint("write it as the value of a line of its own, or name its place: --set-image PLACE=PACKAGE"));
        }
        self.edits.push((end..end, Cow::Owned(format!(" # {text}"))));
        Ok(())
    }

    /// Adds pairs to a mapping after the one of `value`.
    pub(super) fn add_after(&mut self, map: usize, key: usize, value: usize, pairs: &[Pair<'_>]) {
        if pairs.is_empty() {
            return;
        }
        if self.stream.is_flow(map) {
            let text: String = pairs
                .iter()
                .map(|p| format!("{}{}", self.separator(map, key), self.flow_pair(map, p)))
                .collect();
            let at = self.stream.end_byte(value);
            self.edits.push((at..at, Cow::Owned(text)));
        } else {
            let indent = self.indent(self.stream.children(map).first().copied().unwrap_or(key));
            let lines: Vec<String> = pairs.iter().map(|p| format!("{indent}{}", block_pair(p))).collect();
            self.lines_after(self.stream.end_byte(value), &lines);
        }
        self.added.entry(self.stream.end(value)).or_default().extend(pairs.iter().flat_map(pair_events));
    }

    /// Adds mappings at the end of a sequence, which may be empty.
    pub(super) fn add_items(&mut self, sequence: usize, items: &[Vec<Pair<'_>>]) {
        let there = self.stream.children(sequence);
        match there.last() {
            Some(item) if !self.stream.is_flow(sequence) => {
                let dash = self.dash(*item);
                let lines: Vec<String> = items.iter().flat_map(|pairs| item_lines(&dash, pairs)).collect();
                self.lines_after(self.stream.end_byte(*item), &lines);
            }
            Some(item) => {
                let separator = self.separator(sequence, *item);
                let text =
                    items.iter().map(|pairs| format!("{separator}{}", self.flow_item(sequence, pairs)));
                let (at, text) = (self.stream.end_byte(*item), text.collect());
                self.edits.push((at..at, Cow::Owned(text)));
            }
            None => {
                let at = self.stream.events[sequence].1.byte_range().unwrap_or_default().start + 1;
                self.edits.push((at..at, Cow::Owned(self.flow_items(sequence, items))));
            }
        }
        self.added.entry(self.stream.end(sequence) - 1).or_default().extend(item_events(items));
    }

    /// Adds `key` with a sequence of mappings at the end of the mapping `map`.
    pub(super) fn add_list(&mut self, map: usize, key: &str, items: &[Vec<Pair<'_>>]) {
        let children = self.stream.children(map);
        if self.stream.is_flow(map) {
            let at = match children.last() {
                Some(value) => self.stream.end_byte(*value),
                None => self.stream.events[map].1.byte_range().unwrap_or_default().start + 1,
            };
            let before = match children.len().checked_sub(2).and_then(|at| children.get(at)) {
                Some(key) => self.separator(map, *key),
                None => String::new(),
            };
            let text = format!("{before}{}: [{}]", self.flow_text(map, key), self.flow_items(map, items));
            self.edits.push((at..at, Cow::Owned(text)));
        } else {
            let indent = self.indent(children.first().copied().unwrap_or(map));
            let dash = format!("{indent}- ");
            let mut lines = vec![format!("{indent}{key}:")];
            lines.extend(items.iter().flat_map(|pairs| item_lines(&dash, pairs)));
            self.lines_after(self.stream.end_byte(map), &lines);
        }
        let mut new = vec![New::Text(key.to_owned()), New::Seq];
        new.extend(item_events(items));
        new.push(New::EndSeq);
        self.added.entry(self.stream.end(map) - 1).or_default().extend(new);
    }

    /// Puts a sequence of mappings in the place of a null after `key`.
    ///
    /// # Errors
    /// A null that can't be replaced in place.
    pub(super) fn fill_list(&mut self, key: usize, null: usize, items: &[Vec<Pair<'_>>]) -> Result<()> {
        let range = self.stream.events[null].1.byte_range().unwrap_or_default();
        let written = !range.is_empty();
        if written || self.stream.is_in_flow(null) {
            let text = format!("[{}]", self.flow_items(key, items));
            match (written, self.after_colon(key)) {
                (true, _) => self.edits.push((range, Cow::Owned(text))),
                (false, Some(at)) => self.edits.push((at..at, Cow::Owned(format!(" {text}")))),
                (false, None) => return Err(self.error(null, "it is empty").hint("write [] in its place")),
            }
        } else {
            let dash = format!("{}- ", self.indent(key));
            let lines: Vec<String> = items.iter().flat_map(|pairs| item_lines(&dash, pairs)).collect();
            self.lines_after(self.stream.end_byte(key), &lines);
        }
        let mut new = vec![New::Seq];
        new.extend(item_events(items));
        new.push(New::EndSeq);
        self.gone.extend(null..self.stream.end(null));
        self.added.entry(self.stream.end(null)).or_default().extend(new);
        Ok(())
    }

    /// Takes a pair out of a mapping: its lines, or in flow style with the comma before it.
    ///
    /// # Errors
    /// A pair that shares its line with others.
    pub(super) fn remove(&mut self, map: usize, key: usize, value: usize) -> Result<()> {
        let children = self.stream.children(map);
        let at = children.iter().position(|c| *c == key).unwrap_or(0);
        let (start, end) = (self.stream.start_byte(key), self.stream.end_byte(value));
        let range = if self.stream.is_flow(map) {
            match (at.checked_sub(1).and_then(|b| children.get(b)), children.get(at + 2)) {
                (Some(before), _) => self.stream.end_byte(*before)..end,
                (None, Some(next)) => start..self.stream.start_byte(*next),
                (None, None) => start..end,
            }
        } else {
            let line = line_start(self.text, start);
            let whole = self.text[line..start].trim_matches([' ', '\u{feff}']).is_empty();
            match children.get(at + 2) {
                _ if whole => line..after_line(self.text, end),
                Some(next) if self.text[end..self.stream.start_byte(*next)].trim().is_empty() => {
                    start..self.stream.start_byte(*next)
                }
                _ => {
                    return Err(self
                        .error(key, "it can't be taken out in place")
                        .hint("take it out by hand"));
                }
            }
        };
        self.edits.push((range, Cow::Borrowed("")));
        self.gone.extend(key..self.stream.end(value));
        Ok(())
    }

    /// The edited text, once it is seen to be what it is meant to be.
    ///
    /// # Errors
    /// Edits of one place, and an edit that would change something else as well.
    pub(super) fn finish(mut self) -> Result<String> {
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let apart = self.edits.windows(2).all(|w| w[0].0.end <= w[1].0.start);
        let unsafe_edit = |why: &str| Error::new(Kind::Input, "edit the YAML", why).at(self.name);
        if !apart {
            return Err(unsafe_edit("two edits are at the same place"));
        }
        let text = String::from_utf8(splice(self.text.as_bytes(), std::mem::take(&mut self.edits)))
            .map_err(|e| Error::new(Kind::Internal, "edit the YAML", e))?;
        let after = Stream::read(&text).map_err(|e| {
            let why = not_yaml(self.name, &text, &e);
            unsafe_edit(&format!("it would not be YAML any more ({why})"))
        })?;
        if !self.is_meant(&after) {
            return Err(unsafe_edit("an edit would change more than is meant (an unusual notation)")
                .hint("write the value on a line of its own"));
        }
        Ok(text)
    }

    /// Whether `after` is this stream with what the edits mean, and nothing else.
    fn is_meant(&self, after: &Stream<'_>) -> bool {
        let mut new = meanings(after.events.iter().map(|(e, _)| e));
        for (index, before) in meanings(self.stream.events.iter().map(|(e, _)| e)).enumerate() {
            for expected in self.added.get(&index).into_iter().flatten() {
                if !new.next().is_some_and(|(event, _)| expected.is(&event)) {
                    return false;
                }
            }
            if self.gone.contains(&index) {
                continue;
            }
            let same = match (new.next(), self.values.get(&index)) {
                (Some((event, _)), Some(value)) => is_text(&event, value),
                (found, None) => found.as_ref() == Some(&before),
                (None, _) => false,
            };
            if !same {
                return false;
            }
        }
        new.next().is_none()
    }

    // ---- How new text is laid out ----

    /// The blanks before a key that begins at `node`.
    fn indent(&self, node: usize) -> String {
        let start = self.stream.start_byte(node);
        let before = &self.text[line_start(self.text, start)..start];
        " ".repeat(before.trim_start_matches('\u{feff}').chars().count())
    }

    /// What stands before an item of a block sequence: blanks, the dash, blanks.
    fn dash(&self, item: usize) -> String {
        let start = self.stream.start_byte(item);
        let before = &self.text[line_start(self.text, start)..start];
        let blanks = before.len() - before.trim_start_matches(' ').len();
        let after =
            before[blanks..].strip_prefix('-').filter(|a| !a.is_empty() && a.trim_matches(' ').is_empty());
        format!("{}-{}", &before[..blanks], after.unwrap_or(" "))
    }

    /// Puts whole lines after the line that `at` is on, with the text's own line breaks.
    fn lines_after(&mut self, at: usize, lines: &[String]) {
        let at = after_line(self.text, at);
        let end = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
        let before = &self.text[..at];
        let text = if before.is_empty() || before.ends_with(['\n', '\r']) {
            lines.iter().map(|line| format!("{line}{end}")).collect::<String>()
        } else {
            lines.iter().map(|line| format!("{end}{line}")).collect()
        };
        self.edits.push((at..at, Cow::Owned(text)));
    }

    /// What parts `node` from the one before it in a flow collection, to part the next one alike.
    fn separator(&self, parent: usize, node: usize) -> String {
        let children = self.stream.children(parent);
        let at = children.iter().position(|c| *c == node).unwrap_or(0);
        let before = match at.checked_sub(1).and_then(|b| children.get(b)) {
            Some(before) => self.stream.end_byte(*before),
            None => self.stream.events[parent].1.byte_range().unwrap_or_default().start + 1,
        };
        let between = self.text.get(before..self.stream.start_byte(node)).unwrap_or_default();
        let blanks = between.strip_prefix(',').unwrap_or(between);
        match blanks {
            "" if at == 0 => ", ".to_owned(),
            blanks if blanks.trim_matches([' ', '\t', '\n', '\r']).is_empty() => format!(",{blanks}"),
            _ => ", ".to_owned(),
        }
    }

    /// A string in flow style: as JSON has it, where the others are.
    fn flow_text(&self, near: usize, text: &str) -> String {
        let first = self.stream.events[near..].iter().find(|(e, _)| matches!(e, Event::Scalar(..)));
        let json = matches!(first, Some((Event::Scalar(_, ScalarStyle::DoubleQuoted, ..), _)));
        let style = if json { ScalarStyle::DoubleQuoted } else { ScalarStyle::Plain };
        written(text, style).into_owned()
    }

    fn flow_pair(&self, near: usize, (key, value): &Pair<'_>) -> String {
        format!("{}: {}", self.flow_text(near, key), self.flow_text(near, value))
    }

    fn flow_items(&self, near: usize, items: &[Vec<Pair<'_>>]) -> String {
        let items: Vec<String> = items.iter().map(|pairs| self.flow_item(near, pairs)).collect();
        items.join(", ")
    }

    fn flow_item(&self, near: usize, pairs: &[Pair<'_>]) -> String {
        let pairs: Vec<String> = pairs.iter().map(|p| self.flow_pair(near, p)).collect();
        format!("{{{}}}", pairs.join(", "))
    }
}

fn block_pair((key, value): &Pair<'_>) -> String {
    let key = if is_plain(key) { Cow::Borrowed(*key) } else { written(key, ScalarStyle::DoubleQuoted) };
    format!("{key}: {}", written(value, ScalarStyle::Plain))
}

/// The lines of a mapping as an item after `dash`.
fn item_lines(dash: &str, pairs: &[Pair<'_>]) -> Vec<String> {
    let blank = " ".repeat(dash.chars().count());
    let lines = pairs.iter().enumerate();
    lines.map(|(n, pair)| format!("{}{}", if n == 0 { dash } else { &blank }, block_pair(pair))).collect()
}

fn pair_events((key, value): &Pair<'_>) -> [New; 2] {
    [New::Text((*key).to_owned()), New::Text((*value).to_owned())]
}

fn item_events(items: &[Vec<Pair<'_>>]) -> Vec<New> {
    let mut events = Vec::new();
    for pairs in items {
        events.push(New::Map);
        events.extend(pairs.iter().flat_map(pair_events));
        events.push(New::EndMap);
    }
    events
}

impl New {
    fn is(&self, event: &Event<'_>) -> bool {
        match self {
            New::Text(value) => is_text(event, value),
            New::Map => matches!(event, Event::MappingStart(..)),
            New::EndMap => matches!(event, Event::MappingEnd),
            New::Seq => matches!(event, Event::SequenceStart(..)),
            New::EndSeq => matches!(event, Event::SequenceEnd),
        }
    }
}

/// Whether an event is a string of this value.
fn is_text(event: &Event<'_>, value: &str) -> bool {
    let Event::Scalar(found, style, ..) = event else { return false };
    found == value && (*style != ScalarStyle::Plain || is_plain(value))
}

/// Where the line of `at` begins.
fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind(['\n', '\r']).map_or(0, |found| found + 1)
}
