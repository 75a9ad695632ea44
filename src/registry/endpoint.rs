//! URLs: where a registry answers, http or https, and where redirects and `Location` may lead.

use std::net::IpAddr;

use reqwest::{Method, Url};

use crate::error::{Error, Kind, Result};
use crate::oci;
use crate::registry::address::{self, Class};
use crate::registry::failure::{Again, Failure, shown};
use crate::registry::transport::{Answer, Body, Outgoing, Transport};
use crate::registry::{names, tls};

/// What a server with TLS says to plain HTTP (Go's `net/http`, nginx).
const WANTS_TLS: [&str; 2] = ["HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port"];

/// How to reach a registry.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// `scheme://host[:port]/`.
    pub(super) url: Url,
    /// Whether its certificate is checked.
    check: bool,
}

impl Base {
    fn new(scheme: &str, registry: &oci::Registry, check: bool) -> Result<Self> {
        let text = format!("{scheme}://{}/", registry.endpoint());
        let url =
            Url::parse(&text).map_err(|e| Error::new(Kind::Input, format!("registry {registry}"), e))?;
        Ok(Base { url, check })
    }

    /// Whether the certificate at `url` is checked: the exemption is for the registry's own host.
    pub(super) fn checks(&self, url: &Url) -> bool {
        self.check || url.host() != self.url.host()
    }

    /// The URL of `path`, which begins with `/`.
    pub(super) fn at(&self, path: &str) -> Result<Url> {
        let text = format!("{}{path}", self.url.as_str().trim_end_matches('/'));
        Url::parse(&text).map_err(|e| Error::new(Kind::Internal, format!("make the URL of {path}"), e))
    }
}

/// Asks `GET /v2/` (distribution-spec, "Determining Support") and finds out how `registry` is reached:
/// loopback by http unless it speaks TLS; others by https, and by http only if that was allowed.
pub(super) async fn probe(
    transport: &Transport,
    registry: &oci::Registry,
    insecure: bool,
) -> Result<(Base, Answer), Failure> {
    let ask = async |scheme: &str, check: bool| -> Result<(Base, Answer), Failure> {
        let base = Base::new(scheme, registry, check)?;
        let what = format!("reach registry {registry}");
        let out = Outgoing {
            method: Method::GET,
            url: base.at("/v2/")?,
            headers: reqwest::header::HeaderMap::new(),
            body: &Body::Empty,
            what: &what,
        };
        let answer = transport.exchange(out, None, &base).await?;
        Ok((base, answer))
    };
    if registry.is_loopback() {
        return match ask("http", true).await {
            Ok((_, answer)) if answer.status() == 400 => {
                let body = answer.start(4096).await;
                let body = String::from_utf8_lossy(&body).into_owned();
                if WANTS_TLS.iter().any(|text| body.contains(text)) {
                    return ask("https", !insecure).await;
                }
                ask("http", true).await
            }
            Ok(done) => Ok(done),
            // A server that hangs up or talks gibberish may speak TLS; its own error counts if it doesn't.
            Err(http) => ask("https", !insecure).await.map_err(|https| {
                let tls = https.again == Again::No && !https.error.to_string().contains(tls::NOT_TLS);
                if tls { https } else { http }
            }),
        };
    }
    match ask("https", !insecure).await {
        Err(https) if insecure => ask("http", true).await.map_err(|_| https),
        other => other,
    }
}

/// Whether scheme, host and port are the same.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// The address in a URL whose host is one.
pub(super) fn address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// What kind of place `url` names, if that shows without DNS.
pub(super) fn literal(url: &Url) -> Option<Class> {
    if url.host_str().is_some_and(names::is_local) {
        return Some(Class::Loopback);
    }
    address(url).map(address::class)
}

/// Whether `url` leads to this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    literal(url) == Some(Class::Loopback)
}

/// Whether `url` names an address that is reached from inside only: a server elsewhere has no business to
/// send us there.
pub(super) fn is_internal(url: &Url) -> bool {
    literal(url).is_some_and(|class| class != Class::Public)
}

