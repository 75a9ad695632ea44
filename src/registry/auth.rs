//! What a registry asks for, and which credential may go where: pure.

use std::collections::BTreeSet;

use reqwest::Url;

use crate::error::{Error, Kind, Result};
use crate::oci;
use crate::registry::endpoint::is_internal;

/// One challenge of a `WWW-Authenticate` header (RFC 9110, section 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// The scheme, in lower case.
    pub(super) scheme: String,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter; its name is in lower case.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// Reads a header of any number of challenges. What doesn't parse ends the reading, never the program.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = header;
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((name, after)) = token(rest) else { return challenges };
        let value = after.trim_start_matches([' ', '\t']);
        // `name = value` belongs to the challenge before; `scheme`, alone or with a space, begins one. A
        // token68 ends in `=` too, but then nothing or a comma follows.
        if let Some(text) = value.strip_prefix('=')
            && let Some((text, after)) = quoted_or_token(text.trim_start_matches([' ', '\t']))
        {
            let Some(challenge) = challenges.last_mut() else { return challenges };
            challenge.params.push((name.to_ascii_lowercase(), text));
            rest = after;
            continue;
        }
        challenges.push(Challenge { scheme: name.to_ascii_lowercase(), params: Vec::new() });
        rest = skip_token68(value);
    }
}

/// The token (RFC 9110, section 5.6.2) at the start of `text`, and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// The value of a parameter at the start of `text`, and what follows it. Unquoted values may hold more than
/// a token allows: registries write bare URLs.
fn quoted_or_token(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('"') {
        return quoted(rest);
    }
    let end = text.find([' ', '\t', ',', '"', '=']).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// A quoted string (RFC 9110, section 5.6.4) whose first quote was read, and what follows it.
pub(super) fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// `text` after a token68 (`Negotiate YII=`), if it begins with one.
fn skip_token68(text: &str) -> &str {
    let is_68 = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let end = text.find(|c| !is_68(c)).unwrap_or(text.len());
    let after = text[end..].trim_start_matches('=').trim_start_matches([' ', '\t']);
    if end > 0 && (after.is_empty() || after.starts_with(',')) { after } else { text }
}

/// What a token server may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Realm {
    /// The registry's own: it gets the credentials.
    Trusted,
    /// A stranger's: it is asked without credentials. Why, for the warning.
    Anonymous(String),
    /// It isn't asked at all. Why.
    Refused(String),
}

/// Domains that the public suffix list doesn't know as ones below which every name belongs to someone else, though
/// it is so for registries: siblings there are strangers.
const SHARED: [&str; 11] = [
    "aliyuncs.com",
    "azurecr.cn",
    "azurecr.io",
    "azurecr.us",
    "gcr.io",
    "jfrog.io",
    "ocir.io",
    "on.aws",
    "pkg.dev",
    "scw.cloud",
    "vultrcr.com",
];

/// Registries whose token server is in another domain, or in a shared one: the ends of both hosts, before which there
/// may be more of the same (`*`).
const PAIRS: [(&str, &str); 4] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("*.scw.cloud", "api.scaleway.com"),
    // Its regions: what `*` stands for must be the same.
    ("registry.*.aliyuncs.com", "dockerauth.*.aliyuncs.com"),
];

/// Token servers elsewhere that the user trusts: `REGISTRY=HOST`, each for its registry alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenServers(BTreeSet<(oci::Registry, String)>);

impl TokenServers {
    /// Reads a list that is separated by blanks or commas.
    ///
    /// # Errors
    /// An entry that isn't `REGISTRY=HOST`. The text may be shown: it holds no secret.
    pub fn parse(text: &str) -> Result<Self> {
        let mut all = BTreeSet::new();
        for entry in text.split([' ', ',', '\t', '\n']).filter(|e| !e.is_empty()) {
            let wrong =
                |why: &str| Error::new(Kind::Usage, format!("read the token server \"{entry}\""), why);
            let (registry, host) = entry.split_once('=').ok_or_else(|| wrong("it isn't REGISTRY=HOST"))?;
            let registry = registry.parse::<oci::Registry>().map_err(|e| wrong(&e.to_string()))?;
            let url = Url::parse(&format!("https://{host}/")).ok();
            let host = url.filter(|u| u.path() == "/" && u.port().is_none() && u.username().is_empty());
            let host =
                host.as_ref().and_then(Url::host_str).ok_or_else(|| wrong("its host isn't a host's name"))?;
            all.insert((registry, host.to_owned()));
        }
        Ok(TokenServers(all))
    }

