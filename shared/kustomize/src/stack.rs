//! A thread whose stack fits what a build recurses over.

use std::io;
use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Bytes of stack. Whatever walks a tree does so by recursion, up to [`MAX_DEPTH`](crate::meter::MAX_DEPTH) levels, and for
/// a moment twice as many; a merge takes up to 16 KiB a level where nothing is optimised, and kustomizations nest. Memory
/// is taken only as the stack is used.
const STACK: usize = 32 << 20;

/// Does the work on such a thread. A panic continues in the caller.
///
/// # Errors
/// The system's error where no thread can be started.
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
