//! Checks every condition set by our controllers, in every state that a test sees.

use serde_json::Value;

/// The reasons that the frame itself gives, whatever the kind.
const FRAME: [&str; 2] = ["Failed", "ProgressingWithRetry"];

/// The reasons that all kinds may share (RT-CON-014), whether ours have them or not.
const GENERIC: [&str; 20] = [
    "AccessDenied",
    "ArtifactFailed",
    "BuildFailed",
    "DependencyNotReady",
    "Failed",
    "FeatureGateDisabled",
    "HealthCheckCanceled",
    "HealthCheckFailed",
    "InsecureConnectionsDisallowed",
    "InvalidCELExpression",
    "InvalidPath",
    "InvalidURL",
    "Progressing",
    "ProgressingWithRetry",
    "PruneFailed",
    "ReconciliationFailed",
    "ReconciliationSucceeded",
    "Succeeded",
    "Suspended",
    "UnsupportedConnectionType",
];

/// The reasons of Kustomizations.
const OF_KUSTOMIZATIONS: [&str; 14] = [
    "AccessDenied",
    "ArtifactFailed",
    "BuildFailed",
    "DependencyNotReady",
    "DirectoryCreationFailed",
    "FeatureGateDisabled",
    "HealthCheckCanceled",
    "HealthCheckFailed",
    "InvalidCELExpression",
    "Progressing",
    "PruneFailed",
    "ReconciliationFailed",
    "ReconciliationSucceeded",
    "Succeeded",
];

/// The reasons of HelmReleases (HC-EVT-002 to HC-EVT-004).
const OF_HELM_RELEASES: [&str; 31] = [
    "AccessDenied",
    "ArtifactFailed",
    "AwaitingTests",
    "ChartMutateError",
    "ConfigFactoryErr",
    "DependencyNotReady",
    "DriftDetected",
    "FactoryError",
    "HealthCheckCanceled",
    "InstallFailed",
    "InstallSucceeded",
    "InvalidCELExpression",
    "MissingRollbackTarget",
    "NoDriftDetected",
    "PendingRelease",
    "Progressing",
    "RESTClientError",
    "ReconcileError",
    "ResourceManagerError",
    "RetriesExceeded",
    "RollbackFailed",
    "RollbackSucceeded",
    "SourceNotReady",
    "StateError",
    "TestFailed",
    "TestSucceeded",
    "UninstallFailed",
    "UninstallSucceeded",
    "UpgradeFailed",
    "UpgradeSucceeded",
    "ValuesError",
];

/// The additional reasons of GitRepositories.
const OF_GIT_REPOSITORIES: [&str; 19] = [
    "ArchiveOperationFailed",
    "AuthenticationFailed",
    "CopyFailure",
    "DirectoryCreationFailed",
    "EmptyGitRepository",
    "GitOperationFailed",
    "IllegalPath",
    "IncludeChange",
    "InvalidCommitSignature",
    "InvalidGitObject",
    "InvalidProviderConfiguration",
    "InvalidTagSignature",
    "InvalidVerificationMode",
    "NewRevision",
    "NoArtifact",
    "NotFound",
    "SourceIgnoreError",
    "URLInvalid",
    "VerificationError",
];

/// The additional reasons of OCIRepositories.
const OF_OCI_REPOSITORIES: [&str; 10] = [
    "ArchiveOperationFailed",
    "AuthenticationFailed",
    "DirectoryCreationFailed",
    "NewRevision",
    "OCIArtifactLayerOperationFailed",
    "OCIArtifactPullFailed",
    "ReadOperationFailed",
    "SourceIgnoreError",
    "URLInvalid",
    "VerificationError",
];

/// The additional reasons of HelmRepositories.
const OF_HELM_REPOSITORIES: [&str; 6] = [
    "ArchiveOperationFailed",
    "AuthenticationFailed",
    "DirectoryCreationFailed",
    "IndexationFailed",
    "NewRevision",
    "URLInvalid",
];

