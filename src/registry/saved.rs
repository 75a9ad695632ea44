//! docker's credential file as something that is changed: `login` and `logout`.
//!
//! Whoever changes it holds a lock on its directory, reads it again, and puts a whole new file in its place, so that
//! two logins at once are both kept. Everything that isn't about the registry stays, in its order.
#![expect(clippy::disallowed_methods, reason = "edge: writes the user's credential file")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Serialize as _;
use serde_json::{Map, Value, json};

use crate::error::{Error, Kind, Result};
use crate::oci;
use crate::registry::helper::Helpers;
use crate::registry::keychain::{HUB, docker_file, normal};
use crate::registry::secret::Secret;

/// docker's configuration file, where credentials are kept or the helper that keeps them is named.
pub struct CredentialFile {
    path: PathBuf,
    helpers: Helpers,
}

impl CredentialFile {
    /// `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; it needn't be there yet. `env` is also the
    /// environment of credential helpers.
    ///
    /// # Errors
    /// Neither DOCKER_CONFIG nor HOME is set.
    pub fn locate(env: &BTreeMap<String, String>) -> Result<Self> {
        let path = docker_file(env).ok_or_else(|| {
            Error::new(Kind::Input, "find docker's configuration", "neither DOCKER_CONFIG nor HOME is set")
        })?;
        Ok(CredentialFile { path, helpers: Helpers::new(env.clone()) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Saves a user name and password for `registry`: with the helper that the file names for it (its name is
    /// returned), else in the file.
    ///
    /// # Errors
    /// A file that can't be understood or written, a helper that fails.
    pub async fn save(
        &self,
        registry: &oci::Registry,
        username: &str,
        password: &Secret,
    ) -> Result<Option<String>> {
        let mut file = read(&self.path)?;
        auths(&mut file).map_err(|why| unreadable(&self.path, why))?;
        let helper = helper(&file, registry);
        let entry = match &helper {
            Some(name) => {
                self.helpers.store(name, &key(registry), username, password).await.map_err(|e| self.at(e))?;
                // As docker does it: the entry says that there is a login, and holds nothing.
                json!({})
            }
            None => {
                let pair = format!("{username}:{}", password.expose());
                json!({ "auth": base64::engine::general_purpose::STANDARD.encode(pair) })
            }
        };
        let registry = registry.clone();
        self.change(move |file| {
            let auths = auths(file)?;
            let key = key(&registry);
            // Other spellings would compete with this one.
            auths.retain(|k, _| *k == key || normal(k) != registry.as_str());
            auths.insert(key, entry);
            Ok(())
        })
        .await?;
        Ok(helper)
    }

    /// Forgets what is saved for `registry`, in the file and with its helper; false if there was nothing.
    ///
    /// # Errors
    /// A file that can't be understood or written, a helper that fails.
    pub async fn remove(&self, registry: &oci::Registry) -> Result<bool> {
        let mut file = read(&self.path)?;
        let auths_now = auths(&mut file).map_err(|why| unreadable(&self.path, why))?;
        let mut removed = auths_now.keys().any(|k| normal(k) == registry.as_str());
        if let Some(name) = helper(&file, registry) {
            removed |= self.helpers.erase(&name, &key(registry)).await.map_err(|e| self.at(e))?;
        }
        if removed {
            let registry = registry.clone();
            self.change(move |file| {
                auths(file)?.retain(|k, _| normal(k) != registry.as_str());
                Ok(())
            })
            .await?;
        }
        Ok(removed)
    }

    fn at(&self, error: Error) -> Error {
        error.at(self.path.display())
    }

    /// Reads the file, lets `edit` change it and writes it, alone.
    async fn change(
        &self,
        edit: impl FnOnce(&mut Map<String, Value>) -> Result<(), String> + Send + 'static,
    ) -> Result<()> {
        let path = real(&self.path);
        let work = move || {
            let dir = path.parent().unwrap_or(Path::new("."));
            make_private(dir).map_err(|e| Error::io("make the directory", dir, &e))?;
            let _lock = lock(dir)?;
            let mut file = read(&path)?;
            let before = file.clone();
            edit(&mut file).map_err(|why| unreadable(&path, why))?;
            if file == before && path.exists() {
                return Ok(());
            }
            write(&path, &file)
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Error::new(Kind::Internal, "save credentials", e))?
    }
}

/// What docker calls the registry.
fn key(registry: &oci::Registry) -> String {
    if registry.as_str() == "docker.io" { HUB.to_owned() } else { registry.to_string() }
}

/// The helper that keeps the credentials of `registry`.
fn helper(file: &Map<String, Value>, registry: &oci::Registry) -> Option<String> {
    let own = file.get("credHelpers").and_then(Value::as_object);
    let own = own.and_then(|helpers| helpers.iter().find(|(k, _)| normal(k) == registry.as_str()));
    let name = own.map(|(_, name)| name).or_else(|| file.get("credsStore"));
    name.and_then(Value::as_str).filter(|n| !n.is_empty()).map(str::to_owned)
}

/// The entries of the file, made if there are none.
fn auths(file: &mut Map<String, Value>) -> Result<&mut Map<String, Value>, String> {
    let auths = file.entry("auths").or_insert_with(|| json!({}));
    if auths.is_null() {
        *auths = json!({});
    }
    auths.as_object_mut().ok_or_else(|| "auths isn't an object".to_owned())
}

fn unreadable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Auth, "change registry credentials", why).at(path.display())
}

/// The file's content; a file that isn't there or is blank is an empty object.
fn read(path: &Path) -> Result<Map<String, Value>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
        Err(e) => return Err(Error::io("read registry credentials", path, &e)),
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(Map::new());
    }
    // serde's own message could quote a secret.
    serde_json::from_slice(&bytes).map_err(|e| {
        let why = format!("not a docker configuration, line {} column {}", e.line(), e.column());
        unreadable(path, why)
    })
}

