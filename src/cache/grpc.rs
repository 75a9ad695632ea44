//! The Remote Execution API over gRPC: ActionCache, ContentAddressableStorage and ByteStream
//! (github.com/bazelbuild/remote-apis, version 2). BuildGrid, Buildbarn, BuildBuddy, bazel-remote and the hosted ones
//! speak it.
//!
//! Small blobs are asked for together: each request costs a server, and many small ones cost more than their bytes.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::uri::PathAndQuery;
use http_body_util::BodyExt as _;
use prost::Message as _;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use tokio::sync::{OnceCell, Semaphore, oneshot};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::cache::backend::{Address, Failure, SILENCE, Space, patience};
use crate::cache::reapi::{self, Request, SHA256};
use crate::error::{Error, Kind, Result};
use crate::oci::Digest;
use crate::registry::Registry;

/// The most bytes of blobs in one message, if the server doesn't want fewer: messages of gRPC are at most 4 MiB unless both
/// sides say otherwise, and names take room too.
const BATCH: usize = 3 << 20;
/// How many requests for small blobs are under way at a time.
const READS: usize = 8;
/// How many other requests are. A server that has a thread for each refuses what it has none for, and has few.
const OTHERS: usize = 8;
/// How many bytes of a large blob are sent at a time.
const PIECE: usize = 256 << 10;
/// What stands for the size of an action, by which servers keep results beside the digest: there is none.
const ACTION_SIZE: u64 = 1;

/// A cache behind a URL, whose path is the name of an instance of the server.
pub struct Grpc {
    channel: Channel,
    instance: String,
    name: String,
    /// The most bytes of blobs in one message.
    batch: OnceCell<usize>,
    /// Small blobs that are wanted, and not yet asked for.
    wanted: Mutex<VecDeque<Wanted>>,
    reads: Semaphore,
    others: Semaphore,
}

/// What is kept under a digest, if something is.
type Blob = Result<Option<Bytes>, Failure>;

/// A blob that somebody waits for.
struct Wanted {
    digest: Digest,
    size: usize,
    waiting: oneshot::Sender<Blob>,
}

