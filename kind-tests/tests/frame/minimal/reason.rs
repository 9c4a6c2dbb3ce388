//! The reasons of conditions and events of a Bucket.

flux_runtime::reasons! {
    /// Why a condition of a Bucket has its status, or what an event of it is about.
    pub(crate) enum BucketReason {
        /// The credentials are missing or incomplete.
        AuthenticationFailed,
        /// The API server could not be asked.
        Failed,
        /// The endpoint cannot be used.
        InvalidURL,
        /// Other credentials than before are used.
        NewCredentials,
        /// The run succeeded.
        Succeeded,
    }
}
