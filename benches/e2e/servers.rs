//! The registry with its base image, the counter before it, and toxiproxy for the slow way there.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Result;
use crate::counter::Counter;
use crate::jobs::{FOUR, Keeper};
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
    /// URLs of remote caches, by server and latency in milliseconds.
    build_cache: BTreeMap<(Keeper, u32), String>,
    _nginx: Server,
    _buildgrid: Server,
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
        let slow = far(&toxiproxy.host, "slow", &counter.host, LATENCY_MS)?;
        base(work, &registry.host)?;
        let nginx = webdav(&work.join("nginx"))?;
        let buildgrid = buildgrid(&work.join("buildgrid.yml"))?;
        let mut build_cache = BTreeMap::new();
        for (keeper, host, scheme, path) in [
            (Keeper::Http, &nginx.host, "http", ""),
            (Keeper::Grpc, &buildgrid.host, "grpc", "/main"),
            (Keeper::Packs, &registry.host, "oci", "/build-cache"),
        ] {
            build_cache.insert((keeper, 0), format!("{scheme}://{host}{path}"));
            for latency in [5, 30] {
                let host = far(&toxiproxy.host, &format!("{scheme}{latency}"), host, latency)?;
                build_cache.insert((keeper, latency), format!("{scheme}://{host}{path}"));
            }
        }
        Ok(Servers {
            counter,
            slow,
            build_cache,
            _nginx: nginx,
            _buildgrid: buildgrid,
            _registry: registry,
            _toxiproxy: toxiproxy,
        })
    }

    /// The URL of a remote cache at this latency.
    pub(crate) fn build_cache(&self, keeper: Keeper, latency: u32) -> Result<&str> {
        let url = self.build_cache.get(&(keeper, latency)).map(String::as_str);
        url.ok_or_else(|| format!("no {keeper:?} at {latency} ms"))
    }
}

/// BuildGrid, which keeps everything in memory; `config` is written.
fn buildgrid(config: &Path) -> Result<Server> {
    start(|port| {
        let text = include_str!("../../tests/tools/buildgrid/server.yml");
        // What can't be written shows as a server that doesn't start.
        let _ = write(config, &text.replace("PORT", &port.to_string()));
        let mut command = command(tool("bgd"));
        command.args(["server", "start"]).arg(config);
        command
    })
}

/// A proxy of toxiproxy's before `upstream`, whose answers come later: where it listens.
fn far(toxiproxy: &str, name: &str, upstream: &str, latency: u32) -> Result<String> {
    let wish = json!({"name": name, "listen": "127.0.0.1:0", "upstream": upstream, "enabled": true});
    let made = ask(toxiproxy, "/proxies", &wish)?;
    let listens = made["listen"].as_str().ok_or("toxiproxy made no proxy")?.to_owned();
    let toxic = json!({"type": "latency", "stream": "downstream", "attributes": {"latency": latency}});
    ask(toxiproxy, &format!("/proxies/{name}/toxics"), &toxic)?;
    Ok(listens)
}

/// An nginx that keeps what is put to it (WebDAV).
fn webdav(dir: &Path) -> Result<Server> {
    let at = dir.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {at}/{name};\n"))
        .collect();
    // Workers of root would become another user, who can't write here.
    let root = output(command("id").arg("-u"))?.trim() == "0";
    let user = if root { "user root;" } else { "" };
    start(|port| {
        let text = format!(
            "daemon off; master_process off; {user} pid {at}/pid;\nevents {{ worker_connections 512; }}\nhttp {{\n\
             {temporary}access_log off; keepalive_requests 100000; client_max_body_size 0;\nserver {{ listen \
             127.0.0.1:{port}; location / {{ root {at}/kept; dav_methods PUT; create_full_put_path on; }} }} }}\n"
        );
        let config = dir.join("nginx.conf");
        // What can't be written shows as a server that doesn't start.
        let _ = write(&config, &text);
        let mut command = command(tool("nginx"));
        command.arg("-p").arg(dir).arg("-c").arg(config).arg("-e").arg(dir.join("error.log"));
        command
    })
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
