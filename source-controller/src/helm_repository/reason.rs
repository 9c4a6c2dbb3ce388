//! The reasons of conditions and events of a HelmRepository.

flux_runtime::reasons! {
    /// Why a condition of a HelmRepository has its status, or what an event of it is about (SC-PROC-062).
    pub(super) enum HelmReason {
        /// The index could not be stored.
        ArchiveOperationFailed,
        /// Credentials are missing or unusable.
        AuthenticationFailed,
        /// The cache of indexes has no room.
        CacheOperationFailed,
        /// A folder could not be created.
        DirectoryCreationFailed,
        /// The index could not be fetched, or the storage, or a task of this process, failed.
        Failed,
        /// Artifacts of the deleted object could not be removed.
        GarbageCollectionFailed,
        /// The index could not be read.
        IndexationFailed,
        /// The URL cannot be used.
        URLInvalid,
    }
}
