//! Threads with big stacks that wait for the next piece of work.
//!
//! To start and end a thread takes longer than to execute the templates of a small chart: its stack is mapped and its first
//! pages are faulted in anew each time.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

/// Threads that wait at most.
const MAX_WAITING: usize = 4;
/// A thread that used more of its stack than this is not kept, because its pages would be, too.
const MAX_KEPT_STACK: usize = 1 << 20;
/// What work may use beyond the stack that it asked for.
const MARGIN: usize = 2 << 20;

/// Does the work and gives what tells its caller.
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

/// Takes note of how much stack an execution on this thread used.
pub(crate) fn used(stack: usize) {
    if stack > MAX_KEPT_STACK {
        DEEP.set(true);
    }
}

/// As [`with_stack`](crate::with_stack), for work that borrows nothing: the thread may be one that did such work before,
/// which saves most of what a short piece of work costs. A few threads stay for that, with the stack they used so far.
///
/// ```
/// for n in 0..3 {
///     assert_eq!(flux_gotemplate::on_kept_stack(64 << 20, move || n + 1).unwrap(), n + 1);
/// }
/// ```
///
/// # Errors
///
/// The system's error where no thread can be started. A panic of `work` continues in the caller.
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
        // Only who takes it from among those that wait can end it.
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
    // The last that came is the one whose memory is warm.
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
                // Who is told may come with more at once, and finds this thread waiting.
                tell();
                match next.recv() {
                    Ok(more) => job = more,
                    // Another took its place.
                    Err(_) => return,
                }
            }
        })
        .map(drop)
}

/// Puts a thread among those that wait, in place of the one that has waited longest if there are enough.
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

    /// Of a size of its own, so that tests that run at the same time do not share threads.
    fn id(bytes: usize, stack: usize) -> std::thread::ThreadId {
        let work = move || {
            used(stack);
            current().id()
        };
        on_kept_stack(bytes, work).unwrap()
    }

    #[test]
    fn threads_are_used_again() {
        let ids: HashSet<_> = (0..200).map(|_| id(1_000_001, 0)).collect();
        // Others may take its place now and then.
        assert!(ids.len() < 200, "{}", ids.len());
    }

    #[test]
    fn threads_with_much_stack_are_not_kept() {
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
    fn many_work_at_once() {
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
