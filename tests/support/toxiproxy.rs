//! toxiproxy between a client and a server, ruled through its own API.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::servers::{Server, tool};

/// One proxy in a toxiproxy of its own; it ends when dropped.
pub(crate) struct Toxiproxy {
    server: Server,
    host: String,
}

impl Toxiproxy {
    /// A proxy before `upstream` (`host:port`).
    pub(crate) fn before(upstream: &str) -> Self {
        let server = Server::start(|_, port| {
            let mut command = Command::new(tool("toxiproxy"));
            command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
            command
        });
        let mut proxy = Toxiproxy { server, host: String::new() };
        let wish = json!({"name": "it", "listen": "127.0.0.1:0", "upstream": upstream, "enabled": true});
        let made = proxy.ask("POST", "/proxies", Some(&wish));
        let made: Value = serde_json::from_str(&made).unwrap();
        proxy.host = made["listen"].as_str().unwrap().to_owned();
        proxy
    }

    /// `127.0.0.1:port`: what to talk to instead of the server.
    pub(crate) fn host(&self) -> String {
        self.host.clone()
    }

    /// Puts a toxic `kind` on every connection; `upstream` is what goes to the server, `downstream` what comes.
    pub(crate) fn toxic(&self, kind: &str, stream: &str, attributes: &Value) {
        let wish = json!({"name": "toxic", "type": kind, "stream": stream, "attributes": attributes});
        self.ask("POST", "/proxies/it/toxics", Some(&wish));
    }

    /// Takes it away again, if there is one.
    pub(crate) fn heal(&self) {
        self.ask("POST", "/reset", None);
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> String {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(self.server.host()).unwrap();
        // 1.0: the answer comes in one piece and ends with the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: toxiproxy\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.split(' ').nth(1).unwrap().starts_with('2'), "{method} {path}: {answer}");
        body.to_owned()
    }
}

/// Passes bytes on to a server and counts what goes there. (toxiproxy's own counters miss connections that it cut.)
pub(crate) struct Counter {
    host: String,
    sent: Arc<AtomicU64>,
}

impl Counter {
    /// One before `upstream` (`host:port`); it ends with the test's process.
    pub(crate) fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let counter = Counter { host: listener.local_addr().unwrap().to_string(), sent: Arc::default() };
        let (upstream, sent) = (upstream.to_owned(), Arc::clone(&counter.sent));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let sent = Arc::clone(&sent);
                std::thread::spawn(move || pass(client, server, &sent));
                std::thread::spawn(move || pass(back.0, back.1, &AtomicU64::new(0)));
            }
        });
        counter
    }

    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> String {
        self.host.clone()
    }

    /// The bytes that went to the server so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// Passes on what comes until its end or an error, which ends the other direction too.
fn pass(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break drop(to.shutdown(Shutdown::Write)),
            Ok(read) => {
                count.fetch_add(read as u64, Ordering::SeqCst);
                if to.write_all(&buffer[..read]).is_err() {
                    break drop(from.shutdown(Shutdown::Both));
                }
            }
            Err(_) => break drop(to.shutdown(Shutdown::Both)),
        }
    }
}
