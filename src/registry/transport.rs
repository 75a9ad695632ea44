//! One exchange with a server: redirects, bodies that can be opened again, and deadlines.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Url};
use tokio::time::Instant;

use crate::content::{BoxFuture, ByteStream};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer, Step, Timing};
use crate::oci::Digest;
use crate::registry::address::Class;
use crate::registry::broken::{broken, unauthorized};
use crate::registry::clients::{Chosen, Clients};
use crate::registry::endpoint::{self, Base};
use crate::registry::failure::{Failure, shown};
use crate::registry::secret::Known;

/// How long gimg waits. There is no limit for a whole transfer as long as it moves. The clock is the monotonic
/// one: a step of the wall clock changes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a connection: name, TCP, proxy and TLS together. Each of several addresses gets its share.
    pub connect: Duration,
    /// For the head of an answer, once the request is sent.
    pub head: Duration,
    /// For the next bytes of a body, either way. A body that comes by the byte counts as one that stands.
    pub stall: Duration,
    /// For the answer to a blob that the registry has got completely and must store.
    pub commit: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            connect: Duration::from_secs(20),
            head: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            commit: Duration::from_secs(15 * 60),
        }
    }
}

/// A body must bring so many bytes within [`Deadlines::stall`], or its rest.
const MIN_PROGRESS: usize = 1024;
/// Bodies in memory are sent in pieces of this size, so that it shows whether they move.
const PIECE: usize = 64 * 1024;
const MAX_REDIRECTS: usize = 10;

/// Makes the stream of an upload's body; called once a try.
pub(super) type Opener = Arc<dyn Fn() -> BoxFuture<'static, Result<ByteStream>> + Send + Sync>;

/// A body that is sent as a stream.
#[derive(Clone)]
pub(super) struct Upload {
    digest: Digest,
    size: u64,
    open: Opener,
    observer: Arc<dyn Observer>,
    /// The most bytes that any try has sent: only what is beyond is reported.
    reported: Arc<AtomicU64>,
    /// When bytes moved last.
    moved: Arc<Mutex<Option<Instant>>>,
    local: bool,
}

impl Upload {
    /// A body of `size` bytes that `open` opens; its progress goes to `observer`.
    pub(super) fn new(digest: Digest, size: u64, open: Opener, observer: Arc<dyn Observer>) -> Self {
        Upload { digest, size, open, observer, reported: Arc::default(), moved: Arc::default(), local: true }
    }

    /// How many bytes there are.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The same; `local` says whether its content is on this machine.
    pub(super) fn local(mut self, local: bool) -> Self {
        self.local = local;
        self
    }

    /// Whether its content is on this machine, and doesn't come from elsewhere while it is sent.
    pub(super) fn is_local(&self) -> bool {
        self.local
    }

    /// The content from its start.
    pub(super) async fn stream(&self) -> Result<ByteStream> {
        (self.open)().await
    }

    /// When bytes of it moved last, if any did.
    pub(super) fn moved(&self) -> Option<Instant> {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports that the first `sent` bytes are on their way.
    pub(super) fn report(&self, sent: u64) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let before = self.reported.fetch_max(sent, Ordering::Relaxed);
        if sent > before {
            let (digest, total) = (self.digest, self.size);
            self.observer.on(Event::Sent { digest, bytes: sent - before, total });
        }
    }
}

/// The body of a request.
#[derive(Clone)]
pub(super) enum Body {
    /// None.
    Empty,
    /// In memory.
    Bytes(Bytes),
    /// In memory, with secrets in it: it never follows a redirect to another origin.
    Private(Bytes),
    /// A stream.
    Upload(Upload),
}

/// A request as it goes out; `what` names it in errors.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: &'a Body,
    pub(super) what: &'a str,
}

/// An answer: its head, and the body still to be read.
pub(super) struct Answer {
    response: reqwest::Response,
    /// What was read of the body to see what it is about.
    kept: Bytes,
    /// What kind of place the registry is on whose behalf was asked.
    class: Class,
    stall: Duration,
    clients: Arc<Clients>,
    known: Arc<Known>,
}

