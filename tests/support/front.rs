//! A server with TLS, by HTTP/2 or HTTP/1.1, that hands requests on to another, or does what a test says instead.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// How the server speaks.
#[derive(Clone)]
pub(crate) struct Speaks {
    /// Its certificate, in tests/support/tls; none for plain http.
    pub(crate) certificate: Option<&'static str>,
    /// Whether a client must show a certificate.
    pub(crate) wants_client: bool,
    /// The protocols that it offers.
    pub(crate) alpn: &'static [&'static str],
    /// Only TLS 1.2.
    pub(crate) tls12: bool,
}

impl Default for Speaks {
    fn default() -> Self {
        Speaks {
            certificate: Some("server.pem"),
            wants_client: false,
            alpn: &["h2", "http/1.1"],
            tls12: false,
        }
    }
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) http2: bool,
    /// Which connection, counted from 0.
    pub(crate) connection: usize,
    /// Which request, counted from 0.
    pub(crate) number: usize,
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// It goes on to the other server.
    Pass,
    /// This answer, when the body has been read.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// HTTP/2: the stream is reset. HTTP/1.1: the connection is closed.
    Reset(h2::Reason),
    /// HTTP/2: the request is served, and then no further one on this connection.
    GoAway,
    /// HTTP/2: the connection ends with this reason. HTTP/1.1: it is closed.
    Abort(h2::Reason),
    /// No answer, and the body isn't read.
    Hang,
}

type Plan = Arc<dyn Fn(&Asked) -> Then + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A running server; it is stopped when dropped.
pub(crate) struct Front {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

struct Cx {
    plan: Plan,
    asked: Mutex<Vec<Asked>>,
    backend: String,
}

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls").join(name)
}

impl Front {
    /// A server before `backend` (`127.0.0.1:port`).
    pub(crate) fn start(
        speaks: Speaks,
        backend: &str,
        plan: impl Fn(&Asked) -> Then + Send + Sync + 'static,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let socket = TcpSocket::new_v4().unwrap();
        // A body that isn't read must not vanish in buffers.
        socket.set_recv_buffer_size(512 * 1024).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (ready, listens) = std::sync::mpsc::channel();
        let acceptor = speaks.certificate.map(|certificate| acceptor(&speaks, certificate));
        let cx = Arc::new(Cx { plan: Arc::new(plan), asked: Mutex::default(), backend: backend.to_owned() });
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = Arc::clone(&cx);
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = socket.listen(128).unwrap();
                ready.send(()).unwrap();
                let accept = async {
                    let mut connection = 0;
                    loop {
                        let Ok((stream, _)) = listener.accept().await else { continue };
                        let (cx, acceptor, seen) =
                            (Arc::clone(&serving), acceptor.clone(), Arc::clone(&seen));
                        tokio::spawn(serve(stream, acceptor, cx, seen, connection));
                        connection += 1;
                    }
                };
                tokio::select! {
                    () = accept => {}
                    _ = stopped => {}
                }
            });
        });
        listens.recv().unwrap();
        Front { port, asked, stop: Some(stop) }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

fn acceptor(speaks: &Speaks, certificate: &str) -> TlsAcceptor {
    let certificates =
        CertificateDer::pem_file_iter(file(certificate)).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let versions: &[_] = if speaks.tls12 { &[&rustls::version::TLS12] } else { rustls::ALL_VERSIONS };
    let config = rustls::ServerConfig::builder_with_protocol_versions(versions);
    let config = if speaks.wants_client {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    let mut config = config.with_single_cert(certificates, key).unwrap();
    config.alpn_protocols = speaks.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    cx: Arc<Cx>,
    seen: Arc<Mutex<Vec<Asked>>>,
    connection: usize,
) {
    let _ = stream.set_nodelay(true);
    let note = move |cx: &Cx, method: &str, target: String, headers: &hyper::HeaderMap, http2: bool| {
        let asked = {
            let mut all = cx.asked.lock().unwrap();
            let (method, headers, number) = (method.to_owned(), headers.clone(), all.len());
            all.push(Asked { method, target, headers, http2, connection, number });
            all[number].clone()
        };
        seen.lock().unwrap().push(asked.clone());
        (cx.plan)(&asked)
    };
    let Some(acceptor) = acceptor else {
        return http1(TokioIo::new(stream), cx, note).await;
    };
    // A client that doesn't like the certificate goes away.
    let Ok(tls) = acceptor.accept(stream).await else { return };
    if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(tls, cx, note).await;
    } else {
        http1(TokioIo::new(tls), cx, note).await;
    }
}

