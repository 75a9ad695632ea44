//! Tests of this module.

#![expect(clippy::disallowed_methods, reason = "tests read the lock file and run gzip")]

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;

use super::*;
use crate::oci::Digest;

/// Bytes that compress about as a program does: words from a small book, and noise.
fn sample(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let book: Vec<u8> = (0..100_000).map(|_| (next() >> 32) as u8).collect();
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        let (at, length) = (next() as usize % 99_900, next() as usize % 40);
        bytes.extend_from_slice(&book[at..at + length]);
        bytes.extend_from_slice(&next().to_le_bytes()[..next() as usize % 8]);
    }
    bytes.truncate(size);
    bytes
}

fn compress(bytes: &[u8], compression: Compression, threads: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression, threads).unwrap();
    // Pieces of odd sizes: where a write ends must not reach the bytes.
    for piece in bytes.chunks(77_777) {
        encoder.write_all(piece).unwrap();
    }
    encoder.finish().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // Not the multi-member decoder: there must be one member.
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    decoder.read_to_end(&mut plain).unwrap();
    assert!(decoder.into_inner().is_empty(), "bytes after the only member");
    plain
}

#[test]
fn words_parse_and_print() {
    for (text, compression) in [
        ("gzip", Compression::default()),
        ("gzip:9", Compression::Gzip(9)),
        ("zstd", Compression::Zstd(3)),
        ("zstd:19", Compression::Zstd(19)),
        ("none", Compression::None),
    ] {
        let parsed = text.parse::<Compression>().unwrap();
        assert_eq!(parsed, compression);
        assert_eq!(parsed.to_string().parse::<Compression>().unwrap(), compression);
    }
    for bad in ["", "gzip:", "gzip:0", "gzip:10", "gzip:+1", "zstd:20", "zstd:999", "none:1", "xz", "GZIP"] {
        assert_eq!(bad.parse::<Compression>().unwrap_err().kind(), Kind::Usage, "{bad}");
    }
    assert!(Encoder::new(Vec::new(), Compression::Gzip(0), 1).is_err());
}

