//! The memory limit of the process.

use std::fs;

use flux_budget::Budget;

/// The files with the memory limit of a container's cgroup, for cgroup v2 and v1.
const FILES: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// The memory limit of the container in bytes, if it has one. Beyond it the kernel kills the process, so that external
/// input that is read into memory should be limited to a part of it.
pub(crate) fn limit() -> Option<u64> {
    FILES
        .iter()
        .find_map(|file| limit_in(&fs::read_to_string(file).ok()?))
}

/// The limit that the Deployments set, for a process that has none.
const DEFAULT_LIMIT: u64 = 1 << 30;

/// The memory budget of all reconciles together, for a container with this limit. Claims are estimates, and the
/// allocator and the process need room too: with three eighths claimed the process stays below half of the limit.
pub(crate) fn budget(limit: Option<u64>) -> Budget {
    Budget::new(limit.unwrap_or(DEFAULT_LIMIT) / 8 * 3)
}

/// Parses a limit as the kernel writes it. In cgroup v1 an unlimited group has a number larger than any memory.
fn limit_in(text: &str) -> Option<u64> {
    let bytes = text.trim().parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{budget, limit_in};

    #[test]
    fn the_budget_is_three_eighths_of_the_memory_limit() {
        for (limit, bytes) in [
            (None, 384 << 20),
            (Some(1 << 30), 384 << 20),
            (Some(2 << 30), 768 << 20),
        ] {
            assert_eq!(budget(limit).limit(), bytes, "{limit:?}");
        }
    }

    #[test]
    fn cgroup_memory_limits_are_parsed() {
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