/// The additional reasons of HelmCharts.
const OF_HELM_CHARTS: [&str; 21] = [
    "AcquireLockFailed",
    "ArchiveOperationFailed",
    "AuthenticationFailed",
    "ChartPackageError",
    "ChartPackageSucceeded",
    "ChartPullError",
    "ChartPullSucceeded",
    "ChartVerificationError",
    "DependencyBuildError",
    "DirectoryCreationFailed",
    "InvalidChartReference",
    "MetadataPatchError",
    "NewChart",
    "NoSourceArtifact",
    "ReadOperationFailed",
    "SourceUnavailable",
    "URLInvalid",
    "Unknown",
    "UnsupportedSourceKind",
    "ValuesFilesError",
    "VerificationError",
];

/// The additional reasons of Buckets.
const OF_BUCKETS: [&str; 7] = [
    "ArchiveOperationFailed",
    "AuthenticationFailed",
    "BucketOperationFailed",
    "DirectoryCreationFailed",
    "InvalidSTSConfiguration",
    "NewRevision",
    "URLInvalid",
];

/// The reasons of Receivers.
const OF_RECEIVERS: [&str; 4] = [
    "InvalidCELExpression",
    "Succeeded",
    "TokenNotFound",
    "ValidationFailed",
];

/// The reasons of ImageUpdateAutomations.
const OF_IMAGE_UPDATE_AUTOMATIONS: [&str; 10] = [
    "AccessDenied",
    "Failed",
    "GitOperationFailed",
    "InvalidPolicySelector",
    "InvalidSourceConfiguration",
    "InvalidUpdateStrategy",
    "RemovedTemplateField",
    "SourceManagerFailed",
    "Succeeded",
    "UpdateFailed",
];

/// The reasons of ImageRepositories.
const OF_IMAGE_REPOSITORIES: [&str; 5] = [
    "AuthenticationFailed",
    "Failure",
    "ImageURLInvalid",
    "ReadOperationFailed",
    "Succeeded",
];

/// The reasons of ImagePolicies.
const OF_IMAGE_POLICIES: [&str; 8] = [
    "AccessDenied",
    "DependencyNotReady",
    "Failed",
    "Failure",
    "ImageURLInvalid",
    "IntervalNotConfigured",
    "InvalidPolicy",
    "Succeeded",
];

/// The reasons of ArtifactGenerators.
const OF_ARTIFACT_GENERATORS: [&str; 8] = [
    "AccessDenied",
    "BuildFailed",
    "OwnershipConflict",
    "ReconciliationDisabled",
    "ReconciliationFailed",
    "SourceFetchFailed",
    "Succeeded",
    "ValidationFailed",
];

/// The types and reasons that the conditions of a kind may have.
struct Rules {
    /// Their types.
    types: &'static [&'static str],
    /// Their reasons.
    is_reason: fn(&str) -> bool,
}

