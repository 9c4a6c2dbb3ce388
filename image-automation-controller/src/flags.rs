//! The flags and feature gates of this controller (IA-PROC-001 to IA-PROC-024).

use clap::Parser;
use flux_identity::TokenCacheFlags;
use flux_runtime::flags::{ManagerFlags, SelectorFlags, SshFlags};
use flux_runtime::manager::Pending;
use flux_tenancy::CrossNamespaceFlags;

/// Commits the images that policies selected to Git repositories.
#[derive(Parser, Clone, Debug)]
#[command(name = "image-automation-controller")]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) manager: ManagerFlags,
    #[command(flatten)]
    pub(crate) selector: SelectorFlags,
    #[command(flatten)]
    pub(crate) cross_namespace: CrossNamespaceFlags,
    #[command(flatten)]
    pub(crate) tokens: TokenCacheFlags,
    #[command(flatten)]
    pub(crate) ssh: SshFlags,
    /// The ServiceAccount whose cloud identity is used for objects that name none.
    #[arg(long, default_value = "")]
    pub(crate) default_service_account: String,
}

/// The gates, each with its default (IA-PROC-019 to IA-PROC-023).
pub(crate) const GATES: &[(&str, bool)] = &[
    ("CacheSecretsAndConfigMaps", false),
    ("GitAllBranchReferences", true),
    ("GitForcePushBranch", true),
    ("GitShallowClone", true),
    ("GitSparseCheckout", false),
];

/// What is accepted and changes nothing, as in upstream (IA-PROC-016).
pub(crate) const PENDING: Pending = Pending {
    flags: &[(
        "watch-configs-label-selector",
        "reconciling an automation when its Secret changes",
    )],
    gates: &[],
};

#[cfg(test)]
mod tests {
    use flux_runtime::flags::parse_from;

    use super::*;

    fn flags(words: &[&str]) -> Flags {
        let name = ["image-automation-controller"];
        parse_from(&[], name.iter().chain(words).map(Into::into)).unwrap()
    }

    #[test]
    fn defaults_match_upstream() {
        let read = flags(&[]);
        let manager = &read.manager;
        // IA-PROC-001
        assert_eq!(manager.metrics_addr, ":8080");
        // IA-PROC-002
        assert_eq!(manager.events_addr, "");
        // IA-PROC-003
        assert_eq!(manager.health_addr, ":9440");
        // IA-PROC-004
        assert_eq!(manager.concurrent, 4);
        // IA-PROC-005
        assert_eq!(read.default_service_account, "");
        // IA-PROC-006, IA-PROC-007
        assert!(read.ssh.ssh_kex_algos.is_empty() && read.ssh.ssh_hostkey_algos.is_empty());
        // IA-PROC-010
        assert!(!manager.enable_leader_election && manager.leader_election_release_on_cancel);
        let times = [
            manager.leader_election_lease_duration,
            manager.leader_election_renew_deadline,
            manager.leader_election_retry_period,
        ];
        assert_eq!(times.map(|time| time.as_secs()), [35, 30, 5]);
        // IA-PROC-012
        assert!(!read.cross_namespace.no_cross_namespace_refs);
        // IA-PROC-013
        let delays = [manager.min_retry_delay, manager.max_retry_delay];
        assert_eq!(delays.map(|delay| delay.as_millis()), [750, 900_000]);
        // IA-PROC-014, IA-PROC-015
        assert!(manager.watch_all_namespaces && read.selector.watch_label_selector.is_empty());
        // IA-PROC-016
        assert_eq!(
            manager.watch_configs_label_selector,
            "reconcile.fluxcd.io/watch=Enabled"
        );
        // IA-PROC-017
        assert_eq!(read.tokens.token_cache_max_size, 100);
        assert_eq!(read.tokens.token_cache_max_duration.as_secs(), 3600);
    }

    #[test]
    fn lists_of_algorithms_keep_their_order() {
        let read = flags(&["--ssh-kex-algos=b,a", "--ssh-hostkey-algos", "rsa-sha2-512"]);
        // IA-PROC-006
        assert_eq!(read.ssh.ssh_kex_algos, ["b", "a"]);
        // IA-PROC-007
        assert_eq!(read.ssh.ssh_hostkey_algos, ["rsa-sha2-512"]);
    }

    #[test]
    fn gates_have_the_defaults_of_upstream() {
        let default = |name: &str| GATES.iter().find(|(gate, _)| *gate == name).unwrap().1;
        // IA-PROC-019
        assert!(default("GitForcePushBranch"));
        // IA-PROC-020
        assert!(default("GitShallowClone"));
        // IA-PROC-021
        assert!(default("GitAllBranchReferences"));
        // IA-PROC-022
        assert!(!default("GitSparseCheckout"));
        // IA-PROC-023
        assert!(!default("CacheSecretsAndConfigMaps"));
    }

    #[test]
    fn the_arguments_of_the_deployment_are_accepted() {
        // IA-PROC-025
        let read = flags(&[
            "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
            "--watch-all-namespaces",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
        ]);
        assert!(read.manager.enable_leader_election && read.manager.watch_all_namespaces);
    }
}