impl Answer {
    /// The HTTP status.
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Whether the status is 2xx.
    pub(super) fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// The URL that answered, after all redirects.
    pub(super) fn url(&self) -> &Url {
        self.response.url()
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|v| v.to_str().ok())
    }

    /// All values of a header that are text.
    pub(super) fn headers(&self, name: &str) -> Vec<String> {
        let values = self.response.headers().get_all(name).iter();
        values.filter_map(|v| v.to_str().ok()).map(str::to_owned).collect()
    }

    /// The `Content-Length`, as the server wrote it (also in an answer to HEAD).
    pub(super) fn length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    /// The `Docker-Content-Digest`; a value that isn't a digest counts as none.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.header("docker-content-digest")?.parse().ok()
    }

    /// Where its `Location` or another link of it leads: [`endpoint::lead`].
    pub(super) fn follow(&self, location: &str) -> Result<Url> {
        endpoint::lead(self.url(), location, self.class)
    }

    /// The body as it arrives; `what` names it in errors.
    pub(super) fn stream(self, what: String) -> ByteStream {
        let reading = Reading {
            url: self.response.url().clone(),
            inner: Box::pin(self.response.bytes_stream()),
            what,
            stall: self.stall,
            waited: Duration::ZERO,
            bytes: 0,
            clients: self.clients,
        };
        Box::pin(stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            let piece = reading.next().await?;
            let rest = piece.is_ok().then_some(reading);
            Some((piece, rest))
        }))
    }

    /// The whole body, which must not be larger than `limit` bytes.
    pub(super) async fn read(self, what: &str, limit: u64) -> Result<Bytes, Failure> {
        let place = shown(self.url());
        let too_large = || Error::new(Kind::Integrity, what, format!("larger than {limit} bytes")).at(&place);
        if self.length().is_some_and(|l| l > limit) {
            return Err(too_large().into());
        }
        let mut all = BytesMut::new();
        let mut stream = self.stream(what.to_owned());
        while let Some(bytes) = stream.next().await {
            all.extend_from_slice(&bytes.map_err(Failure::broken)?);
            if all.len() as u64 > limit {
                return Err(too_large().into());
            }
        }
        Ok(all.freeze())
    }

    /// Reads at most the first `limit` bytes of the body and keeps them; what can't be read is left out, and so are secrets
    /// that the server repeats. Only the body of an answer that nobody reads otherwise is for this.
    pub(super) async fn keep_start(&mut self, limit: usize) {
        let mut all = BytesMut::from(&*self.kept);
        while all.len() < limit
            && let Ok(Ok(Some(bytes))) = tokio::time::timeout(self.stall, self.response.chunk()).await
        {
            all.extend_from_slice(&bytes);
        }
        all.truncate(limit);
        let text = String::from_utf8_lossy(&all);
        self.kept = Bytes::from(self.known.hide(&text).into_owned());
    }

    /// What [`Answer::keep_start`] kept.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// At most the first `limit` bytes of the body; what can't be read is left out.
    pub(super) async fn start(mut self, limit: usize) -> Bytes {
        self.keep_start(limit).await;
        self.kept
    }
}

/// A body being read.
struct Reading {
    url: Url,
    inner: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    what: String,
    stall: Duration,
    /// How long it was waited for `bytes`. The time that the reader takes for itself doesn't count.
    waited: Duration,
    bytes: usize,
    clients: Arc<Clients>,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let start = Instant::now();
        let left = self.stall.saturating_sub(self.waited);
        match tokio::time::timeout(left, self.inner.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(bytes))) => {
                self.waited += start.elapsed();
                self.bytes += bytes.len();
                if self.bytes >= MIN_PROGRESS {
                    (self.waited, self.bytes) = (Duration::ZERO, 0);
                }
                Some(Ok(bytes))
            }
            Ok(Some(Err(error))) => {
                let broken = broken(&self.what, &self.url, None, false, error);
                if broken.http2 {
                    self.clients.http2_failed(&self.url);
                }
                Some(Err(broken.failure.error))
            }
            Err(_) => {
                self.clients.force_http1(&self.url);
                let why = format!("next to nothing came for {:?}", self.stall);
                Some(Err(Error::new(Kind::Unavailable, &self.what, why).at(shown(&self.url))))
            }
        }
    }
}

/// The way to servers.
pub(super) struct Transport {
    clients: Arc<Clients>,
    deadlines: Deadlines,
    /// What answers must not show.
    known: Arc<Known>,
    /// Hears of requests.
    observer: Arc<dyn Observer>,
    /// Whether nothing goes out.
    offline: bool,
    /// How many requests went out.
    asked: AtomicU64,
}

impl Transport {
    /// See [`Registry::client_for`](crate::registry::Registry::client_for).
    pub(super) fn client_for(&self, url: &Url) -> Result<reqwest::Client> {
        Ok(self.clients.choose(url, true, Class::Public, true)?.client)
    }

    /// See [`Registry::http2_client_for`](crate::registry::Registry::http2_client_for).
    pub(super) fn http2_client_for(&self, url: &Url) -> Result<reqwest::Client> {
        self.clients.http2(url)
    }

    pub(super) fn new(
        clients: Clients,
        deadlines: Deadlines,
        (known, observer): (Arc<Known>, Arc<dyn Observer>),
        offline: bool,
    ) -> Self {
        let (clients, asked) = (Arc::new(clients), AtomicU64::new(0));
        Transport { clients, deadlines, known, observer, offline, asked }
    }

