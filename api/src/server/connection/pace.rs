//! How long a connection may wait for a call, and how long the head of one may take: two bounds, where the HTTP library has one. The library asks
//! for a timer when it begins to wait for a head; the socket tells when the first byte of it comes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether bytes came since the connection began to wait for a head.
#[derive(Debug, Clone, Default)]
struct Began(Arc<AtomicBool>);

/// The socket, which tells when bytes come.
pub(super) struct Watched<S> {
    socket: S,
    began: Began,
}

/// The timer that the HTTP library takes the time of heads with.
#[derive(Clone)]
pub(super) struct HeadTimer {
    head_time: Duration,
    began: Began,
}

/// A socket and the timer of its connection.
pub(super) fn pair<S>(socket: S, head_time: Duration) -> (Watched<S>, HeadTimer) {
    let began = Began::default();
    let timer = HeadTimer {
        head_time,
        began: began.clone(),
    };
    (Watched { socket, began }, timer)
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.began.0.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.began.0.store(false, Ordering::Relaxed);
        Box::pin(HeadSleep {
            timer: self.clone(),
            is_head: false,
            sleep: Box::pin(tokio::time::sleep_until(deadline.into())),
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

/// Waits for the first byte of a head, and then no longer than a head may take.
struct HeadSleep {
    timer: HeadTimer,
    is_head: bool,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Polled after each read that brought no whole head.
        if !self.is_head && self.timer.began.0.load(Ordering::Relaxed) {
            self.is_head = true;
            let head = tokio::time::Instant::now() + self.timer.head_time;
            let deadline = head.min(self.sleep.deadline());
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(context)
    }
}

impl Sleep for HeadSleep {}
