//! The command lines of the controllers: their flags and gates, with types and defaults.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use kind_tests::{Result, cache, controller, ensure};

const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "notification-controller",
    "helm-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "source-watcher",
];

/// The ledger's table: the row, the flag, its type, and its default in source-, kustomize- and notification-controller; a dash if the
/// controller does not have it. The row is empty if the flag is accepted and its feature does not exist yet.
const FLAGS: &[(&str, &str, &str, &str, &str, &str)] = &[
    (
        "RT-FLM-001",
        "metrics-addr",
        "string",
        ":8080",
        ":8080",
        ":8080",
    ),
    (
        "RT-FLM-002",
        "health-addr",
        "string",
        ":9440",
        ":9440",
        ":9440",
    ),
    ("RT-FLM-003", "events-addr", "string", "", "", ":9090"),
    ("RT-FLM-004", "concurrent", "int", "2", "4", "4"),
    (
        "RT-FLM-005",
        "requeue-dependency",
        "duration",
        "30s",
        "30s",
        "-",
    ),
    ("RT-FLM-006", "http-retry", "int", "-", "9", "-"),
    ("RT-FLM-008", "kube-api-qps", "float32", "50", "50", "50"),
    ("RT-FLM-009", "kube-api-burst", "int", "300", "300", "300"),
    (
        "RT-FLM-010",
        "log-encoding",
        "string",
        "json",
        "json",
        "json",
    ),
    ("RT-FLM-011", "log-level", "string", "info", "info", "info"),
    (
        "RT-FLM-012",
        "enable-leader-election",
        "bool",
        "false",
        "false",
        "false",
    ),
    (
        "RT-FLM-013",
        "leader-election-release-on-cancel",
        "bool",
        "true",
        "true",
        "true",
    ),
    (
        "RT-FLM-014",
        "leader-election-lease-duration",
        "duration",
        "35s",
        "35s",
        "35s",
    ),
    (
        "RT-FLM-015",
        "leader-election-renew-deadline",
        "duration",
        "30s",
        "30s",
        "30s",
    ),
    (
        "RT-FLM-016",
        "leader-election-retry-period",
        "duration",
        "5s",
        "5s",
        "5s",
    ),
    (
        "RT-FLM-017",
        "min-retry-delay",
        "duration",
        "750ms",
        "750ms",
        "750ms",
    ),
    (
        "RT-FLM-018",
        "max-retry-delay",
        "duration",
        "15m",
        "15m",
        "15m",
    ),
    ("RT-FLM-019", "feature-gates", "mapStringBool", "", "", ""),
    (
        "RT-FLM-020",
        "watch-all-namespaces",
        "bool",
        "true",
        "true",
        "true",
    ),
    ("RT-FLM-021", "watch-label-selector", "string", "", "", "-"),
    (
        "RT-FLM-022",
        "watch-configs-label-selector",
        "string",
        "reconcile.fluxcd.io/watch=Enabled",
        "reconcile.fluxcd.io/watch=Enabled",
        "reconcile.fluxcd.io/watch=Enabled",
    ),
    (
        "RT-FLM-023",
        "no-cross-namespace-refs",
        "bool",
        "-",
        "false",
        "false",
    ),
    (
        "RT-FLM-024",
        "interval-jitter-percentage",
        "uint8",
        "5",
        "5",
        "-",
    ),
    (
        "RT-FLM-025",
        "token-cache-max-size",
        "int",
        "100",
        "100",
        "100",
    ),
    (
        "RT-FLM-026",
        "token-cache-max-duration",
        "duration",
        "1h",
        "1h",
        "1h",
    ),
    (
        "RT-FLM-027",
        "default-service-account",
        "string",
        "",
        "",
        "",
    ),
    (
        "RT-FLM-028",
        "default-kubeconfig-service-account",
        "string",
        "-",
        "",
        "-",
    ),
    (
        "RT-FLM-029",
        "default-decryption-service-account",
        "string",
        "-",
        "",
        "-",
    ),
    (
        "RT-FLM-030",
        "insecure-kubeconfig-exec",
        "bool",
        "-",
        "false",
        "-",
    ),
    (
        "RT-FLM-031",
        "insecure-kubeconfig-tls",
        "bool",
        "-",
        "false",
        "-",
    ),
    (
        "RT-FLM-032",
        "override-manager",
        "stringArray",
        "-",
        "",
        "-",
    ),
    (
        "RT-FLM-066",
        "override-manager-before-dry-run",
        "stringArray",
        "-",
        "",
        "-",
    ),
    ("RT-FLM-033", "storage-path", "string", "/data", "-", "-"),
    ("RT-FLM-034", "storage-addr", "string", ":9090", "-", "-"),
    ("RT-FLM-035", "storage-adv-addr", "string", "", "-", "-"),
    (
        "RT-FLM-036",
        "artifact-retention-ttl",
        "duration",
        "1m",
        "-",
        "-",
    ),
    (
        "RT-FLM-037",
        "artifact-retention-records",
        "int",
        "2",
        "-",
        "-",
    ),
    (
        "RT-FLM-038",
        "artifact-digest-algo",
        "string",
        "sha256",
        "-",
        "-",
    ),
    ("RT-FLM-039", "ssh-kex-algos", "strings", "", "-", "-"),
    ("RT-FLM-040", "ssh-hostkey-algos", "strings", "", "-", "-"),
    ("", "helm-index-max-size", "int64", "52428800", "-", "-"),
    ("", "helm-chart-max-size", "int64", "10485760", "-", "-"),
    ("", "helm-chart-file-max-size", "int64", "5242880", "-", "-"),
    ("", "helm-cache-max-size", "int", "0", "-", "-"),
    ("RT-FLM-045", "helm-cache-ttl", "string", "15m", "-", "-"),
    (
        "RT-FLM-046",
        "helm-cache-purge-interval",
        "string",
        "1m",
        "-",
        "-",
    ),
    ("RT-FLM-047", "concurrent-ssa", "int", "-", "4", "-"),
    ("RT-FLM-048", "no-remote-bases", "bool", "-", "false", "-"),
    ("RT-FLM-049", "sops-age-secret", "string", "-", "", "-"),
    ("RT-FLM-050", "sops-vault-configmap", "string", "-", "", "-"),
    (
        "RT-FLM-051",
        "custom-apply-stage-kinds",
        "string",
        "-",
        "",
        "-",
    ),
    ("RT-FLM-058", "receiverAddr", "string", "-", "-", ":9292"),
    (
        "RT-FLM-059",
        "rate-limit-interval",
        "duration",
        "-",
        "-",
        "5m",
    ),
    (
        "RT-FLM-060",
        "export-http-path-metrics",
        "bool",
        "-",
        "-",
        "false",
    ),
];

