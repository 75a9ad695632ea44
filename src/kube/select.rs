//! What a label selector leaves out of a file: byte ranges of whole documents, and of items of a `kind: List`.
//!
//! A cut is checked before it is used: the text without it must parse to exactly the events that are meant to stay,
//! with every alias at its own anchor. Where that isn't so, it is an error and nothing is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use granit_parser::{Event, ScalarStyle, ScanError, Span, StructureStyle};

use crate::error::{Error, Kind, Result};
use crate::kube::Selector;
use crate::kube::yaml::{not_yaml, parser};

/// The ranges that `selector` leaves out, in order and apart.
///
/// # Errors
/// Text that isn't YAML, a document or item that isn't a Kubernetes object (one that is null is left out), labels
/// that come through a merge key, and a cut that would change what stays.
pub(super) fn cuts(name: &str, text: &str, selector: &Selector) -> Result<Vec<Range<usize>>> {
    let stream = Stream::read(text).map_err(|e| not_yaml(name, text, &e))?;
    let judge = Judge { name, stream: &stream, selector };
    let mut cuts = Vec::new();
    let mut gone: Vec<Range<usize>> = Vec::new();
    for document in stream.documents(text) {
        match judge.document(document.root)? {
            Verdict::Keep => {}
            Verdict::Drop => {
                gone.push(document.events);
                cuts.push(document.bytes);
            }
            Verdict::Items(sequence, dropped) => {
                gone.extend(dropped.iter().map(|item| *item..stream.end(*item)));
                cuts.extend(stream.item_cuts(text, sequence, &dropped));
            }
        }
    }
    if !cuts.is_empty() && !stream.survives(text, &cuts, &gone) {
        let why = "what stays would change with it (an alias, or an unusual notation)";
        return Err(Error::new(Kind::Input, "leave out what --selector doesn't select", why)
            .at(name)
            .hint("put the objects into documents of their own, without aliases between them"));
    }
    Ok(cuts)
}

/// What becomes of a document.
enum Verdict {
    Keep,
    Drop,
    /// A list of which some items go: its sequence and those items.
    Items(usize, BTreeSet<usize>),
}

/// Reads objects as the selector sees them. Nodes are called by the number of their first event.
struct Judge<'a> {
    name: &'a str,
    stream: &'a Stream<'a>,
    selector: &'a Selector,
}

impl Judge<'_> {
    fn document(&self, root: usize) -> Result<Verdict> {
        let stream = self.stream;
        let Some(kind) = self.kind(root)? else { return Ok(Verdict::Drop) };
        if kind != "List" {
            return Ok(if self.selected(root)? { Verdict::Keep } else { Verdict::Drop });
        }
        let items = stream.value(root, "items").map(|items| stream.resolved(items));
        let Some(items) = items.filter(|i| matches!(stream.events[*i].0, Event::SequenceStart(..))) else {
            return Err(self.error(root, "it is a List without a sequence of items"));
        };
        let mut dropped = BTreeSet::new();
        let all = stream.children(items);
        for item in &all {
            if self.kind(*item)?.is_none() || !self.selected(*item)? {
                dropped.insert(*item);
            }
        }
        Ok(match dropped.len() {
            gone if gone == all.len() => Verdict::Drop,
            0 => Verdict::Keep,
            _ => Verdict::Items(items, dropped),
        })
    }

    /// The object's kind; none for null.
    fn kind(&self, node: usize) -> Result<Option<&str>> {
        let stream = self.stream;
        let node = stream.resolved(node);
        if stream.string(node).is_none() && matches!(stream.events[node].0, Event::Scalar(..)) {
            return Ok(None);
        }
        let version = stream.value(node, "apiVersion").and_then(|v| stream.string(v));
        match (version, stream.value(node, "kind").and_then(|k| stream.string(k))) {
            (Some(_), Some(kind)) => Ok(Some(kind)),
            _ => Err(self.error(node, "it isn't a Kubernetes object (no apiVersion and kind)")),
        }
    }

    fn selected(&self, node: usize) -> Result<bool> {
        let stream = self.stream;
        let mut labels = BTreeMap::new();
        let mut found = Some(stream.resolved(node));
        for key in ["metadata", "labels"] {
            found = match found {
                Some(node) => self.no_merge(node)?.value(node, key).map(|n| stream.resolved(n)),
                None => None,
            };
        }
        if let Some(node) = found {
            for pair in self.no_merge(node)?.children(node).chunks(2) {
                if let [key, value] = pair
                    && let (Event::Scalar(key, ..), Event::Scalar(value, ..)) =
                        (&stream.events[stream.resolved(*key)].0, &stream.events[stream.resolved(*value)].0)
                {
                    labels.entry(key.to_string()).or_insert_with(|| value.to_string());
                }
            }
        }
        Ok(self.selector.matches(&labels))
    }

    /// Labels may not come through a merge key: what it means differs between YAML versions.
    fn no_merge(&self, node: usize) -> Result<&Stream<'_>> {
        match self.stream.value(node, "<<") {
            Some(_) => {
                Err(self.error(node, "it uses a merge key (<<), through which labels are not looked up"))
            }
            None => Ok(self.stream),
        }
    }

    fn error(&self, node: usize, why: &str) -> Error {
        let start = self.stream.events[node].1.start;
        let place = format!("{}:{}:{}", self.name, start.line(), start.col() + 1);
        Error::new(Kind::Input, "apply --selector", why).at(place)
    }
}

