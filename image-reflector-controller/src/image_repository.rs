//! The ImageRepository kind: lists the tags of a container image, and stores them for ImagePolicies.

mod decision;
mod failure;
mod reason;
mod scan;

use std::sync::Arc;
use std::time::Duration;

use flux_api::image::ImageRepository;
use flux_api::meta::GoDuration;
use flux_identity::Involved;
use flux_registry::RegistryFault;
use flux_runtime::outcome::Again;
use flux_runtime::per_object::PerObject;
use flux_runtime::policy::{Events, SuspendedStatus, Suspension, SuspensionNotice};
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};
use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use self::decision::{Decision, ScanReason};
use self::failure::{ScanError, StepError};
use self::reason::RepositoryReason;
pub(crate) use self::scan::Seen;
use self::scan::Storing;
use crate::access::{Access, Registries, time_limit};
use crate::reference;
use crate::store::{Store, StoreError};

/// The runtime's settings for the kind (IR-REPO-045, IR-REPO-100 to IR-REPO-103).
pub(crate) const SETTINGS: Settings = Settings {
    events: Events::Transition,
    suspension: Suspension {
        message: "reconciliation is suspended for this object",
        status: SuspendedStatus::RequestOnly,
        notice: SuspensionNotice::Logged,
    },
    ..Settings::new("imagerepository")
};

/// Reconciles ImageRepositories.
pub(crate) struct ImageRepositories {
    /// How registries are reached.
    pub(crate) registries: Registries,
    /// Where tags are stored.
    pub(crate) store: Store,
    /// What the last scan of each object found.
    pub(crate) seen: PerObject<Seen>,
    /// The longest delay after a failure.
    pub(crate) longest_back_off: Duration,
}

impl Reconciler for ImageRepositories {
    type Kind = ImageRepository;

    fn suspended(&self, object: &ImageRepository) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<ImageRepository>) -> Result<Outcome, Failure> {
        run.step(Action::Scan);
        let object = run.object().clone();
        let spec = &object.spec;
        let image = reference::parse(&spec.image, spec.insecure).map_err(StepError::from)?;
        let canonical = image.to_string();
        let exclusions = decision::exclusions(spec);

        let deadline = Instant::now() + time_limit(spec);
        let claim = Arc::new(self.registries.budget.claim());
        let access = self
            .registries
            .access(run.client(), &object, &claim, deadline);
        let access = access.await.map_err(StepError::from)?;
        report_without_config(run, &access);

        let interval = spec.interval.to_std();
        let decision = self.decision(&object, &canonical, &exclusions).await?;
        let (again, routine) = match decision {
            Decision::Wait(left) => {
                let left_text = GoDuration::from(left);
                let text = format!(
                    "no change in repository configuration since last scan, next scan in {left_text}"
                );
                (Again::After(left), text)
            }
            Decision::Scan(reason) => {
                announce(run, reason).await?;
                let client = self.registries.client(
                    access,
                    &object,
                    Involved::of(&*object),
                    image,
                    claim.clone(),
                );
                let storing = |listed| Storing {
                    listed,
                    exclusions: exclusions.clone(),
                    canonical: canonical.clone(),
                    key: run.key(),
                    seen: self.seen.get(&run.key()),
                    store: self.store.clone(),
                    claim: claim.clone(),
                    deadline: deadline.into_std(),
                };
                let scanned = scanned(client, storing, &claim, deadline).await;
                let scanned =
                    scanned.map_err(|error| error.paced(interval, self.longest_back_off))?;
                let result = scanned.result().clone();
                self.seen.insert(&run.key(), scanned);
                let before = run.status.last_scan_result.replace(result.clone());
                let is_same = before.is_some_and(|before| before.revision == result.revision);
                let what = if is_same {
                    "tags did not change"
                } else {
                    "successful scan"
                };
                let interval = spec.interval;
                (
                    Again::Jittered(interval.to_std()),
                    format!("{what}, next scan in {interval}"),
                )
            }
        };
        run.status.canonical_image_name = Some(canonical);
        run.status.observed_exclusion_list = exclusions;
        let last = run.status.last_scan_result.clone().unwrap_or_default();
        let message = format!(
            "successful scan: found {} tags with checksum {}",
            last.tag_count,
            last.revision.unwrap_or_default()
        );
        let outcome = Outcome {
            again,
            ..Outcome::ready(RepositoryReason::Succeeded, message, interval)
        };
        Ok(outcome.with_routine(routine))
    }

    async fn finalize(&self, run: &mut Run<ImageRepository>) -> Result<(), Failure> {
        let (store, key) = (self.store.clone(), run.key());
        let removed = tokio::task::spawn_blocking(move || store.remove(&key)).await;
        let removed = removed.map_err(StoreError::from).flatten();
        Ok(removed.map_err(StepError::Delete)?)
    }
}

