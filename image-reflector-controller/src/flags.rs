//! The flags and feature gates of this controller (IR-PROC-001 to IR-PROC-031).

use std::path::PathBuf;

use clap::Parser;
use flux_identity::TokenCacheFlags;
use flux_runtime::flags::{self, DependencyFlags, ManagerFlags, SelectorFlags};
use flux_runtime::manager::Pending;
use flux_tenancy::CrossNamespaceFlags;

/// Scans the tags of container images and selects the latest ones.
#[derive(Parser, Clone, Debug)]
#[command(name = "image-reflector-controller")]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) manager: ManagerFlags,
    #[command(flatten)]
    pub(crate) selector: SelectorFlags,
    #[command(flatten)]
    pub(crate) dependencies: DependencyFlags,
    #[command(flatten)]
    pub(crate) cross_namespace: CrossNamespaceFlags,
    #[command(flatten)]
    pub(crate) tokens: TokenCacheFlags,
    /// The folder in which the tags are stored.
    #[arg(long, default_value = "/data")]
    pub(crate) storage_path: PathBuf,
    /// The size of the value log files of a Badger database in bytes.
    #[arg(long, default_value = "268435456", value_parser = flags::parse_int, allow_hyphen_values = true)]
    pub(crate) storage_value_log_file_size: i64,
    /// The size in KiB from which on the tags of a repository are stored compressed.
    #[arg(long, default_value = "64", value_parser = parse_size, allow_hyphen_values = true)]
    pub(crate) storage_compression_threshold: isize,
    /// The minutes between two removals of tags that no object needs; zero switches them off.
    #[arg(long, default_value = "10", value_parser = parse_minutes, allow_hyphen_values = true)]
    pub(crate) gc_interval: u16,
    /// The ServiceAccount whose cloud identity is used for objects that name none.
    #[arg(long, default_value = "")]
    pub(crate) default_service_account: String,
}

/// The gates, each with its default (IR-PROC-026, IR-PROC-027).
pub(crate) const GATES: &[(&str, bool)] =
    &[("CacheSecretsAndConfigMaps", false), ("FluxStorage", true)];

/// What is accepted and has no effect. Upstream does not watch ConfigMaps or Secrets either (IR-PROC-022).
pub(crate) const PENDING: Pending = Pending {
    flags: &[
        (
            "watch-configs-label-selector",
            "reconciling an ImageRepository when its Secret changes",
        ),
        (
            "storage-value-log-file-size",
            "Badger databases: tags are stored in files",
        ),
    ],
    gates: &[],
};

/// Go's `int`, which has as many bits as an address.
fn parse_size(text: &str) -> Result<isize, String> {
    isize::try_from(flags::parse_int(text)?).map_err(|error| error.to_string())
}

/// Go's `uint16`.
fn parse_minutes(text: &str) -> Result<u16, String> {
    u16::try_from(flags::parse_int(text)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use flux_runtime::flags::parse_from;

    use super::*;

    fn flags(words: &[&str]) -> Result<Flags, clap::Error> {
        let name = ["image-reflector-controller"];
        parse_from(&[], name.iter().chain(words).map(Into::into))
    }

    #[test]
    fn defaults_match_upstream() {
        let read = flags(&[]).unwrap();
        // IR-PROC-001, IR-PROC-002, IR-PROC-003
        assert_eq!(read.manager.metrics_addr, ":8080");
        assert_eq!(read.manager.events_addr, "");
        assert_eq!(read.manager.health_addr, ":9440");
        // IR-PROC-004, IR-PROC-005, IR-PROC-006
        assert_eq!(read.storage_path, Path::new("/data"));
        assert_eq!(read.storage_value_log_file_size, 1 << 28);
        assert_eq!(read.storage_compression_threshold, 64);
        // IR-PROC-008, IR-PROC-009, IR-PROC-010
        assert_eq!(read.gc_interval, 10);
        assert_eq!(read.manager.concurrent, 4);
        let recheck = read.dependencies.requeue_dependency;
        assert_eq!(recheck, Duration::from_secs(30));
        // IR-PROC-019, IR-PROC-020, IR-PROC-023
        assert!(read.manager.watch_all_namespaces);
        assert_eq!(read.selector.watch_label_selector, "");
        assert!(!read.cross_namespace.no_cross_namespace_refs);
        // IR-PROC-016, IR-PROC-024
        assert!(!read.manager.enable_leader_election);
        assert_eq!(read.manager.min_retry_delay, Duration::from_millis(750));
        assert_eq!(read.manager.max_retry_delay, Duration::from_mins(15));
        // IR-PROC-029, IR-PROC-030
        assert!(read.default_service_account.is_empty());
        assert_eq!(read.tokens.token_cache_max_size, 100);
        let longest = read.tokens.token_cache_max_duration;
        assert_eq!(longest, Duration::from_hours(1));
        // IR-PROC-026, IR-PROC-027
        let gates = [("CacheSecretsAndConfigMaps", false), ("FluxStorage", true)];
        assert_eq!(GATES, gates);
    }

    #[test]
    fn numbers_have_the_ranges_of_upstream() {
        // IR-PROC-008
        assert_eq!(flags(&["--gc-interval=65535"]).unwrap().gc_interval, 65535);
        assert!(flags(&["--gc-interval=65536"]).is_err());
        assert!(flags(&["--gc-interval=-1"]).is_err());
        // IR-PROC-007
        let negative = flags(&["--storage-compression-threshold=-1"]).unwrap();
        assert_eq!(negative.storage_compression_threshold, -1);
        // IR-PROC-031
        for gone in [
            "--aws-autologin-for-ecr",
            "--azure-autologin-for-acr",
            "--gcp-autologin-for-gcr",
        ] {
            assert!(flags(&[gone]).is_err(), "{gone}");
        }
    }
}
