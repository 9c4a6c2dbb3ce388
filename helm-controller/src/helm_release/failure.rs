//! Maps every error of a reconcile of a HelmRelease to its reason, event and retry: the table to compare with the ledger.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_cluster::CustomRulesError;
use flux_runtime::client::ClientError;
use flux_runtime::outcome::chain;
use flux_runtime::{Failure, Pace};
use flux_tenancy::ActingError;

use super::chart::ChartError;
use super::dependencies::NotReady;
use super::pass::ActionFailed;
use super::reason::HelmReleaseReason as R;
use super::release::ReleaseError;
use super::source::SourceError;
use super::template::TemplateError;
use super::values::ValuesError;

/// What precedes an error that only a change of the spec can help (HC-ACT-006).
const TERMINALLY: &str = "Reconciliation failed terminally due to configuration error";

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// HC-ACT-002
    #[error("invalid Chart reference")]
    NoChart,
    #[error(transparent)]
    Rules(#[from] CustomRulesError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Dependency(#[from] NotReady),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Values(#[from] ValuesError),
    #[error(transparent)]
    Chart(#[from] ChartError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The release of a former target could not be uninstalled.
    #[error(transparent)]
    Uninstall(ActionFailed),
    /// The values cannot be written as YAML.
    #[error("the values cannot be encoded")]
    Digest,
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The status could not be written during the run; the failure comes from the runtime.
    #[error("{}", .0.cause)]
    Status(Box<Failure>),
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Status(Box::new(failure))
    }
}

/// Whether an event is about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Info,
    Warning,
}

impl StepError {
    /// The failure for an object: reason, messages and pace of retries. Events are apart ([`StepError::event`]), since their
    /// texts differ from those of the conditions.
    pub(super) fn failure(self, requeue: Duration) -> Failure {
        use StepError as E;
        match self {
            E::NoChart => Failure::stalled(R::StateError, self)
                .leaving_conditions()
                .unobserved(),
            E::Rules(error) => terminally(error),
            E::Template(error) => {
                Failure::retry(R::HelmChartSyncErr, error, Pace::BackOff).leaving_conditions()
            }
            E::Dependency(error @ NotReady::Invalid { .. }) => terminally(error),
            E::Dependency(error) => {
                Failure::waiting(R::DependencyNotReady, error, requeue).logged()
            }
            E::Source(error @ SourceError::Denied(_)) => {
                Failure::stalled(R::AccessDenied, error).quietly()
            }
            E::Source(error @ SourceError::Unavailable(_)) => {
                Failure::retry(R::ArtifactFailed, error, Pace::BackOff).quietly()
            }
            E::Source(error @ SourceError::NotReady { .. }) => {
                Failure::waiting(R::SourceNotReady, error, requeue).spread()
            }
            E::Values(error) => Failure::retry(R::ValuesError, error, Pace::BackOff).quietly(),
            E::Chart(ChartError::NotFound(_)) => {
                let wait = GoDuration::from(requeue);
                let message = format!("Source not ready: artifact not found. Retrying in {wait}");
                Failure::waiting(R::ArtifactFailed, message, requeue)
            }
            E::Chart(ChartError::Mutate(error)) => {
                Failure::retry(R::ChartMutateError, error, Pace::BackOff).quietly()
            }
            E::Chart(error) => {
                let message = format!("Could not load chart: {}", chain(&error));
                Failure::retry(R::ArtifactFailed, error, Pace::BackOff)
                    .quietly()
                    .saying(message)
            }
            E::Cluster(error) => Failure::retry(error.reason(), error, Pace::BackOff).quietly(),
            E::Uninstall(error) => {
                Failure::retry(R::UninstallFailed, error, Pace::BackOff).leaving_conditions()
            }
            E::Digest => Failure::retry(R::ValuesError, self, Pace::BackOff).quietly(),
            E::Release(error) => releasing(error),
            E::Status(failure) => *failure,
        }
    }

