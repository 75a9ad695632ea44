//! What went wrong with a request, as errors: transport failures, and the registry's own words.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use crate::error::{Error, Kind};
use crate::oci;
use crate::registry::retry;
use crate::registry::transport::Answer;

/// The largest error body that is read, in bytes.
pub(super) const MAX_ERROR_BODY: usize = 64 * 1024;

/// The longest message of a registry that is shown, in characters.
const MAX_MESSAGE: usize = 300;

/// A failed try.
#[derive(Debug)]
pub(super) struct Failure {
    /// What to say if this was the last try.
    pub(super) error: Error,
    /// Whether another try makes sense.
    pub(super) again: Again,
    /// The status with which the registry answered, if it did.
    pub(super) status: Option<u16>,
    /// Whether it answered that it gets too many requests.
    pub(super) busy: bool,
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
        Failure { error, again: Again::No, status: None, busy: false }
    }
}

impl Failure {
    /// A try that broke without an answer and may work next time.
    pub(super) fn broken(error: Error) -> Self {
        Failure { error, again: Again::Yes(None), status: None, busy: false }
    }

    /// Whether the registry answered at all.
    pub(super) fn answered(&self) -> bool {
        self.status.is_some()
    }

    /// The same, to be tried again whatever it was.
    pub(super) fn again(mut self) -> Self {
        if self.again == Again::No {
            self.again = Again::Yes(None);
        }
        self
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
    codes: Vec<String>,
    /// Status, code and message in one line.
    text: String,
    /// The whole body in lower case.
    said: String,
    asked: Option<Duration>,
    place: String,
}

impl Refusal {
    /// Reads `answer` up to the limit.
    pub(super) async fn read(mut answer: Answer) -> Self {
        answer.keep_start(MAX_ERROR_BODY).await;
        Self::of(&answer)
    }

    /// What `answer` says, the start of whose body was kept.
    pub(super) fn of(answer: &Answer) -> Self {
        let header = answer.header("retry-after").and_then(|v| retry::retry_after(v, answer.header("date")));
        Self::from_parts(answer.status(), header, answer.kept(), shown(answer.url()))
    }

    fn from_parts(status: u16, retry_after: Option<Duration>, body: &[u8], place: String) -> Self {
        let entries = serde_json::from_slice::<Body>(body).map(|b| b.errors).unwrap_or_default();
        let reason = reqwest::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
        let mut text = format!("the registry answered {status} {}", reason.unwrap_or_default());
        if let Some(entry) = entries.first() {
            let words = [entry.code.as_deref(), entry.message.as_deref()];
            let words: Vec<_> = words.into_iter().flatten().filter(|w| !w.is_empty()).collect();
            text = format!("{}: {}", text.trim_end(), words.join(": "));
        }
        let codes = entries.into_iter().filter_map(|e| e.code).collect();
        let said = String::from_utf8_lossy(body).to_lowercase();
        let mut refusal = Refusal { status, codes, text: one_line(&text), said, asked: None, place };
        // Only these two statuses give the header a meaning (RFC 9110, section 10.2.3; RFC 6585).
        if refusal.busy() || status == 503 {
            let header = retry_after.filter(|_| matches!(status, 429 | 503));
            refusal.asked = header.or_else(|| retry::retry_after_in(&refusal.said));
        }
        refusal
    }

