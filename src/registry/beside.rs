//! Images beside others, under tags of their own, to which several may add: there is no way to add to a tag but to read
//! what it stands for, and to write that anew.

use crate::content::Beside;
use crate::error::{Error, Kind, Result};
use crate::oci::{Repository, document};
use crate::registry::target::RegistryTarget;

/// How often it is written again where somebody else wrote it meanwhile.
const ROUNDS: usize = 5;

impl RegistryTarget {
    /// Adds the layers of `beside` to what is under its tag. After writing it is read again: somebody else's may have come
    /// in between.
    pub(super) async fn add_beside(&self, to: &Repository, beside: &Beside) -> Result<()> {
        let what = || format!("put what lies beside an image under {to}:{}", beside.tag);
        let _turn = self.registry.0.lists.take(&format!("beside {to}:{}", beside.tag)).await;
        for _ in 0..ROUNDS {
            let Some((found, bytes)) = self.registry.tagged(to, &beside.tag).await? else {
                self.put_manifest(to, &beside.manifest, beside.tag.as_str(), &what()).await?;
                continue;
            };
            if !found.media_type.is_manifest() {
                let why = format!("there is {}, not an image", found.media_type);
                return Err(Error::new(Kind::Refused, what(), why));
            }
            let there = document::manifest(&bytes, &found.media_type).map_err(|e| e.within(what()))?;
            let Some((manifest, config)) = beside.added_to(&there)? else { return Ok(()) };
            self.blob(to, &config, false).await?;
            self.put_manifest(to, &manifest, beside.tag.as_str(), &what()).await?;
        }
        let why = format!("others wrote it {ROUNDS} times without what is added");
        Err(Error::new(Kind::Unavailable, what(), why).hint("try again"))
    }
}
