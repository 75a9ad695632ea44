//! What the benches work on.

/// Numbers that look random and are always the same (xorshift).
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new() -> Self {
        Noise(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 32) as usize % limit
    }
}

/// Bytes that compress about as a stripped Go program does, to two fifths: pieces that come again, some of them often,
/// and small numbers between them.
pub(crate) fn program(size: usize) -> Vec<u8> {
    const PIECES: usize = 1200;
    let mut noise = Noise::new();
    let pieces: Vec<Vec<u8>> = (0..PIECES)
        .map(|_| {
            let length = 3 + noise.below(12);
            (0..length).map(|_| (noise.next() >> 32) as u8).collect()
        })
        .collect();
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        if noise.below(4) == 0 {
            bytes.extend_from_slice(&[noise.below(256) as u8, 0]);
        } else {
            bytes.extend_from_slice(&pieces[noise.below(PIECES) * noise.below(PIECES) / PIECES]);
        }
    }
    bytes.truncate(size);
    bytes
}

/// Bytes that don't compress.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut noise = Noise::new();
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| noise.next().to_le_bytes()).collect();
    bytes.truncate(size);
    bytes
}
