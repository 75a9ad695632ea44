//! What is attached to images in registries, and which of it an earlier run attached already.

use crate::content::Graph;
use crate::error::Result;
use crate::oci::Digest;
use crate::ops::memo::Memo;
use crate::ops::{Context, blocking};

/// The same graph, settled if an earlier run attached just what this one does.
pub(super) async fn recall(cx: &Context, memo: Option<&Memo>, graph: Graph) -> Result<Graph> {
    let Some(key) = key(memo, &graph) else { return Ok(graph) };
    let store = cx.store.clone();
    let settled = blocking(move || Ok(store.recall(&key).is_some())).await?;
    Ok(Graph { settled, ..graph })
}

/// Takes note that all of it is attached now.
pub(super) async fn remember(cx: &Context, memo: Option<&Memo>, graph: &Graph) -> Result<()> {
    let Some(key) = key(memo, graph).filter(|_| !graph.settled) else { return Ok(()) };
    let store = cx.store.clone();
    blocking(move || {
        store.remember(&key, b"attached");
        Ok(())
    })
    .await
}

/// What that is remembered by. None where nothing is attached, or nothing is to be remembered.
fn key(memo: Option<&Memo>, graph: &Graph) -> Option<Digest> {
    let attached: Vec<Digest> = graph.referrers.iter().map(|r| r.manifest.descriptor.digest).collect();
    let beside = graph.beside.iter().map(|b| (b.tag.to_string(), b.manifest.descriptor.digest));
    let beside: Vec<(String, Digest)> = beside.collect();
    if attached.is_empty() && beside.is_empty() {
        return None;
    }
    memo?.key("what is attached", &(graph.name.shown(), graph.root.descriptor.digest, attached, beside))
}
