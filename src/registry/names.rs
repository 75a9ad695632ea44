//! Host names to addresses, and the guard at that point: whoever sends us elsewhere must not send us inside.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::content::BoxFuture;
use crate::registry::address::{self, Class};

/// Turns host names into addresses. The system does ([`System`]); tests have their own.
pub trait Names: Send + Sync {
    /// The addresses of `host`, the best first.
    ///
    /// # Errors
    /// The name has none, or nobody could say.
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, Unresolved>>;

    /// The address to connect to for one that was looked up: the same, but in tests, where a public address
    /// must be on this machine (curl's `--connect-to`).
    fn dial(&self, address: IpAddr) -> IpAddr {
        address
    }
}

/// A name that has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// There is no such name (NXDOMAIN), or it has no addresses: asking again won't help.
    Unknown(String),
    /// The resolver couldn't say now (SERVFAIL, no answer; `EAI_AGAIN`).
    Temporary(String),
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unresolved::Unknown(host) => write!(f, "there is no host {host}"),
            Unresolved::Temporary(host) => write!(f, "the address of {host} can't be looked up now"),
        }
    }
}

impl std::error::Error for Unresolved {}

/// The system's resolver (`getaddrinfo`).
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// What C libraries and Windows say of names that have no addresses. `std` hands on the text, not the code.
const UNKNOWN: [&str; 8] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "Name has no usable address",
    "nodename nor servname provided",
    "No such host is known",
    "os error 11001",
    "os error 11004",
];

impl Names for System {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, Unresolved>> {
        Box::pin(async move {
            match tokio::net::lookup_host((host, 0)).await {
                Ok(found) => {
                    let mut all: Vec<IpAddr> = Vec::new();
                    for address in found.map(|a| a.ip()) {
                        if !all.contains(&address) {
                            all.push(address);
                        }
                    }
                    Ok(all)
                }
                Err(error) => {
                    let text = error.to_string();
                    let unknown = UNKNOWN.iter().any(|known| text.contains(known));
                    Err(if unknown { Unresolved::Unknown } else { Unresolved::Temporary }(host.to_owned()))
                }
            }
        })
    }
}

/// Whether `host` names this machine whatever DNS says (RFC 6761, section 6.3).
pub(super) fn is_local(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host == "localhost" || host.ends_with(".localhost")
}

/// The addresses of `host`; at least one.
async fn addresses(names: &dyn Names, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
    if is_local(host) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let all = names.lookup(host).await?;
    if all.is_empty() { Err(Unresolved::Unknown(host.to_owned())) } else { Ok(all) }
}

/// An address where a server had no business to send us: nothing was sent there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inward {
    /// The host of the URL.
    pub(super) host: String,
    /// What it stands for.
    pub(super) address: IpAddr,
}

impl fmt::Display for Inward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.address.to_string() == self.host.trim_matches(['[', ']']) {
            return write!(f, "it leads to the internal address {}", self.address);
        }
        write!(f, "it leads to {}, which is the internal address {}", self.host, self.address)
    }
}

impl std::error::Error for Inward {}

/// What is known of where registries are: the class of each host that a client of its own has reached.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<BTreeMap<String, Class>>);

impl Seen {
    /// Notes what `host` was found to be. A host that was public once stays so: its name could be made to
    /// point inside later.
    fn note(&self, host: &str, found: Class) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(host.to_owned()).and_modify(|class| *class = found.min(*class)).or_insert(found);
    }

    /// The class of `host`, a name: public as long as nothing else is known.
    pub(super) fn class(&self, host: &str) -> Class {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(host).copied().unwrap_or(Class::Public)
    }
}

/// What a client may connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Whatever the name stands for: the user named the host.
    Own,
    /// What a server of this class may send us to.
    From(Class),
}

/// The resolver of one HTTP client.
pub(super) struct Resolver {
    pub(super) names: Arc<dyn Names>,
    pub(super) seen: Arc<Seen>,
    pub(super) reach: Reach,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (names, seen, reach) = (Arc::clone(&self.names), Arc::clone(&self.seen), self.reach);
        let host = name.as_str().to_owned();
        Box::pin(async move {
            let mut all = addresses(&*names, &host).await?;
            match reach {
                Reach::Own => {
                    if let Some(class) = all.iter().map(|ip| address::class(*ip)).min() {
                        seen.note(&host, class);
                    }
                }
                Reach::From(class) => {
                    let first = all[0];
                    all.retain(|ip| address::may_lead(class, address::class(*ip)));
                    if all.is_empty() {
                        return Err(Inward { host, address: first }.into());
                    }
                }
            }
            // The port is the URL's.
            let all: Vec<_> = all.into_iter().map(|ip| SocketAddr::new(names.dial(ip), 0)).collect();
            Ok(Box::new(all.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_public_once_stays_public() {
        let seen = Seen::default();
        assert_eq!(seen.class("r.io"), Class::Public);
        seen.note("r.io", Class::Private);
        assert_eq!(seen.class("r.io"), Class::Private);
        seen.note("r.io", Class::Public);
        seen.note("r.io", Class::Loopback);
        assert_eq!(seen.class("r.io"), Class::Public);
    }

    #[test]
    fn local_names_need_no_dns() {
        for host in ["localhost", "localhost.", "a.localhost"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["localhost.io", "mylocalhost", "r.io"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_not_a_name_for_which_nobody_answers() {
        // `.invalid` never exists (RFC 6761); without any resolver nobody can say so.
        let found = System.lookup("nothing.invalid").await.unwrap_err();
        let host = "nothing.invalid".to_owned();
        assert!([Unresolved::Unknown(host.clone()), Unresolved::Temporary(host)].contains(&found));
        assert_eq!(System.lookup("127.0.0.1").await.unwrap(), [IpAddr::from([127, 0, 0, 1])]);
    }
}
