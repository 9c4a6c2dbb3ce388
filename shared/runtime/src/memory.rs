//! How much memory the process may have.

use std::fs;

/// Where a container finds the limit of its control group, in the second version of these groups and in the first.
const FILES: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// The bytes of memory that the container may have, where it has a limit. Beyond them the kernel kills the process, so
/// that what is read from outside into memory should keep to a part of them.
pub fn limit() -> Option<u64> {
    FILES
        .iter()
        .find_map(|file| limit_in(&fs::read_to_string(file).ok()?))
}

/// A limit as the kernel writes it. The first version has no word for none, but a number beyond all memory.
fn limit_in(text: &str) -> Option<u64> {
    let bytes = text.trim().parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::limit_in;

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
