//! Certificates: which authorities are trusted, and what `certs.d` has for single hosts.
#![expect(clippy::disallowed_methods, reason = "edge: certificate files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use reqwest::Url;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer};
use crate::registry::rules::user_config;

/// Where Linux distributions and BSDs keep the authorities that they trust; the first that exists counts. None
/// where the system has a store of its own, which the TLS library asks.
const BUNDLES: &[&str] = if cfg!(any(windows, target_vendor = "apple")) {
    &[]
} else {
    &[
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/pki/tls/cacert.pem",
        "/etc/ssl/cert.pem",
        "/usr/local/share/certs/ca-root-nss.crt",
    ]
};

/// No bundle is larger.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The directories called `certs.d`: the user's, and the two of the system that podman and docker read.
#[must_use]
pub fn certs_d(env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let own = user_config(env).map(|dir| dir.join("containers/certs.d"));
    let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    own.into_iter().chain(system).collect()
}

/// A certificate.
pub(super) type Der = CertificateDer<'static>;

/// A client certificate with the chain to its CA, and its key.
pub(super) struct Identity {
    pub(super) chain: Vec<Der>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From the PEM of both files.
    fn read(chain: &[u8], key: &[u8]) -> Option<Self> {
        let chain: Vec<Der> = CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().ok()?;
        let key = PrivateKeyDer::from_pem_slice(key).ok()?;
        (!chain.is_empty()).then_some(Identity { chain, key })
    }
}

/// The authorities that a client trusts.
#[derive(Clone)]
pub(super) enum Roots {
    /// These, and those of the system's own store.
    AndSystem(Vec<Der>),
    /// These.
    Only(Vec<Der>),
}

/// What `certs.d` has for one host.
#[derive(Default)]
pub(super) struct ForHost {
    /// The authorities of its `*.crt`.
    pub(super) roots: Vec<Der>,
    /// The client certificate of its `*.cert` and `*.key`.
    pub(super) identity: Option<Identity>,
}

/// Finds certificates. Everything is read when first needed: plain http needs none.
pub(super) struct Certs {
    ca: Option<Vec<u8>>,
    ca_dirs: Vec<PathBuf>,
    hosts: Vec<PathBuf>,
    observer: Arc<dyn Observer>,
    system: OnceLock<Roots>,
}

impl Certs {
    /// The system's authorities, those in `ca` (PEM, from SSL_CERT_FILE) and in the files of `ca_dirs` (from
    /// SSL_CERT_DIR), and the directories `hosts` that are called `certs.d`, the most important first.
    pub(super) fn new(
        ca: Option<Vec<u8>>,
        ca_dirs: Vec<PathBuf>,
        hosts: Vec<PathBuf>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Certs { ca, ca_dirs, hosts, observer, system: OnceLock::new() }
    }

    /// The authorities that count for every host.
    ///
    /// # Errors
    /// SSL_CERT_FILE holds something that isn't a certificate.
    pub(super) fn roots(&self) -> Result<Roots> {
        if let Some(roots) = self.system.get() {
            return Ok(roots.clone());
        }
        let mut usable = Usable::default();
        if let Some(pem) = &self.ca {
            let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect();
            if let Some(Err(error)) = all.into_iter().find(Result::is_err) {
                return Err(Error::new(Kind::Input, "read the CA certificates of SSL_CERT_FILE", error));
            }
            usable.add(pem);
        }
        for dir in &self.ca_dirs {
            match files(dir, |_| true) {
                // As everywhere, what isn't a certificate is passed over.
                Ok(files) => files.iter().filter_map(|f| read(f).ok()).for_each(|pem| usable.add(&pem)),
                Err(error) => self.warn(format!("SSL_CERT_DIR: {}: {error}", dir.display())),
            }
        }
        let system = BUNDLES.iter().find_map(|path| read(Path::new(path)).ok());
        let roots = if let Some(bundle) = system {
            usable.add(&bundle);
            Roots::Only(usable.certificates)
        } else {
            Roots::AndSystem(usable.certificates)
        };
        Ok(self.system.get_or_init(|| roots).clone())
    }

