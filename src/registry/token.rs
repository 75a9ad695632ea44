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
use crate::registry::failure::{Again, Failure, Refusal, shown};
use crate::registry::keychain::{Credential, Found};
use crate::registry::secret::{Known, Secret};
use crate::registry::transport::{Answer, Body, Outgoing};

/// The largest answer of a token server, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;
/// How long a token lasts that doesn't say (distribution's token specification).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// How long a token must still last for an upload to begin with it, at least.
const UPLOAD_LIFE: Duration = Duration::from_secs(60);
/// How many bytes a second an upload gets through, if one expects little.
const SLOW: u64 = 1024 * 1024;

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
    /// When it ends, by this machine's steady clock: what the server says of the time of day doesn't count.
    until: Instant,
    life: Duration,
}

impl Token {
    /// Whether it may still be used for a request that sends `size` bytes.
    fn serves(&self, size: u64) -> bool {
        enough(self.until.saturating_duration_since(Instant::now()), self.life, size)
    }
}

/// Whether `left` of a token's `life` is enough to send `size` bytes: some servers look at a token again when all has
/// come. A new token wouldn't last longer than `life`, so half of that is always enough.
fn enough(left: Duration, life: Duration, size: u64) -> bool {
    // A token must outlive the request that it starts with.
    let margin = (life / 4).min(Duration::from_secs(30));
    let transfer = if size == 0 { Duration::ZERO } else { UPLOAD_LIFE.max(Duration::from_secs(size / SLOW)) };
    left > margin.max(transfer.min(life / 2))
}

/// What came of asking for a token.
enum Kept {
    Token(Token),
    /// A refusal. It is not asked for again: registries lock accounts after failed logins.
    Refused(Error),
}

/// Authorization at one registry.
#[derive(Default)]
pub(super) struct Authorizer {
    /// What the registry asked for last.
    challenge: Mutex<Option<Challenge>>,
    /// Tokens by scopes. Held while one is fetched: others wait for it instead of asking too.
    tokens: tokio::sync::Mutex<BTreeMap<String, Kept>>,
    login: Mutex<Login>,
    warned: Mutex<BTreeSet<String>>,
}