/// A flag of one controller: the row, the flag, its type, and its default; a dash if it does not have it.
type Flag = (&'static str, &'static str, &'static str, &'static str);
/// A gate of one controller: the row, the gate, and its default; a dash if it does not have it.
type Gate = (&'static str, &'static str, &'static str);

/// The flags of the controllers that are not in the columns of the table above. A flag that is not here they do not have.
const FURTHER_FLAGS: &[(&str, &[Flag])] = &[
    (
        "source-watcher",
        &[
            ("SW-PROC-002", "metrics-addr", "string", ":8080"),
            ("SW-PROC-003", "health-addr", "string", ":9440"),
            ("SW-PROC-004", "events-addr", "string", ""),
            ("SW-PROC-001", "concurrent", "int", "10"),
            ("SW-PROC-007", "requeue-dependency", "duration", "5s"),
            ("SW-PROC-005", "http-retry", "int", "9"),
            ("SW-PROC-015", "kube-api-qps", "float32", "50"),
            ("SW-PROC-015", "kube-api-burst", "int", "300"),
            ("SW-PROC-017", "log-encoding", "string", "json"),
            ("SW-PROC-017", "log-level", "string", "info"),
            ("SW-PROC-018", "enable-leader-election", "bool", "false"),
            (
                "SW-PROC-018",
                "leader-election-release-on-cancel",
                "bool",
                "true",
            ),
            (
                "SW-PROC-018",
                "leader-election-lease-duration",
                "duration",
                "35s",
            ),
            (
                "SW-PROC-018",
                "leader-election-renew-deadline",
                "duration",
                "30s",
            ),
            (
                "SW-PROC-018",
                "leader-election-retry-period",
                "duration",
                "5s",
            ),
            ("SW-PROC-024", "min-retry-delay", "duration", "750ms"),
            ("SW-PROC-024", "max-retry-delay", "duration", "15m"),
            ("SW-PROC-025", "feature-gates", "mapStringBool", ""),
            ("SW-PROC-021", "watch-all-namespaces", "bool", "true"),
            ("SW-PROC-022", "watch-label-selector", "string", ""),
            (
                "SW-PROC-023",
                "watch-configs-label-selector",
                "string",
                "reconcile.fluxcd.io/watch=Enabled",
            ),
            ("SW-PROC-009", "no-cross-namespace-refs", "bool", "false"),
            ("SW-PROC-008", "interval-jitter-percentage", "uint8", "5"),
            ("SW-PROC-027", "default-service-account", "string", ""),
            ("SW-PROC-044", "override-manager", "stringArray", ""),
            ("SW-PROC-010", "storage-path", "string", "/data"),
            ("SW-PROC-011", "storage-addr", "string", ":9090"),
            ("SW-PROC-012", "storage-adv-addr", "string", ""),
            ("SW-PROC-013", "artifact-retention-ttl", "duration", "1m"),
            ("SW-PROC-013", "artifact-retention-records", "int", "2"),
            ("SW-PROC-014", "artifact-digest-algo", "string", "sha256"),
            ("SW-PROC-006", "reconciliation-timeout", "duration", "10m"),
        ],
    ),
    (
        "helm-controller",
        &[
            ("RT-FLM-001", "metrics-addr", "string", ":8080"),
            ("RT-FLM-002", "health-addr", "string", ":9440"),
            ("RT-FLM-003", "events-addr", "string", ""),
            ("RT-FLM-004", "concurrent", "int", "4"),
            ("RT-FLM-005", "requeue-dependency", "duration", "30s"),
            ("RT-FLM-006", "http-retry", "int", "9"),
            ("RT-FLM-008", "kube-api-qps", "float32", "50"),
            ("RT-FLM-009", "kube-api-burst", "int", "300"),
            ("RT-FLM-010", "log-encoding", "string", "json"),
            ("RT-FLM-011", "log-level", "string", "info"),
            ("RT-FLM-012", "enable-leader-election", "bool", "false"),
            (
                "RT-FLM-013",
                "leader-election-release-on-cancel",
                "bool",
                "true",
            ),
            (
                "RT-FLM-014",
                "leader-election-lease-duration",
                "duration",
                "35s",
            ),
            (
                "RT-FLM-015",
                "leader-election-renew-deadline",
                "duration",
                "30s",
            ),
            (
                "RT-FLM-016",
                "leader-election-retry-period",
                "duration",
                "5s",
            ),
            ("RT-FLM-017", "min-retry-delay", "duration", "750ms"),
            ("RT-FLM-018", "max-retry-delay", "duration", "15m"),
            ("RT-FLM-019", "feature-gates", "mapStringBool", ""),
            ("RT-FLM-020", "watch-all-namespaces", "bool", "true"),
            ("RT-FLM-021", "watch-label-selector", "string", ""),
            (
                "RT-FLM-022",
                "watch-configs-label-selector",
                "string",
                "reconcile.fluxcd.io/watch=Enabled",
            ),
            ("RT-FLM-023", "no-cross-namespace-refs", "bool", "false"),
            ("RT-FLM-024", "interval-jitter-percentage", "uint8", "5"),
            ("RT-FLM-025", "token-cache-max-size", "int", "100"),
            ("RT-FLM-026", "token-cache-max-duration", "duration", "1h"),
            ("RT-FLM-027", "default-service-account", "string", ""),
            (
                "RT-FLM-028",
                "default-kubeconfig-service-account",
                "string",
                "",
            ),
            ("RT-FLM-030", "insecure-kubeconfig-exec", "bool", "false"),
            ("RT-FLM-031", "insecure-kubeconfig-tls", "bool", "false"),
            ("RT-FLM-032", "override-manager", "stringArray", ""),
            ("RT-FLM-007", "http-timeout", "duration", "30s"),
            (
                "RT-FLM-052",
                "graceful-shutdown-timeout",
                "duration",
                "10m0s",
            ),
            ("RT-FLM-053", "oom-watch-memory-threshold", "uint8", "95"),
            ("RT-FLM-054", "oom-watch-interval", "duration", "500ms"),
            ("RT-FLM-055", "oom-watch-max-memory-path", "string", ""),
            ("RT-FLM-056", "oom-watch-current-memory-path", "string", ""),
            ("RT-FLM-057", "snapshot-digest-algo", "string", "sha256"),
        ],
    ),
    (
        "image-reflector-controller",
        &[
            ("IR-PROC-001", "metrics-addr", "string", ":8080"),
            ("IR-PROC-002", "events-addr", "string", ""),
            ("IR-PROC-003", "health-addr", "string", ":9440"),
            ("IR-PROC-004", "storage-path", "string", "/data"),
            (
                "IR-PROC-005",
                "storage-value-log-file-size",
                "int64",
                "268435456",
            ),
            ("IR-PROC-006", "storage-compression-threshold", "int", "64"),
            ("IR-PROC-008", "gc-interval", "uint16", "10"),
            ("IR-PROC-009", "concurrent", "int", "4"),
            ("IR-PROC-010", "requeue-dependency", "duration", "30s"),
            ("IR-PROC-011", "kube-api-qps", "float32", "50"),
            ("IR-PROC-011", "kube-api-burst", "int", "300"),
            ("IR-PROC-013", "log-encoding", "string", "json"),
            ("IR-PROC-013", "log-level", "string", "info"),
            ("IR-PROC-016", "enable-leader-election", "bool", "false"),
            (
                "IR-PROC-017",
                "leader-election-release-on-cancel",
                "bool",
                "true",
            ),
            (
                "IR-PROC-017",
                "leader-election-lease-duration",
                "duration",
                "35s",
            ),
            (
                "IR-PROC-017",
                "leader-election-renew-deadline",
                "duration",
                "30s",
            ),
            (
                "IR-PROC-017",
                "leader-election-retry-period",
                "duration",
                "5s",
            ),
            ("IR-PROC-019", "watch-all-namespaces", "bool", "true"),
            ("IR-PROC-020", "watch-label-selector", "string", ""),
            (
                "IR-PROC-022",
                "watch-configs-label-selector",
                "string",
                "reconcile.fluxcd.io/watch=Enabled",
            ),
            ("IR-PROC-023", "no-cross-namespace-refs", "bool", "false"),
            ("IR-PROC-024", "min-retry-delay", "duration", "750ms"),
            ("IR-PROC-024", "max-retry-delay", "duration", "15m"),
            ("IR-PROC-025", "feature-gates", "mapStringBool", ""),
            ("IR-PROC-029", "default-service-account", "string", ""),
            ("IR-PROC-030", "token-cache-max-size", "int", "100"),
            ("IR-PROC-030", "token-cache-max-duration", "duration", "1h"),
        ],
    ),
    (
        "image-automation-controller",
        &[
            ("IA-PROC-001", "metrics-addr", "string", ":8080"),
            ("IA-PROC-002", "events-addr", "string", ""),
            ("IA-PROC-003", "health-addr", "string", ":9440"),
            ("IA-PROC-004", "concurrent", "int", "4"),
            ("IA-PROC-005", "default-service-account", "string", ""),
            ("IA-PROC-006", "ssh-kex-algos", "strings", ""),
            ("IA-PROC-007", "ssh-hostkey-algos", "strings", ""),
            ("IA-PROC-008", "kube-api-qps", "float32", "50"),
            ("IA-PROC-008", "kube-api-burst", "int", "300"),
            ("IA-PROC-009", "log-encoding", "string", "json"),
            ("IA-PROC-009", "log-level", "string", "info"),
            ("IA-PROC-010", "enable-leader-election", "bool", "false"),
            (
                "IA-PROC-010",
                "leader-election-release-on-cancel",
                "bool",
                "true",
            ),
            (
                "IA-PROC-010",
                "leader-election-lease-duration",
                "duration",
                "35s",
            ),
            (
                "IA-PROC-010",
                "leader-election-renew-deadline",
                "duration",
                "30s",
            ),
            (
                "IA-PROC-010",
                "leader-election-retry-period",
                "duration",
                "5s",
            ),
            ("IA-PROC-012", "no-cross-namespace-refs", "bool", "false"),
            ("IA-PROC-013", "min-retry-delay", "duration", "750ms"),
            ("IA-PROC-013", "max-retry-delay", "duration", "15m"),
            ("IA-PROC-014", "watch-all-namespaces", "bool", "true"),
            ("IA-PROC-015", "watch-label-selector", "string", ""),
            (
                "IA-PROC-016",
                "watch-configs-label-selector",
                "string",
                "reconcile.fluxcd.io/watch=Enabled",
            ),
            ("IA-PROC-017", "token-cache-max-size", "int", "100"),
            ("IA-PROC-017", "token-cache-max-duration", "duration", "1h"),
            ("IA-PROC-018", "feature-gates", "mapStringBool", ""),
        ],
    ),
];

/// The gates of these controllers.
const FURTHER_GATES: &[(&str, &[Gate])] = &[
    (
        "source-watcher",
        &[("SW-PROC-025", "DirectSourceFetch", "false")],
    ),
    (
        "helm-controller",
        &[
            ("RT-FGM-002", "CacheSecretsAndConfigMaps", "false"),
            ("RT-FGM-003", "DisableConfigWatchers", "false"),
            ("RT-FGM-004", "DirectSourceFetch", "false"),
            ("RT-FGM-005", "ExternalArtifact", "false"),
            ("RT-FGM-006", "AdditiveCELDependencyCheck", "false"),
            ("RT-FGM-007", "CancelHealthCheckOnNewRevision", "false"),
            ("RT-FGM-013", "DetectDrift", "false"),
            ("RT-FGM-014", "CorrectDrift", "false"),
            ("RT-FGM-015", "AllowDNSLookups", "false"),
            ("RT-FGM-016", "OOMWatch", "false"),
            ("RT-FGM-017", "AdoptLegacyReleases", "false"),
            ("RT-FGM-018", "DisableChartDigestTracking", "false"),
            ("RT-FGM-019", "UseHelm3Defaults", "false"),
            ("RT-FGM-020", "DefaultToRetryOnFailure", "false"),
        ],
    ),
    (
        "image-reflector-controller",
        &[
            ("IR-PROC-026", "CacheSecretsAndConfigMaps", "false"),
            ("IR-PROC-027", "FluxStorage", "true"),
        ],
    ),
    (
        "image-automation-controller",
        &[
            ("IA-PROC-019", "GitForcePushBranch", "true"),
            ("IA-PROC-020", "GitShallowClone", "true"),
            ("IA-PROC-021", "GitAllBranchReferences", "true"),
            ("IA-PROC-022", "GitSparseCheckout", "false"),
            ("IA-PROC-023", "CacheSecretsAndConfigMaps", "false"),
        ],
    ),
];

/// All flags, as one controller has them.
fn flag_table(name: &str) -> Vec<Flag> {
    let column = CONTROLLERS.iter().position(|known| *known == name);
    let default = |defaults: [&'static str; 3]| {
        let found = column.and_then(|column| defaults.get(column).copied());
        found.unwrap_or("-")
    };
    let mut flags: Vec<Flag> = FLAGS
        .iter()
        .map(|(row, flag, kind, source, kustomize, notification)| {
            (
                *row,
                *flag,
                *kind,
                default([source, kustomize, notification]),
            )
        })
        .collect();
    for (controller, own) in FURTHER_FLAGS {
        for &(row, flag, kind, default) in *own {
            let default = if *controller == name { default } else { "-" };
            match flags.iter_mut().find(|(_, known, ..)| *known == flag) {
                Some(known) if *controller == name => *known = (row, flag, kind, default),
                Some(_) => {}
                None => flags.push((row, flag, kind, default)),
            }
        }
    }
    flags
}

/// All gates, as one controller has them.
fn gate_table(name: &str) -> Vec<Gate> {
    let column = CONTROLLERS.iter().position(|known| *known == name);
    let default = |defaults: [&'static str; 3]| {
        let found = column.and_then(|column| defaults.get(column).copied());
        found.unwrap_or("-")
    };
    let mut gates: Vec<Gate> = GATES
        .iter()
        .map(|(row, gate, source, kustomize, notification)| {
            (*row, *gate, default([source, kustomize, notification]))
        })
        .collect();
    for (controller, own) in FURTHER_GATES {
        for &(row, gate, default) in *own {
            let default = if *controller == name { default } else { "-" };
            match gates.iter_mut().find(|(_, known, _)| *known == gate) {
                Some(known) if *controller == name => *known = (row, gate, default),
                Some(_) => {}
                None => gates.push((row, gate, default)),
            }
        }
    }
    gates
}

/// The row, the gate, and its default in source-, kustomize- and notification-controller. The row is empty if the gate is accepted and
/// has no effect yet.
const GATES: &[(&str, &str, &str, &str, &str)] = &[
    (
        "RT-FGM-002",
        "CacheSecretsAndConfigMaps",
        "false",
        "false",
        "false",
    ),
    ("RT-FGM-003", "DisableConfigWatchers", "-", "false", "false"),
    ("RT-FGM-004", "DirectSourceFetch", "-", "false", "-"),
    ("RT-FGM-005", "ExternalArtifact", "-", "false", "-"),
    (
        "RT-FGM-006",
        "AdditiveCELDependencyCheck",
        "-",
        "false",
        "-",
    ),
    ("RT-FGM-026", "DisableCommitStatusEvent", "-", "false", "-"),
    (
        "RT-FGM-007",
        "CancelHealthCheckOnNewRevision",
        "-",
        "false",
        "-",
    ),
    ("RT-FGM-008", "DisableStatusPollerCache", "-", "true", "-"),
    ("RT-FGM-009", "DisableFailFastBehavior", "-", "false", "-"),
    (
        "RT-FGM-010",
        "StrictPostBuildSubstitutions",
        "-",
        "true",
        "-",
    ),
    ("RT-FGM-011", "GroupChangeLog", "-", "false", "-"),
    ("RT-FGM-012", "MigrateAPIVersion", "-", "false", "-"),
];

/// The controllers that accept a gate which they no longer have (RT-FGM-001, RT-FGT-005).
const RETIRED: &[(&str, &str)] = &[
    ("source-controller", "ObjectLevelWorkloadIdentity"),
    ("kustomize-controller", "ObjectLevelWorkloadIdentity"),
    ("notification-controller", "ObjectLevelWorkloadIdentity"),
    ("helm-controller", "ObjectLevelWorkloadIdentity"),
    // IR-PROC-028, IR-PROC-029
    ("image-reflector-controller", "ObjectLevelWorkloadIdentity"),
    // IA-PROC-024
    ("image-automation-controller", "ObjectLevelWorkloadIdentity"),
    ("source-watcher", "ObjectLevelWorkloadIdentity"),
];

/// Runs the controller without a reachable cluster.
fn run(name: &str, args: &[&str]) -> Result<Output> {
    Ok(Command::new(controller::program(name)?)
        .args(args)
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .output()?)
}

/// The flags listed by `--help`: type and default by name.
fn flags(help: &str) -> BTreeMap<String, (String, String)> {
    let mut flags = BTreeMap::new();
    let mut current: Option<(String, String, String)> = None;
    let mut finish = |flag: Option<(String, String, String)>| {
        if let Some((name, kind, text)) = flag {
            let default = text
                .rsplit_once("[default: ")
                .map_or("", |(_, rest)| rest.trim_end());
            let default = default.strip_suffix(']').unwrap_or(default).trim();
            flags.insert(name, (kind, default.to_owned()));
        }
    };
    for line in help.lines() {
        let trimmed = line.trim();
        if let Some(flag) = trimmed.strip_prefix("--") {
            let end = flag.find([' ', '[']).unwrap_or(flag.len());
            let kind = flag
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'));
            finish(current.take());
            current = Some((
                flag[..end].to_owned(),
                kind.map_or_else(String::new, |(kind, _)| kind.to_owned()),
                trimmed.to_owned(),
            ));
        } else if trimmed.starts_with("-h,") {
            finish(current.take()); // --help itself, listed with its short form
        } else if let Some((_, _, text)) = &mut current {
            text.push(' ');
            text.push_str(trimmed);
        }
    }
    finish(current);
    flags
}

#[test]
fn flags_match_the_ledger() -> Result {
    for name in CONTROLLERS {
        let output = run(name, &["--help"])?;
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{name} --help: {}", output.status);
        let mut have = flags(&help);
        for (row, flag, kind, default) in flag_table(name) {
            let found = have.remove(flag);
            let want = (default != "-").then(|| (kind.to_owned(), default.to_owned()));
            ensure!(
                found == want,
                "{row} {name} --{flag}: {found:?}, not {want:?}\n{help}"
            );
        }
        // RT-FLG-011: no others
        ensure!(
            have.is_empty(),
            "{name} has flags that upstream's has not: {have:?}"
        );
    }
    Ok(())
}

#[test]
fn flags_of_other_controllers_are_usage_errors() -> Result {
    // RT-FLG-009, RT-DIF-001
    for name in CONTROLLERS {
        for (row, flag, _, default) in flag_table(name) {
            if default != "-" {
                continue;
            }
            let output = run(name, &[&format!("--{flag}=1")])?;
            let stderr = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code() == Some(2) && stderr.contains(&format!("--{flag}")),
                "{row} {name} --{flag}: {}\n{stderr}",
                output.status
            );
        }
    }
    Ok(())
}

