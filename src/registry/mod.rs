//! The client of OCI registries (distribution-spec 1.1): a [`Source`](crate::content::Source), and with
//! [`RegistryTarget`] a [`Target`](crate::content::Target). Sockets are opened here and nowhere else.

mod address;
mod ambient;
mod auth;
mod beside;
mod broken;
mod certs;
mod chunks;
mod clients;
mod endpoint;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
mod helper;
mod keychain;
pub mod link;
mod login;
mod manifests;
mod mirrors;
mod names;
mod pace;
mod proxy;
mod pull;
mod referrers;
pub mod retry;
mod rules;
mod saved;
mod secret;
mod sessions;
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
pub use certs::certs_d;
pub use keychain::{Credential, Keychain};
pub use login::Verified;
pub use names::{Names, System, Unresolved};
pub use proxy::Proxies;
pub use rules::Rules;
pub use saved::CredentialFile;
pub use secret::Secret;
pub use target::RegistryTarget;
pub use transport::Deadlines;

use crate::content::{BoxFuture, Locks};
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer, Silent};
use crate::oci;
use certs::Certs;
use clients::Clients;
use endpoint::Base;
use failure::{Again, Failure, Refusal};
use pace::Pace;
use retry::{Chance, Next, Policy, Tries};
use secret::{Discreet, Known};
use sessions::Sessions;
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
    /// Mirrors, and registries that are insecure or blocked.
    pub rules: Rules,
    /// Who looks host names up.
    pub names: Arc<dyn Names>,
    /// Whether nothing is asked at all.
    pub offline: bool,
    /// Keeps other processes of this machine from writing the same list of referrers at the same time.
    pub locks: Option<Arc<dyn Locks>>,
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
            rules: Rules::default(),
            names: Arc::new(System),
            offline: false,
            locks: None,
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
    chance: Chance,
    insecure: Insecure,
    rules: Rules,
    failed_mirrors: mirrors::Failed,
    /// By name, and by whether it may be insecure: a rule can be for a part of a registry.
    hosts: Mutex<BTreeMap<(oci::Registry, bool), Arc<Host>>>,
    /// How fast each registry is asked.
    paces: Mutex<BTreeMap<oci::Registry, Arc<Pace>>>,
    sessions: Sessions,
    /// Who writes which list of referrers.
    lists: referrers::Turns,
}

