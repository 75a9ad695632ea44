//! What servers of both protocols have in common: their address, what can be asked, and how it fails.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Url;
use reqwest::header::HeaderValue;

use crate::cache::grpc::Grpc;
use crate::cache::http::Http;
use crate::error::{Error, Kind, Result};
use crate::oci::Digest;
use crate::registry::Registry;

/// A server that says nothing for so long is as good as none.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// What kind of thing is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// The result of an action: the bytes of an `ActionResult`.
    Results,
    /// A blob.
    Blobs,
}

/// Why a request failed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// It may be another time.
    Unreachable(String),
    /// It has too much to do just now.
    Busy(String),
    /// It will be refused every time.
    Refused(String),
}

impl Failure {
    /// Nothing came for this long.
    pub(super) fn silent(patience: Duration) -> Self {
        Failure::Unreachable(format!("it said nothing for {} s", patience.as_secs()))
    }

    /// An answer began, and then nothing came any more.
    pub(super) fn stands_still() -> Self {
        Failure::Unreachable("an answer stands still".to_owned())
    }

    /// Whoever asked, with others, was stopped.
    pub(super) fn given_up() -> Self {
        Failure::Unreachable("the request was given up".to_owned())
    }

    /// The connection failed, as the last cause of `error` says.
    pub(super) fn of(error: &dyn std::error::Error) -> Self {
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Failure::Unreachable(cause.to_string())
    }
}

/// How long a server is waited for that gets a body of this size: it may take its time as long as 64 KiB go through in a
/// second; how many have gone is not known here.
pub(super) fn patience(body: usize) -> Duration {
    SILENCE + Duration::from_secs(body as u64 / (64 << 10))
}

/// Where a server is.
pub(super) struct Address {
    /// `http` or `https`; the client makes a header of the user and password in it.
    pub(super) base: Url,
    /// The value of `Authorization`, if it isn't made of these.
    pub(super) bearer: Option<HeaderValue>,
    /// The URL as the user wrote it, without credentials.
    pub(super) name: String,
}

impl Address {
    /// What `url` says, whose scheme is `plain` or `encrypted`. `token` is sent as a bearer token instead of the user and
    /// password in it, if there is one.
    ///
    /// # Errors
    /// Another scheme, a query or a fragment; a token that no header can have. They show no credentials.
    pub(super) fn parse(url: &str, [plain, encrypted]: [&str; 2], token: Option<&str>) -> Result<Self> {
        let bad = |why: &str| Error::new(Kind::Usage, "use the remote cache", why.to_owned());
        let wrong =
            || bad(&format!("its URL must be {plain}:// or {encrypted}://, a host and perhaps a path"));
        let (scheme, rest) = url.split_once(':').ok_or_else(wrong)?;
        let (scheme, as_http) = match scheme {
            _ if scheme == plain => (plain, "http"),
            _ if scheme == encrypted => (encrypted, "https"),
            _ => return Err(wrong()),
        };
        // Not the parser's own words with the URL: it could hold a password.
        let mut base =
            Url::parse(&format!("{as_http}:{rest}")).map_err(|e| bad(&format!("its URL is none: {e}")))?;
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong());
        }
        let bearer = token.map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| bad("the token has characters that no header may have"))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let (bearer, mut named) = (bearer.transpose()?, base.clone());
        // These can't fail for http and https.
        let _ = named.set_username("");
        let _ = named.set_password(None);
        if bearer.is_some() {
            base = named.clone();
        }
        let name = format!("{scheme}{}", named.as_str().strip_prefix(as_http).unwrap_or_default());
        Ok(Address { base, bearer, name })
    }
}

/// A server, by the protocol that it speaks.
pub enum Backend {
    /// Bazel's over HTTP.
    Http(Http),
    /// The Remote Execution API.
    Grpc(Grpc),
}

impl Backend {
    /// The server at `url`, whose scheme says its protocol: `http`, `https`, `grpc` or `grpcs`. A user and password in it are
    /// sent with every request; `token` is sent as a bearer token instead, if there is one.
    ///
    /// # Errors
    /// A URL that is none of these; whatever is wrong with certificates and proxies, which are as for `registry`.
    pub fn new(url: &str, token: Option<&str>, registry: &Registry) -> Result<Self> {
        Ok(match url.starts_with("grpc") {
            true => Backend::Grpc(Grpc::new(url, token, registry)?),
            false => Backend::Http(Http::new(url, token, registry)?),
        })
    }

    /// The URL, without credentials.
    pub(super) fn name(&self) -> &str {
        match self {
            Backend::Http(http) => http.name(),
            Backend::Grpc(grpc) => grpc.name(),
        }
    }

    /// What is kept under `key`, if something is; a blob must have `size` bytes, a result at most as many.
    pub(super) async fn get(
        &self,
        space: Space,
        key: &Digest,
        size: usize,
    ) -> Result<Option<Bytes>, Failure> {
        match self {
            Backend::Http(http) => http.get(space, key, size).await,
            Backend::Grpc(grpc) => grpc.get(space, key, size).await,
        }
    }

    /// Keeps `bytes` under `key`.
    pub(super) async fn put(&self, space: Space, key: &Digest, bytes: Bytes) -> Result<(), Failure> {
        match self {
            Backend::Http(http) => http.put(space, key, bytes).await,
            Backend::Grpc(grpc) => grpc.put(space, key, bytes).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRPC: [&str; 2] = ["grpc", "grpcs"];

    #[test]
    fn an_address_shows_no_credentials() {
        for (url, name) in [
            ("grpc://cache:8980", "grpc://cache:8980/"),
            ("grpcs://me:hunter2@cache/main/linux", "grpcs://cache/main/linux"),
        ] {
            let address = Address::parse(url, GRPC, None).unwrap();
            assert_eq!((address.name.as_str(), address.bearer.is_none()), (name, true));
            assert_eq!(address.base.password().is_some(), url.contains("hunter2"));
            let address = Address::parse(url, GRPC, Some("t0ken")).unwrap();
            assert_eq!((address.name.as_str(), address.base.password()), (name, None));
            assert!(address.bearer.is_some_and(|value| value.is_sensitive() && value == "Bearer t0ken"));
        }
        for url in
            ["grpc://me:hunter2@", "grpc://me:hunter2@a:x", "http://me:hunter2@a", "grpc://me:hunter2@a?b"]
        {
            let error = Address::parse(url, GRPC, None).err().unwrap();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
