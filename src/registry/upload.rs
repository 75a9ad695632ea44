//! Putting one blob: HEAD, mount, one PUT with the whole body, chunks only where that is refused
//! (distribution-spec, "Pushing blobs").

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Put};
use crate::oci::{Digest, Repository};
use crate::registry::endpoint::with_digest;
use crate::registry::failure::{Again, Failure, Refusal};
use crate::registry::transport::{Answer, Body, Upload};
use crate::registry::{Call, Registry, To, refusal};

/// The size of chunks, in bytes: the largest request that GHCR takes.
const CHUNK: usize = 4 * 1024 * 1024;
/// The largest chunk that a registry can ask for with `OCI-Chunk-Min-Length`.
const MAX_CHUNK: usize = 64 * 1024 * 1024;

/// One blob on its way into one repository.
pub(super) struct Job<'a> {
    pub(super) registry: &'a Registry,
    pub(super) to: &'a Repository,
    pub(super) digest: Digest,
    pub(super) upload: Upload,
    /// Repositories of the same registry that have the blob, the likeliest first.
    pub(super) mounts: &'a [Repository],
}

/// An upload session, open at the registry.
struct Session {
    url: Url,
    /// `OCI-Chunk-Min-Length`.
    min_chunk: usize,
}

/// What a request that opens a session came to.
enum Opened {
    Session(Session),
    /// The registry has the blob now.
    Done,
}

