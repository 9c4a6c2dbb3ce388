//! The `process_*` families (RT-MET-019).

use prometheus::{
    Counter, Gauge, Registry, Result, core::Collector, core::Desc, proto::MetricFamily,
};

/// Read from `/proc` at every scrape.
struct Process {
    cpu: Counter,
    resident: Gauge,
    virtual_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    start: Gauge,
}

/// Registers the families.
pub(super) fn register(registry: &Registry) -> Result<()> {
    registry.register(Box::new(Process {
        cpu: Counter::new("process_cpu_seconds_total", "CPU seconds of this process.")?,
        resident: Gauge::new(
            "process_resident_memory_bytes",
            "Memory of this process that is in RAM.",
        )?,
        virtual_memory: Gauge::new(
            "process_virtual_memory_bytes",
            "Address space of this process.",
        )?,
        open_fds: Gauge::new("process_open_fds", "Open file descriptors.")?,
        max_fds: Gauge::new("process_max_fds", "Limit of open file descriptors.")?,
        start: Gauge::new(
            "process_start_time_seconds",
            "When this process started, in seconds since 1970.",
        )?,
    }))
}

impl Process {
    /// Clock ticks a second: fixed at 100 in what Linux shows to programs on every architecture it runs on.
    const TICKS: f64 = 100.0;

    fn read(&self) -> Option<()> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in brackets, which may hold anything.
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
        let limit = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?;
        self.max_fds.set(
            limit
                .split_whitespace()
                .next()?
                .parse()
                .unwrap_or(f64::INFINITY),
        );
        Some(())
    }

    fn collectors(&self) -> [&dyn Collector; 6] {
        [
            &self.cpu,
            &self.resident,
            &self.virtual_memory,
            &self.open_fds,
            &self.max_fds,
            &self.start,
        ]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors()
            .into_iter()
            .flat_map(Collector::desc)
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // What /proc does not tell keeps its last value.
        let _ = self.read();
        self.collectors()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}
