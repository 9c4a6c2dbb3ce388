//! The flags and feature gates of this controller (HC-PROC-001..044).

use std::time::Duration;

use clap::Parser;
use flux_helm::DigestAlgorithm;
use flux_identity::TokenCacheFlags;
use flux_runtime::flags::{
    DependencyFlags, DownloadFlags, JitterFlags, ManagerFlags, SelectorFlags, TakeoverFlags,
    parse_duration,
};
use flux_runtime::manager::Pending;
use flux_tenancy::{CrossNamespaceFlags, ImpersonationFlags, KubeConfigFlags};

/// Keeps releases of charts.
#[derive(Parser, Clone, Debug)]
#[command(name = "helm-controller")]
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
    pub(crate) impersonation: ImpersonationFlags,
    #[command(flatten)]
    pub(crate) kube_config: KubeConfigFlags,
    #[command(flatten)]
    pub(crate) token_cache: TokenCacheFlags,
    #[command(flatten)]
    pub(crate) download: DownloadFlags,
    #[command(flatten)]
    pub(crate) takeover: TakeoverFlags,
    #[command(flatten)]
    pub(crate) oom: OomFlags,
    /// How long running reconciles may take to finish after the signal to stop.
    #[arg(long, default_value = "10m0s", value_parser = parse_duration, allow_hyphen_values = true)]
    pub(crate) graceful_shutdown_timeout: Duration,
    /// How long the server of an artifact may take to answer a request.
    #[arg(long, default_value = "30s", value_parser = parse_duration, allow_hyphen_values = true)]
    pub(crate) http_timeout: Duration,
    /// The algorithm of the digests of release records in the status.
    #[arg(long, default_value = "sha256")]
    pub(crate) snapshot_digest_algo: String,
}

/// The flags of the gate `OOMWatch` (HC-PROC-012 to HC-PROC-014).
#[derive(clap::Args, Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "the names of the flags")]
pub(crate) struct OomFlags {
    /// The share of the memory limit, in percent, at which the process stops.
    #[arg(long, default_value = "95", allow_hyphen_values = true)]
    pub(crate) oom_watch_memory_threshold: u8,
    /// How often the used memory is read.
    #[arg(long, default_value = "500ms", value_parser = parse_duration, allow_hyphen_values = true)]
    pub(crate) oom_watch_interval: Duration,
    /// The file with the memory limit; found below `/sys/fs/cgroup` where empty.
    #[arg(long, default_value = "")]
    pub(crate) oom_watch_max_memory_path: String,
    /// The file with the used memory; found below `/sys/fs/cgroup` where empty.
    #[arg(long, default_value = "")]
    pub(crate) oom_watch_current_memory_path: String,
}

/// The algorithm is unknown (HC-PROC-015).
#[derive(Debug, thiserror::Error)]
#[error("unable to configure canonical digest algorithm: algorithm '{0}' is not available")]
pub(crate) struct UnknownAlgorithm(String);

/// The algorithm of `--snapshot-digest-algo`.
///
/// # Errors
/// It is unknown.
pub(crate) fn digest_algorithm(name: &str) -> Result<DigestAlgorithm, UnknownAlgorithm> {
    DigestAlgorithm::named(name).ok_or_else(|| UnknownAlgorithm(name.to_owned()))
}

/// The gates, each with its default (HC-PROC-031..044). `AdoptLegacyReleases`, `DetectDrift` and `CorrectDrift` are accepted
/// and change nothing, as upstream.
pub(crate) const GATES: &[(&str, bool)] = &[
    ("AdditiveCELDependencyCheck", false),
    ("AdoptLegacyReleases", false),
    ("AllowDNSLookups", false),
    ("CacheSecretsAndConfigMaps", false),
    ("CancelHealthCheckOnNewRevision", false),
    ("CorrectDrift", false),
    ("DefaultToRetryOnFailure", false),
    ("DetectDrift", false),
    ("DirectSourceFetch", false),
    ("DisableChartDigestTracking", false),
    ("DisableConfigWatchers", false),
    ("ExternalArtifact", false),
    ("OOMWatch", false),
    ("UseHelm3Defaults", false),
];

/// Nothing is accepted without being supported.
pub(crate) const PENDING: Pending = Pending {
    flags: &[],
    gates: &[],
};

#[cfg(test)]
mod tests {
    use flux_runtime::flags::parse_from;

    use super::*;

    fn flags(words: &[&str]) -> Flags {
        parse_from(&[], ["helm-controller"].iter().chain(words).map(Into::into)).unwrap()
    }

    #[test]
    fn defaults_match_upstream() {
        let read = flags(&[]);
        let manager = &read.manager;
        // HC-PROC-001, HC-PROC-002, HC-PROC-003
        assert_eq!(
            (
                &*manager.metrics_addr,
                &*manager.events_addr,
                &*manager.health_addr
            ),
            (":8080", "", ":9440")
        );
        // HC-PROC-004, HC-PROC-007
        assert_eq!((manager.concurrent, read.download.http_retry), (4, 9));
        // HC-PROC-005, HC-PROC-006, HC-PROC-008
        assert_eq!(
            [
                read.dependency.requeue_dependency,
                read.graceful_shutdown_timeout,
                read.http_timeout,
            ]
            .map(|time| time.as_secs()),
            [30, 600, 30]
        );
        // HC-PROC-009, HC-PROC-010
        assert!(read.impersonation.default_service_account.is_empty());
        let account = &read.kube_config.default_kubeconfig_service_account;
        assert!(account.is_empty());
        // HC-PROC-012, HC-PROC-013
        let oom = &read.oom;
        assert_eq!(
            (
                oom.oom_watch_memory_threshold,
                oom.oom_watch_interval.as_millis()
            ),
            (95, 500)
        );
        // HC-PROC-014
        assert!(
            oom.oom_watch_max_memory_path.is_empty()
                && oom.oom_watch_current_memory_path.is_empty()
        );
        // HC-PROC-015
        let digests = digest_algorithm(&read.snapshot_digest_algo);
        assert_eq!(digests.unwrap(), DigestAlgorithm::Sha256);
        // HC-PROC-020
        assert!(!manager.enable_leader_election && manager.leader_election_release_on_cancel);
        // HC-PROC-022
        assert_eq!(
            [manager.min_retry_delay, manager.max_retry_delay].map(|time| time.as_millis()),
            [750, 900_000]
        );
        // HC-PROC-019, HC-PROC-023
        assert!(!read.cross_namespace.no_cross_namespace_refs);
        assert!(
            !read.kube_config.insecure_kubeconfig_exec && !read.kube_config.insecure_kubeconfig_tls
        );
        // HC-PROC-028, HC-PROC-029
        assert_eq!(read.jitter.interval_jitter_percentage, 5);
        assert_eq!(
            (
                read.token_cache.token_cache_max_size,
                read.token_cache.token_cache_max_duration.as_secs()
            ),
            (100, 3600)
        );
    }

    // HC-PROC-015
    #[test]
    fn digests_have_a_known_algorithm() {
        for name in ["sha256", "sha384", "sha512", "blake3", "sha1"] {
            assert_eq!(digest_algorithm(name).unwrap().name(), name);
        }
        let unknown = digest_algorithm("md5").unwrap_err();
        assert!(unknown.to_string().contains("md5"), "{unknown}");
    }

    // HC-PROC-016
    #[test]
    fn managers_are_not_split_at_commas() {
        let read = flags(&["--override-manager=a,b", "--override-manager=c"]);
        assert_eq!(read.takeover.override_manager, ["a,b", "c"]);
    }
}