impl Job<'_> {
    /// Makes sure that the blob is in the repository.
    pub(super) async fn run(&self) -> Result<Put> {
        let mut failed = 0;
        let mut chunked = false;
        let what = self.what("push");
        loop {
            // After a failed try this finds out whether the blob arrived nevertheless.
            let outcome = match self.present().await {
                Ok(true) if failed == 0 => return Ok(Put::Present),
                Ok(true) => return Ok(Put::Sent),
                Ok(false) => self.attempt(failed == 0, &mut chunked).await,
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(how) => return Ok(how),
                Err(failure) => self.registry.pause(&mut failed, failure, &what).await?,
            }
        }
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb} blob {} to {}", self.digest, self.to)
    }

    fn call(&self, method: Method, path: String, verb: &str) -> Call<'_> {
        let mut call = Call::new(method, self.to, path, self.what(verb));
        call.push = true;
        call
    }

    /// Whether the blob is there. An answer that says neither counts as no.
    async fn present(&self) -> Result<bool, Failure> {
        let call = self.call(Method::HEAD, format!("blobs/{}", self.digest), "push");
        match self.registry.try_once(&call).await {
            Ok(answer) if answer.status() == 200 => {
                Ok(answer.length().is_none_or(|length| length == self.upload.size()))
            }
            Ok(_) => Ok(false),
            Err(failure) if failure.answered => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn attempt(&self, mount: bool, chunked: &mut bool) -> Result<Put, Failure> {
        let mut session = None;
        if mount {
            for from in self.mounts {
                match self.mount(from).await {
                    Some(Opened::Done) => return Ok(Put::Mounted),
                    Some(Opened::Session(open)) => {
                        session = Some(open);
                        break;
                    }
                    None => {}
                }
            }
        }
        let session = match session {
            Some(session) => session,
            None => match self.open().await? {
                Opened::Session(session) => session,
                Opened::Done => return Ok(Put::Present),
            },
        };
        if *chunked {
            return self.chunks(session).await;
        }
        let mut call = self.call(Method::PUT, String::new(), "push");
        call.to = To::Url(with_digest(session.url, &self.digest));
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.body = Body::Upload(self.upload.clone());
        let answer = self.registry.try_once(&call).await?;
        if answer.is_success() {
            return self.stored(&answer);
        }
        if matches!(answer.status(), 405 | 413) {
            *chunked = true;
            let Opened::Session(session) = self.open().await? else { return Ok(Put::Present) };
            return self.chunks(session).await;
        }
        Err(self.dead_or_refused(&call, answer).await)
    }

    /// Asks the registry to take the blob from `from`. Whatever it answers instead only means that the blob
    /// must be sent.
    async fn mount(&self, from: &Repository) -> Option<Opened> {
        let path = format!("blobs/uploads/?mount={}&from={}", self.digest, from.path());
        let mut call = self.call(Method::POST, path, "mount");
        call.mount = Some(from);
        let why = match self.registry.try_once(&call).await {
            Ok(answer) if answer.status() == 201 => return Some(Opened::Done),
            Ok(answer) if answer.status() == 202 => match session(&call, &answer) {
                Ok(session) => return Some(Opened::Session(session)),
                Err(error) => error.to_string(),
            },
            Ok(answer) => refusal(&call, answer).await.to_string(),
            Err(failure) => failure.error.to_string(),
        };
        self.registry.0.observer.on(Event::Detail(format!("not mounted from {from}: {why}")));
        None
    }

    async fn open(&self) -> Result<Opened, Failure> {
        let call = self.call(Method::POST, "blobs/uploads/".to_owned(), "push");
        let answer = self.registry.try_once(&call).await?;
        match answer.status() {
            202 => Ok(Opened::Session(session(&call, &answer)?)),
            201 => Ok(Opened::Done),
            404 => {
                let error = refusal(&call, answer).await;
                Err(error.hint(format!("does the repository {} exist?", self.to)).into())
            }
            _ => Err(refusal(&call, answer).await.into()),
        }
    }

    /// The blob in pieces, one PATCH each.
    async fn chunks(&self, session: Session) -> Result<Put, Failure> {
        let size = CHUNK.max(session.min_chunk).min(MAX_CHUNK);
        let mut url = session.url;
        let mut stream = self.upload.stream().await?;
        let mut buffer = BytesMut::new();
        let mut sent = 0;
        let mut ended = false;
        loop {
            while !ended && buffer.len() < size {
                match stream.next().await {
                    Some(bytes) => buffer.extend_from_slice(&bytes?),
                    None => ended = true,
                }
            }
            if buffer.is_empty() {
                break;
            }
            let chunk = buffer.split_to(size.min(buffer.len())).freeze();
            let length = chunk.len() as u64;
            url = self.patch(url, sent, chunk).await?;
            sent += length;
            self.upload.report(sent);
        }
        let mut call = self.call(Method::PUT, String::new(), "push");
        call.to = To::Url(with_digest(url, &self.digest));
        let answer = self.registry.try_once(&call).await?;
        if answer.is_success() {
            return self.stored(&answer);
        }
        Err(self.dead_or_refused(&call, answer).await)
    }

    /// Sends one chunk that starts at byte `start`; where the next one goes.
    async fn patch(&self, url: Url, start: u64, chunk: Bytes) -> Result<Url, Failure> {
        let mut call = self.call(Method::PATCH, String::new(), "push");
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        // Unlike HTTP's own header, the specification's has no unit.
        let range = format!("{start}-{}", start + chunk.len() as u64 - 1);
        if let Ok(value) = HeaderValue::from_str(&range) {
            call.headers.insert(CONTENT_RANGE, value);
        }
        call.to = To::Url(url);
        call.body = Body::Bytes(chunk);
        let answer = self.registry.try_once(&call).await?;
        if answer.is_success() {
            return Ok(session(&call, &answer)?.url);
        }
        Err(self.dead_or_refused(&call, answer).await)
    }

    /// The end of an upload that the registry says it has stored.
    fn stored(&self, answer: &Answer) -> Result<Put, Failure> {
        match answer.digest() {
            Some(other) if other != self.digest => {
                let why = format!("the registry stored {other}");
                Err(Error::new(Kind::Integrity, self.what("push"), why).into())
            }
            _ => Ok(Put::Sent),
        }
    }

    /// A refusal in a session: a new session may do if this one is dead.
    async fn dead_or_refused(&self, call: &Call<'_>, answer: Answer) -> Failure {
        let refusal = Refusal::read(answer).await;
        let unknown = refusal.has_code("BLOB_UPLOAD_UNKNOWN") || refusal.has_code("BLOB_UPLOAD_INVALID");
        let dead = matches!(refusal.status, 404 | 416) || unknown;
        let damaged = refusal.has_code("DIGEST_INVALID");
        let mut failure = refusal.failure(&call.what, self.to.registry());
        if damaged {
            failure.error = failure.error.as_kind(Kind::Integrity);
        }
        if dead && failure.again == Again::No {
            failure.again = Again::Yes(None);
        }
        failure
    }
}

/// The session that an answer opened or went on with.
fn session(call: &Call<'_>, answer: &Answer) -> Result<Session> {
    let location = answer
        .header("location")
        .ok_or_else(|| Error::new(Kind::Refused, &call.what, "the registry named no upload location"))?;
    let url = answer.follow(location).map_err(|e| e.within(&call.what))?;
    let min_chunk = answer.header("oci-chunk-min-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    Ok(Session { url, min_chunk })
}
