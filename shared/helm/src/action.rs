//! What installing, upgrading, rolling back, uninstalling and testing a release consist of, without a cluster.
//!
//! An action is checked against the [`History`] of its release, then begun; the [`Action`] says step by step what to do
//! ([`Step`]): which record to write in which state, when hooks run, when objects are applied, and what follows when a step
//! fails. What is applied is decided beside it: [`objects`] reads a manifest, [`Owner`] stamps and checks whose an
//! object is, [`plan`] and [`deletion`] say which objects are created, updated, pruned and deleted.
//!
//! | upstream rows | where |
//! |---|---|
//! | names (HE-ACT-002, HE-ACT-003) | [`check_name`], [`Install::check`] |
//! | which record is the base, which records go (HE-ACT-014, HE-ACT-015, HE-REL-015) | [`History`] |
//! | ownership (HE-ACT-007..009) | [`Owner`] |
//! | objects of a manifest (HE-KUBE-002, HE-KUBE-003) | [`objects`], [`target_objects`] |
//! | created, updated, pruned (HE-KUBE-007, HE-KUBE-008, HE-KUBE-016, HE-KUBE-017) | [`plan`] |
//! | deleted and kept (HE-ACT-031) | [`deletion`] |
//! | patches without server-side apply (HE-KUBE-009, HE-KUBE-010) | [`crate::patch`] |
//! | apply method and its settings (HE-ACT-024, HE-ACT-028, HE-KUBE-013, HE-KUBE-015) | [`Action::apply_settings`] |

mod course;
mod deletion;
mod error;
mod history;
mod install;
mod method;
mod name;
mod objects;
mod ownership;
mod plan;
mod rollback;
mod step;
mod test;
mod uninstall;
mod upgrade;
mod wait;

use std::collections::BTreeMap;

pub use course::Action;
pub use deletion::{Deletion, Kept, deletion};
pub use error::ActionError;
use flux_yaml::Map;
pub use history::History;
pub use install::{Install, InstallOptions};
pub use method::{ApplyMethod, ApplyMethodChoice, ApplySettings};
pub use name::{MAX_NAME_BYTES, NameError, check_name};
pub use objects::{Documents, Identity, Object, ObjectError, Scope, objects};
pub use ownership::{
    MANAGED_BY, NotOwned, Owner, RELEASE_NAME, RELEASE_NAMESPACE, ResourcePolicy, target_objects,
};
pub use plan::{Plan, Update, plan, unclaimed};
pub use rollback::{Rollback, RollbackOptions};
pub use step::{HookStep, Step};
pub use test::{Test, TestOptions};
pub use uninstall::{Uninstall, UninstallOptions};
pub use upgrade::{Upgrade, UpgradeOptions};
pub use wait::{WaitStrategy, WaitStrategyError};

use crate::{Chart, Hook, Info, Release, ReleaseChart, Rendered, SYSTEM_LABELS};

/// What a render contributes to a release.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The chart as the record keeps it.
    pub chart: Option<ReleaseChart>,
    /// The user's values.
    pub config: Map,
    /// The rendered manifests.
    pub manifest: String,
    /// The rendered hooks.
    pub hooks: Vec<Hook>,
    /// The rendered NOTES.txt.
    pub notes: String,
}

impl Draft {
    /// What a render of `chart` with `config` gave.
    pub fn new(chart: &Chart, config: Map, rendered: Rendered) -> Self {
        Self {
            chart: Some(ReleaseChart::new(chart, &rendered)),
            manifest: rendered.manifest(false),
            config,
            hooks: rendered.hooks,
            notes: rendered.notes,
        }
    }

    fn into_release(self, name: String, namespace: String, info: Info) -> Release {
        Release {
            name,
            namespace,
            info: Some(Info {
                notes: self.notes,
                ..info
            }),
            chart: self.chart,
            config: self.config,
            manifest: self.manifest,
            hooks: self.hooks,
            ..Release::default()
        }
    }
}

/// Labels of a record that are Helm's own may not be set.
fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ActionError> {
    if SYSTEM_LABELS.iter().any(|own| labels.contains_key(*own)) {
        return Err(ActionError::SystemLabels);
    }
    Ok(())
}
