//! Bazel's remote cache protocol over HTTP: `/ac/<key>` has results of actions, `/cas/<digest>` has blobs, GET gives and
//! PUT stores (bazel.build/remote/caching). bazel-remote, nginx with WebDAV, BuildBuddy and Buildbarn speak it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url};

use crate::cache::remote::Failure;
use crate::error::{Error, Kind, Result};
use crate::oci::Digest;
use crate::registry::Registry;

/// A server that says nothing for so long is as good as none.
const SILENCE: Duration = Duration::from_secs(10);

/// A cache behind a URL.
pub struct Http {
    /// Ends with a slash; the client makes a header of the user and password in it.
    base: Url,
    client: Client,
    bearer: Option<HeaderValue>,
    /// The URL without credentials.
    name: String,
}

/// What kind of thing is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// The result of an action.
    Results,
    /// A blob.
    Blobs,
}

impl Http {
    /// The cache at `url`; a user and password in it are sent with every request. `token` is sent as a bearer token
    /// instead, if there is one.
    ///
    /// # Errors
    /// A URL that isn't one of http or https; whatever is wrong with certificates and proxies, which are as for `registry`.
    pub fn new(url: &str, token: Option<&str>, registry: &Registry) -> Result<Self> {
        // Not the parser's own words: they could hold a password.
        let bad = |why: &str| Error::new(Kind::Usage, "use the remote cache", why.to_owned());
        let mut base = Url::parse(url).map_err(|e| bad(&format!("its URL is none: {e}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() || base.fragment().is_some() {
            return Err(bad("its URL must be http:// or https://, a host and perhaps a path"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
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
        let client = registry.client_for(&base)?;
        Ok(Http { base, client, bearer, name: named.into() })
    }

    /// The URL, without credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn url(&self, space: Space, key: &Digest) -> Url {
        let mut url = self.base.clone();
        let space = match space {
            Space::Results => "ac",
            Space::Blobs => "cas",
        };
        url.set_path(&format!("{}{space}/{}", self.base.path(), key.hex()));
        url
    }

    async fn send(
        &self,
        method: Method,
        space: Space,
        key: &Digest,
        body: Option<Bytes>,
    ) -> Result<Response, Failure> {
        let mut request = self.client.request(method, self.url(space, key));
        if let Some(value) = &self.bearer {
            request = request.header(AUTHORIZATION, value);
        }
        // An upload may take its time as long as it moves; how long its bytes take is not known here.
        let patience = SILENCE + body.as_ref().map_or(Duration::ZERO, |b| slowly(b.len()));
        if let Some(body) = body {
            request = request.body(body);
        }
        match tokio::time::timeout(patience, request.send()).await {
            Ok(answer) => answer.map_err(|e| unreachable(&e)),
            Err(_) => Err(Failure::Unreachable(format!("it said nothing for {} s", patience.as_secs()))),
        }
    }

    /// What is kept under `key`, if something is, and if it has at most `limit` bytes.
    pub(super) async fn get(
        &self,
        space: Space,
        key: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, Failure> {
        let mut answer = self.send(Method::GET, space, key, None).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            status => return Err(refused(status)),
        }
        let mut bytes = BytesMut::new();
        loop {
            let piece = tokio::time::timeout(SILENCE, answer.chunk()).await;
            let piece = piece.map_err(|_| Failure::Unreachable("an answer stands still".to_owned()))?;
            let Some(piece) = piece.map_err(|e| unreachable(&e))? else { return Ok(Some(bytes.freeze())) };
            if bytes.len() + piece.len() > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
    }

    /// Keeps `bytes` under `key`.
    pub(super) async fn put(&self, space: Space, key: &Digest, bytes: Bytes) -> Result<(), Failure> {
        let answer = self.send(Method::PUT, space, key, Some(bytes)).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(refused(status)),
        }
    }
}

/// How long a body of this size takes where 64 KiB go through in a second.
fn slowly(bytes: usize) -> Duration {
    Duration::from_secs(bytes as u64 / (64 << 10))
}

fn refused(status: StatusCode) -> Failure {
    let text = format!("it answers {status}");
    match status.as_u16() {
        408 | 429 | 500..=599 => Failure::Unreachable(text),
        _ => Failure::Refused(text),
    }
}

fn unreachable(error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Failure::Unreachable(cause.to_string())
}
