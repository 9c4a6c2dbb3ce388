//! The reasons of conditions and events of a Bucket.

flux_runtime::reasons! {
    /// Why a condition of a Bucket has its status, or what an event of it is about (SC-PROC-062).
    pub(super) enum BucketReason {
        /// The archive could not be stored.
        ArchiveOperationFailed,
        /// Credentials are missing or unusable, or the settings of the client are.
        AuthenticationFailed,
        /// The bucket is missing, or could not be listed or read.
        BucketOperationFailed,
        /// A folder could not be created.
        DirectoryCreationFailed,
        /// The storage, or a task of this process, failed.
        Failed,
        /// Artifacts of the deleted object could not be removed.
        GarbageCollectionFailed,
        /// The token service is not one of this provider.
        InvalidSTSConfiguration,
        /// The address of the token service cannot be used.
        URLInvalid,
    }
}
