//! What an image's provenance says that it was made from, if that is attached to it. No signature is asked for: what it
//! says only explains.

use crate::event::Event;
use crate::explain::recipe::Recorded;
use crate::ops::opened::Root;
use crate::ops::{Context, proofs};

/// What is said of `root`; none of what can't be read.
pub(super) async fn recorded(cx: &Context, root: &Root) -> Option<Recorded> {
    let repository = root.repository()?;
    match proofs::provenance(cx, repository, &root.descriptor, None).await {
        Ok(found) => {
            let mut read = found.iter().filter_map(|s| Recorded::read(&s.predicate)).collect::<Vec<_>>();
            // Several may have made the same: one that knows its sources says the most.
            let best = read.iter().position(Recorded::is_exact).unwrap_or_default();
            (!read.is_empty()).then(|| read.swap_remove(best))
        }
        Err(error) => {
            cx.observer.on(Event::Detail(format!("the provenance of {} is unknown: {error}", root.name)));
            None
        }
    }
}
