//! SHA-256 of a short text, of a document, and of what a layer holds.

use divan::counter::BytesCount;
use gimg::oci::Digest;

use crate::data;

#[divan::bench(args = [100, 4 << 10, 16 << 20])]
fn sha256(bencher: divan::Bencher<'_, '_>, size: usize) {
    let bytes = data::noise(size);
    bencher.counter(BytesCount::new(size)).bench(|| Digest::of(divan::black_box(&bytes)));
}