impl Grpc {
    /// See [`Backend::new`](super::Backend::new).
    pub(super) fn new(url: &str, token: Option<&str>, registry: &Registry) -> Result<Self> {
        let Address { mut base, bearer, name } = Address::parse(url, ["grpc", "grpcs"], token)?;
        let instance = base.path().trim_matches('/').to_owned();
        if instance.contains('%') {
            let why =
                "the name of an instance, which is the path of its URL, has a character that no URL has";
            return Err(Error::new(Kind::Usage, "use the remote cache", why));
        }
        base.set_path("");
        let client = registry.http2_client_for(&base)?;
        Ok(Grpc {
            channel: Channel { client, base, bearer },
            instance,
            name,
            batch: OnceCell::new(),
            wanted: Mutex::default(),
            reads: Semaphore::new(READS),
            others: Semaphore::new(OTHERS),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// See [`Backend::get`](super::Backend::get).
    pub(super) async fn get(&self, space: Space, key: &Digest, size: usize) -> Blob {
        let batch = self.batch().await?;
        if space == Space::Blobs && size <= batch {
            return self.read_with_others(key, size, batch).await;
        }
        let _turn = self.others.acquire().await;
        match space {
            Space::Results => self.result(key).await,
            Space::Blobs => self.read(key, size).await,
        }
    }

    /// See [`Backend::put`](super::Backend::put).
    pub(super) async fn put(&self, space: Space, key: &Digest, bytes: Bytes) -> Result<(), Failure> {
        let batch = self.batch().await?;
        let _turn = self.others.acquire().await;
        match space {
            Space::Results => self.set_result(key, bytes).await,
            Space::Blobs if bytes.len() <= batch => self.write(key, bytes).await,
            Space::Blobs => self.write_in_pieces(key, bytes).await,
        }
    }

    /// The most bytes of blobs in one message; asks the server when first called.
    async fn batch(&self) -> Result<usize, Failure> {
        let ask = async || {
            let request = reapi::GetCapabilitiesRequest { instance_name: self.instance.clone() };
            let cache = match self.channel.ask(request, SILENCE).await {
                Ok(capabilities) => capabilities.cache_capabilities.unwrap_or_default(),
                // Not everything that has a cache tells of it.
                Err(status) if status.code() == Code::Unimplemented => Default::default(),
                Err(status) => return Err(failure(&status)),
            };
            if !cache.digest_functions.is_empty() && !cache.digest_functions.contains(&SHA256) {
                return Err(Failure::Refused("it doesn't know SHA-256".to_owned()));
            }
            let own = usize::try_from(cache.max_batch_total_size_bytes).ok().filter(|own| *own > 0);
            Ok(own.map_or(BATCH, |own| own.min(BATCH)))
        };
        self.batch.get_or_try_init(ask).await.copied()
    }

    async fn result(&self, key: &Digest) -> Blob {
        let request = reapi::GetActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(reapi::Digest::new(key, ACTION_SIZE)),
        };
        let result = found(self.channel.ask(request, SILENCE).await)?;
        Ok(result.map(|result| result.encode_to_vec().into()))
    }

    async fn set_result(&self, key: &Digest, result: Bytes) -> Result<(), Failure> {
        let patience = patience(result.len());
        let request = reapi::UpdateActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(reapi::Digest::new(key, ACTION_SIZE)),
            action_result: result,
        };
        self.channel.ask(request, patience).await.map(drop).map_err(|status| failure(&status))
    }

    /// Reads a small blob, in one request with others that are wanted at the same time.
    async fn read_with_others(&self, digest: &Digest, size: usize, batch: usize) -> Blob {
        let (waiting, mut answer) = oneshot::channel();
        self.wanted().push_back(Wanted { digest: *digest, size, waiting });
        // Whoever wants something at the same time says so before the first request is made.
        tokio::task::yield_now().await;
        loop {
            let turn = tokio::select! {
                biased;
                answer = &mut answer => return answer.unwrap_or_else(|_| Err(Failure::given_up())),
                turn = self.reads.acquire() => turn,
            };
            let blobs = take(&mut self.wanted(), batch);
            if blobs.is_empty() {
                // Somebody else is asking for it.
                drop(turn);
                return answer.await.unwrap_or_else(|_| Err(Failure::given_up()));
            }
            self.read_together(blobs).await;
        }
    }

    fn wanted(&self) -> MutexGuard<'_, VecDeque<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads blobs by one request, and tells whoever waits for them.
    async fn read_together(&self, blobs: Vec<Wanted>) {
        let request = reapi::BatchReadBlobsRequest {
            instance_name: self.instance.clone(),
            digests: blobs.iter().map(|blob| reapi::Digest::new(&blob.digest, blob.size as u64)).collect(),
        };
        let patience = patience(blobs.iter().map(|blob| blob.size).sum());
        let answer = self.channel.ask(request, patience).await;
        let answers = answer.map_err(|status| failure(&status)).map(|answer| {
            let by_hash = |read: reapi::BlobRead| Some((read.digest?.hash, (read.status, read.data)));
            answer.responses.into_iter().filter_map(by_hash).collect::<BTreeMap<_, _>>()
        });
        for Wanted { digest, waiting, .. } in blobs {
            let blob = match &answers {
                Err(failure) => Err(failure.clone()),
                Ok(answers) => match answers.get(&digest.hex()) {
                    Some((status, data)) => found(verdict(status.as_ref()).map(|()| data.clone())),
                    None => Ok(None),
                },
            };
            // Nobody may wait any more.
            let _ = waiting.send(blob);
        }
    }

    /// Reads a large blob in pieces.
    async fn read(&self, digest: &Digest, size: usize) -> Blob {
        let request =
            reapi::ReadRequest { resource_name: self.resource(&format!("blobs/{}/{size}", digest.hex())) };
        let answer = tokio::time::timeout(SILENCE, self.channel.stream(request)).await;
        let Some(mut pieces) = found(answer.unwrap_or_else(|_| Err(silent())))? else { return Ok(None) };
        let mut bytes = BytesMut::new();
        loop {
            let piece = tokio::time::timeout(SILENCE, pieces.message()).await;
            // That it isn't there may be said before the first piece only, which is after the answer began.
            let piece = match found(piece.map_err(|_| Failure::stands_still())?)? {
                Some(Some(piece)) => piece.data,
                Some(None) => return Ok(Some(bytes.freeze())),
                None => return Ok(None),
            };
            if bytes.len() + piece.len() > size {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece);
        }
    }

    async fn write(&self, digest: &Digest, bytes: Bytes) -> Result<(), Failure> {
        let patience = patience(bytes.len());
        let blob =
            reapi::BlobToWrite { digest: Some(reapi::Digest::new(digest, bytes.len() as u64)), data: bytes };
        let request =
            reapi::BatchUpdateBlobsRequest { instance_name: self.instance.clone(), requests: vec![blob] };
        let answer = self.channel.ask(request, patience).await;
        let written = answer.and_then(|answer| match answer.responses.first() {
            Some(written) => verdict(written.status.as_ref()),
            None => Err(Status::internal("no blob is spoken of")),
        });
        written.map_err(|status| failure(&status))
    }

    async fn write_in_pieces(&self, digest: &Digest, bytes: Bytes) -> Result<(), Failure> {
        let size = bytes.len();
        let upload = upload_name().map_err(|e| Failure::Unreachable(format!("no random number: {e}")))?;
        let resource = self.resource(&format!("uploads/{upload}/blobs/{}/{size}", digest.hex()));
        let pieces = (0..size).step_by(PIECE).map(move |start| {
            let end = size.min(start + PIECE);
            reapi::WriteRequest {
                resource_name: if start == 0 { resource.clone() } else { String::new() },
                write_offset: i64::try_from(start).unwrap_or(i64::MAX),
                finish_write: end == size,
                data: bytes.slice(start..end),
            }
        });
        let answer = self.channel.send(pieces, patience(size)).await;
        match answer.map_err(|status| failure(&status))?.committed_size {
            // A server that has the blob already may say so before it has all of it again.
            written if usize::try_from(written) == Ok(size) => Ok(()),
            written => Err(Failure::Unreachable(format!("it kept {written} of {size} bytes"))),
        }
    }

    /// A name of ByteStream's, which begins with the instance.
    fn resource(&self, rest: &str) -> String {
        let slash = if self.instance.is_empty() { "" } else { "/" };
        format!("{}{slash}{rest}", self.instance)
    }
}

/// Takes as many blobs as go into one message, and at least one if there is one.
fn take(wanted: &mut VecDeque<Wanted>, batch: usize) -> Vec<Wanted> {
    let (mut blobs, mut bytes) = (Vec::new(), 0);
    while wanted.front().is_some_and(|blob| blobs.is_empty() || bytes + blob.size <= batch)
        && let Some(blob) = wanted.pop_front()
    {
        bytes += blob.size;
        blobs.push(blob);
    }
    blobs
}

/// A UUID of version 4 (RFC 9562), which uploads are to have.
fn upload_name() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xf << 76 | 0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{number:032x}");
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// What a server says of one blob among others.
fn verdict(status: Option<&reapi::Status>) -> Result<(), Status> {
    match status.map_or(Code::Ok, |status| Code::from(status.code)) {
        Code::Ok => Ok(()),
        code => Err(Status::new(code, "")),
    }
}

/// An answer, or none if what was asked for isn't there.
fn found<T>(answer: Result<T, Status>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(failure(&status)),
    }
}

