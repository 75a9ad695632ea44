//! What a label selector leaves out of a file: byte ranges of whole documents, and of items of a `kind: List`.
//!
//! A cut is checked before it is used: the text without it must parse to exactly the events that are meant to stay,
//! with every alias at its own anchor. Where that isn't so, it is an error and nothing is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use granit_parser::{Event, StructureStyle};

use crate::error::{Error, Kind, Result};
use crate::kube::Selector;
use crate::kube::stream::{Stream, after_line, meanings};
use crate::kube::yaml::not_yaml;

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

impl Stream<'_> {
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
