//! nginx before a registry, configured as people do and misdo it.

use std::process::Command;

use super::servers::{Server, tls, tool};

/// Starts an nginx; `main` is put into `http {}`, `location` into the one `location /`. `%PORT%` is the port it
/// listens at, `%LISTEN%` is that with what TLS needs if `secure`.
pub(crate) fn nginx(upstream: &str, secure: bool, main: &str, location: &str) -> Server {
    Server::start(|dir, port| {
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
             server {{ {listen}\nlocation / {{ proxy_pass http://{upstream};\n{location}\n}} }} }}\n",
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