/// Where a redirect or an upload's `Location` from `base` leads: relative or absolute, the query kept as it
/// is (distribution-spec, "Pushing blobs": the location is opaque). `class` is what kind of place the registry
/// is; names are looked at again when they are looked up.
///
/// # Errors
/// Something that isn't a URL, a step from https down to http, or one to an address where such a registry has
/// no business to send us.
pub(super) fn lead(base: &Url, location: &str, class: Class) -> Result<Url> {
    let refuse = |why: String| Err(Error::new(Kind::Refused, "follow a location", why).at(shown(base)));
    // Some write the host without a scheme.
    let bare = location.strip_prefix(base.authority()).is_some_and(|path| path.starts_with('/'));
    let location = if bare { format!("//{location}") } else { location.to_owned() };
    let mut next = match base.join(&location) {
        Ok(next) => next,
        Err(error) => return refuse(error.to_string()),
    };
    if !matches!(next.scheme(), "http" | "https") {
        return refuse(format!("{} isn't http", next.scheme()));
    }
    // A user name in a location would be sent as credentials.
    let _ = next.set_username("");
    let _ = next.set_password(None);
    if base.scheme() == "https" && next.scheme() == "http" {
        // A registry behind a proxy that ends TLS often doesn't know its own scheme and port.
        if next.host() != base.host() {
            return refuse(format!("it leads from https to {}", shown(&next)));
        }
        let _ = next.set_scheme("https");
        let _ = next.set_port(base.port());
    }
    if let Some(to) = literal(&next)
        && next.host() != base.host()
        && !address::may_lead(class, to)
    {
        return refuse(format!("it leads to the internal address {}", shown(&next)));
    }
    Ok(next)
}

/// [`lead`] from a registry at `base` of which nothing else is known.
#[cfg(test)]
pub(super) fn follow(base: &Url, location: &str) -> Result<Url> {
    lead(base, location, literal(base).unwrap_or(Class::Public))
}

/// `url` with `digest=` after what its query has already.
pub(super) fn with_digest(mut url: Url, digest: &oci::Digest) -> Url {
    let query = match url.query() {
        Some(query) if !query.is_empty() => format!("{query}&digest={digest}"),
        _ => format!("digest={digest}"),
    };
    url.set_query(Some(&query));
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn locations_are_opaque() {
        let base = url("https://r.io:5000/v2/a/blobs/uploads/");
        for (location, expected) in [
            ("/u/1?_state=a%2Fb%3D&x=+", "https://r.io:5000/u/1?_state=a%2Fb%3D&x=+"),
            ("1?s=2", "https://r.io:5000/v2/a/blobs/uploads/1?s=2"),
            ("https://other.io/u", "https://other.io/u"),
            ("r.io:5000/u?s=2", "https://r.io:5000/u?s=2"),
            ("http://r.io/u", "https://r.io:5000/u"),
        ] {
            assert_eq!(follow(&base, location).unwrap().as_str(), expected);
        }
        let digest = Digest::of(b"");
        let with = with_digest(url("https://r.io/u?_state=a%2Fb%3D"), &digest);
        assert_eq!(with.as_str(), format!("https://r.io/u?_state=a%2Fb%3D&digest={digest}"));
        assert_eq!(with_digest(url("https://r.io/u"), &digest).query(), Some(&*format!("digest={digest}")));
    }

    #[test]
    fn locations_never_lead_down_or_inside() {
        let base = url("https://r.io/v2/");
        for bad in ["http://other.io/u", "https://127.0.0.1/u", "https://169.254.169.254/u", "file:///etc/x"]
        {
            assert_eq!(follow(&base, bad).unwrap_err().kind(), Kind::Refused, "{bad}");
        }
        assert!(follow(&url("http://127.0.0.1:1/v2/"), "http://127.0.0.1:2/u").is_ok());
    }

    #[test]
    fn origins_differ_by_port_and_scheme() {
        assert!(same_origin(&url("https://r.io/a"), &url("https://r.io:443/b")));
        for other in ["https://r.io:444/", "http://r.io/", "https://s.io/"] {
            assert!(!same_origin(&url("https://r.io/a"), &url(other)), "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn fuzz_locations_never_leave_https(location in ".*", path in "(https?:)?/{0,3}[a-z0-9.:@%?/]{0,20}") {
            for location in [location, path] {
                if let Ok(next) = follow(&url("https://r.io:5000/v2/"), &location) {
                    assert_eq!(next.scheme(), "https");
                    assert!(!is_internal(&next));
                }
            }
        }
    }
}
