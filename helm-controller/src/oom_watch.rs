//! The gate `OOMWatch`: the process stops before the kernel kills it, so that no action is cut off (HC-PROC-012 to HC-PROC-014,
//! HC-PROC-055).

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use flux_api::meta::GoDuration;
use tokio_util::sync::CancellationToken;

use crate::flags::OomFlags;

/// Where the files of the process's control group are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The limit and the use in control groups of version 2, and of version 1.
const LIMITS: [&str; 2] = ["memory.max", "memory/memory.limit_in_bytes"];
const USES: [&str; 2] = ["memory.current", "memory/memory.usage_in_bytes"];
/// The shortest time between two reads.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Why the memory cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OomWatchError {
    #[error("memory usage percent threshold must be between 1 and 100, got {0}")]
    Threshold(u8),
    #[error("interval must be at least {}, got {}", GoDuration::from(MIN_INTERVAL), GoDuration::from(*.0))]
    Interval(Duration),
    #[error("failed to discover cgroup paths, please specify them manually")]
    NoPaths,
    #[error("failed to discover max memory path, please specify it manually")]
    NoMaxPath,
    #[error("failed to discover current memory path, please specify it manually")]
    NoCurrentPath,
    #[error("failed to confirm existence of current memory usage file")]
    NoCurrent(#[source] io::Error),
    #[error("failed to read memory usage limit")]
    Limit(#[source] io::Error),
}

/// Watches the memory of the process.
#[derive(Debug)]
pub(crate) struct OomWatch {
    limit: u64,
    current: PathBuf,
    threshold: u8,
    interval: Duration,
}

impl OomWatch {
    /// The watch that the flags describe.
    ///
    /// # Errors
    /// The flags are invalid, or there are no files to read (HC-PROC-012 to HC-PROC-014).
    pub(crate) fn new(flags: &OomFlags) -> Result<Self, OomWatchError> {
        Self::below(Path::new(CGROUPS), flags)
    }

    fn below(cgroups: &Path, flags: &OomFlags) -> Result<Self, OomWatchError> {
        let threshold = flags.oom_watch_memory_threshold;
        if !(1..=100).contains(&threshold) {
            return Err(OomWatchError::Threshold(threshold));
        }
        let interval = flags.oom_watch_interval;
        if interval < MIN_INTERVAL {
            return Err(OomWatchError::Interval(interval));
        }
        let found = |given: &str, names: [&str; 2]| {
            if given.is_empty() {
                let mut paths = names.into_iter().map(|name| cgroups.join(name));
                paths.find(|path| path.symlink_metadata().is_ok())
            } else {
                Some(PathBuf::from(given))
            }
        };
        let limit = found(&flags.oom_watch_max_memory_path, LIMITS);
        let current = found(&flags.oom_watch_current_memory_path, USES);
        let (limit, current) = match (limit, current) {
            (Some(limit), Some(current)) => (limit, current),
            (None, None) => return Err(OomWatchError::NoPaths),
            (None, Some(_)) => return Err(OomWatchError::NoMaxPath),
            (Some(_), None) => return Err(OomWatchError::NoCurrentPath),
        };
        current
            .symlink_metadata()
            .map_err(OomWatchError::NoCurrent)?;
        Ok(Self {
            limit: number_in(&limit).map_err(OomWatchError::Limit)?,
            current,
            threshold,
            interval,
        })
    }

    /// Reads the used memory until it is near the limit; then `stop` is cancelled. Ends with `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.tick().await; // the first is immediate
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    tracing::info!(
                        logger = "OOMwatch",
                        "Shutdown signal received, stopping watch for near OOM"
                    );
                    return;
                }
                _ = ticks.tick() => {}
            }
            match number_in(&self.current) {
                Ok(current) if self.is_near(current) => {
                    tracing::info!(
                        logger = "OOMwatch",
                        "Memory usage is near OOM ({}/{}), shutting down",
                        size(current),
                        size(self.limit)
                    );
                    stop.cancel();
                    return;
                }
                Ok(_) => {}
                Err(error) => tracing::error!(
                    logger = "OOMwatch",
                    error = error.to_string(),
                    "Failed to read current memory usage, skipping check"
                ),
            }
        }
    }

    /// Whether so many bytes are near the limit.
    fn is_near(&self, current: u64) -> bool {
        u128::from(current) * 100 >= u128::from(self.limit) * u128::from(self.threshold)
    }
}

fn number_in(path: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(path)?;
    let text = text.trim();
    let number = text.parse();
    number.map_err(|error| io::Error::other(format!("parsing {text:?}: {error}")))
}

