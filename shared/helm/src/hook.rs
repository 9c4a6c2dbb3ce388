//! Hooks of a release: events, deletion policies, how the last run went.

use serde::{Deserialize, Serialize};

use crate::Time;

/// A manifest that runs at certain moments instead of being part of the release (HE-REL-008).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// `metadata.name`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `kind`
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The template it came from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The document.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    /// When it runs; one listed twice runs twice.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub events: Vec<HookEvent>,
    /// How it ran last.
    pub last_run: HookExecution,
    /// Lower ones run first.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: i64,
    /// When its object is deleted: `before-hook-creation`, `hook-succeeded`, `hook-failed`; other words as written.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub delete_policies: Vec<String>,
    /// When its logs are put out: `hook-succeeded`, `hook-failed`; other words as written.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub output_log_policies: Vec<String>,
}

/// A moment in the life of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookEvent {
    /// Before anything is created.
    PreInstall,
    /// After all is ready.
    PostInstall,
    /// Before anything is deleted.
    PreDelete,
    /// After all is gone.
    PostDelete,
    /// Before anything is changed.
    PreUpgrade,
    /// After all is ready.
    PostUpgrade,
    /// Before anything is changed back.
    PreRollback,
    /// After all is ready.
    PostRollback,
    /// When a test is asked for.
    Test,
}

impl HookEvent {
    /// The word in annotations and records.
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

    /// The event that a word of the annotation names, if any (HE-HOOK-001).
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

/// How a hook ran last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HookExecution {
    /// When it began.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub started_at: Time,
    /// When it ended.
    #[serde(skip_serializing_if = "Time::is_zero")]
    pub completed_at: Time,
    /// How.
    pub phase: HookPhase,
}

/// How far a hook came (HE-HOOK-017).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookPhase {
    /// It never ran.
    #[default]
    #[serde(rename = "")]
    None,
    /// Nobody knows.
    Unknown,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended badly.
    Failed,
}

/// The hooks that run at `event`, in their order: by weight, then name, then as they are stored (HE-HOOK-004, HE-HOOK-005).
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

// serde asks for a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// `null` as the default, as Go reads it.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
