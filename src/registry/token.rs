//! Authorization of requests to one registry: challenges learned, tokens fetched and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::time::Instant;

use crate::error::{Error, Kind};
use crate::event::Event;
use crate::oci;
use crate::registry::Inner;
use crate::registry::auth::{self, Challenge, Realm};
use crate::registry::endpoint::Base;
use crate::registry::failure::{Failure, Refusal, shown};
use crate::registry::keychain::{Credential, Secret};
use crate::registry::transport::{Answer, Body, Outgoing};

/// The largest answer of a token server, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;
/// How long a token lasts that doesn't say (distribution's token specification).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// What a request was sent with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Used {
    /// No authorization: nobody asked, or there are no credentials.
    Nothing,
    /// Credentials as they are.
    Fixed,
    /// A token, and the scopes that it is kept by.
    Token(String, HeaderValue),
}

/// A token until it should not be used any more.
struct Token {
    value: HeaderValue,
    until: Instant,
}

/// Authorization at one registry.
#[derive(Default)]
pub(super) struct Authorizer {
    /// What the registry asked for last.
    challenge: Mutex<Option<Challenge>>,
    /// Tokens by scopes. Held while one is fetched: others wait for it instead of asking too.
    tokens: tokio::sync::Mutex<BTreeMap<String, Token>>,
    warned: Mutex<BTreeSet<String>>,
}

impl Authorizer {
    /// Learns from the challenges of a 401; false if there is none that gimg can meet.
    pub(super) fn learn(&self, answer: &Answer) -> bool {
        let all = answer.headers(WWW_AUTHENTICATE.as_str());
        let usable = |c: &Challenge| match c.scheme.as_str() {
            "basic" => true,
            "bearer" => c.param("realm").is_some(),
            _ => false,
        };
        let Some(found) = all.iter().flat_map(|h| auth::parse(h)).find(usable) else { return false };
        *self.challenge.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        true
    }

    /// Whether a request that got 401 with `used` should be sent again; `answer` is that 401.
    pub(super) async fn refused(&self, answer: &Answer, used: &Used) -> bool {
        let learned = self.learn(answer);
        match used {
            Used::Nothing => learned,
            Used::Fixed => false,
            Used::Token(key, value) => {
                // Another request may have replaced the token already.
                let mut tokens = self.tokens.lock().await;
                if tokens.get(key).is_some_and(|token| token.value == *value) {
                    tokens.remove(key);
                }
                true
            }
        }
    }

    /// The scope that the last challenge named.
    pub(super) fn asked_scope(&self) -> Option<String> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        challenge.as_ref()?.param("scope").map(str::to_owned)
    }

    /// The token server that the last challenge named, and what it may be told.
    pub(super) fn realm(&self, base: &Base, registry: &oci::Registry) -> Option<(Url, Realm)> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        let realm =
            base.url.join(challenge.as_ref()?.param("realm").filter(|_| is_bearer(&challenge))?).ok()?;
        let judged = auth::judge(registry, &base.url, &realm);
        Some((realm, judged))
    }

    /// The `Authorization` of a request to `repository` that needs `scopes`.
    pub(super) async fn header(
        &self,
        cx: &Inner,
        base: &Base,
        repository: &oci::Repository,
        scopes: &[String],
    ) -> Result<(Option<HeaderValue>, Used), Failure> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(challenge) = challenge else { return Ok((None, Used::Nothing)) };
        if challenge.scheme == "basic" {
            let credential = cx.keychain.find(repository, &*cx.observer).await?;
            let header = basic(&credential);
            let used = if header.is_some() { Used::Fixed } else { Used::Nothing };
            return Ok((header, used));
        }
        let key = scopes.join(" ");
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(&key).filter(|t| t.until > Instant::now()) {
            return Ok((Some(token.value.clone()), Used::Token(key, token.value.clone())));
        }
        let credential = cx.keychain.find(repository, &*cx.observer).await?;
        if let Credential::Token(token) = &credential {
            return Ok((bearer(token.expose()), Used::Fixed));
        }
        let ask = Ask { cx, base, registry: repository.registry(), challenge: &challenge, scopes };
        let token = self.fetch(&ask, credential).await?;
        let value = token.value.clone();
        tokens.insert(key.clone(), token);
        Ok((Some(value.clone()), Used::Token(key, value)))
    }

    async fn fetch(&self, ask: &Ask<'_>, credential: Credential) -> Result<Token, Failure> {
        let what = format!("get a token for {}", ask.registry);
        let refuse = |realm: &str, why: String| {
            Error::new(Kind::Auth, &what, format!("its token server can't be trusted: {why}")).at(realm)
        };
        let realm = ask.challenge.param("realm").unwrap_or_default();
        let realm = ask.base.url.join(realm).map_err(|e| refuse("", e.to_string()))?;
        let credential = match auth::judge(ask.registry, &ask.base.url, &realm) {
            Realm::Trusted => credential,
            Realm::Refused(why) => return Err(refuse(&shown(&realm), why).into()),
            Realm::Anonymous(_) if matches!(credential, Credential::Anonymous) => credential,
            Realm::Anonymous(why) => {
                let text =
                    format!("credentials for {} are not sent to {}: {why}", ask.registry, shown(&realm));
                if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
                    ask.cx.observer.on(Event::Warning(text));
                }
                Credential::Anonymous
            }
        };
        if let Credential::Identity { token, .. } = &credential {
            match ask.post(&what, realm.clone(), token).await {
                Ok(token) => return Ok(token),
                // Registries without the OAuth2 endpoint answer with one of these.
                Err(refusal) if matches!(refusal.status, Some(400 | 401 | 404 | 405)) => {}
                Err(refusal) => return Err(refusal.failure),
            }
        }
        ask.get(&what, realm, &credential).await.map_err(|r| r.failure)
    }
}

