//! What a registry asks for, and which credential may go where: pure.

use reqwest::Url;

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
    if let Some(quoted) = text.strip_prefix('"') {
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => return Some((value, &quoted[at + 1..])),
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        return None;
    }
    let end = text.find([' ', '\t', ',', '"', '=']).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
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

/// Domains below which every name belongs to someone else: siblings there are strangers.
const SHARED: [&str; 10] = [
    "amazonaws.com",
    "azurecr.io",
    "azurewebsites.net",
    "cloudfront.net",
    "github.io",
    "googleapis.com",
    "herokuapp.com",
    "jfrog.io",
    "pkg.dev",
    "run.app",
];

/// Judges the token server `realm` of the registry that is reached at `base`: https only, unless the
/// registry itself is http and `realm` on the same host; credentials only if the host is the registry's, or
/// one of the same domain, or Docker Hub's known one.
pub(super) fn judge(registry: &oci::Registry, base: &Url, realm: &Url) -> Realm {
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
    if own == host || both_here {
        return Realm::Trusted;
    }
    if is_internal(realm) && !is_internal(base) {
        return Realm::Refused("it is an internal address".to_owned());
    }
    let hub = registry.as_str() == "docker.io" && host == "auth.docker.io";
    if hub || (domain(own).is_some() && domain(own) == domain(host)) {
        return Realm::Trusted;
    }
    Realm::Anonymous(format!("{host} isn't in the domain of {own}"))
}

/// The domain that `host` was registered in, as far as one can tell without a list: its last two labels,
/// three below country codes with a short second label (`co.uk`). None for addresses, shared domains and
/// whatever else leaves a doubt.
fn domain(host: &str) -> Option<&str> {
    if host.starts_with('[') || host.parse::<std::net::IpAddr>().is_ok() {
        return None;
    }
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    let last = dots.next()?;
    let second = dots.next();
    let label = &host[second.map_or(0, |at| at + 1)..last];
    let start = if host.len() - last - 1 == 2 && label.len() <= 3 {
        second.and_then(|_| dots.next().map(|a| a + 1)).or(second.map(|_| 0))?
    } else {
        second.map_or(0, |at| at + 1)
    };
    let domain = &host[start..];
    (!SHARED.contains(&domain)).then_some(domain)
}

/// The scopes of a request: the one that is most needed first, for registries that look at no other.
pub(super) fn scopes(to: &oci::Repository, push: bool, mount: Option<&oci::Repository>) -> Vec<String> {
    let actions = if push { "pull,push" } else { "pull" };
    let mut scopes = vec![format!("repository:{}:{actions}", to.path())];
    scopes.extend(mount.map(|from| format!("repository:{}:pull", from.path())));
    scopes
}

/// `scopes` with those of a challenge that speak of something else.
pub(super) fn merge(mut scopes: Vec<String>, asked: &str) -> Vec<String> {
    let subject = |scope: &str| scope.rsplit_once(':').map_or(scope.to_owned(), |(s, _)| s.to_owned());
    for scope in asked.split_whitespace() {
        if !scopes.iter().any(|s| subject(s) == subject(scope)) {
            scopes.push(scope.to_owned());
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
        judge(&registry.parse().unwrap(), &Url::parse(base).unwrap(), &Url::parse(realm).unwrap())
    }

    #[test]
    fn credentials_stay_in_the_family() {
        for (registry, realm) in [
            ("r.io", "https://r.io/token"),
            ("registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("r.example.co.uk", "https://auth.example.co.uk/token"),
            ("docker.io", "https://auth.docker.io/token"),
        ] {
            let base = format!("https://{}/", registry.parse::<oci::Registry>().unwrap().endpoint());
            assert_eq!(verdict(registry, &base, realm), Realm::Trusted, "{realm}");
        }
        for (registry, realm) in [
            ("r.io", "https://evil.com/token"),
            ("a.co.uk", "https://b.co.uk/token"),
            ("mine.azurecr.io", "https://yours.azurecr.io/token"),
            ("r.io", "https://r.io.evil.com/token"),
            ("203.0.113.1", "https://203.0.113.2/token"),
        ] {
            let found = verdict(registry, &format!("https://{registry}/"), realm);
            assert!(matches!(found, Realm::Anonymous(_)), "{realm}: {found:?}");
        }
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
    }
}