fn silent() -> Status {
    Status::deadline_exceeded("")
}

/// Not with the server's own words: what they hold is not known.
fn failure(status: &Status) -> Failure {
    use std::error::Error as _;
    let code = status.code();
    match (status.source(), code) {
        (Some(source), _) => Failure::of(source),
        (None, Code::DeadlineExceeded) => Failure::Unreachable("it said nothing in time".to_owned()),
        (None, Code::ResourceExhausted) => Failure::Busy(format!("it answers {code:?}")),
        (
            None,
            Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::OutOfRange
            | Code::FailedPrecondition,
        ) => Failure::Refused(format!("it answers {code:?}")),
        (None, _) => Failure::Unreachable(format!("it answers {code:?}")),
    }
}

/// The connection, through the client that all connections of ours go through.
#[derive(Clone)]
struct Channel {
    client: reqwest::Client,
    /// Without a path; the client makes a header of the user and password in it.
    base: Url,
    bearer: Option<HeaderValue>,
}

impl Channel {
    /// One message, and one for an answer within `patience`.
    async fn ask<Q: Request>(&self, message: Q, patience: Duration) -> Result<Q::Answer, Status> {
        self.send(std::iter::once(message), patience).await
    }

    /// Messages, and one for an answer within `patience`.
    async fn send<Q: Request>(
        &self,
        messages: impl Iterator<Item = Q> + Send + 'static,
        patience: Duration,
    ) -> Result<Q::Answer, Status> {
        let mut client = tonic::client::Grpc::new(self.clone());
        let request = tonic::Request::new(stream::iter(messages));
        let call =
            client.client_streaming(request, PathAndQuery::from_static(Q::METHOD), ProstCodec::default());
        let answer = tokio::time::timeout(patience, call).await.unwrap_or_else(|_| Err(silent()));
        answer.map(tonic::Response::into_inner)
    }

