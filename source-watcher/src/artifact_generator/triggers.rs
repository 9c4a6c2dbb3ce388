//! Changes that enqueue generators.

use std::sync::Arc;

use flux_api::extensions::ArtifactGenerator;
use flux_references::{Index, ObjectRef, Source};
use flux_runtime::controller::{Enqueue, is_disabled};
use flux_runtime::watch::Change;

use super::annotation;

/// Enqueues the generators that refer to a source when it has another artifact: another revision, or another file of the same
/// revision (SW-GEN-031, SW-GEN-032).
pub(crate) fn on_change_of_source<S: Source>(
    index: Index,
) -> impl Fn(&Change<S>, &Enqueue) + Send + Sync + 'static {
    move |change, enqueue| {
        if !has_other_artifact(change) {
            return;
        }
        let source = change.object();
        for key in index.referrers(&ObjectRef::of(&**source)) {
            enqueue.add(key, &**source);
        }
    }
}

fn has_other_artifact<S: Source>(change: &Change<S>) -> bool {
    let file = |source: &Arc<S>| {
        let artifact = source.artifact()?;
        Some((
            artifact.revision.clone(),
            artifact.digest.clone(),
            artifact.url.clone(),
        ))
    };
    let changed = match change {
        // Every generator is reconciled at the start anyhow.
        Change::Added { initial, .. } => !initial,
        Change::Updated { old, new } => file(old) != file(new),
        Change::Deleted { .. } => true,
    };
    changed && change.object().artifact().is_some()
}

/// The generator that a change of its annotation resumes: upstream notices at the next change of a source (SW-GEN-038).
pub(crate) fn resumes(change: &Change<ArtifactGenerator>) -> Option<&Arc<ArtifactGenerator>> {
    let key = annotation("reconcile");
    match change {
        Change::Updated { old, new } if is_disabled(&**old, &key) => {
            (!is_disabled(&**new, &key)).then_some(new)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use flux_api::extensions::ArtifactGeneratorSpec;
    use flux_api::meta::Artifact;
    use flux_api::source::{Bucket, BucketSpec, BucketStatus};

    use super::*;

    fn bucket(artifact: Option<(&str, &str)>) -> Arc<Bucket> {
        let mut bucket = Bucket::new("app", BucketSpec::default());
        let artifact = artifact.map(|(revision, digest)| Artifact {
            revision: revision.to_owned(),
            digest: digest.to_owned(),
            ..Artifact::default()
        });
        bucket.status = Some(BucketStatus {
            artifact,
            ..BucketStatus::default()
        });
        Arc::new(bucket)
    }

    // SW-GEN-031, SW-GEN-032
    #[test]
    fn another_artifact_of_a_source_concerns_its_generators() {
        let updated = |old, new| {
            has_other_artifact(&Change::Updated {
                old: bucket(old),
                new: bucket(new),
            })
        };
        for (old, new, concerns) in [
            (Some(("1", "a")), Some(("2", "b")), true),
            (Some(("1", "a")), Some(("1", "b")), true),
            (Some(("1", "a")), Some(("1", "a")), false),
            (None, Some(("1", "a")), true),
            (Some(("1", "a")), None, false),
            (None, None, false),
        ] {
            assert_eq!(updated(old, new), concerns, "{old:?} {new:?}");
        }
        let added = |artifact, initial| {
            has_other_artifact(&Change::Added {
                new: bucket(artifact),
                initial,
            })
        };
        assert!(added(Some(("1", "a")), false));
        assert!(!added(Some(("1", "a")), true) && !added(None, false));
        let old = bucket(Some(("1", "a")));
        assert!(has_other_artifact(&Change::Deleted { old }));
    }

    // SW-GEN-038, SW-GEN-030: the annotation that disables is no trigger
    #[test]
    fn removing_the_annotation_resumes() {
        let generator = |value: Option<&str>| {
            let mut object = ArtifactGenerator::new("gen", ArtifactGeneratorSpec::default());
            let pair = value.map(|value| (annotation("reconcile"), value.to_owned()));
            object.metadata.annotations = Some(pair.into_iter().collect());
            Arc::new(object)
        };
        for (old, new, expected) in [
            (Some("disabled"), None, true),
            (Some("Disabled"), Some("enabled"), true),
            (None, Some("disabled"), false),
            (Some("disabled"), Some("DISABLED"), false),
            (None, None, false),
        ] {
            let change = Change::Updated {
                old: generator(old),
                new: generator(new),
            };
            assert_eq!(resumes(&change).is_some(), expected, "{old:?} {new:?}");
        }
    }
}
