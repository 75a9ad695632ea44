//! Edge: where the engines' sockets are, as the engines' own clients find them.
#![expect(clippy::disallowed_methods, reason = "edge: disk")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::oci::Digest;

/// The environment.
type Env = BTreeMap<String, String>;

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String, Option<Tls>),
}

/// How to speak TLS to an engine: PEM texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    /// Who vouches for the engine; without it the system's roots do.
    pub(super) ca: Option<Vec<u8>>,
    /// Our certificate and its key.
    pub(super) identity: Option<Vec<u8>>,
    /// Whether the engine's certificate is checked.
    pub(super) verify: bool,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(authority, _) => write!(f, "tcp://{authority}"),
        }
    }
}

fn set<'a>(env: &'a Env, name: &str) -> Option<&'a str> {
    env.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// Docker's socket: DOCKER_HOST, else that of the active context, else the usual one (docker/cli, cli/command).
///
/// # Errors
/// An address that gimg can't reach, or a context that isn't there or can't be read.
pub(super) fn docker(env: &Env) -> Result<Address> {
    let folder = match (set(env, "DOCKER_CONFIG"), set(env, "HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, home) => Path::new(home.unwrap_or("/")).join(".docker"),
    };
    if let Some(host) = set(env, "DOCKER_HOST") {
        let tls = match set(env, "DOCKER_TLS_VERIFY") {
            Some(_) => Some(tls(set(env, "DOCKER_CERT_PATH").map_or(&*folder, Path::new), true)?),
            None => None,
        };
        return address(host, tls, "DOCKER_HOST");
    }
    let context = match set(env, "DOCKER_CONTEXT") {
        Some(name) => Some(name.to_owned()),
        None => current_context(&folder)?,
    };
    match context.filter(|name| name != "default") {
        Some(name) => of_context(&folder, &name),
        None => Ok(Address::Unix(PathBuf::from("/var/run/docker.sock"))),
    }
}

/// Podman's: CONTAINER_HOST, else the user's socket, else the system's, whichever is there. None means that only
/// the command knows.
///
/// # Errors
/// An address that gimg can't reach.
pub(super) fn podman(env: &Env) -> Result<Option<Address>> {
    if let Some(host) = set(env, "CONTAINER_HOST") {
        return address(host, None, "CONTAINER_HOST").map(Some);
    }
    let own = set(env, "XDG_RUNTIME_DIR").map(|dir| Path::new(dir).join("podman/podman.sock"));
    let all = own.into_iter().chain([PathBuf::from("/run/podman/podman.sock")]);
    Ok(all.into_iter().find(|path| path.exists()).map(Address::Unix))
}

/// Reads an engine's address; `from` says where it stands.
fn address(text: &str, tls: Option<Tls>, from: &str) -> Result<Address> {
    let bad = |why: &str| Error::new(Kind::Input, format!("use {from} {text}"), why.to_owned());
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Address::Unix(PathBuf::from(path))),
        Some(("tcp", rest)) => {
            let authority = rest.trim_end_matches('/');
            if authority.is_empty() || authority.contains(['/', '@', '?', '#']) {
                return Err(bad("it isn't tcp://host:port"));
            }
            // A port stands after the last colon, unless that is inside of an IPv6 address.
            let has_port = authority.rsplit(']').next().is_some_and(|end| end.contains(':'));
            let port = if tls.is_some() { 2376 } else { 2375 };
            let authority = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
            Ok(Address::Tcp(authority, tls))
        }
        Some(("ssh", host)) => Err(bad("gimg reaches engines over unix:// and tcp:// only").hint(format!(
            "forward the socket: ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock {host}, then use \
             unix:///tmp/engine.sock"
        ))),
        _ => Err(bad("gimg reaches engines over unix:///path and tcp://host:port only")),
    }
}

/// The context that `docker context use` chose.
fn current_context(folder: &Path) -> Result<Option<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        current_context: Option<String>,
    }
    let path = folder.join("config.json");
    match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read docker's config", &path, &e)),
        Ok(text) => match serde_json::from_slice::<Config>(&text) {
            Ok(config) => Ok(config.current_context.filter(|name| !name.is_empty())),
            Err(e) => Err(Error::new(Kind::Input, "read docker's config", e).at(path.display())),
        },
    }
}

/// The address of a context (docker/cli, cli/context/store): folders are named by the SHA-256 of its name.
fn of_context(folder: &Path, name: &str) -> Result<Address> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Meta {
        endpoints: BTreeMap<String, Endpoint>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Endpoint {
        host: Option<String>,
        #[serde(default, rename = "SkipTLSVerify")]
        skip_tls_verify: bool,
    }
    let what = format!("use docker's context {name}");
    let id = Digest::of(name.as_bytes()).hex();
    let path = folder.join("contexts/meta").join(&id).join("meta.json");
    let text = std::fs::read(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(Kind::Input, &what, "there is no such context")
            .at(path.display())
            .hint("docker context ls lists them, DOCKER_CONTEXT and docker context use choose one"),
        _ => Error::io(&what, &path, &e),
    })?;
    let bad = |why: String| Error::new(Kind::Input, &what, why).at(path.display());
    let meta: Meta = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    let endpoint = meta.endpoints.get("docker").ok_or_else(|| bad("it has no docker endpoint".to_owned()))?;
    let Some(host) = endpoint.host.as_deref().filter(|host| !host.is_empty()) else {
        return Err(bad("it has no host".to_owned()));
    };
    let certificates = folder.join("contexts/tls").join(&id).join("docker");
    let tls = if certificates.is_dir() { Some(tls(&certificates, !endpoint.skip_tls_verify)?) } else { None };
    address(host, tls, &format!("docker's context {name}:"))
}

