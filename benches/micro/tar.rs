//! Writing tar: one large file that is read, and many small ones in memory.

use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use gimg::image::{Data, FileTree, Meta, tar};

use crate::data;

const SIZE: u64 = 16 << 20;

fn zeros(_: &Path) -> io::Result<Box<dyn Read>> {
    Ok(Box::new(io::repeat(0).take(SIZE)))
}

#[divan::bench]
fn one_file(bencher: divan::Bencher<'_, '_>) {
    let mut tree = FileTree::new();
    let data = Data::File { path: "/program".into(), size: SIZE };
    tree.add_file("ko-app/program", data, Meta::binary()).unwrap();
    bencher.counter(BytesCount::new(SIZE)).bench(|| {
        tar::write(divan::black_box(&tree), &zeros, &mut io::sink()).unwrap();
    });
}

#[divan::bench]
fn ten_thousand_files(bencher: divan::Bencher<'_, '_>) {
    const COUNT: usize = 10_000;
    let content = Bytes::from(data::noise(1600));
    let mut tree = FileTree::new();
    for n in 0..COUNT {
        let name = format!("var/run/ko/folder{:04}/file{n:05}.html", n / 16);
        tree.add_file(&name, Data::Bytes(content.clone()), Meta::data(false)).unwrap();
    }
    bencher.counter(ItemsCount::new(COUNT)).bench(|| {
        tar::write(divan::black_box(&tree), &zeros, &mut io::sink()).unwrap();
    });
}
