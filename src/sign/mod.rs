//! Signatures by a key: cosign's key files, DSSE envelopes, sigstore bundles. Pure: bytes in, bytes out.

mod bundle;
mod dsse;
mod keys;

pub use bundle::{Bundle, bundle};
pub use keys::{Password, PrivateKey, PublicKey, Randomness};