    /// Mozilla's authorities: for a system that has none (a bare container).
    pub(super) fn built_in() -> Vec<Der> {
        webpki_root_certs::TLS_SERVER_ROOT_CERTS.to_vec()
    }

    /// The directory of `certs.d` for the host of `url`: its name as in a reference, with the port unless that
    /// is the usual one. The first that exists counts, as for podman; one that can't be read only draws a
    /// warning.
    pub(super) fn dir(&self, url: &Url) -> Option<PathBuf> {
        let host = url.host_str()?;
        let names = match url.port() {
            Some(port) => vec![format!("{host}:{port}")],
            None => vec![host.to_owned(), format!("{host}:{}", url.port_or_known_default()?)],
        };
        let paths = self.hosts.iter().flat_map(|all| names.iter().map(move |name| all.join(name)));
        for path in paths {
            match std::fs::read_dir(&path) {
                Ok(_) => return Some(path),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound) => {}
                // A host may have any name; not every one can be a file's.
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {}
                Err(error) => self.warn(format!("certificates in {} are not used: {error}", path.display())),
            }
        }
        None
    }

    /// What a directory that [`Certs::dir`] found holds.
    ///
    /// # Errors
    /// A certificate without its key or the other way round; a file that isn't what its name says.
    pub(super) fn of_host(&self, dir: &Path) -> Result<ForHost> {
        let fail =
            |path: &Path, why: String| Error::new(Kind::Usage, "read certificates", why).at(path.display());
        let of_kind = |kind: &'static str| {
            let found = files(dir, |path| path.extension().is_some_and(|e| e == kind));
            found.map_err(|e| Error::io("read certificates", dir, &e))
        };
        let mut roots = Vec::new();
        for path in of_kind("crt")? {
            let pem = read(&path).map_err(|e| Error::io("read certificates", &path, &e))?;
            let mut usable = Usable::default();
            usable.add(&pem);
            if usable.certificates.is_empty() {
                return Err(fail(&path, "there is no certificate in it".to_owned()));
            }
            roots.extend(usable.certificates);
        }
        for key in of_kind("key")? {
            if !key.with_extension("cert").exists() {
                return Err(fail(&key, "its certificate is missing".to_owned()).hint(
                    "a client certificate is NAME.cert with NAME.key; a CA's certificate is NAME.crt",
                ));
            }
        }
        let mut identity = None;
        for cert in of_kind("cert")? {
            let key = cert.with_extension("key");
            if !key.exists() {
                return Err(fail(&cert, "its key is missing".to_owned()).hint(
                    "a client certificate is NAME.cert with NAME.key; a CA's certificate is NAME.crt",
                ));
            }
            if identity.is_some() {
                let text = format!("{} is not used: a host has one client certificate", cert.display());
                self.warn(text);
                continue;
            }
            let chain = read(&cert).map_err(|e| Error::io("read a client certificate", &cert, &e))?;
            let pem = read(&key).map_err(|e| Error::io("read a client certificate's key", &key, &e))?;
            // The library's own text could quote the key.
            let bad = || fail(&cert, "it and its key aren't a certificate and a key in PEM".to_owned());
            identity = Some(Identity::read(&chain, &pem).ok_or_else(bad)?);
        }
        Ok(ForHost { roots, identity })
    }

    fn warn(&self, text: String) {
        self.observer.on(Event::Warning(text));
    }
}

/// Certificates that can be an authority's, each once.
#[derive(Default)]
struct Usable {
    seen: BTreeSet<Vec<u8>>,
    certificates: Vec<Der>,
}

impl Usable {
    /// Adds those of a PEM file that can be read.
    fn add(&mut self, pem: &[u8]) {
        for der in CertificateDer::pem_slice_iter(pem).flatten() {
            let fresh = !self.seen.contains(der.as_ref());
            if fresh && rustls::RootCertStore::empty().add(der.clone()).is_ok() {
                self.seen.insert(der.to_vec());
                self.certificates.push(der);
            }
        }
    }
}

/// The files of a directory whose path `is` right, sorted.
fn files(dir: &Path, is: impl Fn(&Path) -> bool) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if is(&path) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A file's content, if it isn't larger than any certificate file would be.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > MAX_FILE {
        return Err(std::io::Error::other("too large for certificates"));
    }
    std::fs::read(path)
}
