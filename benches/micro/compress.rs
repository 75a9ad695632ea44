//! Compression of layers: bytes a second of input.

use std::io::{self, Read, Write as _};
use std::path::Path;

use bytes::Bytes;
use divan::counter::BytesCount;
use gimg::image::compress::Encoder;
use gimg::image::{Compression, Data, FileTree, Meta, decompress, layer};

use crate::data;

const SIZE: usize = 16 << 20;

/// What is compressed.
#[derive(Clone, Copy, Debug)]
enum Input {
    Program,
    Noise,
}

/// The method and the number of threads.
const WAYS: [(&str, Input, usize); 8] = [
    ("gzip", Input::Program, 1),
    ("gzip", Input::Program, 2),
    ("gzip", Input::Noise, 1),
    ("gzip", Input::Noise, 2),
    ("zstd", Input::Program, 1),
    ("zstd", Input::Program, 2),
    ("zstd", Input::Noise, 1),
    ("zstd", Input::Noise, 2),
];

#[divan::bench(args = WAYS, sample_count = 10, sample_size = 1)]
fn encode(bencher: divan::Bencher<'_, '_>, (method, input, threads): (&str, Input, usize)) {
    let bytes = match input {
        Input::Program => data::program(SIZE),
        Input::Noise => data::noise(SIZE),
    };
    let compression: Compression = method.parse().unwrap();
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
        let mut encoder = Encoder::new(io::sink(), compression, threads).unwrap();
        encoder.write_all(divan::black_box(&bytes)).unwrap();
        encoder.finish().unwrap();
    });
}

/// Reading a layer again, as gimg does with bases; what containerd needs for it is in `benches/decode`.
#[divan::bench(args = ["gzip", "zstd"], sample_count = 10, sample_size = 1)]
fn decode(bencher: divan::Bencher<'_, '_>, method: &str) {
    let compression: Compression = method.parse().unwrap();
    let mut encoder = Encoder::new(Vec::new(), compression, 1).unwrap();
    encoder.write_all(&data::program(SIZE)).unwrap();
    let layer = encoder.finish().unwrap();
    bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
        let mut plain = decompress::plain(divan::black_box(&layer[..]), layer.len() as u64).unwrap();
        assert_eq!(io::copy(&mut plain, &mut io::sink()).unwrap(), SIZE as u64);
    });
}

fn nothing(_: &Path) -> io::Result<Box<dyn Read>> {
    Err(io::ErrorKind::NotFound.into())
}

/// A layer with a program: tar, both digests, compression; two threads.
#[divan::bench(args = ["gzip", "zstd", "none"], sample_count = 10, sample_size = 1)]
fn whole_layer(bencher: divan::Bencher<'_, '_>, method: &str) {
    let compression: Compression = method.parse().unwrap();
    let mut tree = FileTree::new();
    let data = Data::Bytes(Bytes::from(data::program(SIZE)));
    tree.add_file("ko-app/program", data, Meta::binary()).unwrap();
    bencher
        .counter(BytesCount::new(SIZE))
        .bench_local(|| layer::write(divan::black_box(&tree), compression, 2, &nothing, io::sink()).unwrap());
}