/// What became of the user name and password.
#[derive(Default)]
enum Login {
    /// Nobody was told, or nobody has answered yet.
    #[default]
    Untried,
    /// They were taken once: a later 401 is about rights.
    Taken,
    /// They were refused, and are not sent again.
    Refused(Error),
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
        let all: Vec<Challenge> = all.iter().flat_map(|h| auth::parse(h)).filter(usable).collect();
        // Registries that offer both (Azure's) mean tokens: there Basic is for their token server only.
        let bearer = all.iter().find(|c| c.scheme == "bearer").cloned();
        let Some(found) = bearer.or_else(|| all.into_iter().next()) else { return false };
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
                if matches!(tokens.get(key), Some(Kept::Token(token)) if token.value == *value) {
                    tokens.remove(key);
                }
                true
            }
        }
    }

    /// Learns from the status of an answer to a request that was sent with `used`.
    pub(super) fn heard(&self, registry: &oci::Registry, used: &Used, status: u16) {
        if *used != Used::Fixed || status >= 500 {
            return;
        }
        let mut login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*login, status) {
            (Login::Untried, 401) => {
                let why = "the registry refuses the credentials; they are not sent again";
                let error = Error::new(Kind::Auth, format!("log in to {registry}"), why);
                *login = Login::Refused(error.hint(format!("gimg login {registry}")));
            }
            (_, 401 | 429) => {}
            _ => *login = Login::Taken,
        }
    }

    /// The refusal of the credentials, if that is how it ended.
    fn refused_login(&self) -> Result<(), Error> {
        match &*self.login.lock().unwrap_or_else(PoisonError::into_inner) {
            Login::Refused(error) => Err(error.clone()),
            Login::Untried | Login::Taken => Ok(()),
        }
    }

    /// The scope that the last challenge named.
    pub(super) fn asked_scope(&self) -> Option<String> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        challenge.as_ref()?.param("scope").map(str::to_owned)
    }

    /// The token server that the last challenge named, and what it may be told.
    pub(super) fn realm(&self, cx: &Inner, base: &Base, registry: &oci::Registry) -> Option<(Url, Realm)> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner);
        let realm =
            base.url.join(challenge.as_ref()?.param("realm").filter(|_| is_bearer(&challenge))?).ok()?;
        let judged = auth::judge(registry, &base.url, &realm, &cx.token_servers);
        Some((realm, judged))
    }

    /// The `Authorization` of a request to `repository` that needs `scopes` and sends `size` bytes.
    pub(super) async fn header(
        &self,
        cx: &Inner,
        base: &Base,
        repository: &oci::Repository,
        scopes: &[String],
        size: u64,
    ) -> Result<(Option<HeaderValue>, Used), Failure> {
        let challenge = self.challenge.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(challenge) = challenge else { return Ok((None, Used::Nothing)) };
        if challenge.scheme == "basic" {
            let found = cx.keychain.look_up(repository, &*cx.observer).await?;
            let Some(header) = basic(&cx.known, &found.credential) else { return Ok((None, Used::Nothing)) };
            self.refused_login()?;
            return Ok((Some(header), Used::Fixed));
        }
        let key = scopes.join(" ");
        let mut tokens = self.tokens.lock().await;
        match tokens.get(&key) {
            Some(Kept::Token(token)) if token.serves(size) => {
                return Ok((Some(token.value.clone()), Used::Token(key, token.value.clone())));
            }
            Some(Kept::Refused(error)) => return Err(error.clone().into()),
            Some(Kept::Token(_)) | None => {}
        }
        let found = cx.keychain.look_up(repository, &*cx.observer).await?;
        if let Credential::Token(token) = &found.credential {
            self.refused_login()?;
            return Ok((cx.known.authorization("Bearer", token), Used::Fixed));
        }
        let ask = Ask { cx, base, registry: repository.registry(), challenge: &challenge, scopes };
        match self.fetch(&ask, found).await {
            Ok(token) => {
                let value = token.value.clone();
                tokens.insert(key.clone(), Kept::Token(token));
                Ok((Some(value.clone()), Used::Token(key, value)))
            }
            Err(denied) => {
                let refused = denied.status.is_some_and(|status| matches!(status, 400..=403));
                if refused && denied.failure.again == Again::No {
                    tokens.insert(key, Kept::Refused(denied.failure.error.clone()));
                }
                Err(denied.failure)
            }
        }
    }

    async fn fetch(&self, ask: &Ask<'_>, found: Found) -> Result<Token, Denied> {
        let what = format!("get a token for {}", ask.registry);
        let refuse = |realm: &str, why: String| {
            Failure::from(
                Error::new(Kind::Auth, &what, format!("its token server can't be trusted: {why}")).at(realm),
            )
        };
        let realm = ask.challenge.param("realm").unwrap_or_default();
        let mut realm = ask.base.url.join(realm).map_err(|e| refuse("", e.to_string()))?;
        // What stands before the host would be sent as credentials.
        let _ = realm.set_username("");
        let _ = realm.set_password(None);
        let credential = match auth::judge(ask.registry, &ask.base.url, &realm, &ask.cx.token_servers) {
            Realm::Trusted => found.credential,
            Realm::Refused(why) => return Err(refuse(&shown(&realm), why).into()),
            Realm::Anonymous(_) if matches!(found.credential, Credential::Anonymous) => found.credential,
            Realm::Anonymous(why) => {
                let text = format!(
                    "credentials for {} are not sent to {}: {why}; see GIMG_TOKEN_SERVERS",
                    ask.registry,
                    shown(&realm)
                );
                if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
                    ask.cx.observer.on(Event::Warning(text));
                }
                Credential::Anonymous
            }
        };
        if matches!(credential, Credential::Anonymous) {
            return ask.get(&what, realm, &credential).await;
        }
        self.refused_login().map_err(Failure::from)?;
        let asked = ask.with(&what, &realm, &credential).await;
        match (&asked, &found.offered) {
            (Ok(_), _) => {
                *self.login.lock().unwrap_or_else(PoisonError::into_inner) = Login::Taken;
            }
            // What the surroundings offer may be good for other images only: a public one needs nothing.
            (Err(denied), Some(origin)) if !ask.pushes() && matches!(denied.status, Some(400..=403)) => {
                let why = &denied.failure.error;
                ask.cx.observer.on(Event::Detail(format!("{origin} is of no use, asking without: {why}")));
                return ask.get(&what, realm, &Credential::Anonymous).await;
            }
            // Of several scopes one may be what is refused.
            (Err(Denied { status: Some(401), failure }), None) if ask.scopes.len() < 2 => {
                let mut login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
                if matches!(*login, Login::Untried) {
                    *login = Login::Refused(failure.error.clone());
                }
            }
            (Err(_), _) => {}
        }
        asked
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
    /// Seconds, as a number or as text.
    expires_in: Option<serde_json::Value>,
}

impl Granted {
    fn life(&self) -> Duration {
        let seconds = match &self.expires_in {
            Some(serde_json::Value::String(text)) => text.trim().parse().ok(),
            Some(value) => value.as_f64(),
            None => None,
        };
        let seconds = seconds.filter(|s: &f64| s.is_finite() && *s > 0.0);
        seconds.map_or(DEFAULT_LIFE, |s| Duration::from_secs_f64(s.min(86_400.0)))
    }
}

