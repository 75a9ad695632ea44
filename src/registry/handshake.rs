//! The TLS configuration of a client: whom it trusts, what it shows, and whether it was asked to show something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::registry::certs::{Der, Identity};

/// Notes whether a server wanted a client certificate of a client that has none. In TLS 1.3 the server says
/// that it misses one only after the handshake, where HTTP/2 has no way to tell.
#[derive(Debug, Default)]
pub(super) struct Wanted(AtomicBool);

impl Wanted {
    /// Whether one was wanted at any time.
    pub(super) fn was(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Nothing(Arc<Wanted>);

impl ResolvesClientCert for Nothing {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.0.store(true, Ordering::Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Takes any certificate: for registries that the user called insecure. Signatures still have to be right.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Whom a client trusts.
pub(super) enum Trust {
    /// What these authorities vouch for.
    Roots(Vec<Der>),
    /// Everyone.
    Anyone,
}

/// The configuration of a client that shows `identity` and speaks `alpn`, by TLS 1.2 or later.
///
/// # Errors
/// A certificate and a key that don't belong together.
pub(super) fn config(
    trust: Trust,
    identity: Option<Identity>,
    alpn: &[&[u8]],
    wanted: &Arc<Wanted>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Roots(all) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(all);
            builder.with_root_certificates(roots)
        }
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider))),
    };
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
        None => builder.with_client_cert_resolver(Arc::new(Nothing(Arc::clone(wanted)))),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}