/// `ca.pem`, `cert.pem` and `key.pem` of a folder; each may be missing, the last two only together.
fn tls(folder: &Path, verify: bool) -> Result<Tls> {
    let read = |name: &str| {
        let path = folder.join(name);
        match std::fs::read(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read docker's certificates", &path, &e)),
        }
    };
    let identity = match (read("cert.pem")?, read("key.pem")?) {
        (Some(cert), Some(key)) => Some([cert, b"\n".to_vec(), key].concat()),
        (None, None) => None,
        _ => {
            let why = "one of cert.pem and key.pem is missing";
            return Err(Error::new(Kind::Input, "read docker's certificates", why).at(folder.display()));
        }
    };
    Ok(Tls { ca: read("ca.pem")?, identity, verify })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn hosts_are_read_as_docker_reads_them() {
        let found = |host: &str| docker(&env(&[("DOCKER_HOST", host)])).map(|a| a.to_string());
        for (host, address) in [
            ("unix:///tmp/d.sock", "unix:///tmp/d.sock"),
            ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375"),
            ("tcp://[::1]:99/", "tcp://[::1]:99"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("tcp://engine", "tcp://engine:2375"),
        ] {
            assert_eq!(found(host).unwrap(), address);
        }
        for (host, why) in [
            ("ssh://me@host", "unix:// and tcp:// only"),
            ("npipe:////./pipe/docker_engine", "unix:///path and tcp://host:port only"),
            ("/var/run/docker.sock", "unix:///path"),
            ("unix://relative", "unix:///path"),
            ("tcp://", "isn't tcp://host:port"),
            ("tcp://user@host:1", "isn't tcp://host:port"),
        ] {
            let error = found(host).unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.to_string().contains(why), "{host}: {error}");
        }
    }

    /// Writes a context into a docker folder.
    fn context(folder: &Path, name: &str, meta: &str) {
        let dir = folder.join("contexts/meta").join(Digest::of(name.as_bytes()).hex());
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("meta.json"), meta).unwrap();
    }

    #[test]
    fn the_active_context_says_where_docker_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let at = |more: &[(&str, &str)]| {
            let mut all = env(more);
            all.insert("DOCKER_CONFIG".into(), path.to_str().unwrap().into());
            docker(&all).map(|a| a.to_string())
        };
        let usual = "unix:///var/run/docker.sock";
        assert_eq!(at(&[]).unwrap(), usual);
        context(
            path,
            "desktop",
            r#"{"Name":"desktop","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///d","SkipTLSVerify":false}}}"#,
        );
        context(path, "far", r#"{"Name":"far","Endpoints":{"docker":{"Host":"ssh://far"}}}"#);
        context(path, "other", r#"{"Name":"other","Endpoints":{"kubernetes":{"Host":"x"}}}"#);
        assert_eq!(at(&[("DOCKER_CONTEXT", "desktop")]).unwrap(), "unix:///d");
        std::fs::write(path.join("config.json"), r#"{"auths":{},"currentContext":"desktop"}"#).unwrap();
        assert_eq!(at(&[]).unwrap(), "unix:///d");
        assert_eq!(at(&[("DOCKER_CONTEXT", "default")]).unwrap(), usual);
        assert_eq!(at(&[("DOCKER_HOST", "unix:///h"), ("DOCKER_CONTEXT", "far")]).unwrap(), "unix:///h");
        for (name, why) in [("far", "unix:// and tcp://"), ("other", "no docker endpoint"), ("x", "no such")]
        {
            let error = at(&[("DOCKER_CONTEXT", name)]).unwrap_err();
            assert!(error.to_string().contains(why), "{name}: {error}");
        }
    }

    #[test]
    fn certificates_come_from_the_folder_that_docker_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let pairs = [("DOCKER_HOST", "tcp://h"), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path)];
        std::fs::write(folder.path().join("ca.pem"), "ca").unwrap();
        let bare = Tls { ca: Some(b"ca".to_vec()), identity: None, verify: true };
        assert_eq!(docker(&env(&pairs)).unwrap(), Address::Tcp("h:2376".into(), Some(bare)));
        std::fs::write(folder.path().join("cert.pem"), "cert").unwrap();
        assert!(docker(&env(&pairs)).unwrap_err().to_string().contains("key.pem is missing"));
        std::fs::write(folder.path().join("key.pem"), "key").unwrap();
        let Address::Tcp(_, Some(tls)) = docker(&env(&pairs)).unwrap() else { panic!("TLS") };
        assert_eq!(tls.identity.unwrap(), b"cert\nkey");
    }

    #[test]
    fn podmans_socket_is_the_users_before_the_systems() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().to_str().unwrap();
        let socket = folder.path().join("podman/podman.sock");
        std::fs::create_dir(folder.path().join("podman")).unwrap();
        std::fs::write(&socket, "").unwrap();
        let found = podman(&env(&[("XDG_RUNTIME_DIR", runtime)])).unwrap();
        assert_eq!(found, Some(Address::Unix(socket)));
        let host = [("XDG_RUNTIME_DIR", runtime), ("CONTAINER_HOST", "tcp://h:1")];
        assert_eq!(podman(&env(&host)).unwrap(), Some(Address::Tcp("h:1".into(), None)));
    }
}
