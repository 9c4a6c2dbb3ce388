//! How an action waits for objects.

/// How an action waits for objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStrategy {
    /// By watching, until all have the status that kstatus calls current.
    Watcher,
    /// By asking again and again, as Helm 3 did.
    Legacy,
    /// For hooks only.
    HookOnly,
}

/// There is no such strategy. The text is Helm's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitStrategyError {
    /// None is named.
    #[error("wait strategy not set. Choose one of: watcher, hookOnly, legacy")]
    Missing,
    /// An unknown one is named.
    #[error("unknown wait strategy (s{0}). Valid values are: watcher, hookOnly, legacy")]
    Unknown(String),
}

impl WaitStrategy {
    /// The strategy of a name (HE-KUBE-021).
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<Self, WaitStrategyError> {
        match name {
            "watcher" => Ok(Self::Watcher),
            "legacy" => Ok(Self::Legacy),
            "hookOnly" => Ok(Self::HookOnly),
            "" => Err(WaitStrategyError::Missing),
            other => Err(WaitStrategyError::Unknown(other.to_owned())),
        }
    }
}