/// Bytes as the log shows them.
fn size(bytes: u64) -> String {
    const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    match bytes {
        0 => return "-".to_owned(),
        1..1024 => return format!("{bytes} B"),
        _ => {}
    }
    let mut divisor = 1024_u64;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or('K');
    while bytes / divisor >= 1024 {
        let Some(next) = units.next() else { break };
        (divisor, unit) = (divisor * 1024, next);
    }
    format!("{:.1} {unit}iB", bytes as f64 / divisor as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> OomFlags {
        OomFlags {
            oom_watch_memory_threshold: 95,
            oom_watch_interval: Duration::from_millis(500),
            oom_watch_max_memory_path: String::new(),
            oom_watch_current_memory_path: String::new(),
        }
    }

    fn error(cgroups: &Path, flags: &OomFlags) -> String {
        flux_errors::chain(&OomWatch::below(cgroups, flags).unwrap_err())
    }

    #[test]
    fn files_of_both_versions_of_cgroups_are_found() {
        // HC-PROC-014, HC-PROC-055
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let none = "failed to discover cgroup paths, please specify them manually";
        assert_eq!(error(root, &flags()), none);
        fs::create_dir(root.join("memory")).unwrap();
        fs::write(root.join(LIMITS[1]), "100\n").unwrap();
        let current = "failed to discover current memory path, please specify it manually";
        assert_eq!(error(root, &flags()), current);
        fs::write(root.join(USES[1]), "50\n").unwrap();
        let watch = OomWatch::below(root, &flags()).unwrap();
        assert_eq!((watch.limit, watch.current), (100, root.join(USES[1])));
        fs::write(root.join(LIMITS[0]), "200\n").unwrap();
        fs::write(root.join(USES[0]), "50\n").unwrap();
        let watch = OomWatch::below(root, &flags()).unwrap();
        assert_eq!((watch.limit, watch.current), (200, root.join(USES[0])));
        // Without a limit there is nothing to compare with.
        fs::write(root.join(LIMITS[0]), "max\n").unwrap();
        let unlimited = error(root, &flags());
        assert!(
            unlimited.starts_with("failed to read memory usage limit: parsing \"max\""),
            "{unlimited}"
        );
    }

    #[test]
    fn flags_out_of_range_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        // HC-PROC-012
        for threshold in [0, 101] {
            let flags = OomFlags {
                oom_watch_memory_threshold: threshold,
                ..flags()
            };
            assert_eq!(
                error(folder.path(), &flags),
                format!(
                    "memory usage percent threshold must be between 1 and 100, got {threshold}"
                )
            );
        }
        // HC-PROC-013
        let flags = OomFlags {
            oom_watch_interval: Duration::from_millis(49),
            ..flags()
        };
        assert_eq!(
            error(folder.path(), &flags),
            "interval must be at least 50ms, got 49ms"
        );
    }

    // HC-PROC-055
    #[tokio::test]
    async fn the_process_stops_when_memory_is_nearly_used_up() {
        let folder = tempfile::tempdir().unwrap();
        let (limit, current) = (folder.path().join("max"), folder.path().join("current"));
        fs::write(&limit, "1000").unwrap();
        fs::write(&current, "949").unwrap();
        let flags = OomFlags {
            oom_watch_interval: MIN_INTERVAL,
            oom_watch_max_memory_path: limit.display().to_string(),
            oom_watch_current_memory_path: current.display().to_string(),
            ..flags()
        };
        let watch = OomWatch::new(&flags).unwrap();
        assert!(!watch.is_near(949) && watch.is_near(950));
        fs::write(&current, "950").unwrap();
        let stop = CancellationToken::new();
        watch.run(stop.clone()).await;
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn the_watch_ends_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (limit, current) = (folder.path().join("max"), folder.path().join("current"));
        fs::write(&limit, "1000").unwrap();
        fs::write(&current, "1").unwrap();
        let flags = OomFlags {
            oom_watch_max_memory_path: limit.display().to_string(),
            oom_watch_current_memory_path: current.display().to_string(),
            ..flags()
        };
        let stop = CancellationToken::new();
        stop.cancel();
        OomWatch::new(&flags).unwrap().run(stop).await;
    }

    #[test]
    fn sizes_are_written_as_upstream() {
        for (bytes, want) in [
            (0, "-"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1024.0 KiB"),
            (1_610_612_736, "1.5 GiB"),
        ] {
            assert_eq!(size(bytes), want);
        }
    }
}
