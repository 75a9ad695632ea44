//! Verification where bytes enter: a stream that ends in an error if size or digest are wrong.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::content::ByteStream;
use crate::error::{Error, Kind};
use crate::oci::{Descriptor, Hasher};

/// `inner`, checked against `descriptor`: more bytes than its size end the stream at once, a short or
/// different content at the end.
#[must_use]
pub fn verified(inner: ByteStream, descriptor: &Descriptor) -> ByteStream {
    let (digest, size) = (descriptor.digest, descriptor.size);
    let mismatch = move |why: String| Error::new(Kind::Integrity, format!("read {digest}"), why);
    let state = Some((inner, Hasher::new(), 0_u64));
    Box::pin(stream::unfold(state, move |state| async move {
        let (mut inner, mut hasher, mut seen) = state?;
        match inner.next().await {
            Some(Ok(bytes)) => {
                seen += bytes.len() as u64;
                if seen > size {
                    return Some((
                        Err(mismatch(format!("more than the {size} bytes of its descriptor"))),
                        None,
                    ));
                }
                hasher.update(&bytes);
                Some((Ok(bytes), Some((inner, hasher, seen))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None if seen < size => {
                Some((Err(mismatch(format!("{seen} bytes, its descriptor says {size}"))), None))
            }
            None => match hasher.finish().0 {
                found if found == digest => None,
                found => Some((Err(mismatch(format!("the content is {found}"))), None)),
            },
        }
    }))
}

/// A stream of bytes in memory.
#[must_use]
pub fn bytes_stream(bytes: Bytes) -> ByteStream {
    Box::pin(stream::once(async move { Ok(bytes) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Result;
    use crate::oci::MediaType;

    async fn read(content: &'static [u8], claimed: &[u8]) -> Result<Vec<u8>> {
        let descriptor = Descriptor::of(MediaType::LAYER, claimed);
        let mut stream = verified(bytes_stream(Bytes::from_static(content)), &descriptor);
        let mut all = Vec::new();
        while let Some(bytes) = stream.next().await {
            all.extend_from_slice(&bytes?);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn only_the_described_content_passes() {
        assert_eq!(read(b"abc", b"abc").await.unwrap(), b"abc");
        for (content, claimed) in [(&b"abc"[..], &b"ab"[..]), (b"ab", b"abc"), (b"abd", b"abc")] {
            assert_eq!(read(content, claimed).await.unwrap_err().kind(), Kind::Integrity);
        }
    }
}
