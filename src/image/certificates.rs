//! CA certificates: read from PEM (RFC 7468), written into a bundle. Pure.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where Go looks for the bundle on Linux, in its order (Go, crypto/x509/root_linux.go). The first that is there
/// counts.
pub const PLACES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The largest bundle that is read: Mozilla's has a quarter of a megabyte.
pub const MAX_BUNDLE: u64 = 16 << 20;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const CLOSE: &str = "-----";

/// A certificate: its DER, which nobody looks into but for its outermost length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certificate(Vec<u8>);

impl Certificate {
    fn of(der: Vec<u8>) -> Option<Self> {
        (der_length(&der) == Some(der.len())).then_some(Certificate(der))
    }
}

/// The certificates of a user's file, each once, in its order. What stands between them is left out.
///
/// # Errors
/// Why it isn't a file of certificates and nothing else: a private key above all, which must never get into an image.
pub fn read(text: &[u8]) -> Result<Vec<Certificate>, String> {
    let text = String::from_utf8_lossy(text);
    let blocks = blocks(&text);
    if blocks.iter().any(|b| b.label.contains("PRIVATE KEY")) {
        return Err("it holds a private key, which must not get into an image".to_owned());
    }
    if blocks.is_empty() {
        return Err("it holds no certificate in PEM".to_owned());
    }
    let mut seen = BTreeSet::new();
    let mut list = Vec::new();
    for (number, block) in blocks.into_iter().enumerate() {
        if block.label != "CERTIFICATE" {
            return Err(format!("it holds a {:?}, not just certificates", block.label));
        }
        let bad = || format!("its certificate number {} is damaged", number + 1);
        let certificate = block.der().and_then(Certificate::of).ok_or_else(bad)?;
        if seen.insert(certificate.clone()) {
            list.push(certificate);
        }
    }
    Ok(list)
}

/// The bundle `base`, every byte as it is, and after it those certificates of `added` that it lacks, in their order.
#[must_use]
pub fn bundle(base: &[u8], added: &[Certificate]) -> Vec<u8> {
    let text = String::from_utf8_lossy(base);
    let known = blocks(&text).into_iter().filter(|b| b.label == "CERTIFICATE");
    let mut known: BTreeSet<Certificate> = known.filter_map(|b| b.der()).map(Certificate).collect();
    let mut bundle = base.to_vec();
    if !bundle.is_empty() && !bundle.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    let mut more = String::new();
    for certificate in added {
        if known.insert(certificate.clone()) {
            write_pem(&certificate.0, &mut more);
        }
    }
    bundle.extend_from_slice(more.as_bytes());
    bundle
}

/// Appends a certificate's DER as PEM, in lines of 64 characters.
pub fn write_pem(der: &[u8], out: &mut String) {
    out.push_str("-----BEGIN CERTIFICATE-----\n");
    let text = STANDARD.encode(der);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str("-----END CERTIFICATE-----\n");
}

/// What stands between a BEGIN and its END.
struct Block<'a> {
    label: &'a str,
    lines: Vec<&'a str>,
    /// Whether the END is there.
    whole: bool,
}

impl Block<'_> {
    fn der(&self) -> Option<Vec<u8>> {
        let text: String = self.lines.iter().flat_map(|l| l.split_ascii_whitespace()).collect();
        STANDARD.decode(text).ok().filter(|_| self.whole)
    }
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim();
        let label = |start| line.strip_prefix(start).and_then(|rest| rest.strip_suffix(CLOSE));
        if let Some(label) = label(BEGIN) {
            blocks.push(Block { label, lines: Vec::new(), whole: false });
            inside = true;
        } else if let Some(block) = blocks.last_mut().filter(|_| inside) {
            match label(END) {
                Some(label) => {
                    block.whole = label == block.label;
                    inside = false;
                }
                None => block.lines.push(line),
            }
        }
    }
    blocks
}

/// How long a DER value says it is, if it is a sequence (X.690, 8.1.3): a certificate is one.
fn der_length(der: &[u8]) -> Option<usize> {
    let (&[tag, first], rest) = der.split_first_chunk::<2>()?;
    if tag != 0x30 {
        return None;
    }
    if first < 0x80 {
        return Some(2 + usize::from(first));
    }
    let count = usize::from(first & 0x7f);
    let bytes = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
    let length = bytes.iter().fold(0_usize, |sum, b| sum << 8 | usize::from(*b));
    length.checked_add(2 + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(content: &[u8]) -> String {
        let mut der = vec![0x30, 0x82];
        der.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        der.extend(content);
        let mut text = String::new();
        write_pem(&der, &mut text);
        text
    }

    #[test]
    fn a_file_of_certificates_is_read_and_written_in_one_form() {
        let (one, two) = (pem(&[1; 200]), pem(&[2; 300]));
        let windows = format!("# Ours\r\n{}\r\nsubject=x\r\n{two}{one}", one.replace('\n', "\r\n"));
        let list = read(windows.as_bytes()).unwrap();
        assert_eq!(bundle(b"", &list), format!("{one}{two}").into_bytes());
        // What the base has stays, byte for byte, and isn't there twice.
        let base = format!("# Base\n{}", two.trim_end());
        assert_eq!(bundle(base.as_bytes(), &list), format!("{base}\n{one}").into_bytes());
        assert_eq!(bundle(b"\xff\n", &[]), b"\xff\n");
    }

    #[test]
    fn what_is_not_a_certificate_is_refused() {
        let good = pem(&[1; 20]);
        let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n";
        let damaged = good.replace("MII", "!!!");
        let cut = good.replace("-----END", "----END");
        let other = good.replace("CERTIFICATE", "X509 CRL");
        let octets = good.replacen("MI", "BI", 1);
        let long = pem(&[1; 20]).replacen("MIIAFAEB", "MIIAFQEB", 1);
        for (text, why) in [
            ("", "no certificate"),
            ("hello", "no certificate"),
            (&format!("{good}{key}"), "private key"),
            (&damaged, "number 1 is damaged"),
            (&cut, "number 1 is damaged"),
            (&format!("{good}{octets}"), "number 2 is damaged"),
            (&long, "number 1 is damaged"),
            (&other, "it holds a \"X509 CRL\""),
        ] {
            let found = read(text.as_bytes()).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}