    fn trusts(&self, registry: &oci::Registry, host: &str) -> bool {
        self.0.iter().any(|(r, h)| r == registry && h == host)
    }
}

/// Judges the token server `realm` of the registry that is reached at `base`: https only, unless the
/// registry itself is http and `realm` on the same host; credentials only if the host is the registry's, one of the
/// same domain, the known one of a known registry, or one that the user `trusted` for it.
pub(super) fn judge(registry: &oci::Registry, base: &Url, realm: &Url, trusted: &TokenServers) -> Realm {
    let (Some(own), Some(host)) = (base.host_str(), realm.host_str()) else {
        return Realm::Refused("it has no host".to_owned());
    };
    let both_here = registry.is_loopback() && crate::registry::endpoint::is_loopback(realm);
    match realm.scheme() {
        "https" => {}
        "http" if base.scheme() == "http" && (own == host || both_here) => return Realm::Trusted,
        "http" => return Realm::Refused("it isn't https".to_owned()),
        other => return Realm::Refused(format!("{other} isn't https")),
    }
    if own == host || both_here || trusted.trusts(registry, host) {
        return Realm::Trusted;
    }
    if is_internal(realm) && !is_internal(base) {
        return Realm::Refused("it is an internal address".to_owned());
    }
    let paired = PAIRS.iter().any(|(registry, server)| paired(registry, server, own, host));
    if paired || (domain(own).is_some() && domain(own) == domain(host)) {
        return Realm::Trusted;
    }
    Realm::Anonymous(format!("{host} isn't in the domain of {own}"))
}

/// Whether two hosts fit two patterns, with the same text for `*` where both have one.
fn paired(registry: &str, server: &str, own: &str, host: &str) -> bool {
    let star = |pattern: &str, text: &str| match pattern.split_once('*') {
        None => (pattern == text).then(String::new),
        Some((before, after)) => {
            text.strip_prefix(before)?.strip_suffix(after).filter(|s| !s.is_empty()).map(str::to_owned)
        }
    };
    match (star(registry, own), star(server, host)) {
        (Some(own), Some(host)) => !server.contains('*') || own == host,
        _ => false,
    }
}

/// The domain that `host` was registered in, by the public suffix list. None for addresses, and where everyone can
/// have a name.
fn domain(host: &str) -> Option<&str> {
    if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    // A name alone (`registry`) is no domain; an unknown top level counts as a suffix.
    let domain = psl::domain_str(host)?;
    let dotted = format!(".{domain}");
    // Amazon's services, with other people's things in them; China has its own.
    let amazon = dotted.ends_with(".amazonaws.com") || dotted.ends_with(".amazonaws.com.cn");
    let shared = amazon || SHARED.iter().any(|shared| dotted.ends_with(&format!(".{shared}")));
    (!shared).then_some(domain)
}

/// The scopes of a request: the one that is most needed first, for registries that look at no other.
pub(super) fn scopes(to: &oci::Repository, push: bool, mount: Option<&oci::Repository>) -> Vec<String> {
    let actions = if push { "pull,push" } else { "pull" };
    let mut scopes = vec![format!("repository:{}:{actions}", to.path())];
    scopes.extend(mount.map(|from| format!("repository:{}:pull", from.path())));
    scopes
}

