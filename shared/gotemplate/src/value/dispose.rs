//! Dropping deeply nested values without deep recursion.

use std::cell::{Cell, RefCell};

use super::Value;

/// Up to this depth values are dropped in place; deeper ones are queued and dropped by the outermost call.
const DEPTH: u32 = 64;

thread_local! {
    static NESTED: Cell<u32> = const { Cell::new(0) };
    static ASIDE: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
}

/// Drops the values of a list or map.
pub(super) fn values(values: impl IntoIterator<Item = Value>) {
    // At thread exit the counters may be gone already; the recursion is then unlimited.
    let depth = NESTED.try_with(Cell::get).unwrap_or(0);
    if depth >= DEPTH {
        let mut values = Some(values);
        let _ = ASIDE.try_with(|aside| {
            if let (Ok(mut aside), Some(values)) = (aside.try_borrow_mut(), values.take()) {
                aside.extend(values.into_iter().filter(Value::is_container));
            }
        });
        return;
    }
    let _ = NESTED.try_with(|n| n.set(depth + 1));
    for value in values {
        drop(value);
    }
    if depth == 0 {
        while let Ok(Some(value)) = ASIDE.try_with(|aside| {
            aside
                .try_borrow_mut()
                .ok()
                .and_then(|mut aside| aside.pop())
        }) {
            drop(value);
        }
    }
    let _ = NESTED.try_with(|n| n.set(depth));
}
