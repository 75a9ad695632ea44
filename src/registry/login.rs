//! Whether a registry takes a user name and password: what `login` asks before it writes them down.

use std::sync::{Arc, Mutex};

use reqwest::Method;
use reqwest::header::HeaderMap;

use crate::error::{Error, Kind, Result};
use crate::oci;
use crate::registry::auth::Realm;
use crate::registry::failure::{Failure, Refusal, shown};
use crate::registry::keychain::Keychain;
use crate::registry::mirrors::Failed;
use crate::registry::retry::Chance;
use crate::registry::secret::Secret;
use crate::registry::sessions::Sessions;
use crate::registry::token::Used;
use crate::registry::transport::{Body, Outgoing};
use crate::registry::{Inner, Registry, referrers};

/// What a registry made of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// It took them.
    Accepted,
    /// It asks for none, so nobody knows.
    NotAsked,
}

impl Registry {
    /// Asks `registry` whether it takes this user name and password: `GET /v2/` (distribution-spec, "Determining
    /// Support"), with Basic or with a token for no scope, as it wants.
    ///
    /// # Errors
    /// [`Kind::Auth`] if it doesn't, or if its token server can't be trusted with them; no answer.
    pub async fn verify(
        &self,
        registry: &oci::Registry,
        username: &str,
        password: Secret,
    ) -> Result<Verified> {
        let keychain = Keychain::single(registry, username, password);
        let client = Registry(Arc::new(Inner {
            transport: Arc::clone(&self.0.transport),
            keychain,
            token_servers: self.0.token_servers.clone(),
            known: Arc::clone(&self.0.known),
            observer: Arc::clone(&self.0.observer),
            policy: self.0.policy,
            chance: Chance::new(self.0.policy.seed),
            insecure: self.0.insecure.clone(),
            rules: self.0.rules.clone(),
            failed_mirrors: Failed::default(),
            hosts: Mutex::default(),
            paces: Mutex::default(),
            sessions: Sessions::default(),
            lists: referrers::Turns::new(None),
        }));
        let what = format!("log in to {registry}");
        let mut tries = client.manifest_tries(registry);
        loop {
            match client.try_verify(registry, &what).await {
                Ok(verified) => return Ok(verified),
                Err(failure) => client.pause(&mut tries, failure, &what).await.map_err(|error| {
                    let error = client.0.known.clean(error);
                    if error.kind() == Kind::Auth && error.hint_text().is_some() {
                        return error.hint("check the user name and the password; nothing was saved");
                    }
                    error
                })?,
            }
        }
    }

    async fn try_verify(&self, registry: &oci::Registry, what: &str) -> Result<Verified, Failure> {
        let inner = &*self.0;
        let host = inner.host(registry, registry.as_str());
        let base = host.base(inner, registry).await?;
        // A token without credentials would prove nothing.
        if let Some((realm, Realm::Anonymous(why) | Realm::Refused(why))) =
            host.authorizer.realm(inner, &base, registry)
        {
            let why = format!("its token server can't be trusted: {why}");
            return Err(Error::new(Kind::Auth, what, why).at(shown(&realm)).into());
        }
        // Credentials are looked up by repository; those given count for every one.
        let any: oci::Repository = format!("{registry}/any").parse()?;
        let (authorization, used) = host.authorizer.header(inner, &base, &any, &[], 0).await?;
        let url = base.at("/v2/")?;
        let out = Outgoing { method: Method::GET, url, headers: HeaderMap::new(), body: &Body::Empty, what };
        let answer = inner.transport.exchange(out, authorization, &base).await?;
        match (answer.is_success(), used) {
            (true, Used::Nothing) => Ok(Verified::NotAsked),
            (true, _) => Ok(Verified::Accepted),
            (false, _) => Err(Refusal::read(answer).await.failure(what, registry)),
        }
    }
}
