//! A layer that is made, unless it was made before from the same: then it is lent by the cache.

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::event::Event;
use crate::fs::{Moment, Paths};
use crate::image::Written;
use crate::oci::Digest;
use crate::ops::Context;
use crate::ops::memo::{Made, Memo};

/// A layer and its file.
pub(super) type Layer = (Written, Arc<Path>);

/// A layer that `work` makes from what is at `paths`, or one that was made from the same. `key` is the question, `what` it
/// in words; `check` is as of [`Memo::lend`].
///
/// # Errors
/// Those of `work`; a memo that is to be compared says something else (kind `Integrity`).
pub(super) async fn layer(
    cx: &Context,
    memo: &Memo,
    (key, what): (Option<Digest>, &str),
    paths: Paths,
    check: bool,
    work: impl Future<Output = Result<Layer>>,
) -> Result<Layer> {
    let known = memo.recall::<Written>(key, what).await.same();
    if let Some(written) = known.clone().filter(|_| !memo.audits())
        && let Some(file) = memo.lend(&cx.scratch, written.descriptor(), check).await?
    {
        cx.observer.on(Event::Detail(format!("{what}: unchanged")));
        return Ok((written, file));
    }
    let begun = Moment::now();
    let (written, file) = work.await?;
    memo.audit(what, known.as_ref(), &written)?;
    if let Some(key) = key {
        memo.keep(&file, &written.descriptor());
        memo.remember(Made { key, what: what.to_owned(), begun, paths, git: None }, written.clone());
    }
    Ok((written, file))
}