    /// Whether one of the body's errors has this code.
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c.eq_ignore_ascii_case(code))
    }

    /// Whether the body has this text, which is in lower case.
    pub(super) fn says(&self, text: &str) -> bool {
        self.said.contains(text)
    }

    /// The body after this text, which is in lower case.
    pub(super) fn after(&self, text: &str) -> Option<&str> {
        self.said.split_once(text).map(|(_, after)| after)
    }

    /// The digests that the body names.
    pub(super) fn digests(&self) -> Vec<oci::Digest> {
        let starts = self.said.match_indices("sha256:").map(|(at, _)| at);
        starts.filter_map(|at| self.said.get(at..at + 71)?.parse().ok()).collect()
    }

    /// Docker Hub locks accounts after failed logins, and calls that too many requests: more of them make it worse.
    fn locked(&self) -> bool {
        self.says("too many failed login attempts")
    }

    /// Whether the registry gets too many requests. GitHub says so with 403, mirrors of Docker Hub with 500.
    fn busy(&self) -> bool {
        let limited = || {
            self.has_code("TOOMANYREQUESTS")
                || ["toomanyrequests", "too many requests", "rate limit"].iter().any(|words| self.says(words))
        };
        !self.locked()
            && match self.status {
                429 => true,
                403 | 500..=599 => limited(),
                401 | 404 => false,
                _ => self.has_code("TOOMANYREQUESTS"),
            }
    }

    /// Whether another try makes sense. The status decides first: "not found" comes with the code UNKNOWN too.
    pub(super) fn temporary(&self) -> bool {
        let coded = |code| self.has_code(code);
        !self.locked()
            && (self.busy()
                || retry::is_temporary(self.status)
                || self.status >= 500 && coded("UNKNOWN")
                || !matches!(self.status, 401 | 404) && coded("UNAVAILABLE"))
    }

    /// The failure of `what` at `registry` by this answer.
    pub(super) fn failure(self, what: &str, registry: &oci::Registry) -> Failure {
        let again = if self.temporary() { Again::Yes(self.asked) } else { Again::No };
        let (busy, status) = (self.busy(), self.status);
        Failure { error: self.error(what, registry), again, status: Some(status), busy }
    }

    /// The error of `what` at `registry` by this answer.
    pub(super) fn error(self, what: &str, registry: &oci::Registry) -> Error {
        let kind = match self.status {
            _ if self.locked() => return Error::new(Kind::Auth, what, self.text).at(self.place),
            _ if self.temporary() => Kind::Unavailable,
            401 | 403 => Kind::Auth,
            404 => {
                return Error::new(Kind::Refused, what, format!("not found ({})", self.text)).at(self.place);
            }
            500.. => Kind::Unavailable,
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

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal::from_parts(
            status,
            Some(Duration::from_secs(7)),
            body.as_bytes(),
            "https://r.io/v2/".to_owned(),
        )
    }

    /// An error as the specification writes it.
    fn coded(code: &str, message: &str, detail: &str) -> String {
        format!(r#"{{"errors":[{{"code":"{code}","message":"{message}","detail":"{detail}"}}]}}"#)
    }

    #[test]
    fn registries_have_many_words_for_too_many_requests() {
        let secondary =
            r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes"}"#;
        let seconds = |n| Some(Duration::from_secs(n));
        for (status, body, asked) in [
            (429, String::new(), seconds(7)),
            (429, coded("TOOMANYREQUESTS", "retry-after: 880.092µs, allowed: 44000/minute", ""), seconds(7)),
            (403, secondary.to_owned(), None),
            (403, coded("TOOMANYREQUESTS", "retry-after: 1m30s", ""), seconds(90)),
            (500, coded("UNKNOWN", "unknown error", "toomanyrequests: you have reached your limit"), None),
            (400, coded("TOOMANYREQUESTS", "slow down", ""), None),
        ] {
            let failure = refusal(status, &body).failure("push", &"r.io".parse().unwrap());
            assert!(failure.busy, "{status} {body}");
            assert_eq!(failure.again, Again::Yes(asked), "{status} {body}");
            assert_eq!(failure.error.kind(), Kind::Unavailable);
        }
    }

    #[test]
    fn the_status_decides_first_and_the_code_second() {
        let no = None;
        let yes = Some(Again::Yes(None));
        for (status, body, again) in [
            (404, coded("UNKNOWN", "repository not found", ""), no),
            (404, coded("TOOMANYREQUESTS", "", ""), no),
            (401, coded("UNAVAILABLE", "", ""), no),
            (400, coded("UNKNOWN", "", ""), no),
            (400, coded("UNAVAILABLE", "", ""), yes),
            (501, coded("UNKNOWN", "", ""), yes),
            (501, String::new(), no),
            (403, coded("DENIED", "not yours", ""), no),
            (500, "<html>".to_owned(), yes),
            (503, String::new(), Some(Again::Yes(Some(Duration::from_secs(7))))),
            // More logins would make it worse.
            (
                429,
                coded("TOOMANYREQUESTS", "too many failed login attempts for username or IP address", ""),
                no,
            ),
        ] {
            let failure = refusal(status, &body).failure("push", &"r.io".parse().unwrap());
            assert_eq!(failure.again, again.unwrap_or(Again::No), "{status} {body}");
            assert!(!failure.busy, "{status} {body}");
        }
        let locked = refusal(429, "toomanyrequests: too many failed login attempts");
        assert_eq!(locked.error("push", &"r.io".parse().unwrap()).kind(), Kind::Auth);
    }

    #[test]
    fn digests_that_a_refusal_names_are_found() {
        let (a, b) = (oci::Digest::of(b"a"), oci::Digest::of(b"b"));
        let body =
            coded("MANIFEST_BLOB_UNKNOWN", &format!("blob {a} unknown"), &format!("{b} sha256:é sha256:12"));
        assert_eq!(refusal(400, &body).digests(), [a, b]);
    }
}
