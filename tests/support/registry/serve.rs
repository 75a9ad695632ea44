//! Connections and requests: reading, the planned fault, answering, and writing down.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::message::{Reply, Request};
use super::plan::{Asked, Fault, Logged};
use super::wire::{Control, Wire};
use super::{Handle, locked};

type ReplyBody = UnsyncBoxBody<Bytes, io::Error>;

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener, handle: Handle) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let number = handle.0.connections.fetch_add(1, Ordering::SeqCst);
        let mut resets = locked(&handle.0.resets);
        if *resets > 0 {
            *resets -= 1;
            let _ = stream.set_zero_linger();
            continue;
        }
        drop(resets);
        tokio::spawn(connection(stream, number, handle.clone()));
    }
}

async fn connection(stream: TcpStream, number: usize, handle: Handle) {
    let _ = stream.set_nodelay(true);
    let (wire, control) = Wire::new(stream);
    let service = service_fn(|request| {
        let call = Call { handle: handle.clone(), control: Arc::clone(&control), connection: number };
        call.answer(request)
    });
    // Faults end connections with an error; so do clients that go away.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(wire), service).await;
}

/// Counts a request as being worked on.
struct Working<'a>(&'a AtomicUsize);

impl<'a> Working<'a> {
    fn new(now: &'a AtomicUsize, peak: &AtomicUsize) -> Self {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Working(now)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A request of a connection.
struct Call {
    handle: Handle,
    control: Arc<Control>,
    connection: usize,
}

impl Call {
    async fn answer(self, request: hyper::Request<Incoming>) -> io::Result<hyper::Response<ReplyBody>> {
        let shared = Arc::clone(&self.handle.0);
        let _working = Working::new(&shared.working, &shared.peak);
        let at = Instant::now();
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let number = shared.count.fetch_add(1, Ordering::SeqCst);
        let method = head.method.as_str().to_owned();
        let asked = Asked { number, method: &method, target: &target, headers: &head.headers };
        let fault = self.planned(&asked);
        let scheme = head.headers.get("authorization").and_then(|v| v.to_str().ok());
        let mut entry = Logged {
            number,
            method: method.clone(),
            target: target.clone(),
            status: 0,
            authorization: scheme.and_then(|v| v.split(' ').next()).map(str::to_owned),
            headers: head.headers.clone(),
            body: 0,
            connection: self.connection,
            at,
        };
        let length = head.headers.get("content-length").and_then(|v| v.to_str().ok()?.parse().ok());
        let limit = match &fault {
            Some(Fault::ResetAfter(percent)) => length.unwrap_or(0_usize) * percent / 100,
            Some(Fault::Reset | Fault::ResetConnects(_) | Fault::Unread(_) | Fault::Early(..)) => 0,
            _ => usize::MAX,
        };
        let (bytes, whole) = read(body, limit).await;
        entry.body = bytes.len();
        shared.received.fetch_add(bytes.len(), Ordering::SeqCst);
        let cut = match &fault {
            Some(Fault::ResetConnects(more)) => {
                *locked(&shared.resets) += more;
                true
            }
            Some(Fault::Unread(time)) => {
                tokio::time::sleep(*time).await;
                true
            }
            Some(Fault::Hang(time)) => {
                tokio::time::sleep(*time).await;
                self.write_down(entry);
                return Err(io::Error::other("fault"));
            }
            Some(Fault::Reset | Fault::ResetAfter(_) | Fault::Dropped) => true,
            _ => !whole,
        };
        if cut {
            if method == "PATCH" || method == "PUT" {
                locked(&shared.state).broken(head.uri.path(), &bytes);
            }
            return self.cut(entry);
        }
        if matches!(fault, Some(Fault::Expired)) {
            locked(&shared.state).revoke();
        }
        let request = Request {
            method: method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body: bytes,
        };
        let mut reply = match &fault {
            Some(Fault::Status(status, headers, body) | Fault::Early(status, headers, body)) => {
                Reply { status: *status, headers: headers.clone(), body: body.clone().into() }
            }
            _ => locked(&shared.state).handle(&request),
        };
        if let Some(Fault::Instead(status, headers, body)) = &fault {
            reply = Reply { status: *status, headers: headers.clone(), body: body.clone().into() };
        }
        match &fault {
            Some(Fault::Lost) => return self.cut(entry),
            Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
            Some(Fault::SlowHead(pause)) => self.control.slow_head(*pause),
            Some(fault) => change(&mut reply, fault, &shared.host),
            None => {}
        }
        entry.status = reply.status;
        self.write_down(entry);
        Ok(response(reply, fault, method == "HEAD"))
    }

    /// The fault that is planned for this request.
    fn planned(&self, asked: &Asked<'_>) -> Option<Fault> {
        let mut found = None;
        for hook in &mut *locked(&self.handle.0.hooks) {
            found = hook(asked, &self.handle).or(found);
        }
        let mut faults = locked(&self.handle.0.faults);
        found.or_else(|| faults.iter_mut().find_map(|(when, fault)| when.hits(asked).then(|| fault.clone())))
    }

    fn write_down(&self, entry: Logged) {
        locked(&self.handle.0.log).push(entry);
    }

    /// The end of a connection, without an answer.
    fn cut(&self, entry: Logged) -> io::Result<hyper::Response<ReplyBody>> {
        self.write_down(entry);
        self.control.reset();
        Err(io::Error::other("fault"))
    }
}

/// The body of a request until it has `limit` bytes or more, and whether nothing is missing.
async fn read(mut body: Incoming, limit: usize) -> (Bytes, bool) {
    let mut all = BytesMut::new();
    while all.len() < limit {
        match body.frame().await {
            Some(Ok(frame)) => all.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(_)) => return (all.freeze(), false),
            None => break,
        }
    }
    (all.freeze(), true)
}

/// What a fault does to an answer.
fn change(reply: &mut Reply, fault: &Fault, host: &str) {
    match fault {
        Fault::As(status) => reply.status = *status,
        Fault::Header(name, value) => reply.set(name, value.clone()),
        Fault::Location(form) => {
            if let Some(path) = reply.header("location").map(str::to_owned) {
                reply.set("location", form.write(host, &path));
            }
        }
        Fault::Flip(at) if !reply.body.is_empty() => {
            let mut body = reply.body.to_vec();
            let last = body.len() - 1;
            body[(*at).min(last)] ^= 1;
            reply.body = body.into();
        }
        Fault::Gzip => {
            use std::io::Write as _;
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let _ = encoder.write_all(&reply.body);
            reply.body = encoder.finish().unwrap_or_default().into();
            reply.set("content-encoding", Some("gzip".to_owned()));
        }
        _ => {}
    }
}

fn response(reply: Reply, fault: Option<Fault>, head: bool) -> hyper::Response<ReplyBody> {
    let mut response = hyper::Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        // Not only ASCII: servers send what they like.
        response = response.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let announced = reply.header("content-length").is_some() || matches!(fault, Some(Fault::EndEarly(_)));
    if !announced && reply.status != 204 {
        response = response.header("content-length", reply.body.len());
    }
    let never = |e: Infallible| match e {};
    let body = match fault {
        _ if head => Full::new(Bytes::new()).map_err(never).boxed_unsync(),
        Some(Fault::Truncate(size) | Fault::EndEarly(size)) => {
            let start = reply.body.slice(..size.min(reply.body.len()));
            let first = stream::iter([Ok(Frame::data(start))]);
            // The start must be on its way before the connection breaks.
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Err(io::Error::other("fault"))
            });
            StreamBody::new(first.chain(broken).boxed()).boxed_unsync()
        }
        Some(Fault::SlowBody(pause)) => {
            let bytes = stream::iter(reply.body).then(move |byte| async move {
                tokio::time::sleep(pause).await;
                Ok(Frame::data(Bytes::copy_from_slice(&[byte])))
            });
            StreamBody::new(bytes.boxed()).boxed_unsync()
        }
        _ => Full::new(reply.body).map_err(never).boxed_unsync(),
    };
    response.body(body).unwrap()
}