fn rules(kind: &str) -> Option<Rules> {
    match kind {
        "Kustomization" => Some(Rules {
            types: &["Ready", "Reconciling", "Stalled", "Healthy"],
            is_reason: |reason| FRAME.contains(&reason) || OF_KUSTOMIZATIONS.contains(&reason),
        }),
        // HC-EVT-001
        "HelmRelease" => Some(Rules {
            types: &[
                "Ready",
                "Reconciling",
                "Stalled",
                "Released",
                "TestSuccess",
                "Remediated",
                "Drifted",
            ],
            is_reason: |reason| FRAME.contains(&reason) || OF_HELM_RELEASES.contains(&reason),
        }),
        "GitRepository" => Some(Rules {
            types: &[
                "Ready",
                "Reconciling",
                "Stalled",
                "ArtifactInStorage",
                "ArtifactOutdated",
                "FetchFailed",
                "IncludeUnavailable",
                "SourceVerified",
                "StorageOperationFailed",
            ],
            is_reason: |reason| GENERIC.contains(&reason) || OF_GIT_REPOSITORIES.contains(&reason),
        }),
        "OCIRepository" => Some(Rules {
            types: &[
                "Ready",
                "Reconciling",
                "Stalled",
                "ArtifactInStorage",
                "ArtifactOutdated",
                "FetchFailed",
                "SourceVerified",
                "StorageOperationFailed",
            ],
            is_reason: |reason| GENERIC.contains(&reason) || OF_OCI_REPOSITORIES.contains(&reason),
        }),
        "HelmRepository" => Some(Rules {
            types: &[
                "Ready",
                "Reconciling",
                "Stalled",
                "ArtifactInStorage",
                "ArtifactOutdated",
                "FetchFailed",
                "StorageOperationFailed",
            ],
            is_reason: |reason| GENERIC.contains(&reason) || OF_HELM_REPOSITORIES.contains(&reason),
        }),
        "HelmChart" => Some(Rules {
            types: &[
                "Ready",
                "Reconciling",
                "Stalled",
                "ArtifactInStorage",
                "ArtifactOutdated",
                "BuildFailed",
                "FetchFailed",
                "SourceVerified",
                "StorageOperationFailed",
            ],
            is_reason: |reason| GENERIC.contains(&reason) || OF_HELM_CHARTS.contains(&reason),
        }),
        "Bucket" => Some(Rules {
            types: &[
                "Ready",
                "Reconciling",
                "Stalled",
                "ArtifactInStorage",
                "ArtifactOutdated",
                "FetchFailed",
                "StorageOperationFailed",
            ],
            is_reason: |reason| GENERIC.contains(&reason) || OF_BUCKETS.contains(&reason),
        }),
        // NC-RECV-037
        "Receiver" => Some(Rules {
            types: &["Ready", "Reconciling", "Stalled"],
            is_reason: |reason| {
                reason == "Progressing" || FRAME.contains(&reason) || OF_RECEIVERS.contains(&reason)
            },
        }),
        // IA-STATUS-010 to IA-STATUS-021
        "ImageUpdateAutomation" => Some(Rules {
            types: &["Ready", "Reconciling", "Stalled"],
            is_reason: |reason| {
                reason == "Progressing"
                    || FRAME.contains(&reason)
                    || OF_IMAGE_UPDATE_AUTOMATIONS.contains(&reason)
            },
        }),
        // IR-REPO-007, IR-REPO-122: not those of earlier releases, nor all of upstream's documentation
        "ImageRepository" => Some(Rules {
            types: &["Ready", "Reconciling", "Stalled"],
            is_reason: |reason| {
                reason == "Progressing"
                    || FRAME.contains(&reason)
                    || OF_IMAGE_REPOSITORIES.contains(&reason)
            },
        }),
        "ImagePolicy" => Some(Rules {
            types: &["Ready", "Reconciling", "Stalled"],
            is_reason: |reason| {
                reason == "Progressing"
                    || FRAME.contains(&reason)
                    || OF_IMAGE_POLICIES.contains(&reason)
            },
        }),
        // SW-GEN-034, SW-GEN-035, SW-GEN-040, SW-GEN-050 to SW-GEN-061, SW-GEN-082, SW-GEN-083
        "ArtifactGenerator" => Some(Rules {
            types: &["Ready", "Reconciling", "Stalled"],
            is_reason: |reason| {
                reason == "Progressing"
                    || FRAME.contains(&reason)
                    || OF_ARTIFACT_GENERATORS.contains(&reason)
            },
        }),
        // SW-ART-055
        "ExternalArtifact" => Some(Rules {
            types: &["Ready"],
            is_reason: |reason| reason == "Succeeded",
        }),
        _ => None,
    }
}

