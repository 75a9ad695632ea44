//! The registry with its base image, the counter before it, and toxiproxy for the slow way there.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::counter::Counter;
use crate::jobs::FOUR;
use crate::settings::{command, tool};
use crate::trees::{output, write};

/// How long toxiproxy holds back what the registry answers.
const LATENCY_MS: u32 = 30;

/// A program that listens on a port; it ends when dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    host: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything between the contenders and the registry's disk.
#[derive(Debug)]
pub(crate) struct Servers {
    /// What contenders talk to, on the way to the registry.
    pub(crate) counter: Counter,
    /// The same, behind the latency.
    pub(crate) slow: String,
    _registry: Server,
    _toxiproxy: Server,
}

impl Servers {
    /// Starts all, with data in `work`, and pushes the base.
    pub(crate) fn start(work: &Path) -> Result<Self> {
        let registry = start(|port| {
            let mut command = command(tool("olareg"));
            command.args([
                "serve",
                "--addr",
                "127.0.0.1",
                "--gc-frequency",
                "-1s",
                "--port",
                &port.to_string(),
            ]);
            command.arg("--dir").arg(work.join("registry"));
            command
        })?;
        let counter = Counter::before(&registry.host)?;
        let toxiproxy = start(|port| {
            let mut command = command(tool("toxiproxy"));
            command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
            command
        })?;
        let wish =
            json!({"name": "slow", "listen": "127.0.0.1:0", "upstream": counter.host, "enabled": true});
        let made = ask(&toxiproxy.host, "/proxies", &wish)?;
        let slow = made["listen"].as_str().ok_or("toxiproxy made no proxy")?.to_owned();
        let latency =
            json!({"type": "latency", "stream": "downstream", "attributes": {"latency": LATENCY_MS}});
        ask(&toxiproxy.host, "/proxies/slow/toxics", &latency)?;
        base(work, &registry.host)?;
        Ok(Servers { counter, slow, _registry: registry, _toxiproxy: toxiproxy })
    }
}

/// Starts what `command` gives for a free port, and waits until it listens.
fn start(command: impl Fn(u16) -> Command) -> Result<Server> {
    let mut failed = String::new();
    // Another process may take the port between our look and the server's start.
    for _ in 0..3 {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|e| format!("no free port: {e}"))?.port();
        let mut command = command(port);
        failed = command.get_program().to_string_lossy().into_owned();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.map_err(|e| format!("{failed}: {e}: make bench"))?;
        let mut server = Server { child, host: format!("127.0.0.1:{port}") };
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end && matches!(server.child.try_wait(), Ok(None)) {
            if TcpStream::connect(&server.host).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Err(format!("{failed} did not start"))
}

/// Asks toxiproxy's API.
fn ask(host: &str, path: &str, wish: &Value) -> Result<Value> {
    let body = wish.to_string();
    // 1.0: the answer comes in one piece and ends with the connection.
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: toxiproxy\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    let asked = TcpStream::connect(host).and_then(|mut stream| {
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(&mut answer)
    });
    asked.map_err(|e| format!("toxiproxy: {e}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    if head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) {
        return serde_json::from_str(body).map_err(|e| format!("toxiproxy: {e}"));
    }
    Err(format!("toxiproxy: {path}: {answer}"))
}

/// A base of one small file for every platform: this is not about copying bases.
fn base(work: &Path, host: &str) -> Result<()> {
    let crane = |args: &[&str]| output(command(tool("crane")).args(args));
    write(&work.join("base/etc/passwd"), "nonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")?;
    let tar = work.join("base.tar").display().to_string();
    output(command("tar").args(["-cf", &tar, "-C"]).arg(work.join("base")).arg("etc"))?;
    let mut all = vec!["index".to_owned(), "append".to_owned()];
    for (n, platform) in FOUR.split(',').enumerate() {
        let image = format!("{host}/base:{n}");
        crane(&["append", "--oci-empty-base", "-f", &tar, "-t", &image])?;
        crane(&["mutate", "--set-platform", platform, "-t", &image, &image])?;
        all.extend(["-m".to_owned(), image]);
    }
    all.extend(["-t".to_owned(), format!("{host}/base:latest")]);
    crane(&all.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok(())
}
