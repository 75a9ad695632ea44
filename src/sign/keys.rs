//! Keys as cosign keeps them: a private key under a password (cosign, "pkg/cosign/keys.go"; securesystemslib,
//! "encrypted"), a public key as SPKI. ECDSA with P-256 and SHA-256, cosign's own default, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::XSalsa20Poly1305;
use crypto_secretbox::aead::generic_array::GenericArray;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::oci::Digest;

/// How the file of a private key begins; the second is of old cosigns.
const PRIVATE: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
const PUBLIC: &str = "PUBLIC KEY";
/// log2 of the costs that cosign takes: more would be an attack on who reads.
const COSTS: std::ops::RangeInclusive<u8> = 15..=17;
/// That of new files.
const COST: u8 = 16;
const R: u32 = 8;
const P: u32 = 1;

/// What keeps a private key's file from others; may be empty.
pub type Password = [u8];

/// What only chance knows: for a new key, and for the file it is kept in.
#[derive(Clone)]
pub struct Randomness {
    /// The key; one in four thousand million of four thousand million is refused.
    pub key: [u8; 32],
    /// What the password is mixed with.
    pub salt: [u8; 32],
    /// The number that this file alone has.
    pub nonce: [u8; 24],
}

/// A private key.
pub struct PrivateKey(SigningKey);

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

#[derive(Serialize, Deserialize)]
struct Encrypted {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

fn bad(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Attestation, what, why)
}

const READ: &str = "read the private key";

impl PrivateKey {
    /// A new key. None where the number is no key: another one will be.
    #[must_use]
    pub fn new(randomness: &Randomness) -> Option<Self> {
        SigningKey::from_slice(&randomness.key).ok().map(PrivateKey)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Another kind of file or key, or another password (kind `Attestation`).
    pub fn read(pem: &str, password: &Password) -> Result<Self> {
        let (label, body) = decode(pem).map_err(|why| bad(READ, why))?;
        if !PRIVATE.contains(&label.as_str()) {
            let error = bad(READ, format!("it is a {label}, not a key of cosign's"));
            return Err(error.hint("make one with: gimg key generate"));
        }
        let file: Encrypted = serde_json::from_slice(&body).map_err(|e| bad(READ, e))?;
        let cost = COSTS.clone().find(|cost| 1 << cost == file.kdf.params.n);
        let known = file.kdf.name == "scrypt"
            && file.cipher.name == "nacl/secretbox"
            && (file.kdf.params.r, file.kdf.params.p) == (R, P);
        let Some(cost) = cost.filter(|_| known) else {
            return Err(bad(READ, "it is encrypted in a way that cosign doesn't"));
        };
        let bytes = |text: &str| STANDARD.decode(text).map_err(|e| bad(READ, e));
        let (salt, nonce) = (bytes(&file.kdf.salt)?, bytes(&file.cipher.nonce)?);
        if nonce.len() != 24 {
            return Err(bad(READ, "its nonce isn't 24 bytes long"));
        }
        let opened = secretbox(password, &salt, cost)?
            .decrypt(GenericArray::from_slice(&nonce), bytes(&file.ciphertext)?.as_slice())
            .map_err(|_| bad(READ, "the password is another").hint("COSIGN_PASSWORD holds it"))?;
        let key = SigningKey::from_pkcs8_der(&opened);
        key.map(PrivateKey).map_err(|_| bad(READ, "it isn't ECDSA with P-256, which is all that gimg knows"))
    }

    /// The file of the key, as cosign writes it.
    ///
    /// # Errors
    /// None that the types allow.
    pub fn write(&self, password: &Password, randomness: &Randomness) -> Result<String> {
        let what = "write the private key";
        let plain = self.0.to_pkcs8_der().map_err(|e| bad(what, e))?;
        let sealed = secretbox(password, &randomness.salt, COST)?
            .encrypt(GenericArray::from_slice(&randomness.nonce), plain.as_bytes())
            .map_err(|e| bad(what, e))?;
        let file = Encrypted {
            kdf: Kdf {
                name: "scrypt".to_owned(),
                params: Params { n: 1 << COST, r: R, p: P },
                salt: STANDARD.encode(randomness.salt),
            },
            cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: STANDARD.encode(randomness.nonce) },
            ciphertext: STANDARD.encode(sealed),
        };
        let json = serde_json::to_vec(&file).map_err(|e| bad(what, e))?;
        Ok(encode(PRIVATE[0], &json))
    }

    /// The key that others verify with.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// A signature of `message`: ASN.1 DER of ECDSA over its SHA-256. The same message has the same signature each time
    /// (RFC 6979).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign(message);
        signature.as_bytes().to_vec()
    }
}

impl PublicKey {
    /// Reads a file.
    ///
    /// # Errors
    /// Another kind of file or key (kind `Attestation`).
    pub fn read(pem: &str) -> Result<Self> {
        let what = "read the public key";
        let (label, der) = decode(pem).map_err(|why| bad(what, why))?;
        if label != PUBLIC {
            let error = bad(what, format!("it is a {label}, not a {PUBLIC}"));
            let is_private = PRIVATE.contains(&label.as_str());
            return Err(if is_private { error.hint("its public half is in the file .pub") } else { error });
        }
        let key = VerifyingKey::from_public_key_der(&der);
        key.map(PublicKey).map_err(|_| bad(what, "it isn't ECDSA with P-256, which is all that gimg knows"))
    }

