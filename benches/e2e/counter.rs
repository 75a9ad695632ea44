//! Passes bytes on between clients and a server, and counts requests and bytes on the way there.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Result;
use crate::requests::Requests;

/// A proxy in threads of this process; it ends with it.
#[derive(Debug)]
pub(crate) struct Counter {
    pub(crate) host: String,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    /// One before `upstream` (`host:port`).
    pub(crate) fn before(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("the counter: {e}"))?;
        let host = listener.local_addr().map_err(|e| format!("the counter: {e}"))?.to_string();
        let counts = Arc::new(Counts::default());
        let (upstream, counted) = (upstream.to_owned(), Arc::clone(&counts));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Without a server the client sees its connection end.
                let _ = between(client, &upstream, &counted);
            }
        });
        Ok(Counter { host, counts })
    }

    /// Requests and bytes that went to the server so far.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.counts.requests.load(Ordering::SeqCst), self.counts.bytes.load(Ordering::SeqCst))
    }
}

fn between(client: TcpStream, upstream: &str, counts: &Arc<Counts>) -> std::io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let back = (server.try_clone()?, client.try_clone()?);
    let counts = Arc::clone(counts);
    std::thread::spawn(move || pass(client, server, Some(&counts)));
    std::thread::spawn(move || pass(back.0, back.1, None));
    Ok(())
}

/// Passes on what comes until its end or an error, which ends the other direction too.
fn pass(mut from: TcpStream, mut to: TcpStream, counts: Option<&Counts>) {
    let mut requests = Requests::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return drop(to.shutdown(Shutdown::Write)),
            Ok(read) => {
                if let Some(counts) = counts {
                    let before = requests.count;
                    requests.feed(&buffer[..read]);
                    counts.requests.fetch_add(requests.count - before, Ordering::SeqCst);
                    counts.bytes.fetch_add(read as u64, Ordering::SeqCst);
                }
                if to.write_all(&buffer[..read]).is_err() {
                    return drop(from.shutdown(Shutdown::Both));
                }
            }
            Err(_) => return drop(to.shutdown(Shutdown::Both)),
        }
    }
}
