//! YAML as data: what other programs read in our files.

use granit_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// The documents of a text, without anchors. Plain scalars have the types of YAML's core schema.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    let mut parser = Parser::new_from_str(text);
    let mut documents = Vec::new();
    while let Some(event) = parser.next_event() {
        match event.unwrap() {
            (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd, _) => {}
            (event, _) => documents.push(value(&mut parser, event)),
        }
    }
    documents
}

fn next<'t>(parser: &mut Parser<'t, StrInput<'t>>) -> Event<'t> {
    parser.next_event().unwrap().unwrap().0
}

fn value<'t>(parser: &mut Parser<'t, StrInput<'t>>, event: Event<'t>) -> Value {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) => match &*text {
            "" | "~" | "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        },
        Event::Scalar(text, ..) => Value::from(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match next(parser) {
                    Event::SequenceEnd => return Value::Array(list),
                    event => list.push(value(parser, event)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                let key = match next(parser) {
                    Event::MappingEnd => return Value::Object(map),
                    Event::Scalar(key, ..) => key.into_owned(),
                    other => panic!("a key that isn't text: {other:?}"),
                };
                let event = next(parser);
                let value = value(parser, event);
                assert!(map.insert(key.clone(), value).is_none(), "{key} twice");
            }
        }
        other => panic!("{other:?}"),
    }
}
