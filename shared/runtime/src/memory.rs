//! How much memory the process may have.

use std::fs;

use flux_budget::Budget;

/// Where a container finds the limit of its control group, in the second version of these groups and in the first.
const FILES: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// The bytes of memory that the container may have, where it has a limit. Beyond them the kernel kills the process, so
/// that what is read from outside into memory should keep to a part of them.
pub(crate) fn limit() -> Option<u64> {
    FILES
        .iter()
        .find_map(|file| limit_in(&fs::read_to_string(file).ok()?))
}

/// The limit that the Deployments set, for a process that has none.
const DEFAULT_LIMIT: u64 = 1 << 30;

/// What the work of all reconciles together may hold of a container's memory. Claims are estimates, and the allocator
/// and the process need room too: with three eighths claimed the process stays below half of the limit.
pub(crate) fn budget(limit: Option<u64>) -> Budget {
    Budget::new(limit.unwrap_or(DEFAULT_LIMIT) / 8 * 3)
}

/// A limit as the kernel writes it. The first version has no word for none, but a number beyond all memory.
fn limit_in(text: &str) -> Option<u64> {
    let bytes = text.trim().parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{budget, limit_in};

    #[test]
    fn the_budget_leaves_room_below_half_of_the_container() {
        for (limit, bytes) in [
            (None, 384 << 20),
            (Some(1 << 30), 384 << 20),
            (Some(2 << 30), 768 << 20),
        ] {
            assert_eq!(budget(limit).limit(), bytes, "{limit:?}");
        }
    }

    #[test]
    fn what_the_kernel_writes() {
        for (text, limit) in [
            ("1073741824\n", Some(1 << 30)),
            ("max\n", None),
            ("9223372036854771712\n", None),
            ("", None),
        ] {
            assert_eq!(limit_in(text), limit, "{text}");
        }
    }
}
