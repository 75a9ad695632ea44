//! `gimg key generate`: a new key in the files that cosign has for it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::ops::blocking;
use crate::sign::{PrivateKey, Randomness};

/// Makes a key: `<prefix>.key` under `password`, and `<prefix>.pub`, whose path is given back. What is there is never
/// replaced.
///
/// # Errors
/// Files that are there, or can't be written; a system without randomness.
pub async fn generate(prefix: &Path, password: Vec<u8>) -> Result<PathBuf> {
    let with = |end: &str| {
        let mut name = prefix.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (private, public) = (with(".key"), with(".pub"));
    let written = public.clone();
    blocking(move || {
        for path in [&private, &public] {
            if crate::fs::exists(path) {
                let error = Error::new(Kind::LocalIo, "write the key", "the file is there already");
                return Err(error.at(path.display()).hint("--output names other files"));
            }
        }
        let (key, randomness) = loop {
            let randomness = randomness()?;
            if let Some(key) = PrivateKey::new(&randomness) {
                break (key, randomness);
            }
        };
        crate::fs::write_private(&private, key.write(&password, &randomness)?.as_bytes())?;
        crate::fs::write_atomically(&public, key.public().write()?.as_bytes())
    })
    .await?;
    Ok(written)
}

fn randomness() -> Result<Randomness> {
    let failed = |e: getrandom::Error| Error::new(Kind::LocalIo, "ask the system for randomness", e);
    let mut randomness = Randomness { key: [0; 32], salt: [0; 32], nonce: [0; 24] };
    getrandom::fill(&mut randomness.key).map_err(failed)?;
    getrandom::fill(&mut randomness.salt).map_err(failed)?;
    getrandom::fill(&mut randomness.nonce).map_err(failed)?;
    Ok(randomness)
}