    /// How many requests went out so far, redirects and those for tokens among them.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Sends a request on behalf of the registry at `base` and follows redirects; `authorization` goes to the
    /// origin of the first URL only, and not again once a redirect led away from it. Every status is an answer.
    ///
    /// # Errors
    /// [`Kind::Refused`] if a URL leads where the registry may not send us: nothing was sent there.
    pub(super) async fn exchange(
        &self,
        out: Outgoing<'_>,
        authorization: Option<HeaderValue>,
        base: &Base,
    ) -> Result<Answer, Failure> {
        if self.offline {
            let error = Error::new(Kind::Unavailable, out.what, "there is no network (--offline)");
            return Err(error.at(shown(&out.url)).into());
        }
        let mut url = out.url.clone();
        let mut authorization = authorization.as_ref();
        let mut been = Vec::new();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = out.headers.clone();
            authorization = authorization.filter(|_| endpoint::same_origin(&url, &out.url));
            if let Some(value) = authorization {
                headers.insert(AUTHORIZATION, value.clone());
            }
            let answer = self.one(&out, &url, headers, base).await?;
            let follow = match answer.status() {
                307 | 308 => true,
                301..=303 => matches!(out.method, Method::GET | Method::HEAD),
                _ => false,
            };
            let Some(location) = answer.header(LOCATION.as_str()).filter(|_| follow) else {
                return Ok(answer);
            };
            let next = answer.follow(location).map_err(|e| e.within(out.what))?;
            if matches!(out.body, Body::Private(_)) && !endpoint::same_origin(&next, &out.url) {
                let why = format!("credentials don't follow a redirect to {}", shown(&next));
                return Err(Error::new(Kind::Auth, out.what, why).at(shown(&out.url)).into());
            }
            been.push(std::mem::replace(&mut url, next));
            if been.contains(&url) {
                let why = format!("too many redirects: they lead in a circle to {}", shown(&url));
                return Err(Error::new(Kind::Unavailable, out.what, why).at(shown(&out.url)).into());
            }
        }
        let why = format!("too many redirects: more than {MAX_REDIRECTS}");
        Err(Error::new(Kind::Unavailable, out.what, why).at(shown(&out.url)).into())
    }

    /// One request to `url`, without redirects.
    async fn one(
        &self,
        out: &Outgoing<'_>,
        url: &Url,
        headers: HeaderMap,
        base: &Base,
    ) -> Result<Answer, Failure> {
        let own = url.host() == base.url.host();
        let mut misdirected = false;
        loop {
            // Known when the registry has been reached once, so before it can send us anywhere.
            let class = self.clients.class(&base.url);
            let chosen = self.clients.choose(url, own, class, base.checks(url));
            let chosen = chosen.map_err(|e| e.within(out.what))?;
            let response = self.hop(&chosen, out, (url, own), headers.clone()).await?;
            match (response.status().as_u16(), chosen.proxy) {
                // A connection that was made for another host of the same server (RFC 9110, 15.5.20).
                (421, _) if !misdirected => {
                    misdirected = true;
                    self.clients.force_http1(url);
                }
                // Plain http: with https this is an error of the connection.
                (407, Some(proxy)) => {
                    let make = |why: &str| Error::new(Kind::Unavailable, out.what, why).at(shown(url));
                    return Err(unauthorized(proxy, &make).into());
                }
                _ => {
                    let class = self.clients.class(&base.url);
                    let (stall, clients) = (self.deadlines.stall, Arc::clone(&self.clients));
                    let known = Arc::clone(&self.known);
                    return Ok(Answer { response, kept: Bytes::new(), class, stall, clients, known });
                }
            }
        }
    }

    /// One request and the head of its answer; `own` if it goes to the registry's host.
    async fn hop(
        &self,
        chosen: &Chosen<'_>,
        out: &Outgoing<'_>,
        (url, own): (&Url, bool),
        headers: HeaderMap,
    ) -> Result<reqwest::Response, Failure> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        // Where a registry sends us, the path itself may be what lets one in.
        let told = if own { shown(url) } else { format!("{}/…", url.origin().ascii_serialization()) };
        let request = |status| {
            let (method, url) = (out.method.to_string(), told.clone());
            Step::Request { method, url, status }
        };
        let timing = Timing::of(&self.observer, request(None));
        let response = self.send(chosen, out, url, headers).await?;
        timing.end_as(request(Some(response.status().as_u16())));
        Ok(response)
    }

    async fn send(
        &self,
        chosen: &Chosen<'_>,
        out: &Outgoing<'_>,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<reqwest::Response, Failure> {
        let request = chosen.client.request(out.method.clone(), url.clone()).headers(headers);
        let moved = Arc::new(AtomicU64::new(0));
        let failed: Arc<Mutex<Option<Error>>> = Arc::default();
        let (request, size) = match out.body {
            Body::Empty if matches!(out.method, Method::GET | Method::HEAD) => (request, 0),
            Body::Empty => (request.header(CONTENT_LENGTH, 0), 0),
            Body::Private(bytes) => (request.body(bytes.clone()), 0),
            Body::Bytes(bytes) if bytes.len() <= PIECE => (request.body(bytes.clone()), 0),
            Body::Bytes(bytes) => {
                let size = bytes.len() as u64;
                let pieces = pieces(bytes.clone(), Arc::clone(&moved));
                (request.header(CONTENT_LENGTH, size).body(reqwest::Body::wrap_stream(pieces)), size)
            }
            Body::Upload(upload) => {
                let stream = upload.stream().await?;
                let stream = counted(stream, upload.clone(), Arc::clone(&moved), Arc::clone(&failed));
                let request = request.header(CONTENT_LENGTH, upload.size);
                (request.body(reqwest::Body::wrap_stream(stream)), upload.size)
            }
        };
        let commits = match out.body {
            Body::Upload(_) => true,
            Body::Empty => out.method == Method::PUT,
            Body::Bytes(_) => out.method == Method::PATCH,
            Body::Private(_) => false,
        };
        let mut answer = std::pin::pin!(request.send());
        let mut seen = 0;
        loop {
            let patience = match (seen >= size, commits) {
                (false, _) => self.deadlines.stall,
                (true, true) => self.deadlines.commit,
                (true, false) => self.deadlines.head,
            };
            match tokio::time::timeout(patience, &mut answer).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => {
                    // Which of the client's servers wanted its certificate shows when it has one server only.
                    let wanted = chosen.wanted.was();
                    if wanted && !chosen.alone {
                        self.clients.set_alone(url);
                    }
                    let broken = broken(out.what, url, chosen.proxy, wanted && chosen.alone, error);
                    if broken.http2 {
                        self.clients.http2_failed(url);
                    }
                    // The content's own failure says more than that of the connection it broke, and a source
                    // has done its own retries.
                    let own = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
                    return Err(own.map_or(broken.failure, Failure::from));
                }
                Err(_) => {
                    let now = moved.load(Ordering::Relaxed);
                    if now == seen {
                        // In HTTP/2 a stream that stands can hold up all others of its connection.
                        self.clients.force_http1(url);
                        let why = format!("no answer for {patience:?}");
                        return Err(Failure::broken(
                            Error::new(Kind::Unavailable, out.what, why).at(shown(url)),
                        ));
                    }
                    seen = now;
                }
            }
        }
    }
}

