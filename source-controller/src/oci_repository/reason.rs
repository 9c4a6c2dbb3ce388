//! The reasons of conditions and events of an OCIRepository.

flux_runtime::reasons! {
    /// Why a condition of an OCIRepository has its status, or what an event of it is about (SC-PROC-062).
    pub(super) enum OCIReason {
        /// The archive could not be stored.
        ArchiveOperationFailed,
        /// Credentials are missing or unusable.
        AuthenticationFailed,
        /// A folder could not be created.
        DirectoryCreationFailed,
        /// The storage, or a task of this process, failed.
        Failed,
        /// Artifacts of the deleted object could not be removed.
        GarbageCollectionFailed,
        /// The layer could not be selected or unpacked.
        OCIArtifactLayerOperationFailed,
        /// The digest could not be determined, or the artifact not be pulled.
        OCIArtifactPullFailed,
        /// The tags could not be listed, or none of them matches.
        ReadOperationFailed,
        /// The ignore rules of the layer could not be read.
        SourceIgnoreError,
        /// The run succeeded.
        Succeeded,
        /// The URL cannot be used.
        URLInvalid,
        /// A signature is missing or not valid.
        VerificationError,
    }
}
