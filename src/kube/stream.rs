//! The events of a text as a tree, each node with its bytes: what a selector and edits by place look things up in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use granit_parser::{Event, ScalarStyle, ScanError, Span, StructureStyle};

use crate::kube::yaml::parser;

/// A document of the stream.
pub(super) struct Document {
    /// Its bytes: up to the next one's, with the comments and directives before it.
    pub(super) bytes: Range<usize>,
    pub(super) events: Range<usize>,
    pub(super) root: usize,
}

/// The events of a text. A node is the number of its first event.
pub(super) struct Stream<'a> {
    pub(super) events: Vec<(Event<'a>, Span)>,
    /// For each event that starts a node, the number after that node's last.
    ends: Vec<usize>,
    /// For each event that starts a node, the collection that it is in.
    parents: Vec<Option<usize>>,
    /// For each event that starts a value in a mapping, its key.
    keys: Vec<Option<usize>>,
    /// Anchor to node.
    anchors: BTreeMap<usize, usize>,
    /// The anchors that aliases mean.
    meant: BTreeSet<usize>,
}

impl<'a> Stream<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, ScanError> {
        let events = parser(text).collect::<Result<Vec<_>, _>>()?;
        let mut ends = vec![0; events.len()];
        let mut anchors = BTreeMap::new();
        let (mut parents, mut keys) = (vec![None; events.len()], vec![None; events.len()]);
        let mut meant = BTreeSet::new();
        let mut open: Vec<usize> = Vec::new();
        // The key of each open collection whose value is still to come.
        let mut waiting: Vec<Option<usize>> = Vec::new();
        for (index, (event, _)) in events.iter().enumerate() {
            parents[index] = open.last().copied();
            if matches!(
                event,
                Event::Scalar(..) | Event::Alias(_) | Event::SequenceStart(..) | Event::MappingStart(..)
            ) && let (Some(around), Some(key)) = (open.last(), waiting.last_mut())
                && matches!(events[*around].0, Event::MappingStart(..))
            {
                keys[index] = key.take();
                *key = keys[index].is_none().then_some(index);
            }
            match event {
                Event::Alias(anchor) => {
                    meant.insert(*anchor);
                    ends[index] = index + 1;
                }
                Event::Scalar(..) => ends[index] = index + 1,
                Event::SequenceStart(..) | Event::MappingStart(..) => {
                    open.push(index);
                    waiting.push(None);
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    waiting.pop();
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
        Ok(Stream { events, ends, parents, keys, anchors, meant })
    }

    pub(super) fn end(&self, node: usize) -> usize {
        self.ends[node]
    }

    /// The items of a sequence; of a mapping, keys and values in turn.
    pub(super) fn children(&self, node: usize) -> Vec<usize> {
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
    pub(super) fn value(&self, node: usize, key: &str) -> Option<usize> {
        if !matches!(self.events[node].0, Event::MappingStart(..)) {
            return None;
        }
        let children = self.children(node);
        let pair = children.chunks(2).find(|pair| self.string(pair[0]) == Some(key))?;
        pair.get(1).copied()
    }

    /// The node that an alias means, which is never an alias.
    pub(super) fn resolved(&self, node: usize) -> usize {
        match &self.events[node].0 {
            Event::Alias(anchor) => self.anchors.get(anchor).copied().unwrap_or(node),
            _ => node,
        }
    }

    /// The text of a scalar that isn't null.
    pub(super) fn string(&self, node: usize) -> Option<&str> {
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

    /// Whether an anchor is at this node.
    pub(super) fn has_anchor(&self, node: usize) -> bool {
        matches!(self.events.get(node + 1), Some((Event::Anchor(..), _)))
    }

    /// Whether aliases mean this node.
    pub(super) fn is_shared(&self, node: usize) -> bool {
        matches!(self.events.get(node + 1), Some((Event::Anchor(id, _), _)) if self.meant.contains(id))
    }

    /// The collection that a node is in.
    pub(super) fn parent(&self, node: usize) -> Option<usize> {
        self.parents.get(node).copied().flatten()
    }

    /// The key of a value in a mapping.
    pub(super) fn key_of(&self, value: usize) -> Option<usize> {
        self.keys.get(value).copied().flatten()
    }

    /// Whether a node is a collection in flow style.
    pub(super) fn is_flow(&self, node: usize) -> bool {
        matches!(
            self.events[node].0,
            Event::SequenceStart(StructureStyle::Flow, ..) | Event::MappingStart(StructureStyle::Flow, ..)
        )
    }

    /// Whether a node is in a collection in flow style.
    pub(super) fn is_in_flow(&self, node: usize) -> bool {
        std::iter::successors(self.parent(node), |above| self.parent(*above)).any(|above| self.is_flow(above))
    }

    /// The keys of a mapping with their values; none of anything else.
    pub(super) fn pairs(&self, node: usize) -> Vec<(usize, usize)> {
        if !matches!(self.events[node].0, Event::MappingStart(..)) {
            return Vec::new();
        }
        self.children(node).chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
    }

    pub(super) fn documents(&self, text: &str) -> Vec<Document> {
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
    pub(super) fn start_byte(&self, node: usize) -> usize {
        let span = self.events[node].1;
        let begin = span.byte_range().unwrap_or_default().start;
        let tag = span.tag_start().and_then(|m| m.byte_offset());
        let anchor = self.events.get(node + 1).filter(|(e, _)| matches!(e, Event::Anchor(..)));
        let anchor = anchor.and_then(|(_, s)| s.byte_range()).map(|r| r.start);
        tag.into_iter().chain(anchor).fold(begin, usize::min)
    }

    /// Where the last visible token of a node ends.
    pub(super) fn end_byte(&self, node: usize) -> usize {
        let tokens = self.events[node..self.end(node)].iter().filter_map(|(_, span)| span.byte_range());
        tokens.filter(|r| !r.is_empty()).map(|r| r.end).max().unwrap_or_else(|| self.start_byte(node))
    }
}

/// Events without their anchors' numbers, which depend on what came before; an alias says which anchor of those
/// seen it means.
pub(super) fn meanings<'e>(
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
pub(super) fn after_line(text: &str, at: usize) -> usize {
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
