//! Hooks of a release: events, deletion policies, result of the last run.

use serde::{Deserialize, Serialize};

use crate::Time;

/// A manifest that is applied at certain events instead of being part of the release (HE-REL-008).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// `metadata.name`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `kind`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The path of its template.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The document.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// The events at which it runs; one that is listed twice runs it twice.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub events: Vec<HookEvent>,
    /// The last run.
    pub last_run: HookExecution,
    /// The order of execution: lower weights run first.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: i64,
    /// When its object is deleted: `before-hook-creation`, `hook-succeeded`, `hook-failed`; other words are kept as
    /// written.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub delete_policies: Vec<String>,
    /// When its logs are written: `hook-succeeded`, `hook-failed`; other words are kept as written.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub output_log_policies: Vec<String>,
}

/// An event in the life of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// Before objects are created.
    PreInstall,
    /// After all objects are ready.
    PostInstall,
    /// Before objects are deleted.
    PreDelete,
    /// After all objects are deleted.
    PostDelete,
    /// Before objects are updated.
    PreUpgrade,
    /// After all objects are ready.
    PostUpgrade,
    /// Before objects are rolled back.
    PreRollback,
    /// After all objects are ready.
    PostRollback,
    /// When tests are requested.
    Test,
}

impl HookEvent {
    /// The name in annotations and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreInstall => "pre-install",
            Self::PostInstall => "post-install",
            Self::PreDelete => "pre-delete",
            Self::PostDelete => "post-delete",
            Self::PreUpgrade => "pre-upgrade",
            Self::PostUpgrade => "post-upgrade",
            Self::PreRollback => "pre-rollback",
            Self::PostRollback => "post-rollback",
            Self::Test => "test",
        }
    }

    /// The event with this name in the annotation, if any (HE-HOOK-001).
    pub(crate) fn from_annotation(word: &str) -> Option<Self> {
        Some(match word {
            "pre-install" => Self::PreInstall,
            "post-install" => Self::PostInstall,
            "pre-delete" => Self::PreDelete,
            "post-delete" => Self::PostDelete,
            "pre-upgrade" => Self::PreUpgrade,
            "post-upgrade" => Self::PostUpgrade,
            "pre-rollback" => Self::PreRollback,
            "post-rollback" => Self::PostRollback,
            "test" | "test-success" => Self::Test,
            _ => return None,
        })
    }
}

/// The last run of a hook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookExecution {
    /// The start of the run.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub started_at: Time,
    /// The end of the run.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub completed_at: Time,
    /// The state or result of the run.
    pub phase: HookPhase,
}

/// The phase of a hook (HE-HOOK-017).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookPhase {
    /// It never ran.
    #[default]
    #[serde(rename = "")]
    None,
    /// The phase is unknown.
    Unknown,
    /// It is running.
    Running,
    /// It succeeded.
    Succeeded,
    /// It failed.
    Failed,
}

/// The indexes of the hooks that run at `event`, in order: by weight, then name, then order of storage (HE-HOOK-004,
/// HE-HOOK-005).
pub fn executing(hooks: &[Hook], event: HookEvent) -> Vec<usize> {
    let mut order: Vec<usize> = hooks
        .iter()
        .enumerate()
        .flat_map(|(i, hook)| {
            let times = hook.events.iter().filter(|e| **e == event).count();
            std::iter::repeat_n(i, times)
        })
        .collect();
    order.sort_by_key(|i| hooks.get(*i).map(|hook| (hook.weight, &hook.name)));
    order
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Accepts `null` as the default, as Go does.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
