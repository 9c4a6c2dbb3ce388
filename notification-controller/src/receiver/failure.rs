//! Maps every error of a reconcile of a Receiver to its reason and retry: the table to compare with the ledger.

use flux_runtime::{Failure, Pace};

use super::checks::CheckError;
use super::reason::ReceiverReason as R;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// Only a change of the Receiver helps (NC-RECV-029).
    #[error("Reconciliation failed terminally due to configuration error: {0}")]
    Terminal(CheckError),
    /// The Secret cannot be read (NC-RECV-033).
    #[error("unable to read token from secret '{name}' error: {error}")]
    Secret {
        /// `namespace/name`.
        name: String,
        /// Why; part of upstream's text.
        error: String,
    },
    /// The Secret has no token.
    #[error("invalid '{0}' secret data: required fields 'token'")]
    NoToken(String),
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        match &error {
            StepError::Terminal(CheckError::Expression(_)) => {
                Self::stalled(R::InvalidCELExpression, error)
            }
            StepError::Terminal(CheckError::Spec(_)) => Self::stalled(R::ValidationFailed, error),
            StepError::Secret { .. } | StepError::NoToken(_) => {
                Self::retry(R::TokenNotFound, error, Pace::BackOff).quietly()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flux_runtime::Notice;
    use flux_runtime::outcome::Next;

    use super::*;

    #[test]
    fn every_error_has_the_reason_and_retry_of_the_ledger() {
        let stalled = Next::Stalled {
            generation_observed: true,
        };
        let retry = Next::Retry(Pace::BackOff);
        let terminal = "Reconciliation failed terminally due to configuration error: ";
        for (error, reason, next, notice, text) in [
            // NC-RECV-025, NC-RECV-028, NC-RECV-029
            (
                StepError::Terminal(CheckError::Expression("e".into())),
                "InvalidCELExpression",
                stalled,
                Notice::Warning,
                format!("{terminal}e"),
            ),
            // NC-RECV-026, NC-RECV-027
            (
                StepError::Terminal(CheckError::Spec("s".into())),
                "ValidationFailed",
                stalled,
                Notice::Warning,
                format!("{terminal}s"),
            ),
            // NC-RECV-032, NC-RECV-033
            (
                StepError::Secret {
                    name: "ns/s".into(),
                    error: "gone".into(),
                },
                "TokenNotFound",
                retry,
                Notice::Quiet,
                "unable to read token from secret 'ns/s' error: gone".to_owned(),
            ),
            (
                StepError::NoToken("ns/s".into()),
                "TokenNotFound",
                retry,
                Notice::Quiet,
                "invalid 'ns/s' secret data: required fields 'token'".to_owned(),
            ),
        ] {
            let failure = Failure::from(error);
            assert_eq!(failure.reason, reason);
            assert_eq!(failure.next, next, "{reason}");
            assert_eq!(failure.notice, notice, "{reason}");
            assert_eq!(failure.cause.to_string(), text);
        }
    }
}
