//! The flags and feature gates of this controller (NC-PROC-001 to NC-PROC-022).

use std::time::Duration;

use clap::Parser;
use flux_identity::TokenCacheFlags;
use flux_runtime::flags::{ManagerFlags, parse_duration};
use flux_runtime::manager::Pending;
use flux_tenancy::CrossNamespaceFlags;

/// Sends the events of the other controllers to services, and turns webhooks into reconcile requests.
#[derive(Parser, Clone, Debug)]
#[command(name = "notification-controller")]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) manager: ManagerFlags,
    #[command(flatten)]
    pub(crate) cross_namespace: CrossNamespaceFlags,
    #[command(flatten)]
    pub(crate) tokens: TokenCacheFlags,
    /// The address that webhooks are received at.
    #[arg(long = "receiverAddr", default_value = ":9292")]
    pub(crate) receiver_addr: String,
    /// How long an event is not sent again.
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    pub(crate) rate_limit_interval: Duration,
    /// Whether the metrics of the HTTP servers have the full path of each request as a label.
    #[arg(long)]
    pub(crate) export_http_path_metrics: bool,
    /// The ServiceAccount whose cloud identity is used where a Provider names none.
    #[arg(long, default_value = "")]
    pub(crate) default_service_account: String,
}

/// The gates, each with its default.
pub(crate) const GATES: &[(&str, bool)] = &[
    ("CacheSecretsAndConfigMaps", false),
    ("DisableConfigWatchers", false),
];

/// What is accepted and changes nothing yet.
pub(crate) const PENDING: Pending = Pending {
    flags: &[],
    gates: &[],
};

#[cfg(test)]
mod tests {
    use flux_runtime::flags::parse_from;

    use super::*;

    fn flags(words: &[&str]) -> Result<Flags, clap::Error> {
        parse_from(
            &[("events-addr", ":9090".to_owned())],
            ["notification-controller"]
                .iter()
                .chain(words)
                .map(Into::into),
        )
    }

    #[test]
    fn defaults_match_upstream() {
        let read = flags(&[]).unwrap();
        // NC-PROC-001, NC-PROC-002, NC-PROC-003
        assert_eq!(read.manager.metrics_addr, ":8080");
        assert_eq!(read.manager.events_addr, ":9090");
        assert_eq!(read.manager.health_addr, ":9440");
        // NC-PROC-004, NC-PROC-005, NC-PROC-006
        assert_eq!(read.receiver_addr, ":9292");
        assert_eq!(read.manager.concurrent, 4);
        assert_eq!(read.rate_limit_interval, Duration::from_mins(5));
        // NC-PROC-007, NC-PROC-008, NC-PROC-009
        assert!(!read.export_http_path_metrics && read.manager.watch_all_namespaces);
        assert_eq!(
            read.manager.watch_configs_label_selector,
            "reconcile.fluxcd.io/watch=Enabled"
        );
        // NC-PROC-013, NC-PROC-014
        assert!(!read.manager.enable_leader_election);
        assert!(!read.cross_namespace.no_cross_namespace_refs);
        // NC-PROC-015, NC-PROC-017
        assert_eq!(read.manager.min_retry_delay, Duration::from_millis(750));
        assert_eq!(read.manager.max_retry_delay, Duration::from_mins(15));
        assert_eq!(read.tokens.token_cache_max_size, 100);
        assert_eq!(
            read.tokens.token_cache_max_duration,
            Duration::from_hours(1)
        );
        assert!(read.default_service_account.is_empty());
    }

    #[test]
    fn the_receiver_flag_is_camel_case_and_there_is_no_sharding() {
        // NC-PROC-004
        let moved = flags(&["--receiverAddr=:1234"]).unwrap();
        assert_eq!(moved.receiver_addr, ":1234");
        assert!(flags(&["--receiver-addr=:1234"]).is_err());
        // NC-PROC-010
        assert!(flags(&["--watch-label-selector=a=b"]).is_err());
    }
}
