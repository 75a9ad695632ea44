//! What went wrong with a request, as errors: transport failures, and the registry's own words.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use crate::error::{Error, Kind};
use crate::oci;
use crate::registry::retry;
use crate::registry::transport::Answer;

/// The largest error body that is read, in bytes.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// The longest message of a registry that is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// A failed try.
#[derive(Debug)]
pub(super) struct Failure {
    /// What to say if this was the last try.
    pub(super) error: Error,
    /// Whether another try makes sense.
    pub(super) again: Again,
    /// Whether the registry answered at all.
    pub(super) answered: bool,
}

/// Whether a failed request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It would fail again.
    No,
    /// It may work, after the pause that the registry asked for.
    Yes(Option<Duration>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure { error, again: Again::No, answered: false }
    }
}

impl Failure {
    /// A try that broke without an answer and may work next time.
    pub(super) fn broken(error: Error) -> Self {
        Failure { error, again: Again::Yes(None), answered: false }
    }
}

/// `url` as it may be shown: no query, no user.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// The `errors[]` of the distribution-spec ("Error Codes").
#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// What a registry said with an answer that isn't what was hoped for.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The HTTP status.
    pub(super) status: u16,
    /// The codes of the body's errors.
    pub(super) codes: Vec<String>,
    /// Status, code and message in one line.
    text: String,
    asked: Option<Duration>,
    place: String,
}

impl Refusal {
    /// Reads `answer` up to the limit.
    pub(super) async fn read(answer: Answer) -> Self {
        let status = answer.status();
        let place = shown(answer.url());
        let asked = answer.header("retry-after").and_then(|v| retry::retry_after(v, answer.header("date")));
        let body = answer.start(MAX_ERROR_BODY).await;
        let entries = serde_json::from_slice::<Body>(&body).map(|b| b.errors).unwrap_or_default();
        let reason = reqwest::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
        let mut text = format!("the registry answered {status} {}", reason.unwrap_or_default());
        if let Some(entry) = entries.first() {
            let words = [entry.code.as_deref(), entry.message.as_deref()];
            let words: Vec<_> = words.into_iter().flatten().filter(|w| !w.is_empty()).collect();
            text = format!("{}: {}", text.trim_end(), words.join(": "));
        }
        let codes = entries.into_iter().filter_map(|e| e.code).collect();
        Refusal { status, codes, text: one_line(&text), asked, place }
    }

    /// Whether one of the body's errors has this code.
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c == code)
    }

    /// The failure of `what` at `registry` by this answer.
    pub(super) fn failure(self, what: &str, registry: &oci::Registry) -> Failure {
        let again = if retry::is_temporary(self.status) { Again::Yes(self.asked) } else { Again::No };
        Failure { error: self.error(what, registry), again, answered: true }
    }

    /// The error of `what` at `registry` by this answer.
    pub(super) fn error(self, what: &str, registry: &oci::Registry) -> Error {
        let kind = match self.status {
            401 | 403 => Kind::Auth,
            404 => {
                return Error::new(Kind::Refused, what, format!("not found ({})", self.text)).at(self.place);
            }
            status if retry::is_temporary(status) || status >= 500 => Kind::Unavailable,
            _ => Kind::Refused,
        };
        let error = Error::new(kind, what, self.text).at(self.place);
        if kind == Kind::Auth { error.hint(format!("gimg login {registry}")) } else { error }
    }
}

/// `text` as one line of bounded length without control characters: it comes from outside.
pub(super) fn one_line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_one_short_line() {
        assert_eq!(one_line("a\n b\u{1b}[31m\tc"), "a b [31m c");
        assert_eq!(one_line(&"x".repeat(1000)).chars().count(), MAX_MESSAGE + 1);
    }

    #[test]
    fn shown_urls_have_no_query_and_no_user() {
        let url = Url::parse("https://me:pw@r.io/v2/a?_state=secret#x").unwrap();
        assert_eq!(shown(&url), "https://r.io/v2/a");
    }
}