/// What is wrong with the conditions of an object, if it is of a kind of ours. Reasons that are not ours but a test's
/// own, `ByHand` and `Test`, pass with any type.
pub(crate) fn unexpected(object: &Value) -> Option<String> {
    let Rules { types, is_reason } = rules(object["kind"].as_str()?)?;
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find_map(|condition| {
        let kind = condition["type"].as_str().unwrap_or_default();
        let reason = condition["reason"].as_str().unwrap_or_default();
        let known = is_reason(reason) || matches!(reason, "ByHand" | "Test");
        let named = types.contains(&kind) || matches!(reason, "ByHand" | "Test");
        (!known || !named).then(|| format!("no controller of upstream's sets {kind}: {reason}"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::cache;

    /// The reasons that only events have.
    const OF_EVENTS: [&str; 19] = [
        "Adopted",
        "ArtifactUpToDate",
        "ArtifactVerificationFailed",
        "CacheOperationFailed",
        "DriftCorrected",
        "DriftCorrectionFailed",
        "GarbageCollectionFailed",
        "GarbageCollectionSucceeded",
        "GitOperationSucceeded",
        "HelmChartConfigured",
        "HelmChartCreated",
        "HelmChartDeleted",
        "HelmChartSyncErr",
        "InventoryBuildFailed",
        "NamespaceCheckSkipped",
        "NewArtifact",
        "Ready",
        "ResolvedDependencies",
        "SymlinkUpdateFailed",
    ];

    /// The list of each folder of a kind that declares reasons.
    const LISTS: &[(&str, &[&str])] = &[
        ("helm-controller/src/helm_release", &OF_HELM_RELEASES),
        ("kustomize-controller/src/kustomization", &OF_KUSTOMIZATIONS),
        ("source-controller/src/git_repository", &OF_GIT_REPOSITORIES),
        ("source-controller/src/oci_repository", &OF_OCI_REPOSITORIES),
        (
            "source-controller/src/helm_repository",
            &OF_HELM_REPOSITORIES,
        ),
        ("source-controller/src/helm_chart", &OF_HELM_CHARTS),
        ("source-controller/src/bucket", &OF_BUCKETS),
        ("notification-controller/src/receiver", &OF_RECEIVERS),
        (
            "image-automation-controller/src/image_update_automation",
            &OF_IMAGE_UPDATE_AUTOMATIONS,
        ),
        (
            "image-reflector-controller/src/image_repository",
            &OF_IMAGE_REPOSITORIES,
        ),
        (
            "image-reflector-controller/src/image_policy",
            &OF_IMAGE_POLICIES,
        ),
        (
            "source-watcher/src/artifact_generator",
            &OF_ARTIFACT_GENERATORS,
        ),
    ];

    /// The words of an enum that `reasons!` declares: each is a line of its own.
    fn declared(file: &Path) -> BTreeSet<String> {
        let text = fs::read_to_string(file).unwrap_or_default();
        let words = text
            .lines()
            .filter_map(|line| line.trim().strip_suffix(','));
        words
            .filter(|word| word.bytes().all(|b| b.is_ascii_alphabetic()))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_listed_reasons_are_those_that_each_kind_declares() {
        let root = cache::workspace();
        let mut kinds = BTreeMap::new();
        for controller in fs::read_dir(&root).unwrap() {
            let sources = controller.unwrap().path().join("src");
            for kind in fs::read_dir(sources).into_iter().flatten() {
                let kind = kind.unwrap().path();
                let words = declared(&kind.join("reason.rs"));
                if !words.is_empty() {
                    let name = kind.strip_prefix(&root).unwrap().to_string_lossy();
                    kinds.insert(name.into_owned(), words);
                }
            }
        }
        let shared = declared(&root.join("shared/publish/src/reason.rs"));
        assert!(shared.len() > 3, "{shared:?}");
        for (name, words) in kinds {
            let list = LISTS.iter().find(|(folder, _)| *folder == name);
            let list = list.unwrap_or_else(|| panic!("{name} has no list here")).1;
            let own: BTreeSet<&str> = words.iter().map(String::as_str).collect();
            if name.starts_with("kustomize-controller") {
                // KC-PROC-070
                assert_eq!(own, list.iter().copied().collect());
            }
            let is_declared = |word: &&&str| own.contains(**word) || shared.contains(**word);
            let undeclared: Vec<_> = list.iter().filter(|word| !is_declared(word)).collect();
            assert!(undeclared.is_empty(), "{name} lacks {undeclared:?}");
            // RT-CON-014
            let is_listed = |word: &str| {
                list.contains(&word) || GENERIC.contains(&word) || OF_EVENTS.contains(&word)
            };
            let unlisted: Vec<_> = own.into_iter().filter(|word| !is_listed(word)).collect();
            assert!(unlisted.is_empty(), "{name}: {unlisted:?}");
        }
    }
}
