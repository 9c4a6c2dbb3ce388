//! Changes of other objects that start a run.

use std::collections::BTreeMap;

use flux_api::image::{ImagePolicy, ImageUpdateAutomation};
use flux_api::source::GitRepository;
use flux_references::{Index, ObjectRef, key_in};
use flux_runtime::controller::Enqueue;
use flux_runtime::queue::Key;
use flux_runtime::watch::{Cache, Change};
use kube::ResourceExt as _;

use crate::image_update_automation::policy_selector;

/// The repository that an automation writes to: a change of it concerns the automation (IA-STATUS-002).
pub(crate) fn references(automation: &ImageUpdateAutomation) -> Vec<ObjectRef> {
    let own = automation.namespace().unwrap_or_default();
    let source = &automation.spec.source_ref;
    let key = key_in(source.namespace.as_deref(), &own, &source.name);
    vec![ObjectRef::new("GitRepository", key)]
}

/// Enqueues the automations of a repository when its spec changes; new artifacts do not concern them (IA-STATUS-002).
pub(crate) fn on_repository(
    index: Index,
) -> impl Fn(&Change<GitRepository>, &Enqueue) + Send + Sync + 'static {
    move |change, enqueue| {
        let Change::Updated { old, new } = change else {
            return;
        };
        if old.metadata.generation == new.metadata.generation {
            return;
        }
        for key in index.referrers(&ObjectRef::of(&**new)) {
            enqueue.add(key, &**new);
        }
    }
}

/// Enqueues the automations of a policy's namespace when the policy selects another image: at once, or after their
/// `policyChangeDelay`, so that several changes end up in one commit (IA-STATUS-003, IA-STATUS-067).
pub(crate) fn on_policy(
    automations: Cache<ImageUpdateAutomation>,
) -> impl Fn(&Change<ImagePolicy>, &Enqueue) + Send + Sync + 'static {
    move |change, enqueue| {
        let Change::Updated { old, new } = change else {
            return;
        };
        if !selects_another(old, new) {
            return;
        }
        let namespace = new.namespace();
        for automation in automations.all() {
            if automation.namespace() != namespace {
                continue;
            }
            let key = Key::of(&*automation);
            match automation.spec.policy_change_delay {
                None => enqueue.add(key, &**new),
                Some(delay) if concerns(&automation, new.labels()) => {
                    enqueue.add_after(key, delay.to_std());
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether a policy has an image, and another one than before.
fn selects_another(old: &ImagePolicy, new: &ImagePolicy) -> bool {
    let latest = |policy: &ImagePolicy| policy.status.as_ref()?.latest_ref.clone();
    let latest_now = latest(new);
    latest_now.is_some() && latest(old) != latest_now
}

/// Whether a change of a policy with these labels triggers an automation that has a delay. A selector that is not valid is
/// reported by a run, so it excludes nothing.
fn concerns(automation: &ImageUpdateAutomation, labels: &BTreeMap<String, String>) -> bool {
    policy_selector(&automation.spec).is_ok_and(|selector| {
        selector.is_none_or(|selector| selector.matches(|key| labels.get(key).map(String::as_str)))
    })
}

#[cfg(test)]
mod tests {
    use flux_api::image::{ImagePolicyStatus, ImageRef, ImageUpdateAutomationSpec};
    use flux_api::meta::LabelSelector;

    use super::*;

    fn policy(latest: Option<(&str, &str, Option<&str>)>) -> ImagePolicy {
        let mut policy = ImagePolicy::new("p", flux_api::image::ImagePolicySpec::default());
        let latest_ref = latest.map(|(name, tag, digest)| ImageRef {
            name: name.into(),
            tag: tag.into(),
            digest: digest.map(Into::into),
        });
        policy.status = Some(ImagePolicyStatus {
            latest_ref,
            ..ImagePolicyStatus::default()
        });
        policy
    }

    #[test]
    fn only_another_image_counts_as_a_change() {
        let image = policy(Some(("app", "1", None)));
        // IA-STATUS-003
        for (other, counts) in [
            (Some(("app", "1", None)), false),
            (Some(("app", "2", None)), true),
            (Some(("other", "1", None)), true),
            (Some(("app", "1", Some("sha256:1"))), true),
            (None, true),
        ] {
            assert_eq!(selects_another(&policy(other), &image), counts, "{other:?}");
        }
        assert!(!selects_another(&image, &policy(None)));
    }

    #[test]
    fn the_selector_limits_delayed_triggers() {
        let automation = |labels: &[(&str, &str)]| {
            let spec = ImageUpdateAutomationSpec {
                policy_selector: Some(LabelSelector {
                    match_labels: labels
                        .iter()
                        .map(|(key, value)| ((*key).into(), (*value).into()))
                        .collect(),
                    ..LabelSelector::default()
                }),
                ..ImageUpdateAutomationSpec::default()
            };
            ImageUpdateAutomation::new("a", spec)
        };
        let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        // IA-STATUS-067
        assert!(concerns(&automation(&[("team", "a")]), &labels));
        assert!(!concerns(&automation(&[("team", "b")]), &labels));
        assert!(concerns(&automation(&[]), &labels));
        let none = ImageUpdateAutomation::new("a", ImageUpdateAutomationSpec::default());
        assert!(concerns(&none, &labels));
    }

    #[test]
    fn the_namespace_of_a_source_defaults_to_the_own_one() {
        let mut automation = ImageUpdateAutomation::new("a", ImageUpdateAutomationSpec::default());
        automation.metadata.namespace = Some("own".into());
        automation.spec.source_ref.name = "repo".into();
        // IA-STATUS-002
        assert_eq!(references(&automation)[0].key, Key::new("own", "repo"));
        automation.spec.source_ref.namespace = Some("other".into());
        assert_eq!(references(&automation)[0].key, Key::new("other", "repo"));
    }
}
