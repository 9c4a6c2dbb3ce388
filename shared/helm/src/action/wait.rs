//! Strategies for waiting for objects.

/// How an action waits for objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStrategy {
    /// Watches objects until all are `Current` according to kstatus.
    Watcher,
    /// Polls objects, as Helm 3 did.
    Legacy,
    /// Waits for hooks only.
    HookOnly,
}

/// The strategy is missing or unknown. The text is Helm's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitStrategyError {
    /// No strategy is given.
    #[error("wait strategy not set. Choose one of: watcher, hookOnly, legacy")]
    Missing,
    /// The strategy is unknown.
    #[error("unknown wait strategy (s{0}). Valid values are: watcher, hookOnly, legacy")]
    Unknown(String),
}

impl WaitStrategy {
    /// Parses the name of a strategy (HE-KUBE-021).
    ///
    /// # Errors
    /// The name is empty or unknown.
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