    /// One message, and many for an answer.
    async fn stream<Q: Request>(&self, message: Q) -> Result<tonic::Streaming<Q::Answer>, Status> {
        let mut client = tonic::client::Grpc::new(self.clone());
        let request = tonic::Request::new(message);
        let call =
            client.server_streaming(request, PathAndQuery::from_static(Q::METHOD), ProstCodec::default());
        call.await.map(tonic::Response::into_inner)
    }
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, reqwest::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), reqwest::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let mut url = self.base.clone();
        url.set_path(parts.uri.path());
        let mut request = self.client.request(parts.method, url).headers(parts.headers);
        if let Some(value) = &self.bearer {
            request = request.header(AUTHORIZATION, value);
        }
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        let answer = request.version(http::Version::HTTP_2).body(body).send();
        Box::pin(async move { answer.await.map(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_one_message() {
        let sizes = [400, 600, 1, 5000, 999];
        let wanted = |size| Wanted { digest: Digest::of(b""), size, waiting: oneshot::channel().0 };
        let mut wanted: VecDeque<_> = sizes.into_iter().map(wanted).collect();
        let mut next = || take(&mut wanted, 1000).into_iter().map(|blob| blob.size).collect::<Vec<_>>();
        assert_eq!([next(), next(), next(), next()], [vec![400, 600], vec![1], vec![5000], vec![999]]);
        assert!(next().is_empty());
    }

    #[test]
    fn an_upload_has_a_uuid() {
        let (one, other) = (upload_name().unwrap(), upload_name().unwrap());
        assert_ne!(one, other);
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "4");
        assert!(matches!(&one[19..20], "8" | "9" | "a" | "b"), "{one}");
    }

    #[test]
    fn what_will_always_be_refused_is_known() {
        let refused = |code| matches!(failure(&Status::new(code, "")), Failure::Refused(_));
        assert!(
            refused(Code::PermissionDenied) && refused(Code::Unauthenticated) && refused(Code::Unimplemented)
        );
        assert!(
            !refused(Code::Unavailable)
                && matches!(failure(&Status::resource_exhausted("")), Failure::Busy(_))
                && !refused(Code::DeadlineExceeded)
        );
        assert!(matches!(found::<()>(Err(Status::not_found(""))), Ok(None)));
    }
}