/// What is known of one registry.
#[derive(Default)]
struct Host {
    /// Whether it may be reached without a checked certificate or by http.
    insecure: bool,
    /// How it is reached. Held while that is found out: others wait for it instead of asking too.
    base: tokio::sync::Mutex<Option<Base>>,
    authorizer: Authorizer,
    pace: Arc<Pace>,
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
        let discreet = Discreet { known: Arc::clone(&known), observer: options.observer };
        let observer: Arc<dyn Observer> = Arc::new(discreet);
        Registry(Arc::new(Inner {
            transport: Arc::new(Transport::new(
                clients,
                options.deadlines,
                (Arc::clone(&known), Arc::clone(&observer)),
                options.offline,
            )),
            keychain: options.keychain,
            token_servers: options.token_servers,
            observer,
            known,
            policy: options.retry,
            chance: Chance::new(options.retry.seed),
            insecure: options.insecure,
            rules: options.rules,
            failed_mirrors: mirrors::Failed::default(),
            hosts: Mutex::default(),
            paces: Mutex::default(),
            sessions: Sessions::default(),
            lists: referrers::Turns::new(options.locks),
        }))
    }

    /// A client that refuses to ask anything.
    #[must_use]
    pub fn offline(observer: Arc<dyn Observer>) -> Self {
        Registry::new(Options { observer, offline: true, ..Options::default() })
    }

    /// A client for a server that is no registry but was named by the user, such as a remote build cache: certificates,
    /// proxies and names are as for registries. It follows no redirects, and sends no credentials.
    ///
    /// # Errors
    /// A variable or a file that says how to connect is wrong.
    pub fn client_for(&self, url: &Url) -> Result<reqwest::Client> {
        self.0.transport.client_for(url)
    }

    /// The same for a server that speaks HTTP/2 only, also where nothing is encrypted: one of gRPC.
    ///
    /// # Errors
    /// As [`Registry::client_for`].
    pub fn http2_client_for(&self, url: &Url) -> Result<reqwest::Client> {
        self.0.transport.http2_client_for(url)
    }

    /// `work`, whose error leaves this module without the secrets that a server may have written into it.
    fn guarded<'a, T>(
        &'a self,
        work: impl Future<Output = Result<T>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move { work.await.map_err(|error| self.0.known.clean(error)) })
    }

    /// The tries of putting or getting a blob at `registry`.
    fn blob_tries(&self, registry: &oci::Registry) -> Tries {
        Tries::new(registry, self.0.policy.blob_budget)
    }

    /// The tries of putting or getting a manifest at `registry`.
    fn manifest_tries(&self, registry: &oci::Registry) -> Tries {
        Tries::new(registry, self.0.policy.manifest_budget)
    }

    /// Sends a request, as often as the policy says.
    ///
    /// # Errors
    /// No answer, or one that is temporary even at the last try. Every other status is an answer.
    async fn send(&self, call: &Call<'_>) -> Result<Answer> {
        let mut tries = self.manifest_tries(call.repository.registry());
        loop {
            match self.try_once(call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.pause(&mut tries, failure, &call.what).await?,
            }
        }
    }

    /// Waits before the next try, or gives up with the error of the last one.
    async fn pause(&self, tries: &mut Tries, failure: Failure, what: &str) -> Result<()> {
        let inner = &*self.0;
        let Failure { error, again, busy, .. } = failure;
        let Again::Yes(asked) = again else { return Err(error) };
        let delay = match tries.fail(&inner.policy, asked, busy, inner.chance.next()) {
            Next::Wait(delay) => delay,
            Next::GiveUp if tries.failed > 1 => {
                return Err(error.and(format!("{} times in a row", tries.failed)));
            }
            Next::GiveUp => return Err(error),
            Next::TooLong(asked) => {
                let most = inner.policy.retry_after_cap;
                return Err(
                    error.and(format!("and asks for a pause of {asked:?}; gimg waits for {most:?} at most"))
                );
            }
        };
        let registry = &tries.registry;
        if !busy {
            inner.observer.on(Event::Retry { what: what.to_owned(), why: error.to_string(), delay });
        } else if inner.pace(registry).hold(delay) {
            let what = format!("all requests to {registry}");
            inner.observer.on(Event::Retry { what, why: error.to_string(), delay });
        } else {
            inner.observer.on(Event::Detail(format!("waits too: {error}")));
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Sends a request once; twice if the first was only to learn what authorization is wanted.
    async fn try_once(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let inner = &*self.0;
        let registry = call.repository.registry();
        let name = call.repository.to_string();
        if let Some(file) = inner.rules.blocked(&name) {
            let why = format!("{name} is blocked");
            return Err(Error::new(Kind::Input, &call.what, why).at(file.display()).into());
        }
        let host = inner.host(registry, &name);
        let base = host.base(inner, registry).await?;
        let url = match &call.to {
            To::Path(path) => base.at(&format!("/v2/{}/{path}", call.repository.path()))?,
            To::Url(url) => url.clone(),
        };
        // A location elsewhere is a signed one: our authorization is none of its business.
        let own = endpoint::same_origin(&url, &base.url);
        let mut scopes = auth::scopes(call.repository, call.push, call.mount);
        let mut again = own;
        // A body may be what an upload to the same registry waits for.
        let queues = call.push || call.method != Method::GET;
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
            let turn = host.pace.enter(queues).await;
            let mut answer = inner.transport.exchange(out, authorization, &base).await?;
            host.authorizer.heard(registry, &used, answer.status());
            if answer.status() == 401 && again && host.authorizer.refused(&answer, &used).await {
                again = false;
                if let Some(asked) = host.authorizer.asked_scope() {
                    scopes = auth::merge(scopes, &asked);
                }
                // What was sent with an upload is gone, and perhaps its session: whoever sent it begins again.
                if let Body::Upload(_) = call.body {
                    return Ok(answer);
                }
                continue;
            }
            if answer.status() < 400 {
                host.pace.answered();
                return Ok(answer);
            }
            answer.keep_start(failure::MAX_ERROR_BODY).await;
            let refusal = Refusal::of(&answer);
            if !refusal.temporary() {
                host.pace.answered();
                return Ok(answer);
            }
            let failure = refusal.failure(&call.what, registry);
            if failure.busy {
                host.pace.refused(turn.start);
            }
            return Err(failure);
        }
    }
}

impl Inner {
    /// The pace of a registry.
    fn pace(&self, registry: &oci::Registry) -> Arc<Pace> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(paces.entry(registry.clone()).or_default())
    }

    /// What is known of `registry`, for `name` of it: itself, or a repository.
    fn host(&self, registry: &oci::Registry, name: &str) -> Arc<Host> {
        let insecure = match &self.insecure {
            Insecure::Loopback => false,
            Insecure::Listed(listed) => listed.contains(registry),
            Insecure::All => true,
        };
        let insecure = insecure || self.rules.insecure(name);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry((registry.clone(), insecure));
        Arc::clone(
            host.or_insert_with(|| Arc::new(Host { insecure, pace: self.pace(registry), ..Host::default() })),
        )
    }
}

impl Host {
    /// How the registry is reached: asked once, remembered when it answered.
    async fn base(&self, inner: &Inner, registry: &oci::Registry) -> Result<Base, Failure> {
        let mut known = self.base.lock().await;
        if let Some(base) = &*known {
            return Ok(base.clone());
        }
        let (base, answer) = endpoint::probe(&inner.transport, registry, self.insecure).await?;
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
