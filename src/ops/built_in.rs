//! The layer of the built-in base: made once, then taken from the cache, and checked whenever it is.

use std::path::Path;
use std::sync::Arc;

use crate::content::Blob;
use crate::error::Result;
use crate::fs::{Moment, Paths};
use crate::image::{Written, layer};
use crate::oci::Digest;
use crate::ops::memo::{Made, Memo};
use crate::ops::{Context, blocking};
use crate::settings::Settings;
use crate::store::Scratch;

/// What is remembered, for people.
const WHAT: &str = "the built-in base";

/// The layer, which is the same for every platform, and its `diff_id`. Without a `memo` it is made.
///
/// # Errors
/// No room for it; a memo that is to be compared says something else (kind `Integrity`).
pub(super) async fn built_in_layer(
    cx: &Context,
    settings: &Settings,
    memo: Option<&Memo>,
) -> Result<(Blob, Digest)> {
    let Some(memo) = memo else {
        let (path, written) = make(cx, settings).await?;
        return Ok((Scratch::blob(&path, written.descriptor()), written.diff_id));
    };
    let key = memo.key(WHAT, &(crate::base::VERSION, settings.compression.encoder_id()));
    let known = memo.recall::<Written>(key, WHAT).await.same();
    if let Some(known) = &known
        && !memo.audits()
        && let Some(file) = memo.lend(&cx.scratch, known.descriptor(), true).await?
    {
        return Ok((Scratch::blob(&file, known.descriptor()), known.diff_id));
    }
    let begun = Moment::now();
    let (path, written) = make(cx, settings).await?;
    memo.audit(WHAT, known.as_ref(), &written)?;
    if let Some(key) = key {
        memo.keep(&path, &written.descriptor());
        let made = Made { key, what: WHAT.to_owned(), begun, paths: Paths::new(), git: None };
        memo.remember(made, written.clone());
    }
    Ok((Scratch::blob(&path, written.descriptor()), written.diff_id))
}

async fn make(cx: &Context, settings: &Settings) -> Result<(Arc<Path>, Written)> {
    let (compression, threads) = (settings.compression, settings.jobs);
    let (out, path) = cx.scratch.file()?;
    let work = move || {
        let tree = crate::base::layer_tree()?;
        layer::write(&tree, compression, threads, &crate::fs::open, out)
    };
    Ok((path.into(), blocking(work).await?))
}