impl Ask<'_> {
    /// Whether the right to push is asked for.
    fn pushes(&self) -> bool {
        self.scopes.iter().any(|s| s.ends_with("push"))
    }

    /// With a refresh token by POST, where that is known; else by GET with Basic.
    async fn with(&self, what: &str, realm: &Url, credential: &Credential) -> Result<Token, Denied> {
        if let Credential::Identity { username, token } = credential {
            let refusal = match self.post(what, realm.clone(), token).await {
                Err(refusal) => refusal,
                granted => return granted,
            };
            // Registries without the OAuth2 endpoint answer with one of these. Basic needs a name that is one.
            let unknown = matches!(refusal.status, Some(400 | 401 | 404 | 405));
            if !unknown || matches!(username.as_str(), "" | "<token>") {
                return Err(refusal);
            }
        }
        self.get(what, realm.clone(), credential).await
    }

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
        self.send(out, basic(&self.cx.known, credential)).await
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
        self.cx.known.add(refresh);
        let body = Body::Private(form.query().unwrap_or_default().to_owned().into());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let out = Outgoing { method: Method::POST, url: realm, headers, body: &body, what };
        self.send(out, None).await
    }

    async fn send(&self, out: Outgoing<'_>, authorization: Option<HeaderValue>) -> Result<Token, Denied> {
        let what = out.what;
        let anonymous = authorization.is_none() && out.method == Method::GET;
        debug_assert!(!out.headers.contains_key(AUTHORIZATION));
        let answer =
            self.cx.transport.exchange(out, authorization, self.base).await.map_err(|mut failure| {
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
            // The registry itself has said nothing to the request that this is for.
            failure.status = None;
            if failure.error.kind() == Kind::Refused {
                failure.error =
                    failure.error.as_kind(Kind::Auth).hint(format!("gimg login {}", self.registry));
            }
            if anonymous {
                failure.error = failure.error.within("without credentials");
            }
            return Err(Denied { status, failure });
        }
        let place = shown(answer.url());
        let wrong = |kind, why: &str| Denied::from(Failure::from(Error::new(kind, what, why).at(&place)));
        let body = answer.read(what, MAX_TOKEN).await.map_err(|failure| match failure.error.kind() {
            Kind::Integrity => wrong(Kind::Integrity, "token response too large: larger than 64 KiB"),
            _ => failure.into(),
        })?;
        let unreadable = |why: &str| wrong(Kind::Auth, why);
        // serde's message could quote the token.
        let granted: Granted = serde_json::from_slice(&body).map_err(|e| {
            unreadable(if e.is_data() { "token response has no token" } else { "token response is not JSON" })
        })?;
        let life = granted.life();
        let token = granted.token.filter(|t| !t.expose().is_empty()).or(granted.access_token);
        let token = token.filter(|t| !t.expose().is_empty());
        let token = token.ok_or_else(|| unreadable("token response has no token"))?;
        let value = self.cx.known.authorization("Bearer", &token);
        let value = value.ok_or_else(|| unreadable("token response has a token that isn't text"))?;
        Ok(Token { value, until: Instant::now() + life, life })
    }
}

/// `Basic` of a user name and password.
fn basic(known: &Known, credential: &Credential) -> Option<HeaderValue> {
    let (user, secret) = match credential {
        Credential::Basic { username, password } => (username, password),
        Credential::Identity { username, token } => (username, token),
        Credential::Anonymous | Credential::Token(_) => return None,
    };
    known.add(secret);
    let pair = Secret::new(format!("{user}:{}", secret.expose()));
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair.expose());
    known.authorization("Basic", &Secret::new(encoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_must_last_for_the_upload_that_it_begins() {
        let s = Duration::from_secs;
        for (left, life, size, expected) in [
            (31, 300, 0, true),
            (29, 300, 0, false),
            (16, 60, 0, true),
            (14, 60, 0, false),
            // An upload wants a minute,
            (61, 300, 1, true),
            (59, 300, 1, false),
            // or longer if it is large,
            (99, 300, 100 << 20, false),
            (101, 300, 100 << 20, true),
            // but never more than half of what any token has.
            (31, 60, 1, true),
            (29, 60, 1, false),
            (151, 300, 9 << 40, true),
        ] {
            assert_eq!(enough(s(left), s(life), size), expected, "{left} of {life} for {size}");
        }
        // A new token always serves.
        for life in [1, 5, 60, 300, 86_400] {
            assert!(enough(s(life), s(life), u64::MAX));
        }
    }

    #[test]
    fn the_life_of_a_token_has_many_forms() {
        for (json, seconds) in [
            (r#"{"expires_in": 300}"#, 300),
            (r#"{"expires_in": "300"}"#, 300),
            (r#"{"expires_in": 1e300}"#, 86_400),
            (r#"{"expires_in": 0}"#, 60),
            (r#"{"expires_in": -5}"#, 60),
            (r#"{"expires_in": "soon"}"#, 60),
            (r#"{"expires_in": null}"#, 60),
            (r#"{"expires_in": [1]}"#, 60),
            (r#"{"issued_at": "2001-01-01T00:00:00Z"}"#, 60),
        ] {
            let granted: Granted = serde_json::from_str(json).unwrap();
            assert_eq!(granted.life(), Duration::from_secs(seconds), "{json}");
        }
    }
}
