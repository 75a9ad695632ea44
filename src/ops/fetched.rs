//! Packages of a module's version, `example.com/app/cmd@v1.2.3`: fetched, and built where nothing else has a say.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::event::Event;
use crate::go::{self, Fetched};
use crate::ops::Context;
use crate::settings::Settings;

/// The module that the packages of `settings` are of, and the settings of a build there. None where they name no
/// version.
///
/// # Errors
/// As [`go::fetch`].
pub(super) async fn fetch(cx: &Context, settings: &Settings) -> Result<Option<(Settings, Fetched)>> {
    let Some(version) = &settings.version else { return Ok(None) };
    let (dir, temporary) = (cx.scratch.directory()?, cx.scratch.directory()?);
    let go = go::find(&settings.go, &temporary, cx.env.all(), temporary.clone(), cx.guardian.clone()).await?;
    let module = go::fetch(&go, &settings.packages, version, &dir).await?;
    cx.observer.on(Event::Detail(format!("building {}@{}", module.path, module.version)));
    Ok(Some((at(settings, &dir), module)))
}

/// The settings of a build in `dir`.
fn at(settings: &Settings, dir: &Path) -> Settings {
    let from_here = |path: &Option<PathBuf>| path.as_ref().map(|path| settings.cwd.join(path));
    Settings {
        cwd: dir.to_owned(),
        image_refs: from_here(&settings.image_refs),
        digest_file: from_here(&settings.digest_file),
        ..settings.clone()
    }
}
