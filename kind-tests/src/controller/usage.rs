//! What a process uses, from `/proc`.

use std::time::Duration;

use crate::failure::{Failure, Result};

/// The processor time that a process has used.
///
/// # Errors
/// There is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may contain spaces; user and system time are the 12th and 13th fields after it.
    let fields = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect::<Vec<_>>());
    let ticks = |index: usize| -> Option<u64> { fields.as_ref()?.get(index)?.parse().ok() };
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok(Duration::from_millis((user + system) * 10)),
        _ => Err(Failure::new("cannot read the CPU time")),
    }
}

/// A figure of a process in bytes, by its field in `/proc`, such as `VmHWM:` for its peak.
///
/// # Errors
/// There is no such process, or no such field, as once it has exited.
pub fn memory(pid: u32, field: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes
        .map(|count| count * 1024)
        .ok_or_else(|| Failure::new(format!("no {field} for process {pid}")))
}
