//! The flags and feature gates of this controller (KC-PROC-001..040).

use clap::Parser;
use flux_identity::TokenCacheFlags;
use flux_runtime::flags::{
    DependencyFlags, DownloadFlags, JitterFlags, ManagerFlags, SelectorFlags, TakeoverFlags,
    parse_int,
};
use flux_runtime::manager::Pending;
use flux_tenancy::{CrossNamespaceFlags, ImpersonationFlags, KubeConfigFlags};

/// Applies the manifests in sources.
#[derive(Parser, Clone, Debug)]
#[command(name = "kustomize-controller")]
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
    /// A field manager whose fields are taken over before the dry run, to recover objects whose dry run fails because of it.
    /// May be repeated.
    #[arg(long, action = clap::ArgAction::Append)]
    pub(crate) override_manager_before_dry_run: Vec<String>,
    /// How many objects of one Kustomization are compared with the cluster at once.
    #[arg(long, default_value = "4", value_parser = parse_workers, allow_hyphen_values = true)]
    pub(crate) concurrent_ssa: usize,
    /// Whether remote bases are refused.
    #[arg(long)]
    pub(crate) no_remote_bases: bool,
    /// The ServiceAccount whose cloud identity decrypts where a Kustomization names none.
    #[arg(long, default_value = "")]
    pub(crate) default_decryption_service_account: String,
    /// The Secret in the controller's namespace with age identities for every Kustomization.
    #[arg(long, default_value = "")]
    pub(crate) sops_age_secret: String,
    /// The ConfigMap in the controller's namespace that lists trusted Vault servers.
    #[arg(long, default_value = "")]
    pub(crate) sops_vault_configmap: String,
    /// Kinds, as `group/Kind`, that are applied before all others but definitions and classes.
    #[arg(long, default_value = "")]
    pub(crate) custom_apply_stage_kinds: String,
}

/// Less than one worker counts as one (KC-PROC-005).
fn parse_workers(text: &str) -> Result<usize, String> {
    parse_int(text).map(|value| usize::try_from(value).unwrap_or_default().max(1))
}

/// The gates, each with its default (KC-PROC-029..040).
pub(crate) const GATES: &[(&str, bool)] = &[
    ("AdditiveCELDependencyCheck", false),
    ("CacheSecretsAndConfigMaps", false),
    ("CancelHealthCheckOnNewRevision", false),
    ("DirectSourceFetch", false),
    ("DisableCommitStatusEvent", false),
    ("DisableConfigWatchers", false),
    ("DisableFailFastBehavior", false),
    ("DisableStatusPollerCache", true),
    ("ExternalArtifact", false),
    ("GroupChangeLog", false),
    ("MigrateAPIVersion", false),
    ("StrictPostBuildSubstitutions", true),
];

/// What is accepted and changes nothing yet: the objects that it is for are refused (see `kustomization::plan`).
pub(crate) const PENDING: Pending = Pending {
    flags: &[],
    gates: &[],
};

#[cfg(test)]
mod tests {
    use flux_runtime::flags::parse_from;

    use super::*;

    fn flags(words: &[&str]) -> Flags {
        parse_from(
            &[],
            ["kustomize-controller"].iter().chain(words).map(Into::into),
        )
        .unwrap()
    }

    #[test]
    fn defaults_match_upstream() {
        let read = flags(&[]);
        let manager = &read.manager;
        assert_eq!(
            (
                &*manager.metrics_addr,
                &*manager.health_addr,
                &*manager.events_addr
            ),
            // KC-PROC-003
            (":8080", ":9440", "")
        );
        assert!(!manager.enable_leader_election && manager.leader_election_release_on_cancel);
        assert_eq!(
            [
                manager.leader_election_lease_duration,
                manager.leader_election_renew_deadline,
                manager.leader_election_retry_period,
                manager.min_retry_delay,
                manager.max_retry_delay,
            ]
            .map(|time| time.as_millis()),
            [35_000, 30_000, 5_000, 750, 900_000]
        );
        assert_eq!(
            (
                read.manager.concurrent,
                read.concurrent_ssa,
                read.download.http_retry
            ),
            (4, 4, 9)
        );
        assert_eq!(read.dependency.requeue_dependency.as_secs(), 30);
        assert!(!read.no_remote_bases && !read.cross_namespace.no_cross_namespace_refs);
        assert_eq!(read.jitter.interval_jitter_percentage, 5);
        assert_eq!(
            (
                read.token_cache.token_cache_max_size,
                read.token_cache.token_cache_max_duration.as_secs()
            ),
            (100, 3600)
        );
        assert!(
            read.impersonation.default_service_account.is_empty()
                && read.custom_apply_stage_kinds.is_empty()
        );
        assert!(
            !read.kube_config.insecure_kubeconfig_exec && !read.kube_config.insecure_kubeconfig_tls
        );
    }

    #[test]
    fn list_flags_accumulate_and_concurrency_has_a_minimum() {
        // KC-PROC-005, KC-PROC-014
        let read = flags(&[
            "--override-manager=a,b",
            "--override-manager=c",
            "--override-manager-before-dry-run=d",
            "--override-manager-before-dry-run=e",
            "--concurrent-ssa=-1",
        ]);
        assert_eq!(read.takeover.override_manager, ["a,b", "c"]);
        // KC-SSA-045, RT-FLM-066
        assert_eq!(read.override_manager_before_dry_run, ["d", "e"]);
        assert_eq!(read.concurrent_ssa, 1);
    }
}
