//! `Link` headers (RFC 8288, section 3), as far as pages of a list need them: pure.

use crate::registry::auth::quoted;

/// The target of the first link with the relation `next` in the values of all `Link` headers of an answer, as it is
/// written there. What comes after something that isn't a link isn't read.
#[must_use]
pub fn next<'v>(values: impl IntoIterator<Item = &'v str>) -> Option<String> {
    values.into_iter().find_map(next_in)
}

fn next_in(value: &str) -> Option<String> {
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        let (is_next, after) = parameters(after)?;
        if is_next {
            return Some(target.trim().to_owned());
        }
        rest = after;
    }
}

/// Whether the parameters of a link say that it is the next, and what comes after them.
fn parameters(text: &str) -> Option<(bool, &str)> {
    // Of several relations only the first parameter counts (section 3.3).
    let mut is_next = None;
    let mut rest = text.trim_start();
    while let Some(after) = rest.strip_prefix(';') {
        let after = after.trim_start();
        let end = after.find(['=', ';', ',', ' ', '\t']).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        rest = after.trim_start();
        let Some(after) = rest.strip_prefix('=') else { continue };
        let (value, after) = self::value(after.trim_start())?;
        if name.eq_ignore_ascii_case("rel") && is_next.is_none() {
            is_next = Some(value.split_whitespace().any(|rel| rel.eq_ignore_ascii_case("next")));
        }
        rest = after.trim_start();
    }
    (rest.is_empty() || rest.starts_with(',')).then_some((is_next == Some(true), rest))
}

/// A token or a quoted string, without its quotes, and what comes after it.
fn value(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('"') {
        return quoted(rest);
    }
    let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
    Some((text[..end].to_owned(), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_however_it_is_written() {
        for (value, expected) in [
            ("</v2/a/tags/list?n=1&last=b>; rel=\"next\"", Some("/v2/a/tags/list?n=1&last=b")),
            ("<x>;rel=next", Some("x")),
            ("<x> ; Rel = \"prev NEXT\"", Some("x")),
            ("<p>; rel=prev, <n>; rel=next", Some("n")),
            ("<p>; title=\"a, <b>; rel=next\"; rel=prev , , <n>; a; rel=\"next\"", Some("n")),
            ("<p>; title=\"a\\\" , <b>; rel=next\", <n>; rel=next", Some("n")),
            ("<p>; rel=prev; rel=next", None),
            ("<https://other.io/x?a=b,c;d>; rel=next", Some("https://other.io/x?a=b,c;d")),
            ("<x>; rel=next;", Some("x")),
            ("<ü>; rel=next", Some("ü")),
            ("<>; rel=next", Some("")),
            ("x; rel=next", None),
            ("<x; rel=next", None),
            ("<x>; rel=\"next", None),
            ("<x> y; rel=next", None),
            ("<x>; nextrel=next", None),
            ("", None),
        ] {
            assert_eq!(next([value]).as_deref(), expected, "{value}");
        }
        assert_eq!(next(["<a>; rel=prev", "<b>; rel=next"]).as_deref(), Some("b"));
        assert_eq!(next([]), None);
    }

    proptest::proptest! {
        #[test]
        fn fuzz_links_are_read_or_left(
            any in ".*",
            like in "(<[a-z/?&=,;]{0,8}>[ ]?(;[ ]?[a-z]{0,4}[ ]?=?[ ]?\"?[a-z,;<>\\\\]{0,6}\"?){0,3}[, ]{0,2}){0,3}",
            target in "[a-z/?&=,;.:\"\\\\ ]{0,20}",
        ) {
            for value in [&any, &like] {
                if let Some(found) = next([value.as_str()]) {
                    proptest::prop_assert!(value.contains(found.as_str()));
                }
            }
            let value = format!("<a>; rel=\"prev\"; title=\"<b>; rel=\\\"next\\\"\", <{target}>; rel=\"next\"");
            let found = next([value.as_str()]);
            proptest::prop_assert_eq!(found.as_deref(), Some(target.trim()));
        }
    }
}
