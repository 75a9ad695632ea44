//! An image as a registry has it, whatever the cache says: its documents, and whether all of it is there.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::content::Source as _;
use crate::error::{Error, Kind, Result};
use crate::oci::{Descriptor, ImageManifest, Reference, Repository, document};
use crate::ops::Context;
use crate::ops::home::Home;

/// How many layers are read at a time.
const AT_ONCE: usize = 4;

/// An image of a registry, read.
pub(super) struct Published {
    pub(super) name: String,
    pub(super) repository: Repository,
    pub(super) root: Descriptor,
    pub(super) bytes: Vec<u8>,
    pub(super) images: Vec<PublishedImage>,
}

/// The image for one platform.
pub(super) struct PublishedImage {
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: ImageManifest,
    pub(super) config: Vec<u8>,
}

/// Reads the documents of an image, from the registry and nowhere else.
pub(super) async fn read(cx: &Context, reference: &Reference) -> Result<Published> {
    let repository = reference.repository.clone();
    let (root, bytes) = cx.registry.resolve(reference).await?;
    let home = Home::itself(cx, &repository);
    let mut images = Vec::new();
    let children = match root.media_type.is_index() {
        true => document::index(&bytes, &root.media_type).map_err(broken)?.manifests,
        false => Vec::new(),
    };
    for child in children.iter().filter(|d| !d.is_attestation()) {
        let bytes = home.document(child).await.map_err(broken)?.to_vec();
        images.push(image(&home, child, bytes).await?);
    }
    if !root.media_type.is_index() {
        images.push(image(&home, &root, bytes.to_vec()).await?);
    }
    let name = format!("{repository}@{}", root.digest);
    Ok(Published { name, repository, root, bytes: bytes.to_vec(), images })
}

async fn image(home: &Home, descriptor: &Descriptor, bytes: Vec<u8>) -> Result<PublishedImage> {
    let manifest = document::manifest(&bytes, &descriptor.media_type).map_err(broken)?;
    let config = home.document(&manifest.config).await.map_err(broken)?.to_vec();
    Ok(PublishedImage { bytes, manifest, config })
}

/// What isn't there, or can't be understood, isn't what the sources give.
pub(super) fn broken(error: Error) -> Error {
    match error.kind() {
        Kind::Input | Kind::Refused => error.as_kind(Kind::Integrity),
        _ => error,
    }
}

/// Reads every layer: each must be there, and be what its digest says.
pub(super) async fn whole(cx: &Context, published: &Published) -> Result<()> {
    let layers = published.images.iter().flat_map(|image| &image.manifest.layers);
    let mut layers: Vec<&Descriptor> = layers.filter(|d| !d.media_type.is_foreign()).collect();
    layers.sort_by_key(|layer| layer.digest);
    layers.dedup_by_key(|layer| layer.digest);
    let reads = layers.into_iter().map(|layer| async move {
        let mut stream = cx.registry.fetch(&published.repository, layer).await?;
        while let Some(piece) = stream.next().await {
            piece?;
        }
        Ok::<_, Error>(())
    });
    stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await
}
