//! A server that speaks the Remote Execution API over gRPC, as far as caches need it: it keeps everything in memory, notes
//! every request, and does what a test says instead.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::http::{HeaderMap, HeaderValue, Response};
use prost::Message;
use sha2::Digest as _;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The method's name, without that of its service.
    pub(crate) method: String,
    /// The instance, or what ByteStream calls the resource.
    pub(crate) name: String,
    /// How many blobs it speaks of.
    pub(crate) blobs: usize,
    pub(crate) authorization: Option<String>,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// What the protocol wants.
    Serve,
    /// This status of gRPC, and nothing else.
    Status(i32),
    /// What is kept, with the last byte of blobs changed.
    Damage,
    /// What is kept, each blob with this status.
    Each(i32),
    /// The stream is reset.
    Reset,
}

type Plan = Box<dyn Fn(&Asked) -> Answer + Send + Sync>;

struct Inner {
    plan: Mutex<Plan>,
    /// By the digest's hash and size, as servers have them.
    results: Mutex<BTreeMap<(String, i64), Bytes>>,
    blobs: Mutex<BTreeMap<String, Bytes>>,
    seen: Mutex<Vec<Asked>>,
    batch: AtomicI64,
}

/// A running server; it ends with the test's process.
pub(crate) struct RemoteExecution {
    host: String,
    inner: Arc<Inner>,
}

impl RemoteExecution {
    /// An empty one, which takes messages with blobs of `batch` bytes.
    pub(crate) fn start(batch: i64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let inner = Arc::new(Inner {
            plan: Mutex::new(Box::new(|_| Answer::Serve)),
            results: Mutex::default(),
            blobs: Mutex::default(),
            seen: Mutex::default(),
            batch: batch.into(),
        });
        let serving = Arc::clone(&inner);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(connection(stream, Arc::clone(&serving)));
                }
            });
        });
        RemoteExecution { host, inner }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// From now on requests are answered so.
    pub(crate) fn plan(&self, plan: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        *self.inner.plan.lock().unwrap() = Box::new(plan);
    }

    /// The requests since the last time.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.inner.seen.lock().unwrap())
    }

    /// How many blobs are kept.
    pub(crate) fn blobs(&self) -> usize {
        self.inner.blobs.lock().unwrap().len()
    }
}

async fn connection(stream: tokio::net::TcpStream, inner: Arc<Inner>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let inner = Arc::clone(&inner);
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let mut all = BytesMut::new();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                all.extend_from_slice(&piece);
            }
            let method = head.uri.path().rsplit('/').next().unwrap().to_owned();
            let authorization = head.headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
            let Some(answer) = serve(&inner, method, authorization, all.freeze()) else {
                return respond.send_reset(h2::Reason::INTERNAL_ERROR);
            };
            let head = Response::builder().header("content-type", "application/grpc");
            let Ok(mut stream) = respond.send_response(head.body(()).unwrap(), false) else { return };
            let (status, messages) = match answer {
                Ok(messages) => (0, messages),
                Err(status) => (status, Vec::new()),
            };
            for message in messages {
                let mut framed = BytesMut::new();
                framed.put_u8(0);
                framed.put_u32(u32::try_from(message.len()).unwrap());
                framed.extend_from_slice(&message);
                let _ = stream.send_data(framed.freeze(), false);
            }
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from(status));
            let _ = stream.send_trailers(trailers);
        });
    }
}

/// The messages in a body.
fn messages<M: Message + Default>(mut body: Bytes) -> Vec<M> {
    let mut all = Vec::new();
    while !body.is_empty() {
        assert_eq!(body[0], 0, "nothing is compressed");
        let length = u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize;
        let message = body.split_to(5 + length).slice(5..);
        all.push(M::decode(message).unwrap());
    }
    all
}

