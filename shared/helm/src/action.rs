//! The steps of installing, upgrading, rolling back, uninstalling and testing a release, without access to a cluster.
//!
//! An action is checked against the [`History`] of its release, then started. The [`Action`] returns one [`Step`] after the
//! other for its caller to perform: which record to write with which status, when hooks run, when objects are applied, and
//! what happens after a step fails. The objects themselves are decided on separately: [`objects`] parses a manifest,
//! [`Owner`] stamps objects and checks their ownership, [`plan`] and [`deletion`] compute which objects are created,
//! updated, pruned and deleted.
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
pub use error::{ActionError, Failed};
use flux_yaml::Map;
pub use history::History;
pub use install::{Install, InstallOptions};
pub use method::{ApplyMethod, ApplyMethodChoice, ApplySettings};
pub use name::{MAX_NAME_BYTES, NameError, check_name, shorten_name};
pub use objects::{DecodeError, Documents, Identity, Object, ObjectError, Scope, objects};
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

/// The result of a render that goes into a release.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The chart as stored in the record.
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
    /// The result of rendering `chart` with the user's values `config`.
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

/// Refuses labels that Helm reserves for itself.
fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ActionError> {
    if SYSTEM_LABELS.iter().any(|own| labels.contains_key(*own)) {
        return Err(ActionError::SystemLabels);
    }
    Ok(())
}
