//! One exchange with a server: clients, redirects, bodies that can be opened again, and stalls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Method, Url};

use crate::content::{BoxFuture, ByteStream};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer};
use crate::oci::Digest;
use crate::registry::endpoint::{self, Base};
use crate::registry::failure::{Failure, shown, transport};

const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may be silent: before the head of an answer, or between two pieces of a body.
const STALL: Duration = Duration::from_secs(60);
/// How long a server may take to store a blob that it has got completely.
const COMMIT: Duration = Duration::from_secs(15 * 60);
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
}

impl Upload {
    /// A body of `size` bytes that `open` opens; its progress goes to `observer`.
    pub(super) fn new(digest: Digest, size: u64, open: Opener, observer: Arc<dyn Observer>) -> Self {
        Upload { digest, size, open, observer, reported: Arc::default() }
    }

    /// How many bytes there are.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The content from its start.
    pub(super) async fn stream(&self) -> Result<ByteStream> {
        (self.open)().await
    }

    /// Reports that the first `sent` bytes are on their way.
    pub(super) fn report(&self, sent: u64) {
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
#[derive(Debug)]
pub(super) struct Answer(reqwest::Response);

impl Answer {
    /// The HTTP status.
    pub(super) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// Whether the status is 2xx.
    pub(super) fn is_success(&self) -> bool {
        self.0.status().is_success()
    }

    /// The URL that answered, after all redirects.
    pub(super) fn url(&self) -> &Url {
        self.0.url()
    }

    /// A header that is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.0.headers().get(name).and_then(|v| v.to_str().ok())
    }

    /// All values of a header that are text.
    pub(super) fn headers(&self, name: &str) -> Vec<String> {
        let values = self.0.headers().get_all(name).iter();
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

    /// The body as it arrives; `what` names it in errors.
    pub(super) fn stream(self, what: String) -> ByteStream {
        let place = shown(self.0.url());
        let url = self.0.url().clone();
        let inner = Box::pin(self.0.bytes_stream());
        Box::pin(stream::unfold(Some(inner), move |inner| {
            let (what, place, url) = (what.clone(), place.clone(), url.clone());
            async move {
                let mut inner = inner?;
                match tokio::time::timeout(STALL, inner.next()).await {
                    Ok(None) => None,
                    Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(inner))),
                    Ok(Some(Err(error))) => Some((Err(transport(&what, &url, error).error), None)),
                    Err(_) => {
                        let why = format!("nothing came for {} s", STALL.as_secs());
                        Some((Err(Error::new(Kind::Unavailable, what, why).at(place)), None))
                    }
                }
            }
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

    /// At most the first `limit` bytes of the body; what can't be read is left out.
    pub(super) async fn start(self, limit: usize) -> Bytes {
        let mut all = BytesMut::new();
        let mut stream = self.stream(String::new());
        while let Some(Ok(bytes)) = stream.next().await {
            all.extend_from_slice(&bytes);
            if all.len() >= limit {
                all.truncate(limit);
                break;
            }
        }
        all.freeze()
    }
}

/// The HTTP clients, made when first needed.
pub(super) struct Transport {
    user_agent: String,
    ca: Option<Vec<u8>>,
    /// By what [`Transport::client`] distinguishes.
    clients: [OnceLock<Client>; 8],
}

impl Transport {
    /// Clients that call themselves `user_agent` and trust the system's roots and those in `ca` (PEM).
    pub(super) fn new(user_agent: String, ca: Option<Vec<u8>>) -> Self {
        // Another part of the process may have chosen a provider already; that one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Transport { user_agent, ca, clients: Default::default() }
    }

    /// The client for `url`: no proxy for this machine, no certificate check where none was wanted, and no
    /// certificates at all for http, because reading them takes longer than a small push.
    fn client(&self, url: &Url, check: bool) -> Result<Client> {
        let (loopback, plain) = (endpoint::is_loopback(url), url.scheme() == "http");
        let index = usize::from(loopback) | usize::from(plain) << 1 | usize::from(check) << 2;
        let cell = &self.clients[index];
        if let Some(client) = cell.get() {
            return Ok(client.clone());
        }
        let mut extra = Vec::new();
        if let Some(pem) = self.ca.as_ref().filter(|_| check && !plain) {
            extra = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|e| Error::new(Kind::Input, "read the CA certificates of SSL_CERT_FILE", e))?;
        }
        let builder = || {
            let builder = Client::builder()
                .user_agent(&self.user_agent)
                .connect_timeout(CONNECT)
                .redirect(reqwest::redirect::Policy::none())
                .referer(false);
            let builder = if loopback { builder.no_proxy() } else { builder };
            if check { builder } else { builder.tls_danger_accept_invalid_certs(true) }
        };
        if plain || !check {
            let client = builder().tls_certs_only([]).build();
            let client = client.map_err(|e| Error::new(Kind::Internal, "make an HTTP client", e))?;
            return Ok(cell.get_or_init(|| client).clone());
        }
        let client = builder().tls_certs_merge(extra.clone()).build().or_else(|_| {
            // A system without any roots (a bare container) gets Mozilla's.
            let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
            let roots = roots.filter_map(|der| reqwest::Certificate::from_der(der).ok()).chain(extra);
            builder().tls_certs_only(roots).build()
        });
        let client = client.map_err(|e| Error::new(Kind::Internal, "make an HTTP client", e))?;
        Ok(cell.get_or_init(|| client).clone())
    }

    /// Sends a request on behalf of the registry at `base` and follows redirects; `authorization` goes to the
    /// origin of the first URL only. Every status is an answer.
    pub(super) async fn exchange(
        &self,
        out: Outgoing<'_>,
        authorization: Option<HeaderValue>,
        base: &Base,
    ) -> Result<Answer, Failure> {
        let mut url = out.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = out.headers.clone();
            if endpoint::same_origin(&url, &out.url)
                && let Some(value) = &authorization
            {
                headers.insert(AUTHORIZATION, value.clone());
            }
            let client = self.client(&url, base.checks(&url))?;
            let answer = hop(&client, &out, url.clone(), headers).await?;
            let follow = match answer.status() {
                307 | 308 => true,
                301..=303 => matches!(out.method, Method::GET | Method::HEAD),
                _ => false,
            };
            let Some(location) = answer.header(LOCATION.as_str()).filter(|_| follow) else {
                return Ok(answer);
            };
            url = endpoint::follow(answer.url(), location).map_err(|e| e.within(out.what))?;
        }
        let why = format!("more than {MAX_REDIRECTS} redirects");
        Err(Error::new(Kind::Refused, out.what, why).at(shown(&out.url)).into())
    }
}

/// One request and the head of its answer.
async fn hop(client: &Client, out: &Outgoing<'_>, url: Url, headers: HeaderMap) -> Result<Answer, Failure> {
    let request = client.request(out.method.clone(), url.clone()).headers(headers);
    let moved = Arc::new(AtomicU64::new(0));
    let broken: Arc<Mutex<Option<Error>>> = Arc::default();
    let (request, size) = match out.body {
        Body::Empty if matches!(out.method, Method::GET | Method::HEAD) => (request, 0),
        Body::Empty => (request.header(CONTENT_LENGTH, 0), 0),
        Body::Bytes(bytes) => (request.body(bytes.clone()), 0),
        Body::Upload(upload) => {
            let stream = upload.stream().await?;
            let stream = counted(stream, upload.clone(), Arc::clone(&moved), Arc::clone(&broken));
            let request = request.header(CONTENT_LENGTH, upload.size);
            (request.body(reqwest::Body::wrap_stream(stream)), upload.size)
        }
    };
    let commits = match out.body {
        Body::Upload(_) => true,
        Body::Empty => out.method == Method::PUT,
        Body::Bytes(_) => out.method == Method::PATCH,
    };
    let mut answer = std::pin::pin!(request.send());
    let mut seen = 0;
    loop {
        let patience = if commits && seen >= size { COMMIT } else { STALL };
        match tokio::time::timeout(patience, &mut answer).await {
            Ok(Ok(response)) => return Ok(Answer(response)),
            Ok(Err(error)) => {
                // The content's own failure says more than that of the connection it broke, and a source has
                // done its own retries.
                let own = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
                return Err(match own {
                    Some(error) => Failure::from(error),
                    None => transport(out.what, &url, error),
                });
            }
            Err(_) => {
                let now = moved.load(Ordering::Relaxed);
                if now == seen {
                    let why = format!("no answer for {} s", patience.as_secs());
                    return Err(Failure::broken(
                        Error::new(Kind::Unavailable, out.what, why).at(shown(&url)),
                    ));
                }
                seen = now;
            }
        }
    }
}

/// `stream`, whose bytes are counted and reported, and whose failure is kept in `broken`.
fn counted(
    stream: ByteStream,
    upload: Upload,
    moved: Arc<AtomicU64>,
    broken: Arc<Mutex<Option<Error>>>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    held_back(stream).map(move |piece| match piece {
        Ok(bytes) => {
            let sent = moved.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
            upload.report(sent.min(upload.size));
            Ok(bytes)
        }
        Err(error) => {
            *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
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
