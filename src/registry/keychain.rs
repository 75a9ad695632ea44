//! Credentials from docker's and podman's configuration files.
#![expect(clippy::disallowed_methods, reason = "edge: reads the user's credential files")]

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::event::{Event, Observer};
use crate::oci;
use crate::registry::ambient::{self, Ambient};
use crate::registry::helper::{Helpers, Outcome};
use crate::registry::secret::Secret;

/// Docker Hub's key in configuration files and credential stores.
pub(super) const HUB: &str = "https://index.docker.io/v1/";

/// What a registry may be told about who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Anonymous,
    /// A user name with a password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, to be traded for registry tokens (`identitytoken`).
    Identity {
        /// The user name that goes with it where only Basic is understood.
        username: String,
        /// The refresh token.
        token: Secret,
    },
    /// A registry token, used as it is (`registrytoken`).
    Token(Secret),
}

/// One configuration file, with keys brought to one form.
struct Config {
    place: String,
    auths: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

/// Every place that credentials come from. Cheap to clone; helpers are asked once each.
#[derive(Clone)]
pub struct Keychain(Arc<Inner>);

struct Inner {
    configs: Vec<Config>,
    helpers: Helpers,
    ambient: Ambient,
}

/// A credential, and where it comes from if nobody named it for the registry.
pub(super) struct Found {
    pub(super) credential: Credential,
    /// In words. It is offered by the surroundings: it may be of no use for what is asked.
    pub(super) offered: Option<String>,
}

impl From<Credential> for Found {
    fn from(credential: Credential) -> Self {
        Found { credential, offered: None }
    }
}

impl fmt::Debug for Keychain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.configs.iter().map(|c| &c.place)).finish()
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: Option<Secret>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    identitytoken: Option<Secret>,
    #[serde(default)]
    registrytoken: Option<Secret>,
}

impl Keychain {
    /// No credentials at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Vec::new(), &BTreeMap::new())
    }

    fn of(configs: Vec<Config>, env: &BTreeMap<String, String>) -> Self {
        let (helpers, ambient) = (Helpers::new(env.clone()), Ambient::read(env));
        Keychain(Arc::new(Inner { configs, helpers, ambient }))
    }

    /// One user name and password for `registry`, and nothing else.
    #[must_use]
    pub fn single(registry: &oci::Registry, username: &str, password: Secret) -> Self {
        let credential = Credential::Basic { username: username.to_owned(), password };
        let config = Config {
            place: "given".to_owned(),
            auths: BTreeMap::from([(registry.to_string(), credential)]),
            helpers: BTreeMap::new(),
            store: None,
        };
        Self::of(vec![config], &BTreeMap::new())
    }

    /// Reads the configuration that `env` points to, in docker's and podman's order: `$DOCKER_AUTH_CONFIG`
    /// (the JSON itself), `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, `$REGISTRY_AUTH_FILE`,
    /// `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json`. Missing files are skipped.
    /// After them come the tokens of CI systems, and the helpers of clouds. `env` is also the environment of
    /// credential helpers.
    ///
    /// # Errors
    /// [`Kind::Auth`] for a file that can't be read or understood; its values are never shown.
    pub fn load(env: &BTreeMap<String, String>) -> Result<Self> {
        let get = |name: &str| env.get(name).filter(|v| !v.is_empty());
        let dir = |name: &str| get(name).map(PathBuf::from);
        let home = home(env);
        let user = dir("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|h| h.join(".config")));
        let paths = [
            docker_file(env),
            dir("REGISTRY_AUTH_FILE"),
            dir("XDG_RUNTIME_DIR").map(|d| d.join("containers/auth.json")),
            user.map(|d| d.join("containers/auth.json")),
        ];
        let mut configs = Vec::new();
        if let Some(text) = get("DOCKER_AUTH_CONFIG") {
            configs.push(Config::parse("$DOCKER_AUTH_CONFIG".to_owned(), text.as_bytes())?);
        }
        for path in paths.into_iter().flatten() {
            configs.extend(Config::read(&path)?);
        }
        Ok(Self::of(configs, env))
    }

    /// The credential for `repository`: of the first file that has one, else what the surroundings offer. In a
    /// file, the registry's helper comes before the store, and the store before what the file itself says.
    ///
    /// # Errors
    /// [`Kind::Auth`] for a helper that fails; a global store that isn't installed is only a warning, and one that
    /// nobody named a detail.
    pub async fn find(&self, repository: &oci::Repository, observer: &dyn Observer) -> Result<Credential> {
        Ok(self.look_up(repository, observer).await?.credential)
    }

    /// As [`Keychain::find`], with where the credential comes from if nobody named it.
    pub(super) async fn look_up(
        &self,
        repository: &oci::Repository,
        observer: &dyn Observer,
    ) -> Result<Found> {
        let configured = self.configured(repository, observer).await?;
        if configured != Credential::Anonymous {
            return Ok(configured.into());
        }
        let registry = repository.registry().as_str();
        if let Some((credential, origin)) = self.0.ambient.token(registry) {
            return Ok(Found { credential: credential.clone(), offered: Some(origin.to_owned()) });
        }
        for name in ambient::helpers(repository.registry()) {
            if let Outcome::Found(credential) = self.0.helpers.offered(name, registry, observer).await {
                return Ok(Found { credential, offered: Some(format!("docker-credential-{name}")) });
            }
        }
        Ok(Credential::Anonymous.into())
    }

    /// What the files say.
    async fn configured(&self, repository: &oci::Repository, observer: &dyn Observer) -> Result<Credential> {
        let registry = repository.registry().as_str();
        let server = if registry == "docker.io" { HUB } else { registry };
        for config in &self.0.configs {
            if let Some(name) = config.helpers.get(registry) {
                match self.0.helpers.get(name, server).await.map_err(|e| e.at(&config.place))? {
                    Outcome::Found(credential) => return Ok(credential),
                    Outcome::NotFound => {}
                    Outcome::Missing => {
                        let why = format!("docker-credential-{name} is not installed");
                        let what = format!("get the credentials for {registry}");
                        return Err(Error::new(Kind::Auth, what, why).at(&config.place));
                    }
                }
            } else if let Some(name) = &config.store {
                match self.0.helpers.get(name, server).await.map_err(|e| e.at(&config.place))? {
                    Outcome::Found(credential) => return Ok(credential),
                    Outcome::NotFound => {}
                    Outcome::Missing => {
                        if self.0.helpers.first_warning(name) {
                            observer.on(Event::Warning(format!(
                                "{} names the credential store {name}, but docker-credential-{name} is not \
                                 installed; it is left out",
                                config.place
                            )));
                        }
                    }
                }
            }
            if let Some(credential) = config.entry(repository) {
                return Ok(credential.clone());
            }
        }
        Ok(Credential::Anonymous)
    }
}