/// `scopes` and what a challenge asks for besides. Nothing is taken away: a challenge may know only what its own
/// request needs (Google's, to a HEAD in a push, says `pull`). To push and to pull are the only rights that gimg ever
/// needs, and some servers grant nothing at all to those who ask for more.
pub(super) fn merge(mut scopes: Vec<String>, asked: &str) -> Vec<String> {
    for scope in asked.split_whitespace() {
        let Some((subject, actions)) = scope.rsplit_once(':') else { continue };
        let own = scopes.iter_mut().find(|s| s.rsplit_once(':').is_some_and(|(s, _)| s == subject));
        match own {
            Some(own) => {
                let has = |own: &str, action| {
                    own.rsplit_once(':').is_some_and(|(_, all)| all.split(',').any(|a| a == action))
                };
                for action in actions.split(',').filter(|a| matches!(*a, "pull" | "push")) {
                    if !has(own, action) {
                        own.push_str(&format!(",{action}"));
                    }
                }
            }
            None => scopes.push(scope.to_owned()),
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schemes(header: &str) -> Vec<String> {
        parse(header).into_iter().map(|c| c.scheme).collect()
    }

    #[test]
    fn challenges_of_all_forms_are_read() {
        let header = r#"Bearer realm="https://a.io/token",service="r,\"io",scope="repository:a:pull,push""#;
        let challenges = parse(header);
        assert_eq!(challenges.len(), 1);
        assert_eq!(challenges[0].param("realm"), Some("https://a.io/token"));
        assert_eq!(challenges[0].param("service"), Some("r,\"io"));
        assert_eq!(challenges[0].param("scope"), Some("repository:a:pull,push"));
        let many = r#"Negotiate YIIB/+ab==, BASIC realm = "x" , bearer realm=https://a.io/t, NTLM"#;
        assert_eq!(schemes(many), ["negotiate", "basic", "bearer", "ntlm"]);
        assert_eq!(parse(many)[1].param("realm"), Some("x"));
        assert_eq!(parse(many)[2].param("realm"), Some("https://a.io/t"));
    }

    #[test]
    fn broken_challenges_are_harmless() {
        for header in ["", "=", ",,,", "realm=\"x\"", "Bearer realm=\"open", "Bearer =", "é", "Basic \u{7f}"]
        {
            let _ = parse(header);
        }
        assert_eq!(schemes("Basic"), ["basic"]);
        assert!(parse("realm=\"x\"").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn fuzz_challenges_are_read_or_left(text in ".*", listy in "[ ,=\"\\\\a-c/+]{0,40}") {
            for header in [text.as_str(), listy.as_str(), &format!("Bearer {listy}")] {
                for challenge in parse(header) {
                    assert!(!challenge.scheme.is_empty());
                }
            }
        }

        #[test]
        fn fuzz_quoted_values_come_back(value in "[^\\x00-\\x1f]*") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let challenges = parse(&format!("Bearer a=b, realm=\"{quoted}\", Basic"));
            assert_eq!(challenges[0].param("realm"), Some(value.as_str()));
            assert_eq!(challenges[1].scheme, "basic");
        }
    }

    fn verdict(registry: &str, base: &str, realm: &str) -> Realm {
        let (base, realm) = (Url::parse(base).unwrap(), Url::parse(realm).unwrap());
        judge(&registry.parse().unwrap(), &base, &realm, &TokenServers::default())
    }

    #[test]
    fn credentials_stay_in_the_family() {
        for (registry, realm) in [
            ("r.io", "https://r.io/token"),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("r.example.co.uk", "https://auth.example.co.uk/token"),
            ("docker.io", "https://auth.docker.io/token"),
            ("quay.io", "https://quay.io/v2/auth"),
            ("ghcr.io", "https://ghcr.io/token"),
            ("registry.digitalocean.com", "https://api.digitalocean.com/v2/registry/auth"),
            ("rg.fr-par.scw.cloud", "https://api.scaleway.com/registry-internal/v1/regions/fr-par/tokens"),
            ("registry.cn-hangzhou.aliyuncs.com", "https://dockerauth.cn-hangzhou.aliyuncs.com/auth"),
            ("mine.azurecr.io", "https://mine.azurecr.io/oauth2/token"),
            ("r.corp", "https://r.corp:8443/token"),
            ("docker.r.corp.lan", "https://auth.corp.lan/token"),
        ] {
            let base = format!("https://{}/", registry.parse::<oci::Registry>().unwrap().endpoint());
            assert_eq!(verdict(registry, &base, realm), Realm::Trusted, "{realm}");
        }
        for (registry, realm) in [
            ("r.io", "https://evil.com/token"),
            ("a.co.uk", "https://b.co.uk/token"),
            ("mine.azurecr.io", "https://yours.azurecr.io/token"),
            ("us-docker.pkg.dev", "https://evil.pkg.dev/token"),
            ("1.dkr.ecr.us-east-1.amazonaws.com", "https://2.dkr.ecr.us-east-1.amazonaws.com/t"),
            ("1.dkr.ecr.us-east-1.amazonaws.com", "https://evil.execute-api.us-east-1.amazonaws.com/t"),
            ("1.dkr.ecr.cn-north-1.amazonaws.com.cn", "https://2.dkr.ecr.cn-north-1.amazonaws.com.cn/t"),
            ("registry.cn-hangzhou.aliyuncs.com", "https://evil.oss-cn-hangzhou.aliyuncs.com/auth"),
            (
                "registry.cn-hangzhou.aliyuncs.com",
                "https://dockerauth.evil.oss-cn-hangzhou.aliyuncs.com/auth",
            ),
            ("rg.fr-par.scw.cloud", "https://evil.scw.cloud/t"),
            ("r.scw.cloud.evil.com", "https://api.scaleway.com/t"),
            ("me.github.io", "https://evil.github.io/token"),
            ("me.kyoto.jp", "https://evil.kyoto.jp/token"),
            ("gitlab.com.evil.io", "https://gitlab.com/jwt/auth"),
            ("a.com", "https://com/token"),
            ("r.io", "https://r.io.evil.com/token"),
            ("203.0.113.1", "https://203.0.113.2/token"),
        ] {
            let found = verdict(registry, &format!("https://{registry}/"), realm);
            assert!(matches!(found, Realm::Anonymous(_)), "{realm}: {found:?}");
        }
    }

    /// Only what the public suffix list lacks needs to be in ours.
    #[test]
    fn shared_domains_are_not_in_the_public_list() {
        for shared in SHARED {
            assert_eq!(psl::domain_str(&format!("me.{shared}")), Some(shared));
        }
    }

    #[test]
    fn users_can_trust_a_token_server_for_one_registry() {
        let trusted = TokenServers::parse("r.io=auth.vendor.net, docker.io=Login.Corp\n").unwrap();
        for (registry, base, realm, expected) in [
            ("r.io", "https://r.io/", "https://auth.vendor.net/t", true),
            ("r.io", "https://r.io/", "https://auth.vendor.net:8443/t", true),
            ("s.io", "https://s.io/", "https://auth.vendor.net/t", false),
            ("r.io", "https://r.io/", "https://vendor.net/t", false),
            ("docker.io", "https://registry-1.docker.io/", "https://login.corp/t", true),
        ] {
            let (base, realm) = (Url::parse(base).unwrap(), Url::parse(realm).unwrap());
            let found = judge(&registry.parse().unwrap(), &base, &realm, &trusted);
            assert_eq!(found == Realm::Trusted, expected, "{registry} {realm}: {found:?}");
        }
        // Trust doesn't make plain text of it.
        let (base, realm) =
            (Url::parse("https://r.io").unwrap(), Url::parse("http://auth.vendor.net").unwrap());
        assert!(matches!(judge(&"r.io".parse().unwrap(), &base, &realm, &trusted), Realm::Refused(_)));
        for bad in ["r.io", "=h", "r.io=", "r.io=a/b", "r.io=a:1", "r.io=u@a", "r.io=https://a", "a b=c"] {
            assert_eq!(TokenServers::parse(bad).unwrap_err().kind(), Kind::Usage, "{bad}");
        }
        assert_eq!(TokenServers::parse(" ,").unwrap(), TokenServers::default());
    }

    #[test]
    fn plain_or_internal_realms_are_refused() {
        for realm in ["http://r.io/t", "ftp://r.io/t", "https://127.0.0.1/t", "https://169.254.169.254/t"] {
            assert!(matches!(verdict("r.io", "https://r.io/", realm), Realm::Refused(_)), "{realm}");
        }
        let here = "http://localhost:5000/";
        assert_eq!(verdict("localhost:5000", here, "http://127.0.0.1:5001/t"), Realm::Trusted);
        assert!(matches!(verdict("localhost:5000", here, "http://r.io/t"), Realm::Refused(_)));
    }

    #[test]
    fn own_scopes_come_first() {
        let (to, from) = ("r.io/a/b".parse().unwrap(), "r.io/base".parse().unwrap());
        let own = scopes(&to, true, Some(&from));
        assert_eq!(own, ["repository:a/b:pull,push", "repository:base:pull"]);
        let merged = merge(own, "repository:a/b:pull registry:catalog:*");
        assert_eq!(merged.last().unwrap(), "registry:catalog:*");
        assert_eq!(merged.len(), 3);
        for (asked, expected) in [
            ("repository:a/b:pull", "repository:a/b:pull"),
            ("repository:a/b:pull,push", "repository:a/b:pull,push"),
            ("repository:a/b:push,delete", "repository:a/b:pull,push"),
            ("repository:a/b:*", "repository:a/b:pull"),
            ("nonsense", "repository:a/b:pull"),
            ("", "repository:a/b:pull"),
        ] {
            assert_eq!(merge(scopes(&to, false, None), asked), [expected], "{asked}");
        }
    }
}
