//! The conditions of sources and how they sum up to Ready.

use flux_runtime::conditions::{Polarity, READY, RECONCILING, STALLED, Summary};

/// An artifact is in the storage.
pub(crate) const ARTIFACT_IN_STORAGE: &str = "ArtifactInStorage";
/// The artifact is not what the source holds now.
pub(crate) const ARTIFACT_OUTDATED: &str = "ArtifactOutdated";
/// The source could not be fetched.
pub(crate) const FETCH_FAILED: &str = "FetchFailed";
/// A repository to be included is not there, or has no artifact.
pub(crate) const INCLUDE_UNAVAILABLE: &str = "IncludeUnavailable";
/// The source's signature was checked.
pub(crate) const SOURCE_VERIFIED: &str = "SourceVerified";
/// The storage failed.
pub(crate) const STORAGE_OPERATION_FAILED: &str = "StorageOperationFailed";

/// Those of a GitRepository that are the controller's (SC-PROC-063).
pub(crate) const GIT_OWNED: &[&str] = &[
    STORAGE_OPERATION_FAILED,
    FETCH_FAILED,
    INCLUDE_UNAVAILABLE,
    ARTIFACT_OUTDATED,
    ARTIFACT_IN_STORAGE,
    SOURCE_VERIFIED,
    READY,
    RECONCILING,
    STALLED,
];

/// How they sum up (SC-PROC-062 to SC-PROC-064).
pub(crate) const GIT_SUMMARY: Summary = Summary {
    types: &[
        (STORAGE_OPERATION_FAILED, Polarity::Negative),
        (FETCH_FAILED, Polarity::Negative),
        (INCLUDE_UNAVAILABLE, Polarity::Negative),
        (ARTIFACT_OUTDATED, Polarity::Negative),
        (ARTIFACT_IN_STORAGE, Polarity::Positive),
        (SOURCE_VERIFIED, Polarity::Positive),
        (STALLED, Polarity::Negative),
        (RECONCILING, Polarity::Negative),
    ],
    bipolar: Some(SOURCE_VERIFIED),
};

/// Those of a GitRepository whose going is a recovery (SC-PROC-086).
pub(crate) const GIT_FAILURES: &[&str] =
    &[FETCH_FAILED, INCLUDE_UNAVAILABLE, STORAGE_OPERATION_FAILED];