#[test]
fn gzip_is_the_same_for_any_number_of_threads() {
    for size in [0, 1, gzip::BLOCK - 1, gzip::BLOCK, gzip::BLOCK + 1, 5 * gzip::BLOCK, 3_000_000] {
        let bytes = sample(size);
        let one = compress(&bytes, Compression::default(), 1);
        assert_eq!(one[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        assert!(gunzip(&one) == bytes, "{size}");
        for threads in [0, 2, 3, 8] {
            assert!(compress(&bytes, Compression::default(), threads) == one, "{size}, {threads} threads");
        }
    }
}

/// Of everything some, over many blocks of gzip and several jobs of libzstd: what shrinks as a program, what doesn't
/// shrink, what shrinks to nothing, and a piece that came before.
fn mixed() -> Vec<u8> {
    let program = sample(3_000_000);
    let mut bytes = program.clone();
    bytes.extend(noise(3_000_000, 7));
    bytes.resize(bytes.len() + 1_500_000, 0);
    bytes.extend_from_slice(&program[1_000_000..2_234_567]);
    bytes
}

#[test]
fn the_bytes_are_the_pinned_ones_for_1_2_and_16_threads() {
    let bytes = mixed();
    let mut wrong = String::new();
    for (compression, digest) in GOLDEN {
        for threads in [1, 2, 16] {
            let found = Digest::of(&compress(&bytes, compression, threads)).hex();
            if found != digest {
                wrong.push_str(&format!("{compression}, {threads} threads: {found}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "another encoder is another layout level:\n{wrong}");
}

const GOLDEN: [(Compression, &str); 7] = [
    (Compression::Gzip(1), "dfca3479d3d78462d263bfc8320960c100a24d2e8f722479b902f0eac65fa946"),
    (
        Compression::Gzip(DEFAULT_GZIP_LEVEL),
        "72167994d774fe40b40cc77c3c9f6b8904a9cd5b314a4c2f07247b49d489b0c0",
    ),
    (Compression::Gzip(6), "43bc236868e2b914d94cf6075f913a2e51c0c483a2b0f8cca01fabca82419882"),
    (Compression::Gzip(9), "a6a618b82d0f02f711f8cabebebed395f55d572170eb5cc9c09b71d06c5ef139"),
    (Compression::Zstd(1), "92074663fa7f403ad6fb16cb019362958d90eb060c71d0f5dfd628b837437ff1"),
    (
        Compression::Zstd(DEFAULT_ZSTD_LEVEL),
        "9ad69bdc6b1a232d3dd1e70c4e8314e382b62720a138b56f9bad8c19e0c3b2c2",
    ),
    (Compression::Zstd(9), "c1fbac3dcd43c8e96dea4ee009b3239e6045dda06a941a7bac383b5cae2b41f4"),
];

#[test]
fn gzip_gives_the_pinned_bytes() {
    let bytes = sample(3_000_000);
    for (level, digest) in GZIP_GOLDEN {
        let found = Digest::of(&compress(&bytes, Compression::Gzip(level), 2)).hex();
        assert_eq!(found, digest, "level {level}: another encoder is another layout level");
    }
}

const GZIP_GOLDEN: [(u8, &str); 3] = [
    (1, "7ef5fdf5a512dc7871a77dd54c9797b48b55920f46dd6c229f5100847b825ee7"),
    (DEFAULT_GZIP_LEVEL, "9a515bfa59a3815110a078dca4ab9fc3622c57a35fe347a348b162c7b194a5af"),
    (6, "ebea4407b375071dd77b3cca99030582b0f4bcb013df6b57474d7c8a55983324"),
];

#[test]
fn gzip_takes_what_does_not_shrink() {
    let mut state = 1_u32;
    let noise: Vec<u8> = (0..600_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // The upper half of the bytes costs 9 bits each in a fixed Huffman code.
            (state >> 24) as u8 | 0x80
        })
        .collect();
    for level in 1..=9 {
        assert!(gunzip(&compress(&noise, Compression::Gzip(level), 2)) == noise, "level {level}");
    }
}

/// Bytes of which every one is as likely.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}

#[test]
fn gzip_stores_what_is_compressed_already_and_nothing_else() {
    let stored = |bytes: &[u8]| {
        let packed = compress(bytes, Compression::default(), 3);
        assert!(gunzip(&packed) == bytes);
        // Headers and trailer of gzip, and five for each piece.
        packed.len() == bytes.len() + 18 + 5 * (bytes.len() / gzip::BLOCK) * 5
    };
    assert!(stored(&noise(4 * gzip::BLOCK, 1)));
    assert!(!stored(&sample(4 * gzip::BLOCK)));
    assert!(!stored(&vec![0; 4 * gzip::BLOCK]));
    // All bytes are as often, and it shrinks to nothing all the same.
    let counting: Vec<u8> = (0..4 * gzip::BLOCK).map(|n| n as u8).collect();
    assert!(compress(&counting, Compression::default(), 1).len() < 20_000);
    let again = noise(20_000, 2).repeat(60);
    assert!(compress(&again, Compression::default(), 1).len() < 60_000);
    // Between programs, at any level, and in front of a rest.
    for rest in [0, 1, gzip::BLOCK - 1] {
        let parts = [sample(700_000), noise(900_000, 3), sample(500_000), noise(rest, 4)];
        let bytes = parts.concat();
        for level in 1..=9 {
            let one = compress(&bytes, Compression::Gzip(level), 1);
            assert!(gunzip(&one) == bytes, "level {level}, rest {rest}");
            assert!(compress(&bytes, Compression::Gzip(level), 4) == one);
        }
    }
}

#[test]
fn gzip_itself_reads_it() {
    let bytes = [sample(1_000_000), noise(1_000_000, 1)].concat();
    let packed = compress(&bytes, Compression::default(), 2);
    let mut child =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || stdin.write_all(&packed).unwrap());
    let out = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(out.status.success() && out.stdout == bytes);
}

#[test]
fn zstd_is_the_same_for_any_number_of_threads() {
    // More than one job of libzstd at these levels.
    let bytes = sample(20_000_000);
    for level in [1, 3] {
        let one = compress(&bytes, Compression::Zstd(level), 1);
        // RFC 8878: the frame header's checksum flag.
        assert_eq!(one[4] & 4, 4);
        assert!(zstd::stream::decode_all(&*one).unwrap() == bytes);
        for threads in [0, 2, 4] {
            assert!(compress(&bytes, Compression::Zstd(level), threads) == one, "{level}, {threads} threads");
        }
    }
}

#[test]
fn failing_outputs_and_abandoned_encoders_end() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bytes = sample(4_000_000);
    for compression in [Compression::default(), Compression::Zstd(1)] {
        let mut encoder = Encoder::new(Full(1000), compression, 4).unwrap();
        let error = encoder.write_all(&bytes).and_then(|()| encoder.finish().map(drop)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{compression}");
    }
    let mut encoder = Encoder::new(Vec::new(), Compression::default(), 4).unwrap();
    encoder.write_all(&bytes).unwrap();
}

#[test]
fn versions_are_those_of_the_lock_file() {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    assert!(lock.contains(&format!("name = \"zlib-rs\"\nversion = \"{ZLIB_RS}\"\n")));
    let zstd = lock.split("name = \"zstd-sys\"\n").nth(1).unwrap().lines().next().unwrap();
    assert!(zstd.ends_with(&format!("+zstd.{LIBZSTD}\"")), "{zstd}");
    assert_eq!(lock.matches("name = \"zlib-rs\"").count() + lock.matches("name = \"zstd-sys\"").count(), 2);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 24, ..Default::default() })]
    #[test]
    fn fuzz_gzip_round_trips(
        size in 0_usize..900_000,
        level in 1_u8..=9,
        threads in 1_usize..5,
        cuts in proptest::collection::vec(1_usize..300_000, 0..8),
    ) {
        let bytes = sample(size);
        let mut encoder = Encoder::new(Vec::new(), Compression::Gzip(level), threads).unwrap();
        let mut rest = &bytes[..];
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            encoder.write_all(now).unwrap();
            rest = later;
        }
        encoder.write_all(rest).unwrap();
        proptest::prop_assert!(gunzip(&encoder.finish().unwrap()) == bytes);
    }
}
