//! The command line.

use clap::{Args, Parser};
use flux_identity::TokenCacheFlags;
use flux_runtime::flags::{
    self, DependencyFlags, Given, JitterFlags, ManagerFlags, SelectorFlags, SshFlags, StorageFlags,
    env_or,
};
use flux_runtime::manager::Pending;

/// What is accepted and changes nothing yet.
pub(crate) const PENDING: Pending = Pending {
    flags: &[(
        "watch-configs-label-selector",
        "reconciling a source when its Secret changes",
    )],
    gates: &[],
};

/// The flags of source-controller (SC-PROC-002 to SC-PROC-035).
#[derive(Parser, Clone, Debug)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) manager: ManagerFlags,
    #[command(flatten)]
    pub(crate) selector: SelectorFlags,
    #[command(flatten)]
    pub(crate) jitter: JitterFlags,
    #[command(flatten)]
    pub(crate) dependencies: DependencyFlags,
    #[command(flatten)]
    pub(crate) tokens: TokenCacheFlags,
    #[command(flatten)]
    pub(crate) storage: StorageFlags,
    #[command(flatten)]
    pub(crate) ssh: SshFlags,
    #[command(flatten)]
    pub(crate) helm: HelmFlags,
    /// The ServiceAccount whose cloud identity is used for objects that name none.
    #[arg(long, default_value = "")]
    pub(crate) default_service_account: String,
}

/// Limits of Helm indexes and charts.
#[derive(Args, Clone, Debug)]
pub(crate) struct HelmFlags {
    /// The maximum size of a Helm repository's index in bytes.
    #[arg(long = "helm-index-max-size", default_value = "52428800", value_parser = flags::parse_int, allow_hyphen_values = true)]
    pub(crate) index_max_size: i64,
    /// The maximum size of a chart in bytes.
    #[arg(long = "helm-chart-max-size", default_value = "10485760", value_parser = flags::parse_int, allow_hyphen_values = true)]
    pub(crate) chart_max_size: i64,
    /// The maximum size of one file of a chart in bytes.
    #[arg(long = "helm-chart-file-max-size", default_value = "5242880", value_parser = flags::parse_int, allow_hyphen_values = true)]
    pub(crate) chart_file_max_size: i64,
    /// The maximum number of Helm indexes cached in memory; zero disables the cache.
    #[arg(long = "helm-cache-max-size", default_value = "0", value_parser = parse_size, allow_hyphen_values = true)]
    pub(crate) cache_max_size: isize,
    /// How long a Helm index is cached in memory.
    #[arg(long = "helm-cache-ttl", default_value = "15m")]
    pub(crate) cache_ttl: String,
    /// The interval at which expired Helm indexes are removed from the cache.
    #[arg(long = "helm-cache-purge-interval", default_value = "1m")]
    pub(crate) cache_purge_interval: String,
}

impl Flags {
    /// Reads the command line and the environment of this process.
    pub(crate) fn read() -> (Self, Given) {
        flags::parse(&Self::defaults(env_or))
    }

