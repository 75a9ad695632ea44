//! `gimg login` and `gimg logout`: credentials are asked about before they are saved, where docker keeps them.

use crate::error::Result;
use crate::event::Event;
use crate::oci::Registry;
use crate::ops::Context;
use crate::registry::{Credential, CredentialFile, Keychain, Secret, Verified};

/// A user name and password for a registry.
#[derive(Debug)]
pub struct Login {
    /// The registry.
    pub registry: Registry,
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
    /// Whether the password was written on the command line.
    pub exposed: bool,
}

/// Asks the registry whether it takes the user name and password, then saves them.
///
/// # Errors
/// Whatever the registry says, and a file or helper that doesn't take them; then nothing is saved.
pub async fn login(cx: &Context, login: &Login) -> Result<()> {
    let Login { registry, username, password, exposed } = login;
    let file = CredentialFile::locate(cx.env.all())?;
    if *exposed {
        let text = "a password on the command line can be seen by others; use --password-stdin";
        cx.observer.on(Event::Warning(text.to_owned()));
    }
    let verified = cx.registry.verify(registry, username, password.clone()).await?;
    let helper = file.save(registry, username, password).await?;
    if verified == Verified::NotAsked {
        let text = format!("{registry} asks for no credentials: the password could not be checked");
        cx.observer.on(Event::Warning(text));
    }
    if cx.env.first(&["DOCKER_AUTH_CONFIG"]).is_some() {
        let text = "DOCKER_AUTH_CONFIG is set; what it says comes before what was saved";
        cx.observer.on(Event::Warning(text.to_owned()));
    }
    let place = match helper {
        Some(helper) => format!("by docker-credential-{helper}"),
        None => format!("in {}, unencrypted", file.path().display()),
    };
    cx.observer
        .on(Event::Note(format!("logged in to {registry} as {username}; the password is kept {place}")));
    Ok(())
}

/// Forgets the credentials for `registry`. There being none is no error.
///
/// # Errors
/// A file or helper that doesn't let them go.
pub async fn logout(cx: &Context, registry: &Registry) -> Result<()> {
    let file = CredentialFile::locate(cx.env.all())?;
    let removed = file.remove(registry).await?;
    let text = if removed { "logged out of" } else { "not logged in to" };
    cx.observer.on(Event::Note(format!("{text} {registry}")));
    // The file is one of several places; only it is ours to change.
    if let Ok(keychain) = Keychain::load(cx.env.all())
        && let Ok(left) = keychain.find(&format!("{registry}/any").parse()?, &*cx.observer).await
        && left != Credential::Anonymous
    {
        let text =
            format!("there are still credentials for {registry} elsewhere, such as podman's auth.json");
        cx.observer.on(Event::Warning(text));
    }
    Ok(())
}
