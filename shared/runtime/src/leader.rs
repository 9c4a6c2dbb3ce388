//! Leader election on a Lease, interchangeable with client-go's (RT-LED rows).

use std::time::Duration;

use flux_objects::{Error, Objects};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::PostParams;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::{Recorder, Severity, Subject, What};
use crate::metrics::Metrics;

/// The settings of an election.
#[derive(Clone, Debug)]
pub struct Election {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// The identity of this process.
    pub identity: String,
    /// How long a Lease is valid after its last renewal.
    pub lease: Duration,
    /// How long after its last renewal the leader stops leading.
    pub renew_deadline: Duration,
    /// The pause between attempts.
    pub retry: Duration,
    /// Whether to clear the Lease at shutdown (RT-LED-009).
    pub release: bool,
}

/// The name of a controller's Lease; each shard has a suffix of its own (RT-LED-002, RT-LED-003).
///
/// ```
/// # use flux_runtime::leader::lease_name;
/// assert_eq!(lease_name("source-controller", ""), "source-controller-leader-election");
/// ```
pub fn lease_name(controller: &str, selector: &str) -> String {
    let name = format!("{controller}-leader-election");
    if selector.is_empty() {
        return name;
    }
    let digest = hex::encode(Sha256::digest(selector.as_bytes()));
    format!("{name}-{}", digest.get(..8).unwrap_or_default())
}

/// The namespace that the pod runs in, from the mounted service account (RT-LED-001); outside a pod, from
/// `RUNTIME_NAMESPACE`.
pub fn namespace() -> Option<String> {
    let mounted =
        std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok();
    mounted
        .map(|text| text.trim().to_owned())
        .or_else(|| std::env::var("RUNTIME_NAMESPACE").ok())
        .filter(|namespace| !namespace.is_empty())
}

/// The Lease as this process last observed it, and when.
#[derive(Default)]
struct Observed {
    lease: Option<Lease>,
    /// By this process's clock: other machines' clocks are not trusted.
    at: Option<Instant>,
}

/// What to do with a Lease.
#[derive(Debug, PartialEq)]
enum Claim {
    /// Another process holds it.
    Theirs,
    /// Acquire or renew it: write this.
    Write(LeaseSpec),
}

/// Why an attempt to acquire, renew or release the Lease failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("no answer in time")]
    NoAnswer,
    #[error(transparent)]
    Request(#[from] Error),
}

/// Times of an election that are inconsistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadTimes(&'static str);

impl Election {
    /// Refuses times with which two processes, or none for long, could lead; the messages are those of client-go.
    ///
    /// # Errors
    ///
    /// If the Lease is not valid for longer than the renew deadline, or the deadline does not leave time for a few
    /// attempts.
    pub fn check(&self) -> Result<(), BadTimes> {
        if self.lease <= self.renew_deadline {
            return Err(BadTimes("leaseDuration must be greater than renewDeadline"));
        }
        if self.renew_deadline <= self.retry.mul_f64(1.2) {
            return Err(BadTimes(
                "renewDeadline must be greater than retryPeriod*JitterFactor",
            ));
        }
        if self.retry.is_zero() {
            return Err(BadTimes("retryPeriod must be greater than zero"));
        }
        Ok(())
    }

