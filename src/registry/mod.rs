//! The client of OCI registries (distribution-spec 1.1): a [`Source`](crate::content::Source), and with
//! [`RegistryTarget`] a [`Target`](crate::content::Target). Sockets are opened here and nowhere else.

mod address;
mod ambient;
mod auth;
mod broken;
mod certs;
mod clients;
mod endpoint;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod helper;
mod keychain;
mod login;
mod names;
mod proxy;
mod pull;
pub mod retry;
mod saved;
mod secret;
mod target;
mod tls;
mod token;
mod transport;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderMap;
use reqwest::{Method, Url};

pub use auth::TokenServers;
pub use keychain::{Credential, Keychain};
pub use login::Verified;
pub use names::{Names, System, Unresolved};
pub use proxy::Proxies;
pub use saved::CredentialFile;
pub use secret::Secret;
pub use target::RegistryTarget;
pub use transport::Deadlines;

use crate::error::{Error, Result};
use crate::event::{Event, Observer, Silent};
use crate::oci;
use certs::Certs;
use clients::Clients;
use endpoint::Base;
use failure::{Again, Failure, Refusal};
use retry::Policy;
use secret::{Discreet, Known};
use token::Authorizer;
use transport::{Answer, Body, Outgoing, Transport};

/// Which registries may be reached without a checked certificate, or by plain http.
#[derive(Clone, Debug, Default)]
pub enum Insecure {
    /// Only those on this machine, by http.
    #[default]
    Loopback,
    /// These too: https without a certificate check, and http if that fails.
    Listed(BTreeSet<oci::Registry>),
    /// All of them.
    All,
}

/// What a [`Registry`] client needs to know.
#[derive(Clone)]
pub struct Options {
    /// Which registries may be insecure.
    pub insecure: Insecure,
    /// Where credentials come from.
    pub keychain: Keychain,
    /// Token servers elsewhere that may be given the credentials of a registry.
    pub token_servers: TokenServers,
    /// Who hears of progress, retries and warnings.
    pub observer: Arc<dyn Observer>,
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// PEM certificates to trust besides the system's: the content of `$SSL_CERT_FILE`.
    pub ca: Option<Vec<u8>>,
    /// Directories of PEM certificates to trust too: those of `$SSL_CERT_DIR`.
    pub ca_dirs: Vec<PathBuf>,
    /// Directories called `certs.d`, the most important first: certificates for single hosts.
    pub certs_d: Vec<PathBuf>,
    /// How often requests are tried.
    pub retry: Policy,
    /// How long to wait for what.
    pub deadlines: Deadlines,
    /// Which proxies to use.
    pub proxies: Proxies,
    /// Who looks host names up.
    pub names: Arc<dyn Names>,
}

impl Default for Options {
    /// No credentials, no listener, the system's certificates.
    fn default() -> Self {
        Options {
            insecure: Insecure::default(),
            keychain: Keychain::empty(),
            token_servers: TokenServers::default(),
            observer: Arc::new(Silent),
            user_agent: format!("gimg/{}", env!("CARGO_PKG_VERSION")),
            ca: None,
            ca_dirs: Vec::new(),
            certs_d: Vec::new(),
            retry: Policy::default(),
            deadlines: Deadlines::default(),
            proxies: Proxies::default(),
            names: Arc::new(System),
        }
    }
}

/// A client of any number of registries. Cheap to clone: connections and tokens are shared.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    transport: Arc<Transport>,
    keychain: Keychain,
    token_servers: TokenServers,
    /// What must not be shown of what servers say.
    known: Arc<Known>,
    observer: Arc<dyn Observer>,
    policy: Policy,
    insecure: Insecure,
    hosts: Mutex<BTreeMap<oci::Registry, Arc<Host>>>,
}

/// What is known of one registry.
#[derive(Default)]
struct Host {
    /// How it is reached. Held while that is found out: others wait for it instead of asking too.
    base: tokio::sync::Mutex<Option<Base>>,
    authorizer: Authorizer,
}

/// Where a request goes.
enum To {
    /// Below `/v2/<repository>/`.
    Path(String),
    /// A location that the registry gave.
    Url(Url),
}

/// A request to a repository; can be sent again.
struct Call<'a> {
    /// The request in words, for errors.
    what: String,
    repository: &'a oci::Repository,
    method: Method,
    to: To,
    headers: HeaderMap,
    body: Body,
    /// Whether it needs the right to push.
    push: bool,
    /// The repository that it mounts from.
    mount: Option<&'a oci::Repository>,
}

impl<'a> Call<'a> {
    /// A request for `path` below `/v2/<repository>/`, without headers, body or the right to push.
    fn new(method: Method, repository: &'a oci::Repository, path: String, what: String) -> Self {
        Call {
            what,
            repository,
            method,
            to: To::Path(path),
            headers: HeaderMap::new(),
            body: Body::Empty,
            push: false,
            mount: None,
        }
    }

