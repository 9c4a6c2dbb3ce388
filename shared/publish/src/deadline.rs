//! Deadlines for work on a blocking thread.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use flux_api::meta::GoDuration;

/// The time by which a step has to end.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// A deadline after `limit` from now.
    pub fn within(limit: Duration) -> Self {
        Self {
            at: Instant::now() + limit,
            limit,
        }
    }

    /// The time that is left.
    pub(crate) fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Fails if the deadline has passed, with a text that says what to change.
    ///
    /// # Errors
    /// The deadline has passed.
    pub fn check(self) -> io::Result<()> {
        if Instant::now() < self.at {
            return Ok(());
        }
        let limit = GoDuration::from(self.limit);
        let text = format!("took longer than {limit}, raise spec.timeout if the files are so many");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    }

    /// A reader or writer that fails once the deadline has passed.
    pub fn guard<T>(self, inner: T) -> Guarded<T> {
        Guarded {
            inner,
            deadline: self,
        }
    }
}

/// A reader or writer with a deadline.
pub struct Guarded<T> {
    inner: T,
    deadline: Deadline,
}

impl<T> Guarded<T> {
    /// The reader or writer, without its deadline.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.deadline.check()?;
        self.inner.read(into)
    }
}

impl<S: Seek> Seek for Guarded<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.deadline.check()?;
        self.inner.seek(to)
    }
}

impl<W: Write> Write for Guarded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.deadline.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_fails_after_the_deadline() {
        let late = Deadline::within(Duration::ZERO);
        let error = late.guard(&b"x"[..]).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            error.to_string(),
            "took longer than 0s, raise spec.timeout if the files are so many"
        );
        assert!(late.guard(Vec::new()).write(b"x").is_err());
        assert_eq!(late.left(), Duration::ZERO);
        let early = Deadline::within(Duration::from_hours(1));
        assert!(early.left() > Duration::from_mins(59));
        assert_eq!(early.guard(&b"x"[..]).read(&mut [0]).unwrap(), 1);
    }
}
