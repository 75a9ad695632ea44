//! A configuration file as a tree of values that know where they stand. YAML (and so JSON) and TOML.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where something stands: line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// A value before anyone has asked for a type: `1.10` may be meant as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    /// Text, and whether it was written without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) at: Position,
    pub(super) text: String,
}

/// Why a file can't be read, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) at: Position,
    pub(super) why: String,
}

fn wrong<T>(at: Position, why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { at, why: why.into() })
}

/// How many values a file may hold, aliases expanded: far more than anyone writes.
const MOST_NODES: usize = 100_000;

/// Reads YAML 1.2, of which JSON is a part. An empty file is an empty map.
pub(super) fn yaml(text: &str) -> Result<Node, Wrong> {
    read_yaml(text, false)
}

/// As [`yaml`], with YAML 1.1's merge keys: what stands beside `<<` wins over what it names.
pub(super) fn yaml_with_merges(text: &str) -> Result<Node, Wrong> {
    read_yaml(text, true)
}

fn read_yaml(text: &str, merges: bool) -> Result<Node, Wrong> {
    let parser = Parser::new_from_str(text);
    let mut reader = Yaml { parser, anchors: BTreeMap::new(), nodes: 0, merges };
    reader.document()
}

struct Yaml<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, (Node, usize)>,
    nodes: usize,
    /// Whether merge keys are allowed.
    merges: bool,
}

impl<'t> Yaml<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Position), Wrong> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let at = Position { line: span.start.line(), column: span.start.col() + 1 };
                Ok((event, at))
            }
            Some(Err(e)) => {
                let at = Position { line: e.marker().line(), column: e.marker().col() + 1 };
                wrong(at, e.info())
            }
            None => Ok((Event::StreamEnd, Position::default())),
        }
    }

    fn document(&mut self) -> Result<Node, Wrong> {
        let mut root = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => return wrong(at, "a second document"),
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, at)?),
            }
        }
        let empty = Node { at: Position { line: 1, column: 1 }, value: Value::Null };
        Ok(root.unwrap_or(empty))
    }

    /// The node that begins with `event`. The parser bounds the depth.
    fn node(&mut self, event: Event<'t>, at: Position) -> Result<Node, Wrong> {
        let before = self.nodes;
        self.count(at, 1)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Scalar { text: text.into_owned(), plain } };
                (value, anchor)
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return wrong(at, "an alias inside what it names");
                };
                self.count(at, size)?;
                return Ok(Node { at, value: node.value });
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, at) => list.push(self.node(event, at)?),
                    }
                }
                (Value::List(list), anchor)
            }
            Event::MappingStart(_, anchor, _) => (Value::Map(self.map()?), anchor),
            _ => return wrong(at, "not a value"),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn map(&mut self) -> Result<Vec<(Key, Node)>, Wrong> {
        let mut map: Vec<(Key, Node)> = Vec::new();
        let mut merged: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                for (key, value) in merged {
                    if !map.iter().any(|(own, _)| own.text == key.text) {
                        map.push((key, value));
                    }
                }
                return Ok(map);
            }
            let Value::Scalar { text, .. } = self.node(event, at)?.value else {
                return wrong(at, "a key that isn't text");
            };
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at)?;
            if text == "<<" {
                if !self.merges {
                    return wrong(at, "merge keys (<<) are not supported");
                }
                let sources = match value.value {
                    Value::List(list) => list,
                    _ => vec![value],
                };
                for source in sources {
                    let Value::Map(more) = source.value else { return wrong(at, "<< takes maps") };
                    merged.extend(more);
                }
                continue;
            }
            map.push((Key { at, text }, value));
        }
    }

    fn count(&mut self, at: Position, more: usize) -> Result<(), Wrong> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MOST_NODES { wrong(at, "too large after its aliases are expanded") } else { Ok(()) }
    }
}

/// Reads TOML 1.
pub(super) fn toml(text: &str) -> Result<Node, Wrong> {
    let position = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
        Position { line, column }
    };
    let table = DeTable::parse(text)
        .map_err(|e| Wrong { at: position(e.span().map_or(0, |s| s.start)), why: e.message().to_owned() })?;
    let at = position(table.span().start);
    Ok(Node { at, value: from_table(table.get_ref(), &position) })
}

fn from_table(table: &DeTable<'_>, position: &dyn Fn(usize) -> Position) -> Value {
    let entry = |key: &Spanned<std::borrow::Cow<'_, str>>, value: &Spanned<DeValue<'_>>| {
        let key = Key { at: position(key.span().start), text: key.get_ref().to_string() };
        (key, from_toml(value, position))
    };
    Value::Map(table.iter().map(|(k, v)| entry(k, v)).collect())
}

fn from_toml(value: &Spanned<DeValue<'_>>, position: &dyn Fn(usize) -> Position) -> Node {
    let scalar = |text: String, plain: bool| Value::Scalar { text, plain };
    let at = position(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => scalar(text.to_string(), false),
        DeValue::Integer(number) => scalar(number.as_str().to_owned(), true),
        DeValue::Float(number) => scalar(number.as_str().to_owned(), true),
        DeValue::Boolean(truth) => scalar(truth.to_string(), true),
        DeValue::Datetime(time) => scalar(time.to_string(), true),
        DeValue::Array(list) => Value::List(list.iter().map(|v| from_toml(v, position)).collect()),
        DeValue::Table(table) => from_table(table, position),
    };
    Node { at, value }
}
