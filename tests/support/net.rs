//! Names that resolve as a test wants, and servers that are not registries: ones that only count bytes, and proxies.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gimg::content::BoxFuture;
use gimg::registry::{Names, Unresolved};

/// An address that everyone would call public; connections to it come to 127.0.0.1.
pub(crate) const PUBLIC: &str = "203.0.113.7";
/// One of a private network, likewise.
pub(crate) const PRIVATE: &str = "10.9.8.7";

/// A resolver with these names only. What is asked is written down.
#[derive(Default)]
pub(crate) struct Fixed {
    names: BTreeMap<String, Vec<IpAddr>>,
    /// What comes first, once each, from the end.
    before: Mutex<Vec<Unresolved>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Fixed {
    /// These names have these addresses, separated by blanks.
    pub(crate) fn new(names: &[(&str, &str)]) -> Arc<Self> {
        Arc::new(Self::of(names))
    }

    /// The same, but the first look-ups fail like this.
    pub(crate) fn failing(names: &[(&str, &str)], before: Vec<Unresolved>) -> Arc<Self> {
        Arc::new(Fixed { before: Mutex::new(before), ..Self::of(names) })
    }

    fn of(names: &[(&str, &str)]) -> Self {
        let addresses = |all: &str| all.split(' ').map(|ip| ip.parse().unwrap()).collect();
        let names = names.iter().map(|(name, all)| ((*name).to_owned(), addresses(all))).collect();
        Fixed { names, ..Fixed::default() }
    }

    /// How often `host` was asked for.
    pub(crate) fn asked(&self, host: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == host).count()
    }
}

impl Names for Fixed {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, Unresolved>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let failed = self.before.lock().unwrap().pop();
        let found = match failed {
            Some(failed) => Err(failed),
            None => self.names.get(host).cloned().ok_or_else(|| Unresolved::Unknown(host.to_owned())),
        };
        Box::pin(std::future::ready(found))
    }

    fn dial(&self, address: IpAddr) -> IpAddr {
        let here = [PUBLIC, PRIVATE].iter().any(|ip| ip.parse::<IpAddr>().unwrap() == address);
        if here { IpAddr::from([127, 0, 0, 1]) } else { address }
    }
}

/// A server that reads and never answers.
pub(crate) struct Sink {
    port: u16,
    connections: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let (connections, bytes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, read) = (Arc::clone(&connections), Arc::clone(&bytes));
        let port = serve(move |mut stream| {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                read.fetch_add(n, Ordering::SeqCst);
            }
        });
        Sink { port, connections, bytes }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there were, and how many bytes came.
    pub(crate) fn seen(&self) -> (usize, usize) {
        (self.connections.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst))
    }
}

/// Serves every connection on a thread of its own; gives the port. It runs until the test process ends.
pub(crate) fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            std::thread::spawn(move || handle(stream));
        }
    });
    port
}

/// What a proxy does with its nth request, counted from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Through {
    /// Connects to 127.0.0.1 at the port that was asked for.
    Pass,
    /// Answers with this status line and hangs up.
    Refuse(&'static str),
    /// Connects, and ends both ways after so many bytes from the client.
    Die(usize),
}

/// An HTTP proxy that knows one address.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// The heads of all requests.
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(crate) fn start(plan: impl Fn(usize) -> Through + Send + Sync + 'static) -> Self {
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        let port = serve(move |mut client| {
            let head = head(&mut client);
            let number = {
                let mut all = kept.lock().unwrap();
                all.push(head.clone());
                all.len() - 1
            };
            let limit = match plan(number) {
                Through::Refuse(status) => {
                    let _ = client
                        .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes());
                    return;
                }
                Through::Pass => usize::MAX,
                Through::Die(bytes) => bytes,
            };
            let line = head.lines().next().unwrap_or_default().to_owned();
            let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let authority = target.trim_start_matches("http://").split('/').next().unwrap_or_default();
            let Some(port) = authority.rsplit(':').next().and_then(|p| p.parse::<u16>().ok()) else { return };
            let mut server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            if line.starts_with("CONNECT ") {
                let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            } else {
                let origin = head.replacen(&format!("http://{authority}"), "", 1);
                // One request a connection: the next may be for another server.
                let origin = origin.replacen("\r\n", "\r\nconnection: close\r\n", 1);
                let _ = server.write_all(origin.as_bytes());
            }
            let (back, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let answers = std::thread::spawn(move || copy(back, to, usize::MAX));
            copy(client.try_clone().unwrap(), server.try_clone().unwrap(), limit);
            if limit != usize::MAX {
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            }
            let _ = answers.join();
        });
        Proxy { port, heads }
    }

    /// What it was asked for, in order: method and target.
    pub(crate) fn asked(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let line =
            |head: &String| head.lines().next().unwrap_or_default().rsplit_once(' ').unwrap().0.to_owned();
        heads.iter().map(line).collect()
    }
}

/// The head of a request, up to the empty line.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn copy(mut from: TcpStream, mut to: TcpStream, limit: usize) {
    let mut buffer = [0; 16 * 1024];
    let mut left = limit;
    while left > 0 {
        let Ok(n @ 1..) = from.read(&mut buffer) else { break };
        let n = n.min(left);
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
        left -= n;
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Deadlines for tests: short enough to wait for, long enough for a busy machine.
pub(crate) fn short() -> gimg::registry::Deadlines {
    let ms = Duration::from_millis;
    gimg::registry::Deadlines { connect: ms(2000), head: ms(900), stall: ms(900), commit: ms(10_000) }
}
