//! Credentials that nobody configured but the surroundings offer: the tokens of CI systems, and which helpers know the
//! registries of which cloud. Pure.

use std::collections::BTreeMap;

use crate::oci;
use crate::registry::keychain::{Credential, normal};
use crate::registry::secret::Secret;

/// The tokens in the environment, by registry, with the names of their variables.
pub(super) struct Ambient(BTreeMap<String, (Credential, &'static str)>);

impl Ambient {
    /// Reads GITHUB_TOKEN with GITHUB_ACTOR (for GitHub's registry, as ko does), and GitLab's CI_REGISTRY with
    /// CI_REGISTRY_USER and CI_REGISTRY_PASSWORD, or with CI_JOB_TOKEN.
    pub(super) fn read(env: &BTreeMap<String, String>) -> Self {
        let get = |name: &str| env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
        let basic = |username: &str, password: &str| Credential::Basic {
            username: username.to_owned(),
            password: Secret::new(password),
        };
        let mut all = BTreeMap::new();
        if let Some(token) = get("GITHUB_TOKEN") {
            // GitHub looks at the token alone; there must be a name.
            let user = get("GITHUB_ACTOR").unwrap_or("x-access-token");
            all.insert("ghcr.io".to_owned(), (basic(user, token), "GITHUB_TOKEN"));
        }
        if let Some(registry) = get("CI_REGISTRY") {
            let password = get("CI_REGISTRY_USER").zip(get("CI_REGISTRY_PASSWORD"));
            let offered = match (password, get("CI_JOB_TOKEN")) {
                (Some((user, password)), _) => Some((basic(user, password), "CI_REGISTRY_PASSWORD")),
                (None, Some(token)) => Some((basic("gitlab-ci-token", token), "CI_JOB_TOKEN")),
                (None, None) => None,
            };
            all.extend(offered.map(|offered| (normal(registry), offered)));
        }
        Ambient(all)
    }

    /// The credential for `registry`, and the variable that holds it.
    pub(super) fn token(&self, registry: &str) -> Option<(&Credential, &'static str)> {
        self.0.get(registry).map(|(credential, name)| (credential, *name))
    }
}

/// The helpers that know `registry`, the likeliest first: they are asked if they are installed, though no file names
/// them.
pub(super) fn helpers(registry: &oci::Registry) -> &'static [&'static str] {
    let host = registry.host();
    let below = |domain: &str| host.strip_suffix(domain).is_some_and(|before| before.ends_with('.'));
    // `<account>.dkr.ecr[-fips].<region>.amazonaws.com[.cn]`
    let ecr = (below("amazonaws.com") || below("amazonaws.com.cn"))
        && (host.contains(".dkr.ecr.") || host.contains(".dkr.ecr-fips."));
    if ecr || host == "public.ecr.aws" {
        return &["ecr-login"];
    }
    if host == "gcr.io" || below("gcr.io") || below("pkg.dev") {
        return &["gcloud", "gcr"];
    }
    if below("azurecr.io") || below("azurecr.cn") || below("azurecr.us") {
        return &["acr-env"];
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(env: &[(&str, &str)], registry: &str) -> Option<(String, String, &'static str)> {
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let ambient = Ambient::read(&env);
        match ambient.token(registry)? {
            (Credential::Basic { username, password }, name) => {
                Some((username.clone(), password.expose().to_owned(), name))
            }
            _ => None,
        }
    }

    #[test]
    fn ci_systems_offer_tokens_for_their_own_registry() {
        let some = |user: &str, password: &str, name| Some((user.to_owned(), password.to_owned(), name));
        let github = [("GITHUB_TOKEN", "t\n"), ("GITHUB_ACTOR", "me")];
        assert_eq!(found(&github, "ghcr.io"), some("me", "t", "GITHUB_TOKEN"));
        assert_eq!(found(&github[..1], "ghcr.io"), some("x-access-token", "t", "GITHUB_TOKEN"));
        assert_eq!(found(&[("GITHUB_TOKEN", "")], "ghcr.io"), None);
        for other in ["docker.io", "ghcr.io.evil.com", "r.io"] {
            assert_eq!(found(&github, other), None);
        }
        let gitlab = [
            ("CI_REGISTRY", "registry.example.com:5050"),
            ("CI_JOB_TOKEN", "job"),
            ("CI_REGISTRY_USER", "gitlab-ci-token"),
            ("CI_REGISTRY_PASSWORD", "pw"),
        ];
        let at = "registry.example.com:5050";
        assert_eq!(found(&gitlab, at), some("gitlab-ci-token", "pw", "CI_REGISTRY_PASSWORD"));
        assert_eq!(found(&gitlab[..2], at), some("gitlab-ci-token", "job", "CI_JOB_TOKEN"));
        assert_eq!(found(&gitlab[..1], at), None);
        assert_eq!(found(&gitlab[1..], at), None);
        assert_eq!(found(&gitlab, "registry.example.com"), None);
    }

    #[test]
    fn helpers_are_asked_for_their_own_clouds() {
        for (registry, expected) in [
            ("1.dkr.ecr.eu-west-1.amazonaws.com", "ecr-login"),
            ("1.dkr.ecr-fips.us-gov-east-1.amazonaws.com", "ecr-login"),
            ("1.dkr.ecr.cn-north-1.amazonaws.com.cn", "ecr-login"),
            ("public.ecr.aws", "ecr-login"),
            ("gcr.io", "gcloud gcr"),
            ("eu.gcr.io", "gcloud gcr"),
            ("europe-docker.pkg.dev", "gcloud gcr"),
            ("mine.azurecr.io", "acr-env"),
            ("azurecr.io", ""),
            ("evilgcr.io", ""),
            ("gcr.io.evil.com", ""),
            ("1.dkr.ecr.evil.com", ""),
            ("s3.amazonaws.com", ""),
            ("docker.io", ""),
            ("localhost:5000", ""),
        ] {
            assert_eq!(helpers(&registry.parse().unwrap()).join(" "), expected, "{registry}");
        }
    }
}
