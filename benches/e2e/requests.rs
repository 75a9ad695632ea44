//! Counts the requests in what a client sends over one connection of HTTP/1.1. Pure: bytes in, a number out.

/// Where in the stream of requests we are.
#[derive(Debug, PartialEq)]
enum At {
    /// In a head, with what came of it.
    Head(Vec<u8>),
    /// So many bytes of a body are still to come.
    Body(u64),
    /// In the line with a chunk's size, with what came of it.
    Size(Vec<u8>),
    /// In a chunk: its bytes and the line's end.
    Chunk(u64),
    /// In the lines after the last chunk; how long the present one is.
    Trailer(usize),
    /// Something that isn't HTTP/1.1: nothing is counted any more.
    Lost,
}

/// The requests of one connection.
#[derive(Debug)]
pub(crate) struct Requests {
    at: At,
    /// How many began, heads that are complete.
    pub(crate) count: u64,
}

/// Heads and lines longer than this aren't HTTP.
const LONGEST: usize = 64 << 10;

impl Requests {
    /// A connection that nothing has been sent on.
    pub(crate) fn new() -> Self {
        Requests { at: At::Head(Vec::new()), count: 0 }
    }

    /// The next bytes from the client, cut anywhere.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Body(left) | At::Chunk(left) => {
                    let taken = (*left).min(bytes.len() as u64);
                    *left -= taken;
                    // At most the length of `bytes`, so it fits.
                    bytes = &bytes[taken as usize..];
                    if *left == 0 {
                        self.at = match self.at {
                            At::Chunk(_) => At::Size(Vec::new()),
                            _ => At::Head(Vec::new()),
                        };
                    }
                    continue;
                }
                At::Head(head) => {
                    head.push(first);
                    if head.len() > LONGEST {
                        self.at = At::Lost;
                    } else if head.ends_with(b"\r\n\r\n") {
                        self.count += 1;
                        self.at = body(&String::from_utf8_lossy(head));
                    }
                }
                At::Size(line) => {
                    line.push(first);
                    if line.len() > LONGEST {
                        self.at = At::Lost;
                    } else if line.ends_with(b"\r\n") {
                        self.at = chunk(&String::from_utf8_lossy(line));
                    }
                }
                At::Trailer(length) => match first {
                    b'\r' => {}
                    b'\n' if *length == 0 => self.at = At::Head(Vec::new()),
                    b'\n' => *length = 0,
                    _ => *length += 1,
                },
                At::Lost => return,
            }
            bytes = rest;
        }
    }
}

/// What follows a head.
fn body(head: &str) -> At {
    for line in head.lines().skip(1) {
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            return At::Size(Vec::new());
        }
        if name.eq_ignore_ascii_case("content-length") {
            return match value.parse() {
                Ok(0) => At::Head(Vec::new()),
                Ok(length) => At::Body(length),
                Err(_) => At::Lost,
            };
        }
    }
    At::Head(Vec::new())
}

/// What follows the line with a chunk's size.
fn chunk(line: &str) -> At {
    let size = line.split(';').next().unwrap_or_default().trim();
    match u64::from_str_radix(size, 16) {
        Ok(0) => At::Trailer(0),
        // With the line's end after it.
        Ok(size) => size.checked_add(2).map_or(At::Lost, At::Chunk),
        Err(_) => At::Lost,
    }
}