/// The file behind links: those stay.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| match std::fs::read_link(path) {
        Ok(target) => path.parent().unwrap_or(Path::new("")).join(target),
        Err(_) => path.to_owned(),
    })
}

/// Makes a directory that only its owner can look into.
fn make_private(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Waits for the directory's lock; it is held until the file is dropped. Where directories can't be locked, a file in
/// it is.
fn lock(dir: &Path) -> Result<File> {
    let directory = File::open(dir).and_then(|d| d.lock().map(|()| d));
    directory
        .or_else(|_| {
            let file = File::create(dir.join(".gimg-lock"))?;
            file.lock().map(|()| file)
        })
        .map_err(|e| Error::io("lock the directory", dir, &e))
}

/// Puts a new file in its place, with its mode and owner; a file that wasn't there is its owner's alone.
fn write(path: &Path, file: &Map<String, Value>) -> Result<()> {
    let io = |e: &std::io::Error| Error::io("write registry credentials", path, e);
    let mut bytes = Vec::new();
    // docker indents by tabs.
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    file.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .map_err(|e| Error::new(Kind::Internal, "write registry credentials", e))?;
    bytes.push(b'\n');
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".gimg-").tempfile_in(dir).map_err(|e| io(&e))?;
    if let Ok(metadata) = std::fs::metadata(path) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            // Only root can give files away; for others it is theirs anyway.
            let _ =
                std::os::unix::fs::fchown(temporary.as_file(), Some(metadata.uid()), Some(metadata.gid()));
        }
        temporary.as_file().set_permissions(metadata.permissions()).map_err(|e| io(&e))?;
    }
    temporary.write_all(&bytes).map_err(|e| io(&e))?;
    temporary.as_file().sync_all().map_err(|e| io(&e))?;
    temporary.persist(path).map_err(|e| io(&e.error))?;
    Ok(())
}
