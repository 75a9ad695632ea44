//! Who asks: Basic, and tokens with scopes.

use std::collections::BTreeMap;

use base64::Engine as _;

use super::Auth;
use super::message::{Reply, Request, form};
use super::store::State;

/// Tokens with their scopes and how many more requests they are good for.
#[derive(Default)]
pub(super) struct Tokens(BTreeMap<String, (Vec<String>, usize)>);

impl Tokens {
    /// Whether `token` allows `action` in `repo`; one use of it is spent.
    fn spend(&mut self, token: &str, repo: &str, action: &str) -> bool {
        let Some((scopes, uses)) = self.0.get_mut(token) else { return false };
        if *uses == 0 {
            return false;
        }
        *uses -= 1;
        let prefix = format!("repository:{repo}:");
        repo.is_empty()
            || scopes
                .iter()
                .filter_map(|s| s.strip_prefix(&prefix))
                .any(|a| a.split(',').any(|a| a == action))
    }
}

fn basic(request: &Request) -> Option<(String, String)> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

impl State {
    /// Makes every token worthless.
    pub(super) fn revoke(&mut self) {
        self.tokens.0.clear();
    }

    /// The answer to a request that may not do `action` in `repo`.
    pub(super) fn forbidden(&mut self, request: &Request, repo: &str, action: &str) -> Option<Reply> {
        if self.config.signed && request.header("host") != Some(&self.host) {
            let twice = Reply::error(400, "UNSUPPORTED", "only one authentication mechanism is allowed");
            return request.header("authorization").is_some().then_some(twice);
        }
        let challenge = match self.config.auth.clone() {
            Auth::Open => return None,
            Auth::Basic(user, password) => {
                if basic(request) == Some((user, password)) {
                    return None;
                }
                "Basic realm=\"test\"".to_owned()
            }
            Auth::Bearer(..) => {
                let token = request.header("authorization").and_then(|v| v.strip_prefix("Bearer "));
                if token.is_some_and(|token| self.tokens.spend(token, repo, action)) {
                    return None;
                }
                let scope = match (repo, action) {
                    ("", _) => String::new(),
                    (repo, "pull") => format!(",scope=\"repository:{repo}:pull\""),
                    (repo, action) => format!(",scope=\"repository:{repo}:pull,{action}\""),
                };
                let own = format!("http://{}/token", self.host);
                let realm = self.config.realm.as_ref().unwrap_or(&own);
                format!("Bearer realm=\"{realm}\",service=\"test\"{scope}")
            }
        };
        let reply = Reply::error(401, "UNAUTHORIZED", "authentication required");
        Some(reply.with("www-authenticate", challenge))
    }

    /// The token endpoint: GET with Basic, POST with a refresh token.
    pub(super) fn token(&mut self, request: &Request) -> Reply {
        let Auth::Bearer(user, password) = self.config.auth.clone() else {
            return Reply::error(404, "UNSUPPORTED", "no tokens here");
        };
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let (known, scopes) = if request.method == "POST" {
            let refresh = form(&body, "refresh_token").into_iter().next();
            let scopes = form(&body, "scope").into_iter().next().unwrap_or_default();
            (refresh == Some(password), scopes.split(' ').map(str::to_owned).collect())
        } else {
            (basic(request) == Some((user, password)), form(&request.query, "scope"))
        };
        if !known {
            return Reply::error(401, "UNAUTHORIZED", "unknown user or wrong password");
        }
        self.next += 1;
        let token = format!("{}-token-{}", crate::support::canary::SECRET, self.next);
        self.tokens.0.insert(token.clone(), (scopes, self.config.token_uses));
        let field = if request.method == "POST" { "access_token" } else { self.config.token_field };
        let mut body = serde_json::json!({field: token});
        if let Some(seconds) = self.config.token_life {
            body["expires_in"] = seconds.into();
        }
        Reply::new(200).body("application/json", body.to_string())
    }
}
