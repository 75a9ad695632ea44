//! A real Kubernetes API server over etcd, both from `.tools/bin`, with a kubeconfig for its administrator. Nothing
//! runs pods: what is applied is stored and validated, no more.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::servers::tool;

/// A running API server; both processes are stopped when dropped.
pub(crate) struct ApiServer {
    children: Vec<Child>,
    dir: TempDir,
}

impl ApiServer {
    /// Starts it; some five seconds.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [client, peer, api] = free_ports();
        let mut server = ApiServer { children: Vec::new(), dir };
        let etcd = format!("http://127.0.0.1:{client}");
        let peers = format!("http://127.0.0.1:{peer}");
        server.spawn(
            Command::new(tool("etcd"))
                .args(["--unsafe-no-fsync", "--log-level=error", "--name=one"])
                .arg(format!("--data-dir={}", server.path("etcd").display()))
                .args([format!("--listen-client-urls={etcd}"), format!("--advertise-client-urls={etcd}")])
                .args([
                    format!("--listen-peer-urls={peers}"),
                    format!("--initial-advertise-peer-urls={peers}"),
                ])
                .arg(format!("--initial-cluster=one={peers}")),
        );
        std::fs::write(server.path("tokens"), "secret,admin,1,system:masters\n").unwrap();
        let tls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls");
        server.spawn(
            Command::new(tool("kube-apiserver"))
                .args([format!("--etcd-servers={etcd}"), format!("--secure-port={api}")])
                .args(["--bind-address=127.0.0.1", "--authorization-mode=RBAC"])
                .args(["--service-cluster-ip-range=10.96.0.0/24", "--endpoint-reconciler-type=none"])
                .args([
                    "--disable-admission-plugins=ServiceAccount",
                    "--service-account-issuer=https://localhost",
                ])
                .arg(format!("--cert-dir={}", server.path("certificates").display()))
                .arg(format!("--token-auth-file={}", server.path("tokens").display()))
                .arg(format!("--service-account-key-file={}", tls.join("server.pem").display()))
                .arg(format!("--service-account-signing-key-file={}", tls.join("server.key").display())),
        );
        let config = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{api}', insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: u, user: {{token: secret}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n"
        );
        std::fs::write(server.kubeconfig(), config).unwrap();
        server.wait();
        server
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn spawn(&mut self, command: &mut Command) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.children.push(command.spawn().unwrap());
    }

    /// Waits until it is ready and has made its namespaces.
    fn wait(&mut self) {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let mut kubectl = Command::new(tool("kubectl"));
            kubectl.arg("--kubeconfig").arg(self.kubeconfig()).args(["get", "--raw", "/readyz"]);
            let ready = kubectl.output().unwrap().status.success();
            let mut kubectl = Command::new(tool("kubectl"));
            kubectl.arg("--kubeconfig").arg(self.kubeconfig()).args(["get", "namespace", "default"]);
            if ready && kubectl.output().unwrap().status.success() {
                return;
            }
            let ended = self.children.iter_mut().any(|c| c.try_wait().unwrap().is_some());
            if ended || Instant::now() > end {
                let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                panic!("the API server did not start: {tail:#?}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Three ports that nobody listens on.
fn free_ports() -> [u16; 3] {
    [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap()).map(|l| l.local_addr().unwrap().port())
}
