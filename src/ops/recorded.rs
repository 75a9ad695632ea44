//! What an image's provenance says that it was made from, if that is attached to it. No signature is asked for: what it
//! says only explains.

use crate::attest::{PROVENANCE, Statement};
use crate::error::Result;
use crate::event::Event;
use crate::explain::recipe::Recorded;
use crate::oci::{Descriptor, MediaType, annotation, document};
use crate::ops::Context;
use crate::ops::opened::Root;
use crate::sign::Bundle;

/// How many statements are read.
const MAX: usize = 16;

/// What is said of `root`; none of what can't be read.
pub(super) async fn recorded(cx: &Context, root: &Root) -> Option<Recorded> {
    match read(cx, root).await {
        Ok(found) => found,
        Err(error) => {
            cx.observer.on(Event::Detail(format!("the provenance of {} is unknown: {error}", root.name)));
            None
        }
    }
}

async fn read(cx: &Context, root: &Root) -> Result<Option<Recorded>> {
    let Some(repository) = root.repository() else { return Ok(None) };
    let mut listed = cx.registry.referrers(repository, &root.descriptor.digest, None).await?;
    listed.retain(|artifact| sort(artifact).is_some_and(|sort| sort == PROVENANCE));
    let mut best: Option<Recorded> = None;
    for artifact in listed.iter().take(MAX) {
        // One that is broken keeps no other from being read. Of several, which all made the same, one that knows its
        // sources says the most.
        if let Ok(Some(found)) = said(root, artifact).await
            && best.as_ref().is_none_or(|best| found.is_exact() && !best.is_exact())
        {
            best = Some(found);
        }
    }
    Ok(best)
}

/// What sort of thing a statement says, by its annotations.
fn sort(artifact: &Descriptor) -> Option<&str> {
    let keys = [annotation::PREDICATE_TYPE, annotation::BUNDLE_PREDICATE_TYPE];
    keys.iter().find_map(|key| artifact.annotations.get(*key)).map(String::as_str)
}

async fn said(root: &Root, artifact: &Descriptor) -> Result<Option<Recorded>> {
    let manifest = document::manifest(&root.document(artifact).await?, &artifact.media_type)?;
    let [layer] = manifest.layers.as_slice() else { return Ok(None) };
    let bytes = root.document(layer).await?;
    let statement = match layer.media_type == MediaType::BUNDLE {
        true => Bundle::read(&bytes)?.statement(),
        false => Some(bytes.to_vec()),
    };
    let Some(statement) = statement else { return Ok(None) };
    let statement = Statement::read(&statement)?;
    let is_it = statement.is_about(&root.descriptor.digest) && statement.predicate_type == PROVENANCE;
    Ok(Recorded::read(&statement.predicate).filter(|_| is_it))
}
