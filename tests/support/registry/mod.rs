//! A registry in this process that follows the distribution-spec, writes down what it is asked, and fails
//! on request. It passes the specification's conformance suite.

mod auth;
mod routes;
mod store;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

pub(crate) use store::Config;
use store::State;

/// Who may do what.
#[derive(Clone, Debug, Default)]
pub(crate) enum Auth {
    /// Everyone everything.
    #[default]
    Open,
    /// Basic of this user and password.
    Basic(String, String),
    /// A token from `/token`, which wants Basic of this user and password, or the password as refresh token.
    Bearer(String, String),
}

/// A request that was answered (or not: then the status is 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) status: u16,
    /// The scheme of its `Authorization`.
    pub(crate) authorization: Option<String>,
    /// How many bytes its body had.
    pub(crate) body: usize,
}

/// What happens instead of, or to, an answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This answer; nothing is done.
    Status(u16, Vec<(&'static str, String)>, String),
    /// The connection is closed before the request is read.
    Reset,
    /// The request is carried out, then the connection is closed without an answer.
    Lost,
    /// The connection is closed after so many bytes of the answer's body.
    Truncate(usize),
    /// The answer comes this late.
    Delay(Duration),
}

/// Looks at the method and the target of a request.
type Matches = Box<dyn Fn(&str, &str) -> bool + Send>;

/// Which requests a fault hits.
pub(crate) enum When {
    /// The request with this number, counted from 0 at the start.
    Nth(usize),
    /// The next so many requests for which this holds.
    Next(usize, Matches),
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
}

struct Shared {
    state: Mutex<State>,
    faults: Mutex<Vec<(When, Fault)>>,
    log: Mutex<Vec<Logged>>,
    count: Mutex<usize>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running registry; it is stopped when dropped.
pub(crate) struct TestRegistry {
    port: u16,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TestRegistry {
    /// An open registry that can do everything.
    pub(crate) fn start() -> Self {
        Self::with(Config::default())
    }

    /// A registry with these properties.
    pub(crate) fn with(config: Config) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = State::new(config, format!("127.0.0.1:{port}"));
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            faults: Mutex::default(),
            log: Mutex::default(),
            count: Mutex::default(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = serve(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        TestRegistry { port, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Lets requests fail.
    pub(crate) fn fail(&self, when: When, fault: Fault) {
        locked(&self.shared.faults).push((when, fault));
    }

    /// What was asked, in the order of the answers.
    pub(crate) fn log(&self) -> Vec<Logged> {
        locked(&self.shared.log).clone()
    }

    /// How many requests with this method had `part` in their target.
    pub(crate) fn asked(&self, method: &str, part: &str) -> usize {
        self.log().iter().filter(|l| l.method == method && l.target.contains(part)).count()
    }

    /// Changes the properties while it runs.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Config)) {
        change(&mut locked(&self.shared.state).config);
    }

    /// Every tag of a repository with its digest.
    pub(crate) fn tags(&self, repo: &str) -> BTreeMap<String, String> {
        locked(&self.shared.state).tags(repo)
    }

    /// Every repository that has something.
    pub(crate) fn repositories(&self) -> Vec<String> {
        locked(&self.shared.state).repos.keys().cloned().collect()
    }

    /// Stores a blob past the protocol; gives its digest.
    pub(crate) fn put_blob(&self, repo: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = store::sha256(&bytes);
        let mut state = locked(&self.shared.state);
        state.repos.entry(repo.to_owned()).or_default().blobs.insert(digest.clone(), bytes);
        digest
    }

    /// Stores a manifest under a tag or its digest past the protocol; what it names must be there.
    #[track_caller]
    pub(crate) fn put_manifest(&self, repo: &str, name: &str, media_type: &str, bytes: impl Into<Bytes>) {
        let reply = locked(&self.shared.state).put_manifest(repo, name, media_type, &bytes.into());
        assert_eq!(reply.status, 201, "{repo}:{name}: {:?}", reply.body);
    }

    /// The bytes of a blob or manifest of a repository.
    #[track_caller]
    pub(crate) fn bytes(&self, repo: &str, digest: &str) -> Bytes {
        let state = locked(&self.shared.state);
        let repo = state.repos.get(repo).unwrap_or_else(|| panic!("no repository {repo}"));
        let manifest = repo.manifests.get(digest).map(|m| &m.bytes);
        manifest.or(repo.blobs.get(digest)).unwrap_or_else(|| panic!("no {digest}")).clone()
    }

    /// What a tag needs but the repository hasn't got: empty if every tag names a complete image.
    pub(crate) fn incomplete(&self) -> Vec<String> {
        locked(&self.shared.state).incomplete()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A request, its body read.
pub(super) struct Request {
    method: String,
    path: String,
    query: String,
    headers: hyper::HeaderMap,
    body: Bytes,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// A parameter of the query, decoded.
    fn param(&self, name: &str) -> Option<String> {
        form(&self.query, name).into_iter().next()
    }
}

/// The values of `name` in a form, decoded.
fn form(text: &str, name: &str) -> Vec<String> {
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
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Reply {
    fn new(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.with("content-type", media_type)
    }

    /// An error as the specification writes it.
    fn error(status: u16, code: &str, message: &str) -> Self {
        let errors = serde_json::json!({"errors": [{"code": code, "message": message, "detail": null}]});
        Reply::new(status).body("application/json", errors.to_string())
    }
}

type ReplyBody = UnsyncBoxBody<Bytes, std::io::Error>;

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(stream, Arc::clone(&shared)));
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, Arc::clone(&shared)));
    // Faults end connections with an error; so do clients that go away.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<hyper::Response<ReplyBody>, std::io::Error> {
    let (head, body) = request.into_parts();
    let (method, uri) = (head.method.as_str().to_owned(), head.uri);
    let target = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let fault = hit(&shared, &method, &target);
    let scheme = head.headers.get("authorization").and_then(|v| v.to_str().ok());
    let authorization = scheme.and_then(|v| v.split(' ').next()).map(str::to_owned);
    let note = |status, body| {
        let (method, target, authorization) = (method.clone(), target.clone(), authorization.clone());
        locked(&shared.log).push(Logged { method, target, status, authorization, body });
    };
    let closed = || Err(std::io::Error::other("fault"));
    if matches!(fault, Some(Fault::Reset)) {
        note(0, 0);
        return closed();
    }
    let Ok(body) = body.collect().await else {
        note(0, 0);
        return closed();
    };
    let body = body.to_bytes();
    let size = body.len();
    let request = Request {
        method: method.clone(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let reply = match &fault {
        Some(Fault::Status(status, headers, body)) => {
            Reply { status: *status, headers: headers.clone(), body: body.clone().into() }
        }
        _ => locked(&shared.state).handle(&request),
    };
    match &fault {
        Some(Fault::Lost) => {
            note(0, size);
            return closed();
        }
        Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
        _ => {}
    }
    note(reply.status, size);
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    let has_length = reply.headers.iter().any(|(name, _)| *name == "content-length");
    if !has_length && reply.status != 204 {
        response = response.header("content-length", reply.body.len());
    }
    let never = |e: Infallible| match e {};
    let body = match fault {
        Some(Fault::Truncate(size)) => {
            let start = reply.body.slice(..size.min(reply.body.len()));
            let pieces = [Ok(Frame::data(start)), Err(std::io::Error::other("fault"))];
            // The first piece must be on its way before the connection breaks.
            let pieces = futures_util::stream::unfold(pieces.into_iter(), |mut pieces| async {
                let piece = pieces.next()?;
                if piece.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Some((piece, pieces))
            });
            StreamBody::new(pieces).boxed_unsync()
        }
        _ if method == "HEAD" => Full::new(Bytes::new()).map_err(never).boxed_unsync(),
        _ => Full::new(reply.body).map_err(never).boxed_unsync(),
    };
    Ok(response.body(body).unwrap())
}

/// The fault that is planned for this request; it is used up.
fn hit(shared: &Shared, method: &str, target: &str) -> Option<Fault> {
    let number = {
        let mut count = locked(&shared.count);
        *count += 1;
        *count - 1
    };
    let mut faults = locked(&shared.faults);
    let at = faults.iter().position(|(when, _)| match when {
        When::Nth(n) => *n == number,
        When::Next(times, matches) => *times > 0 && matches(method, target),
    })?;
    let (when, fault) = &mut faults[at];
    if let When::Next(times, _) = when {
        *times -= 1;
    }
    Some(fault.clone())
}