async fn http1<IO, N>(io: IO, cx: Arc<Cx>, note: N)
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin,
    N: Fn(&Cx, &str, String, &hyper::HeaderMap, bool) -> Then,
{
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let then = note(&cx, request.method().as_str(), target(request.uri()), request.headers(), false);
        let cx = Arc::clone(&cx);
        async move {
            match then {
                Then::Pass | Then::GoAway => {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                    let answer = pass(&cx, head, body).await.ok_or(std::io::ErrorKind::BrokenPipe)?;
                    Ok(answer.map(|body| Full::new(body).boxed_unsync()))
                }
                Then::Answer(status, headers, text) => {
                    let _ = request.into_body().collect().await;
                    Ok(answer(status, &headers, text).map(|body| Full::new(body).boxed_unsync()))
                }
                Then::Reset(_) | Then::Abort(_) => Err(std::io::Error::other("reset")),
                Then::Hang => std::future::pending::<Result<hyper::Response<Body>, _>>().await,
            }
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
}

async fn http2<IO, N>(io: IO, cx: Arc<Cx>, note: N)
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    N: Fn(&Cx, &str, String, &hyper::HeaderMap, bool) -> Then,
{
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    let (ended, mut end) = mpsc::unbounded_channel();
    loop {
        let next = tokio::select! {
            next = connection.accept() => next,
            Some(reason) = end.recv() => {
                connection.abrupt_shutdown(reason);
                // What is to be sent still goes out.
                let _ = connection.accept().await;
                return;
            }
        };
        let Some(Ok((request, mut respond))) = next else { return };
        let then = note(&cx, request.method().as_str(), target(request.uri()), request.headers(), true);
        if matches!(then, Then::GoAway) {
            connection.graceful_shutdown();
        }
        let (cx, ended) = (Arc::clone(&cx), ended.clone());
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            match then {
                Then::Reset(reason) => return respond.send_reset(reason),
                Then::Abort(reason) => {
                    let _ = ended.send(reason);
                    return;
                }
                Then::Hang => std::future::pending().await,
                Then::Pass | Then::GoAway | Then::Answer(..) => {}
            }
            let mut all = Vec::new();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
                all.extend_from_slice(&piece);
            }
            let answer = match then {
                Then::Answer(status, headers, text) => Some(answer(status, &headers, text)),
                _ => pass(&cx, head, all.into()).await,
            };
            let Some(answer) = answer else { return respond.send_reset(h2::Reason::INTERNAL_ERROR) };
            let (mut head, body) = answer.into_parts();
            head.version = hyper::Version::HTTP_2;
            head.headers.remove("connection");
            let Ok(mut stream) =
                respond.send_response(hyper::Response::from_parts(head, ()), body.is_empty())
            else {
                return;
            };
            if !body.is_empty() {
                let _ = stream.send_data(body, true);
            }
        });
    }
}

fn target(uri: &hyper::Uri) -> String {
    uri.path_and_query().map(ToString::to_string).unwrap_or_default()
}

fn answer(status: u16, headers: &[(&'static str, String)], text: String) -> hyper::Response<Bytes> {
    let mut response = hyper::Response::builder().status(status).header("content-length", text.len());
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(text.into()).unwrap()
}

/// The other server's answer to a request.
async fn pass(cx: &Cx, head: hyper::http::request::Parts, body: Bytes) -> Option<hyper::Response<Bytes>> {
    let stream = TcpStream::connect(&cx.backend).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let mut request = hyper::Request::builder().method(head.method).uri(target(&head.uri));
    for (name, value) in &head.headers {
        if name != "host" && name != "content-length" {
            request = request.header(name, value);
        }
    }
    let request = request.header("host", &cx.backend).body(Full::new(body)).ok()?;
    let (mut head, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    head.headers.remove("transfer-encoding");
    Some(hyper::Response::from_parts(head, body))
}
