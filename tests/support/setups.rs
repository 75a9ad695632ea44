//! Real registries in every way that they are run: each make, with TLS or without, and with each way to ask who is there.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Sandbox;
use super::servers::{HASH, Server, acl, tls, tool};

/// Whose registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Olareg,
    /// olareg whose referrers API is switched off.
    OlaregWithoutReferrers,
    /// distribution 3.
    Distribution,
    /// Debian's distribution, 2.8.
    DockerRegistry,
    /// `crane registry serve`.
    Crane,
    /// The same registry with TLS where that is wanted, and the referrers API.
    CraneWithReferrers,
}

/// How the registry finds out who is there; `user` with the tests' secret may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Nobody,
    Basic,
    Token,
    /// Tokens that end three seconds after they were given out, or up to a second earlier, whatever the token server
    /// says of them.
    ShortToken,
}

/// A registry as it is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) make: Make,
    pub(crate) tls: bool,
    pub(crate) asks: Asks,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}, asks {:?}", self.make, if self.tls { "TLS" } else { "http" }, self.asks)
    }
}

/// A registry that runs, with its token server.
pub(crate) struct Running {
    server: Server,
    _tokens: Option<Server>,
}

impl Running {
    /// `127.0.0.1:port`.
    pub(crate) fn host(&self) -> String {
        self.server.host()
    }
}

impl Setup {
    /// Plain HTTP, open to everyone.
    pub(crate) fn open(make: Make) -> Self {
        Setup { make, tls: false, asks: Asks::Nobody }
    }

    /// Every combination that the make knows.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for make in [Make::Olareg, Make::OlaregWithoutReferrers, Make::Distribution, Make::DockerRegistry] {
            for tls in [false, true] {
                for asks in [Asks::Nobody, Asks::Basic, Asks::Token] {
                    all.push(Setup { make, tls, asks });
                }
            }
        }
        all.push(Self::open(Make::Crane));
        for tls in [false, true] {
            all.push(Setup { make: Make::CraneWithReferrers, tls, asks: Asks::Nobody });
        }
        all
    }

    /// Whether it says `OCI-Subject` to what refers to an image, so that clients write no tag for it.
    /// go-containerregistry's answers the referrers API and doesn't.
    pub(crate) fn names_subjects(self) -> bool {
        self.make == Make::Olareg
    }

    /// Whether a blob of one repository is in all of them without having been put there.
    pub(crate) fn shares_blobs(self) -> bool {
        matches!(self.make, Make::Crane | Make::CraneWithReferrers)
    }

    /// Whether tokens come from another port than the registry's. go-containerregistry takes none from there.
    pub(crate) fn has_token_server(self) -> bool {
        matches!(self.asks, Asks::Token | Asks::ShortToken)
            && matches!(self.make, Make::Distribution | Make::DockerRegistry)
    }

    /// `http` or `https`.
    pub(crate) fn scheme(self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Starts it.
    pub(crate) fn start(self) -> Running {
        match self.make {
            Make::Olareg | Make::OlaregWithoutReferrers => self.olareg(),
            Make::Distribution => self.distribution("registry-lite"),
            Make::DockerRegistry => self.distribution("docker-registry"),
            Make::Crane => Running {
                server: Server::start(|_, port| {
                    let mut command = Command::new(tool("crane"));
                    command.args(["registry", "serve", "--address", &format!("127.0.0.1:{port}")]);
                    command
                }),
                _tokens: None,
            },
            Make::CraneWithReferrers => Running {
                server: Server::start(|_, port| {
                    let mut command = Command::new(tool("ggcr-registry"));
                    command.args(["-referrers", "-addr", &format!("127.0.0.1:{port}")]);
                    command.args(self.tls_flags("-"));
                    command
                }),
                _tokens: None,
            },
        }
    }

    fn tls_flags(self, dashes: &str) -> Vec<String> {
        let flag = |name: &str, file: &str| [format!("{dashes}{name}"), tls(file).to_str().unwrap().into()];
        let flags = [flag("tls-cert", "server.pem"), flag("tls-key", "server.key")];
        if self.tls { flags.concat() } else { Vec::new() }
    }

    fn olareg(self) -> Running {
        let server = Server::start(|dir, port| {
            let mut command = Command::new(tool("olareg"));
            command.args(["serve", "--addr", "127.0.0.1", "--api-delete", "--api-blob-delete", "--port"]);
            command.arg(port.to_string()).arg("--dir").arg(dir.join("data")).args(self.tls_flags("--"));
            if self.make == Make::OlaregWithoutReferrers {
                command.arg("--api-referrer=false");
            }
            match self.asks {
                Asks::Nobody => {}
                Asks::Basic => drop(command.args(["--auth-basic", &acl(dir)])),
                Asks::Token | Asks::ShortToken => {
                    let url = format!("{}://127.0.0.1:{port}", self.scheme());
                    command.args(["--auth-token-opaque", &acl(dir), "--external-url", &url]);
                }
            }
            command
        });
        Running { server, _tokens: None }
    }

    fn distribution(self, program: &str) -> Running {
        let tokens = self.has_token_server().then(|| self.token_server());
        let server = Server::start(|dir, port| {
            let at = |name: &str| dir.join(name).display().to_string();
            let mut text = format!(
                "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}, \
                 delete: {{enabled: true}}}}\n",
                at("data")
            );
            let secured = format!(
                ", tls: {{certificate: {}, key: {}}}",
                tls("server.pem").display(),
                tls("server.key").display()
            );
            let secured = if self.tls { &secured } else { "" };
            text.push_str(&format!("http: {{addr: 127.0.0.1:{port}{secured}}}\n"));
            if self.asks == Asks::Basic {
                std::fs::write(dir.join("htpasswd"), format!("user:{HASH}\n")).unwrap();
                text.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", at("htpasswd")));
            }
            if let Some(tokens) = &tokens {
                text.push_str(&format!(
                    "auth: {{token: {{realm: \"{}://{}/token\", service: test, issuer: test-issuer, \
                     rootcertbundle: {}}}}}\n",
                    self.scheme(),
                    tokens.host(),
                    tokens.file("bundle.pem").display()
                ));
            }
            std::fs::write(dir.join("config.yml"), text).unwrap();
            let mut command = Command::new(tool(program));
            command.env("OTEL_TRACES_EXPORTER", "none").arg("serve").arg(dir.join("config.yml"));
            command
        });
        Running { server, _tokens: tokens }
    }

    fn token_server(self) -> Server {
        let server = Server::start(|dir, port| {
            let mut command = Command::new(tool("token-server"));
            command.args(["-addr", &format!("127.0.0.1:{port}"), "-password", super::canary::SECRET]);
            command.arg("-bundle").arg(dir.join("bundle.pem"));
            if self.asks == Asks::ShortToken {
                // distribution allows for clocks that differ by a minute.
                command.args(["-life", "-57s"]);
            }
            command.args(self.tls_flags("-"));
            command
        });
        wait_for(&server.file("bundle.pem"));
        server
    }

    /// A sandbox whose tools trust this registry, and where `user` has logged in with gimg.
    pub(crate) fn sandbox(self, host: &str) -> Sandbox {
        let mut sandbox = Sandbox::go("hello");
        if self.tls {
            sandbox = sandbox.env("SSL_CERT_FILE", tls("ca.pem").to_str().unwrap());
        }
        if self.asks != Asks::Nobody {
            sandbox.run(&format!("gimg login {host} -u user -p {}", super::canary::SECRET)).ok();
        }
        sandbox
    }
}

fn wait_for(path: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < end, "{} did not come", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}
