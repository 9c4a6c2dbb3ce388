//! The reasons that all source kinds have in common.

flux_runtime::reasons! {
    /// Why a condition of a source has its status, or what an event of it is about, in the steps that all source kinds share
    /// (SC-PROC-062). A kind has an enum of its own for the rest.
    pub enum SourceReason {
        /// The stored artifact is that of the current revision.
        ArtifactUpToDate,
        /// The stored artifact is damaged, or the status names that of another object.
        ArtifactVerificationFailed,
        /// Artifacts were removed.
        GarbageCollectionSucceeded,
        /// An artifact with new content was stored.
        NewArtifact,
        /// The source's revision differs from that of the artifact.
        NewRevision,
        /// The run succeeded.
        Succeeded,
        /// The link to the newest artifact could not be updated.
        SymlinkUpdateFailed,
    }
}