    /// The event.
    pub(super) fn event(&self) -> Option<(Severity, R, String)> {
        use Severity::{Info, Warning};
        match self {
            Self::Rules(error) => Some((Warning, R::InvalidCELExpression, chain(error))),
            Self::Dependency(error @ NotReady::Invalid { .. }) => {
                Some((Warning, R::InvalidCELExpression, chain(error)))
            }
            // HC-DEP-008
            Self::Dependency(error) => Some((Info, R::DependencyNotReady, chain(error))),
            Self::Source(error @ SourceError::Denied(_)) => {
                Some((Warning, R::AccessDenied, chain(error)))
            }
            Self::Values(error) => Some((Warning, R::ValuesError, chain(error))),
            Self::Digest => Some((Warning, R::ValuesError, self.to_string())),
            Self::Chart(ChartError::NotFound(_) | ChartError::Mutate(_)) => None,
            Self::Chart(error) => Some((Warning, R::ArtifactFailed, chain(error))),
            _ => None,
        }
    }

    /// The log line in addition to the runtime's.
    pub(super) fn log_line(&self, requeue: Duration) -> Option<String> {
        match self {
            Self::Dependency(NotReady::Invalid { .. }) => None,
            Self::Dependency(error) => Some(format!(
                "dependencies do not meet ready condition ({}): retrying in {}",
                chain(error),
                GoDuration::from(requeue)
            )),
            _ => None,
        }
    }
}

/// Only a change of the spec helps (HC-ACT-006, HC-DEP-006).
fn terminally(error: impl Error + Send + Sync + 'static) -> Failure {
    let message = format!("{TERMINALLY}: {}", chain(&error));
    Failure::stalled(R::InvalidCELExpression, error)
        .quietly()
        .saying(message)
}

/// The failure of the loop over the release.
fn releasing(error: ReleaseError) -> Failure {
    use ReleaseError as E;
    match error {
        E::State(ref why) => {
            let message = format!("Could not determine release state: {why}");
            Failure::retry(R::StateError, error, Pace::BackOff)
                .quietly()
                .saying(message)
        }
        E::Exhausted { ref message, .. } => {
            let message = message.clone();
            Failure::stalled(R::RetriesExceeded, error)
                .quietly()
                .saying(message)
                .leaving_ready()
        }
        E::MissingTarget => {
            let message = format!("Failed to perform remediation: {error}");
            Failure::stalled(R::MissingRollbackTarget, error)
                .quietly()
                .saying(message)
                .leaving_ready()
        }
        E::Target(_) | E::ShuttingDown => {
            Failure::retry(R::ReconcileError, error, Pace::BackOff).leaving_conditions()
        }
        E::Action(error) => Failure::retry(R::ReconcileError, error, Pace::BackOff).quietly(),
        E::Status(failure) => *failure,
    }
}

/// Why there is no cluster to release to; the texts are helm-controller's own (HC-REMOTE-004, HC-REMOTE-008).
#[derive(Debug)]
pub(super) struct ClusterError(pub(super) ActingError);

impl ClusterError {
    /// Whether what describes the cluster does not exist (HC-UNI-004).
    pub(super) fn is_not_found(&self) -> bool {
        match &self.0 {
            ActingError::Secret { source, .. } | ActingError::ConfigMap { source, .. } => {
                source.is_not_found()
            }
            _ => false,
        }
    }

    /// Whether the kubeconfig can be read, but no client can be made with it: upstream finds this out when it makes the one
    /// for waits, in a deletion when it makes the one for records (HC-REMOTE-009, HC-REMOTE-010).
    pub(super) const fn is_of_client(&self) -> bool {
        matches!(
            &self.0,
            ActingError::Authorities(_) | ActingError::Client(ClientError::Build(_))
        )
    }

    const fn reason(&self) -> R {
        if self.is_of_client() {
            R::ResourceManagerError
        } else {
            R::RESTClientError
        }
    }
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ActingError::Secret { secret, .. } => {
                write!(f, "could not get KubeConfig secret '{secret}'")
            }
            ActingError::NoKey { secret, key } if key == "value" => write!(
                f,
                "KubeConfig secret '{secret}' does not contain a 'value' or 'value.yaml' key with data"
            ),
            ActingError::NoKey { secret, key } => write!(
                f,
                "KubeConfig secret '{secret}' does not contain a '{key}' key with data"
            ),
            ActingError::NoReference => f.write_str(
                "exactly one of .spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be set",
            ),
            error => write!(f, "{error}"),
        }
    }
}

impl Error for ClusterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

#[cfg(test)]
mod tests;
