//! The digest of the selected tag.

use std::sync::Arc;

use flux_api::image::{
    ImagePolicySpec, ImagePolicyStatus, ImageRef, ImageRepository, ReflectionPolicy,
};
use flux_identity::Involved;
use flux_oci::Repository;
use flux_registry::RegistryFault;
use kube::Client;
use tokio::time::{Instant, timeout_at};

use super::failure::DigestError;
use crate::access::{Registries, time_limit};

/// Where the digest comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It is this one, or not wanted.
    Known(Option<String>),
    /// From the registry.
    Registry,
}

/// Where the digest of an image comes from that is selected now (IR-POL-016, IR-POL-100 to IR-POL-102).
pub(super) fn source(
    spec: &ImagePolicySpec,
    status: &ImagePolicyStatus,
    image: &ImageRef,
) -> Source {
    match &spec.digest_reflection_policy {
        Some(ReflectionPolicy::Always) => Source::Registry,
        Some(ReflectionPolicy::IfNotPresent) => {
            let before = status.latest_ref.as_ref();
            let same = before.filter(|before| before.name == image.name && before.tag == image.tag);
            let digest = same.and_then(|before| before.digest.clone());
            match digest.filter(|digest| !digest.is_empty()) {
                Some(digest) => Source::Known(Some(digest)),
                None => Source::Registry,
            }
        }
        _ => Source::Known(None),
    }
}

/// Keeps the image in the status, and the one before if this is another (IR-POL-023, IR-POL-106, IR-POL-121).
pub(super) fn keep(status: &mut ImagePolicyStatus, image: ImageRef) {
    if status.latest_ref.as_ref() != Some(&image) {
        status.observed_previous_ref = status.latest_ref.replace(image);
    }
}

/// The message of a policy that has selected an image (IR-POL-054).
pub(super) fn message(status: &ImagePolicyStatus) -> String {
    let latest = status.latest_ref.clone().unwrap_or_default();
    let mut text = format!(
        "Latest image tag for {} resolved to {}",
        latest.name, latest.tag
    );
    if let Some(digest) = &latest.digest {
        text = format!("{text} with digest {digest}");
    }
    if let Some(before) = &status.observed_previous_ref
        && *before != latest
    {
        let digest = before.digest.iter().map(|digest| format!("@{digest}"));
        let digest: String = digest.collect();
        text = format!("{text} (previously {}:{}{digest})", before.name, before.tag);
    }
    text
}

/// Asks the registry for the digest of a tag, with the credentials and within the time of the ImageRepository (IR-POL-103 to
/// IR-POL-105, IR-POL-109).
pub(super) async fn fetched(
    registries: &Registries,
    client: &Client,
    repository: &ImageRepository,
    involved: Involved,
    image: Repository,
    tag: &str,
) -> Result<String, DigestError> {
    let reference = format!("{}:{tag}", repository.spec.image);
    let wanted = image.tag(tag).map_err(|source| DigestError::Reference {
        reference: reference.clone(),
        source,
    })?;
    let deadline = Instant::now() + time_limit(&repository.spec);
    let claim = Arc::new(registries.budget.claim());
    let access = registries.access(client, repository, &claim, deadline);
    let access = access.await.map_err(DigestError::Access)?;
    let failed = |source| DigestError::Registry {
        reference: reference.clone(),
        source,
    };
    let registry = registries.client(access, repository, involved, image, claim);
    let registry = timeout_at(deadline, Box::pin(registry)).await;
    let registry = registry
        .unwrap_or(Err(RegistryFault::Timeout))
        .map_err(failed)?;
    let digest = match timeout_at(deadline, Box::pin(registry.head(&wanted))).await {
        Ok(digest) => digest,
        Err(_) => Err(registry.deadline_exceeded()),
    };
    let digest = digest.map_err(|error| failed(RegistryFault::Registry(error)))?;
    Ok(digest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tag: &str, digest: Option<&str>) -> ImageRef {
        ImageRef {
            digest: digest.map(str::to_owned),
            name: "ghcr.io/org/app".to_owned(),
            tag: tag.to_owned(),
        }
    }

    fn status(latest: Option<ImageRef>, before: Option<ImageRef>) -> ImagePolicyStatus {
        ImagePolicyStatus {
            latest_ref: latest,
            observed_previous_ref: before,
            ..ImagePolicyStatus::default()
        }
    }

    #[test]
    fn the_registry_is_asked_as_the_policy_says() {
        let (never, always) = (ReflectionPolicy::Never, ReflectionPolicy::Always);
        let absent = ReflectionPolicy::IfNotPresent;
        let one = Some(image("1", Some("sha256:1")));
        let moved = Some(ImageRef {
            name: "other".to_owned(),
            ..image("1", Some("sha256:1"))
        });
        let known = |digest: Option<&str>| Source::Known(digest.map(str::to_owned));
        for (policy, latest, expected) in [
            // IR-POL-100, IR-POL-016
            (Some(never), one.clone(), known(None)),
            (None, one.clone(), known(None)),
            (Some("".into()), one.clone(), known(None)),
            // IR-POL-101, IR-POL-107
            (Some(absent.clone()), one.clone(), known(Some("sha256:1"))),
            (Some(absent.clone()), None, Source::Registry),
            (Some(absent.clone()), moved, Source::Registry),
            (
                Some(absent.clone()),
                Some(image("2", Some("sha256:2"))),
                Source::Registry,
            ),
            (Some(absent), Some(image("1", None)), Source::Registry),
            // IR-POL-102
            (Some(always), one, Source::Registry),
        ] {
            let spec = ImagePolicySpec {
                digest_reflection_policy: policy.clone(),
                ..ImagePolicySpec::default()
            };
            let found = source(&spec, &status(latest.clone(), None), &image("1", None));
            assert_eq!(found, expected, "{policy:?} {latest:?}");
        }
    }

    #[test]
    fn the_image_before_is_kept_when_it_changes() {
        let mut status = status(None, None);
        for (next, before) in [
            (image("1", None), None),
            // IR-POL-108
            (image("1", None), None),
            // IR-POL-106, IR-POL-107
            (image("1", Some("sha256:1")), Some(image("1", None))),
            (image("2", None), Some(image("1", Some("sha256:1")))),
            // IR-POL-111, IR-POL-121
            (image("2", None), Some(image("1", Some("sha256:1")))),
        ] {
            keep(&mut status, next.clone());
            assert_eq!(status.latest_ref, Some(next));
            assert_eq!(status.observed_previous_ref, before);
        }
    }

    // IR-POL-054, IR-POL-022
    #[test]
    fn the_message_names_the_image_and_the_one_before() {
        for (latest, before, expected) in [
            (image("2", None), None, "2"),
            (image("2", None), Some(image("2", None)), "2"),
            (
                image("2", Some("sha256:2")),
                Some(image("1", None)),
                "2 with digest sha256:2 (previously ghcr.io/org/app:1)",
            ),
            (
                image("2", None),
                Some(image("1", Some("sha256:1"))),
                "2 (previously ghcr.io/org/app:1@sha256:1)",
            ),
        ] {
            let text = message(&status(Some(latest), before));
            let expected = format!("Latest image tag for ghcr.io/org/app resolved to {expected}");
            assert_eq!(text, expected);
        }
    }
}
