//! Checks every condition set by our controllers, in every state that a test sees.

use serde_json::Value;

/// The reasons common to all kinds (RT-CON-014). Those of Kustomizations are among them (KC-PROC-070).
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

/// The additional reasons of GitRepositories.
const OF_SOURCES: [&str; 20] = [
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
    "StatOperationFailed",
    "URLInvalid",
    "VerificationError",
];

/// The condition types of a kind (RT-CON-015), and their permitted reasons.
fn rules(kind: &str) -> Option<(&'static [&'static str], &'static [&'static str])> {
    match kind {
        "Kustomization" => Some((&["Ready", "Reconciling", "Stalled", "Healthy"], &[])),
        "GitRepository" => Some((
            &[
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
            &OF_SOURCES,
        )),
        _ => None,
    }
}

/// Why a condition of an object of our kinds is not permitted, if one is not. The reasons `ByHand` and `Test`, which
/// tests set themselves, are permitted for any type.
pub(crate) fn unexpected(object: &Value) -> Option<String> {
    let (types, reasons) = rules(object["kind"].as_str()?)?;
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find_map(|condition| {
        let kind = condition["type"].as_str().unwrap_or_default();
        let reason = condition["reason"].as_str().unwrap_or_default();
        let known = GENERIC.contains(&reason)
            || reasons.contains(&reason)
            || matches!(reason, "ByHand" | "Test");
        let named = types.contains(&kind) || matches!(reason, "ByHand" | "Test");
        (!known || !named).then(|| format!("no controller of upstream's sets {kind}: {reason}"))
    })
}
