//! A file's tree against the JSON Schema that the types generate: what no key has is said with its place, what fits
//! becomes JSON of just the types that the schema asks for.

use serde_json::{Map, Value as Json, json};

use crate::error::nearest;

use super::node::{Node, Position, Value};

/// Something in the file that the schema doesn't have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) at: Position,
    /// Where in the tree, such as `builds[0].env`; empty for the root.
    pub(super) path: String,
    pub(super) what: What,
}

/// What is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A key that isn't there, and the nearest that is.
    Unknown { key: String, nearest: Option<String> },
    /// A key of gimg's own in a file of ko's.
    NotKos { key: String },
    /// A key that stands twice.
    Twice { key: String },
    /// Anything else, in words.
    Wrong(String),
}

/// Checks a tree. `own` says whether gimg's own keys may be there.
pub(super) fn check(node: &Node, schema: &Json, own: bool) -> (Json, Vec<Finding>) {
    let mut checker = Checker { schema, own, findings: Vec::new() };
    let json = match node.value {
        Value::Null => json!({}),
        _ => checker.value(node, schema, ""),
    };
    (json, checker.findings)
}

struct Checker<'s> {
    schema: &'s Json,
    own: bool,
    findings: Vec<Finding>,
}

impl<'s> Checker<'s> {
    fn report(&mut self, at: Position, path: &str, what: What) {
        self.findings.push(Finding { at, path: path.to_owned(), what });
    }

    /// Follows `$ref`.
    fn resolve(&self, schema: &'s Json) -> &'s Json {
        let target = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#'));
        target.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(schema)
    }

    /// The value as the schema wants it; what doesn't fit is reported and left out.
    fn value(&mut self, node: &Node, schema: &'s Json, path: &str) -> Json {
        let mut kinds = Vec::new();
        self.kinds(schema, &mut kinds);
        let wanted = |kind: &str| kinds.iter().find(|(k, _)| *k == kind).map(|(_, s)| *s);
        match &node.value {
            Value::Null => Json::Null,
            Value::Scalar { text, plain } => match scalar(text, *plain, &|kind| wanted(kind).is_some()) {
                Some(json) => json,
                None => self.unfit(node.at, path, &kinds),
            },
            Value::List(list) => match wanted("array") {
                Some(schema) => {
                    let items = schema.get("items").unwrap_or(&Json::Null);
                    let each = |(i, n): (usize, &Node)| self.value(n, items, &format!("{path}[{i}]"));
                    Json::Array(list.iter().enumerate().map(each).filter(|v| !v.is_null()).collect())
                }
                None => self.unfit(node.at, path, &kinds),
            },
            Value::Map(map) => match wanted("object") {
                Some(schema) => self.object(node.at, map, schema, path),
                None => self.unfit(node.at, path, &kinds),
            },
        }
    }

    fn object(
        &mut self,
        at: Position,
        map: &[(super::node::Key, Node)],
        schema: &'s Json,
        path: &str,
    ) -> Json {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Json::as_object);
        let free = schema.get("additionalProperties").filter(|v| v.is_object());
        let mut json = Map::new();
        for (key, value) in map {
            let (name, child) = match properties.and_then(|p| find(p, &key.text)) {
                Some((name, child)) => {
                    let is_own = child.get("x-gimg").is_some();
                    if is_own && !self.own {
                        self.report(key.at, path, What::NotKos { key: name.clone() });
                        continue;
                    }
                    (name.clone(), child)
                }
                None => match free {
                    Some(child) => (key.text.clone(), child),
                    None => {
                        let known = properties.unwrap_or(&none).keys().map(String::as_str);
                        let nearest = nearest(&key.text, known).map(str::to_owned);
                        let key_text = key.text.clone();
                        self.report(key.at, path, What::Unknown { key: key_text, nearest });
                        continue;
                    }
                },
            };
            if json.contains_key(&name) {
                self.report(key.at, path, What::Twice { key: name });
                continue;
            }
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let found = self.value(value, child, &below);
            // An empty key is an absent one, as in ko.
            if !found.is_null() {
                json.insert(name, found);
            }
        }
        for name in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
            if let Some(name) = name.as_str().filter(|n| !json.contains_key(*n)) {
                self.report(at, path, What::Wrong(format!("the key {name} is missing")));
            }
        }
        Json::Object(json)
    }

    /// The types that a schema allows, each with the schema that says more about it.
    fn kinds(&self, schema: &'s Json, found: &mut Vec<(&'s str, &'s Json)>) {
        let schema = self.resolve(schema);
        for alternatives in ["anyOf", "oneOf"] {
            for one in schema.get(alternatives).and_then(Json::as_array).into_iter().flatten() {
                self.kinds(one, found);
            }
        }
        match schema.get("type") {
            Some(Json::String(kind)) => found.push((kind, schema)),
            Some(Json::Array(list)) => {
                found.extend(list.iter().filter_map(Json::as_str).map(|kind| (kind, schema)));
            }
            _ => {}
        }
    }

    fn unfit(&mut self, at: Position, path: &str, kinds: &[(&str, &Json)]) -> Json {
        let words = kinds.iter().filter(|(kind, _)| *kind != "null").map(|(kind, _)| match *kind {
            "string" => "text",
            "array" => "a list",
            "object" => "a map",
            "boolean" => "true or false",
            _ => "a number",
        });
        let words: Vec<&str> = words.collect();
        self.report(at, path, What::Wrong(format!("it takes {}", words.join(" or "))));
        Json::Null
    }
}

/// A scalar as one of the types that are wanted. Text that looks like a number stays text where text is wanted.
fn scalar(text: &str, plain: bool, wanted: &dyn Fn(&str) -> bool) -> Option<Json> {
    if wanted("boolean") {
        // Quoted too: ko takes both.
        match text {
            "true" | "True" | "TRUE" => return Some(Json::Bool(true)),
            "false" | "False" | "FALSE" => return Some(Json::Bool(false)),
            _ => {}
        }
    }
    if wanted("integer")
        && plain
        && let Ok(number) = text.parse::<u32>()
    {
        return Some(Json::from(number));
    }
    wanted("string").then(|| Json::String(text.to_owned()))
}

/// The property that a key means: ko doesn't tell upper from lower case.
fn find<'s>(properties: &'s Map<String, Json>, key: &str) -> Option<(&'s String, &'s Json)> {
    properties.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))
}
