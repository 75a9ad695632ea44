//! How registries are reached, from the environment: certificates, proxies, registries.conf.
#![expect(clippy::disallowed_methods, reason = "edge: certificate files")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::event::{Event, Observer};
use crate::registry::{Insecure, Keychain, Options, Proxies, Rules, TokenServers, certs_d};
use crate::settings::env::{self, Env};

/// The options of the registry client. Files are read only if `asked`, that is if a registry will be: a broken
/// file is no reason not to write a local layout.
pub(super) fn options(
    env: &Env,
    observer: &Arc<dyn Observer>,
    insecure: bool,
    asked: bool,
    keychain: Keychain,
) -> Result<Options> {
    let options = Options {
        insecure: if insecure { Insecure::All } else { Insecure::Loopback },
        keychain,
        observer: Arc::clone(observer),
        ..Options::default()
    };
    if !asked {
        return Ok(options);
    }
    let ca = match env.first(&[env::SSL_CERT_FILE]).map(Path::new) {
        Some(path) => Some(std::fs::read(path).map_err(|e| Error::io("read SSL_CERT_FILE", path, &e))?),
        None => None,
    };
    let ca_dirs = env.first(&[env::SSL_CERT_DIR]).map_or_else(Vec::new, |dirs| {
        std::env::split_paths(dirs).filter(|dir| *dir != PathBuf::new()).collect()
    });
    let rules = Rules::load(env.all())?;
    for warning in &rules.warnings {
        observer.on(Event::Warning(warning.clone()));
    }
    let proxies = Proxies::from_env(env.all());
    let token_servers = TokenServers::parse(env.first(&[env::GIMG_TOKEN_SERVERS]).unwrap_or_default())?;
    Ok(Options { token_servers, ca, ca_dirs, certs_d: certs_d(env.all()), rules, proxies, ..options })
}
