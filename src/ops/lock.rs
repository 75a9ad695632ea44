//! `gimg lock`: what the names of bases stand for now, into the file that later builds go by.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::try_join_all;

use crate::error::{Error, Kind, Result};
use crate::go::{self, Pinned};
use crate::oci::Digest;
use crate::ops::Context;
use crate::ops::base::root_of;
use crate::report::{LockChange, Locked};
use crate::settings::Base;
use crate::settings::lock::{FILE, Pin, Todo};

/// Resolves what is to be resolved and writes the lock file in `cwd` if something in it changes, or only checks that
/// nothing would. With `toolchain`, a go command, also what that is here.
///
/// # Errors
/// A base that can't be resolved; in a check, a file that would change.
pub async fn lock(cx: &Context, cwd: &Path, todo: &Todo, toolchain: Option<&Path>) -> Result<Locked> {
    let missing: Vec<&str> =
        todo.resolve.keys().filter(|name| todo.only_lacks(name)).map(String::as_str).collect();
    let asked = todo.resolve.iter().filter(|(name, _)| !todo.only_lacks(name));
    let resolved = try_join_all(
        asked.map(|(name, base)| async move { Ok::<_, Error>((name.clone(), pin(cx, base).await?)) }),
    )
    .await?;
    let mut lock = todo.found.clone().unwrap_or_default();
    let mut changed = Vec::new();
    for (base, pin) in resolved {
        let was = lock.entries.insert(base.clone(), pin);
        if was != Some(pin) {
            changed.push(LockChange { base, pin: pin.to_string(), was: was.map(|p| p.to_string()) });
        }
    }
    if let Some(program) = toolchain {
        let temporary = cx.scratch.directory()?;
        let go = go::find(program, cwd, cx.env.all(), temporary, cx.guardian.clone()).await?;
        let Pinned { name, digest } = go::pinned(&go).await?;
        let was = lock.toolchains.insert(name.clone(), digest);
        if was != Some(digest) {
            let (pin, was) = (digest.to_string(), was.map(|d| d.to_string()));
            changed.push(LockChange { base: name, pin, was });
        }
    }
    if todo.check {
        check(todo, &missing, &changed, &lock.toolchains)?;
    } else if todo.found.is_none() || !changed.is_empty() {
        crate::fs::write_atomically(&cwd.join(FILE), lock.text().as_bytes())?;
    }
    let bases = lock.entries.into_iter().map(|(name, pin)| (name, pin.to_string())).collect();
    let toolchains = lock.toolchains.into_iter().map(|(name, digest)| (name, digest.to_string())).collect();
    Ok(Locked { file: FILE, bases, toolchains, changed })
}

/// What a base's name stands for now.
async fn pin(cx: &Context, base: &Base) -> Result<Pin> {
    let Base::Registry(reference) = base else {
        return Ok(Pin::Static(crate::base::VERSION));
    };
    let (root, _) = root_of(cx, reference, None).await?;
    if !root.media_type.is_manifest_or_index() {
        let why = format!("it is {}, not an image", root.media_type);
        return Err(Error::new(Kind::Base, format!("use the base {reference}"), why));
    }
    Ok(Pin::Digest(root.digest))
}

/// What would change is an error that names it.
fn check(
    todo: &Todo,
    missing: &[&str],
    changed: &[LockChange],
    toolchains: &BTreeMap<String, Digest>,
) -> Result<()> {
    let lacks = missing.iter().map(|name| format!("it has no entry for {name}"));
    let stale = changed.iter().map(|c| format!("{} is now {}", c.base, c.pin));
    let mut why: Vec<String> = lacks.chain(stale).collect();
    if todo.found.is_none() {
        why.insert(0, "there is no such file".to_owned());
    }
    if why.is_empty() {
        return Ok(());
    }
    let hint = match changed {
        [] => "gimg lock writes it",
        _ if changed.iter().all(|change| toolchains.contains_key(&change.base)) => "gimg lock --go writes it",
        _ => "gimg lock --update writes it",
    };
    Err(Error::new(Kind::Input, format!("check {FILE}"), why.join("; ")).hint(hint))
}
