//! The policies of a run, and the images that they selected.

use std::collections::BTreeMap;
use std::sync::Arc;

use flux_api::image::{ImagePolicy, ImageRef, ImageUpdateAutomationSpec};
use flux_oci::Repository;
use flux_runtime::watch::Cache;
use flux_selector::{Expression, FieldsError, Selector};
use flux_setters::{Image, Setters};
use kube::ResourceExt as _;

/// The images by the name of their policy (IA-API-024).
pub(super) type Observed = BTreeMap<String, ImageRef>;

/// The selector of the policies to consider; `None` for all.
///
/// # Errors
/// A field of it is not valid (IA-STATUS-010).
pub(crate) fn policy_selector(
    spec: &ImageUpdateAutomationSpec,
) -> Result<Option<Selector>, FieldsError> {
    let Some(selector) = &spec.policy_selector else {
        return Ok(None);
    };
    let labels = selector.match_labels.iter();
    let labels = labels.map(|(key, value)| (key.as_str(), value.as_str()));
    let expressions = selector.match_expressions.iter().map(|entry| Expression {
        key: &entry.key,
        operator: &entry.operator,
        values: &entry.values,
    });
    Selector::from_fields(labels, expressions).map(Some)
}

/// The images of the selected policies of a namespace. Policies without an image are left out; whether they are ready does
/// not matter (IA-STATUS-009).
pub(super) fn observe(
    policies: &Cache<ImagePolicy>,
    namespace: &str,
    selector: Option<&Selector>,
) -> Observed {
    let in_namespace = |policy: &Arc<ImagePolicy>| {
        policy.metadata.namespace.as_deref() == Some(namespace)
            && selector.is_none_or(|selector| {
                let labels = policy.labels();
                selector.matches(|key| labels.get(key).map(String::as_str))
            })
    };
    let all = policies.all().into_iter().filter(in_namespace);
    all.filter_map(|policy| {
        let latest = policy.status.as_ref()?.latest_ref.clone()?;
        Some((policy.name_any(), latest))
    })
    .collect()
}

/// A policy whose image is no valid reference: it fails the whole run (IA-UPD-038, IA-UPD-039).
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "encountered invalid image ref {}: could not parse reference: {reference}",
    flux_golang::strconv::quote(.reference)
)]
pub(super) struct InvalidReference {
    reference: String,
}

/// What the markers of a namespace stand for.
///
/// # Errors
/// The image of a policy is not valid.
pub(super) fn setters(namespace: &str, observed: &Observed) -> Result<Setters, InvalidReference> {
    let mut setters = Setters::default();
    for (policy, latest) in observed {
        let image = Image {
            name: &latest.name,
            tag: &latest.tag,
            digest: latest.digest.as_deref(),
        };
        let reference = image.reference();
        if !is_reference(&reference) {
            return Err(InvalidReference { reference });
        }
        setters.add(namespace, policy, &image);
    }
    Ok(setters)
}

/// Whether go-containerregistry reads it as the name of an image, with a tag, a digest or both.
fn is_reference(text: &str) -> bool {
    is_tagged(text)
        || text.split_once('@').is_some_and(|(name, digest)| {
            let name = match name.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') && is_tagged(&format!("{name}:{tag}")) => {
                    name
                }
                _ => name,
            };
            Repository::parse(name).is_ok_and(|repository| repository.digest(digest).is_ok())
        })
}

fn is_tagged(text: &str) -> bool {
    let (name, tag) = match text.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (text, ""),
    };
    Repository::parse(name).is_ok_and(|repository| tag.is_empty() || repository.tag(tag).is_ok())
}

#[cfg(test)]
mod tests {
    use flux_api::image::{ImagePolicySpec, ImagePolicyStatus};

    use super::*;

    fn latest(name: &str, tag: &str, digest: Option<&str>) -> ImageRef {
        ImageRef {
            name: name.into(),
            tag: tag.into(),
            digest: digest.map(Into::into),
        }
    }

    #[test]
    fn images_of_selected_policies_are_observed() {
        let policies = Cache::default();
        for (namespace, name, team, tag) in [
            ("apps", "one", "a", Some("1")),
            ("apps", "two", "b", Some("2")),
            ("apps", "none", "a", None),
            ("other", "three", "a", Some("3")),
        ] {
            let mut policy = ImagePolicy::new(name, ImagePolicySpec::default());
            policy.metadata.namespace = Some(namespace.into());
            policy.metadata.resource_version = Some("1".into());
            policy.labels_mut().insert("team".into(), team.into());
            policy.status = Some(ImagePolicyStatus {
                latest_ref: tag.map(|tag| latest("app", tag, None)),
                ..ImagePolicyStatus::default()
            });
            policies.upsert(policy);
        }
        let names = |selector: Option<&str>| {
            let selector = selector.map(|text| Selector::parse(text).unwrap());
            let observed = observe(&policies, "apps", selector.as_ref());
            observed.into_keys().collect::<Vec<_>>()
        };
        // IA-STATUS-009
        assert_eq!(names(None), ["one", "two"]);
        assert_eq!(names(Some("team=a")), ["one"]);
        assert!(names(Some("team=c")).is_empty());
    }

    #[test]
    fn images_have_to_be_references() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (image, valid) in [
            (latest("app", "v1", None), true),
            (latest("ghcr.io/org/app", "v1", None), true),
            (latest("reg.example:5000/app", "v1", None), true),
            (latest("app", "v1", Some(&digest)), true),
            (latest("reg.example:5000/app", "v1", Some(&digest)), true),
            (latest("app", "", None), true),
            (latest("App", "v1", None), false),
            (latest("app", "v 1", None), false),
            (latest("app", "v1", Some("sha256:1")), false),
            (latest("", "v1", None), false),
        ] {
            let observed = Observed::from([("p".to_owned(), image.clone())]);
            assert_eq!(setters("ns", &observed).is_ok(), valid, "{image:?}");
        }
        let observed = Observed::from([
            ("a".to_owned(), latest("good/app", "v1", None)),
            ("b".to_owned(), latest("Bad", "v1", None)),
        ]);
        // IA-UPD-038, IA-UPD-039
        assert_eq!(
            setters("ns", &observed).unwrap_err().to_string(),
            "encountered invalid image ref \"Bad:v1\": could not parse reference: Bad:v1"
        );
    }
}
