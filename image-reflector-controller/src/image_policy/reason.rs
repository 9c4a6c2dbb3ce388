//! The reasons of conditions and events of an ImagePolicy.

flux_runtime::reasons! {
    /// Why a condition of an ImagePolicy has its status, or what an event of it is about.
    pub(super) enum PolicyReason {
        /// The ImageRepository may not be referred to.
        AccessDenied,
        /// There is no such ImageRepository, or it has no tags yet.
        DependencyNotReady,
        /// The digest of the selected tag is unknown.
        Failed,
        /// No tag is selected.
        Failure,
        /// The ImageRepository names no image.
        ImageURLInvalid,
        /// The digest is wanted at every interval, and there is no interval.
        IntervalNotConfigured,
        /// The policy or the filter is invalid.
        InvalidPolicy,
        /// The run succeeded.
        Succeeded,
    }
}
