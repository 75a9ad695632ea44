//! Templates: the values that they see and make.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A value of a template. The variants differ where Go's types would: in what is printed and compared.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Nothing: what `nil` is and what a missing index gives.
    #[default]
    Nil,
    /// A bool.
    Bool(bool),
    /// Go's `int`: what constants and `len` are.
    Int(i64),
    /// Go's `int64`: timestamps.
    Int64(i64),
    /// Go's `uint8`: what an index of a string gives.
    Byte(u8),
    /// Go's `float64`.
    Float(f64),
    /// A string: bytes, as in Go.
    Text(Arc<[u8]>),
    /// A list.
    List(List),
    /// A map with strings as keys.
    Map(Map),
}

/// A list; parts of it share its elements, as slices in Go do.
#[derive(Clone, Debug)]
pub struct List {
    items: Arc<[Value]>,
    start: usize,
    end: usize,
    /// Where a further slice must end.
    limit: usize,
    strings: bool,
}

impl List {
    /// The elements.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items[self.start..self.end]
    }

    /// How far it can be sliced, which may be beyond its length.
    pub(super) fn capacity(&self) -> usize {
        self.limit - self.start
    }

    /// The part `from..to` with capacity up to `limit`, all within this one's capacity and in order.
    pub(super) fn slice(&self, from: usize, to: usize, limit: Option<usize>) -> List {
        let limit = limit.map_or(self.limit, |l| self.start + l);
        List { start: self.start + from, end: self.start + to, limit, ..self.clone() }
    }
}

/// A map with strings as keys.
#[derive(Clone, Debug)]
pub struct Map {
    entries: Arc<BTreeMap<String, Value>>,
    strings: bool,
}

impl Map {
    /// The entries, in the order of their keys.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<String, Value> {
        &self.entries
    }

    /// What an index without an entry gives.
    pub(super) fn zero(&self) -> Value {
        if self.strings { Value::from("") } else { Value::Nil }
    }
}

impl Value {
    /// The name of the type in Go, as its messages print it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Int64(_) => "int64",
            Value::Byte(_) => "uint8",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::List(List { strings: true, .. }) => "[]string",
            Value::List(_) => "[]interface {}",
            Value::Map(Map { strings: true, .. }) => "map[string]string",
            Value::Map(_) => "map[string]interface {}",
        }
    }

    /// The kind in plain words.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Value::Nil => "nothing",
            Value::Bool(_) => "a bool",
            Value::Int(_) | Value::Int64(_) | Value::Byte(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// What `if` thinks of it: empty, zero, false and nothing are false.
    pub(super) fn truth(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(i) | Value::Int64(i) => *i != 0,
            Value::Byte(b) => *b != 0,
            Value::Float(f) => *f != 0.0,
            Value::Text(t) => !t.is_empty(),
            Value::List(l) => !l.items().is_empty(),
            Value::Map(m) => !m.entries.is_empty(),
        }
    }

    /// The integer, whatever its type.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Value::Int(i) | Value::Int64(i) => Some(*i),
            Value::Byte(b) => Some(i64::from(*b)),
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

/// A timestamp: Go's `int64`.
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int64(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.as_bytes().into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value.into_bytes().into())
    }
}

impl From<Vec<u8>> for Value {
    fn from(value: Vec<u8>) -> Self {
        Value::Text(value.into())
    }
}

fn list(items: Vec<Value>, strings: bool) -> Value {
    let end = items.len();
    Value::List(List { items: items.into(), start: 0, end, limit: end, strings })
}

/// Go's `[]any`.
impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        list(items, false)
    }
}

/// Go's `[]string`.
impl From<Vec<String>> for Value {
    fn from(items: Vec<String>) -> Self {
        list(items.into_iter().map(Value::from).collect(), true)
    }
}

/// Go's `map[string]any`.
impl From<BTreeMap<String, Value>> for Value {
    fn from(entries: BTreeMap<String, Value>) -> Self {
        Value::Map(Map { entries: Arc::new(entries), strings: false })
    }
}

/// Go's `map[string]string`.
impl From<BTreeMap<String, String>> for Value {
    fn from(entries: BTreeMap<String, String>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key, Value::from(value))).collect();
        Value::Map(Map { entries: Arc::new(entries), strings: true })
    }
}