    /// How many bytes it sends.
    fn size(&self) -> u64 {
        match &self.body {
            Body::Empty => 0,
            Body::Bytes(bytes) | Body::Private(bytes) => bytes.len() as u64,
            Body::Upload(upload) => upload.size(),
        }
    }
}

impl Registry {
    /// A client; nothing is connected yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let certs = Certs::new(options.ca, options.ca_dirs, options.certs_d, Arc::clone(&options.observer));
        let clients =
            Clients::new(options.user_agent, options.deadlines, options.names, options.proxies, certs);
        let known = Arc::<Known>::default();
        Registry(Arc::new(Inner {
            transport: Arc::new(Transport::new(clients, options.deadlines, Arc::clone(&known))),
            keychain: options.keychain,
            token_servers: options.token_servers,
            observer: Arc::new(Discreet { known: Arc::clone(&known), observer: options.observer }),
            known,
            policy: options.retry,
            insecure: options.insecure,
            hosts: Mutex::default(),
        }))
    }

    /// `error` without the secrets that a server may have written into it: what leaves this module went through here.
    fn clean(&self, error: Error) -> Error {
        self.0.known.clean(error)
    }

    /// Sends a request, as often as the policy says.
    ///
    /// # Errors
    /// No answer, or one that is temporary even at the last try. Every other status is an answer.
    async fn send(&self, call: &Call<'_>) -> Result<Answer> {
        let mut failed = 0;
        loop {
            match self.try_once(call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.pause(&mut failed, failure, &call.what).await?,
            }
        }
    }

    /// Waits before the next try, or gives up with the error of the last one.
    async fn pause(&self, failed: &mut u32, failure: Failure, what: &str) -> Result<()> {
        *failed += 1;
        let pause = match failure.again {
            Again::No => None,
            Again::Yes(asked) => self.0.policy.pause(*failed, asked),
        };
        let Some(delay) = pause else { return Err(failure.error) };
        self.0.observer.on(Event::Retry { what: what.to_owned(), why: failure.error.to_string(), delay });
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Sends a request once; twice if the first was only to learn what authorization is wanted.
    async fn try_once(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let inner = &*self.0;
        let registry = call.repository.registry();
        let host = {
            let mut hosts = inner.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(registry.clone()).or_default())
        };
        let base = host.base(inner, registry).await?;
        let url = match &call.to {
            To::Path(path) => base.at(&format!("/v2/{}/{path}", call.repository.path()))?,
            To::Url(url) => url.clone(),
        };
        // A location elsewhere is a signed one: our authorization is none of its business.
        let own = endpoint::same_origin(&url, &base.url);
        let mut scopes = auth::scopes(call.repository, call.push, call.mount);
        let mut again = own;
        loop {
            let (authorization, used) = if own {
                host.authorizer.header(inner, &base, call.repository, &scopes, call.size()).await?
            } else {
                (None, token::Used::Nothing)
            };
            let out = Outgoing {
                method: call.method.clone(),
                url: url.clone(),
                headers: call.headers.clone(),
                body: &call.body,
                what: &call.what,
            };
            let answer = inner.transport.exchange(out, authorization, &base).await?;
            host.authorizer.heard(registry, &used, answer.status());
            if answer.status() == 401 && again && host.authorizer.refused(&answer, &used).await {
                again = false;
                if let Some(asked) = host.authorizer.asked_scope() {
                    scopes = auth::merge(scopes, &asked);
                }
                continue;
            }
            if retry::is_temporary(answer.status()) {
                return Err(Refusal::read(answer).await.failure(&call.what, registry));
            }
            return Ok(answer);
        }
    }
}

impl Host {
    /// How the registry is reached: asked once, remembered when it answered.
    async fn base(&self, inner: &Inner, registry: &oci::Registry) -> Result<Base, Failure> {
        let mut known = self.base.lock().await;
        if let Some(base) = &*known {
            return Ok(base.clone());
        }
        let insecure = match &inner.insecure {
            Insecure::Loopback => false,
            Insecure::Listed(listed) => listed.contains(registry),
            Insecure::All => true,
        };
        let (base, answer) = endpoint::probe(&inner.transport, registry, insecure).await?;
        if answer.status() == 401 {
            self.authorizer.learn(&answer);
        }
        *known = Some(base.clone());
        Ok(base)
    }
}

/// The error of an answer that isn't the one that was hoped for.
async fn refusal(call: &Call<'_>, answer: Answer) -> Error {
    Refusal::read(answer).await.error(&call.what, call.repository.registry())
}
