//! A pool of threads with large stacks.
//!
//! Starting and ending a thread takes longer than executing the templates of a small chart: its stack is mapped and its
//! first pages are faulted in each time.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// Maximum number of waiting threads.
const MAX_WAITING: usize = 4;
/// A thread that has used more of its stack than this is not reused, because its pages would stay allocated.
const MAX_KEPT_STACK: usize = 1 << 20;
/// Bytes of stack that work may use beyond the requested size.
const MARGIN: usize = 2 << 20;

/// Runs the work and returns the function that passes its result to the caller.
type Job = Box<dyn FnOnce() -> Told + Send>;
type Told = Box<dyn FnOnce()>;

struct Waiting {
    bytes: usize,
    jobs: Sender<Job>,
}

static WAITING: Mutex<Vec<Waiting>> = Mutex::new(Vec::new());

thread_local! {
    static DEEP: Cell<bool> = const { Cell::new(false) };
}

/// Records how much stack an execution on this thread has used.
pub(crate) fn used(stack: usize) {
    if stack > MAX_KEPT_STACK {
        DEEP.set(true);
    }
}

/// As [`with_stack`](crate::with_stack), for work that borrows nothing: it may run on a reused thread, which saves most of
/// the cost of a short piece of work. A few threads wait for that, with the stack they have used so far.
///
/// ```
/// for n in 0..3 {
///     assert_eq!(flux_gotemplate::on_kept_stack(64 << 20, move || n + 1).unwrap(), n + 1);
/// }
/// ```
///
/// # Errors
///
/// The system could not create a thread. A panic of `work` continues in the caller.
pub fn on_kept_stack<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, io::Error> {
    let (tell, told) = sync_channel(1);
    let job: Job = Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        Box::new(move || drop(tell.send(result)))
    });
    match taken(bytes) {
        // The sender was taken from the list of waiting threads, so the thread is still alive.
        Some(jobs) => jobs
            .send(job)
            .map_err(|_| io::Error::other("the thread has ended"))?,
        None => start(bytes, job)?,
    }
    match told.recv() {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err(io::Error::other("the thread has ended")),
    }
}

fn taken(bytes: usize) -> Option<Sender<Job>> {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    // The thread that was used last has its memory in the cache.
    let at = waiting.iter().rposition(|thread| thread.bytes == bytes)?;
    Some(waiting.remove(at).jobs)
}

fn start(bytes: usize, first: Job) -> io::Result<()> {
    Builder::new()
        .name("template".to_owned())
        .stack_size(bytes.saturating_add(MARGIN))
        .spawn(move || {
            let mut job = first;
            loop {
                let tell = job();
                let (jobs, next) = channel();
                if DEEP.get() {
                    return tell();
                }
                wait(Waiting { bytes, jobs });
                // The caller may continue with more work at once, which then finds this thread waiting.
                tell();
                match next.recv() {
                    Ok(more) => job = more,
                    // Another thread has replaced it in the list.
                    Err(_) => return,
                }
            }
        })
        .map(drop)
}

/// Adds a thread to the waiting ones; if there are enough, it replaces the one that has waited longest.
fn wait(thread: Waiting) {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let surplus = (waiting.len() >= MAX_WAITING).then(|| waiting.remove(0));
    waiting.push(thread);
    drop(waiting);
    drop(surplus);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread::current;

    use super::*;

    /// Each test uses a stack size of its own, so that concurrent tests do not share threads.
    fn id(bytes: usize, stack: usize) -> std::thread::ThreadId {
        let work = move || {
            used(stack);
            current().id()
        };
        on_kept_stack(bytes, work).unwrap()
    }

    #[test]
    fn threads_are_reused() {
        let ids: HashSet<_> = (0..200).map(|_| id(1_000_001, 0)).collect();
        // Threads of concurrent tests may replace it now and then.
        assert!(ids.len() < 200, "{}", ids.len());
    }

    #[test]
    fn threads_with_large_stacks_are_not_reused() {
        let ids: HashSet<_> = (0..5).map(|_| id(1_000_002, MAX_KEPT_STACK + 1)).collect();
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn panics_continue_in_the_caller() {
        let panicked = catch_unwind(|| on_kept_stack(1_000_003, || std::panic::panic_any(7)));
        assert_eq!(*panicked.unwrap_err().downcast::<i32>().unwrap(), 7);
        assert_eq!(on_kept_stack(1_000_003, || 2).unwrap(), 2);
    }

    #[test]
    fn threads_can_be_used_concurrently() {
        std::thread::scope(|scope| {
            for n in 0..16 {
                scope.spawn(move || {
                    for m in 0..50 {
                        assert_eq!(on_kept_stack(1_000_004, move || n * m).unwrap(), n * m);
                    }
                });
            }
        });
        let waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(waiting.len() <= MAX_WAITING);
    }
}
