//! HTML, written so that every element ends and nothing of an image can be more than text.

use std::fmt::Write as _;

use crate::error::printable;

/// The longest text of an image that is shown in one place, in characters: nobody reads more.
const MAX_TEXT: usize = 2000;

/// A piece of a page.
#[derive(Default)]
pub(super) struct Html(String);

/// Names and values of an element's attributes. Names are ours; values may be anybody's.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a str)];

/// Elements without content (HTML, "Void elements").
const VOID: &[&str] = &["meta", "link", "br"];

impl Html {
    /// An element and what is in it.
    pub(super) fn el(
        &mut self,
        name: &'static str,
        attributes: Attributes<'_>,
        inside: impl FnOnce(&mut Html),
    ) -> &mut Self {
        self.0.push('<');
        self.0.push_str(name);
        for (key, value) in attributes {
            // Writing to a string can't fail.
            let _ = write!(self.0, " {key}=\"{}\"", escaped(value));
        }
        self.0.push('>');
        if !VOID.contains(&name) {
            inside(self);
            let _ = write!(self.0, "</{name}>");
        }
        self
    }

    /// An element with a text.
    pub(super) fn line(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) -> &mut Self {
        self.el(name, attributes, |html| html.text(text))
    }

    /// Text.
    pub(super) fn text(&mut self, text: &str) {
        self.0.push_str(&escaped(text));
    }

    /// What we wrote ourselves: nothing of an image is in it.
    pub(super) fn own(&mut self, html: &str) -> &mut Self {
        self.0.push_str(html);
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Text as it may stand anywhere in a page, also in an attribute's value. It can't turn the direction of what is around it.
fn escaped(text: &str) -> String {
    let is_long = text.chars().nth(MAX_TEXT).is_some();
    let shown = printable(text.chars().take(MAX_TEXT).collect());
    let mut escaped = String::with_capacity(shown.len());
    for c in shown.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    if is_long {
        escaped.push('…');
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_nothing_but_text() {
        let mut html = Html::default();
        let bad = "</td><script>alert(\"x\")</script>' & \u{202e}\u{1b}";
        html.el("td", &[("title", bad)], |td| td.text(bad));
        let text = "&lt;/td&gt;&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&#39; &amp; \\u{202e}\\u{1b}";
        assert_eq!(html.finish(), format!("<td title=\"{text}\">{text}</td>"));
        let mut html = Html::default();
        html.el("meta", &[("charset", "utf-8")], |_| {}).line("p", &[], &"é".repeat(MAX_TEXT + 1));
        let long = format!("{}…", "é".repeat(MAX_TEXT));
        assert_eq!(html.finish(), format!("<meta charset=\"utf-8\"><p>{long}</p>"));
    }
}
