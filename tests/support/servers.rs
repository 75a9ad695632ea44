//! Real registries from `.tools/bin`, each on a free port and in a directory of its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running registry; it is stopped when dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Server {
    /// olareg, open to everyone.
    pub(crate) fn olareg() -> Self {
        Self::olareg_with(|_, _| Vec::new())
    }

    /// olareg that wants a token of `user` with the tests' secret.
    pub(crate) fn olareg_with_tokens() -> Self {
        Self::olareg_with(|dir, port| {
            let path = acl(dir);
            let url = format!("http://127.0.0.1:{port}");
            vec!["--auth-token-opaque".into(), path, "--external-url".into(), url]
        })
    }

    /// olareg without the referrers API.
    pub(crate) fn olareg_without_referrers() -> Self {
        Self::olareg_with(|_, _| vec!["--api-referrer=false".into()])
    }

    /// olareg that wants Basic of `user` with the tests' secret.
    pub(crate) fn olareg_with_basic() -> Self {
        Self::olareg_with(|dir, _| vec!["--auth-basic".into(), acl(dir)])
    }

    /// olareg that speaks TLS with a certificate that [`ca`] vouches for.
    pub(crate) fn olareg_with_tls() -> Self {
        let path = |name: &str| tls(name).to_str().unwrap().to_owned();
        Self::olareg_with(|_, _| {
            vec!["--tls-cert".into(), path("server.pem"), "--tls-key".into(), path("server.key")]
        })
    }

    fn olareg_with(more: impl Fn(&Path, u16) -> Vec<String>) -> Self {
        Self::start(|dir, port| {
            let mut command = Command::new(tool("olareg"));
            command.args(["serve", "--addr", "127.0.0.1", "--api-delete", "--api-blob-delete", "--port"]);
            command.arg(port.to_string()).arg("--dir").arg(dir.join("data")).args(more(dir, port));
            command
        })
    }

    /// distribution's registry, open to everyone.
    pub(crate) fn distribution() -> Self {
        Self::distribution_from("registry-lite")
    }

    /// Debian's distribution, three years older.
    pub(crate) fn docker_registry() -> Self {
        Self::distribution_from("docker-registry")
    }

    fn distribution_from(program: &str) -> Self {
        Self::start(|dir, port| {
            let config = dir.join("config.yml");
            let data = dir.join("data");
            let text = format!(
                "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}, \
                 delete: {{enabled: true}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
                data.display()
            );
            std::fs::write(&config, text).unwrap();
            let mut command = Command::new(tool(program));
            command.env("OTEL_TRACES_EXPORTER", "none").arg("serve").arg(config);
            command
        })
    }

    /// BuildGrid, open to everyone: a server of the Remote Execution API that keeps everything in memory.
    pub(crate) fn buildgrid() -> Self {
        Self::start(|dir, port| {
            let config = dir.join("config.yml");
            let text = include_str!("../tools/buildgrid/server.yml");
            std::fs::write(&config, text.replace("PORT", &port.to_string())).unwrap();
            let mut command = Command::new(tool("bgd"));
            command.args(["server", "start"]).arg(config);
            command
        })
    }

    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A file in the server's own directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts what `command` gives for a directory of its own and a free port.
    pub(crate) fn start(command: impl Fn(&Path, u16) -> Command) -> Self {
        // Another process may take the port between our look and the server's start.
        for _ in 0..3 {
            let dir = tempfile::tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut command = command(dir.path(), port);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let name = command.get_program().to_owned();
            let child = command.spawn();
            let child = child.unwrap_or_else(|e| panic!("{}: {e}; run `make tools`", name.display()));
            let mut server = Server { child, port, dir };
            if server.answers() {
                return server;
            }
        }
        panic!("a registry did not start");
    }

    /// Waits until `GET /v2/` is answered; false if the process ends or takes too long.
    fn answers(&mut self) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let request = "GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
                let mut start = [0; 7];
                if stream.write_all(request.as_bytes()).is_ok()
                    && stream.read_exact(&mut start).is_ok()
                    // A server that speaks HTTP/2 only begins with its settings, whatever it is asked.
                    && (start == *b"HTTP/1." || start[3] == 4)
                {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file for TLS: `server.pem`, `server.key` and `ca.pem`.
pub(crate) fn tls(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls").join(name)
}

/// The certificate of the CA that signed what the TLS server shows.
pub(crate) fn ca() -> Vec<u8> {
    std::fs::read(tls("ca.pem")).unwrap()
}

/// A program that `make tools` installs.
pub(crate) fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin").join(name);
    assert!(path.exists(), "{} is missing; run `make tools`", path.display());
    path
}

/// bcrypt's hash of the tests' secret, as htpasswd writes it.
pub(crate) const HASH: &str = "$2a$04$eoQ3a07MmiG.QUQ7OWtvRuhWBvpBHAChxAw1eDP5ELpdTJEggg.Mq";

/// olareg's access file: `user` with the tests' secret may do everything.
pub(crate) fn acl(dir: &Path) -> String {
    let path = dir.join("acl.yaml");
    let text = format!(
        "users: {{user: {{cred: \"{HASH}\"}}}}\nacls:\n  - {{repo: \"\", members: [\"user\"], access: [\"read\"]}}\n  \
         - {{repo: \"*\", members: [\"user\"], access: [\"read\", \"write\", \"delete\"]}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
