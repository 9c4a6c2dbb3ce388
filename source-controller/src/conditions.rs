//! The conditions of sources and how they sum up to Ready.

use flux_runtime::conditions::{ConditionType, Polarity, Summary};

/// An artifact is in the storage.
pub(crate) const ARTIFACT_IN_STORAGE: ConditionType = ConditionType::new("ArtifactInStorage");
/// The artifact is not what the source holds now.
pub(crate) const ARTIFACT_OUTDATED: ConditionType = ConditionType::new("ArtifactOutdated");
/// The source could not be fetched.
pub(crate) const FETCH_FAILED: ConditionType = ConditionType::new("FetchFailed");
/// A repository to be included is not there, or has no artifact.
pub(crate) const INCLUDE_UNAVAILABLE: ConditionType = ConditionType::new("IncludeUnavailable");
/// The source's signature was checked.
pub(crate) const SOURCE_VERIFIED: ConditionType = ConditionType::new("SourceVerified");
/// The storage failed.
pub(crate) const STORAGE_OPERATION_FAILED: ConditionType =
    ConditionType::new("StorageOperationFailed");

/// Those that a GitRepository owns besides the frame's (SC-PROC-063).
pub(crate) const GIT_OWNED: &[ConditionType] = &[
    STORAGE_OPERATION_FAILED,
    FETCH_FAILED,
    INCLUDE_UNAVAILABLE,
    ARTIFACT_OUTDATED,
    ARTIFACT_IN_STORAGE,
    SOURCE_VERIFIED,
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
    ],
    bipolar: Some(SOURCE_VERIFIED),
};

/// Those of a GitRepository whose going is a recovery (SC-PROC-086).
pub(crate) const GIT_FAILURES: &[ConditionType] =
    &[FETCH_FAILED, INCLUDE_UNAVAILABLE, STORAGE_OPERATION_FAILED];
