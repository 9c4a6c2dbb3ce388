//! A minimal kind with the structure of all kinds: `docs/adding-a-kind.md` explains it.

mod failure;
mod reason;
mod scenario;
mod steps;

use flux_api::source::Bucket;
use flux_references::Reader;
use flux_runtime::per_object::PerObject;
use flux_runtime::{Failure, Outcome, Reconciler, Run, Settings};
use k8s_openapi::api::core::v1::Secret;

use self::reason::BucketReason;

/// How the frame treats Buckets.
pub(crate) const SETTINGS: Settings = Settings::new("bucket");

/// Reconciles Buckets: one is ready when its credentials can be used.
pub(crate) struct Buckets {
    /// Reads the Secrets with credentials.
    pub(crate) secrets: Reader<Secret>,
    /// The access key that was last seen of each Bucket.
    pub(crate) seen: PerObject<String>,
}

impl Reconciler for Buckets {
    type Kind = Bucket;

    fn suspended(&self, object: &Bucket) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<Bucket>) -> Result<Outcome, Failure> {
        let bucket = run.object().clone();
        let endpoint = steps::endpoint(&bucket.spec)?;
        run.about([("endpoint", endpoint.clone())].into());
        run.progress(format!("reading credentials for '{endpoint}'"))
            .await?;
        let access_key = steps::access_key(&self.secrets, &bucket).await?;

        let message = format!("credentials for '{endpoint}' are usable");
        if self.seen.get(&run.key()).as_ref() != Some(&access_key) {
            run.event(BucketReason::NewCredentials, &*message, &[].into());
            self.seen.insert(&run.key(), access_key);
        }
        let interval = bucket.spec.interval.to_std();
        Ok(Outcome::ready(BucketReason::Succeeded, message, interval))
    }

    async fn finalize(&self, _: &mut Run<Bucket>) -> Result<(), Failure> {
        Ok(()) // nothing outside of memory is kept of a Bucket
    }
}
