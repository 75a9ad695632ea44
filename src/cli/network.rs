//! How registries are reached, from the environment: certificates, proxies, registries.conf.
#![expect(clippy::disallowed_methods, reason = "edge: certificate files")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use crate::error::{Error, Result};
use crate::event::{Event, Observer};
use crate::oci::Registry;
use crate::registry::{Insecure, Keychain, Options, Proxies, Rules, TokenServers, certs_d};
use crate::settings::env::{self, Env};

#[derive(Debug, Args)]
pub(super) struct InsecureArgs {
    /// Plain HTTP or unverified TLS for all, or this one; repeatable
    // As in ko `true` and `false` are taken too.
    #[arg(
        long,
        value_name = "HOST",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = word
    )]
    insecure_registry: Vec<Word>,
}

/// A value of `--insecure-registry`.
#[derive(Clone, Debug)]
enum Word {
    All(bool),
    One(Registry),
}

fn word(text: &str) -> Result<Word, String> {
    match text {
        "true" => Ok(Word::All(true)),
        "false" => Ok(Word::All(false)),
        host => host.parse().map(Word::One).map_err(|e: Error| e.to_string()),
    }
}

impl InsecureArgs {
    /// Which registries may be insecure.
    pub(super) fn choice(&self) -> Insecure {
        let mut listed = BTreeSet::new();
        for word in &self.insecure_registry {
            match word {
                Word::All(true) => return Insecure::All,
                Word::All(false) => {}
                Word::One(registry) => {
                    listed.insert(registry.clone());
                }
            }
        }
        if listed.is_empty() { Insecure::Loopback } else { Insecure::Listed(listed) }
    }
}

/// The options of the registry client. Files are read only if `asked`, that is if a registry will be: a broken
/// file is no reason not to write a local layout.
pub(super) fn options(
    env: &Env,
    observer: &Arc<dyn Observer>,
    insecure: Insecure,
    asked: bool,
    keychain: Keychain,
) -> Result<Options> {
    let options = Options { insecure, keychain, observer: Arc::clone(observer), ..Options::default() };
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