/// The pieces of `inner`, cut up: one counts as moved when the connection asks for it, however large it is.
fn small(
    inner: impl Stream<Item = Result<Bytes>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    inner.flat_map(|piece| {
        let mut rest = piece.map_err(Some);
        stream::iter(std::iter::from_fn(move || match &mut rest {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => Some(Ok(bytes.split_to(PIECE.min(bytes.len())))),
            Err(error) => error.take().map(Err),
        }))
    })
}

/// `bytes` as a stream whose progress is counted in `moved`.
fn pieces(
    bytes: Bytes,
    moved: Arc<AtomicU64>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    stream::unfold(bytes, move |mut rest| {
        let piece = rest.split_to(PIECE.min(rest.len()));
        moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
        std::future::ready((!piece.is_empty()).then_some((Ok(piece), rest)))
    })
}

/// `stream`, whose bytes are counted and reported, and whose failure is kept in `broken`.
fn counted(
    stream: ByteStream,
    upload: Upload,
    moved: Arc<AtomicU64>,
    failed: Arc<Mutex<Option<Error>>>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    small(held_back(stream)).map(move |piece| match piece {
        Ok(bytes) => {
            let sent = moved.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
            upload.report(sent.min(upload.size));
            Ok(bytes)
        }
        Err(error) => {
            *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Err(std::io::Error::other("the content can't be read"))
        }
    })
}

/// `inner`, each piece only when the next one is there: a stream that turns out wrong at its end must not
/// have been sent completely before.
fn held_back(inner: ByteStream) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
    stream::unfold(Some((inner, None)), |state| async {
        let (mut inner, mut held) = state?;
        loop {
            match inner.next().await {
                Some(Ok(bytes)) => {
                    if let Some(before) = held.replace(bytes) {
                        return Some((Ok(before), Some((inner, held))));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => return held.map(|last| (Ok(last), None)),
            }
        }
    })
}
