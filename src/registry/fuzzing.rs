//! The client's readers of headers and of docker's file, for the fuzz targets in `fuzz/`.

use reqwest::Url;

use crate::registry::address::Class;
use crate::registry::endpoint::{is_internal, lead};
use crate::registry::keychain::Keychain;
use crate::registry::{auth, chunks, link, retry};

/// `WWW-Authenticate`: schemes have names, parameters are found by theirs.
pub fn challenge(data: &[u8]) {
    for challenge in auth::parse(&String::from_utf8_lossy(data)) {
        assert!(!challenge.scheme.is_empty());
        assert!(!challenge.scheme.bytes().any(|b| b.is_ascii_uppercase()));
        let _ = challenge.param("realm");
    }
}

/// `Link`, a line for each header: what is found stands there.
pub fn link(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(next) = link::next(text.lines()) {
        assert!(text.contains(&next), "{next}");
    }
}

/// `Range` of an upload: what is read begins at the start, and ends where it says.
pub fn range(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(end) = chunks::parse_range_end(&text) {
        let last = text.rsplit('-').next().and_then(|last| last.trim().parse::<u64>().ok());
        assert_eq!(last.and_then(|last| last.checked_add(1)), Some(end), "{text}");
    }
}

/// `Location`: never leads from https to http, nor inside.
pub fn location(data: &[u8]) {
    let Ok(base) = Url::parse("https://r.io:5000/v2/a/blobs/uploads/") else { return };
    if let Ok(next) = lead(&base, &String::from_utf8_lossy(data), Class::Public) {
        assert_eq!(next.scheme(), "https");
        assert!(!is_internal(&next), "{next}");
    }
}

/// `Retry-After`, the first line, with `Date`, the second.
pub fn retry_after(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (value, date) = text.split_once('\n').unwrap_or((&text, ""));
    let _ = retry::retry_after(value, Some(date));
    let _ = retry::retry_after(value, None);
}

/// docker's `config.json`.
pub fn docker_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let env = [("DOCKER_AUTH_CONFIG".to_owned(), text)];
    let _ = Keychain::load(&env.into());
}
