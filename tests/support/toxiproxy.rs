//! toxiproxy between a client and a server, ruled through its own API.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

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
            command.args(["-host", "127.0.0.1", "-port", &port.to_string(), "-proxy-metrics"]);
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

    /// How many bytes clients have sent.
    pub(crate) fn received(&self) -> u64 {
        let metrics = self.ask("GET", "/metrics", None);
        let lines = metrics.lines().filter(|l| {
            l.starts_with("toxiproxy_proxy_received_bytes_total{") && l.contains("direction=\"upstream\"")
        });
        lines.map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
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