fn one<M: Message + Default>(body: Bytes) -> M {
    let mut all = messages(body);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// The messages of an answer, or its status; none if the stream is to be reset.
fn serve(
    inner: &Inner,
    method: String,
    authorization: Option<String>,
    body: Bytes,
) -> Option<Result<Vec<Vec<u8>>, i32>> {
    let ask = |name: &str, blobs: usize| {
        let asked = Asked { method: method.clone(), name: name.to_owned(), blobs, authorization };
        let answer = (inner.plan.lock().unwrap())(&asked);
        inner.seen.lock().unwrap().push(asked);
        answer
    };
    let changed = |answer: Answer, mut data: Vec<u8>| {
        if let (Answer::Damage, Some(last)) = (answer, data.last_mut()) {
            *last ^= 1;
        }
        data
    };
    let of_each = |answer: Answer, found: bool| match answer {
        Answer::Each(code) => Status { code },
        _ if found => Status { code: 0 },
        _ => Status { code: 5 },
    };
    let (answer, messages) = match method.as_str() {
        "GetCapabilities" => {
            let answer = ask(&one::<GetCapabilities>(body).instance, 0);
            let cache = Cache { functions: vec![1, 9], batch: inner.batch.load(Ordering::Relaxed) };
            (answer, Ok(vec![Capabilities { cache: Some(cache) }.encode_to_vec()]))
        }
        "GetActionResult" => {
            let ActionResult { instance, action, .. } = one(body);
            let answer = ask(&instance, 0);
            let found = inner.results.lock().unwrap().get(&key(action.unwrap())).cloned();
            (answer, found.map(|result| vec![result.to_vec()]).ok_or(5))
        }
        "UpdateActionResult" => {
            let ActionResult { instance, action, result } = one(body);
            let answer = ask(&instance, 0);
            if matches!(answer, Answer::Serve) {
                inner.results.lock().unwrap().insert(key(action.unwrap()), result.clone());
            }
            (answer, Ok(vec![result.to_vec()]))
        }
        "BatchReadBlobs" => {
            let ReadBlobs { instance, digests } = one(body);
            let answer = ask(&instance, digests.len());
            let total: i64 = digests.iter().map(|digest| digest.size).sum();
            assert!(total <= inner.batch.load(Ordering::Relaxed), "{total}");
            let blobs = inner.blobs.lock().unwrap();
            // The order is the server's.
            let read = digests.into_iter().rev().map(|digest| {
                let found = blobs.get(&digest.hash);
                let data = changed(answer, found.map(|data| data.to_vec()).unwrap_or_default());
                let status = Some(of_each(answer, found.is_some()));
                Blob { digest: Some(digest), data: data.into(), status }
            });
            (answer, Ok(vec![BlobsRead { blobs: read.collect() }.encode_to_vec()]))
        }
        "BatchUpdateBlobs" => {
            let UpdateBlobs { instance, blobs } = one(body);
            let answer = ask(&instance, blobs.len());
            let written = blobs.into_iter().map(|Blob { digest, data, .. }| {
                keep(inner, answer, &digest.as_ref().unwrap().hash, data);
                BlobWritten { digest, status: Some(of_each(answer, true)) }
            });
            (answer, Ok(vec![BlobsWritten { blobs: written.collect() }.encode_to_vec()]))
        }
        "Read" => {
            let Read { resource } = one(body);
            let answer = ask(&resource, 1);
            let mut names = resource.rsplit('/');
            let (size, hash) = (names.next().unwrap(), names.next().unwrap());
            let found = inner.blobs.lock().unwrap().get(hash).cloned();
            let data = found.map(|data| {
                assert_eq!(data.len().to_string(), size);
                let data = changed(answer, data.to_vec());
                data.chunks(100_000).map(|piece| Piece { data: piece.to_vec() }.encode_to_vec()).collect()
            });
            (answer, data.ok_or(5))
        }
        "Write" => {
            let all: Vec<Write> = self::messages(body);
            let resource = all[0].resource.clone();
            let answer = ask(&resource, 1);
            let mut data = BytesMut::new();
            for (i, write) in all.iter().enumerate() {
                assert_eq!((write.offset, write.finish), (data.len() as i64, i + 1 == all.len()));
                data.extend_from_slice(&write.data);
            }
            let mut names = resource.rsplit('/');
            let (size, hash) = (names.next().unwrap(), names.next().unwrap());
            assert_eq!(size, data.len().to_string());
            let written = Written { size: data.len() as i64 };
            keep(inner, answer, hash, data.freeze());
            (answer, Ok(vec![written.encode_to_vec()]))
        }
        // Unimplemented.
        _ => (ask("", 0), Err(12)),
    };
    match answer {
        Answer::Status(status) => Some(Err(status)),
        Answer::Reset => None,
        Answer::Serve | Answer::Damage | Answer::Each(_) => Some(messages),
    }
}

/// Keeps a blob, whose digest is checked as servers do.
fn keep(inner: &Inner, answer: Answer, hash: &str, data: Bytes) {
    let digest: String = sha2::Sha256::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, hash);
    if matches!(answer, Answer::Serve) {
        inner.blobs.lock().unwrap().insert(hash.to_owned(), data);
    }
}

