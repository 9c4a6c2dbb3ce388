//! The command line.

use std::time::Duration;

use clap::Parser;
use flux_runtime::flags::{
    self, DependencyFlags, DownloadFlags, Given, JitterFlags, ManagerFlags, SelectorFlags,
    StorageFlags, TakeoverFlags, env_or, parse_duration,
};
use flux_runtime::manager::Pending;
use flux_tenancy::CrossNamespaceFlags;

/// What is accepted and has no effect, as in upstream (SW-PROC-023).
pub(crate) const PENDING: Pending = Pending {
    flags: &[(
        "watch-configs-label-selector",
        "Secrets and ConfigMaps, which no ArtifactGenerator refers to",
    )],
    gates: &[],
};

/// The flags of source-watcher (SW-PROC-001 to SW-PROC-028, SW-PROC-044).
#[derive(Parser, Clone, Debug)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) manager: ManagerFlags,
    #[command(flatten)]
    pub(crate) selector: SelectorFlags,
    #[command(flatten)]
    pub(crate) jitter: JitterFlags,
    #[command(flatten)]
    pub(crate) dependency: DependencyFlags,
    #[command(flatten)]
    pub(crate) cross_namespace: CrossNamespaceFlags,
    #[command(flatten)]
    pub(crate) download: DownloadFlags,
    #[command(flatten)]
    pub(crate) storage: StorageFlags,
    #[command(flatten)]
    pub(crate) takeover: TakeoverFlags,
    /// The ServiceAccount that is asked for the right to make artifacts in other namespaces, where an object names none.
    #[arg(long, default_value = "")]
    pub(crate) default_service_account: String,
    /// The longest a reconcile may take.
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    pub(crate) reconciliation_timeout: Duration,
}

impl Flags {
    /// Reads the command line and the environment of this process.
    pub(crate) fn read() -> (Self, Given) {
        flags::parse(&Self::defaults(env_or))
    }

    /// The defaults that differ from other controllers', of which some come from the environment (SW-PROC-010 to
    /// SW-PROC-012).
    fn defaults(env: impl Fn(&str, &str) -> String) -> [(&'static str, String); 5] {
        [
            ("concurrent", "10".to_owned()),
            ("requeue-dependency", "5s".to_owned()),
            ("storage-path", env("STORAGE_PATH", "/data")),
            ("storage-addr", env("STORAGE_ADDRESS", ":9090")),
            ("storage-adv-addr", env("STORAGE_ADV_ADDR", "")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parsed(words: &[&str], env: &[(&str, &str)]) -> Result<Flags, clap::Error> {
        let lookup = |name: &str, default: &str| {
            let set = env.iter().find(|(key, _)| *key == name);
            set.map_or(default, |(_, value)| value).to_owned()
        };
        let words = std::iter::once("source-watcher").chain(words.iter().copied());
        flags::parse_from(&Flags::defaults(lookup), words.map(Into::into))
    }

    #[test]
    fn flag_defaults_match_upstream() {
        let flags = parsed(&[], &[]).unwrap();
        // SW-PROC-001, SW-PROC-004
        assert_eq!(
            (flags.manager.concurrent, &*flags.manager.events_addr),
            (10, "")
        );
        // SW-PROC-002, SW-PROC-003
        assert_eq!(flags.manager.metrics_addr, ":8080");
        assert_eq!(flags.manager.health_addr, ":9440");
        // SW-PROC-005, SW-PROC-006, SW-PROC-007
        assert_eq!(flags.download.http_retry, 9);
        assert_eq!(flags.reconciliation_timeout, Duration::from_mins(10));
        assert_eq!(flags.dependency.requeue_dependency, Duration::from_secs(5));
        // SW-PROC-008, SW-PROC-009
        assert_eq!(flags.jitter.interval_jitter_percentage, 5);
        assert!(!flags.cross_namespace.no_cross_namespace_refs);
        // SW-PROC-010, SW-PROC-011, SW-PROC-012
        assert_eq!(flags.storage.storage_path, Path::new("/data"));
        assert_eq!(flags.storage.storage_addr, ":9090");
        assert_eq!(flags.storage.storage_adv_addr, "");
        // SW-PROC-013, SW-PROC-014
        assert_eq!(flags.storage.artifact_retention_ttl, Duration::from_mins(1));
        assert_eq!(flags.storage.artifact_retention_records, 2);
        assert_eq!(flags.storage.artifact_digest_algo, "sha256");
        // SW-PROC-018, SW-PROC-024
        assert!(!flags.manager.enable_leader_election);
        assert!(flags.manager.leader_election_release_on_cancel);
        let secs = Duration::from_secs;
        assert_eq!(flags.manager.leader_election_lease_duration, secs(35));
        assert_eq!(flags.manager.leader_election_renew_deadline, secs(30));
        assert_eq!(flags.manager.leader_election_retry_period, secs(5));
        assert_eq!(flags.manager.min_retry_delay, Duration::from_millis(750));
        assert_eq!(flags.manager.max_retry_delay, Duration::from_mins(15));
        // SW-PROC-021, SW-PROC-022, SW-PROC-044
        assert!(flags.manager.watch_all_namespaces);
        assert_eq!(flags.selector.watch_label_selector, "");
        assert_eq!(flags.default_service_account, "");
        assert!(flags.takeover.override_manager.is_empty());
    }

    #[test]
    fn the_environment_gives_defaults_and_a_flag_wins() {
        let env = [
            ("STORAGE_PATH", "/x"),
            ("STORAGE_ADDRESS", ":2"),
            ("STORAGE_ADV_ADDR", "host"),
            ("METRICS_ADDR", ":1"),
        ];
        let flags = parsed(
            &[
                "--storage-path=/y",
                "--leader-election-retry-period=7s",
                "--override-manager=a",
                "--override-manager=b",
            ],
            &env,
        );
        let flags = flags.unwrap();
        assert_eq!(flags.storage.storage_path, Path::new("/y"));
        assert_eq!(flags.storage.storage_addr, ":2");
        assert_eq!(flags.storage.storage_adv_addr, "host");
        // only source-controller reads this one (RT-FLG-012)
        assert_eq!(flags.manager.metrics_addr, ":8080");
        assert_eq!(flags.takeover.override_manager, ["a", "b"]);
        // SW-PROC-019
        let retry = flags.manager.leader_election_retry_period;
        assert_eq!(retry, Duration::from_secs(7));
    }

    // SW-PROC-032: the arguments of the Deployment
    #[test]
    fn the_arguments_of_the_deployment_are_accepted() {
        let flags = parsed(
            &[
                "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
                "--watch-all-namespaces",
                "--log-level=info",
                "--log-encoding=json",
                "--enable-leader-election",
                "--storage-path=/data",
                "--storage-adv-addr=source-watcher.flux-system.svc.cluster.local.",
            ],
            &[],
        );
        let flags = flags.unwrap();
        assert!(flags.manager.enable_leader_election);
        assert_eq!(
            flags.storage.storage_adv_addr,
            "source-watcher.flux-system.svc.cluster.local."
        );
        // SW-PROC-027
        assert!(parsed(&["--token-cache-max-size=1"], &[]).is_err());
        // SW-PROC-008
        assert!(parsed(&["--interval-jitter-percentage=300"], &[]).is_err());
    }
}
