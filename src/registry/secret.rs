//! Text that must not be shown: one type that holds it, and one place that takes it out of what others write.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::error::Error;
use crate::event::{Event, Observer, Step};

/// What stands in place of a secret.
const MASK: &str = "***";
/// A shorter secret isn't looked for in text: it would be found everywhere.
const SHORTEST: usize = 4;
/// So many characters of a secret's start are a part of it, for servers that shorten what they repeat.
const START: usize = 12;

/// Text that must not be shown: `Debug` hides it, `Display` doesn't exist.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text, to be sent and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The secrets that a client has sent or got, in every form that a server could repeat them in.
#[derive(Default)]
pub(super) struct Known(Mutex<BTreeSet<String>>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secrets]")
    }
}

impl Known {
    /// Remembers `secret`, as it is and as it is written in forms.
    pub(super) fn add(&self, secret: &Secret) {
        let plain = secret.expose();
        let form: String = url_encoded(plain);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend([plain.to_owned(), form].into_iter().filter(|s| s.len() >= SHORTEST));
    }

    /// An `Authorization` of `scheme` with `secret`, which is remembered. `None` if it isn't text that a header can
    /// hold.
    pub(super) fn authorization(&self, scheme: &str, secret: &Secret) -> Option<HeaderValue> {
        self.add(secret);
        let mut value = HeaderValue::from_str(&format!("{scheme} {}", secret.expose())).ok()?;
        // Not shown by `Debug`, and not kept in HTTP/2's tables.
        value.set_sensitive(true);
        Some(value)
    }

    /// `text` without the secrets in it, and without the starts of long ones.
    pub(super) fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Cow::Borrowed(text);
        // The longest first: one may be a part of another.
        let mut all: Vec<&String> = all.iter().collect();
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in all {
            if let Some(hidden) = without(&text, secret) {
                text = Cow::Owned(hidden);
            }
        }
        text
    }

    /// `error` without the secrets in it.
    pub(super) fn clean(&self, error: Error) -> Error {
        error.edited(&|text| self.hide(text).into_owned())
    }
}

/// `text` without `secret` and what begins like it; `None` if it isn't there.
fn without(text: &str, secret: &str) -> Option<String> {
    // A short secret counts as a whole only; the start of a long one gives it away already.
    let start = match secret.char_indices().nth(START) {
        Some((at, _)) if secret.chars().count() >= 2 * START => &secret[..at],
        _ => secret,
    };
    let mut rest = text;
    let mut shown = String::new();
    while let Some(at) = rest.find(start) {
        shown.push_str(&rest[..at]);
        shown.push_str(MASK);
        let same = |(a, b): &(char, char)| a == b;
        let common = rest[at..].chars().zip(secret.chars()).take_while(same).map(|(c, _)| c.len_utf8());
        rest = &rest[at + common.sum::<usize>()..];
    }
    (rest.len() < text.len()).then(|| shown + rest)
}

/// `text` as a value in a form (WHATWG URL, "application/x-www-form-urlencoded").
fn url_encoded(text: &str) -> String {
    // Any URL has a query to write into.
    let mut url = match reqwest::Url::parse("http://form/") {
        Ok(url) => url,
        Err(_) => return text.to_owned(),
    };
    url.query_pairs_mut().append_key_only(text);
    url.query().unwrap_or_default().to_owned()
}

/// Passes events on without the secrets in them.
pub(super) struct Discreet {
    pub(super) known: Arc<Known>,
    pub(super) observer: Arc<dyn Observer>,
}

impl Observer for Discreet {
    fn on(&self, event: Event) {
        let hide = |text: String| self.known.hide(&text).into_owned();
        self.observer.on(match event {
            Event::Retry { what, why, delay } => Event::Retry { what: hide(what), why: hide(why), delay },
            Event::Took { step: Step::Request { method, url, status }, elapsed, done } => {
                Event::Took { step: Step::Request { method, url: hide(url), status }, elapsed, done }
            }
            Event::Warning(text) => Event::Warning(hide(text)),
            Event::Detail(text) => Event::Detail(hide(text)),
            Event::Note(text) => Event::Note(hide(text)),
            // The others hold nothing that a server wrote.
            other => other,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::registry::Credential;

    fn known(secrets: &[&str]) -> Known {
        let known = Known::default();
        secrets.iter().for_each(|s| known.add(&Secret::new(*s)));
        known
    }

    #[test]
    fn secrets_are_hidden_whole_and_in_part() {
        let token = "eyJhbGciOiJSUzI1NiJ9.payload.signature";
        let known = known(&["hunter2", "hunter2000", token, "a b&c/ü"]);
        for (text, expected) in [
            ("nothing of it", "nothing of it"),
            ("hunter2!", "***!"),
            ("is hunter2000 or hunter2?", "is *** or ***?"),
            ("bad token eyJhbGciOiJSUzI1NiJ9.payl… here", "bad token ***… here"),
            ("eyJhbGciOiJ isn't enough", "eyJhbGciOiJ isn't enough"),
            ("refresh_token=a+b%26c%2F%C3%BC&x", "refresh_token=***&x"),
            ("a b&c/ü", "***"),
            ("huntehunter2", "hunte***"),
        ] {
            assert_eq!(known.hide(text), expected);
        }
        assert!(format!("{known:?}").len() < 12);
        let error = Error::new(Kind::Auth, "get hunter2", "hunter2").at("https://r.io/hunter2");
        let error = known.clean(error.hint("hunter2").output("hunter2"));
        assert!(!format!("{error:?} {error}").contains("hunter2"));
        assert_eq!(error.to_string(), "get ***: *** [https://r.io/***]");
    }

    #[test]
    fn what_is_short_is_left_in_peace() {
        assert_eq!(known(&["", "a", "abc"]).hide("abc and a"), "abc and a");
    }

    #[test]
    fn a_panic_with_all_that_is_known_says_nothing() {
        let secret = Secret::new("hunter2000");
        let known = Known::default();
        let header = known.authorization("Bearer", &secret);
        let credentials = [
            Credential::Basic { username: "me".to_owned(), password: secret.clone() },
            Credential::Identity { username: "me".to_owned(), token: secret.clone() },
            Credential::Token(secret.clone()),
        ];
        let panicked = std::panic::catch_unwind(|| {
            std::panic::panic_any(format!("{secret:?} {header:?} {known:?} {credentials:?}"))
        });
        let said = *panicked.unwrap_err().downcast::<String>().unwrap();
        assert!(said.contains("me") && !said.contains("hunter2000"), "{said}");
    }

    proptest::proptest! {
        #[test]
        fn fuzz_no_secret_survives(secret in "[a-c%é]{4,40}", before in "[a-c%é ]{0,9}", after in ".{0,9}") {
            let text = format!("{before}{secret}{after}");
            let hidden = known(&[&secret]).hide(&text).into_owned();
            assert!(!hidden.contains(&secret), "{hidden}");
        }
    }
}
