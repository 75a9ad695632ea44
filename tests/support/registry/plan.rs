//! The plan of faults: what goes wrong, and with which requests.

use std::time::{Duration, Instant};

use hyper::HeaderMap;

use super::Handle;
use super::message::Reply;

/// What happens instead of, or to, an answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The request is read, then this is the answer; nothing is done.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The same, but without reading the request's body; then the connection is closed.
    Early(u16, Vec<(&'static str, String)>, String),
    /// RST before the body is read.
    Reset,
    /// RST before the body is read, and the next so many connections get RST when they are made.
    ResetConnects(usize),
    /// RST when so many percent of the body have come.
    ResetAfter(usize),
    /// RST when the whole body has come; nothing is done.
    Dropped,
    /// The request is carried out, then RST without an answer.
    Lost,
    /// The body is never read; RST after this long.
    Unread(Duration),
    /// The request is read, and nothing happens for this long; then the connection is closed.
    Hang(Duration),
    /// The answer comes this late.
    Delay(Duration),
    /// The answer's head comes byte by byte, with this pause before each.
    SlowHead(Duration),
    /// The answer's body comes byte by byte, with this pause before each.
    SlowBody(Duration),
    /// The connection is closed after so many bytes of the answer's body, whose length was announced.
    Truncate(usize),
    /// The connection is closed after so many bytes of the answer's body, which comes in chunks without an end.
    EndEarly(usize),
    /// One bit of the answer's body is another, in this byte (or the last one).
    Flip(usize),
    /// The answer's body is compressed with gzip and says so, though nobody asked.
    Gzip,
    /// The request is carried out, but this is the answer.
    Instead(u16, Vec<(&'static str, String)>, String),
    /// The request is carried out, the answer has this status.
    As(u16),
    /// The request is carried out, the answer has this header with this value, or hasn't got it.
    Header(&'static str, Option<String>),
    /// The request is carried out, the answer's `Location` is written like this.
    Location(Form),
    /// Every token is worthless when the request's body has come.
    Expired,
}

impl Fault {
    /// This status alone.
    pub(crate) fn status(status: u16) -> Self {
        Fault::Status(status, Vec::new(), String::new())
    }

    /// This status with an error as the specification writes it.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        let reply = Reply::error(status, code, message);
        Fault::Status(status, reply.headers, String::from_utf8_lossy(&reply.body).into_owned())
    }

    /// 429 with this `Retry-After`.
    pub(crate) fn busy(retry_after: &str) -> Self {
        Fault::Status(429, vec![("retry-after", retry_after.to_owned())], String::new())
    }

    /// The same answer, but the request is carried out.
    pub(crate) fn done(self) -> Self {
        match self {
            Fault::Status(status, headers, body) => Fault::Instead(status, headers, body),
            other => other,
        }
    }
}

/// How a `Location` is written.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// From the last `/` of the request's path on: `upload-1?…`.
    Relative,
    /// With scheme and host.
    Absolute,
    /// `//host/path`.
    NetworkPath,
    /// `host/path`.
    SchemeLess,
    /// Not at all.
    Missing,
    /// With another scheme and host: `http://10.0.0.1`.
    At(String),
}

impl Form {
    /// The location of an answer of `host` that would be `path` (with its query).
    pub(super) fn write(&self, host: &str, path: &str) -> Option<String> {
        let (before, query) = path.split_once('?').unwrap_or((path, ""));
        Some(match self {
            Form::Relative => format!("{}?{query}", before.rsplit('/').next().unwrap_or_default()),
            Form::Absolute => format!("http://{host}{path}"),
            Form::NetworkPath => format!("//{host}{path}"),
            Form::SchemeLess => format!("{host}{path}"),
            Form::Missing => return None,
            Form::At(origin) => format!("{origin}{path}"),
        })
    }
}

/// A request whose head has come.
pub(crate) struct Asked<'a> {
    /// Counted from 0 at the start.
    pub(crate) number: usize,
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// A header that is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// What sort of request it is: the method, and the path, in which an upload has no name.
    pub(crate) fn sort(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        let path = path.find("/uploads/").map_or(path, |at| &path[..at]);
        format!("{} {path}", self.method)
    }
}

/// Looks at the method and the target of a request.
type Matches = Box<dyn Fn(&str, &str) -> bool + Send>;

/// Sees every request before anything is done, may change the registry, and may plan a fault.
pub(super) type Hook = Box<dyn FnMut(&Asked<'_>, &Handle) -> Option<Fault> + Send>;

/// Which requests a fault hits.
pub(crate) enum When {
    /// The request with this number, counted from 0 at the start.
    Nth(usize),
    /// The next so many requests for which this holds.
    Next(usize, Matches),
    /// Every request until then.
    Until(Instant),
}

impl When {
    /// The next request with this method whose target contains `part`.
    pub(crate) fn once(method: &'static str, part: &'static str) -> Self {
        Self::times(1, method, part)
    }

    /// The next `times` requests with this method whose target contains `part`.
    pub(crate) fn times(times: usize, method: &'static str, part: &'static str) -> Self {
        When::Next(times, Box::new(move |m, target| m == method && target.contains(part)))
    }

    /// Every request with this method whose target contains `part`.
    pub(crate) fn always(method: &'static str, part: &'static str) -> Self {
        Self::times(usize::MAX, method, part)
    }

    /// Whether it hits this request; that is counted.
    pub(super) fn hits(&mut self, asked: &Asked<'_>) -> bool {
        match self {
            When::Nth(n) => *n == asked.number,
            When::Next(0, _) => false,
            When::Next(left, matches) if matches(asked.method, asked.target) => {
                *left = left.saturating_sub(usize::from(*left != usize::MAX));
                true
            }
            When::Next(..) => false,
            When::Until(end) => Instant::now() < *end,
        }
    }
}

/// A request that was answered (or not: then the status is 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    /// Counted from 0 in the order of arrival.
    pub(crate) number: usize,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) status: u16,
    /// The scheme of its `Authorization`.
    pub(crate) authorization: Option<String>,
    pub(crate) headers: HeaderMap,
    /// How many bytes of its body were read, also if it was cut.
    pub(crate) body: usize,
    /// The number of its connection.
    pub(crate) connection: usize,
    /// When its head had come.
    pub(crate) at: Instant,
}
