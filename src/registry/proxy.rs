//! Which proxy a request goes through: the usual variables, read from the environment that gimg was given.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reqwest::Url;

use crate::error::{Error, Kind, Result};
use crate::registry::endpoint;

/// The proxies of an environment. `HTTPS_PROXY` is for https, `HTTP_PROXY` for http, `ALL_PROXY` for what has
/// none of its own; each also in lower case. This machine is never asked for through a proxy.
#[derive(Clone, Default)]
pub struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    direct: Vec<Rule>,
}

/// One proxy. Its URL may hold a password: there is no `Debug`.
#[derive(Clone)]
pub(super) struct Proxy {
    /// The variable that named it.
    pub(super) variable: &'static str,
    /// Its URL; `Err` says why it can't be one, without quoting it.
    url: Result<Url, &'static str>,
}

impl Proxy {
    fn read(variable: &'static str, text: &str) -> Self {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = match Url::parse(&with_scheme) {
            Ok(url) if url.scheme().starts_with("socks") => Err("SOCKS proxies aren't supported"),
            Ok(url) if !matches!(url.scheme(), "http" | "https") => Err("it isn't http or https"),
            Ok(url) if url.has_host() => Ok(url),
            _ => Err("it isn't the URL of a proxy"),
        };
        Proxy { variable, url }
    }

    /// The URL to connect to, with user and password.
    ///
    /// # Errors
    /// The variable doesn't hold the URL of a proxy.
    pub(super) fn url(&self) -> Result<&Url> {
        let fail = |why: &&str| Error::new(Kind::Usage, format!("read {}", self.variable), why);
        self.url.as_ref().map_err(fail)
    }

    /// `host:port (VARIABLE)`, for messages.
    pub(super) fn shown(&self) -> String {
        let url = self.url.as_ref().ok();
        let host = url.and_then(Url::host_str).unwrap_or_default();
        let port = url.and_then(Url::port_or_known_default).unwrap_or_default();
        format!("{host}:{port} ({})", self.variable)
    }

    /// Whether it is given a user name.
    pub(super) fn has_credentials(&self) -> bool {
        self.url.as_ref().is_ok_and(|url| !url.username().is_empty())
    }
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// `*`: no proxy at all.
    All,
    /// `10.0.0.0/8`: an address and how many of its bits count.
    Net(IpAddr, u8),
    /// `10.1.2.3`, perhaps with a port.
    Address(IpAddr, Option<u16>),
    /// `r.io`: the name and all below it, perhaps with a port.
    Domain(String, Option<u16>),
    /// `.r.io`, `*.r.io`: only what is below.
    Below(String, Option<u16>),
}

impl Rule {
    fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Rule::All);
        }
        if let Some((ip, bits)) = text.split_once('/') {
            let (ip, bits): (IpAddr, u8) = (ip.parse().ok()?, bits.parse().ok()?);
            return (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some(Rule::Net(ip, bits));
        }
        let bare = |text: &str| text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        if let Ok(ip) = bare(&text) {
            return Some(Rule::Address(ip, None));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text.as_str(), None),
        };
        if let Ok(ip) = bare(host) {
            return Some(Rule::Address(ip, port));
        }
        let below = host.strip_prefix("*.").or(host.strip_prefix('.'));
        match below {
            Some("") => None,
            Some(domain) => Some(Rule::Below(domain.to_owned(), port)),
            None if host.is_empty() => None,
            None => Some(Rule::Domain(host.trim_end_matches('.').to_owned(), port)),
        }
    }

    fn covers(&self, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        let (found, of) = match self {
            Rule::All => return true,
            Rule::Net(net, bits) => return ip.is_some_and(|ip| in_net(ip, *net, *bits)),
            Rule::Address(address, of) => (ip == Some(*address), of),
            Rule::Domain(domain, of) => (host == domain || below(domain), of),
            Rule::Below(domain, of) => (below(domain), of),
        };
        found && of.is_none_or(|of| of == port)
    }
}

