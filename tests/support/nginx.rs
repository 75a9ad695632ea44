//! nginx before a registry, configured as people do and misdo it.

use std::process::Command;

use super::servers::{Server, tls, tool};

/// Starts an nginx; `main` is put into `http {}`, `location` into the one `location /`. `%PORT%` is the port it
/// listens at, `%LISTEN%` is that with what TLS needs if `secure`.
pub(crate) fn nginx(upstream: &str, secure: bool, main: &str, location: &str) -> Server {
    start(secure, main, &|_| format!("proxy_pass http://{upstream};\n{location}"))
}

/// An nginx that keeps what is put to it (WebDAV), as Bazel's documentation has it for a remote cache.
pub(crate) fn webdav() -> Server {
    // What is put is moved to its name: both lie on one disk.
    start(false, "client_max_body_size 0;", &|dir| {
        format!("root {}/kept; dav_methods PUT; create_full_put_path on;", dir.display())
    })
}

/// Starts an nginx whose one `location /` is what `location` says of the server's directory.
fn start(secure: bool, main: &str, location: &dyn Fn(&std::path::Path) -> String) -> Server {
    Server::start(|dir, port| {
        let location = location(dir);
        let listen = if secure {
            let (pem, key) = (tls("server.pem"), tls("server.key"));
            format!(
                "listen 127.0.0.1:{port} ssl; ssl_certificate {}; ssl_certificate_key {};",
                pem.display(),
                key.display()
            )
        } else {
            format!("listen 127.0.0.1:{port};")
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {}/{name};\n", dir.display()))
            .collect();
        let root = if is_root() { "user root;" } else { "" };
        let text = format!(
            "daemon off; master_process off; {root} pid {0}/pid; error_log {0}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{\n{temporary}access_log {0}/access.log; proxy_http_version 1.1;\n{main}\n\
             server {{ {listen}\nlocation / {{ {location}\n}} }} }}\n",
            dir.display()
        );
        std::fs::write(dir.join("nginx.conf"), text).unwrap();
        let mut command = Command::new(tool("nginx"));
        command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("error.log"));
        command
    })
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}
