//! The `process_*` families (RT-MET-019).

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Registry, Result};

/// Read from `/proc` at every scrape.
struct Process {
    cpu: Counter,
    resident: Gauge,
    virtual_memory: Gauge,
    max_virtual_memory: Gauge,
    received: Counter,
    sent: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    start: Gauge,
}

/// Registers the families.
pub(super) fn register(registry: &Registry) -> Result<()> {
    registry.register(Box::new(Process {
        cpu: Counter::new(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
        )?,
        resident: Gauge::new(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
        )?,
        virtual_memory: Gauge::new(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
        )?,
        max_virtual_memory: Gauge::new(
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
        )?,
        received: Counter::new(
            "process_network_receive_bytes_total",
            "Number of bytes received by the process over the network.",
        )?,
        sent: Counter::new(
            "process_network_transmit_bytes_total",
            "Number of bytes sent by the process over the network.",
        )?,
        open_fds: Gauge::new("process_open_fds", "Number of open file descriptors.")?,
        max_fds: Gauge::new(
            "process_max_fds",
            "Maximum number of open file descriptors.",
        )?,
        start: Gauge::new(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        )?,
    }))
}

impl Process {
    /// Clock ticks per second: always 100 in the values that Linux exposes to programs, on every architecture.
    const TICKS: f64 = 100.0;

    fn read(&self) -> Option<()> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses, which may contain anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |at: usize| fields.get(at - 3).and_then(|text| text.parse::<f64>().ok());
        let cpu = (field(14)? + field(15)?) / Self::TICKS;
        self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        self.virtual_memory.set(field(23)?);
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        self.resident.set(
            resident
                .trim()
                .trim_end_matches(" kB")
                .parse::<f64>()
                .ok()?
                * 1024.0,
        );
        let boot = std::fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = boot
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()?;
        self.start.set(boot + field(22)? / Self::TICKS);
        self.open_fds
            .set(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64);
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        self.max_fds.set(limit(&limits, "Max open files")?);
        self.max_virtual_memory
            .set(limit(&limits, "Max address space")?);
        let net = std::fs::read_to_string("/proc/self/net/netstat").ok()?;
        let (received, sent) = (octets(&net, "InOctets")?, octets(&net, "OutOctets")?);
        self.received
            .inc_by((received - self.received.get()).max(0.0));
        self.sent.inc_by((sent - self.sent.get()).max(0.0));
        Some(())
    }

    fn collectors(&self) -> [&dyn Collector; 9] {
        [
            &self.cpu,
            &self.resident,
            &self.virtual_memory,
            &self.max_virtual_memory,
            &self.received,
            &self.sent,
            &self.open_fds,
            &self.max_fds,
            &self.start,
        ]
    }
}

/// The soft limit of that name; an unlimited one is the largest number, as upstream exports it.
fn limit(limits: &str, name: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let value = line.split_whitespace().next()?;
    Some(value.parse().unwrap_or(u64::MAX as f64))
}

/// A number of bytes of the process's network namespace: one line has the names, the next one the numbers.
fn octets(net: &str, name: &str) -> Option<f64> {
    let mut lines = net.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|other| other == name)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors()
            .into_iter()
            .flat_map(Collector::desc)
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A value that /proc does not provide is left unchanged.
        let _ = self.read();
        self.collectors()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn procfs_files_are_parsed() {
        // RT-MET-019
        let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n\
                      Max address space  unlimited  unlimited  bytes\n";
        assert_eq!(limit(limits, "Max open files"), Some(1024.0));
        assert_eq!(limit(limits, "Max address space"), Some(u64::MAX as f64));
        assert_eq!(limit(limits, "Max other"), None);
        let net = "TcpExt: A InOctets\nTcpExt: 1 2\nIpExt: A InOctets OutOctets\nIpExt: 3 4 5\n";
        assert_eq!(octets(net, "InOctets"), Some(4.0));
        assert_eq!(octets(net, "OutOctets"), Some(5.0));
        assert_eq!(octets(net, "InMcastPkts"), None);
    }
}
