//! What programs are made of: their modules, the packages of these, and under which licences they are, by the texts in
//! their code on this machine.

use std::path::Path;
use std::sync::OnceLock;

use crate::attest::licences::{Licences, expression};
use crate::attest::{self, Modules};
use crate::binary::{self, BuildInfo};
use crate::error::{Error, Result};
use crate::go::Places;
use crate::oci::Digest;
use crate::ops::{Context, blocking};
use crate::store::Store;

/// The modules that `info` of the program `file` names, with their packages in it, and with their licences as far as
/// their code is at `places`.
///
/// # Errors
/// The program can't be read.
pub(super) async fn of(
    cx: &Context,
    places: Option<&Places>,
    info: &BuildInfo,
    file: &Path,
) -> Result<Modules> {
    let (store, places) = (cx.store.clone(), places.cloned().unwrap_or_default());
    let (info, file) = (info.clone(), file.to_owned());
    blocking(move || {
        let program = crate::fs::open_to_seek(&file).map_err(|e| Error::io("read the binary", &file, &e))?;
        let modules = Modules::with_licences(&info, |module| of_module(&store, &places, module));
        Ok(match binary::packages(program) {
            Some(packages) => modules.with_packages(&info, packages),
            None => modules,
        })
    })
    .await
}

/// The licences of the modules that `info` names, as far as their code is in the user's module cache.
///
/// # Errors
/// None that the types allow.
pub(super) async fn licences(cx: &Context, info: &BuildInfo) -> Result<attest::Licences> {
    let (store, places, info) = (cx.store.clone(), Places::of_environment(cx.env.all()), info.clone());
    blocking(move || {
        let modules = Modules::with_licences(&info, |module| of_module(&store, &places, module));
        Ok(attest::Licences::of_modules(modules.deps.iter().chain([&modules.main])))
    })
    .await
}

/// The licences of a module: an SPDX expression; none where its code isn't here, or it isn't sure. Blocks.
fn of_module(store: &Store, places: &Places, module: &binary::Module) -> Option<String> {
    let texts = places.texts(module);
    let known: Vec<Option<Vec<String>>> = texts.into_iter().map(|text| of_text(store, &text?)).collect();
    expression(&known)
}

/// The licences in a text. That is remembered by the text alone: most modules have the same few.
fn of_text(store: &Store, text: &[u8]) -> Option<Vec<String>> {
    static LICENCES: OnceLock<Licences> = OnceLock::new();
    let question = format!("licences {} {}", env!("CARGO_PKG_VERSION"), Digest::of(text));
    let key = Digest::of(format!("{question} {}", Licences::VERSION).as_bytes());
    if let Some(known) = store.recall(&key).and_then(|memo| serde_json::from_slice(&memo).ok()) {
        return known;
    }
    let found = LICENCES.get_or_init(Licences::read).of_text(&String::from_utf8_lossy(text));
    if let Ok(memo) = serde_json::to_vec(&found) {
        store.remember(&key, &memo);
    }
    found
}