fn is_bearer(challenge: &Option<Challenge>) -> bool {
    challenge.as_ref().is_some_and(|c| c.scheme == "bearer")
}

/// A question to a token server.
struct Ask<'a> {
    cx: &'a Inner,
    base: &'a Base,
    registry: &'a oci::Registry,
    challenge: &'a Challenge,
    scopes: &'a [String],
}

/// A token server's no, with the status if it answered.
struct Denied {
    status: Option<u16>,
    failure: Failure,
}

impl From<Failure> for Denied {
    fn from(failure: Failure) -> Self {
        Denied { status: None, failure }
    }
}

/// What a token server answers (distribution's token specification, and OAuth2).
#[derive(Deserialize)]
struct Granted {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<f64>,
}

impl Ask<'_> {
    /// `GET realm?service=&scope=`, with Basic if there are credentials.
    async fn get(&self, what: &str, mut realm: Url, credential: &Credential) -> Result<Token, Denied> {
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = self.challenge.param("service") {
                query.append_pair("service", service);
            }
            for scope in self.scopes {
                query.append_pair("scope", scope);
            }
        }
        let body = Body::Empty;
        let out = Outgoing { method: Method::GET, url: realm, headers: HeaderMap::new(), body: &body, what };
        self.send(out, basic(credential)).await
    }

    /// `POST realm` with a refresh token (distribution's OAuth2 specification).
    async fn post(&self, what: &str, realm: Url, refresh: &Secret) -> Result<Token, Denied> {
        let mut form = realm.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", self.challenge.param("service").unwrap_or_default())
            .append_pair("client_id", "gimg")
            .append_pair("scope", &self.scopes.join(" "))
            .append_pair("refresh_token", refresh.expose());
        let body = Body::Bytes(form.query().unwrap_or_default().to_owned().into());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let out = Outgoing { method: Method::POST, url: realm, headers, body: &body, what };
        self.send(out, None).await
    }

    async fn send(&self, out: Outgoing<'_>, authorization: Option<HeaderValue>) -> Result<Token, Denied> {
        let what = out.what;
        let anonymous = authorization.is_none() && out.method == Method::GET;
        debug_assert!(!out.headers.contains_key(AUTHORIZATION));
        let answer = self.cx.transport.exchange(out, authorization, self.base).await.map_err(|mut failure| {
            // Refused here, not by the server: a realm or a redirect of it that leads inside.
            if failure.error.kind() == Kind::Refused {
                failure.error = failure.error.as_kind(Kind::Auth);
            }
            failure
        })?;
        if !answer.is_success() {
            let refusal = Refusal::read(answer).await;
            let status = Some(refusal.status);
            let mut failure = refusal.failure(what, self.registry);
            if failure.error.kind() == Kind::Refused {
                failure.error =
                    failure.error.as_kind(Kind::Auth).hint(format!("gimg login {}", self.registry));
            }
            if anonymous {
                failure.error = failure.error.within("without credentials");
            }
            return Err(Denied { status, failure });
        }
        let body = answer.read(what, MAX_TOKEN).await?;
        // serde's message could quote the token.
        let unreadable = |why: &str| Failure::from(Error::new(Kind::Auth, what, why));
        let granted: Granted =
            serde_json::from_slice(&body).map_err(|_| unreadable("the answer isn't a token"))?;
        let token = granted.token.filter(|t| !t.expose().is_empty()).or(granted.access_token);
        let token = token.ok_or_else(|| unreadable("the answer has no token"))?;
        let value = bearer(token.expose()).ok_or_else(|| unreadable("the token isn't text"))?;
        let life = granted.expires_in.filter(|s| s.is_finite() && *s > 0.0);
        let life = life.map_or(DEFAULT_LIFE, |s| Duration::from_secs_f64(s.min(86_400.0)));
        // A token must outlive the request that it starts with.
        let until = Instant::now() + life - (life / 4).min(Duration::from_secs(30));
        Ok(Token { value, until })
    }
}

/// `Basic` of a user name and password.
fn basic(credential: &Credential) -> Option<HeaderValue> {
    let (user, secret) = match credential {
        Credential::Basic { username, password } => (username, password),
        Credential::Identity { username, token } => (username, token),
        Credential::Anonymous | Credential::Token(_) => return None,
    };
    let pair = format!("{user}:{}", secret.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    sensitive(&format!("Basic {encoded}"))
}

fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

/// A header value that isn't shown by `Debug`.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