/// A document of the stream.
struct Document {
    /// Its bytes: up to the next one's, with the comments and directives before it.
    bytes: Range<usize>,
    events: Range<usize>,
    root: usize,
}

/// The events of a text. A node is the number of its first event.
struct Stream<'a> {
    events: Vec<(Event<'a>, Span)>,
    /// For each event that starts a node, the number after that node's last.
    ends: Vec<usize>,
    /// Anchor to node.
    anchors: BTreeMap<usize, usize>,
}

impl<'a> Stream<'a> {
    fn read(text: &'a str) -> Result<Self, ScanError> {
        let events = parser(text).collect::<Result<Vec<_>, _>>()?;
        let mut ends = vec![0; events.len()];
        let mut anchors = BTreeMap::new();
        let mut open = Vec::new();
        for (index, (event, _)) in events.iter().enumerate() {
            match event {
                Event::Scalar(..) | Event::Alias(_) => ends[index] = index + 1,
                Event::SequenceStart(..) | Event::MappingStart(..) => open.push(index),
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(start) = open.pop() {
                        ends[start] = index + 1;
                    }
                }
                // It follows the first event of its node.
                Event::Anchor(id, _) => {
                    let node = index - 1;
                    anchors.insert(*id, node);
                    if ends[node] == index {
                        ends[node] = index + 1;
                    }
                }
                _ => {}
            }
        }
        Ok(Stream { events, ends, anchors })
    }

    fn end(&self, node: usize) -> usize {
        self.ends[node]
    }

    /// The items of a sequence; of a mapping, keys and values in turn.
    fn children(&self, node: usize) -> Vec<usize> {
        let mut children = Vec::new();
        if !matches!(self.events[node].0, Event::SequenceStart(..) | Event::MappingStart(..)) {
            return children;
        }
        let mut at = node + 1;
        if matches!(self.events[at].0, Event::Anchor(..)) {
            at += 1;
        }
        while at + 1 < self.end(node) {
            children.push(at);
            at = self.end(at);
        }
        children
    }

    /// The value of a key in a mapping; nothing in anything else.
    fn value(&self, node: usize, key: &str) -> Option<usize> {
        if !matches!(self.events[node].0, Event::MappingStart(..)) {
            return None;
        }
        let children = self.children(node);
        let pair = children.chunks(2).find(|pair| self.string(pair[0]) == Some(key))?;
        pair.get(1).copied()
    }

    /// The node that an alias means, which is never an alias.
    fn resolved(&self, node: usize) -> usize {
        match &self.events[node].0 {
            Event::Alias(anchor) => self.anchors.get(anchor).copied().unwrap_or(node),
            _ => node,
        }
    }

    /// The text of a scalar that isn't null.
    fn string(&self, node: usize) -> Option<&str> {
        match &self.events[self.resolved(node)].0 {
            Event::Scalar(value, ScalarStyle::Plain, _, None)
                if ["", "~", "null", "Null", "NULL"].contains(&value.as_ref()) =>
            {
                None
            }
            Event::Scalar(_, _, _, Some(tag)) if tag.is_yaml_core_schema_tag("null") => None,
            Event::Scalar(value, ..) => Some(value),
            _ => None,
        }
    }

    fn documents(&self, text: &str) -> Vec<Document> {
        let mut documents: Vec<Document> = Vec::new();
        // The byte-order mark stays, whatever goes.
        let mut next = Some(if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 });
        for (index, (event, span)) in self.events.iter().enumerate() {
            let bytes = span.byte_range().unwrap_or_default();
            match event {
                Event::DocumentStart(..) => {
                    let start = next.take().unwrap_or(bytes.start);
                    if let Some(before) = documents.last_mut() {
                        before.bytes.end = start;
                    }
                    documents.push(Document {
                        bytes: start..text.len(),
                        events: index..self.events.len(),
                        root: index + 1,
                    });
                }
                Event::DocumentEnd => {
                    if let Some(document) = documents.last_mut() {
                        document.events.end = index + 1;
                    }
                    // After `...` all belongs to the next one.
                    next = (!bytes.is_empty()).then(|| after_line(text, bytes.end));
                }
                _ => {}
            }
        }
        documents
    }

    /// Where a node begins, with its tag and anchor.
    fn start_byte(&self, node: usize) -> usize {
        let span = self.events[node].1;
        let begin = span.byte_range().unwrap_or_default().start;
        let tag = span.tag_start().and_then(|m| m.byte_offset());
        let anchor = self.events.get(node + 1).filter(|(e, _)| matches!(e, Event::Anchor(..)));
        let anchor = anchor.and_then(|(_, s)| s.byte_range()).map(|r| r.start);
        tag.into_iter().chain(anchor).fold(begin, usize::min)
    }

    /// Where the last visible token of a node ends.
    fn end_byte(&self, node: usize) -> usize {
        let tokens = self.events[node..self.end(node)].iter().filter_map(|(_, span)| span.byte_range());
        tokens.filter(|r| !r.is_empty()).map(|r| r.end).max().unwrap_or_else(|| self.start_byte(node))
    }

    /// The bytes of some, but not all, items of a sequence.
    fn item_cuts(&self, text: &str, sequence: usize, dropped: &BTreeSet<usize>) -> Vec<Range<usize>> {
        let items = self.children(sequence);
        let flow = matches!(self.events[sequence].0, Event::SequenceStart(StructureStyle::Flow, ..));
        let last_kept = items.iter().rposition(|i| !dropped.contains(i)).unwrap_or(0);
        let mut cuts = Vec::new();
        for (number, item) in items.iter().enumerate().filter(|(_, i)| dropped.contains(i)) {
            cuts.push(match (flow, items.get(number + 1)) {
                // With the comma after it; the last ones with the comma before them.
                (true, Some(next)) if number < last_kept => self.start_byte(*item)..self.start_byte(*next),
                (true, _) => self.end_byte(items[number.saturating_sub(1)])..self.end_byte(*item),
                // Whole lines: comments above an item go with it.
                (false, _) => {
                    let start = match number.checked_sub(1) {
                        Some(before) => after_line(text, self.end_byte(items[before])),
                        None => self.dash_line(text, *item),
                    };
                    start..after_line(text, self.end_byte(*item))
                }
            });
        }
        cuts
    }

    /// The start of the line that holds the dash of a sequence's first item.
    fn dash_line(&self, text: &str, item: usize) -> usize {
        let mut end = self.start_byte(item);
        while end > 0 {
            let start = text[..end].rfind(['\n', '\r']).map_or(0, |at| at + 1);
            if text[start..].trim_start_matches(' ').starts_with('-') {
                return start;
            }
            end = start.saturating_sub(1);
        }
        0
    }

    /// Whether the text without `cuts` is the same stream without the events in `gone`.
    fn survives(&self, text: &str, cuts: &[Range<usize>], gone: &[Range<usize>]) -> bool {
        let mut rest = String::with_capacity(text.len());
        let mut at = 0;
        for cut in cuts {
            rest.push_str(text.get(at..cut.start).unwrap_or_default());
            at = cut.end;
        }
        rest.push_str(text.get(at..).unwrap_or_default());
        let Ok(after) = Stream::read(&rest) else { return false };
        let mut gone = gone.iter().peekable();
        let kept = self.events.iter().enumerate().filter(|(index, _)| {
            while gone.next_if(|g| g.end <= *index).is_some() {}
            gone.peek().is_none_or(|g| !g.contains(index))
        });
        let kept = kept.map(|(_, (event, _))| event);
        meanings(kept).eq(meanings(after.events.iter().map(|(e, _)| e)))
    }
}