    /// Whether the Lease may be acquired now, and its new content. `expired`: it was not renewed for as long as it is
    /// valid.
    fn claim(&self, current: Option<&LeaseSpec>, expired: bool, now: Timestamp) -> Claim {
        let holder = current
            .and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or_default();
        let ours = holder == self.identity;
        if !ours && !holder.is_empty() && !expired {
            return Claim::Theirs;
        }
        let transitions = current
            .and_then(|spec| spec.lease_transitions)
            .unwrap_or_default();
        let now = MicroTime(now);
        let acquired = current
            .and_then(|spec| spec.acquire_time.clone())
            .filter(|_| ours);
        Claim::Write(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(self.lease_seconds()),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours || current.is_none() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        })
    }

    /// The validity of the Lease as written into it, which other processes honour: whole seconds, no fewer than
    /// this process uses itself.
    fn lease_seconds(&self) -> i32 {
        let whole = self
            .lease
            .as_secs()
            .saturating_add(u64::from(self.lease.subsec_nanos() > 0));
        i32::try_from(whole).unwrap_or(i32::MAX)
    }

    /// One attempt to acquire or renew the Lease, within half the renew deadline (RT-LED-005) and not beyond
    /// `deadline`. If this process then holds the Lease, returns the time from which its validity counts: when the
    /// write was sent, since other processes count from when they observe it.
    async fn attempt(
        &self,
        leases: &Objects<Lease>,
        observed: &mut Observed,
        deadline: Option<Instant>,
    ) -> Result<Option<Instant>, AttemptError> {
        let own = Instant::now() + self.renew_deadline / 2;
        let until = deadline.map_or(own, |deadline| deadline.min(own));
        match tokio::time::timeout_at(until, self.try_once(leases, observed)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(AttemptError::NoAnswer),
        }
    }

    async fn try_once(
        &self,
        leases: &Objects<Lease>,
        observed: &mut Observed,
    ) -> Result<Option<Instant>, Error> {
        let current = match (&observed.lease, observed.at) {
            // While this process holds the Lease no other one writes it, so that renewing takes one request.
            (Some(lease), Some(_)) if self.holds(lease) => Some(lease.clone()),
            _ => leases.get_opt(&self.name).await?,
        };
        let version =
            |lease: Option<&Lease>| lease.and_then(|lease| lease.metadata.resource_version.clone());
        if version(current.as_ref()) != version(observed.lease.as_ref()) || observed.at.is_none() {
            *observed = Observed {
                lease: current.clone(),
                at: Some(Instant::now()),
            };
        }
        let spec = current.as_ref().and_then(|lease| lease.spec.as_ref());
        let seconds = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = seconds.map_or(self.lease, Duration::from_secs);
        let expired = observed.at.is_some_and(|at| at.elapsed() > lasts);
        let Claim::Write(spec) = self.claim(spec, expired, Timestamp::now()) else {
            return Ok(None);
        };
        let sent = Instant::now();
        let written = match current {
            None => {
                let metadata = ObjectMeta {
                    name: Some(self.name.clone()),
                    namespace: Some(self.namespace.clone()),
                    ..ObjectMeta::default()
                };
                leases
                    .create(
                        &PostParams::default(),
                        &Lease {
                            metadata,
                            spec: Some(spec),
                        },
                    )
                    .await
            }
            Some(lease) => {
                leases
                    .replace(
                        &self.name,
                        &PostParams::default(),
                        &Lease {
                            spec: Some(spec),
                            ..lease
                        },
                    )
                    .await
            }
        };
        match written {
            Ok(lease) => {
                *observed = Observed {
                    lease: Some(lease),
                    at: Some(Instant::now()),
                };
                Ok(Some(sent))
            }
            Err(error) if error.code() == Some(409) => {
                *observed = Observed::default(); // another was faster: look again
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn holds(&self, lease: &Lease) -> bool {
        lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref())
            == Some(&*self.identity)
    }

    /// Waits until this process leads. Returns the leadership, or `None` when `stop` came first.
    pub async fn acquire(
        self,
        client: Client,
        recorder: Recorder,
        metrics: Metrics,
        stop: &CancellationToken,
    ) -> Option<Leadership> {
        let leases = match Objects::in_namespace(client, &self.namespace) {
            Ok(leases) => leases,
            Err(error) => {
                tracing::error!(logger = "runtime", %error, "unable to use the namespace of the Lease");
                return None;
            }
        };
        let mut observed = Observed::default();
        metrics.leads(&self.name, false);
        tracing::info!(
            logger = "runtime",
            "attempting to acquire leader lease {}/{}...",
            self.namespace,
            self.name
        );
        let renewed = loop {
            match self.attempt(&leases, &mut observed, None).await {
                Ok(Some(renewed)) => break renewed,
                Ok(None) => {}
                Err(error) => tracing::error!(
                    logger = "runtime",
                    error = crate::outcome::chain(&error),
                    "error retrieving resource lock {}/{}",
                    self.namespace,
                    self.name
                ),
            }
            tokio::select! {
                () = stop.cancelled() => return None,
                // with client-go's jitter, so that contenders do not run in lockstep
                () = tokio::time::sleep(self.retry.mul_f64(rand::random_range(1.0..2.2))) => {}
            }
        };
        tracing::info!(
            logger = "runtime",
            "successfully acquired lease {}/{}",
            self.namespace,
            self.name
        );
        metrics.leads(&self.name, true);
        let leadership = Leadership {
            election: self,
            leases,
            observed,
            renewed,
            recorder,
            metrics,
        };
        leadership.announce("became leader");
        Some(leadership)
    }
}

/// The leadership of this process.
pub struct Leadership {
    election: Election,
    leases: Objects<Lease>,
    observed: Observed,
    /// When the last write that renewed the Lease was sent.
    renewed: Instant,
    recorder: Recorder,
    metrics: Metrics,
}

impl Leadership {
    /// Renews the Lease until `stop`, or until the renew deadline has passed since the last renewal. In the latter case
    /// it returns `false`, and the process must exit immediately (RT-LED-008). A request in flight does not extend the
    /// deadline: a server that hangs may serve other processes, for which the Lease expires.
    pub async fn renew(&mut self, stop: &CancellationToken) -> bool {
        loop {
            let deadline = self.renewed + self.election.renew_deadline;
            let next = (Instant::now() + self.election.retry).min(deadline);
            tokio::select! {
                () = stop.cancelled() => return true,
                () = tokio::time::sleep_until(next) => {}
            }
            let attempt = self
                .election
                .attempt(&self.leases, &mut self.observed, Some(deadline))
                .await;
            match attempt {
                Ok(Some(renewed)) => self.renewed = renewed,
                Ok(None) => {}
                Err(error) => tracing::error!(
                    logger = "runtime",
                    error = crate::outcome::chain(&error),
                    "error updating resource lock {}/{}",
                    self.election.namespace,
                    self.election.name
                ),
            }
            if self.renewed.elapsed() >= self.election.renew_deadline {
                self.metrics.leads(&self.election.name, false);
                return false;
            }
        }
    }

    /// Steps down: clears the Lease if that is configured, so that another process can lead at once (RT-LED-009).
    pub async fn release(self) {
        self.announce("stopped leading");
        self.metrics.leads(&self.election.name, false);
        let Some(lease) = self
            .observed
            .lease
            .filter(|lease| self.election.release && self.election.holds(lease))
        else {
            return;
        };
        let transitions = lease.spec.as_ref().and_then(|spec| spec.lease_transitions);
        let now = MicroTime(Timestamp::now());
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: transitions,
            ..LeaseSpec::default()
        };
        let emptied = Lease {
            spec: Some(spec),
            ..lease
        };
        let params = PostParams::default();
        let release = self.leases.replace(&self.election.name, &params, &emptied);
        let released = tokio::time::timeout(self.election.renew_deadline / 2, release).await;
        if let Err(error) = released.map_or(Err(AttemptError::NoAnswer), |answer| {
            answer.map_err(AttemptError::Request)
        }) {
            tracing::error!(
                logger = "runtime",
                error = crate::outcome::chain(&error),
                "Failed to release lock"
            );
        }
    }

    fn announce(&self, what: &str) {
        if let Some(lease) = &self.observed.lease {
            let message = format!("{} {what}", self.election.identity);
            let subject = Subject::of(lease);
            self.recorder.record(
                &subject,
                Severity::Trace,
                What::new("LeaderElection", message),
                &std::collections::BTreeMap::new(),
            );
        }
    }
}

#[cfg(test)]
mod tests;
