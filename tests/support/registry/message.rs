//! Requests as they came, answers as they are meant.

use bytes::Bytes;

/// A request, its body read.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// A parameter of the query, decoded.
    pub(super) fn param(&self, name: &str) -> Option<String> {
        form(&self.query, name).into_iter().next()
    }
}

/// The values of `name` in a form, decoded.
pub(super) fn form(text: &str, name: &str) -> Vec<String> {
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(n, _)| *n == name).map(|(_, value)| decoded(value)).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match (first, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.with("content-type", media_type)
    }

    /// An error as the specification writes it.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::detailed(status, code, message, None)
    }

    /// An error about this digest.
    pub(super) fn detailed(status: u16, code: &str, message: &str, detail: Option<&str>) -> Self {
        let errors = serde_json::json!({"errors": [{"code": code, "message": message, "detail": detail}]});
        Reply::new(status).body("application/json", errors.to_string())
    }

    /// Replaces a header, or removes it.
    pub(super) fn set(&mut self, name: &'static str, value: Option<String>) {
        self.headers.retain(|(n, _)| *n != name);
        self.headers.extend(value.map(|value| (name, value)));
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| &**value)
    }
}
