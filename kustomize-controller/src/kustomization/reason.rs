//! The reasons of a Kustomization's conditions and events.

flux_runtime::reasons! {
    /// Why a condition of a Kustomization has its status, or what an event of it is about (KC-PROC-070).
    pub(super) enum KustomizationReason {
        /// A reference to another namespace, or to an ExternalArtifact, that is not allowed.
        AccessDenied,
        /// The source has no artifact, or it could not be fetched.
        ArtifactFailed,
        /// The manifests could not be built.
        BuildFailed,
        /// A dependency is not ready.
        DependencyNotReady,
        /// There is no folder to work in. Upstream's controller sets it; an object that it left so may still have it.
        DirectoryCreationFailed,
        /// A field that needs a feature gate in 2.9, whose controller may have left it.
        FeatureGateDisabled,
        /// A newer trigger ended the health checks.
        HealthCheckCanceled,
        /// What was applied did not become healthy.
        HealthCheckFailed,
        /// An expression cannot be compiled.
        InvalidCELExpression,
        /// Work is under way.
        Progressing,
        /// What is no longer wanted could not be deleted.
        PruneFailed,
        /// The objects could not be applied.
        ReconciliationFailed,
        /// Everything is applied, and healthy where that was asked for.
        ReconciliationSucceeded,
        /// The health checks passed.
        Succeeded,
}
}
