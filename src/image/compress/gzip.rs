//! gzip as one member (RFC 1952) of blocks that are compressed apart, so that threads can share the work.
//!
//! Every block but the last ends in a sync flush; the 32 KiB before a block are its preset dictionary.
//! What a block becomes depends on these bytes and the level alone, hence not on which thread took it. A block that looks
//! compressed already is stored: a fifth of a Go program with DWARF is, and would take the most time of all.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use flate2::{Compress, FlushCompress, Status};

/// The size of a block. Part of the contract: another size gives other bytes.
pub(super) const BLOCK: usize = 256 * 1024;
/// Deflate's window: what a block can refer back to.
const WINDOW: usize = 32 * 1024;
/// How much of a block is tried before it is stored.
const TRIAL: usize = 16 * 1024;
/// The most that one stored block of deflate holds (RFC 1951, 3.2.4).
const STORED: usize = 65_535;
/// Magic, deflate, no flags, no time, no extra flags, unknown system: nothing of this machine.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The most that deflate makes of a block: level 1 of zlib-rs spends 9 bits on a byte that matches nothing; then
/// the headers and the flush.
const BOUND: usize = BLOCK + BLOCK / 8 + 4096;

struct Job {
    /// The dictionary, then the block.
    bytes: Vec<u8>,
    dictionary: usize,
    last: bool,
    level: u8,
}

struct Done {
    deflated: Vec<u8>,
    crc: crc32fast::Hasher,
    size: u64,
}

pub(super) struct Encoder<W> {
    out: W,
    level: u8,
    /// The dictionary of the current block, then as much of the block as there is.
    bytes: Vec<u8>,
    dictionary: usize,
    crc: crc32fast::Hasher,
    size: u64,
    pool: Option<Pool>,
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(mut out: W, level: u8, threads: usize) -> io::Result<Self> {
        out.write_all(&HEADER)?;
        let pool = if threads > 1 { Some(Pool::new(threads)?) } else { None };
        Ok(Encoder {
            out,
            level,
            bytes: Vec::with_capacity(WINDOW + BLOCK),
            dictionary: 0,
            crc: crc32fast::Hasher::new(),
            size: 0,
            pool,
        })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.submit(true)?;
        if let Some(mut pool) = self.pool.take() {
            while let Some(done) = pool.next() {
                self.accept(done?)?;
            }
            pool.stop()?;
        }
        self.out.write_all(&self.crc.finalize().to_le_bytes())?;
        // The trailer's size is of 32 bits by definition (RFC 1952, ISIZE).
        self.out.write_all(&(self.size as u32).to_le_bytes())?;
        Ok(self.out)
    }

    /// Takes the current block out for compression and begins the next one.
    fn submit(&mut self, last: bool) -> io::Result<()> {
        let mut next = Vec::new();
        let keep = self.bytes.len().min(WINDOW);
        if !last {
            next.reserve_exact(WINDOW + BLOCK);
            next.extend_from_slice(&self.bytes[self.bytes.len() - keep..]);
        }
        let bytes = std::mem::replace(&mut self.bytes, next);
        let job = Job { bytes, dictionary: self.dictionary, last, level: self.level };
        self.dictionary = keep;
        match &mut self.pool {
            None => {
                let done = deflate(&job)?;
                self.accept(done)
            }
            Some(pool) => match pool.submit(job)? {
                Some(done) => self.accept(done),
                None => Ok(()),
            },
        }
    }