impl Config {
    fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(path.display().to_string(), &bytes).map(Some),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(Error::new(Kind::Auth, "read registry credentials", error).at(path.display())),
        }
    }

    fn parse(place: String, bytes: &[u8]) -> Result<Self> {
        let bad = |why: String| Error::new(Kind::Auth, "read registry credentials", why).at(&place);
        let blank = bytes.iter().all(u8::is_ascii_whitespace);
        let file: File = if blank { Ok(File::default()) } else { serde_json::from_slice(bytes) }
            // serde's own message could quote a value.
            .map_err(|e| {
                bad(format!("not a docker configuration, line {} column {}", e.line(), e.column()))
            })?;
        let mut auths = BTreeMap::new();
        for (key, entry) in file.auths {
            let credential = entry.unwrap_or_default().credential();
            let credential = credential.map_err(|why| {
                // A key may be a URL with a password in it.
                let host = normal(&key);
                bad(format!("auths \"{}\": {why}", host.rsplit('@').next().unwrap_or_default()))
            })?;
            if let Some(credential) = credential {
                auths.insert(normal(&key), credential);
            }
        }
        let helpers = file.cred_helpers.unwrap_or_default();
        let helpers = helpers.into_iter().map(|(key, name)| (normal(&key), name)).collect();
        let store = file.creds_store.filter(|s| !s.is_empty());
        Ok(Config { place, auths, helpers, store })
    }

    /// The entry with the longest prefix of the repository's path.
    fn entry(&self, repository: &oci::Repository) -> Option<&Credential> {
        let full = repository.to_string();
        let mut key = full.as_str();
        loop {
            if let Some(credential) = self.auths.get(key) {
                return Some(credential);
            }
            key = key.rsplit_once('/')?.0;
        }
    }
}

impl Entry {
    /// The credential of an entry, or what is wrong with it, without its values.
    fn credential(self) -> Result<Option<Credential>, &'static str> {
        let full = |s: &Secret| !s.expose().is_empty();
        let (mut username, mut password) = (self.username, self.password);
        if let Some(auth) = self.auth.filter(full) {
            let decoded = base64::engine::general_purpose::STANDARD.decode(auth.expose().trim());
            let decoded = decoded.ok().and_then(|d| String::from_utf8(d).ok());
            let decoded = decoded.ok_or("auth is not base64 text")?;
            let (user, pass) = decoded.split_once(':').ok_or("auth has no colon")?;
            username = Some(user.to_owned());
            password = Some(Secret::new(pass.trim_end_matches('\0')));
        }
        if let Some(token) = self.registrytoken.filter(full) {
            return Ok(Some(Credential::Token(token)));
        }
        if let Some(token) = self.identitytoken.filter(full) {
            return Ok(Some(Credential::Identity { username: username.unwrap_or_default(), token }));
        }
        Ok(match (username, password) {
            (Some(username), Some(password)) if !username.is_empty() => Some(match username.as_str() {
                "<token>" => Credential::Identity { username, token: password },
                _ => Credential::Basic { username, password },
            }),
            _ => None,
        })
    }
}

/// The user's directory.
fn home(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let dir = |name: &str| env.get(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    dir("HOME").or_else(|| dir("USERPROFILE"))
}

/// docker's file: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
pub(super) fn docker_file(env: &BTreeMap<String, String>) -> Option<PathBuf> {
    let dir = env.get("DOCKER_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from);
    Some(dir.or_else(|| home(env).map(|h| h.join(".docker")))?.join("config.json"))
}

/// A key as `registry[/path]`: without scheme, API version and trailing slashes, Docker Hub by one name.
pub(super) fn normal(key: &str) -> String {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host = match host.to_ascii_lowercase().as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    };
    if matches!(path, "" | "v1" | "v2") { host } else { format!("{host}/{path}") }
}

#[cfg(test)]
#[path = "keychain_tests.rs"]
mod tests;