    /// The file of the key.
    ///
    /// # Errors
    /// None that the types allow.
    pub fn write(&self) -> Result<String> {
        Ok(encode(PUBLIC, &self.der()?))
    }

    /// What signatures by it are marked with: base64 of the SHA-256 of its SPKI, as cosign has it.
    ///
    /// # Errors
    /// None that the types allow.
    pub fn hint(&self) -> Result<String> {
        Ok(STANDARD.encode(Digest::of(&self.der()?).bytes()))
    }

    /// Whether `signature`, in ASN.1 DER, is one of `message` by this key.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::from_bytes(signature).is_ok_and(|s| self.0.verify(message, &s).is_ok())
    }

    fn der(&self) -> Result<Vec<u8>> {
        let der = self.0.to_public_key_der().map_err(|e| bad("write the public key", e))?;
        Ok(der.as_bytes().to_vec())
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl std::fmt::Debug for Randomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Randomness")
    }
}

/// The box whose key is made of a password.
fn secretbox(password: &Password, salt: &[u8], cost: u8) -> Result<XSalsa20Poly1305> {
    let what = "use the password of the private key";
    let params = scrypt::Params::new(cost, R, P).map_err(|e| bad(what, e))?;
    let mut key = [0; 32];
    scrypt::scrypt(password, salt, &params, &mut key).map_err(|e| bad(what, e))?;
    Ok(XSalsa20Poly1305::new(GenericArray::from_slice(&key)))
}

/// Reads one PEM block (RFC 7468): its label, and its bytes. What is before and after it says nothing.
fn decode(pem: &str) -> std::result::Result<(String, Vec<u8>), String> {
    let missing = || "it is no PEM file".to_owned();
    let (_, rest) = pem.split_once("-----BEGIN ").ok_or_else(missing)?;
    let (label, rest) = rest.split_once("-----").ok_or_else(missing)?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----")).ok_or_else(missing)?;
    let body: String = body.split_whitespace().collect();
    let bytes = STANDARD.decode(body).map_err(|e| e.to_string())?;
    Ok((label.to_owned(), bytes))
}

/// Writes one, in lines of 64 letters.
fn encode(label: &str, bytes: &[u8]) -> String {
    let body = STANDARD.encode(bytes);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII.
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    fn randomness(of: u8) -> Randomness {
        Randomness { key: [of; 32], salt: [of; 32], nonce: [of; 24] }
    }

    #[test]
    fn a_key_is_read_as_it_was_written_by_whoever_has_the_password() {
        let key = PrivateKey::new(&randomness(7)).unwrap();
        for password in [&b""[..], b"correct horse"] {
            let pem = key.write(password, &randomness(1)).unwrap();
            assert!(pem.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), "{pem}");
            assert!(pem.lines().all(|line| line.len() <= 64));
            let read = PrivateKey::read(&pem, password).unwrap();
            assert_eq!(read.public(), key.public());
            let error = PrivateKey::read(&pem, b"other").unwrap_err();
            assert_eq!(error.kind(), Kind::Attestation);
            assert!(error.to_string().contains("the password is another"), "{error}");
        }
        let public = key.public().write().unwrap();
        assert_eq!(PublicKey::read(&public).unwrap(), key.public());
        assert!(PrivateKey::read(&public, b"").unwrap_err().to_string().contains("it is a PUBLIC KEY"));
        assert!(PublicKey::read("nothing").is_err() && PrivateKey::read("", b"").is_err());
        assert!(PrivateKey::new(&randomness(0)).is_none(), "zero is no key");
        assert!(PrivateKey::new(&randomness(0xff)).is_none(), "nor is more than the order");
    }

    #[test]
    fn costs_that_are_attacks_are_refused() {
        let key = PrivateKey::new(&randomness(7)).unwrap();
        let pem = key.write(b"", &randomness(1)).unwrap();
        let (label, json) = decode(&pem).unwrap();
        let json = String::from_utf8(json).unwrap();
        for (from, to) in [
            ("\"N\":65536", "\"N\":16777216"),
            ("\"N\":65536", "\"N\":1024"),
            ("\"r\":8", "\"r\":9"),
            ("\"p\":1", "\"p\":1000"),
            ("scrypt", "pbkdf2"),
            ("nacl/secretbox", "aes"),
        ] {
            assert!(json.contains(from), "{json}");
            let changed = encode(&label, json.replace(from, to).as_bytes());
            let error = PrivateKey::read(&changed, b"").unwrap_err().to_string();
            assert!(error.contains("in a way that cosign doesn't"), "{to}: {error}");
        }
    }

    #[test]
    fn signatures_are_of_one_message_by_one_key_and_always_the_same() {
        let (key, other) =
            (PrivateKey::new(&randomness(7)).unwrap(), PrivateKey::new(&randomness(8)).unwrap());
        let signature = key.sign(b"message");
        assert_eq!(signature, key.sign(b"message"));
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"massage", &signature));
        assert!(!other.public().verifies(b"message", &signature));
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!key.public().verifies(b"message", &changed), "byte {at}");
        }
        assert_ne!(key.public().hint().unwrap(), other.public().hint().unwrap());
        assert_eq!(STANDARD.decode(key.public().hint().unwrap()).unwrap().len(), 32);
        assert_eq!(
            format!("{key:?} {:?}", randomness(3)),
            "PrivateKey Randomness",
            "nothing of them is told"
        );
    }
}
