//! Measures the thread's stack, so that recursion ends in an error instead of a crash.

/// A position on the stack to measure from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(usize);

impl Mark {
    /// The current position.
    pub(crate) fn here() -> Self {
        Self(address())
    }

    /// Bytes of stack used since the mark.
    #[inline]
    pub(crate) fn used(self) -> usize {
        self.0.abs_diff(address())
    }
}

#[inline(never)]
fn address() -> usize {
    let local = 0u8;
    std::ptr::from_ref(std::hint::black_box(&local)) as usize
}
