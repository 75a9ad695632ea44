//! Pulls an image with oci-client and compares every document, config and layer with the OCI layout that it was
//! pushed from: `pulled-back http|https REFERENCE LAYOUT [USER PASSWORD]`. SSL_CERT_FILE names further roots.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::Value;

/// The documents that gimg writes.
const TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"];

/// What was the same.
#[derive(Default)]
struct Count {
    documents: usize,
    blobs: usize,
    bytes: usize,
}

struct Comparison {
    client: Client,
    auth: RegistryAuth,
    layout: PathBuf,
    count: Count,
}

impl Comparison {
    /// The bytes in the layout.
    fn ours(&self, digest: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let hex = digest.strip_prefix("sha256:").ok_or("not a sha256 digest")?;
        let path = self.layout.join("blobs/sha256").join(hex);
        std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()).into())
    }

    /// Compares a document and all below it; gives its digest.
    async fn document(&mut self, reference: &Reference) -> Result<String, Box<dyn Error>> {
        let (pulled, digest) = self.client.pull_manifest_raw(reference, &self.auth, &TYPES).await?;
        if pulled != self.ours(&digest)? {
            return Err(format!("{reference}: not what was pushed").into());
        }
        self.count.documents += 1;
        self.count.bytes += pulled.len();
        let document: Value = serde_json::from_slice(&pulled)?;
        for child in document["manifests"].as_array().into_iter().flatten() {
            let digest = child["digest"].as_str().ok_or("a child without digest")?;
            let (registry, repository) = (reference.registry(), reference.repository());
            let child = Reference::with_digest(registry.to_owned(), repository.to_owned(), digest.to_owned());
            Box::pin(self.document(&child)).await?;
        }
        let config = document.get("config").into_iter();
        for blob in config.chain(document["layers"].as_array().into_iter().flatten()) {
            let descriptor: OciDescriptor = serde_json::from_value(blob.clone())?;
            let mut pulled = Vec::new();
            self.client.pull_blob(reference, &descriptor, &mut pulled).await?;
            if pulled != self.ours(&descriptor.digest)? {
                return Err(format!("{}: not what was pushed", descriptor.digest).into());
            }
            self.count.blobs += 1;
            self.count.bytes += pulled.len();
        }
        Ok(digest)
    }
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [scheme, reference, layout, credentials @ ..] = arguments else {
        return Err("usage: pulled-back http|https REFERENCE LAYOUT [USER PASSWORD]".into());
    };
    let auth = match credentials {
        [user, password] => RegistryAuth::Basic(user.clone(), password.clone()),
        _ => RegistryAuth::Anonymous,
    };
    let mut config = ClientConfig {
        protocol: if scheme == "http" { ClientProtocol::Http } else { ClientProtocol::Https },
        ..ClientConfig::default()
    };
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        let root = Certificate { encoding: CertificateEncoding::Pem, data: std::fs::read(path)? };
        config.extra_root_certificates.push(root);
    }
    let layout = Path::new(layout).to_owned();
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json"))?)?;
    let mut comparison = Comparison { client: Client::new(config), auth, layout, count: Count::default() };
    let digest = comparison.document(&reference.parse()?).await?;
    if index["manifests"][0]["digest"] != *digest {
        return Err(format!("{reference} is {digest}, which isn't the layout's").into());
    }
    let Count { documents, blobs, bytes } = comparison.count;
    println!("the same: {documents} documents, {blobs} blobs, {bytes} bytes");
    Ok(())
}

fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("pulled-back: another TLS provider is there already");
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|r| r.block_on(run(&arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pulled-back: {error}");
            ExitCode::FAILURE
        }
    }
}
