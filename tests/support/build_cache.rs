//! A server that speaks Bazel's remote cache protocol over HTTP, keeps everything in memory, notes every request, and does
//! what a test says instead.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// `GET` or `PUT`.
    pub(crate) method: String,
    /// `/ac/…` or `/cas/…`.
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instead {
    /// What the protocol wants.
    Serve,
    /// This status, and nothing else.
    Status(u16),
    /// What is kept, with its last byte changed.
    Damage,
    /// The connection is closed.
    Close,
}

type Plan = Box<dyn Fn(&Wanted) -> Instead + Send + Sync>;

struct Inner {
    plan: Mutex<Plan>,
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
    seen: Mutex<Vec<Wanted>>,
}

/// A running server; it ends with the test's process.
pub(crate) struct BuildCache {
    host: String,
    inner: Arc<Inner>,
}

impl BuildCache {
    /// An empty one.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let inner = Arc::new(Inner {
            plan: Mutex::new(Box::new(|_| Instead::Serve)),
            kept: Mutex::default(),
            seen: Mutex::default(),
        });
        let serving = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = Arc::clone(&serving);
                std::thread::spawn(move || while serve(&stream, &inner).is_some() {});
            }
        });
        BuildCache { host, inner }
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.host)
    }

    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// From now on requests are answered so.
    pub(crate) fn plan(&self, plan: impl Fn(&Wanted) -> Instead + Send + Sync + 'static) {
        *self.inner.plan.lock().unwrap() = Box::new(plan);
    }

    /// The requests since the last time.
    pub(crate) fn seen(&self) -> Vec<Wanted> {
        std::mem::take(&mut *self.inner.seen.lock().unwrap())
    }

    /// What is kept, to be changed at will.
    pub(crate) fn kept<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        change(&mut self.inner.kept.lock().unwrap())
    }
}

/// Serves one request. None when the connection is over.
fn serve(stream: &TcpStream, inner: &Inner) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let wanted = Wanted { method, path, authorization };
    inner.seen.lock().unwrap().push(wanted.clone());
    let instead = (inner.plan.lock().unwrap())(&wanted);
    let kept = inner.kept.lock().unwrap().get(&wanted.path).cloned();
    let (status, answer) = match (instead, wanted.method.as_str(), kept) {
        (Instead::Close, ..) => return None,
        (Instead::Status(status), ..) => (status, Vec::new()),
        (_, "PUT", _) => {
            inner.kept.lock().unwrap().insert(wanted.path, body);
            (201, Vec::new())
        }
        (_, _, None) => (404, b"there is nothing\n".to_vec()),
        (Instead::Damage, _, Some(mut bytes)) => {
            *bytes.last_mut()? ^= 1;
            (200, bytes)
        }
        (Instead::Serve, _, Some(bytes)) => (200, bytes),
    };
    let head = format!("HTTP/1.1 {status} status\r\nContent-Length: {}\r\n\r\n", answer.len());
    let mut stream = stream;
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&answer)).ok()
}
