//! `ONLY=`: which rows to run. A small regular expression: `.`, `*`, `^`, `$` and `|` have their meaning.

/// Whether the pattern is found in the text. An empty one is.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    pattern.split('|').any(|one| found(one.as_bytes(), text.as_bytes()))
}

/// What the pattern has that other regular expressions know and this one doesn't.
pub(crate) fn unknown(pattern: &str) -> Option<char> {
    pattern.chars().find(|c| "()[]{}?\\".contains(*c))
}

fn found(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.strip_prefix(b"^") {
        Some(rest) => here(rest, text),
        None => (0..=text.len()).any(|start| here(pattern, &text[start..])),
    }
}

fn here(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => true,
        b"$" => text.is_empty(),
        [one, b'*', rest @ ..] => {
            let most = text.iter().take_while(|c| *one == b'.' || one == *c).count();
            (0..=most).any(|taken| here(rest, &text[taken..]))
        }
        [one, rest @ ..] => {
            text.split_first().is_some_and(|(c, left)| (*one == b'.' || one == c) && here(rest, left))
        }
    }
}