fn key(digest: Digest) -> (String, i64) {
    (digest.hash, digest.size)
}

#[derive(Clone, PartialEq, Message)]
struct Digest {
    #[prost(string, tag = "1")]
    hash: String,
    #[prost(int64, tag = "2")]
    size: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct GetCapabilities {
    #[prost(string, tag = "1")]
    instance: String,
}

#[derive(Clone, PartialEq, Message)]
struct Capabilities {
    #[prost(message, optional, tag = "1")]
    cache: Option<Cache>,
}

#[derive(Clone, PartialEq, Message)]
struct Cache {
    #[prost(int32, repeated, tag = "1")]
    functions: Vec<i32>,
    #[prost(int64, tag = "4")]
    batch: i64,
}

/// Both `GetActionResultRequest` and `UpdateActionResultRequest`.
#[derive(Clone, PartialEq, Message)]
struct ActionResult {
    #[prost(string, tag = "1")]
    instance: String,
    #[prost(message, optional, tag = "2")]
    action: Option<Digest>,
    #[prost(bytes = "bytes", tag = "3")]
    result: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct ReadBlobs {
    #[prost(string, tag = "1")]
    instance: String,
    #[prost(message, repeated, tag = "2")]
    digests: Vec<Digest>,
}

#[derive(Clone, PartialEq, Message)]
struct Blob {
    #[prost(message, optional, tag = "1")]
    digest: Option<Digest>,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
    #[prost(message, optional, tag = "3")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct BlobsRead {
    #[prost(message, repeated, tag = "1")]
    blobs: Vec<Blob>,
}

#[derive(Clone, PartialEq, Message)]
struct UpdateBlobs {
    #[prost(string, tag = "1")]
    instance: String,
    #[prost(message, repeated, tag = "2")]
    blobs: Vec<Blob>,
}

#[derive(Clone, PartialEq, Message)]
struct BlobWritten {
    #[prost(message, optional, tag = "1")]
    digest: Option<Digest>,
    #[prost(message, optional, tag = "2")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct BlobsWritten {
    #[prost(message, repeated, tag = "1")]
    blobs: Vec<BlobWritten>,
}

#[derive(Clone, PartialEq, Message)]
struct Read {
    #[prost(string, tag = "1")]
    resource: String,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(bytes = "vec", tag = "10")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Write {
    #[prost(string, tag = "1")]
    resource: String,
    #[prost(int64, tag = "2")]
    offset: i64,
    #[prost(bool, tag = "3")]
    finish: bool,
    #[prost(bytes = "bytes", tag = "10")]
    data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct Written {
    #[prost(int64, tag = "1")]
    size: i64,
}
