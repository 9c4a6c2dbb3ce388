//! The ImagePolicy kind: selects the latest tag of an image repository.

mod digest;
mod failure;
mod reason;
mod repository;
mod select;

use std::time::Duration;

use flux_api::image::{ImagePolicy, ImageRef, ImageRepository, ReflectionPolicy};
use flux_api::meta::GoDuration;
use flux_identity::Involved;
use flux_references::{Index, ObjectRef, Reader};
use flux_runtime::controller::Enqueue;
use flux_runtime::policy::{Events, SuspendedStatus, Suspension, SuspensionNotice};
use flux_runtime::watch::{Cache, Change};
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};

use self::digest::Source;
use self::failure::StepError;
use self::reason::PolicyReason;
pub(crate) use self::repository::references;
use self::select::Selecting;
use crate::access::Registries;
use crate::reference;
use crate::store::Store;

/// The runtime's settings for the kind (IR-POL-033, IR-POL-057).
pub(crate) const SETTINGS: Settings = Settings {
    events: Events::Transition,
    suspension: Suspension {
        message: "reconciliation is suspended for this object",
        status: SuspendedStatus::RequestOnly,
        notice: SuspensionNotice::Logged,
    },
    ..Settings::new("imagepolicy")
};

/// The interval of a policy whose interval is zero (IR-POL-055).
const DEFAULT_INTERVAL: Duration = Duration::from_mins(10);

/// Reconciles ImagePolicies.
pub(crate) struct ImagePolicies {
    /// How registries are reached.
    pub(crate) registries: Registries,
    /// Where tags are stored.
    pub(crate) store: Store,
    /// The ImageRepositories that this process reconciles (IR-PROC-021).
    pub(crate) repositories: Cache<ImageRepository>,
    /// Whether references to other namespaces are refused.
    pub(crate) no_cross_namespace: bool,
    /// How long a policy without tags is left alone.
    pub(crate) recheck: Duration,
}

impl Reconciler for ImagePolicies {
    type Kind = ImagePolicy;

    fn suspended(&self, object: &ImagePolicy) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<ImagePolicy>) -> Result<Outcome, Failure> {
        run.step(Action::SelectImage);
        let object = run.object().clone();
        let spec = &object.spec;
        let is_periodic = spec.digest_reflection_policy == Some(ReflectionPolicy::Always);
        if is_periodic && spec.interval.is_none() {
            Err(StepError::NoInterval)?;
        }
        let repositories = Reader::Cached(self.repositories.clone());
        let referred = repository::referred(
            run.client(),
            &repositories,
            &object,
            self.no_cross_namespace,
        );
        let repository = referred.await.map_err(StepError::Repository)?;
        let image = reference::parse(&repository.spec.image, repository.spec.insecure);
        let image = image.map_err(StepError::Image)?;

        let selecting = Selecting {
            store: self.store.clone(),
            repositories: self.repositories.clone(),
            budget: self.registries.budget.clone(),
            key: repository::key(&object),
            recheck: self.recheck,
        };
        let tag = Box::pin(selecting.latest(run, spec)).await?;
        let mut latest = ImageRef {
            name: repository.spec.image.clone(),
            tag,
            digest: None,
        };
        latest.digest = match digest::source(spec, &run.status, &latest) {
            Source::Known(digest) => digest,
            Source::Registry => {
                let digest = digest::fetched(
                    &self.registries,
                    run.client(),
                    &repository,
                    Involved::of(&*object),
                    image,
                    &latest.tag,
                );
                let digest = digest.await.map_err(|source| StepError::Digest {
                    image: latest.name.clone(),
                    tag: latest.tag.clone(),
                    source: Box::new(source),
                })?;
                Some(digest)
            }
        };
        digest::keep(&mut run.status, latest);
        let message = digest::message(&run.status);
        let interval = match spec.interval.map(GoDuration::to_std) {
            Some(interval) if is_periodic && interval.is_zero() => DEFAULT_INTERVAL,
            Some(interval) if is_periodic => interval,
            _ => Duration::ZERO,
        };
        let outcome = Outcome::ready(PolicyReason::Succeeded, &*message, interval);
        Ok(outcome.with_routine(message))
    }

    async fn finalize(&self, _: &mut Run<ImagePolicy>) -> Result<(), Failure> {
        Ok(()) // nothing is kept of a policy
    }
}

/// Enqueues the policies of an ImageRepository that is new, gone, or has found other tags than before (IR-POL-031,
/// IR-POL-032). Those of the first list are enqueued anyway.
pub(crate) fn on_scan(
    index: Index,
) -> impl Fn(&Change<ImageRepository>, &Enqueue) + Send + Sync + 'static {
    move |change, enqueue| {
        if is_news(change) {
            let repository = change.object();
            for key in index.referrers(&ObjectRef::of(&**repository)) {
                enqueue.add(key, &**repository);
            }
        }
    }
}

/// Whether a change of an ImageRepository concerns its policies.
fn is_news(change: &Change<ImageRepository>) -> bool {
    let revision = |object: &ImageRepository| {
        let scan = object.status.as_ref()?.last_scan_result.as_ref()?;
        Some(scan.revision.clone().unwrap_or_default())
    };
    match change {
        Change::Added { initial, .. } => !initial,
        Change::Deleted { .. } => true,
        Change::Updated { old, new } => {
            revision(new).is_some_and(|found| revision(old) != Some(found))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flux_api::image::{ImageRepositorySpec, ImageRepositoryStatus, ScanResult};

    use super::*;

    fn scanned(revision: Option<&str>, tags: i32) -> Arc<ImageRepository> {
        let mut object = ImageRepository::new("app", ImageRepositorySpec::default());
        let result = revision.map(|revision| ScanResult {
            revision: Some(revision.to_owned()),
            tag_count: tags,
            ..ScanResult::default()
        });
        object.status = Some(ImageRepositoryStatus {
            last_scan_result: result,
            ..ImageRepositoryStatus::default()
        });
        Arc::new(object)
    }

    #[test]
    fn policies_follow_new_revisions_only() {
        let updated = |old: Option<&str>, new: Option<&str>| {
            is_news(&Change::Updated {
                old: scanned(old, 1),
                new: scanned(new, 2),
            })
        };
        // IR-POL-031, FR-N-074
        assert!(updated(None, Some("a")) && updated(Some("a"), Some("b")));
        assert!(!updated(Some("a"), Some("a")));
        assert!(!updated(Some("a"), None) && !updated(None, None));
        // IR-POL-032
        let old = scanned(None, 0);
        assert!(is_news(&Change::Deleted { old: old.clone() }));
        let added = |initial| {
            is_news(&Change::Added {
                new: old.clone(),
                initial,
            })
        };
        assert!(added(false) && !added(true));
    }
}
