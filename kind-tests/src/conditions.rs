//! Checks every condition set by our controllers, in every state that a test sees.

use serde_json::Value;

/// The reasons that the frame itself gives, whatever the kind.
const FRAME: [&str; 2] = ["Failed", "ProgressingWithRetry"];

/// The reasons that all kinds may share (RT-CON-014).
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

/// The additional reasons of GitRepositories and OCIRepositories.
const OF_SOURCES: [&str; 23] = [
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
    "OCIArtifactLayerOperationFailed",
    "OCIArtifactPullFailed",
    "ReadOperationFailed",
    "SourceIgnoreError",
    "StatOperationFailed",
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

/// The reasons of Receivers.
const OF_RECEIVERS: [&str; 5] = [
    "InvalidCELExpression",
    "Progressing",
    "Succeeded",
    "TokenNotFound",
    "ValidationFailed",
];

/// What the conditions of a kind may say.
struct Rules {
    /// Their types (RT-CON-015).
    types: &'static [&'static str],
    /// Their reasons.
    is_reason: fn(&str) -> bool,
}

fn rules(kind: &str) -> Option<Rules> {
    match kind {
        // KC-PROC-070
        "Kustomization" => Some(Rules {
            types: &["Ready", "Reconciling", "Stalled", "Healthy"],
            is_reason: |reason| FRAME.contains(&reason) || OF_KUSTOMIZATIONS.contains(&reason),
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
            is_reason: |reason| GENERIC.contains(&reason) || OF_SOURCES.contains(&reason),
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
            is_reason: |reason| GENERIC.contains(&reason) || OF_SOURCES.contains(&reason),
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
        // NC-RECV-037
        "Receiver" => Some(Rules {
            types: &["Ready", "Reconciling", "Stalled"],
            is_reason: |reason| FRAME.contains(&reason) || OF_RECEIVERS.contains(&reason),
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
