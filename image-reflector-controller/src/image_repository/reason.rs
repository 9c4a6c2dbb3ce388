//! The reasons of conditions and events of an ImageRepository.

flux_runtime::reasons! {
    /// Why a condition of an ImageRepository has its status, or what an event of it is about.
    pub(super) enum RepositoryReason {
        /// Credentials are missing or unusable.
        AuthenticationFailed,
        /// The store, or a task of this process, failed.
        Failure,
        /// The name of the image cannot be used.
        ImageURLInvalid,
        /// The tags could not be listed or stored.
        ReadOperationFailed,
        /// The run succeeded.
        Succeeded,
    }
}
