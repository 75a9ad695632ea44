//! Places in YAML: `services.web.image`, `containers[0].image`, as Helm's `--set` names them.

use std::fmt;
use std::str::FromStr;

use granit_parser::Event;

use crate::error::{Error, Kind, Result};
use crate::kube::stream::Stream;

/// Keys and numbers of items from a document's root down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    steps: Vec<Step>,
    written: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

impl FromStr for Place {
    type Err = Error;

    /// Keys are parted by dots, items are numbered from 0 in brackets; a backslash takes the next character into a key.
    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(Kind::Usage, format!("read the place \"{text}\""), why)
                .hint("write keys with dots, items with numbers: services.web.image, containers[0].image")
        };
        let (mut steps, mut key) = (Vec::new(), String::new());
        let mut rest = text.chars().peekable();
        // After a dot or at the start a key must follow; after a bracket none may.
        let mut open = true;
        while let Some(c) = rest.next() {
            match c {
                '\\' if open => key.push(rest.next().ok_or_else(|| bad("nothing follows the backslash"))?),
                '.' if open && key.is_empty() => return Err(bad("a key is empty")),
                '.' => {
                    if open {
                        steps.push(Step::Key(std::mem::take(&mut key)));
                    }
                    open = true;
                    if rest.peek().is_none() {
                        return Err(bad("a key is empty"));
                    }
                }
                '[' => {
                    if !key.is_empty() {
                        steps.push(Step::Key(std::mem::take(&mut key)));
                    } else if open && !steps.is_empty() {
                        return Err(bad("a key is empty"));
                    }
                    let number: String = std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).collect();
                    let number = number.parse().ok().filter(|_| rest.next() == Some(']'));
                    steps.push(Step::Item(number.ok_or_else(|| bad("brackets hold the number of an item"))?));
                    open = false;
                }
                _ if !open => return Err(bad("a dot or bracket must follow an item")),
                c => key.push(c),
            }
        }
        if open && key.is_empty() {
            return Err(bad("a key is empty"));
        }
        if open {
            steps.push(Step::Key(key));
        }
        Ok(Place { steps, written: text.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// What a place leads to.
pub(super) enum Found {
    /// A value, and the key before it.
    Node(usize, Option<usize>),
    /// Nothing: how many steps led somewhere, and which keys are there instead.
    Nothing(usize, Vec<String>),
    /// Something that can't be edited by its place: the node, and why.
    Never(usize, String),
}

impl Place {
    /// Follows the place from the node `root`.
    pub(super) fn find(&self, stream: &Stream<'_>, root: usize) -> Found {
        let (mut node, mut key) = (root, None);
        for (depth, step) in self.steps.iter().enumerate() {
            if let Event::Alias(_) = stream.events[node].0 {
                return Found::Never(node, "it is an alias: what it means stands elsewhere".to_owned());
            }
            match step {
                Step::Item(number) => {
                    let items = match stream.events[node].0 {
                        Event::SequenceStart(..) => stream.children(node),
                        _ => Vec::new(),
                    };
                    let Some(item) = items.get(*number) else { return Found::Nothing(depth, Vec::new()) };
                    (node, key) = (*item, None);
                }
                Step::Key(name) => match pair(stream, node, name) {
                    Ok(Some(pair)) => (key, node) = (Some(pair.0), pair.1),
                    Err(twice) => return Found::Never(twice, format!("the key {name} is there twice")),
                    Ok(None) if stream.value(node, "<<").is_some() => {
                        let why =
                            format!("{name} comes through a merge key (<<), and is edited where it stands");
                        return Found::Never(node, why);
                    }
                    Ok(None) => {
                        let keys = stream.pairs(node).into_iter().filter_map(|(k, _)| stream.string(k));
                        return Found::Nothing(depth, keys.map(str::to_owned).collect());
                    }
                },
            }
        }
        Found::Node(node, key)
    }

    /// The first steps, for people.
    pub(super) fn start(&self, steps: usize) -> String {
        let mut text = String::new();
        for step in self.steps.iter().take(steps) {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.push_str(&format!(".{key}")),
                Step::Item(number) => text.push_str(&format!("[{number}]")),
            }
        }
        text
    }
}

/// The key `name` of a mapping and its value; an error is the second key of that name.
pub(super) fn pair(stream: &Stream<'_>, map: usize, name: &str) -> Result<Option<(usize, usize)>, usize> {
    let mut found = None;
    for (key, value) in stream.pairs(map) {
        if stream.string(key) == Some(name) {
            if found.is_some() {
                return Err(key);
            }
            found = Some((key, value));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_helm_reads_them() {
        for (text, steps) in [
            ("image", vec![Step::Key("image".into())]),
            ("services.web.image", ["services", "web", "image"].map(|k| Step::Key(k.into())).to_vec()),
            ("a[0].b", vec![Step::Key("a".into()), Step::Item(0), Step::Key("b".into())]),
            ("a[1][2]", vec![Step::Key("a".into()), Step::Item(1), Step::Item(2)]),
            ("[3].x", vec![Step::Item(3), Step::Key("x".into())]),
            (r"a\.b.c\[0]", vec![Step::Key("a.b".into()), Step::Key("c[0]".into())]),
            ("é ü", vec![Step::Key("é ü".into())]),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!((&place.steps, place.to_string().as_str()), (&steps, text));
        }
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a[",
            "a[]",
            "a[x]",
            "a[1",
            "a[0]b",
            "a.[0]",
            "a\\",
            "a[99999999999999999999]",
        ] {
            let error = text.parse::<Place>().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{text}");
        }
    }
}
