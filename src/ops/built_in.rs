//! The layer of the built-in base: made once, then taken from the cache, and checked whenever it is.

use crate::content::Blob;
use crate::error::Result;
use crate::fs::Paths;
use crate::image::layer;
use crate::oci::Digest;
use crate::ops::memo::Memo;
use crate::ops::{Context, blocking, kept};
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
    let (written, path) = match memo {
        Some(memo) => {
            let key = memo.key(WHAT, &(crate::base::VERSION, settings.compression.encoder_id()));
            kept::layer(cx, memo, (key, WHAT), Paths::new(), true, make(cx, settings)).await?
        }
        None => make(cx, settings).await?,
    };
    Ok((Scratch::blob(&path, written.descriptor()), written.diff_id))
}

async fn make(cx: &Context, settings: &Settings) -> Result<kept::Layer> {
    let (compression, threads) = (settings.compression, settings.jobs);
    let (out, path) = cx.scratch.file()?;
    let work = move || {
        let tree = crate::base::layer_tree()?;
        layer::write(&tree, compression, threads, &crate::fs::open, out)
    };
    Ok((blocking(work).await?, path.into()))
}
