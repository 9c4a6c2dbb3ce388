//! The reasons of conditions and events of a Receiver.

flux_runtime::reasons! {
    /// Why a condition of a Receiver has its status, or what an event of it is about.
    pub(super) enum ReceiverReason {
        /// A reconcile failed.
        Failed,
        /// An expression does not compile.
        InvalidCELExpression,
        /// The run succeeded.
        Succeeded,
        /// The Secret cannot be read, or has no token.
        TokenNotFound,
        /// The spec contradicts itself.
        ValidationFailed,
    }
}
