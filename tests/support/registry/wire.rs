//! A connection that can be reset, and made slow.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// What happens to a connection, from the side of the answers.
#[derive(Default)]
pub(super) struct Control {
    /// Whether it ends with RST instead of FIN.
    reset: AtomicBool,
    /// The pause before each byte of the next head.
    slow: Mutex<Option<Duration>>,
}

impl Control {
    /// The connection will end with RST: what is on its way is lost.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }

    /// The head of the next answer goes byte by byte.
    pub(super) fn slow_head(&self, pause: Duration) {
        *super::locked(&self.slow) = Some(pause);
    }
}

/// A TCP connection under control.
pub(super) struct Wire {
    stream: TcpStream,
    control: Arc<Control>,
    wait: Option<Pin<Box<Sleep>>>,
    /// The last bytes that went slowly.
    last: [u8; 4],
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<Control>) {
        let control = Arc::<Control>::default();
        (Wire { stream, control: Arc::clone(&control), wait: None, last: [0; 4] }, control)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.control.reset.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let slow = *super::locked(&self.control.slow);
        let (Some(pause), [first, ..]) = (slow, bytes) else {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        };
        let wait = self.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        ready!(wait.as_mut().poll(cx));
        self.wait = None;
        ready!(Pin::new(&mut self.stream).poll_write(cx, &[*first]))?;
        self.last.rotate_left(1);
        self.last[3] = *first;
        if self.last == *b"\r\n\r\n" {
            *super::locked(&self.control.slow) = None;
        }
        Poll::Ready(Ok(1))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