impl ImageRepositories {
    /// Whether the image is scanned in this run. Stored tags that cannot be read are dropped, so that they are scanned again
    /// (IR-REPO-074, FR-N-078).
    async fn decision(
        &self,
        object: &ImageRepository,
        canonical: &str,
        exclusions: &[String],
    ) -> Result<Decision, StepError> {
        if let Some(reason) = decision::before_the_store(object, canonical, exclusions) {
            return Ok(Decision::Scan(reason));
        }
        let (store, budget) = (self.store.clone(), self.registries.budget.clone());
        let key = flux_runtime::queue::Key::of(object);
        let revision = move || {
            let read = store.read(&key, &budget.claim());
            match read {
                Ok(stored) => Ok(stored.map(|stored| stored.revision)),
                Err(error @ (StoreError::Memory(_) | StoreError::Name)) => Err(error),
                Err(error) => {
                    let text = flux_runtime::outcome::chain(&error);
                    store.remove(&key).map_err(|_| error)?;
                    tracing::error!(
                        error = text,
                        "dropped the stored tags, which cannot be read"
                    );
                    Ok(None)
                }
            }
        };
        let stored = tokio::task::spawn_blocking(revision).await;
        let stored = stored.map_err(StoreError::from).flatten();
        let stored = stored.map_err(StepError::Decision)?;
        let now = Timestamp::now();
        Ok(decision::after_the_store(object, stored.as_deref(), now))
    }
}

/// Logs pull secrets that add nothing, once for each change of the object (FR-N-083).
fn report_without_config(run: &Run<ImageRepository>, access: &Access) {
    if run.is_eager() {
        for secret in &access.without_config {
            tracing::info!(secret, "the Secret has no docker config, and is not used");
        }
    }
}

/// Says that the image is scanned. Where its tags were lost, Ready goes through Unknown, so that clients see a change when
/// they are there again (IR-REPO-055).
async fn announce(run: &mut Run<ImageRepository>, reason: ScanReason) -> Result<(), Failure> {
    let message = format!("scanning: {reason}");
    if reason == ScanReason::NoTags {
        run.set_ready_unknown(&message);
        return run.progress_now(message).await;
    }
    run.progress(message).await
}

/// Lists the tags and stores them.
async fn scanned(
    client: impl Future<Output = Result<flux_oci::Client, RegistryFault>>,
    storing: impl FnOnce(crate::tags::Tags) -> Storing,
    claim: &flux_budget::Claim,
    deadline: Instant,
) -> Result<Seen, ScanError> {
    let client = timeout_at(deadline, Box::pin(client)).await;
    let client = client.unwrap_or(Err(RegistryFault::Timeout));
    let client = client.map_err(ScanError::Registry)?;
    let Ok(listed) = timeout_at(deadline, Box::pin(scan::list(&client, claim))).await else {
        let error = client.deadline_exceeded();
        return Err(ScanError::Registry(RegistryFault::Registry(error)));
    };
    let storing = storing(listed?);
    tokio::task::spawn_blocking(|| storing.run()).await?
}