/// The log lines of the controller before it fails to find a cluster.
fn logged(name: &str, args: &[&str]) -> Result<(Option<i32>, Vec<serde_json::Value>)> {
    let output = run(name, args)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    Ok((output.status.code(), lines.collect()))
}

#[test]
fn gates_match_the_ledger() -> Result {
    for name in CONTROLLERS {
        for (row, gate, default) in gate_table(name) {
            let known = default != "-";
            if RETIRED.contains(&(name, gate)) {
                continue;
            }
            for value in [true, false] {
                let (code, lines) = logged(name, &[&format!("--feature-gates={gate}={value}")])?;
                let last = lines
                    .last()
                    .and_then(|line| line["error"].as_str())
                    .unwrap_or_default();
                let refusal = format!("feature-gate '{gate}' not supported");
                // RT-FGT-001, RT-FGT-002: rejected whatever its value, or logged as a key of its own
                let loaded = lines.iter().any(|line| {
                    line["msg"] == "loading feature gate"
                        && line[gate] == value
                        && line["logger"] == "setup"
                });
                ensure!(
                    code == Some(1) && (last == refusal) != known && loaded == known,
                    "{row} {name} {gate}={value}: {code:?} {lines:?}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn retired_gates_are_accepted_and_logged_once() -> Result {
    for (name, gate) in RETIRED {
        for value in [true, false] {
            let given = format!("--feature-gates={gate}={value}");
            // RT-FGT-003: beside a default ServiceAccount, which needs no gate
            let args = [given.as_str(), "--default-service-account=x"];
            let (_, lines) = logged(name, &args)?;
            let said: Vec<_> = lines
                .iter()
                .filter(|line| {
                    let text = line.to_string();
                    text.contains(gate) || text.contains("default service account")
                })
                .collect();
            // RT-FGT-005, RT-FGM-001, SC-PROC-027
            let retired = "feature gate is now retired and no longer changes behavior";
            ensure!(
                said.len() == 1
                    && said[0]["level"] == "info"
                    && said[0]["msg"] == retired
                    && said[0]["feature-gate"] == **gate
                    && said[0]["reason"].is_string(),
                "{name} {given}: {said:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn log_flags_take_effect() -> Result {
    for name in CONTROLLERS {
        let gate = if name == "source-watcher" {
            "--feature-gates=DirectSourceFetch=true"
        } else {
            "--feature-gates=CacheSecretsAndConfigMaps=true"
        };
        let logged = |flags: &[&str]| -> Result<Vec<String>> {
            let output = run(name, &[&[gate], flags].concat())?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok(text.lines().map(str::to_owned).collect())
        };
        let parse = |line: &String| serde_json::from_str::<serde_json::Value>(line);
        // KC-PROC-017, SC-PROC-023, SC-PROC-024: the last line is about the missing cluster, the one before about the
        // gate
        for (flags, levels, stack) in [
            (&[][..], &["info", "error"][..], false),
            (
                &["--log-encoding=json", "--log-level=info"],
                &["info", "error"],
                false,
            ),
            (&["--log-level=error"], &["error"], false),
            (&["--log-level=debug"], &["info", "error"], true),
            (&["--log-level=trace"], &["info", "error"], true),
        ] {
            let lines = logged(flags)?
                .iter()
                .map(parse)
                .collect::<Result<Vec<_>, _>>()?;
            let found: Vec<&str> = lines
                .iter()
                .filter_map(|line| line["level"].as_str())
                .collect();
            ensure!(found == levels, "{name} {flags:?}: {lines:?}");
            for line in &lines {
                let time = line["ts"].as_str().unwrap_or_default();
                ensure!(
                    time.len() == 24 && time.ends_with('Z') && time.contains('T'),
                    "{name} {flags:?}: {line}"
                );
                let has = line.get("stacktrace").is_some();
                ensure!(
                    has == (stack && line["level"] == "error"),
                    "{name} {flags:?}: {line}"
                );
            }
        }
        let console = logged(&["--log-encoding=console"])?;
        let columns: Vec<&str> = console
            .first()
            .map(|line| line.split('\t').collect())
            .unwrap_or_default();
        ensure!(
            columns.get(1..4) == Some(&["INFO", "setup", "loading feature gate"]),
            "{name}: {console:?}"
        );
    }
    Ok(())
}

/// A valid value of the flag.
fn value(flag: &str, kind: &str, default: &str) -> String {
    match (flag, kind) {
        ("feature-gates", _) => String::new(),
        (_, "string" | "strings" | "stringArray") if default.is_empty() => "x".to_owned(),
        _ => default.to_owned(),
    }
}

/// The names that the controller logs as having no effect, by the key of the log line.
fn without_effect(lines: &[serde_json::Value], key: &str) -> Vec<String> {
    let says = |line: &&serde_json::Value| {
        let message = line["msg"].as_str().unwrap_or_default();
        message.contains(" changes nothing yet: ") && line["logger"] == "setup"
    };
    let named = lines.iter().filter(says);
    named
        .filter_map(|line| line[key].as_str().map(str::to_owned))
        .collect()
}

/// The code of the controller and of its frame, except for the definitions of the flags and the validation of their
/// values.
fn code_of(name: &str) -> Result<String> {
    let root = cache::workspace();
    let shared =
        ["runtime", "identity", "publish", "tenancy"].map(|name| root.join("shared").join(name));
    let mut folders = vec![root.join(name)];
    folders.extend(shared);
    let mut folders: Vec<_> = folders.iter().map(|folder| folder.join("src")).collect();
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let file = path.file_name().and_then(|name| name.to_str());
            let file = file.unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !["flags.rs", "tests.rs"].contains(&file)
            {
                let text = fs::read_to_string(&path)?;
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = text.lines().filter(|line| !line.contains("check("));
                code.extend(lines.map(|line| format!("{line}\n")));
            }
        }
    }
    Ok(code)
}

#[test]
fn flags_and_gates_are_used_or_logged_as_ineffective() -> Result {
    for name in CONTROLLERS {
        let code = code_of(name)?;
        let flags: Vec<_> = flag_table(name)
            .into_iter()
            .filter(|(.., default)| *default != "-")
            .map(|(_, flag, kind, default)| (flag, value(flag, kind, default)))
            .collect();
        let gates: Vec<_> = gate_table(name)
            .into_iter()
            .filter(|(.., default)| *default != "-")
            .map(|(_, gate, default)| (gate, default))
            .collect();
        let mut args: Vec<String> = flags
            .iter()
            .map(|(flag, value)| format!("--{flag}={value}"))
            .collect();
        args.extend(
            gates
                .iter()
                .map(|(gate, value)| format!("--feature-gates={gate}={value}")),
        );
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (_, lines) = logged(name, &args)?;

        let silent = without_effect(&lines, "flag");
        for (flag, _) in &flags {
            let told = silent.iter().filter(|told| *told == flag).count();
            // Some flags are fields of a group that has their first word.
            let field = flag
                .replace('-', "_")
                .replace("receiverAddr", "receiver_addr");
            let grouped = field.replacen('_', ".", 1);
            let read = [field, grouped]
                .iter()
                .any(|field| code.contains(&format!(".{field}")));
            ensure!(
                told == 1 || (told == 0 && read),
                "{name} --{flag}: told {told} times, read: {read}"
            );
        }
        let silent = without_effect(&lines, "feature-gate");
        for (gate, _) in &gates {
            let told = silent.iter().filter(|told| *told == gate).count();
            let read = code.contains(&format!("(\"{gate}\")"));
            ensure!(
                told == 1 || (told == 0 && read),
                "{name} {gate}: told {told} times, read: {read}"
            );
        }
        let (_, lines) = logged(name, &[])?;
        let silent = [
            without_effect(&lines, "flag"),
            without_effect(&lines, "feature-gate"),
        ];
        ensure!(silent.concat().is_empty(), "{name} says {silent:?} unasked");
    }
    Ok(())
}

#[test]
fn ineffective_flags_are_logged() -> Result {
    let cases: [(&str, &[&str], &[&str]); 2] = [
        (
            "source-controller",
            &[
                "--helm-cache-max-size=5",
                "--watch-configs-label-selector=a=b",
            ],
            // SC-PROC-032
            &["watch-configs-label-selector"],
        ),
        (
            "kustomize-controller",
            &[
                "--insecure-kubeconfig-tls",
                "--feature-gates=AdditiveCELDependencyCheck=true",
            ],
            &[],
        ),
    ];
    for (name, args, flags) in cases {
        let (_, lines) = logged(name, args)?;
        let told = without_effect(&lines, "flag");
        ensure!(told == flags, "{name}: {told:?}");
        let told = without_effect(&lines, "feature-gate");
        ensure!(told.is_empty(), "{name}: {told:?}");
    }
    Ok(())
}
