//! A certification authority of a test's own, and a web server whose certificate comes from it.

use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::Sandbox;

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";

/// Makes an authority: `NAME.crt` and `NAME.key` in the sandbox.
pub(crate) fn authority(sandbox: &Sandbox, name: &str) {
    let files = format!("-keyout {name}.key -out {name}.crt");
    sandbox.run(&format!("openssl req -x509 {KEY} -subj /CN=test-{name} {files}")).ok();
}

/// A web server on this machine.
pub(crate) struct Https {
    child: Child,
    pub(crate) url: String,
}

impl Https {
    /// Starts a server whose certificate this authority signed.
    pub(crate) fn start(sandbox: &Sandbox, authority: &str) -> Self {
        let signed =
            format!("-CA {authority}.crt -CAkey {authority}.key -addext subjectAltName=IP:127.0.0.1");
        let server =
            "-subj /CN=test -keyout server.key -out server.crt -addext basicConstraints=critical,CA:FALSE";
        sandbox.run(&format!("openssl req -x509 {KEY} {signed} {server}")).ok();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let line = format!("openssl s_server -www -accept 127.0.0.1:{port} -cert server.crt -key server.key");
        let child = sandbox.command(&line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "openssl s_server did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Https { child, url: format!("https://127.0.0.1:{port}/") }
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
