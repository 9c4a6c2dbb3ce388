//! The reasons of a HelmRelease's conditions and events.

flux_runtime::reasons! {
    /// Why a condition of a HelmRelease has its status, or what an event of it is about (HC-EVT-002 to HC-EVT-004).
    pub(super) enum HelmReleaseReason {
        /// A reference to another namespace, or to an ExternalArtifact, that is not allowed.
        AccessDenied,
        /// The source or its artifact cannot be used.
        ArtifactFailed,
        /// The release was made, its tests have not run.
        AwaitingTests,
        /// The chart's version does not agree with the revision of its source.
        ChartMutateError,
        /// The storage of the release that is to be uninstalled cannot be used.
        ConfigFactoryErr,
        /// A dependency is not ready.
        DependencyNotReady,
        /// Changes on the cluster were corrected.
        DriftCorrected,
        /// Changes on the cluster could not be corrected, or not all of them.
        DriftCorrectionFailed,
        /// The cluster's state differs from the release's.
        DriftDetected,
        /// The storage of the release cannot be used.
        FactoryError,
        /// A newer trigger ended the wait for the release's objects.
        HealthCheckCanceled,
        /// The object that fetches the chart was changed.
        HelmChartConfigured,
        /// The object that fetches the chart was created.
        HelmChartCreated,
        /// The object that fetches the chart was deleted.
        HelmChartDeleted,
        /// The object that fetches the chart could not be written.
        HelmChartSyncErr,
        /// The release could not be installed.
        InstallFailed,
        /// The release was installed.
        InstallSucceeded,
        /// An expression cannot be compiled.
        InvalidCELExpression,
        /// The list of the release's objects could not be made.
        InventoryBuildFailed,
        /// There is no release to roll back to.
        MissingRollbackTarget,
        /// Whether a kind is namespaced could not be found out.
        NamespaceCheckSkipped,
        /// The cluster's state is the release's.
        NoDriftDetected,
        /// A release that an interrupted action left pending.
        PendingRelease,
        /// Work is under way.
        Progressing,
        /// The cluster to release to cannot be reached with the given credentials.
        RESTClientError,
        /// An action failed before it changed anything.
        ReconcileError,
        /// There is no client for the wait for objects.
        ResourceManagerError,
        /// The attempts are used up.
        RetriesExceeded,
        /// The release could not be rolled back.
        RollbackFailed,
        /// The release was rolled back.
        RollbackSucceeded,
        /// The source is not ready.
        SourceNotReady,
        /// The state of the release could not be found out.
        StateError,
        /// A test failed.
        TestFailed,
        /// The tests passed.
        TestSucceeded,
        /// The release could not be uninstalled.
        UninstallFailed,
        /// The release was uninstalled.
        UninstallSucceeded,
        /// The release could not be upgraded.
        UpgradeFailed,
        /// The release was upgraded.
        UpgradeSucceeded,
        /// The values could not be put together.
        ValuesError,
    }
}

#[cfg(test)]
mod tests {
    use flux_runtime::reason::Reason as _;

    use super::super::SETTINGS;
    use super::HelmReleaseReason as R;

    #[test]
    fn words_match_upstream() {
        // HC-EVT-001: with the frame's Ready, Reconciling and Stalled
        let kinds = SETTINGS.conditions.iter().map(|kind| kind.as_str());
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            ["Released", "Remediated", "TestSuccess", "Drifted"]
        );
        let words = |reasons: &[R]| -> Vec<&str> { reasons.iter().map(R::as_str).collect() };
        // HC-EVT-002
        assert_eq!(
            words(&[
                R::InstallSucceeded,
                R::InstallFailed,
                R::UpgradeSucceeded,
                R::UpgradeFailed,
                R::UninstallSucceeded,
                R::UninstallFailed,
                R::PendingRelease,
            ]),
            [
                "InstallSucceeded",
                "InstallFailed",
                "UpgradeSucceeded",
                "UpgradeFailed",
                "UninstallSucceeded",
                "UninstallFailed",
                "PendingRelease",
            ]
        );
        // HC-EVT-003, HC-EVT-004
        assert_eq!(
            words(&[
                R::DependencyNotReady,
                R::SourceNotReady,
                R::ArtifactFailed,
                R::AccessDenied,
                R::ValuesError,
                R::ChartMutateError,
                R::RESTClientError,
                R::StateError,
                R::ReconcileError,
                R::HealthCheckCanceled,
                R::InvalidCELExpression,
                R::RetriesExceeded,
                R::MissingRollbackTarget,
                R::Progressing,
            ]),
            [
                "DependencyNotReady",
                "SourceNotReady",
                "ArtifactFailed",
                "AccessDenied",
                "ValuesError",
                "ChartMutateError",
                "RESTClientError",
                "StateError",
                "ReconcileError",
                "HealthCheckCanceled",
                "InvalidCELExpression",
                "RetriesExceeded",
                "MissingRollbackTarget",
                "Progressing",
            ]
        );
    }
}
