//! The one error type, its kinds, and the exit code of each kind.
//!
//! An error says what failed, why, and where, with at most one hint. It is printed once, by `ui::failure`.

use std::fmt;

/// What sort of failure this is. Each kind has one exit code (DESIGN: "Exit codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A fault in gimg itself.
    Internal,
    /// Flags or arguments that can't be understood or contradict each other.
    Usage,
    /// Bad input: configuration, reference, package, kodata.
    Input,
    /// The Go build failed.
    GoBuild,
    /// The base image can't be used.
    Base,
    /// Credentials are missing or were refused.
    Auth,
    /// The network or the registry can't be reached.
    Unavailable,
    /// A digest, size or limit doesn't hold.
    Integrity,
    /// Reading or writing local files failed.
    LocalIo,
    /// The registry refused the request.
    Refused,
    /// A signature, or something else that is said about an image, can't be made or attached.
    Attestation,
    /// Stopped by SIGINT (Ctrl-C).
    Interrupted,
    /// Stopped by SIGTERM.
    Terminated,
    /// Stopped by SIGHUP: the terminal was closed.
    HungUp,
}

impl Kind {
    /// The process exit code of this kind.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Usage => 2,
            Kind::Input => 3,
            Kind::GoBuild => 4,
            Kind::Base => 5,
            Kind::Auth => 6,
            Kind::Unavailable => 7,
            Kind::Integrity => 8,
            Kind::LocalIo => 9,
            Kind::Refused => 10,
            Kind::HungUp => 129,
            Kind::Attestation => 11,
            Kind::Interrupted => 130,
            Kind::Terminated => 143,
        }
    }
}

/// A failure: what failed, why, where, and perhaps one hint. Boxed inside, so that `Result` stays small.
#[derive(Clone, Debug)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: Kind,
    what: String,
    why: String,
    place: Option<String>,
    hint: Option<String>,
    output: Option<String>,
}

/// `std::result::Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`: `what` failed (lower case, no full stop) and `why`.
    pub fn new(kind: Kind, what: impl Into<String>, why: impl fmt::Display) -> Self {
        Error(Box::new(Inner {
            kind,
            what: printable(what.into()),
            why: printable(why.to_string()),
            place: None,
            hint: None,
            output: None,
        }))
    }

    /// An error of local input or output on `path`.
    pub fn io(what: impl Into<String>, path: &std::path::Path, source: &std::io::Error) -> Self {
        Error::new(Kind::LocalIo, what, source).at(path.display())
    }

    /// Adds where it happened: a file with line, a platform, a URL without its query.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.place = Some(printable(place.to_string()));
        self
    }

    /// Adds the one hint: what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(printable(hint.into()));
        self
    }

    /// Adds something to the reason: `<what>: <why>, <more>`.
    #[must_use]
    pub fn and(mut self, more: impl fmt::Display) -> Self {
        self.0.why = if self.0.why.is_empty() { more.to_string() } else { format!("{}, {more}", self.0.why) };
        self
    }

    /// The reason alone, without what failed and where.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.0.why
    }

    /// The same error without its hint, for a caller who knows that it doesn't help.
    #[must_use]
    pub fn without_hint(mut self) -> Self {
        self.0.hint = None;
        self
    }

    /// Adds what a child process wrote; it is shown as it is, before the message.
    #[must_use]
    pub fn output(mut self, output: impl Into<String>) -> Self {
        self.0.output = Some(output.into());
        self
    }

    /// The same error as another kind, for a caller who knows better what it means.
    #[must_use]
    pub fn as_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The same error, with the text of what failed put before it.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.0.what = printable(format!("{what}: {}", self.0.what));
        self
    }

    /// The same error, with every text in it changed by `edit`.
    #[must_use]
    pub fn edited(mut self, edit: &dyn Fn(&str) -> String) -> Self {
        let inner = &mut *self.0;
        for text in [&mut inner.what, &mut inner.why] {
            *text = edit(text);
        }
        for text in [&mut inner.place, &mut inner.hint, &mut inner.output].into_iter().flatten() {
            *text = edit(text);
        }
        self
    }

    /// The kind, which fixes the exit code.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The hint, if there is one.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What a child process wrote, if there is something.
    #[must_use]
    pub fn output_text(&self) -> Option<&str> {
        self.0.output.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.what)?;
        if !self.0.why.is_empty() {
            write!(f, ": {}", self.0.why)?;
        }
        if let Some(place) = &self.0.place {
            write!(f, " [{place}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The most that a part of a message is shown of, in characters.
const MAX_SHOWN: usize = 4000;

/// `text` as it may be shown: what comes from outside (a registry's words, names in a base image) has no say over the
/// terminal and adds no lines of its own. Control characters, and those that turn the direction of writing, become
/// `\u{…}`. A text without end gets one.
#[must_use]
pub fn printable(text: String) -> String {
    let is_odd = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && c != '\t')
    };
    // In bytes first: counting characters is for the few that are long.
    let is_long = text.len() > MAX_SHOWN && text.chars().count() > MAX_SHOWN;
    if !is_long && !text.contains(is_odd) {
        return text;
    }
    let mut shown = String::new();
    for c in text.chars().take(MAX_SHOWN) {
        if is_odd(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    if is_long {
        shown.push('…');
    }
    shown
}

/// The known word that is most like a mistyped one, whatever the case, for a hint; none if none is much like it.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(&word, &known.to_lowercase());
    let best = known.into_iter().map(|k| (likeness(k), k)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > 0.75).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_say_over_the_terminal() {
        let error = Error::new(Kind::Base, "a\u{1b}[2J", "b\u{7}\rc\td\ne").at("\u{202e}x").hint("\u{9b}1m");
        assert_eq!(error.to_string(), "a\\u{1b}[2J: b\\u{7}\\u{d}c\td\\u{a}e [\\u{202e}x]");
        assert_eq!(error.hint_text(), Some("\\u{9b}1m"));
        let long = Error::new(Kind::Base, "a", "x".repeat(5_000_000)).to_string();
        assert_eq!(long.chars().count(), "a: ".len() + MAX_SHOWN + 1);
        assert_eq!(printable("ü".repeat(MAX_SHOWN)), "ü".repeat(MAX_SHOWN));
    }
}