/// Whether the first `bits` of both addresses are the same.
fn in_net(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    let differ = |a: u128, b: u128, width: u8| {
        a.checked_shr(u32::from(width - bits)) != b.checked_shr(u32::from(width - bits))
    };
    match (ip, net) {
        _ if bits == 0 => ip.is_ipv4() == net.is_ipv4(),
        (IpAddr::V4(a), IpAddr::V4(b)) => !differ(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => !differ(a.into(), b.into(), 128),
        _ => false,
    }
}

impl Proxies {
    /// The proxies that `env` names.
    #[must_use]
    pub fn from_env(env: &BTreeMap<String, String>) -> Self {
        let find = |names: [&'static str; 2]| {
            let set = names.into_iter().filter_map(|name| Some((name, env.get(name)?)));
            set.map(|(name, value)| (name, value.trim())).find(|(_, value)| !value.is_empty())
        };
        let proxy = |names| find(names).map(|(name, value)| Proxy::read(name, value));
        let all = || proxy(["ALL_PROXY", "all_proxy"]);
        // In a CGI program HTTP_PROXY is a header of the request (httpoxy).
        let http = if env.contains_key("REQUEST_METHOD") {
            proxy(["http_proxy", "http_proxy"])
        } else {
            proxy(["HTTP_PROXY", "http_proxy"])
        };
        let direct = find(["NO_PROXY", "no_proxy"]).map_or("", |(_, value)| value);
        Proxies {
            https: proxy(["HTTPS_PROXY", "https_proxy"]).or_else(all),
            http: http.or_else(all),
            direct: direct.split([',', ' ', '\t']).filter_map(Rule::read).collect(),
        }
    }

    /// The proxy for `url`, if it doesn't go straight there.
    pub(super) fn find(&self, url: &Url) -> Option<&Proxy> {
        let of_scheme = if url.scheme() == "https" { &self.https } else { &self.http };
        let proxy = of_scheme.as_ref()?;
        let host = url.host_str()?.trim_end_matches('.');
        let port = url.port_or_known_default()?;
        let ip = endpoint::address(url);
        let direct = endpoint::is_loopback(url) || self.direct.iter().any(|rule| rule.covers(host, ip, port));
        (!direct).then_some(proxy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(env: &[(&str, &str)]) -> Proxies {
        Proxies::from_env(&env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    fn via(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.find(&Url::parse(url).unwrap()).map(Proxy::shown)
    }

    #[test]
    fn each_scheme_has_its_variable() {
        let all = proxies(&[("https_proxy", "p:1"), ("HTTP_PROXY", "http://q:2/"), ("ALL_PROXY", "a:3")]);
        assert_eq!(via(&all, "https://r.io/").unwrap(), "p:1 (https_proxy)");
        assert_eq!(via(&all, "http://r.io/").unwrap(), "q:2 (HTTP_PROXY)");
        let rest = proxies(&[("HTTPS_PROXY", ""), ("HTTP_PROXY", " q:2 "), ("all_proxy", "https://a")]);
        assert_eq!(via(&rest, "https://r.io/").unwrap(), "a:443 (all_proxy)");
        let upper = proxies(&[("HTTPS_PROXY", "u:1"), ("https_proxy", "l:1")]);
        assert_eq!(via(&upper, "https://r.io/").unwrap(), "u:1 (HTTPS_PROXY)");
        assert_eq!(via(&proxies(&[]), "https://r.io/"), None);
        let cgi = proxies(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1")]);
        assert_eq!(via(&cgi, "http://r.io/"), None);
    }

    #[test]
    fn no_proxy_has_names_ports_addresses_and_nets() {
        let direct = |no_proxy: &str, host: &str| {
            let all = proxies(&[("ALL_PROXY", "p:1"), ("no_proxy", no_proxy)]);
            via(&all, &format!("https://{host}/")).is_none()
        };
        for (no_proxy, yes, no) in [
            ("r.io", &["r.io", "a.r.io", "r.io:5000", "R.IO", "r.io."][..], &["ar.io", "r.io.evil.com"][..]),
            (".r.io", &["a.r.io", "a.b.r.io"], &["r.io"]),
            ("*.r.io", &["a.r.io"], &["r.io"]),
            ("r.io:5000", &["r.io:5000", "a.r.io:5000"], &["r.io", "r.io:443"]),
            ("r.io:443", &["r.io"], &["r.io:5000"]),
            ("10.0.0.0/8", &["10.1.2.3", "10.255.0.1:5000"], &["11.0.0.1", "r.io"]),
            ("192.168.4.0/22", &["192.168.7.255"], &["192.168.8.0"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["[2001:db8::1]"]),
            ("fd00::/8", &["[fd12::1]", "[fd12::1]:5000"], &["[fe00::1]", "10.0.0.1"]),
            ("10.1.2.3", &["10.1.2.3", "10.1.2.3:5000"], &["10.1.2.4"]),
            ("10.1.2.3:5000", &["10.1.2.3:5000"], &["10.1.2.3"]),
            ("[fd12::1]:5000", &["[fd12::1]:5000"], &["[fd12::1]"]),
            ("fd12::1", &["[fd12::1]"], &["[fd12::2]"]),
            ("*", &["r.io", "10.0.0.1", "[fd00::1]"], &[]),
            (" a.io , b.io c.io,,", &["a.io", "b.io", "c.io"], &["d.io"]),
            ("10.0.0.0/33,a.io:x,.,:", &[], &["10.0.0.1", "a.io"]),
            ("", &["localhost", "a.localhost:5000", "127.3.2.1", "[::1]"], &["r.io"]),
        ] {
            for host in yes {
                assert!(direct(no_proxy, host), "{no_proxy}: {host}");
            }
            for host in no {
                assert!(!direct(no_proxy, host), "{no_proxy}: {host}");
            }
        }
    }

    #[test]
    fn a_bad_value_is_never_quoted() {
        for value in
            ["http://me:hunter2@", "socks5://me:hunter2@p:1", "ftp://me:hunter2@p", "http://me:hunter2@p:x"]
        {
            let all = proxies(&[("HTTPS_PROXY", value)]);
            let proxy = all.find(&Url::parse("https://r.io/").unwrap()).unwrap();
            let error = proxy.url().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(!format!("{error:?} {error} {}", proxy.shown()).contains("hunter2"), "{error:?}");
        }
        let good = proxies(&[("HTTPS_PROXY", "http://me:hunter2@p:3128")]);
        let proxy = good.find(&Url::parse("https://r.io/").unwrap()).unwrap();
        assert_eq!(proxy.shown(), "p:3128 (HTTPS_PROXY)");
        assert!(proxy.has_credentials());
    }

    proptest::proptest! {
        #[test]
        fn fuzz_no_proxy_is_read_or_left(text in ".*", listy in "[0-9a-f.:/*,\\[\\] -]{0,30}") {
            for text in [text, listy] {
                let all = proxies(&[("ALL_PROXY", "p:1"), ("NO_PROXY", &text)]);
                let _ = via(&all, "https://10.0.0.1:5000/");
                let _ = via(&all, "https://[fd00::1]/");
            }
        }
    }
}
