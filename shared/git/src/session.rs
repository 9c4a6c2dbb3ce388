//! One blocking operation: deadline, cancellation on drop, first transport error.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Fault;

/// Limits on a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes received from the remote in one operation, submodules included.
    pub received: u64,
    /// Bytes of one object when unpacked.
    pub object: usize,
    /// Files and folders in one work tree, submodules included; entries excluded by a sparse checkout count, too.
    pub entries: usize,
}

impl Default for Limits {
    /// 16 GiB, 1 GiB and five million: more than hosts accept, less than a controller can handle.
    fn default() -> Self {
        Self {
            received: 16 << 30,
            object: 1 << 30,
            entries: 5_000_000,
        }
    }
}

/// The state shared by the blocking and the async side of an operation.
#[derive(Debug)]
pub(crate) struct Session {
    runtime: tokio::runtime::Handle,
    interrupt: Arc<AtomicBool>,
    cancelled: watch::Receiver<bool>,
    fault: Mutex<Option<Fault>>,
    remark: Mutex<Option<Fault>>,
    received: AtomicU64,
    /// The number of files and folders visited.
    visited: AtomicU64,
    pub(crate) limits: Limits,
}

impl Session {
    /// A session without deadline or cancellation.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn detached(runtime: tokio::runtime::Handle, limits: Limits) -> Self {
        Self {
            runtime,
            interrupt: Arc::default(),
            cancelled: watch::channel(false).1,
            fault: Mutex::new(None),
            remark: Mutex::new(None),
            received: AtomicU64::new(0),
            visited: AtomicU64::new(0),
            limits,
        }
    }

    /// Waits for a future on the blocking thread; returns early when the operation is cancelled.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Fault> {
        let mut cancelled = self.cancelled.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = cancelled.wait_for(|cancelled| *cancelled) => Err(Fault::Cancelled),
                output = future => Ok(output),
            }
        })
    }

    /// The flag that is set when the operation is cancelled.
    pub(crate) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.interrupt)
    }

    /// Fails once the operation is cancelled.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if self.interrupt.load(Ordering::Relaxed) {
            Err(Fault::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Records a transport error, since the resulting read error is less specific; the first one is kept.
    pub(crate) fn fail(&self, fault: Fault) -> io::Error {
        let text = fault.to_string();
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(fault);
        io::Error::other(text)
    }

    /// The recorded transport error, if any.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.fault
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Records what the server wrote besides its output, which explains an output that ended too early.
    pub(crate) fn remark(&self, fault: Fault) {
        *self.remark.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    /// The recorded explanation, if any.
    pub(crate) fn take_remark(&self) -> Option<Fault> {
        self.remark
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Counts received bytes against the limit.
    pub(crate) fn count(&self, bytes: usize) -> Result<(), Fault> {
        let total = self.received.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let limit = self.limits.received;
        if total > limit {
            Err(Fault::TooLarge {
                limit,
                unit: "received bytes",
            })
        } else {
            Ok(())
        }
    }

    /// Counts a file or folder against the limit, and fails once the operation is cancelled.
    pub(crate) fn visit(&self) -> Result<(), Fault> {
        self.check()?;
        let limit = self.limits.entries as u64;
        if self.visited.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(Fault::TooLarge {
                limit,
                unit: "files and folders",
            });
        }
        Ok(())
    }

    /// Bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Cancels the work when the future that waits for it is dropped.
struct CancelOnDrop {
    interrupt: Arc<AtomicBool>,
    cancel: watch::Sender<bool>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.interrupt.store(true, Ordering::Relaxed);
        let _ = self.cancel.send(true);
    }
}

/// Runs blocking work within `timeout`. On timeout, or when the future is dropped, the work is interrupted and ends
/// soon on its own thread, without being awaited.
pub(crate) async fn run<T, E, W>(
    timeout: Duration,
    limits: Limits,
    late: impl FnOnce(Fault) -> E,
    work: W,
) -> Result<T, E>
where
    T: Send + 'static,
    E: Send + 'static,
    W: FnOnce(&Arc<Session>) -> Result<T, E> + Send + 'static,
{
    let (cancel, cancelled) = watch::channel(false);
    let interrupt = Arc::new(AtomicBool::new(false));
    let session = Arc::new(Session {
        runtime: tokio::runtime::Handle::current(),
        interrupt: Arc::clone(&interrupt),
        cancelled,
        fault: Mutex::new(None),
        remark: Mutex::new(None),
        received: AtomicU64::new(0),
        visited: AtomicU64::new(0),
        limits,
    });
    let give_up = CancelOnDrop { interrupt, cancel };
    let worker = tokio::task::spawn_blocking(move || work(&session));
    let outcome = tokio::time::timeout(timeout, worker).await;
    drop(give_up);
    match outcome {
        Ok(Ok(result)) => result,
        Ok(Err(join)) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Ok(Err(_)) => Err(late(Fault::Cancelled)),
        Err(_) => Err(late(Fault::DeadlineExceeded)),
    }
}
