//! A connection that times out when the client does not read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::connections::Activity;

/// How many bytes a client has to read in each period.
const LEAST: usize = 16 * 1024;

/// A stream whose writes fail once the other side has not read [`LEAST`] bytes, or all that there were, for `period`.
pub(super) struct Stalling {
    stream: TcpStream,
    period: Duration,
    activity: Arc<Activity>,
    /// Runs while a write is pending.
    clock: Pin<Box<Sleep>>,
    waiting: bool,
    /// The bytes read since the clock was started.
    taken: usize,
}

impl Stalling {
    pub(super) fn new(stream: TcpStream, period: Duration, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            period,
            activity,
            clock: Box::pin(sleep(period)),
            waiting: false,
            taken: 0,
        }
    }

    fn rest(&mut self) {
        self.waiting = false;
        self.taken = 0;
    }

    /// Checks the result of a write: whether it made progress, or has been pending for too long.
    fn check(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) => {
                self.activity.note();
                self.taken += count;
                if self.taken >= LEAST {
                    self.rest();
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if !self.waiting {
                    self.waiting = true;
                    self.taken = 0;
                    self.clock.as_mut().reset(Instant::now() + self.period);
                }
                if self.clock.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
        written
    }
}

impl AsyncRead for Stalling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.check(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.check(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Ready when everything has been written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.rest();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
