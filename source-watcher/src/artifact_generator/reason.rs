//! The reasons of an ArtifactGenerator's conditions and events.

flux_runtime::reasons! {
    /// Why a condition of an ArtifactGenerator has its status, or what an event of it is about.
    pub(super) enum GeneratorReason {
        /// A source or an artifact in another namespace that is not allowed.
        AccessDenied,
        /// A namespace that existed without an owner is managed from here on.
        Adopted,
        /// An artifact could not be composed.
        BuildFailed,
        /// The API server could not be asked.
        Failed,
        /// An ExternalArtifact or Namespace belongs to another generator.
        OwnershipConflict,
        /// Artifacts are up to date, or were published.
        Ready,
        /// An object could not be applied.
        ReconciliationFailed,
        /// The object is suspended by its annotation.
        ReconciliationDisabled,
        /// A source is missing, has no artifact, or could not be downloaded.
        SourceFetchFailed,
        /// Every artifact is published.
        Succeeded,
        /// The spec contradicts itself.
        ValidationFailed,
    }
}