    fn accept(&mut self, done: Done) -> io::Result<()> {
        self.crc.combine(&done.crc);
        self.size += done.size;
        self.out.write_all(&done.deflated)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full block waits for the next byte: only then is it known not to be the last.
        if self.bytes.len() - self.dictionary == BLOCK && !bytes.is_empty() {
            self.submit(false)?;
        }
        let room = BLOCK - (self.bytes.len() - self.dictionary);
        let n = room.min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Turns one block into whole bytes of raw deflate.
fn deflate(job: &Job) -> io::Result<Done> {
    let (dictionary, block) = job.bytes.split_at(job.dictionary);
    let deflated = match is_even(block) && !shrinks(block, job.level)? {
        true => store(block, job.last),
        false => shrink(dictionary, block, job.last, job.level)?,
    };
    let mut crc = crc32fast::Hasher::new();
    crc.update(block);
    Ok(Done { deflated, crc, size: block.len() as u64 })
}

/// Whether a whole block has all bytes about equally often, so that no code makes it shorter. The sum of the squares of the
/// counts is smallest then; of noise it is larger by a thousandth, of zlib's output by a hundredth at most, of
/// programs and text by far more.
fn is_even(block: &[u8]) -> bool {
    if block.len() < BLOCK {
        return false;
    }
    // With such a sum no byte comes more than three times as often as on average. In most of a program zeros do, and
    // they are counted in no time.
    if block.iter().filter(|byte| **byte == 0).count() > 3 * block.len() / 256 {
        return false;
    }
    // Four counts, since the same byte may follow itself.
    let mut counts = [[0_u32; 256]; 4];
    for bytes in block.chunks_exact(4) {
        for (counts, byte) in counts.iter_mut().zip(bytes) {
            counts[usize::from(*byte)] += 1;
        }
    }
    let count = |byte: usize| counts.iter().map(|counts| u64::from(counts[byte])).sum::<u64>();
    let squares: u64 = (0..256).map(|byte| count(byte) * count(byte)).sum();
    let least = (block.len() as u64).pow(2) / 256;
    squares <= least + least / 64
}

/// Whether repetitions make the end of a whole block shorter by more than a fiftieth.
fn shrinks(block: &[u8], level: u8) -> io::Result<bool> {
    let (before, trial) = block.split_at(BLOCK - TRIAL);
    let deflated = shrink(&before[before.len() - WINDOW..], trial, false, level)?;
    Ok(deflated.len() < trial.len() - trial.len() / 50)
}

/// The block as it is.
fn store(block: &[u8], last: bool) -> Vec<u8> {
    let pieces = block.len().div_ceil(STORED);
    let mut stored = Vec::with_capacity(block.len() + 5 * pieces);
    for (number, piece) in block.chunks(STORED).enumerate() {
        // The block before ended at a whole byte. A piece has no more bytes than 16 bits can say.
        let length = piece.len() as u16;
        stored.push(u8::from(last && number + 1 == pieces));
        stored.extend_from_slice(&length.to_le_bytes());
        stored.extend_from_slice(&(!length).to_le_bytes());
        stored.extend_from_slice(piece);
    }
    stored
}

fn shrink(dictionary: &[u8], block: &[u8], last: bool, level: u8) -> io::Result<Vec<u8>> {
    // A new state for every block: one that is reset keeps bytes of the block before, which then depend on the
    // number of threads.
    let mut state = Compress::new(flate2::Compression::new(u32::from(level)), false);
    if !dictionary.is_empty() {
        state.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let mut deflated = Vec::with_capacity(BOUND);
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    let status = state.compress_vec(block, &mut deflated, flush).map_err(io::Error::other)?;
    let whole = if last { status == Status::StreamEnd } else { deflated.len() < deflated.capacity() };
    if !whole || state.total_in() != block.len() as u64 {
        return Err(io::Error::other("deflate did not take a whole block"));
    }
    // Blocks wait in a queue: what the bound reserved in excess is given back.
    deflated.shrink_to_fit();
    Ok(deflated)
}

type Answer = Receiver<io::Result<Done>>;

/// Threads that compress blocks; the answers come back in the order of the blocks.
struct Pool {
    jobs: SyncSender<(Job, Sender<io::Result<Done>>)>,
    answers: VecDeque<Answer>,
    /// How many blocks may be under way: bounds the memory.
    limit: usize,
    workers: Vec<JoinHandle<()>>,
}

impl Pool {
    fn new(threads: usize) -> io::Result<Self> {
        let limit = threads + 2;
        let (jobs, queue) = sync_channel::<(Job, Sender<io::Result<Done>>)>(limit);
        let queue = Arc::new(Mutex::new(queue));
        let mut workers = Vec::with_capacity(threads);
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let worker = thread::Builder::new().name("gzip".to_owned()).spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    // The encoder is gone: finished, or given up after an error.
                    let Ok((job, answer)) = next else { return };
                    // Nobody waits for the answer if the encoder was given up.
                    let _ = answer.send(deflate(&job));
                }
            })?;
            workers.push(worker);
        }
        Ok(Pool { jobs, answers: VecDeque::with_capacity(limit), limit, workers })
    }

    /// Hands a block to the threads; if too many are under way, waits for the first of them and returns it.
    fn submit(&mut self, job: Job) -> io::Result<Option<Done>> {
        let first = if self.answers.len() == self.limit { self.next().transpose()? } else { None };
        let (answer, receiver) = channel();
        self.jobs.send((job, answer)).map_err(|_| gone())?;
        self.answers.push_back(receiver);
        Ok(first)
    }

    /// Waits for the first block under way; `None` if there is none.
    fn next(&mut self) -> Option<io::Result<Done>> {
        let answer = self.answers.pop_front()?;
        Some(answer.recv().unwrap_or_else(|_| Err(gone())))
    }

    fn stop(self) -> io::Result<()> {
        drop(self.jobs);
        self.workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| gone()))
    }
}

fn gone() -> io::Error {
    io::Error::other("a compression thread ended early")
}
