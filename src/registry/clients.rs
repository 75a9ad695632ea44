//! The HTTP clients: one for each way of connecting, made when first needed. A client's connections are only
//! ever used for requests that may go the same way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Client, Url};

use crate::error::{Error, Kind, Result};
use crate::registry::Deadlines;
use crate::registry::address::{self, Class};
use crate::registry::certs::{Certs, Roots};
use crate::registry::endpoint;
use crate::registry::failure::shown;
use crate::registry::handshake::{self, Trust, Wanted};
use crate::registry::names::{Inward, Names, Reach, Resolver, Seen};
use crate::registry::proxy::{Proxies, Proxy};

/// After so many failures of HTTP/2 itself a host is spoken to in HTTP/1.1.
const HTTP2_FAILURES: u32 = 2;
/// The most hosts that are remembered: whoever sends us around doesn't fill the memory.
const MAX_HOSTS: usize = 1000;

/// In what clients differ.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Plain http: no certificates are read, which takes longer than a small push.
    plain: bool,
    /// Whether certificates are checked.
    check: bool,
    versions: Versions,
    reach: Reach,
    /// The proxy's URL, with its password.
    proxy: Option<String>,
    /// The directory of `certs.d` for this host: a client certificate goes to no other.
    certs: Option<PathBuf>,
    /// The only origin that the client is for, if it must be known what that one wants.
    alone: Option<String>,
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Versions {
    /// Only HTTP/1.1.
    Http1,
    /// What both sides want.
    Agreed,
    /// Only HTTP/2, without asking.
    Http2,
}

impl Versions {
    /// Their names in a TLS handshake (RFC 7301).
    fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Versions::Http1 => &[b"http/1.1"],
            Versions::Agreed => &[b"h2", b"http/1.1"],
            Versions::Http2 => &[b"h2"],
        }
    }
}

/// A client for one request.
pub(super) struct Chosen<'a> {
    pub(super) client: Client,
    /// The proxy that the request goes through.
    pub(super) proxy: Option<&'a Proxy>,
    /// Whether a server wanted a certificate of this client.
    pub(super) wanted: Arc<Wanted>,
    /// Whether the client is for this origin alone.
    pub(super) alone: bool,
}

/// All clients.
pub(super) struct Clients {
    user_agent: String,
    deadlines: Deadlines,
    names: Arc<dyn Names>,
    seen: Arc<Seen>,
    proxies: Proxies,
    certs: Certs,
    clients: Mutex<BTreeMap<Key, (Client, Arc<Wanted>)>>,
    /// Which hosts have a directory in `certs.d`.
    dirs: Mutex<BTreeMap<String, Option<PathBuf>>>,
    /// How often HTTP/2 failed, by origin.
    http2: Mutex<BTreeMap<String, u32>>,
    /// Origins that get clients of their own.
    alone: Mutex<BTreeSet<String>>,
}

