//! What can go wrong in a reconcile of a Bucket, and what follows: the table to compare with the ledger.

use flux_runtime::{Failure, Pace};

use super::reason::BucketReason as R;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("invalid endpoint '{0}': a host is needed")]
    Endpoint(String),
    #[error("no Secret with credentials is named")]
    NoSecret,
    #[error("secret '{0}' not found")]
    SecretMissing(String),
    #[error("secret '{0}' lacks the key 'accesskey'")]
    KeyMissing(String),
    #[error("failed to read the Secret")]
    Read(#[source] flux_references::ReadError),
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use StepError as E;
        match error {
            E::Endpoint(_) => Self::stalled(R::InvalidURL, error),
            E::NoSecret | E::SecretMissing(_) | E::KeyMissing(_) => {
                Self::retry(R::AuthenticationFailed, error, Pace::BackOff)
            }
            E::Read(_) => Self::retry(R::Failed, error, Pace::BackOff).quietly(),
        }
    }
}

#[cfg(test)]
mod tests {
    use flux_runtime::Notice;
    use flux_runtime::outcome::Next;

    use super::*;

    #[test]
    fn every_failure_has_the_expected_outcome() {
        let stalled = Next::Stalled {
            generation_observed: true,
        };
        let back_off = Next::Retry(Pace::BackOff);
        for (error, reason, next, notice) in [
            (
                StepError::Endpoint("a/b".into()),
                "InvalidURL",
                stalled,
                Notice::Warning,
            ),
            (
                StepError::NoSecret,
                "AuthenticationFailed",
                back_off,
                Notice::Warning,
            ),
            (
                StepError::SecretMissing("s".into()),
                "AuthenticationFailed",
                back_off,
                Notice::Warning,
            ),
            (
                StepError::KeyMissing("s".into()),
                "AuthenticationFailed",
                back_off,
                Notice::Warning,
            ),
        ] {
            let case = format!("{error:?}");
            let failure = Failure::from(error);
            assert_eq!(
                (failure.reason, failure.next, failure.notice),
                (reason, next, notice),
                "{case}"
            );
        }
    }
}
