//! What a failed TLS handshake means, in words: pure.

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error as Tls, PeerIncompatible};

use crate::oci::rfc3339;

/// What is said of a server that answers a handshake with something else.
pub(super) const NOT_TLS: &str = "it doesn't speak TLS";

/// What went wrong, and what can be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Explained {
    pub(super) why: String,
    pub(super) hint: Option<String>,
}

/// Explains why the TLS connection to `host` (`name[:port]`) failed. `None` for what may be an accident of the
/// connection: that is worth another try.
pub(super) fn explain(error: &Tls, host: &str) -> Option<Explained> {
    let explained = |why: String, hint: String| Some(Explained { why, hint: Some(hint) });
    let unknown = || {
        format!(
            "set SSL_CERT_FILE to a file with the certificate of its CA, or put it into ~/.config/containers/certs.d/{host}/ca.crt"
        )
    };
    let client = || client_hint(host);
    let clock = "if the clock of this machine is right, the server needs a new certificate".to_owned();
    match error {
        Tls::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => explained(
            format!(
                "its certificate expired: it was valid until {}, and the clock here says {}",
                date(*not_after),
                date(*time)
            ),
            clock,
        ),
        Tls::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before }) => explained(
            format!(
                "its certificate isn't valid yet: only from {}, and the clock here says {}",
                date(*not_before),
                date(*time)
            ),
            clock,
        ),
        Tls::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let names: Vec<_> = presented.iter().map(|n| bare(n)).collect();
            let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
            explained(
                format!("its certificate is for {names}, not for {}", shown(expected)),
                "use a name that the certificate has".to_owned(),
            )
        }
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => explained(
            "its certificate comes from a CA that isn't trusted here (unknown issuer)".to_owned(),
            unknown(),
        ),
        // webpki's word for a certificate that vouches for itself.
        Tls::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity") =>
        {
            explained("its certificate is self-signed".to_owned(), unknown())
        }
        Tls::InvalidCertificate(other) => {
            explained(format!("its certificate isn't good: {other}"), unknown())
        }
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            explained("it wants a client certificate".to_owned(), client())
        }
        Tls::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate),
        ) => explained(format!("it wants another client certificate, or one at all ({alert:?})"), client()),
        Tls::AlertReceived(AlertDescription::HandshakeFailure) => explained(
            "it refused the handshake: it may want a client certificate, or only old ciphers".to_owned(),
            client(),
        ),
        Tls::AlertReceived(AlertDescription::ProtocolVersion)
        | Tls::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Some(Explained { why: "it speaks only versions of TLS before 1.2".to_owned(), hint: None }),
        Tls::InvalidMessage(_) => {
            explained(NOT_TLS.to_owned(), "a registry with plain http needs --insecure-registry".to_owned())
        }
        _ => None,
    }
}

/// Where a client certificate for `host` goes.
pub(super) fn client_hint(host: &str) -> String {
    format!("put it into ~/.config/containers/certs.d/{host}/ as client.cert with client.key")
}

/// A name of a certificate: the library gives `DnsName("r.io")` and `IpAddress(10.0.0.1)`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest);
    inner.trim_end_matches(')').trim_matches('"').to_owned()
}

fn shown(name: &ServerName<'_>) -> String {
    name.to_str().into_owned()
}

/// `2026-01-31T12:00:00Z`.
fn date(time: UnixTime) -> String {
    rfc3339(time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn certificate_errors_name_what_is_wrong() {
        let certificate = |e| explain(&Tls::InvalidCertificate(e), "r.io:5000").unwrap();
        let expired =
            certificate(CertificateError::ExpiredContext { time: at(951_827_696), not_after: at(0) });
        assert!(expired.why.contains("until 1970-01-01T00:00:00Z"), "{expired:?}");
        assert!(expired.why.contains("the clock here says 2000-02-29T12:34:56Z"), "{expired:?}");
        assert!(expired.hint.unwrap().contains("clock"));
        let early =
            certificate(CertificateError::NotValidYetContext { time: at(0), not_before: at(951_827_696) });
        assert!(early.why.contains("isn't valid yet"), "{early:?}");
        let name = certificate(CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("r.io").unwrap(),
            presented: vec!["DnsName(\"s.io\")".to_owned(), "IpAddress(10.0.0.1)".to_owned()],
        });
        assert_eq!(name.why, "its certificate is for s.io, 10.0.0.1, not for r.io");
        let unknown = certificate(CertificateError::UnknownIssuer);
        assert!(unknown.hint.unwrap().contains("certs.d/r.io:5000/ca.crt"));
    }

    #[test]
    fn what_the_server_says_is_understood() {
        for (alert, word) in [
            (AlertDescription::CertificateRequired, "wants a client certificate"),
            (AlertDescription::BadCertificate, "another client certificate"),
            (AlertDescription::HandshakeFailure, "may want a client certificate"),
            (AlertDescription::ProtocolVersion, "before 1.2"),
        ] {
            assert!(explain(&Tls::AlertReceived(alert), "r.io").unwrap().why.contains(word));
        }
        assert_eq!(explain(&Tls::AlertReceived(AlertDescription::InternalError), "r.io"), None);
        assert_eq!(explain(&Tls::General(String::new()), "r.io"), None);
    }
}