impl Clients {
    pub(super) fn new(
        user_agent: String,
        deadlines: Deadlines,
        names: Arc<dyn Names>,
        proxies: Proxies,
        certs: Certs,
    ) -> Self {
        // Another part of the process may have chosen a provider already; that one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Clients {
            user_agent,
            deadlines,
            names,
            seen: Arc::default(),
            proxies,
            certs,
            clients: Mutex::default(),
            dirs: Mutex::default(),
            http2: Mutex::default(),
            alone: Mutex::default(),
        }
    }

    /// What kind of place the host of `url` is, as far as it is known: public if a proxy looks it up.
    pub(super) fn class(&self, url: &Url) -> Class {
        endpoint::literal(url).unwrap_or_else(|| self.seen.class(url.host_str().unwrap_or_default()))
    }

    /// The client for `url`; `own` if the user named its host, else a server of class `from` sent us there.
    ///
    /// # Errors
    /// `url` has an inner address that such a server may not send us to; a variable or a file that says how to
    /// connect is wrong.
    pub(super) fn choose(&self, url: &Url, own: bool, from: Class, check: bool) -> Result<Chosen<'_>> {
        if !own
            && let Some(to) = endpoint::literal(url)
            && !address::may_lead(from, to)
        {
            let host = url.host_str().unwrap_or_default().to_owned();
            let address = endpoint::address(url).unwrap_or(std::net::Ipv4Addr::LOCALHOST.into());
            let error = Error::new(Kind::Refused, "connect", Inward { host, address });
            return Err(error.at(shown(url)));
        }
        let proxy = self.proxies.find(url);
        let http1 = url.scheme() == "http" || self.fails_http2(url);
        // A proxy looks names up itself; only its own name is looked up here, and the user gave that.
        let reach = if own || proxy.is_some() { Reach::Own } else { Reach::From(from) };
        let versions = if http1 { Versions::Http1 } else { Versions::Agreed };
        let key = self.key(url, versions, reach, check)?;
        let alone = key.alone.is_some();
        let (client, wanted) = self.client(key)?;
        Ok(Chosen { client, proxy, wanted, alone })
    }

    /// A client for `url`, whose host the user named and which speaks nothing but HTTP/2.
    ///
    /// # Errors
    /// A variable or a file that says how to connect is wrong.
    pub(super) fn http2(&self, url: &Url) -> Result<Client> {
        Ok(self.client(self.key(url, Versions::Http2, Reach::Own, true)?)?.0)
    }

    fn key(&self, url: &Url, versions: Versions, reach: Reach, check: bool) -> Result<Key> {
        let plain = url.scheme() == "http";
        Ok(Key {
            plain,
            // Whatever may be wrong with a certificate: http has none.
            check: check || plain,
            versions,
            reach,
            proxy: self.proxies.find(url).map(|p| p.url().map(Url::to_string)).transpose()?,
            certs: if plain { None } else { self.dir(url) },
            alone: Some(origin(url))
                .filter(|origin| self.alone.lock().unwrap_or_else(PoisonError::into_inner).contains(origin)),
        })
    }

    fn client(&self, key: Key) -> Result<(Client, Arc<Wanted>)> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = clients.get(&key) {
            return Ok(built.clone());
        }
        let built = self.build(&key)?;
        clients.insert(key, built.clone());
        Ok(built)
    }

    fn build(&self, key: &Key) -> Result<(Client, Arc<Wanted>)> {
        let fail = |e: reqwest::Error| Error::new(Kind::Internal, "make an HTTP client", e);
        let own = key.certs.as_deref().map(|dir| self.certs.of_host(dir)).transpose()?.unwrap_or_default();
        let builder = || -> Result<reqwest::ClientBuilder> {
            let seen = if key.proxy.is_some() { Arc::default() } else { Arc::clone(&self.seen) };
            let builder = Client::builder()
                .user_agent(&self.user_agent)
                .connect_timeout(self.deadlines.connect)
                .dns_resolver(Resolver { names: Arc::clone(&self.names), seen, reach: key.reach })
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                // Not those of the process: the environment is what gimg was given.
                .no_proxy();
            let builder = match key.versions {
                Versions::Http1 => builder.http1_only(),
                Versions::Agreed => builder,
                Versions::Http2 => builder.http2_prior_knowledge(),
            };
            Ok(match &key.proxy {
                Some(url) => builder.proxy(reqwest::Proxy::all(url).map_err(fail)?),
                None => builder,
            })
        };
        // An https proxy for plain http has a certificate too.
        let tls_proxy = key.proxy.as_ref().is_some_and(|url| url.starts_with("https:"));
        let trust = if !key.check {
            Trust::Anyone
        } else if key.plain && !tls_proxy {
            Trust::Roots(Vec::new())
        } else {
            match self.certs.roots()? {
                Roots::Only(roots) => Trust::Roots(roots.into_iter().chain(own.roots).collect()),
                Roots::AndSystem(roots) if own.identity.is_none() => {
                    let all: Vec<_> = roots.into_iter().chain(own.roots).collect();
                    let known = all.iter().filter_map(|der| reqwest::Certificate::from_der(der).ok());
                    if let Ok(client) = builder()?.tls_certs_merge(known).build() {
                        return Ok((client, Arc::default()));
                    }
                    Trust::Roots(Certs::built_in().into_iter().chain(all).collect())
                }
                // Whoever has a client certificate for a host mostly has the host's CA too.
                Roots::AndSystem(roots) => {
                    let all = Certs::built_in().into_iter().chain(roots).chain(own.roots);
                    Trust::Roots(all.collect())
                }
            }
        };
        let wanted = Arc::default();
        let config = handshake::config(trust, own.identity, key.versions.alpn(), &wanted).map_err(|_| {
            let why = "the client certificate and its key don't belong together";
            let dir = key.certs.as_deref().unwrap_or(Path::new(""));
            Error::new(Kind::Usage, "read certificates", why).at(dir.display())
        })?;
        Ok((builder()?.tls_backend_preconfigured(config).build().map_err(fail)?, wanted))
    }

    fn dir(&self, url: &Url) -> Option<PathBuf> {
        let mut dirs = self.dirs.lock().unwrap_or_else(PoisonError::into_inner);
        let host = origin(url);
        if let Some(known) = dirs.get(&host) {
            return known.clone();
        }
        let found = self.certs.dir(url);
        if dirs.len() < MAX_HOSTS {
            dirs.insert(host, found.clone());
        }
        found
    }

    /// Whether `url` is spoken to in HTTP/1.1 although it offers HTTP/2.
    fn fails_http2(&self, url: &Url) -> bool {
        let failures = self.http2.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&origin(url)).is_some_and(|count| *count >= HTTP2_FAILURES)
    }

    /// Notes that HTTP/2 itself failed at `url`: after two such failures it is HTTP/1.1 for that origin, on
    /// connections of its own.
    pub(super) fn http2_failed(&self, url: &Url) {
        self.count(url, 1);
    }

    /// From now on HTTP/1.1 for the origin of `url`, on new connections.
    pub(super) fn force_http1(&self, url: &Url) {
        self.count(url, HTTP2_FAILURES);
    }

    /// From now on a client of its own for the origin of `url`.
    pub(super) fn set_alone(&self, url: &Url) {
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if alone.len() < MAX_HOSTS {
            alone.insert(origin(url));
        }
    }

    fn count(&self, url: &Url, failures: u32) {
        let mut counts = self.http2.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MAX_HOSTS || counts.contains_key(&origin(url)) {
            *counts.entry(origin(url)).or_default() += failures;
        }
    }
}

/// `scheme://host:port`.
fn origin(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}://{}:{port}", url.scheme(), url.host_str().unwrap_or_default())
}