    /// The defaults that differ from other controllers', of which some come from the environment (SC-PROC-002, SC-PROC-003,
    /// SC-PROC-016 to SC-PROC-018).
    fn defaults(env: impl Fn(&str, &str) -> String) -> [(&'static str, String); 6] {
        [
            ("concurrent", "2".to_owned()),
            ("metrics-addr", env("METRICS_ADDR", ":8080")),
            ("events-addr", env("EVENTS_ADDR", "")),
            ("storage-path", env("STORAGE_PATH", "/data")),
            ("storage-addr", env("STORAGE_ADDRESS", ":9090")),
            ("storage-adv-addr", env("STORAGE_ADV_ADDR", "")),
        ]
    }
}

/// Go's `int`, which has as many bits as an address.
fn parse_size(text: &str) -> Result<isize, String> {
    isize::try_from(flags::parse_int(text)?).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn parsed(words: &[&str], env: &[(&str, &str)]) -> Flags {
        let lookup = |name: &str, default: &str| {
            let set = env.iter().find(|(key, _)| *key == name);
            set.map_or(default, |(_, value)| value).to_owned()
        };
        let words = std::iter::once("source-controller").chain(words.iter().copied());
        flags::parse_from(&Flags::defaults(lookup), words.map(Into::into)).unwrap()
    }

    #[test]
    fn flag_defaults_match_upstream() {
        let flags = parsed(&[], &[]);
        assert_eq!(flags.manager.metrics_addr, ":8080");
        assert_eq!(flags.manager.events_addr, "");
        // SC-PROC-004
        assert_eq!(flags.manager.health_addr, ":9440");
        assert_eq!(flags.manager.concurrent, 2);
        // SC-PROC-006, RT-FLM-041
        assert_eq!(flags.helm.index_max_size, 52_428_800);
        // SC-PROC-007, RT-FLM-042
        assert_eq!(flags.helm.chart_max_size, 10_485_760);
        // SC-PROC-008, RT-FLM-043
        assert_eq!(flags.helm.chart_file_max_size, 5_242_880);
        assert_eq!(
            flags.dependencies.requeue_dependency,
            Duration::from_secs(30)
        );
        // RT-FLM-044
        assert_eq!(flags.helm.cache_max_size, 0);
        assert_eq!(flags.helm.cache_ttl, "15m");
        assert_eq!(flags.helm.cache_purge_interval, "1m");
        assert!(flags.ssh.ssh_kex_algos.is_empty() && flags.ssh.ssh_hostkey_algos.is_empty());
        assert_eq!(flags.default_service_account, "");
        assert_eq!(flags.storage.storage_path, Path::new("/data"));
        assert_eq!(flags.storage.storage_addr, ":9090");
        assert_eq!(flags.storage.storage_adv_addr, "");
        assert_eq!(flags.storage.artifact_retention_ttl, Duration::from_mins(1));
        assert_eq!(flags.storage.artifact_retention_records, 2);
        assert_eq!(flags.storage.artifact_digest_algo, "sha256");
        assert_eq!(flags.jitter.interval_jitter_percentage, 5);
        assert_eq!(flags.tokens.token_cache_max_size, 100);
        assert_eq!(
            flags.tokens.token_cache_max_duration,
            Duration::from_hours(1)
        );
        assert!(!flags.manager.enable_leader_election);
        assert!(flags.manager.leader_election_release_on_cancel);
        let secs = Duration::from_secs;
        assert_eq!(flags.manager.leader_election_lease_duration, secs(35));
        assert_eq!(flags.manager.leader_election_renew_deadline, secs(30));
        assert_eq!(flags.manager.leader_election_retry_period, secs(5));
        assert_eq!(flags.manager.min_retry_delay, Duration::from_millis(750));
        assert_eq!(flags.manager.max_retry_delay, Duration::from_mins(15));
        assert!(flags.manager.watch_all_namespaces);
    }

    #[test]
    fn the_environment_gives_defaults_and_a_flag_wins() {
        let env = [
            ("METRICS_ADDR", ":1"),
            ("EVENTS_ADDR", "http://events/"),
            ("STORAGE_PATH", "/x"),
            ("STORAGE_ADDRESS", ":2"),
            ("STORAGE_ADV_ADDR", "host"),
        ];
        let flags = parsed(
            &[
                "--storage-path=/y",
                "--ssh-kex-algos",
                "a,b",
                "--ssh-kex-algos=c",
            ],
            &env,
        );
        // SC-PROC-002
        assert_eq!(flags.manager.metrics_addr, ":1");
        // SC-PROC-003
        assert_eq!(flags.manager.events_addr, "http://events/");
        // SC-PROC-016, RT-FLG-012: a flag wins
        assert_eq!(flags.storage.storage_path, Path::new("/y"));
        // SC-PROC-017
        assert_eq!(flags.storage.storage_addr, ":2");
        // SC-PROC-018
        assert_eq!(flags.storage.storage_adv_addr, "host");
        // SC-PROC-013
        assert_eq!(flags.ssh.ssh_kex_algos, ["a", "b", "c"]);
    }

    // SC-PROC-048: the arguments of the Deployment
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
                "--storage-adv-addr=source-controller.flux-system.svc.cluster.local.",
            ],
            &[],
        );
        assert!(flags.manager.enable_leader_election && flags.manager.watch_all_namespaces);
        assert_eq!(
            flags.storage.storage_adv_addr,
            "source-controller.flux-system.svc.cluster.local."
        );
    }
}
