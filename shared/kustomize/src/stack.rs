//! A thread with a stack large enough for the recursion of a build.

use std::io;
use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// The stack size in bytes. Trees are walked recursively, up to [`MAX_DEPTH`](crate::meter::MAX_DEPTH) levels, and
/// briefly twice as many; a merge takes up to 16 KiB per level without optimisation, and kustomizations nest. Memory is
/// only used as the stack grows.
const STACK: usize = 32 << 20;

/// Runs the work on such a thread. A panic continues in the caller.
///
/// # Errors
/// The system's error if no thread can be started.
pub(crate) fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    scope(|scope| {
        let thread = Builder::new()
            .name("build".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)?;
        match thread.join() {
            Ok(result) => Ok(result),
            Err(panic) => resume_unwind(panic),
        }
    })
}
