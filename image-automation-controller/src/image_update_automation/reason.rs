//! The reasons of conditions and events of an ImageUpdateAutomation.

flux_runtime::reasons! {
    /// Why a condition of an ImageUpdateAutomation has its status, or what an event of it is about.
    pub(super) enum AutomationReason {
        /// The source is in another namespace, and such references are blocked.
        AccessDenied,
        /// A step failed for a reason of this process.
        Failed,
        /// The repository could not be read or written.
        GitOperationFailed,
        /// The policy selector is not valid.
        InvalidPolicySelector,
        /// The source, or what is to be pushed to it, is not valid.
        InvalidSourceConfiguration,
        /// The update strategy is not known.
        InvalidUpdateStrategy,
        /// The commit message uses a field that is gone.
        RemovedTemplateField,
        /// The source could not be configured.
        SourceManagerFailed,
        /// The run succeeded.
        Succeeded,
        /// The images could not be written into the files.
        UpdateFailed,
    }
}
