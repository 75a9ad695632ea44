//! Bazel's remote cache protocol over HTTP: `/ac/<key>` has results of actions, `/cas/<digest>` has blobs, GET gives and
//! PUT stores (bazel.build/remote/caching). bazel-remote, nginx with WebDAV, BuildBuddy and Buildbarn speak it.

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url};

use crate::cache::backend::{Address, Failure, SILENCE, Space, patience};
use crate::error::Result;
use crate::oci::Digest;
use crate::registry::Registry;

/// A cache behind a URL.
pub struct Http {
    /// Ends with a slash.
    base: Url,
    client: Client,
    bearer: Option<HeaderValue>,
    name: String,
}

impl Http {
    /// See [`Backend::new`](super::Backend::new).
    pub(super) fn new(url: &str, token: Option<&str>, registry: &Registry) -> Result<Self> {
        let Address { mut base, bearer, name } = Address::parse(url, ["http", "https"], token)?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let client = registry.client_for(&base)?;
        Ok(Http { base, client, bearer, name })
    }

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
        let patience = patience(body.as_ref().map_or(0, Bytes::len));
        if let Some(body) = body {
            request = request.body(body);
        }
        match tokio::time::timeout(patience, request.send()).await {
            Ok(answer) => answer.map_err(|e| Failure::of(&e)),
            Err(_) => Err(Failure::silent(patience)),
        }
    }

    /// See [`Backend::get`](super::Backend::get).
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
            let piece = piece.map_err(|_| Failure::stands_still())?.map_err(|e| Failure::of(&e))?;
            let Some(piece) = piece else { return Ok(Some(bytes.freeze())) };
            if bytes.len() + piece.len() > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
    }

    /// See [`Backend::put`](super::Backend::put).
    pub(super) async fn put(&self, space: Space, key: &Digest, bytes: Bytes) -> Result<(), Failure> {
        let answer = self.send(Method::PUT, space, key, Some(bytes)).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(refused(status)),
        }
    }
}

fn refused(status: StatusCode) -> Failure {
    let text = format!("it answers {status}");
    match status.as_u16() {
        429 | 503 => Failure::Busy(text),
        408 | 500..=599 => Failure::Unreachable(text),
        _ => Failure::Refused(text),
    }
}
