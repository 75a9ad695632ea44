//! Requests that got no answer: what the layers below say, as one error, and whether another try makes sense.

use std::error::Error as _;

use reqwest::Url;

use crate::error::{Error, Kind};
use crate::registry::failure::{Failure, one_line, shown};
use crate::registry::names::{Inward, Unresolved};
use crate::registry::proxy::Proxy;
use crate::registry::tls;

/// What the HTTP library says first of failures of HTTP/2.
const HTTP2: &str = "http2 error";

/// A request without an answer.
pub(super) struct Broken {
    pub(super) failure: Failure,
    /// Whether HTTP/2 itself failed: a stream or the connection was reset by its rules.
    pub(super) http2: bool,
}

/// What stands in the way of `what` at `url`, which went through `proxy` if there is one; `wanted` if servers
/// asked this client for a certificate that it hasn't got.
pub(super) fn broken(
    what: &str,
    url: &Url,
    proxy: Option<&Proxy>,
    wanted: bool,
    error: reqwest::Error,
) -> Broken {
    let (connect, builder, timeout) = (error.is_connect(), error.is_builder(), error.is_timeout());
    // The URL of the message could carry a signed query.
    let error = error.without_url();
    let place = shown(url);
    let make = |why: &str| Error::new(Kind::Unavailable, what, one_line(why)).at(&place);
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let inner = unwrapped(cause);
        // None of these is worth another try.
        if let Some(inward) = inner.downcast_ref::<Inward>() {
            let error = Error::new(Kind::Refused, what, inward).at(&place);
            return Broken { failure: Failure::from(error), http2: false };
        }
        if let Some(unresolved @ Unresolved::Unknown(_)) = inner.downcast_ref::<Unresolved>() {
            return Broken { failure: Failure::from(make(&unresolved.to_string())), http2: false };
        }
        if let Some(explained) = inner.downcast_ref().and_then(|e| tls::explain(e, &authority(url))) {
            let mut error = make(&explained.why);
            if let Some(hint) = explained.hint {
                error = error.hint(hint);
            }
            return Broken { failure: Failure::from(error), http2: false };
        }
        causes.push(inner.to_string());
        next = inner.source();
    }
    let http2 = causes.iter().any(|cause| cause == HTTP2);
    // The innermost cause says most.
    let last = causes.last().map(String::as_str).unwrap_or_default();
    if let Some(proxy) = proxy.filter(|_| connect) {
        return Broken { failure: through(proxy, url, &causes, timeout, &make), http2: false };
    }
    let error = match (connect, timeout) {
        (true, true) => make("can't connect: no answer in time"),
        (true, false) => make(&format!("can't connect: {last}")),
        (false, _) => make(last),
    };
    // Who doesn't get a certificate closes the connection; that can be all that is seen of it.
    if wanted && !timeout && url.scheme() == "https" {
        let error = make(&format!("it wants a client certificate ({last})"));
        let error = error.hint(tls::client_hint(&authority(url)));
        return Broken { failure: Failure::broken(error), http2 };
    }
    let failure = if builder { Failure::from(error) } else { Failure::broken(error) };
    Broken { failure, http2 }
}

/// A connection through `proxy` that didn't come about.
fn through(
    proxy: &Proxy,
    url: &Url,
    causes: &[String],
    timeout: bool,
    make: &dyn Fn(&str) -> Error,
) -> Failure {
    let shown = proxy.shown();
    // The library doesn't hand on more than this text.
    let said = |text: &str| causes.iter().any(|cause| cause.ends_with(text));
    if said("proxy authorization required") {
        return Failure::from(unauthorized(proxy, make));
    }
    if said("tunnel error: unsuccessful") {
        return Failure::broken(make(&format!("the proxy {shown} doesn't connect to {}", authority(url))));
    }
    let last = causes.last().map(String::as_str).unwrap_or_default();
    let why = if timeout { "no answer in time" } else { last };
    Failure::broken(make(&format!("can't connect through the proxy {shown}: {why}")))
}

/// A proxy that wants to know who asks (407).
pub(super) fn unauthorized(proxy: &Proxy, make: &dyn Fn(&str) -> Error) -> Error {
    let (shown, variable) = (proxy.shown(), proxy.variable);
    if proxy.has_credentials() {
        return make(&format!("the proxy {shown} refuses its user name and password"))
            .hint(format!("check the user name and password in {variable}"));
    }
    make(&format!("the proxy {shown} wants a user name and password"))
        .hint(format!("they go into {variable}: http://USER:PASSWORD@HOST:PORT"))
}

/// `host[:port]` as in a reference.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What `error` wraps, as far as it is an `io::Error`: that hides it from `source`.
fn unwrapped<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut error = error;
    while let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        error = inner;
    }
    error
}