/// Events without their anchors' numbers, which depend on what came before; an alias says which anchor of those
/// seen it means.
fn meanings<'e>(
    events: impl Iterator<Item = &'e Event<'e>>,
) -> impl Iterator<Item = (Event<'e>, Option<usize>)> {
    let mut seen = BTreeMap::new();
    events.map(move |event| match event {
        Event::Scalar(value, style, _, tag) => (Event::Scalar(value.clone(), *style, 0, tag.clone()), None),
        Event::SequenceStart(style, _, tag) => (Event::SequenceStart(*style, 0, tag.clone()), None),
        Event::MappingStart(style, _, tag) => (Event::MappingStart(*style, 0, tag.clone()), None),
        Event::Anchor(id, name) => {
            let number = seen.len();
            seen.insert(*id, number);
            (Event::Anchor(0, name.clone()), None)
        }
        Event::Alias(id) => (Event::Alias(0), seen.get(id).copied()),
        other => (other.clone(), None),
    })
}

/// The place after the line that `at` is on.
fn after_line(text: &str, at: usize) -> usize {
    // A block scalar's token ends after its line break, even after the next line's indentation.
    let before = text[..at].trim_end_matches(' ');
    if before.ends_with(['\n', '\r']) {
        return before.len();
    }
    match text[at..].find(['\n', '\r']) {
        Some(found) => {
            let end = at + found;
            end + if text[end..].starts_with("\r\n") { 2 } else { 1 }
        }
        None => text.len(),
    }
}
